/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Decompression of a kernel's payload and of its modules, in each of the formats that Linux's build
 * offers: gzip, LZMA, XZ, bzip2, LZO, LZ4 and Zstandard.
 */
#ifndef LKVM_DECOMPRESS_H
#define LKVM_DECOMPRESS_H

#include <stddef.h>
#include <stdint.h>

struct unpacker;

/* Recognises the format by the first bytes; NULL if it is none of them. */
const struct unpacker *unpack_find(const uint8_t *data, size_t bytes);

/* The format's name, for messages. */
const char *unpack_name(const struct unpacker *u);

/* The library that does it. */
const char *unpack_library(const struct unpacker *u);

/*
 * Decompresses all of @src into exactly @dst_bytes at @dst; both are ordinary memory that
 * nobody else writes. 0; -ENOSYS if the library is not on this host; -EINVAL if @src
 * is damaged or gives another number of bytes; -ENOMEM.
 */
int unpack(const struct unpacker *u, const uint8_t *src, size_t src_bytes, uint8_t *dst,
	   size_t dst_bytes);

/*
 * The same where nobody says how much it gives: at most @max_bytes, and *@dst_bytes tells. -EINVAL
 * also if it gives more.
 */
int unpack_up_to(const struct unpacker *u, const uint8_t *src, size_t src_bytes, uint8_t *dst,
		 size_t max_bytes, size_t *dst_bytes);

#endif
