# SPDX-License-Identifier: GPL-2.0-only
# The ELF kernel inside a bzImage: by its PVH entry and, with the note made
# unreadable, by its 64-bit entry.
for k in cloud generic612; do
	boots "$k/vmlinux-pvh" 0 2 512 -v -k /g/$k/vmlinux -i /g/$k/initrd -p quiet
	has "$k/vmlinux-pvh-entry" /tmp/err 'ELF kernel .*PVH entry'
	LC_ALL=C sed 's/\x12\x00\x00\x00Xen\x00/\x7f\x00\x00\x00Xen\x00/' /g/$k/vmlinux >/tmp/vmlinux
	boots "$k/vmlinux-64" 0 2 512 -v -k /tmp/vmlinux -i /g/$k/initrd -p quiet
	has "$k/vmlinux-64-entry" /tmp/err 'ELF kernel .*64-bit entry'
done
