/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Intel MP table, for kernels without ACPI or with acpi=off. Pure.
 */
#ifndef LKVM_X86_MPTABLE_H
#define LKVM_X86_MPTABLE_H

#include <stddef.h>
#include <stdint.h>

#include "mem.h"

/*
 * Writes floating pointer and configuration table for address @base into @out.
 * CPUs whose APIC id needs more than 8 bits are left out. Returns the bytes
 * used or -ENOSPC.
 */
int mptable_build(uint8_t *out, size_t out_bytes, gpa_t base, unsigned int cpus);

#endif
