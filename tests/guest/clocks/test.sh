# SPDX-License-Identifier: GPL-2.0-only
# While a machine is paused no time passes for its guest, and then it goes on: on two CPUs, by the time
# stamp counter and by KVM's clock.
"$LKVM" run -k "$GUESTS/elf64" -c 2 -m 64 --name clocks >"$T/out" 2>"$T/err" </dev/null & pid=$!
# Whole ones: it may be stopped in the middle of one.
all_lines() { head -n "$(wc -l <"$T/out")" "$T/out" | grep '^at '; }
lines() { all_lines | wc -l; }
more_lines() { [ "$(lines)" -ge "$1" ]; }
# line NUMBER: its counter and its nanoseconds in $tsc and $ns; 0: the last.
line() {
	local at
	read -r -a at <<<"$(all_lines | sed -n "$([ "$1" = 0 ] && echo '$' || echo "$1")p")"
	tsc=$((16#${at[1]})) ns=$((16#${at[2]}))
}
wait_for "$patience" more_lines 20 || not_ok clocks/runs "$(tail -n 5 "$T/out" "$T/err")"
line 1; first_tsc=$tsc first_ns=$ns
line 0
per_ms=$(((tsc - first_tsc) / ((ns - first_ns) / 1000000)))
for i in 1 2; do
	timeout "$patience" "$LKVM" pause clocks; same clocks/pause-$i 0 $?
	before=$(lines)
	line 0; old_tsc=$tsc old_ns=$ns
	sleep 6
	same clocks/still-$i "$before" "$(lines)"
	timeout "$patience" "$LKVM" resume clocks; same clocks/resume-$i 0 $?
	wait_for "$patience" more_lines $((before + 5)) || not_ok clocks/goes-on-$i "$(tail -n 5 "$T/out")"
	line $((before + 3))	# the first one may have been begun before
	by_tsc=$(((tsc - old_tsc) / per_ms)) by_ns=$(((ns - old_ns) / 1000000))
	echo "# $by_tsc ms by the counter, $by_ns ms by KVM's clock"
	[ $by_tsc -ge 0 ] && [ $by_tsc -lt 3000 ] && ok clocks/counter-$i || not_ok clocks/counter-$i "$by_tsc ms went by"
	[ $by_ns -ge 0 ] && [ $by_ns -lt 3000 ] && ok clocks/ns-$i || not_ok clocks/ns-$i "$by_ns ms went by"
done
# Shortly after each other, too.
for i in $(seq 20); do "$LKVM" pause clocks && "$LKVM" resume clocks || not_ok clocks/pauses-$i $?; done
more=$(($(lines) + 5)); wait_for "$patience" more_lines $more || not_ok clocks/runs-on "$(tail -n 5 "$T/out")"
"$LKVM" stop --force clocks
wait $pid; same clocks/status 143 $?
same clocks/never-back "" "$(grep back "$T/out" | head -n 5)"
