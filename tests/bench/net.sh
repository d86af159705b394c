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
# threads: the run time of the vCPUs, of the rest of the VMM's processes and of the server, in ns.
# Quick, for the VM ends after the last line.
threads() {
	local p t comm ns rest vcpu=0 vmm=0
	for p in $all; do
		for t in /proc/$p/task/*; do
			read -r comm <$t/comm
			read -r ns rest <$t/schedstat
			case $comm in vcpu* | CPU*) vcpu=$((vcpu + ns)) ;; *) vmm=$((vmm + ns)) ;; esac
		done
	done
	read -r ns rest </proc/$server/schedstat
	echo "$vcpu $vmm $ns"
}
row() {
	local name=$1 line program pid all=; shift
	"$@" >/tmp/fifo 2>/tmp/err </dev/null & program=$!
	pid=$program
	[ "$name" != "no VM" ] || pid=$relay
	while read -r line; do
		all=${all:-$pid $(cat /proc/$pid/task/$pid/children)}	# once, while the guest boots
		case $line in NETLOAD*) echo "$line $(threads)" ;; esac
	done </tmp/fifo >/tmp/out
	wait $program || { echo "# $name: status $?"; head -n 5 /tmp/err; }
	tr -d "\r" </tmp/out | awk -v name="$name" '
		BEGIN { n["recv:"] = 64; n["send:"] = 64; n["trips:"] = 3000; n["frames:"] = 10000 }
		$2 == "begin" { for (i = 0; i < 3; i++) at[i] = $(3 + i) }
		$2 != "begin" {
			v["total", $2] = $3 / 1000
			for (i = 0; i < 3; i++) v[i, $2] = ($(4 + i) - at[i]) / n[$2] / 1000
		}
		# Without a VM, what is neither the relay nor the server is the client.
		function client(k) { return v["total", k] - v[1, k] - v[2, k] }
		function row(title, k) {
			printf "%-26s %9.1f %9.1f %9.1f %9.1f\n", title, v[k, "recv:"], v[k, "send:"], v[k, "trips:"], v[k, "frames:"]
		}
		END {
			row(name, "total")
			if (name == "no VM") {
				for (k in n) v["client", k] = client(k)
				row("  client", "client"); row("  relay", 1)
			} else {
				row("  vCPU thread", 0); row("  VMM'"'"'s other threads", 1)
			}
			 row("  server on the host", 2)
		}'
}
mkfifo /tmp/fifo
vhost() { for m in vhost_iotlb vhost tap vhost_net; do insmod /lib/$m.ko; done; }
case "$row" in
pci | mmio)
	row "lkvm, $row" lkvm run -m 512 -k $g/bzImage -i /tmp/all.gz -n mode=tap,tapif=t0 --transport $row -p "quiet do=poweroff" ;;
vhost)
	vhost
	row "lkvm, pci, vhost" lkvm run -m 512 -k $g/bzImage -i /tmp/all.gz -n mode=tap,tapif=t0,vhost=on -p "quiet do=poweroff" ;;
QEMU*)
	[ "$row" = QEMU ] || vhost
	row "QEMU pc${row#QEMU}" qemu-system-x86_64 -M pc -accel kvm -cpu host -m 512 -L /fw -nodefaults -display none -name q,debug-threads=on \
	-serial stdio -no-reboot -kernel $g/bzImage -initrd /tmp/all.gz -append "$p" \
	-netdev tap,id=n,ifname=t0,script=no,downscript=no,vhost=$([ "$row" = QEMU ] && echo off || echo on) \
	-device virtio-net-pci,netdev=n,romfile= ;;
none)
	tunctl -t eth0 >/dev/null
	netload relay t0 eth0 & relay=$!
	row "no VM" unshare -n sh -c 'echo $$ >/tmp/pid; until ip link show eth0 >/dev/null 2>&1; do sleep 0.1; done; . /net-guest' &
	row=$!
	until [ -s /tmp/pid ]; do sleep 0.1; done
	ip link set eth0 netns "$(cat /tmp/pid)"
	wait $row
	kill $relay ;;
PEER)
	row "PEER" peer run -m 512 -c 1 -k $g/bzImage -i /tmp/all.gz -n mode=tap,tapif=t0 -p "$p" ;;
esac
kill $server
