# SPDX-License-Identifier: GPL-2.0-only
# A guest that is saved and restored again and again, at any moment, prints what it prints without; clones of
# one snapshot do so at once; a snapshot that is no good is refused in words; whatever fails, the VM runs on.
# FULL=1: fifty times, by mmio as well, and each lie about a file.
lines=900 cycles=2
[ -z "$FULL" ] || cycles=50 lines=15000
[ -z "$VARIANT" ] || cycles=1
L=$T/c

# snapshot NAME DIR ARGUMENTS...: its status in $status, what it said in $T/said.
snapshot() { timeout "$patience" "$LKVM" snapshot "$@" >"$T/said" 2>&1 </dev/null; status=$?; }
# begin NUMBER ARGUMENTS...: VM vmNUMBER, its output in $L/NUMBER, its process in $pid.
begin() {
	local n=$1; shift
	timeout -k 12 $((3 * patience)) "$LKVM" run --name "vm$n" "$@" >"$L/$n" 2>"$L/err$n" </dev/null & pid=$!
}
printed() { [ -s "$L/$1" ]; }
expected() { for ((i = 0; i < lines; i++)); do printf 'line %x\n' $i; done; echo done; }
expected >"$T/expected"
mkdir "$L"

# chain TRANSPORT: each VM goes on where the last one was stopped, until the guest has ended.
chain() {
	local transport=$1 last=0 n
	rm -f "$L"/*
	begin 0 -k "$GUESTS/elf64" -m 64 -p attack=$lines --transport $transport
	for ((n = 1; n <= cycles; n++)); do
		wait_for "$patience" printed $last || not_ok snapshot/$transport-starts-$n "$(cat "$L/err$last")"
		sleep 0.0$((RANDOM % 90 + 10))
		snapshot vm$last "$T/s-$transport" --stop
		same snapshot/$transport-saved-$n "0 " "$status $(cat "$T/said")"
		wait $pid; same snapshot/$transport-stopped-$n 0 $?
		begin $n --restore "$T/s-$transport"
		last=$n
	done
	wait $pid; same snapshot/$transport-status 0 $?
	for ((n = 0; n <= last; n++)); do cat "$L/$n"; done >"$T/all"
	same snapshot/$transport-output "$(md5sum <"$T/expected")" "$(md5sum <"$T/all")"
	cmp -s "$T/expected" "$T/all" || not_ok snapshot/$transport-differs "$(diff "$T/expected" "$T/all" | head -n 20)" "$(cat "$L"/err*)"
}

chain pci
same snapshot/modes "700 600" "$(cd "$T/s-pci" && stat -c %a . snapshot | tr '\n' ' ' | sed 's/ $//')"
same snapshot/alone "snapshot " "$(ls -A "$T/s-pci" | tr '\n' ' ')"
[ "$(stat -c %b "$T/s-pci/snapshot")" -lt 16384 ] && ok snapshot/sparse || not_ok snapshot/sparse "$(ls -ls "$T/s-pci")"

# The last one, three times at once, and the one that goes on.
before=$(md5sum <"$T/s-pci/snapshot")
pids=() clones="a b"
[ -z "$FULL" ] || clones="a b c0 c1 c2 c3 c4 c5"
for n in $clones; do begin $n --restore "$T/s-pci"; pids+=($pid); done
for n in $clones; do
	wait ${pids[0]}; same snapshot/clone-$n 0 $?
	pids=("${pids[@]:1}")
	same snapshot/clone-$n-ends "$(tail -c "$(wc -c <"$L/$n")" "$T/expected" | md5sum) done" "$(md5sum <"$L/$n") $(tail -n 1 "$L/$n")"
done
same snapshot/file-untouched "$before" "$(md5sum <"$T/s-pci/snapshot")"

# refused NAME WHAT ARGUMENTS...: status 125 and a message.
refused() {
	local name=$1 what=$2; shift 2
	run "$@"
	same snapshot/$name 125 "$status"
	has snapshot/$name-says "$T/err" "$what"
}
damaged() { rm -rf "$T/d"; cp -r --sparse=always "$T/s-pci" "$T/d"; }
damaged; truncate -s -4096 "$T/d/snapshot"
refused cut "it was cut" --restore "$T/d"
refused disks "0 disks, and the command line names 1" --restore "$T/s-pci" -d /dev/null,ro
[ -z "$FULL" ] || {	# unit/snapshot has all of these
damaged; printf 'X' | dd of="$T/d/snapshot" bs=1 seek=40 conv=notrunc 2>"$T/dd"
refused header "header is damaged" --restore "$T/d"
damaged; printf 'X' | dd of="$T/d/snapshot" bs=1 seek=5000 conv=notrunc 2>"$T/dd"
refused state "damaged" --restore "$T/d"
damaged; printf '\377' | dd of="$T/d/snapshot" bs=1 seek=8 conv=notrunc 2>"$T/dd"
refused format "another build" --restore "$T/d"
refused cpus "--cpus cannot be given" --restore "$T/s-pci" -c 2
}

# It cannot be written: the old one is whole, and the VM runs on.
begin d -k "$GUESTS/elf64" -m 64 -p attack=999999; first=$pid
wait_for "$patience" printed d || not_ok snapshot/starts-d "$(cat "$L/errd")"
(ulimit -f 8; snapshot vmd "$T/s-pci" --stop; echo "$status $(cat "$T/said")") >"$T/limited"
has snapshot/limited "$T/limited" "^1 lkvm: snapshot: .*: File too large"
same snapshot/old-one "$before" "$(md5sum <"$T/s-pci/snapshot")"
same snapshot/nothing-left "snapshot " "$(ls -A "$T/s-pci" | tr '\n' ' ')"
# ... whichever call it is that a full disk refuses: each write of those that one takes, and what ends it.
# fails CALL NUMBER: a snapshot of which that call fails. False when it has no such call any more.
fails() {
	LD_PRELOAD=$TOOLS/fault.so FAULT=$1:28:$2:1 timeout "$patience" "$LKVM" snapshot vmd "$T/s-old" >"$T/said" 2>&1 </dev/null
	status=$?
	[ $status != 0 ]
}
if [ -z "$VARIANT" ]; then	# sanitizers come first of all that is preloaded
snapshot vmd "$T/s-old"
steps=1; [ -n "$FULL" ] || steps=40
for call in ftruncate64 pwritev2 fsync linkat; do
	old=$(md5sum <"$T/s-old/snapshot") n=1 wrong=
	while fails $call $n; do
		# The second fsync(2) is the directory's: the new one is there.
		[ $call$n != fsync2 ] || old=$(md5sum <"$T/s-old/snapshot")
		[ "$status $old $(ls -A "$T/s-old")" = "1 $(md5sum <"$T/s-old/snapshot") snapshot" ] ||
			wrong="$wrong, $n: $status, $(ls -A "$T/s-old")"
		grep -q '^lkvm: snapshot: .*: No space left on device$' "$T/said" || wrong="$wrong, $n: $(cat "$T/said")"
		[ $n -lt 500 ] || break
		n=$((n + (n > 3 ? steps : 1)))
	done
	same snapshot/full-disk-$call "" "$wrong"
	[ $n -gt 1 ] && ok snapshot/full-disk-$call-seen || not_ok snapshot/full-disk-$call-seen "$(cat "$T/said")"
done
fi
# Whoever writes it is killed, at any moment: the same. What was there before is whole, or the new one is.
kills=4; [ -z "$FULL" ] || kills=40
cp "$T/s-pci/snapshot" "$T/kept"
for ((i = 0; i < kills; i++)); do
	"$LKVM" snapshot vmd "$T/s-pci" >"$T/said" 2>&1 & client=$!
	sleep 0.$(printf %03d $((RANDOM % 60)))
	kill -9 $client 2>"$T/killed"; wait $client 2>"$T/killed"
done
timeout "$patience" "$LKVM" run --restore "$T/s-pci" --dry-run >"$T/said" 2>&1
same snapshot/whole-after-kills 0 $?
cp "$T/kept" "$T/s-pci/snapshot"; rm -f "$T/s-pci"/.[!.]*
snapshot vmd "$T/s-new"
same snapshot/goes-on "0 " "$status $(cat "$T/said")"
# Who goes on from it is its clone, and says so.
begin e --restore "$T/s-new"; clone=$pid
wait_for "$patience" printed e || not_ok snapshot/starts-e "$(cat "$L/erre")"
"$LKVM" list --json >"$T/list"
has snapshot/parent "$T/list" "\"name\":\"vme\",[^{]*\"parent\":\"$(cd "$T/s-new" && pwd -P)\""
has snapshot/no-parent "$T/list" '"name":"vmd",[^{]*"parent":null'
timeout "$patience" "$LKVM" stop --force vme; wait $clone
# Paused it stays so; and another snapshot does not disturb it.
timeout "$patience" "$LKVM" pause vmd
at=$(wc -c <"$L/d")
snapshot vmd "$T/s-new"
same snapshot/paused "0 $at" "$status $(wc -c <"$L/d")"
timeout "$patience" "$LKVM" resume vmd >"$T/said" 2>&1
same snapshot/resume "0 " "$? $(cat "$T/said")"
more() { [ "$(wc -c <"$L/d")" -gt "$1" ]; }
wait_for "$patience" more "$at" && ok snapshot/resumed || not_ok snapshot/resumed "$(cat "$L/errd")" "$("$LKVM" list --json)"
timeout "$patience" "$LKVM" stop --force vmd
wait $first; same snapshot/its-end 143 $?
n=$(grep -c . "$L/d")
for ((i = 0; i < n; i++)); do printf 'line %x\n' $i; done >"$T/counted"
cmp -s -n "$(wc -c <"$L/d")" "$L/d" "$T/counted" && ok snapshot/all-the-same || not_ok snapshot/all-the-same "$(diff "$L/d" "$T/counted" | head -n 5)"

[ -z "$FULL" ] || chain mmio
