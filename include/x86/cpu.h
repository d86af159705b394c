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

/* In which mode the boot CPU enters the guest, and with what. */
enum cpu_entry {
	CPU_ENTRY_REAL, /* real mode at segment:0 (rip is the segment's address) */
	CPU_ENTRY_32,	/* flat protected mode, esi = zero page */
	CPU_ENTRY_PVH,	/* flat protected mode, ebx = PVH start info */
	CPU_ENTRY_64,	/* long mode, identity map, rsi = zero page */
};

/* The identity map covers 4 GiB, and the GiB of @image and the one after it. */
struct cpu_start {
	enum cpu_entry entry;
	gpa_t rip;
	gpa_t image;	  /* below 512 GiB */
	bool five_levels; /* of page tables: what a kernel built for them is entered with */
};

struct cpu_config {
	const struct cpuid_table *supported; /* of cpuid_read_supported(); lent */
	unsigned int cpus;
	bool nested;	  /* VMX and SVM are offered */
	uint32_t tsc_khz; /* 0: the host's */
};

/* CPUID, MSRs and local APIC of every vCPU. 0 or -errno, after a message. */
int cpu_init(struct vcpu *vcpu, const struct cpu_config *config);

/* What CPUID says on it. */
void cpu_fit_cpuid(struct vcpu *vcpu, const struct cpu_config *config, struct cpuid_table *table);

/* Registers of the boot CPU. 0 or -errno, after a message. */
int cpu_set_start(struct vcpu *vcpu, const struct cpu_start *start);

/*
 * Writes what the start state refers to into guest RAM: GDT, page tables.
 * 0 or -EFAULT if RAM is too small.
 */
int cpu_write_tables(const struct mem *mem, const struct cpu_start *start);

#endif
