/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The gate of a container's VM: a socket (SOCK_SEQPACKET) on which the process outside that stands for
 * the container (oci/holder.c) lets the command start, and hears of it. Each message is a struct
 * gate_message. Who is outside is trusted; that it is gone is the end of the VM.
 *
 * All functions: the loop's thread.
 */
#ifndef LKVM_GUEST_GATE_H
#define LKVM_GUEST_GATE_H

#include <stdint.h>

struct command;
struct command_result;
struct event_loop;

enum gate_kind {
	/* From the VM. */
	GATE_READY = 1, /* the guest's first process waits */
	GATE_STARTED,
	GATE_NOT_STARTED, /* value: errno, or 0: the guest could not, and has said why */
	GATE_PAUSED,	  /* value: 0, or errno */
	/* To the VM. */
	GATE_GO = 16,
	GATE_SIGNAL, /* value: as in struct protocol_signal */
	GATE_PAUSE,  /* answered by GATE_PAUSED */
	GATE_RESUME,
	GATE_EXEC, /* with a socket: a client of commands beside the first one (control/exec.h) */
	GATE_JOIN, /* with two: the same for another container, and who serves its files (disk/files.h) */
};

struct gate_message {
	uint32_t kind; /* enum gate_kind */
	uint32_t value;
};

struct gate_client {
	void (*gone)(void *arg);
	/* 0: it is; -EINPROGRESS: gate_paused() tells; another -errno. */
	int (*pause)(void *arg);
	void (*resume)(void *arg);
	void (*exec)(void *arg, int fd);	    /* @fd is its own from then on */
	void (*join)(void *arg, int fd, int files); /* so are these */
	void *arg;
};

struct gate;

/* @fd is lent. 0 or -errno. */
int gate_create(struct gate **out, struct event_loop *loop, int fd, struct command *command,
		const struct gate_client *client);

/* For its client: what has become of the command. */
void gate_ready(struct gate *g);
void gate_started(struct gate *g);
void gate_ended(struct gate *g, const struct command_result *result);

/* What came of a pause: 0 or -errno. */
void gate_paused(struct gate *g, int rc);

/* Accepts NULL. */
void gate_destroy(struct gate *g);

#endif
