# SPDX-License-Identifier: GPL-2.0-only
# The process in front of the VM's, where the sandbox has a PID namespace: what the shell and its
# user see is one program.
# Runs alone: it looks for processes by their command line.
flat=${GUESTS%/*}/idle/guest
[ -z "$VARIANT" ] || {
	# Builds with sanitizers have one process only.
	"$LKVM" run -m 64 --flat "$flat" >"$T/out" 2>"$T/err" </dev/null & pid=$!
	wait_for 20 grep -q up "$T/out"
	same front/none "$pid" "$(vm_of $pid)"
	kill $pid; wait $pid
	same front/none-status 143 $?
	return 0 2>/dev/null || exit 0
}
has_pid_namespaces || {
	skip front "no PID namespaces here"
	return 0 2>/dev/null || exit 0
}
# start ARGUMENTS...: a VM that stays: $pid is the process in front, $vm the VM's.
start() {
	: >"$T/out"
	"$LKVM" run -m 64 --flat "$flat" "$@" >"$T/out" 2>"$T/err" </dev/null & pid=$!
	wait_for 20 grep -q up "$T/out"
	vm=$(vm_of $pid)
}
state() { awk '$1 == "State:" { print $2 }' /proc/$1/status; }
# Who takes note of an orphan's end may be slow.
gone() { case $(state "$1" 2>/dev/null) in '' | [ZX]) ;; *) return 1 ;; esac; }
stopped() { [ "$(state $pid)$(state $vm)" = TT ]; }
running() { case "$(state $pid)$(state $vm)" in *[TZX]* | '') return 1 ;; esac; }

# Whoever kills the one in front kills the VM; what it had is free at once, or waited for.
truncate -s 1M "$T/disk"
bad=0
for i in $(seq 20); do
	start -d "$T/disk,format=raw" --port "a=unix:$T/sock"
	[ "$vm" != "$pid" ] || bad=$((bad + 1))
	kill -KILL $pid; wait $pid 2>/dev/null
	timeout 20 "$LKVM" run -m 64 -d "$T/disk,format=raw" --flat "${GUESTS%/*}/lifecycle/guest" >"$T/out2" 2>"$T/err2" </dev/null ||
		{ bad=$((bad + 1)); sed 's/^/# /' "$T/err2"; }
	wait_for 10 gone $vm || bad=$((bad + 1))
	wait_for 10 test ! -e "$T/sock" || bad=$((bad + 1))
done
same front/killed 0 $bad

# Whoever kills the VM hears of it from the one in front, which writes the report.
start --json "$T/json"
kill -KILL "$vm"; wait $pid
same front/vm-killed 137 $?
has front/vm-killed-json "$T/json" '^\{"v":1,"outcome":"killed","status":137,.*\}$'
has front/vm-killed-said "$T/err" "^lkvm: the VM's process was ended by signal 9"

# The signals that end a VM, from outside to either; a job that is stopped and continued.
for who in pid vm; do
	start --json "$T/json"
	kill -TERM "${!who}"; wait $pid
	same front/term-$who 143 $?
	has front/term-$who-json "$T/json" '"outcome":"killed","status":143'
done
set -m	# a job of its own
start
set +m
kill -TSTP $pid; wait_for 10 stopped && ok front/stopped || not_ok front/stopped "$(state $pid) $(state $vm)"
kill -CONT $pid; wait_for 10 running && ok front/continued || not_ok front/continued "$(state $pid) $(state $vm)"
kill -TERM $pid; wait $pid
same front/continued-status 143 $?

# A parent that dies takes the VM along.
bash -c '"$1" run -m 64 --flat "$2" --json "$3/json" --die-with-parent </dev/null >"$3/out" 2>&1 & echo $! >"$3/pid"
	until grep -q up "$3/out"; do sleep 0.1; done; kill -KILL $$' sh "$LKVM" "$flat" "$T" 2>/dev/null
wait_for 20 gone "$(cat "$T/pid")" && ok front/parent-gone || not_ok front/parent-gone "$(state "$(cat "$T/pid")")"
has front/parent-gone-json "$T/json" '"outcome":"killed","status":143'

# The log is opened again by a signal to the one in front.
start --console-log "$T/log"
mv "$T/log" "$T/log.1"; kill -HUP $pid
wait_for 20 test -e "$T/log" && ok front/log || not_ok front/log
kill -TERM $pid; wait $pid
same front/log-status 143 $?

# Nobody waits for a process that does not answer, on the way or at the end.
start --console-log "$T/log" --port "a=unix:$T/sock"
broker=$(pgrep -P "$pid" -x broker)
kill -STOP "$broker"; kill -HUP $pid
sleep 0.5	# for the loop to hear of it, and wait
kill -TERM $pid; wait $pid
same front/broker-status 143 $?
has front/broker-said "$T/err" '^lkvm: the broker process does not end'
kill -CONT "$broker"; wait_for 10 test ! -e "$T/sock" && ok front/broker-goes-on || not_ok front/broker-goes-on

# Before the VM listens a signal is the end: here its initrd does not come.
mkfifo "$T/fifo"; sleep 60 >"$T/fifo" & writer=$!
"$LKVM" run -m 64 -k "${GUESTS%/*}/virtio-rng/elf64" -i "$T/fifo" --json "$T/json" >"$T/out" 2>"$T/err" </dev/null & pid=$!
sleep 1
kill -TERM $pid; wait $pid
same front/early 143 $?
has front/early-json "$T/json" '"outcome":"killed","status":143'
kill $writer; wait $writer 2>/dev/null
if pgrep -f -- "-i $T/fifo" >/dev/null; then not_ok front/early-gone "$(pgrep -af -- "-i $T/fifo")"; else ok front/early-gone; fi

# A VM that ends before its namespaces are there: it has said why, and nothing else is said.
timeout 20 strace -f -qq -o /dev/null -e trace=unshare -e inject=unshare:delay_enter=200000 \
	"$LKVM" run -m 64 --flat "$flat" --dump-dtb /nonexistent/x >"$T/out" 2>"$T/err" </dev/null
same front/ended-early 125 $?
same front/ended-early-said "lkvm: dump-dtb: /nonexistent/x: No such file or directory" "$(grep '^lkvm: ' "$T/err")"

# A terminal gets its mode back although the VM had no chance to do it.
export LKVM flat T
cat >"$T/expect" <<'X'
log_user 0
set timeout 20
spawn -noecho bash --norc --noprofile
send "PS1=prompt:; set -m; before=\$(stty -g); echo rea''dy\r"
expect "ready"
send "$env(LKVM) run -m 64 --flat $env(flat); echo status=\$?\r"
expect "Ctrl-A x quits" { puts announced }
exec sh -c "kill -KILL \$(pgrep -P \$(pgrep -o -f -- '-m 64 --flat $env(flat)'))"
expect "status=137" { puts killed }
send "\[ \"\$before\" = \"\$(stty -g)\" \] && echo same''-terminal\r"
expect "same-terminal" { puts restored }
send "exit\r"
expect eof
X
same front/terminal "announced killed restored" "$(expect "$T/expect" | tr -d '\r' | xargs)"
