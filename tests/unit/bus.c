// SPDX-License-Identifier: GPL-2.0-only
/* Bus dispatch: claimed, unclaimed, across an edge, wider than the device. */
#include "tests/lib/unit.h"

#include <errno.h>

#include "bus.h"

struct probe {
	unsigned int reads, writes;
	uint64_t last_offset, last_value;
	unsigned int last_size;
	struct bus *bus;
};

static uint64_t probe_read(void *dev, uint64_t offset, unsigned int size)
{
	struct probe *p = dev;

	p->reads++;
	p->last_size = size;
	return 0x1111111111111111ull * (offset & 0xf);
}

static void probe_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct probe *p = dev;

	p->writes++;
	p->last_offset = offset;
	p->last_value = value;
	p->last_size = size;
	if (p->bus)
		bus_remove(p->bus, 0x100); /* a handler may change the bus */
}

static const struct bus_ops ops = { .read = probe_read, .write = probe_write };

static struct bus_region region(struct probe *p, uint64_t start, uint64_t len, unsigned int max)
{
	return (struct bus_region){
		.start = start,
		.len = len,
		.max_access = max,
		.ops = &ops,
		.dev = p,
	};
}

static int add(struct bus *bus, struct probe *p, uint64_t start, uint64_t len)
{
	struct bus_region r = region(p, start, len, 8);

	return bus_add(bus, &r);
}

static void unclaimed_reads_all_ones(void **state)
{
	struct bus bus;
	uint64_t v = 0;

	(void)state;
	bus_init(&bus);
	bus_read(&bus, 0x1234, &v, 4);
	assert_int_equal(v, 0xffffffff);
	bus_write(&bus, UINT64_MAX, &v, 8);
	bus_read(&bus, UINT64_MAX, &v, 8);
	assert_int_equal(v, UINT64_MAX);
	bus_fini(&bus);
}

static void accesses_across_an_edge_are_unclaimed(void **state)
{
	struct bus bus;
	struct probe p = { 0 };
	uint32_t v = 0;

	(void)state;
	bus_init(&bus);
	assert_int_equal(add(&bus, &p, 0x100, 0x10), 0);
	bus_read(&bus, 0x10e, &v, 4);
	assert_int_equal(v, 0xffffffff);
	bus_read(&bus, 0xfe, &v, 4);
	assert_int_equal(v, 0xffffffff);
	assert_int_equal(p.reads, 0);
	bus_read(&bus, 0x10c, &v, 4);
	assert_int_equal(v, 0xcccccccc);
	bus_fini(&bus);
}

static void wide_accesses_are_split(void **state)
{
	struct bus bus;
	struct probe p = { 0 };
	struct bus_region r = region(&p, 0x3f8, 8, 1);
	uint8_t data[4] = { 1, 2, 3, 4 };

	(void)state;
	bus_init(&bus);
	assert_int_equal(bus_add(&bus, &r), 0);
	bus_write(&bus, 0x3f8, data, 4);
	assert_int_equal(p.writes, 4);
	assert_int_equal(p.last_offset, 3);
	assert_int_equal(p.last_value, 4);
	assert_int_equal(p.last_size, 1);
	bus_read(&bus, 0x3f9, data, 2);
	assert_int_equal(p.reads, 2);
	assert_int_equal(data[0], 0x11);
	assert_int_equal(data[1], 0x22);
	/* Odd sizes, as MMIO may have, in pieces of 4, 2 and 1. */
	bus_remove(&bus, 0x3f8);
	r.max_access = 4;
	assert_int_equal(bus_add(&bus, &r), 0);
	p.reads = 0;
	bus_read(&bus, 0x3f8, data, 3);
	assert_int_equal(p.reads, 2);
	bus_fini(&bus);
}

static void overlaps_are_refused(void **state)
{
	struct bus bus;
	struct probe p = { 0 };

	(void)state;
	bus_init(&bus);
	assert_int_equal(add(&bus, &p, 0x100, 0x10), 0);
	assert_int_equal(add(&bus, &p, 0x100, 1), -EEXIST);
	assert_int_equal(add(&bus, &p, 0x10f, 1), -EEXIST);
	assert_int_equal(add(&bus, &p, 0xff, 2), -EEXIST);
	assert_int_equal(add(&bus, &p, 0, 0x1000), -EEXIST);
	assert_int_equal(add(&bus, &p, 0x110, 1), 0);
	assert_int_equal(add(&bus, &p, 0xff, 1), 0);
	assert_int_equal(add(&bus, &p, 0, 0), -EINVAL);
	assert_int_equal(add(&bus, &p, UINT64_MAX, 2), -EINVAL);
	bus_fini(&bus);
}

static void the_table_is_bounded_and_sorted(void **state)
{
	struct bus bus;
	struct probe p = { 0 };
	uint8_t v;

	(void)state;
	bus_init(&bus);
	for (unsigned int i = 0; i < BUS_MAX_REGIONS; i++)
		assert_int_equal(add(&bus, &p, (i * 37 % BUS_MAX_REGIONS) * 2, 1), 0);
	assert_int_equal(add(&bus, &p, 0x10001, 1), -ENOSPC);
	for (unsigned int i = 0; i < BUS_MAX_REGIONS; i++) {
		bus_read(&bus, i * 2, &v, 1);
		bus_read(&bus, i * 2 + 1, &v, 1);
		assert_int_equal(v, 0xff);
	}
	assert_int_equal(p.reads, BUS_MAX_REGIONS);
	bus_remove(&bus, 10);
	bus_remove(&bus, 11);
	bus_read(&bus, 10, &v, 1);
	assert_int_equal(p.reads, BUS_MAX_REGIONS);
	assert_int_equal(bus.nr_regions, BUS_MAX_REGIONS - 1);
	bus_fini(&bus);
}

static void a_handler_may_remove_its_region(void **state)
{
	struct bus bus;
	struct probe p = { .bus = &bus };
	uint16_t v = 0;

	(void)state;
	bus_init(&bus);
	assert_int_equal(add(&bus, &p, 0x100, 2), 0);
	bus_write(&bus, 0x100, &v, 2);
	assert_int_equal(bus.nr_regions, 0);
	bus_fini(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unclaimed_reads_all_ones),
		cmocka_unit_test(accesses_across_an_edge_are_unclaimed),
		cmocka_unit_test(wide_accesses_are_split),
		cmocka_unit_test(overlaps_are_refused),
		cmocka_unit_test(the_table_is_bounded_and_sorted),
		cmocka_unit_test(a_handler_may_remove_its_region),
	};

	return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
