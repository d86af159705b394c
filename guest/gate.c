// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gate of a container's VM (guest/gate.h). On the loop's thread.
 *
 * What is told is told once, in few messages, for which a socket has room: one that has none is the
 * other side's fault, and it is not waited for.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "event.h"
#include "guest/command.h"
#include "guest/gate.h"
#include "io.h"

struct gate {
	struct event_loop *loop;
	int fd;
	struct command *command;
	struct gate_client client;
	bool started, told; /* told: that it started, or that it will not */
};

static void gate_tell(struct gate *g, enum gate_kind kind, uint32_t value)
{
	const struct gate_message m = { .kind = kind, .value = value };

	socket_send(g->fd, &m, sizeof(m));
}

void gate_ready(struct gate *g)
{
	gate_tell(g, GATE_READY, 0);
}

void gate_started(struct gate *g)
{
	g->told = true;
	gate_tell(g, GATE_STARTED, 0);
}

void gate_ended(struct gate *g, const struct command_result *result)
{
	if (!g->told)
		gate_tell(g, GATE_NOT_STARTED,
			  result->end == COMMAND_NOT_STARTED ? (uint32_t)result->value : 0);
	g->told = true;
}

void gate_paused(struct gate *g, int rc)
{
	gate_tell(g, GATE_PAUSED, (uint32_t)-rc);
}

static void gate_pause(struct gate *g)
{
	int rc = g->client.pause(g->client.arg);

	if (rc != -EINPROGRESS)
		gate_paused(g, rc);
}

/* Those that come with something else, or in another number, are nobody's. */
static void take_passed(struct gate *g, uint32_t kind, int passed[2])
{
	const unsigned int nr = (passed[0] >= 0) + (passed[1] >= 0);

	if (kind == GATE_EXEC && nr == 1) {
		g->client.exec(g->client.arg, passed[0]);
		return;
	}
	if (kind == GATE_JOIN && nr == 2) {
		g->client.join(g->client.arg, passed[0], passed[1]);
		return;
	}
	for (unsigned int i = 0; i < 2; i++)
		if (passed[i] >= 0)
			close(passed[i]);
}

static void take_gate_message(struct gate *g, const struct gate_message *m)
{
	switch (m->kind) {
	case GATE_GO:
		command_release(g->command);
		break;
	case GATE_SIGNAL:
		command_signal(g->command, m->value);
		break;
	case GATE_PAUSE:
		gate_pause(g);
		break;
	case GATE_RESUME:
		g->client.resume(g->client.arg);
		break;
	default:
		break;
	}
}

static void on_gate(void *arg, uint32_t events)
{
	struct gate *g = arg;
	struct gate_message m;
	int passed[2], error;
	ssize_t n = socket_recv_pair(g->fd, &m, sizeof(m), passed);

	error = errno;
	(void)events;
	take_passed(g, n == (ssize_t)sizeof(m) ? m.kind : 0, passed);
	if (n == (ssize_t)sizeof(m)) {
		take_gate_message(g, &m);
		return;
	}
	if (n >= 0 || error != EAGAIN) {
		event_remove(g->loop, g->fd);
		g->client.gone(g->client.arg);
	}
}

int gate_create(struct gate **out, struct event_loop *loop, int fd, struct command *command,
		const struct gate_client *client)
{
	struct gate *g = calloc(1, sizeof(*g));
	int rc;

	if (!g)
		return -ENOMEM;
	*g = (struct gate){ .loop = loop, .fd = fd, .command = command, .client = *client };
	rc = event_add(loop, fd, EPOLLIN, on_gate, g);
	if (rc < 0) {
		free(g);
		return rc;
	}
	*out = g;
	return 0;
}

void gate_destroy(struct gate *g)
{
	if (!g)
		return;
	event_remove(g->loop, g->fd);
	free(g);
}
