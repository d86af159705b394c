# SPDX-License-Identifier: GPL-2.0-only
# A reset after a kernel's panic is not a clean end, and nothing else is a panic.
words() {
	cp "$GUEST" "$T/guest"
	printf "$1" | dd of="$T/guest" bs=1 seek=8 conv=notrunc status=none
}
words 'one\n[    1.000000] Kernel panic - not syncing: test\n'
run --flat "$T/guest" --json "$T/json"
same panic/status 255 "$status"
has panic/json "$T/json" '"outcome":"panic","status":255'
has panic/message "$T/err" '^lkvm: the guest was lost: its kernel panicked'
same panic/shown-once 1 "$(cat "$T/out" "$T/err" | grep -c 'Kernel panic')"
# Nobody saw the console: its last lines are in the report.
timeout 20 "$LKVM" run --flat "$T/guest" >/dev/null 2>"$T/err" </dev/null
has panic/last-lines "$T/err" 'Kernel panic - not syncing: test'
timeout 20 "$LKVM" run --flat "$T/guest" >&- 2>"$T/err" </dev/null
has panic/last-lines-closed "$T/err" 'Kernel panic - not syncing: test'
words 'Kernel panic - not syncing: old\n[ 1.0] reboot: Restarting system\n'
run --flat "$T/guest"
same panic/restarted-afterwards 0 "$status"
words 'log: Kernel panic - not syncing: quoted\n'
run --flat "$T/guest"
same panic/quoted 0 "$status"
