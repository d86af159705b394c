// SPDX-License-Identifier: GPL-2.0-only
/*
 * Decompression of a kernel's payload, and of its modules.
 *
 * Runs on one thread, before there is a guest; has no state. Each format is decompressed by one
 * call of its library, into memory that is there already, so that memory use is bounded. zlib is
 * linked. The other libraries are loaded with dlopen() when a kernel needs one: the binary does
 * not depend on them, and their few functions, whose ABIs have been stable for many years, are
 * declared here. The block framing of LZ4 and LZO is parsed here, each length checked against
 * what is left.
 *
 * Source: RFC 1952 (gzip); XZ's doc/lzma-file-format.txt; LZ4's doc/lz4_Frame_format.md
 * ("Legacy frame"); the file format of lzop 1.04; each library's own header.
 * Not here: LZ4's modern frames, which the kernel does not use.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "decompress.h"
#include "util.h"

/* What a decoder may allocate: XZ and LZMA name a dictionary of up to 4 GiB. */
#define XZ_MEMORY_BYTES (256ull << 20)

struct input {
	const uint8_t *data;
	size_t bytes, at;
};

struct output {
	uint8_t *data;
	size_t bytes, at;
};

typedef int decode(void *library, struct input *in, struct output *out);

struct unpacker {
	const char *name, *library;
	uint8_t magic[9], magic_bytes;
	decode *decode;
};

/* ---- gzip ---- */

static int decode_gzip(void *library, struct input *in, struct output *out)
{
	z_stream z = { .next_in = (Bytef *)in->data, .next_out = out->data };
	int rc;

	(void)library;
	if (in->bytes > UINT32_MAX || out->bytes > UINT32_MAX)
		return -EINVAL;
	z.avail_in = (unsigned int)in->bytes;
	z.avail_out = (unsigned int)out->bytes;
	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) /* 16: a gzip header */
		return -ENOMEM;
	rc = inflate(&z, Z_FINISH);
	out->at = z.total_out;
	inflateEnd(&z);
	return rc == Z_STREAM_END ? 0 :
	       rc == Z_MEM_ERROR  ? -ENOMEM :
				    -EINVAL;
}

/* ---- XZ and LZMA: liblzma 5 (lzma/base.h, container.h, filter.h, lzma12.h) ---- */

#define LZMA_OK		  0
#define LZMA_MEM_ERROR	  5
#define LZMA_FILTER_LZMA1 0x4000000000000001ull
#define LZMA_END	  UINT64_MAX
#define LZMA_PROPS_BYTES  5u
#define LZMA_HEADER_BYTES 13u /* properties, unpacked size */

struct lzma_filter {
	uint64_t id;
	void *options;
};

static int xz_error(int rc)
{
	return rc == LZMA_OK	    ? 0 :
	       rc == LZMA_MEM_ERROR ? -ENOMEM :
				      -EINVAL;
}

static int decode_xz(void *library, struct input *in, struct output *out)
{
	int (*buffer_decode)(uint64_t * memlimit, uint32_t flags, const void *allocator,
			     const uint8_t *src, size_t *src_at, size_t src_bytes, uint8_t *dst,
			     size_t *dst_at, size_t dst_bytes) =
		dlsym(library, "lzma_stream_buffer_decode");
	uint64_t limit = XZ_MEMORY_BYTES;

	if (!buffer_decode)
		return -ENOSYS;
	return xz_error(buffer_decode(&limit, 0, NULL, in->data, &in->at, in->bytes, out->data,
				      &out->at, out->bytes));
}

static int decode_lzma(void *library, struct input *in, struct output *out)
{
	int (*get_properties)(struct lzma_filter *, const void *allocator,
			      const uint8_t *props, size_t props_bytes) =
		dlsym(library, "lzma_properties_decode");
	uint64_t (*memory_usage)(const struct lzma_filter *filters) =
		dlsym(library, "lzma_raw_decoder_memusage");
	int (*buffer_decode)(const struct lzma_filter *filters, const void *allocator,
			     const uint8_t *src, size_t *src_at, size_t src_bytes, uint8_t *dst,
			     size_t *dst_at, size_t dst_bytes) =
		dlsym(library, "lzma_raw_buffer_decode");
	struct lzma_filter filters[] = { { .id = LZMA_FILTER_LZMA1 }, { .id = LZMA_END } };
	int rc;

	if (!get_properties || !memory_usage || !buffer_decode)
		return -ENOSYS;
	if (in->bytes < LZMA_HEADER_BYTES)
		return -EINVAL;
	rc = get_properties(filters, NULL, in->data, LZMA_PROPS_BYTES);
	if (rc != LZMA_OK)
		return xz_error(rc);
	in->at = LZMA_HEADER_BYTES;
	if (memory_usage(filters) > XZ_MEMORY_BYTES)
		rc = -EINVAL;
	else
		rc = xz_error(buffer_decode(filters, NULL, in->data, &in->at, in->bytes,
					    out->data, &out->at, out->bytes));
	free(filters[0].options); /* by malloc(), since there is no allocator */
	return rc;
}

/* ---- bzip2: libbz2 1.0 (bzlib.h) ---- */

#define BZ_OK	     0
#define BZ_MEM_ERROR (-3)

static int decode_bzip2(void *library, struct input *in, struct output *out)
{
	int (*buffer_decode)(char *dst, unsigned int *dst_bytes, const char *src,
			     unsigned int src_bytes, int small, int verbosity) =
		dlsym(library, "BZ2_bzBuffToBuffDecompress");
	unsigned int n = (unsigned int)out->bytes;
	int rc;

	if (!buffer_decode)
		return -ENOSYS;
	if (in->bytes > UINT32_MAX || out->bytes > UINT32_MAX)
		return -EINVAL;
	rc = buffer_decode((char *)out->data, &n, (const char *)in->data,
			   (unsigned int)in->bytes, 0, 0);
	out->at = n;
	return rc == BZ_OK	  ? 0 :
	       rc == BZ_MEM_ERROR ? -ENOMEM :
				    -EINVAL;
}

/* ---- Zstandard: libzstd 1 (zstd.h) ---- */

static int decode_zstd(void *library, struct input *in, struct output *out)
{
	size_t (*decompress)(void *dst, size_t dst_bytes, const void *src, size_t src_bytes) =
		dlsym(library, "ZSTD_decompress");
	unsigned int (*is_error)(size_t code) = dlsym(library, "ZSTD_isError");
	size_t n;

	if (!decompress || !is_error)
		return -ENOSYS;
	n = decompress(out->data, out->bytes, in->data, in->bytes);
	if (is_error(n))
		return -EINVAL;
	out->at = n;
	return 0;
}

/* ---- LZ4's legacy frames: liblz4 1 (lz4.h) ---- */

#define LZ4_MAGIC_BYTES 4u
#define LZ4_BLOCK_BYTES (8u << 20) /* unpacked; the last one may be shorter */

static bool decompress_take(struct input *in, void *to, size_t bytes)
{
	if (!range_within(in->at, bytes, in->bytes))
		return false;
	memcpy(to, in->data + in->at, bytes);
	in->at += bytes;
	return true;
}

static int decode_lz4(void *library, struct input *in, struct output *out)
{
	int (*block_decode)(const char *src, char *dst, int src_bytes, int dst_bytes) =
		dlsym(library, "LZ4_decompress_safe");
	uint32_t bytes;

	if (!block_decode)
		return -ENOSYS;
	in->at = LZ4_MAGIC_BYTES;
	while (in->at < in->bytes) {
		size_t room = min_u64(out->bytes - out->at, LZ4_BLOCK_BYTES);
		int n;

		if (!decompress_take(in, &bytes, sizeof(bytes)) ||
		    !range_within(in->at, bytes, in->bytes) || bytes > INT32_MAX)
			return -EINVAL;
		n = block_decode((const char *)in->data + in->at, (char *)out->data + out->at,
				 (int)bytes, (int)room);
		if (n < 0)
			return -EINVAL;
		in->at += bytes;
		out->at += (size_t)n;
	}
	return 0;
}

/* ---- LZO in lzop's files: liblzo2 (lzo1x.h) ---- */

#define LZOP_HAS_LEVEL 0x0940u /* version: a method's level, times of 64 bits */
#define LZOP_FILTER    0x800u
#define LZOP_EXTRA     0x40u
#define LZOP_ADLER_OUT 0x1u /* checksums of each block, unpacked and packed */
#define LZOP_ADLER_IN  0x2u
#define LZOP_CRC_OUT   0x100u
#define LZOP_CRC_IN    0x200u

static bool take_be(struct input *in, size_t bytes, uint32_t *value)
{
	uint8_t b[4];

	if (!decompress_take(in, b, bytes))
		return false;
	*value = 0;
	for (size_t i = 0; i < bytes; i++)
		*value = *value << 8 | b[i];
	return true;
}

static bool skip(struct input *in, size_t bytes)
{
	if (!range_within(in->at, bytes, in->bytes))
		return false;
	in->at += bytes;
	return true;
}

/* Behind the magic: versions, method, flags, mode, times, name, checksum. */
static bool take_lzop_header(struct input *in, uint32_t *flags)
{
	uint32_t version, bytes;
	bool recent;

	if (!take_be(in, 2, &version) || !skip(in, 2))
		return false;
	recent = version >= LZOP_HAS_LEVEL;
	return skip(in, recent ? 4 : 1) && /* version needed; method, level */
	       take_be(in, 4, flags) && skip(in, *flags & LZOP_FILTER ? 4 : 0) &&
	       skip(in, recent ? 12 : 8) && /* mode, time */
	       take_be(in, 1, &bytes) && skip(in, bytes) && skip(in, 4) &&
	       (!(*flags & LZOP_EXTRA) || (take_be(in, 4, &bytes) && skip(in, bytes) && skip(in, 4)));
}

static bool is_right(struct input *in, uint32_t flags, uint32_t adler, uint32_t crc,
		     const uint8_t *data, uint32_t bytes)
{
	uint32_t sum;

	if (flags & adler && (!take_be(in, 4, &sum) || sum != adler32(1, data, bytes)))
		return false;
	return !(flags & crc) || (take_be(in, 4, &sum) && sum == crc32(0, data, bytes));
}

/* Skips the checksums of compressed data: those of the result are enough. */
static bool skip_packed_sums(struct input *in, uint32_t flags)
{
	return skip(in, (flags & LZOP_ADLER_IN ? 4 : 0) + (flags & LZOP_CRC_IN ? 4u : 0));
}

typedef int lzo_decode(const uint8_t *src, size_t src_bytes, uint8_t *dst, size_t *dst_bytes,
		       void *work);

static int decode_lzo_block(lzo_decode *block_decode, struct input *in, struct output *out,
			    uint32_t flags, uint32_t bytes)
{
	struct input sums;
	uint32_t packed;
	size_t n = bytes;

	if (!take_be(in, 4, &packed) || packed > bytes || bytes > out->bytes - out->at)
		return -EINVAL;
	sums = *in;
	if (!skip(in, (flags & LZOP_ADLER_OUT ? 4 : 0) + (flags & LZOP_CRC_OUT ? 4u : 0)) ||
	    (packed < bytes && !skip_packed_sums(in, flags)) ||
	    !range_within(in->at, packed, in->bytes))
		return -EINVAL;
	if (packed == bytes)
		memcpy(out->data + out->at, in->data + in->at, bytes);
	else if (block_decode(in->data + in->at, packed, out->data + out->at, &n, NULL) || n != bytes)
		return -EINVAL;
	if (!is_right(&sums, flags, LZOP_ADLER_OUT, LZOP_CRC_OUT, out->data + out->at, bytes))
		return -EINVAL;
	in->at += packed;
	out->at += bytes;
	return 0;
}

static int decode_lzo(void *library, struct input *in, struct output *out)
{
	lzo_decode *block_decode = dlsym(library, "lzo1x_decompress_safe");
	uint32_t flags, bytes;

	if (!block_decode)
		return -ENOSYS;
	in->at = 9; /* the magic */
	if (!take_lzop_header(in, &flags))
		return -EINVAL;
	for (;;) {
		int rc;

		if (!take_be(in, 4, &bytes))
			return -EINVAL;
		if (!bytes)
			return 0;
		rc = decode_lzo_block(block_decode, in, out, flags, bytes);
		if (rc)
			return rc;
	}
}

/* ---- the formats ---- */

static const struct unpacker unpackers[] = {
	{ "gzip", "zlib", { 0x1f, 0x8b }, 2, decode_gzip },
	{ "XZ", "liblzma.so.5", { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, decode_xz },
	{ "LZMA", "liblzma.so.5", { 0x5d, 0, 0 }, 3, decode_lzma },
	{ "bzip2", "libbz2.so.1.0", { 'B', 'Z', 'h' }, 3, decode_bzip2 },
	{ "LZO", "liblzo2.so.2", { 0x89, 'L', 'Z', 'O', 0, '\r', '\n', 0x1a, '\n' }, 9, decode_lzo },
	{ "LZ4", "liblz4.so.1", { 0x02, 0x21, 0x4c, 0x18 }, 4, decode_lz4 },
	{ "Zstandard", "libzstd.so.1", { 0x28, 0xb5, 0x2f, 0xfd }, 4, decode_zstd },
};

const struct unpacker *unpack_find(const uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < ARRAY_SIZE(unpackers); i++)
		if (bytes >= unpackers[i].magic_bytes &&
		    !memcmp(data, unpackers[i].magic, unpackers[i].magic_bytes))
			return &unpackers[i];
	return NULL;
}

const char *unpack_name(const struct unpacker *u)
{
	return u->name;
}

const char *unpack_library(const struct unpacker *u)
{
	return u->library;
}

int unpack_up_to(const struct unpacker *u, const uint8_t *src, size_t src_bytes, uint8_t *dst,
		 size_t max_bytes, size_t *dst_bytes)
{
	struct input in = { .data = src, .bytes = src_bytes };
	struct output out = { .data = dst, .bytes = max_bytes };
	void *library = NULL;
	int rc;

	if (u->decode != decode_gzip) {
		library = dlopen(u->library, RTLD_NOW);
		if (!library)
			return -ENOSYS;
	}
	rc = u->decode(library, &in, &out);
	if (library)
		dlclose(library);
	*dst_bytes = out.at;
	return rc;
}

int unpack(const struct unpacker *u, const uint8_t *src, size_t src_bytes, uint8_t *dst,
	   size_t dst_bytes)
{
	size_t bytes;
	int rc = unpack_up_to(u, src, src_bytes, dst, dst_bytes, &bytes);

	return rc		  ? rc :
	       bytes == dst_bytes ? 0 :
				    -EINVAL;
}
