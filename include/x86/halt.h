/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Notices that nothing can ever happen again in a machine: every CPU is halted
 * with interrupts off or was never started. Kernels end that way when they have
 * no means to switch off (acpi=off), and when they give up early in their boot.
 */
#ifndef LKVM_X86_HALT_H
#define LKVM_X86_HALT_H

#include <stdbool.h>
#include <stdint.h>

struct event_loop;
struct vcpu;
struct vm;

#define HALT_TICK_NS 500000000ull

struct halt_watch {
	struct vm *vm;
	struct vcpu *const *vcpus;	/* lent */
	unsigned int nr_vcpus;
	uint64_t cpu_time_ns;		/* of all vCPUs, at the last tick */
	bool asked;			/* the vCPUs were asked to report */
};

/* Watches from now on, on the loop's thread. 0 or -errno. */
int halt_watch_start(struct halt_watch *watch, struct event_loop *loop, struct vm *vm,
		     struct vcpu *const *vcpus, unsigned int nr_vcpus);

#endif
