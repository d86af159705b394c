// SPDX-License-Identifier: GPL-2.0-only
/*
 * Output through a ring (sink.h).
 *
 * Ring and counters are everybody's, under one mutex; the descriptor, timers and watches belong to
 * the loop's thread. The first writer after a flush wakes the loop, which starts a short timer
 * and writes when it expires: bursts become one write(2). The reader is watched only
 * while it is behind.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "event.h"
#include "io.h"
#include "output.h"
#include "sink.h"
#include "util.h"

#define CHUNK_BYTES 16384u

struct sink {
	struct event_loop *loop;

	/* Loop's thread. */
	struct output out;
	int own_fd; /* from sink_set_fd(); -1: the creator's */
	int wake_fd, wake_watch, flush_timer, patience_timer;
	int reader_watch; /* -1 unless the reader is behind */
	void (*listener)(void *arg);
	void *listener_arg;
	void (*mourner)(void *arg, int error);
	void *mourner_arg;
	void (*watcher)(void *arg);
	void *watcher_arg;

	pthread_mutex_t writing; /* by one thread at a time; before the other */
	pthread_mutex_t lock;	 /* guards what follows */
	uint8_t *ring;
	uint64_t head, tail;
	uint64_t dropped;
	int error;		/* of a reader that is dead; 0: it lives */
	uint64_t slow_since_ns; /* 0: the reader is not slow */
	bool flush_due;		/* the loop knows that there is output */
	bool held_back;		/* somebody waits for room */
};

/* Lock held. Adds bytes, pushing out the oldest ones if there is no room. */
static void ring_append(struct sink *s, const uint8_t *data, size_t bytes)
{
	while (bytes) {
		size_t at = s->head % SINK_RING_BYTES;
		size_t n = min_u64(bytes, SINK_RING_BYTES - at);

		memcpy(s->ring + at, data, n);
		s->head += n;
		data += n;
		bytes -= n;
	}
	if (s->head - s->tail > SINK_RING_BYTES) {
		uint64_t lost = s->head - s->tail - SINK_RING_BYTES;

		s->dropped += lost;
		s->tail += lost;
	}
}

void sink_put(struct sink *s, const void *data, size_t bytes)
{
	bool wake;

	pthread_mutex_lock(&s->lock);
	ring_append(s, data, bytes);
	wake = !s->flush_due;
	s->flush_due = true;
	pthread_mutex_unlock(&s->lock);
	if (wake)
		eventfd_signal(s->wake_fd);
}

/* Lock held. */
static bool has_stopped(const struct sink *s)
{
	return s->slow_since_ns && now_ns() - s->slow_since_ns > SINK_PATIENCE_NS;
}

size_t sink_room(struct sink *s, size_t bytes, bool can_wait)
{
	size_t room;

	pthread_mutex_lock(&s->lock);
	room = s->error ? bytes : min_u64(bytes, SINK_RING_BYTES - (s->head - s->tail));
	if (room < bytes && !room && !s->slow_since_ns)
		s->slow_since_ns = now_ns();
	if (room < bytes && !can_wait && has_stopped(s))
		room = bytes;
	if (room < bytes)
		s->held_back = true;
	pthread_mutex_unlock(&s->lock);
	return room;
}

/* Lock held. Copies up to @max bytes of [start, until); returns their number. */
static size_t ring_copy(const struct sink *s, uint64_t start, uint64_t until, uint8_t *out, size_t max)
{
	size_t at = start % SINK_RING_BYTES;
	size_t bytes = until > start ? min_u64(until - start, max) : 0;
	size_t first = min_u64(bytes, SINK_RING_BYTES - at);

	memcpy(out, s->ring + at, first);
	memcpy(out + first, s->ring, bytes - first);
	return bytes;
}

/* Lock held. A dead reader's bytes are counted instead of written. */
static void discard(struct sink *s)
{
	s->dropped += s->head - s->tail;
	s->tail = s->head;
}

static void sink_die(struct sink *s, int error)
{
	pthread_mutex_lock(&s->lock);
	s->error = error;
	pthread_mutex_unlock(&s->lock);
	if (s->mourner)
		s->mourner(s->mourner_arg, error);
}

/* The reader took @bytes from @from on; what was pushed out meanwhile went, too. */
static void sink_advance(struct sink *s, uint64_t from, size_t bytes)
{
	pthread_mutex_lock(&s->lock);
	s->tail = max_u64(s->tail, from + bytes);
	s->slow_since_ns = 0;
	pthread_mutex_unlock(&s->lock);
}

/*
 * Holding @writing: writes what was put in before @until, as much of it as the reader takes. True
 * if it took all. (A guest that prints as fast as we write would keep a flush
 * without such an end going for ever.)
 */
static bool write_until(struct sink *s, uint64_t until)
{
	uint8_t chunk[CHUNK_BYTES];

	for (;;) {
		uint64_t from;
		size_t bytes;
		ssize_t n;

		pthread_mutex_lock(&s->lock);
		if (s->error)
			discard(s);
		from = s->tail;
		bytes = ring_copy(s, from, until, chunk, sizeof(chunk));
		pthread_mutex_unlock(&s->lock);
		if (!bytes)
			return true;
		n = output_write(&s->out, chunk, bytes);
		if (n >= 0)
			sink_advance(s, from, (size_t)n);
		else if (errno == EAGAIN)
			return false;
		else
			sink_die(s, errno);
	}
}

void sink_write(struct sink *s, const void *data, size_t bytes)
{
	uint64_t until;

	sink_put(s, data, bytes);
	if (pthread_mutex_trylock(&s->writing))
		return; /* the loop, which sink_put() has woken up, writes this as well */
	pthread_mutex_lock(&s->lock);
	until = s->head;
	pthread_mutex_unlock(&s->lock);
	write_until(s, until);
	pthread_mutex_unlock(&s->writing);
}

static void on_reader(void *arg, uint32_t events)
{
	(void)events;
	sink_flush(arg);
}

/*
 * The reader is watched only while it is behind: epoll reports a hang-up even
 * when nothing was asked for, and would do so for ever.
 */
static void watch_reader(struct sink *s, bool watch)
{
	if (watch == (s->reader_watch >= 0))
		return;
	if (watch) {
		s->reader_watch = event_add(s->loop, s->out.fd, EPOLLOUT, on_reader, s);
		event_keep(s->loop, s->reader_watch);
	} else {
		event_remove(s->loop, s->reader_watch);
		s->reader_watch = -1;
	}
}

/* The reader did not take all. Whoever cannot wait for it hears when it has had time enough. */
static void wait_for_reader(struct sink *s)
{
	uint64_t now = now_ns(), since;

	pthread_mutex_lock(&s->lock);
	if (!s->slow_since_ns)
		s->slow_since_ns = now;
	since = s->slow_since_ns;
	pthread_mutex_unlock(&s->lock);
	watch_reader(s, true);
	if (now - since <= SINK_PATIENCE_NS)
		event_timer_set(s->loop, s->patience_timer,
				since + SINK_PATIENCE_NS + SINK_FLUSH_NS - now, 0);
}

/* Somebody may have waited for what is there now. */
static void sink_tell_listener(struct sink *s)
{
	bool tell;

	pthread_mutex_lock(&s->lock);
	tell = s->held_back && (s->head - s->tail < SINK_RING_BYTES || has_stopped(s));
	if (tell)
		s->held_back = false;
	pthread_mutex_unlock(&s->lock);
	if (tell && s->listener)
		s->listener(s->listener_arg);
}

void sink_flush(struct sink *s)
{
	uint64_t until;
	bool all;

	/* What is put in from now on asks for a flush of its own. */
	pthread_mutex_lock(&s->lock);
	s->flush_due = false;
	until = s->head;
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_lock(&s->writing);
	all = write_until(s, until);
	pthread_mutex_unlock(&s->writing);
	if (all)
		watch_reader(s, false);
	else
		wait_for_reader(s);
	sink_tell_listener(s);
	if (s->watcher)
		s->watcher(s->watcher_arg);
}

static void on_flush_timer(void *arg, uint32_t events)
{
	(void)events;
	sink_flush(arg);
}

static void on_patience_timer(void *arg, uint32_t events)
{
	(void)events;
	sink_tell_listener(arg);
}

static void sink_on_wake(void *arg, uint32_t events)
{
	struct sink *s = arg;

	(void)events;
	eventfd_clear(s->wake_fd);
	event_timer_set(s->loop, s->flush_timer, SINK_FLUSH_NS, 0);
}

/* ---- set-up ---- */

static int add_events(struct sink *s)
{
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake_fd < 0)
		return -errno;
	s->wake_watch = event_add(s->loop, s->wake_fd, EPOLLIN, sink_on_wake, s);
	if (s->wake_watch < 0)
		return s->wake_watch;
	event_keep(s->loop, s->wake_watch);
	s->flush_timer = event_timer_create(s->loop, on_flush_timer, s);
	if (s->flush_timer < 0)
		return s->flush_timer;
	event_keep(s->loop, s->flush_timer);
	s->patience_timer = event_timer_create(s->loop, on_patience_timer, s);
	event_keep(s->loop, s->patience_timer);
	return s->patience_timer < 0 ? s->patience_timer : 0;
}

int sink_create(struct sink **out, struct event_loop *loop, const struct sink_config *config)
{
	struct sink *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->own_fd = s->wake_fd = s->wake_watch = s->flush_timer = s->patience_timer = -1;
	s->reader_watch = -1;
	pthread_mutex_init(&s->writing, NULL);
	pthread_mutex_init(&s->lock, NULL);
	if (config->is_own) {
		output_init_own(&s->out, config->fd);
	} else {
		output_init(&s->out, config->fd);
		output_reopen(&s->out);
	}
	s->ring = malloc(SINK_RING_BYTES);
	rc = s->ring ? add_events(s) : -ENOMEM;
	if (rc) {
		sink_destroy(s);
		return rc;
	}
	*out = s;
	return 0;
}

void sink_destroy(struct sink *s)
{
	if (!s)
		return;
	event_remove(s->loop, s->reader_watch);
	event_remove(s->loop, s->wake_watch);
	event_remove(s->loop, s->flush_timer);
	event_remove(s->loop, s->patience_timer);
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	output_fini(&s->out);
	if (s->own_fd >= 0)
		close(s->own_fd);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->writing);
	free(s->ring);
	free(s);
}

void sink_set_listener(struct sink *s, void (*fn)(void *arg), void *arg)
{
	s->listener = fn;
	s->listener_arg = arg;
}

void sink_set_mourner(struct sink *s, void (*fn)(void *arg, int error), void *arg)
{
	s->mourner = fn;
	s->mourner_arg = arg;
}

void sink_set_watcher(struct sink *s, void (*fn)(void *arg), void *arg)
{
	s->watcher = fn;
	s->watcher_arg = arg;
}

size_t sink_copy(struct sink *s, uint64_t *at, void *data, size_t max)
{
	size_t bytes;

	pthread_mutex_lock(&s->lock);
	if (s->head - *at > SINK_RING_BYTES)
		*at = s->head - SINK_RING_BYTES;
	bytes = ring_copy(s, *at, s->head, data, max);
	pthread_mutex_unlock(&s->lock);
	return bytes;
}

uint64_t sink_bytes(struct sink *s)
{
	uint64_t bytes;

	pthread_mutex_lock(&s->lock);
	bytes = s->head;
	pthread_mutex_unlock(&s->lock);
	return bytes;
}

void sink_set_fd(struct sink *s, int fd)
{
	watch_reader(s, false);
	output_fini(&s->out);
	if (s->own_fd >= 0)
		close(s->own_fd);
	s->own_fd = fd;
	output_init_own(&s->out, fd);
	pthread_mutex_lock(&s->lock);
	s->error = 0;
	pthread_mutex_unlock(&s->lock);
	sink_flush(s);
}

/* ---- the end ---- */

bool sink_is_empty(struct sink *s)
{
	bool empty;

	pthread_mutex_lock(&s->lock);
	empty = s->head == s->tail;
	pthread_mutex_unlock(&s->lock);
	return empty;
}

bool sink_has_stopped(struct sink *s)
{
	bool stopped;

	pthread_mutex_lock(&s->lock);
	stopped = has_stopped(s);
	pthread_mutex_unlock(&s->lock);
	return stopped;
}

bool sink_finish(struct sink *s, uint64_t deadline_ns)
{
	struct pollfd pfd = { .fd = s->out.fd, .events = POLLOUT };
	bool all;

	pthread_mutex_lock(&s->writing);
	while (!(all = write_until(s, s->head)))
		if (now_ns() >= deadline_ns || poll_fds(&pfd, 1, OUTPUT_PATIENCE_MS) <= 0)
			break;
	pthread_mutex_unlock(&s->writing);
	pthread_mutex_lock(&s->lock);
	discard(s);
	pthread_mutex_unlock(&s->lock);
	return all;
}

uint64_t sink_dropped(const struct sink *s)
{
	return s->dropped;
}

const char *sink_why_dropped(const struct sink *s)
{
	return s->error ? strerror(s->error) : "nobody read them";
}

int sink_error(struct sink *s)
{
	int error;

	pthread_mutex_lock(&s->lock);
	error = -s->error;
	pthread_mutex_unlock(&s->lock);
	return error;
}

bool sink_is_shown(const struct sink *s)
{
	return !s->out.is_null && !s->error && !s->dropped;
}

void sink_history(const struct sink *s, uint64_t *from, uint64_t *until)
{
	*from = s->head > SINK_RING_BYTES ? s->head - SINK_RING_BYTES : 0;
	*until = s->head;
}

uint8_t sink_byte(const struct sink *s, uint64_t at)
{
	return s->ring[at % SINK_RING_BYTES];
}
