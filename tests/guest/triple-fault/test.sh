# SPDX-License-Identifier: GPL-2.0-only
# Lost, with registers. (kvm_pvm shows a triple fault as an internal error.)
run --flat "$GUEST" --json "$T/json"
same triple-fault/status 255 "$status"
has triple-fault/json "$T/json" '"outcome":"(triple-fault|kvm-error)","status":255'
has triple-fault/message "$T/err" '^lkvm: vcpu 0: (triple fault|KVM )'
has triple-fault/registers "$T/err" '^  rip [0-9a-f]{16}  rsp'
has triple-fault/code "$T/err" '^  code ([0-9a-f]{2} |\(unreadable\))'
has triple-fault/lost "$T/err" '^lkvm: the guest was lost: '
