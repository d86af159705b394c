# SPDX-License-Identifier: GPL-2.0-only
# A stock kernel boots and powers off again and again while a CPU of the host is busy: none
# hangs, none differs. SOAK=100 tests/host/run BUILD for the long form.
# Only in check-all: guest/soak is the short form.
boots=3
[ ! -e /soak ] || boots=$(cat /soak)
while :; do :; done &
load=$!
same_boots=0
for i in $(seq $boots); do
	run -k /g/cloud/bzImage -i /g/cloud/initrd -c 2 -m 256 -p "quiet do=poweroff"
	this="status=$status cpus=$(seen cpus) ram=$(seen ram)"
	[ "$this" = "status=0 cpus=2 ram=$(announced 256)" ] && same_boots=$((same_boots + 1)) || echo "# boot $i: $this"
done
kill $load
same soak/$boots-boots $boots $same_boots
