// SPDX-License-Identifier: GPL-2.0-only
/*
 * The end in the first milliseconds (early-end.h).
 *
 * What a handler may do is to write and to end. So the texts are made beforehand, one for each
 * signal, and there is no way to a handler but a variable of this file (DESIGN rule 8).
 *
 * An open(2) that waits for a file system (FUSE, NFS) is ended by what kills the process and by
 * nothing else: a handler does not run before it returns. So a thread opens the report's file, and
 * the handler runs on the first one. From the moment in which the file is there it is not left
 * without a report: who comes in between waits for the thread, if not for long.
 *
 * Sources: signal(7), signal-safety(7); request_wait_answer() of Linux's fs/fuse/dev.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/early-end.h"
#include "listener.h"
#include "output.h"
#include "util.h"

#define OPENING_NS 1000000000ull /* how long an open() that is near its end may take */

static const struct {
	int signal;
	struct outcome outcome;
} endings[] = {
	{ SIGTERM, { "killed", EXIT_SIGNAL(SIGTERM), NULL } },
	{ SIGINT, { "killed", EXIT_SIGNAL(SIGINT), NULL } },
	{ SIGHUP, { "killed", EXIT_SIGNAL(SIGHUP), NULL } },
	{ SIGQUIT, { "killed", EXIT_SIGNAL(SIGQUIT), NULL } },
	{ SIGALRM, { "timeout", EXIT_TIMEOUT, NULL } },
};

static struct {
	atomic_bool armed;
	atomic_bool opening; /* by a thread, which then stores: */
	atomic_int fd;	     /* of the report; -errno: there is none */
	const char *file;    /* to be removed; NULL: none. Changes with all signals blocked: */
	sigset_t held;	     /* ... and what was blocked before */
	char *texts[ARRAY_SIZE(endings)];
	size_t bytes[ARRAY_SIZE(endings)];
} early = { .fd = -EBADF };

static void wait_for_file(void)
{
	uint64_t deadline = now_ns() + OPENING_NS;

	while (atomic_load(&early.opening) && wait_a_moment(deadline))
		;
}

static void early_end_on_signal(int signal)
{
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		if (endings[i].signal != signal || !atomic_load(&early.armed))
			continue;
		listener_remove_names();
		if (early.file)
			unlink(early.file);
		wait_for_file();
		/* A reader that has stopped changes no status. */
		if (early.texts[i] && early.fd >= 0 && write(early.fd, early.texts[i], early.bytes[i]) < 0)
			errno = 0;
		_exit(endings[i].outcome.status);
	}
}

static void set_handlers(void)
{
	struct sigaction sa = { .sa_handler = early_end_on_signal }, old;

	sigfillset(&sa.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++)
		/* nohup; but the alarm is our own */
		if (endings[i].signal == SIGALRM ||
		    (!sigaction(endings[i].signal, NULL, &old) && old.sa_handler != SIG_IGN))
			sigaction(endings[i].signal, &sa, NULL);
}

void early_end_arm(const struct report *report, uint64_t timeout_ns)
{
	struct itimerval at = { { 0, 0 }, { 0, 0 } };
	uint64_t timeout_us = (timeout_ns + 999) / 1000;
	struct report r = *report;

	r.wall_ns = -1;
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		r.outcome = endings[i].outcome;
		early.texts[i] = report_text(&r, &early.bytes[i]);
	}
	atomic_store(&early.armed, true);
	set_handlers();
	/* 0 is none. */
	at.it_value.tv_sec = (time_t)(timeout_us / 1000000);
	at.it_value.tv_usec = (suseconds_t)(timeout_us % 1000000);
	setitimer(ITIMER_REAL, &at, NULL);
}

static void *open_report(void *path)
{
	atomic_store(&early.fd, output_open(path, O_TRUNC));
	atomic_store(&early.opening, false);
	return NULL;
}

int early_end_open(const char *path)
{
	pthread_t thread;
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	atomic_store(&early.opening, true);
	sigprocmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&thread, NULL, open_report, (void *)(uintptr_t)path);
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (rc)
		atomic_store(&early.fd, -rc);
	else
		pthread_join(thread, NULL);
	atomic_store(&early.opening, false);
	return atomic_load(&early.fd);
}

void early_end_hold(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &early.held);
}

void early_end_release(const char *path)
{
	early.file = path;
	sigprocmask(SIG_SETMASK, &early.held, NULL);
}

/* By no system call: the sandbox may be around us. */
void early_end_disarm(void)
{
	atomic_store(&early.armed, false);
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		free(early.texts[i]);
		early.texts[i] = NULL;
	}
}
