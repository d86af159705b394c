/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's side of the console: where the guest's bytes go and where its
 * input comes from.
 *
 * Output is a ring of TERM_RING_BYTES. Any thread puts bytes in; the loop
 * writes them out in batches, at most TERM_FLUSH_NS after the first, so that
 * output never costs a write(2) per byte and never blocks a vCPU:
 *
 *	     tail            head
 *	-----+---------------+-----
 *	     | not yet taken |        head - tail <= TERM_RING_BYTES
 *	-----+---------------+-----
 *	      ^ log_tail: the same, for --console-log
 *
 * Reader states: one that takes bytes, or whose ring has room, is *ready*. One
 * that has let the ring fill is *slow*: devices hold their output back
 * (term_output_ready() is false), so that nothing is lost; what is put in all
 * the same pushes out the oldest bytes, which are counted. One that is gone
 * (EPIPE, EIO, ENOSPC ...) is *dead*: its bytes are counted and dropped.
 *
 * Input is read when there is room for it, so a pipe's writer is held back
 * rather than cut.
 */
#ifndef LKVM_TERM_H
#define LKVM_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_loop;
struct term;

#define TERM_RING_BYTES (1u << 20)
#define TERM_INPUT_BYTES 65536u
#define TERM_FLUSH_NS 2000000u

struct term_config {
	int in_fd;		/* -1: no input */
	int out_fd;		/* -1: nobody sees the output, but log and last lines have it */
	int log_fd;		/* --console-log, or -1; lent */
	/* Keys after Ctrl-A; on the loop's thread. */
	void (*quit)(void *arg);	/* x */
	void (*suspend)(void *arg);	/* z */
	void (*send_break)(void *arg);	/* b */
	void *arg;
};

/* Descriptors are lent. 0 or -errno. */
int term_create(struct term **out, struct event_loop *loop, const struct term_config *config);

/* Accepts NULL. Restores the terminal; what was not flushed is gone. */
void term_destroy(struct term *term);

/*
 * SIGTTIN has to be blocked. If the input is a terminal and we are in its foreground: raw mode, and
 * Ctrl-A is ours. The old mode comes back with term_destroy() and from fatal
 * signals. Returns true if it did.
 */
bool term_start(struct term *term);

/* Puts the terminal back into its old mode, if term_start() has changed it. */
void term_stop(struct term *term);

/* The shell may have moved us to the foreground or out of it: term_start() again. */
void term_resume(struct term *term);

/* The window's size in characters; false if there is no window. */
bool term_get_size(const struct term *term, uint16_t *columns, uint16_t *rows);

/* Another file has taken the place of log_fd, under the same number. */
void term_set_log(struct term *term, int fd);

/* Gives the terminal its mode back, if it is raw. Any thread, also in signal handlers. */
void term_restore(void);

/* Adds as much as there is room for; returns how much. The listener hears of room. */
size_t term_put_some(struct term *term, const void *data, size_t len);

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

/* Input as if it had been typed, if there is room. Loop's thread. */
void term_type(struct term *term, const void *data, size_t len);

/* How many bytes term_get() could return now. */
size_t term_input_bytes(struct term *term);

/* Takes up to @max bytes of input; returns their number. Any thread. */
size_t term_get(struct term *term, uint8_t *data, size_t max);

/* @fn is called on the loop's thread when input or room for output has come. */
void term_set_listener(struct term *term, void (*fn)(void *arg), void *arg);

/*
 * After the loop has ended: writes out what is left. Waits for a slow reader
 * until @deadline_ns (CLOCK_MONOTONIC; 0 = no limit) or until @stop_fd is
 * readable (-1: none). Reports what was dropped.
 */
void term_drain(struct term *term, uint64_t deadline_ns, int stop_fd);

/* True if somebody could read the output: not closed, not /dev/null, not dead. */
bool term_is_shown(struct term *term);

/* Writes the last @lines lines of output to stderr. */
void term_report_last_lines(struct term *term, unsigned int lines);

/*
 * Makes descriptors 0, 1 and 2 exist (as /dev/null), so that no later open()
 * becomes somebody's stdout. First thing in main().
 */
void term_open_std_fds(void);

#endif
