# SPDX-License-Identifier: GPL-2.0-only
# Nobody takes what lkvm writes, to stdout, stderr, the console log or --json: whatever ends a VM
# still does, in time, and the terminal is as it was.
flat=${GUESTS%/*}/idle/guest	# says "up" and sleeps
once=${GUESTS%/*}/lifecycle/guest	# says "." and ends

# A FIFO that is open for reading, and full: nothing is ever read from it.
stopped() {
	mkfifo "$1"
	exec {fd}<>"$1"
	dd if=/dev/zero of="$1" bs=4096 count=100 oflag=nonblock 2>/dev/null
}
for what in out err log json; do stopped "$T/$what.fifo"; done
mkfifo "$T/none.fifo"	# and one that nobody has opened

# vm WHAT ARGUMENTS...: lkvm with a reader of WHAT that has stopped; it becomes this process.
vm() {
	local out=$T/$BASHPID.out err=$T/$BASHPID.err log=$T/$BASHPID.log json=$T/$BASHPID.json what=$1; shift
	case $what in
	out) out=$T/out.fifo ;;
	err) err=$T/err.fifo ;;
	log) log=$T/log.fifo ;;
	json) json=$T/json.fifo ;;
	nobody) log=$T/none.fifo json=$T/none.fifo ;;
	all) out=$T/out.fifo err=$T/err.fifo log=$T/log.fifo json=$T/json.fifo ;;
	esac
	exec "$LKVM" run -v -m 64 --flat "$flat" --console-log "$log" --json "$json" "$@" >"$out" 2>"$err" </dev/null
}
# ends NAME STATUS COMMAND...: takes down with which status.
ends() {
	local name=$1 want=$2 start; shift 2
	start=$(now_ms)
	"$@"; local got=$?
	echo "readers/$name $want $got $(($(now_ms) - start))" >>"$T/ends"
}
timeout_ends() { (vm "$1" --timeout 5); }
term_ends() {
	(vm "$1") & local pid=$!
	sleep 3	# it has got as far as it gets; nothing tells of that
	kill $pid; wait $pid
}
for what in out err log json nobody all; do
	ends $what-timeout 124 timeout_ends $what &
	ends $what-term 143 term_ends $what &
done
# All at once, so that on a slow machine each may take longer than it would alone.
all_have_ended() { [ "$(wc -l <"$T/ends")" = 12 ]; }
wait_for 25 all_have_ended
pkill -KILL -f -- "--flat $flat"
wait
while read -r name want got ms; do
	[ "$got" = "$want" ] && ok "$name" || not_ok "$name" "status $got, wanted $want, after $ms ms"
done < <(sort "$T/ends")
same readers/count 12 "$(wc -l <"$T/ends")"

# Keys, while the guest runs, and while output waits after its end; Ctrl-C, too, then.
export LKVM T flat once
cat >"$T/expect" <<'X'
log_user 0
set timeout 30
proc seen {pattern word} { expect $pattern { puts $word } timeout { puts "no-$word" } }
spawn -noecho bash --norc --noprofile
send "PS1=prompt:; before=\$(stty -g); echo rea''dy\r"
expect "ready"
proc quit {arguments pattern keys status} {
	send "$::env(LKVM) run -m 64 $arguments; echo status=\$?; \[ \"\$before\" = \"\$(stty -g)\" \] && echo same''-terminal\r"
	seen $pattern runs
	send $keys
	seen "status=$status" $status
	seen "same-terminal" restored
}
set full "--console-log $env(T)/log.fifo --json $env(T)/json.fifo >$env(T)/out.fifo"
quit "--flat $env(flat) $full" "Ctrl-A x quits" "\001x" 130
quit "--flat $env(once) >$env(T)/out.fifo" "nobody reads" "\001x" 0
quit "--flat $env(once) >$env(T)/out.fifo" "nobody reads" "\003" 0
send "exit\r"
expect eof
X
same readers/keys "runs 130 restored runs 0 restored runs 0 restored" "$(expect "$T/expect" | tr -d '\r' | xargs)"
# What is only slow has everything.
mkfifo "$T/slow"
(sleep 2; cat) <"$T/slow" >"$T/got" & reader=$!
"$LKVM" run -m 64 --flat "$once" --json "$T/json" >"$T/slow" 2>&1 </dev/null
same readers/slow-status 0 $?
wait $reader
has readers/slow "$T/got" '^\.'
