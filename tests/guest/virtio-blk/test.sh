# SPDX-License-Identifier: GPL-2.0-only
# Each attack of elf64.c against a disk, over both transports: the VM lives, the
# device works again after a reset, and the image is not touched where it should not.
attacks=$(grep -o 'ATTACK([a-z_0-9]*)' tests/guest/virtio-blk/elf64.c | sed 's/ATTACK(\(.*\))/\1/' | grep -v '^name$')
truncate -s 16M "$T/img"
for transport in pci mmio; do
	for attack in $attacks; do
		suffix=,format=raw,serial=SN1 cpus=1
		[ $attack != write_read_only ] || suffix=$suffix,ro
		[ $attack != race ] || cpus=2
		run -k "$GUESTS/elf64" -m 256 -c $cpus --transport $transport -d "$T/img$suffix" -p "attack=$attack"
		same "virtio-blk/$transport/$attack" "0 SURVIVED RECOVERED" "$status $(echo $(cat "$T/out"))"
		lines=$(grep -c 'until the driver resets it' "$T/err")
		[ "$lines" -le 40 ] || not_ok "virtio-blk/$transport/$attack-log" "$lines lines" "$(head -n 5 "$T/err")"
	done
done
same virtio-blk/image-size 16777216 "$(stat -c %s "$T/img")"
