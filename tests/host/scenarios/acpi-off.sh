# SPDX-License-Identifier: GPL-2.0-only
# Without ACPI the generic kernels find the CPUs in the MP table; a kernel that
# has no way to switch off halts, which ends the VM as well.
for m in $(choose "generic:2:256:reboot generic:4:3072:poweroff generic:1:128:panic
	generic612:2:256:reboot generic612:4:3072:poweroff generic612:1:128:panic" \
	"generic:2:256:reboot generic612:4:3072:poweroff generic:1:128:panic"); do
	IFS=: read -r k cpus mib end <<M
$m
M
	boots "$k/acpi=off-$end" $([ $end = panic ] && echo 255 || echo 0) $cpus $mib \
		-k /g/$k/bzImage -i /g/$k/initrd -p "quiet acpi=off do=$end"
done
boots "generic/--acpi-off" 0 2 256 -k /g/generic/bzImage -i /g/generic/initrd --acpi off -p quiet
boots "generic/--mptable-off" 0 2 256 -k /g/generic/bzImage -i /g/generic/initrd --mptable off -p quiet
