# SPDX-License-Identifier: GPL-2.0-only
# A VM that is paused for ten seconds while fio writes and verifies and iperf3 sends: both go on, nothing is
# lost, and its kernel has nothing to say.
# Only in check-all: running.sh pauses disk and timers at work, too.
ip() { /bin/ip "$@"; }	# not busybox's
mkdir -p /run /tmp/p && cd /tmp/p
modprobe_tun
ip tuntap add t0 mode tap; ip addr add 10.7.0.1/24 dev t0; ip link set t0 up
iperf3 -s >server 2>&1 & server=$!
mkdir c; cat >c/cmd <<'C'
PATH=/bin:/usr/bin
mount -t ext4 -o ro /dev/vdb /mnt || exit 1
mount -t proc proc /mnt/proc; mount -t devtmpfs dev /mnt/dev; mount -t tmpfs tmp /mnt/tmp
mkdir /mnt/tmp/t && mount -t ext4 /dev/vda /mnt/tmp/t || exit 1
ifconfig eth0 10.7.0.2 up
dmesg -c >/dev/null
iperf3 -c 10.7.0.1 -b 4M -t 25 -i 1 --forceflush & net=$!
chroot /mnt /bin/fio --name=load --directory=/tmp/t --size=8M --rw=randrw --bsrange=4k-64k --ioengine=libaio --iodepth=16 \
	--direct=1 --fsync=16 --verify=crc32c --verify_fatal=1 --time_based --runtime=25 --minimal --output=/tmp/log && echo FIO-OK
wait $net && echo NET-OK
umount /mnt/tmp/t
dmesg | grep -iE "lockup|stall|blocked for|hung|call trace|timed out"
C
(cd c && echo cmd | cpio -o -H newc 2>/dev/null | gzip >../cmd.gz)
truncate -s 48M disk && /bin/mke2fs -qF -t ext4 disk
lkvm run --name p -c 2 -m 512 -k /g/cloud/bzImage -i /g/cloud/initrd -i /g/cloud/drivers -i /net.cpio -i cmd.gz \
	-d disk,format=raw -d /fio.img,ro,format=raw -n mode=tap,tapif=t0 -p "quiet do=poweroff" >out 2>err </dev/null & vm=$!
seconds() { grep -cE 'sec .*bits/sec' out; }
n=0; until [ "$(seconds)" -ge 3 ] || [ $n = 300 ]; do sleep 1; n=$((n + 1)); done
lkvm pause p; same pause-load/pause 0 $?
before=$(seconds)
sleep 10
same pause-load/is-still $before $(seconds)
lkvm resume p; same pause-load/resume 0 $?
wait $vm; same pause-load/status 0 $?
tr -d '\r' <out >/tmp/out
same pause-load/ends "FIO-OK NET-OK" "$(grep -oE '^(FIO|NET)-OK' /tmp/out | xargs)"
[ "$(seconds)" -ge 20 ] && ok pause-load/went-on || not_ok pause-load/went-on "$(tail /tmp/out)"
same pause-load/kernel-says-nothing "" "$(grep -iE 'lockup|stall|blocked for|hung|call trace|timed out' /tmp/out)"
e2fsck -fn disk >/tmp/fsck 2>&1; same pause-load/e2fsck 0 $?
kill $server
