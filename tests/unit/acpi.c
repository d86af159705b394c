// SPDX-License-Identifier: GPL-2.0-only
/*
 * ACPI tables: checksums and fields by our own reading, the rest by iasl, which
 * disassembles every table and compiles the result again.
 */
#include "tests/lib/unit.h"

#include <errno.h>

#include "util.h"
#include "x86/acpi.h"
#include "x86/layout.h"

static uint8_t tables[LAYOUT_ACPI_MAX];

static uint32_t le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static uint64_t le64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

static int build(unsigned int cpus)
{
	const struct acpi_input in = { .base = LAYOUT_ACPI, .cpus = cpus, .nr_virtio_mmio = 31 };

	memset(tables, 0xee, sizeof(tables));
	return acpi_build(tables, sizeof(tables), &in);
}

/* The table with this signature, found as a kernel finds it. */
static const uint8_t *find(const char *signature)
{
	const uint8_t *xsdt = tables + le64(tables + 24) - LAYOUT_ACPI;

	for (uint32_t at = 36; at < le32(xsdt + 4); at += 8) {
		const uint8_t *t = tables + le64(xsdt + at) - LAYOUT_ACPI;

		if (!memcmp(t, signature, 4))
			return t;
		if (!memcmp(t, "FACP", 4) && !strcmp(signature, "DSDT"))
			return tables + le64(t + 140) - LAYOUT_ACPI;
	}
	return NULL;
}

static void checksums_are_right(void **state)
{
	static const char *const signatures[] = { "FACP", "APIC", "MCFG", "DSDT" };

	(void)state;
	assert_true(build(4) > 0);
	assert_memory_equal(tables, "RSD PTR ", 8);
	assert_int_equal(checksum_byte(tables, 20), 0);
	assert_int_equal(checksum_byte(tables, 36), 0);
	for (size_t i = 0; i < ARRAY_SIZE(signatures); i++) {
		const uint8_t *t = find(signatures[i]);

		assert_non_null(t);
		assert_int_equal(checksum_byte(t, le32(t + 4)), 0);
	}
}

static void madt_lists_every_cpu(void **state)
{
	static const unsigned int counts[] = { 1, 2, 4, 254, 255, 256, 1000 };

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
		unsigned int cpu = 0, ioapics = 0;
		const uint8_t *madt, *p;

		assert_true(build(counts[c]) > 0);
		madt = find("APIC");
		for (p = madt + 44; p < madt + le32(madt + 4); p += p[1]) {
			assert_true(p[1] >= 6);
			if (p[0] == 0) {
				assert_int_equal(p[3], layout_apic_id(cpu++));
			} else if (p[0] == 9) {
				assert_true(le32(p + 4) > 255);
				assert_int_equal(le32(p + 4), layout_apic_id(cpu));
				assert_int_equal(le32(p + 12), cpu);
				cpu++;
			} else if (p[0] == 1) {
				assert_int_equal(le32(p + 4), LAYOUT_IOAPIC);
				ioapics++;
			}
		}
		assert_int_equal(cpu, counts[c]);
		assert_int_equal(ioapics, 1);
	}
}

static void fadt_has_the_registers(void **state)
{
	const uint8_t *fadt;

	(void)state;
	assert_true(build(1) > 0);
	fadt = find("FACP");
	assert_int_equal(le32(fadt + 4), 276);
	assert_true(le32(fadt + 112) & 1u << 20); /* hardware-reduced */
	assert_true(le32(fadt + 112) & 1u << 10); /* reset register */
	assert_int_equal(le64(fadt + 116 + 4), PORT_RESET);
	assert_int_equal(fadt[128], RESET_VALUE);
	assert_int_equal(le64(fadt + 244 + 4), PORT_SLEEP_CONTROL);
	assert_int_equal(le64(fadt + 256 + 4), PORT_SLEEP_STATUS);
	assert_int_equal(fadt[109] & 2, 0); /* no 8042 to probe */
}

static void too_small_a_buffer_is_an_error(void **state)
{
	const struct acpi_input in = { .base = LAYOUT_ACPI, .cpus = 4, .nr_virtio_mmio = 31 };
	int need = build(4);
	uint8_t *exact = malloc((size_t)need);

	(void)state;
	assert_non_null(exact);
	for (int n = 0; n < need; n++)
		assert_int_equal(acpi_build(exact, (size_t)n, &in), -ENOSPC);
	assert_int_equal(acpi_build(exact, (size_t)need, &in), need);
	free(exact);
	assert_int_equal(build(100000), -ENOSPC);
}

static void iasl_has_no_complaint(void **state)
{
	static const char *const signatures[] = { "FACP", "APIC", "MCFG", "DSDT" };
	static char out[65536];
	char dir[] = "/tmp/lkvm-acpi-XXXXXX", path[64], command[512];

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_true(build(300) > 0);
	for (size_t i = 0; i < ARRAY_SIZE(signatures); i++) {
		const uint8_t *t = find(signatures[i]);
		int status;

		snprintf(path, sizeof(path), "%s/%s.aml", dir, signatures[i]);
		write_file(path, t, le32(t + 4));
		snprintf(command, sizeof(command), "cd %s && iasl -d %s.aml", dir, signatures[i]);
		status = run_tool(command, out, sizeof(out));
		if (status || strstr(out, "Warning") || strstr(out, "Error") ||
		    strstr(out, "Invalid") || strstr(out, "Incorrect"))
			fail_msg("%s: %s", signatures[i], out);
		/* What drivers look for is no name that ACPI knows: four digits. */
		snprintf(command, sizeof(command), "cd %s && sed -i s/VMGENCTR/VMGE0000/ %s.dsl && iasl -ve %s.dsl",
			 dir, signatures[i], signatures[i]);
		status = run_tool(command, out, sizeof(out));
		if (status || !strstr(out, "0 Errors, 0 Warnings"))
			fail_msg("%s: %s", signatures[i], out);
	}
}

/* All of @wanted is what iasl reads in the DSDT, in the @lines lines behind the first with @name. */
static void dsdt_tells(const char *name, unsigned int lines, const char *const *wanted, size_t nr_wanted)
{
	static char text[65536];
	char dir[] = "/tmp/lkvm-acpi-XXXXXX", path[64], command[512];
	const uint8_t *t;

	assert_non_null(mkdtemp(dir));
	assert_true(build(1) > 0);
	t = find("DSDT");
	snprintf(path, sizeof(path), "%s/a.aml", dir);
	write_file(path, t, le32(t + 4));
	snprintf(command, sizeof(command), "cd %s && iasl -d a.aml >/dev/null 2>&1 && grep -A%u %s a.dsl", dir, lines, name);
	assert_int_equal(run_tool(command, text, sizeof(text)), 0);
	for (size_t i = 0; i < nr_wanted; i++)
		if (!strstr(text, wanted[i]))
			fail_msg("%s is not in %s", wanted[i], text);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(run_tool(command, text, sizeof(text)), 0);
}

/* As iasl reads it, and on a line that nothing else has. */
static void power_button_is_an_event(void **state)
{
	static const char *const wanted[] = {
		"\"PNP0C0C\"", "\"ACPI0013\"", "Interrupt (ResourceConsumer, Edge, ActiveHigh, Shared",
		"0x0000000D", "Method (_EVT, 1, Serialized)", "If ((Arg0 == 0x0D))", "Notify (PWRB, 0x80)"
	};

	(void)state;
	dsdt_tells("PWRB", 40, wanted, ARRAY_SIZE(wanted));
	for (unsigned int i = 0; i < 31; i++) {
		assert_int_not_equal(layout_virtio_mmio_gsi(i, 1), GSI_POWER_BUTTON);
		assert_int_not_equal(layout_virtio_mmio_gsi(i, 0), GSI_POWER_BUTTON);
		assert_int_not_equal(layout_pci_gsi(i), GSI_POWER_BUTTON);
	}
}

/* By both names that drivers know, in a page that nothing else has. */
static void generation_id_is_an_event(void **state)
{
	static const char *const wanted[] = {
		"\"VMGENCTR\"", "\"VM_Gen_Counter\"", "Name (ADDR, Package (0x02)", "0x000EF000",
		"0x00000003", "If ((Arg0 == 0x03))", "Notify (VGEN, 0x80)"
	};

	(void)state;
	dsdt_tells("VGEN", 60, wanted, ARRAY_SIZE(wanted));
	for (unsigned int i = 0; i < 31; i++) {
		assert_int_not_equal(layout_virtio_mmio_gsi(i, 1), GSI_GENERATION);
		assert_int_not_equal(layout_virtio_mmio_gsi(i, 0), GSI_GENERATION);
	}
	assert_true(LAYOUT_GENERATION >= LAYOUT_ACPI + LAYOUT_ACPI_MAX);
	assert_true(LAYOUT_GENERATION + 4096 <= LAYOUT_MPTABLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksums_are_right),
		cmocka_unit_test(madt_lists_every_cpu),
		cmocka_unit_test(fadt_has_the_registers),
		cmocka_unit_test(too_small_a_buffer_is_an_error),
		cmocka_unit_test(iasl_has_no_complaint),
		cmocka_unit_test(power_button_is_an_event),
		cmocka_unit_test(generation_id_is_an_event),
	};

	return cmocka_run_group_tests_name("acpi", tests, NULL, NULL);
}
