// SPDX-License-Identifier: GPL-2.0-only
/* Page tables of every format, built in a guest's memory, good ones and hostile ones. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdlib.h>

#include "mem.h"
#include "util.h"
#include "x86/registers.h"
#include "x86/page-walk.h"

#define PG    0x80000001u
#define PSE   0x10u
#define PAE   0x20u
#define LA57  0x1000u
#define LMA   0x500u
#define LARGE 0x80u

static struct mem *ram;

static int set_up(void **state)
{
	(void)state;
	return mem_create(&ram, MIB(16));
}

static int tear_down(void **state)
{
	(void)state;
	mem_destroy(ram);
	return 0;
}

static int read_ram(const void *mem, gpa_t gpa, void *dst, uint64_t bytes)
{
	return mem_read(mem, gpa, dst, bytes);
}

static struct page_walk walker(uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer)
{
	return (struct page_walk){ cr0, cr3, cr4, efer, read_ram, ram };
}

static void put64(gpa_t table, unsigned int index, uint64_t entry)
{
	assert_int_equal(mem_write(ram, table + 8ull * index, &entry, 8), 0);
}

static void put32(gpa_t table, unsigned int index, uint32_t entry)
{
	assert_int_equal(mem_write(ram, table + 4ull * index, &entry, 4), 0);
}

static void maps(const struct page_walk *w, uint64_t address, gpa_t gpa, uint64_t bytes)
{
	struct page_walk_place place;

	assert_int_equal(page_walk(w, address, &place), 0);
	assert_true(place.gpa == gpa);
	assert_true(place.bytes == bytes);
}

static void lacks(const struct page_walk *w, uint64_t address)
{
	struct page_walk_place place;

	assert_int_equal(page_walk(w, address, &place), -EFAULT);
}

static void test_no_paging(void **state)
{
	struct page_walk w = walker(0, 0x1000, 0, 0);

	(void)state;
	maps(&w, 0x12345, 0x12345, 0xcbb);
	maps(&w, 0xffffffff12345678, 0x12345678, 0x988); /* 32 bits are all there are */
	w.cr0 = 1;					 /* protected mode */
	maps(&w, 0xfff, 0xfff, 1);
}

static void test_32_bit(void **state)
{
	struct page_walk w = walker(PG, 0x1018, 0, 0); /* PCD, PWT */

	(void)state;
	put32(0x1000, 0x300, 0x2000 | 1);
	put32(0x2000, 0x3ff, 0x123000 | 0x1e1);
	put32(0x1000, 0x301, 0x00400000 | LARGE | 1 | 0x3000);
	maps(&w, 0xc03ff123, 0x123123, 0xedd);
	maps(&w, 0xffffffffc03ff123, 0x123123, 0xedd);
	lacks(&w, 0xc03fe000);
	lacks(&w, 0x1000);
	/* Without PSE the bit means nothing: it is a table, which is empty. */
	lacks(&w, 0xc0400000);
	put32(0x403000, 0, 0x5001);
	maps(&w, 0xc0400004, 0x5004, 0xffc);
	w.cr4 = PSE;
	put32(0x1000, 0x301, 0x00400000 | LARGE | 1 | 1 << 12); /* PAT */
	maps(&w, 0xc0400004, 0x400004, MIB(4) - 4);
	put32(0x1000, 0x301, 0x00400000 | LARGE | 1 | 0x5 << 13); /* PSE-36 */
	maps(&w, 0xc0512345, 0x500512345, MIB(4) - 0x112345);
}

static void test_pae(void **state)
{
	struct page_walk w = walker(PG, 0x1020, PAE, 0); /* 32-byte aligned */

	(void)state;
	put64(0x1020, 3, 0x2001);
	put64(0x2000, 0x1ff, 0x3001);
	put64(0x3000, 0x1ff, 0x8000000000000000 | 0x700000 | 1); /* NX */
	put64(0x2000, 0, 0x200000 | LARGE | 1 | 1 << 12);
	maps(&w, 0xffffffff, 0x700fff, 1);
	maps(&w, 0xc0000010, 0x200010, MIB(2) - 16);
	lacks(&w, 0xc0200000);
	lacks(&w, 0xbfffffff);
	put64(0x1020, 2, 0x2001 | LARGE); /* reserved there */
	lacks(&w, 0x80000010);
}

static void test_4_levels(void **state)
{
	struct page_walk w = walker(PG, 0x2fff, PAE, LMA); /* a PCID in the low bits */

	(void)state;
	put64(0x2000, 0x1ff, 0x3000 | 1);
	put64(0x3000, 0x1fe, 0x4000 | 1);
	put64(0x4000, 8, 0xa00000 | LARGE | 1 | 1 << 12);
	put64(0x4000, 9, 0x5001);
	put64(0x5000, 1, 0xffff | (uint64_t)0xfff << 52);
	put64(0x3000, 0x1ff, GIB(1) | LARGE | 1);
	maps(&w, 0xffffffff81000123, 0xa00123, MIB(2) - 0x123);
	maps(&w, 0xffffffff81201ffe, 0xfffe, 2);
	maps(&w, 0xffffffffc0000001, GIB(1) + 1, GIB(1) - 1);
	lacks(&w, 0xffffffff81200000);
	lacks(&w, 0xffff7fff81000123); /* not canonical */
	lacks(&w, 0x00ffffff81000123);
	lacks(&w, 0);
	/* A large page at the top is reserved. */
	put64(0x2000, 0, LARGE | 0x3000 | 1);
	lacks(&w, 0);
}

static void test_5_levels(void **state)
{
	struct page_walk w = walker(PG, 0x2000, PAE | LA57, LMA);

	(void)state;
	put64(0x2000, 0x1ff, 0x3000 | 1);
	put64(0x3000, 0x1ff, 0x4000 | 1);
	put64(0x4000, 0x1fe, 0x5000 | 1);
	put64(0x5000, 8, 0xa00000 | LARGE | 1);
	put64(0x2000, 0x100, 0x3000 | 1);
	maps(&w, 0xffffffff81000123, 0xa00123, MIB(2) - 0x123);
	maps(&w, 0xff00ffff81000123, 0xa00123, MIB(2) - 0x123);
	lacks(&w, 0x0100ffff81000123); /* not canonical */
	put64(0x2000, 0x1ff, LARGE | 0x3000 | 1);
	lacks(&w, 0xffffffff81000123);
}

/* Stopped in a program: the kernel's own tables stand a page before its. */
static void test_isolation(void **state)
{
	struct page_walk w = walker(PG, 0x7000, PAE, LMA);

	(void)state;
	put64(0x6000, 0x1ff, 0x3000 | 1);
	put64(0x6000, 0, 0x3000 | 1);
	put64(0x3000, 0x1fe, 0x4000 | 1);
	put64(0x3000, 0, 0x4000 | 1);
	put64(0x4000, 8, 0xa00000 | LARGE | 1);
	maps(&w, 0xffffffff81000123, 0xa00123, MIB(2) - 0x123);
	lacks(&w, 0x1000123); /* the program's half */
	w.cr3 = 0x8000;
	lacks(&w, 0xffffffff81000123);
}

/* Tables of a hostile guest: loops, no RAM, anything. It ends, within the number of levels. */
static unsigned int reads;

static int read_random(const void *arg, gpa_t gpa, void *dst, uint64_t bytes)
{
	(void)arg;
	(void)gpa;
	reads++;
	for (uint64_t i = 0; i < bytes; i++)
		((uint8_t *)dst)[i] = (uint8_t)(rand() >> 7);
	*(uint8_t *)dst |= 1;
	return rand() % 64 ? 0 : -EFAULT;
}

static void test_hostile(void **state)
{
	struct page_walk w = walker(PG, 0x2000, PAE | LA57, LMA);
	struct page_walk_place place;

	(void)state;
	for (unsigned int i = 0; i < 512; i++)
		put64(0x2000, i, 0x2001); /* itself */
	maps(&w, 0xffffffffffffffff, 0x2fff, 1);
	w.cr3 = 0x000ffffffffff000;
	lacks(&w, 0xffffffff81000000);
	put64(0x4000, 511, 0x000ffffffffff001);
	w.cr3 = 0x4000;
	lacks(&w, 0xffffffff81000000);
	w.read = read_random;
	for (unsigned int i = 0; i < 100000; i++) {
		w.cr4 = (uint64_t)rand();
		w.efer = i & 1 ? LMA : 0;
		reads = 0;
		if (!page_walk(&w, (uint64_t)rand() << 33 | (uint64_t)rand(), &place))
			assert_true(place.bytes && place.bytes <= GIB(1));
		assert_true(reads <= 10);
	}
}

/* ---- with registers ---- */

static void test_numbers(void **state)
{
	struct registers s = {
		.regs = { .rax = 1, .rflags = 18 },
		.sregs = { .cs = {
				   .selector = 0x10,
				   .base = 0x100000,
				   .limit = 0xffffffff,
				   .type = 0xb,
				   .s = 1,
				   .present = 1,
				   .l = 1,
				   .g = 1,
			   },
			   .ldt = { .unusable = 1 },
			   .cr0 = 0x80050033,
			   .efer = 0xd01 },
		.kernel_gs_base = 0x1234,
		.debug = { .dr7 = 0x400 },
	};
	const char *const *names = registers_names();
	uint64_t numbers[REGISTERS_NUMBERS];
	char text[2048];
	unsigned int nr = 0;

	(void)state;
	while (names[nr])
		nr++;
	assert_int_equal(nr, REGISTERS_NUMBERS);
	registers_list(&s, numbers);
	for (unsigned int i = 0; i < nr; i++) {
		const uint64_t n = numbers[i];

		if (!strcmp(names[i], "rax"))
			assert_true(n == 1);
		else if (!strcmp(names[i], "rflags"))
			assert_true(n == 18);
		else if (!strcmp(names[i], "cs_attributes"))
			assert_true(n == 0xa09b);
		else if (!strcmp(names[i], "ldt_attributes"))
			assert_true(n == 0x10000);
		else if (!strcmp(names[i], "cr0"))
			assert_true(n == 0x80050033);
		else if (!strcmp(names[i], "kernel_gs_base"))
			assert_true(n == 0x1234);
		else if (!strcmp(names[i], "dr7"))
			assert_true(n == 0x400);
	}
	for (unsigned int i = 0; i < nr; i++)
		numbers[i] = UINT64_MAX;
	registers_format(text, sizeof(text), numbers);
	assert_true(strlen(text) + 1 < sizeof(text) && text[strlen(text) - 1] == '\n');
	assert_non_null(strstr(text, "  rip    ffffffffffffffff  rflags ffffffffffffffff\n"));
	registers_format(text, 10, numbers);
	assert_int_equal(strlen(text), 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_paging, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_32_bit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pae, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_4_levels, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_5_levels, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_isolation, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hostile, set_up, tear_down),
		cmocka_unit_test(test_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
