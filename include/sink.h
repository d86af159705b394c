/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where our output goes: the guest's console, its log, messages.
 *
 * A ring of SINK_RING_BYTES between those who write, on any thread, and a reader who may be slow,
 * stop, or go. Nobody who puts bytes in ever waits. The loop writes them out in batches, at most
 * SINK_FLUSH_NS after the first, so that output does not cost a write(2) per byte:
 *
 *	     tail            head
 *	-----+---------------+-----
 *	     | not yet taken |        head - tail <= SINK_RING_BYTES
 *	-----+---------------+-----
 *
 * A reader that has let the ring fill is *slow*. Devices then hold their output back
 * (sink_room()), so that nothing is lost. What is put in all the same pushes out the oldest bytes,
 * which are counted. A slow reader that takes nothing for SINK_PATIENCE_NS has *stopped*, until it
 * takes something: whoever cannot wait that long goes on. One that is gone (EPIPE, EIO,
 * ENOSPC ...) is *dead*: its bytes are counted and dropped.
 */
#ifndef LKVM_SINK_H
#define LKVM_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_loop;
struct sink;

#define SINK_RING_BYTES	 (1u << 20)
#define SINK_FLUSH_NS	 2000000u
#define SINK_PATIENCE_NS 1000000000u

struct sink_config {
	int fd;	     /* lent; -1: nobody reads, but the ring has what was last put in */
	bool is_own; /* fd comes from output_open() */
};

/* Before the sandbox. 0 or -errno. */
int sink_create(struct sink **out, struct event_loop *loop, const struct sink_config *config);

/* Accepts NULL. What was not written is gone. */
void sink_destroy(struct sink *s);

/* @fn is called on the loop's thread when there is room after sink_room() had too little ... */
void sink_set_listener(struct sink *s, void (*fn)(void *arg), void *arg);

/* ... and when the reader has gone. */
void sink_set_mourner(struct sink *s, void (*fn)(void *arg, int error), void *arg);

/* Another file, opened by output_open(), takes the place of the old one. Loop's thread. */
void sink_set_fd(struct sink *s, int fd);

/*
 * @fn is called on the loop's thread when more has been put in: soon after, and not for each. For one
 * who reads by sink_copy().
 */
void sink_set_watcher(struct sink *s, void (*fn)(void *arg), void *arg);

/*
 * Copies what was put in from byte *@at on (of all that ever was), at most @max: how many. *@at is
 * the first that is still there if that one is gone. Any thread.
 */
size_t sink_copy(struct sink *s, uint64_t *at, void *data, size_t max);

/* How many bytes were ever put in. Any thread. */
uint64_t sink_bytes(struct sink *s);

/* Any thread. */
void sink_put(struct sink *s, const void *data, size_t bytes);

/* The same for what shall be seen at once: writes it now, if the reader takes it. */
void sink_write(struct sink *s, const void *data, size_t bytes);

/* Writes what the reader takes now. Loop's thread. */
void sink_flush(struct sink *s);

/*
 * How many of @bytes can be put in without pushing others out. Whoever cannot @wait as long as it
 * takes gets all of them when the reader has stopped. Any thread.
 */
size_t sink_room(struct sink *s, size_t bytes, bool can_wait);

bool sink_is_empty(struct sink *s);

/* True if the reader is slow and has taken nothing for SINK_PATIENCE_NS. */
bool sink_has_stopped(struct sink *s);

/*
 * When the loop has ended: writes out what is left, and drops the rest when the reader
 * takes nothing for a second, or at @deadline_ns (of now_ns()). True if it had not to.
 */
bool sink_finish(struct sink *s, uint64_t deadline_ns);

/* After sink_finish(): bytes that nobody got, and why. */
uint64_t sink_dropped(const struct sink *s);
const char *sink_why_dropped(const struct sink *s);

/* Of a reader that is dead, -EPIPE and the like; 0: it lives. Any thread. */
int sink_error(struct sink *s);

/* True if somebody could read all of it: not /dev/null, not dead, nothing dropped. */
bool sink_is_shown(const struct sink *s);

/* What was put in last: bytes [*from, *until) of all, one by one. No thread puts any in. */
void sink_history(const struct sink *s, uint64_t *from, uint64_t *until);
uint8_t sink_byte(const struct sink *s, uint64_t at);

#endif
