# SPDX-License-Identifier: GPL-2.0-only
# An Intel CPU: what QEMU's emulator does not do for guests of its guests: gdb's breakpoints and watchpoints.
# Debian's gdb (tests/host/run takes it along as /bin/gdb) against tests/guest/gdb's guest.
# Only in check-all: Bochs is slow.
guest=/gdb-guest
export XDG_RUNTIME_DIR=/tmp
lkvm run -k $guest -m 64 --name one --gdb >/tmp/out-one 2>/tmp/err-one </dev/null &
vm=$!
n=0; until [ -e /tmp/lkvm/one.sock ] || [ $n = 60 ]; do sleep 1; n=$((n + 1)); done
# Most of gdb's Python is not here, and it would say so in the middle of its lines.
quiet='set python print-stack none'
# debug COMMAND...: gdb with these, connected; what it prints is in /tmp/gdb.
debug() {
	echo "target remote | lkvm debug one --gdb" >/tmp/commands
	for c; do echo "$c"; done >>/tmp/commands
	timeout 600 gdb -nx -q -batch -iex "set height 0" -iex "set confirm off" -iex "$quiet" -x /tmp/commands $guest >/tmp/gdb 2>&1 </dev/null
	sed 's/^/# /' /tmp/gdb
}
debug 'hbreak tick' 'continue' 'p *(long *)&counter' 'p (char *)$pc == (char *)&tick' 'delete' 'watch *(long *)&counter' 'continue' 'continue' 'delete' \
	'break tick' 'continue' 'p *(long *)&counter' 'bt 1' 'x/i $pc' 'stepi' 'stepi' 'p (char *)$pc == (char *)&tick + 2' 'delete' \
	'break own_handler' 'continue' 'p *(int *)&own_traps' 'delete' 'hbreak *((char *)&tick + 1)' 'continue' 'detach'
has gdb/hbreak /tmp/gdb '^Breakpoint 1, .*in tick \(\)'
has gdb/hbreak-first /tmp/gdb '^\$1 = 0$'
has gdb/hbreak-pc /tmp/gdb '^\$2 = 1$'
has gdb/watch /tmp/gdb '^Hardware watchpoint 2: \*\(long \*\)&counter'
has gdb/watch-old /tmp/gdb '^Old value = 0$'
has gdb/watch-new /tmp/gdb '^New value = 1$'
has gdb/watch-again /tmp/gdb '^New value = 2$'
has gdb/break /tmp/gdb '^Breakpoint 3, .*in tick \(\)'
has gdb/break-counter /tmp/gdb '^\$3 = 2$'
has gdb/break-hidden /tmp/gdb '=> .*<tick>:.nop'
has gdb/break-steps /tmp/gdb '^\$4 = 1$'
has gdb/own-int3 /tmp/gdb '^Breakpoint 4, .*in own_handler \(\)'
has gdb/own-int3-count /tmp/gdb '^\$5 = 1$'
has gdb/hbreak-within /tmp/gdb '^Breakpoint 5, .*in tick \(\)'
# More dots come than there are.
grows() {
	local dots=$(wc -c </tmp/out-one) n=0
	until [ "$(wc -c </tmp/out-one)" -gt "$dots" ] || [ $n = 120 ]; do sleep 1; n=$((n + 1)); done
	[ "$(wc -c </tmp/out-one)" -gt "$dots" ]
}
grows && ok gdb/runs-on || not_ok gdb/runs-on "$(cat /tmp/err-one)"
# A gdb that is killed while its breakpoint is set: it is taken out, and the VM runs on.
mkfifo /tmp/fifo
(echo "target remote | lkvm debug one --gdb"; echo 'break tick'; echo 'watch *(long *)&counter'; echo continue; sleep 1000) >/tmp/fifo &
feeder=$!
gdb -nx -q -iex "set confirm off" -iex "$quiet" $guest </tmp/fifo >/tmp/gdb 2>&1 &
victim=$!
# The one or the other comes first: the guest was stopped wherever it was.
at='^(Breakpoint 1, .*tick|Old value = [0-9])'
n=0; until grep -qE "$at" /tmp/gdb || [ $n = 300 ]; do sleep 1; n=$((n + 1)); done
has gdb/killed-at /tmp/gdb "$at"
kill -KILL $victim; kill $feeder
grows && ok gdb/killed || not_ok gdb/killed "$(cat /tmp/gdb)"
debug 'x/xb &tick' 'detach'
has gdb/killed-leaves-nothing /tmp/gdb '<tick>:.0x90$'
lkvm stop one; wait $vm; same gdb/stopped 143 $?
