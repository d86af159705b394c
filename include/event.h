/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The epoll loop of the main thread: file descriptors, timers, calls from
 * other threads, stop.
 *
 * Everything but event_call(), event_stop() belongs to the loop's thread (or
 * to the only thread there is, before event_run()). Callbacks run one at a
 * time on the loop's thread and must not block.
 */
#ifndef LKVM_EVENT_H
#define LKVM_EVENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct event_loop;

/* @events: the EPOLL* bits that are ready. */
typedef void (*event_fn)(void *arg, uint32_t events);
typedef int (*event_call_fn)(void *arg);

int event_loop_create(struct event_loop **out);

/* Accepts NULL. Closes the timers; watched descriptors stay their owners'. */
void event_loop_destroy(struct event_loop *loop);

/*
 * Watches @fd, which stays the caller's. With EPOLLET an eventfd needs no
 * eventfd_clear(): each signal is one call. Returns a handle >= 0, or -errno:
 * -EPERM for files that cannot be waited for (regular files), -ENOSPC.
 * A handle names one watch for ever: after event_remove() a stale event of it
 * is dropped, even if the descriptor number is in use again.
 */
int event_add(struct event_loop *loop, int fd, uint32_t events, event_fn fn, void *arg);
void event_remove(struct event_loop *loop, int handle);

/*
 * Changes what is waited for; 0 for nothing but errors (for nothing at all with
 * EPOLLET). What is ready already is reported anew, with EPOLLET too.
 */
void event_modify(struct event_loop *loop, int handle, uint32_t events);

/* A timer, off at first. Handle or -errno. Expiries that pile up are one call. */
int event_timer_create(struct event_loop *loop, event_fn fn, void *arg);

/* First expiry after @first_ns (0 = off), then every @interval_ns (0 = once). */
void event_timer_set(struct event_loop *loop, int handle, uint64_t first_ns, uint64_t interval_ns);

/* @handle is watched after event_restart(), too. */
void event_keep(struct event_loop *loop, int handle);

/*
 * Runs fn(arg) on the loop's thread, waits for it and returns its result;
 * -ECANCELED once the loop has stopped. Any thread; on the loop's own (which is
 * that of event_loop_create() until event_run()) it is a plain call.
 */
int event_call(struct event_loop *loop, event_call_fn fn, void *arg);

/*
 * Work that is put off until the callbacks of one wake-up are done, so that it
 * is done once for all of them: submitting I/O, interrupting the guest.
 * Embedded in its owner, who calls event_undefer() before it goes.
 */
struct event_deferred {
	void (*fn)(void *arg);
	void *arg;
	bool queued;
	struct event_deferred *next;
};

/* Queues @d unless it is queued. Loop's thread, from any callback or deferred work. */
void event_defer(struct event_loop *loop, struct event_deferred *d);
void event_undefer(struct event_loop *loop, struct event_deferred *d);

/* Runs what is queued, also what that queues, EVENT_DEFER_ROUNDS times at most. */
void event_run_deferred(struct event_loop *loop);
#define EVENT_DEFER_ROUNDS 8

/* Which call of event_run_deferred() this is: what was bounded in an earlier one may go on. */
uint64_t event_round(const struct event_loop *loop);

/*
 * Runs callbacks until event_stop(). When it returns, every waiting and every
 * later event_call() has got -ECANCELED. 0 or -errno.
 */
int event_run(struct event_loop *loop);

/* From any thread or callback; sticky, but for event_restart(). */
void event_stop(struct event_loop *loop);

/* After event_stop(): watches only what event_keep() has named. No other thread uses the loop any more. */
void event_narrow(struct event_loop *loop);

/* After event_narrow(): runs the callbacks that are due, without waiting and without deferred work. */
void event_poll(struct event_loop *loop);

/* What to poll() for: readable when a callback is due. */
int event_fd(const struct event_loop *loop);

/*
 * After event_stop(): as event_narrow(), and event_run() can be called again. The owners of
 * deferred work have done theirs; what is left of it is dropped.
 */
void event_restart(struct event_loop *loop);

/* Adds 1 to an eventfd / empties it. An eventfd never fills up this way. */
void eventfd_signal(int fd);
void eventfd_clear(int fd);

#endif
