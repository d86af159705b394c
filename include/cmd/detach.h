/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `lkvm run --detach`: the run goes on in the background, in a session of its own and without
 * anything that the caller has open. The process that was started stays in front until the guest runs: it
 * passes on messages and signals, prints the VM's name, and ends; or it ends as the run has, before.
 *
 * All functions: the main thread.
 */
#ifndef LKVM_CMD_DETACH_H
#define LKVM_CMD_DETACH_H

#include <stdbool.h>

struct detach {
	int fd; /* to who waits in front; -1: nobody does */
};

#define DETACH_NONE \
	{ \
		.fd = -1 \
	}

/*
 * Before any file or thread is there. False: this is the background, whose stdin (unless the run
 * reads it: @keep_stdin) and stdout are empty. True: this is the front, and all is over: *status is what
 * to end with.
 */
bool detach_start(struct detach *d, bool keep_stdin, int *status);

/* What was kept of stdin is not needed any more. */
void detach_close_stdin(void);

/*
 * In the background: the guest runs, and is found as @name. False if nobody is in front any more,
 * who would know of it. Makes only calls that the loop may make.
 */
bool detach_tell(struct detach *d, const char *name);

#endif
