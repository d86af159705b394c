// SPDX-License-Identifier: GPL-2.0-only
/*
 * The terminal: whose it is, and its mode (tty.h).
 *
 * Fatal signals have no other way to the terminal, nor to what they mean, than a variable of this file
 * (DESIGN rule 8).
 *
 * Sources: termios(3), tcgetpgrp(3), credentials(7) on jobs.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "tty.h"
#include "util.h"

#define EXIT_FILE_LOST 125 /* EXIT_LKVM of cmd/cmd.h */

static struct {
	atomic_bool active;
	int fd;
	pid_t pid; /* ours; the main thread's id, too */
	pid_t group;
	struct termios mode;
	/* What of our memory is a file, and what to say if that is not there any more. */
	uintptr_t file, file_end;
	const char *words;
} saved_terminal;

static const int fatal_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS };

void tty_restore(void)
{
	if (atomic_exchange(&saved_terminal.active, false))
		tcsetattr(saved_terminal.fd, TCSANOW, &saved_terminal.mode);
}

/* SA_RESETHAND: the second one kills. Not raise(), which the sandbox does not allow. */
static void on_fatal_signal(int signal, siginfo_t *info, void *context)
{
	const uintptr_t at = (uintptr_t)info->si_addr;

	(void)context;
	tty_restore();
	if (signal == SIGBUS && at >= saved_terminal.file && at < saved_terminal.file_end) {
		const ssize_t n = write(STDERR_FILENO, saved_terminal.words, strlen(saved_terminal.words));

		(void)n; /* nobody hears it */
		_exit(EXIT_FILE_LOST);
	}
	syscall(SYS_tgkill, saved_terminal.pid, saved_terminal.pid, signal);
}

void tty_init(void)
{
	struct sigaction sa = { .sa_sigaction = on_fatal_signal, .sa_flags = (int)(SA_RESETHAND | SA_SIGINFO) };

	saved_terminal.pid = getpid();
	saved_terminal.group = getpgrp();
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++) {
		struct sigaction old;

		/* SIGSYS may be the sandbox's. */
		if (fatal_signals[i] != SIGSYS ||
		    (!sigaction(SIGSYS, NULL, &old) && old.sa_handler == SIG_DFL))
			sigaction(fatal_signals[i], &sa, NULL);
	}
}

void tty_name_file(const void *start, size_t bytes, const char *words)
{
	saved_terminal.words = words;
	saved_terminal.file = (uintptr_t)start;
	saved_terminal.file_end = (uintptr_t)start + bytes;
}

/* A terminal that does not control us has no jobs of ours to tell apart. */
static enum tty_state whose(int fd)
{
	pid_t group;

	if (fd < 0)
		return TTY_NONE;
	if (!isatty(fd))
		return errno == EIO ? TTY_GONE : TTY_NONE;
	group = tcgetpgrp(fd);
	if (group < 0)
		return errno == ENOTTY ? TTY_RAW : TTY_GONE;
	return group == saved_terminal.group ? TTY_RAW : TTY_BACKGROUND;
}

static void forget(void)
{
	atomic_store(&saved_terminal.active, false);
}

enum tty_state tty_take(int fd)
{
	enum tty_state state = whose(fd);
	struct termios raw;

	if (state != TTY_RAW) {
		forget(); /* the shell has given it a mode of its own */
		return state;
	}
	if (tcgetattr(fd, &raw))
		return TTY_GONE;
	if (!atomic_load(&saved_terminal.active)) {
		saved_terminal.fd = fd;
		saved_terminal.mode = raw;
		atomic_store(&saved_terminal.active, true);
	}
	cfmakeraw(&raw);
	if (!tcsetattr(fd, TCSANOW, &raw))
		return TTY_RAW;
	forget();
	return TTY_GONE;
}

void tty_give_back(void)
{
	if (atomic_load(&saved_terminal.active) && whose(saved_terminal.fd) == TTY_RAW)
		tty_restore();
	forget();
}

void tty_open_std_fds(void)
{
	int fd;

	/* open() returns the lowest free number, so the holes fill up in order. */
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}
