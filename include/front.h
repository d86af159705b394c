/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The process in front of the VM's.
 *
 * A process cannot enter a PID namespace, only its children are born in one. So where the
 * sandbox has such a namespace the process that was started stays outside and the VM runs in
 * its child: the first process of a namespace in which there is nobody to signal, trace or look at.
 * The process in front has given up everything but its signals. It passes them on, stops when
 * the VM's user stops the job, takes the VM with it if it is killed, gives the
 * terminal its mode back if the VM dies, and ends with the VM's status.
 *
 *	to the VM	on a socket: the namespaces that were made for it meanwhile, then a
 *			byte when it shall suspend itself; the signals that end it, SIGCONT
 *			and SIGWINCH as they are
 *	from the VM	bytes on the socket (it hears signals now; stop the job); its end
 *
 * Without the namespace all functions do their work in the one process there is.
 * All of them: the main thread.
 *
 * Sources: pid_namespaces(7), credentials(7) on jobs, PR_SET_PDEATHSIG in prctl(2).
 */
#ifndef LKVM_FRONT_H
#define LKVM_FRONT_H

#include <signal.h>
#include <stdbool.h>

struct sandbox;

struct front {
	int socket;		/* to the process in front; -1: there is none */
};

/* Those that end a VM in an orderly way. One that our parent ignores (nohup) stays ignored. */
void front_get_stop_signals(sigset_t *set);

void front_init(struct front *f);

/*
 * Goes on in a child, if the sandbox has it: 0 in the VM's process; 1 in the one in front,
 * when the VM has ended with *status, and everything else there is closed by then. -errno after a
 * message. On the only thread there is; descriptors stay with the VM.
 */
int front_separate(struct front *f, struct sandbox *s, int *status);

/*
 * Waits for the namespaces that the process in front makes; before sandbox_enter(). 0 or -errno,
 * after a message.
 */
int front_wait(const struct front *f, struct sandbox *s);

/* Tells the process in front that signals are read: until then one of them is the end. */
void front_tell_ready(const struct front *f);

/* Something came on the socket. True: suspend yourself. *gone: nothing will come any more. */
bool front_is_asked(const struct front *f, bool *gone);

/*
 * Stops the job, as Ctrl-Z does. True when it has been continued; false if the process in front
 * was asked to: then we stop soon after, and SIGCONT tells that we go on.
 */
bool front_suspend(const struct front *f);

void front_fini(struct front *f);

#endif
