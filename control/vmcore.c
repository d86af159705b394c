// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vmcore on its way out (control/vmcore.h).
 *
 * Owns the socket of its receiver. Whenever that takes something the next records are made and sent, for
 * a few milliseconds at a time, straight from guest memory. A timer looks whether it goes on.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/vmcore.h"
#include "event.h"
#include "io.h"
#include "util.h"

#define TURN_NS		 3000000u
#define TICK_NS		 100000000u
#define ANSWER_PATIENCES 10u /* for an answer: gigabytes may have to be on a disk by then */

struct vmcore {
	struct vmcore_source source;
	int pagemap;
	int timer, watch;
	struct vmcore_client client; /* its socket is -1: none is under way */
	bool waits;		     /* for CPUs to stand */
	bool all_sent;
	uint64_t moved_ns; /* when it last took something */
	struct vmcore_image image;
	struct vmcore_record record; /* what is sent of: it and its data */
	const void *data;
	uint32_t record_bytes, sent; /* 0: the next one is to be made */
};

void vmcore_drop(struct vmcore *v)
{
	event_timer_set(v->source.loop, v->timer, 0, 0);
	event_remove(v->source.loop, v->watch);
	close(v->client.socket);
	v->client.socket = v->watch = -1;
}

static void vmcore_finish(struct vmcore *v, int rc)
{
	const struct vmcore_client client = v->client;

	vmcore_drop(v);
	client.done(client.arg, rc);
}

/* What is left of a record, as much as is sent at once; its bytes. Never one alone, which would be an order. */
static size_t rest_of_record(const struct vmcore *v, struct iovec iov[2])
{
	const uint32_t head = sizeof(v->record), at = v->sent < head ? 0 : v->sent - head;
	const uint32_t left = v->record_bytes - head - at;

	iov[0] = (struct iovec){ (uint8_t *)(uintptr_t)&v->record + min_u64(v->sent, head),
				 head - min_u64(v->sent, head) };
	iov[1] = (struct iovec){ v->data ? (uint8_t *)(uintptr_t)v->data + at : NULL,
				 min_u64(left, VMCORE_MESSAGE_BYTES - head) };
	if (left == iov[1].iov_len + 1)
		iov[1].iov_len--;
	return iov[0].iov_len + iov[1].iov_len;
}

static bool next_record(struct vmcore *v)
{
	return v->client.next ? v->client.next(v->client.maker, &v->record, &v->data) :
				vmcore_image_next(&v->image, &v->record, &v->data);
}

/* 0: more may be sent; -EAGAIN: not now; -ENODATA: all is; -errno of the socket. */
static int send_some(struct vmcore *v)
{
	struct iovec iov[2];
	ssize_t n;

	if (v->sent == v->record_bytes) {
		if (!next_record(v))
			return -ENODATA;
		v->sent = 0;
		v->record_bytes = (uint32_t)sizeof(v->record) + (v->data ? v->record.bytes : 0);
	}
	rest_of_record(v, iov);
	n = socket_send_iov(v->client.socket, iov, 2);
	if (n < 0)
		return errno == ENOBUFS ? -EAGAIN : -errno;
	v->sent += (uint32_t)n;
	v->moved_ns = now_ns();
	return 0;
}

/* It has something to say: that it is gone, or, if it answers, what has become of it. */
static void take_word(struct vmcore *v)
{
	int32_t answer = 0;
	ssize_t n = socket_recv(v->client.socket, &answer, sizeof(answer));

	/* A socket for messages says first, once, that something was not read. */
	if (n < 0 && errno == ECONNRESET)
		n = socket_recv(v->client.socket, &answer, sizeof(answer));
	if (n < 0 && errno == EAGAIN)
		return;
	if (n == sizeof(answer) && v->client.answers && answer <= 0 && answer >= -4095 &&
	    (answer || v->all_sent))
		vmcore_finish(v, answer);
	else
		vmcore_finish(v, -EPIPE);
}

static void send_for_a_turn(struct vmcore *v)
{
	const uint64_t end = now_ns() + TURN_NS;
	int rc = 0;

	while (!rc && now_ns() < end)
		rc = send_some(v);
	if (!rc || rc == -EAGAIN)
		return;
	if (rc != -ENODATA) {
		/* Why it went, if it has said so before. */
		if (rc == -EPIPE || rc == -ECONNRESET)
			take_word(v);
		if (v->client.socket >= 0)
			vmcore_finish(v, rc);
		return;
	}
	v->all_sent = true;
	event_modify(v->source.loop, v->watch, EPOLLIN);
	if (!v->client.answers)
		vmcore_finish(v, 0);
}

static void vmcore_on_event(void *arg, uint32_t events)
{
	struct vmcore *v = arg;

	/* First: a turn may have ended with the last record, and who has that answers at once. */
	if (events & EPOLLOUT && !v->waits && !v->all_sent)
		send_for_a_turn(v);
	if (v->client.socket >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		take_word(v);
}

static uint64_t patience_of(const struct vmcore *v)
{
	return v->source.patience_ns * (v->all_sent ? ANSWER_PATIENCES : 1);
}

static void vmcore_on_tick(void *arg, uint32_t events)
{
	struct vmcore *v = arg;

	(void)events;
	if (v->client.is_unwanted && v->client.is_unwanted(v->client.arg))
		vmcore_finish(v, -ECANCELED);
	else if (now_ns() - v->moved_ns > patience_of(v))
		vmcore_finish(v, -ETIMEDOUT);
}

void vmcore_start(struct vmcore *v, const struct vmcore_client *client)
{
	const struct vmcore_source *s = &v->source;

	assert(!vmcore_is_busy(v));
	v->client = *client;
	v->sent = v->record_bytes = 0;
	v->all_sent = false;
	v->waits = true;
	v->moved_ns = now_ns();
	vmcore_image_init(&v->image, s->mem, v->pagemap, s->nr_cpus, s->read_cpu, s->arg);
	event_timer_set(s->loop, v->timer, TICK_NS, TICK_NS);
	v->watch = event_add(s->loop, client->socket, EPOLLIN, vmcore_on_event, v);
	if (v->watch < 0)
		vmcore_finish(v, v->watch);
	else
		event_keep(s->loop, v->watch);
}

void vmcore_go(struct vmcore *v)
{
	if (!vmcore_is_busy(v) || !v->waits)
		return;
	v->waits = false;
	v->moved_ns = now_ns();
	event_modify(v->source.loop, v->watch, EPOLLIN | EPOLLOUT);
}

int vmcore_pagemap(const struct vmcore *v)
{
	return v->pagemap;
}

bool vmcore_is_busy(const struct vmcore *v)
{
	return v->client.socket >= 0;
}

int vmcore_create(struct vmcore **out, const struct vmcore_source *source)
{
	struct vmcore *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->source = *source;
	v->watch = v->client.socket = -1;
	v->pagemap = mem_open_pagemap(); /* without it all pages are looked at */
	v->timer = event_timer_create(v->source.loop, vmcore_on_tick, v);
	if (v->timer < 0) {
		int rc = v->timer;

		vmcore_destroy(v);
		return rc;
	}
	event_keep(v->source.loop, v->timer);
	*out = v;
	return 0;
}

void vmcore_destroy(struct vmcore *v)
{
	if (!v)
		return;
	if (vmcore_is_busy(v))
		vmcore_drop(v);
	event_remove(v->source.loop, v->timer);
	if (v->pagemap >= 0)
		close(v->pagemap);
	free(v);
}
