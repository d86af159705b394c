// SPDX-License-Identifier: GPL-2.0-only
/*
 * A stream of records from a VM into a file (cmd/receive.h).
 *
 * Sources: sigpending(2); unix(7).
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/receive.h"
#include "control/json.h"
#include "io.h"
#include "log.h"
#include "util.h"

#define ANSWER_NS   10000000000ull
#define STATUS_NS   1000000000ull
#define READ_BYTES  262144u
#define LOOK_MS	    100
#define PATIENCE_NS 60000000000ull /* with a VM that sends nothing: it may be stopped itself */
#define SHOW_NS	    200000000ull

/* ---- what a user sees ---- */

static void show_progress(struct receive *r)
{
	const uint64_t now = now_ns();
	char text[96];

	if (!r->shows || !r->file->size || now - r->shown_ns < SHOW_NS)
		return;
	snprintf(text, sizeof(text), "\rlkvm: %s: %3u %% of %llu MiB", r->what,
		 (unsigned int)((double)r->file->at * 100 / (double)r->file->size),
		 (unsigned long long)(r->file->size >> 20));
	log_raw(text);
	r->shown_ns = now;
	r->shown = true;
}

/* It has hung up, but not because it is gone. */
static bool still_runs(const struct receive *r)
{
	struct client c;
	bool answered;

	client_init(&c, r->vm->socket_path, "{\"v\":1,\"do\":\"status\"}\n");
	client_ask(&c, 1, now_ns() + STATUS_NS);
	answered = c.answered;
	client_fini(&c);
	return answered;
}

static void report_failure(const struct receive *r, int rc)
{
	const char *name = r->vm->name;

	switch (rc) {
	case -EINTR:
		break;
	case -EPROTO:
		log_error("%s: %s: what it says makes no sense", r->what, name);
		break;
	case -EPIPE:
		log_error("%s: %s: %s", r->what, name,
			  still_runs(r) ? "it has given up, and goes on: for half a minute nothing of it was taken" :
					  "it has ended meanwhile");
		break;
	case -ETIMEDOUT:
		log_error("%s: %s: it does not go on", r->what, name);
		break;
	default:
		log_error("%s: %s: %s", r->what, r->path, strerror(-rc));
	}
}

/* ---- signals ---- */

static const int end_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

static void set_end_signals(int how)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(end_signals); i++)
		sigaddset(&set, end_signals[i]);
	sigprocmask(how, &set, NULL);
}

static bool is_signalled(void)
{
	sigset_t set;
	bool is = false;

	sigpending(&set);
	for (size_t i = 0; i < ARRAY_SIZE(end_signals); i++)
		is |= sigismember(&set, end_signals[i]) == 1;
	return is;
}

/* ---- all ---- */

/* Until it is complete: 0; -EINTR: we are to end; otherwise as vmcore_file_feed(), -EPIPE, -ETIMEDOUT. */
static int receive_until_complete(struct receive *r, void *buffer)
{
	uint64_t deadline = now_ns() + PATIENCE_NS;
	int rc = 0;

	while (!rc) {
		struct pollfd p = { .fd = r->socket, .events = POLLIN };
		ssize_t n = -1;

		if (is_signalled())
			return -EINTR;
		if (poll_fds(&p, 1, LOOK_MS) > 0) {
			n = socket_recv(r->socket, buffer, READ_BYTES);
			if (!n || (n < 0 && errno != EAGAIN))
				return -EPIPE;
		}
		if (n > 0) {
			rc = vmcore_file_feed(r->file, buffer, (size_t)n);
			deadline = now_ns() + PATIENCE_NS;
			show_progress(r);
		} else if (now_ns() >= deadline) {
			rc = -ETIMEDOUT;
		}
	}
	return rc < 0 ? rc : 0;
}

static int receive_records(struct receive *r)
{
	void *buffer = malloc(READ_BYTES);
	const char *rest;
	size_t bytes;
	int rc;

	r->socket = client_take_socket(&r->client, &rest, &bytes);
	rc = buffer ? vmcore_file_feed(r->file, rest, bytes) : -ENOMEM;
	if (rc >= 0)
		rc = rc ? 0 : receive_until_complete(r, buffer);
	free(buffer);
	if (r->shown)
		log_raw("\r\033[K");
	return rc;
}

int receive_file(struct receive *r, const char *request)
{
	char text[LOG_NAME_BYTES];
	const char *reason;
	int rc;

	client_init(&r->client, r->vm->socket_path, request);
	client_ask(&r->client, 1, now_ns() + ANSWER_NS);
	if (!r->client.answered || !json_is_true(&r->client.answer, "ok")) {
		reason = r->client.answered ? json_get_string(&r->client.answer, "error") : NULL;
		log_error("%s: %s: %s", r->what, r->vm->name,
			  reason ? log_name(text, sizeof(text), reason) : "it does not answer");
		return -ECONNREFUSED;
	}
	rc = receive_records(r);
	if (rc)
		report_failure(r, rc);
	return rc;
}

void receive_begin(struct receive *r, const char *what, const struct registry_vm *vm,
		   const char *path, struct vmcore_file *file)
{
	*r = (struct receive){
		.what = what,
		.vm = vm,
		.path = path,
		.file = file,
		.socket = -1,
		.shows = isatty(STDERR_FILENO) && log_shows(LOG_NOTICE),
	};
	client_init(&r->client, vm->socket_path, "");
	set_end_signals(SIG_BLOCK);
}

void receive_end(struct receive *r)
{
	if (r->socket >= 0)
		close(r->socket);
	client_fini(&r->client);
	set_end_signals(SIG_UNBLOCK); /* ends us if there was one */
}
