/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Decompression of one qcow2 cluster at a time, without allocating. Internal to disk/.
 */
#ifndef LKVM_DISK_QCOW2_DECOMPRESS_H
#define LKVM_DISK_QCOW2_DECOMPRESS_H

#include <stddef.h>

enum qcow2_decompress_kind {
	QCOW2_DECOMPRESS_DEFLATE,
	QCOW2_DECOMPRESS_ZSTD,
};

struct qcow2_decompress;

/* 0, -ENOMEM, or -ENOTSUP if the library (libzstd) is not there. */
int qcow2_decompress_create(struct qcow2_decompress **out, enum qcow2_decompress_kind kind);
void qcow2_decompress_destroy(struct qcow2_decompress *z);

/*
 * Fills exactly @out_bytes from at most @in_bytes, of which the last may be padding.
 * 0, or -EIO if the data is damaged.
 */
int qcow2_decompress(struct qcow2_decompress *z, const void *in, size_t in_bytes, void *out, size_t out_bytes);

#endif
