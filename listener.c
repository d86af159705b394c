// SPDX-License-Identifier: GPL-2.0-only
/*
 * Listening sockets (listener.h). Owns the socket and its name.
 *
 * What is waited for is one of three things: for a client, by the socket; for the end of
 * the one that is there, of which its owner tells; and for the host to have descriptors
 * again, by a timer, since nothing tells of that and asking at once would be for ever.
 *
 * A signal may end the process as soon as there is a socket: what handlers need to remove it
 * is in a variable of this file (DESIGN rule 8), and signals wait while that changes.
 *
 * Source: accept(2), unix(7).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "event.h"
#include "listener.h"
#include "output.h"

#define RETRY_NS 1000000000ull

#define MAX_NAMES 64u

enum wait {
	WAIT_CLIENT,
	WAIT_END,
	WAIT_DESCRIPTORS,
};

/* Also of those that somebody has taken: he may not be ready. */
static struct socket_name names[MAX_NAMES];

/* Names that --dry-run has found free. */
static struct {
	dev_t device;
	ino_t folder;
	char name[sizeof((struct sockaddr_un){ 0 }.sun_path)];
} checked[MAX_NAMES];
static unsigned int nr_checked;

static void wait_for(struct listener *l, enum wait what)
{
	event_modify(l->loop, l->watch, what == WAIT_CLIENT ? EPOLLIN : 0);
	event_timer_set(l->loop, l->timer, what == WAIT_DESCRIPTORS ? RETRY_NS : 0, 0);
}

static void listener_on_client(void *arg, uint32_t events)
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

static int listener_start(struct listener *l)
{
	l->timer = event_timer_create(l->loop, listener_on_client, l);
	if (l->timer < 0)
		return l->timer;
	l->watch = event_add(l->loop, l->fd, EPOLLIN, listener_on_client, l);
	return l->watch < 0 ? l->watch : 0;
}

/* ---- names ---- */

static sigset_t hold_signals(void)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	return old;
}

static struct socket_name *find_name(const char *path)
{
	for (unsigned int i = 0; i < MAX_NAMES; i++)
		if (names[i].path == path)
			return &names[i];
	return NULL;
}

void listener_remove_names(void)
{
	for (unsigned int i = 0; i < MAX_NAMES; i++)
		socket_name_remove(&names[i]);
}

/* Binds and keeps the name. 0 or -errno. */
static int bind_name(struct listener *l, int fd, const struct sockaddr_un *addr)
{
	const sigset_t old = hold_signals();
	struct socket_name *entry = find_name(NULL);
	int rc = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? -errno : 0;

	if (!rc) {
		l->name = socket_name_of(l->path);
		if (l->name.path && entry) {
			*entry = l->name;
		} else if (!l->name.path) {
			rc = -errno;
			unlink(l->path); /* it could not be told from another's later */
		}
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

static void forget_name(const struct listener *l)
{
	struct socket_name *entry = find_name(l->path);

	if (entry)
		entry->path = NULL;
}

/* ---- life ---- */

/* True if the name at the end of @path has been checked before, in the folder of @st. */
static bool was_checked(const struct stat *st, const char *name)
{
	for (unsigned int i = 0; i < nr_checked; i++)
		if (checked[i].device == st->st_dev && checked[i].folder == st->st_ino &&
		    !strcmp(checked[i].name, name))
			return true;
	return false;
}

/* The second of two sockets with one name would find the first. 0 or -errno. */
static int check_twice(const char *path)
{
	struct sockaddr_un addr;
	char folder[sizeof(addr.sun_path) + 2];
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	struct stat st;

	snprintf(folder, sizeof(folder), "%.*s.", (int)(name - path), path);
	if (stat(folder, &st))
		return -errno;
	if (was_checked(&st, name))
		return -EADDRINUSE;
	if (nr_checked == MAX_NAMES)
		return 0;
	checked[nr_checked].device = st.st_dev;
	checked[nr_checked].folder = st.st_ino;
	strcpy(checked[nr_checked++].name, name);
	return 0;
}

/* What bind() would say of a name that is taken, and of a folder that is not there or not ours. */
int listener_check(const char *path)
{
	struct sockaddr_un addr;
	struct stat st;
	int rc;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	if (!lstat(path, &st))
		return -EADDRINUSE;
	if (errno != ENOENT)
		return -errno;
	rc = output_check_folder(path);
	return rc ? rc : check_twice(path);
}

int listener_open(struct listener *l, struct event_loop *loop, const char *owner, const char *path,
		  const struct listener_client *client)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, rc;

	*l = (struct listener){
		.loop = loop,
		.client = *client,
		.owner = owner,
		.path = path,
		.fd = -1,
		.watch = -1,
		.timer = -1,
	};
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	rc = bind_name(l, fd, &addr);
	if (rc) {
		close(fd); /* the name is somebody else's: it is not removed */
		return rc;
	}
	l->fd = fd;
	if (listen(fd, 1))
		return -errno;
	return listener_start(l);
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
	forget_name(l);
}
