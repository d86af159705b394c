/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A qcow2 file grows, and tables that are new are zeroed in it. Internal to disk/; the loop's
 * thread, which waits for none of it.
 */
#ifndef LKVM_DISK_QCOW2_GROW_H
#define LKVM_DISK_QCOW2_GROW_H

#include "disk/qcow2-image.h"

void qcow2_growth_init(struct qcow2_image *img);

/*
 * Makes clusters [first, first + count) part of the file. 1: they are. 0: @w waits, or fails if it
 * was @w who began it. -errno: they cannot be.
 */
int qcow2_extend(struct qcow2_image *img, uint64_t first, uint64_t count, struct qcow2_waiter *w);

/*
 * The same for clusters that nothing refers to; with 1 they are zero and have their space, and the
 * caller takes them now: to ask again is to have them zeroed again.
 */
int qcow2_zero_clusters(struct qcow2_image *img, uint64_t first, uint64_t count,
			struct qcow2_waiter *w);

#endif
