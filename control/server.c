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
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/client.h"
#include "control/json.h"
#include "control/server.h"
#include "event.h"
#include "io.h"
#include "listener.h"
#include "util.h"

#define MAX_TOLD_BYTES	 512u				  /* of its kernel, its command, its snapshot */
#define MAX_ANSWER_BYTES (3 * 6 * MAX_TOLD_BYTES + 1024u) /* six characters for one, as JSON has it */

_Static_assert(MAX_ANSWER_BYTES <= CLIENT_MAX_ANSWER_BYTES, "they have room for it");

struct server_connection {
	struct server *server;
	int fd; /* -1: free */
	int watch;
	const void *waits;	 /* what its request waits for; NULL: for nothing */
	void (*gone)(void *arg); /* while it waits; or NULL */
	void *gone_arg;
	bool has_more;	    /* than the request that is served */
	bool is_read;	    /* take_lines() is at work on it */
	uint64_t active_ns; /* when it was last heard */
	size_t bytes;
	char *text; /* SERVER_MAX_REQUEST_BYTES, of the server's requests */
};

struct server {
	struct event_loop *loop;
	struct server_vm vm;
	struct listener listener;
	char *facts; /* what is the same in each answer to "status" */
	/* SERVER_MAX_CLIENTS texts, apart from the rest: what no client has filled takes no memory. */
	char *requests;
	struct server_connection connections[SERVER_MAX_CLIENTS];
};

/* ---- connections ---- */

/* Its socket is not ours any more. */
static void connection_release(struct server_connection *c)
{
	event_remove(c->server->loop, c->watch);
	c->fd = c->watch = -1;
}

static void connection_drop(struct server_connection *c)
{
	const bool waits = c->waits;

	close(c->fd);
	connection_release(c);
	c->waits = NULL;
	if (waits && c->gone)
		c->gone(c->gone_arg);
}

/* A line: {"v":1,"ok":@ok and what follows. False if the client is gone. */
static bool connection_say(struct server_connection *c, const char *ok, const char *fmt,
			   va_list args)
{
	char text[MAX_ANSWER_BYTES];
	int used = snprintf(text, sizeof(text), "{\"v\":1,\"ok\":%s", ok), n;
	const size_t room = sizeof(text) - (size_t)used - 2;

	n = vsnprintf(text + used, room, fmt, args);
	if (n >= 0 && (size_t)n < room) {
		memcpy(text + used + n, "}\n", 2);
		n += used + 2;
		if (socket_send(c->fd, text, (size_t)n) == n)
			return true;
	}
	connection_drop(c);
	return false;
}

void server_done(struct server_connection *c)
{
	server_accept(c, "%s", "");
}

void server_accept(struct server_connection *c, const char *members, ...)
{
	va_list args;

	va_start(args, members);
	connection_say(c, "true", members, args);
	va_end(args);
}

static void __attribute__((format(printf, 2, 3)))
connection_deny(struct server_connection *c, const char *members, ...)
{
	va_list args;

	va_start(args, members);
	connection_say(c, "false", members, args);
	va_end(args);
}

void server_refuse(struct server_connection *c, const char *reason)
{
	connection_deny(c, ",\"error\":\"%s\"", reason);
}

void server_defer(struct server_connection *c, const void *tag, void (*gone)(void *arg), void *arg)
{
	c->waits = tag;
	c->gone = gone;
	c->gone_arg = arg;
}

int server_take_socket(struct server_connection *c)
{
	int fd = c->fd;

	if (c->has_more) {
		connection_drop(c);
		return -1;
	}
	server_done(c);
	if (c->fd < 0)
		return -1;
	connection_release(c);
	return fd;
}

/* ---- requests ---- */

static void serve_status(void *arg, struct server_connection *c, const struct json_object *request)
{
	const struct server *s = c->server;

	(void)request;
	server_accept(c, ",\"state\":\"%s\",\"uptime_ms\":%llu,%s", s->vm.state(arg),
		      (unsigned long long)((now_ns() - s->vm.start_ns) / 1000000), s->facts);
}

static const struct server_request *find_request(const struct server *s, const char *name)
{
	static const struct server_request own = { "status", serve_status };

	if (!strcmp(name, own.name))
		return &own;
	for (const struct server_request *r = s->vm.requests; r->name; r++)
		if (!strcmp(r->name, name))
			return r;
	return NULL;
}

/* One line. The connection may be gone afterwards. */
static void take_request(struct server_connection *c, char *line, size_t bytes)
{
	struct json_object o;
	const char *what;
	uint64_t version = 0;
	const struct server_request *r;

	if (json_parse(&o, line, bytes)) {
		connection_drop(c);
		return;
	}
	what = json_get_string(&o, "do");
	r = what ? find_request(c->server, what) : NULL;
	if (!json_get_count(&o, "v", &version) || version != 1 || !what)
		server_refuse(c, "this VM understands version 1 only");
	else if (!r)
		server_refuse(c, "this VM does not know that request");
	else
		r->fn(c->server->vm.arg, c, &o);
}

/* All whole lines; what is left waits for its rest. */
static void take_lines(struct server_connection *c)
{
	char *line = c->text, *end;
	size_t left = c->bytes;

	c->is_read = true;
	while (c->fd >= 0 && !c->waits && (end = memchr(line, '\n', left)) != NULL) {
		left -= (size_t)(end + 1 - line);
		c->has_more = left;
		take_request(c, line, (size_t)(end - line));
		line = end + 1;
	}
	c->is_read = false;
	if (c->fd < 0)
		return;
	memmove(c->text, line, left);
	c->bytes = left;
	if (left == SERVER_MAX_REQUEST_BYTES)
		connection_drop(c);
}

/* Who is answered may have sent its next request already, which may wait for the same. */
void server_finish(struct server *s, const void *tag, const char *reason)
{
	for (unsigned int i = 0; i < SERVER_MAX_CLIENTS; i++) {
		struct server_connection *c = &s->connections[i];

		if (c->fd < 0 || c->waits != tag)
			continue;
		c->waits = NULL;
		if (reason)
			server_refuse(c, reason);
		else
			server_done(c);
		if (c->fd >= 0 && !c->is_read)
			take_lines(c);
	}
}

void server_tell(struct server *s, const void *tag, const char *members, ...)
{
	for (unsigned int i = 0; i < SERVER_MAX_CLIENTS; i++) {
		struct server_connection *c = &s->connections[i];
		va_list args;

		if (c->fd < 0 || c->waits != tag)
			continue;
		va_start(args, members);
		connection_say(c, "true", members, args);
		va_end(args);
	}
}

static void server_on_request(void *arg, uint32_t events)
{
	struct server_connection *c = arg;
	ssize_t n = socket_recv(c->fd, c->text + c->bytes, SERVER_MAX_REQUEST_BYTES - c->bytes);

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

/* A free one, or the one that has been silent the longest; NULL if all wait for answers. */
static struct server_connection *choose_connection(struct server *s)
{
	struct server_connection *oldest = NULL;

	for (unsigned int i = 0; i < SERVER_MAX_CLIENTS; i++) {
		struct server_connection *c = &s->connections[i];

		if (c->fd < 0)
			return c;
		if (!c->waits && (!oldest || c->active_ns < oldest->active_ns))
			oldest = c;
	}
	if (oldest)
		connection_drop(oldest);
	return oldest;
}

static int server_on_client(void *arg, int fd)
{
	struct server *s = arg;
	struct server_connection *c = choose_connection(s);

	if (c)
		c->watch = event_add(s->loop, fd, EPOLLIN, server_on_request, c);
	if (!c || c->watch < 0) {
		close(fd);
	} else {
		event_keep(s->loop, c->watch);
		c->fd = fd;
		c->bytes = 0;
		c->waits = NULL;
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
	char command[MAX_TOLD_BYTES], kernel[MAX_TOLD_BYTES];
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
	fputs(",\"parent\":", out);
	snprintf(kernel, sizeof(kernel), "%s", vm->parent ? vm->parent : "");
	if (vm->parent)
		json_string(out, kernel);
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
	s->requests = malloc((size_t)SERVER_MAX_CLIENTS * SERVER_MAX_REQUEST_BYTES);
	for (unsigned int i = 0; i < SERVER_MAX_CLIENTS; i++) {
		s->connections[i].server = s;
		s->connections[i].fd = s->connections[i].watch = -1;
		s->connections[i].text = s->requests + (size_t)i * SERVER_MAX_REQUEST_BYTES;
	}
	rc = s->requests ? write_facts(s) : -ENOMEM;
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
	free(s->requests);
	free(s->facts);
	free(s);
}
