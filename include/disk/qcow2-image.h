/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A qcow2 disk and the files of its chain: the structs that the qcow2 files of disk/
 * share, and who runs when. Each stands on those above it and calls no other:
 *
 *	qcow2-image.c	waiting and going on; the tables that are all in memory
 *	qcow2-table.c	the cache of slices of the other tables
 *	qcow2-map.c	where the guest's bytes are
 *	qcow2-grow.c	the file's size, and new tables in it
 *	qcow2-alloc.c	refcounts: finding clusters, giving them back
 *	qcow2-flush.c	the order in which tables are written
 *	qcow2-open.c	header, tables and chain are read and checked
 *	qcow2.c		requests
 *
 * Words: a *table* is an L2 table or a refcount block, one cluster; a *slice* is the
 * part of one that the cache holds; the *top* is the image that is written, the
 * others of a chain are only read.
 *
 * Internal to disk/; everything on the loop's thread.
 * Source: docs/interop/qcow2.txt of QEMU (versions 2 and 3).
 */
#ifndef LKVM_DISK_QCOW2_IMAGE_H
#define LKVM_DISK_QCOW2_IMAGE_H

#include <assert.h>
#include <endian.h>
#include <stdbool.h>
#include <stdint.h>

#include "disk/aio.h"
#include "disk/format.h"
#include "disk/qcow2-decompress.h"

#define QCOW2_MAX_CHAIN	      16u
#define QCOW2_SLICE_BYTES     4096u /* or a cluster, if that is smaller */
#define QCOW2_TOP_SLOTS	      1024u /* 4 MiB of slices of the top image */
#define QCOW2_BASE_SLOTS      256u  /* 1 MiB of each other one */
#define QCOW2_MAX_ACTIVE      64u   /* requests at a time; 3 slices each at most */
#define QCOW2_MAX_RANGES      1024u /* of clusters to be freed */
#define QCOW2_MAX_PART	      64u   /* clusters that one part of a request changes at most */
#define QCOW2_HEADER_BYTES    104u  /* of version 3, without what came later */
#define QCOW2_HEADER_BYTES_V2 72u

/* L1 and L2 entries. */
#define QCOW2_COPIED	  (1ull << 63)
#define QCOW2_COMPRESSED  (1ull << 62)
#define QCOW2_OFFSET_MASK 0x00fffffffffffe00ull
#define QCOW2_ZERO	  1ull /* version 3, L2 only */

#define QCOW2_AUTOCLEAR_BITMAPS 1ull

/* ---- who waits ---- */

/*
 * Who can wait: a request that is being done (qcow2.c), the flush that frees clusters
 * (qcow2-flush.c). It is in one list at a time; when what it waits for has come, run()
 * continues it, with @error if that has failed.
 */
struct qcow2_waiter {
	struct qcow2_waiter *next;
	void (*run)(struct qcow2_waiter *w);
	uint64_t flush; /* the number of the flush that it needs, if it does */
	int error;
};

struct waiter_list {
	struct qcow2_waiter *head, **tail;
};

void waiter_list_init(struct waiter_list *list);
void waiter_list_add(struct waiter_list *list, struct qcow2_waiter *w);

/* ---- images ---- */

enum slot_state {
	SLOT_EMPTY,
	SLOT_LOADING,
	SLOT_READY,
};

struct qcow2_image;

/* One slice in memory, as it is in the file (big-endian). */
struct qcow2_slot {
	struct qcow2_image *image;
	enum slot_state state;
	bool dirty, recent, is_l2;
	bool forgotten;	 /* while it was loading */
	uint64_t offset; /* in the file */
	struct qcow2_slot *hash_next;
	uint8_t *data;
	struct waiter_list waiters; /* until it is loaded */
	struct aio_op op;
	struct iovec iov;
};

/* L1 or refcount table: all in memory, big-endian, with a bit per changed piece. */
#define TABLE_PIECE_BYTES 4096u

struct qcow2_table {
	uint64_t *be;
	uint64_t bytes_reserved; /* of address space */
	uint32_t entries;
	uint64_t offset;
	uint64_t *dirty; /* bitmap of pieces */
	unsigned int nr_dirty;
};

struct cluster_range {
	uint64_t first, count;
};

struct range_list {
	unsigned int nr;
	struct cluster_range ranges[QCOW2_MAX_RANGES];
};

/* What goes on of it, one at a time; qcow2-grow.c. */
struct qcow2_growth {
	struct qcow2_waiter *owner; /* who began it; NULL: nothing goes on */
	struct waiter_list waiters; /* look again at its end */
	uint64_t end, file_end;	    /* of the file: needed, and wished for */
	uint64_t zero_pos, zero_end;
	struct cluster_range zeroed; /* and nobody has taken them yet; count 0: none */
	struct aio_op op;
	struct iovec iov;
};

struct qcow2_image {
	struct qcow2 *disk;
	char *path;
	int lock_fd, fd, direct_fd;
	struct aio_file file; /* tables, compressed data: through the page cache */
	struct aio_file data; /* the same, or O_DIRECT */
	bool writable, regular;

	/* From the header. */
	unsigned int version, cluster_bits, refcount_order;
	uint32_t cluster_bytes;
	uint64_t size_bytes;
	enum qcow2_decompress_kind compression;
	struct qcow2_decompress *decompress;
	struct qcow2_table l1, refcounts;

	/* The header itself; top only. */
	uint8_t header[QCOW2_HEADER_BYTES]; /* as it is in the file, or will be */
	uint64_t autoclear;		    /* features that end with the first write */
	bool header_changed;		    /* the file does not know yet */

	/* Cache. */
	uint32_t slice_bytes, slice_entries;
	unsigned int nr_slots, hand, nr_dirty;
	struct qcow2_slot *slots, **hash;
	uint8_t *slices;

	/* Space; top only. */
	uint64_t file_bytes; /* size of the file */
	struct qcow2_growth growth;
	uint64_t free_hint;  /* clusters below are in use */
	uint64_t fresh_from; /* clusters from here on were never used: they read as zero */
	uint64_t *metadata;  /* sorted: cluster << 3 | kind */
	uint64_t metadata_reserved;
	uint64_t max_noted; /* entries when it was opened, at most */
	unsigned int nr_metadata;
	struct range_list unused;   /* no table in memory refers to them any more */
	struct range_list freeable; /* ... nor does one in the file */
	uint64_t punched;	    /* clusters of the last freeable range that are holes already */
};

/* ---- the disk ---- */

/* Until FLUSH_FREE no table may be changed. */
enum flush_stage {
	FLUSH_BLOCKS,	   /* refcount blocks are being written */
	FLUSH_BLOCKS_SYNC, /* only if the refcount table names new ones */
	FLUSH_TABLE,	   /* the refcount table */
	FLUSH_REFCOUNTS_SYNC,
	FLUSH_HEADER, /* only if it has changed */
	FLUSH_HEADER_SYNC,
	FLUSH_L2, /* L2 tables and the L1 table */
	FLUSH_SYNC,
	FLUSH_FREE, /* whoever asked for it has been answered */
	FLUSH_IDLE,
};

struct qcow2_job;

struct qcow2 {
	struct disk disk; /* first */
	unsigned int nr_images;
	struct qcow2_image *images[QCOW2_MAX_CHAIN]; /* [0] is the top */
	bool has_base;				     /* a raw image below all of them */
	int base_lock_fd, base_fd;
	struct aio_file base;
	uint64_t base_bytes;
	bool finished;	/* all of it is in the file */
	bool temporary; /* the top is thrown away: nothing has to be durable */

	/* Who runs when; see qcow2_pump(). */
	bool pumping;
	struct waiter_list runnable;
	struct waiter_list stalled; /* until tables were written */
	struct waiter_list blocked; /* until a claim or the buffers are released */

	/* Requests; qcow2.c. */
	struct qcow2_job *jobs, *free_jobs;
	struct disk_request *backlog, **backlog_tail; /* have no job yet */
	struct qcow2_job *claims;		      /* those whose part is in flight */
	unsigned int nr_exclusive;		      /* claims and wishes that are */
	unsigned int nr_in_flight;		      /* operations of jobs */

	/* One user at a time. */
	bool buffers_taken;
	uint8_t *packed, *unpacked, *bounce;
	const struct qcow2_image *unpacked_image;
	uint64_t unpacked_entry;

	/* Flushing; qcow2-flush.c. Flushes have numbers, from 1 on. */
	void (*flush)(struct qcow2 *q);		/* begins one */
	bool (*is_late)(const struct qcow2 *q); /* requests that go on are to end before it */
	enum flush_stage stage;
	uint64_t flush_begun, flush_wanted;
	unsigned int flush_pending; /* writes in flight */
	int flush_error;
	struct qcow2_waiter flush_waiter; /* while it frees: for refcount slices */
	struct aio_op flush_op;
	struct iovec flush_iov;
};

/* ---- running and waiting ---- */

void qcow2_make_runnable(struct qcow2 *q, struct qcow2_waiter *w, int error);

/* Makes all of @list runnable, in their order. */
void qcow2_wake(struct qcow2 *q, struct waiter_list *list, int error);

/*
 * Runs who is runnable; then, if one is wanted and no request is late, the next flush begins. So
 * those who have waited for a flush go on before the next one. After whatever made somebody runnable.
 */
void qcow2_pump(struct qcow2 *q);

/* @w goes on when the next flush that begins has written the tables, or fails with it. */
void qcow2_want_flush(struct qcow2 *q, struct qcow2_waiter *w);

/* The same for who needs clean slices or room: the flush that is writing will do. */
void qcow2_want_room(struct qcow2 *q, struct qcow2_waiter *w);

/* True if tables may be changed now; otherwise @w goes on when they may. */
bool qcow2_may_change(struct qcow2 *q, struct qcow2_waiter *w);

/* Flush number flush_begun has written the tables, or failed: wakes who waited for it. */
void qcow2_tables_written(struct qcow2 *q, int error);

/* ---- tables that are all in memory ---- */

/* Address space for @max_entries, of which @entries are read from the file. */
int qcow2_table_read(struct qcow2_image *img, struct qcow2_table *t, uint64_t offset,
		     uint32_t entries, uint64_t max_entries);
void qcow2_table_free(struct qcow2_table *t);
void qcow2_table_set(struct qcow2_table *t, uint64_t i, uint64_t value);

/* All of it is to be written (again). */
void qcow2_table_mark(struct qcow2_table *t);

static inline uint64_t qcow2_table_get(const struct qcow2_table *t, uint64_t i)
{
	assert(i < t->entries);
	return be64toh(t->be[i]);
}

/* A message that names the table and the offset; returns -EIO. */
int qcow2_corrupt(struct qcow2_image *img, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
