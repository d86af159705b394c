// SPDX-License-Identifier: GPL-2.0-only
/*
 * The process beside the VM that opens the console log again, removes sockets and waits for
 * passt (sandbox/broker.h). It keeps the user's rights, since the log may be in a folder that takes them;
 * the VM's process can ask it for these things and no other.
 *
 * Source: SCM_RIGHTS in unix(7).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "event.h"
#include "io.h"
#include "log.h"
#include "output.h"
#include "sandbox/broker.h"
#include "sandbox/helper.h"
#include "sandbox/sandbox.h"
#include "util.h"

#define ORDER_LOG   'l'
#define ORDER_END   'e'
#define PATIENCE_MS 1000 /* with processes that should have ended */
#define END_MS	    3000 /* the broker's own end may take so long */

void broker_init(struct broker *k, const char *log_path)
{
	memset(k, 0, sizeof(*k));
	k->helper = k->watch = -1;
	k->log_path = log_path;
}

void broker_add_socket(struct broker *k, struct socket_name name)
{
	if (name.path && k->nr_sockets < BROKER_MAX_SOCKETS)
		k->sockets[k->nr_sockets++] = name;
}

void broker_add_child(struct broker *k, pid_t child)
{
	if (child && k->nr_children < BROKER_MAX_CHILDREN)
		k->children[k->nr_children++] = child;
}

static void remove_sockets(struct broker *k)
{
	for (unsigned int i = 0; i < k->nr_sockets; i++)
		socket_name_remove(&k->sockets[i]);
	k->nr_sockets = 0;
}

/* ---- in the process of its own ---- */

/* Answers with the descriptor, or with the error number alone. */
static void send_log(const struct broker *k, int socket)
{
	int fd = output_open(k->log_path, O_APPEND);
	int error = fd < 0 ? -fd : 0;

	socket_send_fd(socket, &error, sizeof(error), fd);
	if (fd >= 0)
		close(fd);
}

/* Handles for processes whose parent is another; -1 where the host has none (Linux 5.3). */
static void open_children(const struct broker *k, int *fds)
{
	for (unsigned int i = 0; i < BROKER_MAX_CHILDREN; i++)
		fds[i] = i < k->nr_children ? (int)syscall(SYS_pidfd_open, k->children[i], 0) : -1;
}

/* They have lost their connection and are about to end. */
static void end_children(const int *fds)
{
	const uint64_t deadline = now_ns() + PATIENCE_MS * 1000000ull;

	for (unsigned int i = 0; i < BROKER_MAX_CHILDREN; i++) {
		struct pollfd p = { .fd = fds[i], .events = POLLIN };

		uint64_t now = now_ns();

		if (fds[i] >= 0 && poll_fds(&p, 1, now < deadline ? (int)((deadline - now) / 1000000) : 0) == 0)
			syscall(SYS_pidfd_send_signal, fds[i], SIGKILL, NULL, 0);
	}
}

static void broker_serve(int socket, void *arg)
{
	struct broker *k = arg;
	int children[BROKER_MAX_CHILDREN];
	char order;

	open_children(k, children);
	if (sandbox_confine_helper(k->sandbox, SANDBOX_BROKER))
		return;
	while (helper_next(socket, &order) && order == ORDER_LOG)
		if (k->log_path)
			send_log(k, socket);
	remove_sockets(k);
	end_children(children);
}

/* ---- in the VM's ---- */

bool broker_is_needed(const struct broker *k)
{
	return k->log_path || k->nr_sockets || k->nr_children;
}

int broker_start(struct broker *k, struct sandbox *sandbox)
{
	if (!broker_is_needed(k))
		return 0;
	k->sandbox = sandbox;
	k->helper = helper_start("broker", broker_serve, k, NULL, 0);
	if (k->helper >= 0)
		return 0;
	log_error("a process for sockets and the console log: %s", strerror(-k->helper));
	remove_sockets(k);
	return k->helper;
}

/* What it has opened, or -errno; -EAGAIN: it is not so far, -EPIPE: it is gone. */
static int take_answer(const struct broker *k)
{
	int error = EPIPE, fd;
	ssize_t n = socket_recv_fd(k->helper, &error, sizeof(error), &fd, NULL);

	if (n < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (n != (ssize_t)sizeof(error)) {
		if (fd >= 0)
			close(fd);
		return -EPIPE;
	}
	if (fd >= 0)
		return fd;
	return error > 0 && error != EAGAIN ? -error : -EIO;
}

static void broker_on_answer(void *arg, uint32_t events)
{
	struct broker *k = arg;
	bool was_asked = k->asked, again = k->asked_again;
	int fd = take_answer(k);

	(void)events;
	if (fd == -EAGAIN)
		return;
	k->asked = k->asked_again = false;
	if (fd == -EPIPE) {
		event_remove(k->loop, k->watch);
		k->watch = -1;
	}
	if (was_asked)
		k->opened(k->opened_arg, fd);
	else if (fd >= 0)
		close(fd);
	if (again)
		broker_reopen_log(k);
}

int broker_watch(struct broker *k, struct event_loop *loop, void (*opened)(void *arg, int fd),
		 void *arg)
{
	k->loop = loop;
	k->opened = opened;
	k->opened_arg = arg;
	if (k->helper < 0)
		return 0;
	k->watch = event_add(loop, k->helper, EPOLLIN, broker_on_answer, k);
	if (k->watch < 0)
		return k->watch;
	event_keep(loop, k->watch);
	return 0;
}

void broker_reopen_log(struct broker *k)
{
	if (k->asked) {
		k->asked_again = true; /* the name may have come to stand for yet another file */
		return;
	}
	k->asked = k->watch >= 0 && helper_call(k->helper, ORDER_LOG);
	if (!k->asked)
		k->opened(k->opened_arg, -EPIPE);
}

void broker_stop(struct broker *k)
{
	if (k->helper < 0)
		return;
	if (!helper_end(k->helper, ORDER_END, END_MS))
		log_error("the broker process does not end: sockets and passt may be left behind\n"
			  "the file system of the console log does not answer, perhaps.");
	k->helper = k->watch = -1;
}
