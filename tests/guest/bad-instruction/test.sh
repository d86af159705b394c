# SPDX-License-Identifier: GPL-2.0-only
# KVM_EXIT_INTERNAL_ERROR: the bytes, the place, the cause, and status 255.
LIMIT=20 run --flat "$GUEST"
same bad-instruction/status 255 "$status"
has bad-instruction/bytes "$T/err" '^lkvm: vcpu 0: KVM could not emulate the instruction 0f fc 05 00 00 00 d0 .*at '
has bad-instruction/cause "$T/err" "^  (this host's KVM \(kvm_pvm\)|KVM's emulator)"
has bad-instruction/code "$T/err" '^  code 0f fc 05 00 00 00 d0'
has bad-instruction/registers "$T/err" '^  rip '
