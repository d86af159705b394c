// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cache of one qcow2 file: slices of L2 tables and refcount blocks as they are in the
 * file, a bounded number of them.
 *
 * Whoever needs one that is absent waits and starts over when it has come; so no
 * function blocks and none has to remember where it was. Dirty slices stay until a flush
 * has written them (qcow2-flush.c): never more than half of the cache may be dirty before
 * somebody changes one (qcow2_may_change()), so that reading finds a slot.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk/qcow2-table.h"
#include "util.h"

int qcow2_cache_create(struct qcow2_image *img, unsigned int nr_slots)
{
	img->slice_bytes = (uint32_t)min_u64(img->cluster_bytes, QCOW2_SLICE_BYTES);
	img->slice_entries = img->slice_bytes / 8;
	img->nr_slots = nr_slots;
	img->slots = calloc(nr_slots, sizeof(*img->slots));
	img->hash = calloc(nr_slots, sizeof(struct qcow2_slot *));
	img->slices = aligned_alloc(QCOW2_SLICE_BYTES, (size_t)nr_slots * QCOW2_SLICE_BYTES);
	if (!img->slots || !img->hash || !img->slices)
		return -ENOMEM;
	for (unsigned int i = 0; i < nr_slots; i++) {
		img->slots[i].image = img;
		img->slots[i].data = img->slices + (size_t)i * QCOW2_SLICE_BYTES;
		waiter_list_init(&img->slots[i].waiters);
	}
	return 0;
}

void qcow2_cache_destroy(struct qcow2_image *img)
{
	free(img->slots);
	free(img->hash);
	free(img->slices);
}

static struct qcow2_slot **bucket(struct qcow2_image *img, uint64_t offset)
{
	return &img->hash[offset / img->slice_bytes * 0x9e3779b97f4a7c15ull >> 32 &
			  (img->nr_slots - 1)];
}

static struct qcow2_slot *find_slot(struct qcow2_image *img, uint64_t offset)
{
	struct qcow2_slot *s = *bucket(img, offset);

	while (s && s->offset != offset)
		s = s->hash_next;
	return s;
}

/* Nobody finds it any more. */
static void unhash(struct qcow2_slot *s)
{
	struct qcow2_slot **link = bucket(s->image, s->offset);

	while (*link != s)
		link = &(*link)->hash_next;
	*link = s->hash_next;
}

static void forget_slot(struct qcow2_slot *s)
{
	unhash(s);
	s->state = SLOT_EMPTY;
}

static bool can_evict(const struct qcow2_slot *s)
{
	return s->state == SLOT_EMPTY || (s->state == SLOT_READY && !s->dirty);
}

bool qcow2_cache_has_room(const struct qcow2_image *img, unsigned int nr)
{
	for (unsigned int i = 0; i < img->nr_slots && nr; i++)
		nr -= can_evict(&img->slots[i]);
	return !nr;
}

/* A slot that can be used for something else: second chance, then the next. */
static struct qcow2_slot *evict(struct qcow2_image *img)
{
	for (unsigned int i = 0; i < 2 * img->nr_slots; i++) {
		struct qcow2_slot *s = &img->slots[img->hand];

		img->hand = (img->hand + 1) % img->nr_slots;
		if (!can_evict(s))
			continue;
		if (s->recent) {
			s->recent = false;
			continue;
		}
		if (s->state == SLOT_READY)
			forget_slot(s);
		return s;
	}
	return NULL;
}

static void use_slot(struct qcow2_slot *s, bool is_l2, uint64_t offset)
{
	struct qcow2_slot **head = bucket(s->image, offset);

	s->offset = offset;
	s->is_l2 = is_l2;
	s->recent = true;
	s->hash_next = *head;
	*head = s;
}

static struct qcow2_slot *slot_of(struct aio_op *op)
{
	return (struct qcow2_slot *)((char *)op - offsetof(struct qcow2_slot, op));
}

static void slot_op(struct qcow2_slot *s, enum aio_kind kind,
		    void (*done)(struct aio_op *op, int error))
{
	s->iov = (struct iovec){ s->data, s->image->slice_bytes };
	s->op = (struct aio_op){
		.kind = kind,
		.file = &s->image->file,
		.offset = s->offset,
		.iov = &s->iov,
		.nr_iov = 1,
		.bytes = s->image->slice_bytes,
		.done = done,
	};
	aio_submit(s->image->disk->disk.aio, &s->op);
}

static void loaded(struct aio_op *op, int error)
{
	struct qcow2_slot *s = slot_of(op);
	struct qcow2 *q = s->image->disk;

	if (error)
		log_guest(&q->disk.log_limit, "disk: %s: reading the %s at %#llx: %s",
			  s->image->path, s->is_l2 ? "L2 table" : "refcount block",
			  (unsigned long long)s->offset, strerror(-error));
	if (error && !s->forgotten)
		unhash(s);
	s->state = error || s->forgotten ? SLOT_EMPTY : SLOT_READY;
	s->forgotten = false;
	qcow2_wake(q, &s->waiters, error);
	qcow2_pump(q);
}

int qcow2_cache_get(struct qcow2_image *img, bool is_l2, uint64_t offset,
		    struct qcow2_waiter *w, struct qcow2_slot **out)
{
	struct qcow2_slot *s;

	offset = align_down(offset, img->slice_bytes);
	s = find_slot(img, offset);
	if (s && s->state == SLOT_READY) {
		s->recent = true;
		*out = s;
		return 1;
	}
	if (!s) {
		s = evict(img);
		if (!s) {
			qcow2_want_room(img->disk, w);
			return 0;
		}
		use_slot(s, is_l2, offset);
		s->state = SLOT_LOADING;
		slot_op(s, AIO_READ, loaded);
	}
	waiter_list_add(&s->waiters, w);
	return 0;
}

struct qcow2_slot *qcow2_cache_new(struct qcow2_image *img, bool is_l2, uint64_t offset)
{
	struct qcow2_slot *s;

	offset = align_down(offset, img->slice_bytes);
	s = find_slot(img, offset);
	if (!s) {
		s = evict(img);
		assert(s);
		use_slot(s, is_l2, offset);
	}
	assert(s->state != SLOT_LOADING);
	s->state = SLOT_READY;
	memset(s->data, 0, img->slice_bytes);
	return s;
}

void qcow2_cache_dirty(struct qcow2_slot *s)
{
	if (!s->dirty)
		s->image->nr_dirty++;
	s->dirty = true;
}

static void clean(struct qcow2_slot *s)
{
	s->image->nr_dirty -= s->dirty;
	s->dirty = false;
}

void qcow2_cache_forget(struct qcow2_image *img, uint64_t offset, uint64_t bytes)
{
	for (uint64_t at = offset; at < offset + bytes; at += img->slice_bytes) {
		struct qcow2_slot *s = find_slot(img, at);

		if (!s)
			continue;
		clean(s);
		unhash(s);
		/* What is being read is thrown away when it has come. */
		if (s->state == SLOT_LOADING)
			s->forgotten = true;
		else
			s->state = SLOT_EMPTY;
	}
}

/* ---- writing ---- */

unsigned int qcow2_cache_write(struct qcow2_image *img, bool l2,
			       void (*done)(struct aio_op *op, int error))
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < img->nr_slots && img->nr_dirty; i++) {
		struct qcow2_slot *s = &img->slots[i];

		if (!s->dirty || s->is_l2 != l2)
			continue;
		slot_op(s, AIO_WRITE, done);
		nr++;
	}
	return nr;
}

void qcow2_cache_clean(struct qcow2_image *img, bool l2)
{
	for (unsigned int i = 0; i < img->nr_slots && img->nr_dirty; i++)
		if (img->slots[i].dirty && img->slots[i].is_l2 == l2)
			clean(&img->slots[i]);
}

struct qcow2_image *qcow2_cache_image(struct aio_op *op)
{
	return slot_of(op)->image;
}
