# SPDX-License-Identifier: GPL-2.0-only
# What users do with disks: eight at once, read-only, copy on write, a disk that grows
# while it is used, trimmed file systems, the same writes to raw and qcow2, kill.
mkdir -p /tmp/c
# guest SCRIPT: becomes what the guests run.
guest() { echo "$1" >/tmp/c/cmd; (cd /tmp/c && echo cmd | cpio -o -H newc 2>/dev/null | gzip >/tmp/cmd.gz); }
k=cloud
boot="-m 256 -k /g/$k/bzImage -i /g/$k/initrd -i /g/$k/drivers -i /tmp/cmd.gz"

# Eight at once; of those one is read-only, the guest destroys its copy of another, and one grows.
guest 'for d in /sys/block/vd?; do echo "${d##*/}=$(cat $d/size):$(cat $d/serial):$(cat $d/ro)"; done
for d in vdf vdg; do dd if=/dev/zero of=/dev/$d bs=4k count=1 2>&1 | tail -n 1; done; mount -o ro /dev/vdf /mnt && cat /mnt/hello
head -c 4096 /dev/vdg | tr -d "\0" | wc -c | sed s/^/LEFT-/
echo READY; n=0; while [ $(cat /sys/block/vdh/size) = 2048 ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n + 1)); done
dd if=/dev/zero of=/dev/vdh bs=1M seek=1 count=1 2>/dev/null && echo "GROWN $(cat /sys/block/vdh/size)"'
mkdir -p /tmp/root && echo "hello from the image" >/tmp/root/hello
truncate -s 16M /tmp/ext && /bin/mke2fs -qF -t ext4 -O ^has_journal -d /tmp/root /tmp/ext && sha256sum /tmp/ext >/tmp/sums
cp /tmp/ext /tmp/ext2 && (cd /tmp && sha256sum ext2 >>sums)
disks=
for i in 1 2 3 4 5; do
	[ $((i % 2)) = 0 ] && f=qcow2 || f=raw
	qemu-img create -q -f $f /tmp/d$i ${i}M
	disks="$disks -d /tmp/d$i,format=$f,serial=number-$i"
done
disks="$disks -d /tmp/ext,format=raw,ro,serial=number-6 -d /tmp/ext2,format=raw,cow,serial=number-7 -d /tmp/grow,format=raw,serial=number-8"
for t in $(choose "pci mmio" mmio); do
	rm -f /tmp/out /tmp/grow; truncate -s 1M /tmp/grow
	(
		n=0; until grep -q READY /tmp/out 2>/dev/null || [ $n = 1500 ]; do sleep 0.1; n=$((n + 1)); done
		truncate -s 2M /tmp/grow
	) &
	run $boot -c 2 --transport $t $disks -p "quiet do=poweroff"
	wait $!
	same disk/eight/$t "0 vda=2048:number-1:0 vdb=4096:number-2:0 vdc=6144:number-3:0 vdd=8192:number-4:0 vde=10240:number-5:0 vdf=32768:number-6:1 vdg=32768:number-7:0 vdh=2048:number-8:0" \
		"$status $(echo $(grep '^vd' /tmp/out))"
	has disk/read-only/$t /tmp/out '^hello from the image'
	has disk/cow-is-written/$t /tmp/out '^LEFT-0'
	has disk/grows/$t /tmp/out '^GROWN 4096'
	(cd /tmp && sha256sum -c sums) >/tmp/out 2>&1; same disk/cow-leaves-the-image-alone/$t 0 $?
	[ ! -e /full ] || {
		run $boot -c 2 --transport $t -d /tmp/d1,format=raw -d /tmp/d1,format=raw,ro -p "quiet do=poweroff"
		same disk/shared-with-ourselves/$t 0 $status
	}
done

guest 'for d in vda vdb; do mount -t ext4 /dev/$d /mnt && cat /bin/busybox /bin/busybox /bin/busybox >/mnt/f && sync && echo WRITTEN-$d && read x </dev/ttyS0 && rm /mnt/f && sync && fstrim /mnt; umount /mnt; done'
truncate -s 32M /tmp/e && /bin/mke2fs -qF -t ext4 /tmp/e && qemu-img convert -q -O raw /tmp/e /tmp/trim-vda && qemu-img convert -q -O qcow2 /tmp/e /tmp/trim-vdb
: >/tmp/out
for d in vda vdb; do	# it goes on when its size is known
	n=0; until grep -q WRITTEN-$d /tmp/out || [ $n = 1500 ]; do sleep 0.1; n=$((n + 1)); done
	stat -c %b /tmp/trim-$d >/tmp/full-$d; echo
done | timeout 180 lkvm run $boot -d /tmp/trim-vda,format=raw -d /tmp/trim-vdb,format=qcow2 -p "quiet do=poweroff" >/tmp/out 2>/tmp/err
same disk/discard 0 $?
for d in vda vdb; do
	[ $(($(stat -c %b /tmp/trim-$d) + 8000)) -lt $(cat /tmp/full-$d) ]; same "disk/discard-makes-it-smaller/$d" 0 $?
done

guest 'dd if=/dev/urandom of=/tmp/r bs=1M count=4 2>/dev/null; n=0
while [ $n -lt 40 ]; do for d in vda vdb; do dd if=/tmp/r of=/dev/$d bs=512 skip=$((n * 131)) seek=$((n * 7919 % 14000)) count=$((n * 37 % 900 + 1)) conv=notrunc 2>/dev/null; done; n=$((n + 1)); done
blkdiscard -f -o 65536 -l 131072 /dev/vda 2>/dev/null; blkdiscard -f -o 65536 -l 131072 /dev/vdb 2>/dev/null
dd if=/dev/zero of=/dev/vda bs=64k seek=1 count=2 conv=notrunc 2>/dev/null; dd if=/dev/zero of=/dev/vdb bs=64k seek=1 count=2 conv=notrunc 2>/dev/null; sync'
for size in $(choose "512 4096 65536 2097152" 512); do
	rm -f /tmp/twin* && truncate -s 8M /tmp/twin.raw && qemu-img create -q -f qcow2 -o cluster_size=$size /tmp/twin.q 8M
	run $boot -c 2 -d /tmp/twin.raw,format=raw -d /tmp/twin.q -p "quiet do=poweroff"
	qemu-img check -q /tmp/twin.q && qemu-img compare -q -f raw -F qcow2 /tmp/twin.raw /tmp/twin.q
	same "disk/twins/$size" "0 0" "$? $status"
done

# Killed while a file system is busy: the journal and the image are good for the next run.
guest 'mount -t ext4 /dev/vda /mnt; i=0; while :; do echo $i >/mnt/f$((i % 50)); sync; i=$((i + 1)); echo "SYNCED $i"; done'
rm -f /tmp/e && truncate -s 32M /tmp/e && /bin/mke2fs -qF -t ext4 /tmp/e && qemu-img convert -q -O qcow2 /tmp/e /tmp/kill
for i in $(choose "1 2 3" 2); do
	timeout -s KILL 60 lkvm run $boot -d /tmp/kill -p quiet >/tmp/out 2>/tmp/err </dev/null &
	n=0; until grep -q "SYNCED $((i * 7))" /tmp/out || [ $n -gt 40 ]; do sleep 1; n=$((n + 1)); done
	killall -KILL lkvm; wait
	# The one that had the image may be gone a moment later than the one that was waited for.
	n=0; while pidof lkvm >/dev/null && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
	qemu-img check -q /tmp/kill; c=$?
	[ $c = 0 ] || [ $c = 3 ]; same "disk/killed/$i" 0 $?
done
guest 'mount -t ext4 /dev/vda /mnt && ls /mnt | grep -c ^f; umount /mnt'
run $boot -d /tmp/kill -p "quiet do=poweroff"
same disk/after-kill 0 $status
qemu-img convert -q -O raw /tmp/kill /tmp/raw && e2fsck -fn /tmp/raw >/tmp/fsck 2>&1; same disk/after-kill-e2fsck 0 $?
