# SPDX-License-Identifier: GPL-2.0-only
# Debian's 64-bit kernels: 1, 2 and 4 CPUs, 128 MiB to 4 GiB, the three ways to end.
for k in cloud generic cloud612 generic612; do
	case $k in
	cloud) few="1:128:reboot 2:512:poweroff 4:4096:panic" ;;
	generic) few="1:512:panic 4:128:poweroff" ;;
	cloud612) few="1:4096:poweroff 2:128:panic" ;;
	generic612) few="2:4096:reboot 4:512:poweroff" ;;
	esac
	all=$(for m in 1:128 2:512 4:4096; do for end in reboot poweroff panic; do echo $m:$end; done; done)
	for m in $(choose "$all 4:1024:poweroff" "$few"); do
		end=${m##*:} mib=${m#*:} mib=${mib%:*} cpus=${m%%:*}
		boots "$k/$cpus-cpus-$mib-MiB-$end" $([ $end = panic ] && echo 255 || echo 0) $cpus $mib \
			-k /g/$k/bzImage -i /g/$k/initrd -p "quiet do=$end"
	done
done
