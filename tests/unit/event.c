// SPDX-License-Identifier: GPL-2.0-only
/*
 * The event loop: stale events, timers, calls from other threads, stop.
 * Starts threads.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "event.h"

struct pair {
	struct event_loop *loop;
	int fd[2], handle[2];
	unsigned int calls;
};

static void remove_the_other(void *arg, uint32_t events)
{
	struct pair *p = arg;

	(void)events;
	p->calls++;
	/* Both were ready in one batch: the second must not be called any more. */
	event_remove(p->loop, p->handle[0]);
	event_remove(p->loop, p->handle[1]);
	event_stop(p->loop);
}

static void a_removed_watch_is_not_called(void **state)
{
	struct pair p = { 0 };

	(void)state;
	assert_int_equal(event_loop_create(&p.loop), 0);
	for (int i = 0; i < 2; i++) {
		p.fd[i] = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
		p.handle[i] = event_add(p.loop, p.fd[i], EPOLLIN, remove_the_other, &p);
		assert_true(p.handle[i] >= 0);
	}
	assert_int_equal(event_run(p.loop), 0);
	assert_int_equal(p.calls, 1);
	event_loop_destroy(p.loop);
	close(p.fd[0]);
	close(p.fd[1]);
}

static void handles_are_never_reused(void **state)
{
	struct pair p = { 0 };
	int first;

	(void)state;
	assert_int_equal(event_loop_create(&p.loop), 0);
	p.fd[0] = eventfd(0, EFD_CLOEXEC);
	first = event_add(p.loop, p.fd[0], EPOLLIN, remove_the_other, &p);
	event_remove(p.loop, first);
	p.handle[0] = event_add(p.loop, p.fd[0], EPOLLIN, remove_the_other, &p);
	assert_int_not_equal(first, p.handle[0]);
	event_remove(p.loop, first); /* of nobody: must not hit the new one */
	event_remove(p.loop, -1);
	eventfd_signal(p.fd[0]);
	p.handle[1] = -1;
	assert_int_equal(event_run(p.loop), 0);
	assert_int_equal(p.calls, 1); /* it still is watched */
	event_loop_destroy(p.loop);
	close(p.fd[0]);
}

static void watches_are_bounded(void **state)
{
	struct event_loop *loop;
	enum { TOO_MANY = 2100 };
	static int fds[TOO_MANY];
	const struct rlimit limit = { 4096, 4096 };
	int n = 0, rc = 0;

	(void)state;
	assert_int_equal(event_loop_create(&loop), 0);
	setrlimit(RLIMIT_NOFILE, &limit);
	while (rc >= 0 && n < TOO_MANY) {
		fds[n] = eventfd(0, EFD_CLOEXEC);
		rc = event_add(loop, fds[n++], EPOLLIN, remove_the_other, NULL);
	}
	assert_int_equal(rc, -ENOSPC);
	event_loop_destroy(loop);
	while (n)
		close(fds[--n]);
}

struct ticks {
	struct event_loop *loop;
	int timer;
	unsigned int count;
};

static void on_tick(void *arg, uint32_t events)
{
	struct ticks *t = arg;

	(void)events;
	if (++t->count == 3) {
		event_timer_set(t->loop, t->timer, 0, 0);
		event_stop(t->loop);
	}
}

static void timers_repeat(void **state)
{
	struct ticks t = { 0 };

	(void)state;
	assert_int_equal(event_loop_create(&t.loop), 0);
	t.timer = event_timer_create(t.loop, on_tick, &t);
	assert_true(t.timer >= 0);
	event_timer_set(t.loop, t.timer, 1000000, 1000000);
	assert_int_equal(event_run(t.loop), 0);
	assert_int_equal(t.count, 3);
	event_loop_destroy(t.loop);
}

#define CALLERS 4
#define CALLS	200

struct caller {
	pthread_t thread;
	struct event_loop *loop;
	int *counter; /* only the loop's thread touches it */
	unsigned int ok, canceled;
};

static int increment(void *arg)
{
	int *counter = arg;

	return ++*counter;
}

static void *caller_main(void *arg)
{
	struct caller *c = arg;

	for (int i = 0; i < CALLS; i++) {
		int rc = event_call(c->loop, increment, c->counter);

		if (rc == -ECANCELED)
			c->canceled++;
		else if (rc > 0)
			c->ok++;
	}
	return NULL;
}

static void run_callers(struct event_loop *loop, struct caller *callers, int *counter)
{
	for (int i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller){ .loop = loop, .counter = counter };
		assert_int_equal(pthread_create(&callers[i].thread, NULL, caller_main,
						&callers[i]),
				 0);
	}
}

static void *stopper_main(void *arg)
{
	struct caller *callers = arg;

	for (int i = 0; i < CALLERS; i++)
		pthread_join(callers[i].thread, NULL);
	event_stop(callers[0].loop);
	return NULL;
}

static void calls_run_on_the_loop(void **state)
{
	struct caller callers[CALLERS];
	struct event_loop *loop;
	pthread_t stopper;
	int counter = 0;

	(void)state;
	assert_int_equal(event_loop_create(&loop), 0);
	run_callers(loop, callers, &counter);
	assert_int_equal(pthread_create(&stopper, NULL, stopper_main, callers), 0);
	assert_int_equal(event_run(loop), 0);
	pthread_join(stopper, NULL);
	assert_int_equal(counter, CALLERS * CALLS);
	for (int i = 0; i < CALLERS; i++)
		assert_int_equal(callers[i].ok, CALLS);
	event_loop_destroy(loop);
}

/* Nobody may wait for a loop that has stopped, whenever it stops. */
static void stopping_cancels_calls(void **state)
{
	(void)state;
	for (int round = 0; round < 50; round++) {
		struct caller callers[CALLERS];
		struct event_loop *loop;
		unsigned int total = 0;
		int counter = 0, timer;
		struct ticks t = { .count = 2 };

		assert_int_equal(event_loop_create(&loop), 0);
		t.loop = loop;
		t.timer = timer = event_timer_create(loop, on_tick, &t);
		event_timer_set(loop, timer, 1 + (uint64_t)round * 20000, 0);
		run_callers(loop, callers, &counter);
		assert_int_equal(event_run(loop), 0);
		for (int i = 0; i < CALLERS; i++) {
			pthread_join(callers[i].thread, NULL);
			assert_int_equal(callers[i].ok + callers[i].canceled, CALLS);
			total += callers[i].ok;
		}
		assert_int_equal(total, counter);
		assert_int_equal(event_call(loop, increment, &counter), -ECANCELED);
		event_loop_destroy(loop);
	}
}

struct chore {
	struct event_deferred d;
	struct event_loop *loop;
	int left, *order, id;
};

static void on_chore(void *arg)
{
	struct chore *c = arg;

	*c->order = *c->order * 10 + c->id;
	if (--c->left > 0)
		event_defer(c->loop, &c->d);
}

static void deferred_work_runs_once_and_in_order(void **state)
{
	struct event_loop *loop;
	int order = 0;
	struct chore a = { .left = 2, .order = &order, .id = 1 };
	struct chore b = { .left = 1, .order = &order, .id = 2 }, c = b;

	(void)state;
	assert_int_equal(event_loop_create(&loop), 0);
	c.id = 3;
	a.loop = b.loop = c.loop = loop;
	a.d = (struct event_deferred){ .fn = on_chore, .arg = &a };
	b.d = (struct event_deferred){ .fn = on_chore, .arg = &b };
	c.d = (struct event_deferred){ .fn = on_chore, .arg = &c };
	event_defer(loop, &a.d);
	event_defer(loop, &c.d);
	event_defer(loop, &b.d);
	event_defer(loop, &a.d); /* it is queued already */
	event_undefer(loop, &c.d);
	event_undefer(loop, &c.d);
	event_run_deferred(loop);
	assert_int_equal(order, 121);
	/* Work that never ends leaves the loop a chance to see events. */
	a.left = 1000;
	order = 0;
	event_defer(loop, &a.d);
	event_run_deferred(loop);
	assert_int_equal(a.left, 1000 - EVENT_DEFER_ROUNDS);
	event_undefer(loop, &a.d);
	event_loop_destroy(loop);
}

/* After a restart only what was to be kept is heard, and no work is left from before. */
static void a_restart_forgets_what_is_not_kept(void **state)
{
	struct event_loop *loop;
	int order = 0;
	struct ticks kept = { .count = 2 }, other = { .count = 2 }; /* the third one stops the loop */
	struct chore c = { .left = 1, .order = &order, .id = 1 };

	(void)state;
	assert_int_equal(event_loop_create(&loop), 0);
	kept.loop = other.loop = loop;
	kept.timer = event_timer_create(loop, on_tick, &kept);
	other.timer = event_timer_create(loop, on_tick, &other);
	event_keep(loop, kept.timer);
	event_timer_set(loop, kept.timer, 20000000, 0);
	event_timer_set(loop, other.timer, 1, 0);
	c.d = (struct event_deferred){ .fn = on_chore, .arg = &c };
	event_defer(loop, &c.d);
	event_stop(loop);
	event_restart(loop);
	assert_int_equal(event_run(loop), 0);
	assert_int_equal(order, 0);
	assert_int_equal(other.count, 2);
	assert_int_equal(kept.count, 3);
	event_remove(loop, other.timer);
	event_loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_removed_watch_is_not_called),
		cmocka_unit_test(handles_are_never_reused),
		cmocka_unit_test(watches_are_bounded),
		cmocka_unit_test(deferred_work_runs_once_and_in_order),
		cmocka_unit_test(timers_repeat),
		cmocka_unit_test(calls_run_on_the_loop),
		cmocka_unit_test(stopping_cancels_calls),
		cmocka_unit_test(a_restart_forgets_what_is_not_kept),
	};

	return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
