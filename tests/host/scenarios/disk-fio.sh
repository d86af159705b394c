# SPDX-License-Identifier: GPL-2.0-only
# fio in the guest: a random mixed load with flushes and checksums, on an ext4 file
# system on each format and transport; the file system and the image are clean after it.
# Only in check-all: disk-matrix and disk-uses have the same paths.
mkdir -p /tmp/c
cat >/tmp/c/cmd <<'C'
mount -t ext4 -o ro /dev/vdb /mnt || exit 1
mount -t proc proc /mnt/proc; mount -t devtmpfs dev /mnt/dev; mount -t tmpfs tmp /mnt/tmp
mkdir /mnt/tmp/t && mount -t ext4 /dev/vda /mnt/tmp/t || exit 1
chroot /mnt /bin/fio --name=load --directory=/tmp/t --size=12M --rw=randrw --bsrange=4k-64k --ioengine=libaio \
	--iodepth=16 --direct=1 --fsync=16 --verify=crc32c --verify_fatal=1 --minimal --output=/tmp/log && echo FIO-OK
tail -n 2 /mnt/tmp/log | cut -c 1-200
umount /mnt/tmp/t
C
(cd /tmp/c && echo cmd | cpio -o -H newc 2>/dev/null | gzip >/tmp/cmd.gz)
truncate -s 48M /tmp/e && /bin/mke2fs -qF -t ext4 /tmp/e
for m in $(choose "cloud:pci:1:raw cloud:mmio:4:qcow2 generic:pci:4:qcow2 generic:mmio:1:raw" generic:mmio:4:qcow2); do
	IFS=: read -r k t c f <<M
$m
M
	rm -f /tmp/disk; qemu-img convert -q -f raw -O $f /tmp/e /tmp/disk
	run -c $c -m 512 --transport $t -k /g/$k/bzImage -i /g/$k/initrd -i /g/$k/drivers -i /tmp/cmd.gz \
		-d /tmp/disk,format=$f -d /fio.img,ro,format=raw -p "quiet do=poweroff"
	same fio/$m "0 FIO-OK" "$status $(grep -o FIO-OK /tmp/out)"
	[ $f = raw ] || { qemu-img check -q /tmp/disk; same fio/$m/check 0 $?; }
	qemu-img convert -q -f $f -O raw /tmp/disk /tmp/raw
	e2fsck -fn /tmp/raw >/tmp/fsck 2>&1; same fio/$m/e2fsck 0 $?
done
