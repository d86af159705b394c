/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Decompression of one qcow2 cluster at a time, without allocating. Internal to disk/.
 */
#ifndef LKVM_DISK_UNZIP_H
#define LKVM_DISK_UNZIP_H

#include <stddef.h>

enum unzip_kind {
	UNZIP_DEFLATE,
	UNZIP_ZSTD,
};

struct unzip;

/* 0, -ENOMEM, or -ENOTSUP if the library (libzstd) is not there. */
int unzip_create(struct unzip **out, enum unzip_kind kind);
void unzip_destroy(struct unzip *z);

/*
 * Fills exactly @out_bytes from at most @in_bytes, of which the last may be padding.
 * 0, or -EIO if the data is damaged.
 */
int unzip(struct unzip *z, const void *in, size_t in_bytes, void *out, size_t out_bytes);

#endif
