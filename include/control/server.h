/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM's socket: requests from the user's other processes, served by the VM's loop behind the
 * sandbox's walls.
 *
 * A request is one line with a JSON object of scalars, at most SERVER_MAX_REQUEST_BYTES with its
 * newline; so is each answer. "v" is 1 in both; "do" says what is asked for:
 *
 *	{"v":1,"do":"status"}	{"v":1,"ok":true,"state":"running","uptime_ms":N,"cpus":N,
 *				 "mem_mib":N,"kernel":TEXT,"command":TEXT or null}
 *
 * All other requests are its user's: a table of their names, and what serves them. One may be
 * answered later, and may make a stream of its connection.
 *
 * What cannot be done is answered with "ok":false and the reason in "error". What is no such object, or
 * too long, ends the connection, and so does a client that does not take its answers.
 * Descriptors that are passed are not taken.
 *
 * All functions: the loop's thread.
 */
#ifndef LKVM_CONTROL_SERVER_H
#define LKVM_CONTROL_SERVER_H

#include <stdint.h>

#include "socket-name.h"

#define SERVER_MAX_REQUEST_BYTES 4096u
#define SERVER_MAX_CLIENTS	 16u /* one more takes the place of one, see server.c */

struct event_loop;
struct json_object;
struct server;
struct server_connection;

/*
 * Serves one request of the client at @c: answers it by one of the functions below, or lets it wait.
 * The connection may be gone after any of them; nothing else is done with it then.
 */
typedef void (*server_fn)(void *arg, struct server_connection *c,
			  const struct json_object *request);

struct server_request {
	const char *name;
	server_fn fn;
};

/* What it can tell, and whom it asks. All of it is lent. */
struct server_vm {
	uint64_t start_ns; /* CLOCK_MONOTONIC */
	unsigned int cpus;
	uint64_t ram_bytes;
	const char *kernel;
	const char *parent;	   /* the snapshot that it goes on from; NULL: it has booted */
	char *const *arguments;	   /* of a command in it */
	unsigned int nr_arguments; /* 0: there is none */
	const char *(*state)(void *arg);
	const struct server_request *requests; /* up to one without a name */
	void *arg;			       /* for all of these */
};

/* Listens at @path, which is this VM's own. Before the sandbox. 0 or -errno. */
int server_create(struct server **out, struct event_loop *loop, const char *path,
		  const struct server_vm *vm);

/* The socket's name, for the caller to remove. */
struct socket_name server_take_name(struct server *s);

/* Accepts NULL. */
void server_destroy(struct server *s);

/* ---- for those who serve requests ---- */

void server_done(struct server_connection *c);

/* It is done, and @members (printf; ",\"name\":value" and so on) are in the answer. */
void __attribute__((format(printf, 2, 3)))
server_accept(struct server_connection *c, const char *members, ...);

/* It cannot be done, and why: words of ours, which need no escapes. */
void server_refuse(struct server_connection *c, const char *reason);

/*
 * The answer comes later, by server_finish() with the same @tag. The client's next requests wait as
 * well. If it goes away before, @gone is told (may be NULL).
 */
void server_defer(struct server_connection *c, const void *tag, void (*gone)(void *arg), void *arg);

/* Answers all that wait for @tag: that it is done, or, with @reason, why not. */
void server_finish(struct server *s, const void *tag, const char *reason);

/* A line for all that wait for @tag, before their answer, as of server_accept(). */
void __attribute__((format(printf, 3, 4)))
server_tell(struct server *s, const void *tag, const char *members, ...);

/*
 * Answers as server_done() does, and gives the connection's socket (non-blocking) to the caller,
 * who closes it: it is a stream from now on. -1: the client is gone, or has sent
 * something behind its request, which it may not.
 */
int server_take_socket(struct server_connection *c);

#endif
