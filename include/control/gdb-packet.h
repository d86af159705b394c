/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * gdb's remote serial protocol as bytes: packets out of a stream, fields out of a packet, replies.
 * What comes in is another process's and checked; pure, any thread.
 *
 * Source: "Debugging with GDB", appendix E (gdb 13).
 */
#ifndef LKVM_CONTROL_GDB_PACKET_H
#define LKVM_CONTROL_GDB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GDB_PACKET_BYTES 0x4000u /* of one's text, either way; gdb is told so */
#define GDB_FRAME_BYTES	 (GDB_PACKET_BYTES + 4)

/* What a byte of the stream completes. */
enum gdb_event {
	GDB_NOTHING,
	GDB_PACKET,    /* its text is there until the next byte */
	GDB_BROKEN,    /* one with a wrong sum, or one that is too long */
	GDB_INTERRUPT, /* Ctrl-C */
	GDB_NAK,       /* the last reply was not understood */
};

struct gdb_packet {
	enum {
		GDB_OUTSIDE,
		GDB_INSIDE,
		GDB_ESCAPED,
		GDB_SUM_HIGH,
		GDB_SUM_LOW,
	} state;
	uint8_t sum;
	int high; /* the first digit of the sum that came; -1: no digit */
	bool too_long;
	size_t bytes;
	char text[GDB_PACKET_BYTES + 1]; /* without escapes; a NUL behind it */
};

enum gdb_event gdb_packet_feed(struct gdb_packet *p, uint8_t byte);

/* ---- what is in one ---- */

struct gdb_text {
	const char *at, *end;
};

/* Each takes what it is for from the front, or is false and takes nothing. */
bool gdb_take_char(struct gdb_text *t, char c);
bool gdb_take_word(struct gdb_text *t, const char *word);
bool gdb_take_number(struct gdb_text *t, uint64_t *n);		/* up to 16 digits, hexadecimal */
bool gdb_take_hex(struct gdb_text *t, void *dst, size_t bytes); /* two digits each */

static inline size_t gdb_text_left(const struct gdb_text *t)
{
	return (size_t)(t->end - t->at);
}

/* ---- replies ---- */

struct gdb_reply {
	size_t bytes;
	char text[GDB_PACKET_BYTES + 1];
};

/* What does not fit is left out; these say whether it fitted. */
bool __attribute__((format(printf, 2, 3))) gdb_put(struct gdb_reply *r, const char *fmt, ...);
bool gdb_put_hex(struct gdb_reply *r, const void *data, size_t bytes);

/* With escapes; how much of it fitted. */
size_t gdb_put_binary(struct gdb_reply *r, const void *data, size_t bytes);

/* As it goes over the wire: how many bytes. */
size_t gdb_frame(const struct gdb_reply *r, char frame[GDB_FRAME_BYTES]);

#endif
