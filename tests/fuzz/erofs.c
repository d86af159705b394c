// SPDX-License-Identifier: GPL-2.0-only
/*
 * The layout of EROFS from hostile attributes and names: nothing is written beside the place that is
 * there, and what was put is what a reader of its own finds.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/lib/erofs-view.h"

#include "disk/erofs.h"
#include "util.h"

#define SLOT_AT EROFS_BLOCK_BYTES /* inode 128 */
#define CANARY	0x5a

static uint8_t disk[4 * EROFS_BLOCK_BYTES + TREE_MAX_XATTR_BYTES + 4 * EROFS_MAX_XATTRS];

static bool read_memory(void *arg, uint64_t offset, void *buf, size_t bytes)
{
	(void)arg;
	if (!range_within(offset, bytes, sizeof(disk)))
		return false;
	memcpy(buf, disk + offset, bytes);
	return true;
}

static const struct view view = { .read = read_memory, .xattrs = 4 * EROFS_BLOCK_BYTES };

static void must_be_untouched(size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		must(disk[i] == CANARY);
}

static bool count(void *arg, const char *name, const void *value, size_t n)
{
	(void)name;
	(void)value;
	(void)n;
	++*(unsigned int *)arg;
	return true;
}

static struct tree_attr take_attr(struct input *in)
{
	struct tree_attr a = {
		.mode = (uint32_t)take(in, 3),
		.nlink = (uint32_t)take(in, 4),
		.uid = (uint32_t)take(in, 4),
		.gid = (uint32_t)take(in, 4),
		.major = (uint32_t)take(in, 2),
		.minor = (uint32_t)take(in, 3),
		.mtime_nsec = (uint32_t)take(in, 4),
		.mtime_sec = (int64_t)take(in, 8),
		.size_bytes = take_scaled(in),
		.chunk_bits = (uint32_t)take(in, 1) % 40,
	};

	return a;
}

static void check_inode(const struct erofs_inode *inode, const struct erofs_xattrs *x, bool is_shared)
{
	const struct tree_attr *a = &inode->attr;
	struct view_inode i = { 0 };
	unsigned int nr = 0;

	must(erofs_attr_is_good(a) && view_inode(&view, 128, &i));
	must(i.mode == a->mode && i.size == a->size_bytes && i.uid == a->uid && i.gid == a->gid &&
	     i.nlink == a->nlink && i.mtime == (uint64_t)a->mtime_sec && i.mtime_nsec == a->mtime_nsec &&
	     i.layout == (uint32_t)inode->layout && i.xattr_bytes == inode->xattr_bytes);
	must(view_xattrs(&view, &i, count, &nr));
	must(!inode->xattr_bytes || is_shared ? nr <= x->nr : nr == x->nr);
}

static void put_inode(struct input *in)
{
	static const size_t slots[] = { 64, 128, 1024, 4096 };
	static struct erofs_xattrs x;
	uint8_t tail[EROFS_BLOCK_BYTES] = { 0 };
	uint32_t chunks[TREE_MAX_CHUNKS] = { 0 };
	struct erofs_inode inode = { .nid = 128, .attr = take_attr(in), .tail = tail, .chunks = chunks };
	size_t slot = slots[take(in, 1) % 4];
	bool is_shared = take(in, 1) & 1;

	inode.layout = (enum erofs_layout)(take(in, 1) % 3 * 2);
	inode.tail_bytes = (uint32_t)take(in, 2);
	inode.nr_chunks = (uint32_t)take(in, 1);
	inode.block = (uint32_t)take(in, 4);
	erofs_pack_xattrs(&x, in->data, min_u64(in->left, TREE_MAX_XATTR_BYTES));
	memset(disk, CANARY, sizeof(disk));
	memcpy(disk + 4 * EROFS_BLOCK_BYTES, x.data, x.bytes);
	if (is_shared)
		inode.xattr_bytes = erofs_put_xattr_ids(disk + SLOT_AT + 64, (uint32_t)slot - 64, &x, 0);
	else
		inode.xattr_bytes = erofs_put_xattrs(disk + SLOT_AT + 64, (uint32_t)slot - 64, &x);
	if (erofs_put_inode(disk + SLOT_AT, slot, &inode))
		check_inode(&inode, &x, is_shared);
	must_be_untouched(0, SLOT_AT);
	must_be_untouched(SLOT_AT + slot, 4 * EROFS_BLOCK_BYTES);
}

static bool count_name(void *arg, const char *name, uint64_t nid, unsigned int type)
{
	must(tree_name_is_good(name, strlen(name)) && nid == 7 && type <= 7);
	++*(unsigned int *)arg;
	return true;
}

/* Names as they come, if they are in order. */
static void put_names(struct input *in)
{
	static struct erofs_dirents d;
	uint8_t last[256] = { 0 };
	const char *before = "";
	size_t before_bytes = 0;
	unsigned int added = 0, seen = 0;
	uint32_t bytes;

	while (in->left) {
		size_t n = take_length(in);
		const char *name = (const char *)in->data;

		in->data += n;
		in->left -= n;
		if (!tree_name_is_good(name, n) || erofs_compare_names(before, before_bytes, name, n) >= 0)
			continue;
		if (!erofs_add_dirent(&d, 7, (unsigned int)n % 16, name, n))
			break;
		before = name;
		before_bytes = n;
		added++;
	}
	memset(disk, CANARY, sizeof(disk));
	bytes = erofs_put_dirents(&d, disk + SLOT_AT);
	must(bytes <= EROFS_BLOCK_BYTES && (!added || view_block(disk + SLOT_AT, bytes, last, count_name, &seen)));
	must(seen == added);
	must_be_untouched(0, SLOT_AT);
	must_be_untouched(SLOT_AT + EROFS_BLOCK_BYTES, sizeof(disk));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = { data, bytes };

	if (take(&in, 1) & 1)
		put_names(&in);
	else
		put_inode(&in);
	return 0;
}
