// SPDX-License-Identifier: GPL-2.0-only
/*
 * The supervisor (sandbox/supervisor.h): attend() is what it does until the VM ends.
 *
 * Orders that the VM has not read yet wait as one bit for each kind, so none is lost and nothing
 * grows if it reads late. Nothing that a guest says gets here: a process that has been taken over
 * can ask for a stop of its own job and for the terminal, which it has anyway, lie about how it
 * ended, stay until it is told to end a second time, and end.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io.h"
#include "log.h"
#include "sandbox/fds.h"
#include "sandbox/sandbox.h"
#include "sandbox/supervisor.h"
#include "tty.h"
#include "util.h"

/*
 * How long a VM may take that has been told to end, or has reported its end. What keeps it longer
 * is a thread in a call that no signal interrupts: a disk that does not answer. The process cannot
 * be waited for until then.
 */
#define END_TIMEOUT_NS	    9500000000ull
#define REPORTED_TIMEOUT_NS 5000000000ull
#define KILL_TIMEOUT_NS	    2000000000ull /* of a process that has got SIGKILL */
#define EXIT_TIMED_OUT	    124		  /* EXIT_TIMEOUT of cmd/cmd.h */

struct attendant {
	pid_t vm;
	int socket; /* -1: the VM has closed it */
	struct signal_source signals;
	const struct supervisor_config *config;
	struct supervisor_end *end;
	bool ready; /* the VM reads orders */
	bool ended;
	unsigned int due; /* orders not sent yet: 1 << kind */
	uint8_t end_signal;
	bool asked;	   /* by SIGTERM, to end */
	bool told;	   /* to end at once */
	uint64_t deadline; /* for the VM's end; 0: none yet */
	bool has_terminal; /* the VM has asked for it, and not given it back */
	bool released;	   /* it has: from then on only its end is of interest */
	enum tty_state tty;
};

void supervisor_init(struct supervisor *f)
{
	f->socket = -1;
}

void supervisor_fini(struct supervisor *f)
{
	if (f->socket >= 0)
		close(f->socket);
	f->socket = -1;
}

/* ---- in the VM's process ---- */

bool supervisor_is_there(const struct supervisor *f)
{
	return f->socket >= 0;
}

int supervisor_fd(const struct supervisor *f)
{
	return f->socket;
}

/* One message: 0, -EAGAIN: there is none, -EPIPE: the other has gone; or, with a message of our own, it cannot be heard. */
static int supervisor_hear(const struct supervisor *f, void *message, size_t bytes)
{
	ssize_t n = socket_recv(f->socket, message, bytes);

	if (n == (ssize_t)bytes)
		return 0;
	if (n < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (n < 0 && errno != ECONNRESET)
		log_error("the process in front cannot be heard: %s", strerror(errno));
	return -EPIPE;
}

int supervisor_wait(const struct supervisor *f, struct sandbox *s)
{
	struct pollfd p = { .fd = f->socket, .events = POLLIN };

	if (s->builder < 0)
		return 0;
	while (poll_fds(&p, 1, -1) < 0)
		;
	return supervisor_hear(f, &s->built, sizeof(s->built)); /* if it has gone, it has said why */
}

bool supervisor_send(const struct supervisor *f, enum order_kind kind)
{
	const struct order order = { .kind = (uint8_t)kind };

	return f->socket >= 0 && socket_send(f->socket, &order, sizeof(order)) >= 0;
}

int supervisor_recv(const struct supervisor *f, struct order *order)
{
	return supervisor_hear(f, order, sizeof(*order));
}

bool supervisor_report(const struct supervisor *f, const void *report, size_t bytes)
{
	return f->socket >= 0 && socket_send(f->socket, report, bytes) == (ssize_t)bytes;
}

/* ---- in the supervisor ---- */

static void queue(struct attendant *a, enum order_kind kind)
{
	if (!a->released || kind == ORDER_END)
		a->due |= 1u << kind;
}

/* One message each, so that the VM sees whole orders. What it has no room for waits. */
static void send_due(struct attendant *a)
{
	for (uint8_t kind = 0; kind < ORDER_NR_KINDS && a->ready && a->socket >= 0; kind++) {
		struct order order = { .kind = kind };

		if (!(a->due >> kind & 1))
			continue;
		order.arg = kind == ORDER_END ? a->end_signal : (uint8_t)a->tty;
		if (socket_send(a->socket, &order, sizeof(order)) < 0)
			break;
		a->due &= ~(1u << kind);
	}
}

static void supervisor_look_at_terminal(struct attendant *a)
{
	enum tty_state before = a->tty;

	a->tty = tty_take(a->config->tty);
	if (a->tty != before)
		queue(a, ORDER_TERMINAL);
}

/* From now on the VM has @ns to end, unless it has less already. */
static void expect_end(struct attendant *a, uint64_t ns)
{
	uint64_t deadline = now_ns() + ns;

	if (!a->deadline || deadline < a->deadline)
		a->deadline = deadline;
}

/* The first SIGTERM may only ask its guest (machine-end.c). */
static uint64_t time_to_end_ns(struct attendant *a, int signal)
{
	const bool asks = signal == SIGTERM && !a->asked;

	a->asked |= asks;
	a->told |= !asks || !a->config->grace_ns;
	return END_TIMEOUT_NS + (asks ? a->config->grace_ns : 0);
}

/* It was stopped for that long. */
static void put_off_end(struct attendant *a, uint64_t ns)
{
	if (a->deadline)
		a->deadline += ns;
}

/* It goes by itself, when what keeps it lets it: our end and this signal see to that. */
static void leave_vm(struct attendant *a)
{
	kill(a->vm, SIGKILL);
	a->ended = a->end->left = true;
	a->end->status = SANDBOX_EXIT_STATUS;
	if (!a->end->report_bytes) /* otherwise all has been said */
		log_error("the VM's process does not end: data may be lost\n"
			  "a disk that does not answer keeps it, perhaps.");
}

static void release_terminal(struct attendant *a)
{
	tty_give_back();
	a->has_terminal = false;
	a->tty = TTY_NONE;
	a->due = 1u << ORDER_TERMINAL | (a->due & 1u << ORDER_END);
	a->released = true;
}

static void go_on(struct attendant *a)
{
	kill(a->vm, SIGCONT);
	if (a->has_terminal)
		supervisor_look_at_terminal(a);
	queue(a, ORDER_CONTINUED);
}

/* The first process of a namespace does not stop by itself, but it has to by our SIGSTOP. */
static void stop_job(struct attendant *a)
{
	uint64_t start = now_ns();

	if (a->has_terminal)
		tty_give_back();
	kill(a->vm, SIGSTOP);
	signal_stop_job();
	put_off_end(a, now_ns() - start);
	go_on(a);
}

/* False if there is none. */
static bool take_message(struct attendant *a)
{
	uint8_t message[SUPERVISOR_MAX_REPORT_BYTES];
	struct order order;
	ssize_t n = socket_recv(a->socket, message, sizeof(message));

	if (n < 0)
		return false;
	if (n > (ssize_t)sizeof(order)) {
		memcpy(a->end->report, message, (size_t)n);
		a->end->report_bytes = (size_t)n;
		expect_end(a, REPORTED_TIMEOUT_NS);
		return true;
	}
	if (n < (ssize_t)sizeof(order)) {
		close(a->socket);
		a->socket = -1;
		a->due = 0;
		return false;
	}
	memcpy(&order, message, sizeof(order));
	if (order.kind == ORDER_READY) {
		a->ready = true;
	} else if (order.kind == ORDER_SUSPEND) {
		stop_job(a);
	} else if (order.kind == ORDER_LOOK && !a->released) {
		a->has_terminal = true;
		supervisor_look_at_terminal(a);
		queue(a, ORDER_TERMINAL);
	} else if (order.kind == ORDER_RELEASE) {
		release_terminal(a);
	} else if (order.kind == ORDER_ENDED && !a->told) {
		a->deadline = 0; /* disks may take as long as they like */
	}
	return true;
}

static void take_end(struct attendant *a)
{
	int status;
	pid_t pid = waitpid(a->vm, &status, WNOHANG);

	if (!pid)
		return;
	a->ended = true;
	if (pid < 0) {
		log_error("the VM's process: %s", strerror(errno));
		a->end->status = SANDBOX_EXIT_STATUS;
	} else if (WIFSIGNALED(status)) {
		a->end->signal = WTERMSIG(status);
		a->end->status = 128 + a->end->signal;
		tty_give_back(); /* it had no chance to ask for it */
		log_error("the VM's process was ended by signal %d (%s)", a->end->signal,
			  strsignal(a->end->signal));
	} else {
		a->end->status = WEXITSTATUS(status);
	}
}

/* A process that sleeps in the host's kernel, on a file system that is frozen, say, does not die of it. */
static void kill_vm(struct attendant *a, int status)
{
	const uint64_t deadline = now_ns() + KILL_TIMEOUT_NS;

	kill(a->vm, SIGKILL);
	while (!waitpid(a->vm, NULL, WNOHANG) && now_ns() < deadline)
		poll_fds(NULL, 0, 1);
	a->ended = true;
	a->end->status = status;
}

static void take_signal(struct attendant *a)
{
	struct order order = signal_source_next(&a->signals);

	switch (order.kind) {
	case ORDER_NONE:
		break;
	case ORDER_CHILD:
		take_end(a);
		break;
	case ORDER_SUSPEND:
		stop_job(a);
		break;
	case ORDER_CONTINUED:
		go_on(a);
		break;
	case ORDER_TIMEOUT:
		a->end->timed_out = !a->ready;
		if (!a->ready) /* otherwise it has a timer of its own */
			kill_vm(a, EXIT_TIMED_OUT);
		a->told = true;
		expect_end(a, END_TIMEOUT_NS);
		break;
	case ORDER_END:
		a->end_signal = order.arg;
		if (!a->ready) {
			a->end->ended = true;
			a->end->signal = order.arg;
			kill_vm(a, 128 + order.arg);
		}
		queue(a, ORDER_END);
		expect_end(a, time_to_end_ns(a, order.arg));
		break;
	default:
		queue(a, (enum order_kind)order.kind);
		break;
	}
}

/* Until there is something to do without news: a look at the terminal, the VM's last moment. */
static int supervisor_wait_ms(const struct attendant *a)
{
	bool looks = a->has_terminal && a->tty == TTY_BACKGROUND;
	uint64_t now = now_ns(), ms = looks ? TTY_LOOK_MS : INT32_MAX;

	if (a->deadline)
		ms = min_u64(min_u64(ms, WAIT_SLICE_MS),
			     (a->deadline > now ? a->deadline - now : 0) / 1000000 + 1);
	return ms == INT32_MAX ? -1 : (int)ms;
}

static void attend(struct attendant *a)
{
	while (!a->ended) {
		struct pollfd p[] = {
			{ .fd = a->socket, .events = (short)(POLLIN | (a->ready && a->due ? POLLOUT : 0)) },
			{ .fd = a->signals.fd, .events = POLLIN },
		};
		uint64_t start = now_ns();
		int ms = supervisor_wait_ms(a), n = poll_fds(p, ARRAY_SIZE(p), ms);

		if (ms >= 0) /* whoever stopped us stopped the VM, too */
			put_off_end(a, stopped_ns(start, ms));
		if (n > 0 && p[0].revents)
			take_message(a);
		if (n > 0 && p[1].revents)
			take_signal(a);
		if (n == 0 && a->has_terminal)
			supervisor_look_at_terminal(a);
		if (!a->ended && a->deadline && now_ns() >= a->deadline)
			leave_vm(a);
		send_due(a);
	}
	while (a->socket >= 0 && take_message(a))
		; /* a report that came with the end */
	tty_give_back();
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
	int rc = sandbox_confine_helper(s, SANDBOX_SUPERVISOR);

	if (rc)
		log_error("sandbox: the process in front: %s", strerror(-rc));
	return rc;
}

static void be_front(struct attendant *a, struct sandbox *s)
{
	const int keep[] = {
		STDIN_FILENO, STDERR_FILENO, a->socket, a->signals.fd, a->signals.terminal,
		a->config->keep_fds[0], a->config->keep_fds[1], a->config->keep_fds[2],
		a->config->keep_fds[3]
	};

	fds_close_others(keep, ARRAY_SIZE(keep));
	tty_init();
	if ((s->builder < 0 || !build(a, s)) && !confine(s))
		attend(a);
	else
		kill_vm(a, SANDBOX_EXIT_STATUS);
}

/* ---- the separation ---- */

static int be_vm(struct supervisor *f, int socket)
{
	struct pollfd supervisor = { .fd = socket };

	f->socket = socket;
	/* Its stop comes from the process in front. */
	signal(SIGTSTP, SIG_IGN);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		return -errno;
	/* Killed before that call? */
	return poll_fds(&supervisor, 1, 0) > 0 && supervisor.revents & POLLHUP ? -EPIPE : 0;
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

/* As supervisor_separate(), without the message. What is left open is closed by the end that follows. */
static int split(struct supervisor *f, struct sandbox *s, struct attendant *a)
{
	/* Blocked in both processes: each reads what is meant for it. */
	int pair[2], rc = signal_source_open(&a->signals, SIGNALS_SUPERVISOR, a->config->has_log);

	if (rc)
		return rc;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -errno;
	a->socket = pair[0];
	s->builder = (int)syscall(SYS_pidfd_open, getpid(), 0); /* or none: then the VM builds */
	a->vm = fork_here();
	if (a->vm < 0)
		return -errno;
	if (!a->vm) {
		signal_source_close(&a->signals);
		close(a->socket);
		return be_vm(f, pair[1]);
	}
	be_front(a, s);
	return 1;
}

int supervisor_separate(struct supervisor *f, struct sandbox *s, const struct supervisor_config *config,
			struct supervisor_end *end)
{
	struct attendant a = { .config = config, .end = end };
	int rc = sandbox_separate(s);

	if (rc <= 0)
		return rc;
	*end = (struct supervisor_end){ .status = SANDBOX_EXIT_STATUS };
	rc = split(f, s, &a);
	if (rc < 0)
		log_error("a process in front of the VM's: %s", strerror(-rc));
	return rc;
}
