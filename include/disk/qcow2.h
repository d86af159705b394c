/* SPDX-License-Identifier: GPL-2.0-only */
/* qcow2 images. Internal to disk/. */
#ifndef LKVM_DISK_QCOW2_H
#define LKVM_DISK_QCOW2_H

#include <stdbool.h>

struct aio;
struct disk;
struct disk_config;

/*
 * Opens the qcow2 image in @fd, which is taken over, with its backing files; or, with
 * config->cow, a temporary image on top of the one in @fd, which is qcow2 if
 * @is_qcow2. 0 or -errno, after a message.
 */
int qcow2_open(struct disk **out, struct aio *aio, const struct disk_config *config, int fd,
	       bool is_qcow2);

#endif
