// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tables of a qcow2 image: a bounded cache of slices, and the order of writing.
 *
 * The cache holds slices of L2 tables and refcount blocks as they are in the file.
 * Whoever needs one that is absent waits and starts over when it has come; so no
 * function blocks and none has to remember where it was.
 *
 * Changed slices are written only by a flush, in an order that makes a crash at any
 * point harmless (clusters may leak, never be used twice):
 *
 *	data of completed writes is in the file already
 *	1. refcounts, then fdatasync
 *	2. the header, if the refcount table has moved, then fdatasync
 *	3. L2 tables and L1 table, then fdatasync
 *	4. clusters that lost their last reference in 3 can be freed
 *
 * While a flush is going on nothing may change a table, so that each step writes what
 * belongs together. Slices stay dirty until the sync after them has succeeded: a
 * flush that fails (no space) can be repeated.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "disk/qcow2-image.h"
#include "util.h"

/* ---- lists of waiting requests ---- */

void request_list_init(struct request_list *list)
{
	list->head = NULL;
	list->tail = &list->head;
}

void request_list_add(struct request_list *list, struct disk_request *req)
{
	req->next = NULL;
	*list->tail = req;
	list->tail = &req->next;
}

struct disk_request *request_list_take(struct request_list *list)
{
	struct disk_request *req = list->head;

	if (req) {
		list->head = req->next;
		if (!list->head)
			list->tail = &list->head;
	}
	return req;
}

void request_list_move(struct request_list *to, struct request_list *from)
{
	if (!from->head)
		return;
	*to->tail = from->head;
	to->tail = from->tail;
	request_list_init(from);
}

/* ---- tables that are all in memory ---- */

int qcow2_table_read(struct qcow2_image *img, struct qcow2_table *t, uint64_t offset,
		     uint32_t entries, uint64_t max_entries)
{
	uint64_t bytes = align_up(max_u64(max_entries, 1) * 8, TABLE_PIECE_BYTES);
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	t->be = p;
	t->bytes_reserved = bytes;
	t->entries = entries;
	t->offset = offset;
	t->dirty = calloc(bytes / TABLE_PIECE_BYTES / 64 + 1, sizeof(uint64_t));
	if (!t->dirty)
		return -ENOMEM;
	return entries ? pread_all(img->fd, t->be, entries * 8ull, offset) : 0;
}

void qcow2_table_free(struct qcow2_table *t)
{
	if (t->be)
		munmap(t->be, t->bytes_reserved);
	free(t->dirty);
	*t = (struct qcow2_table){ 0 };
}

uint64_t qcow2_table_get(const struct qcow2_table *t, uint64_t i)
{
	assert(i < t->entries);
	return be64toh(t->be[i]);
}

static void mark_piece(struct qcow2_table *t, uint64_t piece)
{
	uint64_t bit = 1ull << piece % 64;

	if (!(t->dirty[piece / 64] & bit))
		t->nr_dirty++;
	t->dirty[piece / 64] |= bit;
}

void qcow2_table_set(struct qcow2_table *t, uint64_t i, uint64_t value)
{
	assert(i < t->entries);
	t->be[i] = htobe64(value);
	mark_piece(t, i * 8 / TABLE_PIECE_BYTES);
}

/* ---- the cache ---- */

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
		request_list_init(&img->slots[i].waiters);
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

static void forget_slot(struct qcow2_slot *s)
{
	struct qcow2_slot **link = bucket(s->image, s->offset);

	while (*link != s)
		link = &(*link)->hash_next;
	*link = s->hash_next;
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

	if (error) {
		log_guest(&q->disk.log_limit, "disk: %s: reading the %s at %#llx: %s",
			  s->image->path, s->is_l2 ? "L2 table" : "refcount block",
			  (unsigned long long)s->offset, strerror(-error));
		forget_slot(s);
	} else {
		s->state = SLOT_READY;
	}
	qcow2_wake(q, &s->waiters, error);
	qcow2_pump(q);
}

/* A free slot for @offset; NULL: @req waits until a flush has made some. */
static struct qcow2_slot *take_slot(struct qcow2_image *img, bool is_l2, uint64_t offset,
				    struct disk_request *req)
{
	struct qcow2_slot *s = evict(img);

	if (s)
		use_slot(s, is_l2, offset);
	else
		qcow2_wait_for_clean_slots(img->disk, req);
	return s;
}

int qcow2_cache_get(struct qcow2_image *img, bool is_l2, uint64_t offset,
		    struct disk_request *req, struct qcow2_slot **out)
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
		s = take_slot(img, is_l2, offset, req);
		if (!s)
			return 0;
		s->state = SLOT_LOADING;
		slot_op(s, AIO_READ, loaded);
	}
	request_list_add(&s->waiters, req);
	return 0;
}

int qcow2_cache_new(struct qcow2_image *img, bool is_l2, uint64_t offset,
		    struct disk_request *req, struct qcow2_slot **out)
{
	struct qcow2_slot *s;

	offset = align_down(offset, img->slice_bytes);
	s = find_slot(img, offset);
	if (!s) {
		s = take_slot(img, is_l2, offset, req);
		if (!s)
			return 0;
	}
	/* Left over from the cluster's former life; nobody can be waiting for it. */
	assert(s->state != SLOT_LOADING);
	s->is_l2 = is_l2;
	s->state = SLOT_READY;
	memset(s->data, 0, img->slice_bytes);
	*out = s;
	return 1;
}

void qcow2_cache_dirty(struct qcow2_slot *s)
{
	if (!s->dirty)
		s->image->nr_dirty++;
	s->dirty = true;
}

/* ---- flushing ---- */

static void flush_step(struct qcow2 *q);

bool qcow2_has_changes(const struct qcow2 *q)
{
	const struct qcow2_image *top = q->images[0];

	return top->nr_dirty || top->l1.nr_dirty || top->refcounts.nr_dirty || top->table_moved ||
	       top->unused.nr;
}

bool qcow2_wait_for_flush(struct qcow2 *q, struct disk_request *req)
{
	if (q->stage == FLUSH_IDLE)
		return false;
	request_list_add(&q->parked, req);
	return true;
}

void qcow2_wait_for_clean_slots(struct qcow2 *q, struct disk_request *req)
{
	request_list_add(&q->starved, req);
	qcow2_flush_start(q);
}

static void flush_write_done(struct qcow2 *q, int error)
{
	if (error && !q->flush_error)
		q->flush_error = error;
	if (!--q->flush_pending)
		flush_step(q);
}

static void slot_written(struct aio_op *op, int error)
{
	flush_write_done(slot_of(op)->image->disk, error);
}

static void flush_op_done(struct aio_op *op, int error)
{
	flush_write_done((struct qcow2 *)((char *)op - offsetof(struct qcow2, flush_op)), error);
}

static void write_slots(struct qcow2 *q, bool l2)
{
	struct qcow2_image *top = q->images[0];

	for (unsigned int i = 0; i < top->nr_slots; i++) {
		struct qcow2_slot *s = &top->slots[i];

		if (!s->dirty || s->is_l2 != l2)
			continue;
		q->flush_pending++;
		slot_op(s, AIO_WRITE, slot_written);
	}
}

static void clean_slots(struct qcow2 *q, bool l2)
{
	struct qcow2_image *top = q->images[0];

	for (unsigned int i = 0; i < top->nr_slots; i++) {
		struct qcow2_slot *s = &top->slots[i];

		if (!s->dirty || s->is_l2 != l2)
			continue;
		s->dirty = false;
		top->nr_dirty--;
	}
}

static void submit_flush_op(struct qcow2 *q, enum aio_kind kind, uint64_t offset, void *data,
			    uint64_t bytes)
{
	q->flush_iov = (struct iovec){ data, bytes };
	q->flush_op = (struct aio_op){
		.kind = kind,
		.file = &q->images[0]->file,
		.offset = offset,
		.iov = &q->flush_iov,
		.nr_iov = 1,
		.bytes = bytes,
		.done = flush_op_done,
	};
	q->flush_pending++;
	aio_submit(q->disk.aio, &q->flush_op);
}

/*
 * Writes one run of changed pieces of @t, which become clean: they are set again if
 * the write fails. False if there was none.
 */
static bool write_table(struct qcow2 *q, struct qcow2_table *t)
{
	uint64_t pieces = align_up(t->entries * 8ull, TABLE_PIECE_BYTES) / TABLE_PIECE_BYTES;
	uint64_t first = 0, last, end;

	if (!t->nr_dirty)
		return false;
	while (!(t->dirty[first / 64] >> first % 64 & 1))
		first++;
	for (last = first; last < pieces && t->dirty[last / 64] >> last % 64 & 1; last++) {
		t->dirty[last / 64] &= ~(1ull << last % 64);
		t->nr_dirty--;
	}
	end = min_u64(last * TABLE_PIECE_BYTES, t->entries * 8ull);
	submit_flush_op(q, AIO_WRITE, t->offset + first * TABLE_PIECE_BYTES,
			(uint8_t *)t->be + first * TABLE_PIECE_BYTES,
			end - first * TABLE_PIECE_BYTES);
	return true;
}

/* After a failed flush we do not know what is in the file: everything once more. */
static void mark_table(struct qcow2_table *t)
{
	uint64_t pieces = align_up(t->entries * 8ull, TABLE_PIECE_BYTES) / TABLE_PIECE_BYTES;

	for (uint64_t i = 0; i < pieces; i++)
		mark_piece(t, i);
}

static void sync_or_skip(struct qcow2 *q)
{
	if (q->temporary)
		flush_step(q);
	else
		submit_flush_op(q, AIO_SYNC, 0, NULL, 0);
}

/* The fields of the header that change: where the refcount table is (bytes 48 to 59). */
static void write_header(struct qcow2 *q)
{
	const struct qcow2_image *top = q->images[0];
	uint64_t offset = htobe64(top->refcounts.offset);
	uint32_t clusters = htobe32((uint32_t)(top->refcounts.entries * 8ull >> top->cluster_bits));

	memcpy(q->flush_header, &offset, 8);
	memcpy(q->flush_header + 8, &clusters, 4);
	submit_flush_op(q, AIO_WRITE, 48, q->flush_header, 12);
}

static void move_ranges(struct qcow2_image *top)
{
	if (top->freeable.nr)
		return;		/* still busy with the last ones: these wait for a later flush */
	top->freeable = top->unused;
	top->unused.nr = 0;
}

static void flush_end(struct qcow2 *q)
{
	struct qcow2_image *top = q->images[0];
	int error = q->flush_error;

	q->stage = FLUSH_IDLE;
	if (error) {
		log_guest(&q->disk.log_limit, "disk: %s: writing its tables: %s", top->path,
			  strerror(-error));
		if (!q->temporary) {
			mark_table(&top->l1);
			mark_table(&top->refcounts);
		}
	} else {
		move_ranges(top);
		qcow2_free_continue(q);
	}
	qcow2_wake(q, &q->flushing, error);
	qcow2_wake(q, &q->starved, error);
	qcow2_wake(q, &q->parked, 0);
	if (q->flush_next.head) {
		request_list_move(&q->flushing, &q->flush_next);
		qcow2_flush_start(q);
	}
	qcow2_pump(q);
}

/* Begins stage after stage until one has something in flight. */
static void flush_step(struct qcow2 *q)
{
	struct qcow2_image *top = q->images[0];

	if (q->flush_error) {
		flush_end(q);
		return;
	}
	switch (q->stage) {
	case FLUSH_IDLE:
		q->stage = FLUSH_REFCOUNTS;
		q->flush_pending = 1;	/* ours, until all are submitted */
		write_slots(q, false);
		flush_write_done(q, 0);
		break;
	case FLUSH_REFCOUNTS:
		if (write_table(q, &top->refcounts))
			break;
		q->stage = FLUSH_REFCOUNTS_SYNC;
		sync_or_skip(q);
		break;
	case FLUSH_REFCOUNTS_SYNC:
		clean_slots(q, false);
		q->stage = FLUSH_HEADER;
		if (top->table_moved)
			write_header(q);
		else
			flush_step(q);
		break;
	case FLUSH_HEADER:
		q->stage = FLUSH_HEADER_SYNC;
		if (top->table_moved)
			sync_or_skip(q);
		else
			flush_step(q);
		break;
	case FLUSH_HEADER_SYNC:
		top->table_moved = false;
		q->stage = FLUSH_L2;
		q->flush_pending = 1;
		write_slots(q, true);
		flush_write_done(q, 0);
		break;
	case FLUSH_L2:
		if (write_table(q, &top->l1))
			break;
		q->stage = FLUSH_SYNC;
		sync_or_skip(q);
		break;
	case FLUSH_SYNC:
		clean_slots(q, true);
		flush_end(q);
		break;
	}
}

void qcow2_flush_start(struct qcow2 *q)
{
	if (q->stage != FLUSH_IDLE)
		return;
	q->flush_error = 0;
	if (!qcow2_has_changes(q)) {
		/* Only data: one sync is all. */
		q->stage = FLUSH_SYNC;
		sync_or_skip(q);
		return;
	}
	flush_step(q);
}
