/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether one interface of the host is up, from a route socket that can hear of nothing
 * else: the kernel gives it that interface's link news only, whatever is asked for by
 * whoever has taken this process over. Opened by the main thread, then the loop's.
 */
#ifndef LKVM_NET_LINK_H
#define LKVM_NET_LINK_H

#include <stdbool.h>

#include "log.h"

struct event_loop;

struct link {
	struct event_loop *loop;
	unsigned int ifindex;
	void (*changed)(void *arg, bool up);
	void *arg;
	int fd, watch;
	struct log_limit log_limit;
};

/* For link_close() before or without link_open(). */
#define LINK_CLOSED \
	{ \
		.fd = -1, .watch = -1 \
	}

/*
 * Tells changed() now, and with each piece of news, whether interface @ifindex is up. 0 or
 * -errno; *link may be closed in either case.
 */
int link_open(struct link *link, struct event_loop *loop, unsigned int ifindex,
	      void (*changed)(void *arg, bool up), void *arg);
void link_close(struct link *link);

/* From now on socket @fd receives nothing but link news of interface @ifindex. 0 or -errno. */
int link_lock(int fd, unsigned int ifindex);

#endif
