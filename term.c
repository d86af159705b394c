// SPDX-License-Identifier: GPL-2.0-only
/*
 * The console on the host's side (term.h).
 *
 * The input's ring is shared by vCPU threads and the loop under one mutex; the descriptor, its
 * watch and what keys do belong to the loop's thread. Output is sink.c's business, the
 * terminal's mode tty.c's.
 *
 * Not here: what the keys after Ctrl-A do; that is the machine's business.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "event.h"
#include "log.h"
#include "sink.h"
#include "term.h"
#include "tty.h"
#include "util.h"

#define ESCAPE_KEY    0x01 /* Ctrl-A */
#define INTERRUPT_KEY 0x03 /* Ctrl-C: the guest's, while there is one */
#define HUNGER_NS     1000000000ull
struct term {
	struct event_loop *loop;
	struct term_config config;
	struct sink *out;

	/* Loop's thread. */
	int in_watch; /* -1 unless there is room for input */
	int wake_fd, wake_watch;
	int own_in_fd; /* a description of our own of where input comes from; -1: none */
	bool in_polls; /* a regular file: no epoll, just read */
	bool in_eof;
	bool in_background; /* reading would stop us */
	bool is_raw;
	bool escape_seen;
	bool starves;	 /* the guest takes nothing: keys are looked for all the same */
	bool has_ended;	 /* ... will take nothing */
	bool tells_loss; /* that input is dropped has been said */
	int hunger_timer;
	void (*listener)(void *arg);
	void *listener_arg;
	void (*room_listener)(void *arg);
	void *room_listener_arg;
	uint16_t other_columns, other_rows; /* 0: no other window */

	pthread_mutex_t lock; /* guards what follows */
	uint8_t input[TERM_INPUT_BYTES];
	uint32_t input_head, input_tail;
};

/* ---- output ---- */

void term_put(struct term *term, const void *data, size_t len)
{
	sink_put(term->out, data, len);
	if (term->config.log)
		sink_put(term->config.log, data, len);
}

/* The log's reader may hold a guest back for a moment, but not stop it. */
static size_t output_room(struct term *term, size_t len, bool can_wait)
{
	len = sink_room(term->out, len, can_wait);
	return term->config.log && len ? sink_room(term->config.log, len, false) : len;
}

size_t term_put_some(struct term *term, const void *data, size_t len, bool can_wait)
{
	len = output_room(term, len, can_wait);
	if (len)
		term_put(term, data, len);
	return len;
}

bool term_output_ready(struct term *term, bool polled)
{
	return output_room(term, 1, !polled) > 0;
}

static void term_tell_listener(void *arg)
{
	struct term *term = arg;

	if (term->listener && !term->has_ended)
		term->listener(term->listener_arg);
}

/* ---- input ---- */

static void on_input(void *arg, uint32_t events);

static uint32_t input_room(const struct term *term)
{
	return TERM_INPUT_BYTES - (term->input_head - term->input_tail);
}

static void term_call(const struct term *term, void (*fn)(void *arg))
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
		term_call(term, term->config.quit);
		return false;
	case 'z':
	case 'Z':
		term_call(term, term->config.suspend);
		return false;
	case 'b':
	case 'B':
		term_call(term, term->config.send_break);
		return false;
	case '?':
		log_raw("\nCtrl-A then x: quit, z: suspend, b: break (SysRq), ?: this, "
			"Ctrl-A: send Ctrl-A\n");
		return false;
	default:
		return key == ESCAPE_KEY; /* any other is not a command of ours */
	}
}

static void input_append(struct term *term, const uint8_t *data, size_t len)
{
	size_t taken;

	pthread_mutex_lock(&term->lock);
	taken = min_u64(len, input_room(term));
	for (size_t i = 0; i < taken; i++)
		term->input[term->input_head++ % TERM_INPUT_BYTES] = data[i];
	pthread_mutex_unlock(&term->lock);
	if (taken == len || term->has_ended || term->tells_loss)
		return;
	term->tells_loss = true;
	log_notice("console: the guest takes no input: what is typed is dropped");
}

/* Takes Ctrl-A sequences out; what was typed before one is the guest's before it acts. */
static void filter_escapes(struct term *term, const uint8_t *data, size_t len)
{
	size_t from = 0;

	for (size_t i = 0; i < len; i++) {
		if (data[i] == INTERRUPT_KEY && term->has_ended)
			term_call(term, term->config.quit);
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
 * How much to read. What a guest has no room for stays where it is, so that nothing is lost of what
 * is pasted. But keys after Ctrl-A have to be found behind what a guest never takes.
 */
static uint32_t input_wanted(struct term *term)
{
	uint32_t room;

	pthread_mutex_lock(&term->lock);
	room = input_room(term);
	pthread_mutex_unlock(&term->lock);
	return !room && term->is_raw && (term->starves || term->has_ended) ? TERM_INPUT_BYTES : room;
}

/* True if something came, or the end. */
static bool read_input(struct term *term)
{
	uint8_t data[TERM_INPUT_BYTES];
	uint32_t wanted = input_wanted(term);
	ssize_t n;

	if (!wanted || term->in_eof || term->in_background)
		return false;
	n = read(term->config.in_fd, data, wanted);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return false;
	if (n < 0 && errno == EIO && term->config.refused) {
		/* A background job of the terminal's, with SIGTTIN blocked; or it has hung up. */
		term->in_background = true; /* until term_set_terminal() */
		term_call(term, term->config.refused);
		return false;
	}
	if (n < 0)
		log_error("stdin: %s\nthe guest's input ends here.", strerror(errno));
	if (n <= 0) {
		term->in_eof = true;
		return true;
	}
	if (term->is_raw)
		filter_escapes(term, data, (size_t)n);
	else
		input_append(term, data, (size_t)n);
	return true;
}

/*
 * Watched only while a byte could be taken: epoll reports a hang-up even when nothing was
 * asked for.
 */
static int update_input_watch(struct term *term)
{
	bool can = term->config.in_fd >= 0 && !term->in_eof && !term->in_polls &&
		   !term->in_background;
	bool want = can && input_wanted(term);

	if (can && !want && term->is_raw)
		event_timer_set(term->loop, term->hunger_timer, HUNGER_NS, 0);
	if (want == (term->in_watch >= 0))
		return 0;
	if (want) {
		term->in_watch = event_add(term->loop, term->config.in_fd, EPOLLIN, on_input,
					   term);
		event_keep(term->loop, term->in_watch);
		return term->in_watch < 0 ? term->in_watch : 0;
	}
	event_remove(term->loop, term->in_watch);
	term->in_watch = -1;
	return 0;
}

/* The input has been full for a second. */
static void on_hunger(void *arg, uint32_t events)
{
	struct term *term = arg;

	(void)events;
	term->starves = true;
	update_input_watch(term);
}

static void pump_input(struct term *term)
{
	if (read_input(term))
		term_tell_listener(term);
	update_input_watch(term);
}

static void on_input(void *arg, uint32_t events)
{
	(void)events;
	pump_input(arg); /* a hang-up shows as end of file */
}

bool term_has_input(struct term *term)
{
	bool has;

	pthread_mutex_lock(&term->lock);
	has = term->input_head != term->input_tail;
	pthread_mutex_unlock(&term->lock);
	return has;
}

bool term_input_has_ended(struct term *term)
{
	return term->in_eof && !term_has_input(term);
}

void term_type(struct term *term, const void *data, size_t len)
{
	bool room;

	pthread_mutex_lock(&term->lock);
	room = input_room(term) >= len;
	pthread_mutex_unlock(&term->lock);
	if (room)
		input_append(term, data, len);
	term_tell_listener(term);
}

size_t term_input_bytes(struct term *term)
{
	size_t n;

	pthread_mutex_lock(&term->lock);
	n = term->input_head - term->input_tail;
	pthread_mutex_unlock(&term->lock);
	return n;
}

void term_peek(struct term *term, size_t at, uint8_t *data, size_t bytes)
{
	pthread_mutex_lock(&term->lock);
	for (size_t i = 0; i < bytes; i++)
		data[i] = term->input[(term->input_tail + at + i) % TERM_INPUT_BYTES];
	pthread_mutex_unlock(&term->lock);
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
		eventfd_signal(term->wake_fd); /* there is room again */
	return n;
}

static void term_on_wake(void *arg, uint32_t events)
{
	struct term *term = arg;

	(void)events;
	eventfd_clear(term->wake_fd);
	term->starves = false;
	event_timer_set(term->loop, term->hunger_timer, 0, 0);
	if (term->in_polls)
		pump_input(term);
	else
		update_input_watch(term);
	if (term->room_listener && !term->has_ended)
		term->room_listener(term->room_listener_arg);
}

/* ---- set-up ---- */

int term_open_input_again(int fd)
{
	struct stat st;
	char path[32];

	if (fd < 0 || fstat(fd, &st) || (!S_ISFIFO(st.st_mode) && !isatty(fd)))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static int watch_input(struct term *term)
{
	int rc = update_input_watch(term);

	if (rc == -EPERM) {
		/* A regular file or /dev/null: reads never wait. */
		term->in_polls = true;
		term->in_watch = -1;
		eventfd_signal(term->wake_fd);
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
	rc = event_add(term->loop, term->wake_fd, EPOLLIN, term_on_wake, term);
	if (rc < 0)
		return rc;
	term->wake_watch = rc;
	event_keep(term->loop, rc);
	rc = event_timer_create(term->loop, on_hunger, term);
	if (rc < 0)
		return rc;
	term->hunger_timer = rc;
	event_keep(term->loop, rc);
	return watch_input(term);
}

int term_create(struct term **out, struct event_loop *loop, const struct term_config *config)
{
	const struct sink_config sink = { .fd = config->out_fd };
	struct term *term = calloc(1, sizeof(*term));
	int rc;

	if (!term)
		return -ENOMEM;
	term->loop = loop;
	term->config = *config;
	term->own_in_fd = term_open_input_again(config->in_fd);
	if (term->own_in_fd >= 0)
		term->config.in_fd = term->own_in_fd;
	term->wake_fd = term->in_watch = term->wake_watch = term->hunger_timer = -1;
	pthread_mutex_init(&term->lock, NULL);
	rc = sink_create(&term->out, loop, &sink);
	if (!rc)
		rc = watch_all(term);
	if (rc) {
		term_destroy(term);
		return rc;
	}
	sink_set_listener(term->out, term_tell_listener, term);
	*out = term;
	return 0;
}

void term_destroy(struct term *term)
{
	if (!term)
		return;
	event_remove(term->loop, term->in_watch);
	event_remove(term->loop, term->wake_watch);
	event_remove(term->loop, term->hunger_timer);
	if (term->wake_fd >= 0)
		close(term->wake_fd);
	if (term->own_in_fd >= 0)
		close(term->own_in_fd);
	sink_destroy(term->out);
	pthread_mutex_destroy(&term->lock);
	free(term);
}

void term_set_terminal(struct term *term, enum tty_state state)
{
	term->is_raw = state == TTY_RAW && !term->config.no_keys;
	term->in_background = state == TTY_BACKGROUND;
	if (state == TTY_GONE)
		term->in_eof = true;
	log_set_raw_terminal(state == TTY_RAW);
	update_input_watch(term);
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
	*columns = term->other_columns;
	*rows = term->other_rows;
	return term->other_columns;
}

void term_set_other_size(struct term *term, uint16_t columns, uint16_t rows)
{
	term->other_columns = columns;
	term->other_rows = rows;
}

void term_set_room_listener(struct term *term, void (*fn)(void *arg), void *arg)
{
	term->room_listener = fn;
	term->room_listener_arg = arg;
}

void term_set_listener(struct term *term, void (*fn)(void *arg), void *arg)
{
	term->listener = fn;
	term->listener_arg = arg;
}

/* ---- the end ---- */

struct sink *term_sink(const struct term *term)
{
	return term->out;
}

void term_end(struct term *term)
{
	term->has_ended = true;
	update_input_watch(term);
}

bool term_is_shown(struct term *term)
{
	return sink_is_shown(term->out);
}

void term_report_last_lines(struct term *term, unsigned int lines)
{
	static const char heading[] = "--- the guest's last lines ---\n";
	uint64_t oldest, from, until;
	char line[1024];
	size_t n = 0;

	sink_history(term->out, &oldest, &until);
	if (!until)
		return;
	from = until;
	if (sink_byte(term->out, from - 1) == '\n')
		from--;
	while (from > oldest) {
		if (sink_byte(term->out, from - 1) == '\n' && --lines == 0)
			break;
		from--;
	}
	log_raw(heading);
	for (; from < until; from++) {
		uint8_t c = sink_byte(term->out, from);

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
