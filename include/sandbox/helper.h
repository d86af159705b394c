/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Processes of lkvm's own beside the VM, for the little that has to open files while a
 * guest runs. A guest that takes over the VM's process cannot reach them: they share
 * no memory with it and take no other order than a byte.
 *
 * A helper has stderr, a socket to the VM's process and the descriptors it was given, and
 * is deaf to all signals but SIGKILL: it ends when its function returns, which
 * has to be soon after the socket's other end is closed.
 */
#ifndef LKVM_SANDBOX_HELPER_H
#define LKVM_SANDBOX_HELPER_H

#include <stdbool.h>

#define HELPER_MAX_FDS 16u

/*
 * Runs @fn in a process of its own, named @name, with the socket and @arg. @fds (up to HELPER_MAX_FDS,
 * lent) stay open in it. On the only thread there is, since the process goes on with a copy of
 * everything but guest memory. The socket's end of the caller, or -errno.
 */
int helper_start(const char *name, void (*fn)(int socket, void *arg), void *arg, const int *fds,
		 unsigned int nr_fds);

/* In the helper: the caller has sent something, or is gone (closed @socket). Does not wait. */
bool helper_is_called(int socket);

/* In the helper: waits for the next order. False when the caller is gone. */
bool helper_next(int socket, char *order);

/* One byte, the order; does not wait. False if it did not get there. */
bool helper_call(int socket, char order);

/*
 * A last order. Waits until the process has ended, but not if that did not get there, and closes
 * @socket. False if it takes longer than @patience_ms: a file system that does not answer keeps it.
 */
bool helper_end(int socket, char order, unsigned int patience_ms);

#endif
