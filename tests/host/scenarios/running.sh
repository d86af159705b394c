# SPDX-License-Identifier: GPL-2.0-only
# VMs that run are asked to end in order: stock kernels by their power button, commands by SIGTERM.
# Modules of its kernels are in /lib/modules.

mkdir -p /run	# where they are found

# when SECONDS COMMAND...: as soon as it succeeds; fails if it never does.
when() { local n=$1; shift; while ! "$@" 2>/dev/null; do n=$((n - 1)); [ $n -gt 0 ] || return 1; sleep 1; done; }
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
for k in $(choose "cloud generic cloud612 generic612" "cloud generic612"); do
	rm -rf /tmp/b/button; mkdir -p /tmp/b/button
	for m in button evdev; do
		f=$(find /lib/modules/$(cat /g/$k/version)/ -name $m.ko*)
		case $f in *.xz) xzcat $f ;; *) cat $f ;; esac >/tmp/b/button/$m.ko
	done
	(cd /tmp/b && find . | cpio -o -H newc) >/tmp/b.cpio 2>/dev/null
	lkvm run --name $k -k /g/$k/bzImage -i /g/$k/initrd -i /tmp/b.cpio >/tmp/out 2>/tmp/err </dev/null & pid=$!
	when 120 grep -q listens /tmp/out || not_ok running/listens-$k "$(tail /tmp/out /tmp/err)"
	stops $k 10
	wait $pid; same running/button-$k "0 1" "$? $(grep -c pressed /tmp/out)"
done
# Asked before it listens, by SIGTERM, it hears it later.
lkvm run --grace 120 -k /g/cloud/bzImage -i /g/cloud/initrd -i /tmp/b.cpio >/tmp/out 2>/tmp/err </dev/null & pid=$!
when 60 test -s /tmp/out
kill -TERM $pid; wait $pid; same running/button-early "0 1" "$? $(grep -c pressed /tmp/out)"

# A command: its status is what it makes of it.
lkvm run --name trap -k /g/cloud/bzImage -- sh -c 'trap "echo bye; exit 7" TERM; echo up; sleep 1000' >/tmp/out 2>/tmp/err </dev/null & pid=$!
when 60 grep -q up /tmp/out
stops trap 3
wait $pid; same running/trapped "7 up bye" "$? $(tr '\n' ' ' </tmp/out | sed 's/ $//')"
lkvm run --name sleep --json /tmp/json -k /g/cloud/bzImage -- sh -c 'echo up; exec sleep 1000' >/tmp/out 2>/tmp/err </dev/null & pid=$!
when 60 grep -q up /tmp/out
stops sleep 3
wait $pid; same running/untrapped 143 $?
has running/untrapped-json /tmp/json '"outcome":"signaled","status":143,"signal":15,'
lkvm run --name deaf -k /g/cloud/bzImage -- sh -c 'trap "" TERM; echo up; while :; do sleep 1; done' >/tmp/out 2>/tmp/err </dev/null & pid=$!
when 60 grep -q up /tmp/out
lkvm stop --timeout 1 deaf >/tmp/stop 2>&1; same running/deaf 0 $?
has running/deaf-message /tmp/stop '^lkvm: stop: deaf: its command did not end by SIGTERM within 1 s: it is ended$'
wait $pid; same running/deaf-status 143 $?
