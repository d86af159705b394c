// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile kernel file, from the first page to relocated bytes in guest memory: bzImage
 * (all unpackers), ELF of both sizes. The first byte says how the file is completed: 0 as
 * it is; else the rest is the payload of a bzImage that is good otherwise, or the unpacked file
 * of a payload, with its relocation tables.
 */
#include "tests/fuzz/fuzz.h"

#include <asm/bootparam.h>

#include "mem.h"
#include "util.h"
#include "x86/boot.h"
#include "x86/layout.h"
#include "x86/unpack.h"
#include "x86/vmlinux.h"

#define RAM	MIB(64)
#define SETUP	2048u
#define ROOM	(MIB(1) + SETUP)

static struct mem *ram;

static void boot(const uint8_t *file, size_t bytes)
{
	struct boot_config config = { .cmdline = "console=ttyS0", .ram_bytes = RAM };
	char path[32];
	int fd = memory_file(file, bytes, path);
	struct boot *b;

	config.kernel = path;
	if (!boot_open(&b, &config)) {
		struct mem *mem;

		must(!mem_create(&mem, RAM));
		if (!boot_load(b, mem))
			boot_finish(b, mem, NULL, 0, LAYOUT_ACPI, false);
		mem_destroy(mem);
		boot_destroy(b);
	}
	close(fd);
}

static void boot_payload(const uint8_t *payload, size_t bytes)
{
	static uint8_t file[ROOM];
	struct setup_header h = {
		.setup_sects = SETUP / 512 - 1, .boot_flag = 0xaa55, .jump = 0x6aeb,
		.header = 0x53726448, .version = 0x020f, .loadflags = LOADED_HIGH,
		.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G, .cmdline_size = 2047,
		.initrd_addr_max = 0x7fffffff, .kernel_alignment = 0x200000,
		.relocatable_kernel = 1, .pref_address = 0x1000000, .init_size = 0x400000,
	};

	bytes = min_u64(bytes, MIB(1) - 16);
	h.syssize = (uint32_t)(bytes / 16 + 1);
	h.payload_length = (uint32_t)bytes;
	memset(file, 0, SETUP);
	memcpy(file + 0x1f1, &h, sizeof(h));
	memcpy(file + SETUP, payload, bytes);
	memset(file + SETUP + bytes, 0, 16);
	boot(file, SETUP + (size_t)h.syssize * 16);
}

static void relocate(const uint8_t *file, size_t bytes)
{
	static const uint64_t random[2] = { 0x123456789, 0x987654321 };
	const struct vmlinux_limits limits = { .align = MIB(2), .ram_bytes = RAM };
	struct vmlinux_place place;
	const char *why;
	struct vmlinux v;

	if (vmlinux_parse(&v, file, bytes, MIB(16), &why) || v.image_bytes > MIB(16) ||
	    !vmlinux_choose(&v, &limits, random, &place))
		return;
	must(place.gpa + v.image_bytes <= RAM);
	if (!vmlinux_copy(&v, place.gpa, ram))
		vmlinux_relocate(&v, &place, ram);
	mem_zero(ram, place.gpa, v.image_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = { data, bytes };
	unsigned int kind = (unsigned int)take(&in, 1) % 3;

	log_set_level(LOG_ERROR);
	if (!ram)
		must(!mem_create(&ram, RAM));
	if (kind == 0)
		boot(in.data, in.left);
	else if (kind == 1)
		boot_payload(in.data, in.left);
	else
		relocate(in.data, in.left);
	return 0;
}
