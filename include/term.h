/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's side of a console: where the guest's bytes go and where its
 * input comes from.
 *
 * Output goes into a sink (sink.h says what becomes of it there), and into that of the log, if
 * there is one. Input is read when there is room for it, so a pipe's writer is held back
 * rather than cut; from a terminal also without room when the guest has taken none for a second,
 * for the sake of the keys after Ctrl-A.
 */
#ifndef LKVM_TERM_H
#define LKVM_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tty.h"

struct event_loop;
struct sink;
struct term;

#define TERM_INPUT_BYTES 65536u

struct term_config {
	int in_fd;	  /* -1: no input */
	int out_fd;	  /* -1: nobody sees the output, but log and last lines have it */
	struct sink *log; /* --console-log, or NULL; lent */
	/* Keys after Ctrl-A; on the loop's thread. */
	void (*quit)(void *arg);       /* x */
	void (*suspend)(void *arg);    /* z */
	void (*send_break)(void *arg); /* b */
	bool no_keys;		       /* none is ours */
	void (*refused)(void *arg);    /* a read, as by a terminal that has us in the background; or NULL */
	void *arg;
};

/* Descriptors are lent. 0 or -errno. */
int term_create(struct term **out, struct event_loop *loop, const struct term_config *config);

/* Accepts NULL. What was not flushed is gone. */
void term_destroy(struct term *term);

/*
 * The state of the terminal that we have our input from has changed: Ctrl-A is ours while it is raw,
 * nothing is read while we are in the background. SIGTTIN has to be blocked.
 */
void term_set_terminal(struct term *term, enum tty_state state);

/*
 * The window's size in characters; false if there is no window. Without one of its own it is that of
 * another that was said to show it.
 */
void term_set_other_size(struct term *term, uint16_t columns, uint16_t rows);
bool term_get_size(const struct term *term, uint16_t *columns, uint16_t *rows);

/*
 * Adds as much as there is room for; returns how much. The listener hears of room. For a driver
 * that cannot wait (term_output_ready() says how long) the oldest output makes room.
 */
size_t term_put_some(struct term *term, const void *data, size_t len, bool can_wait);

/* Adds output. Any thread; never blocks. */
void term_put(struct term *term, const void *data, size_t len);

/*
 * False if the ring is full and its reader may still come back. A device that
 * can wait should; one whose driver waits actively (@polled) is only held for
 * a second after the reader last took something. Any thread.
 */
bool term_output_ready(struct term *term, bool polled);

/* True if term_get() would return something. Any thread. */
bool term_has_input(struct term *term);

/* There is no more, and will be none. Loop's thread; the listener hears of it. */
bool term_input_has_ended(struct term *term);

/* Input as if it had been typed, if there is room. Loop's thread. */
void term_type(struct term *term, const void *data, size_t len);

/* How many bytes term_get() could return now. */
size_t term_input_bytes(struct term *term);

/* Copies @bytes of those from byte @at on, which are there and stay. Any thread. */
void term_peek(struct term *term, size_t at, uint8_t *data, size_t bytes);

/* Takes up to @max bytes of input; returns their number. Any thread. */
size_t term_get(struct term *term, uint8_t *data, size_t max);

/* @fn is called on the loop's thread when input or room for output has come. */
void term_set_listener(struct term *term, void (*fn)(void *arg), void *arg);

/* @fn is called on the loop's thread when input that was full has room again: for who types otherwise. */
void term_set_room_listener(struct term *term, void (*fn)(void *arg), void *arg);

/* Where its output goes. */
struct sink *term_sink(const struct term *term);

/* The guest has ended: from now on Ctrl-C quits, too, and all else that is typed is nobody's. */
void term_end(struct term *term);

/* True if somebody could read the output: not closed, not /dev/null, not dead. */
bool term_is_shown(struct term *term);

/* Writes the last @lines lines of output to stderr. */
void term_report_last_lines(struct term *term, unsigned int lines);

/*
 * Who shares a pipe or a terminal with us, as a shell does, may read what was there a moment ago. This is
 * a description of our own of it, which does not wait and is nobody else's; the caller's to close. -1: not
 * possible, or no pipe and no terminal. Any thread; before the sandbox.
 */
int term_open_input_again(int fd);

#endif
