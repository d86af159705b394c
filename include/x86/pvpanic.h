/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The pvpanic device (port 0x505, ACPI id QEMU0001), by which a guest's kernel says that
 * it has panicked.
 */
#ifndef LKVM_X86_PVPANIC_H
#define LKVM_X86_PVPANIC_H

#include <stdatomic.h>
#include <stdbool.h>

struct bus;
struct vm;

struct pvpanic {
	struct vm *vm;
	atomic_bool crashed; /* the kernel that runs now was started by a panic (kdump) */
};

/* 0 or -errno. */
int pvpanic_init(struct pvpanic *dev, struct vm *vm, struct bus *pio);

#endif
