/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The supervisor: the process in front of the VM's.
 *
 * A process cannot enter a PID namespace, only its children are born in one. So where the
 * sandbox has such a namespace the process that was started stays outside and the VM runs in
 * its child: the first process of a namespace in which there is nobody to signal, trace or look at.
 * The supervisor has given up everything but signals, the job and the terminal's mode. It
 * reads signals and sends orders (signal-source.h), stops when the VM's user stops the job, takes the
 * VM with it if it is killed, keeps the VM's report for whoever writes it down, and
 * ends with the VM's status.
 *
 *	to the VM	on a socket: the namespaces that were made for it meanwhile, then orders
 *	from the VM	on the same: orders (ready; stop the job; look at the terminal, give it
 *			back), a report; its end
 *
 * Without the namespace there is no supervisor: supervisor_is_there() is false, supervisor_send() too, and
 * whoever asks does the work itself. All of them: the main thread.
 *
 * Sources: pid_namespaces(7), PR_SET_PDEATHSIG in prctl(2).
 */
#ifndef LKVM_SANDBOX_SUPERVISOR_H
#define LKVM_SANDBOX_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "signal-source.h"

struct sandbox;

#define SUPERVISOR_MAX_REPORT_BYTES 160u
#define SUPERVISOR_MAX_KEPT	    4u

/* What the supervisor knows of the run. */
struct supervisor_config {
	int tty; /* our input; -1: none */
	bool has_log;
	uint64_t grace_ns;		   /* so much longer may the VM take after the first SIGTERM */
	int keep_fds[SUPERVISOR_MAX_KEPT]; /* stay open in it; -1: none */
};

/* How the VM ended. */
struct supervisor_end {
	int status;	     /* to end with */
	int signal;	     /* that ended it or its process; 0: none */
	bool timed_out;	     /* before it ran */
	bool ended;	     /* by its user's signal, before it ran */
	bool left;	     /* it did not end in time, and is left to the kernel */
	size_t report_bytes; /* of its report; 0: it had no chance to send one */
	uint8_t report[SUPERVISOR_MAX_REPORT_BYTES];
};

struct supervisor {
	int socket; /* to the supervisor; -1: there is none */
};

void supervisor_init(struct supervisor *f);

/*
 * Goes on in a child, if the sandbox has it: 0 in the VM's process; 1 in the supervisor,
 * when the VM has ended as @end tells; everything else there is closed by then. -errno after a
 * message. On the only thread there is; descriptors stay with the VM.
 */
int supervisor_separate(struct supervisor *f, struct sandbox *s, const struct supervisor_config *config,
			struct supervisor_end *end);

/* There is a supervisor, and this is the VM's process. */
bool supervisor_is_there(const struct supervisor *f);

/*
 * Waits for the namespaces that the supervisor makes; before sandbox_enter(). 0 or -errno,
 * after a message, of the supervisor's if it has gone.
 */
int supervisor_wait(const struct supervisor *f, struct sandbox *s);

/* Sends an order to the supervisor. False without one. */
bool supervisor_send(const struct supervisor *f, enum order_kind kind);

/* The next order of the supervisor's. 0, -EAGAIN, or -EPIPE: it is gone or, after a message, cannot be heard. */
int supervisor_recv(const struct supervisor *f, struct order *order);

/* Readable when there is one. */
int supervisor_fd(const struct supervisor *f);

/*
 * Sends @bytes as the VM's report: more than an order has, SUPERVISOR_MAX_REPORT_BYTES at most. False
 * without a supervisor.
 */
bool supervisor_report(const struct supervisor *f, const void *report, size_t bytes);

void supervisor_fini(struct supervisor *f);

#endif
