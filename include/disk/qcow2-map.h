/* SPDX-License-Identifier: GPL-2.0-only */
/* Where the guest's bytes are in a qcow2 disk. Internal to disk/; the loop's thread. */
#ifndef LKVM_DISK_QCOW2_MAP_H
#define LKVM_DISK_QCOW2_MAP_H

#include "disk/qcow2-image.h"

enum extent_kind {
	EXTENT_NONE, /* this image does not say */
	EXTENT_ZERO,
	EXTENT_DATA,
	EXTENT_COMPRESSED,
};

/* Where guest bytes are. */
struct extent {
	enum extent_kind kind;
	uint64_t bytes;		     /* for how many it holds */
	const struct aio_file *file; /* data */
	uint64_t host;
	struct qcow2_image *image; /* compressed */
	uint64_t entry;
};

/*
 * Where the guest's bytes from @pos on are, through the whole chain, for e->bytes of @max. 1, 0
 * (@w waits) or -EIO after a message.
 */
int qcow2_map(const struct qcow2 *q, uint64_t pos, uint64_t max, struct qcow2_waiter *w,
	      struct extent *e);

/* True if the L1 table names an L2 table for @pos. */
bool qcow2_has_table(const struct qcow2_image *img, uint64_t pos);

/* With such a table: the slice that maps @pos, and the index in it. 1 or 0 (@w waits). */
int qcow2_get_slice(struct qcow2_image *img, uint64_t pos, struct qcow2_waiter *w,
		    struct qcow2_slot **slot, uint64_t *i);

/* The one place where an L2 entry is checked. 0, or -EIO after a message. */
int qcow2_check_entry(struct qcow2_image *img, const struct qcow2_slot *slot, uint64_t i);

/* True if @entry goes on where @n entries after @first began. */
bool qcow2_continues(const struct qcow2_image *img, uint64_t first, uint64_t entry, uint64_t n);

/* Of a compressed cluster's entry; up to the end of the sector in which the data end. */
uint64_t qcow2_compressed_offset(const struct qcow2_image *img, uint64_t entry);
uint64_t qcow2_compressed_bytes(const struct qcow2_image *img, uint64_t entry);

static inline enum extent_kind qcow2_kind_of(const struct qcow2_image *img, uint64_t entry)
{
	if (entry & QCOW2_COMPRESSED)
		return EXTENT_COMPRESSED;
	if (img->version >= 3 && entry & QCOW2_ZERO)
		return EXTENT_ZERO;
	return entry & QCOW2_OFFSET_MASK ? EXTENT_DATA : EXTENT_NONE;
}

static inline uint64_t qcow2_l2_entries(const struct qcow2_image *img)
{
	return img->cluster_bytes / 8;
}

#endif
