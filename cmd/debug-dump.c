// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm debug NAME --dump FILE`: asks for a vmcore and writes the file.
 *
 * What comes is a VM's, and checked where it is taken (control/vmcore-file.c). Signals that end us are
 * blocked and looked for between two waits, so that a file that has a hidden name does not keep it.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/debug.h"
#include "control/client.h"
#include "control/registry.h"
#include "control/vmcore-file.h"
#include "io.h"
#include "log.h"
#include "util.h"

#define READ_BYTES 262144u
#define LOOK_MS 100
#define PATIENCE_NS 60000000000ull	/* with a VM that sends nothing: it may be stopped itself */
#define SHOW_NS 200000000ull

struct dump {
	const struct registry_vm *vm;
	const char *path;
	struct vmcore_file file;
	bool shows;			/* how far it is, on a terminal */
	bool shown;
	uint64_t shown_ns;
};

/* ---- what a user sees ---- */

static void show_progress(struct dump *d)
{
	const uint64_t now = now_ns();
	char text[64];

	if (!d->shows || !d->file.size || now - d->shown_ns < SHOW_NS)
		return;
	snprintf(text, sizeof(text), "\rlkvm: dump: %3u %% of %llu MiB",
		 (unsigned int)((double)d->file.at * 100 / (double)d->file.size),
		 (unsigned long long)(d->file.size >> 20));
	log_raw(text);
	d->shown_ns = now;
	d->shown = true;
}

static void wipe_progress(const struct dump *d)
{
	if (d->shown)
		log_raw("\r\033[K");
}

/* @rc as of receive_vmcore(). */
static int tell_end(const struct dump *d, int rc)
{
	const char *name = d->vm->name;

	switch (rc) {
	case 0:
		if (!(d->file.what & VMCORE_HAS_INFO))
			log_notice("dump: %s: the kernel in it has no VMCOREINFO (yet), which drgn needs", d->path);
		if (d->file.what & VMCORE_LACKS_CPU)
			log_notice("dump: %s: the registers of a CPU could not be read, and are 0", d->path);
		return EXIT_OK;
	case -EPROTO:
		log_error("dump: %s: what it says makes no sense", name);
		break;
	case -EPIPE:
		log_error("dump: %s: it has ended meanwhile", name);
		break;
	case -ETIMEDOUT:
		log_error("dump: %s: it does not go on", name);
		break;
	default:
		log_error("dump: %s: %s", d->path, strerror(-rc));
	}
	return EXIT_NOT_DONE;
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
static int receive_vmcore(struct dump *d, int socket, void *buffer)
{
	uint64_t deadline = now_ns() + PATIENCE_NS;
	int rc = 0;

	while (!rc) {
		struct pollfd p = { .fd = socket, .events = POLLIN };
		ssize_t n = -1;

		if (is_signalled())
			return -EINTR;
		if (poll_fds(&p, 1, LOOK_MS) > 0) {
			n = socket_recv(socket, buffer, READ_BYTES);
			if (!n || (n < 0 && errno != EAGAIN))
				return -EPIPE;
		}
		if (n > 0) {
			rc = vmcore_file_feed(&d->file, buffer, (size_t)n);
			deadline = now_ns() + PATIENCE_NS;
			show_progress(d);
		} else if (now_ns() >= deadline) {
			rc = -ETIMEDOUT;
		}
	}
	return rc < 0 ? rc : 0;
}

/* @answered: what followed the answer already. */
static int take_vmcore(struct dump *d, struct client *c)
{
	const char *rest;
	size_t bytes;
	int socket = client_take_socket(c, &rest, &bytes);
	void *buffer = malloc(READ_BYTES);
	int rc = buffer ? vmcore_file_feed(&d->file, rest, bytes) : -ENOMEM;

	if (rc >= 0)
		rc = rc ? 0 : receive_vmcore(d, socket, buffer);
	if (!rc)
		rc = vmcore_file_commit(&d->file);
	close(socket);
	free(buffer);
	return rc;
}

static int refuse_dump(const struct dump *d, const struct client *c)
{
	const char *reason = c->answered ? json_get_string(&c->answer, "error") : NULL;
	char text[LOG_NAME_BYTES];

	log_error("dump: %s: %s", d->vm->name,
		  reason ? log_name(text, sizeof(text), reason) : "it does not answer");
	return EXIT_NOT_DONE;
}

static int ask_for_dump(struct dump *d, struct client *c)
{
	int rc;

	client_init(c, d->vm->socket_path, "{\"v\":1,\"do\":\"dump\"}\n");
	client_ask(c, 1, now_ns() + DEBUG_ANSWER_NS);
	if (!c->answered || !json_is_true(&c->answer, "ok"))
		return refuse_dump(d, c);
	rc = take_vmcore(d, c);
	wipe_progress(d);
	return rc == -EINTR ? EXIT_NOT_DONE : tell_end(d, rc);
}

int debug_dump(const struct registry_vm *vm, const char *path)
{
	struct dump d = { .vm = vm, .path = path, .shows = isatty(STDERR_FILENO) && log_shows(LOG_NOTICE) };
	struct client *c = malloc(sizeof(*c));
	int status;

	if (!c) {
		log_enomem("dump");
		return EXIT_LKVM;
	}
	set_end_signals(SIG_BLOCK);
	status = EXIT_LKVM;
	if (!vmcore_file_open(&d.file, "dump", path, false)) {
		status = ask_for_dump(&d, c);
		client_fini(c);
		vmcore_file_close(&d.file);
	}
	set_end_signals(SIG_UNBLOCK);	/* ends us if there was one */
	free(c);
	return status;
}
