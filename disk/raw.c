// SPDX-License-Identifier: GPL-2.0-only
/*
 * Raw images: byte n of the disk is byte n of the file or block device.
 *
 * A request is one operation of the aio engine, with two exceptions. Zeroes where
 * the file system cannot make them without writing are written in pieces. And in a
 * file whose format was guessed, the first block goes through a private copy that
 * is checked, so that a guest cannot turn its disk into a qcow2 image that names
 * other files of the host.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/file.h"
#include "disk/format.h"
#include "disk/probe.h"
#include "disk/raw.h"
#include "util.h"

#define FIRST_BYTES 4096u /* the largest block */

struct raw {
	struct disk disk;
	struct aio_file file;
	int lock_fd; /* has the locks; see file_open() */
	int fd;	     /* I/O */
	bool guessed, regular;
	uint8_t *first; /* private copy of the first block */
	struct disk_request *first_busy, *first_waiting;
	struct aio_op last_sync; /* of raw_finish() */
	int last_error;
};

static void start_write(struct raw *raw, struct disk_request *req);

static struct disk_request *request_of(struct aio_op *op)
{
	return (struct disk_request *)((char *)op - offsetof(struct disk_request, op));
}

static void raw_op_done(struct aio_op *op, int error)
{
	struct disk_request *req = request_of(op);

	req->done(req, error);
}

/* The one place that hands operations over: @op is all of it but the file. */
static void raw_start(struct raw *raw, struct disk_request *req, struct aio_op op)
{
	op.file = &raw->file;
	req->op = op;
	aio_submit(raw->disk.aio, &req->op);
}

/* The whole request as one operation. */
static void raw_transfer(struct raw *raw, struct disk_request *req, enum aio_kind kind)
{
	raw_start(raw, req, (struct aio_op){
				    .kind = kind,
				    .offset = req->offset,
				    .bytes = req->bytes,
				    .iov = req->iov,
				    .nr_iov = req->nr_iov,
				    .done = raw_op_done,
			    });
}

/* ---- zeroes ---- */

static void write_zeroes_piece(struct raw *raw, struct disk_request *req);

static void zeroes_piece_done(struct aio_op *op, int error)
{
	struct disk_request *req = request_of(op);

	if (error || req->pos == req->bytes)
		req->done(req, error);
	else
		write_zeroes_piece((struct raw *)req->disk, req);
}

static void write_zeroes_piece(struct raw *raw, struct disk_request *req)
{
	uint64_t n = min_u64(req->bytes - req->pos, FILE_ZEROES_BYTES);
	uint64_t offset = req->offset + req->pos;

	req->pos += n;
	req->part = (struct iovec){ (void *)(uintptr_t)file_zeroes(), n };
	raw_start(raw, req, (struct aio_op){
				    .kind = AIO_WRITE,
				    .offset = offset,
				    .bytes = n,
				    .iov = &req->part,
				    .nr_iov = 1,
				    .done = zeroes_piece_done,
			    });
}

static void zeroes_done(struct aio_op *op, int error)
{
	struct disk_request *req = request_of(op);

	if (error == -EOPNOTSUPP || error == -EINVAL) {
		req->pos = 0;
		write_zeroes_piece((struct raw *)req->disk, req);
		return;
	}
	req->done(req, error);
}

static void discard_done(struct aio_op *op, int error)
{
	struct disk_request *req = request_of(op);

	/* A wish; whoever cannot fulfil it has done nothing wrong. */
	if (error == -EOPNOTSUPP || error == -EINVAL)
		error = 0;
	req->done(req, error);
}

static void raw_submit_range(struct raw *raw, struct disk_request *req)
{
	bool punch = req->operation == DISK_DISCARD || req->unmap;

	raw_start(raw, req, (struct aio_op){
				    .kind = AIO_ALLOCATE,
				    .offset = req->offset,
				    .bytes = req->bytes,
				    .mode = FALLOC_FL_KEEP_SIZE | (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE),
				    .done = req->operation == DISK_DISCARD ? discard_done : zeroes_done,
			    });
}

/* ---- the first block of a file whose format was guessed ---- */

static void first_done(struct aio_op *op, int error)
{
	struct disk_request *req = request_of(op), *waiting;
	struct raw *raw = (struct raw *)req->disk;
	uint64_t skip = raw->disk.block_bytes;

	waiting = raw->first_waiting;
	raw->first_busy = NULL;
	raw->first_waiting = NULL;
	while (waiting) {
		struct disk_request *next = waiting->next;

		start_write(raw, waiting);
		waiting = next;
	}
	if (error || req->bytes == skip) {
		req->done(req, error);
		return;
	}
	while (skip >= req->iov->iov_len) {
		skip -= req->iov->iov_len;
		req->iov++;
		req->nr_iov--;
	}
	req->iov->iov_base = (uint8_t *)req->iov->iov_base + skip;
	req->iov->iov_len -= skip;
	req->offset += raw->disk.block_bytes;
	req->bytes -= raw->disk.block_bytes;
	raw_transfer(raw, req, AIO_WRITE);
}

static void copy_first(struct raw *raw, const struct disk_request *req)
{
	uint32_t block = raw->disk.block_bytes, done = 0;

	for (unsigned int i = 0; done < block; i++) {
		size_t n = min_u64(req->iov[i].iov_len, block - done);

		memcpy(raw->first + done, req->iov[i].iov_base, n);
		done += (uint32_t)n;
	}
}

static void write_first(struct raw *raw, struct disk_request *req)
{
	const struct probe_format *format;

	if (raw->first_busy) {
		struct disk_request **last = &raw->first_waiting;

		while (*last)
			last = &(*last)->next;
		req->next = NULL;
		*last = req;
		return;
	}
	copy_first(raw, req);
	format = probe_format(raw->first, raw->disk.block_bytes);
	if (format && !format->compressed) { /* a compressed stream names no files */
		log_guest(&raw->disk.log_limit,
			  "disk: %s: the guest tried to make it look like a %s image: refused\n"
			  "say format=raw if that is what it is for.",
			  raw->disk.path, format->name);
		req->done(req, -EPERM);
		return;
	}
	raw->first_busy = req;
	req->part = (struct iovec){ raw->first, raw->disk.block_bytes };
	raw_start(raw, req, (struct aio_op){
				    .kind = AIO_WRITE,
				    .offset = req->offset,
				    .bytes = raw->disk.block_bytes,
				    .iov = &req->part,
				    .nr_iov = 1,
				    .done = first_done,
			    });
}

static void start_write(struct raw *raw, struct disk_request *req)
{
	if (raw->guessed && req->offset == 0)
		write_first(raw, req);
	else
		raw_transfer(raw, req, AIO_WRITE);
}

/* ---- the format ---- */

static void raw_submit(struct disk *disk, struct disk_request *req)
{
	struct raw *raw = (struct raw *)disk;

	switch (req->operation) {
	case DISK_READ:
		raw_transfer(raw, req, AIO_READ);
		break;
	case DISK_WRITE:
		start_write(raw, req);
		break;
	case DISK_FLUSH:
		raw_transfer(raw, req, AIO_SYNC);
		break;
	case DISK_DISCARD:
	case DISK_WRITE_ZEROES:
		raw_submit_range(raw, req);
		break;
	}
}

static void last_sync_done(struct aio_op *op, int error)
{
	((struct raw *)((char *)op - offsetof(struct raw, last_sync)))->last_error = error;
}

/* By the engine, since this thread could wait for ever. */
static int raw_finish(struct disk *disk, bool again)
{
	struct raw *raw = (struct raw *)disk;

	if (disk->read_only)
		return 0;
	if (again)
		return raw->last_error;
	raw->last_sync = (struct aio_op){
		.kind = AIO_SYNC,
		.file = &raw->file,
		.done = last_sync_done,
	};
	aio_submit(disk->aio, &raw->last_sync);
	return 1;
}

static void raw_close(struct disk *disk)
{
	struct raw *raw = (struct raw *)disk;

	aio_remove_file(&raw->file);
	aio_remove_client(&disk->client);
	if (raw->fd >= 0)
		close(raw->fd);
	close(raw->lock_fd);
	free(raw->first);
	free(disk->path);
	free(raw);
}

static uint64_t raw_poll_size(struct disk *disk)
{
	const struct raw *raw = (struct raw *)disk;
	uint64_t bytes;

	if (file_size_now(raw->fd, raw->regular, &bytes))
		return disk->size_bytes;
	return align_down(bytes, disk->block_bytes);
}

static const struct disk_ops raw_ops = {
	.format = "raw",
	.submit = raw_submit,
	.finish = raw_finish,
	.close = raw_close,
	.poll_size = raw_poll_size,
};

static int raw_init(struct raw *raw, const struct disk_config *config)
{
	struct disk *disk = &raw->disk;
	struct file_geometry g;
	int rc;

	raw->fd = file_reopen(raw->lock_fd, config->path, !config->read_only, config->direct);
	if (raw->fd < 0)
		return raw->fd;
	rc = file_geometry(raw->fd, config->path, config->direct, &g);
	if (rc)
		return rc;
	disk->path = strdup(config->path);
	raw->first = aligned_alloc(FIRST_BYTES, FIRST_BYTES);
	if (!disk->path || !raw->first || aio_add_file(&disk->client, &raw->file, raw->fd, g.align))
		return log_enomem("disk");
	raw->regular = g.regular;
	disk->read_only = config->read_only;
	disk->block_bytes = g.block_bytes;
	disk->physical_bytes = g.physical_bytes;
	disk->discard_bytes = g.physical_bytes;
	disk->can_discard = !config->read_only;
	disk->size_bytes = align_down(g.size_bytes, g.block_bytes);
	if (!disk->size_bytes && g.size_bytes) {
		log_error("disk: %s: its %llu bytes are less than a block of %u\nmake it larger: "
			  "truncate -s %u %s; or use ,cow.",
			  config->path,
			  (unsigned long long)g.size_bytes, g.block_bytes, g.block_bytes, config->path);
		return -EINVAL;
	}
	if (!disk->size_bytes) {
		log_error("disk: %s: it is empty\nmake one: truncate -s 10G %s", config->path,
			  config->path);
		return -EINVAL;
	}
	if (disk->size_bytes != g.size_bytes)
		log_notice("disk: %s: the guest does not see its last %llu bytes, "
			   "which are no whole block",
			   config->path,
			   (unsigned long long)(g.size_bytes - disk->size_bytes));
	return 0;
}

int raw_open(struct disk **out, struct aio *aio, const struct disk_config *config, int lock_fd,
	     bool guessed)
{
	struct raw *raw = calloc(1, sizeof(*raw));
	int rc;

	if (!raw) {
		close(lock_fd);
		return log_enomem("disk");
	}
	raw->disk.ops = &raw_ops;
	raw->disk.aio = aio;
	aio_add_client(aio, &raw->disk.client);
	raw->lock_fd = lock_fd;
	raw->fd = -1;
	raw->guessed = guessed && !config->read_only;
	raw->file.index = -1;
	rc = raw_init(raw, config);
	if (rc) {
		raw_close(&raw->disk);
		return rc;
	}
	*out = &raw->disk;
	return 0;
}
