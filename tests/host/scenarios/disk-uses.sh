# SPDX-License-Identifier: GPL-2.0-only
# What users do with disks: eight at once, read-only, copy on write, a disk that grows
# while it is used, trimmed file systems, the same writes to raw and qcow2, kill.
mkdir -p /tmp/c
# guest SCRIPT: becomes what the guests run.
guest() { echo "$1" >/tmp/c/cmd; (cd /tmp/c && echo cmd | cpio -o -H newc 2>/dev/null | gzip >/tmp/cmd.gz); }
k=cloud
boot="-m 256 -k /g/$k/bzImage -i /g/$k/initrd -i /g/$k/drivers -i /tmp/cmd.gz"

guest 'for d in /sys/block/vd?; do echo "${d##*/}=$(cat $d/size):$(cat $d/serial):$(cat $d/ro)"; done'
disks=
for i in 1 2 3 4 5 6 7 8; do
	[ $((i % 2)) = 0 ] && f=qcow2 || f=raw
	qemu-img create -q -f $f /tmp/d$i ${i}M
	disks="$disks -d /tmp/d$i,format=$f,serial=number-$i"
done
for t in $(choose "pci mmio" mmio); do
	[ ! -e /full ] || {
		run $boot -c 2 --transport $t $disks -d /tmp/d1,format=raw,ro -p "quiet do=poweroff"
		same disk/shared-with-ourselves/$t 0 $status
	}
	run $boot -c 2 --transport $t $disks -p "quiet do=poweroff"
	same disk/eight/$t "vda=2048:number-1:0 vdb=4096:number-2:0 vdc=6144:number-3:0 vdd=8192:number-4:0 vde=10240:number-5:0 vdf=12288:number-6:0 vdg=14336:number-7:0 vdh=16384:number-8:0" \
		"$(echo $(grep '^vd' /tmp/out))"
done

guest 'for d in vda vdb; do dd if=/dev/zero of=/dev/$d bs=4k count=1 2>&1 | tail -n 1; done; mount -o ro /dev/vda /mnt && cat /mnt/hello
head -c 4096 /dev/vdb | tr -d "\0" | wc -c | sed s/^/LEFT-/'
mkdir -p /tmp/root && echo "hello from the image" >/tmp/root/hello
truncate -s 16M /tmp/ext && /bin/mke2fs -qF -t ext4 -O ^has_journal -d /tmp/root /tmp/ext && sha256sum /tmp/ext >/tmp/sums
cp /tmp/ext /tmp/ext2 && (cd /tmp && sha256sum ext2 >>sums)
run $boot -d /tmp/ext,format=raw,ro -d /tmp/ext2,format=raw,cow -p "quiet do=poweroff" # the guest destroys its copy
has disk/read-only /tmp/out '^hello from the image'
has disk/cow-is-written /tmp/out '^LEFT-0'
sha256sum -c /tmp/sums >/tmp/out 2>&1; same disk/cow-leaves-the-image-alone 0 $?

guest 'echo READY; n=0; while [ $(cat /sys/block/vda/size) = 2048 ] && [ $n -lt 60 ]; do sleep 1; n=$((n + 1)); done
dd if=/dev/zero of=/dev/vda bs=1M seek=1 count=1 2>/dev/null && echo "GROWN $(cat /sys/block/vda/size)"'
truncate -s 1M /tmp/grow
timeout 120 lkvm run $boot -d /tmp/grow,format=raw -p "quiet do=poweroff" >/tmp/out 2>/tmp/err </dev/null &
n=0; until grep -q READY /tmp/out || [ $n -gt 60 ]; do sleep 1; n=$((n + 1)); done
truncate -s 2M /tmp/grow
wait $!; tr -d '\r' </tmp/out >/tmp/out2; mv /tmp/out2 /tmp/out
has disk/grows /tmp/out '^GROWN 4096'

guest 'mount -t ext4 /dev/vda /mnt && cat /bin/busybox /bin/busybox /bin/busybox >/mnt/f && sync && echo WRITTEN && sleep 2 && rm /mnt/f && sync && fstrim /mnt; umount /mnt'
for f in raw qcow2; do
	rm -f /tmp/e && truncate -s 32M /tmp/e && /bin/mke2fs -qF -t ext4 /tmp/e && rm -f /tmp/trim && qemu-img convert -q -O $f /tmp/e /tmp/trim
	(full() { stat -c %b /tmp/trim; }; n=0; until grep -q WRITTEN /tmp/out || [ $n -gt 600 ]; do sleep 0.1; n=$((n + 1)); done; full >/tmp/full) &
	: >/tmp/out; run $boot -d /tmp/trim,format=$f -p "quiet do=poweroff"
	wait $!
	[ $(($(stat -c %b /tmp/trim) + 8000)) -lt $(cat /tmp/full) ]; same "disk/discard-makes-it-smaller/$f" "0 0" "$status $?"
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
