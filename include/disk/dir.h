/* SPDX-License-Identifier: GPL-2.0-only */
/* A directory as a read-only disk. Internal to disk/. */
#ifndef LKVM_DISK_DIR_H
#define LKVM_DISK_DIR_H

struct aio;
struct disk;
struct disk_config;

/*
 * Tree config->tree of the process config->files, which lives longer. config->path: what messages call
 * it. 0 or -ENOMEM, after a message.
 */
int dir_open(struct disk **out, struct aio *aio, const struct disk_config *config);

#endif
