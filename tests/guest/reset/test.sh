# SPDX-License-Identifier: GPL-2.0-only
# A reset ends the VM with 0, whichever way the guest takes.
for how in r k v; do
	cp "$GUEST" "$T/guest"
	printf %s $how | dd of="$T/guest" bs=1 seek=2 conv=notrunc status=none
	run --flat "$T/guest" --json "$T/json"
	same "reset/$how-status" 0 "$status"
	has "reset/$how-json" "$T/json" '"outcome":"reset"'
done
