// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's first process: a directory as a tar archive, for lkvm to unpack (guest/results-tar.h).
 *
 * ustar, with a pax header before an entry that does not fit: long names, large sizes, fractions of seconds.
 * Files with holes are of GNU's form 1.0, whose list of pieces is in front of the data. Nothing is
 * allocated: when results are collected the guest's memory may be full of them. What is held is on the stack
 * (a step of the recursion has 2 KiB) or in the one struct below.
 *
 * Links are not followed, other file systems not entered. What cannot be packed is named in a notice. Hard links
 * are told among the first MAX_LINKS files that have several names; others are packed once for each name.
 *
 * Sources: POSIX.1-2017 pax; the manual of GNU tar 1.34, "Storing Sparse Files".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "guest/init.h"

#define BLOCK_BYTES	512u
#define BUFFER_BYTES	32768u
#define PATH_BYTES	4096u /* what lkvm takes */
#define MAX_DEPTH	256u  /* the same */
#define MAX_PIECES	1024u /* of a sparse file; what comes later is packed with its holes */
#define MAX_LINKS	1024u
#define LINK_NAME_BYTES 65536u
#define LIST_BYTES	2048u
#define PAX_BYTES	(2 * PATH_BYTES + 1024u)
#define OCTAL_7		07777777ull /* the largest in a field of eight bytes */
#define OCTAL_11	077777777777ull

struct tar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8];
	char type, link[100], magic[6], version[2], user[32], group[32], major[8], minor[8];
	char prefix[155], padding[12];
};

_Static_assert(sizeof(struct tar_header) == BLOCK_BYTES, "one block");

struct piece {
	uint64_t offset, bytes;
};

struct link_name {
	dev_t dev;
	ino_t ino;
	size_t name; /* where it is in names */
};

static struct tar_writer {
	int (*put)(void *arg, const void *data, size_t bytes);
	void *arg;
	int error; /* nothing more is written: whole, or not at all */
	dev_t dev;
	uint64_t sockets;

	char path[PATH_BYTES + 2], target[PATH_BYTES + 1], first_socket[PATH_BYTES + 2];
	size_t path_bytes;
	char pax[PAX_BYTES];
	size_t pax_bytes;

	struct piece pieces[MAX_PIECES];
	unsigned int nr_pieces;
	struct link_name links[MAX_LINKS];
	unsigned int nr_links;
	char names[LINK_NAME_BYTES];
	size_t names_bytes;

	size_t used;
	char buffer[BUFFER_BYTES];
} tar;

/* ---- output ---- */

static void flush_blocks(void)
{
	if (tar.used && !tar.error)
		tar.error = tar.put(tar.arg, tar.buffer, tar.used);
	tar.used = 0;
}

/* NULL: zeros. */
static void write_bytes(const void *data, size_t bytes)
{
	while (bytes) {
		size_t n = sizeof(tar.buffer) - tar.used;

		n = n < bytes ? n : bytes;
		if (data)
			memcpy(tar.buffer + tar.used, data, n);
		else
			memset(tar.buffer + tar.used, 0, n);
		data = data ? (const char *)data + n : NULL;
		tar.used += n;
		bytes -= n;
		if (tar.used == sizeof(tar.buffer))
			flush_blocks();
	}
}

static size_t padding_of(uint64_t bytes)
{
	return (size_t)(-bytes % BLOCK_BYTES);
}

/* ---- headers ---- */

static void put_octal(char *field, size_t bytes, uint64_t value)
{
	for (size_t i = bytes - 1; i--; value >>= 3)
		field[i] = (char)('0' + (value & 7));
}

/* "LENGTH KEY=VALUE\n"; the length counts itself. */
static void add_pax_record(const char *key, const char *value)
{
	size_t rest = strlen(key) + strlen(value) + 3, all = rest + 1;
	char length[24];

	while ((size_t)snprintf(length, sizeof(length), "%zu", all) + rest != all)
		all++;
	/* Values are names and numbers: there is always room. */
	tar.pax_bytes += (size_t)snprintf(tar.pax + tar.pax_bytes, sizeof(tar.pax) - tar.pax_bytes,
					  "%s %s=%s\n", length, key, value);
}

static void add_number(const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	add_pax_record(key, text);
}

/* A time before 1970 is a second earlier and a fraction that adds to it. */
static void add_time(const struct timespec *t)
{
	bool is_before = t->tv_sec < 0 && t->tv_nsec;
	long long s = is_before ? -(t->tv_sec + 1) : t->tv_sec;
	char text[40];

	snprintf(text, sizeof(text), "%s%lld.%09ld", is_before ? "-" : "", s,
		 is_before ? 1000000000 - t->tv_nsec : t->tv_nsec);
	add_pax_record("mtime", text);
}

static void pack_header(struct tar_header *h, char type, uint64_t size)
{
	unsigned int sum = 0;

	h->type = type;
	put_octal(h->size, sizeof(h->size), size <= OCTAL_11 ? size : 0);
	memcpy(h->magic, "ustar", 6);
	memcpy(h->version, "00", 2);
	memset(h->checksum, ' ', sizeof(h->checksum));
	for (size_t i = 0; i < BLOCK_BYTES; i++)
		sum += ((const unsigned char *)h)[i];
	put_octal(h->checksum, 7, sum);
	write_bytes(h, BLOCK_BYTES);
}

/* What was added for the next entry. */
static void write_pax(void)
{
	struct tar_header h = { .name = "pax" };

	if (!tar.pax_bytes)
		return;
	put_octal(h.mode, sizeof(h.mode), 0644);
	put_octal(h.mtime, sizeof(h.mtime), 0);
	pack_header(&h, 'x', tar.pax_bytes);
	write_bytes(tar.pax, tar.pax_bytes);
	write_bytes(NULL, padding_of(tar.pax_bytes));
	tar.pax_bytes = 0;
}

static void put_text(char *field, const char *key, const char *name, bool is_said)
{
	size_t n = strlen(name);

	memcpy(field, name, n < 100 ? n : 100);
	if (n > 100 && !is_said)
		add_pax_record(key, name);
}

/* The entry at tar.path, of which @size bytes are stored behind it. */
static void begin_entry(const struct stat *st, char type, const char *link, uint64_t size, bool is_sparse)
{
	struct tar_header h = { 0 };

	put_text(h.name, "path", tar.path, is_sparse);
	put_text(h.link, "linkpath", link, false);
	put_octal(h.mode, sizeof(h.mode), st->st_mode & 07777);
	put_octal(h.uid, sizeof(h.uid), st->st_uid <= OCTAL_7 ? st->st_uid : 0);
	put_octal(h.gid, sizeof(h.gid), st->st_gid <= OCTAL_7 ? st->st_gid : 0);
	if (st->st_uid > OCTAL_7)
		add_number("uid", st->st_uid);
	if (st->st_gid > OCTAL_7)
		add_number("gid", st->st_gid);
	if (size > OCTAL_11)
		add_number("size", size);
	if (st->st_mtim.tv_nsec || (uint64_t)st->st_mtim.tv_sec > OCTAL_11)
		add_time(&st->st_mtim);
	put_octal(h.mtime, sizeof(h.mtime),
		  (uint64_t)st->st_mtim.tv_sec <= OCTAL_11 ? (uint64_t)st->st_mtim.tv_sec : 0);
	put_octal(h.major, sizeof(h.major), type == '3' || type == '4' ? major(st->st_rdev) : 0);
	put_octal(h.minor, sizeof(h.minor), type == '3' || type == '4' ? minor(st->st_rdev) : 0);
	write_pax();
	pack_header(&h, type, size);
}

/* ---- files ---- */

/* The next piece of the file, from @at; all of it, where the file system cannot say. False: there is none. */
static bool find_piece(int fd, uint64_t at, uint64_t size, struct piece *p)
{
	off_t data = lseek(fd, (off_t)at, SEEK_DATA), hole;

	if (data < 0 && errno == ENXIO)
		return false;
	p->offset = data < 0 || (uint64_t)data < at ? at : (uint64_t)data;
	if (p->offset >= size)
		return false;
	hole = lseek(fd, (off_t)p->offset, SEEK_HOLE);
	p->bytes = (hole <= (off_t)p->offset || (uint64_t)hole > size ? size : (uint64_t)hole) - p->offset;
	return true;
}

/* tar.pieces, and how many bytes they have. An empty one at the end says where a last hole ends. */
static uint64_t find_pieces(int fd, uint64_t size)
{
	uint64_t at = 0, stored = 0;

	tar.nr_pieces = 0;
	while (at < size) {
		struct piece *p = &tar.pieces[tar.nr_pieces];

		if (!find_piece(fd, at, size, p))
			*p = (struct piece){ size, 0 };
		else if (tar.nr_pieces + 1 == MAX_PIECES)
			p->bytes = size - p->offset;
		tar.nr_pieces++;
		stored += p->bytes;
		at = p->offset + p->bytes;
	}
	return stored;
}

static size_t map_line(uint64_t value, bool is_counted)
{
	char line[24];
	size_t n = (size_t)snprintf(line, sizeof(line), "%llu\n", (unsigned long long)value);

	if (!is_counted)
		write_bytes(line, n);
	return n;
}

/* The list of pieces, or only its size. */
static size_t write_map(bool is_counted)
{
	size_t n = map_line(tar.nr_pieces, is_counted);

	for (unsigned int i = 0; i < tar.nr_pieces; i++) {
		n += map_line(tar.pieces[i].offset, is_counted);
		n += map_line(tar.pieces[i].bytes, is_counted);
	}
	return n;
}

/* Bytes of a file. What is not there any more, or cannot be read: zeros, for the form, and -errno. */
static int write_piece(int fd, const struct piece *p)
{
	uint64_t at = p->offset, left = p->bytes;
	int rc = 0;

	while (left && !tar.error) {
		size_t n = sizeof(tar.buffer) - tar.used;
		ssize_t got = 0;

		n = left < n ? (size_t)left : n;
		if (!rc)
			got = pread(fd, tar.buffer + tar.used, n, (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (!rc && got <= 0)
			rc = got < 0 ? -errno : -ESPIPE;
		if (got <= 0) {
			memset(tar.buffer + tar.used, 0, n);
			got = (ssize_t)n;
		}
		tar.used += (size_t)got;
		at += (uint64_t)got;
		left -= (uint64_t)got;
		if (tar.used == sizeof(tar.buffer))
			flush_blocks();
	}
	return rc;
}

static void begin_sparse(const struct stat *st, uint64_t stored)
{
	size_t map = write_map(true);

	add_number("GNU.sparse.major", 1);
	add_number("GNU.sparse.minor", 0);
	add_pax_record("GNU.sparse.name", tar.path);
	add_number("GNU.sparse.realsize", (uint64_t)st->st_size);
	begin_entry(st, '0', "", stored + map + padding_of(map), true);
	write_map(false);
	write_bytes(NULL, padding_of(map));
}

/* False if there is nothing now that another name could be a link to; so below. */
static bool pack_file(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), rc = 0;
	uint64_t stored;
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		tar.error = -errno;
		init_notice("%s: %s", tar.path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return false;
	}
	stored = find_pieces(fd, (uint64_t)st.st_size);
	if (stored == (uint64_t)st.st_size)
		begin_entry(&st, '0', "", stored, false);
	else
		begin_sparse(&st, stored);
	for (unsigned int i = 0; i < tar.nr_pieces; i++) {
		int error = write_piece(fd, &tar.pieces[i]);

		rc = rc ? rc : error;
	}
	write_bytes(NULL, padding_of(stored));
	if (rc) {
		init_notice("%s: %s", tar.path, rc == -ESPIPE ? "it became shorter" : strerror(-rc));
		tar.error = rc == -ESPIPE ? -EIO : rc;
	}
	close(fd);
	return true;
}

/* ---- other kinds ---- */

/* The name under which the file has been packed, or NULL. */
static const char *find_link(const struct stat *st)
{
	for (unsigned int i = 0; i < tar.nr_links; i++)
		if (tar.links[i].ino == st->st_ino && tar.links[i].dev == st->st_dev)
			return tar.names + tar.links[i].name;
	return NULL;
}

static void remember_link(const struct stat *st)
{
	size_t n = strlen(tar.path) + 1;

	if (tar.nr_links == MAX_LINKS || n > sizeof(tar.names) - tar.names_bytes)
		return;
	tar.links[tar.nr_links++] = (struct link_name){ st->st_dev, st->st_ino, tar.names_bytes };
	memcpy(tar.names + tar.names_bytes, tar.path, n);
	tar.names_bytes += n;
}

static bool pack_symlink(int dir, const char *name, const struct stat *st)
{
	ssize_t n = readlinkat(dir, name, tar.target, sizeof(tar.target) - 1);

	if (n <= 0) {
		tar.error = n ? -errno : -EINVAL;
		init_notice("%s: %s", tar.path, strerror(-tar.error));
		return false;
	}
	tar.target[n] = '\0';
	begin_entry(st, '2', tar.target, 0, false);
	return true;
}

/* No archive has them. */
static bool leave_socket(void)
{
	if (!tar.sockets++)
		strcpy(tar.first_socket, tar.path);
	return false;
}

/* Devices and fifos are for lkvm to leave out, and to say so. */
static bool pack_other(int dir, const char *name, const struct stat *st)
{
	switch (st->st_mode & S_IFMT) {
	case S_IFREG:
		return pack_file(dir, name);
	case S_IFLNK:
		return pack_symlink(dir, name, st);
	case S_IFSOCK:
		return leave_socket();
	case S_IFCHR:
		begin_entry(st, '3', "", 0, false);
		return false;
	case S_IFBLK:
		begin_entry(st, '4', "", 0, false);
		return false;
	default:
		begin_entry(st, '6', "", 0, false);
		return false;
	}
}

static void pack_linked(int dir, const char *name, const struct stat *st)
{
	const char *link = st->st_nlink > 1 ? find_link(st) : NULL;

	if (link)
		begin_entry(st, '1', link, 0, false);
	else if (pack_other(dir, name, st) && st->st_nlink > 1)
		remember_link(st);
}

/* ---- directories ---- */

static void pack_below(int dir, unsigned int depth);

static void pack_dir(int dir, const char *name, const struct stat *st, unsigned int depth)
{
	int fd;

	if (st->st_dev != tar.dev || depth > MAX_DEPTH) {
		init_notice("%s: left out: %s", tar.path,
			    depth > MAX_DEPTH ? "nested too deeply" : "another file system");
		return;
	}
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		init_notice("%s: left out: %s", tar.path, strerror(errno));
		return;
	}
	tar.path[tar.path_bytes++] = '/';
	tar.path[tar.path_bytes] = '\0';
	begin_entry(st, '5', "", 0, false);
	pack_below(fd, depth);
	close(fd);
}

static void pack_entry(int dir, const char *name, unsigned int depth)
{
	size_t before = tar.path_bytes, n = strlen(name);
	struct stat st;

	if (before + n > PATH_BYTES - 1) {
		init_notice("%s%s: left out: %s", tar.path, name, strerror(ENAMETOOLONG));
		return;
	}
	memcpy(tar.path + before, name, n + 1);
	tar.path_bytes += n;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		init_notice("%s: left out: %s", tar.path, strerror(errno));
	else if (S_ISDIR(st.st_mode))
		pack_dir(dir, name, &st, depth);
	else
		pack_linked(dir, name, &st);
	tar.path_bytes = before;
	tar.path[before] = '\0';
}

/* As getdents64(2) gives it. */
struct listed {
	uint64_t ino;
	int64_t next;
	uint16_t bytes;
	uint8_t type;
	char name[];
};

/* What is in @dir, whose path and a slash are in tar.path. */
static void pack_below(int dir, unsigned int depth)
{
	uint64_t list[LIST_BYTES / sizeof(uint64_t)];
	long n;

	while (!tar.error && (n = syscall(SYS_getdents64, dir, list, sizeof(list)))) {
		if (n < 0) {
			init_notice("%s: not whole: %s", tar.path, strerror(errno));
			return;
		}
		for (long at = 0; at < n && !tar.error;) {
			const struct listed *e = (const void *)((const char *)list + at);

			at += e->bytes;
			if (strcmp(e->name, ".") && strcmp(e->name, ".."))
				pack_entry(dir, e->name, depth + 1);
		}
	}
}

int init_tar_write(int dir, int (*put)(void *arg, const void *data, size_t bytes), void *arg)
{
	struct stat st;

	memset(&tar, 0, offsetof(struct tar_writer, buffer));
	if (fstat(dir, &st))
		return -errno;
	tar.put = put;
	tar.arg = arg;
	tar.dev = st.st_dev;
	pack_below(dir, 0);
	write_bytes(NULL, (size_t)2 * BLOCK_BYTES);
	flush_blocks();
	if (tar.sockets)
		init_notice("%s: a socket: left out%s", tar.first_socket,
			    tar.sockets > 1 ? ", and others" : "");
	return tar.error;
}
