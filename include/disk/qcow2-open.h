/* SPDX-License-Identifier: GPL-2.0-only */
/* Opening the files of a qcow2 disk. Internal to disk/; the loop's thread. */
#ifndef LKVM_DISK_QCOW2_OPEN_H
#define LKVM_DISK_QCOW2_OPEN_H

#include "disk/qcow2-image.h"

/*
 * Fills in @q's images from @fd, which is taken over; see qcow2_open(). 0 or -errno, after a
 * message; what was opened until then is for qcow2_close_images().
 */
int qcow2_open_images(struct qcow2 *q, const struct disk_config *config, int fd, bool is_qcow2);
void qcow2_close_images(struct qcow2 *q);

#endif
