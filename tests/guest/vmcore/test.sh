# SPDX-License-Identifier: GPL-2.0-only
# A vmcore of a VM that runs, that is paused, that is lost: what is in it, and what becomes of the VM
# and of the file if the file's disk is full or whoever writes it goes away.

# start NAME ARGUMENTS...: in the background, its PID in $pid, when its guest runs.
start() {
	local name=$1; shift
	"$LKVM" run --flat "$GUEST" --name "$name" "$@" >"$T/out-$name" 2>"$T/err-$name" </dev/null &
	pid=$!
	wait_for "$patience" grep -q up "$T/out-$name" || not_ok "vmcore/$name-starts" "$(cat "$T/err-$name")"
}
lkvm() { timeout "$patience" "$LKVM" "$@" >"$T/out" 2>"$T/err" </dev/null; status=$?; }
# dump NAME FILE
dump() { lkvm debug "$1" --dump "$2"; }
dots() { wc -c <"$T/out-$1"; }
more_than() { [ "$(dots "$1")" -gt "$2" ]; }
goes_on() { local n; n=$(dots "$2"); wait_for "$patience" more_than "$2" "$n" && ok "$1" || not_ok "$1" "$n"; }
state() { "$LKVM" list | awk -v n="$1" '$1 == n { print $3 }'; }
# memory FILE ADDRESS: four bytes of physical memory, found by the headers.
memory() {
	local at
	at=$(eu-readelf -l "$1" | while read -r type offset virtual physical bytes rest; do
		[ "$type" = LOAD ] || continue
		[ $(($2)) -lt $((physical)) ] || [ $(($2)) -ge $((physical + bytes)) ] || echo $((offset + $2 - physical))
	done)
	[ -n "$at" ] && od -An -tx4 -j "$at" -N 4 "$1" | tr -d ' '
}
mkdir "$T/d"

# While it runs, and on it goes.
start one -c 2 -m 64
dump one "$T/d/core"
same vmcore/status "0 " "$status $(grep -v VMCOREINFO "$T/err")"
has vmcore/no-vmcoreinfo "$T/err" "^lkvm: dump: $T/d/core: the kernel in it has no VMCOREINFO"
goes_on vmcore/runs-on one
same vmcore/mode "core 600" "$(cd "$T/d" && stat -c '%n %a' .* * 2>/dev/null | grep -v '^\.\.* ')"
eu-readelf -a "$T/d/core" >"$T/elf" 2>&1
same vmcore/elf "0 0" "$? $(grep -ciE 'invalid|error|cannot|warning' "$T/elf")"
same vmcore/cpus "1 2" "$(sed -n 's/^ *pid: \([0-9]*\),.*/\1/p' "$T/elf" | xargs)"
has vmcore/rbx "$T/elf" "rbx: +$((0x12345678))$"
has vmcore/rdi "$T/elf" "rdi: +$((0x13572468)) "
has vmcore/rbp "$T/elf" "rbp: +0x000000009abcdef0 "
for a in 0x20000 0x20004 0x2abc8 0x9fffc; do
	same "vmcore/memory-$a" "$(printf %08x $a)" "$(memory "$T/d/core" $a)"
done
same vmcore/beyond 00000000 "$(memory "$T/d/core" 0x3fffffc)"
same vmcore/end "" "$(memory "$T/d/core" 0x4000000)"
[ "$(du -k "$T/d/core" | cut -f1)" -lt 2048 ] && ok vmcore/sparse || not_ok vmcore/sparse "$(du -k "$T/d/core")"

# Paused it stays so; two dumps are the same, byte for byte.
lkvm pause one
dump one "$T/d/a"
same vmcore/of-paused 0 "$status"
dump one "$T/d/b"
same vmcore/of-paused-again "0 paused" "$status $(state one)"
cmp "$T/d/a" "$T/d/b" && ok vmcore/equal || not_ok vmcore/equal
lkvm resume one
goes_on vmcore/resumed one

# Names: a core is replaced, what is none is not.
echo mine >"$T/d/text"
dump one "$T/d/a"
same vmcore/replaces 0 "$status"
dump one "$T/d/text"
same vmcore/keeps "125 mine" "$status $(cat "$T/d/text")"
has vmcore/keeps-message "$T/err" 'there is a file of that name, and it is no core file$'
dump nobody "$T/d/x"
same vmcore/nobody "125" "$status"
rm "$T"/d/*

# Whoever takes it takes his time, and the CPUs stand; pauses are another matter; and they go on when he is gone.
is_busy() { lkvm debug "$1" --dump "$T/d/x"; grep -q 'another dump of it is under way$' "$T/err"; }
mkfifo "$T/requests"; exec 7<>"$T/requests"	# which has no end
is_held() { "$LKVM" list | grep -qE "^$1 .* (halted|paused) "; }
hold() {
	echo '{"v":1,"do":"dump"}' >&7
	socat -u - "UNIX-CONNECT:$XDG_RUNTIME_DIR/lkvm/$1.sock" <"$T/requests" &
	holder=$!
	# Its request has to come first: who asks later is refused. One that was paused does not show that it came.
	wait_for "$patience" is_held "$1" || not_ok vmcore/held "$("$LKVM" list)"
	pause_for 1
	wait_for "$patience" is_busy "$1" || not_ok vmcore/holds "$(cat "$T/err")"
	rm -f "$T/d/x"
}
let_go() { kill -9 $holder; wait $holder 2>/dev/null; }
stands() { local n; n=$(dots "$2"); sleep 0.5; same "$1" "$n" "$(dots "$2")"; }
hold one
dump one "$T/d/x"
same vmcore/one-at-a-time "1 " "$status $(ls -A "$T/d")"
stands vmcore/stands one
let_go
goes_on vmcore/killed-client one
hold one
lkvm pause one
same vmcore/pause-meanwhile 0 "$status"
let_go
stands vmcore/stays-paused one
hold one
lkvm resume one
same vmcore/resume-meanwhile 0 "$status"
stands vmcore/resumes-later one
let_go
goes_on vmcore/resumed-later one
"$LKVM" debug one --dump "$T/d/x" 2>/dev/null & holder=$!
sleep 0.05
let_go
same vmcore/killed-leaves "" "$(ls -A "$T/d" | grep -v '^x$')"
goes_on vmcore/killed-runs-on one

# A full disk: the VM runs on, and nothing is left.
if is_host_root; then
	mkdir "$T/small"
	mount -t tmpfs -o size=256k small "$T/small"
	dump one "$T/small/core"
	same vmcore/full "1 " "$status $(ls -A "$T/small")"
	has vmcore/full-message "$T/err" "^lkvm: dump: $T/small/core: No space left on device$"
	umount "$T/small"
	goes_on vmcore/full-runs-on one
fi

# It ends meanwhile.
hold one
lkvm stop one
same vmcore/stop-meanwhile 0 "$status"
wait $pid
same vmcore/stop-status 143 $?
let_go

# Large, of which little was touched.
start large -c 4 -m 5G
begin=$(now_ms)
dump large "$T/d/large"
took=$(($(now_ms) - begin))
same vmcore/large "0 4" "$status $(eu-readelf -n "$T/d/large" | grep -c 'PRSTATUS')"
[ "$took" -lt 10000 ] && ok vmcore/large-time || not_ok vmcore/large-time "$took ms"
[ "$(stat -c %s "$T/d/large")" -gt 5368709120 ] && [ "$(du -k "$T/d/large" | cut -f1)" -lt 2048 ] && ok vmcore/large-size ||
	not_ok vmcore/large-size "$(stat -c '%s %b' "$T/d/large")"
echo "# 4 CPUs, 5 GiB: $took ms, $(du -k "$T/d/large" | cut -f1) KiB"
lkvm stop large

# A guest that is lost leaves one, and no other does.
rm -f "$T"/d/*
cp "$GUEST" "$T/panics"
printf r | dd of="$T/panics" bs=1 seek=8 conv=notrunc status=none
panics() { run --flat "$T/panics" -m 64 --dump-on-panic "$@"; }
panics "$T/d/core"
same vmcore/panic "255 core 600" "$status $(cd "$T/d" && stat -c '%n %a' .* * 2>/dev/null | grep -v '^\.\.* ')"
has vmcore/panic-message "$T/err" "^lkvm: dump: $T/d/core: the guest's memory and registers"
same vmcore/panic-memory 0002abc8 "$(memory "$T/d/core" 0x2abc8)"
eu-readelf -a "$T/d/core" >"$T/elf" 2>&1
has vmcore/panic-rbx "$T/elf" "rbx: +$((0x12345678))$"
panics "$T/d/core" --sandbox off
same vmcore/panic-again "255 core" "$status $(ls -A "$T/d")"
rm "$T/d/core"
run --flat "$GUESTS/../poweroff/guest" --dump-on-panic "$T/d/core"
same vmcore/good-end "0 " "$status $(ls -A "$T/d")"
run --flat "$GUESTS/../triple-fault/guest" --dump-on-panic "$T/d/core"
same vmcore/triple-fault "255 core" "$status $(ls -A "$T/d")"
rm "$T/d/core"
panics "$T/d/core" --dry-run
same vmcore/dry-run "0 " "$status $(ls -A "$T/d")"
panics "$T/text/core"
same vmcore/nowhere 125 "$status"
start killed --dump-on-panic "$T/d/core"
kill -KILL $pid; wait $pid 2>/dev/null
is_empty() { [ -z "$(ls -A "$1")" ]; }
wait_for "$patience" is_empty "$T/d" && ok vmcore/killed-nothing-left || not_ok vmcore/killed-nothing-left "$(ls -A "$T/d")"
if is_host_root; then
	mount -t tmpfs -o size=256k small "$T/small"
	panics "$T/small/core"
	same vmcore/panic-full "255 " "$status $(ls -A "$T/small")"
	has vmcore/panic-full-message "$T/err" "^lkvm: dump: $T/small/core: No space left on device$"
	umount "$T/small"
fi
