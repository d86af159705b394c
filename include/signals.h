/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Signals as events of the VM's process: orders (signal-source.h), from the supervisor or from
 * signals of its own, become calls of its client. The terminal's mode and the job belong to the
 * supervisor; without one, to this side.
 *
 * All functions: the main thread.
 */
#ifndef LKVM_SIGNALS_H
#define LKVM_SIGNALS_H

#include <stdbool.h>

#include "tty.h"

struct event_loop;
struct supervisor;

struct signals;

struct signals_client {
	void (*end)(void *arg, int signal);
	void (*timed_out)(void *arg);
	void (*reopen_log)(void *arg);
	void (*continued)(void *arg);
	void (*resized)(void *arg);
	void (*terminal)(void *arg, enum tty_state state);
	void *arg;
};

/*
 * Signals arrive from now on, as calls of @client on the loop. Before the sandbox. @tty: our input.
 * 0 or -errno.
 */
int signals_start(struct signals **out, struct event_loop *loop, struct supervisor *supervisor, int tty,
		  bool has_log, const struct signals_client *client);

/* Accepts NULL; the terminal has been released. */
void signals_stop(struct signals *s);

/* Looks at the terminal, takes it if it is ours, and tells the client, also later on. */
void signals_take_terminal(struct signals *s);

/* Accepts NULL. Gives it back, for good; it has its old mode when this returns. */
void signals_release_terminal(struct signals *s);

/* Stops the job. */
void signals_suspend(struct signals *s);

#endif
