/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's clocks, stopped and started again: what a machine that is paused does to them.
 *
 * While a machine is paused no time passes for its guest: CLOCK_MONOTONIC, the time stamp counter and
 * the 8254 go on where they were. Timers whose time came meanwhile by the host's clocks are early once,
 * which every guest has to bear. The real-time clock is the host's and goes on: it tells a guest
 * that asks how late it is.
 *
 * A KVM that cannot set back a time stamp counter (before Linux 5.16) has all of them go on, so
 * that they agree.
 */
#ifndef LKVM_X86_CLOCKS_H
#define LKVM_X86_CLOCKS_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct vcpu;
struct vm;

struct clocks {
	bool stopped;
	bool has_pit;
	uint64_t tsc;	      /* the host's, when they were stopped */
	uint64_t ns;	      /* KVM's clock of the guest */
	uint64_t realtime_ns; /* the host's, then */
	struct kvm_pit_state2 pit;
};

/* Every vCPU is out of KVM_RUN, until clocks_start() has returned. Any thread that may ask KVM. */
void clocks_stop(struct clocks *c, const struct vm *vm, struct vcpu *const *vcpus, unsigned int nr);

/* The host's CLOCK_REALTIME. */
uint64_t clocks_realtime(void);

/* Of the host's time stamp counter since then. */
uint64_t clocks_gone(const struct clocks *c);

/* Does nothing if they are not stopped. */
void clocks_start(struct clocks *c, const struct vm *vm, struct vcpu *const *vcpus, unsigned int nr);

#endif
