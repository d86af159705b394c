// SPDX-License-Identifier: GPL-2.0-only
/*
 * ACPI tables. Pure functions that append to one buffer; a write that does not
 * fit is remembered and makes acpi_build() fail, so that no step has to check.
 *
 * The machine is hardware-reduced: no SCI, no fixed timers or buttons, power-off
 * and reset through one register each (x86/pm.c). The DSDT names what cannot be
 * discovered: PCI host bridge, UART, RTC, pvpanic, virtio-mmio devices, the power button, the
 * generation ID. Its byte code is assembled by the aml_*() functions below, one per construct that is used.
 *
 * The machine's own events are interrupts of a generic event device, one line for each, so that the
 * guest has no register to ask which it was: a row in events[] is one more.
 *
 * Source: ACPI 6.4: §5.2.5.3 (RSDP), §5.2.8 (XSDT), §5.2.9 (FADT), §5.2.12 (MADT),
 * §4.8.2.2.1.2 (power button), §5.6.9 (events by interrupts), §6.4 (resources), §20.2 (byte code);
 * PCI Firmware 3.3 §4.1.2 (MCFG); Virtual Machine Generation ID (Microsoft, 2012). Never here: thermal zones, sleep states but S5, hotplug.
 */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "pci.h"
#include "util.h"
#include "virtio/mmio.h"
#include "x86/acpi.h"
#include "x86/layout.h"

#define TABLE_HEADER_BYTES 36u
#define RSDP_BYTES	   36u
#define FADT_BYTES	   276u
#define OEM_ID		   "LKVM  "
#define OEM_TABLE_ID	   "LKVM    "
#define CREATOR_ID	   "LKVM"

/* FADT fields and flags (ACPI 6.4 table 5.9 to 5.11). */
#define FADT_DSDT		 40u
#define FADT_IAPC_BOOT_ARCH	 109u
#define FADT_FLAGS		 112u
#define FADT_RESET_REG		 116u
#define FADT_RESET_VALUE	 128u
#define FADT_MINOR_VERSION	 131u
#define FADT_X_DSDT		 140u
#define FADT_SLEEP_CONTROL	 244u
#define FADT_SLEEP_STATUS	 256u
#define FADT_HYPERVISOR_ID	 268u
#define BOOT_ARCH_LEGACY_DEVICES 0x0001u
#define BOOT_ARCH_NO_VGA	 0x0004u
#define BOOT_ARCH_NO_ASPM	 0x0010u
#define FADT_WBINVD		 0x00000001u
#define FADT_C1_SUPPORTED	 0x00000004u
#define FADT_NO_POWER_BUTTON	 0x00000010u
#define FADT_NO_SLEEP_BUTTON	 0x00000020u
#define FADT_RESET_SUPPORTED	 0x00000400u
#define FADT_HW_REDUCED		 0x00100000u

#define GAS_SYSTEM_IO	1u
#define GAS_BYTE_ACCESS 1u

#define MADT_PCAT_COMPAT 1u /* two 8259s exist as well */
#define MADT_ENABLED	 1u

struct buffer {
	uint8_t *data;
	size_t len, max;
	bool overflow;
};

static void put(struct buffer *b, const void *data, size_t n)
{
	if (n > b->max - b->len) {
		b->overflow = true;
		return;
	}
	memcpy(b->data + b->len, data, n);
	b->len += n;
}

static void put8(struct buffer *b, unsigned int v)
{
	uint8_t byte = (uint8_t)v;

	put(b, &byte, 1);
}

static void put16(struct buffer *b, unsigned int v)
{
	uint16_t word = (uint16_t)v;

	put(b, &word, 2);
}

static void put32(struct buffer *b, uint32_t v)
{
	put(b, &v, 4);
}

static void put64(struct buffer *b, uint64_t v)
{
	put(b, &v, 8);
}

static void put_zero(struct buffer *b, size_t n)
{
	while (n--)
		put8(b, 0);
}

/* ---- system description tables ---- */

static size_t table_begin(struct buffer *b, const char signature[4], unsigned int revision)
{
	size_t at;

	while (b->len % 8 && !b->overflow)
		put8(b, 0);
	at = b->len;
	put(b, signature, 4);
	put32(b, 0); /* length, see table_end() */
	put8(b, revision);
	put8(b, 0); /* checksum, see table_end() */
	put(b, OEM_ID, 6);
	put(b, OEM_TABLE_ID, 8);
	put32(b, 1); /* OEM revision */
	put(b, CREATOR_ID, 4);
	put32(b, 1);
	return at;
}

static void table_end(struct buffer *b, size_t at)
{
	if (b->overflow)
		return;
	put_le32(b->data + at + 4, (uint32_t)(b->len - at));
	b->data[at + 9] = checksum_byte(b->data + at, b->len - at);
}

static void gas_io(uint8_t *p, unsigned int port)
{
	p[0] = GAS_SYSTEM_IO;
	p[1] = 8; /* bits */
	p[2] = 0;
	p[3] = GAS_BYTE_ACCESS;
	put_le64(p + 4, port);
}

static void build_fadt(struct buffer *b, gpa_t dsdt)
{
	size_t at = table_begin(b, "FACP", 6);
	uint8_t *t = b->data + at;

	put_zero(b, FADT_BYTES - TABLE_HEADER_BYTES);
	if (b->overflow)
		return;
	put_le32(t + FADT_DSDT, (uint32_t)dsdt);
	put_le16(t + FADT_IAPC_BOOT_ARCH,
		 BOOT_ARCH_LEGACY_DEVICES | BOOT_ARCH_NO_VGA | BOOT_ARCH_NO_ASPM);
	put_le32(t + FADT_FLAGS,
		 FADT_WBINVD | FADT_C1_SUPPORTED | FADT_NO_POWER_BUTTON | FADT_NO_SLEEP_BUTTON |
			 FADT_RESET_SUPPORTED | FADT_HW_REDUCED);
	gas_io(t + FADT_RESET_REG, PORT_RESET);
	t[FADT_RESET_VALUE] = RESET_VALUE;
	t[FADT_MINOR_VERSION] = 4;
	put_le64(t + FADT_X_DSDT, dsdt);
	gas_io(t + FADT_SLEEP_CONTROL, PORT_SLEEP_CONTROL);
	gas_io(t + FADT_SLEEP_STATUS, PORT_SLEEP_STATUS);
	memcpy(t + FADT_HYPERVISOR_ID, "KVM", 3);
	table_end(b, at);
}

static void build_madt(struct buffer *b, unsigned int cpus)
{
	size_t at = table_begin(b, "APIC", 5);

	put32(b, LAYOUT_LAPIC);
	put32(b, MADT_PCAT_COMPAT);
	for (unsigned int i = 0; i < cpus; i++) {
		unsigned int id = layout_apic_id(i);

		if (id <= APIC_ID_MAX_LEGACY) {
			put8(b, 0); /* processor local APIC */
			put8(b, 8);
			put8(b, i);
			put8(b, id);
			put32(b, MADT_ENABLED);
		} else {
			put8(b, 9); /* processor local x2APIC */
			put8(b, 16);
			put16(b, 0);
			put32(b, id);
			put32(b, MADT_ENABLED);
			put32(b, i);
		}
	}
	put8(b, 1); /* I/O APIC */
	put8(b, 12);
	put8(b, 0); /* id: what KVM's register reads */
	put8(b, 0);
	put32(b, LAYOUT_IOAPIC);
	put32(b, 0); /* first GSI */
	put8(b, 4);  /* local APIC NMI: LINT1 of every CPU */
	put8(b, 6);
	put8(b, 0xff);
	put16(b, 0);
	put8(b, 1);
	table_end(b, at);
}

static void build_mcfg(struct buffer *b)
{
	size_t at = table_begin(b, "MCFG", 1);

	put_zero(b, 8);
	put64(b, LAYOUT_ECAM);
	put16(b, 0); /* segment */
	put8(b, 0);  /* first and last bus */
	put8(b, LAYOUT_ECAM_SIZE / 0x100000 - 1);
	put32(b, 0);
	table_end(b, at);
}

/* ---- byte code of the DSDT ---- */

#define AML_ZERO       0x00
#define AML_NAME       0x08
#define AML_BYTE       0x0a
#define AML_DWORD      0x0c
#define AML_STRING     0x0d
#define AML_SCOPE      0x10
#define AML_BUFFER     0x11
#define AML_PACKAGE    0x12
#define AML_METHOD     0x14
#define AML_EXT	       0x5b
#define AML_ARG0       0x68
#define AML_NOTIFY     0x86
#define AML_EQUAL      0x93
#define AML_IF	       0xa0
#define AML_EXT_DEVICE 0x82
#define AML_SERIALIZED 0x08 /* in a method's flags, beside the number of its arguments */

/* Package lengths are always written in three bytes; filled in by aml_end(). */
#define PKG_LENGTH_BYTES 3u

static size_t aml_begin(struct buffer *b)
{
	size_t at = b->len;

	put_zero(b, PKG_LENGTH_BYTES);
	return at;
}

static void aml_end(struct buffer *b, size_t at)
{
	size_t len = b->len - at;

	if (b->overflow)
		return;
	assert(len < 1u << 20);
	b->data[at] = (uint8_t)(0x80 | (len & 0xf));
	b->data[at + 1] = (uint8_t)(len >> 4);
	b->data[at + 2] = (uint8_t)(len >> 12);
}

static void aml_name(struct buffer *b, const char name[4])
{
	put8(b, AML_NAME);
	put(b, name, 4);
}

static void aml_dword(struct buffer *b, uint32_t v)
{
	put8(b, AML_DWORD);
	put32(b, v);
}

/* Three letters and four hexadecimal digits in 32 bits (ACPI 6.4 §19.3.4). */
static uint32_t eisa_id(const char *id)
{
	uint32_t v = 0;

	for (int i = 0; i < 3; i++)
		v = v << 5 | (uint32_t)(id[i] - 0x40);
	for (int i = 3; i < 7; i++)
		v = v << 4 | (uint32_t)(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
	return __builtin_bswap32(v);
}

static size_t device_begin_uid(struct buffer *b, const char name[4], const char *hid,
			       unsigned int uid)
{
	size_t at;

	put8(b, AML_EXT);
	put8(b, AML_EXT_DEVICE);
	at = aml_begin(b);
	put(b, name, 4);
	aml_name(b, "_HID");
	if (strlen(hid) == 7) {
		aml_dword(b, eisa_id(hid));
	} else {
		put8(b, AML_STRING);
		put(b, hid, strlen(hid) + 1);
	}
	aml_name(b, "_UID");
	put8(b, AML_BYTE);
	put8(b, uid);
	return at;
}

static size_t device_begin(struct buffer *b, const char name[4], const char *hid)
{
	return device_begin_uid(b, name, hid, 0);
}

/* Name (_CRS, Buffer () { resources }): begin returns two places to fill in. */
struct resources {
	size_t pkg, size;
};

static struct resources resources_begin(struct buffer *b)
{
	struct resources r;

	aml_name(b, "_CRS");
	put8(b, AML_BUFFER);
	r.pkg = aml_begin(b);
	put8(b, AML_BYTE);
	r.size = b->len;
	put8(b, 0);
	return r;
}

static void resources_end(struct buffer *b, struct resources r)
{
	put8(b, 0x79); /* end tag */
	put8(b, 0);    /* no checksum */
	if (!b->overflow) {
		assert(b->len - r.size - 1 < 256);
		b->data[r.size] = (uint8_t)(b->len - r.size - 1);
	}
	aml_end(b, r.pkg);
}

static void resource_io(struct buffer *b, unsigned int port, unsigned int len)
{
	put8(b, 0x47);
	put8(b, 1); /* decodes 16 bits */
	put16(b, port);
	put16(b, port);
	put8(b, 1); /* alignment */
	put8(b, len);
}

/* Edge-triggered, active high, exclusive. */
static void resource_irq(struct buffer *b, unsigned int irq)
{
	put8(b, 0x22);
	put16(b, 1u << irq);
}

/* The same for any line of the I/O APIC, shared. */
static void resource_gsi(struct buffer *b, unsigned int gsi)
{
	put8(b, 0x89);
	put16(b, 6);
	put8(b, 0x0b); /* consumer, edge, active high, shared */
	put8(b, 1);
	put32(b, gsi);
}

static void resource_memory(struct buffer *b, uint32_t start, uint32_t len)
{
	put8(b, 0x86);
	put16(b, 9);
	put8(b, 1); /* read-write */
	put32(b, start);
	put32(b, len);
}

/* A range that the bridge hands on: @kind 1 = ports, 2 = bus numbers. */
static void resource_word(struct buffer *b, unsigned int kind, unsigned int flags,
			  unsigned int first, unsigned int last)
{
	put8(b, 0x88);
	put16(b, 13);
	put8(b, kind);
	put8(b, 0x0c); /* fixed minimum and maximum */
	put8(b, flags);
	put16(b, 0);
	put16(b, first);
	put16(b, last);
	put16(b, 0);
	put16(b, last - first + 1);
}

static void resource_memory_window(struct buffer *b, uint32_t start, uint32_t len)
{
	put8(b, 0x87);
	put16(b, 23);
	put8(b, 0); /* memory */
	put8(b, 0x0c);
	put8(b, 1); /* read-write, not cacheable */
	put32(b, 0);
	put32(b, start);
	put32(b, start + len - 1);
	put32(b, 0);
	put32(b, len);
}

/* Name (_PRT, Package () { Package () { slot << 16 | any, INTA, 0, GSI }, ... }) */
static void dsdt_pci_interrupts(struct buffer *b)
{
	size_t all, one;

	aml_name(b, "_PRT");
	put8(b, AML_PACKAGE);
	all = aml_begin(b);
	put8(b, PCI_SLOTS - 1);
	for (unsigned int slot = 1; slot < PCI_SLOTS; slot++) {
		put8(b, AML_PACKAGE);
		one = aml_begin(b);
		put8(b, 4);
		aml_dword(b, slot << 16 | 0xffff);
		put8(b, AML_ZERO); /* INTA# */
		put8(b, AML_ZERO); /* no link device: a GSI follows */
		put8(b, AML_BYTE);
		put8(b, layout_pci_gsi(slot));
		aml_end(b, one);
	}
	aml_end(b, all);
}

static void dsdt_virtio_mmio(struct buffer *b, unsigned int index)
{
	const char name[4] = { 'V', 'R', (char)('0' + index / 10), (char)('0' + index % 10) };
	size_t dev = device_begin_uid(b, name, "LNRO0005", index);
	struct resources r = resources_begin(b);

	resource_memory(b, (uint32_t)layout_virtio_mmio(index), VIRTIO_MMIO_BYTES);
	resource_gsi(b, layout_virtio_mmio_gsi(index, 1));
	resources_end(b, r);
	aml_end(b, dev);
}

static void dsdt_pci(struct buffer *b)
{
	size_t dev = device_begin(b, "PCI0", "PNP0A08");
	struct resources r;

	aml_name(b, "_CID");
	aml_dword(b, eisa_id("PNP0A03"));
	r = resources_begin(b);
	resource_word(b, 2, 0, 0, LAYOUT_ECAM_SIZE / 0x100000 - 1);
	resource_io(b, PORT_PCI_ADDRESS, 8);
	resource_word(b, 1, 3, PORT_PCI_WINDOW, 0xffff);
	resource_memory_window(b, LAYOUT_PCI_WINDOW, LAYOUT_PCI_WINDOW_SIZE);
	resources_end(b, r);
	dsdt_pci_interrupts(b);
	aml_end(b, dev);
}

/* Resources that no driver may take. */
static void dsdt_motherboard(struct buffer *b)
{
	size_t dev = device_begin(b, "MBRD", "PNP0C02");
	struct resources r = resources_begin(b);

	resource_memory(b, LAYOUT_ECAM, LAYOUT_ECAM_SIZE);
	resource_io(b, PORT_SLEEP_CONTROL, PORT_RESET + 1 - PORT_SLEEP_CONTROL);
	resources_end(b, r);
	aml_end(b, dev);
}

static void dsdt_isa(struct buffer *b)
{
	size_t dev = device_begin(b, "COM1", "PNP0501");
	struct resources r = resources_begin(b);

	resource_io(b, PORT_COM1, 8);
	resource_irq(b, GSI_COM1);
	resources_end(b, r);
	aml_end(b, dev);

	dev = device_begin(b, "RTC_", "PNP0B00");
	r = resources_begin(b);
	resource_io(b, PORT_RTC, 2);
	resources_end(b, r);
	aml_end(b, dev);

	dev = device_begin(b, "PEVT", "QEMU0001");
	r = resources_begin(b);
	resource_io(b, PORT_PVPANIC, 1);
	resources_end(b, r);
	aml_end(b, dev);
}

/* The guest's kernel calls _EVT with the line whose interrupt it got; it tells the device's driver. */
static const struct event {
	unsigned int gsi;
	const char *device;
	unsigned int notice;
} events[] = {
	{ GSI_POWER_BUTTON, "PWRB", 0x80 }, /* it was pressed */
	{ GSI_GENERATION, "VGEN", 0x80 },   /* it is another one */
};

/* If (Arg0 == gsi) { Notify (device, notice) } */
static void dsdt_event(struct buffer *b, const struct event *e)
{
	size_t pkg;

	put8(b, AML_IF);
	pkg = aml_begin(b);
	put8(b, AML_EQUAL);
	put8(b, AML_ARG0);
	put8(b, AML_BYTE);
	put8(b, e->gsi);
	put8(b, AML_NOTIFY);
	put(b, e->device, 4);
	put8(b, AML_BYTE);
	put8(b, e->notice);
	aml_end(b, pkg);
}

/*
 * Where the number is that tells a machine from those that go on from the same snapshot. Linux before 6.10 looks
 * at _HID alone, others at _CID.
 */
static void dsdt_generation(struct buffer *b)
{
	static const char id[] = "VM_Gen_Counter";
	size_t dev = device_begin(b, "VGEN", "VMGENCTR"), pkg;

	aml_name(b, "_CID");
	put8(b, AML_STRING);
	put(b, id, sizeof(id));
	aml_name(b, "ADDR");
	put8(b, AML_PACKAGE);
	pkg = aml_begin(b);
	put8(b, 2);
	aml_dword(b, LAYOUT_GENERATION);
	aml_dword(b, 0);
	aml_end(b, pkg);
	aml_end(b, dev);
}

static void dsdt_events(struct buffer *b)
{
	size_t dev = device_begin(b, "PWRB", "PNP0C0C"), method;
	struct resources r;

	aml_end(b, dev);
	dsdt_generation(b);
	dev = device_begin(b, "GED_", "ACPI0013");
	r = resources_begin(b);
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		resource_gsi(b, events[i].gsi);
	resources_end(b, r);
	put8(b, AML_METHOD);
	method = aml_begin(b);
	put(b, "_EVT", 4);
	put8(b, 1 | AML_SERIALIZED);
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		dsdt_event(b, &events[i]);
	aml_end(b, method);
	aml_end(b, dev);
}

static void build_dsdt(struct buffer *b, unsigned int nr_virtio_mmio)
{
	size_t at = table_begin(b, "DSDT", 2);
	size_t pkg;

	/* Name (\_S5, Package () { 5, 0, 0, 0 }): the type for PORT_SLEEP_CONTROL. */
	put8(b, AML_NAME);
	put(b, "\\_S5_", 5);
	put8(b, AML_PACKAGE);
	pkg = aml_begin(b);
	put8(b, 4);
	put8(b, AML_BYTE);
	put8(b, SLEEP_TYPE_S5);
	put_zero(b, 3); /* three times AML_ZERO */
	aml_end(b, pkg);

	put8(b, AML_SCOPE);
	pkg = aml_begin(b);
	put(b, "\\_SB_", 5);
	dsdt_pci(b);
	dsdt_motherboard(b);
	dsdt_isa(b);
	dsdt_events(b);
	for (unsigned int i = 0; i < nr_virtio_mmio; i++)
		dsdt_virtio_mmio(b, i);
	aml_end(b, pkg);
	table_end(b, at);
}

static void build_rsdp(uint8_t *p, gpa_t xsdt)
{
	memcpy(p, "RSD PTR ", 8);
	memcpy(p + 9, OEM_ID, 6);
	p[15] = 2; /* revision */
	put_le32(p + 20, RSDP_BYTES);
	put_le64(p + 24, xsdt);
	p[8] = checksum_byte(p, 20);
	p[32] = checksum_byte(p, RSDP_BYTES);
}

int acpi_build(uint8_t *out, size_t out_bytes, const struct acpi_input *in)
{
	struct buffer b = { .data = out, .max = out_bytes };
	size_t dsdt, xsdt, tables[3];

	put_zero(&b, RSDP_BYTES);
	dsdt = align_up(b.len, 8);
	build_dsdt(&b, in->nr_virtio_mmio);
	tables[0] = align_up(b.len, 8);
	build_fadt(&b, in->base + dsdt);
	tables[1] = align_up(b.len, 8);
	build_madt(&b, in->cpus);
	tables[2] = align_up(b.len, 8);
	build_mcfg(&b);
	xsdt = table_begin(&b, "XSDT", 1);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		put64(&b, in->base + tables[i]);
	table_end(&b, xsdt);
	if (b.overflow)
		return -ENOSPC;
	build_rsdp(out, in->base + xsdt);
	return (int)b.len;
}
