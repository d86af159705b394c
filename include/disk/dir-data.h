/* SPDX-License-Identifier: GPL-2.0-only */
/* Data of files of a directory as a disk. Internal to disk/dir*.c; the loop's thread. */
#ifndef LKVM_DISK_DIR_DATA_H
#define LKVM_DISK_DIR_DATA_H

#include <stdint.h>

struct dir;
struct dir_file;
struct disk_request;

void dir_data_init(struct dir *dir);

/*
 * Reads at most @bytes of @file from @offset on to where @req is. How many were read, DIR_WAITS,
 * DIR_STARTED (then req->pos is behind them), or -errno.
 */
int64_t dir_data_read(struct dir *dir, struct disk_request *req, struct dir_file *file,
		      uint64_t offset, uint64_t bytes);

/* Puts @bytes of @data, or zeros for NULL, to where @req is, and goes on behind them. */
void dir_data_put(struct disk_request *req, const void *data, uint64_t bytes);

/* Nothing is in flight. */
void dir_data_fini(struct dir *dir);

#endif
