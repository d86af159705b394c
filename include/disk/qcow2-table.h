/* SPDX-License-Identifier: GPL-2.0-only */
/* The cache of table slices of one qcow2 file. Internal to disk/; the loop's thread. */
#ifndef LKVM_DISK_QCOW2_TABLE_H
#define LKVM_DISK_QCOW2_TABLE_H

#include "disk/qcow2-image.h"

/* @nr_slots: a power of two. 0 or -ENOMEM. */
int qcow2_cache_create(struct qcow2_image *img, unsigned int nr_slots);
void qcow2_cache_destroy(struct qcow2_image *img);

/*
 * The slice at @offset. 1: *out is it, until the next call. 0: @w waits and is
 * made runnable. Never an error: a failed load is reported to those who wait.
 */
int qcow2_cache_get(struct qcow2_image *img, bool is_l2, uint64_t offset,
		    struct qcow2_waiter *w, struct qcow2_slot **out);

/*
 * The same for a slice of a new table, which is all zero; nothing is read and nobody waits:
 * the caller knows that there is room.
 */
struct qcow2_slot *qcow2_cache_new(struct qcow2_image *img, bool is_l2, uint64_t offset);
void qcow2_cache_dirty(struct qcow2_slot *slot);

/* The table in these bytes is none any more: its slices are not what the file will have there. */
void qcow2_cache_forget(struct qcow2_image *img, uint64_t offset, uint64_t bytes);

/* True if at least @nr slices could be taken now without writing any. */
bool qcow2_cache_has_room(const struct qcow2_image *img, unsigned int nr);

/* Writes the dirty slices of L2 tables or of refcount blocks; how many @done is called for. */
unsigned int qcow2_cache_write(struct qcow2_image *img, bool l2,
			       void (*done)(struct aio_op *op, int error));

/* Those that qcow2_cache_write() wrote are in the file. */
void qcow2_cache_clean(struct qcow2_image *img, bool l2);

/* Whose operation @op of qcow2_cache_write() is. */
struct qcow2_image *qcow2_cache_image(struct aio_op *op);

#endif
