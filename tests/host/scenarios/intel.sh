# SPDX-License-Identifier: GPL-2.0-only
# An Intel CPU: KVM with VMX and EPT, in Bochs, which is slow. One boot; with FULL=1 the ways to end,
# several CPUs, 32 bits, a disk, the console, a network.
boots "intel/cloud-poweroff" 0 1 256 -k /g/cloud/bzImage -i /g/cloud/initrd -p "quiet do=poweroff"
has intel/vmx /proc/cpuinfo '\bvmx\b'
[ -e /full ] || return 0
lkvm check >/tmp/out 2>/tmp/err
has intel/check /tmp/out '^stock kernels will run here$'
boots "intel/generic612-2-cpus-reboot" 0 2 512 -k /g/generic612/bzImage -i /g/generic612/initrd -p "quiet do=reboot"
boots "intel/cloud-panic" 255 2 256 -k /g/cloud/bzImage -i /g/cloud/initrd -p "quiet do=panic"
run -k /g/cloud/bzImage -i /g/cloud/initrd -p "quiet reboot=t"
same intel/triple-fault 255 $status
has intel/triple-fault-message /tmp/err '^lkvm: vcpu 0: triple fault'
run -k /g/cloud/bzImage -i /g/cloud/initrd -p "quiet do=hang" --timeout 20
same intel/timeout 124 $status
for k in i686 i686pae; do boots "intel/$k" 0 1 256 -k /g/$k/bzImage -i /g/$k/initrd -p "quiet do=poweroff"; done
ip() { /bin/ip "$@"; }	# not busybox's
modprobe_tun
ip tuntap add t0 mode tap; ip addr add 10.7.0.1/24 dev t0; ip link set t0 up
cat >cmd <<'C'
exec >/dev/hvc0	# the driver came after init: its console is the serial port
mount -t ext4 /dev/vda /mnt && cp /bin/busybox /mnt/copy && sync && cmp /bin/busybox /mnt/copy && echo SAME && umount /mnt
ifconfig eth0 10.7.0.2 up && ping -q -c 3 10.7.0.1 | grep '3 packets received'
echo console on $(cat /sys/class/tty/console/active)
C
echo cmd | cpio -o -H newc 2>/dev/null | gzip >cmd.gz
for t in pci mmio; do
	rm -f disk; truncate -s 16M disk && /bin/mke2fs -qF -t ext4 disk
	run -c 2 --transport $t -k /g/cloud/bzImage -i /g/cloud/initrd -i /g/cloud/drivers -i cmd.gz -d disk,format=raw \
		-n mode=tap,tapif=t0 --console virtio -p "quiet do=poweroff"
	same intel/devices-$t "0 SAME" "$status $(grep -o '^SAME' /tmp/out)"
	has intel/network-$t /tmp/out '3 packets received'
	has intel/console-$t /tmp/out '^console on .*hvc0'
	/bin/e2fsck -fn disk >/tmp/fsck 2>&1; same intel/e2fsck-$t 0 $?
done
