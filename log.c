// SPDX-License-Identifier: GPL-2.0-only
/*
 * Messages to the user.
 *
 * A message is formatted into a buffer on the stack and leaves in a single
 * write(2). The level and the raw-terminal flag are the only state, set by the
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

#define LOG_LINE_MAX 2048

static struct {
	enum log_level level;
	atomic_bool raw_terminal;
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

static void write_all(const char *text, size_t len)
{
	int saved_errno = errno;

	while (len) {
		ssize_t n = write(STDERR_FILENO, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;	/* nobody left to tell */
		text += n;
		len -= (size_t)n;
	}
	errno = saved_errno;
}

void log_raw(const char *text)
{
	char out[2 * LOG_LINE_MAX];
	bool raw = atomic_load(&log_state.raw_terminal);
	size_t len = 0;

	for (; *text; text++) {
		if (len + 2 > sizeof(out)) {
			write_all(out, len);
			len = 0;
		}
		if (raw && *text == '\n')
			out[len++] = '\r';
		out[len++] = *text;
	}
	write_all(out, len);
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
