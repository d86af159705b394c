/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All of a vCPU, and of KVM's interrupt controllers and clocks, as a guest can observe it.
 *
 * It is taken from KVM into structs of fixed size and back. Taking changes nothing; no vCPU runs
 * meanwhile. All functions: the main thread, which is the loop's.
 */
#ifndef LKVM_X86_CPU_STATE_H
#define LKVM_X86_CPU_STATE_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct state;
struct vcpu;
struct vm;

#define CPU_STATE_MAX_MSRS  512u
#define CPU_STATE_MAX_XSAVE 16384u /* with the tiles of AMX it is 11 KiB */

/* What this host's KVM can tell of a vCPU. */
struct cpu_host {
	uint32_t xsave_bytes;
	uint32_t nr_msrs;
	uint32_t msrs[CPU_STATE_MAX_MSRS];
};

struct cpu_state {
	struct kvm_mp_state mp;
	struct kvm_regs regs;
	struct kvm_sregs2 sregs;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debug;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	uint64_t tsc;	    /* what it read when it was saved */
	uint64_t tsc_ahead; /* of the boot CPU's, modulo 2^64 */
	uint32_t nr_msrs;
	struct kvm_msr_entry msrs[CPU_STATE_MAX_MSRS];
	uint8_t xsave[CPU_STATE_MAX_XSAVE];
};

/* 0, or -ENOTSUP after a message: this host's kernel is too old. */
int cpu_host_init(struct cpu_host *host, struct vm *vm);

/*
 * In the order of CPUs from 0 on; @boot_offset is what the first of them has found. 0 or -errno; *step says
 * what failed.
 */
int cpu_state_get(struct vcpu *vcpu, const struct cpu_host *host, struct cpu_state *cpu,
		  uint64_t *boot_offset, const char **step);
int cpu_state_set(struct vcpu *vcpu, const struct cpu_host *host, struct cpu_state *cpu,
		  uint64_t *boot_offset, const char **step);

/* The guest's time stamp counter, as it is. 0 or -errno. */
int cpu_state_tsc(struct vcpu *vcpu, uint64_t *now);

/* Its bytes (state.h); what is loaded has the sizes of @host. */
void cpu_state_carry(struct cpu_state *cpu, const struct cpu_host *host, struct state *s);

/*
 * A deadline that has just expired is gone from its register, and its interrupt may be nowhere yet.
 * Then it is set once more: a tick too many harms nobody.
 */
void cpu_state_keep_deadline(struct cpu_state *cpu);

/*
 * 8259s, I/O APIC, 8254 if there is one, and the paravirtual clock. They are taken before CPUs, so that an
 * interrupt on its way between them is in both rather than in neither, and set after them, whom they
 * interrupt.
 */
#define CHIPS_NR 3u

struct chips_state {
	struct kvm_irqchip chips[CHIPS_NR];
	struct kvm_pit_state2 pit;
	uint64_t clock_ns;
};

/* Its timer is this one. */
void chips_use_pit(struct chips_state *chips, const struct kvm_pit_state2 *pit);

int chips_get(struct vm *vm, bool pit, struct chips_state *chips, const char **step);
int chips_set(struct vm *vm, bool pit, struct chips_state *chips, const char **step);
void chips_carry(struct chips_state *chips, bool pit, struct state *s);

#endif
