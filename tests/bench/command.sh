# SPDX-License-Identifier: GPL-2.0-only
# Runs in the emulated host (busybox sh): what a command costs, beside the plain boot of the same kernel
# $k with an initrd that ends at once; from a snapshot of the waiting guest; and a file of 64 MiB, read from a directory and from a raw disk.
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
printf '%-10s %8s %8s %8s %8s %8s %8s\n' $k "$plain" "$drivers" "$command" "$warm" "$read_dir" "$read_raw"
