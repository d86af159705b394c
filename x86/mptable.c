// SPDX-License-Identifier: GPL-2.0-only
/*
 * Intel MP table. A pure function: bytes out of a number of CPUs.
 *
 * Processors, one PCI and one ISA bus, one I/O APIC whose pins 0 to 15 are the ISA
 * lines in order (KVM's default routing) and the others the pins INTA# of the PCI
 * slots, and the local interrupt pins.
 *
 * Source: Intel MultiProcessor Specification 1.4, chapter 4.
 */
#include <errno.h>
#include <string.h>

#include "pci.h"
#include "util.h"
#include "x86/layout.h"
#include "x86/mptable.h"

#define FLOATING_BYTES	16u
#define HEADER_BYTES	44u
#define PROCESSOR_BYTES 20u
#define ENTRY_BYTES	8u /* of every other kind */

#define ENTRY_PROCESSOR 0
#define ENTRY_BUS	1
#define ENTRY_IOAPIC	2
#define ENTRY_IO_INT	3
#define ENTRY_LOCAL_INT 4

#define CPU_ENABLED   1u
#define CPU_BOOT      2u
#define CPU_SIGNATURE 0x600u /* family 6 */
#define CPU_FEATURES  0x201u /* FPU, APIC: all that the table can say */

#define INT_VECTORED   0
#define INT_NMI	       1
#define INT_EXTINT     3
#define ISA_LINES      16u
#define APIC_VERSION   0x14
#define IOAPIC_VERSION 0x11
#define ALL_CPUS       0xff

/* A PCI bus has the number that it has for PCI itself. */
#define PCI_BUS 0
#define ISA_BUS 1

struct cursor {
	uint8_t *p;
	unsigned int entries;
};

static void add_processor(struct cursor *c, unsigned int cpu)
{
	uint8_t *p = c->p;

	p[0] = ENTRY_PROCESSOR;
	p[1] = (uint8_t)layout_apic_id(cpu);
	p[2] = APIC_VERSION;
	p[3] = (uint8_t)(CPU_ENABLED | (cpu == 0 ? CPU_BOOT : 0));
	put_le32(p + 4, CPU_SIGNATURE);
	put_le32(p + 8, CPU_FEATURES);
	c->p += PROCESSOR_BYTES;
	c->entries++;
}

static void mptable_add_entry(struct cursor *c, const uint8_t entry[ENTRY_BYTES])
{
	memcpy(c->p, entry, ENTRY_BYTES);
	c->p += ENTRY_BYTES;
	c->entries++;
}

static void add_interrupt(struct cursor *c, uint8_t kind, uint8_t type, uint8_t line,
			  uint8_t dest, uint8_t pin)
{
	/* Polarity and trigger mode (bytes 2, 3) as the bus has them. */
	const uint8_t e[ENTRY_BYTES] = { kind, type, 0, 0, ISA_BUS, line, dest, pin };

	mptable_add_entry(c, e);
}

static void add_pci_interrupt(struct cursor *c, unsigned int slot, uint8_t ioapic)
{
	const uint8_t e[ENTRY_BYTES] = {
		ENTRY_IO_INT, INT_VECTORED, 0, 0, PCI_BUS, (uint8_t)(slot << 2), ioapic,
		(uint8_t)layout_pci_gsi(slot)
	};

	mptable_add_entry(c, e);
}

int mptable_build(uint8_t *out, size_t out_bytes, gpa_t base, unsigned int cpus)
{
	unsigned int listed = (unsigned int)min_u64(cpus, APIC_ID_MAX_LEGACY + 1);
	/* Some kernels insist on an id that no CPU has. If all are taken, the id that KVM uses. */
	uint8_t ioapic = listed <= APIC_ID_MAX_LEGACY ? (uint8_t)listed : 0;
	uint8_t *header = out + FLOATING_BYTES;
	struct cursor c = { .p = header + HEADER_BYTES };
	size_t need = FLOATING_BYTES + HEADER_BYTES + listed * PROCESSOR_BYTES +
		      (3 + ISA_LINES + PCI_SLOTS - 1 + 2) * ENTRY_BYTES;

	if (need > out_bytes)
		return -ENOSPC;
	memset(out, 0, need);
	for (unsigned int i = 0; i < listed; i++)
		add_processor(&c, i);
	mptable_add_entry(&c, (const uint8_t[ENTRY_BYTES]){ ENTRY_BUS, PCI_BUS, 'P', 'C', 'I', ' ', ' ', ' ' });
	mptable_add_entry(&c, (const uint8_t[ENTRY_BYTES]){ ENTRY_BUS, ISA_BUS, 'I', 'S', 'A', ' ', ' ', ' ' });
	mptable_add_entry(&c, (const uint8_t[ENTRY_BYTES]){ ENTRY_IOAPIC, ioapic, IOAPIC_VERSION, 1 });
	put_le32(c.p - 4, LAYOUT_IOAPIC);
	for (uint8_t i = 0; i < ISA_LINES; i++)
		add_interrupt(&c, ENTRY_IO_INT, INT_VECTORED, i, ioapic, i);
	for (unsigned int slot = 1; slot < PCI_SLOTS; slot++)
		add_pci_interrupt(&c, slot, ioapic);
	add_interrupt(&c, ENTRY_LOCAL_INT, INT_EXTINT, 0, ALL_CPUS, 0);
	add_interrupt(&c, ENTRY_LOCAL_INT, INT_NMI, 0, ALL_CPUS, 1);

	memcpy(header, "PCMP", 4);
	put_le16(header + 4, (uint16_t)(c.p - header));
	header[6] = 4; /* MP specification 1.4 */
	memcpy(header + 8, "LKVM    ", 8);
	memcpy(header + 16, "LKVM        ", 12);
	put_le16(header + 34, (uint16_t)c.entries);
	put_le32(header + 36, LAYOUT_LAPIC);
	header[7] = checksum_byte(header, (size_t)(c.p - header));

	memcpy(out, "_MP_", 4);
	put_le32(out + 4, (uint32_t)(base + FLOATING_BYTES));
	out[8] = 1; /* length in 16-byte units */
	out[9] = 4;
	out[10] = checksum_byte(out, FLOATING_BYTES);
	return (int)need;
}
