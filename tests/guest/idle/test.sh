# SPDX-License-Identifier: GPL-2.0-only
# A CPU that sleeps inside KVM is woken up to stop, and is not taken for dead.
"$LKVM" run --flat "$GUEST" -c 2 >"$T/out" 2>"$T/err" </dev/null &
pid=$!
wait_for 20 grep -q up "$T/out"
sleep 2.5
kill -TERM $pid
wait $pid
same idle/status 143 "$?"
