# SPDX-License-Identifier: GPL-2.0-only
# The ELF kernel inside a bzImage: by its PVH entry and, where that note cannot be
# read, by its 64-bit entry.
k=cloud
boots "vmlinux/pvh" 0 2 512 -v -k /g/$k/vmlinux -i /g/$k/initrd -p quiet
has "vmlinux/pvh-entry" /tmp/err 'ELF kernel .*PVH entry'
boots "vmlinux/64" 0 2 512 -v -k /g/$k/vmlinux64 -i /g/$k/initrd -p quiet
has "vmlinux/64-entry" /tmp/err 'ELF kernel .*64-bit entry'
