/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A CPU's registers as gdb has them: numbered, each with its size, in the order of the description
 * that gdb is given. Pure; any thread.
 */
#ifndef LKVM_CONTROL_GDB_REGISTERS_H
#define LKVM_CONTROL_GDB_REGISTERS_H

#include <stddef.h>
#include <stdint.h>

#include "x86/registers.h"

#define GDB_NR_REGISTERS   66u
#define GDB_REGISTER_BYTES 16u /* the largest one's */

/* The target's description (target.xml). */
extern const char gdb_description[];

/*
 * How many bytes register @n has, and what is in them: 0 if there is none. The program counter is a
 * linear address, as all addresses that gdb uses: outside of 64-bit mode that of the code segment has been added.
 */
size_t gdb_register_get(const struct registers *r, unsigned int n, uint8_t value[GDB_REGISTER_BYTES]);

/* What has to be given to KVM after a change. */
enum {
	GDB_CHANGED_REGS = 1,
	GDB_CHANGED_SREGS = 2,
	GDB_CHANGED_FPU = 4,
};

/*
 * Sets register @n, and what has changed in *changed. 0; -EINVAL: there is none, or it cannot be set to
 * another value.
 */
int gdb_register_set(struct registers *r, unsigned int n, const uint8_t *value,
		     unsigned int *changed);

#endif
