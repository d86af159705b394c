/* SPDX-License-Identifier: GPL-2.0-only */
/* Writing the tables of a qcow2 disk. Internal to disk/; the loop's thread. */
#ifndef LKVM_DISK_QCOW2_FLUSH_H
#define LKVM_DISK_QCOW2_FLUSH_H

#include "disk/qcow2-image.h"

/* @q can flush. */
void qcow2_flush_init(struct qcow2 *q);

/*
 * Begins to bring all into the file and to free what can be freed, or goes on with it (@again).
 * Nothing is in flight. 1: it is to be called again when nothing is in flight any more; 0 or
 * -errno: the end.
 */
int qcow2_flush_all(struct qcow2 *q, bool again);

#endif
