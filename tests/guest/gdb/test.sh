# SPDX-License-Identifier: GPL-2.0-only
# gdb, Debian's, against a VM: steps, registers, memory, threads, Ctrl-C, its end and its death, breakpoints.
#
# QEMU's emulated CPUs neither tell of an int3 nor have debug registers as long as they run guests, so what
# needs these is in tests/host/scenarios/gdb.sh, on Bochs' Intel CPU.

# lkvm ARGUMENTS...: another command, with its status in $status.
lkvm() { timeout "$patience" "$LKVM" "$@" >"$T/out" 2>"$T/err" </dev/null; status=$?; }
# start NAME ARGUMENTS...: in the background, its PID in $pid.
start() {
	local name=$1; shift
	"$LKVM" run -k "$GUESTS/elf64" --name "$name" "$@" >"$T/out-$name" 2>"$T/err-$name" </dev/null &
	pid=$!
	wait_for "$patience" test -e "$XDG_RUNTIME_DIR/lkvm/$name.sock" || not_ok "gdb/$name-starts" "$(cat "$T/err-$name")"
}
# debug NAME COMMAND...: gdb with these, connected to it; what it prints is in $T/gdb.
debug() {
	local name=$1 commands=(); shift
	for c in "$@"; do commands+=(-ex "$c"); done
	timeout $((6 * patience)) gdb -nx -q -batch -iex "set debuginfod enabled off" -ex "set height 0" \
		-ex "set confirm off" -ex "target remote | $LKVM debug $name --gdb" "${commands[@]}" "$GUESTS/elf64" \
		>"$T/gdb" 2>&1 </dev/null
}
dots() { wc -c <"$T/out-$1"; }
more_than() { [ "$(dots "$1")" -gt "$2" ]; }
runs_on() { local n; n=$(dots "$1"); wait_for "$patience" more_than "$1" "$n"; }

# Before the first instruction; what has to be typed is said.
start one --gdb -c 2
wait_for "$patience" grep -q 'target remote' "$T/err-one" || true	# the socket is there first
has gdb/line "$T/err-one" "^  target remote \| lkvm debug one --gdb$"
wait_for "$patience" sh -c "'$LKVM' list | grep -q '^one .* halted '" || not_ok gdb/halted "$("$LKVM" list)"
lkvm debug one --regs
has gdb/regs "$T/out" '^CPU 0: running$'
has gdb/regs-rip "$T/out" " rip +$(nm "$GUESTS/elf64" | awk '$3 == "_start" { print $1 }') "
has gdb/regs-cpu1 "$T/out" '^CPU 1: waiting$'
lkvm debug one --regs --json
has gdb/regs-json "$T/out" '^\{"v":1,"cpus":\[\{"cpu":0,"state":"running","rax":"0x[0-9a-f]+",.*"dr7":"0x400"\},\{"cpu":1,.*\]\}$'

debug one 'printf "at %#lx\n", $rip' 'info threads' 'stepi' 'x/i $pc' 'p/x $esp' 'set $rax = 0x1234567890' 'p/x $rax' \
	'p/x $cr0 & 1' 'p $efer & 0x400' 'info registers eflags mxcsr fs_base' 'monitor info version' 'monitor help' \
	'set var *(long *)&counter = 77' 'p *(long *)&counter' 'thread 2' 'p/x $cs' 'thread 1' 'stepi 50' 'p $rip > 0' 'set scheduler-locking on' 'stepi' 'stepi 3' 'printf "alone %d\n", $rip > 0' 'monitor regs 2' 'monitor regs 3' 'set $cr3 = 0x1000' 'p $cr3 != 0x1000' 'monitor kaslr' 'detach'
start_address=$((0x$(nm "$GUESTS/elf64" | awk '$3 == "_start" { print $1 }')))
has gdb/first "$T/gdb" "^at $(printf %#x $start_address)$"
has gdb/threads "$T/gdb" '^\* 1 +Thread 1 \(CPU 0 \[running\]\)'
has gdb/threads-2 "$T/gdb" '^ +2 +Thread 2 \(CPU 1 \[waiting\]\)'
has gdb/stepped "$T/gdb" "^=> .*<_start\+5>"
has gdb/stack "$T/gdb" '= 0x9e000$'
has gdb/set-register "$T/gdb" '= 0x1234567890$'
has gdb/paging "$T/gdb" '= 1024$'
has gdb/version "$T/gdb" '^lkvm [0-9]'
has gdb/help "$T/gdb" '^kaslr '
has gdb/set-memory "$T/gdb" '^\$[0-9]+ = 77$'
has gdb/other-cpu "$T/gdb" '= 0xf000$'
has gdb/steps "$T/gdb" '^\$[0-9]+ = 1$'
has gdb/regs-of-2 "$T/gdb" '^CPU 1: (waiting|running)$'
has gdb/regs-of-none "$T/gdb" '^there is no such thread$'
has gdb/read-only "$T/gdb" '^Could not write register "cr3"; remote failure reply '
has gdb/steps-alone "$T/gdb" '^alone 1$'
has gdb/kaslr "$T/gdb" '^the kernel is where it was linked$'
has gdb/detached "$T/gdb" '\[Inferior 1 .*detached\]'
runs_on one && ok gdb/runs-on || not_ok gdb/runs-on "$(cat "$T/gdb")"

# A gdb that dies: it runs on, nothing is left behind, and the next one can come.
mkfifo "$T/commands"
(exec 7>"$T/commands"; echo "target remote | $LKVM debug one --gdb"; echo 'stepi'; echo 'p *(long *)&counter > 77'; sleep 1000) >"$T/commands" &
feeder=$!
gdb -nx -q -iex "set debuginfod enabled off" "$GUESTS/elf64" <"$T/commands" >"$T/gdb" 2>&1 &
victim=$!
wait_for $((6 * patience)) grep -q '= 1$' "$T/gdb" || not_ok gdb/connected-again "$(cat "$T/gdb")"
lkvm debug one --gdb
same gdb/one-at-a-time 1 "$status"
has gdb/one-at-a-time-message "$T/err" '^lkvm: gdb: one: a gdb is connected already$'
lkvm snapshot one "$T/snapshot-of-gdb"
same gdb/no-snapshot "1 no" "$status $(test -e "$T/snapshot-of-gdb/snapshot" || echo no)"
has gdb/no-snapshot-message "$T/err" 'a gdb is connected, whose breakpoints are in its memory$'
lkvm list
has gdb/stopped-is-halted "$T/out" '^one .* halted '
kill -KILL $victim; wait $victim 2>/dev/null
kill $feeder 2>/dev/null
runs_on one && ok gdb/killed-gdb || not_ok gdb/killed-gdb "$(dots one)"

# Ctrl-C, the other CPU, a thousand steps. Each gdb takes seconds to start in an emulated host.
if [ -n "${FULL:-}" ]; then
	debug one 'python import threading, os, signal; threading.Timer(2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()' \
		'continue' 'info threads' 'p *(int *)&own_traps > 0' 'thread 2' 'p/x $cs' 'stepi' 'stepi' 'stepi' 'p/x $rip' 'thread 1' 'stepi 1000' 'p *(long *)&counter > 77'
	has gdb/interrupted "$T/gdb" 'received signal SIGINT'
	has gdb/own-int3 "$T/gdb" '^\$1 = 1$'
	has gdb/cpu-2-runs "$T/gdb" '^ +2 +Thread 2 \(CPU 1 \[running\]\)'
	has gdb/cpu-2-steps "$T/gdb" '= 0x800[0-9a-f]+$'
	has gdb/steps-1000 "$T/gdb" '^\$[0-9]+ = 1$'
	runs_on one && ok gdb/left || not_ok gdb/left "$(cat "$T/gdb")"
fi
lkvm stop one
wait $pid; same gdb/stopped 143 $?
start two
lkvm debug two --gdb
same gdb/not-allowed 1 "$status"
has gdb/not-allowed-message "$T/err" '^lkvm: gdb: two: it was not started with --gdb$'
lkvm debug two --nmi 7
has gdb/nmi-cpu "$T/err" '^lkvm: nmi: two: it has no such CPU$'
lkvm stop two
