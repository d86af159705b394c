/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every guest-physical address, port and interrupt line, in one place.
 *
 *	         0 +--------------------------------+
 *	           | BIOS data area (zero)          |
 *	     0x500 | GDT of the boot CPU            |
 *	    0x6000 | PVH start info, module, e820   |
 *	    0x7000 | zero page (struct boot_params) |
 *	    0x8000 | boot stack (grows down)        |
 *	    0x9000 | page tables, identity map      |  to 0x11fff
 *	   0x10000 | flat image (--flat)            |  without page tables
 *	   0x20000 | command line                   |
 *	   0x30000 | setup_data: RNG seed, FDT      |
 *	   0x9fc00 +--------------------------------+  end of conventional memory
 *	           | reserved (EBDA, video, ROM)    |
 *	   0xe0000 | ACPI tables                    |
 *	   0xef000 | generation ID                  |  a page of its own
 *	   0xf0000 | MP table                       |
 *	   0xffff0 | reset vector                   |
 *	  0x100000 +--------------------------------+
 *	           | kernel ... initrd              |  RAM up to 3 GiB
 *	0xc0000000 +--------------------------------+  MEM_HOLE_START
 *	           | PCI memory window              |
 *	0xd0000000 | virtio-mmio devices            |
 *	0xe0000000 | PCI configuration space (ECAM) |
 *	0xfec00000 | I/O APIC                       |
 *	0xfee00000 | local APICs                    |
 *	0xfffbc000 | KVM: identity map, TSS         |
 *	   1 << 32 +--------------------------------+  MEM_HOLE_END
 *	           | the rest of RAM                |
 */
#ifndef LKVM_X86_LAYOUT_H
#define LKVM_X86_LAYOUT_H

#define LAYOUT_GDT	    0x500
#define LAYOUT_PVH	    0x6000
#define LAYOUT_ZERO_PAGE    0x7000
#define LAYOUT_BOOT_STACK   0x8ff0
#define LAYOUT_PAGE_TABLES  0x9000
#define LAYOUT_PML5	    0x11000 /* above them, if there are five levels */
#define LAYOUT_FLAT	    0x10000
#define LAYOUT_CMDLINE	    0x20000
#define LAYOUT_CMDLINE_MAX  0x10000
#define LAYOUT_SETUP_DATA   0x30000
#define LAYOUT_LOW_END	    0x9fc00
#define LAYOUT_ACPI	    0xe0000
#define LAYOUT_ACPI_MAX	    0xf000
#define LAYOUT_GENERATION   0xef000
#define LAYOUT_MPTABLE	    0xf0000
#define LAYOUT_MPTABLE_MAX  0xfff0
#define LAYOUT_RESET_VECTOR 0xffff0 /* real mode FFFF:0000 */
#define LAYOUT_HIGH_START   0x100000

#define LAYOUT_PCI_WINDOW	0xc0000000
#define LAYOUT_PCI_WINDOW_SIZE	0x10000000
#define LAYOUT_PCI_SLOT_SIZE	0x10000 /* of it, for the BARs of one device */
#define LAYOUT_VIRTIO_MMIO	0xd0000000
#define LAYOUT_VIRTIO_MMIO_SIZE 0x1000 /* one device */
#define LAYOUT_ECAM		0xe0000000
#define LAYOUT_ECAM_SIZE	0x00100000 /* one bus */
#define LAYOUT_IOAPIC		0xfec00000
#define LAYOUT_LAPIC		0xfee00000
#define LAYOUT_IDENTITY_MAP	0xfffbc000 /* one page */
#define LAYOUT_TSS		0xfffbd000 /* three pages */

/* Ports. */
#define PORT_I8042_DATA	   0x60
#define PORT_I8042_COMMAND 0x64
#define PORT_RTC	   0x70	 /* index, data */
#define PORT_COM1	   0x3f8 /* eight */
#define PORT_PVPANIC	   0x505
#define PORT_SLEEP_CONTROL 0x600 /* ACPI 6.4 §4.8.3.7, hardware-reduced */
#define PORT_SLEEP_STATUS  0x601
#define PORT_RESET	   0x602 /* ACPI 6.4 §4.8.3.6 */
#define PORT_PCI_ADDRESS   0xcf8
#define PORT_PCI_DATA	   0xcfc
#define PORT_PCI_WINDOW	   0x1000 /* to 0xffff */
#define PORT_PCI_SLOT_SIZE 0x100

/* Interrupt lines; KVM's default routing makes GSI n pin n of the I/O APIC. */
#define GSI_KEYBOARD	 1
#define GSI_GENERATION	 3 /* no second serial port has it */
#define GSI_COM1	 4
#define GSI_POWER_BUTTON 13 /* no device of an ISA bus has it */
#define GSI_PCI_FIRST	 16
#define GSI_PCI_LINES	 8 /* shared by slot number */

/* Values of ours that the tables announce and the ports accept. */
#define SLEEP_TYPE_S5 5
#define RESET_VALUE   1

/*
 * APIC ids: CPU n has id n. 255 is broadcast for an 8-bit id, so a machine of
 * more than 255 CPUs skips it.
 */
#define APIC_ID_BROADCAST  255
#define APIC_ID_MAX_LEGACY 254

/* A struct pci_places. */
#define LAYOUT_PCI_PLACES \
	{ \
		.ports = PORT_PCI_ADDRESS, \
		.ecam = LAYOUT_ECAM, .ecam_bytes = LAYOUT_ECAM_SIZE, \
		.window = LAYOUT_PCI_WINDOW, .window_slot_bytes = LAYOUT_PCI_SLOT_SIZE, \
		.ports_window = PORT_PCI_WINDOW, .ports_slot_bytes = PORT_PCI_SLOT_SIZE, \
		.first_gsi = GSI_PCI_FIRST, \
	}

#ifndef __ASSEMBLER__
/* The line of the pin INTA# of a PCI slot. */
static inline unsigned int layout_pci_gsi(unsigned int slot)
{
	return GSI_PCI_FIRST + slot % GSI_PCI_LINES;
}

static inline unsigned int layout_apic_id(unsigned int cpu)
{
	return cpu < APIC_ID_BROADCAST ? cpu : cpu + 1;
}

/*
 * virtio-mmio device @index: its registers and its line. Lines that no other device
 * has; without ACPI only those of the ISA bus have names. Devices share them if
 * there are too few.
 */
static inline unsigned long layout_virtio_mmio(unsigned int index)
{
	return LAYOUT_VIRTIO_MMIO + (unsigned long)index * LAYOUT_VIRTIO_MMIO_SIZE;
}

static inline unsigned int layout_virtio_mmio_gsi(unsigned int index, int acpi)
{
	static const unsigned char lines[] = { 5, 6, 7, 9, 10, 11, 14, 15,
					       16, 17, 18, 19, 20, 21, 22, 23 };

	return lines[index % (acpi ? 16u : 8u)];
}
#endif

#endif
