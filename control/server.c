// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests to a VM (control/server.h). Owns the socket and its connections; all of it is the loop's
 * thread's.
 *
 * A connection is a buffer for one request. What arrives is cut into lines, and each is answered at
 * once: there is no queue, so a client whose socket has no room for an answer is one that does not
 * read, and is dropped. Everything that allocates is done when the server is made.
 *
 * Whoever can connect has the user's rights. What comes in is checked all the same, as what a guest
 * says is.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/json.h"
#include "control/server.h"
#include "event.h"
#include "io.h"
#include "listener.h"
#include "util.h"

#define MAX_ANSWER_BYTES 8192u
#define MAX_COMMAND_BYTES 512u	/* of what is told of it */

struct connection {
	struct server *server;
	int fd;				/* -1: free */
	int watch;
	bool waits;			/* for a pause; its next request waits as well */
	uint64_t active_ns;		/* when it was last heard */
	size_t bytes;
	char text[SERVER_MAX_REQUEST_BYTES];
};

struct server {
	struct event_loop *loop;
	struct server_vm vm;
	struct listener listener;
	char *facts;			/* what is the same in each answer to "status" */
	struct connection connections[SERVER_MAX_CLIENTS];
};

/* ---- connections ---- */

static void connection_drop(struct connection *c)
{
	event_remove(c->server->loop, c->watch);
	close(c->fd);
	c->fd = c->watch = -1;
}

static void __attribute__((format(printf, 2, 3)))
connection_answer(struct connection *c, const char *fmt, ...)
{
	char text[MAX_ANSWER_BYTES];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(text) || socket_send(c->fd, text, (size_t)n) != n)
		connection_drop(c);
}

/* @reason is ours, and needs no escapes. */
static void connection_refuse(struct connection *c, const char *reason)
{
	connection_answer(c, "{\"v\":1,\"ok\":false,\"error\":\"%s\"}\n", reason);
}

static void do_status(struct connection *c)
{
	const struct server *s = c->server;

	connection_answer(c, "{\"v\":1,\"ok\":true,\"state\":\"%s\",\"uptime_ms\":%llu,%s}\n",
			  s->vm.state(s->vm.arg),
			  (unsigned long long)((now_ns() - s->vm.start_ns) / 1000000), s->facts);
}

static void do_stop(struct connection *c)
{
	const struct server_vm *vm = &c->server->vm;

	vm->end(vm->arg, SIGTERM);
	connection_answer(c, "{\"v\":1,\"ok\":true}\n");
}

static void answer_pause(struct connection *c, int rc)
{
	if (!rc)
		connection_answer(c, "{\"v\":1,\"ok\":true}\n");
	else
		connection_refuse(c, rc == -ETIMEDOUT ? "it did not come to rest in time, and runs on" :
				  "it is ending, or was resumed meanwhile");
}

static void do_pause(struct connection *c)
{
	int rc = c->server->vm.pause(c->server->vm.arg);

	c->waits = rc == -EINPROGRESS;
	if (!c->waits)
		answer_pause(c, rc);
}

static void do_resume(struct connection *c)
{
	c->server->vm.resume(c->server->vm.arg);
	connection_answer(c, "{\"v\":1,\"ok\":true}\n");
}

/* One line. The connection may be gone afterwards. */
static void take_request(struct connection *c, char *line, size_t bytes)
{
	static const struct {
		const char *name;
		void (*fn)(struct connection *c);
	} requests[] = {
		{ "status", do_status },
		{ "pause", do_pause },
		{ "resume", do_resume },
		{ "stop", do_stop },
	};
	struct json_object o;
	const char *what;
	uint64_t version = 0;

	if (json_parse(&o, line, bytes)) {
		connection_drop(c);
		return;
	}
	what = json_get_string(&o, "do");
	if (!json_get_count(&o, "v", &version) || version != 1 || !what) {
		connection_refuse(c, "this VM understands version 1 only");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		if (strcmp(requests[i].name, what))
			continue;
		requests[i].fn(c);
		return;
	}
	connection_refuse(c, "this VM does not know that request");
}

/* All whole lines; what is left waits for its rest. */
static void take_lines(struct connection *c)
{
	char *line = c->text, *end;
	size_t left = c->bytes;

	while (c->fd >= 0 && !c->waits && (end = memchr(line, '\n', left)) != NULL) {
		take_request(c, line, (size_t)(end - line));
		left -= (size_t)(end + 1 - line);
		line = end + 1;
	}
	if (c->fd < 0)
		return;
	memmove(c->text, line, left);
	c->bytes = left;
	if (left == sizeof(c->text))
		connection_drop(c);
}

/* Who is told may have sent its next request already, which may be to pause or to resume. */
void server_paused(struct server *s, int rc)
{
	for (unsigned int i = 0; i < SERVER_MAX_CLIENTS; i++) {
		struct connection *c = &s->connections[i];

		if (c->fd < 0 || !c->waits)
			continue;
		c->waits = false;
		answer_pause(c, rc);
		if (c->fd >= 0)
			take_lines(c);
	}
}

static void server_on_request(void *arg, uint32_t events)
{
	struct connection *c = arg;
	ssize_t n = socket_recv(c->fd, c->text + c->bytes, sizeof(c->text) - c->bytes);

	(void)events;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		connection_drop(c);
		return;
	}
	c->active_ns = now_ns();
	c->bytes += (size_t)n;
	take_lines(c);
}

/* A free one, or the one that has been silent the longest. */
static struct connection *choose_connection(struct server *s)
{
	struct connection *oldest = &s->connections[0];

	for (unsigned int i = 0; i < SERVER_MAX_CLIENTS; i++) {
		struct connection *c = &s->connections[i];

		if (c->fd < 0)
			return c;
		if (c->active_ns < oldest->active_ns)
			oldest = c;
	}
	connection_drop(oldest);
	return oldest;
}

static int server_on_client(void *arg, int fd)
{
	struct server *s = arg;
	struct connection *c = choose_connection(s);

	c->watch = event_add(s->loop, fd, EPOLLIN, server_on_request, c);
	if (c->watch < 0) {
		close(fd);
	} else {
		event_keep(s->loop, c->watch);
		c->fd = fd;
		c->bytes = 0;
		c->waits = false;
		c->active_ns = now_ns();
	}
	listener_resume(&s->listener);
	return 0;
}

/* ---- life ---- */

/* Words and blanks, as far as there is room. */
static void join_arguments(char *out, size_t room, char *const *arguments, unsigned int nr)
{
	size_t used = 0;

	*out = '\0';
	for (unsigned int i = 0; i < nr && used < room; i++)
		used += (size_t)snprintf(out + used, room - used, "%s%s", i ? " " : "", arguments[i]);
}

static int write_facts(struct server *s)
{
	const struct server_vm *vm = &s->vm;
	char command[MAX_COMMAND_BYTES], kernel[MAX_COMMAND_BYTES];
	size_t bytes;
	FILE *out = open_memstream(&s->facts, &bytes);

	if (!out)
		return -ENOMEM;
	snprintf(kernel, sizeof(kernel), "%s", vm->kernel ? vm->kernel : "");
	join_arguments(command, sizeof(command), vm->arguments, vm->nr_arguments);
	fprintf(out, "\"cpus\":%u,\"mem_mib\":%llu,\"kernel\":", vm->cpus,
		(unsigned long long)(vm->ram_bytes >> 20));
	json_string(out, kernel);
	fputs(",\"command\":", out);
	if (vm->nr_arguments)
		json_string(out, command);
	else
		fputs("null", out);
	return fclose(out) ? -ENOMEM : 0;
}

/* The name is this VM's: a socket that has it was left by another that is dead. */
static int server_listen(struct server *s, const char *path)
{
	const struct listener_client client = { .accepted = server_on_client, .arg = s };
	int rc = listener_open(&s->listener, s->loop, "control", path, &client);

	if (rc == -EADDRINUSE && !unlink(path))
		rc = listener_open(&s->listener, s->loop, "control", path, &client);
	if (!rc && chmod(path, 0600))
		rc = -errno;
	if (!rc)
		event_keep(s->loop, s->listener.watch);
	return rc;
}

int server_create(struct server **out, struct event_loop *loop, const char *path,
		  const struct server_vm *vm)
{
	struct server *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->vm = *vm;
	s->listener = (struct listener)LISTENER_CLOSED;
	for (unsigned int i = 0; i < SERVER_MAX_CLIENTS; i++) {
		s->connections[i].server = s;
		s->connections[i].fd = s->connections[i].watch = -1;
	}
	rc = write_facts(s);
	if (!rc)
		rc = server_listen(s, path);
	if (rc)
		server_destroy(s);
	else
		*out = s;
	return rc;
}

struct socket_name server_take_name(struct server *s)
{
	return listener_take_name(&s->listener);
}

void server_destroy(struct server *s)
{
	if (!s)
		return;
	for (unsigned int i = 0; i < SERVER_MAX_CLIENTS; i++)
		if (s->connections[i].fd >= 0)
			connection_drop(&s->connections[i]);
	listener_close(&s->listener);
	free(s->facts);
	free(s);
}
