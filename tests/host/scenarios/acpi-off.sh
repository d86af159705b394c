# SPDX-License-Identifier: GPL-2.0-only
# Without ACPI the generic kernels find the CPUs in the MP table; a kernel that
# has no way to switch off halts, which ends the VM as well.
for k in generic generic612; do
	boots "$k/acpi=off-reboot" 0 2 256 -k /g/$k/bzImage -i /g/$k/initrd -p "quiet acpi=off"
	boots "$k/acpi=off-poweroff" 0 4 3072 -k /g/$k/bzImage -i /g/$k/initrd -p "quiet acpi=off do=poweroff"
	boots "$k/acpi=off-panic" 255 1 128 -k /g/$k/bzImage -i /g/$k/initrd -p "quiet acpi=off do=panic"
done
boots "generic/--acpi-off" 0 2 256 -k /g/generic/bzImage -i /g/generic/initrd --acpi off -p quiet
boots "generic/--mptable-off" 0 2 256 -k /g/generic/bzImage -i /g/generic/initrd --mptable off -p quiet
