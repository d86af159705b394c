// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reset state of vCPUs.
 *
 * Runs on the main thread before the vCPU threads exist. Each way to enter the
 * guest is a const template of segment and control registers; the application
 * processors keep KVM's own state and wait for their start-up IPI.
 *
 * Source: x86 boot protocol 2.15 (32-bit and 64-bit entry), Xen's PVH entry
 * (docs/misc/pvh), Intel SDM volume 3A §3.4.5 (descriptors), §4.5 (page tables),
 * §10.4 (local APIC).
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm-cpu.h"
#include "kvm.h"
#include "log.h"
#include "util.h"
#include "x86/cpu.h"
#include "x86/cpuid.h"
#include "x86/layout.h"

#define CR0_PE	     0x1u
#define CR0_ET	     0x10u
#define CR0_NE	     0x20u
#define CR0_PG	     0x80000000u
#define CR4_PAE	     0x20u
#define CR4_LA57     0x1000u
#define EFER_LME     0x100u
#define EFER_LMA     0x400u
#define RFLAGS_FIXED 0x2u

#define SELECTOR_CODE 0x10 /* __BOOT_CS of the boot protocol */
#define SELECTOR_DATA 0x18 /* __BOOT_DS */
#define SELECTOR_TSS  0x20

#define PTE_PRESENT_WRITE     0x3u
#define PTE_HUGE	      0x80u
#define PAGE_TABLE_GIBS	      4u
#define PAGE_TABLE_IMAGE_GIBS 2u

#define MSR_MISC_ENABLE		0x1a0
#define MISC_ENABLE_FAST_STRING 1u
#define MSR_MTRR_DEF_TYPE	0x2ff
#define MTRR_ENABLE_WRITE_BACK	0x806u /* enabled; what no range covers is WB */

#define APIC_LVT0	 0x350
#define APIC_LVT1	 0x360
#define APIC_MODE_NMI	 0x400u
#define APIC_MODE_EXTINT 0x700u
#define APIC_MASKED	 0x10000u

/* From 0, all of 4 GiB. */
#define FLAT_SEGMENT(its_selector, its_type, size_bit) \
	{ \
		.base = 0, .limit = 0xffffffff, .selector = (its_selector), .type = (its_type), \
		.present = 1, .s = 1, .size_bit = 1, .g = 1, \
	}

static const struct kvm_segment flat_code32 = FLAT_SEGMENT(SELECTOR_CODE, 0xb, db);
static const struct kvm_segment flat_code64 = FLAT_SEGMENT(SELECTOR_CODE, 0xb, l);
static const struct kvm_segment flat_data = FLAT_SEGMENT(SELECTOR_DATA, 0x3, db);

/* VT-x wants a busy TSS in every mode but real mode; nothing uses it. */
static const struct kvm_segment boot_tss = {
	.base = 0,
	.limit = 0x67,
	.selector = SELECTOR_TSS,
	.type = 0xb,
	.present = 1,
};

static const struct {
	const char *name;
	const struct kvm_segment *code;
	uint64_t cr0, cr4, efer;
} templates[] = {
	[CPU_ENTRY_REAL] = { "real mode", NULL, 0, 0, 0 },
	[CPU_ENTRY_32] = { "32-bit", &flat_code32, CR0_PE | CR0_ET | CR0_NE, 0, 0 },
	[CPU_ENTRY_PVH] = { "PVH", &flat_code32, CR0_PE | CR0_ET, 0, 0 },
	[CPU_ENTRY_64] = { "64-bit", &flat_code64, CR0_PE | CR0_ET | CR0_NE | CR0_PG, CR4_PAE,
			   EFER_LME | EFER_LMA },
};

/* The descriptor that loads into a segment register as @s. */
static uint64_t descriptor(const struct kvm_segment *s)
{
	uint32_t limit = s->g ? s->limit >> 12 : s->limit;
	uint64_t flags = (uint64_t)(s->type | s->s << 4 | s->dpl << 5 | s->present << 7);

	return (limit & 0xffffu) | (s->base & 0xffffffull) << 16 | flags << 40 |
	       (uint64_t)(limit >> 16 & 0xf) << 48 |
	       (uint64_t)(s->avl | s->l << 1 | s->db << 2 | s->g << 3) << 52 |
	       (s->base >> 24 & 0xffull) << 56;
}

static int write_gdt(const struct mem *mem, enum cpu_entry entry)
{
	const uint64_t gdt[] = {
		0, 0,
		descriptor(templates[entry].code),
		descriptor(&flat_data),
		descriptor(&boot_tss), 0
	};

	return mem_write(mem, LAYOUT_GDT, gdt, sizeof(gdt));
}

/* A page directory of 2 MiB pages for GiB @gib. */
static int write_page_directory(const struct mem *mem, gpa_t at, uint64_t gib)
{
	uint64_t table[512];

	for (uint64_t i = 0; i < ARRAY_SIZE(table); i++)
		table[i] = (GIB(gib) + MIB(2) * i) | PTE_HUGE | PTE_PRESENT_WRITE;
	return mem_write(mem, at, table, sizeof(table));
}

/* PML4, one PDPT, and page directories: for 4 GiB and for a kernel above them. */
static int write_page_tables(const struct mem *mem, gpa_t image)
{
	const uint64_t top = LAYOUT_PAGE_TABLES | PTE_PRESENT_WRITE;
	uint64_t table[512] = { 0 };
	gpa_t pdpt = LAYOUT_PAGE_TABLES + 4096, next = pdpt + 4096;
	uint64_t first = min_u64(max_u64(image >> 30, PAGE_TABLE_GIBS), ARRAY_SIZE(table) - 1);
	int rc;

	table[0] = pdpt | PTE_PRESENT_WRITE;
	rc = mem_write(mem, LAYOUT_PAGE_TABLES, table, sizeof(table));
	memset(table, 0, sizeof(table));
	for (uint64_t g = 0; g < PAGE_TABLE_GIBS + PAGE_TABLE_IMAGE_GIBS && !rc; g++) {
		uint64_t gib = g < PAGE_TABLE_GIBS ? g : first + g - PAGE_TABLE_GIBS;

		if (gib == ARRAY_SIZE(table))
			break;
		table[gib] = next | PTE_PRESENT_WRITE;
		rc = write_page_directory(mem, next, gib);
		next += 4096;
	}
	if (!rc)
		rc = mem_write(mem, pdpt, table, sizeof(table));
	/* RAM is zero: so are the other entries of the fifth level. */
	return rc ? rc : mem_write(mem, LAYOUT_PML5, &top, sizeof(top));
}

int cpu_write_tables(const struct mem *mem, const struct cpu_start *start)
{
	int rc;

	if (start->entry == CPU_ENTRY_REAL)
		return 0;
	rc = write_gdt(mem, start->entry);
	if (!rc && start->entry == CPU_ENTRY_64)
		rc = write_page_tables(mem, start->image);
	return rc;
}

static void set_real_mode(struct kvm_sregs *s, gpa_t address)
{
	struct kvm_segment *segments[] = { &s->cs, &s->ds, &s->es, &s->ss, &s->fs, &s->gs };

	/* KVM's reset state is real mode; only where the segments point is ours. */
	for (size_t i = 0; i < ARRAY_SIZE(segments); i++) {
		segments[i]->base = address;
		segments[i]->selector = (uint16_t)(address >> 4);
	}
}

static void set_protected_mode(struct kvm_sregs *s, const struct cpu_start *start)
{
	enum cpu_entry entry = start->entry;

	s->cs = *templates[entry].code;
	s->ds = s->es = s->ss = s->fs = s->gs = flat_data;
	s->tr = boot_tss;
	s->gdt.base = LAYOUT_GDT;
	s->gdt.limit = 6 * 8 - 1;
	s->idt.base = 0;
	s->idt.limit = 0;
	s->cr0 = templates[entry].cr0;
	s->cr4 = templates[entry].cr4;
	s->cr3 = entry == CPU_ENTRY_64 ? LAYOUT_PAGE_TABLES : 0;
	if (start->five_levels) {
		s->cr4 |= CR4_LA57;
		s->cr3 = LAYOUT_PML5;
	}
	s->efer = templates[entry].efer;
}

static struct kvm_regs start_registers(const struct cpu_start *start)
{
	struct kvm_regs r = { .rflags = RFLAGS_FIXED, .rip = start->rip };

	switch (start->entry) {
	case CPU_ENTRY_REAL:
		r.rip = 0;
		r.rsp = 0xfff0;
		break;
	case CPU_ENTRY_PVH:
		r.rbx = LAYOUT_PVH;
		break;
	case CPU_ENTRY_32:
	case CPU_ENTRY_64:
		r.rsi = LAYOUT_ZERO_PAGE;
		r.rsp = LAYOUT_BOOT_STACK;
		break;
	}
	return r;
}

int cpu_set_start(struct vcpu *vcpu, const struct cpu_start *start)
{
	struct kvm_regs regs = start_registers(start);
	struct kvm_sregs sregs;
	int rc;

	rc = ioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
	if (!rc) {
		if (start->entry == CPU_ENTRY_REAL)
			set_real_mode(&sregs, start->rip);
		else
			set_protected_mode(&sregs, start);
		rc = ioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
	}
	if (!rc)
		rc = ioctl(vcpu->fd, KVM_SET_REGS, &regs);
	if (rc) {
		rc = -errno;
		log_error("vcpu %u: setting its registers (%s entry): %s", vcpu->index,
			  templates[start->entry].name, strerror(-rc));
	}
	return rc;
}

void cpu_fit_cpuid(struct vcpu *vcpu, const struct cpu_config *config, struct cpuid_table *table)
{
	struct vm *vm = vcpu->vm;
	int tsc_khz = config->tsc_khz ? (int)config->tsc_khz : ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);
	struct cpuid_machine machine = {
		.apic_id = layout_apic_id(vcpu->index),
		.cpus = config->cpus,
		.max_apic_id = layout_apic_id(config->cpus - 1),
		.tsc_khz = tsc_khz > 0 ? (uint32_t)tsc_khz : 0,
		.tsc_deadline = kvm_capability(vm->sys_fd, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
		.nested = config->nested,
	};

	*table = *config->supported;
	cpuid_fit(table, &machine);
}

static int set_cpuid(struct vcpu *vcpu, const struct cpu_config *config)
{
	struct cpuid_table table;

	cpu_fit_cpuid(vcpu, config, &table);
	return ioctl(vcpu->fd, KVM_SET_CPUID2, &table);
}

/* A counter that runs at most so much faster or slower is the same one, as clocks of hosts go. */
#define TSC_TOLERANCE_PPM 250u

static int set_tsc_khz(struct vcpu *vcpu, uint32_t khz)
{
	int now = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);
	int64_t most = (int64_t)khz * TSC_TOLERANCE_PPM / 1000000;

	if (!khz || (now > 0 && now - (int64_t)khz <= most && (int64_t)khz - now <= most))
		return 0;
	return ioctl(vcpu->fd, KVM_SET_TSC_KHZ, (unsigned long)khz);
}

/*
 * Values that firmware would have set. MISC_ENABLE also says what this CPU has and has not
 * (performance monitoring, BTS, PEBS): KVM knows, and its bits stay.
 */
static int set_msrs(struct vcpu *vcpu)
{
	struct { /* struct kvm_msrs with room for its entries */
		uint32_t nmsrs;
		uint32_t padding;
		struct kvm_msr_entry entries[2];
	} msrs = {
		.nmsrs = 1,
		.entries = {
			{ .index = MSR_MISC_ENABLE },
			{ .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE_WRITE_BACK },
		},
	};
	int set = ioctl(vcpu->fd, KVM_GET_MSRS, &msrs);

	if (set < 0)
		return set;
	msrs.entries[0].data |= MISC_ENABLE_FAST_STRING;
	msrs.nmsrs = 2;
	set = ioctl(vcpu->fd, KVM_SET_MSRS, &msrs);
	if (set < 0)
		return set;
	/* A KVM without one of them emulates a CPU without it: nothing to set. */
	if (set < 2)
		log_verbose("vcpu %u: this KVM has no MSR %#x", vcpu->index,
			    msrs.entries[set].index);
	return 0;
}

/*
 * Virtual wire mode: NMI on LINT1 of every CPU, the 8259s' interrupts through
 * LINT0 of the boot CPU alone (SDM §10.5.1; MP specification 1.4 §3.6.2.2).
 */
static int set_local_apic(struct vcpu *vcpu)
{
	struct kvm_lapic_state lapic;
	uint32_t lvt0 = vcpu->index == 0 ? APIC_MODE_EXTINT : APIC_MASKED;
	uint32_t lvt1 = APIC_MODE_NMI;
	int rc = ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic);

	if (rc)
		return rc;
	memcpy(lapic.regs + APIC_LVT0, &lvt0, sizeof(lvt0));
	memcpy(lapic.regs + APIC_LVT1, &lvt1, sizeof(lvt1));
	return ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic);
}

int cpu_init(struct vcpu *vcpu, const struct cpu_config *config)
{
	const char *step = "KVM_SET_TSC_KHZ";
	int rc = set_tsc_khz(vcpu, config->tsc_khz);

	if (!rc) {
		step = "KVM_SET_CPUID2";
		rc = set_cpuid(vcpu, config);
	}
	if (!rc) {
		step = "KVM_SET_MSRS";
		rc = set_msrs(vcpu);
	}
	if (!rc) {
		step = "KVM_SET_LAPIC";
		rc = set_local_apic(vcpu);
	}
	if (rc) {
		rc = -errno;
		log_error("vcpu %u: %s: %s", vcpu->index, step, strerror(-rc));
	}
	return rc;
}
