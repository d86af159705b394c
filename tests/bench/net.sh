# SPDX-License-Identifier: GPL-2.0-only
# Runs in the emulated host (busybox sh): what frames cost over the same tap, in
# thousands of instructions on all levels together.
g=/g/cloud
p="quiet console=ttyS0 panic=-1 cryptomgr.notests do=poweroff"
insmod /lib/tun.ko
tunctl -t t0 >/dev/null
ifconfig t0 10.1.0.1 up
netload server & server=$!
cat $g/initrd $g/drivers /net.gz >/tmp/all.gz
row() {
	local name=$1; shift
	"$@" >/tmp/out 2>/tmp/err </dev/null
	tr -d '\r' </tmp/out | awk -v name="$name" '
		/^NETLOAD / { v[$2] = sprintf("%.1f", $NF / 1000) }
		END { printf "%-26s %9s %9s %9s %9s\n", name, v["recv:"], v["send:"], v["trips:"], v["frames:"] }'
}
vhost() { for m in vhost_iotlb vhost tap vhost_net; do insmod /lib/$m.ko; done; }
case "$row" in
pci | mmio)
	row "lkvm, $row" lkvm run -m 512 -k $g/bzImage -i /tmp/all.gz -n mode=tap,tapif=t0 --transport $row -p "quiet do=poweroff" ;;
vhost)
	vhost
	row "lkvm, pci, vhost" lkvm run -m 512 -k $g/bzImage -i /tmp/all.gz -n mode=tap,tapif=t0,vhost=on -p "quiet do=poweroff" ;;
QEMU*)
	[ "$row" = QEMU ] || vhost
	row "QEMU pc${row#QEMU}" qemu-system-x86_64 -M pc -accel kvm -cpu host -m 512 -L /fw -nodefaults -display none \
	-serial stdio -no-reboot -kernel $g/bzImage -initrd /tmp/all.gz -append "$p" \
	-netdev tap,id=n,ifname=t0,script=no,downscript=no,vhost=$([ "$row" = QEMU ] && echo off || echo on) \
	-device virtio-net-pci,netdev=n,romfile= ;;
PEER)
	row "PEER" peer run -m 512 -c 1 -k $g/bzImage -i /tmp/all.gz -n mode=tap,tapif=t0 -p "$p" ;;
esac
kill $server
