/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A command beside the first one that no command line asks for: a container's (oci/exec.c). Its streams
 * are this process's; signals that would end this process are passed on to it. Main thread.
 */
#ifndef LKVM_CMD_EXEC_H
#define LKVM_CMD_EXEC_H

#include <stdbool.h>
#include <stddef.h>

#include "guest/protocol.h"

/* A container that joins those in the VM, instead of a command in one of them. */
struct exec_new {
	struct protocol_in in;
	const void *more; /* its messages (PROTOCOL_EXEC_MORE) */
	size_t more_bytes;
	/*
	 * Its holder's, at whose other end this process is what a VM would be (guest/gate.h); lent. Ready when all
	 * of it has been told; until then messages are not on its stderr.
	 */
	int gate;
};

struct exec_lent {
	const char *name; /* of the VM, for messages */
	int fd;		  /* a stream of frames to it, to be closed at the end */
	const void *plan; /* struct protocol_exec and what follows it (guest/protocol.h) */
	size_t plan_bytes;
	bool terminal;			       /* it gets one; our own is raw meanwhile */
	const char *container;		       /* that it is in; NULL: the first one */
	const struct exec_new *new;	       /* it is a container itself; or NULL */
	void (*started)(void *arg, int error); /* errno: its program does not run, and the end follows. Or NULL */
	void *arg;
};

/* Until its end: its status; 137 if the VM ended before, EXIT_LOST if it lies. */
int exec_run_lent(const struct exec_lent *lent);

#endif
