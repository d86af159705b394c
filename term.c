// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's side of the console (the states are described in term.h).
 *
 * Rings and counters are shared by vCPU threads and the loop under one mutex;
 * descriptors, timers and the terminal's mode belong to the loop's thread. The
 * first writer after a flush wakes the loop, which starts a short timer and
 * writes when it expires: bursts become one write(2).
 *
 * The output descriptor is opened a second time through /proc, non-blocking:
 * O_NONBLOCK on the inherited one would change it for the shell as well. Where
 * that is not possible, only what poll(2) promises is written.
 *
 * Not here: what the keys after Ctrl-A do; that is the machine's business.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "event.h"
#include "io.h"
#include "log.h"
#include "term.h"
#include "util.h"

#define ESCAPE_KEY 0x01			/* Ctrl-A */
#define WRITE_CHUNK_BYTES 16384u
#define POLLED_PATIENCE_NS 1000000000ull
#define KILLED_PATIENCE_NS 1000000000ull

enum sink_kind {
	SINK_NONBLOCK,		/* own open file description */
	SINK_FILE,		/* regular file or disk: never waits for a reader */
	SINK_SOCKET,
	SINK_POLLED,		/* inherited description: write only what poll allows */
	SINK_NONE,		/* no output */
};

struct term {
	struct event_loop *loop;
	struct term_config config;
	bool log_failed;

	/* Loop's thread. */
	enum sink_kind sink;
	int sink_fd;
	bool sink_is_ours;
	bool sink_is_null;
	int sink_watch;		/* -1 unless the reader is behind */
	int in_watch;		/* -1 unless there is room for input */
	int wake_watch, timer;
	bool in_polls;		/* a regular file: no epoll, just read */
	bool in_eof;
	bool in_background;	/* reading would stop us */
	bool catches_signals;
	bool is_raw;
	bool escape_seen;
	int wake_fd;
	void (*listener)(void *arg);
	void *listener_arg;

	pthread_mutex_t lock;	/* guards what follows */
	uint8_t *ring;
	uint64_t head, tail, log_tail;
	uint64_t dropped;
	bool dead;
	int dead_errno;
	bool flush_due;		/* the loop knows that there is output */
	bool held_back;		/* somebody waits for room */
	uint64_t progress_ns;	/* when the reader last took something */
	uint8_t input[TERM_INPUT_BYTES];
	uint32_t input_head, input_tail;
};

/*
 * The terminal to restore when the process dies: fatal signals have no other
 * way to it (DESIGN rule 8). Written by term_start() and term_restore().
 */
static struct {
	atomic_bool active;
	int fd;
	pid_t pid;		/* ours; the main thread's id, too; 0: not asked yet */
	struct termios mode;
} saved_terminal;

static const int fatal_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS };

void term_restore(void)
{
	if (atomic_exchange(&saved_terminal.active, false))
		tcsetattr(saved_terminal.fd, TCSANOW, &saved_terminal.mode);
}

/* SA_RESETHAND: the second one kills. Not raise(), which the sandbox does not allow. */
static void on_fatal_signal(int signal)
{
	term_restore();
	syscall(SYS_tgkill, saved_terminal.pid, saved_terminal.pid, signal);
}

static void catch_fatal_signals(void)
{
	struct sigaction sa = { .sa_handler = on_fatal_signal, .sa_flags = (int)SA_RESETHAND };

	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++) {
		struct sigaction old;

		/* SIGSYS may be the sandbox's. */
		if (fatal_signals[i] != SIGSYS ||
		    (!sigaction(SIGSYS, NULL, &old) && old.sa_handler == SIG_DFL))
			sigaction(fatal_signals[i], &sa, NULL);
	}
}

void term_open_std_fds(void)
{
	int fd;

	/* open() returns the lowest free number, so the holes fill up in order. */
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

/* ---- output ---- */

static void on_sink_ready(void *arg, uint32_t events);
static void on_input(void *arg, uint32_t events);

static void wake_loop(struct term *term)
{
	eventfd_signal(term->wake_fd);
}

/* Lock held. Adds bytes, pushing out the oldest ones if there is no room. */
static void ring_append(struct term *term, const uint8_t *data, size_t len)
{
	while (len) {
		size_t at = term->head % TERM_RING_BYTES;
		size_t n = min_u64(len, TERM_RING_BYTES - at);

		memcpy(term->ring + at, data, n);
		term->head += n;
		data += n;
		len -= n;
	}
	if (term->head - term->tail > TERM_RING_BYTES) {
		uint64_t lost = term->head - term->tail - TERM_RING_BYTES;

		term->dropped += lost;
		term->tail += lost;
	}
	if (term->head - term->log_tail > TERM_RING_BYTES)
		term->log_tail = term->head - TERM_RING_BYTES;
}

void term_put(struct term *term, const void *data, size_t len)
{
	bool wake;

	pthread_mutex_lock(&term->lock);
	ring_append(term, data, len);
	wake = !term->flush_due;
	term->flush_due = true;
	pthread_mutex_unlock(&term->lock);
	if (wake)
		wake_loop(term);
}

size_t term_put_some(struct term *term, const void *data, size_t len)
{
	size_t room;

	pthread_mutex_lock(&term->lock);
	room = TERM_RING_BYTES - (term->head - term->tail);	/* a dead reader's comes with a flush */
	if (room < len)
		term->held_back = true;
	pthread_mutex_unlock(&term->lock);
	len = min_u64(len, room);
	if (len)
		term_put(term, data, len);
	return len;
}

bool term_output_ready(struct term *term, bool polled)
{
	bool ready;

	pthread_mutex_lock(&term->lock);
	ready = term->dead || term->head - term->tail < TERM_RING_BYTES;
	if (!ready && polled)
		ready = now_ns() - term->progress_ns > POLLED_PATIENCE_NS;
	if (!ready)
		term->held_back = true;
	pthread_mutex_unlock(&term->lock);
	return ready;
}

/* Lock held. Copies up to @max bytes of [from, until); returns their number. */
static size_t ring_copy(struct term *term, uint64_t from, uint64_t until, uint8_t *out, size_t max)
{
	size_t len, at = from % TERM_RING_BYTES, first;

	len = until > from ? min_u64(until - from, max) : 0;
	first = min_u64(len, TERM_RING_BYTES - at);
	memcpy(out, term->ring + at, first);
	memcpy(out + first, term->ring, len - first);
	return len;
}

static ssize_t sink_write(struct term *term, const uint8_t *data, size_t len)
{
	struct pollfd pfd = { .fd = term->sink_fd, .events = POLLOUT };

	switch (term->sink) {
	case SINK_SOCKET:
		return socket_send(term->sink_fd, data, len);
	case SINK_POLLED:
		if (poll_fds(&pfd, 1, 0) != 1) {
			errno = EAGAIN;
			return -1;
		}
		return write(term->sink_fd, data, min_u64(len, PIPE_BUF));
	case SINK_NONE:
		return (ssize_t)len;
	case SINK_NONBLOCK:
	case SINK_FILE:
		break;
	}
	return write(term->sink_fd, data, len);
}

/*
 * The reader is watched only while it is behind: epoll reports a hang-up even
 * when nothing was asked for, and would do so for ever.
 */
static void sink_wait(struct term *term, bool wait)
{
	if (wait == (term->sink_watch >= 0))
		return;
	if (wait) {
		term->sink_watch = event_add(term->loop, term->sink_fd, EPOLLOUT, on_sink_ready,
					     term);
	} else {
		event_remove(term->loop, term->sink_watch);
		term->sink_watch = -1;
	}
}

static void sink_died(struct term *term, int err)
{
	pthread_mutex_lock(&term->lock);
	term->dead = true;
	term->dead_errno = err;
	pthread_mutex_unlock(&term->lock);
}

/* Lock held. A dead reader's bytes are counted instead of written. */
static void discard_for_dead(struct term *term)
{
	term->dropped += term->head - term->tail;
	term->tail = term->head;
}

/*
 * Writes what was put in before @until, as much of it as the reader takes. True
 * if it took all. (A guest that prints as fast as we write would keep a flush
 * without such an end going for ever.)
 */
static bool flush_sink(struct term *term, uint64_t until)
{
	uint8_t chunk[WRITE_CHUNK_BYTES];

	for (;;) {
		uint64_t from;
		size_t len;
		ssize_t n;

		pthread_mutex_lock(&term->lock);
		if (term->dead)
			discard_for_dead(term);
		from = term->tail;
		len = ring_copy(term, from, until, chunk, sizeof(chunk));
		pthread_mutex_unlock(&term->lock);
		if (!len)
			return true;
		n = sink_write(term, chunk, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return false;
		if (n < 0) {
			sink_died(term, errno);
			continue;
		}
		pthread_mutex_lock(&term->lock);
		term->tail = max_u64(term->tail, from + (uint64_t)n);
		term->progress_ns = now_ns();
		pthread_mutex_unlock(&term->lock);
	}
}

static void flush_log(struct term *term, uint64_t until)
{
	uint8_t chunk[WRITE_CHUNK_BYTES];
	size_t len;

	do {
		ssize_t n = 0;

		pthread_mutex_lock(&term->lock);
		len = term->config.log_fd < 0 || term->log_failed ? 0 :
			ring_copy(term, term->log_tail, until, chunk, sizeof(chunk));
		pthread_mutex_unlock(&term->lock);
		if (len)
			n = write(term->config.log_fd, chunk, len);
		if (n < 0 && errno != EINTR) {
			log_error("console-log: write: %s\nthe log ends here; the VM runs on.",
				  strerror(errno));
			term->log_failed = true;
			len = 0;
		}
		pthread_mutex_lock(&term->lock);
		term->log_tail = term->config.log_fd < 0 || term->log_failed ? term->head :
			term->log_tail + (n > 0 ? (uint64_t)n : 0);
		pthread_mutex_unlock(&term->lock);
	} while (len);
}

static void tell_listener(struct term *term)
{
	if (term->listener)
		term->listener(term->listener_arg);
}

static void flush(struct term *term)
{
	bool held_back;
	uint64_t until;

	/* What is put in from now on asks for a flush of its own. */
	pthread_mutex_lock(&term->lock);
	term->flush_due = false;
	until = term->head;
	pthread_mutex_unlock(&term->lock);
	flush_log(term, until);
	sink_wait(term, !flush_sink(term, until));
	pthread_mutex_lock(&term->lock);
	held_back = term->held_back && term->head - term->tail < TERM_RING_BYTES;
	if (held_back)
		term->held_back = false;
	pthread_mutex_unlock(&term->lock);
	if (held_back)
		tell_listener(term);
}

static void on_sink_ready(void *arg, uint32_t events)
{
	(void)events;
	flush(arg);
}

static void on_flush_timer(void *arg, uint32_t events)
{
	(void)events;
	flush(arg);
}

/* ---- input ---- */

static uint32_t input_room(const struct term *term)
{
	return TERM_INPUT_BYTES - (term->input_head - term->input_tail);
}

static void call(const struct term *term, void (*fn)(void *arg))
{
	if (fn)
		fn(term->config.arg);
}

/* The key after Ctrl-A. True if it is for the guest. */
static bool escape_key(struct term *term, uint8_t key)
{
	switch (key) {
	case 'x':
	case 'X':
		call(term, term->config.quit);
		return false;
	case 'z':
	case 'Z':
		call(term, term->config.suspend);
		return false;
	case 'b':
	case 'B':
		call(term, term->config.send_break);
		return false;
	case '?':
		log_raw("\nCtrl-A then x: quit, z: suspend, b: break (SysRq), ?: this, "
			"Ctrl-A: send Ctrl-A\n");
		return false;
	default:
		return key == ESCAPE_KEY;	/* any other is not a command of ours */
	}
}

static void input_append(struct term *term, const uint8_t *data, size_t len)
{
	pthread_mutex_lock(&term->lock);
	for (size_t i = 0; i < len; i++)
		term->input[term->input_head++ % TERM_INPUT_BYTES] = data[i];
	pthread_mutex_unlock(&term->lock);
}

/* Takes Ctrl-A sequences out; what was typed before one is the guest's before it acts. */
static void filter_escapes(struct term *term, const uint8_t *data, size_t len)
{
	size_t from = 0;

	for (size_t i = 0; i < len; i++) {
		if (!term->escape_seen && data[i] != ESCAPE_KEY)
			continue;
		input_append(term, data + from, i - from);
		from = i + 1;
		if (!term->escape_seen) {
			term->escape_seen = true;
			continue;
		}
		term->escape_seen = false;
		if (escape_key(term, data[i]))
			from = i;
	}
	input_append(term, data + from, len - from);
}

/*
 * A terminal refuses its background jobs even a read of nothing, if they have SIGTTIN blocked.
 * tcgetpgrp() says nothing about process groups outside our PID namespace.
 */
static bool in_foreground(int fd)
{
	return read(fd, NULL, 0) == 0 || errno != EIO;
}

/* Reads what there is and room for. True if something came. */
static bool read_input(struct term *term)
{
	uint8_t data[TERM_INPUT_BYTES];
	uint32_t room;
	ssize_t n;

	pthread_mutex_lock(&term->lock);
	room = input_room(term);
	pthread_mutex_unlock(&term->lock);
	if (!room || term->in_eof || term->in_background)
		return false;
	n = read(term->config.in_fd, data, room);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return false;
	if (n < 0 && !in_foreground(term->config.in_fd)) {
		term->in_background = true;	/* until somebody continues us */
		return false;
	}
	if (n <= 0) {
		term->in_eof = true;
		return false;
	}
	if (term->is_raw)
		filter_escapes(term, data, (size_t)n);
	else
		input_append(term, data, (size_t)n);
	return true;
}

/* As with the sink: watched only while a byte could be taken. */
static int update_input_watch(struct term *term)
{
	bool want = term->config.in_fd >= 0 && !term->in_eof && !term->in_polls &&
		    !term->in_background;

	pthread_mutex_lock(&term->lock);
	if (input_room(term) == 0)
		want = false;
	pthread_mutex_unlock(&term->lock);
	if (want == (term->in_watch >= 0))
		return 0;
	if (want) {
		term->in_watch = event_add(term->loop, term->config.in_fd, EPOLLIN, on_input,
					   term);
		return term->in_watch < 0 ? term->in_watch : 0;
	}
	event_remove(term->loop, term->in_watch);
	term->in_watch = -1;
	return 0;
}

static void pump_input(struct term *term)
{
	if (read_input(term))
		tell_listener(term);
	update_input_watch(term);
}

static void on_input(void *arg, uint32_t events)
{
	(void)events;
	pump_input(arg);	/* a hang-up shows as end of file */
}

bool term_has_input(struct term *term)
{
	bool has;

	pthread_mutex_lock(&term->lock);
	has = term->input_head != term->input_tail;
	pthread_mutex_unlock(&term->lock);
	return has;
}

void term_type(struct term *term, const void *data, size_t len)
{
	bool room;

	pthread_mutex_lock(&term->lock);
	room = input_room(term) >= len;
	pthread_mutex_unlock(&term->lock);
	if (room)
		input_append(term, data, len);
	tell_listener(term);
}

size_t term_input_bytes(struct term *term)
{
	size_t n;

	pthread_mutex_lock(&term->lock);
	n = term->input_head - term->input_tail;
	pthread_mutex_unlock(&term->lock);
	return n;
}

size_t term_get(struct term *term, uint8_t *data, size_t max)
{
	size_t n = 0;
	bool was_full;

	pthread_mutex_lock(&term->lock);
	was_full = input_room(term) == 0 || term->in_polls;
	while (n < max && term->input_tail != term->input_head)
		data[n++] = term->input[term->input_tail++ % TERM_INPUT_BYTES];
	pthread_mutex_unlock(&term->lock);
	if (n && was_full)
		wake_loop(term);	/* there is room again */
	return n;
}

static void on_wake(void *arg, uint32_t events)
{
	struct term *term = arg;

	(void)events;
	eventfd_clear(term->wake_fd);
	event_timer_set(term->loop, term->timer, TERM_FLUSH_NS, 0);
	if (term->in_polls)
		pump_input(term);
	else
		update_input_watch(term);
}

/* ---- set-up ---- */

static bool is_null_device(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}

static void choose_sink(struct term *term)
{
	char path[32];
	struct stat st;
	int fd;

	term->sink_fd = term->config.out_fd;
	if (term->sink_fd < 0) {
		term->sink = SINK_NONE;
		term->sink_is_null = true;
		return;
	}
	term->sink = SINK_POLLED;
	if (fstat(term->config.out_fd, &st))
		return;
	term->sink_is_null = is_null_device(&st);
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
		term->sink = SINK_FILE;
	} else if (S_ISSOCK(st.st_mode)) {
		term->sink = SINK_SOCKET;
	} else {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", term->config.out_fd);
		fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (fd >= 0) {
			term->sink = SINK_NONBLOCK;
			term->sink_fd = fd;
			term->sink_is_ours = true;
		}
	}
}

static int watch_input(struct term *term)
{
	int rc = update_input_watch(term);

	if (rc == -EPERM) {
		/* A regular file or /dev/null: reads never wait. */
		term->in_polls = true;
		term->in_watch = -1;
		wake_loop(term);
		return 0;
	}
	return rc;
}

static int watch_all(struct term *term)
{
	int rc;

	term->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (term->wake_fd < 0)
		return -errno;
	rc = event_add(term->loop, term->wake_fd, EPOLLIN, on_wake, term);
	if (rc < 0)
		return rc;
	term->wake_watch = rc;
	rc = event_timer_create(term->loop, on_flush_timer, term);
	if (rc < 0)
		return rc;
	term->timer = rc;
	return watch_input(term);
}

int term_create(struct term **out, struct event_loop *loop, const struct term_config *config)
{
	struct term *term = calloc(1, sizeof(*term));
	int rc;

	if (!term)
		return -ENOMEM;
	term->loop = loop;
	term->config = *config;
	saved_terminal.pid = 0;
	term->wake_fd = term->sink_watch = term->in_watch = term->wake_watch = term->timer = -1;
	pthread_mutex_init(&term->lock, NULL);
	term->progress_ns = now_ns();
	term->ring = malloc(TERM_RING_BYTES);
	if (!term->ring) {
		term_destroy(term);
		return -ENOMEM;
	}
	choose_sink(term);
	rc = watch_all(term);
	if (rc) {
		term_destroy(term);
		return rc;
	}
	*out = term;
	return 0;
}

void term_destroy(struct term *term)
{
	if (!term)
		return;
	term_stop(term);
	event_remove(term->loop, term->in_watch);
	event_remove(term->loop, term->sink_watch);
	event_remove(term->loop, term->wake_watch);
	event_remove(term->loop, term->timer);
	if (term->wake_fd >= 0)
		close(term->wake_fd);
	if (term->sink_is_ours)
		close(term->sink_fd);
	pthread_mutex_destroy(&term->lock);
	free(term->ring);
	free(term);
}

bool term_start(struct term *term)
{
	struct termios raw;
	int fd = term->config.in_fd;

	if (!saved_terminal.pid)	/* later the sandbox would not let us ask */
		saved_terminal.pid = getpid();
	/* A background job must not touch the terminal: it would be stopped. */
	if (fd < 0 || !isatty(fd))
		return false;
	term->in_background = !in_foreground(fd);
	update_input_watch(term);
	if (term->in_background || tcgetattr(fd, &raw))
		return false;
	saved_terminal.fd = fd;
	saved_terminal.mode = raw;
	atomic_store(&saved_terminal.active, true);
	if (!term->catches_signals)
		catch_fatal_signals();
	term->catches_signals = true;
	cfmakeraw(&raw);
	if (tcsetattr(fd, TCSANOW, &raw)) {
		atomic_store(&saved_terminal.active, false);
		return false;
	}
	term->is_raw = true;
	log_set_raw_terminal(true);
	return true;
}

void term_stop(struct term *term)
{
	if (!term->is_raw)
		return;
	term->is_raw = false;
	term_restore();
	log_set_raw_terminal(false);
}

void term_resume(struct term *term)
{
	struct termios mode;
	int fd = term->config.in_fd;

	if (fd < 0 || !isatty(fd) || term->in_eof)
		return;
	if (!term->is_raw || !in_foreground(fd)) {
		/* Not ours to change; the shell has given it its own mode. */
		term->is_raw = false;
		atomic_store(&saved_terminal.active, false);
		log_set_raw_terminal(false);
		term_start(term);
		return;
	}
	/* Stopped by somebody else's signal: the shell has changed the mode since. */
	if (tcgetattr(fd, &mode))
		return;
	cfmakeraw(&mode);
	tcsetattr(fd, TCSANOW, &mode);
}

bool term_get_size(const struct term *term, uint16_t *columns, uint16_t *rows)
{
	const int fds[] = { term->config.out_fd, term->config.in_fd };
	struct winsize size;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] < 0 || ioctl(fds[i], TIOCGWINSZ, &size) || !size.ws_col)
			continue;
		*columns = size.ws_col;
		*rows = size.ws_row;
		return true;
	}
	return false;
}

void term_set_log(struct term *term, int fd)
{
	term->config.log_fd = fd;
	term->log_failed = false;
}

void term_set_listener(struct term *term, void (*fn)(void *arg), void *arg)
{
	term->listener = fn;
	term->listener_arg = arg;
}

/* ---- the end ---- */

/* Waits until the reader takes more. False if it is time to give up. */
static bool wait_for_reader(struct term *term, uint64_t *deadline_ns, int stop_fd)
{
	struct pollfd pfd[2] = {
		{ .fd = term->sink_fd, .events = POLLOUT },
		{ .fd = stop_fd, .events = POLLIN },
	};
	uint64_t now = now_ns();
	int timeout_ms = -1;

	if (*deadline_ns && now >= *deadline_ns)
		return false;
	if (*deadline_ns)
		timeout_ms = (int)min_u64((*deadline_ns - now) / 1000000 + 1, INT_MAX);
	if (poll_fds(pfd, 2, timeout_ms) < 0 && errno != EINTR)
		return false;
	if (pfd[1].revents && (!*deadline_ns || *deadline_ns > now + KILLED_PATIENCE_NS))
		*deadline_ns = now + KILLED_PATIENCE_NS;
	return true;
}

void term_drain(struct term *term, uint64_t deadline_ns, int stop_fd)
{
	flush_log(term, term->head);	/* nobody puts anything in any more */
	while (!flush_sink(term, term->head)) {
		uint64_t before = deadline_ns;

		if (!wait_for_reader(term, &deadline_ns, stop_fd))
			break;
		if (deadline_ns != before)
			stop_fd = -1;	/* heard; do not spin on it */
	}
	pthread_mutex_lock(&term->lock);
	discard_for_dead(term);
	pthread_mutex_unlock(&term->lock);
	if (term->dropped)
		log_notice("console: %llu bytes of guest output dropped: %s",
			   (unsigned long long)term->dropped,
			   term->dead ? strerror(term->dead_errno) : "nobody read them");
}

bool term_is_shown(struct term *term)
{
	return !term->sink_is_null && !term->dead && !term->dropped;
}

void term_report_last_lines(struct term *term, unsigned int lines)
{
	static const char heading[] = "--- the guest's last lines ---\n";
	uint64_t oldest = term->head > TERM_RING_BYTES ? term->head - TERM_RING_BYTES : 0;
	uint64_t from = term->head;
	char line[1024];
	size_t n = 0;

	if (!term->head)
		return;
	if (term->ring[(from - 1) % TERM_RING_BYTES] == '\n')
		from--;
	while (from > oldest) {
		if (term->ring[(from - 1) % TERM_RING_BYTES] == '\n' && --lines == 0)
			break;
		from--;
	}
	log_raw(heading);
	for (; from < term->head; from++) {
		uint8_t c = term->ring[from % TERM_RING_BYTES];

		/* What a guest prints must not drive the user's terminal. */
		if (c == '\r')
			continue;
		line[n++] = (char)(c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7f) ? c : '?');
		if (c == '\n' || n == sizeof(line) - 2) {
			line[n] = '\0';
			log_raw(line);
			n = 0;
		}
	}
	if (n) {
		line[n++] = '\n';
		line[n] = '\0';
		log_raw(line);
	}
}
