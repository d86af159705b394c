/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The machine as a flattened device tree, for kernels built with CONFIG_OF and
 * for people (--dump-dtb). Pure; the blob is built with libfdt.
 */
#ifndef LKVM_X86_FDT_H
#define LKVM_X86_FDT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem.h"

struct fdt_input {
	uint64_t ram_bytes;
	unsigned int cpus;
	const char *cmdline;
	gpa_t initrd;
	uint64_t initrd_bytes;
	unsigned int nr_virtio_mmio; /* devices at layout_virtio_mmio(0 ..) */
	bool acpi;		     /* decides which lines these have */
};

/* Bytes that are enough for a machine of @cpus CPUs and @cmdline. */
size_t fdt_bytes_needed(const struct fdt_input *in);

/* Returns the size of the blob, or -ENOSPC. */
int fdt_build(void *out, size_t out_bytes, const struct fdt_input *in);

#endif
