// SPDX-License-Identifier: GPL-2.0-only
/*
 * The layout of EROFS, as Linux has read it since 5.15 (5.4 without chunks): see disk/erofs.h.
 *
 * Of what the format offers this uses blocks of 4 KiB, extended inodes (64 bytes: 32-bit ids, a time
 * in nanoseconds), data that are flat, with or without their tail in the inode, or in chunks, and
 * extended attributes in the inode or shared. All of it is little-endian, as x86 is.
 *
 * Not here: compression, compact inodes, checksums, several devices.
 *
 * Source: Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h of Linux 6.1 as description
 * of the format.
 */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "disk/erofs.h"
#include "util.h"

#define SUPER_OFFSET	  1024u
#define SUPER_MAGIC	  0xe0f5e1e2u
#define FEATURE_CHUNKS	  0x4u /* incompatible: INCOMPAT_CHUNKED_FILE */
#define EXTENDED	  1u   /* bit 0 of i_format */
#define DIRENT_BYTES	  12u
#define XATTR_ENTRY_BYTES 4u
#define MAX_CHUNK_BITS	  31u /* a 32-bit kernel computes a chunk's size in 32 bits */

/* ---- extended attributes ---- */

/* Prefixes that EROFS has a number for; the rest of the name is stored. */
static const struct {
	const char *prefix;
	uint8_t index;
	bool is_whole;
} xattr_words[] = {
	{ "user.", 1, false },
	{ "system.posix_acl_access", 2, true },
	{ "system.posix_acl_default", 3, true },
	{ "trusted.", 4, false },
	{ "security.", 6, false },
};

/* Its number, and how much of the name that stands for; 0: it has none. */
static uint8_t xattr_index(const char *name, size_t bytes, size_t *prefix_bytes)
{
	for (size_t i = 0; i < ARRAY_SIZE(xattr_words); i++) {
		size_t n = strlen(xattr_words[i].prefix);
		bool fits = xattr_words[i].is_whole ? bytes == n : bytes > n;

		*prefix_bytes = n;
		if (fits && !memcmp(name, xattr_words[i].prefix, n))
			return xattr_words[i].index;
	}
	return 0;
}

static void pack_xattr(struct erofs_xattrs *x, const struct tree_xattr *head, const uint8_t *name)
{
	size_t prefix;
	uint8_t index = xattr_index((const char *)name, head->name_bytes, &prefix);
	size_t name_bytes = head->name_bytes - (index ? prefix : 0);
	size_t bytes = align_up(XATTR_ENTRY_BYTES + name_bytes + head->value_bytes, 4);
	uint8_t *out = x->data + x->bytes;

	if (!index || x->nr == EROFS_MAX_XATTRS || !range_within(x->bytes, bytes, sizeof(x->data))) {
		x->left_out++;
		return;
	}
	memset(out, 0, bytes);
	out[0] = (uint8_t)name_bytes;
	out[1] = index;
	put_le16(out + 2, head->value_bytes);
	memcpy(out + XATTR_ENTRY_BYTES, name + prefix, name_bytes);
	memcpy(out + XATTR_ENTRY_BYTES + name_bytes, name + head->name_bytes, head->value_bytes);
	x->offsets[x->nr++] = (uint16_t)(x->bytes / 4);
	x->bytes += (uint32_t)bytes;
}

void erofs_pack_xattrs(struct erofs_xattrs *x, const uint8_t *list, size_t bytes)
{
	x->bytes = x->nr = x->left_out = 0;
	while (bytes) {
		struct tree_xattr head;
		size_t n = sizeof(head);

		if (bytes >= n) {
			memcpy(&head, list, n);
			n += (size_t)head.name_bytes + head.value_bytes;
		}
		if (bytes < n) {
			x->left_out++;
			return;
		}
		pack_xattr(x, &head, list + sizeof(head));
		list += n;
		bytes -= n;
	}
}

uint32_t erofs_put_xattrs(uint8_t *out, uint32_t room, const struct erofs_xattrs *x)
{
	if (!x->nr || !range_within(EROFS_XATTRS_BYTES, x->bytes, room))
		return 0;
	memset(out, 0, EROFS_XATTRS_BYTES);
	memcpy(out + EROFS_XATTRS_BYTES, x->data, x->bytes);
	return EROFS_XATTRS_BYTES + x->bytes;
}

uint32_t erofs_put_xattr_ids(uint8_t *out, uint32_t room, const struct erofs_xattrs *x,
			     uint32_t first_id)
{
	uint32_t nr;

	if (!x->nr || room < EROFS_XATTRS_BYTES + EROFS_XATTR_ID_BYTES)
		return 0;
	nr = (uint32_t)min_u64(x->nr, (room - EROFS_XATTRS_BYTES) / EROFS_XATTR_ID_BYTES);
	memset(out, 0, EROFS_XATTRS_BYTES);
	out[4] = (uint8_t)nr; /* h_shared_count */
	for (uint32_t i = 0; i < nr; i++)
		put_le32(out + EROFS_XATTRS_BYTES + (size_t)i * EROFS_XATTR_ID_BYTES,
			 first_id + x->offsets[i]);
	return EROFS_XATTRS_BYTES + nr * EROFS_XATTR_ID_BYTES;
}

/* ---- inodes ---- */

static bool chunks_are_good(const struct tree_attr *a)
{
	if (!a->chunk_bits)
		return true;
	return S_ISREG(a->mode) && a->chunk_bits >= EROFS_BLOCK_BITS && a->chunk_bits <= MAX_CHUNK_BITS &&
	       a->size_bytes && (a->size_bytes - 1) >> a->chunk_bits < TREE_MAX_CHUNKS;
}

bool erofs_attr_is_good(const struct tree_attr *a)
{
	switch (a->mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		break;
	default:
		return false;
	}
	return !(a->mode >> 16) && a->mtime_nsec < 1000000000u && a->size_bytes <= INT64_MAX &&
	       a->major < 1u << 12 && a->minor < 1u << 20 && chunks_are_good(a);
}

/* A device's number as the kernel stores it: 12 bits of major and 20 of minor, interleaved. */
static uint32_t encode_device(const struct tree_attr *a)
{
	return (a->minor & 0xff) | a->major << 8 | (a->minor & ~0xffu) << 12;
}

/* i_u: where data are, or what is there instead. */
static uint32_t inode_union(const struct erofs_inode *inode)
{
	uint32_t mode = inode->attr.mode;

	if (S_ISCHR(mode) || S_ISBLK(mode))
		return encode_device(&inode->attr);
	if (inode->layout == EROFS_CHUNKS)
		return inode->attr.chunk_bits - EROFS_BLOCK_BITS; /* entries of 4 bytes */
	return inode->block;
}

static uint32_t behind_bytes(const struct erofs_inode *inode)
{
	if (inode->layout == EROFS_CHUNKS)
		return inode->nr_chunks * (uint32_t)sizeof(*inode->chunks);
	return inode->layout == EROFS_TAIL ? inode->tail_bytes : 0;
}

static bool inode_fits(const struct erofs_inode *inode, size_t slot_bytes)
{
	return inode->tail_bytes < EROFS_BLOCK_BYTES && inode->nr_chunks <= TREE_MAX_CHUNKS &&
	       inode->xattr_bytes <= slot_bytes && !(inode->xattr_bytes % 4) &&
	       EROFS_INODE_BYTES + inode->xattr_bytes + behind_bytes(inode) <= slot_bytes;
}

bool erofs_put_inode(uint8_t *slot, size_t slot_bytes, const struct erofs_inode *inode)
{
	const struct tree_attr *a = &inode->attr;
	uint32_t xattrs = inode->xattr_bytes, behind = behind_bytes(inode);

	if (!erofs_attr_is_good(a) || !inode_fits(inode, slot_bytes))
		return false;
	memset(slot, 0, EROFS_INODE_BYTES);
	put_le16(slot, (uint16_t)(EXTENDED | (uint32_t)inode->layout << 1));
	put_le16(slot + 2, xattrs ? (uint16_t)((xattrs - EROFS_XATTRS_BYTES) / 4 + 1) : 0);
	put_le16(slot + 4, (uint16_t)a->mode);
	put_le64(slot + 8, a->size_bytes);
	put_le32(slot + 16, inode_union(inode));
	put_le32(slot + 20, (uint32_t)inode->nid);
	put_le32(slot + 24, a->uid);
	put_le32(slot + 28, a->gid);
	put_le64(slot + 32, (uint64_t)a->mtime_sec);
	put_le32(slot + 40, a->mtime_nsec);
	put_le32(slot + 44, a->nlink);
	if (behind)
		memcpy(slot + EROFS_INODE_BYTES + xattrs,
		       inode->layout == EROFS_CHUNKS ? (const void *)inode->chunks : inode->tail, behind);
	return true;
}

/* ---- directories ---- */

int erofs_compare_names(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
	int rc = memcmp(a, b, min_u64(a_bytes, b_bytes));

	return rc ? rc : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static uint8_t file_type(unsigned int type)
{
	switch (type) {
	case DT_REG:
		return 1;
	case DT_DIR:
		return 2;
	case DT_CHR:
		return 3;
	case DT_BLK:
		return 4;
	case DT_FIFO:
		return 5;
	case DT_SOCK:
		return 6;
	case DT_LNK:
		return 7;
	default:
		return 0;
	}
}

bool erofs_add_dirent(struct erofs_dirents *d, uint64_t nid, unsigned int type, const void *name,
		      size_t bytes)
{
	if (bytes > TREE_MAX_NAME_BYTES || d->nr == EROFS_MAX_DIRENTS ||
	    (d->nr + 1) * DIRENT_BYTES + d->name_bytes + bytes > EROFS_BLOCK_BYTES)
		return false;
	d->entries[d->nr].nid = nid;
	d->entries[d->nr].type = file_type(type);
	d->entries[d->nr++].name_bytes = (uint8_t)bytes;
	memcpy(d->names + d->name_bytes, name, bytes);
	d->name_bytes += (uint32_t)bytes;
	return true;
}

uint32_t erofs_put_dirents(struct erofs_dirents *d, uint8_t block[EROFS_BLOCK_BYTES])
{
	uint32_t name = d->nr * DIRENT_BYTES, used = name + d->name_bytes;

	memset(block, 0, EROFS_BLOCK_BYTES);
	memcpy(block + name, d->names, d->name_bytes);
	for (uint32_t i = 0; i < d->nr; i++) {
		uint8_t *e = block + (size_t)i * DIRENT_BYTES;

		put_le64(e, d->entries[i].nid);
		put_le16(e + 8, (uint16_t)name);
		e[10] = d->entries[i].type;
		name += d->entries[i].name_bytes;
	}
	d->nr = d->name_bytes = 0;
	return used;
}

/* ---- reading ---- */

bool erofs_get_dir(const uint8_t *slot, size_t slot_bytes, struct erofs_dir_inode *dir)
{
	const unsigned int layout = get_le16(slot) >> 1, xattr_count = get_le16(slot + 2);
	const size_t tail = EROFS_INODE_BYTES + (xattr_count ? EROFS_XATTRS_BYTES + 4 * (size_t)(xattr_count - 1) : 0);
	const uint64_t bytes = get_le64(slot + 8);

	if (!(get_le16(slot) & EXTENDED) || !S_ISDIR(get_le16(slot + 4)) ||
	    (layout != EROFS_TAIL && layout != EROFS_FLAT))
		return false;
	*dir = (struct erofs_dir_inode){ .bytes = bytes, .block = get_le32(slot + 16) };
	if (layout == EROFS_FLAT || !(bytes % EROFS_BLOCK_BYTES))
		return true;
	dir->tail = slot + tail;
	return range_within(tail, bytes % EROFS_BLOCK_BYTES, slot_bytes);
}

/* Where the name of the entry at @at begins; @bytes if there is no such entry. */
static uint32_t name_at(const uint8_t *block, uint32_t bytes, uint32_t at)
{
	const uint32_t end = bytes < DIRENT_BYTES ? 0 : get_le16(block + 8); /* of all entries */

	return at + DIRENT_BYTES <= end && end <= bytes ? (uint32_t)get_le16(block + at + 8) : bytes;
}

bool erofs_next_name(const uint8_t *block, uint32_t bytes, struct erofs_name *name)
{
	const uint32_t at = name->at, from = name_at(block, bytes, at);
	const uint32_t until = name_at(block, bytes, at + DIRENT_BYTES);

	if (from >= until || until > bytes)
		return false;
	name->nid = get_le64(block + at);
	name->text = (const char *)block + from;
	name->bytes = strnlen(name->text, until - from);
	name->at = at + DIRENT_BYTES;
	return true;
}

/* ---- superblock ---- */

void erofs_put_super(uint8_t block[EROFS_BLOCK_BYTES], uint16_t root_nid, uint32_t xattr_block)
{
	uint8_t *s = block + SUPER_OFFSET;

	memset(block, 0, EROFS_BLOCK_BYTES);
	put_le32(s, SUPER_MAGIC);
	s[12] = EROFS_BLOCK_BITS;
	put_le16(s + 14, root_nid);
	put_le64(s + 16, 1);	       /* inodes: nobody knows yet */
	put_le32(s + 36, 0xffffffffu); /* blocks: as many as there can be */
	put_le32(s + 40, 0);	       /* inode n is at byte 32 * n of the disk itself */
	put_le32(s + 44, xattr_block);
	put_le32(s + 80, FEATURE_CHUNKS);
}
