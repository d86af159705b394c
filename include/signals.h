/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Signals as orders.
 *
 * One table says what each signal asks for. Whoever reads signals gets an order, and knows of
 * nothing else: the supervisor (sandbox/supervisor.h), which sends the VM's process what concerns that, or,
 * without one, the VM's process itself.
 *
 *	signals -> supervisor -> orders on a socket -> VM	with a PID namespace
 *	signals -----------------------------------> VM		without
 *
 * struct signals is the VM's side: orders from either become calls of its client. The terminal's
 * mode and the job belong to the supervisor; without one, to this side.
 *
 * All functions: the main thread.
 */
#ifndef LKVM_SIGNALS_H
#define LKVM_SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "tty.h"

struct event_loop;
struct front;
struct signalfd_siginfo;

enum order_kind {
	ORDER_NONE,
	ORDER_END,		/* the VM, with the status of signal @arg */
	ORDER_TIMEOUT,		/* --timeout, if the VM does not run yet */
	ORDER_REOPEN_LOG,
	ORDER_SUSPEND,		/* the job */
	ORDER_CONTINUED,	/* it was stopped, and goes on */
	ORDER_RESIZED,		/* the terminal's window */
	ORDER_TERMINAL,		/* @arg: enum tty_state, of the terminal we have input from */
	ORDER_CHILD,		/* one has changed its state */
	/* From the VM to the supervisor, ORDER_SUSPEND too. */
	ORDER_READY,		/* orders are read from now on */
	ORDER_LOOK,		/* at the terminal: is it ours? tell */
	ORDER_RELEASE,		/* the terminal, for good */
	ORDER_NR_KINDS,
};

/* As it crosses the socket. */
struct order {
	uint8_t kind;		/* enum order_kind */
	uint8_t arg;
};

/* ---- reading signals ---- */

struct signal_source {
	int fd;			/* a signalfd, non-blocking; -1 */
	int terminal;		/* the one that controls us, to see it hang up; -1: none */
	bool has_log;		/* SIGHUP may ask to open it again */
};

enum signal_reader {
	SIGNALS_SUPERVISOR,
	SIGNALS_VM,		/* the only process there is */
	SIGNALS_SUPERVISED_VM,	/* what its own process was sent, other than the job */
};

/*
 * Blocks the signals of @reader, for good, and opens the source; also with an error. Those that
 * end a VM and that our parent ignores (nohup) stay ignored. 0 or -errno.
 */
int signal_source_open(struct signal_source *s, enum signal_reader reader, bool has_log);
void signal_source_close(struct signal_source *s);

/* The next order; of ORDER_NONE if there is none. */
struct order signal_source_next(struct signal_source *s);

/* What @info asks for. @hung_up: our terminal has. */
struct order signal_order(const struct signalfd_siginfo *info, bool has_log, bool hung_up);

/*
 * Stops the job, as Ctrl-Z does, and returns when it goes on (or at once if it cannot be stopped).
 * SIGTSTP has to be blocked.
 */
void signal_stop_job(void);

/* ---- the VM's side ---- */

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
int signals_start(struct signals **out, struct event_loop *loop, struct front *front, int tty,
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
