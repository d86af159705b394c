# SPDX-License-Identifier: GPL-2.0-only
# Runs in the emulated host (busybox sh): what a command costs, beside the plain boot of the same kernel
# $k with an initrd that ends at once; from a snapshot of the waiting guest; a file of 64 MiB, read from a directory and
# from a raw disk; a look at 10 000 files; a root of 300 000 files beside one of a few; and the same jobs by QEMU's microvm
# with virtiofsd, from the start of both programs to their end.
g=/g/$k
up() { cut -d' ' -f1 /proc/uptime; }
# seconds COMMAND...: its virtual seconds, after a run that nobody counts (the kernel's cache).
seconds() {
	local start
	start=$(up)
	"$@" >/tmp/out 2>/tmp/err </dev/null || echo "# status $?: $*: $(tail -n 3 /tmp/err)"
	awk "BEGIN { printf \"%.2f\n\", $(up) - $start }"
}
for i in 1 2; do lkvm run -m 256 -k $g/bzImage -i $g/initrd -p quiet >/dev/null 2>&1 </dev/null; done
plain=$(seconds lkvm run -m 256 -k $g/bzImage -i $g/initrd -p quiet)
head -c 65536 /dev/zero >/small
# The drivers that a command takes, loaded by that initrd: what they cost by themselves.
drivers=$(seconds lkvm run -m 256 -k $g/bzImage -i $g/initrd -i $g/drivers -p quiet --console virtio -d /small,ro)
command=$(seconds lkvm run -m 256 -k $g/bzImage -- true)
export HOME=/tmp
lkvm run --warm -m 256 -k $g/bzImage -- true >/dev/null 2>&1 </dev/null
warm=$(seconds lkvm run --warm=strict -m 256 -k $g/bzImage -- true)
mkdir -p /data /empty
head -c 67108864 /dev/urandom >/data/file
read_dir=$(seconds lkvm run -m 256 -k $g/bzImage --dir /data -- sh -c 'cat /data/file >/dev/null')
read_raw=$(seconds lkvm run -m 256 -k $g/bzImage -d /data/file,ro -- sh -c 'cat /dev/vda >/dev/null')
# 10 000 files in directories of 100.
for d in $(seq 100); do mkdir -p /data/many/$d; (cd /data/many/$d && touch $(seq 100)); done
look='find /data/many -size +1000k'
look_dir=$(seconds lkvm run -m 256 -k $g/bzImage --dir /data -- $look)
for r in /few /full; do mkdir $r; mount -t tmpfs $r $r; mkdir $r/bin; cp /bin/busybox $r/bin/; ln -s busybox $r/bin/true; done
for d in $(seq 1000); do mkdir -p /full/$d; (cd /full/$d && touch $(seq 300)); done
root_few=$(seconds lkvm run -m 256 -k $g/bzImage --root /few -- true)
root_full=$(seconds lkvm run -m 256 -k $g/bzImage --root /full -- true)
umount /full
printf '%-14s %8s %8s %8s %8s %8s %8s %8s %8s %8s\n' $k "$plain" "$drivers" "$command" "$warm" "$read_dir" "$read_raw" \
	"$look_dir" "$root_few" "$root_full"

# by_qemu COMMAND: in a root that the guest has by virtiofs.
for l in cat find; do ln -s busybox /few/bin/$l; done
cp -r /data /few/
by_qemu() {
	virtiofsd --socket-path=/tmp/fs.sock -o source=/few -o sandbox=chroot --rlimit-nofile=65536 >/tmp/fs.log 2>&1 &
	while [ ! -S /tmp/fs.sock ]; do sleep 0.01; done
	timeout 100 qemu-system-x86_64 -M microvm,memory-backend=ram -accel kvm -cpu host -m 256 -L /fw -nodefaults -display none \
		-serial stdio -no-reboot -object memory-backend-memfd,id=ram,size=256M,share=on -global virtio-mmio.force-legacy=false \
		-chardev socket,id=fs,path=/tmp/fs.sock -device vhost-user-fs-device,chardev=fs,tag=root \
		-kernel $g/bzImage -initrd /virtiofs-$k.initrd -append "quiet console=ttyS0 panic=-1 reboot=t job=$(echo "$1" | tr ' ' ,)"
	wait
	rm -f /tmp/fs.sock
	grep -q 'GUEST-CMD status=0' /tmp/out
}
{ cat $g/initrd $g/drivers; cat /virtiofs-$k.gz; } >/virtiofs-$k.initrd
printf '%-14s %8s %8s %8s %8s %8s %8s %8s\n' "$k by QEMU" - - "$(seconds by_qemu true)" - \
	"$(seconds by_qemu 'cat /data/file')" - "$(seconds by_qemu "$look")"
