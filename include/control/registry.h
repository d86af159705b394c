/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where running VMs are found: a directory of the user's own in which each VM has two files.
 *
 *	NAME.lock	locked (flock(2)) by the VM's processes, so the lock is gone when they are,
 *			whatever ended them. In it: the process that was started, and how it ended.
 *	NAME.sock	the VM's socket (control/server.h)
 *
 * The directory is lkvm in $XDG_RUNTIME_DIR if that is the user's own; otherwise /run/lkvm for root
 * and /tmp/lkvm-UID for others. Nobody else may look into it.
 *
 * All functions: the main thread.
 */
#ifndef LKVM_CONTROL_REGISTRY_H
#define LKVM_CONTROL_REGISTRY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "socket-name.h"

#define REGISTRY_MAX_NAME_BYTES 64u
#define REGISTRY_MAX_VMS	4096u

struct registry {
	int fd; /* of the directory; -1: not open */
	char path[PATH_MAX];
};

#define REGISTRY_CLOSED \
	{ \
		.fd = -1 \
	}

/*
 * Opens the directory, and makes it if @make is set and it is not there. 0; -ENOENT; -EPERM if it is
 * not the user's own or others may look into it; another -errno. registry_close() in any case.
 */
int registry_open(struct registry *r, bool make);
void registry_close(struct registry *r);

/*
 * Letters, digits, '-', '_' and '.', at most REGISTRY_MAX_NAME_BYTES of them. None begins with '-': where a name may
 * stand an option may.
 */
bool registry_is_name(const char *name);

/* ---- for the VM ---- */

struct registry_entry {
	int lock;      /* -1: none. Stays open in each process that is to be waited for */
	int directory; /* only in the process that removes the files; otherwise -1 */
	pid_t pid;
	char name[REGISTRY_MAX_NAME_BYTES + 1];
	char lock_path[PATH_MAX], socket_path[PATH_MAX];
	struct socket_name lock_name;
};

#define REGISTRY_NO_ENTRY \
	{ \
		.lock = -1, .directory = -1 \
	}

/*
 * Takes @name, or, without one, lkvm-PID or the like, and with it the directory that is open. 0;
 * -EEXIST: another VM has the name; another -errno if there cannot be an entry. The socket is the
 * caller's to make.
 */
int registry_claim(struct registry_entry *e, struct registry *r, const char *name);

/* Others remove the files. */
void registry_give_away(struct registry_entry *e);

/*
 * Tells what registry_get_status() is to say, removes the files if they were not given away, and gives
 * the lock back as far as this process has it. The supervisor and the loop may do so behind their filters.
 */
void registry_leave(struct registry_entry *e, int status);

/* ---- for others ---- */

struct registry_vm {
	int lock; /* -1: none */
	pid_t pid;
	char name[REGISTRY_MAX_NAME_BYTES + 1];
	char socket_path[PATH_MAX];
};

/*
 * A VM that runs: 0. -ENOENT if there is none; what one that died has left is removed then. Another -errno: it
 * cannot be told.
 */
int registry_find(struct registry_vm *vm, const struct registry *r, const char *name);
void registry_forget(struct registry_vm *vm);

/*
 * The names of what may be VMs, sorted, for the caller to free, each and all: how many, or -errno.
 * registry_find() tells which of them run.
 */
int registry_list(const struct registry *r, char ***names);

/* All its processes are gone. Waits until @deadline (of now_ns()) at most; 0: as long as it takes. */
bool registry_wait(const struct registry_vm *vm, uint64_t deadline);

/* Of a VM that is gone: its exit status, or -1 if it had no time to tell. */
int registry_get_status(const struct registry_vm *vm);

#endif
