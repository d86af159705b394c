# SPDX-License-Identifier: GPL-2.0-only
# Debian's 64-bit kernels: 1, 2 and 4 CPUs, 128 MiB to 4 GiB, the three ways to end; without ACPI; the
# ELF kernel inside a bzImage.
for k in cloud generic cloud612 generic612; do
	case $k in
	cloud) few= ;;	# of all other scenarios
	generic) few="4:512:poweroff" ;;
	cloud612) few="2:128:panic" ;;
	generic612) few="1:4096:reboot" ;;
	esac
	all=$(for m in 1:128 2:512 4:4096; do for end in reboot poweroff panic; do echo $m:$end; done; done)
	for m in $(choose "$all 4:1024:poweroff" "$few"); do
		end=${m##*:} mib=${m#*:} mib=${mib%:*} cpus=${m%%:*}
		boots "$k/$cpus-cpus-$mib-MiB-$end" $([ $end = panic ] && echo 255 || echo 0) $cpus $mib \
			-k /g/$k/bzImage -i /g/$k/initrd -p "quiet do=$end"
	done
done
# Without ACPI the generic kernels find the CPUs in the MP table; a kernel that
# has no way to switch off halts, which ends the VM as well. host/disk-matrix has one of them.
for m in $(choose "generic:2:256:reboot generic:4:3072:poweroff generic:1:128:panic
	generic612:2:256:reboot generic612:4:3072:poweroff generic612:1:128:panic" ""); do
	IFS=: read -r k cpus mib end <<M
$m
M
	boots "$k/acpi=off-$end" $([ $end = panic ] && echo 255 || echo 0) $cpus $mib \
		-k /g/$k/bzImage -i /g/$k/initrd -p "quiet acpi=off do=$end"
done
boots "generic/--acpi-off" 0 2 256 -k /g/generic/bzImage -i /g/generic/initrd --acpi off -p quiet
[ ! -e /full ] || boots "generic/--mptable-off" 0 2 256 -k /g/generic/bzImage -i /g/generic/initrd --mptable off -p quiet
# The ELF kernel inside a bzImage: by its PVH entry and, where that note cannot be
# read, by its 64-bit entry.
k=cloud
boots "vmlinux/pvh" 0 2 512 -v -k /g/$k/vmlinux -i /g/$k/initrd -p quiet
has "vmlinux/pvh-entry" /tmp/err 'ELF kernel .*PVH entry'
[ ! -e /full ] || {	# guest/kernel has it, too
	boots "vmlinux/64" 0 2 512 -v -k /g/$k/vmlinux64 -i /g/$k/initrd -p quiet
	has "vmlinux/64-entry" /tmp/err 'ELF kernel .*64-bit entry'
}
