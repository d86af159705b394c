// SPDX-License-Identifier: GPL-2.0-only
/*
 * Data of files of a directory as a disk (disk/dir.c): read by the engine, straight from the file
 * into the guest's buffers.
 *
 * The files process opens a file when it is first read and hands over the descriptor; the
 * DIR_MAX_OPEN used last stay open. What is read is what was there when the guest first looked at
 * the file: what that depends on (struct tree_identity) is compared when it is opened and again
 * after each read, and if it is another the guest gets an error, now and ever after, and the user
 * one message. The kernel is asked for it without asking a server (AT_STATX_DONT_SYNC), so that the
 * loop never waits for one.
 *
 * A file that cannot be opened now (too many are open on this host, a server does not answer) is
 * an error for those who wait for it, and tried again for who comes AGAIN_NS later.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "disk/dir-data.h"
#include "disk/dir-image.h"
#include "log.h"

#define AGAIN_NS 100000000u

/* ---- buffers of a request ---- */

static void drop_first(struct disk_request *req, size_t bytes)
{
	req->iov->iov_base = (uint8_t *)req->iov->iov_base + bytes;
	req->iov->iov_len -= bytes;
	if (!req->iov->iov_len) {
		req->iov++;
		req->nr_iov--;
	}
}

void dir_data_put(struct disk_request *req, const void *data, uint64_t bytes)
{
	const uint8_t *from = data;

	req->pos += bytes;
	while (bytes) {
		size_t n = min_u64(bytes, req->iov->iov_len);

		if (from) {
			memcpy(req->iov->iov_base, from, n);
			from += n;
		} else {
			memset(req->iov->iov_base, 0, n);
		}
		drop_first(req, n);
		bytes -= n;
	}
}

/* Makes the first buffers those of @bytes; how many. What the last one has beyond is in req->part. */
static unsigned int cut_buffers(struct disk_request *req, uint64_t bytes)
{
	unsigned int nr = 0;

	while (bytes > req->iov[nr].iov_len)
		bytes -= req->iov[nr++].iov_len;
	req->part = req->iov[nr];
	req->part.iov_base = (uint8_t *)req->part.iov_base + bytes;
	req->part.iov_len -= bytes;
	req->iov[nr].iov_len = bytes;
	return nr + 1;
}

/* The operation has used up its buffers: @end is behind them. */
static void join_buffers(struct disk_request *req, struct iovec *end)
{
	req->nr_iov -= (unsigned int)(end - req->iov);
	req->iov = end;
	if (!req->part.iov_len)
		return;
	*--req->iov = req->part;
	req->nr_iov++;
}

/* ---- files that are open ---- */

static void close_file(struct dir_open *o)
{
	if (!o->file)
		return;
	o->file->open = NULL;
	o->file = NULL;
	aio_remove_file(&o->aio);
	if (o->aio.fd >= 0)
		close(o->aio.fd);
	o->aio.fd = -1;
	free(o->extents);
	o->extents = NULL;
	free(o->name);
	o->name = NULL;
}

/* One that is free, or can be. NULL: all are in use. */
static struct dir_open *find_unused(struct dir *d)
{
	struct dir_open *oldest = NULL;

	for (unsigned int i = 0; i < DIR_MAX_OPEN; i++) {
		struct dir_open *o = &d->open[i];

		if (!o->file)
			return o;
		if (!o->busy && !o->opening && (!oldest || o->used < oldest->used))
			oldest = o;
	}
	if (oldest)
		close_file(oldest);
	return oldest;
}

static struct dir_open *open_of(struct files_question *q)
{
	return (struct dir_open *)((char *)q - offsetof(struct dir_open, question));
}

static void give_up(struct dir_open *o, const char *why)
{
	struct dir *d = o->dir;

	if (o->file->is_bad)
		return;
	o->file->is_bad = true;
	log_limited(&d->disk.log_limit, LOG_ERROR,
		    "directory: %s: %s\nthe guest, which has seen it as it was, gets an I/O error.",
		    o->name ? o->name : d->disk.path, why);
}

static bool is_unchanged(const struct dir_open *o)
{
	struct statx st;

	return !statx(o->aio.fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, TREE_IDENTITY_MASK, &st) &&
	       tree_is_unchanged(&o->file->identity, &st);
}

static void on_open_name(struct files_question *q, const char *name)
{
	open_of(q)->name = strdup(name);
}

static void on_open(struct files_question *q, struct tree_data *data)
{
	struct dir_open *o = open_of(q);
	size_t bytes = data->nr_extents * sizeof(*data->extents);

	o->extents = malloc(bytes + 1);
	if (!o->extents)
		return;
	memcpy(o->extents, data->extents, bytes);
	o->nr_extents = data->nr_extents;
	aio_use_file(&o->dir->disk.client, &o->aio, data->fd);
	data->fd = -1;
}

/* It cannot be opened now. */
static void fail_for_now(struct dir_open *o, int error)
{
	o->failed_until_ns = now_ns() + AGAIN_NS;
	log_limited(&o->dir->disk.log_limit, LOG_ERROR,
		    "directory: %s: %s\nthe guest gets an I/O error; it may try again.",
		    o->name ? o->name : o->dir->disk.path, strerror(-error));
}

static void on_open_done(struct files_question *q, int error)
{
	struct dir_open *o = open_of(q);

	o->opening = false;
	if (!error && o->aio.fd < 0)
		error = -EMFILE;
	if (error == -ENOENT || error == -ENOTDIR)
		give_up(o, "it is not there any more");
	else if (error == -ESTALE || error == -ELOOP || (!error && !is_unchanged(o)))
		give_up(o, "it has changed");
	else if (error == -EFBIG)
		give_up(o, "a sparse file of too many pieces");
	else if (error == -EPIPE || error == -ECANCELED)
		o->file->is_bad = true;
	else if (error)
		fail_for_now(o, error);
	dir_look_again(o->dir);
}

/* Has @file opened. False if it has to wait for one that is closed. */
static bool start_opening(struct dir *d, struct dir_file *file)
{
	static const struct files_ops ops = {
		.name = on_open_name,
		.open = on_open,
		.done = on_open_done,
	};
	struct dir_open *o = find_unused(d);

	if (!o)
		return false;
	o->dir = d;
	o->file = file;
	file->open = o;
	o->opening = true;
	o->failed_until_ns = 0;
	o->question = (struct files_question){
		.ops = &ops,
		.kind = FILES_OPEN,
		.tree = (uint8_t)d->tree,
		.nr = 1,
		.numbers = { file->number },
	};
	files_ask(d->files, &o->question);
	return true;
}

/* ---- reading ---- */

static struct dir_open *open_of_file(const struct aio_file *file)
{
	return (struct dir_open *)((char *)(uintptr_t)file - offsetof(struct dir_open, aio));
}

static void data_read_done(struct aio_op *op, int error)
{
	struct disk_request *req = (void *)((char *)op - offsetof(struct disk_request, op));
	struct dir_open *o = open_of_file(op->file);
	struct dir *d = o->dir;

	o->busy--;
	d->in_flight--;
	join_buffers(req, op->iov + op->nr_iov);
	if (!is_unchanged(o))
		give_up(o, "it has changed");
	if (o->file->is_bad)
		error = -EIO;
	if (d->is_empty)
		error = -EIO;
	if (error || req->pos == req->bytes)
		req->done(req, error);
	else
		dir_wait(d, req);
	dir_look_again(d); /* also who waits for a descriptor */
}

static void data_start_read(struct dir_open *o, struct disk_request *req, uint64_t offset,
			    uint64_t bytes)
{
	unsigned int nr = cut_buffers(req, bytes);

	o->busy++;
	o->dir->in_flight++;
	req->pos += bytes;
	req->op = (struct aio_op){
		.kind = AIO_READ,
		.file = &o->aio,
		.offset = offset,
		.bytes = bytes,
		.iov = req->iov,
		.nr_iov = nr,
		.done = data_read_done,
	};
	aio_submit(o->dir->disk.aio, &req->op);
}

/* The first extent that does not end at or before @offset; NULL: none. */
static const struct tree_extent *find_extent(const struct dir_open *o, uint64_t offset)
{
	uint32_t low = 0, high = o->nr_extents;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct tree_extent *e = &o->extents[middle];

		if (e->start + e->bytes <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low < o->nr_extents ? &o->extents[low] : NULL;
}

/* All of it is within the file. */
static int64_t read_open(struct dir_open *o, struct disk_request *req, uint64_t offset,
			 uint64_t bytes)
{
	const struct tree_extent *e = find_extent(o, offset);
	uint64_t within = e && offset >= e->start ? offset - e->start : 0;

	if (!e || offset < e->start) {
		bytes = e ? min_u64(bytes, e->start - offset) : bytes;
		dir_data_put(req, NULL, bytes);
		return (int64_t)bytes;
	}
	data_start_read(o, req, e->offset + within, min_u64(bytes, e->bytes - within));
	return DIR_STARTED;
}

int64_t dir_data_read(struct dir *d, struct disk_request *req, struct dir_file *file,
		      uint64_t offset, uint64_t bytes)
{
	struct dir_open *o = file->open;

	if (offset >= file->size_bytes) {
		dir_data_put(req, NULL, bytes);
		return (int64_t)bytes;
	}
	if (file->is_bad || (o && o->failed_until_ns > now_ns()))
		return -EIO;
	if (o && o->failed_until_ns) {
		close_file(o);
		o = NULL;
	}
	if (!o)
		start_opening(d, file);
	if (!o || o->opening)
		return DIR_WAITS;
	o->used = ++d->clock;
	return read_open(o, req, offset, min_u64(bytes, file->size_bytes - offset));
}

void dir_data_init(struct dir *d)
{
	for (unsigned int i = 0; i < DIR_MAX_OPEN; i++)
		d->open[i].aio = (struct aio_file){ .fd = -1, .index = -1 };
}

void dir_data_fini(struct dir *d)
{
	for (unsigned int i = 0; i < DIR_MAX_OPEN; i++)
		close_file(&d->open[i]);
}
