// SPDX-License-Identifier: GPL-2.0-only
/*
 * boot_params, e820 and PVH start info from the memory layout. Pure functions:
 * bytes out of numbers, no files, no guest memory.
 *
 * Source: x86 boot protocol 2.15 (Documentation/x86/boot.rst and zero-page.rst);
 * Xen's public/arch-x86/hvm/start_info.h for PVH version 1.
 */
#include <assert.h>
#include <string.h>

#include "util.h"
#include "x86/boot/zeropage.h"
#include "x86/layout.h"

#define BOOT_FLAG_MAGIC		0xaa55
#define HEADER_MAGIC		0x53726448 /* "HdrS" */
#define PROTOCOL_2_15		0x020f
#define LOADER_UNDEFINED	0xff
#define ZEROPAGE_ALT_MEM_MAX_KB 0xffffffffu

/* Xen start_info.h, which Debian has only in a package of its own. */
#define PVH_MAGIC 0x336ec578u
struct pvh_start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp;
	uint64_t memmap;
	uint32_t memmap_entries, reserved;
};
struct pvh_module {
	uint64_t address, size, cmdline, reserved;
};
struct pvh_memmap_entry {
	uint64_t address, size;
	uint32_t type, reserved;
};

static void add(struct e820_map *map, uint64_t start, uint64_t end, uint32_t type)
{
	if (start >= end)
		return;
	assert(map->nr < E820_MAX);
	map->entries[map->nr++] = (struct boot_e820_entry){
		.addr = start,
		.size = end - start,
		.type = type,
	};
}

void e820_build(struct e820_map *map, uint64_t ram_bytes)
{
	uint64_t low = min_u64(ram_bytes, MEM_HOLE_START);

	map->nr = 0;
	add(map, 0, LAYOUT_LOW_END, E820_RAM);
	/* EBDA, video memory and ROMs of a PC: ACPI and MP tables are here. */
	add(map, LAYOUT_LOW_END, LAYOUT_HIGH_START, E820_RESERVED);
	add(map, LAYOUT_HIGH_START, low, E820_RAM);
	/* Linux uses ECAM only where the memory map reserves it, too. */
	add(map, LAYOUT_ECAM, (uint64_t)LAYOUT_ECAM + LAYOUT_ECAM_SIZE, E820_RESERVED);
	add(map, MEM_HOLE_END, MEM_HOLE_END + (ram_bytes - low), E820_RAM);
}

static void zeropage_set_header(struct boot_params *bp, const struct zeropage_input *in)
{
	struct setup_header *h = &bp->hdr;

	if (in->header) {
		*h = *in->header;
	} else {
		h->boot_flag = BOOT_FLAG_MAGIC;
		h->header = HEADER_MAGIC;
		h->version = PROTOCOL_2_15;
		h->loadflags = LOADED_HIGH;
	}
	h->type_of_loader = LOADER_UNDEFINED;
	h->cmd_line_ptr = (uint32_t)in->cmdline;
	bp->ext_cmd_line_ptr = (uint32_t)(in->cmdline >> 32);
	h->ramdisk_image = (uint32_t)in->initrd;
	h->ramdisk_size = (uint32_t)in->initrd_bytes;
	bp->ext_ramdisk_image = (uint32_t)(in->initrd >> 32);
	bp->ext_ramdisk_size = (uint32_t)(in->initrd_bytes >> 32);
	h->setup_data = in->setup_data;
}

void zeropage_build(struct boot_params *bp, const struct zeropage_input *in)
{
	struct e820_map map;

	memset(bp, 0, sizeof(*bp));
	zeropage_set_header(bp, in);
	bp->acpi_rsdp_addr = in->rsdp;
	e820_build(&map, in->ram_bytes);
	bp->e820_entries = (uint8_t)map.nr;
	memcpy(bp->e820_table, map.entries, map.nr * sizeof(map.entries[0]));
	/* For kernels that read no e820 map: RAM above 1 MiB, in KiB. */
	bp->alt_mem_k = (uint32_t)min_u64(
		(min_u64(in->ram_bytes, MEM_HOLE_START) - LAYOUT_HIGH_START) / 1024,
		ZEROPAGE_ALT_MEM_MAX_KB);
}

size_t pvh_build(uint8_t out[PVH_MAX_BYTES], gpa_t gpa, const struct zeropage_input *in)
{
	struct pvh_start_info info = { .magic = PVH_MAGIC, .version = 1 };
	struct pvh_module module = { .address = in->initrd, .size = in->initrd_bytes };
	struct e820_map map;
	size_t at = sizeof(info);

	memset(out, 0, PVH_MAX_BYTES);
	info.cmdline = in->cmdline;
	info.rsdp = in->rsdp;
	if (in->initrd_bytes) {
		info.nr_modules = 1;
		info.modlist = gpa + at;
		memcpy(out + at, &module, sizeof(module));
		at += sizeof(module);
	}
	e820_build(&map, in->ram_bytes);
	info.memmap = gpa + at;
	info.memmap_entries = map.nr;
	for (unsigned int i = 0; i < map.nr; i++) {
		struct pvh_memmap_entry e = {
			.address = map.entries[i].addr,
			.size = map.entries[i].size,
			.type = map.entries[i].type,
		};

		memcpy(out + at, &e, sizeof(e));
		at += sizeof(e);
	}
	memcpy(out, &info, sizeof(info));
	assert(at <= PVH_MAX_BYTES);
	return at;
}
