/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A reader of EROFS for tests, as a kernel reads it: written from the description of the format and
 * not from disk/erofs.c, which it judges. What it does not understand, or what leads out of
 * bounds, makes it return false.
 */
#ifndef LKVM_TESTS_EROFS_VIEW_H
#define LKVM_TESTS_EROFS_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct view {
	bool (*read)(void *arg, uint64_t offset, void *buf, size_t bytes);
	void *arg;
	uint64_t root;
	uint64_t xattrs; /* byte offset */
};

struct view_inode {
	uint64_t nid, at, size, mtime;
	uint32_t layout, mode, u, uid, gid, mtime_nsec, nlink, rdev, xattr_bytes;
};

static inline uint64_t view_le(const uint8_t *p, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | p[bytes];
	return v;
}

static inline bool view_open(struct view *v)
{
	uint8_t s[128];

	if (!v->read(v->arg, 1024, s, sizeof(s)) || view_le(s, 4) != 0xe0f5e1e2 || s[12] != 12 ||
	    view_le(s + 8, 4) & 1 || view_le(s + 80, 4) & ~4ull)
		return false;
	v->root = view_le(s + 14, 2);
	v->xattrs = view_le(s + 44, 4) * 4096;
	return view_le(s + 40, 4) == 0;
}

static inline bool view_inode(const struct view *v, uint64_t nid, struct view_inode *i)
{
	uint8_t b[64];
	uint32_t count;

	i->nid = nid;
	i->at = nid * 32;
	if (!v->read(v->arg, i->at, b, sizeof(b)) || !(b[0] & 1))
		return false;
	i->layout = (uint32_t)view_le(b, 2) >> 1;
	count = (uint32_t)view_le(b + 2, 2);
	i->xattr_bytes = count ? 12 + 4 * (count - 1) : 0;
	i->mode = (uint32_t)view_le(b + 4, 2);
	i->size = view_le(b + 8, 8);
	i->u = (uint32_t)view_le(b + 16, 4);
	i->uid = (uint32_t)view_le(b + 24, 4);
	i->gid = (uint32_t)view_le(b + 28, 4);
	i->mtime = view_le(b + 32, 8);
	i->mtime_nsec = (uint32_t)view_le(b + 40, 4);
	i->nlink = (uint32_t)view_le(b + 44, 4);
	return i->xattr_bytes != 12 && i->mtime_nsec < 1000000000 &&
	       (i->layout == 0 || i->layout == 2 || i->layout == 4);
}

/* Where byte @offset of the data is; 0: in a hole. */
static inline bool view_map(const struct view *v, const struct view_inode *i, uint64_t offset, uint64_t *at)
{
	uint64_t behind = i->at + 64 + i->xattr_bytes, tail = i->size % 4096, bits;
	uint8_t entry[4];

	if (i->layout == 2 && offset >= i->size - tail) {
		*at = behind + (offset - (i->size - tail));
		return tail && behind / 4096 == (behind + tail - 1) / 4096;
	}
	if (i->layout != 4) {
		*at = (uint64_t)i->u * 4096 + offset;
		return true;
	}
	bits = 12 + (i->u & 31);
	if (i->u >> 5 || !v->read(v->arg, behind + 4 * (offset >> bits), entry, 4))
		return false;
	*at = view_le(entry, 4) == 0xffffffff ? 0 :
						view_le(entry, 4) * 4096 + (offset & ((1ull << bits) - 1));
	return true;
}

static inline bool view_read(const struct view *v, const struct view_inode *i, uint64_t offset, void *buf,
			     size_t bytes)
{
	uint8_t *out = buf;

	while (bytes) {
		uint64_t at, n = 4096 - offset % 4096;

		n = n < bytes ? n : bytes;
		if (offset >= i->size || !view_map(v, i, offset, &at))
			return false;
		if (!at)
			memset(out, 0, n);
		else if (!v->read(v->arg, at, out, n))
			return false;
		out += n;
		offset += n;
		bytes -= n;
	}
	return true;
}

/* Entries of a block; @last is the name before it, and after it its own last. */
static inline bool view_block(const uint8_t *b, size_t bytes, uint8_t last[256],
			      bool (*fn)(void *arg, const char *name, uint64_t nid, unsigned int type), void *arg)
{
	uint64_t names = bytes < 12 ? 0 : view_le(b + 8, 2), nr = names / 12;

	if (!nr || names % 12 || names >= bytes)
		return false;
	for (uint64_t i = 0; i < nr; i++) {
		uint64_t from = view_le(b + i * 12 + 8, 2);
		uint64_t to = i + 1 < nr ? view_le(b + (i + 1) * 12 + 8, 2) : bytes;
		char name[256] = { 0 };

		if (from < names || from >= to || to > bytes)
			return false;
		if (i + 1 == nr)
			to = from + strnlen((const char *)b + from, to - from);
		if (to - from > 255 || to == from)
			return false;
		memcpy(name, b + from, to - from);
		/* A kernel searches by halving, and names are not text to it. */
		if (strlen(name) != to - from || strchr(name, '/') || strcmp((char *)last, name) >= 0)
			return false;
		memcpy(last, name, 256);
		if (!fn(arg, name, view_le(b + i * 12, 8), b[i * 12 + 10]))
			return false;
	}
	return true;
}

static inline bool view_list(const struct view *v, const struct view_inode *i,
			     bool (*fn)(void *arg, const char *name, uint64_t nid, unsigned int type), void *arg)
{
	uint8_t block[4096], last[256] = { 0 };

	for (uint64_t at = 0; at < i->size; at += 4096) {
		size_t n = i->size - at < 4096 ? i->size - at : 4096;

		if (!view_read(v, i, at, block, n) || !view_block(block, n, last, fn, arg))
			return false;
	}
	return true;
}

static inline bool view_xattr_entry(const struct view *v, uint64_t at, uint32_t room, uint32_t *bytes,
				    bool (*fn)(void *arg, const char *name, const void *value, size_t n),
				    void *arg)
{
	static const char *const prefixes[] = {
		"", "user.", "system.posix_acl_access", "system.posix_acl_default", "trusted.", "", "security."
	};
	uint8_t head[4];
	char name[300];
	uint32_t value_bytes;
	uint8_t *value;
	bool ok;

	if (room < 4 || !v->read(v->arg, at, head, 4) || !head[1] || head[1] > 6 || head[1] == 5)
		return false;
	value_bytes = (uint32_t)view_le(head + 2, 2);
	*bytes = (4 + head[0] + value_bytes + 3) & ~3u;
	if (*bytes > room)
		return false;
	strcpy(name, prefixes[head[1]]);
	memset(name + strlen(name), 0, sizeof(name) - strlen(name));
	value = malloc(value_bytes + 1);
	ok = v->read(v->arg, at + 4, name + strlen(name), head[0]) &&
	     v->read(v->arg, at + 4 + head[0], value, value_bytes) && fn(arg, name, value, value_bytes);
	free(value);
	return ok;
}

static inline bool view_xattrs(const struct view *v, const struct view_inode *i,
			       bool (*fn)(void *arg, const char *name, const void *value, size_t n), void *arg)
{
	uint64_t at = i->at + 64, end = at + i->xattr_bytes;
	uint8_t head[12], id[4];
	uint32_t bytes;

	if (!i->xattr_bytes)
		return true;
	if (!v->read(v->arg, at, head, 12))
		return false;
	at += 12;
	for (unsigned int n = 0; n < head[4]; n++, at += 4)
		if (at + 4 > end || !v->read(v->arg, at, id, 4) ||
		    !view_xattr_entry(v, v->xattrs + 4 * view_le(id, 4), UINT32_MAX, &bytes, fn, arg))
			return false;
	for (; at < end; at += bytes)
		if (!view_xattr_entry(v, at, (uint32_t)(end - at), &bytes, fn, arg))
			return false;
	return at == end;
}

#endif
