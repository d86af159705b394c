# SPDX-License-Identifier: GPL-2.0-only
run --flat "$GUEST" --json "$T/json"
same pvpanic/status 255 "$status"
has pvpanic/json "$T/json" '"outcome":"panic"'
# A crash kernel takes over and ends in order.
for end in 0 1; do
	cp "$GUEST" "$T/guest"
	printf "\\002\\00$end" | dd of="$T/guest" bs=1 seek=8 conv=notrunc status=none
	run --flat "$T/guest" --json "$T/json"
	same pvpanic/crash-kernel-$end 255 "$status"
	has pvpanic/crash-kernel-$end-json "$T/json" '"outcome":"panic","status":255'
	has pvpanic/crash-kernel-$end-message "$T/err" 'lost: its kernel panicked, and its crash kernel took over'
done
