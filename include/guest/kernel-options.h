/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a guest's kernel needs for what lkvm does with it: one table, for `lkvm kconfig` and for the
 * messages about a kernel that lacks something.
 */
#ifndef LKVM_GUEST_KERNEL_OPTIONS_H
#define LKVM_GUEST_KERNEL_OPTIONS_H

#include <stdint.h>

enum kernel_option_id {
	KERNEL_INITRD,
	KERNEL_VIRTIO_PCI,
	KERNEL_VIRTIO_MMIO,
	KERNEL_VIRTIO_CONSOLE,
	KERNEL_VIRTIO_BLK,
	KERNEL_EROFS,
	KERNEL_OVERLAY,
	KERNEL_TMPFS,
	KERNEL_DEVTMPFS,
	KERNEL_PROC,
	KERNEL_SYSFS,
	KERNEL_PTYS,
	KERNEL_ELF,
	KERNEL_SCRIPT,
	KERNEL_NET,
	KERNEL_VIRTIO_NET,
	KERNEL_VIRTIO_RNG,
	KERNEL_SERIAL,
	KERNEL_PVPANIC,
	NR_KERNEL_OPTIONS,
};

#define KERNEL_BIT(id) (1u << (id))

struct kernel_option {
	const char *name;    /* without CONFIG_ */
	const char *module;  /* its name, '_' for '-'; NULL: it cannot be one */
	const char *purpose; /* "for --root" */
	const char *with;    /* what else to switch on, separated by blanks; NULL: nothing */
};

/* By enum kernel_option_id. */
extern const struct kernel_option kernel_options[NR_KERNEL_OPTIONS];

#endif
