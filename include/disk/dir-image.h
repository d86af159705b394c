/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A directory as a disk, as the files that make one share it (disk/dir.c says how it works).
 * Internal to them; the loop's thread.
 *
 * What is known of a tree costs memory, which grows with what the guest has looked at and is bounded by
 * DIR_MAX_BYTES for each disk; beyond, reading more directories fails. On average:
 *
 *	16 bytes and the name	for each name in a directory that was listed, and its number
 *	128 bytes		for each file that was looked at, 1024 for each directory
 *	96 bytes		for each of those files that has data, and 24 for each of its parts
 *
 * A Debian /usr of 162 000 entries, looked at to the last: 310 bytes for each, and 65 in the files process.
 */
#ifndef LKVM_DISK_DIR_IMAGE_H
#define LKVM_DISK_DIR_IMAGE_H

#include <stdlib.h>

#include "disk/dir-space.h"
#include "disk/erofs.h"
#include "disk/files.h"
#include "disk/format.h"
#include "disk/tree.h"
#include "util.h"

#define DIR_MAX_BYTES GIB(2)
#define DIR_MAX_OPEN  32u
#define DIR_NIDS      1024u /* numbers that memory is taken for at a time */

/* What reading can come to beside a number of bytes and -errno. */
#define DIR_WAITS   0		   /* for what dir_look_again() says has changed */
#define DIR_STARTED (-EINPROGRESS) /* the request is another's now */

/* Bytes that are on the disk as they are, and zeros behind them. */
struct dir_bytes {
	uint32_t bytes;
	uint8_t data[];
};

struct dir_open;

/* A regular file that has data. */
struct dir_file {
	struct tree_identity identity;
	uint64_t size_bytes;
	struct dir_open *open; /* NULL: not now */
	uint32_t number;
	uint16_t nr_ranges; /* of blocks that are this one's */
	bool is_bad;	    /* it cannot be read, and that has been said */
};

/* One of the files that are open. */
struct dir_open {
	struct dir *dir;
	struct dir_file *file; /* NULL: free */
	bool opening;
	unsigned int busy;	  /* operations in flight */
	uint64_t used;		  /* when it was last */
	uint64_t failed_until_ns; /* it could not be opened, and is not tried again before; 0: it could */
	struct aio_file aio;
	struct tree_extent *extents;
	uint32_t nr_extents;
	char *name; /* for messages */
	struct files_question question;
};

struct dir_inodes;

struct dir {
	struct disk disk;
	struct files *files;
	unsigned int tree;
	struct files *own_files; /* of a spare one: its alone; otherwise NULL */
	bool is_empty;		 /* a spare one that is nothing now */
	unsigned int in_flight;	 /* operations of the engine */
	uint64_t memory_bytes;
	uint32_t **nids; /* by a file's number; 0: it has none yet */
	struct space space;
	struct space_range root; /* of its inode */
	struct disk_request *waiting, **waiting_tail;
	struct event_deferred look_again;
	uint64_t clock;
	struct dir_open open[DIR_MAX_OPEN];
	struct erofs_xattrs xattrs; /* of the file that is being put */
	uint32_t shared_block;	    /* where the last ones were put that an inode had no room for */
	struct dir_bytes *shared;
};

static inline void dir_look_again(struct dir *d)
{
	event_defer(aio_loop(d->disk.aio), &d->look_again);
}

/* @req is tried again when something has changed. */
static inline void dir_wait(struct dir *d, struct disk_request *req)
{
	req->next = NULL;
	*d->waiting_tail = req;
	d->waiting_tail = &req->next;
}

/* Zeroed. NULL: it would be too much. */
static inline void *dir_alloc(struct dir *d, size_t bytes)
{
	void *p = NULL;

	if (range_within(d->memory_bytes, bytes, DIR_MAX_BYTES))
		p = calloc(1, bytes ? bytes : 1);
	if (p)
		d->memory_bytes += bytes;
	return p;
}

static inline void dir_free(struct dir *d, void *p, size_t bytes)
{
	if (p)
		d->memory_bytes -= bytes;
	free(p);
}

#endif
