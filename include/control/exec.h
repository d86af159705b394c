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

#endif
