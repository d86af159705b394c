/* SPDX-License-Identifier: GPL-2.0-only */
/* Writing the tables of a qcow2 disk. Internal to disk/; the loop's thread. */
#ifndef LKVM_DISK_QCOW2_FLUSH_H
#define LKVM_DISK_QCOW2_FLUSH_H

#include "disk/qcow2-image.h"

/* @q can flush. */
void qcow2_flush_init(struct qcow2 *q);

/*
 * Waits until all is in the file and all that could be freed is free. -errno, if a write failed.
 * Nothing else is in flight.
 */
int qcow2_flush_all(struct qcow2 *q);

#endif
