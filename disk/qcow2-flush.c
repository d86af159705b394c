// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writing the tables of a qcow2 disk, in an order that makes a crash at any point harmless
 * (clusters may leak, never be used twice):
 *
 *	data of completed writes is in the file already
 *	1. refcount blocks; if there are new ones fdatasync, then the table that names them;
 *	   then fdatasync
 *	2. the header, if it has changed, then fdatasync
 *	3. L2 tables and L1 table, then fdatasync; now those who asked are answered
 *	4. clusters that lost their last reference in 3 are freed
 *
 * During 1 to 3 nothing may change a table, so that each step writes what belongs
 * together. Slices stay dirty until the sync after them has succeeded: a flush that
 * fails (no space) can be repeated.
 *
 * 4 runs beside requests. It changes refcounts in the cache, which the next flush writes, and
 * when that would need too much of the cache it ends, and the next flush goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stddef.h>
#include <string.h>

#include "disk/qcow2-alloc.h"
#include "disk/qcow2-flush.h"
#include "disk/qcow2-table.h"
#include "util.h"

static void flush_step(struct qcow2 *q);

static bool has_changes(const struct qcow2_image *top)
{
	return top->nr_dirty || top->l1.nr_dirty || top->refcounts.nr_dirty ||
	       top->header_changed || top->unused.nr || top->freeable.nr;
}

/* ---- writing ---- */

static void flush_write_done(struct qcow2 *q, int error)
{
	if (error && !q->flush_error)
		q->flush_error = error;
	if (!--q->flush_pending)
		flush_step(q);
}

static void flush_slot_done(struct aio_op *op, int error)
{
	flush_write_done(qcow2_cache_image(op)->disk, error);
}

static struct qcow2 *flush_disk(struct aio_op *op)
{
	return (struct qcow2 *)((char *)op - offsetof(struct qcow2, flush_op));
}

static void flush_op_done(struct aio_op *op, int error)
{
	flush_write_done(flush_disk(op), error);
}

static void write_slots(struct qcow2 *q, bool l2)
{
	q->flush_pending = qcow2_cache_write(q->images[0], l2, flush_slot_done) + 1;
	flush_write_done(q, 0);
}

static void submit_op(struct qcow2 *q, enum aio_kind kind, uint64_t offset, void *data,
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
	submit_op(q, AIO_WRITE, t->offset + first * TABLE_PIECE_BYTES,
		  (uint8_t *)t->be + first * TABLE_PIECE_BYTES, end - first * TABLE_PIECE_BYTES);
	return true;
}

static void sync_or_skip(struct qcow2 *q)
{
	if (q->temporary)
		flush_step(q);
	else
		submit_op(q, AIO_SYNC, 0, NULL, 0);
}

/* ---- freeing ---- */

static void punch(struct qcow2 *q, const struct cluster_range *hole);

static void flush_free(struct qcow2 *q)
{
	struct cluster_range hole;
	enum free_step rc;

	do
		rc = qcow2_free_step(q->images[0], &q->flush_waiter, &hole);
	while (rc == FREE_NEXT);
	if (rc == FREE_PUNCH)
		punch(q, &hole);
	if (rc != FREE_END)
		return;
	q->stage = FLUSH_IDLE;
	if (q->images[0]->freeable.nr)
		q->flush_wanted = max_u64(q->flush_wanted, q->flush_begun + 1);
}

static void flush_free_slice(struct qcow2_waiter *w)
{
	struct qcow2 *q = (struct qcow2 *)((char *)w - offsetof(struct qcow2, flush_waiter));

	if (w->error)
		qcow2_free_skip(q->images[0]);
	flush_free(q);
}

/* Whether it worked or not, nobody needs what was there. */
static void flush_punched(struct aio_op *op, int error)
{
	struct qcow2 *q = flush_disk(op);

	(void)error;
	flush_free(q);
	qcow2_pump(q);
}

static void punch(struct qcow2 *q, const struct cluster_range *hole)
{
	const struct qcow2_image *top = q->images[0];

	q->flush_op = (struct aio_op){
		.kind = AIO_ALLOCATE,
		.file = &top->file,
		.offset = hole->first << top->cluster_bits,
		.bytes = hole->count << top->cluster_bits,
		.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		.done = flush_punched,
	};
	aio_submit(q->disk.aio, &q->flush_op);
}

/* ---- the order ---- */

static void flush_failed(struct qcow2 *q)
{
	struct qcow2_image *top = q->images[0];

	log_guest(&q->disk.log_limit, "disk: %s: writing its tables: %s", top->path,
		  strerror(-q->flush_error));
	/* We do not know what is in the file: everything once more. */
	if (!q->temporary) {
		qcow2_table_mark(&top->l1);
		qcow2_table_mark(&top->refcounts);
	}
	q->stage = FLUSH_IDLE;
	qcow2_tables_written(q, q->flush_error);
	qcow2_pump(q);
}

static void flush_succeeded(struct qcow2 *q)
{
	q->stage = FLUSH_FREE;
	qcow2_unused_is_freeable(q->images[0]);
	qcow2_tables_written(q, 0);
	flush_free(q);
	qcow2_pump(q);
}

/* Bytes 88 to 95: by them a program would know that what it keeps in the image is true. */
static void write_header(struct qcow2 *q)
{
	struct qcow2_image *top = q->images[0];

	if (top->version >= 3)
		memset(top->header + 88, 0, 8);
	submit_op(q, AIO_WRITE, 0, top->header,
		  top->version >= 3 ? QCOW2_HEADER_BYTES : QCOW2_HEADER_BYTES_V2);
}

/* The stage has done what it had to: the next one begins. */
static void next_stage(struct qcow2 *q, enum flush_stage next)
{
	q->stage = next;
	switch (next) {
	case FLUSH_BLOCKS:
		write_slots(q, false);
		break;
	case FLUSH_HEADER:
		write_header(q);
		break;
	case FLUSH_TABLE:
		flush_step(q);
		break;
	case FLUSH_L2:
		write_slots(q, true);
		break;
	case FLUSH_BLOCKS_SYNC:
	case FLUSH_REFCOUNTS_SYNC:
	case FLUSH_HEADER_SYNC:
	case FLUSH_SYNC:
		sync_or_skip(q);
		break;
	case FLUSH_FREE:
	case FLUSH_IDLE:
		break;
	}
}

/* Nothing of the stage is in flight: it goes on, or the next one begins. */
static void flush_step(struct qcow2 *q)
{
	struct qcow2_image *top = q->images[0];

	if (q->flush_error) {
		flush_failed(q);
		return;
	}
	switch (q->stage) {
	case FLUSH_BLOCKS:
		next_stage(q, top->refcounts.nr_dirty ? FLUSH_BLOCKS_SYNC : FLUSH_REFCOUNTS_SYNC);
		break;
	case FLUSH_BLOCKS_SYNC:
		next_stage(q, FLUSH_TABLE);
		break;
	case FLUSH_TABLE:
		if (!write_table(q, &top->refcounts))
			next_stage(q, FLUSH_REFCOUNTS_SYNC);
		break;
	case FLUSH_REFCOUNTS_SYNC:
		qcow2_cache_clean(top, false);
		next_stage(q, top->header_changed ? FLUSH_HEADER : FLUSH_L2);
		break;
	case FLUSH_HEADER:
		next_stage(q, FLUSH_HEADER_SYNC);
		break;
	case FLUSH_HEADER_SYNC:
		top->header_changed = false;
		top->autoclear = 0;
		next_stage(q, FLUSH_L2);
		break;
	case FLUSH_L2:
		if (!write_table(q, &top->l1))
			next_stage(q, FLUSH_SYNC);
		break;
	case FLUSH_SYNC:
		qcow2_cache_clean(top, true);
		flush_succeeded(q);
		break;
	case FLUSH_FREE:
	case FLUSH_IDLE:
		break;
	}
}

static void flush_begin(struct qcow2 *q)
{
	q->flush_begun++;
	q->flush_error = 0;
	/* Only data: one sync is all. */
	next_stage(q, has_changes(q->images[0]) ? FLUSH_BLOCKS : FLUSH_SYNC);
}

void qcow2_flush_init(struct qcow2 *q)
{
	q->flush = flush_begin;
	q->stage = FLUSH_IDLE;
	q->flush_waiter.run = flush_free_slice;
}

int qcow2_flush_all(struct qcow2 *q, bool again)
{
	/* Freeing makes changes of its own, fewer each time. */
	if (again && (q->flush_error || !has_changes(q->images[0])))
		return q->flush_error;
	q->flush_wanted = q->flush_begun + 1;
	qcow2_pump(q);
	return 1;
}
