// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames over a VM's socket (control/frames.h). Owns the buffers of those who send.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/frames.h"
#include "io.h"

struct protocol_header frame_header(const struct frame_reader *r)
{
	struct protocol_header h;

	memcpy(&h, r->data, sizeof(h));
	return h;
}

/* How long what is coming is, as far as that is known; 0: longer than it may be. */
static size_t frame_wanted(const struct frame_reader *r)
{
	struct protocol_header h = { 0 };

	if (r->bytes >= sizeof(h))
		h = frame_header(r);
	return h.bytes <= FRAME_MAX_BYTES ? sizeof(h) + h.bytes : 0;
}

/* 1: it is whole; 0: *left bytes of what is coming are known to be missing. */
static int frame_missing(const struct frame_reader *r, size_t *left)
{
	size_t wanted = frame_wanted(r);

	if (!wanted)
		return -EPROTO;
	*left = wanted - r->bytes;
	return !*left;
}

int frame_recv(struct frame_reader *r, int fd)
{
	size_t left;
	int rc;

	while (!(rc = frame_missing(r, &left))) {
		ssize_t n = socket_recv(fd, r->data + r->bytes, left);

		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (!n)
			return -EPIPE;
		r->bytes += (size_t)n;
	}
	return rc;
}

int frame_feed(struct frame_reader *r, const char **data, size_t *bytes)
{
	size_t left;
	int rc;

	while (!(rc = frame_missing(r, &left)) && *bytes) {
		size_t n = left < *bytes ? left : *bytes;

		memcpy(r->data + r->bytes, *data, n);
		r->bytes += n;
		*data += n;
		*bytes -= n;
	}
	return rc;
}

void frame_next(struct frame_reader *r)
{
	r->bytes = 0;
}

int frame_writer_init(struct frame_writer *w, size_t room)
{
	*w = (struct frame_writer){ .data = calloc(1, room), .room = room };
	return w->data ? 0 : -ENOMEM;
}

void frame_writer_fini(struct frame_writer *w)
{
	free(w->data);
	w->data = NULL;
}

bool frame_put(struct frame_writer *w, uint32_t kind, const void *payload, size_t bytes)
{
	const struct protocol_header h = { .kind = kind, .bytes = (uint32_t)bytes };

	if (w->at && w->room - w->until < sizeof(h) + bytes) {
		memmove(w->data, w->data + w->at, w->until - w->at);
		w->until -= w->at;
		w->at = 0;
	}
	if (w->room - w->until < sizeof(h) + bytes)
		return false;
	memcpy(w->data + w->until, &h, sizeof(h));
	if (bytes)
		memcpy(w->data + w->until + sizeof(h), payload, bytes);
	w->until += sizeof(h) + bytes;
	return true;
}

int frame_flush(struct frame_writer *w, int fd)
{
	while (w->at < w->until) {
		ssize_t n = socket_send(fd, w->data + w->at, w->until - w->at);

		if (n < 0)
			return -errno;
		w->at += (size_t)n;
	}
	w->at = w->until = 0;
	return 0;
}
