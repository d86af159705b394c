/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What signals ask for: one table says it of each. Whoever reads signals gets an order, and knows
 * of nothing else: the supervisor (sandbox/supervisor.h), which sends the VM's process what concerns
 * that, or, without one, the VM's process itself (signals.h).
 *
 *	signals -> supervisor -> orders on a socket -> VM	with a PID namespace
 *	signals -----------------------------------> VM		without
 *
 * All functions: the main thread.
 */
#ifndef LKVM_SIGNAL_SOURCE_H
#define LKVM_SIGNAL_SOURCE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct signalfd_siginfo;

enum order_kind {
	ORDER_NONE,
	ORDER_END,     /* the VM, with the status of signal @arg */
	ORDER_TIMEOUT, /* --timeout, if the VM does not run yet */
	ORDER_REOPEN_LOG,
	ORDER_SUSPEND,	 /* the job */
	ORDER_CONTINUED, /* it was stopped, and goes on */
	ORDER_RESIZED,	 /* the terminal's window */
	ORDER_TERMINAL,	 /* @arg: enum tty_state, of the terminal we have input from */
	ORDER_CHILD,	 /* one has changed its state */
	/* From the VM to the supervisor, ORDER_SUSPEND too. */
	ORDER_READY,   /* orders are read from now on */
	ORDER_LOOK,    /* at the terminal: is it ours? tell */
	ORDER_RELEASE, /* the terminal, for good */
	ORDER_ENDED,   /* none: the guest has ended in order, and its disks are waited for */
	ORDER_NR_KINDS,
};

/* As it crosses the socket. */
struct order {
	uint8_t kind; /* enum order_kind */
	uint8_t arg;
};

struct signal_source {
	int fd;	      /* a signalfd, non-blocking; -1 */
	int terminal; /* the one that controls us, to see it hang up; -1: none */
	bool has_log; /* SIGHUP may ask to open it again */
};

enum signal_reader {
	SIGNALS_SUPERVISOR,
	SIGNALS_VM,	       /* the only process there is */
	SIGNALS_SUPERVISED_VM, /* what its own process was sent, other than the job */
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

#endif
