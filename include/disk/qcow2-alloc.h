/* SPDX-License-Identifier: GPL-2.0-only */
/* Space in a qcow2 file. Internal to disk/; the loop's thread. */
#ifndef LKVM_DISK_QCOW2_ALLOC_H
#define LKVM_DISK_QCOW2_ALLOC_H

#include "disk/qcow2-image.h"

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

/* 1: *count is the refcount of @cluster. 0: @w waits. */
int qcow2_get_refcount(struct qcow2_image *img, uint64_t cluster, struct qcow2_waiter *w,
		       uint64_t *count);

/*
 * Allocates up to @want adjoining clusters. 1: *first and *got are set. 0: @w waits.
 * -errno: none. *fresh: they read as zero.
 */
int qcow2_alloc(struct qcow2_image *img, uint64_t want, struct qcow2_waiter *w,
		uint64_t *first, uint64_t *got, bool *fresh);

/* One cluster for a new L2 table, which the caller writes. As above. */
int qcow2_alloc_table(struct qcow2_image *img, struct qcow2_waiter *w, uint64_t *offset);

/* A table in these bytes is none any more, or never became one: see qcow2_free_metadata(). */
void qcow2_drop_metadata(struct qcow2_image *img, uint64_t offset, uint64_t bytes);

/*
 * Takes clusters of one qcow2_alloc() back that no table was ever made to name; their space has
 * been given back. 1, 0: @w waits.
 */
int qcow2_unalloc(struct qcow2_image *img, uint64_t first, uint64_t count,
		  struct qcow2_waiter *w);

/* True if @nr more ranges can be noted; otherwise @w waits. @nr is QCOW2_MAX_PART at most. */
bool qcow2_can_free(struct qcow2_image *img, unsigned int nr, struct qcow2_waiter *w);

/* Notes that clusters are not referred to any more; the next flush frees them. */
void qcow2_free_later(struct qcow2_image *img, uint64_t first, uint64_t count);

/* The same for a table that was replaced, which is dropped. */
void qcow2_free_metadata(struct qcow2_image *img, uint64_t offset, uint64_t bytes);

/* The file refers to nothing that is unused: it is freeable. */
void qcow2_unused_is_freeable(struct qcow2_image *img);

enum free_step {
	FREE_NEXT,  /* a step was done */
	FREE_PUNCH, /* *hole is to be punched out of the file before the next step */
	FREE_WAIT,  /* @w waits for a slice */
	FREE_END,   /* there is nothing left, or no room to go on before a flush */
};

/* One step of freeing what is freeable. */
enum free_step qcow2_free_step(struct qcow2_image *img, struct qcow2_waiter *w,
			       struct cluster_range *hole);

/* The refcounts of what comes next cannot be read: its space is lost, and nothing else. */
void qcow2_free_skip(struct qcow2_image *img);

#endif
