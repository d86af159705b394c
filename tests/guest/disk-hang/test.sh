# SPDX-License-Identifier: GPL-2.0-only
# A disk that never answers: what ends a VM ends it within 10 seconds, says that data may be
# lost, and its status is not a success. The last flush hangs, whatever the guest did.
# An emulated CPU takes its time at the end.
bound=10000
[ $patience = 60 ] || bound=15000
[ -z "$VARIANT" ] || { skip disk-hang "sanitizers wrap the same functions"; return 0 2>/dev/null || exit 0; }

# All are in the background, some side by side, since each waits ten seconds.

# engine NAME: for what is started from now on.
engine() { if [ $1 = threads ]; then export NO_IO_URING=1; else unset NO_IO_URING; fi; }
# hung NAME ENGINE GUEST [SIGNAL] [OPTION...]: SIGNAL once the guest runs, if it is not "-".
hung() {
	local name=disk-hang/$1 fault=fdatasync:0:1:1000000 guest=$3 signal=$4 start pid t=$T/$1
	# With io_uring nothing is ever submitted.
	[ "$2" = threads ] || fault=io_uring_submit:11:1:1000000
	engine $2
	shift 4
	mkdir "$t"; truncate -s 16M "$t/img"
	LD_PRELOAD=$TOOLS/fault.so FAULT=$fault "$LKVM" run -v --flat "${GUESTS%/*}/$guest/guest" -m 64 \
		-d "$t/img,format=raw" --json "$t/json" "$@" >"$t/out" 2>"$t/err" </dev/null & pid=$!
	wait_for 30 grep -q '^lkvm: booting' "$t/err"
	if [ "$signal" != - ]; then
		sleep 1
		kill -$signal $pid
	fi
	start=$(now_ms)
	wait $pid
	same "$name-status" 125 $?
	# After --timeout's eight.
	[ "$signal" != - ] || start=$((start + 8000))
	[ $(($(now_ms) - start)) -lt $bound ] && ok "$name-time" || not_ok "$name-time" "$(($(now_ms) - start)) ms"
	has "$name-message" "$t/err" '^lkvm: disk: .*/img: what was written last may be lost: it does not answer$'
	has "$name-json" "$t/json" '"outcome":"error","status":125'
}
# Of three disks one does not answer: the last flush of the others is made, whichever it is.
one_of_three() {
	local name=disk-hang/$1-$2-of-three start pid t=$T/$1-$2
	engine $1
	mkdir "$t"; truncate -s 16M "$t/img" "$t/other" "$t/third"
	LD_PRELOAD=$TOOLS/fault.so FAULT=fdatasync:0:1:1000000 FAULT_FILE=$t/$2 "$LKVM" run -v \
		--flat "${GUESTS%/*}/spin/guest" -m 64 -d "$t/img,format=raw" -d "$t/other,format=raw" \
		-d "$t/third,format=raw" >"$t/out" 2>"$t/err" </dev/null & pid=$!
	wait_for 30 grep -q '^lkvm: booting' "$t/err"
	sleep 1; kill $pid
	start=$(now_ms)
	wait $pid
	same "$name-status" 125 $?
	[ $(($(now_ms) - start)) -lt $bound ] && ok "$name-time" || not_ok "$name-time" "$(($(now_ms) - start)) ms"
	same "$name" "lkvm: disk: $t/$2: what was written last may be lost: it does not answer" \
		"$(grep 'may be lost' "$t/err")"
}
# The guest has ended, and its last flush takes long: a window that changes its size is no reason to
# give up, Ctrl-A x is.
resized() {
	local t=$T/resized pid
	mkdir "$t"; truncate -s 16M "$t/img"
	LD_PRELOAD=$TOOLS/fault.so FAULT=fdatasync:0:1:1000000 NO_IO_URING=1 "$LKVM" run -v --flat "${GUESTS%/*}/poweroff/guest" -m 64 \
		-d "$t/img,format=raw" >"$t/out" 2>"$t/err" </dev/null & pid=$!
	wait_for 30 grep -q hello "$t/out"
	sleep 1; kill -WINCH $pid
	sleep 9; kill -0 $pid && ok disk-hang/resized || not_ok disk-hang/resized "$(cat "$t/err")"
	kill $pid; wait $pid
	same disk-hang/resized-status 125 $?
}
# The same within --grace: who has been asked to end, and has, may take longer for its disk than that.
grace() {
	local t=$T/grace pid
	mkdir "$t"; truncate -s 16M "$t/img"
	LD_PRELOAD=$TOOLS/fault.so FAULT=fdatasync:0:1:1000000 NO_IO_URING=1 "$LKVM" run --flat "${GUESTS%/*}/button/guest" -m 64 \
		--grace 1 -d "$t/img,format=raw" >"$t/out" 2>"$t/err" </dev/null & pid=$!
	wait_for "$patience" grep -q up "$t/out" || not_ok disk-hang/grace-starts "$(cat "$t/err")"
	kill $pid
	sleep 13; kill -0 $pid && ok disk-hang/grace || not_ok disk-hang/grace "$(cat "$t/err")"
	kill $pid; wait $pid
	same disk-hang/grace-status 125 $?
}
# Each engine with an ending or two, and with one of the disks; where there is time both with all.
hung threads-term threads spin TERM &
hung io_uring-timeout io_uring spin - --timeout 8 &
# The guest has ended in order, and waits.
hung threads-poweroff threads poweroff TERM &
one_of_three threads img &
wait
one_of_three io_uring other &
resized &
grace &
wait
[ "$every" != 1 ] || {
	hung io_uring-term io_uring spin TERM &
	hung threads-timeout threads spin - --timeout 8 &
	hung io_uring-poweroff io_uring poweroff TERM &
	one_of_three io_uring img &
	one_of_three threads other &
	wait
}
truncate -s 16M "$T/img"
export LKVM TOOLS T FLAT=${GUESTS%/*}/poweroff/guest
cat >"$T/expect" <<'X'
log_user 0
set timeout 30
set env(FAULT) fdatasync:0:1:1000000
set env(NO_IO_URING) 1
spawn -noecho bash -c "LD_PRELOAD=$env(TOOLS)/fault.so $env(LKVM) run --flat $env(FLAT) -m 64 -d $env(T)/img,format=raw; echo status=\$?"
expect hello
after 1000
send "\001x"
expect "status=125" { puts quit } timeout { puts hung; send "\003" }
X
same disk-hang/quit quit "$(expect "$T/expect" | tr -d '\r')"

# A process that does not end, whatever it is told: the one in front of it does.
"$LKVM" run -v --flat "${GUESTS%/*}/spin/guest" -m 64 --json "$T/json" >"$T/out" 2>"$T/err" </dev/null & pid=$!
wait_for 30 grep -q '^lkvm: booting' "$T/err"
vm=$(vm_of $pid)
if [ "$vm" = $pid ]; then
	kill $pid
	skip disk-hang/process "this user cannot make PID namespaces"
else
	sleep 1
	kill -STOP $vm
	kill -TERM $pid
	start=$(now_ms)
	wait $pid
	same disk-hang/process-status 125 $?
	[ $(($(now_ms) - start)) -lt $bound ] && ok disk-hang/process-time || not_ok disk-hang/process-time "$(($(now_ms) - start)) ms"
	has disk-hang/process-message "$T/err" "^lkvm: the VM's process does not end: data may be lost"
	has disk-hang/process-json "$T/json" '"outcome":"error","status":125'
fi
