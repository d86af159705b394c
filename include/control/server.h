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
 *	{"v":1,"do":"pause"}	pauses it; {"v":1,"ok":true} when it is
 *	{"v":1,"do":"resume"}	lets it go on
 *	{"v":1,"do":"stop"}	ends the VM as SIGTERM does; {"v":1,"ok":true}, before it has ended
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
#define SERVER_MAX_CLIENTS 16u		/* one more takes the place of the one that was silent the longest */

struct event_loop;

/* What it can tell and do. All of it is lent. */
struct server_vm {
	uint64_t start_ns;		/* CLOCK_MONOTONIC */
	unsigned int cpus;
	uint64_t ram_bytes;
	const char *kernel;
	char *const *arguments;		/* of a command in it */
	unsigned int nr_arguments;	/* 0: there is none */
	const char *(*state)(void *arg);
	void (*end)(void *arg, int signal);
	/* 0: it is; -EINPROGRESS: server_paused() tells; another -errno. */
	int (*pause)(void *arg);
	void (*resume)(void *arg);
	void *arg;
};

struct server;

/* Listens at @path, which is this VM's own. Before the sandbox. 0 or -errno. */
int server_create(struct server **out, struct event_loop *loop, const char *path,
		  const struct server_vm *vm);

/* What came of a pause: 0 or -errno. */
void server_paused(struct server *s, int rc);

/* The socket's name, for the caller to remove. */
struct socket_name server_take_name(struct server *s);

/* Accepts NULL. */
void server_destroy(struct server *s);

#endif
