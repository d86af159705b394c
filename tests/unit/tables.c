// SPDX-License-Identifier: GPL-2.0-only
/* The other ways to describe the machine: MP table, device tree, e820, PVH. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <libfdt.h>

#include "pci.h"
#include "util.h"
#include "x86/boot/zeropage.h"
#include "x86/fdt.h"
#include "x86/layout.h"
#include "x86/mptable.h"

static void mptable_lists_every_cpu(void **state)
{
	static const unsigned int counts[] = { 1, 2, 4, 255, 300 };
	static uint8_t out[LAYOUT_MPTABLE_MAX];

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
		int n = mptable_build(out, sizeof(out), LAYOUT_MPTABLE, counts[c]);
		const uint8_t *config = out + 16, *p = config + 44;
		unsigned int cpus = 0, boot = 0, lines = 0, slots = 0, entries;
		uint16_t length;

		assert_true(n > 0);
		assert_memory_equal(out, "_MP_", 4);
		assert_int_equal(checksum_byte(out, 16), 0);
		memcpy(&length, config + 4, 2);
		assert_int_equal(length + 16, n);
		assert_int_equal(checksum_byte(config, length), 0);
		entries = config[34] | config[35] << 8;
		for (; entries; entries--) {
			if (p[0] == 0) {
				assert_int_equal(p[1], layout_apic_id(cpus++));
				boot += p[3] >> 1 & 1;
				p += 20;
				continue;
			}
			if (p[0] == 3 && p[4] == 1) {
				assert_int_equal(p[5], p[7]);
				lines++;
			}
			if (p[0] == 3 && p[4] == 0) {
				assert_int_equal(p[7], layout_pci_gsi(p[5] >> 2));
				slots++;
			}
			p += 8;
		}
		assert_ptr_equal(p, config + length);
		assert_int_equal(cpus, counts[c] > 255 ? 255 : counts[c]);
		assert_int_equal(boot, 1);
		assert_int_equal(lines, 16);
		assert_int_equal(slots, PCI_SLOTS - 1);
	}
	assert_int_equal(mptable_build(out, 64, LAYOUT_MPTABLE, 1), -ENOSPC);
}

static void dtc_has_no_complaint(void **state)
{
	static const struct fdt_input inputs[] = {
		{ .ram_bytes = MIB(128), .cpus = 1, .cmdline = "" },
		{ .ram_bytes = MIB(128), .cpus = 2, .cmdline = "", .nr_virtio_mmio = 31 },
		{
			.ram_bytes = GIB(64),
			.cpus = 300,
			.cmdline = "console=ttyS0 quiet",
			.initrd = 0x7f000000,
			.initrd_bytes = 0x1000001,
		},
	};
	char out[8192];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		size_t max = fdt_bytes_needed(&inputs[i]);
		void *dtb = malloc(max);
		char path[] = "/tmp/lkvm-dtb-XXXXXX", command[128];
		int n = fdt_build(dtb, max, &inputs[i]), fd = mkstemp(path);

		assert_true(fd >= 0 && n > 0);
		close(fd);
		write_file(path, dtb, (size_t)n);
		snprintf(command, sizeof(command), "dtc -I dtb -O dts %s >/dev/null", path);
		if (run_tool(command, out, sizeof(out)) || out[0])
			fail_msg("dtc: %s", out);
		unlink(path);
		free(dtb);
	}
}

static void device_tree_has_the_machine(void **state)
{
	const struct fdt_input in = {
		.ram_bytes = GIB(4),
		.cpus = 3,
		.cmdline = "root=/dev/vda",
		.initrd = 0x1000,
		.initrd_bytes = 0x2000,
	};
	static uint8_t dtb[8192];
	int cpus, node, count = 0, len;
	const fdt32_t *reg;

	(void)state;
	assert_true(fdt_build(dtb, sizeof(dtb), &in) > 0);
	assert_int_equal(fdt_check_header(dtb), 0);
	cpus = fdt_path_offset(dtb, "/cpus");
	fdt_for_each_subnode(node, dtb, cpus)
		count++;
	assert_int_equal(count, 3);
	assert_string_equal(fdt_getprop(dtb, fdt_path_offset(dtb, "/chosen"), "bootargs", NULL),
			    "root=/dev/vda");
	reg = fdt_getprop(dtb, fdt_path_offset(dtb, "/memory@0"), "reg", &len);
	assert_int_equal(len, 32);
	assert_int_equal(fdt32_to_cpu(reg[3]), MEM_HOLE_START);
	assert_int_equal(fdt32_to_cpu(reg[4]), 1);
	assert_int_equal(fdt32_to_cpu(reg[7]), GIB(1));
	for (size_t n = 0; n < 200; n++)
		assert_int_equal(fdt_build(dtb, n, &in), -ENOSPC);
}

static void e820_covers_ram_and_nothing_else(void **state)
{
	static const uint64_t sizes[] = { MIB(2), MIB(128), GIB(3), GIB(3) + 4096, GIB(64) };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct e820_map map;
		uint64_t ram = 0, end = 0;

		e820_build(&map, sizes[i]);
		for (unsigned int e = 0; e < map.nr; e++) {
			assert_true(map.entries[e].addr >= end);
			end = map.entries[e].addr + map.entries[e].size;
			if (map.entries[e].type == E820_RAM) {
				ram += map.entries[e].size;
				assert_true(end <= MEM_HOLE_START ||
					    map.entries[e].addr >= MEM_HOLE_END);
			}
		}
		/* Only the ROM area below 1 MiB is RAM that is not announced. */
		assert_int_equal(ram, sizes[i] - (LAYOUT_HIGH_START - LAYOUT_LOW_END));
	}
}

static void zero_page_has_what_was_asked(void **state)
{
	struct setup_header header = { .version = 0x020f, .boot_flag = 0xaa55, .init_size = 42 };
	struct zeropage_input in = {
		.ram_bytes = GIB(4),
		.header = &header,
		.cmdline = LAYOUT_CMDLINE,
		.initrd = 0x123456000,
		.initrd_bytes = 0x100000001,
		.setup_data = 0x30000,
		.rsdp = LAYOUT_ACPI,
	};
	struct boot_params bp;

	(void)state;
	zeropage_build(&bp, &in);
	assert_int_equal(bp.hdr.init_size, 42);
	assert_int_equal(bp.hdr.type_of_loader, 0xff);
	assert_int_equal(bp.hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	assert_int_equal(bp.hdr.ramdisk_image, 0x23456000);
	assert_int_equal(bp.ext_ramdisk_image, 1);
	assert_int_equal(bp.hdr.ramdisk_size, 1);
	assert_int_equal(bp.ext_ramdisk_size, 1);
	assert_int_equal(bp.hdr.setup_data, 0x30000);
	assert_int_equal(bp.acpi_rsdp_addr, LAYOUT_ACPI);
	assert_int_equal(bp.sentinel, 0);
	in.header = NULL;
	zeropage_build(&bp, &in);
	assert_int_equal(bp.hdr.header, 0x53726448);
	assert_int_equal(bp.hdr.boot_flag, 0xaa55);
}

static void pvh_info_points_at_its_parts(void **state)
{
	const struct zeropage_input in = {
		.ram_bytes = GIB(4),
		.cmdline = LAYOUT_CMDLINE,
		.initrd = 0x5000,
		.initrd_bytes = 7,
		.rsdp = LAYOUT_ACPI,
	};
	uint8_t out[PVH_MAX_BYTES];
	uint64_t v[5];
	uint32_t head[4];
	size_t n = pvh_build(out, LAYOUT_PVH, &in);

	(void)state;
	assert_true(n <= PVH_MAX_BYTES);
	memcpy(head, out, sizeof(head));
	memcpy(v, out + 16, sizeof(v));
	assert_int_equal(head[0], 0x336ec578);
	assert_int_equal(head[3], 1);
	assert_int_equal(v[0], LAYOUT_PVH + 56); /* modules */
	assert_int_equal(v[1], LAYOUT_CMDLINE);
	assert_int_equal(v[2], LAYOUT_ACPI);
	assert_int_equal(v[3], LAYOUT_PVH + 56 + 32); /* memory map */
	assert_int_equal(v[4] & 0xffffffff, 5);
	assert_int_equal(n, 56 + 32 + 5 * 24);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mptable_lists_every_cpu),
		cmocka_unit_test(dtc_has_no_complaint),
		cmocka_unit_test(device_tree_has_the_machine),
		cmocka_unit_test(e820_covers_ram_and_nothing_else),
		cmocka_unit_test(zero_page_has_what_was_asked),
		cmocka_unit_test(pvh_info_points_at_its_parts),
	};

	return cmocka_run_group_tests_name("tables", tests, NULL, NULL);
}
