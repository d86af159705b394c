# SPDX-License-Identifier: GPL-2.0-only
# lkvm run -- COMMAND with a guest (elf64.c) that plays the first process itself: statuses, streams,
# and guests that do not keep to the protocol. FULL=1: all of them, and more bytes.
# Runs alone: what is left over is looked for on the whole machine.
mkdir "$T/root"
# command ATTACK ARGUMENTS...: as run.
options=(-k "$GUESTS/elf64" --root "$T/root" -m 64 --rng off)
command_() { local attack=$1; shift; run "${options[@]}" -p "attack=$attack" "$@" -- nix; }
# stream ATTACK ARGUMENTS...: the same with the caller's stdin and stdout; messages in $T/err.
stream() { local attack=$1; shift; timeout -k 12 $patience "$LKVM" run "${options[@]}" -p "attack=$attack" "$@" -- nix 2>"$T/err"; }
errors() { grep -c '^lkvm: ' "$1"; }
full() { [ "$every" = 1 ]; }

# ---- statuses ----

# ends NAME ATTACK STATUS MEMBERS-OF-JSON ARGUMENTS...
ends() {
	local name=$1 attack=$2 want=$3 json=$4; shift 4
	command_ "$attack" --json "$T/json" "$@"
	same "command/$name" "$want $json" "$status $(grep -oF "$json" "$T/json")"
}
ends exited "exit count=42" 42 '"outcome":"exited","status":42,"exit_code":42,'
same command/exited-says-nothing "" "$(cat "$T/err" "$T/out")"
ends signaled "signal count=9" 137 '"outcome":"signaled","status":137,"signal":9,'
ends not-found "notstarted count=2" 127 '"outcome":"exited","status":127,"exit_code":127,'
same command/not-found-names-it "lkvm: nix: No such file or directory" "$(cat "$T/err")"
full && ends exited-most "exit count=255" 255 '"outcome":"exited","status":255,"exit_code":255,'
full && ends exited-well "exit count=0" 0 '"outcome":"exited","status":0,"exit_code":0,'
full && ends signaled-most "signal count=64" 192 '"outcome":"signaled","status":192,"signal":64,'
full && ends not-executable "notstarted count=13" 126 '"outcome":"exited","status":126,"exit_code":126,'
ends switched-off "off stage=5" 255 '"outcome":"poweroff","status":255,'
same command/switched-off-is-said "lkvm: the guest was lost: it ended before the command had" "$(cat "$T/err")"
ends triple-fault "triple stage=4" 255 '"outcome":"triple-fault","status":255,'
ends timeout "loop stage=4" 124 '"outcome":"timeout","status":124,' --timeout 3
same command/timeout-shows-what-came 128 "$(stat -c %s "$T/out")"
full && ends silent "silent" 124 '"outcome":"timeout","status":124,' --timeout 3
"$LKVM" run "${options[@]}" -p attack=hold --json "$T/json" -- nix >"$T/out" 2>"$T/err" </dev/null & pid=$!
wait_for 60 grep -q 0123 "$T/out"
kill -TERM $pid; wait $pid
same command/sigterm '143 "outcome":"killed","status":143,' "$? $(grep -o '"outcome":"killed","status":143,' "$T/json")"

# ---- guests that do not keep to it ----

# hostile NAME STATUS ATTACK ARGUMENTS...: ends with this status, after one message.
hostile() {
	local name=$1 want=$2 attack=$3; shift 3
	command_ "$attack" "$@"
	same "command/hostile-$name" "$want 1" "$status $(errors "$T/err")"
	same "command/hostile-$name-prints-nothing-odd" 0 "$(LC_ALL=C tr -d '\n\t -~' <"$T/err" | wc -c)"
}
# One line each: NAME and the message. Those with + are tried in emulated hosts, too.
READY=64 STARTED=65 STDIN_CLOSED=66 STREAM_END=67 RESULTS_END=68 EXITED=69 FAILED=70 NOTICE=71
while read -r name kind rest; do
	case $name in +*) name=${name#+} ;; *) full || continue ;; esac
	hostile $name 125 "message kind=${!kind:-$kind} $rest"
	has "command/hostile-$name-is-told" "$T/err" '^lkvm: guest: its first process said '
done <<L
ready-twice READY stage=2 claim=4 a=1
ready-of-another-version READY stage=1 claim=4 a=2
ready-short READY stage=1 claim=3 a=1
ready-long READY stage=1 claim=5 a=1
started-before-ready STARTED stage=1
started-twice STARTED stage=3
started-long STARTED stage=2 claim=4
stdin-closed-long STDIN_CLOSED stage=3 claim=1
stream-twice STREAM_END stage=5 claim=16 a=1 c=128
stream-none STREAM_END stage=3 claim=16 a=0
stream-unknown STREAM_END stage=3 claim=16 a=3
stream-shorter STREAM_END stage=4 claim=16 a=1 c=127
stream-short STREAM_END stage=3 claim=15 a=1
results-unwanted RESULTS_END stage=5 claim=8
+exited-before-ready EXITED stage=1 claim=8
exited-twice EXITED stage=3 claim=8 count=2
exited-as-nobody EXITED stage=5 claim=8 a=0 b=256
signaled-as-nobody EXITED stage=5 claim=8 a=1 b=65
failed-as-nobody EXITED stage=5 claim=8 a=2 b=4096
exited-in-another-way EXITED stage=5 claim=8 a=3
exited-long EXITED stage=5 claim=9
text-long NOTICE stage=3 claim=1025
text-of-4-gigabytes NOTICE stage=3 claim=4294967295 bytes=64
unknown-0 0 stage=1
unknown-1 1 stage=2 claim=4
unknown-13 13 stage=3
unknown-63 63 stage=3
+unknown-72 72 stage=3
unknown-most 4294967295 stage=3 claim=4294967295 bytes=0
L
full && hostile stream-longer 125 longer
# Cut, or of less than was said: nothing more comes, and the machine ends.
hostile cut 255 "message kind=$EXITED stage=5 claim=8 bytes=4 off=1"
full && hostile cut-header 255 "message kind=$NOTICE stage=3 claim=100 bytes=0 off=1"
full && hostile stream-lies 255 "message kind=$STREAM_END stage=4 claim=16 a=1 c=100000 off=1"
# Text drives no terminal, and there is a bound on it.
command_ "text count=200 kind=1"
same command/hostile-text 125 $status
same command/hostile-text-is-bounded 21 "$(wc -l <"$T/err")"
same command/hostile-text-drives-nothing 0 "$(LC_ALL=C tr -d '\n -~' <"$T/err" | wc -c)"
# What is odd, but no lie.
for attack in "ports count=20" nobuffers reset pieces; do
	full || [ "$attack" = nobuffers ] || [ "$attack" = "ports count=20" ] || continue
	command_ "$attack"
	same "command/odd-${attack% *}" 6 $status
	few_lines "command/odd-${attack% *}-log" '^lkvm: console'
done
# An end in each stage.
if full; then
	for stage in 0 1 2 3 4 5; do
		hostile off-$stage 255 "off stage=$stage"
		ends triple-$stage "triple stage=$stage" 255 '"outcome":"triple-fault","status":255,'
		ends loop-$stage "loop stage=$stage" 124 '"outcome":"timeout","status":124,' --timeout 4
	done
	hostile never-ready 125 silent
	has command/hostile-never-ready-is-told "$T/err" 'nothing was heard of its first process for 60 s'
fi

# ---- streams ----

mib=$(full && echo 64 || echo 2)
head -c ${mib}M /dev/urandom >"$T/in"
sum=$(sha256sum <"$T/in")
same command/through "$sum 0" "$(cat "$T/in" | { stream echo; echo $? >"$T/status"; } | sha256sum) $(cat "$T/status")"
same command/through-says-nothing "" "$(cat "$T/err")"
# Both outputs at once, and the reader of one stops for a while.
line=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde
kib=$(full && echo 16384 || echo 256)
sum=$(yes $line | head -c ${kib}K | sha256sum)
mkfifo "$T/fifo"
for stops in out err; do
	full || [ $stops = out ] || continue
	{ [ $stops != err ] || sleep 3; sha256sum; } <"$T/fifo" >"$T/err.sum" & reader=$!
	timeout -k 12 $patience "$LKVM" run -q "${options[@]}" -p "attack=both count=$kib" -- nix </dev/null 2>"$T/fifo" |
		{ [ $stops != out ] || sleep 3; sha256sum; } >"$T/out.sum"
	wait $reader
	same command/both-and-$stops-stops "$sum $sum" "$(cat "$T/out.sum" "$T/err.sum" | tr '\n' ' ' | sed 's/ $//')"
done
command_ "early count=128"
same command/end-before-output "3 $(yes $line | head -c 128K | sha256sum)" "$status $(sha256sum <"$T/out")"
# A reader who goes.
same command/reader-goes "01234 0" "$({ stream "both count=256" </dev/null; echo $? >"$T/status"; } | head -c 5) $(cat "$T/status")"
same command/reader-goes-other-is-there $((256 * 1024)) "$(grep -v ^lkvm "$T/err" | wc -c)"
# Nothing to read, nowhere to write.
stream echo </dev/null >"$T/out"; same command/in-null "0 0" "$? $(stat -c %s "$T/out")"
stream echo <&- >"$T/out"; same command/in-closed "0 0" "$? $(stat -c %s "$T/out")"
stream "both count=64" >&- </dev/null; same command/out-closed "0 65536" "$? $(stat -c %s "$T/err")"
if full; then
	timeout $patience "$LKVM" run "${options[@]}" -p "attack=both count=64" -- nix >"$T/out" 2>&- </dev/null
	same command/err-closed "0 65536" "$? $(stat -c %s "$T/out")"
fi
# A stdin that nobody takes and that has no end.
exec 5<>"$T/fifo"
stream deaf <&5; same command/in-endless 5 $?
stream "deaf count=1" </dev/zero; same command/in-unwanted 5 $?
# Others have the caller's descriptors, too: they wait as before, during and after.
mkfifo "$T/fifo6" "$T/fifo7"; exec 6<>"$T/fifo6" 7<>"$T/fifo7"
nonblocking() { for fd in 5 6 7; do echo $((0$(awk '/^flags/ { print $2 }' /proc/self/fdinfo/$fd) & 04000)); done | xargs; }
"$LKVM" run "${options[@]}" -p attack=hold -- nix <&5 >&6 2>&7 & pid=$!
head -c 64 <&6 >/dev/null
same command/flags-during "0 0 0" "$(nonblocking)"
kill $pid; wait $pid
same command/flags-after "0 0 0" "$(nonblocking)"
exec 5<&- 6<&- 7<&-
# A reader who goes is told to who writes, as by a pipe.
{ stream babble </dev/null; echo $? >"$T/status"; } | head -c 5 >"$T/out"
same command/reader-goes-of-endless "141 01234" "$(cat "$T/status") $(cat "$T/out")"

# ---- terminals ----

export LKVM
OPTIONS="${options[*]}" expect tests/guest/command/terminal.exp keys background \
	$(full && echo kill quit term timeout hostile hangup suspend tostop)

# ---- nothing is left ----

# What one run after another may leave, and what is compared: processes, sockets, files.
mkdir "$T/tmp" "$T/results"
lab_folder=${LAB_TICKS:-}; lab_folder=${lab_folder%/*}
left() {
	pgrep -x lkvm
	# In an emulated host, another machine writes each second into the folder of LAB_TICKS.
	find "$T/tmp" "$T/root" /dev/shm /tmp -maxdepth 1 -newer "$T/begin" ! -path /tmp ! -path /dev/shm \
		! -path "$scratch" ! -path "$lab_folder"
	find "$T/results" -mindepth 1 ! -path "$T/results/file"
	awk '/lkvm/ { print $NF }' /proc/net/unix
}
nothing_left() { [ -z "$(left)" ]; }
# one NUMBER: of four kinds.
one() {
	rm -rf "$T/results"/*
	case $(($1 % 4)) in
	0) set -- results --out "$T/results" ;;
	1) set -- "exit count=3" ;;
	2) set -- "message kind=72 stage=3" ;;
	3) set -- "off stage=4" --json "$T/json" ;;
	esac
	local attack=$1; shift
	exec "$LKVM" run "${options[@]}" -p "attack=$attack" "$@" -- nix >"$T/out" 2>"$T/err" </dev/null
}
wanted=(0 3 125 255)
# In the emulated host a run takes a second or two, and so do the moments.
if [ $patience = 60 ]; then runs=$(full && echo 1000 || echo 200) moment=60 each=20; else
	runs=$(full && echo 200 || echo 4) moment=1800 each=$(full && echo 20 || echo 4); fi
export TMPDIR=$T/tmp
wrong=0 partial=0 killed=0 RANDOM=1
touch "$T/begin"
for i in $(seq "$runs"); do
	(one "$i") & pid=$!
	if [ $((i % each)) = 0 ]; then
		# Results are the ones to be killed in, with and without the process in front.
		sleep "$(awk -v ms=$((RANDOM % moment)) 'BEGIN { print ms / 1000 }')"
		vm=$(pgrep -P $pid -x lkvm)
		kill -KILL $pid 2>/dev/null
		[ $((i / each % 2)) = 0 ] || [ -z "$vm" ] || kill -KILL $vm 2>/dev/null
		wait $pid 2>/dev/null
		killed=$((killed + 1))
		wait_for 30 nothing_left || not_ok command/killed-leaves-nothing "run $i:" "$(left)"
	else
		wait $pid; status=$?
		[ $status = ${wanted[i % 4]} ] || { wrong=$((wrong + 1)); echo "# run $i: $status"; sed 's/^/# /' "$T/err"; }
		[ $((i % 4)) != 0 ] || [ -s "$T/results/file" ] || wrong=$((wrong + 1))
	fi
	[ ! -e "$T/results/file" ] || [ $(stat -c %s "$T/results/file") = 32768 ] || partial=$((partial + 1))
done
same command/statuses-of-$runs 0 $wrong
same command/results-are-whole 0 $partial
wait_for 30 nothing_left && ok command/nothing-left || not_ok command/nothing-left "$(left)"

# ---- many at once ----

many=$(full && echo 8 || echo 2)
for i in $(seq $many); do
	(timeout $patience "$LKVM" run "${options[@]}" -p "attack=exit count=$((40 + i))" -- nix >"$T/many$i" 2>&1 </dev/null; echo $? >"$T/status$i") &
done
wait
same command/many "$(seq 41 $((40 + many)) | xargs)" "$(cat "$T"/status[1-8] | xargs)"
same command/many-say-nothing "" "$(cat "$T"/many*)"
wait_for 30 nothing_left && ok command/many-leave-nothing || not_ok command/many-leave-nothing "$(left)"
