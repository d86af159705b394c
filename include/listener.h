/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A listening UNIX socket in the file system that serves one client at a time: that of a
 * port or of mode=stream. Creation and end belong to the main thread, the rest to the
 * event loop's.
 */
#ifndef LKVM_LISTENER_H
#define LKVM_LISTENER_H

#include <stdbool.h>

#include "log.h"
#include "socket-name.h"

struct event_loop;

struct listener_client {
	/* Owns @fd, connected and non-blocking, from now on. 0 if it uses it, else -errno. */
	int (*accepted)(void *arg, int fd);
	void *arg;
};

struct listener {
	struct event_loop *loop;
	struct listener_client client;
	const char *owner; /* "net0", for messages; lent as is path */
	const char *path;
	int fd, watch, timer;	 /* fd is -1 if nobody listens */
	struct socket_name name; /* to be removed, unless somebody else does */
	struct log_limit log_limit;
};

/* For listener_close() before or without listener_open(). */
#define LISTENER_CLOSED \
	{ \
		.fd = -1, .watch = -1, .timer = -1 \
	}

/* Listens at @path, which must not exist. 0 or -errno; *listener may be closed in either case. */
int listener_open(struct listener *listener, struct event_loop *loop, const char *owner,
		  const char *path, const struct listener_client *client);

/* Whether listener_open() could do so: 0 or -errno. Makes nothing. */
int listener_check(const char *path);

/* Removes the sockets of all listeners. For a handler of a signal that ends the process. */
void listener_remove_names(void);

/* The client has gone: the next one, which waits in the socket's queue, may come. */
void listener_resume(struct listener *listener);

bool listener_is_open(const struct listener *listener);

/* The socket's name, if it has one, for the caller to remove. */
struct socket_name listener_take_name(struct listener *listener);

/* Removes the socket, if nobody has taken its name. */
void listener_close(struct listener *listener);

#endif
