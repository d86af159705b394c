/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's first process (guest/init.c), as the build has embedded it: an ELF program for
 * x86-64. Read-only data, any thread.
 */
#ifndef LKVM_GUEST_INIT_IMAGE_H
#define LKVM_GUEST_INIT_IMAGE_H

#include <stddef.h>
#include <stdint.h>

extern const uint8_t guest_init_start[], guest_init_end[];

/* Both are labels of one assembly file, which C takes for different objects. */
static inline size_t guest_init_bytes(void)
{
	return (size_t)((uintptr_t)guest_init_end - (uintptr_t)guest_init_start);
}

#endif
