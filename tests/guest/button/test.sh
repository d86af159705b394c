# SPDX-License-Identifier: GPL-2.0-only
# A guest is asked to switch itself off: by lkvm stop, and with --grace by SIGTERM; who does not hear it is ended.

DEAF=$GUESTS/../control/guest
# start NAME GUEST ARGUMENTS...: in the background, its PID in $pid, when its guest runs.
start() {
	local name=$1 guest=$2; shift 2
	"$LKVM" run --flat "$guest" --name "$name" "$@" >"$T/out-$name" 2>"$T/err-$name" </dev/null &
	pid=$!
	wait_for "$patience" grep -q up "$T/out-$name" || not_ok "button/$name-starts" "$(cat "$T/err-$name")"
}
lkvm() { timeout "$patience" "$LKVM" "$@" >"$T/out" 2>"$T/err" </dev/null; status=$?; }
# ended NAME WANTED: how the one that was started last did.
ended() { wait $pid; same "button/$1" "$2" $?; }
dots() { wc -c <"$T/out-$1"; }
more_dots() { [ "$(dots "$1")" -gt "$2" ]; }

# It hears it, also if it was paused.
start one "$GUEST"
lkvm stop --timeout $patience one
same button/stop "0 " "$status $(cat "$T/err")"
ended stop-status 0
has button/pressed "$T/out-one" 'pressed'
same button/not-before-it-listens 0 "$(grep -c early "$T/out-one")"
start two "$GUEST" --transport mmio
lkvm pause two; lkvm stop --timeout $patience two
same button/stop-paused 0 "$status"
ended stop-paused-status 0
for sandbox in on off; do
	start three "$GUEST" --grace $patience --sandbox $sandbox
	kill -TERM $pid
	ended grace-$sandbox 0
done

# It does not.
start four "$DEAF"
lkvm stop --timeout 0.3 four
same button/deaf 0 "$status"
has button/deaf-message "$T/err" '^lkvm: stop: four: it did not switch itself off within 0.3 s: it is ended$'
ended deaf-status 143
start five "$DEAF" --acpi off --grace $patience
lkvm stop --timeout $patience five
same button/none 0 "$status"
has button/none-message "$T/err" '^lkvm: stop: five: it cannot be asked to switch itself off \(--acpi off\): it is ended$'
ended none-status 143
start six "$DEAF" --grace 0.5
kill -TERM $pid
ended grace-ends 143
# The time that it is stopped is not of its grace.
start nine "$DEAF" --grace 8
kill -TERM $pid
for i in 1 2; do before=$(dots nine); wait_for "$patience" more_dots nine "$before" || not_ok button/asked "$(cat "$T/err-nine")"; done
vm=$(vm_of $pid)
kill -STOP $pid $vm; sleep 12; kill -CONT $pid $vm
before=$(dots nine)
wait_for "$patience" more_dots nine "$before" && ok button/grace-stopped || not_ok button/grace-stopped "$(cat "$T/err-nine")"
ended grace-stopped-ends 143

# With time left: a second signal, another one, or force.
for how in TERM HUP force; do
	start seven "$DEAF" --grace 1000
	kill -TERM $pid
	before=$(dots seven)
	wait_for "$patience" more_dots seven "$before" || not_ok button/goes-on-$how "$(cat "$T/err-seven")"
	if [ $how = force ]; then lkvm stop --force seven; else kill -$how $pid; fi
	ended at-once-$how "$([ $how = HUP ] && echo 129 || echo 143)"
done
start eight "$DEAF" --grace 1000
lkvm stop --force eight
ended force-first 143
