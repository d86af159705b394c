// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID of a vCPU.
 *
 * The starting point is KVM_GET_SUPPORTED_CPUID: what host and KVM support is passed on,
 * but for what a guest could not use (memory encryption, tiles of an AMX that we may not have)
 * and, unless it was asked for, virtualisation, which is more of KVM than a guest needs to
 * reach. A table then names each leaf that depends on the machine and the function that
 * makes it true for one vCPU. Topology: one package, one core per vCPU, one thread per core.
 * Nothing is masked for migration.
 *
 * Source: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E; KVM's
 * cpuid.rst. The clock leaf 0x40000010 is VMware's convention, which KVM guests
 * of several systems read.
 */
#include <asm/kvm_para.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "state.h"
#include "util.h"
#include "x86/cpuid.h"

#define LEAF_CLOCK   0x40000010u
#define APIC_BUS_KHZ 1000000u /* KVM's local APIC timer counts nanoseconds */

#define LEAF_STRUCTURED	      7u
#define LEAF_XSTATE	      0xdu
#define LEAF_TILES	      0x1du /* of AMX: palettes */
#define LEAF_TILE_MULTIPLY    0x1eu
#define LEAF_SVM	      0x8000000au
#define LEAF_ENCRYPTED_MEMORY 0x8000001fu

#ifndef ARCH_REQ_XCOMP_GUEST_PERM
#define ARCH_REQ_XCOMP_GUEST_PERM 0x1025 /* Linux 5.17 */
#endif
#define XFEATURE_TILE_CONFIG 17u
#define XFEATURE_TILE_DATA   18u
#define XCR0_TILES	     (1u << XFEATURE_TILE_CONFIG | 1u << XFEATURE_TILE_DATA)

#define ECX1_VMX	   (1u << 5)
#define ECX1_X2APIC	   (1u << 21)
#define ECX1_TSC_DEADLINE  (1u << 24)
#define ECX1_HYPERVISOR	   (1u << 31)
#define EDX1_HTT	   (1u << 28)
#define AMD_ECX_CMP_LEGACY (1u << 1)
#define AMD_ECX_SVM	   (1u << 2)
#define ECX7_LA57	   (1u << 16)
#define EDX7_AMX	   (1u << 22 | 1u << 24 | 1u << 25) /* BF16, TILE, INT8 */
#define EAX7_1_AMX_FP16	   (1u << 21)
#define EDX7_1_AMX_COMPLEX (1u << 8)

#define TOPOLOGY_LEVEL_SMT  1u
#define TOPOLOGY_LEVEL_CORE 2u

typedef void (*fit_fn)(struct kvm_cpuid_entry2 *e, const struct cpuid_machine *m);

static unsigned int bits_for(unsigned int max_value)
{
	return max_value ? 32u - (unsigned int)__builtin_clz(max_value) : 0;
}

/*
 * x2APIC makes interrupts between CPUs cheap. A kernel that is to turn it on first saves,
 * masks and restores all pins of the I/O APIC: 200 exits that gain one CPU nothing.
 */
static void fit_x2apic(struct kvm_cpuid_entry2 *e, const struct cpuid_machine *m)
{
	if (m->cpus > 1)
		e->ecx |= ECX1_X2APIC;
	else
		e->ecx &= ~ECX1_X2APIC;
}

/* Leaf 1: APIC id, number of ids in the package, hypervisor present. */
static void fit_features(struct kvm_cpuid_entry2 *e, const struct cpuid_machine *m)
{
	uint32_t ids = (uint32_t)min_u64(1u << bits_for(m->max_apic_id), 255);

	e->ebx = (e->ebx & 0x0000ffff) | (m->apic_id & 0xff) << 24 | ids << 16;
	e->ecx |= ECX1_HYPERVISOR;
	fit_x2apic(e, m);
	if (!m->nested)
		e->ecx &= ~ECX1_VMX;
	if (m->tsc_deadline)
		e->ecx |= ECX1_TSC_DEADLINE;
	if (m->cpus > 1)
		e->edx |= EDX1_HTT;
	else
		e->edx &= ~EDX1_HTT;
}

/* Leaf 4 (Intel): caches up to level 2 are a core's own, level 3 is shared. */
static void fit_intel_cache(struct kvm_cpuid_entry2 *e, const struct cpuid_machine *m)
{
	uint32_t ids = (uint32_t)min_u64(1u << bits_for(m->max_apic_id), 64) - 1;
	uint32_t level = e->eax >> 5 & 7;

	if (!(e->eax & 0x1f))
		return; /* no more caches */
	e->eax = (e->eax & 0x3fff) | ids << 26 | (level >= 3 ? ids : 0) << 14;
}

/* Leaf 0x8000001d (AMD): the same, without the number of cores. */
static void fit_amd_cache(struct kvm_cpuid_entry2 *e, const struct cpuid_machine *m)
{
	uint32_t level = e->eax >> 5 & 7;

	if (!(e->eax & 0x1f))
		return;
	e->eax = (e->eax & 0x3fff) | (level >= 3 ? m->cpus - 1 : 0) << 14;
}

/* Leaves 0xb and 0x1f: x2APIC id and how many of its bits each level takes. */
static void fit_topology(struct kvm_cpuid_entry2 *e, const struct cpuid_machine *m)
{
	e->eax = e->ebx = 0;
	e->ecx = e->index & 0xff;
	e->edx = m->apic_id;
	if (e->index == 0) {
		e->ebx = 1;
		e->ecx |= TOPOLOGY_LEVEL_SMT << 8;
	} else if (e->index == 1) {
		e->eax = bits_for(m->max_apic_id);
		e->ebx = m->cpus & 0xffff;
		e->ecx |= TOPOLOGY_LEVEL_CORE << 8;
	}
}

/* Leaf 0x80000001 (AMD): several cores share a package; virtualisation. */
static void fit_amd_features(struct kvm_cpuid_entry2 *e, const struct cpuid_machine *m)
{
	if (!m->nested)
		e->ecx &= ~AMD_ECX_SVM;
	if (m->cpus > 1)
		e->ecx |= AMD_ECX_CMP_LEGACY;
	else
		e->ecx &= ~AMD_ECX_CMP_LEGACY;
}

/* Leaf 0x80000008 (AMD): number of cores, bits of the APIC id. */
static void fit_amd_cores(struct kvm_cpuid_entry2 *e, const struct cpuid_machine *m)
{
	e->ecx = (e->ecx & 0xffff0f00) | (uint32_t)min_u64(m->cpus - 1, 255) |
		 bits_for(m->max_apic_id) << 12;
}

/* Leaf 0x8000001e (AMD): ids of this CPU; one thread per core, one node. */
static void fit_amd_ids(struct kvm_cpuid_entry2 *e, const struct cpuid_machine *m)
{
	e->eax = m->apic_id;
	e->ebx = m->apic_id & 0xff;
	e->ecx = 0;
	e->edx = 0;
}

/* Leaf 0x40000000: highest hypervisor leaf. */
static void fit_hypervisor(struct kvm_cpuid_entry2 *e, const struct cpuid_machine *m)
{
	if (m->tsc_khz && e->eax < LEAF_CLOCK)
		e->eax = LEAF_CLOCK;
}

/*
 * Leaf 0x40000001: no asynchronous page faults. They help a guest whose host swaps. But KVM never puts a
 * CPU to sleep that has one to be told of and no interrupt controller to be told by, which is how a Linux
 * kernel halts for good: the CPU spun, and nobody could tell that the guest had ended.
 */
static void fit_hypervisor_features(struct kvm_cpuid_entry2 *e, const struct cpuid_machine *m)
{
	(void)m;
	e->eax &= ~(1u << KVM_FEATURE_ASYNC_PF | 1u << KVM_FEATURE_ASYNC_PF_VMEXIT |
		    1u << KVM_FEATURE_ASYNC_PF_INT);
}

static void fit_clock(struct kvm_cpuid_entry2 *e, const struct cpuid_machine *m)
{
	e->eax = m->tsc_khz;
	e->ebx = APIC_BUS_KHZ;
	e->ecx = e->edx = 0;
}

static const struct {
	uint32_t function;
	fit_fn fit;
} fits[] = {
	{ 0x1, fit_features },
	{ 0x4, fit_intel_cache },
	{ 0xb, fit_topology },
	{ 0x1f, fit_topology },
	{ KVM_CPUID_SIGNATURE, fit_hypervisor },
	{ KVM_CPUID_FEATURES, fit_hypervisor_features },
	{ LEAF_CLOCK, fit_clock },
	{ 0x80000001, fit_amd_features },
	{ 0x80000008, fit_amd_cores },
	{ 0x8000001d, fit_amd_cache },
	{ 0x8000001e, fit_amd_ids },
};

/* The kernel grants a guest AMX's state only to who asks; it is 8 KiB of each vCPU's. */
int cpuid_read_supported(struct cpuid_table *table, int sys_fd)
{
	syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_GUEST_PERM, XFEATURE_TILE_DATA);
	table->nent = CPUID_MAX_ENTRIES;
	table->padding = 0;
	return ioctl(sys_fd, KVM_GET_SUPPORTED_CPUID, table) ? -errno : 0;
}

struct kvm_cpuid_entry2 *cpuid_find(struct cpuid_table *table, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		if (e->function == function &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index))
			return e;
	}
	return NULL;
}

static void remove_leaf(struct cpuid_table *table, uint32_t function)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < table->nent; i++)
		if (table->entries[i].function != function)
			table->entries[kept++] = table->entries[i];
	table->nent = kept;
}

static void cpuid_add_entry(struct cpuid_table *table, uint32_t function, uint32_t index, uint32_t flags)
{
	if (table->nent < CPUID_MAX_ENTRIES)
		table->entries[table->nent++] = (struct kvm_cpuid_entry2){
			.function = function,
			.index = index,
			.flags = flags,
		};
}

/* KVM returns as many topology levels as the host has; ours are always two. */
static void make_topology_leaf(struct cpuid_table *table, uint32_t function)
{
	if (!cpuid_find(table, function, 0))
		return; /* the host's CPU is too old for it */
	remove_leaf(table, function);
	for (uint32_t index = 0; index < 3; index++)
		cpuid_add_entry(table, function, index, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
}

/* KVM names AMX's instructions whether or not a guest may have their state. */
static void remove_unusable_tiles(struct cpuid_table *table)
{
	const struct kvm_cpuid_entry2 *xstate = cpuid_find(table, LEAF_XSTATE, 0);

	if (xstate && (xstate->eax & XCR0_TILES) == XCR0_TILES)
		return;
	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		if (e->function == LEAF_STRUCTURED && e->index == 0) {
			e->edx &= ~EDX7_AMX;
		} else if (e->function == LEAF_STRUCTURED && e->index == 1) {
			e->eax &= ~EAX7_1_AMX_FP16;
			e->edx &= ~EDX7_1_AMX_COMPLEX;
		}
	}
	remove_leaf(table, LEAF_TILES);
	remove_leaf(table, LEAF_TILE_MULTIPLY);
}

void cpuid_fit(struct cpuid_table *table, const struct cpuid_machine *machine)
{
	remove_unusable_tiles(table);
	/* The host's memory encryption: no guest of ours is one of its. */
	remove_leaf(table, LEAF_ENCRYPTED_MEMORY);
	if (!machine->nested)
		remove_leaf(table, LEAF_SVM);
	make_topology_leaf(table, 0xb);
	make_topology_leaf(table, 0x1f);
	remove_leaf(table, LEAF_CLOCK);
	if (machine->tsc_khz && cpuid_find(table, KVM_CPUID_SIGNATURE, 0))
		cpuid_add_entry(table, LEAF_CLOCK, 0, 0);
	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		for (size_t f = 0; f < ARRAY_SIZE(fits); f++)
			if (fits[f].function == e->function)
				fits[f].fit(e, machine);
	}
}

bool cpuid_has_five_levels(struct cpuid_table *table)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(table, 7, 0);

	return e && e->ecx & ECX7_LA57;
}

bool cpuid_is_of_caches(uint32_t function)
{
	return function == 0x2 || function == 0x4 || function == 0x8000001d;
}

void cpuid_carry(const struct cpuid_table *table, struct state *s)
{
	char text[64];

	state_section(s, "cpuid", 0);
	state_same(s, table->nent, "leaves of CPUID");
	for (uint32_t i = 0; i < table->nent && state_is_good(s); i++) {
		const struct kvm_cpuid_entry2 *ours = &table->entries[i];
		struct kvm_cpuid_entry2 e = *ours;

		state_raw(s, &e, sizeof(e));
		if (e.function == ours->function && (cpuid_is_of_caches(e.function) || !memcmp(&e, ours, sizeof(e))))
			continue;
		snprintf(text, sizeof(text), "this host's CPU is another (leaf %#x of CPUID)", ours->function);
		state_refuse(s, text);
	}
}
