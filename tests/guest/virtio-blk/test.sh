# SPDX-License-Identifier: GPL-2.0-only
# Each attack of elf64.c against a disk, over both transports: the VM lives, the
# device works again after a reset, and the image is not touched where it should not.
attacks=$(attacks_of tests/guest/virtio-blk/elf64.c)
truncate -s 16M "$T/img"
for transport in pci mmio; do
	n=0
	for attack in $attacks; do
		n=$((n + 1)); over $transport $n $attack || continue
		suffix=,format=raw,serial=SN1
		[ $attack != write_read_only ] || suffix=$suffix,ro
		run -k "$GUESTS/elf64" -m 256 -c $(cpus_of $attack) --transport $transport -d "$T/img$suffix" -p "attack=$attack every=$every"
		same "virtio-blk/$transport/$attack" "0 SURVIVED RECOVERED" "$status $(echo $(cat "$T/out"))"
		few_lines "virtio-blk/$transport/$attack-log" 'until the driver resets it'
	done
done
same virtio-blk/image-size 16777216 "$(stat -c %s "$T/img")"
# A host that refuses io_uring gets threads, and the same disk.
if [ -z "$VARIANT" ]; then
	timeout 60 strace -f -o /dev/null -e inject=io_uring_setup:error=EPERM "$LKVM" run -v -k "$GUESTS/elf64" -m 256 \
		-d "$T/img,format=raw,serial=SN1" -p attack=reset_in_flight >"$T/out" 2>"$T/err" </dev/null
	same virtio-blk/threads "0 SURVIVED RECOVERED" "$? $(echo $(cat "$T/out"))"
	has virtio-blk/threads-said "$T/err" 'refuses io_uring .*: using threads'
fi
# What the kernel is told.
run -v --dry-run -k "$GUESTS/elf64" -d "$T/img,format=raw"
has virtio-blk/root "$T/err" 'kernel parameters: .* root=/dev/vda rw$'
run -v --dry-run -k "$GUESTS/elf64" -d "$T/img,format=raw,ro" -p "quiet"
has virtio-blk/root-ro "$T/err" 'kernel parameters: .* root=/dev/vda ro quiet$'
run -v --dry-run -k "$GUESTS/elf64" -d "$T/img,format=raw" -p "quiet root=/dev/vdb2"
same virtio-blk/own-root 0 "$(grep -c 'root=/dev/vda' "$T/err")"
has virtio-blk/own-root-rw "$T/err" 'kernel parameters: .* rw quiet root=/dev/vdb2$'
run -v --dry-run -k "$GUESTS/elf64" -d "$T/img,format=raw,ro" -p "root=/dev/vda1"
has virtio-blk/own-root-ro "$T/err" 'kernel parameters: .* ro root=/dev/vda1$'
# mbr NAME TYPE...: a disk with partitions of these types.
mbr() {
	local name=$1 first=1 type entries=; shift
	for type; do entries="$entries"'\0\0\0\0\x'$type'\0\0\0\x'$(printf %02x $first)'\0\0\0\x10\0\0\0'; first=$((first + 16)); done
	truncate -s 1M "$T/$name"
	printf "$entries" | dd of="$T/$name" bs=1 seek=446 conv=notrunc 2>/dev/null
	printf '\x55\xaa' | dd of="$T/$name" bs=1 seek=510 conv=notrunc 2>/dev/null
}
mbr one 82 83; mbr two 83 82 83; mbr none 82
qemu-img convert -q -O qcow2 "$T/one" "$T/one.qcow2"
for disk in one one.qcow2 one,cow; do
	run -v --dry-run -k "$GUESTS/elf64" -d "$T/$disk" -p quiet
	has "virtio-blk/root-of-$disk" "$T/err" 'kernel parameters: .* root=/dev/vda2 rw quiet$'
done
run -v --dry-run -k "$GUESTS/elf64" -d "$T/two"
has virtio-blk/two-roots "$T/err" '^lkvm: disk: .*/two: its Linux partitions are 1, 3: which one'
has virtio-blk/two-roots-advice "$T/err" '^  say it: -p root=/dev/vda1$'
run -v --dry-run -k "$GUESTS/elf64" -d "$T/none"
has virtio-blk/no-root "$T/err" '^lkvm: disk: .*/none: it has partitions, none of them of type Linux'
run -v --dry-run -k "$GUESTS/elf64" -d "$T/two" -p root=/dev/vda3
same virtio-blk/root-said 0 "$(grep -c 'which one' "$T/err")"
run -v --dry-run -k "$GUESTS/elf64" -d "$T/img,format=raw" -d "$T/img,format=raw,ro" --transport mmio --acpi off
has virtio-blk/mmio-params "$T/err" 'virtio_mmio.device=512@0xd0000000:5 virtio_mmio.device=512@0xd0001000:6 virtio_mmio.device=512@0xd0002000:7$'
# A disk error at the very end is not a success: what was not flushed is written then.
run -k "$GUESTS/elf64" -m 256 -d "$T/img,format=raw" -p attack=indirect_works --json "$T/json"
has virtio-blk/json "$T/json" '"outcome":"poweroff","status":0'
# Sanitizers wrap the same functions.
if [ -z "$VARIANT" ]; then
	LD_PRELOAD=$TOOLS/fault.so FAULT=fdatasync:5:1:1000000 NO_IO_URING=1 timeout 60 "$LKVM" run -k "$GUESTS/elf64" -m 256 \
		-d "$T/img,format=raw" -p attack=indirect_works --json "$T/json" >"$T/out" 2>"$T/err" </dev/null
	same virtio-blk/lost-data-status 125 $?
	has virtio-blk/lost-data "$T/err" '^lkvm: disk: .*/img: what was written last may be lost: Input/output error'
fi
