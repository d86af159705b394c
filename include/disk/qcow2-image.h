/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One qcow2 file: its tables, their cache, and the space in it. Internal to the
 * qcow2 files of disk/:
 *
 *	qcow2-open.c	header, tables and chain are read and checked
 *	qcow2-table.c	the cache of table slices, and the order in which they are written
 *	qcow2-alloc.c	refcounts: finding and freeing clusters
 *	qcow2.c		requests
 *
 * Words: a *table* is an L2 table or a refcount block, one cluster; a *slice* is the
 * part of one that the cache holds; the *top* is the image that is written, the
 * others of a chain are only read.
 *
 * Source: docs/interop/qcow2.txt of QEMU (versions 2 and 3).
 */
#ifndef LKVM_DISK_QCOW2_IMAGE_H
#define LKVM_DISK_QCOW2_IMAGE_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>

#include "disk/aio.h"
#include "disk/disk.h"
#include "disk/unzip.h"

#define QCOW2_MAX_CHAIN		16u
#define QCOW2_SLICE_BYTES	4096u	/* or a cluster, if that is smaller */
#define QCOW2_TOP_SLOTS		1024u	/* 4 MiB of slices of the top image */
#define QCOW2_BASE_SLOTS	256u	/* 1 MiB of each other one */
#define QCOW2_MAX_ACTIVE	64u	/* requests at a time; 3 slices each at most */
#define QCOW2_MAX_RANGES	1024u	/* of clusters to be freed */

/* L1 and L2 entries. */
#define QCOW2_COPIED		(1ull << 63)
#define QCOW2_COMPRESSED	(1ull << 62)
#define QCOW2_OFFSET_MASK	0x00fffffffffffe00ull
#define QCOW2_ZERO		1ull		/* version 3, L2 only */

/* A list of requests that wait, in order. */
struct request_list {
	struct disk_request *head, **tail;
};

void request_list_init(struct request_list *list);
void request_list_add(struct request_list *list, struct disk_request *req);
struct disk_request *request_list_take(struct request_list *list);
void request_list_move(struct request_list *to, struct request_list *from);

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
	uint64_t offset;			/* in the file */
	struct qcow2_slot *hash_next;
	uint8_t *data;
	struct request_list waiters;		/* until it is loaded */
	struct aio_op op;
	struct iovec iov;
};

/* L1 or refcount table: all in memory, big-endian, with a bit per changed piece. */
#define TABLE_PIECE_BYTES 4096u

struct qcow2_table {
	uint64_t *be;
	uint64_t bytes_reserved;	/* of address space */
	uint32_t entries;
	uint64_t offset;
	uint64_t *dirty;		/* bitmap of pieces */
	unsigned int nr_dirty;
};

struct cluster_range {
	uint64_t first, count;
};

struct range_list {
	unsigned int nr;
	struct cluster_range ranges[QCOW2_MAX_RANGES];
};

enum flush_stage {
	FLUSH_IDLE,
	FLUSH_REFCOUNTS,	/* refcount blocks and table are being written */
	FLUSH_REFCOUNTS_SYNC,
	FLUSH_HEADER,		/* only if the refcount table has moved */
	FLUSH_HEADER_SYNC,
	FLUSH_L2,		/* L2 tables and the L1 table */
	FLUSH_SYNC,
};

struct qcow2_image {
	struct qcow2 *disk;
	char *path;
	int lock_fd, fd, direct_fd;
	struct aio_file file;		/* tables, compressed data: through the page cache */
	struct aio_file data;		/* the same, or O_DIRECT */
	bool writable, regular;

	/* From the header. */
	unsigned int version, cluster_bits, refcount_order;
	uint32_t cluster_bytes;
	uint64_t size_bytes;
	enum unzip_kind compression;
	struct unzip *unzip;
	struct qcow2_table l1, refcounts;
	bool table_moved;		/* the header does not know yet */

	/* Cache. */
	uint32_t slice_bytes, slice_entries;
	unsigned int nr_slots, hand, nr_dirty;
	struct qcow2_slot *slots, **hash;
	uint8_t *slices;

	/* Space; top only. */
	uint64_t file_bytes;		/* size of the file */
	uint64_t free_hint;		/* clusters below are in use */
	uint64_t fresh_from;		/* clusters from here on were never used: they read as zero */
	uint64_t *metadata;		/* sorted: cluster << 3 | kind */
	uint64_t metadata_reserved;
	uint64_t max_noted;		/* entries when it was opened, at most */
	unsigned int nr_metadata;
	struct range_list unused;	/* no table in memory refers to them any more */
	struct range_list freeable;	/* ... nor does one in the file */
};

struct qcow2 {
	struct disk disk;		/* first */
	unsigned int nr_images;
	struct qcow2_image *images[QCOW2_MAX_CHAIN];	/* [0] is the top */
	bool has_base;			/* a raw image below all of them */
	int base_lock_fd, base_fd;
	struct aio_file base;
	uint64_t base_bytes;
	bool temporary;			/* the top is thrown away: nothing has to be durable */

	/* Requests. */
	unsigned int nr_active;
	struct request_list backlog, runnable;
	bool pumping;
	struct disk_request *claims;	/* of parts in flight */
	struct request_list claim_waiters;
	unsigned int nr_exclusive;	/* claims and wishes that are */

	/* One user at a time. */
	bool buffers_taken;
	struct request_list buffer_waiters;
	uint8_t *packed, *unpacked, *bounce;
	const struct qcow2_image *unpacked_image;
	uint64_t unpacked_entry;

	/* Flushing; see qcow2-table.c. */
	enum flush_stage stage;
	unsigned int flush_pending;	/* writes in flight */
	int flush_error;
	struct aio_op flush_op;
	struct iovec flush_iov;
	uint8_t flush_header[512];
	struct request_list flushing, flush_next;	/* requests for it */
	struct request_list parked;	/* wait until no flush is going on */
	struct request_list starved;	/* wait for clean slots */

	/* Giving space back. */
	bool freeing;
	struct aio_op free_op;
	struct disk_request free_request;	/* waits for refcount slices */
};

/* ---- qcow2-open.c ---- */

/* A message that names the table and the offset; returns -EIO. */
int qcow2_corrupt(struct qcow2_image *img, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- qcow2-table.c ---- */

int qcow2_cache_create(struct qcow2_image *img, unsigned int nr_slots);
void qcow2_cache_destroy(struct qcow2_image *img);

/* Address space for @max_entries, of which @entries are read from the file. */
int qcow2_table_read(struct qcow2_image *img, struct qcow2_table *t, uint64_t offset,
		     uint32_t entries, uint64_t max_entries);
void qcow2_table_free(struct qcow2_table *t);
uint64_t qcow2_table_get(const struct qcow2_table *t, uint64_t i);
void qcow2_table_set(struct qcow2_table *t, uint64_t i, uint64_t value);

/*
 * The slice at @offset. 1: *out is it, until the next call. 0: @req waits and is
 * made runnable. Never an error: a failed load is reported to those who wait.
 */
int qcow2_cache_get(struct qcow2_image *img, bool is_l2, uint64_t offset,
		    struct disk_request *req, struct qcow2_slot **out);

/* The same for a slice of a new table, which is all zero; nothing is read. */
int qcow2_cache_new(struct qcow2_image *img, bool is_l2, uint64_t offset,
		    struct disk_request *req, struct qcow2_slot **out);
void qcow2_cache_dirty(struct qcow2_slot *slot);

/* True if at least @nr slices could be taken now without writing any. */
bool qcow2_cache_has_room(const struct qcow2_image *img, unsigned int nr);

/* Starts writing what has changed, unless that is going on. */
void qcow2_flush_start(struct qcow2 *q);

/* True if tables may not be changed now; @req is made runnable when they may. */
bool qcow2_wait_for_flush(struct qcow2 *q, struct disk_request *req);

/* Starts a flush and makes @req runnable after it, or fails it with the flush. */
void qcow2_wait_for_clean_slots(struct qcow2 *q, struct disk_request *req);

bool qcow2_has_changes(const struct qcow2 *q);

/* ---- qcow2-alloc.c ---- */

/* What a cluster of metadata is, for messages. */
enum metadata_kind {
	METADATA_HEADER,
	METADATA_L1,
	METADATA_REFCOUNT_TABLE,
	METADATA_REFCOUNT_BLOCK,
	METADATA_L2,
	METADATA_SNAPSHOTS,
	METADATA_SNAPSHOT_L1,
};

/* Makes room for @noted entries when it is opened and @added more. 0 or -ENOMEM. */
int qcow2_metadata_create(struct qcow2_image *img, uint64_t noted, uint64_t added);

/* Adds clusters that the file names, unsorted. 0, or -EIO after a message: too many. */
int qcow2_metadata_note(struct qcow2_image *img, uint64_t offset, uint64_t bytes,
			enum metadata_kind kind);

/* Sorts; 0, or -EIO after a message if two things overlap. */
int qcow2_metadata_sort(struct qcow2_image *img);
bool qcow2_is_metadata(const struct qcow2_image *img, uint64_t cluster);

/* 1: *count is the refcount of @cluster. 0: @req waits. */
int qcow2_get_refcount(struct qcow2_image *img, uint64_t cluster, struct disk_request *req,
		       uint64_t *count);

/*
 * Allocates up to @want adjoining clusters. 1: *first and *got are set. 0: @req waits.
 * -errno: none. *fresh: they read as zero.
 */
int qcow2_alloc(struct qcow2_image *img, uint64_t want, struct disk_request *req,
		uint64_t *first, uint64_t *got, bool *fresh);

/* One cluster for a new L2 table, all zero in the file. As above. */
int qcow2_alloc_table(struct qcow2_image *img, struct disk_request *req, uint64_t *offset);

/* True if @nr more ranges can be noted; otherwise @req waits. */
bool qcow2_can_free(struct qcow2_image *img, unsigned int nr, struct disk_request *req);

/* Notes that clusters are not referred to any more; they are free after the next flush. */
void qcow2_free_later(struct qcow2_image *img, uint64_t first, uint64_t count);

/* The same for a table that was replaced. */
void qcow2_free_metadata(struct qcow2_image *img, uint64_t offset, uint64_t bytes);

/* Gives back what the last flush has made free, piece by piece. */
void qcow2_free_continue(struct qcow2 *q);

/* ---- qcow2.c ---- */

void qcow2_submit(struct disk *disk, struct disk_request *req);

void qcow2_make_runnable(struct qcow2 *q, struct disk_request *req, int error);
void qcow2_wake(struct qcow2 *q, struct request_list *list, int error);
void qcow2_pump(struct qcow2 *q);

#endif
