/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Streams of `lkvm console` and `lkvm exec` over a VM's socket: frames, each a header and up to
 * FRAME_MAX_BYTES. Either side takes the other for hostile: a frame that is longer is the stream's
 * end. Nothing waits or allocates but frame_writer_init(); one thread each.
 *
 * console	lkvm: CONSOLE_INPUT, _SIZE, _BREAK, _QUIT; the VM: _READS_ONLY first if that is so,
 *		_OUTPUT, _LOST, _END
 * exec		the messages of guest/protocol.h about commands beside the first one, as they are,
 *		without the number of the session, which the VM knows
 */
#ifndef LKVM_CONTROL_FRAMES_H
#define LKVM_CONTROL_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/protocol.h"

#define FRAME_MAX_BYTES PROTOCOL_MAX_FRAME_BYTES
#define FRAME_ROOM	(sizeof(struct protocol_header) + FRAME_MAX_BYTES)

enum console_frame {
	CONSOLE_INPUT = 1, /* keys; none: it will type no more, and another may */
	CONSOLE_SIZE,	   /* struct protocol_size */
	CONSOLE_BREAK,
	CONSOLE_QUIT, /* end the VM as Ctrl-A x does */
	CONSOLE_OUTPUT = 64,
	CONSOLE_LOST,	    /* uint64_t: bytes that the reader was too slow for */
	CONSOLE_READS_ONLY, /* uint32_t: enum console_reads_only */
	CONSOLE_END,	    /* that was all of the log */
};

enum console_reads_only {
	CONSOLE_HAS_WRITER = 1, /* another types already */
	CONSOLE_HAS_STREAMS,	/* nobody may: a command that has no terminal */
};

/* ---- receiving ---- */

struct frame_reader {
	size_t bytes;
	uint8_t data[FRAME_ROOM];
};

/* The whole frame in @r: its header, and where its payload is. */
struct protocol_header frame_header(const struct frame_reader *r);
static inline const uint8_t *frame_payload(const struct frame_reader *r)
{
	return r->data + sizeof(struct protocol_header);
}

/* 1: a whole frame is there, until frame_next(); 0: not yet; -errno: there will be none. */
int frame_recv(struct frame_reader *r, int fd);

/* The same, out of *bytes at *data, which are moved on. */
int frame_feed(struct frame_reader *r, const char **data, size_t *bytes);
void frame_next(struct frame_reader *r);

/* ---- sending ---- */

/* What the socket did not take yet. */
struct frame_writer {
	uint8_t *data;
	size_t room, at, until;
};

/* With @room bytes. 0 or -ENOMEM. */
int frame_writer_init(struct frame_writer *w, size_t room);
void frame_writer_fini(struct frame_writer *w);

static inline bool frame_writer_is_empty(const struct frame_writer *w)
{
	return w->at == w->until;
}

/* False if there is no room for it. */
bool frame_put(struct frame_writer *w, uint32_t kind, const void *payload, size_t bytes);

/* 0: all has been sent; -EAGAIN: as much as the socket takes now; -errno: nobody is there. */
int frame_flush(struct frame_writer *w, int fd);

#endif
