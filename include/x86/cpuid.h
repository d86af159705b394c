/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What CPUID says in the guest: what KVM supports on this host and a guest can use, with
 * the leaves that depend on the machine (topology, clock) made true. Pure, but for asking KVM.
 */
#ifndef LKVM_X86_CPUID_H
#define LKVM_X86_CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct state;

#define CPUID_MAX_ENTRIES 256

/* KVM's variable-length struct with room for its entries. */
struct cpuid_table {
	uint32_t nent;
	uint32_t padding;
	struct kvm_cpuid_entry2 entries[CPUID_MAX_ENTRIES];
};

struct cpuid_machine {
	unsigned int apic_id;
	unsigned int cpus;
	unsigned int max_apic_id;
	uint32_t tsc_khz;  /* 0: unknown, the leaf is left out */
	bool tsc_deadline; /* KVM_CAP_TSC_DEADLINE_TIMER */
	bool nested;	   /* it may have virtual machines of its own: VMX, SVM */
};

/* KVM_GET_SUPPORTED_CPUID of @sys_fd. 0 or -errno. */
int cpuid_read_supported(struct cpuid_table *table, int sys_fd);

/* Turns the supported leaves into those of one vCPU. */
void cpuid_fit(struct cpuid_table *table, const struct cpuid_machine *machine);

/* Whether guests may have page tables of five levels (LA57). */
bool cpuid_has_five_levels(struct cpuid_table *table);

/* Which of a host's CPUs was asked decides what its caches are. */
bool cpuid_is_of_caches(uint32_t function);

/* state.h: what the guest was told has to be what this host would tell it; but for its caches. */
void cpuid_carry(const struct cpuid_table *table, struct state *s);

/* The entry of a leaf, or NULL. */
struct kvm_cpuid_entry2 *cpuid_find(struct cpuid_table *table, uint32_t function, uint32_t index);

#endif
