# SPDX-License-Identifier: GPL-2.0-only
# VMs that run: they are asked to end, stock kernels by their power button and commands by SIGTERM;
# paused, counted, many at once.
# Modules of its kernels are in /lib/modules.

mkdir -p /run	# where they are found

# when SECONDS COMMAND...: as soon as it succeeds; fails if it never does.
when() { local n=$1; shift; while ! "$@" 2>/dev/null; do n=$((n - 1)); [ $n -gt 0 ] || return 1; sleep 1; done; }
# start PATTERN ARGUMENTS...: lkvm run in the background, its PID in $pid, when /tmp/out has a line like that.
start() {
	local pattern=$1; shift
	: >/tmp/out
	lkvm run "$@" >>/tmp/out 2>/tmp/err </dev/null & pid=$!
	when 240 grep -q "$pattern" /tmp/out || not_ok running/starts "no $pattern in:" "$(tail /tmp/out /tmp/err)"
}
# stops NAME SECONDS: lkvm stop NAME is done within them, and says nothing.
stops() {
	local begin=$(date +%s)
	lkvm stop --timeout 120 $1 >/tmp/stop 2>&1
	same running/stop-$1 "0 " "$? $(cat /tmp/stop)"
	[ $(($(date +%s) - begin)) -le $2 ] && ok running/stop-$1-time || not_ok running/stop-$1-time "$(($(date +%s) - begin)) s"
}

# A guest's first process reads the button's key and switches off; it says when it listens.
mkdir -p /tmp/b
cat >/tmp/b/cmd <<'C'
insmod /button/evdev.ko; insmod /button/button.ko
for e in /sys/class/input/event*; do
	[ "$(cat $e/device/name)" = "Power Button" ] || continue
	echo listens
	[ "$(head -c 24 /dev/input/${e##*/} | wc -c)" = 24 ] && echo pressed
done
poweroff -f
C
# pack KERNEL: the initrd with its modules, /tmp/b.cpio.
pack() {
	rm -rf /tmp/b/button; mkdir -p /tmp/b/button
	for m in button evdev; do
		f=$(find /lib/modules/$(cat /g/$1/version)/ -name $m.ko*)
		case $f in *.xz) xzcat $f ;; *) cat $f ;; esac >/tmp/b/button/$m.ko
	done
	(cd /tmp/b && find . | cpio -o -H newc) >/tmp/b.cpio 2>/dev/null
}
# button KERNEL: lkvm stop ends it.
button() {
	pack $1
	start listens --name $1 -k /g/$1/bzImage -i /g/$1/initrd -i /tmp/b.cpio
	stops $1 10
	wait $pid; same running/button-$1 "0 1" "$? $(grep -c pressed /tmp/out)"
}
button generic612
# Paused for ten seconds with disk and timers at work: no time passes for it, nothing is lost, and its
# kernel has nothing to say. It is counted what it does.
cat >/work <<'C'
dmesg -c >/dev/null	# of an emulated CPU's start
trap 'dmesg | grep -iE "lockup|stall|unstable|blocked for|call trace"; echo end; exit 0' TERM
n=0
while :; do
	echo 1 >/proc/sys/vm/drop_caches
	sum=$(sha256sum /g/cloud/initrd)
	read -r up idle </proc/uptime
	n=$((n + 1)); echo "at $n $up $sum"
done
C
start '^at ' --name work -c 2 -k /g/cloud/bzImage -- sh /work
rounds() { grep -c '^at ' /tmp/out; }
more_rounds() { [ "$(rounds)" -ge "$1" ]; }
up_of_round() { sed -n "s/^at $1 \([0-9]*\)\..*/\1/p" /tmp/out; }
when 120 more_rounds 5 || not_ok running/works "$(tail /tmp/out /tmp/err)"
lkvm stat --watch work >/tmp/watch 2>&1 & watcher=$!
lkvm pause work; same running/pause 0 $?
before=$(rounds)
lkvm stat --json work >/tmp/stat1 2>&1; same running/stat 0 $?
sleep 10
same running/is-still $before $(rounds)
lkvm stat --json work >/tmp/stat2 2>&1
counted() { sed 's/^.*"cpus":/"cpus":/; s/"time_ms":[0-9]*/"time_ms":N/g' $1; }
same running/nothing-is-counted "$(counted /tmp/stat1)" "$(counted /tmp/stat2)"
has running/stat-machine /tmp/stat1 '^\{"v":1,"name":"work","state":"paused","uptime_ms":[0-9]+,"mem_mib":512,"resident_kib":[1-9][0-9]+,'
has running/stat-cpu /tmp/stat1 '"cpus":\[\{"cpu":0,"time_ms":[1-9][0-9]*,"exits":[1-9][0-9]+,"io_exits":[1-9][0-9]*,.*\{"cpu":1,'
has running/stat-device /tmp/stat1 '\{"device":"vda","requests":[1-9][0-9]+,"bytes_in":[1-9][0-9]{5,},"bytes_out":0,"errors":0\}'
lkvm resume work; same running/resume 0 $?
# What its kernel hears: an NMI for one CPU, a SysRq on ttyS0 while somebody has that open.
lkvm debug work --nmi 1; same running/nmi 0 $?
heard() { lkvm exec work -- sh -c "dmesg | grep -qE '$1'"; }
when 30 heard 'NMI received for unknown reason .* CPU 1' && ok running/nmi-heard || not_ok running/nmi-heard "$(lkvm exec work -- dmesg | tail -n 5)"
lkvm exec work -- sh -c 'exec 3<>/dev/ttyS0; : >/tmp/open; while [ -e /tmp/open ]; do sleep 1; done' & opener=$!
when 60 lkvm exec work -- test -e /tmp/open
lkvm debug work --sysrq h; same running/sysrq 0 $?
when 30 heard 'sysrq: HELP' && ok running/sysrq-heard || not_ok running/sysrq-heard "$(lkvm exec work -- dmesg | tail -n 5)"
lkvm exec work -- rm /tmp/open; wait $opener; same running/exec-ends 0 $?
when 60 more_rounds $((before + 5)) || not_ok running/goes-on "$(tail /tmp/out)"
passed=$(($(up_of_round $((before + 1))) - $(up_of_round $before)))
[ $passed -ge 0 ] && [ $passed -lt 6 ] && ok running/no-time-passed || not_ok running/no-time-passed "$passed s"
stops work 5
wait $pid; same running/work "0 1" "$? $(tail -n 1 /tmp/out | grep -c '^end')"
same running/kernel-says-nothing "" "$(grep -v '^at \|^end' /tmp/out)"
same running/all-was-read 1 "$(sed -n 's/^at [^ ]* [^ ]* //p' /tmp/out | sort -u | wc -l)"
wait $watcher; same running/watch "0 0" "$? $(grep -c '^lkvm:' /tmp/watch)"
has running/watch-table /tmp/watch '^CPU +TIME/ms +EXITS +IO '

# Some at once (FULL: eight) in the background; one of them dies.
all=$(choose "1 2 3 4 5 6 7 8" "1 2")
for i in $all; do
	lkvm run -D --name m$i -m 128 -k /g/cloud/bzImage -- sh -c 'echo up; exec sleep 1000' >/tmp/m$i 2>&1 </dev/null
	same running/many-$i "0 m$i" "$? $(cat /tmp/m$i)"
	(lkvm wait m$i >/dev/null 2>&1; echo $? >/tmp/m$i.status) &
done
names=$(for i in $all; do echo m$i; done)
for i in $all; do same running/many-exec-$i "in $i" "$(lkvm exec m$i -- echo in $i)"; done
for i in 1 2; do lkvm console m2 >/tmp/reader$i 2>&1 </dev/null & eval reader$i=$!; done
for i in 1 2; do when 30 grep -q up /tmp/reader$i && ok running/many-reader-$i || not_ok running/many-reader-$i "$(cat /tmp/reader$i)"; done
same running/many-listed "$(echo $names)" "$(echo $(lkvm list -q))"
for i in $all; do lkvm stat m$i >/dev/null || not_ok running/many-stat-$i; done
lkvm pause $names; same running/many-pause 0 $?
same running/many-paused "$(echo $names | wc -w)" "$(lkvm list | grep -c ' paused ')"
lkvm resume $names; same running/many-resume 0 $?
lkvm list --json >/tmp/list; kill -9 $(sed 's/.*"name":"m1","pid":\([0-9]*\),.*/\1/' /tmp/list)
when 20 test -s /tmp/m1.status
same running/killed-unlisted "$(echo $names | sed 's/^m1 *//')" "$(echo $(lkvm list -q))"
same running/killed-leaves-nothing "" "$(ls /run/lkvm | grep m1)"
begin=$(date +%s)
lkvm stop --all >/tmp/stop 2>&1; same running/stop-all "0 " "$? $(cat /tmp/stop)"
[ $(($(date +%s) - begin)) -le 5 ] && ok running/stop-all-time || not_ok running/stop-all-time "$(($(date +%s) - begin)) s"
wait
same running/many-readers-agree "$(cat /tmp/reader1)" "$(cat /tmp/reader2)"
same running/many-status "1 $(echo $all | sed 's/^1 *//; s/[2-8]/143/g')" "$(echo $(cat /tmp/m[1-8].status))"
same running/nothing-is-left "" "$(ls /run/lkvm)"

[ -e /full ] || return 0
# Asked when it has just begun to boot, by SIGTERM, it hears it later, and nothing happens before; as in guest/button.
pack cloud
start 'Linux version' --grace 120 -k /g/cloud/bzImage -i /g/cloud/initrd -i /tmp/b.cpio
kill -TERM $pid; wait $pid; same running/button-early "0 1" "$? $(grep -c pressed /tmp/out)"
button cloud
button generic
button cloud612
# A command: its status is what it makes of it.
start up --name trap -k /g/cloud/bzImage -- sh -c 'trap "echo bye; exit 7" TERM; echo up; sleep 1000'
stops trap 3
wait $pid; same running/trapped "7 up bye" "$? $(tr '\n' ' ' </tmp/out | sed 's/ $//')"
start up --name sleep --json /tmp/json -k /g/cloud/bzImage -- sh -c 'echo up; exec sleep 1000'
stops sleep 3
wait $pid; same running/untrapped 143 $?
has running/untrapped-json /tmp/json '"outcome":"signaled","status":143,"signal":15,'
start up --name deaf -k /g/cloud/bzImage -- sh -c 'trap "" TERM; echo up; while :; do sleep 1; done'
lkvm stop --timeout 1 deaf >/tmp/stop 2>&1; same running/deaf 0 $?
has running/deaf-message /tmp/stop '^lkvm: stop: deaf: its command did not end by SIGTERM within 1 s: it is ended$'
wait $pid; same running/deaf-status 143 $?
