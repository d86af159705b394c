// SPDX-License-Identifier: GPL-2.0-only
/*
 * The process in front of the VM's (front.h): attend() is what it does until the VM ends.
 *
 * Nothing that a guest says gets here: a process that has been taken over can ask for a stop
 * of its own job, which it could always do, and end.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "fds.h"
#include "front.h"
#include "helper.h"
#include "io.h"
#include "log.h"
#include "sandbox.h"
#include "util.h"

#define ORDER_READY 'r'
#define ORDER_STOP 's'

static const int stop_signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
static const int other_signals[] = { SIGWINCH, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGCHLD };

struct attendant {
	pid_t vm, group;
	int socket;		/* -1: the VM has closed it */
	int signal_fd;
	bool ready;		/* the VM reads signals */
	bool has_terminal;
	struct termios mode;	/* of the terminal, before the VM changes it */
};

void front_get_stop_signals(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++) {
		struct sigaction sa;

		if (!sigaction(stop_signals[i], NULL, &sa) && sa.sa_handler != SIG_IGN)
			sigaddset(set, stop_signals[i]);
	}
}

void front_init(struct front *f)
{
	f->socket = -1;
}

void front_fini(struct front *f)
{
	if (f->socket >= 0)
		close(f->socket);
	f->socket = -1;
}

/* ---- in the VM's process ---- */

int front_wait(const struct front *f, struct sandbox *s)
{
	struct pollfd p = { .fd = f->socket, .events = POLLIN };

	if (s->builder < 0)
		return 0;
	while (poll_fds(&p, 1, -1) < 0)
		;
	if (socket_recv(f->socket, &s->built, sizeof(s->built)) == (ssize_t)sizeof(s->built))
		return 0;
	return -EPIPE;	/* after a message of the other */
}

void front_tell_ready(const struct front *f)
{
	if (f->socket >= 0)
		helper_call(f->socket, ORDER_READY);
}

bool front_is_asked(const struct front *f, bool *gone)
{
	char order = 0;
	ssize_t n = socket_recv(f->socket, &order, sizeof(order));

	*gone = !n;
	return n > 0 && order == ORDER_STOP;
}

/*
 * SIGTSTP is blocked: the one that comes to us, too, waits until we are ready for it. Here we
 * stop and go on.
 */
static void stop_group(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	kill(0, SIGTSTP);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

bool front_suspend(const struct front *f)
{
	if (f->socket >= 0)
		return !helper_call(f->socket, ORDER_STOP);
	stop_group();
	return true;
}

/* ---- in the process in front ---- */

/* The first process of a namespace does not stop by itself, but it has to by our SIGSTOP. */
static void stop_job(const struct attendant *a)
{
	kill(a->vm, SIGSTOP);
	stop_group();
	kill(a->vm, SIGCONT);
}

static void take_order(struct attendant *a)
{
	char order;
	ssize_t n = read(a->socket, &order, sizeof(order));

	if (!n) {
		close(a->socket);
		a->socket = -1;
	} else if (n > 0 && order == ORDER_READY) {
		a->ready = true;
	} else if (n > 0 && order == ORDER_STOP) {
		stop_job(a);
	}
}

static int end_by_signal(const struct attendant *a, int signal)
{
	log_error("the VM's process was ended by signal %d (%s)", signal, strsignal(signal));
	/* It had no chance to do so itself. A background job's terminal is somebody else's. */
	if (a->has_terminal && tcgetpgrp(STDIN_FILENO) == a->group)
		tcsetattr(STDIN_FILENO, TCSANOW, &a->mode);
	return 128 + signal;
}

/* The VM's status if it has ended; -1 if not. */
static int take_end(const struct attendant *a)
{
	int status;
	pid_t pid = waitpid(a->vm, &status, WNOHANG);

	if (!pid)
		return -1;
	if (pid < 0) {
		log_error("the VM's process: %s", strerror(errno));
		return SANDBOX_EXIT_STATUS;
	}
	return WIFSIGNALED(status) ? end_by_signal(a, WTERMSIG(status)) : WEXITSTATUS(status);
}

/* The status to end with, or -1. */
static int take_signal(struct attendant *a)
{
	struct signalfd_siginfo info;

	if (read(a->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return -1;
	switch (info.ssi_signo) {
	case SIGCHLD:
		return take_end(a);
	case SIGTSTP:
		if (!a->ready || a->socket < 0 || !helper_call(a->socket, ORDER_STOP))
			stop_job(a);
		return -1;
	case SIGTTIN:
	case SIGTTOU:
		stop_job(a);
		return -1;
	case SIGCONT:
	case SIGWINCH:
		kill(a->vm, (int)info.ssi_signo);
		return -1;
	default:
		if (a->ready) {
			kill(a->vm, (int)info.ssi_signo);
			return -1;
		}
		kill(a->vm, SIGKILL);
		waitpid(a->vm, NULL, 0);
		return 128 + (int)info.ssi_signo;
	}
}

/* The VM's status. */
static int attend(struct attendant *a)
{
	int status = -1;

	while (status < 0) {
		struct pollfd p[] = {
			{ .fd = a->socket, .events = POLLIN }, { .fd = a->signal_fd, .events = POLLIN },
		};

		poll_fds(p, ARRAY_SIZE(p), -1);
		if (p[0].revents)
			take_order(a);
		if (p[1].revents)
			status = take_signal(a);
	}
	return status;
}

/* 0 or -errno, after a message. A VM that has ended meanwhile has said why by itself. */
static int build(const struct attendant *a, struct sandbox *s)
{
	uint32_t built;
	int rc = sandbox_build(s, &built);

	if (rc || socket_send(a->socket, &built, sizeof(built)) == (ssize_t)sizeof(built))
		return rc;
	if (errno == EPIPE)
		return 0;
	rc = -errno;
	log_error("sandbox: the process in front: %s", strerror(-rc));
	return rc;
}

static int confine(struct sandbox *s)
{
	int rc = sandbox_confine_helper(s, SANDBOX_FRONT);

	if (rc)
		log_error("sandbox: the process in front: %s", strerror(-rc));
	return rc;
}

static int be_front(struct attendant *a, struct sandbox *s)
{
	const int keep[] = { STDIN_FILENO, STDERR_FILENO, a->socket, a->signal_fd };

	fds_close_others(keep, ARRAY_SIZE(keep));
	a->group = getpgrp();
	a->has_terminal = !tcgetattr(STDIN_FILENO, &a->mode);
	if ((s->builder < 0 || !build(a, s)) && !confine(s))
		return attend(a);
	kill(a->vm, SIGKILL);
	waitpid(a->vm, NULL, 0);
	return SANDBOX_EXIT_STATUS;
}

/* ---- the separation ---- */

/* Blocked for good, in both processes: each reads what is meant for it. -1 with errno. */
static int block_signals(void)
{
	sigset_t set;

	front_get_stop_signals(&set);
	for (size_t i = 0; i < ARRAY_SIZE(other_signals); i++)
		sigaddset(&set, other_signals[i]);
	signal(SIGCHLD, SIG_DFL);	/* our parent may have ignored it: then there is no status */
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int be_vm(struct front *f, int socket)
{
	struct pollfd front = { .fd = socket };

	f->socket = socket;
	/* Its stop comes from the process in front. */
	signal(SIGTSTP, SIG_IGN);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		return -errno;
	/* Killed before that call? */
	return poll_fds(&front, 1, 0) > 0 && front.revents & POLLHUP ? -EPIPE : 0;
}

/*
 * The VM's process starts on this CPU, and what there is to do in the other goes elsewhere: to wake
 * up an idle CPU takes long, most of all if this machine is itself a guest. Where it cannot be
 * arranged nothing is lost but that time.
 */
static pid_t fork_here(void)
{
	cpu_set_t all, here, others;
	int cpu = sched_getcpu();
	bool pinned = cpu >= 0 && cpu < CPU_SETSIZE && !sched_getaffinity(0, sizeof(all), &all);
	pid_t child;

	CPU_ZERO(&here);
	if (pinned)
		CPU_SET((size_t)cpu, &here);
	pinned = pinned && !sched_setaffinity(0, sizeof(here), &here);
	child = fork();
	if (!pinned)
		return child;
	if (child > 0) {
		CPU_XOR(&others, &all, &here);
		sched_setaffinity(0, sizeof(others), &others);
	}
	sched_setaffinity(0, sizeof(all), &all);
	return child;
}

/* As front_separate(), without the message. What is left open is closed by the end that follows. */
static int split(struct front *f, struct sandbox *s, int *status)
{
	struct attendant a = { .signal_fd = block_signals() };
	int pair[2];

	if (a.signal_fd < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -errno;
	a.socket = pair[0];
	s->builder = (int)syscall(SYS_pidfd_open, getpid(), 0);	/* or none: then the VM builds */
	a.vm = fork_here();
	if (a.vm < 0)
		return -errno;
	if (!a.vm) {
		close(a.signal_fd);
		close(a.socket);
		return be_vm(f, pair[1]);
	}
	*status = be_front(&a, s);
	return 1;
}

int front_separate(struct front *f, struct sandbox *s, int *status)
{
	int rc = sandbox_separate(s);

	if (rc <= 0)
		return rc;
	rc = split(f, s, status);
	if (rc < 0)
		log_error("a process in front of the VM's: %s", strerror(-rc));
	return rc;
}
