// SPDX-License-Identifier: GPL-2.0-only
/*
 * What all of qcow2 stands on: who runs when, and the tables that are all in memory.
 *
 * Somebody who cannot go on is in one list, and there are five: runnable; that of the
 * slice that is being loaded; that of the file that grows; blocked, by a request that holds
 * something; stalled, until a flush has written the tables. Whoever is woken looks again whether
 * he can go on.
 *
 * Nobody waits for ever, because
 *	a flush needs nothing that a request holds, and begins only when nobody is
 *	runnable: each of those who had waited for the last one has had his turn;
 *	it also lets those go on who are there since before the last one and do not need it,
 *	so that no request sees more than a few flushes go by;
 *	a flush makes all slices clean and all room in the list of unused clusters, unless
 *	it fails, and then those who need them fail with it;
 *	the lists are queues: who has had no luck stands behind those he overtook, no more.
 * tests/model/qcow2-flush.pml is a model of this.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "disk/qcow2-image.h"
#include "util.h"

/* ---- lists ---- */

void waiter_list_init(struct waiter_list *list)
{
	list->head = NULL;
	list->tail = &list->head;
}

void waiter_list_add(struct waiter_list *list, struct qcow2_waiter *w)
{
	w->next = NULL;
	*list->tail = w;
	list->tail = &w->next;
}

static struct qcow2_waiter *take(struct waiter_list *list)
{
	struct qcow2_waiter *w = list->head;

	if (w) {
		list->head = w->next;
		if (!list->head)
			list->tail = &list->head;
	}
	return w;
}

/* ---- running and waiting ---- */

void qcow2_make_runnable(struct qcow2 *q, struct qcow2_waiter *w, int error)
{
	w->error = error;
	waiter_list_add(&q->runnable, w);
}

void qcow2_wake(struct qcow2 *q, struct waiter_list *list, int error)
{
	struct qcow2_waiter *w;

	while ((w = take(list)))
		qcow2_make_runnable(q, w, error);
}

void qcow2_pump(struct qcow2 *q)
{
	if (q->pumping)
		return;
	q->pumping = true;
	for (;;) {
		struct qcow2_waiter *w = take(&q->runnable);

		if (w)
			w->run(w);
		else if (q->stage == FLUSH_IDLE && q->flush_wanted > q->flush_begun &&
			 !q->is_late(q))
			q->flush(q);
		else
			break;
	}
	q->pumping = false;
}

static bool is_writing(const struct qcow2 *q)
{
	return q->stage < FLUSH_FREE;
}

/* Until flush @number, or, with 0, until none is writing. */
static void stall(struct qcow2 *q, struct qcow2_waiter *w, uint64_t number)
{
	w->flush = number;
	q->flush_wanted = max_u64(q->flush_wanted, number);
	waiter_list_add(&q->stalled, w);
}

void qcow2_want_flush(struct qcow2 *q, struct qcow2_waiter *w)
{
	stall(q, w, q->flush_begun + 1);
}

void qcow2_want_room(struct qcow2 *q, struct qcow2_waiter *w)
{
	stall(q, w, q->flush_begun + !is_writing(q));
}

bool qcow2_may_change(struct qcow2 *q, struct qcow2_waiter *w)
{
	const struct qcow2_image *top = q->images[0];

	if (is_writing(q))
		stall(q, w, 0);
	else if (top->nr_dirty >= top->nr_slots / 2)
		qcow2_want_room(q, w);
	else
		return true;
	return false;
}

void qcow2_tables_written(struct qcow2 *q, int error)
{
	struct waiter_list stalled = q->stalled;
	struct qcow2_waiter *w;

	if (!stalled.head)
		return;
	waiter_list_init(&q->stalled);
	while ((w = take(&stalled))) {
		if (w->flush > q->flush_begun)
			waiter_list_add(&q->stalled, w);
		else
			qcow2_make_runnable(q, w, w->flush ? error : 0);
	}
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

void qcow2_table_mark(struct qcow2_table *t)
{
	uint64_t pieces = align_up(t->entries * 8ull, TABLE_PIECE_BYTES) / TABLE_PIECE_BYTES;

	for (uint64_t i = 0; i < pieces; i++)
		mark_piece(t, i);
}

int qcow2_corrupt(struct qcow2_image *img, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_guest(&img->disk->disk.log_limit, "disk: %s: corrupt: %s\ntry: qemu-img check %s",
		  img->path, text, img->path);
	return -EIO;
}
