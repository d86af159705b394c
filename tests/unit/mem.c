// SPDX-License-Identifier: GPL-2.0-only
/* Guest RAM: the layout around the PCI hole, and every edge of an access. */
#include "tests/lib/unit.h"

#include <sys/mman.h>

#include <errno.h>

#include "mem.h"
#include "util.h"

static void small_machine_has_one_region(void **state)
{
	struct mem *mem;

	(void)state;
	assert_int_equal(mem_create(&mem, MIB(8)), 0);
	assert_int_equal(mem->nr_regions, 1);
	assert_int_equal((uintptr_t)mem->base % MIB(2), 0);
	assert_non_null(mem_ptr(mem, 0, MIB(8)));
	assert_non_null(mem_ptr(mem, MIB(8), 0));
	assert_null(mem_ptr(mem, 0, MIB(8) + 1));
	assert_null(mem_ptr(mem, MIB(8) - 1, 2));
	assert_null(mem_ptr(mem, MIB(8) + 1, 0));
	assert_null(mem_ptr(mem, 1, UINT64_MAX));
	assert_null(mem_ptr(mem, UINT64_MAX, 1));
	assert_null(mem_ptr(mem, UINT64_MAX, UINT64_MAX));
	mem_destroy(mem);
}

static void large_machine_has_a_hole(void **state)
{
	struct mem *mem;
	uint8_t byte = 0x5a, back = 0;

	(void)state;
	assert_int_equal(mem_create(&mem, GIB(64)), 0);
	assert_int_equal(mem->nr_regions, 2);
	assert_int_equal(mem->regions[0].size_bytes, MEM_HOLE_START);
	assert_int_equal(mem->regions[1].start, MEM_HOLE_END);
	assert_int_equal(mem->regions[1].size_bytes, GIB(64) - MEM_HOLE_START);
	assert_null(mem_ptr(mem, MEM_HOLE_START, 1));
	assert_null(mem_ptr(mem, MEM_HOLE_START - 1, 2));
	assert_null(mem_ptr(mem, MEM_HOLE_END - 1, 1));
	assert_null(mem_ptr(mem, MEM_HOLE_END - 1, 2));
	assert_null(mem_ptr(mem, 0, MEM_HOLE_END + 1));
	assert_non_null(mem_ptr(mem, MEM_HOLE_END, 1));
	assert_null(mem_ptr(mem, GIB(65), 1));
	assert_int_equal(mem_write(mem, GIB(65) - 1, &byte, 1), 0);
	assert_int_equal(mem_read(mem, GIB(65) - 1, &back, 1), 0);
	assert_int_equal(back, byte);
	mem_destroy(mem);
}

static void exactly_up_to_the_hole(void **state)
{
	struct mem *mem;

	(void)state;
	assert_int_equal(mem_create(&mem, MEM_HOLE_START), 0);
	assert_int_equal(mem->nr_regions, 1);
	assert_null(mem_ptr(mem, MEM_HOLE_END, 1));
	mem_destroy(mem);
	assert_int_equal(mem_create(&mem, MEM_HOLE_START + 4096), 0);
	assert_int_equal(mem->nr_regions, 2);
	assert_non_null(mem_ptr(mem, MEM_HOLE_END, 4096));
	mem_destroy(mem);
}

static void impossible_sizes_are_refused(void **state)
{
	struct mem *mem = NULL;

	(void)state;
	assert_int_equal(mem_create(&mem, 0), -EINVAL);
	assert_int_equal(mem_create(&mem, 4095), -EINVAL);
	assert_int_equal(mem_create(&mem, UINT64_MAX & ~4095ull), -EINVAL);
	assert_null(mem);
	mem_destroy(NULL);
}

static void files_are_read_in_place(void **state)
{
	static const char text[] = "0123456789";
	struct mem *mem;
	char back[4];
	int fd = memfile(text, 10);

	(void)state;
	assert_int_equal(mem_create(&mem, MIB(2)), 0);
	assert_int_equal(mem_read_file(mem, 100, 4, fd, 3), 0);
	assert_int_equal(mem_read(mem, 100, back, 4), 0);
	assert_memory_equal(back, "3456", 4);
	assert_int_equal(mem_read_file(mem, 100, 8, fd, 3), -ENODATA);
	assert_int_equal(mem_read_file(mem, MIB(2) - 2, 4, fd, 0), -EFAULT);
	assert_int_equal(mem_read_file(mem, 0, 4, fd, UINT64_MAX - 1), -EFAULT);
	assert_int_equal(mem_zero(mem, 100, 4), 0);
	assert_int_equal(mem_read(mem, 100, back, 4), 0);
	assert_memory_equal(back, "\0\0\0\0", 4);
	assert_int_equal(mem_zero(mem, MIB(2), 1), -EFAULT);
	close(fd);
	mem_destroy(mem);
}

/* What is written stays here, what is not is the file's, and nobody takes pages that are not there for zero. */
static void a_file_is_shared_until_it_is_written_to(void **state)
{
	uint64_t touched[MEM_TOUCHED_PAGES / 64], v = 1, got = 0;
	int fd = memfd_create("ram", MFD_CLOEXEC), pagemap = mem_open_pagemap();
	struct mem *one, *two;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, MIB(6)), 0);
	assert_int_equal(pwrite(fd, &v, sizeof(v), MIB(2) + 0x3000), sizeof(v));
	assert_int_equal(mem_create(&one, MIB(4)), 0);
	assert_int_equal(mem_create(&two, MIB(4)), 0);
	assert_int_equal(mem_map_file(one, 0, fd, MIB(2)), 0);
	assert_int_equal(mem_map_file(two, 0, fd, MIB(2)), 0);
	mem_find_touched(one, pagemap, 0, touched);
	for (size_t i = 0; i < ARRAY_SIZE(touched); i++)
		assert_true(touched[i] == UINT64_MAX);
	v = 2;
	assert_int_equal(mem_write(one, 0x3000, &v, sizeof(v)), 0);
	assert_int_equal(mem_read(one, 0x3000, &got, sizeof(got)), 0);
	assert_int_equal(got, 2);
	assert_int_equal(mem_read(two, 0x3000, &got, sizeof(got)), 0);
	assert_int_equal(got, 1);
	assert_int_equal(pread(fd, &got, sizeof(got), MIB(2) + 0x3000), sizeof(got));
	assert_int_equal(got, 1);
	assert_int_not_equal(mem_map_file(two, 0, -1, 0), 0);
	/* Made anew it has nothing of that, where it was. */
	assert_int_equal(mem_clear(one), 0);
	assert_true(one->starts_zero);
	assert_int_equal(mem_read(one, 0x3000, &got, sizeof(got)), 0);
	assert_int_equal(got, 0);
	assert_int_equal(mem_write(one, 0x3000, &v, sizeof(v)), 0);
	mem_destroy(one);
	mem_destroy(two);
	close(pagemap);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_machine_has_one_region),
		cmocka_unit_test(large_machine_has_a_hole),
		cmocka_unit_test(exactly_up_to_the_hole),
		cmocka_unit_test(impossible_sizes_are_refused),
		cmocka_unit_test(files_are_read_in_place),
		cmocka_unit_test(a_file_is_shared_until_it_is_written_to),
	};

	return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
