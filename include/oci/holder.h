/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The holder: the process on the host that stands for a container.
 *
 * An engine knows a container by a process: it waits for it, joins its namespaces, and reads its
 * cgroup. It is the first process of namespaces of its own, its root is an empty directory with a
 * /proc that shows nobody else, and it ends with the container's status. So an engine that copies
 * files or lists processes "in the container" finds nothing there, and never the host's.
 *
 *	its socket (ID/socket)	requests of lkvm-oci's commands: struct holder_request; each is answered
 *				with a struct holder_answer
 *	the VM's gate		guest/gate.h; closed, it ends the VM, and so does the holder's end
 *	the status		one byte from the VM's process in front, or its end without one: 137
 *	the caller		who waits for create: one byte 'R' when the VM is ready; 'W' comes back when the
 *				container is written down, and without it the holder ends with the caller
 *
 * Sources: pid_namespaces(7), pivot_root(2); what engines do with the process was watched with podman
 * 4.3 and containerd 1.6.
 */
#ifndef LKVM_OCI_HOLDER_H
#define LKVM_OCI_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum holder_kind {
	HOLDER_START = 1,
	HOLDER_SIGNAL, /* value: its number, | HOLDER_ALL: for all of its processes */
	HOLDER_PAUSE,  /* value: 0, or HOLDER_UNHEARD */
	HOLDER_RESUME,
	HOLDER_STATE, /* is answered with HOLDER_IS_... */
	HOLDER_EXEC,  /* with a socket, for the VM (guest/gate.h: GATE_EXEC) */
	HOLDER_JOIN,  /* with two, for the VM (GATE_JOIN) */
};

#define HOLDER_ALL 0x100u

/* Its VM, which is another's, does not run, and so does not answer: it hears of it when it does. */
#define HOLDER_UNHEARD 1u

#define HOLDER_IS_STARTED 1
#define HOLDER_IS_PAUSED  2

struct holder_request {
	uint32_t kind, value;
};

struct holder_answer {
	int32_t rc; /* 0, flags or -errno; -ECHILD: the guest could not, and has said why */
};

struct holder_config {
	int listener, gate, status, caller;
	int network;	      /* its network namespace; -1: an empty one, or its pod's */
	int pod;	      /* of a container that joins one: its sandbox's holder (pidfd); otherwise -1 */
	unsigned long shared; /* ... CLONE_NEW...: the namespaces that it shares with that */
	const char *place;    /* a directory that its root is made on */
	const char *hostname; /* or NULL */
	char *title;	      /* of title_bytes: what ps shows of it */
	size_t title_bytes;
	const char *const *command; /* to be shown there; a NULL behind it */
};

/* Shows it in @title, as far as there is room. */
void holder_show_title(char *title, size_t bytes, const char *const *command);

/* The process: its number, or -errno. Of all descriptors those named are its own, too. */
pid_t holder_start(const struct holder_config *config);

#endif
