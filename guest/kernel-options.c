// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest's kernel needs. A table of constants.
 *
 * Source: the Kconfig files of Linux 5.4 to 6.12, for names and for what hides them ("with").
 */
#include <stddef.h>

#include "guest/kernel-options.h"

const struct kernel_option kernel_options[NR_KERNEL_OPTIONS] = {
	[KERNEL_INITRD] = { "BLK_DEV_INITRD", NULL, "for a command", NULL },
	[KERNEL_VIRTIO_PCI] = { "VIRTIO_PCI", "virtio_pci", "for --transport pci",
				"PCI PCI_MSI VIRTIO_MENU" },
	[KERNEL_VIRTIO_MMIO] = { "VIRTIO_MMIO", "virtio_mmio", "for --transport mmio",
				 "VIRTIO_MMIO_CMDLINE_DEVICES" },
	[KERNEL_VIRTIO_CONSOLE] = { "VIRTIO_CONSOLE", "virtio_console", "for a command", "TTY" },
	[KERNEL_VIRTIO_BLK] = { "VIRTIO_BLK", "virtio_blk", "for disks", "BLOCK BLK_DEV" },
	[KERNEL_EROFS] = { "EROFS_FS", "erofs", "for --root",
			   "MISC_FILESYSTEMS EROFS_FS_XATTR EROFS_FS_POSIX_ACL EROFS_FS_SECURITY" },
	[KERNEL_OVERLAY] = { "OVERLAY_FS", "overlay", "for --root", NULL },
	[KERNEL_TMPFS] = { "TMPFS", NULL, "for --root", "SHMEM TMPFS_POSIX_ACL TMPFS_XATTR" },
	[KERNEL_DEVTMPFS] = { "DEVTMPFS", NULL, "for /dev", NULL },
	[KERNEL_PROC] = { "PROC_FS", NULL, "for /proc", NULL },
	[KERNEL_SYSFS] = { "SYSFS", NULL, "for /sys", NULL },
	[KERNEL_PTYS] = { "UNIX98_PTYS", NULL, "for --tty", NULL },
	[KERNEL_ELF] = { "BINFMT_ELF", NULL, "for a command", "MULTIUSER SIGNALFD" },
	[KERNEL_SCRIPT] = { "BINFMT_SCRIPT", "binfmt_script", "for scripts", NULL },
	[KERNEL_NET] = { "INET", NULL, "for networks", "NET UNIX" },
	[KERNEL_VIRTIO_NET] = { "VIRTIO_NET", "virtio_net", "for -n", "NETDEVICES NET_CORE" },
	[KERNEL_VIRTIO_RNG] = { "HW_RANDOM_VIRTIO", "virtio_rng", "for --rng", "HW_RANDOM" },
	[KERNEL_SERIAL] = { "SERIAL_8250_CONSOLE", NULL, "for the kernel's log",
			    "PRINTK SERIAL_8250" },
	[KERNEL_PVPANIC] = { "PVPANIC_MMIO", "pvpanic_mmio", "to tell a panic", "ACPI PVPANIC" },
};
