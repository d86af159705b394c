// SPDX-License-Identifier: GPL-2.0-only
/*
 * The layout of EROFS: what is put is read back by a reader of its own, and what cannot be put is
 * refused.
 */
#include "tests/lib/unit.h"
#include "tests/lib/erofs-view.h"

#include <dirent.h>

#include "disk/erofs.h"
#include "util.h"

#define SLOT 128u

static uint8_t disk[16 * EROFS_BLOCK_BYTES];

static bool read_memory(void *arg, uint64_t offset, void *buf, size_t bytes)
{
	(void)arg;
	if (!range_within(offset, bytes, sizeof(disk)))
		return false;
	memcpy(buf, disk + offset, bytes);
	return true;
}

static const struct view view = { .read = read_memory, .xattrs = 8 * EROFS_BLOCK_BYTES };

static struct tree_attr file_attr(void)
{
	return (struct tree_attr){
		.mode = S_IFREG | 06755,
		.nlink = 3,
		.uid = 4000000000u,
		.gid = 70000,
		.mtime_sec = -5,
		.mtime_nsec = 999999999,
		.size_bytes = 12345,
	};
}

static void a_superblock_says_what_there_is(void **state)
{
	struct view v = view;

	(void)state;
	erofs_put_super(disk, 38400, 8);
	assert_true(view_open(&v));
	assert_int_equal(v.root, 38400);
	assert_int_equal(v.xattrs, 8 * EROFS_BLOCK_BYTES);
	for (unsigned int i = 0; i < 1024; i++)
		assert_int_equal(disk[i], 0);
}

static void an_inode_has_all_attributes(void **state)
{
	struct erofs_inode inode = { .nid = 128, .attr = file_attr(), .block = 0xfffffff0 };
	struct view_inode i = { 0 };

	(void)state;
	assert_true(erofs_put_inode(disk + 128 * EROFS_NID_BYTES, SLOT, &inode));
	assert_true(view_inode(&view, 128, &i));
	assert_int_equal(i.mode, S_IFREG | 06755);
	assert_int_equal(i.nlink, 3);
	assert_int_equal(i.uid, 4000000000u);
	assert_int_equal(i.gid, 70000);
	assert_int_equal((int64_t)i.mtime, -5);
	assert_int_equal(i.mtime_nsec, 999999999);
	assert_int_equal(i.size, 12345);
	assert_int_equal(i.u, 0xfffffff0);
	assert_int_equal(i.layout, 0);
	assert_int_equal(i.xattr_bytes, 0);
}

static void a_device_has_its_number(void **state)
{
	struct erofs_inode inode = { .nid = 128, .attr = { .mode = S_IFBLK, .major = 0xabc, .minor = 0xfedcb } };
	struct view_inode i = { 0 };

	(void)state;
	assert_true(erofs_put_inode(disk + 128 * EROFS_NID_BYTES, SLOT, &inode));
	assert_true(view_inode(&view, 128, &i));
	assert_int_equal(i.u, 0xfedabccb);
}

static void what_cannot_be_an_inode_is_refused(void **state)
{
	static const struct tree_attr bad[] = {
		{ .mode = 0 },
		{ .mode = S_IFMT },
		{ .mode = S_IFREG | 1 << 16 },
		{ .mode = S_IFREG, .mtime_nsec = 1000000000 },
		{ .mode = S_IFREG, .size_bytes = 1ull << 63 },
		{ .mode = S_IFCHR, .major = 4096 },
		{ .mode = S_IFCHR, .minor = 1u << 20 },
		{ .mode = S_IFREG, .size_bytes = 4096, .chunk_bits = 11 },
		{ .mode = S_IFREG, .size_bytes = 4096, .chunk_bits = 32 },
		{ .mode = S_IFREG, .size_bytes = 0, .chunk_bits = 12 },
		{ .mode = S_IFREG, .size_bytes = 65537, .chunk_bits = 12 },
		{ .mode = S_IFDIR, .size_bytes = 4096, .chunk_bits = 12 },
	};
	static const uint8_t tail[EROFS_BLOCK_BYTES] = { 1 };
	struct erofs_inode inode;
	uint8_t slot[SLOT + 1];

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		inode = (struct erofs_inode){ .attr = bad[i] };
		assert_false(erofs_attr_is_good(&bad[i]));
		assert_false(erofs_put_inode(slot, SLOT, &inode));
	}
	memset(slot, 0xa5, sizeof(slot));
	inode = (struct erofs_inode){ .attr = file_attr(), .layout = EROFS_TAIL, .tail = tail, .tail_bytes = 65 };
	assert_false(erofs_put_inode(slot, SLOT, &inode));
	inode.tail_bytes = 64;
	inode.xattr_bytes = 4;
	assert_false(erofs_put_inode(slot, SLOT, &inode));
	inode.xattr_bytes = 0;
	assert_int_equal(slot[0], 0xa5);
	assert_true(erofs_put_inode(slot, SLOT, &inode));
	assert_int_equal(slot[SLOT], 0xa5);
}

static void chunks_have_holes(void **state)
{
	static const uint32_t chunks[] = { 3, EROFS_HOLE, 5 };
	struct erofs_inode inode = {
		.nid = 128,
		.attr = { .mode = S_IFREG, .size_bytes = 20000, .chunk_bits = 13, .data_chunks = 5 },
		.layout = EROFS_CHUNKS,
		.chunks = chunks,
		.nr_chunks = 3,
	};
	struct view_inode i = { 0 };
	uint8_t data[20000];

	(void)state;
	memset(disk + 3 * EROFS_BLOCK_BYTES, 'a', 8192);
	memset(disk + 5 * EROFS_BLOCK_BYTES, 'b', 8192);
	assert_true(erofs_put_inode(disk + 128 * EROFS_NID_BYTES, SLOT, &inode));
	assert_true(view_inode(&view, 128, &i));
	assert_true(view_read(&view, &i, 0, data, sizeof(data)));
	assert_true(data[8191] == 'a' && data[8192] == 0 && data[16383] == 0 && data[16384] == 'b');
}

/* ---- extended attributes ---- */

struct list {
	uint8_t data[TREE_MAX_XATTR_BYTES];
	size_t bytes;
};

static void add_xattr(struct list *l, const char *name, const void *value, size_t n)
{
	const struct tree_xattr head = { .name_bytes = (uint8_t)strlen(name), .value_bytes = (uint16_t)n };

	memcpy(l->data + l->bytes, &head, sizeof(head));
	memcpy(l->data + l->bytes + sizeof(head), name, strlen(name));
	memcpy(l->data + l->bytes + sizeof(head) + strlen(name), value, n);
	l->bytes += sizeof(head) + strlen(name) + n;
}

struct seen {
	unsigned int nr;
	char names[4][64];
	char values[4][64];
};

static bool see_xattr(void *arg, const char *name, const void *value, size_t n)
{
	struct seen *s = arg;

	snprintf(s->names[s->nr % 4], 64, "%s", name);
	snprintf(s->values[s->nr++ % 4], 64, "%.*s", (int)n, (const char *)value);
	return true;
}

static void attributes_are_inside_or_shared(void **state)
{
	static struct list l;
	static struct erofs_xattrs x;
	struct erofs_inode inode = { .nid = 128, .attr = file_attr() };
	uint8_t *slot = disk + 128 * EROFS_NID_BYTES;
	struct view_inode i = { 0 };
	struct seen s = { 0 };

	(void)state;
	add_xattr(&l, "user.a", "value", 5);
	add_xattr(&l, "nobody.knows", "x", 1);
	add_xattr(&l, "user.", "", 0);
	add_xattr(&l, "system.posix_acl_access", "acl", 3);
	add_xattr(&l, "system.posix_acl_accessory", "", 0);
	add_xattr(&l, "security.capability", "", 0);
	erofs_pack_xattrs(&x, l.data, l.bytes);
	assert_true(x.nr == 3 && x.left_out == 3);
	assert_int_equal(erofs_put_xattrs(slot + EROFS_INODE_BYTES, 12 + x.bytes - 1, &x), 0);
	inode.xattr_bytes = erofs_put_xattrs(slot + EROFS_INODE_BYTES, 64, &x);
	assert_int_equal(inode.xattr_bytes, 12 + x.bytes);
	assert_true(erofs_put_inode(slot, SLOT, &inode) && view_inode(&view, 128, &i));
	assert_true(view_xattrs(&view, &i, see_xattr, &s));
	assert_int_equal(s.nr, 3);
	assert_string_equal(s.names[0], "user.a");
	assert_string_equal(s.values[0], "value");
	assert_string_equal(s.names[1], "system.posix_acl_access");
	assert_string_equal(s.names[2], "security.capability");

	memcpy(disk + 9 * EROFS_BLOCK_BYTES, x.data, x.bytes);
	inode.xattr_bytes = erofs_put_xattr_ids(slot + EROFS_INODE_BYTES, 24, &x, 1024);
	assert_int_equal(inode.xattr_bytes, 24);
	assert_true(erofs_put_inode(slot, SLOT, &inode) && view_inode(&view, 128, &i));
	s.nr = 0;
	assert_true(view_xattrs(&view, &i, see_xattr, &s));
	assert_int_equal(s.nr, 3);
	assert_string_equal(s.values[1], "acl");
	assert_int_equal(erofs_put_xattr_ids(slot + EROFS_INODE_BYTES, 15, &x, 1024), 0);
}

static void a_malformed_list_ends_where_it_is(void **state)
{
	static struct list l;
	static struct erofs_xattrs x;

	(void)state;
	add_xattr(&l, "user.a", "value", 5);
	for (size_t n = 1; n < l.bytes; n++) {
		erofs_pack_xattrs(&x, l.data, n);
		assert_true(!x.nr && x.left_out == 1 && !x.bytes);
		assert_int_equal(erofs_put_xattrs(disk, 64, &x), 0);
	}
	l.bytes = 0;
	for (unsigned int i = 0; i < 300; i++)
		add_xattr(&l, "user.many", &i, sizeof(i));
	erofs_pack_xattrs(&x, l.data, l.bytes);
	assert_true(x.nr == EROFS_MAX_XATTRS && x.left_out == 300 - EROFS_MAX_XATTRS);
}

/* ---- directories ---- */

static void a_block_takes_what_fits(void **state)
{
	static struct erofs_dirents d;
	static uint8_t block[EROFS_BLOCK_BYTES];
	char name[TREE_MAX_NAME_BYTES + 1];
	unsigned int n = 0;
	uint32_t bytes;

	(void)state;
	memset(name, 'n', sizeof(name));
	assert_false(erofs_add_dirent(&d, 1, DT_REG, name, sizeof(name)));
	while (erofs_add_dirent(&d, n, DT_REG, "x", 1))
		n++;
	assert_int_equal(n, EROFS_MAX_DIRENTS);
	assert_int_equal(erofs_put_dirents(&d, block), 13 * n);
	for (n = 0; erofs_add_dirent(&d, 1ull << 40, DT_SOCK, name, TREE_MAX_NAME_BYTES); n++)
		;
	assert_int_equal(n, EROFS_BLOCK_BYTES / EROFS_MAX_DIRENT_BYTES);
	bytes = erofs_put_dirents(&d, block);
	assert_int_equal(bytes, n * EROFS_MAX_DIRENT_BYTES);
	assert_int_equal(view_le(block, 8), 1ull << 40);
	assert_int_equal(view_le(block + 8, 2), n * 12);
	assert_int_equal(block[10], 6);
	for (; bytes < EROFS_BLOCK_BYTES; bytes++)
		assert_int_equal(block[bytes], 0);
	assert_int_equal(d.nr, 0);
}

static void names_are_in_the_order_of_their_bytes(void **state)
{
	(void)state;
	assert_true(erofs_compare_names("a", 1, "b", 1) < 0);
	assert_true(erofs_compare_names("a", 1, "\xff", 1) < 0);
	assert_true(erofs_compare_names("ab", 2, "a", 1) > 0);
	assert_true(erofs_compare_names("a", 1, "a", 1) == 0);
	assert_true(erofs_compare_names("-", 1, "..", 2) < 0 && erofs_compare_names("..", 2, "0", 1) < 0);
	assert_false(tree_name_is_good("", 0));
	assert_false(tree_name_is_good(".", 1));
	assert_false(tree_name_is_good("..", 2));
	assert_true(tree_name_is_good("...", 3));
	assert_false(tree_name_is_good("a/b", 3));
	assert_false(tree_name_is_good("a\0b", 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_superblock_says_what_there_is),
		cmocka_unit_test(an_inode_has_all_attributes),
		cmocka_unit_test(a_device_has_its_number),
		cmocka_unit_test(what_cannot_be_an_inode_is_refused),
		cmocka_unit_test(chunks_have_holes),
		cmocka_unit_test(attributes_are_inside_or_shared),
		cmocka_unit_test(a_malformed_list_ends_where_it_is),
		cmocka_unit_test(a_block_takes_what_fits),
		cmocka_unit_test(names_are_in_the_order_of_their_bytes),
	};

	return cmocka_run_group_tests_name("erofs", tests, NULL, NULL);
}
