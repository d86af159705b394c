// SPDX-License-Identifier: GPL-2.0-only
/*
 * Archives that Debian's tar writes in each of its formats are read as what was packed; those that nobody
 * wrote in good faith are refused by what is wrong with them.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "disk/tar.h"
#include "tests/lib/tar.h"
#include "tests/lib/unit.h"
#include "util.h"

#define LONG "a-name-of-more-than-a-hundred-bytes-0123456789-0123456789-0123456789-0123456789-0123456789-" \
	     "0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789"

static char dir[64];

static int setup(void **state)
{
	static const char make[] =
		"L=" LONG " && mkdir t && cd t && mkdir -m 1750 sub sub/empty && printf hello >sub/file && chmod 4711 sub/file &&"
		"ln sub/file hard && ln -s sub/file soft && mkfifo -m 640 fifo && : >nothing &&"
		"head -c 5000 /dev/urandom >plain && touch -d '1965-01-02 03:04:05.25 UTC' nothing &&"
		"touch -d '2020-01-02 03:04:05.123456789 UTC' plain &&"
		"printf '\\303\\244 b' >\"$(printf 'odd \\n\\001 name')\" &&"
		"truncate -s 3M sparse && printf x | dd of=sparse bs=1 seek=1M conv=notrunc status=none &&"
		"truncate -s 40G long-sparse && for i in 1 5 9 13 17 21 25 29 33 37; do"
		" head -c 4096 /dev/urandom | dd of=long-sparse bs=4k seek=$((i * 200000)) conv=notrunc status=none; done &&"
		"echo y >$L && ln -s /$L/$L long-link && ln $L long-hard &&"
		"mkdir -p long-dir/$L/$L && echo z >long-dir/$L/$L/file";
	char command[1600], out[2048];

	(void)state;
	strcpy(dir, "/tmp/lkvm-tar-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(command, sizeof(command), "cd %s && %s", dir, make);
	return run_tool(command, out, sizeof(out)) ? (fputs(out, stderr), -1) : 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static int tool(const char *what)
{
	char command[1024], out[4096];
	int status;

	snprintf(command, sizeof(command), "cd %s && %s", dir, what);
	status = run_tool(command, out, sizeof(out));
	if (status)
		fprintf(stderr, "%s\n%s", what, out);
	return status;
}

/* ---- what was packed ---- */

/* What @fd has stored of an entry is the file's contents; the rest of that is zero. */
static void compare_data(int fd, const struct tar_entry *e, const char *path)
{
	const struct tar_piece whole = { 0, e->stored_bytes };
	const struct tar_piece *p = e->is_sparse ? e->pieces : &whole;
	unsigned int nr = e->is_sparse ? e->nr_pieces : 1;
	int file = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t at = e->data_offset, end = 0;
	static uint8_t a[65536], b[65536];

	assert_true(file >= 0);
	for (unsigned int i = 0; i < nr; i++) {
		off_t data = lseek(file, (off_t)end, SEEK_DATA);

		assert_true(data < 0 || (uint64_t)data >= p[i].offset || !p[i].bytes);
		end = p[i].offset + p[i].bytes;
		for (uint64_t done = 0, n; done < p[i].bytes; done += n) {
			n = min_u64(p[i].bytes - done, sizeof(a));
			assert_int_equal(pread_all(file, a, n, p[i].offset + done), 0);
			assert_int_equal(pread_all(fd, b, n, at), 0);
			assert_memory_equal(a, b, n);
			at += n;
		}
	}
	assert_int_equal(at, e->data_offset + e->stored_bytes);
	close(file);
}

static enum tar_type type_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return TAR_FILE;
	case S_IFLNK:
		return TAR_SYMLINK;
	case S_IFIFO:
		return TAR_FIFO;
	case S_IFCHR:
		return TAR_CHAR_DEVICE;
	case S_IFBLK:
		return TAR_BLOCK_DEVICE;
	default:
		return TAR_DIR;
	}
}

static void compare_entry(int fd, const struct tar_entry *e, bool has_ns)
{
	char path[2 * TAR_NAME_MAX], link[TAR_NAME_MAX];
	struct stat st, other;

	snprintf(path, sizeof(path), "%s/t/%s", dir, e->path);
	assert_int_equal(lstat(path, &st), 0);
	if (e->type == TAR_HARD_LINK) {
		snprintf(path, sizeof(path), "%s/t/%s", dir, e->link);
		assert_int_equal(lstat(path, &other), 0);
		assert_int_equal(other.st_ino, st.st_ino);
		return;
	}
	assert_int_equal(e->type, type_of(st.st_mode));
	assert_int_equal(e->mode, st.st_mode & 07777);
	assert_int_equal(e->uid, st.st_uid);
	assert_int_equal(e->gid, st.st_gid);
	assert_int_equal(e->mtime_s, st.st_mtim.tv_sec);
	if (has_ns)
		assert_int_equal(e->mtime_ns, st.st_mtim.tv_nsec);
	if (e->type == TAR_FILE) {
		assert_int_equal(e->size_bytes, st.st_size);
		compare_data(fd, e, path);
	}
	if (e->type == TAR_SYMLINK) {
		ssize_t n = readlink(path, link, sizeof(link));

		assert_int_equal(n, strlen(e->link));
		assert_memory_equal(link, e->link, (size_t)n);
	}
}

/* Parses t.tar, whose entries are all that is below t/. Returns how many. */
static unsigned int compare_archive(bool has_ns, bool feed_data)
{
	enum tar_step step = TAR_MORE;
	uint8_t block[TAR_BLOCK_BYTES];
	unsigned int nr = 0;
	char path[128];
	struct tar *t;
	int fd;

	snprintf(path, sizeof(path), "%s/t.tar", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(tar_create(&t), 0);
	while (step != TAR_END) {
		assert_int_equal(pread_all(fd, block, sizeof(block), tar_offset(t)), 0);
		step = tar_feed(t, block);
		if (step == TAR_BAD)
			fprintf(stderr, "at %llu: %s\n", (unsigned long long)tar_offset(t), tar_error(t));
		assert_int_not_equal(step, TAR_BAD);
		if (step != TAR_ENTRY)
			continue;
		nr++;
		assert_int_equal(tar_entry(t)->data_offset, tar_offset(t));
		compare_entry(fd, tar_entry(t), has_ns);
		if (!feed_data)
			tar_skip(t, (tar_data_left(t) + 511) / 512);
	}
	assert_null(tar_cannot_end(t));
	tar_destroy(t);
	close(fd);
	return nr;
}

static unsigned int count(const char *find)
{
	char command[256], out[64];

	snprintf(command, sizeof(command), "cd %s/t && find . %s -printf x | wc -c", dir, find);
	assert_int_equal(run_tool(command, out, sizeof(out)), 0);
	return (unsigned int)atoi(out);
}

static void every_format_is_read(void **state)
{
	static const struct {
		const char *options;
		bool has_ns, has_long;
	} formats[] = {
		{ "--format=v7 --exclude=fifo", false, false },
		{ "--format=ustar", false, false },
		{ "--format=gnu", false, true },
		{ "--format=oldgnu", false, true },
		{ "--format=gnu --sparse", false, true },
		{ "--format=oldgnu --sparse", false, true },
		{ "--format=pax", true, true },
		{ "--format=pax --sparse --sparse-version=0.0", true, true },
		{ "--format=pax --sparse --sparse-version=0.1", true, true },
		{ "--format=pax --sparse --sparse-version=1.0", true, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		bool is_v7 = !i, packs_holes = strstr(formats[i].options, "--sparse");
		char command[256];
		unsigned int expected;

		snprintf(command, sizeof(command),
			 "tar -C t -cf t.tar %s %s %s %s .", formats[i].options,
			 formats[i].has_long ? "" : "--exclude='*long*' --exclude='a-name*' --exclude=nothing",
			 packs_holes ? "" : "--exclude=long-sparse", is_v7 ? "" : "--no-same-owner");
		assert_int_equal(tool(command), 0);
		expected = count(is_v7		      ? "! -name fifo ! -path '*long*' ! -name 'a-name*' ! -name nothing" :
				 !formats[i].has_long ? "! -path '*long*' ! -name 'a-name*' ! -name nothing" :
				 packs_holes	      ? "" :
							"! -name long-sparse");
		assert_int_equal(compare_archive(formats[i].has_ns, i % 2), expected);
	}
}

/* With one block, of which the first ends. */
static void ends_are_told(void **state)
{
	uint8_t block[512] = { 0 };
	struct tar *t;

	(void)state;
	assert_int_equal(tar_create(&t), 0);
	assert_string_equal(tar_cannot_end(t), "it is empty");
	assert_int_equal(tar_feed(t, block), TAR_END);
	assert_null(tar_cannot_end(t));
	tar_destroy(t);
	assert_string_equal(tar_unpacker("\x28\xb5\x2f\xfd"), "zstd");
	assert_string_equal(tar_unpacker("\x1f\x8b\x08\x00\x00\x00"), "gzip");
	assert_null(tar_unpacker(block));
}

static void attributes_are_read(void **state)
{
	enum tar_step step = TAR_MORE;
	uint8_t block[TAR_BLOCK_BYTES];
	struct tar_xattr x = { 0 };
	char path[128];
	struct tar *t;
	size_t at = 0;
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/t/plain", dir);
	if (setxattr(path, "user.one", "a\0b\n", 4, 0))
		skip();
	assert_int_equal(setxattr(path, "user.two", "", 0, 0), 0);
	assert_int_equal(tool("tar -C t -cf t.tar --xattrs plain"), 0);
	snprintf(path, sizeof(path), "%s/t.tar", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(tar_create(&t), 0);
	while (step == TAR_MORE) {
		assert_int_equal(pread_all(fd, block, sizeof(block), tar_offset(t)), 0);
		step = tar_feed(t, block);
	}
	assert_int_equal(step, TAR_ENTRY);
	assert_true(tar_next_xattr(tar_entry(t), &at, &x));
	assert_string_equal(x.name, "user.one");
	assert_int_equal(x.value_bytes, 4);
	assert_memory_equal(x.value, "a\0b\n", 4);
	assert_true(tar_next_xattr(tar_entry(t), &at, &x));
	assert_string_equal(x.name, "user.two");
	assert_int_equal(x.value_bytes, 0);
	assert_false(tar_next_xattr(tar_entry(t), &at, &x));
	tar_destroy(t);
	close(fd);
}

/* ---- archives made by hand ---- */

/* A pax header with @text, then a header of @type; what the last block says. */
static enum tar_step feed_pax(struct tar *t, const char *text, size_t bytes, char type, uint64_t size)
{
	enum tar_step step;
	uint8_t block[512];

	tar_header(block, 'x', "pax", bytes);
	step = tar_feed(t, block);
	for (size_t at = 0; at < bytes && step == TAR_MORE; at += sizeof(block)) {
		memset(block, 0, sizeof(block));
		memcpy(block, text + at, min_u64(bytes - at, sizeof(block)));
		step = tar_feed(t, block);
	}
	if (step != TAR_MORE)
		return step;
	tar_header(block, type, "name", size);
	return tar_feed(t, block);
}

static void numbers_of_gnu_are_read(void **state)
{
	uint8_t block[512];
	struct tar *t;

	(void)state;
	assert_int_equal(tar_create(&t), 0);
	tar_header(block, '0', "big", 0);
	memcpy(block + 124, "\x80\0\0\0\0\0\0\x20\0\0\0\0", 12); /* 128 GiB */
	memcpy(block + 136, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 12);
	memcpy(block + 108, "\x80\0\0\0\xff\xff\xff\xf0", 8);
	memcpy(block + 116, "\xff\xff\xff\xff\xff\xff\xff\xfe", 8);
	tar_seal(block);
	assert_int_equal(tar_feed(t, block), TAR_ENTRY);
	assert_int_equal(tar_entry(t)->size_bytes, GIB(128));
	assert_int_equal(tar_entry(t)->mtime_s, -2);
	assert_int_equal(tar_entry(t)->uid, 0xfffffff0u);
	assert_int_equal(tar_entry(t)->gid, 65534);
	tar_skip(t, GIB(128) / 512);
	assert_int_equal(tar_offset(t), GIB(128) + 512);
	assert_null(tar_cannot_end(t));
	tar_destroy(t);
}

static void what_pax_says_counts(void **state)
{
	static const char text[] = "13 path=a/b\n\n"
				   "22 mtime=-1.250000001\n"
				   "11 size=07\n"
				   "19 uid=99999999999\n";
	uint8_t block[512];
	struct tar *t;

	(void)state;
	assert_int_equal(tar_create(&t), 0);
	assert_int_equal(feed_pax(t, text, sizeof(text) - 1, '0', 3), TAR_ENTRY);
	assert_string_equal(tar_entry(t)->path, "a/b\n");
	assert_int_equal(tar_entry(t)->mtime_s, -2);
	assert_int_equal(tar_entry(t)->mtime_ns, 749999999);
	assert_int_equal(tar_entry(t)->size_bytes, 7);
	assert_int_equal(tar_entry(t)->uid, 65534);
	assert_int_equal(tar_data_left(t), 7);
	assert_non_null(tar_cannot_end(t));
	memset(block, 'x', sizeof(block));
	assert_int_equal(tar_feed(t, block), TAR_DATA);
	tar_header(block, '0', "next", 0); /* it has nothing of it */
	assert_int_equal(tar_feed(t, block), TAR_ENTRY);
	assert_string_equal(tar_entry(t)->path, "next");
	assert_int_equal(tar_entry(t)->mtime_s, 0);
	tar_destroy(t);
}

static void what_is_said_for_all_stays(void **state)
{
	uint8_t block[512];
	struct tar *t;

	(void)state;
	assert_int_equal(tar_create(&t), 0);
	tar_header(block, 'g', "pax", 19);
	assert_int_equal(tar_feed(t, block), TAR_MORE);
	memset(block, 0, sizeof(block));
	memcpy(block, "9 uid=42\n10 mtime=\n", 19);
	assert_int_equal(tar_feed(t, block), TAR_MORE);
	for (unsigned int i = 0; i < 2; i++) {
		tar_header(block, '0', "name", 0);
		assert_int_equal(tar_feed(t, block), TAR_ENTRY);
		assert_int_equal(tar_entry(t)->uid, 42);
	}
	assert_int_equal(feed_pax(t, "8 uid=1\n", 8, '0', 0), TAR_ENTRY);
	assert_int_equal(tar_entry(t)->uid, 1);
	tar_destroy(t);
}

static void what_is_wrong_is_said(void **state)
{
	static const struct {
		const char *text;
		uint64_t size;
		const char *why;
	} bad[] = {
		{ "9 path=a\0", 0, "an extended header that is damaged" },
		{ "99 path=a\n", 0, "an extended header that is damaged" },
		{ "0 path=a\n", 0, "an extended header that is damaged" },
		{ "8 nopath\n", 0, "an extended header that is damaged" },
		{ "99999999999999999999999 path=a\n", 0, "an extended header that is damaged" },
		{ "18446744073709551620 path=a\n", 0, "an extended header that is damaged" },
		{ "9 size=-1\n", 0, "an extended header that is damaged" },
		{ "11 size=-1\n", 0, "a size that is no number" },
		{ "28 size=9223372036854775807\n", 0, "a file that is too large" },
		{ "14 size=1e100\n", 0, "a size that is no number" },
		{ "12 mtime=1-\n", 0, "a time that is none" },
		{ "28 GNU.sparse.map=0,1,0,1,5\n", 2, "a list of pieces that is none" },
		{ "26 GNU.sparse.map=0,1,0,1\n21 GNU.sparse.size=9\n", 2,
		  "a sparse file whose pieces do not fit" },
		{ "26 GNU.sparse.map=0,1,9,1\n21 GNU.sparse.size=9\n", 2,
		  "a sparse file whose pieces do not fit" },
		{ "26 GNU.sparse.map=0,1,3,1\n21 GNU.sparse.size=9\n", 3,
		  "a sparse file whose pieces do not fit" },
		{ "25 GNU.sparse.numbytes=1\n", 1, "a piece of a sparse file without an offset" },
		{ "22 GNU.sparse.major=7\n", 1, "a sparse file of an unknown form" },
		{ "22 GNU.sparse.major=1\n", 1, "a list of pieces that does not end" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		enum tar_step step;
		uint8_t block[512] = { 0 };
		struct tar *t;

		assert_int_equal(tar_create(&t), 0);
		step = feed_pax(t, bad[i].text, strlen(bad[i].text), '0', bad[i].size);
		if (step == TAR_MORE)
			step = tar_feed(t, block);
		assert_int_equal(step, TAR_BAD);
		assert_string_equal(tar_error(t), bad[i].why);
		assert_int_equal(tar_feed(t, block), TAR_BAD);
		assert_string_equal(tar_cannot_end(t), bad[i].why);
		tar_destroy(t);
	}
}

static void bad_headers_are_refused(void **state)
{
	uint8_t block[512];
	struct tar *t;

	(void)state;
	for (unsigned int i = 0; i < 5; i++) {
		static const char *const why[] = {
			"its first block has no checksum of a header", "a header with a number that is none",
			"an extended header larger than 2 MiB", "an entry without a name", "a link to nothing"
		};

		assert_int_equal(tar_create(&t), 0);
		tar_header(block, i == 2 ? 'x' : i == 4 ? '2' :
							  '0',
			   i == 3 ? "" : "name", i == 2 ? MIB(3) : 0);
		if (!i)
			block[0] = 'N';
		if (i == 1) {
			memcpy(block + 124, "12x", 3);
			tar_seal(block);
		}
		assert_int_equal(tar_feed(t, block), TAR_BAD);
		assert_string_equal(tar_error(t), why[i]);
		tar_destroy(t);
	}
}

/* A name of 4096 bytes is one, of 4097 not; attributes have a bound as well. */
static void long_values_have_a_bound(void **state)
{
	static char text[70000];

	(void)state;
	for (unsigned int more = 0; more < 2; more++) {
		struct tar *t;
		int n = snprintf(text, sizeof(text), "%u path=", 4096 + more + 5 + 6);

		memset(text + n, 'n', 4096 + more);
		text[n + 4096 + (int)more] = '\n';
		assert_int_equal(tar_create(&t), 0);
		assert_int_equal(feed_pax(t, text, (size_t)n + 4097 + more, '0', 0), more ? TAR_BAD : TAR_ENTRY);
		tar_destroy(t);
	}
	for (unsigned int more = 0; more < 2; more++) {
		unsigned int room = TAR_XATTRS_MAX - 2 - 4 + more;
		struct tar *t;
		int n = snprintf(text, sizeof(text), "%u SCHILY.xattr.a=", room + 22);

		memset(text + n, 'v', room);
		text[(unsigned int)n + room] = '\n';
		assert_int_equal(tar_create(&t), 0);
		assert_int_equal(feed_pax(t, text, (size_t)n + room + 1, '0', 0), more ? TAR_BAD : TAR_ENTRY);
		tar_destroy(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_format_is_read),
		cmocka_unit_test(attributes_are_read),
		cmocka_unit_test(ends_are_told),
		cmocka_unit_test(numbers_of_gnu_are_read),
		cmocka_unit_test(what_pax_says_counts),
		cmocka_unit_test(what_is_said_for_all_stays),
		cmocka_unit_test(what_is_wrong_is_said),
		cmocka_unit_test(bad_headers_are_refused),
		cmocka_unit_test(long_values_have_a_bound),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
