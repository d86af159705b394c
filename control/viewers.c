// SPDX-License-Identifier: GPL-2.0-only
/*
 * A console's viewers (control/viewers.h). Owns their sockets, and for each a buffer of one frame;
 * all of it is the loop's thread's, and nothing is allocated once it is made.
 *
 * Each has a position in the ring of the console's output. Whenever there is more, or its socket has
 * room, it is given frames up to the newest byte; what the ring has lost before it got there it is told
 * as a number. The first frame says whether it may type; one that sends anything else than it may is
 * dropped. Keys that the guest has no room for stay in the socket.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/frames.h"
#include "control/viewers.h"
#include "event.h"
#include "io.h"
#include "sink.h"
#include "term.h"
#include "util.h"

#define OUT_BYTES      (FRAME_ROOM + 64u) /* a frame of output, and short ones */
#define FRAMES_AT_ONCE 16u		  /* of keys, before others have their turn */

struct viewer {
	struct viewers *viewers;
	int fd, watch;	/* -1: free */
	uint64_t at;	/* what it gets next */
	uint64_t until; /* it wants no more than that; UINT64_MAX: it does */
	bool ending;	/* it has got all that it wants */
	struct frame_writer out;
};

struct viewers {
	struct event_loop *loop;
	struct viewers_vm vm;
	struct sink *sink;
	struct viewer *writer;	/* the one that may type; NULL: none does */
	struct frame_reader in; /* from it */
	size_t typed;		/* bytes of that frame that are typed */
	struct viewer all[VIEWERS_MAX];
};

static void viewer_drop(struct viewer *w)
{
	if (w->viewers->writer == w)
		w->viewers->writer = NULL;
	event_remove(w->viewers->loop, w->watch);
	close(w->fd);
	w->fd = w->watch = -1;
}

/* ---- output ---- */

/* Puts the next frame into its buffer, which is empty. False if there is none. */
static bool next_output(struct viewer *w, uint64_t until)
{
	uint8_t data[FRAME_MAX_BYTES];
	uint64_t from = w->at, lost;
	size_t n = from < until ? sink_copy(w->viewers->sink, &w->at, data,
					    min_u64(sizeof(data), until - from)) :
				  0;

	lost = w->at - from;
	if (lost)
		frame_put(&w->out, CONSOLE_LOST, &lost, sizeof(lost));
	if (n)
		frame_put(&w->out, CONSOLE_OUTPUT, data, n);
	w->at += n;
	if (n || lost)
		return true;
	if (w->at < w->until || w->ending)
		return false;
	w->ending = true;
	return frame_put(&w->out, CONSOLE_END, NULL, 0);
}

/* Up to the newest byte, as far as its socket takes it: a guest that prints as fast has no part in this. */
static void viewer_feed(struct viewer *w)
{
	const uint64_t until = min_u64(sink_bytes(w->viewers->sink), w->until);
	int rc;

	do
		rc = frame_flush(&w->out, w->fd);
	while (!rc && next_output(w, until));
	if ((rc && rc != -EAGAIN) || (!rc && w->ending))
		viewer_drop(w);
}

static void viewers_on_output(void *arg)
{
	struct viewers *v = arg;

	for (unsigned int i = 0; i < VIEWERS_MAX; i++)
		if (v->all[i].fd >= 0)
			viewer_feed(&v->all[i]);
}

/* ---- keys ---- */

/* False if the guest has no room for all of it: on_key_room() is told when it has. */
static bool type_frame(struct viewers *v, const uint8_t *keys, size_t bytes)
{
	size_t room = TERM_INPUT_BYTES - term_input_bytes(v->vm.term);
	size_t n = min_u64(bytes - v->typed, room);

	if (n)
		term_type(v->vm.term, keys + v->typed, n);
	v->typed += n;
	return v->typed == bytes;
}

/* 1: done; 0: it has to wait; -EPROTO. */
static int take_frame(struct viewers *v)
{
	const struct protocol_header h = frame_header(&v->in);
	struct protocol_size size;

	switch (h.kind) {
	case CONSOLE_INPUT:
		if (!h.bytes)
			v->writer = NULL;
		return type_frame(v, frame_payload(&v->in), h.bytes);
	case CONSOLE_SIZE:
		if (h.bytes != sizeof(size))
			return -EPROTO;
		memcpy(&size, frame_payload(&v->in), sizeof(size));
		v->vm.resized(v->vm.arg, size.columns, size.rows);
		return 1;
	case CONSOLE_BREAK:
		v->vm.send_break(v->vm.arg);
		return 1;
	case CONSOLE_QUIT:
		v->vm.quit(v->vm.arg);
		return 1;
	default:
		return -EPROTO;
	}
}

static void hear_writer(struct viewer *w)
{
	struct viewers *v = w->viewers;
	int rc = 1;

	for (unsigned int i = 0; rc > 0 && v->writer && i < FRAMES_AT_ONCE; i++) {
		rc = frame_recv(&v->in, w->fd);
		if (rc > 0)
			rc = take_frame(v);
		if (rc <= 0)
			continue;
		frame_next(&v->in);
		v->typed = 0;
	}
	if (rc < 0)
		viewer_drop(w);
	else if (rc)
		event_modify(v->loop, w->watch, EPOLLIN | EPOLLOUT | EPOLLET); /* there may be more */
}

static void on_key_room(void *arg)
{
	struct viewers *v = arg;

	if (v->writer)
		hear_writer(v->writer);
}

static void on_viewer(void *arg, uint32_t events)
{
	struct viewer *w = arg;
	char byte;

	if (w == w->viewers->writer)
		hear_writer(w);
	else if (socket_recv(w->fd, &byte, 1) >= 0) /* its end, or what it may not say */
		viewer_drop(w);
	if (w->fd >= 0 && events & (EPOLLHUP | EPOLLERR))
		viewer_drop(w);
	if (w->fd >= 0)
		viewer_feed(w);
}

/* ---- life ---- */

bool viewers_are_full(const struct viewers *v)
{
	for (unsigned int i = 0; i < VIEWERS_MAX; i++)
		if (v->all[i].fd < 0)
			return false;
	return true;
}

static void greet(struct viewer *w, bool log)
{
	struct viewers *v = w->viewers;
	uint32_t why = !v->vm.takes_keys ? CONSOLE_HAS_STREAMS :
		       v->writer	 ? CONSOLE_HAS_WRITER :
					   0;

	if (!why && !log) {
		v->writer = w;
		frame_next(&v->in);
		v->typed = 0;
	}
	frame_put(&w->out, CONSOLE_READS_ONLY, &why, sizeof(why));
}

void viewers_add(struct viewers *v, int fd, bool log)
{
	const uint64_t newest = sink_bytes(v->sink);
	struct viewer *w = v->all;

	while (w < v->all + VIEWERS_MAX && w->fd >= 0)
		w++;
	if (w < v->all + VIEWERS_MAX)
		w->watch = event_add(v->loop, fd, EPOLLIN | EPOLLOUT | EPOLLET, on_viewer, w);
	if (w == v->all + VIEWERS_MAX || w->watch < 0) {
		close(fd);
		return;
	}
	event_keep(v->loop, w->watch); /* until readers have what the guest has left */
	w->fd = fd;
	w->at = newest > VIEWERS_HISTORY_BYTES ? newest - VIEWERS_HISTORY_BYTES : 0;
	w->until = log ? newest : UINT64_MAX;
	w->ending = false;
	w->out.at = w->out.until = 0;
	greet(w, log);
}

int viewers_create(struct viewers **out, struct event_loop *loop, const struct viewers_vm *vm)
{
	struct viewers *v = calloc(1, sizeof(*v));
	int rc = 0;

	if (!v)
		return -ENOMEM;
	v->loop = loop;
	v->vm = *vm;
	v->sink = term_sink(vm->term);
	for (unsigned int i = 0; i < VIEWERS_MAX; i++) {
		v->all[i].viewers = v;
		v->all[i].fd = v->all[i].watch = -1;
		if (!rc)
			rc = frame_writer_init(&v->all[i].out, OUT_BYTES);
	}
	sink_set_watcher(v->sink, viewers_on_output, v);
	term_set_room_listener(vm->term, on_key_room, v);
	if (rc)
		viewers_destroy(v);
	else
		*out = v;
	return rc;
}

void viewers_destroy(struct viewers *v)
{
	if (!v)
		return;
	sink_set_watcher(v->sink, NULL, NULL);
	term_set_room_listener(v->vm.term, NULL, NULL);
	for (unsigned int i = 0; i < VIEWERS_MAX; i++) {
		if (v->all[i].fd >= 0)
			viewer_feed(&v->all[i]);
		if (v->all[i].fd >= 0)
			viewer_drop(&v->all[i]);
		frame_writer_fini(&v->all[i].out);
	}
	free(v);
}
