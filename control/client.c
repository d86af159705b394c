// SPDX-License-Identifier: GPL-2.0-only
/*
 * Clients of VMs' sockets (control/client.h).
 *
 * Nothing waits but one ppoll(2) for all of them. A VM whose queue of connections is full is asked
 * again every few milliseconds, since nothing tells when there is room.
 *
 * Source: unix(7).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/client.h"
#include "io.h"
#include "util.h"

#define AGAIN_MS 5

void client_init(struct client *c, const char *path, const char *request)
{
	memset(c, 0, offsetof(struct client, text));
	c->answered = false;
	c->answer.nr = 0;
	c->path = path;
	c->request = request;
	c->fd = -1;
}

int client_take_socket(struct client *c, const char **text, size_t *bytes)
{
	int fd = c->fd;

	*text = c->text + c->rest_at;
	*bytes = c->bytes - c->rest_at;
	c->fd = -1;
	return fd;
}

void client_fini(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* A request is short: a new connection has room for it. */
static void client_connect(struct client *c)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t bytes = strlen(c->request);
	bool is_full;

	c->done = true;
	if (strlen(c->path) >= sizeof(addr.sun_path))
		return;
	strcpy(addr.sun_path, c->path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return;
	if (!connect(c->fd, (const struct sockaddr *)&addr, sizeof(addr))) {
		c->done = socket_send(c->fd, c->request, bytes) != (ssize_t)bytes;
		return;
	}
	is_full = errno == EAGAIN || errno == EINTR;
	client_fini(c);
	c->done = !is_full;
}

static void take_answer_part(struct client *c)
{
	ssize_t n = socket_recv(c->fd, c->text + c->bytes, sizeof(c->text) - c->bytes);
	char *end;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		c->done = true;
		return;
	}
	c->bytes += (size_t)n;
	end = memchr(c->text, '\n', c->bytes);
	if (end) {
		c->rest_at = (size_t)(end + 1 - c->text);
		c->answered = !json_parse(&c->answer, c->text, c->rest_at - 1);
	}
	c->done = end || c->bytes == sizeof(c->text);
}

/* One wait. False if nobody is left to wait for. */
static bool client_round(struct client *clients, struct pollfd *fds, unsigned int nr,
			 uint64_t deadline)
{
	uint64_t now = now_ns(), ms;
	bool waits = false, again = false;

	for (unsigned int i = 0; i < nr; i++) {
		if (!clients[i].done && clients[i].fd < 0)
			client_connect(&clients[i]);
		fds[i] = (struct pollfd){ .fd = clients[i].done ? -1 : clients[i].fd, .events = POLLIN };
		waits |= !clients[i].done;
		again |= !clients[i].done && clients[i].fd < 0;
	}
	if (!waits || now >= deadline)
		return false;
	ms = (deadline - now) / 1000000 + 1;
	poll_fds(fds, nr, (int)min_u64(ms, again ? AGAIN_MS : INT32_MAX));
	for (unsigned int i = 0; i < nr; i++)
		if (fds[i].fd >= 0 && fds[i].revents)
			take_answer_part(&clients[i]);
	return true;
}

void client_ask(struct client *clients, unsigned int nr, uint64_t deadline)
{
	struct pollfd *fds = calloc(nr ? nr : 1, sizeof(*fds));

	while (fds && client_round(clients, fds, nr, deadline))
		;
	free(fds);
}
