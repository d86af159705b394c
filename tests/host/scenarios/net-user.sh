# SPDX-License-Identifier: GPL-2.0-only
# A host of its own: it changes what namespaces do not keep apart, or was not seen to share one yet.
# Networks without privileges: passt, in a network namespace with a route of its own and
# a server; and two VMs joined by a stream.
ip() { /bin/ip "$@"; }	# not busybox's
mkdir -p /tmp/u && cd /tmp/u
guest_script() {
	rm -rf c && mkdir c && cat >c/cmd
	(cd c && echo cmd | cpio -o -H newc 2>/dev/null | gzip) >$1
}
nets() { tr -d '\r' <$1 | grep '^NET ' | sed 's/^NET //' | tr '\n' ' ' | sed 's/ $//'; }
cat >functions <<'C'
PATH=/bin:/usr/bin
ok() { echo "NET $1=ok"; }
wait_carrier() { i=0; while [ "$(cat /sys/class/net/eth0/carrier)" != $1 ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i + 1)); done; }
ip link set lo up; ip link set eth0 up
C

# ---- two VMs ----
{ cat functions; cat <<'C'; } | guest_script left.gz
ip addr add 10.9.0.1/24 dev eth0
iperf3 -s -1 >/tmp/iperf 2>&1 & wait_carrier 1; ok up
wait $!; wait_carrier 0; ok down
C
{ cat functions; cat <<'C'; } | guest_script right.gz
ip addr add 10.9.0.2/24 dev eth0
i=0; until ping -q -c 1 -w 1 10.9.0.1 >/dev/null || [ $i = 60 ]; do i=$((i + 1)); done
ping -q -A -c 100 10.9.0.1 | grep -q '100 packets received' && ok ping
sleep 1; timeout 60 iperf3 -c 10.9.0.1 -n 4M >/tmp/iperf 2>&1 && ok tcp
C
for m in $(choose "cloud:pci:cloud:mmio generic:mmio:cloud612:pci" generic:mmio:cloud:pci); do
	set -- $(echo $m | tr : " ")
	timeout 170 lkvm run --transport $2 -k /g/$1/bzImage -i /g/$1/initrd -i /g/$1/drivers -i /net.cpio -i left.gz \
		-n mode=stream,path=/tmp/u/s,server=on -p "quiet do=poweroff" >left 2>left.err </dev/null & left=$!
	n=0; until [ -S /tmp/u/s ] || [ $n = 100 ]; do sleep 0.1; n=$((n + 1)); done
	run --transport $4 -k /g/$3/bzImage -i /g/$3/initrd -i /g/$3/drivers -i /net.cpio -i right.gz \
		-n mode=stream,path=/tmp/u/s -p "quiet do=poweroff"
	same "net/stream/$1-$3/right" "0 ping=ok tcp=ok" "$status $(nets /tmp/out)"
	wait $left
	same "net/stream/$1-$3/left" "0 up=ok down=ok" "$? $(nets left)"
	same "net/stream/$1-$3/socket-gone" 1 "$([ -e s ]; echo $?)"
done

# ---- passt ----
# It wants a root that is not the initial one, and somebody to become.
mkdir -p /etc /new && echo 'nobody:x:65534:65534::/:/bin/sh' >/etc/passwd && echo 'nogroup:x:65534:' >/etc/group
echo 'nameserver 192.0.2.53' >/etc/resolv.conf
insmod /lib/dummy.ko 2>/dev/null
ip link set lo up
ip link add up0 type dummy; ip addr add 192.0.2.1/24 dev up0; ip link set up0 up
ip route add default via 192.0.2.254 dev up0
cat >in-new-root <<'C'
mount --rbind / /new && cd /new && mount --move . / && exec chroot . /bin/lkvm "$@"
C
mkdir -p www && echo PAGE >www/page
httpd -f -p 127.0.0.1:80 -h /tmp/u/www & server=$!
{ cat functions; cat <<'C'; } | guest_script passt.gz
udhcpc -q -n -i eth0 -s /etc/udhcpc >/dev/null 2>&1 && ok dhcp
gw=$(ip route | awk '/^default/ { print $3 }')
[ "$(timeout 5 wget -q -O - http://$gw/page 2>/dev/null)" = PAGE ] && ok host
grep -q 192.0.2.53 /etc/resolv.conf && ok dns
socat -u TCP-LISTEN:8000 OPEN:/tmp/tcp,creat & tcp=$!
timeout 60 socat -u UDP-RECVFROM:8001 OPEN:/tmp/udp,creat & udp=$!
i=0; until netstat -ltn | grep -q :8000 && netstat -lun | grep -q :8001 || [ $i = 100 ]; do sleep 0.1; i=$((i + 1)); done
echo SERVING
wait $tcp; ok "tcp-$(cat /tmp/tcp)"
wait $udp; ok "udp-$(cat /tmp/udp)"
echo KILL-IT; wait_carrier 0; ok link-down
C
passt_run() {
	local m=$1; shift
	rm -f /tmp/out
	(
		n=0; until grep -q SERVING /tmp/out 2>/dev/null || [ $n = 900 ]; do sleep 0.1; n=$((n + 1)); done
		echo one | timeout 5 socat -u - TCP:127.0.0.1:7000
		echo two | timeout 5 socat -u - UDP:127.0.0.1:7001
		n=0; until grep -q KILL-IT /tmp/out || [ $n = 300 ]; do sleep 0.1; n=$((n + 1)); done
		kill -9 $(pidof passt)
	) &
	timeout 180 unshare -m /bin/sh in-new-root run -v --transport ${m#*:} -k /g/${m%:*}/bzImage -i /g/${m%:*}/initrd -i /g/${m%:*}/drivers \
		-i /net.cpio -i /tmp/u/passt.gz -n mode=passt,publish=7000:8000,publish=127.0.0.1:7001:8001/udp"$@" \
		-p "quiet do=poweroff" >/tmp/out 2>/tmp/err </dev/null
	status=$?
	tr -d '\r' </tmp/out >/tmp/out2; mv /tmp/out2 /tmp/out
	wait $!
}
for m in $(choose "cloud:pci generic:mmio" ""); do
	passt_run $m
	same "net/passt/$m" "0 dhcp=ok dns=ok tcp-one=ok udp-two=ok link-down=ok" "$status $(nets /tmp/out)"
	has "net/passt/$m/said" /tmp/err 'net0: passt has ended'
done
# A port that somebody has: no guest is started.
timeout 100 unshare -m /bin/sh in-new-root run -k /g/cloud/bzImage -i /g/cloud/initrd \
	-n mode=passt,publish=80:80 -p "quiet do=poweroff" >/tmp/out 2>/tmp/err </dev/null
same net/passt/busy "125 " "$? $(cat /tmp/out)"
has net/passt/busy-said /tmp/err 'net0: publish=80:80: Address already in use'
passt_run generic:mmio ,host=on
has net/passt/said /tmp/err 'net0: passt has ended'
same net/passt/host-allowed "0 dhcp=ok host=ok dns=ok tcp-one=ok udp-two=ok link-down=ok" "$status $(nets /tmp/out)"
# It ends with the VM.
{ cat functions; echo "ok there"; } | guest_script passt.gz
timeout 100 unshare -m /bin/sh in-new-root run -k /g/cloud/bzImage -i /g/cloud/initrd -i /g/cloud/drivers -i /net.cpio -i /tmp/u/passt.gz \
	-n mode=passt -p "quiet do=poweroff" >/tmp/out 2>/tmp/err </dev/null
same net/passt/ends "0 " "$? $(pidof passt)"
kill $server
