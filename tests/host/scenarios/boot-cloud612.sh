# SPDX-License-Identifier: GPL-2.0-only
# Debian's cloud612 kernel: 1, 2 and 4 CPUs, 128 MiB to 4 GiB, the three ways to end.
k=cloud612
for end in reboot:0 poweroff:0 panic:255; do
	for machine in 1:128 2:512 4:4096; do
		boots "$k/${machine%:*}-cpus-${machine#*:}-MiB-${end%:*}" ${end#*:} ${machine%:*} ${machine#*:} \
			-k /g/$k/bzImage -i /g/$k/initrd -p "quiet do=${end%:*}"
	done
done
