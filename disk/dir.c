// SPDX-License-Identifier: GPL-2.0-only
/*
 * A directory of the host, as it is, as a read-only disk with an EROFS file system.
 *
 * Nothing is scanned ahead. The disk is 16 TiB of blocks, almost all of which are nothing yet. An EROFS
 * inode's number is its address, and names in a directory refer to numbers: so when a
 * directory is listed each of its entries is given an address, where nothing is put. When the guest
 * reads a block of such addresses, the files in it are looked at, and their data are given
 * addresses; directories among them are listed, and so on. What a guest does not look at costs
 * nothing, on the host or in time to start.
 *
 *	disk/dir.c		requests: which block is what
 *	disk/dir-space.c	which blocks are given to what
 *	disk/dir-inodes.c	inodes and names
 *	disk/dir-data.c		data of files
 *	disk/dir-map.c		all of it for snapshots
 *	disk/erofs.c		how all of it looks on the disk
 *	disk/files.c		whom to ask about the host's files, since this process cannot open any
 *
 * What was made once stays: metadata and names are what they were when they were first read. Data
 * are read when they are asked for, and only if the file is still what it was.
 *
 * A request goes through its blocks one after the other. If something has to be asked first, it waits in
 * one list with all others, and each time an answer has come all of them look whether it
 * is what they need. At the end, what still waits fails: nothing can be lost of a disk that cannot be
 * written.
 *
 * Everything runs on the loop's thread. Not here: writing (a guest has overlayfs for that), other
 * file systems, changes of the tree while a guest has it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/dir-data.h"
#include "disk/dir-image.h"
#include "disk/dir-inodes.h"
#include "disk/dir.h"
#include "log.h"
#include "util.h"

#define ROUND_BYTES MIB(16) /* in one go: a few milliseconds */
#define DISK_BYTES  ((uint64_t)SPACE_NR_BLOCKS * EROFS_BLOCK_BYTES)
#define ROOT_NID    (SPACE_ROOT * (EROFS_BLOCK_BYTES / EROFS_NID_BYTES))

_Static_assert(ROOT_NID <= UINT16_MAX, "the superblock has 16 bits for it");

/* ---- reading ---- */

static int64_t read_super(struct disk_request *req, uint64_t skip, uint64_t bytes)
{
	uint8_t block[EROFS_BLOCK_BYTES];

	erofs_put_super(block, ROOT_NID, SPACE_XATTRS);
	dir_data_put(req, block + skip, bytes);
	return (int64_t)bytes;
}

/* @data is @nr bytes, behind which are zeros. */
static int64_t read_bytes(struct disk_request *req, const uint8_t *data, uint32_t nr, uint64_t skip,
			  uint64_t bytes)
{
	bool past = skip >= nr;

	bytes = past ? bytes : min_u64(bytes, nr - skip);
	dir_data_put(req, past ? NULL : data + skip, bytes);
	return (int64_t)bytes;
}

static int64_t read_inodes(struct dir *d, struct disk_request *req, const struct space_range *r,
			   uint64_t skip, uint64_t bytes)
{
	uint32_t index = (uint32_t)(skip / EROFS_BLOCK_BYTES);
	const uint8_t *block;
	uint32_t nr;
	int rc = dir_inodes_read(d, r->owner, r->block, index, &block, &nr);

	if (rc)
		return rc == -EAGAIN ? DIR_WAITS : rc;
	skip %= EROFS_BLOCK_BYTES;
	return read_bytes(req, block, nr, skip, min_u64(bytes, EROFS_BLOCK_BYTES - skip));
}

/* From byte @skip of what @r is on. */
static int64_t read_range(struct dir *d, struct disk_request *req, const struct space_range *r,
			  uint64_t skip, uint64_t bytes)
{
	uint64_t start = (uint64_t)r->offset * EROFS_BLOCK_BYTES;
	const struct dir_bytes *b = r->owner;

	bytes = min_u64(bytes, (uint64_t)r->nr * EROFS_BLOCK_BYTES - skip);
	switch (r->kind) {
	case SPACE_INODE_BLOCKS:
		return read_inodes(d, req, r, skip, bytes);
	case SPACE_BYTES:
		return read_bytes(req, b->data, b->bytes, skip, bytes);
	default:
		return dir_data_read(d, req, r->owner, start + skip, bytes);
	}
}

/* What @block is in; NULL: nothing, and neither are the *nr blocks from it on. */
static const struct space_range *find_range(struct dir *d, uint32_t block, uint32_t *nr)
{
	if (block == SPACE_ROOT)
		return &d->root;
	if (block < SPACE_ROOT) {
		*nr = SPACE_ROOT - block;
		return NULL;
	}
	return space_find(&d->space, block, nr);
}

/* The next part of @req: how many bytes were read, DIR_WAITS, DIR_STARTED, or -errno. */
static int64_t read_next(struct dir *d, struct disk_request *req)
{
	uint64_t pos = req->offset + req->pos, bytes = req->bytes - req->pos;
	uint64_t skip = pos % EROFS_BLOCK_BYTES;
	uint32_t block = (uint32_t)(pos / EROFS_BLOCK_BYTES), nr;
	const struct space_range *r;

	if (!block)
		return read_super(req, skip, min_u64(bytes, EROFS_BLOCK_BYTES - skip));
	r = find_range(d, block, &nr);
	if (r)
		return read_range(d, req, r, pos - (uint64_t)r->block * EROFS_BLOCK_BYTES, bytes);
	bytes = min_u64(bytes, (uint64_t)nr * EROFS_BLOCK_BYTES - skip);
	space_burn(&d->space, block, (uint32_t)((skip + bytes - 1) / EROFS_BLOCK_BYTES + 1));
	dir_data_put(req, NULL, bytes);
	return (int64_t)bytes;
}

/* How many bytes were read at once. A request that is long goes on when others have had their turn. */
static uint64_t dir_go_on(struct dir *d, struct disk_request *req)
{
	uint64_t moved = 0;
	int64_t n = 1;

	while (req->pos < req->bytes && n > 0 && moved < ROUND_BYTES) {
		n = read_next(d, req);
		moved += n > 0 ? (uint64_t)n : 0;
	}
	if (n == DIR_WAITS || (n > 0 && req->pos < req->bytes)) {
		dir_wait(d, req);
		if (n > 0)
			dir_look_again(d);
	} else if (n != DIR_STARTED) {
		req->done(req, n < 0 ? (int)n : 0);
	}
	return moved;
}

static struct disk_request *take_waiting(struct dir *d)
{
	struct disk_request *first = d->waiting;

	d->waiting = NULL;
	d->waiting_tail = &d->waiting;
	return first;
}

/* Before those that have begun to wait since. */
static void wait_first(struct dir *d, struct disk_request *first)
{
	struct disk_request **tail = &first->next;

	while (*tail)
		tail = &(*tail)->next;
	*tail = d->waiting;
	if (!d->waiting)
		d->waiting_tail = tail;
	d->waiting = first;
}

static void free_range(void *arg, struct space_range *r)
{
	struct dir_file *file = r->owner;

	(void)arg;
	if (r->kind == SPACE_INODE_BLOCKS)
		dir_inodes_destroy(r->owner);
	else if (r->kind == SPACE_BYTES || !--file->nr_ranges)
		free(r->owner);
}

/* Nothing is in flight, and nothing waits. */
static void forget_image(struct dir *d)
{
	dir_data_fini(d);
	if (d->space.areas[0].segments)
		space_each(&d->space, free_range, NULL);
	space_fini(&d->space);
	dir_inodes_destroy(d->root.owner);
	for (uint32_t i = 0; d->nids && i < TREE_MAX_NUMBERS / DIR_NIDS; i++)
		free(d->nids[i]);
	free(d->nids);
	d->space = (struct space){ 0 };
	d->root = (struct space_range){ 0 };
	d->nids = NULL;
	d->shared = NULL;
	d->memory_bytes = 0;
}

/* Something has changed: whoever waits may go on. */
static void dir_on_change(void *arg)
{
	struct dir *d = arg;
	struct disk_request *req = take_waiting(d), *next;
	uint64_t moved = 0;

	if (d->is_empty && !d->in_flight) /* what it was until now has waited for that */
		forget_image(d);
	for (; req && moved < ROUND_BYTES; req = next) {
		next = req->next;
		moved += dir_go_on(d, req);
	}
	if (!req)
		return;
	wait_first(d, req);
	dir_look_again(d);
}

/* ---- the format ---- */

static void dir_submit(struct disk *disk, struct disk_request *req)
{
	struct dir *d = (struct dir *)disk;

	if (d->is_empty)
		req->done(req, -EIO);
	else if (req->operation == DISK_READ)
		dir_go_on(d, req);
	else
		req->done(req, req->operation == DISK_FLUSH ? 0 : -EROFS);
}

static void fail_waiting(struct dir *d)
{
	struct disk_request *req = take_waiting(d), *next;

	for (; req; req = next) {
		next = req->next;
		req->done(req, -EIO);
	}
}

static int dir_finish(struct disk *disk, bool again)
{
	struct dir *d = (struct dir *)disk;

	(void)again;
	files_cancel(d->files, d->tree);
	fail_waiting(d);
	return 0;
}

static int make_image(struct dir *d)
{
	dir_data_init(d);
	d->nids = calloc(TREE_MAX_NUMBERS / DIR_NIDS, sizeof(*d->nids));
	return !d->nids || space_init(&d->space) ? -ENOMEM : dir_inodes_create_root(d);
}

static void dir_close(struct disk *disk)
{
	struct dir *d = (struct dir *)disk;

	if (d->files)
		files_cancel(d->files, d->tree);
	fail_waiting(d);
	event_undefer(aio_loop(disk->aio), &d->look_again);
	forget_image(d);
	files_stop(d->own_files);
	aio_remove_client(&disk->client);
	free(disk->path);
	free(d);
}

/* ---- spare ones ---- */

static int dir_lend(struct disk *disk, int socket)
{
	struct dir *d = (struct dir *)disk;
	int rc = !d->own_files || !d->is_empty || d->in_flight ? -EBUSY : 0;

	if (!rc) {
		forget_image(d);
		rc = make_image(d);
	}
	if (rc) {
		close(socket);
		return rc;
	}
	rc = files_join(d->own_files, socket);
	if (rc)
		return rc;
	d->is_empty = false;
	disk->size_bytes = DISK_BYTES;
	return 0;
}

static void dir_take_back(struct disk *disk)
{
	struct dir *d = (struct dir *)disk;

	disk->size_bytes = 0;
	d->is_empty = true;
	files_cancel(d->files, d->tree);
	fail_waiting(d);
	files_part(d->own_files);
	if (!d->in_flight)
		forget_image(d);
}

static const struct disk_ops dir_ops = {
	.format = "directory",
	.submit = dir_submit,
	.finish = dir_finish,
	.close = dir_close,
	.lend = dir_lend,
	.take_back = dir_take_back,
};

static int dir_init(struct dir *d, const struct disk_config *config)
{
	struct disk *disk = &d->disk;

	d->waiting_tail = &d->waiting;
	d->look_again = (struct event_deferred){ .fn = dir_on_change, .arg = d };
	disk->path = strdup(config->path);
	disk->size_bytes = config->spare ? 0 : DISK_BYTES;
	disk->read_only = true;
	disk->block_bytes = DISK_SECTOR_BYTES;
	disk->physical_bytes = EROFS_BLOCK_BYTES;
	disk->discard_bytes = EROFS_BLOCK_BYTES;
	d->is_empty = config->spare;
	if (config->spare && files_attach(&d->own_files, aio_loop(disk->aio), -1))
		return -ENOMEM;
	d->files = config->spare ? d->own_files : config->files;
	d->tree = config->tree;
	return disk->path ? make_image(d) : -ENOMEM;
}

int dir_open(struct disk **out, struct aio *aio, const struct disk_config *config)
{
	struct dir *d = calloc(1, sizeof(*d));

	if (!d)
		return log_enomem("directory");
	d->disk.ops = &dir_ops;
	d->disk.aio = aio;
	aio_add_client(aio, &d->disk.client);
	if (dir_init(d, config)) {
		dir_close(&d->disk);
		return log_enomem("directory");
	}
	*out = &d->disk;
	return 0;
}
