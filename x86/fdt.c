// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device tree of the machine, written in order with libfdt. A pure function.
 *
 * Linux on x86 looks for nodes compatible with the Intel CE4100's APICs
 * (arch/x86/kernel/devicetree.c), so they are named that way; interrupt
 * specifiers are <pin, type> with type 0 = edge, rising.
 *
 * Source: Devicetree Specification 0.4; IEEE 1275 ISA and PCI bindings.
 */
#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>

#include "util.h"
#include "virtio/mmio.h"
#include "x86/fdt.h"
#include "x86/layout.h"

#define PHANDLE_IOAPIC	1u
#define IRQ_EDGE_RISING 0u
#define UART_CLOCK_HZ	1843200u
#define PCI_SPACE_MEM32 0x02000000u
#define ISA_SPACE_IO	1u

/* libfdt does not remember errors: the first one of a sequence is kept here. */
struct writer {
	void *fdt;
	int error;
};

static void note(struct writer *w, int rc)
{
	if (rc < 0 && !w->error)
		w->error = rc;
}

static void fdt_begin(struct writer *w, const char *name)
{
	note(w, fdt_begin_node(w->fdt, name));
}

static void end(struct writer *w)
{
	note(w, fdt_end_node(w->fdt));
}

static void string(struct writer *w, const char *name, const char *value)
{
	note(w, fdt_property_string(w->fdt, name, value));
}

static void flag(struct writer *w, const char *name)
{
	note(w, fdt_property(w->fdt, name, NULL, 0));
}

static void cells(struct writer *w, const char *name, const uint32_t *values, size_t nr)
{
	void *p = NULL;

	note(w, fdt_property_placeholder(w->fdt, name, (int)(nr * 4), &p));
	for (size_t i = 0; i < nr && p; i++) {
		fdt32_t v = cpu_to_fdt32(values[i]);

		memcpy((uint8_t *)p + i * 4, &v, 4);
	}
}

#define CELLS(w, name, ...) \
	do { \
		const uint32_t values_[] = { __VA_ARGS__ }; \
		cells(w, name, values_, ARRAY_SIZE(values_)); \
	} while (0)

static uint32_t hi(uint64_t v)
{
	return (uint32_t)(v >> 32);
}

static uint32_t lo(uint64_t v)
{
	return (uint32_t)v;
}

static void add_memory(struct writer *w, uint64_t ram_bytes)
{
	uint64_t low = min_u64(ram_bytes, MEM_HOLE_START);
	uint64_t high = ram_bytes - low;
	const uint32_t reg[] = { 0, 0, hi(low), lo(low),
				 hi(MEM_HOLE_END), lo(MEM_HOLE_END), hi(high), lo(high) };

	fdt_begin(w, "memory@0");
	string(w, "device_type", "memory");
	cells(w, "reg", reg, high ? 8 : 4);
	end(w);
}

static void add_cpus(struct writer *w, unsigned int cpus)
{
	char name[24];

	fdt_begin(w, "cpus");
	CELLS(w, "#address-cells", 1);
	CELLS(w, "#size-cells", 0);
	for (unsigned int i = 0; i < cpus; i++) {
		unsigned int id = layout_apic_id(i);

		snprintf(name, sizeof(name), "cpu@%x", id);
		fdt_begin(w, name);
		string(w, "device_type", "cpu");
		CELLS(w, "reg", id);
		end(w);
	}
	end(w);
}

static void add_chosen(struct writer *w, const struct fdt_input *in)
{
	uint64_t initrd_end = in->initrd + in->initrd_bytes;

	fdt_begin(w, "chosen");
	string(w, "bootargs", in->cmdline);
	string(w, "stdout-path", "/isa@1,0/serial@i3f8");
	if (in->initrd_bytes) {
		CELLS(w, "linux,initrd-start", hi(in->initrd), lo(in->initrd));
		CELLS(w, "linux,initrd-end", hi(initrd_end), lo(initrd_end));
	}
	end(w);
}

static void add_apics(struct writer *w)
{
	char name[40];

	snprintf(name, sizeof(name), "interrupt-controller@%x", LAYOUT_IOAPIC);
	fdt_begin(w, name);
	string(w, "compatible", "intel,ce4100-ioapic");
	CELLS(w, "reg", 0, LAYOUT_IOAPIC, 0, 0x1000);
	CELLS(w, "#interrupt-cells", 2);
	CELLS(w, "#address-cells", 0);
	flag(w, "interrupt-controller");
	CELLS(w, "phandle", PHANDLE_IOAPIC);
	end(w);
	snprintf(name, sizeof(name), "lapic@%x", LAYOUT_LAPIC);
	fdt_begin(w, name);
	string(w, "compatible", "intel,ce4100-lapic");
	CELLS(w, "reg", 0, LAYOUT_LAPIC, 0, 0x1000);
	end(w);
}

static void add_isa(struct writer *w)
{
	fdt_begin(w, "isa@1,0");
	string(w, "compatible", "isa");
	string(w, "device_type", "isa");
	CELLS(w, "#address-cells", 2);
	CELLS(w, "#size-cells", 1);
	CELLS(w, "ranges", ISA_SPACE_IO, 0, 0, 0, 0x10000);
	fdt_begin(w, "serial@i3f8");
	string(w, "compatible", "ns16550a");
	CELLS(w, "reg", ISA_SPACE_IO, PORT_COM1, 8);
	CELLS(w, "clock-frequency", UART_CLOCK_HZ);
	CELLS(w, "interrupts", GSI_COM1, IRQ_EDGE_RISING);
	end(w);
	fdt_begin(w, "rtc@i70");
	string(w, "compatible", "motorola,mc146818");
	CELLS(w, "reg", ISA_SPACE_IO, PORT_RTC, 2);
	end(w);
	end(w);
}

static void add_pci(struct writer *w)
{
	char name[24];

	snprintf(name, sizeof(name), "pcie@%x", LAYOUT_ECAM);
	fdt_begin(w, name);
	string(w, "compatible", "pci-host-ecam-generic");
	string(w, "device_type", "pci");
	CELLS(w, "reg", 0, LAYOUT_ECAM, 0, LAYOUT_ECAM_SIZE);
	CELLS(w, "#address-cells", 3);
	CELLS(w, "#size-cells", 2);
	CELLS(w, "bus-range", 0, LAYOUT_ECAM_SIZE / 0x100000 - 1);
	CELLS(w, "ranges", PCI_SPACE_MEM32, 0, LAYOUT_PCI_WINDOW, 0, LAYOUT_PCI_WINDOW, 0,
	      LAYOUT_PCI_WINDOW_SIZE);
	end(w);
}

static void add_virtio_mmio(struct writer *w, const struct fdt_input *in)
{
	char name[32];

	for (unsigned int i = 0; i < in->nr_virtio_mmio; i++) {
		uint32_t base = (uint32_t)layout_virtio_mmio(i);

		snprintf(name, sizeof(name), "virtio@%x", base);
		fdt_begin(w, name);
		string(w, "compatible", "virtio,mmio");
		CELLS(w, "reg", 0, base, 0, VIRTIO_MMIO_BYTES);
		CELLS(w, "interrupts", layout_virtio_mmio_gsi(i, in->acpi), IRQ_EDGE_RISING);
		end(w);
	}
}

size_t fdt_bytes_needed(const struct fdt_input *in)
{
	return 4096 + strlen(in->cmdline) + in->cpus * 96ul + in->nr_virtio_mmio * 160ul;
}

int fdt_build(void *out, size_t out_bytes, const struct fdt_input *in)
{
	struct writer w = { .fdt = out };

	note(&w, fdt_create(out, (int)out_bytes));
	note(&w, fdt_finish_reservemap(out));
	fdt_begin(&w, "");
	string(&w, "compatible", "lkvm,x86");
	string(&w, "model", "lkvm");
	CELLS(&w, "#address-cells", 2);
	CELLS(&w, "#size-cells", 2);
	CELLS(&w, "interrupt-parent", PHANDLE_IOAPIC);
	add_chosen(&w, in);
	add_memory(&w, in->ram_bytes);
	add_cpus(&w, in->cpus);
	add_apics(&w);
	add_isa(&w);
	add_pci(&w);
	add_virtio_mmio(&w, in);
	end(&w);
	note(&w, fdt_finish(out));
	return w.error ? -ENOSPC : (int)fdt_totalsize(out);
}
