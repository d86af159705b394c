# SPDX-License-Identifier: GPL-2.0-only
# A machine that has halted for good is noticed; only a kernel's own words make
# it an orderly end.
run --flat "$GUEST" -c 2
same halt/silent 255 "$status"
has halt/silent-message "$T/err" 'lost: every CPU halted with interrupts off'
cp "$GUEST" "$T/guest"
printf '[    1.0] reboot: System halted\n' | dd of="$T/guest" bs=1 seek=8 conv=notrunc status=none
run --flat "$T/guest" --json "$T/json"
same halt/orderly 0 "$status"
has halt/orderly-json "$T/json" '"outcome":"poweroff"'
