// SPDX-License-Identifier: GPL-2.0-only
/*
 * The epoll loop.
 *
 * Owned by the main thread, which is the only one to run callbacks. A watch is
 * a slot in a fixed table; epoll carries slot and generation, never a pointer,
 * so that an event that was already collected for a removed watch is dropped.
 * Deferred work is a list that the loop's thread alone touches.
 * Calls from other threads wait in a list under a mutex; stopping the loop
 * closes the list first, so that nobody waits for a loop that is gone.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "event.h"
#include "util.h"

#define SLOT_BITS	  11
#define EVENT_MAX_WATCHES (1 << SLOT_BITS)
#define EVENT_BATCH	  32
#define GENERATION_BITS	  (31 - SLOT_BITS)

struct watch {
	bool used;
	bool is_timer; /* fd is ours: read it before the call, close it at the end */
	bool stays;    /* also after event_restart() */
	uint32_t generation;
	int fd;
	event_fn fn;
	void *arg;
};

struct call {
	event_call_fn fn;
	void *arg;
	int result;
	bool done;
	struct call *next;
};

struct event_loop {
	int epoll_fd;
	int wake_fd; /* calls or a stop are waiting */
	struct watch watches[EVENT_MAX_WATCHES];
	struct event_deferred *deferred, **deferred_tail;
	uint64_t round;
	pthread_t owner; /* runs callbacks */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t call_done;
	struct call *calls, **calls_tail;
	atomic_bool stopped; /* written under the lock */
};

void eventfd_signal(int fd)
{
	uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n; /* EAGAIN: the counter is full, so it is readable already */
}

void eventfd_clear(int fd)
{
	uint64_t count;
	ssize_t n = read(fd, &count, sizeof(count));

	(void)n; /* EAGAIN: somebody else was faster, it is empty */
}

static int handle_of(const struct event_loop *loop, const struct watch *w)
{
	return (int)(w->generation << SLOT_BITS | (uint32_t)(w - loop->watches));
}

static struct watch *watch_of(struct event_loop *loop, int handle)
{
	struct watch *w = &loop->watches[handle & (EVENT_MAX_WATCHES - 1)];

	return handle >= 0 && w->used && handle_of(loop, w) == handle ? w : NULL;
}

static void run_calls(struct event_loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	while (loop->calls) {
		struct call *c = loop->calls;
		bool cancel = loop->stopped;

		loop->calls = c->next;
		if (!loop->calls)
			loop->calls_tail = &loop->calls;
		pthread_mutex_unlock(&loop->lock);
		c->result = cancel ? -ECANCELED : c->fn(c->arg);
		pthread_mutex_lock(&loop->lock);
		c->done = true;
		pthread_cond_broadcast(&loop->call_done);
	}
	pthread_mutex_unlock(&loop->lock);
}

static void event_on_wake(void *arg, uint32_t events)
{
	struct event_loop *loop = arg;

	(void)events;
	eventfd_clear(loop->wake_fd);
	run_calls(loop);
}

int event_loop_create(struct event_loop **out)
{
	struct event_loop *loop = calloc(1, sizeof(*loop));
	int rc;

	if (!loop)
		return -ENOMEM;
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->call_done, NULL);
	loop->calls_tail = &loop->calls;
	loop->deferred_tail = &loop->deferred;
	loop->owner = pthread_self();
	loop->wake_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd >= 0)
		loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0) {
		rc = -errno;
		event_loop_destroy(loop);
		return rc;
	}
	rc = event_add(loop, loop->wake_fd, EPOLLIN, event_on_wake, loop);
	if (rc < 0) {
		event_loop_destroy(loop);
		return rc;
	}
	event_keep(loop, rc);
	*out = loop;
	return 0;
}

void event_loop_destroy(struct event_loop *loop)
{
	if (!loop)
		return;
	for (unsigned int i = 0; i < EVENT_MAX_WATCHES; i++)
		if (loop->watches[i].used && loop->watches[i].is_timer)
			close(loop->watches[i].fd);
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	pthread_cond_destroy(&loop->call_done);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

int event_add(struct event_loop *loop, int fd, uint32_t events, event_fn fn, void *arg)
{
	struct epoll_event ev = { .events = events };
	struct watch *w = NULL;

	for (unsigned int i = 0; i < EVENT_MAX_WATCHES && !w; i++)
		if (!loop->watches[i].used)
			w = &loop->watches[i];
	if (!w)
		return -ENOSPC;
	w->generation = (w->generation + 1) & ((1u << GENERATION_BITS) - 1);
	ev.data.u32 = (uint32_t)handle_of(loop, w);
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev))
		return -errno;
	w->used = true;
	w->is_timer = w->stays = false;
	w->fd = fd;
	w->fn = fn;
	w->arg = arg;
	return handle_of(loop, w);
}

void event_remove(struct event_loop *loop, int handle)
{
	struct watch *w = watch_of(loop, handle);

	if (!w)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	if (w->is_timer)
		close(w->fd);
	w->used = false;
}

void event_modify(struct event_loop *loop, int handle, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.u32 = (uint32_t)handle };
	struct watch *w = watch_of(loop, handle);

	if (w)
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev);
}

int event_timer_create(struct event_loop *loop, event_fn fn, void *arg)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int handle;

	if (fd < 0)
		return -errno;
	handle = event_add(loop, fd, EPOLLIN, fn, arg);
	if (handle < 0) {
		close(fd);
		return handle;
	}
	watch_of(loop, handle)->is_timer = true;
	return handle;
}

void event_keep(struct event_loop *loop, int handle)
{
	struct watch *w = watch_of(loop, handle);

	if (w)
		w->stays = true;
}

static struct timespec timespec_of(uint64_t ns)
{
	return (struct timespec){
		.tv_sec = (time_t)(ns / 1000000000u),
		.tv_nsec = (long)(ns % 1000000000u),
	};
}

void event_timer_set(struct event_loop *loop, int handle, uint64_t first_ns, uint64_t interval_ns)
{
	struct itimerspec spec = {
		.it_value = timespec_of(first_ns),
		.it_interval = timespec_of(interval_ns),
	};
	struct watch *w = watch_of(loop, handle);
	int rc;

	assert(w && w->is_timer);
	rc = timerfd_settime(w->fd, 0, &spec, NULL);
	assert(rc == 0);
	(void)rc;
}

int event_call(struct event_loop *loop, event_call_fn fn, void *arg)
{
	struct call c = { .fn = fn, .arg = arg };

	pthread_mutex_lock(&loop->lock);
	if (loop->stopped || pthread_equal(loop->owner, pthread_self())) {
		bool stopped = loop->stopped;

		pthread_mutex_unlock(&loop->lock);
		return stopped ? -ECANCELED : fn(arg);
	}
	*loop->calls_tail = &c;
	/* It leaves the list before this function returns. */
	/* cppcheck-suppress autoVariables */
	loop->calls_tail = &c.next;
	eventfd_signal(loop->wake_fd);
	while (!c.done)
		pthread_cond_wait(&loop->call_done, &loop->lock);
	pthread_mutex_unlock(&loop->lock);
	return c.result;
}

void event_defer(struct event_loop *loop, struct event_deferred *d)
{
	if (d->queued)
		return;
	d->queued = true;
	d->next = NULL;
	*loop->deferred_tail = d;
	loop->deferred_tail = &d->next;
}

void event_undefer(struct event_loop *loop, struct event_deferred *d)
{
	struct event_deferred **link = &loop->deferred;

	if (!d->queued)
		return;
	while (*link != d)
		link = &(*link)->next;
	*link = d->next;
	if (!*link)
		loop->deferred_tail = link;
	d->queued = false;
}

static struct event_deferred *take_deferred(struct event_loop *loop)
{
	struct event_deferred *d = loop->deferred;

	if (d)
		event_undefer(loop, d);
	return d;
}

uint64_t event_round(const struct event_loop *loop)
{
	return loop->round;
}

void event_run_deferred(struct event_loop *loop)
{
	loop->round++;
	for (int round = 0; round < EVENT_DEFER_ROUNDS && loop->deferred; round++) {
		/* A round ends with what was last when it began. */
		struct event_deferred *d, *last = NULL;

		for (d = loop->deferred; d; d = d->next)
			last = d;
		do {
			d = take_deferred(loop);
			if (d)
				d->fn(d->arg);
		} while (d && d != last);
	}
}

static void event_dispatch(struct event_loop *loop, const struct epoll_event *ev)
{
	struct watch *w = watch_of(loop, (int)ev->data.u32);

	if (!w)
		return; /* removed by an earlier callback of this batch */
	if (w->is_timer)
		eventfd_clear(w->fd);
	w->fn(w->arg, ev->events);
}

int event_run(struct event_loop *loop)
{
	struct epoll_event events[EVENT_BATCH];
	int rc = 0;

	pthread_mutex_lock(&loop->lock);
	loop->owner = pthread_self();
	pthread_mutex_unlock(&loop->lock);
	while (!rc && !atomic_load(&loop->stopped)) {
		/* Deferred work that never ends must not keep events from being seen. */
		int n = epoll_wait(loop->epoll_fd, events, EVENT_BATCH, loop->deferred ? 0 : -1);

		if (n < 0 && errno != EINTR)
			rc = -errno;
		for (int i = 0; i < n; i++)
			event_dispatch(loop, &events[i]);
		event_run_deferred(loop);
	}
	event_stop(loop);
	run_calls(loop); /* cancels what is still waiting */
	return rc;
}

void event_narrow(struct event_loop *loop)
{
	for (unsigned int i = 0; i < EVENT_MAX_WATCHES; i++) {
		struct watch *w = &loop->watches[i];

		if (w->used && !w->stays)
			epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	}
	eventfd_clear(loop->wake_fd);
}

void event_poll(struct event_loop *loop)
{
	struct epoll_event events[EVENT_BATCH];
	int n = epoll_wait(loop->epoll_fd, events, EVENT_BATCH, 0);

	for (int i = 0; i < n; i++)
		event_dispatch(loop, &events[i]);
}

int event_fd(const struct event_loop *loop)
{
	return loop->epoll_fd;
}

void event_restart(struct event_loop *loop)
{
	event_narrow(loop);
	while (take_deferred(loop))
		;
	atomic_store(&loop->stopped, false);
}

void event_stop(struct event_loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->stopped = true;
	pthread_mutex_unlock(&loop->lock);
	eventfd_signal(loop->wake_fd);
}
