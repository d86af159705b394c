# SPDX-License-Identifier: GPL-2.0-only
# A host of its own: it changes what namespaces do not keep apart, or was not seen to share one yet.
# The hostile drivers of tests/guest/virtio-net against a tap, whose headers and offloads
# a stream has not, and against the host's kernel as the other side of the rings (vhost).
ip() { /bin/ip "$@"; }	# not busybox's
modprobe_tun
for m in vhost_iotlb vhost tap vhost_net; do insmod /lib/$m.ko 2>/dev/null; done
ip tuntap add h0 mode tap; ip link set h0 up
echo 1 >/proc/sys/net/ipv6/conf/h0/disable_ipv6
peer packets echo h0 & peer=$!
pass=0
for v in "" ,vhost=on; do
	for t in pci mmio; do
		pass=$((pass + 1)) turn=0
		for a in $(cat /attacks/names); do
			# With FULL=1 each in all four ways; otherwise in turn, each in one.
			turn=$((turn + 1))
			[ -e /full ] || [ $(((turn + pass) % 4)) = 0 ] || continue
			# The kernel may answer otherwise, but has to be there again after a reset.
			run -k /attacks/virtio-net -m 512 --rng off --transport $t -n mode=tap,tapif=h0$v -p "attack=${v:++}$a"
			same "net-hostile$v/$t/$a" "0 SURVIVED RECOVERED" \
				"$status $(echo $(sed "${v:+s/OTHERWISE/SURVIVED/}" /tmp/out))"
		done
	done
done
kill $peer
ip link del h0
# Pairs of queues, which only such a tap has.
ip tuntap add h1 mode tap multi_queue; ip link set h1 up
echo 1 >/proc/sys/net/ipv6/conf/h1/disable_ipv6
peer packets echo h1 & peer=$!
for v in "" ,vhost=on; do
	for t in pci mmio; do
		run -k /attacks/virtio-net -m 512 --rng off --transport $t -n mode=tap,tapif=h1,queues=2$v -p attack=tx_pair_off
		same "net-hostile$v/$t/tx_pair_off" "0 SURVIVED RECOVERED" "$status $(echo $(cat /tmp/out))"
	done
done
kill $peer
ip link del h1
