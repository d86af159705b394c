/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The other end of a VM's socket: one request, one answer, and a bound on how long that takes. What
 * comes is a VM's, which is hostile: a guest may have taken it over.
 *
 * All functions: the main thread.
 */
#ifndef LKVM_CONTROL_CLIENT_H
#define LKVM_CONTROL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/json.h"

#define CLIENT_MAX_ANSWER_BYTES 16384u

struct client {
	const char *path;    /* of the socket; lent */
	const char *request; /* a line; lent */
	int fd;		     /* -1: not connected */
	bool done;	     /* there will be nothing more */
	size_t bytes;
	char text[CLIENT_MAX_ANSWER_BYTES];
	bool answered; /* and this is what it is: */
	struct json_object answer;
	size_t rest_at; /* in text: what came behind it */
};

void client_init(struct client *c, const char *path, const char *request);

/*
 * Asks all of them at once, and waits until each has answered, or until @deadline (of now_ns()). Who
 * has not is not answered.
 */
void client_ask(struct client *clients, unsigned int nr, uint64_t deadline);

/*
 * Of one that has answered with success: its connection (non-blocking), which is the caller's from
 * now on. What has come on it already is *bytes at *text, as long as @c is there.
 */
int client_take_socket(struct client *c, const char **text, size_t *bytes);

void client_fini(struct client *c);

#endif
