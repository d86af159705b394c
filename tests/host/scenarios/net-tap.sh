# SPDX-License-Identifier: GPL-2.0-only
# A host of its own: it changes what namespaces do not keep apart, or was not seen to share one yet.
# A tap and stock kernels, over both transports: DHCP, ICMP, IPv6, TCP and UDP, every
# offload on and off, big frames, several queues, the link.
ip() { /bin/ip "$@"; }	# not busybox's
mkdir -p /tmp/n/www && cd /tmp/n
modprobe_tun
ip link set lo up
head -c 3000000 /dev/urandom >www/file
sum=$(sha256sum <www/file | cut -c1-16)
cat >dhcpd.conf <<'C'
start 10.7.0.10
end 10.7.0.99
interface t0
option subnet 255.255.255.0
option router 10.7.0.1
option dns 10.7.0.1
lease_file /tmp/n/leases
pidfile /tmp/n/dhcpd.pid
C
: >leases
ip tuntap add t0 mode tap
ip addr add 10.7.0.1/24 dev t0
ip -6 addr add fd07::1/64 dev t0 nodad
ip link set t0 up
udhcpd -f dhcpd.conf >/dev/null 2>&1 & servers=$!
httpd -f -p 10.7.0.1:80 -h www & servers="$servers $!"
iperf3 -s >/dev/null 2>&1 & servers="$servers $!"

# guest_script FILE: what is on stdin, as /cmd of a guest.
guest_script() {
	rm -rf c && mkdir c && cat >c/cmd
	(cd c && echo cmd | cpio -o -H newc 2>/dev/null | gzip) >$1
}
# mbit: from the last line of iperf3 that says what was received; 0 if it failed.
{ echo "SIZE=$(choose 8M 1M)"; cat <<'C'; } >functions
PATH=/bin:/usr/bin
ok() { echo "NET $1=ok"; }
transfer() {
	for way in "" -R; do one_way $way; done
}
one_way() {
	timeout 60 iperf3 -c ${SERVER:-10.7.0.1} -n $SIZE $1 >/tmp/iperf 2>&1 && ok tcp$1 ||
		{ echo "NET tcp$1=failed"; tail -n 3 /tmp/iperf; }
}
# One of what the guest sends, or of what it receives: that is what differs.
each_offload() {
	for f in $(echo $OFFLOADS | tr , ' '); do
		ethtool -K eth0 ${f%-*} ${f##*-} >/dev/null 2>&1 || echo "NET $f: not changed"
		case $f in rx-*) one_way -R ;; *) one_way ;; esac
	done
}
wait_carrier() { i=0; while [ "$(cat /sys/class/net/eth0/carrier)" != $1 ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i + 1)); done; }
C
run_net() {
	local k=$1 t=$2; shift 2
	run --transport $t -k /g/$k/bzImage -i /g/$k/initrd -i /g/$k/drivers -i /net.cpio -i /tmp/n/cmd.gz -v "$@"
}
nets() { grep '^NET ' /tmp/out | sed 's/^NET //' | tr '\n' ' ' | sed 's/ $//'; }

{ cat functions; cat <<'C'; } | guest_script cmd.gz
ip link set lo up; ip link set eth0 up
udhcpc -q -n -i eth0 -s /etc/udhcpc >/dev/null 2>&1 && ok dhcp
ping -q -A -c 300 10.7.0.1 | grep -q '300 packets transmitted, 300 packets received' && ok icmp
echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
ip -6 addr add fd07::2/64 dev eth0; sleep 0.2
ping6 -q -c 3 fd07::1 | grep -q ' 3 packets received' && ok icmp6
[ "$(wget -q -O - http://10.7.0.1/file | sha256sum | cut -c1-16)" = "$SUM" ] && ok http
timeout 60 iperf3 -6 -c fd07::1 -n $SIZE >/tmp/iperf 2>&1 && ok tcp6
timeout 60 iperf3 -u -b 20M -c 10.7.0.1 -n 1M >/tmp/iperf 2>&1 && ok udp
transfer
each_offload
C
for m in vhost_iotlb vhost tap vhost_net; do insmod /lib/$m.ko 2>/dev/null; done
for m in $(choose "cloud:pci generic:pci cloud:mmio generic:mmio cloud612:mmio generic612:pci
	cloud:pci,vhost=on generic612:mmio,vhost=on" "cloud612:mmio generic:pci,vhost=on"); do
	k=${m%:*} t=${m#*:} v= offloads=
	case $m in *,*) v=,${m#*,} t=${t%,*} ;; esac
	[ $m != cloud612:mmio ] || offloads=$(choose "" tso-off,tx-off,tx-on,rx-gro-hw-off)
	run_net $k $t -c 2 -n mode=tap,tapif=t0$v -p "quiet do=poweroff SUM=$sum OFFLOADS=$offloads"
	same "net/$m" "0 dhcp=ok icmp=ok icmp6=ok http=ok tcp6=ok udp=ok tcp=ok tcp-R=ok$(for i in $(echo $offloads | tr , ' '); do
		case $i in rx-*) echo -n " tcp-R=ok" ;; *) echo -n " tcp=ok" ;; esac; done)" "$status $(nets)"
done

[ ! -e /full ] || {
	# Both ways with each.
	{ cat functions; cat <<'C'; } | guest_script cmd.gz
ip addr add 10.7.0.2/24 dev eth0; ip link set eth0 up
one_way() { for way in "" -R; do timeout 60 iperf3 -c 10.7.0.1 -n $SIZE $way >/tmp/iperf 2>&1 && ok tcp$way || echo "NET tcp$way=failed"; done; }
each_offload
C
	offloads="tx-off tx-on tso-off tso-on gso-off gso-on sg-off sg-on rx-gro-hw-off rx-gro-hw-on gro-off"
	for m in cloud:pci generic612:mmio; do
		run_net ${m%:*} ${m#*:} -n mode=tap,tapif=t0 -p "quiet do=poweroff OFFLOADS=$(echo $offloads | tr ' ' ,)"
		same "net/$m/offloads" "0 $(for i in $offloads; do echo tcp=ok tcp-R=ok; done | tr '\n' ' ')" "$status $(nets) "
	done
}

{ cat functions; cat <<'C'; } | guest_script cmd.gz
ip addr add 10.7.5.2/24 dev eth0; ip link set eth0 up
mtu=$(cat /sys/class/net/eth0/mtu); ok mtu-$mtu
ping -q -c 3 -s $((mtu - 28)) 10.7.5.1 | grep -q ' 3 packets received' && ok ping
SERVER=10.7.5.1 transfer
wait_carrier 1; echo LINK-1; wait_carrier 0; ok down; echo LINK-2; wait_carrier 1; ok up; sleep 1
ping -q -c 3 10.7.5.1 | grep -q ' 3 packets received' && ok ping
C
# An interface that was made for a user needs no privileges; others are refused.
mkdir -p /etc; echo 'nobody:x:65534:65534::/:/bin/sh' >/etc/passwd; echo 'nogroup:x:65534:' >/etc/group
chmod 666 /dev/kvm /dev/net/tun
as_nobody() {
	local t=$1 k=$2; shift 2
	su -s /bin/sh nobody -c "timeout 180 lkvm run --transport $t -k /g/$k/bzImage -i /g/$k/initrd -i /g/$k/drivers -i /net.cpio -i /tmp/n/cmd.gz \
		$* -p 'quiet do=poweroff'" >/tmp/out 2>/tmp/err </dev/null
	status=$?
	tr -d '\r' </tmp/out >/tmp/out2; mv /tmp/out2 /tmp/out
}
ip tuntap add t5 mode tap user 65534; ip addr add 10.7.5.1/24 dev t5; ip link set t5 up
# The link follows the interface.
for m in $(choose "cloud:pci:1500 generic:mmio:1500 cloud:pci:9000 generic:mmio:9000 cloud:pci:65520 generic:mmio:65520" \
	generic:mmio:65520); do
	mtu=${m##*:} m=${m%:*}
	ip link set t5 mtu $mtu
	rm -f /tmp/out
	(
		n=0; until grep -q LINK-1 /tmp/out 2>/dev/null || [ $n = 1500 ]; do sleep 0.1; n=$((n + 1)); done
		ip link set t5 down
		n=0; until grep -q LINK-2 /tmp/out || [ $n = 600 ]; do sleep 0.1; n=$((n + 1)); done
		ip link set t5 up
	) &
	as_nobody ${m#*:} ${m%:*} -n mode=tap,tapif=t5
	same "net/$m/mtu-$mtu" "0 mtu-$mtu=ok ping=ok tcp=ok tcp-R=ok down=ok up=ok ping=ok" "$status $(nets)"
	wait $!
done
as_nobody pci cloud -n mode=tap,tapif=mine
same net/unprivileged-create 125 $status
has net/unprivileged-said /tmp/err 'Try: sudo ip tuntap add mine mode tap user'

# Descriptors that somebody else has opened: a macvtap.
for m in veth tap macvlan macvtap; do insmod /lib/$m.ko 2>/dev/null; done
ip link add v0 type veth peer name v1
ip addr add 10.7.1.1/24 dev v1; ip link set v0 up; ip link set v1 up
ip link add link v0 name mvt0 type macvtap mode bridge; ip link set mvt0 up
mac=$(cat /sys/class/net/mvt0/address) dev=/dev/tap$(cat /sys/class/net/mvt0/ifindex)
iperf3 -s -B 10.7.1.1 >/dev/null 2>&1 & servers="$servers $!"

# Several queues, and an address that a name stands for; a recording. Beside that an interface that lkvm creates, which goes
# with it, and the macvtap.
ip tuntap add t4 mode tap multi_queue
ip addr add 10.8.0.1/24 dev t4; ip link set t4 up
{ cat functions; cat <<'C'; } | guest_script cmd.gz
ok queues-$(ls -d /sys/class/net/eth0/queues/rx-* | wc -l)
ok $(cat /sys/class/net/eth0/address)
ip addr add 10.8.0.2/24 dev eth0; ip link set eth0 up
for n in $(echo ${PAIRS:-1,2,4} | tr , ' '); do
	ethtool -L eth0 combined $n 2>/dev/null
	timeout 60 iperf3 -c 10.8.0.1 -P 4 -n $SIZE >/tmp/iperf 2>&1 && ok tcp
	timeout 60 iperf3 -c 10.8.0.1 -P 4 -n $SIZE -R >/tmp/iperf 2>&1 && ok tcp-R
done
[ ! -e /sys/class/net/eth1 ] || {
	ok mtu-$(cat /sys/class/net/eth1/mtu)
	ip addr add 10.7.1.2/24 dev eth2; ip link set eth2 up
	ping -q -c 3 10.7.1.1 | grep -q ' 3 packets received' && ok ping
	timeout 60 iperf3 -c 10.7.1.1 -n $SIZE -R >/tmp/iperf 2>&1 && ok tcp-R
}
C
for m in $(choose "cloud:pci cloud:mmio" "cloud:mmio"); do
	run_net ${m%:*} ${m#*:} -c 4 --name twin -n mode=tap,tapif=t4,pcap=/tmp/n/pcap \
		-n mode=tap,tapif=mine,mtu=4000 -n mode=fd,fd=9,guest_mac=$mac -p "quiet do=poweroff PAIRS=$(choose 1,2,4 1,4)" 9<>$dev
	same "net/$m/queues" "0 queues-4=ok$(choose " tcp=ok tcp-R=ok" "") tcp=ok tcp-R=ok tcp=ok tcp-R=ok mtu-4000=ok ping=ok tcp-R=ok" \
		"$status $(nets | sed 's/ [0-9a-f:]*=ok / /')"
	macs="$macs $(nets | cut -d' ' -f2)"
	same "net/$m/pcap" "4d3cb2a1" "$(head -c 4 pcap | xxd -p)"
	has "net/$m/created-said" /tmp/err 'net1: created interface mine'
	same "net/$m/created-gone" 1 "$(ip link show mine >/dev/null 2>&1; echo $?)"
done
{ cat functions; echo 'ok $(cat /sys/class/net/eth0/address)'; } | guest_script mac.gz
[ ! -e /full ] || {
	run --transport pci -k /g/cloud/bzImage -i /g/cloud/initrd -i /g/cloud/drivers -i mac.gz --name twin -n mode=tap,tapif=t4 -p "quiet do=poweroff"
	for seen in $macs; do same net/mac-by-name "$(nets)" "$seen"; done

	run_net cloud pci -c 4 -n mode=tap,tapif=t4,vhost=on -p "quiet do=poweroff"
	same "net/vhost/queues" "0 queues-4=ok tcp=ok tcp-R=ok tcp=ok tcp-R=ok tcp=ok tcp-R=ok" \
		"$status $(nets | sed 's/ [0-9a-f:]*=ok / /')"
}

run_net cloud pci -n mode=tap,tapif=lo -p "quiet do=poweroff"
same net/not-a-tap 125 $status

{ cat functions; cat <<'C'; } | guest_script cmd.gz
ip addr add 10.7.1.2/24 dev eth0; ip link set eth0 up
ping -q -c 3 10.7.1.1 | grep -q ' 3 packets received' && ok ping
timeout 60 iperf3 -c 10.7.1.1 -n $SIZE >/tmp/iperf 2>&1 && ok tcp
timeout 60 iperf3 -c 10.7.1.1 -n $SIZE -R >/tmp/iperf 2>&1 && ok tcp-R
C
for m in $(choose "cloud:pci generic:mmio cloud:pci,vhost=on" ""); do
	v= t=${m#*:}
	case $m in *,*) v=,${m#*,} t=${t%,*} ;; esac
	run_net ${m%:*} $t -n mode=fd,fd=9,guest_mac=$mac$v -p "quiet do=poweroff" 9<>$dev
	same "net/macvtap/$m" "0 ping=ok tcp=ok tcp-R=ok" "$status $(nets)"
done
kill $servers
ip link del v0
ip link del t0; ip link del t4; ip link del t5
