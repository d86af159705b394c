# SPDX-License-Identifier: GPL-2.0-only
# A vCPU in the middle of guest code is stopped by whatever asks for it.
run --flat "$GUEST" --timeout 0.5 --json "$T/json"
same spin/timeout 124 "$status"
has spin/timeout-json "$T/json" '"outcome":"timeout","status":124'

# stop SIGNAL STATUS [OPTION...] (A shell ignores INT and QUIT in the background.)
stop() {
	local sig=$1 want=$2; shift 2
	: >"$T/out"	# the one before said "up", too
	env --default-signal=INT,QUIT "$LKVM" run --flat "$GUEST" "$@" --json "$T/json" >"$T/out" 2>"$T/err" </dev/null &
	local pid=$!
	wait_for 20 grep -q up "$T/out"
	if [ "$sig" = TERM ]; then inspect "$(vm_of $pid)"; fi
	kill -s "$sig" $pid
	wait $pid
	same "spin/$sig-status" "$want" "$?"
	has "spin/$sig-json" "$T/json" '"outcome":"killed"'
}

# What the running VM looks like from outside. ThreadSanitizer has a thread of its own.
inspect() {
	local all='*'
	[ "$VARIANT" != thread ] || all=$1
	same spin/no-capabilities 0000000000000000 \
		"$(awk '/^Cap(Prm|Eff|Amb)/{print $2}' /proc/$1/task/$all/status | sort -u | xargs)"
	same spin/no-new-privs 1 "$(awk '/^NoNewPrivs/{print $2}' /proc/$1/task/$all/status | sort -u | xargs)"
	same spin/thread-names "vcpu0 vcpu1 vcpu2" \
		"$(cat /proc/$1/task/*/comm | grep vcpu | sort | xargs)"
}
stop TERM 143 -c 3
stop INT 130
stop HUP 129
stop QUIT 131

# nohup: a signal that is ignored at the start stays ignored.
: >"$T/out"
(trap '' HUP; exec "$LKVM" run --flat "$GUEST" >"$T/out" 2>"$T/err" </dev/null) &
pid=$!
wait_for 20 grep -q up "$T/out"
kill -HUP $pid
sleep 0.2
kill -TERM $pid
wait $pid
same spin/nohup 143 "$?"

# A parent that had blocked every signal.
timeout 20 env --block-signal "$LKVM" run --flat "$GUEST" --timeout 0.5 >"$T/out" 2>"$T/err" </dev/null
same spin/blocked-signals 124 "$?"
