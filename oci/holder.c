// SPDX-License-Identifier: GPL-2.0-only
/*
 * The holder (oci/holder.h): one loop of poll(2). It allocates nothing, and waits for nobody but in
 * poll(2).
 *
 * One client at a time is heard, for a second at most; others wait in the socket's queue. A client whose answer
 * depends on the VM waits for it in a place of its own, where it is in nobody's way; there is one.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/gate.h"
#include "guest/protocol.h"
#include "io.h"
#include "oci/holder.h"
#include "sandbox/fds.h"
#include "sandbox/sandbox.h"
#include "util.h"

#define MAX_LAST_MESSAGES 16
#define IDLE_CHECK_MS	  200
#define TITLE_BYTES	  4096
#define PATIENCE_NS	  1000000000ull
#define STATUS_LOST	  137 /* as of a process that SIGKILL ended */

struct holder {
	int listener, gate, status, caller; /* -1: closed */
	int signals;
	int client;	   /* which is heard; -1: none */
	uint64_t patience; /* with it, until now_ns() */
	int waiting;	   /* a client that waits for the VM; -1: none */
	uint32_t awaited;  /* what for: enum holder_kind */
	bool started, paused;
	int end_status; /* of a signal that ended it; 0: the VM's */
};

static void holder_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void holder_answer_to(int *client, int rc)
{
	const struct holder_answer a = { .rc = rc };

	if (*client >= 0)
		socket_send(*client, &a, sizeof(a));
	holder_close_fd(client);
}

static void answer_client(struct holder *h, int rc)
{
	holder_answer_to(&h->client, rc);
}

/* The VM is about to end. */
static int gate_error(void)
{
	return errno == EPIPE || errno == ECONNRESET ? -ESRCH : -errno;
}

static int tell_gate(const struct holder *h, enum gate_kind kind, uint32_t value)
{
	const struct gate_message m = { .kind = kind, .value = value };

	if (h->gate < 0)
		return -ESRCH;
	return socket_send(h->gate, &m, sizeof(m)) < 0 ? gate_error() : 0;
}

/* The VM takes the gate's end for its own. */
static void holder_end_vm(struct holder *h, int signal)
{
	h->end_status = 128 + signal;
	holder_close_fd(&h->gate);
}

/* Before it has started nobody has a handler; later only one signal needs none. */
static int signal_container(struct holder *h, uint32_t value)
{
	const uint32_t number = value & ~HOLDER_ALL;

	_Static_assert(HOLDER_ALL == PROTOCOL_SIGNAL_ALL, "it goes through");
	if (!number || number > 64)
		return -EINVAL;
	if (number == SIGKILL || (!h->started && number != SIGWINCH && number != SIGCHLD)) {
		holder_end_vm(h, (int)number);
		return 0;
	}
	return tell_gate(h, GATE_SIGNAL, value);
}

/* ---- clients ---- */

/* What does not go through ends at once, and so does what is at its other end. */
static int pass_on(const struct holder *h, uint32_t kind, const int passed[2])
{
	const struct gate_message m = { .kind = kind };
	ssize_t n;

	if (!h->started || h->gate < 0)
		return -ESRCH;
	if (passed[0] < 0 || (passed[1] < 0) != (kind == GATE_EXEC))
		return -EINVAL;
	n = kind == GATE_EXEC ? socket_send_fd(h->gate, &m, sizeof(m), passed[0]) :
				socket_send_pair(h->gate, &m, sizeof(m), passed);
	return n < 0 ? gate_error() : 0;
}

/* It waits for the VM, which has been told, or there is an error. */
static void let_client_wait(struct holder *h, uint32_t kind, int rc)
{
	if (rc) {
		answer_client(h, rc);
		return;
	}
	h->awaited = kind;
	h->waiting = h->client;
	h->client = -1;
}

static void holder_take_request(struct holder *h, const struct holder_request *r, const int passed[2])
{
	int rc;

	switch (r->kind) {
	case HOLDER_START:
		let_client_wait(h, r->kind,
				h->started	? -EALREADY :
				h->waiting >= 0 ? -EBUSY :
						  tell_gate(h, GATE_GO, 0));
		return;
	case HOLDER_PAUSE:
		if (r->value == HOLDER_UNHEARD) {
			rc = tell_gate(h, GATE_PAUSE, 0);
			h->paused |= !rc;
			break;
		}
		let_client_wait(h, r->kind, h->waiting >= 0 ? -EBUSY : tell_gate(h, GATE_PAUSE, 0));
		return;
	case HOLDER_RESUME:
		rc = tell_gate(h, GATE_RESUME, 0);
		h->paused &= rc != 0;
		break;
	case HOLDER_SIGNAL:
		rc = signal_container(h, r->value);
		break;
	case HOLDER_EXEC:
		rc = pass_on(h, GATE_EXEC, passed);
		break;
	case HOLDER_JOIN:
		rc = pass_on(h, GATE_JOIN, passed);
		break;
	case HOLDER_STATE:
		rc = (h->started ? HOLDER_IS_STARTED : 0) | (h->paused ? HOLDER_IS_PAUSED : 0);
		break;
	default:
		rc = -EINVAL;
		break;
	}
	answer_client(h, rc);
}

static void on_client(struct holder *h)
{
	struct holder_request r;
	int passed[2], error;
	ssize_t n = socket_recv_pair(h->client, &r, sizeof(r), passed);

	error = errno;
	if (n == (ssize_t)sizeof(r))
		holder_take_request(h, &r, passed);
	else if (n >= 0 || error != EAGAIN)
		answer_client(h, -EPROTO); /* nobody hears it */
	holder_close_fd(&passed[0]);
	holder_close_fd(&passed[1]);
}

/* ---- the VM ---- */

static void on_ready(struct holder *h)
{
	if (h->caller >= 0 && socket_send(h->caller, "R", 1) != 1)
		holder_close_fd(&h->gate);
}

/* It has written the container down; or it has ended, and nobody knows of us. */
static void on_caller(struct holder *h)
{
	char byte = '\0';

	if (socket_recv(h->caller, &byte, 1) != 1 || byte != 'W')
		holder_close_fd(&h->gate);
	holder_close_fd(&h->caller);
}

/* What the VM's process says is a number of any kind. */
static int gate_errno(uint32_t value)
{
	return value < 4096 ? -(int)value : -EPROTO;
}

static void on_message(struct holder *h)
{
	struct gate_message m;
	ssize_t n = socket_recv(h->gate, &m, sizeof(m));

	if (n < 0 && errno == EAGAIN)
		return;
	if (n != (ssize_t)sizeof(m)) {
		holder_close_fd(&h->gate);
		return;
	}
	if (m.kind == GATE_READY)
		on_ready(h);
	h->started |= m.kind == GATE_STARTED;
	if (m.kind == GATE_PAUSED)
		h->paused = !m.value;
	if ((m.kind == GATE_STARTED || m.kind == GATE_NOT_STARTED) && h->awaited == HOLDER_START)
		holder_answer_to(&h->waiting, m.kind == GATE_STARTED ? 0 :
					      m.value		     ? gate_errno(m.value) :
								       -ECHILD);
	if (m.kind == GATE_PAUSED && h->awaited == HOLDER_PAUSE)
		holder_answer_to(&h->waiting, gate_errno(m.value));
}

/* The last thing that happens. */
__attribute__((noreturn)) static void on_status(struct holder *h)
{
	uint8_t status;

	if (read(h->status, &status, 1) != 1)
		status = STATUS_LOST;
	for (int i = 0; i < MAX_LAST_MESSAGES && h->gate >= 0; i++)
		on_message(h); /* what it has said before */
	answer_client(h, -ESRCH);
	holder_answer_to(&h->waiting, -ESRCH);
	_exit(h->end_status ? h->end_status : status);
}

/* Some who know the process signal it instead of asking us. */
static void on_own_signal(struct holder *h)
{
	struct signalfd_siginfo info;

	if (read(h->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		signal_container(h, info.ssi_signo);
}

static void on_new_client(struct holder *h)
{
	h->client = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	h->patience = now_ns() + PATIENCE_NS;
}

__attribute__((noreturn)) static void hold(struct holder *h)
{
	for (;;) {
		struct pollfd p[] = {
			{ .fd = h->status, .events = POLLIN },
			{ .fd = h->gate, .events = POLLIN },
			{ .fd = h->caller, .events = POLLIN },
			{ .fd = h->signals, .events = POLLIN },
			{ .fd = h->client < 0 ? h->listener : -1, .events = POLLIN },
			{ .fd = h->client, .events = POLLIN },
			{ .fd = h->waiting },
		};
		const int n = poll_fds(p, ARRAY_SIZE(p), h->client < 0 ? -1 : IDLE_CHECK_MS);

		if (h->client >= 0 && now_ns() > h->patience)
			holder_close_fd(&h->client);
		if (n <= 0)
			continue;
		if (p[1].revents)
			on_message(h);
		if (p[0].revents)
			on_status(h);
		if (p[2].revents && h->caller >= 0)
			on_caller(h);
		if (p[3].revents)
			on_own_signal(h);
		if (p[6].revents) /* it has gone */
			holder_close_fd(&h->waiting);
		if (p[4].revents)
			on_new_client(h);
		if (p[5].revents && h->client >= 0)
			on_client(h);
	}
}

/* ---- its namespaces ---- */

/*
 * Empty, read-only, and not the host's. Files of the kernel in /proc are, so this one is read-only, too. (Without
 * them, by subset=pid, "podman top" fails, which reads /proc/stat there.)
 */
static int enter_empty_root(const char *place)
{
	if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("lkvm-oci", place, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=755") ||
	    chdir(place) || mkdir("proc", 0555) ||
	    mount("proc", "proc", "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) ||
	    mount("", ".", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		return -errno;
	return sandbox_change_root() || chdir("/") ? -errno : 0;
}

/* What is shown may stand where it is to be shown: arguments of this command. */
void holder_show_title(char *title, size_t bytes, const char *const *command)
{
	char text[TITLE_BYTES] = { 0 };
	const size_t room = min_u64(bytes, sizeof(text));
	size_t at = 0;

	if (!bytes)
		return; /* one that has no room may be none at all */
	for (; *command && at + 1 < room; command++) {
		size_t n = min_u64(strlen(*command), room - at - 1);

		memcpy(text + at, *command, n);
		at += n + 1;
	}
	memset(title, 0, bytes);
	memcpy(title, text, room);
}

static int holder_take_signals(void)
{
	sigset_t set;

	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	sigdelset(&set, SIGCHLD);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

__attribute__((noreturn)) static void be_holder(const struct holder_config *c, int null)
{
	const int keep[] = { c->listener, c->gate, c->status, c->caller, null };
	const bool own_name = c->hostname && !(c->shared & CLONE_NEWUTS);
	struct holder h = {
		.listener = c->listener,
		.gate = c->gate,
		.status = c->status,
		.caller = c->caller,
		.client = -1,
		.waiting = -1,
	};
	struct sandbox sandbox;
	int rc = c->network < 0 ? 0 : setns(c->network, CLONE_NEWNET);

	if (!rc && c->shared)
		rc = setns(c->pod, (int)c->shared);
	fds_close_others(keep, ARRAY_SIZE(keep));
	setsid();
	prctl(PR_SET_NAME, "lkvm-oci");
	holder_show_title(c->title, c->title_bytes, c->command);
	if (rc || (own_name && sethostname(c->hostname, strlen(c->hostname))) ||
	    enter_empty_root(c->place))
		_exit(STATUS_LOST);
	for (int i = 0; i < 3; i++)
		if (null != i)
			dup2(null, i);
	if (null > 2)
		close(null);
	h.signals = holder_take_signals();
	/* From here on it takes what clients and the VM's process say. */
	sandbox_init(&sandbox, SANDBOX_ON);
	if (h.signals < 0 || sandbox_confine_helper(&sandbox, SANDBOX_HOLDER))
		_exit(STATUS_LOST);
	hold(&h);
}

/* In the control group, which it may be in as soon as it is there, no device may be opened (podman's pods). */
pid_t holder_start(const struct holder_config *c)
{
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const unsigned long spaces = (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
				      (c->network < 0 ? CLONE_NEWNET : 0ul)) &
				     ~c->shared;
	pid_t pid = null < 0 ? -1 : (pid_t)syscall(SYS_clone, spaces | SIGCHLD, 0, 0, 0, 0);

	if (!pid)
		be_holder(c, null);
	if (pid < 0)
		pid = -errno;
	if (null >= 0)
		close(null);
	return pid;
}
