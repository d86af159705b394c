// SPDX-License-Identifier: GPL-2.0-only
/*
 * Going into the background (cmd/detach.h).
 *
 * Two pipes lead to the front: the background's stderr, and one for the name. Behind the sandbox's
 * filters nothing can be opened or moved, so stderr stays that pipe: when the front has ended nobody
 * reads it, and what is written there is an error (EPIPE) that concerns nobody. The name's pipe is open
 * in the VM's process only, and is at its end when that ends, however it does.
 *
 * Sources: setsid(2), pipe(7), signalfd(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/detach.h"
#include "control/registry.h"
#include "io.h"
#include "log.h"
#include "util.h"

/* What is to end the run is passed on to it. */
static const int passed_on[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

struct front {
	pid_t run;
	int messages, name, signals;
};

static void empty_descriptor(int fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		close(fd);
	else
		dup2(null, fd);
	if (null >= 0)
		close(null);
}

void detach_close_stdin(void)
{
	empty_descriptor(STDIN_FILENO);
}

bool detach_tell(struct detach *d, const char *name)
{
	size_t bytes = strlen(name);
	bool told;

	if (d->fd < 0)
		return true;
	told = write(d->fd, name, bytes) == (ssize_t)bytes;
	close(d->fd);
	d->fd = -1;
	return told;
}

/* ---- in front ---- */

/* What is there. False at the end. */
static bool pass_messages_on(int fd)
{
	char text[4096];
	ssize_t n;

	while ((n = read(fd, text, sizeof(text))) > 0)
		for (ssize_t done = 0, part; done < n; done += part) {
			part = write(STDERR_FILENO, text + done, (size_t)(n - done));
			if (part < 0)
				break; /* nobody reads them */
		}
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static int status_of_run(pid_t run)
{
	int status;

	while (waitpid(run, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_LKVM;
	return WIFSIGNALED(status) ? EXIT_SIGNAL(WTERMSIG(status)) : WEXITSTATUS(status);
}

static void pass_signal_on(const struct front *f)
{
	struct signalfd_siginfo info;

	if (read(f->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		kill(f->run, (int)info.ssi_signo);
}

/* Until the name has come, or its pipe is at its end. How many bytes. */
static size_t wait_for_name(struct front *f, char *name, size_t room)
{
	ssize_t n = 0;

	for (;;) {
		struct pollfd p[] = {
			{ .fd = f->messages, .events = POLLIN },
			{ .fd = f->signals, .events = POLLIN },
			{ .fd = f->name, .events = POLLIN },
		};

		if (poll_fds(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		if (p[0].revents && !pass_messages_on(f->messages)) {
			close(f->messages);
			f->messages = -1;
		}
		if (p[1].revents)
			pass_signal_on(f);
		if (p[2].revents)
			break;
	}
	n = read(f->name, name, room);
	return n > 0 ? (size_t)n : 0;
}

static int detach_be_front(struct front *f)
{
	char name[REGISTRY_MAX_NAME_BYTES + 1] = "";
	size_t bytes = wait_for_name(f, name, sizeof(name) - 1);
	int status = bytes ? EXIT_OK : status_of_run(f->run);

	if (f->messages >= 0)
		pass_messages_on(f->messages);
	if (bytes)
		puts(name);
	return status;
}

/* ---- in the background ---- */

static void leave_caller(const sigset_t *mask, bool keep_stdin, int messages)
{
	setsid();
	if (!keep_stdin)
		empty_descriptor(STDIN_FILENO);
	empty_descriptor(STDOUT_FILENO);
	dup2(messages, STDERR_FILENO);
	log_init();
	sigprocmask(SIG_SETMASK, mask, NULL);
}

/* ---- both ---- */

static int refuse_detach(int error)
{
	log_error("detach: %s", strerror(error));
	return EXIT_LKVM;
}

/* Signals from here on are read by who is in front. */
static int open_front(struct front *f, int ends[2], sigset_t *before)
{
	int messages[2], name[2];
	sigset_t set;

	if (pipe2(messages, O_CLOEXEC) || pipe2(name, O_CLOEXEC))
		return -errno;
	f->messages = messages[0];
	f->name = name[0];
	ends[0] = messages[1];
	ends[1] = name[1];
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++)
		sigaddset(&set, passed_on[i]);
	sigprocmask(SIG_BLOCK, &set, before);
	signal(SIGCHLD, SIG_DFL); /* ignored, there would be no status */
	f->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return f->signals < 0 || fcntl(f->messages, F_SETFL, O_NONBLOCK) ? -errno : 0;
}

bool detach_start(struct detach *d, bool keep_stdin, int *status)
{
	sigset_t before;
	struct front f = { 0 };
	int ends[2] = { -1, -1 }, rc = open_front(&f, ends, &before);

	if (!rc) {
		f.run = fork();
		rc = f.run < 0 ? -errno : 0;
	}
	if (rc) {
		*status = refuse_detach(-rc);
		return true;
	}
	if (f.run) {
		close(ends[0]);
		close(ends[1]);
		*status = detach_be_front(&f);
		return true;
	}
	close(f.messages);
	close(f.name);
	close(f.signals);
	leave_caller(&before, keep_stdin, ends[0]);
	close(ends[0]);
	d->fd = ends[1];
	return false;
}
