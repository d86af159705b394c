/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Messages to the user, all on stderr: stdout belongs to the guest's console.
 *
 * Every message is one write(2) if its reader takes it, so that lines of two threads never mix. All
 * functions may be called from any thread.
 */
#ifndef LKVM_LOG_H
#define LKVM_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum log_level {
	LOG_ERROR,   /* -q: only what ends or damages the run */
	LOG_NOTICE,  /* the default */
	LOG_VERBOSE, /* -v */
};

/* Sets what is shown; call before there are threads. */
void log_set_level(enum log_level level);

/* True if messages of @level are shown. */
bool log_shows(enum log_level level);

/*
 * A reader of stderr who is slow is waited for: each time until it has taken nothing for a second,
 * and after that not any more. log_init() is for main(), before anything forbids to look at it.
 */
void log_init(void);

/* Messages go to @fd instead of stderr, until another call or log_start(). Of the caller. */
void log_set_output(int fd);

/*
 * From now until log_stop() nobody waits: what the reader does not take at once waits in a sink,
 * which @loop writes out. Before the sandbox and before other threads; they have ended before
 * log_stop(), which waits for a slow reader as above. 0 or -errno.
 */
struct event_loop;
int log_start(struct event_loop *loop);
void log_stop(void);

/* That sink; NULL: there is none. */
struct sink *log_sink(void);

/* For signal handlers that end the process: no sink, since its locks may be held. */
void log_directly(void);

/* While the terminal is in raw mode a line has to end in CR LF. */
void log_set_raw_terminal(bool raw);

/*
 * "lkvm: MESSAGE". Errors read "what: object: reason"; the line after the
 * first newline in a message is indented by two spaces (what to do about it).
 */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_notice(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_verbose(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "lkvm: WHAT: Cannot allocate memory". Returns -ENOMEM. */
int log_enomem(const char *what);

/*
 * A name that another party has chosen, for a message: what a terminal would obey, and what is not
 * UTF-8, becomes \xNN, and what does not fit into @room (at least 8) "...". Returns @out.
 */
const char *log_name(char *out, size_t room, const char *name);
#define LOG_NAME_BYTES 512u

/* Writes @text as it is (no prefix), as part of an error report. */
void log_raw(const char *text);

/*
 * Messages that another party can cause, a guest, a peer, a client: at most LOG_BURST
 * lines per source and second, whatever they do; the next line that is shown says how
 * many were not. One struct per device, back end or port.
 */
#define LOG_BURST 5

struct log_limit {
	time_t window; /* the second that @shown counts */
	unsigned int shown;
	uint64_t dropped;
};

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same for notices about what a guest did. */
void log_guest(struct log_limit *limit, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
