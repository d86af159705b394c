// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes beside the VM (sandbox/helper.h): fork() and a pair of sockets, whose end of file
 * tells each side that the other is gone. Nobody waits for the process itself: it has
 * ended before lkvm does, and is init's then.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io.h"
#include "sandbox/fds.h"
#include "sandbox/helper.h"
#include "util.h"

static void __attribute__((noreturn)) be_helper(const char *name, int socket,
						void (*fn)(int socket, void *arg), void *arg,
						const int *fds, unsigned int nr_fds)
{
	int keep[HELPER_MAX_FDS + 2] = { STDERR_FILENO, socket };

	for (unsigned int i = 0; i < nr_fds; i++)
		keep[2 + i] = fds[i];
	fds_close_others(keep, 2 + nr_fds);
	prctl(PR_SET_NAME, name);
	fn(socket, arg);
	_exit(0);
}

int helper_start(const char *name, void (*fn)(int socket, void *arg), void *arg, const int *fds,
		 unsigned int nr_fds)
{
	int pair[2], rc;
	sigset_t all, old;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* of the sandbox: caused, not sent */
	sigprocmask(SIG_SETMASK, &all, &old);
	child = fork();
	rc = child < 0 ? -errno : pair[0];
	if (!child)
		be_helper(name, pair[1], fn, arg, fds, nr_fds);
	sigprocmask(SIG_SETMASK, &old, NULL);
	close(pair[1]);
	if (rc < 0)
		close(pair[0]);
	return rc;
}

bool helper_is_called(int socket)
{
	struct pollfd p = { .fd = socket, .events = POLLIN };

	return poll_fds(&p, 1, 0) > 0;
}

bool helper_next(int socket, char *order)
{
	ssize_t n;

	do
		n = read(socket, order, sizeof(*order));
	while (n < 0 && errno == EINTR);
	return n == sizeof(*order);
}

bool helper_call(int socket, char order)
{
	return socket_send(socket, &order, sizeof(order)) == sizeof(order);
}

bool helper_end(int socket, char order, unsigned int patience_ms)
{
	const uint64_t deadline = now_ns() + patience_ms * 1000000ull;
	struct pollfd p = { .fd = socket, .events = POLLIN };
	bool ended = !helper_call(socket, order); /* or told by the end of file */
	char byte;

	while (!ended) {
		uint64_t now = now_ns();
		int n = now < deadline ? poll_fds(&p, 1, (int)((deadline - now) / 1000000) + 1) : 0;

		if (!n)
			break;
		ended = n > 0 && socket_recv(socket, &byte, sizeof(byte)) == 0;
	}
	close(socket);
	return ended;
}
