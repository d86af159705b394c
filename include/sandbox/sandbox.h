/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The walls around the VM, for the case that a guest takes over this process.
 *
 *	sandbox_separate()   a PID namespace, for a child to run the VM
 *	sandbox_build()      namespaces made by that child's parent, for both
 *	sandbox_enter()      the whole process, once, when everything is open: namespaces
 *	                     (user, mount with an empty root, IPC, network), Landlock,
 *	                     limits, no capabilities, no_new_privs, no dumps
 *	sandbox_confine()    each thread, before it does anything else: only the system
 *	                     calls of its kind are left
 *
 * What the host refuses is left out, except with SANDBOX_STRICT. Builds with sanitizers
 * give up capabilities and no more: sanitizers open files and start threads.
 */
#ifndef LKVM_SANDBOX_SANDBOX_H
#define LKVM_SANDBOX_SANDBOX_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum sandbox_mode {
	SANDBOX_ON,
	SANDBOX_OFF,
	SANDBOX_STRICT, /* everything, or the VM does not start */
};

/* What a thread or process is for; its system calls are listed in sandbox/filters.c. */
enum sandbox_kind {
	SANDBOX_LOOP,
	SANDBOX_LOOP_GDB, /* ... of a VM that gdb may debug, whose registers it sets */
	SANDBOX_VCPU,
	SANDBOX_WORKER,
	SANDBOX_STORE,
	SANDBOX_BROKER,
	SANDBOX_SUPERVISOR,
	SANDBOX_RESULTS,
	SANDBOX_FILES,
	SANDBOX_HOLDER, /* of a container: oci/holder.c */
	SANDBOX_NR_KINDS,
};

#define SANDBOX_EXIT_STATUS 125 /* after a forbidden call: EXIT_LKVM */

/* ---- for sandbox/filters.c ---- */

#define SANDBOX_MAX_CALLS 30u /* in one filter; ioctl(2) is one, however many requests are allowed */
/* Stands in a filter for the id of the process, until it is installed. */
#define SANDBOX_OWN_PID 0x7f1d0b1du

/* ---- */

struct sandbox {
	enum sandbox_mode mode;
	bool user_entered; /* by sandbox_separate() */
	int builder;	   /* pidfd of who has called sandbox_build(); -1: nobody */
	uint32_t built;	   /* its namespaces: CLONE_* */
	bool filters;	   /* this host has them */
	sem_t confined;	   /* one post for each thread that has its filter */
	atomic_int error;  /* -errno of one that has not */
};

void sandbox_init(struct sandbox *s, enum sandbox_mode mode);
void sandbox_fini(struct sandbox *s);

/*
 * Makes a PID namespace, which the next child is born in: the rest happens there (sandbox/supervisor.h), and
 * sandbox_enter(), too. 1 if there is one, 0 if not, -errno after a message. Files may still be
 * opened, with the rights and the user id of before.
 */
int sandbox_separate(struct sandbox *s);

/*
 * In the process in front: makes those namespaces that another process can join, which takes about
 * as long as creating a machine takes the other. They are in *built (CLONE_*). 0 or -errno, after a
 * message.
 */
int sandbox_build(struct sandbox *s, uint32_t *built);

/*
 * On the only thread there is: namespaces and capabilities belong to threads; those
 * started later inherit. Nothing can be opened afterwards. A thread that makes a system call
 * that it may not make (status 125) or calls abort() (134) ends the process, after the terminal
 * has its mode back. 0 or -errno, after a message.
 */
int sandbox_enter(struct sandbox *s);

/*
 * Installs the filter of @kind on this thread and, other than for a loop's, tells
 * sandbox_wait(). 0 or -errno, after a message.
 */
int sandbox_confine(struct sandbox *s, enum sandbox_kind kind);

/* Waits for @nr threads to have confined themselves: 0, or -errno if one could not. */
int sandbox_wait(struct sandbox *s, unsigned int nr);

/* A directory, and what may be done below it; of it, not to it. */
struct sandbox_folder {
	int fd;
	enum {
		SANDBOX_READ = 1,	 /* list, read */
		SANDBOX_WRITE = 2,	 /* files, directories, links: make, write, move, remove */
		SANDBOX_REMOVE_DIRS = 4, /* empty ones */
	} rights;
};

/*
 * For a process of our own beside the VM, in that process, before sandbox_confine_helper(): of all that
 * there is in file systems nothing is left but this, and no privileges are to be had. 0, or -errno
 * after a message; what the host does not have is left out as with sandbox_enter().
 */
int sandbox_keep_folders(struct sandbox *s, const struct sandbox_folder *folders, unsigned int nr);

/*
 * For a process of our own beside the VM, in that process: no capabilities (those that make or open
 * the user's files have the user's; who only reads them has one) and the filter of @kind. 0 or -errno.
 */
int sandbox_confine_helper(struct sandbox *s, enum sandbox_kind kind);

/* This process has no capabilities any more, and no program gives it any. 0 or -errno. */
int sandbox_drop_capabilities(void);

#ifdef SANDBOX_HOOK
void sandbox_hook(const char *place); /* tests/lib/hook.c */
#endif

/* ---- for `lkvm check` ---- */

#define SANDBOX_MAX_LAYERS 9u

/*
 * Tries every layer in a process of its own: 0 or -errno for each in @errors. Returns how
 * many there are, 0 if there can be no such process.
 */
unsigned int sandbox_probe(int errors[SANDBOX_MAX_LAYERS]);
const char *sandbox_layer_name(unsigned int layer);
const char *sandbox_layer_key(unsigned int layer); /* in --json */

/* The current folder, a mount of its own, becomes the root of this mount namespace. 0 or -errno. */
int sandbox_change_root(void);

#endif
