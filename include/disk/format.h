/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a format of disk images is: the struct that each embeds first, its functions, and the
 * requests that it is given. disk.c is above all formats and calls them.
 */
#ifndef LKVM_DISK_FORMAT_H
#define LKVM_DISK_FORMAT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "disk/aio.h"
#include "event.h"
#include "log.h"

#define DISK_SECTOR_BYTES 512u

enum disk_format {
	DISK_FORMAT_AUTO, /* qcow2 if it looks like it, otherwise raw */
	DISK_FORMAT_RAW,
	DISK_FORMAT_QCOW2,
};

struct files;

struct disk_config {
	const char *path;
	struct files *files; /* lent; not NULL: the disk is tree @tree of these, called @path */
	unsigned int tree;
	bool spare; /* a directory that comes later, by disk_lend(); until then it has no size */
	enum disk_format format;
	bool read_only;
	bool direct;	 /* O_DIRECT */
	bool cow;	 /* writes go to a temporary file, the image stays as it is */
	bool backing;	 /* backing files may be anywhere */
	bool no_discard; /* a guest cannot give space back */
};

enum disk_operation {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH,   /* what was written before is durable */
	DISK_DISCARD, /* contents are not needed any more */
	DISK_WRITE_ZEROES,
};

struct disk;

/*
 * Belongs to whoever submits it, but to the disk between disk_submit() and done().
 * @iov is used up on the way.
 */
struct disk_request {
	enum disk_operation operation;
	bool unmap;		/* write zeroes: the space may be given back */
	uint64_t offset, bytes; /* multiples of the disk's block_bytes */
	struct iovec *iov;
	unsigned int nr_iov;
	/* 0 or -errno. May be called from within disk_submit(). */
	void (*done)(struct disk_request *req, int error);

	/* The format's: how far it is. */
	struct disk *disk;
	struct aio_op op;
	struct disk_request *next;
	uint64_t pos;	   /* bytes that are done */
	struct iovec part; /* one buffer of a part of the request */
};

struct disk_ops {
	const char *format;
	void (*submit)(struct disk *disk, struct disk_request *req);
	/*
	 * Nothing is in flight. Begins to make everything durable, or goes on with it (@again).
	 * 1: it is to be called again when nothing is in flight any more; 0 or -errno: the end.
	 */
	int (*finish)(struct disk *disk, bool again);
	void (*close)(struct disk *disk);
	/* The size of the file, if it may change while it is open; or NULL. */
	uint64_t (*poll_size)(struct disk *disk);
	/* See disk_lend(), disk_take_back(); NULL: it cannot be lent anything. */
	int (*lend)(struct disk *disk, int socket);
	void (*take_back)(struct disk *disk);
};

struct disk {
	const struct disk_ops *ops;
	struct aio *aio;
	struct aio_client client;
	char *path;
	uint64_t size_bytes;
	bool read_only;
	bool can_discard;
	uint32_t block_bytes;	    /* smallest unit of a request */
	uint32_t physical_bytes;    /* what is efficient; both powers of two */
	uint32_t discard_bytes;	    /* smallest unit that a discard can give back */
	struct log_limit log_limit; /* for errors of this image */
	/* disk.c's: how much was begun in this round of the loop, and who waits for the next. */
	uint64_t round, round_bytes;
	struct disk_request *waiting, **waiting_tail;
	struct event_deferred resume;
};

#endif
