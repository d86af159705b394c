/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A vmcore of a machine whose CPUs stand, on its way to whoever writes the file: the client of a request, or the
 * process of --dump-on-panic. The VM's process has no file: it has a socket that takes what it takes, so
 * no disk of the host's can hold up the loop.
 *
 * All functions: the main thread.
 */
#ifndef LKVM_CONTROL_VMCORE_H
#define LKVM_CONTROL_VMCORE_H

#include <stdbool.h>

#include "control/vmcore-image.h"

struct event_loop;
struct vmcore;

/* At most that much is sent at once, so that a message is taken whole. */
#define VMCORE_MESSAGE_BYTES 65536u

/* A receiver that takes nothing for so long is given up; one that has all, and is yet to answer, ten times as long. */
#define VMCORE_PATIENCE_NS 30000000000ull

/* What it is made of. All of it is lent. */
struct vmcore_source {
	struct event_loop *loop;
	const struct mem *mem;
	unsigned int nr_cpus;
	vmcore_cpu_fn read_cpu;
	void *arg;
	uint64_t patience_ns;
};

struct vmcore_client {
	int socket;   /* non-blocking or for messages; the vmcore's from the start on */
	bool answers; /* by an int32_t, when it has all that was sent: 0 or -errno */
	/* It is over: 0; -ETIMEDOUT or -EPIPE of the socket; -ECANCELED: unwanted; what it answers. */
	void (*done)(void *arg, int rc);
	/* Other records than a vmcore's, as vmcore_image_next() (control/snapshot.h); NULL: none. */
	bool (*next)(void *maker, struct vmcore_record *record, const void **data);
	void *maker;
	/* Asked now and then: nobody wants it any more. NULL: as long as it takes. */
	bool (*is_unwanted)(void *arg);
	void *arg;
};

/* Before the sandbox, in the process that has the memory. 0 or -errno. */
int vmcore_create(struct vmcore **out, const struct vmcore_source *source);

/* Begins one, of which nothing is sent before vmcore_go(). There is none under way. */
void vmcore_start(struct vmcore *v, const struct vmcore_client *client);

/* The CPUs stand, until it is over. */
void vmcore_go(struct vmcore *v);

/* Of mem_open_pagemap(), lent; -1: none. */
int vmcore_pagemap(const struct vmcore *v);

/* One is under way. */
bool vmcore_is_busy(const struct vmcore *v);

/* Ends the one that is under way: its receiver finds it cut, and nobody else is told. */
void vmcore_drop(struct vmcore *v);

/* Accepts NULL. Nobody is told. */
void vmcore_destroy(struct vmcore *v);

#endif
