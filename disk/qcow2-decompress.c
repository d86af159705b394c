// SPDX-License-Identifier: GPL-2.0-only
/*
 * Decompression of qcow2 clusters: raw deflate by zlib, zstd by libzstd.
 *
 * zlib's memory comes from an arena inside struct qcow2_decompress, so that nothing is
 * allocated while a guest runs. libzstd is looked for when the first image that
 * needs it is opened (dlopen), so that the binary does not depend on it; its
 * window is bounded by its own default limit.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

#include "disk/qcow2-decompress.h"
#include "util.h"

/* inflate needs about 9.5 KiB and a window of 32 KiB (zconf.h). */
#define ARENA_BYTES 65536u

/* The streaming interface of libzstd 1 (zstd.h), which has been stable since 1.0. */
struct zstd_buffer {
	void *data;
	size_t size, pos;
};

struct qcow2_decompress {
	enum qcow2_decompress_kind kind;
	z_stream z;
	_Alignas(16) uint8_t arena[ARENA_BYTES];
	size_t arena_used;

	void *library, *stream;
	size_t (*init_stream)(void *stream);
	size_t (*decompress)(void *stream, struct zstd_buffer *out, struct zstd_buffer *in);
	unsigned int (*is_error)(size_t code);
	size_t (*free_stream)(void *stream);
};

static void *arena_alloc(void *opaque, unsigned int items, unsigned int size)
{
	struct qcow2_decompress *u = opaque;
	size_t bytes = align_up((size_t)items * size, 16);
	void *p = u->arena + u->arena_used;

	if (bytes > ARENA_BYTES - u->arena_used)
		return NULL;
	u->arena_used += bytes;
	return p;
}

static void arena_free(void *opaque, void *p)
{
	(void)opaque;
	(void)p; /* all at once, with struct qcow2_decompress */
}

static int start_zstd(struct qcow2_decompress *u)
{
	void *(*create_stream)(void);

	u->library = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!u->library)
		return -ENOTSUP;
	create_stream = (void *(*)(void))dlsym(u->library, "ZSTD_createDStream");
	u->init_stream = (size_t(*)(void *))dlsym(u->library, "ZSTD_initDStream");
	u->decompress = (size_t(*)(void *, struct zstd_buffer *, struct zstd_buffer *))
		dlsym(u->library, "ZSTD_decompressStream");
	u->is_error = (unsigned int (*)(size_t))dlsym(u->library, "ZSTD_isError");
	u->free_stream = (size_t(*)(void *))dlsym(u->library, "ZSTD_freeDStream");
	if (!create_stream || !u->init_stream || !u->decompress || !u->is_error ||
	    !u->free_stream)
		return -ENOTSUP;
	u->stream = create_stream();
	return u->stream ? 0 : -ENOMEM;
}

int qcow2_decompress_create(struct qcow2_decompress **out, enum qcow2_decompress_kind kind)
{
	struct qcow2_decompress *u = calloc(1, sizeof(*u));
	int rc = 0;

	if (!u)
		return -ENOMEM;
	u->kind = kind;
	if (kind == QCOW2_DECOMPRESS_ZSTD) {
		rc = start_zstd(u);
	} else {
		u->z.zalloc = arena_alloc;
		u->z.zfree = arena_free;
		u->z.opaque = u;
		if (inflateInit2(&u->z, -MAX_WBITS) != Z_OK)
			rc = -ENOMEM;
	}
	if (rc) {
		qcow2_decompress_destroy(u);
		return rc;
	}
	*out = u;
	return 0;
}

void qcow2_decompress_destroy(struct qcow2_decompress *u)
{
	if (!u)
		return;
	if (u->stream)
		u->free_stream(u->stream);
	if (u->library)
		dlclose(u->library);
	free(u);
}

static int qcow2_decompress_deflate(struct qcow2_decompress *u, const void *in, size_t in_bytes, void *out,
				    size_t out_bytes)
{
	int rc;

	if (inflateReset(&u->z) != Z_OK)
		return -EIO;
	u->z.next_in = (uint8_t *)(uintptr_t)in;
	u->z.avail_in = (unsigned int)in_bytes;
	u->z.next_out = out;
	u->z.avail_out = (unsigned int)out_bytes;
	rc = inflate(&u->z, Z_FINISH);
	/* The end marker may not have been needed to fill the cluster. */
	return (rc == Z_STREAM_END || rc == Z_BUF_ERROR) && !u->z.avail_out ? 0 : -EIO;
}

static int qcow2_decompress_zstd(struct qcow2_decompress *u, const void *in, size_t in_bytes, void *out,
				 size_t out_bytes)
{
	struct zstd_buffer src = { (void *)(uintptr_t)in, in_bytes, 0 };
	struct zstd_buffer dst = { out, out_bytes, 0 };

	if (u->is_error(u->init_stream(u->stream)))
		return -EIO;
	while (dst.pos < dst.size) {
		size_t before = dst.pos, taken = src.pos;
		size_t rc = u->decompress(u->stream, &dst, &src);

		if (u->is_error(rc) || (dst.pos == before && src.pos == taken))
			return -EIO;
		if (rc == 0 && dst.pos < dst.size)
			return -EIO; /* the frame is over */
	}
	return 0;
}

int qcow2_decompress(struct qcow2_decompress *u, const void *in, size_t in_bytes, void *out, size_t out_bytes)
{
	if (u->kind == QCOW2_DECOMPRESS_ZSTD)
		return qcow2_decompress_zstd(u, in, in_bytes, out, out_bytes);
	return qcow2_decompress_deflate(u, in, in_bytes, out, out_bytes);
}
