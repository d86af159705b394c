/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * State of a vCPU when the guest starts: CPUID, MSRs, local APIC, registers.
 */
#ifndef LKVM_X86_CPU_H
#define LKVM_X86_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "mem.h"

struct cpuid_table;
struct vcpu;
struct vm;

/* In which mode the boot CPU enters the guest, and with what. */
enum cpu_entry {
	CPU_ENTRY_REAL,		/* real mode at segment:0 (rip is the segment's address) */
	CPU_ENTRY_32,		/* flat protected mode, esi = zero page */
	CPU_ENTRY_PVH,		/* flat protected mode, ebx = PVH start info */
	CPU_ENTRY_64,		/* long mode, identity map, rsi = zero page */
};

/* The identity map covers 4 GiB, and the GiB of @image and the one after it. */
struct cpu_start {
	enum cpu_entry entry;
	gpa_t rip;
	gpa_t image;		/* below 512 GiB */
	bool five_levels;	/* of page tables: what a kernel built for them is entered with */
};

/*
 * CPUID, MSRs and local APIC of every vCPU. @supported is what
 * cpuid_read_supported() returned, @nested whether VMX and SVM are offered. 0 or -errno,
 * after a message.
 */
int cpu_init(struct vcpu *vcpu, struct vm *vm, const struct cpuid_table *supported,
	     unsigned int cpus, bool nested);

/* Registers of the boot CPU. 0 or -errno, after a message. */
int cpu_set_start(struct vcpu *vcpu, const struct cpu_start *start);

/*
 * Writes what the start state refers to into guest RAM: GDT, page tables.
 * 0 or -EFAULT if RAM is too small.
 */
int cpu_write_tables(const struct mem *mem, const struct cpu_start *start);

#endif
