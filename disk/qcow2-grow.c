// SPDX-License-Identifier: GPL-2.0-only
/*
 * A qcow2 file grows, and the clusters of new refcount blocks and tables are zeroed before
 * anything refers to them. A host may take any time for it, so all of it is operations of the
 * engine, one at a time for each image.
 *
 * Who needs it begins it and is woken at its end, with its error; others who came meanwhile are
 * woken to look again, since what is impossible for one may be possible for them. Whoever comes
 * back looks at everything anew, so nothing is promised to anybody. No flush waits for this.
 *
 * A file grows by a zero at its new end: every file system can do that, and io_uring, which has no
 * ftruncate(2) and no fallocate(2) where the file system has none.
 */
#include <errno.h>
#include <stddef.h>

#include "disk/file.h"
#include "disk/qcow2-grow.h"
#include "util.h"

#define EXTEND_BYTES MIB(16) /* at least as much: fewer operations */

void qcow2_growth_init(struct qcow2_image *img)
{
	waiter_list_init(&img->growth.waiters);
}

static struct qcow2_image *growing_image(struct aio_op *op)
{
	return (struct qcow2_image *)((char *)op - offsetof(struct qcow2_image, growth.op));
}

/* True if @w is who begins something now; otherwise it waits. */
static bool growth_begin(struct qcow2_image *img, struct qcow2_waiter *w)
{
	struct qcow2_growth *g = &img->growth;

	if (g->owner) {
		waiter_list_add(&g->waiters, w);
		return false;
	}
	g->owner = w;
	return true;
}

static void growth_end(struct qcow2_image *img, int error)
{
	struct qcow2_growth *g = &img->growth;
	struct qcow2_waiter *owner = g->owner;

	g->owner = NULL;
	qcow2_make_runnable(img->disk, owner, error);
	qcow2_wake(img->disk, &g->waiters, 0);
	qcow2_pump(img->disk);
}

static void write_zeroes(struct qcow2_image *img, uint64_t offset, uint64_t bytes,
			 void (*done)(struct aio_op *op, int error))
{
	struct qcow2_growth *g = &img->growth;

	g->iov = (struct iovec){ (void *)(uintptr_t)file_zeroes(), bytes };
	g->op = (struct aio_op){
		.kind = AIO_WRITE,
		.file = &img->file,
		.offset = offset,
		.iov = &g->iov,
		.nr_iov = 1,
		.bytes = bytes,
		.done = done,
	};
	aio_submit(img->disk->disk.aio, &g->op);
}

static void extended(struct aio_op *op, int error)
{
	struct qcow2_image *img = growing_image(op);
	struct qcow2_growth *g = &img->growth;

	/* A limit on the size of files, perhaps: not more than is needed. */
	if (error && g->file_end > g->end) {
		g->file_end = g->end;
		write_zeroes(img, g->file_end - 1, 1, extended);
		return;
	}
	if (!error)
		img->file_bytes = g->file_end;
	growth_end(img, error);
}

int qcow2_extend(struct qcow2_image *img, uint64_t first, uint64_t count, struct qcow2_waiter *w)
{
	struct qcow2_growth *g = &img->growth;
	uint64_t end = (first + count) << img->cluster_bits;

	if (end <= img->file_bytes)
		return 1;
	if (!img->regular)
		return -ENOSPC;
	if (!growth_begin(img, w))
		return 0;
	g->end = end;
	g->file_end = align_up(end, EXTEND_BYTES);
	write_zeroes(img, g->file_end - 1, 1, extended);
	return 0;
}

static void zero_next(struct qcow2_image *img);

static void qcow2_zeroed(struct aio_op *op, int error)
{
	struct qcow2_image *img = growing_image(op);
	struct qcow2_growth *g = &img->growth;

	if (!error && g->zero_pos < g->zero_end) {
		zero_next(img);
		return;
	}
	if (error)
		g->zeroed.count = 0;
	growth_end(img, error);
}

static void zero_next(struct qcow2_image *img)
{
	struct qcow2_growth *g = &img->growth;
	uint64_t pos = g->zero_pos, n = min_u64(g->zero_end - pos, FILE_ZEROES_BYTES);

	g->zero_pos += n;
	write_zeroes(img, pos, n, qcow2_zeroed);
}

int qcow2_zero_clusters(struct qcow2_image *img, uint64_t first, uint64_t count,
			struct qcow2_waiter *w)
{
	struct qcow2_growth *g = &img->growth;
	int rc;

	if (!g->owner && g->zeroed.first == first && g->zeroed.count == count) {
		g->zeroed.count = 0;
		return 1;
	}
	rc = qcow2_extend(img, first, count, w);
	if (rc != 1)
		return rc;
	if (!growth_begin(img, w))
		return 0;
	g->zeroed = (struct cluster_range){ first, count };
	g->zero_pos = first << img->cluster_bits;
	g->zero_end = (first + count) << img->cluster_bits;
	zero_next(img);
	return 0;
}
