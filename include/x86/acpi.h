/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ACPI tables of this machine: RSDP, XSDT, FADT (hardware-reduced), MADT,
 * MCFG, DSDT. Pure: bytes out of a number of CPUs.
 */
#ifndef LKVM_X86_ACPI_H
#define LKVM_X86_ACPI_H

#include <stddef.h>
#include <stdint.h>

#include "mem.h"

struct acpi_input {
	gpa_t base; /* where @out will be in guest RAM; the RSDP is first */
	unsigned int cpus;
	unsigned int nr_virtio_mmio; /* devices at layout_virtio_mmio(0 ..) */
};

/*
 * Writes all tables into @out. Returns the bytes used, or -ENOSPC if @out is
 * too small for that many CPUs.
 */
int acpi_build(uint8_t *out, size_t out_bytes, const struct acpi_input *in);

#endif
