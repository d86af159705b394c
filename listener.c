// SPDX-License-Identifier: GPL-2.0-only
/*
 * Listening sockets (listener.h). Owns the socket and its name.
 *
 * What is waited for is one of three things: for a client, by the socket; for the end of
 * the one that is there, of which its owner tells; and for the host to have descriptors
 * again, by a timer, since nothing tells of that and asking at once would be for ever.
 *
 * Source: accept(2), unix(7).
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "event.h"
#include "listener.h"

#define RETRY_NS 1000000000ull

enum wait { WAIT_CLIENT, WAIT_END, WAIT_DESCRIPTORS };

static void wait_for(struct listener *l, enum wait what)
{
	event_modify(l->loop, l->watch, what == WAIT_CLIENT ? EPOLLIN : 0);
	event_timer_set(l->loop, l->timer, what == WAIT_DESCRIPTORS ? RETRY_NS : 0, 0);
}

static void on_client(void *arg, uint32_t events)
{
	struct listener *l = arg;
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0) {
		/* First, since a client may have gone when accepted() returns. */
		wait_for(l, WAIT_END);
		if (l->client.accepted(l->client.arg, fd))
			wait_for(l, WAIT_CLIENT);
	} else if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) {
		wait_for(l, WAIT_CLIENT);
	} else {
		log_limited(&l->log_limit, LOG_ERROR, "%s: %s: accept: %s", l->owner, l->path,
			    strerror(errno));
		wait_for(l, WAIT_DESCRIPTORS);
	}
}

static int start(struct listener *l)
{
	l->timer = event_timer_create(l->loop, on_client, l);
	if (l->timer < 0)
		return l->timer;
	l->watch = event_add(l->loop, l->fd, EPOLLIN, on_client, l);
	return l->watch < 0 ? l->watch : 0;
}

int listener_open(struct listener *l, struct event_loop *loop, const char *owner, const char *path,
		  const struct listener_client *client)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	*l = (struct listener){
		.loop = loop, .client = *client, .owner = owner, .path = path,
		.fd = -1, .watch = -1, .timer = -1,
	};
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr))) {
		int err = errno;

		close(fd);	/* the name is somebody else's: do not remove it */
		return -err;
	}
	l->fd = fd;
	l->name = socket_name_of(path);
	if (!l->name.path) {
		int err = errno;

		unlink(path);	/* it could not be told from another's later */
		return -err;
	}
	if (listen(fd, 1))
		return -errno;
	return start(l);
}

void listener_resume(struct listener *l)
{
	if (l->fd >= 0)
		wait_for(l, WAIT_CLIENT);
}

bool listener_is_open(const struct listener *l)
{
	return l->fd >= 0;
}

struct socket_name listener_take_name(struct listener *l)
{
	struct socket_name name = l->name;

	l->name.path = NULL;
	return name;
}

void listener_close(struct listener *l)
{
	if (l->fd < 0)
		return;
	event_remove(l->loop, l->watch);
	event_remove(l->loop, l->timer);
	close(l->fd);
	l->fd = l->watch = l->timer = -1;
	socket_name_remove(&l->name);
}
