/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a vCPU's registers are while the machine is paused: for who shows, changes or stores them.
 *
 * All functions: the loop's thread, while the vCPU's is parked (machine_pause()), since KVM would have
 * it wait for a vCPU that runs.
 */
#ifndef LKVM_X86_REGISTERS_H
#define LKVM_X86_REGISTERS_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "x86/page-walk.h"

struct mem;
struct vcpu;

struct registers {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;	    /* x87 and SSE, as FXSAVE has them */
	struct kvm_debugregs debug; /* as the guest sees them */
	uint64_t kernel_gs_base;    /* MSR_KERNEL_GS_BASE: the other one of SWAPGS */
	uint32_t mp_state;	    /* KVM_MP_STATE_* */
};

/* 0 or -errno. */
int registers_read(struct registers *r, const struct vcpu *vcpu);

/* "running", "halted" (by HLT), "waiting" (for another CPU to start it). */
const char *registers_word(const struct registers *r);

/* How addresses are translated in it; @mem is lent. */
void registers_walk(const struct registers *r, const struct mem *mem, struct page_walk *walk);

/*
 * Registers as a list of numbers, in the order of registers_names(), which ends with NULL: what
 * `lkvm debug --regs` is told of a VM. Without those of the FPU.
 */
#define REGISTERS_NUMBERS 68u
const char *const *registers_names(void);
void registers_list(const struct registers *r, uint64_t numbers[REGISTERS_NUMBERS]);

/* Them as lines for a reader; cut off if they need more than @room (2 KiB are enough). */
void registers_format(char *text, size_t room, const uint64_t numbers[REGISTERS_NUMBERS]);

#endif
