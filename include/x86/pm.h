/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The registers through which ACPI switches the machine off and resets it.
 */
#ifndef LKVM_X86_PM_H
#define LKVM_X86_PM_H

struct bus;
struct vm;

struct pm {
	struct vm *vm;
};

/* 0 or -errno. */
int pm_init(struct pm *pm, struct vm *vm, struct bus *pio);

#endif
