/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a guest ended: what lkvm can know of it.
 *
 * A Linux kernel that panics resets the machine (panic=-1), as an orderly reboot does. Three
 * things tell them apart, and each is looked at here:
 *
 *	words		what it said on any of its consoles
 *	shutdown	what it had switched off when the end came: a kernel that reboots or
 *			halts switches off its interrupt lines and KVM's clock, one that
 *			panics switches off nothing
 *	halted		nothing can ever happen again: every CPU halted with interrupts off
 *			or never started. So end kernels that have no means to switch off
 *			(acpi=off), and those that give up early in their boot
 *
 * What follows from them is decided in cmd/report.c.
 */
#ifndef LKVM_X86_END_WATCH_H
#define LKVM_X86_END_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvm.h"
#include "x86/oops-watch.h"

struct event_loop;
struct vcpu;
struct vm;

#define HALT_TICK_NS 500000000ull

/* The last that the guest said about its end, on any console. */
enum last_words {
	WORDS_NONE,
	WORDS_PANIC,   /* "Kernel panic - not syncing" */
	WORDS_RESTART, /* "reboot: Restarting system" */
	WORDS_HALT,    /* "reboot: System halted" and its like */
};

/*
 * One console's output, as it comes: nothing of it is kept but the line that is coming, which may
 * be a report, and how far it agrees with the messages that are looked for. A message begins a line or follows printk's stamp, which may
 * stand anywhere: the cursor is where the last program left it.
 */
struct console_watch {
	struct oops_watch oops;
	atomic_int *words;  /* enum last_words; shared by all consoles */
	uint8_t stamp;	    /* how much of a stamp has come */
	uint8_t compared;   /* bytes since a message may have begun */
	uint8_t candidates; /* messages that agree with all of them, a bit each */
};

void console_watch_init(struct console_watch *watch, atomic_int *words);

/* Looks at output of this console. One thread at a time. */
void console_watch_put(struct console_watch *watch, const char *data, size_t len);

/* What the guest had switched off at its end. */
enum shutdown {
	SHUTDOWN_UNKNOWN, /* it had never used any of it */
	SHUTDOWN_NO_OS,	  /* not an operating system: nothing to be expected of it */
	SHUTDOWN_DONE,	  /* everything that it had used */
	SHUTDOWN_SKIPPED, /* not its clock, or not its interrupt lines */
};

/* What shutdown is judged by. */
struct shutdown_traces {
	bool has_idt;	       /* it has loaded an interrupt table: an operating system */
	bool clock_used;       /* KVM's clock, ever */
	bool clock_on;	       /* ... still, on the CPU that asked for the reset */
	bool lines_used;       /* an interrupt controller, ever */
	unsigned int lines_on; /* lines of theirs that are not masked */
};

/* Pure. @halted: all CPUs have; those leave the clock on. */
enum shutdown shutdown_judge(const struct shutdown_traces *traces, bool halted);

struct end_watch {
	struct vm *vm;		   /* lent */
	struct vcpu *const *vcpus; /* lent */
	unsigned int nr_vcpus;
	uint64_t cpu_time_ns;		     /* of all vCPUs, at the last tick */
	bool asked;			     /* the vCPUs were asked to report */
	atomic_int words;		     /* enum last_words */
	struct console_watch serial, virtio; /* ttyS0, hvc0 */
};

/* Before the consoles exist. */
void end_watch_init(struct end_watch *watch);

/* Notices from now on, on the loop's thread, that all CPUs have halted. 0 or -errno. */
int end_watch_start(struct end_watch *watch, struct event_loop *loop, struct vm *vm,
		    struct vcpu *const *vcpus, unsigned int nr_vcpus);

/* Any thread. */
enum last_words end_watch_words(struct end_watch *watch);

/* The first report of trouble on any console, or "". After vCPUs were joined. */
const char *end_watch_oops(const struct end_watch *watch);

/* After vCPUs were joined, whose state it reads. @reason: why the VM stopped; @is_kernel: not a flat image. */
enum shutdown end_watch_shutdown(const struct end_watch *watch, enum stop_reason reason, bool is_kernel);

#endif
