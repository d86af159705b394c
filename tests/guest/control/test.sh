# SPDX-License-Identifier: GPL-2.0-only
# VMs that run are found, told to end and waited for; the dead leave nothing; a hanging one holds up nobody.

# start NAME ARGUMENTS...: in the background, its PID in $pid, when its guest runs.
start() {
	local name=$1; shift
	"$LKVM" run --flat "$GUEST" --name "$name" "$@" >"$T/out-$name" 2>"$T/err-$name" </dev/null &
	pid=$!
	wait_for "$patience" grep -q up "$T/out-$name" || not_ok "control/$name-starts" "$(cat "$T/err-$name")"
}
# lkvm ARGUMENTS...: another command, with its status in $status.
lkvm() { timeout "$patience" "$LKVM" "$@" >"$T/out" 2>"$T/err" </dev/null; status=$?; }
# What is in the directory.
files() { ls "$XDG_RUNTIME_DIR/lkvm" 2>/dev/null | tr '\n' ' '; }

lkvm list
same control/none-listed "0 1" "$status $(wc -l <"$T/out")"
start one -m 64; one=$pid
start two -c 2 -m 3; two=$pid
same control/files "one.lock one.sock two.lock two.sock " "$(files)"
same control/modes "700 600 600" "$(cd "$XDG_RUNTIME_DIR" && stat -c %a lkvm lkvm/one.lock lkvm/one.sock | tr '\n' ' ' | sed 's/ $//')"
lkvm list
has control/list-one "$T/out" "^one +$one running +1 +64M +[0-9].*s .*/guest$"
has control/list-two "$T/out" "^two +$two running +2 +3M +[0-9].*s .*/guest$"
lkvm list -q
same control/list-names "one two " "$(tr '\n' ' ' <"$T/out")"
lkvm list --json
has control/list-json "$T/out" "^\{\"v\":1,\"vms\":\[\{\"name\":\"one\",\"pid\":$one,\"state\":\"running\",\"cpus\":1,\"mem_mib\":64,\"uptime_ms\":[0-9]+,\"kernel\":\".*/guest\",\"command\":null,\"parent\":null\},.*\]\}$"

# Looked at while it runs, it stands for the moment: neither to resume it nor to end it then is wrong. Each
# request on a connection has its answer.
answers() { [ "$(wc -l <"$T/answers")" -ge "$1" ]; }
# ask NUMBER REQUEST...: until that many lines were answered.
ask() {
	local nr=$1; shift
	: >"$T/answers"
	{ printf '%s\n' "$@"; exec sleep 1000; } | socat - "UNIX-CONNECT:$XDG_RUNTIME_DIR/lkvm/two.sock" >"$T/answers" &
	wait_for "$patience" answers "$nr"
	kill $!
}
ask 7 '{"v":1,"do":"regs","cpu":0}' '{"v":1,"do":"resume"}' '{"v":1,"do":"regs","cpu":1}' '{"v":1,"do":"regs","cpu":0}'
same control/regs-and-resume "7 0" "$(grep -c '"ok":true' "$T/answers") $(grep -vc '"ok":true' "$T/answers")"
lkvm pause two
ask 5 '{"v":1,"do":"regs","cpu":0}' '{"v":1,"do":"regs","cpu":0}' '{"v":1,"do":"resume"}'
same control/regs-of-paused "5 0" "$(grep -c '"ok":true' "$T/answers") $(grep -vc '"ok":true' "$T/answers")"

# Paused: nothing happens until it is resumed; twice is once.
dots() { wc -c <"$T/out-two"; }
more_than() { [ "$(dots)" -gt "$1" ]; }
wait_for "$patience" more_than 10 || not_ok control/runs "$(dots)"
lkvm pause two one
same control/pause 0 "$status"
lkvm pause two
same control/pause-again 0 "$status"
lkvm list
has control/list-paused "$T/out" "^two +$two paused "
has control/list-paused-too "$T/out" "^one +$one paused "
before=$(dots)
lkvm list; lkvm list
same control/paused-is-still "$before" "$(dots)"
lkvm resume two one
same control/resume 0 "$status"
wait_for "$patience" more_than "$before" && ok control/resumed || not_ok control/resumed "$(dots)"
lkvm resume two
same control/resume-again 0 "$status"
for i in 1 2 3 4; do "$LKVM" pause two && "$LKVM" resume two || not_ok "control/pause-$i" "$?"; done
before=$(dots)
wait_for "$patience" more_than "$before" && ok control/more-pauses || not_ok control/more-pauses "$(dots)"

# A paused one ends as others do: by stop, by a signal, by its time limit.
start p1; p1=$pid
start p2; p2=$pid
start p3 --timeout 12; p3=$pid
lkvm pause p1 p2 p3
same control/pause-three 0 "$status"
lkvm stop --timeout 0.3 p1
wait $p1; same control/paused-stop "0 143" "$status $?"
kill -TERM $p2
wait $p2; same control/paused-signal 143 "$?"
wait $p3; same control/paused-timeout 124 "$?"

# A name that is taken; one that is free again.
run --flat "$GUEST" --name one
same control/taken 125 "$status"
has control/taken-message "$T/err" '^lkvm: name: one: a VM of that name is running$'
same control/taken-one-message 1 "$(grep -c '^lkvm: ' "$T/err")"
"$LKVM" wait one >"$T/out" 2>&1 & waiter=$!
lkvm stop --timeout 0.3 one
same control/stop 0 "$status"
same control/stop-files "two.lock two.sock " "$(files)"
wait $one; same control/stop-status 143 "$?"
wait $waiter; same control/wait-status 143 "$?"
lkvm stop --timeout 0.3 one
same control/stop-gone 125 "$status"
has control/stop-gone-message "$T/err" '^lkvm: one: no such VM$'

# One that hangs holds up nobody, and is ended all the same.
start three; three=$pid
kill -STOP "$(vm_of "$two")"
begin=$(now_ms)
lkvm list
[ $(($(now_ms) - begin)) -lt $((patience * 100)) ] || not_ok control/list-bound "$(($(now_ms) - begin)) ms"
has control/list-hanging "$T/out" "^two +$two \? "
has control/list-beside "$T/out" "^three +$three running "
"$LKVM" wait two >"$T/wait" 2>&1 & waiter=$!
kill -STOP $two
lkvm stop --force two
same control/force 0 "$status"
wait $two; same control/force-status 137 "$?"
wait $waiter; same control/wait-killed 1 "$?"
has control/wait-killed-message "$T/wait" '^lkvm: wait: two: it has ended without telling how$'

# Killed: the next one who looks removes what is left. Without a supervisor there is a broker for it.
vm=$(vm_of "$three")
kill -KILL $three; wait $three 2>/dev/null
wait_for "$patience" test ! -e "/proc/$vm" || not_ok control/killed-ends "process $vm"
if [ "$vm" = "$three" ]; then
	wait_for "$patience" test ! -e "$XDG_RUNTIME_DIR/lkvm/three.lock"
	same control/killed-leaves "" "$(ls "$XDG_RUNTIME_DIR/lkvm" | grep three)"
else
	same control/killed-leaves "three.lock three.sock" "$(ls "$XDG_RUNTIME_DIR/lkvm" | grep three | xargs)"
fi
lkvm list -q
same control/killed-unlisted "" "$(cat "$T/out")"
same control/killed-files "" "$(files)"

# Without a supervisor, with one that ends by itself, and without a name.
start four --sandbox off
lkvm list -q
same control/alone-listed four "$(cat "$T/out")"
lkvm stop --all --timeout 0.3
same control/alone-stop 0 "$status"
wait $pid; same control/alone-status 143 "$?"
wait_for "$patience" test ! -e "$XDG_RUNTIME_DIR/lkvm/four.lock"
same control/alone-files "" "$(files)"
run --flat "$GUESTS/../poweroff/guest"
same control/own-end "0 " "$status $(files)"

# Nowhere to be found, but running; another user sees nothing.
chmod 755 "$XDG_RUNTIME_DIR/lkvm"
run --flat "$GUESTS/../poweroff/guest" -v
same control/without-entry 0 "$status"
has control/without-entry-message "$T/err" '^lkvm: control: .*/lkvm: Operation not permitted$'
lkvm list
same control/bad-directory 125 "$status"
chmod 700 "$XDG_RUNTIME_DIR/lkvm"
if is_host_root; then
	start five; five=$pid
	chmod 755 "$XDG_RUNTIME_DIR"
	setpriv --reuid 65534 --regid 65534 --clear-groups ls "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/lkvm" >"$T/out" 2>"$T/err"
	has control/other-user "$T/out" '^lkvm$'
	has control/other-user-sees-nothing "$T/err" 'Permission denied'
	lkvm list -q
	same control/other-user-runs five "$(cat "$T/out")"
	lkvm stop --timeout 0.3 five
	wait $five; same control/other-user-stopped 143 $?
fi

# In the background: its name, and it returns; nothing of the caller's stays open.
name=$("$LKVM" run -D --flat "$GUEST" --name back --json "$T/json" --console-log "$T/log" 2>&1); status=$?
same control/detach "0 back" "$status $name"
lkvm list -q
same control/detach-listed back "$(cat "$T/out")"
pid=$("$LKVM" list --json | grep -o '"pid":[0-9]*' | grep -o '[0-9]*$')
same control/detach-session "$pid" "$(ps -o sid= -p "$pid" | tr -d ' ')"
vm=$(vm_of "$pid")
same control/detach-descriptors "" "$(ls -l /proc/$vm/fd /proc/$pid/fd | grep -E "pts|tty|$T/" | grep -vE '/(log|json)$')"
wait_for "$patience" grep -q 'up' "$T/log" && ok control/detach-log || not_ok control/detach-log
"$LKVM" wait back & waiter=$!
lkvm stop back
wait $waiter; same control/detach-wait 143 $?
has control/detach-json "$T/json" '"outcome":"killed","status":143,'
same control/detach-files "" "$(files)"
# What cannot start, or has ended before it ran, says so in front.
run -D -k "$T/nosuch" --name back
same control/detach-no-kernel 125 "$status"
has control/detach-no-kernel-message "$T/err" '^lkvm: kernel: .*/nosuch: No such file or directory$'
run -D --flat "$GUEST" --die-with-parent
same control/detach-no-parent 125 "$status"
run -D -m 64 --flat "$GUEST" --timeout 0.000001
same control/detach-no-time "124 " "$status $(cat "$T/out")"
chmod 755 "$XDG_RUNTIME_DIR/lkvm"
run -D --flat "$GUEST"
same control/detach-unfindable "125 1" "$status $(grep -c '^lkvm: detach: ' "$T/err")"
chmod 700 "$XDG_RUNTIME_DIR/lkvm"
# Its time limit is its own; so is its end. Whoever started it may have gone.
run -D --flat "$GUEST" --timeout 1
name=$(cat "$T/out")
"$LKVM" wait "$name" >"$T/out" 2>&1
case $? in 124 | 125) ok control/detach-timeout ;; *) not_ok control/detach-timeout $? ;; esac
same control/detach-all-gone "" "$(files)"
# Its time is up at any moment of its start: it has no entry any more.
for t in 0.002 0.005 0.01 0.02 0.04 0.08 0.12 0.16 0.2 0.3; do run --flat "$GUEST" --timeout $t; done
same control/early-end-leaves-nothing "124 " "$status $(files)"

# Consoles: two that read, and a terminal that types; what came before is there; it leaves, and ends it.
E=$GUESTS/../echo/guest
run -D --flat "$E" --name eco
same control/console-detached "0 eco" "$status $(cat "$T/out")"
printf 'first\n' | timeout "$patience" "$LKVM" console eco >"$T/reader1" 2>&1 & reader1=$!
wait_for "$patience" grep -q first "$T/reader1" || not_ok control/console-pipe "$(cat "$T/reader1")"
timeout "$patience" "$LKVM" console eco >"$T/reader2" 2>&1 </dev/null & reader2=$!
wait_for "$patience" grep -q first "$T/reader2" && ok control/console-before || not_ok control/console-before "$(cat "$T/reader2")"
export LKVM T
cat >"$T/expect" <<'X'
log_user 0
set timeout 60
spawn -noecho bash --norc --noprofile
send "PS1=prompt:; before=\$(stty -g); echo rea''dy\r"
expect "ready"
foreach {keys shown end} {"ab\003\001\001c" "ab\003\001c" "\001d" "last" "last" "\001x"} {
	send "$env(LKVM) console eco; echo status=\$?; \[ \"\$before\" = \"\$(stty -g)\" \] && echo same''-terminal\r"
	expect "Ctrl-A d leaves"
	expect "first" { puts "history" }
	send $keys
	expect $shown { puts "echoed" }
	send $end
	expect "status=0" { puts "left" }
	expect "same-terminal" { puts "restored" }
}
send "exit\r"
expect eof
X
same control/console-terminal "history echoed left restored history echoed left restored" "$(expect "$T/expect" | tr -d '\r' | xargs)"
wait $reader1; same control/console-reader-ends 0 $?
wait $reader2; same control/console-readers-agree "0 $(sha256sum <"$T/reader1")" "$? $(sha256sum <"$T/reader2")"
has control/console-reader-saw "$T/reader1" 'last$'
same control/console-ended "" "$(files)"
# The log; a VM without input; a reader that does not read holds up nobody.
run -D --flat "$GUEST" --name two
wait_for "$patience" sh -c '"$LKVM" console --log two | grep -q up' && ok control/console-log || not_ok control/console-log
"$LKVM" console two >"$T/stopped" 2>&1 </dev/null & reader=$!
wait_for "$patience" grep -q up "$T/stopped" || not_ok control/console-reads "$(cat "$T/stopped")"
kill -STOP $reader
# Its stdin is another's, too, who is quicker: it shows what comes all the same.
mkfifo "$T/shared"; exec 8<>"$T/shared"
cat <&8 >/dev/null & other=$!
"$LKVM" console two <&8 >"$T/shown" 2>&1 & reader2=$!
wait_for "$patience" grep -q up "$T/shown" || not_ok control/console-shares "$(cat "$T/shown")"
for i in $(seq 500); do echo key >&8; done
shown_more() { [ "$(wc -c <"$T/shown")" -gt "$1" ]; }
wait_for "$patience" shown_more "$(wc -c <"$T/shown")" && ok control/console-shared || not_ok control/console-shared
kill $other $reader2; exec 8>&-
"$LKVM" console two </dev/null 2>"$T/err" | head -c 3 >"$T/head"
same control/console-pipe-ends "up" "$(head -n 1 "$T/head" | tr -d '\r')"
lkvm stop two
same control/console-stop 0 "$status"
kill -CONT $reader; wait $reader; same control/console-stopped-reader 0 $?
lkvm console two
same control/console-none 125 "$status"
lkvm console
same control/console-no-name 125 "$status"
