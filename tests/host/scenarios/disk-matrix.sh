# SPDX-License-Identifier: GPL-2.0-only
# Stock kernels mount ext4 from raw and qcow2 images, over both transports, with one
# CPU and with four; what they wrote is there again, and in the image afterwards.
mkdir -p /tmp/c
cat >/tmp/c/cmd <<'C'
mount -t ext4 /dev/vda /mnt || exit 1
for i in 1 2 3; do cat /bin/busybox /bin/busybox >/mnt/copy$i & done; wait
rm /mnt/copy2
sync
umount /mnt && mount -t ext4 /dev/vda /mnt
cat /bin/busybox /bin/busybox | cmp - /mnt/copy1 && cat /bin/busybox /bin/busybox | cmp - /mnt/copy3 && echo DISK-OK
umount /mnt
C
(cd /tmp/c && echo cmd | cpio -o -H newc 2>/dev/null | gzip >/tmp/cmd.gz)
truncate -s 64M /tmp/empty && /bin/mke2fs -qF -t ext4 /tmp/empty
all=$(for k in cloud generic cloud612 generic612; do for t in pci mmio; do for c in 1 4; do for f in raw qcow2; do
	echo $k:$t:$c:$f; done; done; done; done)
for m in $(choose "$all" "cloud:mmio:4:qcow2 generic612:pci:1:raw"); do
	IFS=: read -r k t c f <<M
$m
M
	rm -f /tmp/disk; qemu-img convert -q -f raw -O $f /tmp/empty /tmp/disk
	run -c $c --transport $t -k /g/$k/bzImage -i /g/$k/initrd -i /g/$k/drivers -i /tmp/cmd.gz \
		-d /tmp/disk,format=$f -p "quiet do=poweroff"
	same disk/$m "0 DISK-OK" "$status $(grep -o DISK-OK /tmp/out)"
	[ $f = raw ] || { qemu-img check -q /tmp/disk; same disk/$m/check 0 $?; }
	qemu-img convert -q -f $f -O raw /tmp/disk /tmp/raw
	e2fsck -fn /tmp/raw >/tmp/fsck 2>&1; same disk/$m/e2fsck 0 $?
done
# Without MSI, and without ACPI: interrupt lines, from _PRT and from the MP table.
cp /tmp/empty /tmp/disk
for p in $(choose "cloud:pci=nomsi generic:pci=nomsi generic:acpi=off generic:acpi=off+pci=nomsi" \
	"generic:acpi=off+pci=nomsi"); do
	k=${p%%:*} p=$(echo ${p#*:} | tr + ' ')
	run -c 2 -k /g/$k/bzImage -i /g/$k/initrd -i /g/$k/drivers -i /tmp/cmd.gz -d /tmp/disk,format=raw \
		-p "quiet do=reboot $p"
	same "disk/$k-$p" "0 DISK-OK 2" "$status $(grep -o DISK-OK /tmp/out) $(seen cpus)"
done
