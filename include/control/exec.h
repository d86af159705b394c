/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * More commands in a VM whose first process is ours (`lkvm exec`): frames between a client's socket and the
 * guest (guest/protocol.h on sessions). What they say is not looked at, but for who says it; each has
 * bounds, so that neither a guest nor a client holds up another.
 *
 * All functions: the loop's thread.
 */
#ifndef LKVM_CONTROL_EXEC_H
#define LKVM_CONTROL_EXEC_H

#include <stdbool.h>

struct command;
struct event_loop;
struct exec;

/* Before the guest runs. 0 or -ENOMEM. */
int exec_create(struct exec **out, struct event_loop *loop, struct command *command);

/* Accepts NULL. Clients are given what they take of the rest at once. Before the command goes. */
void exec_destroy(struct exec *e);

/* Why there cannot be another now; NULL: there can. */
const char *exec_obstacle(const struct exec *e);

/* One more, which has no obstacle: the client at socket @fd, ours from now on, says what it is. */
void exec_add(struct exec *e, int fd);

/* Spare disks, for containers (machine_lend_disk()). */
struct exec_disks {
	/* What is at @socket is on a disk: its number; -EBUSY: there is none, and @socket is the caller's still; -errno. */
	int (*lend)(void *arg, int socket);
	const char *(*serial)(void *arg, unsigned int disk);
	void (*take_back)(void *arg, unsigned int disk); /* nothing is on it any more */
	void (*release)(void *arg, unsigned int disk);	 /* and the guest knows: it can be lent again */
	void *arg;
};

/* Before the guest runs. */
void exec_set_disks(struct exec *e, const struct exec_disks *disks);

/*
 * The same as exec_add() for a container, whose files @files serves, ours from now on, too. It is told that it has
 * a disk (PROTOCOL_EXEC_JOINED), or that it has not started: ENOSPC. While one of those that have ended is about to
 * give its disk back, it waits for that.
 */
void exec_join(struct exec *e, int fd, int files);

#endif
