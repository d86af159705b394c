/* SPDX-License-Identifier: GPL-2.0-only */
/* Raw images and block devices. Internal to disk/. */
#ifndef LKVM_DISK_RAW_H
#define LKVM_DISK_RAW_H

#include <stdbool.h>

struct aio;
struct disk;
struct disk_config;

/*
 * Takes over @lock_fd, which has the locks. @guessed: nobody said that it is raw; then the guest may not write
 * what would make it look like another format next time. 0 or -errno, after a message.
 */
int raw_open(struct disk **out, struct aio *aio, const struct disk_config *config, int lock_fd,
	     bool guessed);

#endif
