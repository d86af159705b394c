# SPDX-License-Identifier: GPL-2.0-only
# Runs in the emulated host (busybox sh): what a container costs that runs "true", by crun, by lkvm-oci, and as the same job in
# QEMU's microvm with virtiofsd. Virtual milliseconds, which are millions of instructions on all levels, from the first program's
# start to the last one's end: of a runtime's calls as conmon makes them (create, start, delete), and of all of podman.
#
# Another root than the first one, in which nobody can change roots as runtimes do.
if [ ! -e /in-tmpfs ]; then
	mkdir /new; mount -t tmpfs new /new
	for d in bin etc g lib lib64 usr s bundles fw lib.sh cpu; do [ ! -e /$d ] || cp -a /$d /new/; done
	cp /virtiofs-*.gz /new/
	for d in proc sys dev; do mkdir /new/$d; mount --move /$d /new/$d; done
	mkdir /new/tmp /new/run /new/root /new/var; mount -t tmpfs tmp /new/tmp; : >/new/in-tmpfs
	cd /new; mount --move . /
	exec chroot . sh -c '. /lib.sh; . /s/10-oci.sh; echo "=== ran 10-oci.sh 0"; echo "=== end"; sleep 1; reboot -f'
fi
export HOME=/root
mount -t cgroup2 none /sys/fs/cgroup
for c in cpu io memory pids; do echo +$c >/sys/fs/cgroup/cgroup.subtree_control; done 2>/dev/null
insmod /lib/overlay.ko 2>/dev/null
g=/g/$k
ln -s lkvm /bin/lkvm-oci
mkdir -p /etc/lkvm /r/bin /r/etc /ud/shm
settings() { { echo "kernel = $g/bzImage"; echo "memory = 256M"; echo "warm = $1"; } >/etc/lkvm/oci.conf; }
cp /bin/busybox /r/bin/; ln -s busybox /r/bin/true
for f in hosts hostname resolv.conf .containerenv; do echo >/ud/$f; done
mount -t tmpfs -o size=64000k shm /ud/shm
mkdir /b
sed -e 's#^"root":.*#"root":{"path":"/r"},#' -e 's#^ "args":.*# "args":["/bin/true"],#' \
	-e 's#/[a-z]*[a-z/]*/containers/storage/overlay-containers/00000000c0ffee02/userdata#/ud#' /bundles/podman-run.config.json >/b/config.json

# life RUNTIME: a container's, as conmon has it; says how it ended.
cat >/bin/life <<'L'
#!/bin/sh
rm -f /n /p
engine -l c1 /n /p -- /bin/$1 create --bundle /b --pid-file /p c1 </dev/null >/tmp/out 2>/tmp/err
[ "$(grep -v ^at /n)" = "created 0
ended 0
left 0" ] && exec echo || { cat /n /tmp/err | sed 's/^/# /' >&2; exit 1; }
L
# by-qemu: the same program in a root that the guest has by virtiofs.
cat >/bin/by-qemu <<L
#!/bin/sh
virtiofsd --socket-path=/tmp/fs.sock -o source=/r -o sandbox=chroot --rlimit-nofile=65536 >/tmp/fs.log 2>&1 &
while [ ! -S /tmp/fs.sock ]; do sleep 0.01; done
timeout 100 qemu-system-x86_64 -M microvm,memory-backend=ram -accel kvm -cpu host -m 256 -L /fw -nodefaults -display none \
	-serial stdio -no-reboot -object memory-backend-memfd,id=ram,size=256M,share=on -global virtio-mmio.force-legacy=false \
	-chardev socket,id=fs,path=/tmp/fs.sock -device vhost-user-fs-device,chardev=fs,tag=root \
	-kernel $g/bzImage -initrd /virtiofs-$k.initrd -append "quiet console=ttyS0 panic=-1 reboot=t job=/bin/true" >/tmp/out 2>&1
wait
rm -f /tmp/fs.sock
grep -q 'GUEST-CMD status=0' /tmp/out && exec echo
tail -n 3 /tmp/out | sed 's/^/# /' >&2
exit 1
L
cat >/bin/by-podman <<'L'
#!/bin/sh
podman --runtime /bin/$1 --cgroup-manager cgroupfs --events-backend file run --rm --network none --rootfs /r /bin/true </dev/null >/tmp/out 2>&1 && exec echo
tail -n 3 /tmp/out | sed 's/^/# /' >&2
exit 1
L
chmod 755 /bin/life /bin/by-qemu /bin/by-podman
{ cat $g/initrd $g/drivers; cat /virtiofs-$k.gz; } >/virtiofs-$k.initrd
# ms COMMAND...: of the second run.
ms() {
	"$@" >/tmp/unused
	measure 1 "$@" | awk '{ if ($NF) print "failed"; else printf "%.1f\n", $2 / 1000 }'
}
# row NAME FIGURE FIGURE: with ratios to the first row's.
row() {
	echo "$@" | awk -v a="$a" -v b="$b" 'function r(x, y) { return x > 0 && y > 0 ? sprintf("%.2f", x / y) : "-" }
		{ n = $1; gsub("_", " ", n); printf "%-26s %8s %8s %8s %8s\n", n, $2, r($2, a), $3, r($3, b) }'
}
sleep 2	# what was written a moment ago has no snapshot yet
settings no
a=$(ms life crun); b=$(ms by-podman crun)
row crun $a $b
row lkvm-oci $(ms life lkvm-oci) $(ms by-podman lkvm-oci)
settings yes; life lkvm-oci >/tmp/unused
settings strict
row lkvm-oci,_warm $(ms life lkvm-oci) $(ms by-podman lkvm-oci)
row QEMU_microvm,_virtiofsd $(ms by-qemu) -
