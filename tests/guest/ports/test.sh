# SPDX-License-Identifier: GPL-2.0-only
# Each attack of elf64.c on ports, addresses and the old devices: the VM lives, and they
# do what they did before. In an emulated host, whose exits are slow, every 13th of all ports, addresses and
# values; with FULL=1 all.
attacks=$(grep -o '\bATTACK([a-z_0-9]*)' tests/guest/ports/elf64.c | sed 's/ATTACK(\(.*\))/\1/' | grep -v '^name$')
for attack in $attacks; do
	for acpi in on off; do
		run -k "$GUESTS/elf64" -m 256 -c $(cpus_of $attack) --rng off --acpi $acpi -p "attack=$attack every=$every"
		same "ports/$attack-acpi-$acpi" "0 RECOVERED" "$status $(tr -d '\0' <"$T/out")"
		few_lines "ports/$attack-log" '.'
	done
done
