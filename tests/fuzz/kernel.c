// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile kernel file, from the first page to relocated bytes in guest memory: bzImage,
 * ELF of both sizes, unified kernel image. An odd first byte: the rest is the payload of a bzImage that is good
 * otherwise.
 */
#include "tests/fuzz/fuzz.h"

#include <asm/bootparam.h>

#include "mem.h"
#include "util.h"
#include "x86/boot/boot.h"
#include "x86/layout.h"

#define RAM   MIB(64)
#define SETUP 2048u
#define ROOM  (MIB(1) + SETUP)

static void boot(const uint8_t *file, size_t bytes)
{
	struct boot_config config = {
		.cmdline = "console=ttyS0",
		.ram_bytes = RAM,
		.extra_initrd_fd = -1,
	};
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
		.setup_sects = SETUP / 512 - 1,
		.boot_flag = 0xaa55,
		.jump = 0x6aeb,
		.header = 0x53726448,
		.version = 0x020f,
		.loadflags = LOADED_HIGH,
		.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G,
		.cmdline_size = 2047,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.pref_address = 0x1000000,
		.init_size = 0x400000,
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = { data, bytes };
	bool is_payload = take(&in, 1) & 1;

	log_set_level(LOG_ERROR);
	if (is_payload)
		boot_payload(in.data, in.left);
	else
		boot(in.data, in.left);
	return 0;
}
