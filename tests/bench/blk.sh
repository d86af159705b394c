# SPDX-License-Identifier: GPL-2.0-only
# Runs in the emulated host (busybox sh): what a block request costs, in thousands of
# instructions on all levels together, and in system calls of the VMM.
g=/g/cloud
calls=/sys/kernel/tracing/events/raw_syscalls/sys_enter
p="quiet console=ttyS0 panic=-1 cryptomgr.notests do=poweroff"
dd if=/dev/zero of=/tmp/img bs=1M count=64 2>/dev/null
cat $g/initrd $g/drivers /blk.gz >/tmp/all.gz

# row NAME COMMAND...
row() {
	local name=$1; shift
	"$@" >/tmp/out 2>/tmp/err </dev/null
	tr -d '\r' </tmp/out | awk -v name="$name" '
		/^BLK / { v[$2 $3 $5] = sprintf("%.1f", $NF / 1000) }
		END { printf "%-26s %7s %7s %7s %7s %9s\n", name, v["readrand1"], v["readrand32"], v["writerand1"], v["writerand32"], v["readseq32"] }'
}
for t in $transports; do
	row "lkvm, $t" lkvm run -m 512 -k $g/bzImage -i /tmp/all.gz -d /tmp/img,format=raw --transport $t -p "quiet do=poweroff"
done
# The emulator has come to a standstill in this row: it has a host of its own.
[ "$transports" = mmio ] && exit 0
qemu-img create -q -f qcow2 -o preallocation=full /tmp/q 64M
row "lkvm, qcow2" lkvm run -m 512 -k $g/bzImage -i /tmp/all.gz -d /tmp/q -p "quiet do=poweroff"
rm -f /tmp/q
for aio in threads io_uring; do
	row "QEMU pc, iothread, $aio" qemu-system-x86_64 -M pc -accel kvm -cpu host -m 512 -L /fw -nodefaults -display none \
		-serial stdio -no-reboot -kernel $g/bzImage -initrd /tmp/all.gz -append "$p" -object iothread,id=io \
		-drive file=/tmp/img,format=raw,if=none,id=d,aio=$aio -device virtio-blk-pci,drive=d,iothread=io
done
[ -x /bin/peer ] && row "PEER" peer run -m 512 -c 1 -k $g/bzImage -i /tmp/all.gz -d /tmp/img -p "$p"

# System calls for 4000 requests, less those of a run without any.
[ -d ${calls%/*} ] || { echo "system calls: this kernel does not count them"; exit 0; }
echo 'hist:keys=common_pid' >$calls/trigger
for load in "read rand 4096 1" "write rand 4096 1" "read rand 4096 32" "write rand 4096 32" "read seq 131072 32"; do
	for n in 0 4000; do
		echo 'hist:keys=common_pid:clear' >>$calls/trigger
		lkvm run -m 512 -k $g/bzImage -i /tmp/all.gz -d /tmp/img,format=raw \
			-p "quiet do=poweroff LOAD=$(echo $load $n | tr ' ' _)" >/tmp/out 2>&1 </dev/null
		hits=$(awk '/Hits:/ { print $2 }' $calls/hist)
		[ $n = 0 ] && without=$hits
	done
	echo "system calls per request, $load: $(awk "BEGIN { printf \"%.2f\", ($hits - $without) / 4000 }")"
done
