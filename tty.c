// SPDX-License-Identifier: GPL-2.0-only
/*
 * The terminal's mode (tty.h).
 *
 * Fatal signals have no other way to the terminal than a variable of this file (DESIGN rule 8).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "tty.h"
#include "util.h"

static struct {
	atomic_bool active;
	int fd;
	pid_t pid;		/* ours; the main thread's id, too; 0: not asked yet */
	bool catches_signals;
	struct termios mode;
} saved_terminal;

static const int fatal_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS };

void tty_restore(void)
{
	if (atomic_exchange(&saved_terminal.active, false))
		tcsetattr(saved_terminal.fd, TCSANOW, &saved_terminal.mode);
}

void tty_forget(void)
{
	atomic_store(&saved_terminal.active, false);
}

/* SA_RESETHAND: the second one kills. Not raise(), which the sandbox does not allow. */
static void on_fatal_signal(int signal)
{
	tty_restore();
	syscall(SYS_tgkill, saved_terminal.pid, saved_terminal.pid, signal);
}

static void catch_fatal_signals(void)
{
	struct sigaction sa = { .sa_handler = on_fatal_signal, .sa_flags = (int)SA_RESETHAND };

	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++) {
		struct sigaction old;

		/* SIGSYS may be the sandbox's. */
		if (fatal_signals[i] != SIGSYS ||
		    (!sigaction(SIGSYS, NULL, &old) && old.sa_handler == SIG_DFL))
			sigaction(fatal_signals[i], &sa, NULL);
	}
}

void tty_init(void)
{
	saved_terminal.pid = 0;
	saved_terminal.catches_signals = false;
}

/*
 * A terminal refuses its background jobs even a read of nothing, if they have SIGTTIN blocked.
 * tcgetpgrp() says nothing about process groups outside our PID namespace.
 */
bool tty_in_foreground(int fd)
{
	return read(fd, NULL, 0) == 0 || errno != EIO;
}

bool tty_make_raw(int fd)
{
	struct termios raw;

	if (!saved_terminal.pid)	/* later the sandbox would not let us ask */
		saved_terminal.pid = getpid();
	if (tcgetattr(fd, &raw))
		return false;
	saved_terminal.fd = fd;
	saved_terminal.mode = raw;
	atomic_store(&saved_terminal.active, true);
	if (!saved_terminal.catches_signals)
		catch_fatal_signals();
	saved_terminal.catches_signals = true;
	cfmakeraw(&raw);
	if (!tcsetattr(fd, TCSANOW, &raw))
		return true;
	tty_forget();
	return false;
}

void tty_make_raw_again(int fd)
{
	struct termios mode;

	if (tcgetattr(fd, &mode))
		return;
	cfmakeraw(&mode);
	tcsetattr(fd, TCSANOW, &mode);
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
