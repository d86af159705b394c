# SPDX-License-Identifier: GPL-2.0-only
# run --warm: a command in a guest that goes on from a snapshot does what it does in one that has booted, with
# other files, at the right time, with random numbers of its own; what is wrong with a snapshot ends in a boot.
# Modules of its kernels are in /lib/modules.
mkdir -p /run /tmp/d1 /tmp/d2 /etc
echo nobody:x:65534:65534::/:/bin/false >/etc/passwd	# for passt
export HOME=/tmp
cache=/tmp/.cache/lkvm
echo one >/tmp/d1/which; echo two >/tmp/d2/which
# A file system that was written a moment ago may change again without a change of its times.
sleep 2
# w ARGUMENTS...: lkvm run -v --warm; stdout in /tmp/out, messages in /tmp/err, how it came about in $how.
w() {
	timeout 240 $in_root lkvm run -v --warm "$@" >/tmp/out 2>/tmp/err </dev/null; status=$?
	how=cold
	! grep -q 'lkvm: warm: its snapshot is there' /tmp/err || how=made
	! grep -q 'lkvm: warm: going on from' /tmp/err || how=warm
}
in_root=
entries() { ls $cache 2>/dev/null | grep -c '\.warm$'; }
# What a command can see of where it is, but for what has to differ.
look='cat /mnt/d/which; id -u; pwd; hostname; nproc; ls /; cat /proc/1/comm; wc -l </proc/mounts; dmesg | grep -ciE "lockup|stall|unstable|blocked for|call trace:.*rcu" | sed "s/^/complaints /"'
# sees_the_same TEST [WORD]: as the first one, but for that word; and its kernel does not complain of more than that one's
# did, which has to wait while its snapshot is made, on a host that is slow.
sees_the_same() {
	same command-warm/$1-sees-the-same "$(sed "s/one/${2:-one}/; /^complaints/d" /tmp/made)" "$(sed '/^complaints/d' /tmp/out)"
	[ "$(sed -n 's/^complaints //p' /tmp/out)" -le "$(sed -n 's/^complaints //p' /tmp/made)" ] && ok command-warm/$1-complaints ||
		not_ok command-warm/$1-complaints "$(tail -n 30 /tmp/err)"
}
# goes NAME ARGUMENTS...: made, then twice warm, and once an hour later by the host's clock.
goes() {
	local name=$1 first second now there before; shift
	before=$(entries)
	w "$@" --dir /tmp/d1:/mnt/d -- sh -c "$look; head -c 32 /dev/urandom | sha256sum >&2"
	same command-warm/$name-made "0 made $((before + 1))" "$status $how $(entries)"
	cp /tmp/out /tmp/made; first=$(grep '  -$' /tmp/err)
	# What the driver of its device had read ahead lies in the snapshot, too.
	w "$@" --dir /tmp/d2:/mnt/d -- sh -c "$look; head -c 32 /dev/urandom | sha256sum >&2; head -c 32 /dev/hwrng | sha256sum | sed 's/^/hwrng /' >&2"
	same command-warm/$name-warm "0 warm" "$status $how"
	sees_the_same $name two
	second=$(grep '^[0-9a-f]*  -$' /tmp/err)
	grep '^hwrng' /tmp/err >/tmp/hwrng
	[ $name = cloud ] || {	# "later" is it for that one
		date -s @$(($(date +%s) + 3000)) >/tmp/date
		w "$@" --dir /tmp/d1:/mnt/d --oops fail -- true
		same command-warm/$name-no-oops "0 warm" "$status $how"
		date -s @$(($(date +%s) - 3000)) >/tmp/date
	}
	w "$@" --dir /tmp/d2:/mnt/d -- sh -c 'date +%s; head -c 32 /dev/urandom | sha256sum >&2; head -c 32 /dev/hwrng | sha256sum | sed "s/^/hwrng /" >&2; exit 7'
	now=$(date +%s); there=$(cat /tmp/out)
	same command-warm/$name-status "7 warm" "$status $how"
	[ $((now - there)) -le 4 ] && [ $((now - there)) -ge 0 ] && ok command-warm/$name-time ||
		not_ok command-warm/$name-time "it is $now, the guest says $there"
	same command-warm/$name-random 3 "$(printf '%s\n%s\n%s\n' "$first" "$second" "$(grep '^[0-9a-f]*  -$' /tmp/err)" | sort -u | grep -c '  -$')"
	same command-warm/$name-hwrng 2 "$(grep '^hwrng' /tmp/err | sort -u - /tmp/hwrng | wc -l)"
}
w --warm=strict -k /g/cloud/bzImage -m 192 -- true
same command-warm/strict "125 0" "$status $(entries)"
has command-warm/strict-says /tmp/err '^lkvm: --warm=strict: there is no snapshot for it yet$'
goes cloud -k /g/cloud/bzImage -m 192
entry=$(ls $cache/*.warm)
# Nearly as old as one may be.
date -s @$(($(date +%s) + 3000)) >/tmp/date
w -k /g/cloud/bzImage -m 192 --dir /tmp/d1:/mnt/d --oops fail -- sh -c "$look; cut -d. -f1 /proc/uptime >&2"
same command-warm/later "0 warm" "$status $how"	# and its kernel has not complained
sees_the_same later
[ ! -e /full ] || {	# unit/warm knows their age, too
	date -s @$(($(date +%s) + 3000)) >/tmp/date
	w -k /g/cloud/bzImage -m 192 --dir /tmp/d1:/mnt/d -- cat /mnt/d/which
	same command-warm/too-old "0 one made" "$status $(cat /tmp/out) $how"
}
# It is for this alone.
mkdir /tmp/s; cp $entry /tmp/s/snapshot
lkvm run --restore /tmp/s -d /dev/null,ro -d /dev/null,ro >/tmp/out 2>/tmp/err </dev/null; same command-warm/restore 125 $?
has command-warm/restore-says /tmp/err '^lkvm: restore: /tmp/s: its guest waits for a command$'
# What is wrong with one is no harm.
# made_again TEST
made_again() {
	w -k /g/cloud/bzImage -m 192 --dir /tmp/d1:/mnt/d -- cat /mnt/d/which
	same command-warm/$1 "0 one made" "$status $(cat /tmp/out) $how"
}
[ ! -e /full ] || { truncate -s 1000000 $entry; made_again cut; }	# unit/snapshot cuts one, too
printf 'XXXXXXXX' | dd of=$entry bs=1 seek=6000 conv=notrunc 2>/tmp/dd
export XDG_RUNTIME_DIR=/nonexistent	# nobody finds this VM, which is no reason not to make one
made_again damaged
unset XDG_RUNTIME_DIR
# What only KVM refuses is found behind the sandbox's walls: the same run boots, with all of its input, and what it could
# not go on from is gone; one that must not boot fails.
cp $entry /tmp/good; spoil $entry; same command-warm/spoilt 0 $?
timeout 100 lkvm run -v --warm=strict -k /g/cloud/bzImage -m 192 --dir /tmp/d1:/mnt/d -- cat >/tmp/out 2>/tmp/err </tmp/d1/which
same command-warm/refused-strictly "125  0" "$? $(cat /tmp/out) $(entries)"
has command-warm/refused-strictly-says /tmp/err '^lkvm: restore: cpu 0: KVM_SET_SREGS2$'
cp /tmp/good $entry; spoil $entry
echo typed | timeout 240 lkvm run -v --warm -k /g/cloud/bzImage -m 192 --dir /tmp/d1:/mnt/d -- sh -c 'cat; cat /mnt/d/which; exit 9' >/tmp/out 2>/tmp/err
same command-warm/refused "9 typed one 0" "$? $(cat /tmp/out | tr '\n' ' ')$(entries)"
has command-warm/refused-says /tmp/err '^lkvm: warm: its snapshot cannot be restored: it boots$'
has command-warm/refused-is-gone /tmp/err '^lkvm: warm: its snapshot was of no use, and is gone$'
if [ -e /full ]; then made_again made-again; else cp /tmp/good $entry; fi
# Nobody looks at its memory: if its guest does not start a command it goes, by who is behind a filter.
size=$(stat -c %s $entry)
dd if=/dev/zero of=$entry bs=1048576 seek=2 count=$((size / 1048576 - 2)) conv=notrunc 2>/tmp/dd
w -k /g/cloud/bzImage -m 192 --dir /tmp/d1:/mnt/d --json /tmp/json -- cat /mnt/d/which
[ $status != 0 ] && ok command-warm/no-guest || not_ok command-warm/no-guest "$status"
same command-warm/no-guest-is-gone "warm 0 1" "$how $(entries) $(grep -c outcome /tmp/json)"
has command-warm/no-guest-says /tmp/err '^lkvm: warm: its snapshot was of no use, and is gone$'

[ -e /full ] || return 0
goes cloud-mmio -k /g/cloud/bzImage -m 192 --transport mmio -c 4
goes cloud612 -k /g/cloud612/bzImage -m 256 -c 2
goes generic -k /g/generic/bzImage -m 256
goes generic612 -k /g/generic612/bzImage -m 320 --transport mmio
# A network: its card has the address of this VM before the command sees it, which is that of its name.
# passt wants a root that is not the initial one, and a network that leads somewhere.
ip() { /bin/ip "$@"; }	# not busybox's
mkdir /new; echo nogroup:x:65534: >/etc/group; echo 'nameserver 192.0.2.53' >/etc/resolv.conf
insmod /lib/dummy.ko
ip link set lo up
ip link add up0 type dummy; ip addr add 192.0.2.1/24 dev up0; ip link set up0 up
ip route add default via 192.0.2.254 dev up0
echo 'mount --rbind / /new && cd /new && mount --move . / && exec chroot . "$@"' >/tmp/in-new-root
in_root="unshare -m /bin/sh /tmp/in-new-root"
for i in 1 2; do
	w -k /g/cloud/bzImage -m 192 -n mode=passt --name net$i -- sh -c 'cat /sys/class/net/eth0/address; ip addr show eth0 | grep -o "10.0.2.15/24"'
	cp /tmp/out /tmp/net$i
	[ $i = 1 ] && same command-warm/network-made "0 made" "$status $how" || same command-warm/network-warm "0 warm" "$status $how"
	same command-warm/network-$i 10.0.2.15/24 "$(sed -n 2p /tmp/net$i)"
done
same command-warm/addresses-differ 2 "$(head -qn 1 /tmp/net1 /tmp/net2 | sort -u | wc -l)"
w -k /g/cloud/bzImage -m 192 -n mode=passt --name net1 -- cat /sys/class/net/eth0/address
same command-warm/address-of-a-name "0 warm $(head -n 1 /tmp/net1)" "$status $how $(cat /tmp/out)"
w -k /g/cloud/bzImage -m 192 -n mode=passt,guest_mac=02:00:00:00:00:77 -- cat /sys/class/net/eth0/address
same command-warm/address-given "0 warm 02:00:00:00:00:77" "$status $how $(cat /tmp/out)"
in_root=
# What a tap can do is a part of what a snapshot is for; the addresses on it are none.
modprobe_tun
ip tuntap add dev t0 mode tap vnet_hdr; ip addr add 10.7.0.1/24 dev t0; ip link set t0 up
n=2
for step in "1500 made" "1500 warm" "1400 made" "1500 warm"; do
	ip link set t0 mtu ${step% *}
	w -k /g/cloud/bzImage -m 192 -n mode=tap,tapif=t0,ip=10.7.0.$n/24 -- sh -c 'cat /sys/class/net/eth0/mtu; ping -q -c 3 -w 30 10.7.0.1 | grep -o " 0% packet loss"'
	same "command-warm/tap-$step" "0 ${step% *}  0% packet loss" "$status $(cat /tmp/out | tr "\n" " " | sed "s/ $//")"
	same "command-warm/tap-$step-how" "${step#* }" "$how"
	n=$((n + 1))
done
ip link del t0
# Two on a wire of their own, from one snapshot.
w -k /g/cloud/bzImage -m 192 -n mode=stream,path=/tmp/wire,server=on,ip=10.9.0.1/24 -- true
same command-warm/stream-made "0 made" "$status $how"
timeout 240 lkvm run -v --warm=strict --name left -k /g/cloud/bzImage -m 192 -n mode=stream,path=/tmp/wire,server=on,ip=10.9.0.1/24 -- sleep 1000 >/tmp/left 2>&1 </dev/null & left=$!
i=0; until [ -S /tmp/wire ] || [ $i = 100 ]; do sleep 0.1; i=$((i + 1)); done
w -k /g/cloud/bzImage -m 192 -n mode=stream,path=/tmp/wire,ip=10.9.0.2/24 -- sh -c 'ping -q -c 3 -w 60 10.9.0.1 | grep -o " 0% packet loss"'
same command-warm/stream "0 warm  0% packet loss" "$status $how $(cat /tmp/out)"
lkvm stop --force left; wait $left; same command-warm/stream-left 143 $?
# Results, streams, more commands, many at once.
w -k /g/cloud/bzImage -m 192 --out /tmp/r1 -- sh -c 'echo r >/out/r'
same command-warm/results-made "0 made r" "$status $how $(cat /tmp/r1/r)"
w -k /g/cloud/bzImage -m 192 --out /tmp/r2 -- sh -c 'echo r2 >/out/r'
same command-warm/results "0 warm r2" "$status $how $(cat /tmp/r2/r)"
# (With -v its kernel has other parameters.)
timeout 240 lkvm run --warm -k /g/cloud/bzImage -m 192 -- true >/tmp/out 2>/tmp/err </dev/null
head -c 300000 /dev/urandom >/tmp/in
pids=
for i in 1 2 3; do
	timeout 240 lkvm run --warm=strict -k /g/cloud/bzImage -m 192 -- sh -c 'cat; cat /proc/sys/kernel/random/uuid >&2' </tmp/in >/tmp/many$i 2>/tmp/many$i.err & pids="$pids $!"
done
for p in $pids; do wait $p; same command-warm/many 0 $?; done
same command-warm/many-streams 1 "$(cat /tmp/in | cat /tmp/in - | head -c 300000 | sha256sum >/tmp/sums; for i in 1 2 3; do sha256sum </tmp/many$i; done >>/tmp/sums; sort -u /tmp/sums | wc -l)"
same command-warm/many-random 3 "$(cat /tmp/many?.err | sort -u | wc -l)"
lkvm run --warm=strict -D --name ex -k /g/cloud/bzImage -m 192 -- sleep 1000 >/tmp/out 2>&1 </dev/null
same command-warm/exec "up" "$(timeout 100 lkvm exec ex -- echo up)"
lkvm stop --force ex
