// SPDX-License-Identifier: GPL-2.0-only
/* CPUID: each CPU's ids, what is kept of what the host offers and what is not. */
#include "tests/lib/unit.h"

#include "util.h"
#include "x86/cpuid.h"

#define INDEXED KVM_CPUID_FLAG_SIGNIFCANT_INDEX

/* What an AMD and an Intel host together might support. */
static struct cpuid_table supported(void)
{
	struct cpuid_table t = {
		.nent = 11,
		.entries = {
			{
				.function = 1,
				.eax = 0x800f12,
				.ebx = 0x12345678,
				.ecx = 0x1,
				.edx = 0x178bfbff,
			},
			{ .function = 4, .index = 0, .flags = INDEXED, .eax = 0x1c004121 },
			{ .function = 4, .index = 3, .flags = INDEXED, .eax = 0x1c03c163 },
			{ .function = 4, .index = 4, .flags = INDEXED, .eax = 0 },
			{ .function = 0xb, .index = 0, .flags = INDEXED, .eax = 1, .ebx = 2 },
			{ .function = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b },
			{ .function = 0x40000001, .eax = 0x01007efb },
			{ .function = 0x80000001, .ecx = 0x2 },
			{ .function = 0x80000008, .eax = 0x3030, .ecx = 0x700f },
			{
				.function = 0x8000001d,
				.index = 3,
				.flags = INDEXED,
				.eax = 0x3c163,
			},
			{ .function = 0x8000001e, .eax = 99 },
		},
	};

	return t;
}

static struct cpuid_table fit(unsigned int apic_id, unsigned int cpus, unsigned int max_id)
{
	struct cpuid_table t = supported();
	struct cpuid_machine m = {
		.apic_id = apic_id,
		.cpus = cpus,
		.max_apic_id = max_id,
		.tsc_khz = 2500000,
		.tsc_deadline = true,
	};

	cpuid_fit(&t, &m);
	return t;
}

static void every_cpu_knows_its_id(void **state)
{
	(void)state;
	for (unsigned int id = 0; id < 4; id++) {
		struct cpuid_table t = fit(id, 4, 3);

		assert_int_equal(cpuid_find(&t, 1, 0)->ebx >> 24, id);
		assert_int_equal(cpuid_find(&t, 1, 0)->ebx >> 16 & 0xff, 4);
		assert_int_equal(cpuid_find(&t, 1, 0)->ebx & 0xffff, 0x5678);
		assert_int_equal(cpuid_find(&t, 0xb, 0)->edx, id);
		assert_int_equal(cpuid_find(&t, 0xb, 1)->edx, id);
		assert_int_equal(cpuid_find(&t, 0x8000001e, 0)->eax, id);
	}
}

static void topology_is_cores_of_one_package(void **state)
{
	struct cpuid_table t = fit(5, 6, 5);

	(void)state;
	assert_int_equal(cpuid_find(&t, 0xb, 0)->ebx, 1);
	assert_int_equal(cpuid_find(&t, 0xb, 0)->ecx, 0x100);
	assert_int_equal(cpuid_find(&t, 0xb, 1)->eax, 3); /* 6 CPUs need 3 bits */
	assert_int_equal(cpuid_find(&t, 0xb, 1)->ebx, 6);
	assert_int_equal(cpuid_find(&t, 0xb, 1)->ecx, 0x201);
	assert_int_equal(cpuid_find(&t, 0xb, 2)->ebx, 0);
	assert_null(cpuid_find(&t, 0x1f, 0));
	assert_int_equal(cpuid_find(&t, 4, 0)->eax, 0x1c000121); /* L1: one CPU */
	assert_int_equal(cpuid_find(&t, 4, 3)->eax >> 14 & 0xfff, 7);
	assert_int_equal(cpuid_find(&t, 4, 4)->eax, 0);
	assert_int_equal(cpuid_find(&t, 0x8000001d, 3)->eax >> 14 & 0xfff, 5);
	assert_int_equal(cpuid_find(&t, 0x80000008, 0)->ecx, 0x3005);
	assert_true(cpuid_find(&t, 0x80000001, 0)->ecx & 2);
	assert_true(cpuid_find(&t, 1, 0)->edx & 1u << 28);
	assert_true(cpuid_find(&t, 1, 0)->ecx & 1u << 21);
}

static void one_cpu_is_no_multiprocessor(void **state)
{
	struct cpuid_table t = fit(0, 1, 0);

	(void)state;
	assert_int_equal(cpuid_find(&t, 0xb, 1)->eax, 0);
	assert_int_equal(cpuid_find(&t, 0xb, 1)->ebx, 1);
	assert_false(cpuid_find(&t, 1, 0)->edx & 1u << 28);
	assert_false(cpuid_find(&t, 1, 0)->ecx & 1u << 21);
	assert_false(cpuid_find(&t, 0x80000001, 0)->ecx & 2);
	assert_int_equal(cpuid_find(&t, 0x80000008, 0)->ecx, 0);
}

static void the_clock_is_told(void **state)
{
	struct cpuid_table t = fit(0, 1, 0);
	struct cpuid_machine unknown = { .cpus = 1 };

	(void)state;
	assert_int_equal(cpuid_find(&t, 0x40000000, 0)->eax, 0x40000010);
	assert_int_equal(cpuid_find(&t, 0x40000010, 0)->eax, 2500000);
	assert_int_equal(cpuid_find(&t, 0x40000010, 0)->ebx, 1000000);
	assert_true(cpuid_find(&t, 1, 0)->ecx & 1u << 24);
	assert_true(cpuid_find(&t, 1, 0)->ecx & 1u << 31);
	t = supported();
	cpuid_fit(&t, &unknown);
	assert_null(cpuid_find(&t, 0x40000010, 0));
	assert_int_equal(cpuid_find(&t, 0x40000000, 0)->eax, 0x40000001);
}

/* A CPU that has an asynchronous page fault to be told of does not halt. */
static void asynchronous_page_faults_are_not_offered(void **state)
{
	struct cpuid_table t = fit(0, 1, 0);

	(void)state;
	assert_int_equal(cpuid_find(&t, 0x40000001, 0)->eax, 0x01003aeb);
}

static struct cpuid_table offered(uint32_t xcr0, bool nested)
{
	const struct cpuid_machine m = { .cpus = 1, .nested = nested };
	struct cpuid_table t = {
		.nent = 11,
		.entries = {
			{ .function = 1, .ecx = 0x21 },
			{
				.function = 7,
				.index = 0,
				.flags = INDEXED,
				.eax = 1,
				.ebx = 0xffffffff,
				.edx = 0xffffffff,
			},
			{
				.function = 7,
				.index = 1,
				.flags = INDEXED,
				.eax = 0xffffffff,
				.edx = 0xffffffff,
			},
			{ .function = 0xd, .index = 0, .flags = INDEXED, .eax = xcr0 },
			{ .function = 0xd, .index = 1, .flags = INDEXED, .eax = 0xf },
			{ .function = 0x1d, .index = 0, .flags = INDEXED, .eax = 1 },
			{ .function = 0x1d, .index = 1, .flags = INDEXED, .eax = 0x4002000 },
			{ .function = 0x1e, .eax = 1 },
			{ .function = 0x80000001, .ecx = 0x1000006 },
			{ .function = 0x8000000a, .eax = 1, .edx = 0xff },
			{ .function = 0x8000001f, .eax = 0xf, .ebx = 0x3f },
		},
	};

	cpuid_fit(&t, &m);
	return t;
}

/* Without the state that XCR0 has to enable the instructions only fault. */
static void tiles_need_their_state(void **state)
{
	static const uint32_t without[] = { 0x2e7, 0x202e7, 0x402e7 };
	struct cpuid_table t;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(without); i++) {
		t = offered(without[i], false);
		assert_int_equal(cpuid_find(&t, 7, 0)->edx, ~(1u << 22 | 1u << 24 | 1u << 25));
		assert_int_equal(cpuid_find(&t, 7, 0)->ebx, 0xffffffff);
		assert_int_equal(cpuid_find(&t, 7, 1)->eax, ~(1u << 21));
		assert_int_equal(cpuid_find(&t, 7, 1)->edx, ~(1u << 8));
		assert_null(cpuid_find(&t, 0x1d, 0));
		assert_null(cpuid_find(&t, 0x1d, 1));
		assert_null(cpuid_find(&t, 0x1e, 0));
		assert_int_equal(cpuid_find(&t, 0xd, 1)->eax, 0xf);
	}
	t = offered(0x602e7, false);
	assert_int_equal(cpuid_find(&t, 7, 0)->edx, 0xffffffff);
	assert_int_equal(cpuid_find(&t, 7, 1)->eax, 0xffffffff);
	assert_int_equal(cpuid_find(&t, 0x1d, 1)->eax, 0x4002000);
	assert_non_null(cpuid_find(&t, 0x1e, 0));
}

static void virtualisation_is_for_who_asks(void **state)
{
	struct cpuid_table t = offered(7, false);

	(void)state;
	assert_int_equal(cpuid_find(&t, 1, 0)->ecx & 0x21, 1);
	assert_int_equal(cpuid_find(&t, 0x80000001, 0)->ecx, 0x1000000);
	assert_null(cpuid_find(&t, 0x8000000a, 0));
	t = offered(7, true);
	assert_int_equal(cpuid_find(&t, 1, 0)->ecx & 0x21, 0x21);
	assert_int_equal(cpuid_find(&t, 0x80000001, 0)->ecx, 0x1000004);
	assert_int_equal(cpuid_find(&t, 0x8000000a, 0)->edx, 0xff);
}

static void memory_is_not_encrypted(void **state)
{
	struct cpuid_table t = offered(7, true);

	(void)state;
	assert_null(cpuid_find(&t, 0x8000001f, 0));
}

static void large_machines_use_wide_ids(void **state)
{
	struct cpuid_table t = fit(1000, 1000, 1000);

	(void)state;
	assert_int_equal(cpuid_find(&t, 0xb, 0)->edx, 1000);
	assert_int_equal(cpuid_find(&t, 0xb, 1)->eax, 10);
	assert_int_equal(cpuid_find(&t, 0xb, 1)->ebx, 1000);
	assert_int_equal(cpuid_find(&t, 1, 0)->ebx >> 16 & 0xff, 255);
}

static void a_full_table_is_not_overrun(void **state)
{
	struct cpuid_table t = { .nent = CPUID_MAX_ENTRIES };
	struct cpuid_machine m = { .cpus = 1, .tsc_khz = 1 };

	(void)state;
	t.entries[0].function = 0x40000000;
	t.entries[1].function = 0xb;
	for (unsigned int i = 2; i < CPUID_MAX_ENTRIES; i++)
		t.entries[i].function = 0x1000 + i;
	cpuid_fit(&t, &m);
	assert_int_equal(t.nent, CPUID_MAX_ENTRIES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cpu_knows_its_id),
		cmocka_unit_test(topology_is_cores_of_one_package),
		cmocka_unit_test(one_cpu_is_no_multiprocessor),
		cmocka_unit_test(the_clock_is_told),
		cmocka_unit_test(asynchronous_page_faults_are_not_offered),
		cmocka_unit_test(tiles_need_their_state),
		cmocka_unit_test(virtualisation_is_for_who_asks),
		cmocka_unit_test(memory_is_not_encrypted),
		cmocka_unit_test(large_machines_use_wide_ids),
		cmocka_unit_test(a_full_table_is_not_overrun),
	};

	return cmocka_run_group_tests_name("cpuid", tests, NULL, NULL);
}
