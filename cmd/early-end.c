// SPDX-License-Identifier: GPL-2.0-only
/*
 * The end in the first milliseconds (early-end.h).
 *
 * What a handler may do is to write and to end. So the texts are made beforehand, one for each
 * signal, and there is no way to a handler but a variable of this file (DESIGN rule 8).
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/early-end.h"
#include "listener.h"
#include "util.h"

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
	int fd;
	char *texts[ARRAY_SIZE(endings)];
	size_t bytes[ARRAY_SIZE(endings)];
} early;

static void early_end_on_signal(int signal)
{
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		if (endings[i].signal != signal || !atomic_load(&early.armed))
			continue;
		listener_remove_names();
		/* A reader that has stopped changes no status. */
		if (early.texts[i] && write(early.fd, early.texts[i], early.bytes[i]) < 0)
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

sigset_t early_end_hold(void)
{
	sigset_t set, old;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++)
		sigaddset(&set, endings[i].signal);
	sigprocmask(SIG_BLOCK, &set, &old);
	return old;
}

void early_end_arm(int json_fd, const struct report *report, uint64_t timeout_ns,
		   const sigset_t *mask)
{
	struct itimerval at = { { 0, 0 }, { 0, 0 } };
	uint64_t timeout_us = (timeout_ns + 999) / 1000;
	struct report r = *report;

	early.fd = json_fd;
	r.wall_ns = -1;
	for (size_t i = 0; i < ARRAY_SIZE(endings) && json_fd >= 0; i++) {
		r.outcome = endings[i].outcome;
		early.texts[i] = report_text(&r, &early.bytes[i]);
	}
	atomic_store(&early.armed, true);
	set_handlers();
	/* 0 is none. */
	at.it_value.tv_sec = (time_t)(timeout_us / 1000000);
	at.it_value.tv_usec = (suseconds_t)(timeout_us % 1000000);
	setitimer(ITIMER_REAL, &at, NULL);
	sigprocmask(SIG_SETMASK, mask, NULL);
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
