/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Snapshots of a machine that runs: who asks for them, and what becomes of the machine.
 *
 *	{"v":1,"do":"snapshot"}			{"v":1,"ok":true}, and the connection is a stream of
 *						records (control/snapshot-image.h) from then on. The machine
 *						stands still until all of them are sent
 *	{"v":1,"do":"snapshot","stop":true}	the same; then the client says by an int32_t, 0 or
 *						-errno, whether the file is safe: the machine ends, or goes on
 *
 * All functions: the main thread.
 */
#ifndef LKVM_CONTROL_SNAPSHOT_H
#define LKVM_CONTROL_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "control/snapshot-image.h"

struct json_object;
struct machine;
struct server_connection;
struct vmcore;

struct snapshot {
	struct machine *machine; /* lent */
	struct vmcore *vmcore;	 /* lent: has the socket, and the pace */
	enum {
		SNAPSHOT_NONE,
		SNAPSHOT_HALTS,
		SNAPSHOT_RESTS,
		SNAPSHOT_SENDS,
	} stage;
	int timer; /* looks whether devices are at rest, until then: */
	uint64_t until_ns;
	uint64_t end_ns;		 /* by then all of it has to be over; 0: as long as it goes on */
	bool stop;			 /* the machine ends with it, if the file is safe */
	void (*done)(void *arg, int rc); /* or NULL: a client asked */
	void *arg;
	void *state; /* of what is sent; ours */
	struct snapshot_image image;
};

/* Of a machine that has been created; in its process, before the sandbox. 0 or -errno. */
int snapshot_init(struct snapshot *s, struct machine *machine, struct vmcore *vmcore);

/* Nobody may change the guest. */
bool snapshot_is_under_way(const struct snapshot *s);

void snapshot_request(struct snapshot *s, struct server_connection *c, const struct json_object *request);

/*
 * One for a process of our own, by @socket, which is taken over; when it has said that it has all of it, or
 * it is over otherwise, @done is told 0 or -errno, and the machine goes on; -ECANCELED: it took @limit_ns.
 * -errno: there can be none, and @socket is the caller's.
 */
int snapshot_save(struct snapshot *s, int socket, uint64_t limit_ns, void (*done)(void *arg, int rc), void *arg);

/* Before the machine is destroyed. */
void snapshot_fini(struct snapshot *s);

#endif
