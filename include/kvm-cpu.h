/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One virtual CPU and the thread that runs it.
 *
 * Life: vcpu_create() -> registers set through vcpu->fd (x86/cpu.c) ->
 * vcpu_start() -> vcpu_release() -> vcpu_kick() -> vcpu_join() -> vcpu_destroy(); all of
 * these on the main thread. The thread itself only runs KVM_RUN and register
 * handlers.
 */
#ifndef LKVM_KVM_CPU_H
#define LKVM_KVM_CPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct bus;
struct mem;
struct sandbox;
struct vm;

/* What the thread is asked to look at when it leaves KVM_RUN. */
#define VCPU_REQUEST_STOP   1u
#define VCPU_REQUEST_REPORT 2u	/* is this CPU halted for good? */
#define VCPU_REQUEST_PAUSED 4u	/* we were stopped: its watchdogs should know */
#define VCPU_REQUEST_PARK   8u	/* wait for vcpu_unpark() */
#define VCPU_REQUEST_NMI    16u /* give it one */

enum vcpu_report {
	VCPU_REPORT_NONE, /* not answered yet */
	VCPU_REPORT_ALIVE,
	VCPU_REPORT_DEAD, /* halted with interrupts off, or never started */
};

/* How many have parked since somebody set it to 0; @fd is an eventfd that tells of each. */
struct vcpu_park {
	atomic_uint nr;
	int fd;
};

struct vcpu {
	struct vm *vm; /* lent, as all pointers but run */
	struct bus *pio;
	struct bus *mmio;
	const struct mem *mem;
	unsigned int index; /* 0 is the boot CPU */
	int fd;
	int stats_fd; /* kvm-stats.h; -1 */
	struct kvm_run *run;
	bool started;
	pthread_t thread;
	atomic_int tid;		 /* of the thread, once it runs */
	struct sandbox *sandbox; /* lent to the thread */
	sem_t may_run;
	struct vcpu_park *park; /* lent, for VCPU_REQUEST_PARK */
	bool traps;		/* KVM_SET_GUEST_DEBUG may be used: KVM_EXIT_DEBUG parks it */
	bool trapped;		/* it has, and why. The thread's; whoever looks while it is parked */
	struct kvm_debug_exit_arch trap;
	atomic_uint requests;
	atomic_int report;	  /* enum vcpu_report */
	uint64_t stopped_offset;  /* x86/clocks.c: of its counter */
	bool ended;		  /* by an access to a port of its own. The thread's */
	uint64_t first_access_ns; /* to a device of ours; 0: none yet. The thread's */
};

/* @id is the APIC id. 0 or -errno, after a message. */
int vcpu_create(struct vcpu **out, struct vm *vm, unsigned int index, unsigned int id,
		struct bus *pio, struct bus *mmio, const struct mem *mem);

/* Accepts NULL; the thread must have been joined. */
void vcpu_destroy(struct vcpu *vcpu);

/*
 * Starts the thread, which confines itself and waits for vcpu_release() or the request to
 * stop. 0 or -errno.
 */
int vcpu_start(struct vcpu *vcpu, struct sandbox *sandbox);
void vcpu_release(struct vcpu *vcpu);

/*
 * Makes the thread look at @request soon, wherever it is: in the guest, in
 * KVM, in a handler or just before KVM_RUN. No wake-up is lost. Any thread,
 * while the vCPU exists.
 */
void vcpu_kick(struct vcpu *vcpu, unsigned int request);

/*
 * VCPU_REQUEST_PARK: once the guest's access to a device that is under way is complete the thread says
 * so in @park, and waits for vcpu_unpark(). The guest's watchdogs are told afterwards. It parks of its
 * own accord, too, when it traps. However often it was asked to meanwhile, it parks once.
 */
void vcpu_unpark(struct vcpu *vcpu);

/* Waits for the thread; it must have been asked to stop. */
void vcpu_join(struct vcpu *vcpu);

/* CPU time that the thread has used, in nanoseconds; changes if the vCPU ran at all. */
uint64_t vcpu_cpu_time_ns(const struct vcpu *vcpu);

/*
 * Installs the handler of the kick signal for the process and ignores nothing
 * else. Call once, before the first vcpu_start(). 0 or -errno.
 */
int vcpu_install_kick_handler(void);

#endif
