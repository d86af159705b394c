/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The walls around the VM, for the case that a guest takes over this process.
 *
 *	sandbox_enter()      the whole process, once, when everything is open: namespaces
 *	                     (user, mount with an empty root, IPC, network), Landlock,
 *	                     limits, no capabilities, no_new_privs, no dumps
 *	sandbox_confine()    each thread, before it does anything else: only the system
 *	                     calls of its kind are left
 *
 * What the host refuses is left out, except with SANDBOX_STRICT. Builds with sanitizers
 * give up capabilities and no more: sanitizers open files and start threads.
 */
#ifndef LKVM_SANDBOX_H
#define LKVM_SANDBOX_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

enum sandbox_mode {
	SANDBOX_OFF,
	SANDBOX_ON,
	SANDBOX_STRICT,		/* everything, or the VM does not start */
};

/* What a thread or process is for; its system calls are listed in sandbox-filters.c. */
enum sandbox_kind {
	SANDBOX_LOOP,
	SANDBOX_VCPU,
	SANDBOX_WORKER,
	SANDBOX_STORE,
	SANDBOX_KEEPER,
	SANDBOX_NR_KINDS,
};

#define SANDBOX_EXIT_STATUS 125	/* after a forbidden call: EXIT_LKVM */

/* ---- for sandbox-filters.c ---- */

#define SANDBOX_MAX_CALLS 30u	/* in one filter */
/* Stands in a filter for the id of the process, until it is installed. */
#define SANDBOX_OWN_PID 0x7f1d0b1du

/* ---- */

struct sandbox {
	enum sandbox_mode mode;
	bool filters;			/* this host has them */
	sem_t confined;			/* one post for each thread that has its filter */
	atomic_int error;		/* -errno of one that has not */
};

void sandbox_init(struct sandbox *s, enum sandbox_mode mode);
void sandbox_fini(struct sandbox *s);

/*
 * On the only thread there is: namespaces and capabilities belong to threads; those
 * started later inherit. Nothing can be opened afterwards. @restore_terminal is called, in
 * a signal handler, when a thread has made a system call that it may not make, before the
 * process ends with status 125. 0 or -errno, after a message.
 */
int sandbox_enter(struct sandbox *s, void (*restore_terminal)(void));

/*
 * Installs the filter of @kind on this thread and, other than for SANDBOX_LOOP, tells
 * sandbox_wait(). 0 or -errno, after a message.
 */
int sandbox_confine(struct sandbox *s, enum sandbox_kind kind);

/* Waits for @nr threads to have confined themselves: 0, or -errno if one could not. */
int sandbox_wait(struct sandbox *s, unsigned int nr);

/*
 * For a process of our own beside the VM, in that process: no capabilities (the keeper has
 * those of the user) and the filter of @kind. 0 or -errno.
 */
int sandbox_confine_helper(struct sandbox *s, enum sandbox_kind kind);

#ifdef SANDBOX_HOOK
void sandbox_hook(const char *place);	/* tests/lib/hook.c */
#endif

/* ---- for `lkvm check` ---- */

#define SANDBOX_MAX_LAYERS 8u

/*
 * Tries every layer in a process of its own: 0 or -errno for each in @errors. Returns how
 * many there are, 0 if there can be no such process.
 */
unsigned int sandbox_probe(int errors[SANDBOX_MAX_LAYERS]);
const char *sandbox_layer_name(unsigned int layer);
const char *sandbox_layer_key(unsigned int layer);	/* in --json */

#endif
