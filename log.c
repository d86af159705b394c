// SPDX-License-Identifier: GPL-2.0-only
/*
 * Messages to the user.
 *
 * A message is formatted into a buffer on the stack and leaves in a single
 * write(2). The level, the raw-terminal flag and where messages go are the only state, set by the
 * main thread. Deliberately without files, syslog or colours: whoever starts
 * lkvm decides where stderr goes.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "output.h"
#include "sink.h"
#include "util.h"

#define LOG_LINE_MAX	 2048
#define STOP_PATIENCE_NS 3000000000ull /* with a reader that takes a little now and then */

static struct {
	enum log_level level;
	atomic_bool raw_terminal;
	struct output out;	     /* stderr as it is; fd 0: not asked yet */
	atomic_bool has_stopped;     /* its reader: it is not waited for again */
	_Atomic(struct sink *) sink; /* while there is a loop */
} log_state = { .level = LOG_NOTICE };

void log_set_level(enum log_level level)
{
	log_state.level = level;
}

bool log_shows(enum log_level level)
{
	return level <= log_state.level;
}

void log_set_raw_terminal(bool raw)
{
	atomic_store(&log_state.raw_terminal, raw);
}

/* In tests stderr is one file now and another then. */
static struct output stderr_now(void)
{
	struct output out = log_state.out;

	if (!out.fd)
		output_init(&out, STDERR_FILENO);
	return out;
}

static void write_directly(const char *text, size_t len)
{
	const struct output out = stderr_now();
	int patience_ms = atomic_load(&log_state.has_stopped) ? 0 : OUTPUT_PATIENCE_MS;

	atomic_store(&log_state.has_stopped,
		     output_write_all(&out, text, len, patience_ms) == -ETIMEDOUT);
}

static void log_write_all(const char *text, size_t len)
{
	struct sink *sink = atomic_load(&log_state.sink);
	int saved_errno = errno;

	if (sink)
		sink_write(sink, text, len);
	else
		write_directly(text, len);
	errno = saved_errno;
}

void log_init(void)
{
	output_init(&log_state.out, STDERR_FILENO);
}

void log_set_output(int fd)
{
	output_init(&log_state.out, fd);
}

int log_start(struct event_loop *loop)
{
	const struct sink_config config = { .fd = STDERR_FILENO };
	struct sink *sink;
	int rc = sink_create(&sink, loop, &config);

	if (!rc)
		atomic_store(&log_state.sink, sink);
	return rc;
}

struct sink *log_sink(void)
{
	return atomic_load(&log_state.sink);
}

void log_directly(void)
{
	atomic_store(&log_state.sink, NULL);
}

void log_stop(void)
{
	struct sink *sink = atomic_exchange(&log_state.sink, NULL);
	uint64_t dropped;

	if (!sink)
		return;
	atomic_store(&log_state.has_stopped, !sink_finish(sink, now_ns() + STOP_PATIENCE_NS));
	dropped = sink_dropped(sink);
	sink_destroy(sink);
	if (dropped)
		log_error("%llu bytes of messages dropped: nobody read them", (unsigned long long)dropped);
}

void log_raw(const char *text)
{
	char out[2 * LOG_LINE_MAX];
	bool raw = atomic_load(&log_state.raw_terminal);
	size_t len = 0;

	for (; *text; text++) {
		if (len + 2 > sizeof(out)) {
			log_write_all(out, len);
			len = 0;
		}
		if (raw && *text == '\n')
			out[len++] = '\r';
		out[len++] = *text;
	}
	log_write_all(out, len);
}

static void log_line(const char *fmt, va_list ap)
{
	char text[LOG_LINE_MAX];
	char line[LOG_LINE_MAX + 64];
	const char *rest;

	vsnprintf(text, sizeof(text), fmt, ap);
	rest = strchr(text, '\n');
	if (rest)
		snprintf(line, sizeof(line), "lkvm: %.*s\n  %s\n", (int)(rest - text), text, rest + 1);
	else
		snprintf(line, sizeof(line), "lkvm: %s\n", text);
	log_raw(line);
}

void log_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(fmt, ap);
	va_end(ap);
}

int log_enomem(const char *what)
{
	log_error("%s: %s", what, strerror(ENOMEM));
	return -ENOMEM;
}

/*
 * How many bytes at @s are a character that can be shown; 0: none. Those between 0x80 and 0x9f are commands,
 * as those below 0x20.
 */
static unsigned int shown_bytes(const uint8_t *s)
{
	unsigned int n = s[0] < 0x80		     ? 1 :
			 s[0] >= 0xc2 && s[0] < 0xe0 ? 2 :
			 s[0] >= 0xe0 && s[0] < 0xf0 ? 3 :
			 s[0] >= 0xf0 && s[0] < 0xf5 ? 4 :
						       0;

	if (n == 1)
		return s[0] >= ' ' && s[0] != 0x7f;
	for (unsigned int i = 1; i < n; i++)
		if (s[i] >> 6 != 2) /* also at the end of the text */
			return 0;
	return s[0] == 0xc2 && s[1] < 0xa0 ? 0 : n;
}

const char *log_name(char *out, size_t room, const char *name)
{
	const uint8_t *s = (const uint8_t *)name;
	size_t at = 0;

	while (*s) {
		unsigned int n = shown_bytes(s);

		if (at + 8 > room) {
			memcpy(out + at, "...", 3);
			at += 3;
			break;
		}
		if (n)
			memcpy(out + at, s, n);
		else
			snprintf(out + at, 5, "\\x%02x", *s);
		at += n ? n : 4;
		s += n ? n : 1;
	}
	out[at] = '\0';
	return out;
}

void log_notice(const char *fmt, ...)
{
	va_list ap;

	if (!log_shows(LOG_NOTICE))
		return;
	va_start(ap, fmt);
	log_line(fmt, ap);
	va_end(ap);
}

void log_verbose(const char *fmt, ...)
{
	va_list ap;

	if (!log_shows(LOG_VERBOSE))
		return;
	va_start(ap, fmt);
	log_line(fmt, ap);
	va_end(ap);
}

static void log_within(struct log_limit *limit, enum log_level level, const char *fmt, va_list ap)
{
	struct timespec now;

	if (!log_shows(level))
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec != limit->window) {
		limit->window = now.tv_sec;
		limit->shown = 0;
	}
	if (limit->shown >= LOG_BURST) {
		limit->dropped++;
		return;
	}
	limit->shown++;
	if (limit->dropped) {
		log_notice("%llu similar lines not shown", (unsigned long long)limit->dropped);
		limit->dropped = 0;
	}
	log_line(fmt, ap);
}

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_within(limit, level, fmt, ap);
	va_end(ap);
}

void log_guest(struct log_limit *limit, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_within(limit, LOG_NOTICE, fmt, ap);
	va_end(ap);
}
