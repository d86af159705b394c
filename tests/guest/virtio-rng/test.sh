# SPDX-License-Identifier: GPL-2.0-only
# Each attack of elf64.c against the entropy device, over both transports; the rate
# limit; the option.
attacks=$(attacks_of tests/guest/virtio-rng/elf64.c)
for transport in pci mmio; do
	n=0
	for attack in $attacks; do
		n=$((n + 1)); over $transport $n $attack || continue
		run -k "$GUESTS/elf64" -m 4096 -c $(cpus_of $attack) --transport $transport -p "attack=$attack every=$every"
		same "virtio-rng/$transport/$attack" "0 SURVIVED RECOVERED" "$status $(echo $(cat "$T/out"))"
	done
done
# 128 bytes at 64 per second: the first 64 are there, the rest takes a second.
start=$(now_ms)
run -k "$GUESTS/elf64" -m 256 --rng 64 -p attack=limited
took=$(($(now_ms) - start))
same virtio-rng/limited "0 LIMITED" "$status $(cat "$T/out")"
[ $took -ge 900 ] && ok virtio-rng/limited-time || not_ok virtio-rng/limited-time "$took ms"
# Without one the guest finds no device.
run -k "$GUESTS/elf64" -m 256 --rng off -p attack=huge
has virtio-rng/off "$T/out" 'FAILED no device'
