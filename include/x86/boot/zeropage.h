/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a kernel is told at its entry: struct boot_params with its e820 map, or
 * the PVH start info. Pure.
 */
#ifndef LKVM_X86_BOOT_ZEROPAGE_H
#define LKVM_X86_BOOT_ZEROPAGE_H

#include <asm/bootparam.h>
#include <stddef.h>
#include <stdint.h>

#include "mem.h"

#define E820_RAM      1u
#define E820_RESERVED 2u
#define E820_MAX      8u

struct e820_map {
	unsigned int nr;
	struct boot_e820_entry entries[E820_MAX];
};

struct zeropage_input {
	uint64_t ram_bytes;
	const struct setup_header *header; /* of a bzImage, or NULL */
	gpa_t cmdline;
	uint32_t cmdline_bytes;
	gpa_t initrd;
	uint64_t initrd_bytes;
	gpa_t setup_data; /* first of the list, or 0 */
	gpa_t rsdp;	  /* or 0 */
};

/* The memory map: conventional RAM, the ROM area, RAM around the PCI hole, ECAM. */
void e820_build(struct e820_map *map, uint64_t ram_bytes);

void zeropage_build(struct boot_params *bp, const struct zeropage_input *in);

/*
 * Writes hvm_start_info, its module list and memory map for address @gpa into
 * @out. Returns the bytes used, at most PVH_MAX_BYTES.
 */
#define PVH_MAX_BYTES 1024
size_t pvh_build(uint8_t out[PVH_MAX_BYTES], gpa_t gpa, const struct zeropage_input *in);

#endif
