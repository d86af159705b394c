// SPDX-License-Identifier: GPL-2.0-only
/*
 * Signals as orders (signals.h).
 *
 * Source: tty_ioctl(4).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "event.h"
#include "io.h"
#include "log.h"
#include "sandbox/supervisor.h"
#include "signal-source.h"
#include "signals.h"
#include "util.h"

#define RELEASE_TIMEOUT_MS 1000
#define TTY_LOOK_NS	   (TTY_LOOK_MS * 1000000ull)

struct signals {
	struct event_loop *loop;
	struct supervisor *supervisor;
	struct signals_client client;
	struct signal_source source;
	/* Without a supervisor. */
	int tty;
	int timer;
	bool has_terminal; /* taken, not yet released */
};

static void signals_call(const struct signals *s, void (*fn)(void *arg))
{
	if (fn)
		fn(s->client.arg);
}

static void signals_look_at_terminal(struct signals *s)
{
	enum tty_state state = tty_take(s->tty);

	event_timer_set(s->loop, s->timer, state == TTY_BACKGROUND ? TTY_LOOK_NS : 0, 0);
	s->client.terminal(s->client.arg, state);
}

static void on_look_timer(void *arg, uint32_t events)
{
	struct signals *s = arg;

	(void)events;
	if (s->has_terminal)
		signals_look_at_terminal(s);
}

static void suspend_alone(struct signals *s)
{
	if (s->has_terminal)
		tty_give_back();
	signal_stop_job();
	if (s->has_terminal)
		signals_look_at_terminal(s);
	signals_call(s, s->client.continued);
}

static void take_order(struct signals *s, struct order order)
{
	switch (order.kind) {
	case ORDER_END:
		s->client.end(s->client.arg, order.arg);
		break;
	case ORDER_TIMEOUT:
		signals_call(s, s->client.timed_out);
		break;
	case ORDER_REOPEN_LOG:
		signals_call(s, s->client.reopen_log);
		break;
	case ORDER_SUSPEND:
		suspend_alone(s);
		break;
	case ORDER_CONTINUED:
		if (s->has_terminal && !supervisor_is_there(s->supervisor))
			signals_look_at_terminal(s);
		signals_call(s, s->client.continued);
		break;
	case ORDER_RESIZED:
		signals_call(s, s->client.resized);
		break;
	case ORDER_TERMINAL:
		s->client.terminal(s->client.arg, order.arg);
		break;
	default:
		break;
	}
}

static void signals_on_signal(void *arg, uint32_t events)
{
	struct signals *s = arg;

	(void)events;
	take_order(s, signal_source_next(&s->source));
}

static void on_supervisor(void *arg, uint32_t events)
{
	struct signals *s = arg;
	struct order order = { .kind = ORDER_NONE };
	int rc = supervisor_recv(s->supervisor, &order);

	(void)events;
	if (!rc)
		take_order(s, order);
	else if (rc == -EPIPE) /* it was killed, and we are about to be */
		s->client.end(s->client.arg, SIGKILL);
}

/* Signals are heard as long as the guest's output waits for its readers. */
static int add_lasting(struct signals *s, int handle)
{
	event_keep(s->loop, handle);
	return handle;
}

static int watch(struct signals *s, bool has_log)
{
	bool supervised = supervisor_is_there(s->supervisor);
	int rc = signal_source_open(&s->source, supervised ? SIGNALS_SUPERVISED_VM : SIGNALS_VM,
				    has_log);

	if (rc >= 0)
		rc = add_lasting(s, event_add(s->loop, s->source.fd, EPOLLIN, signals_on_signal, s));
	if (rc >= 0 && supervised)
		rc = add_lasting(s, event_add(s->loop, supervisor_fd(s->supervisor), EPOLLIN, on_supervisor, s));
	if (rc >= 0 && !supervised)
		rc = s->timer = add_lasting(s, event_timer_create(s->loop, on_look_timer, s));
	return rc < 0 ? rc : 0;
}

int signals_start(struct signals **out, struct event_loop *loop, struct supervisor *supervisor, int tty,
		  bool has_log, const struct signals_client *client)
{
	struct signals *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	*out = s;
	s->loop = loop;
	s->supervisor = supervisor;
	s->client = *client;
	s->tty = tty;
	s->timer = -1;
	if (!supervisor_is_there(supervisor))
		tty_init(); /* what the sandbox will not allow */
	rc = watch(s, has_log);
	supervisor_send(supervisor, ORDER_READY);
	return rc;
}

void signals_stop(struct signals *s)
{
	if (!s)
		return;
	signal_source_close(&s->source);
	free(s);
}

void signals_take_terminal(struct signals *s)
{
	s->has_terminal = true;
	if (supervisor_is_there(s->supervisor))
		supervisor_send(s->supervisor, ORDER_LOOK);
	else
		signals_look_at_terminal(s);
}

/* The supervisor answers when it has done it; signals that end the VM wait until then. */
static void wait_for_release(struct signals *s)
{
	const uint64_t deadline = now_ns() + RELEASE_TIMEOUT_MS * 1000000ull;
	struct pollfd p = { .fd = supervisor_fd(s->supervisor), .events = POLLIN };
	struct order order = { .kind = ORDER_NONE };
	int rc = 0;

	while (rc != -EPIPE && now_ns() < deadline) {
		poll_fds(&p, 1, RELEASE_TIMEOUT_MS);
		rc = supervisor_recv(s->supervisor, &order);
		if (rc)
			continue;
		if (order.kind == ORDER_END)
			s->client.end(s->client.arg, order.arg);
		if (order.kind == ORDER_TERMINAL && order.arg == TTY_NONE)
			break;
	}
}

void signals_release_terminal(struct signals *s)
{
	if (!s || !s->has_terminal)
		return;
	s->has_terminal = false;
	if (!supervisor_is_there(s->supervisor))
		tty_give_back();
	else if (supervisor_send(s->supervisor, ORDER_RELEASE))
		wait_for_release(s);
	s->client.terminal(s->client.arg, TTY_NONE);
}

void signals_suspend(struct signals *s)
{
	if (supervisor_is_there(s->supervisor))
		supervisor_send(s->supervisor, ORDER_SUSPEND);
	else
		suspend_alone(s);
}
