// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cpio archive with lkvm's own files for a guest.
 *
 * Runs on the main thread before the sandbox. Entries are written one after the other through a
 * buffer into a memory file; nothing is read ahead. A tree is walked by descriptors, depth first,
 * on one file system; what happens to it meanwhile is noticed or harmless: a file is taken with the
 * size that it had when it was opened, and one that has become shorter is an error.
 *
 * Source: Linux's Documentation/driver-api/early-userspace/buffer-format.rst ("newc").
 *
 * Not here: extended attributes, which the format has not; hard links, which become copies.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "guest/initramfs.h"
#include "io.h"
#include "log.h"
#include "util.h"

#define HEADER_BYTES 110u /* and behind it the name, its NUL, zeroes up to a multiple of 4 */
#define BUFFER_BYTES 65536u
#define MAX_DEPTH    64u

struct archive {
	int fd;
	int rc; /* the first error; nothing is written behind it */
	uint32_t inode;
	uint64_t written; /* and what is in the buffer */
	size_t buffered;
	uint8_t buffer[BUFFER_BYTES];
};

/* ---- writing ---- */

static void archive_write(struct archive *a, const void *data, size_t bytes)
{
	const uint8_t *p = data;

	while (bytes && !a->rc) {
		ssize_t n = write(a->fd, p, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			a->rc = n < 0 ? -errno : -EIO;
			log_error("initramfs: %s", strerror(-a->rc));
			return;
		}
		p += n;
		bytes -= (size_t)n;
	}
}

static void archive_flush(struct archive *a)
{
	archive_write(a, a->buffer, a->buffered);
	a->buffered = 0;
}

static void archive_put(struct archive *a, const void *data, size_t bytes)
{
	a->written += bytes;
	if (bytes > sizeof(a->buffer) - a->buffered)
		archive_flush(a);
	if (bytes > sizeof(a->buffer)) {
		archive_write(a, data, bytes);
		return;
	}
	memcpy(a->buffer + a->buffered, data, bytes);
	a->buffered += bytes;
}

static void archive_align(struct archive *a)
{
	static const uint8_t zeroes[4];

	archive_put(a, zeroes, align_up(a->written, 4) - a->written);
}

/* What stands before an entry's contents. Every entry is an inode of its own: nothing is linked. */
static void put_header(struct archive *a, const char *name, const struct stat *st, uint64_t bytes)
{
	size_t name_bytes = strlen(name) + 1;
	char header[HEADER_BYTES + 1];

	snprintf(header, sizeof(header),
		 "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ++a->inode,
		 st->st_mode, st->st_uid, st->st_gid, S_ISDIR(st->st_mode) ? 2u : 1u,
		 (uint32_t)st->st_mtime, (uint32_t)bytes, 0u, 0u, major(st->st_rdev),
		 minor(st->st_rdev), (uint32_t)name_bytes, 0u);
	archive_put(a, header, HEADER_BYTES);
	archive_put(a, name, name_bytes);
	archive_align(a);
}

static void put_file(struct archive *a, const char *name, mode_t mode, const void *data,
		     size_t bytes)
{
	const struct stat st = { .st_mode = S_IFREG | mode };

	put_header(a, name, &st, bytes);
	archive_put(a, data, bytes);
	archive_align(a);
}

static void put_directory(struct archive *a, const char *name)
{
	const struct stat st = { .st_mode = S_IFDIR | 0755 };

	put_header(a, name, &st, 0);
}

/* ---- a tree ---- */

struct tree {
	struct archive *archive;
	const struct initramfs_tree *config;
	dev_t device;
	unsigned int *nr_entries;
	uint64_t *bytes;
	unsigned int unreadable;
	char name[PATH_MAX]; /* of the current entry, in the archive */
	size_t root_len;     /* of config->to in it */
};

__attribute__((format(printf, 3, 4))) static int tree_fail(const struct tree *t, int rc,
							   const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_error("%s: %s%s: %s", t->config->option, t->config->path, t->name + t->root_len, text);
	return rc;
}

static int tree_count(struct tree *t, uint64_t bytes)
{
	if (++*t->nr_entries > INITRAMFS_MAX_TREE_ENTRIES ||
	    bytes > INITRAMFS_MAX_TREE_BYTES - *t->bytes) {
		log_error("%s: %s: more than %llu MiB or %u files\n"
			  "without CONFIG_EROFS_FS a kernel can be given a small directory only.",
			  t->config->option, t->config->path, INITRAMFS_MAX_TREE_BYTES >> 20,
			  INITRAMFS_MAX_TREE_ENTRIES);
		return -E2BIG;
	}
	*t->bytes += bytes;
	return 0;
}

static void tree_put_header(struct tree *t, const struct stat *st, uint64_t bytes)
{
	struct stat guest = *st;

	if (t->config->own_is_root && st->st_uid == getuid())
		guest.st_uid = 0;
	if (t->config->own_is_root && st->st_gid == getgid())
		guest.st_gid = 0;
	put_header(t->archive, t->name, &guest, bytes);
}

/* One that may not be read is there, but nobody can mistake it for an empty one. */
static int put_unreadable(struct tree *t, const struct stat *st)
{
	struct stat guest = *st;

	guest.st_mode &= S_IFMT;
	t->unreadable++;
	tree_put_header(t, &guest, 0);
	return 0;
}

static bool is_forbidden(int error)
{
	return error == EACCES || error == EPERM;
}

static int put_contents(struct tree *t, int fd, uint64_t bytes)
{
	uint8_t buf[16384];

	for (uint64_t at = 0; at < bytes;) {
		size_t n = min_u64(sizeof(buf), bytes - at);
		int rc = pread_all(fd, buf, n, at);

		if (rc)
			return tree_fail(t, rc, "%s",
					 rc == -ENODATA ? "became shorter while it was read" :
							  strerror(-rc));
		archive_put(t->archive, buf, n);
		at += n;
	}
	archive_align(t->archive);
	return 0;
}

static int put_regular(struct tree *t, int dir_fd, const char *name, const struct stat *st)
{
	int rc, fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat now;

	if (fd < 0)
		return is_forbidden(errno) ? put_unreadable(t, st) :
					     tree_fail(t, -errno, "%s", strerror(errno));
	if (fstat(fd, &now) || !S_ISREG(now.st_mode))
		rc = tree_fail(t, -ESTALE, "was replaced while it was read");
	else
		rc = tree_count(t, (uint64_t)now.st_size);
	if (!rc) {
		tree_put_header(t, &now, (uint64_t)now.st_size);
		rc = put_contents(t, fd, (uint64_t)now.st_size);
	}
	close(fd);
	return rc;
}

static int put_link(struct tree *t, int dir_fd, const char *name, const struct stat *st)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dir_fd, name, target, sizeof(target));
	int rc;

	if (n < 0 || (size_t)n == sizeof(target))
		return tree_fail(t, -EIO, "the link cannot be read");
	rc = tree_count(t, (uint64_t)n);
	if (rc)
		return rc;
	tree_put_header(t, st, (uint64_t)n);
	archive_put(t->archive, target, (size_t)n);
	archive_align(t->archive);
	return 0;
}

static int put_tree(struct tree *t, int dir_fd, const char *name, const struct stat *st,
		    unsigned int depth);

/* What the host has mounted there is its own; a mount point stays as an empty directory. */
static bool is_elsewhere(const struct tree *t, const struct stat *st)
{
	static const char *const own[] = { "/proc", "/sys", "/dev", "/run" };

	if (st->st_dev != t->device)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (!strcmp(t->config->path, "/") && !strcmp(t->name + t->root_len, own[i]))
			return true;
	return false;
}

/* Takes over @fd. */
static int put_entries(struct tree *t, int fd, unsigned int depth)
{
	size_t len = strlen(t->name);
	DIR *dir = fdopendir(fd);
	struct dirent *e;
	int rc = 0;

	if (!dir) {
		close(fd);
		return log_enomem("initramfs");
	}
	while (!rc && !t->archive->rc && (errno = 0, e = readdir(dir))) {
		struct stat st;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (len + 1 + strlen(e->d_name) >= sizeof(t->name))
			rc = tree_fail(t, -ENAMETOOLONG, "the names below it are too long");
		else if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT))
			rc = errno == ENOENT ? 0 : tree_fail(t, -errno, "%s", strerror(errno));
		else {
			t->name[len] = '/';
			strcpy(t->name + len + 1, e->d_name);
			rc = put_tree(t, dirfd(dir), e->d_name, &st, depth + 1);
			t->name[len] = '\0';
		}
	}
	if (!rc && !t->archive->rc && errno)
		rc = tree_fail(t, -errno, "%s", strerror(errno));
	closedir(dir);
	return rc;
}

static int put_tree_directory(struct tree *t, int dir_fd, const char *name, const struct stat *st,
			      unsigned int depth)
{
	int fd, rc = tree_count(t, 0);

	if (rc)
		return rc;
	if (depth > MAX_DEPTH)
		return tree_fail(t, -ELOOP, "more than %u directories in each other", MAX_DEPTH);
	if (depth && is_elsewhere(t, st)) {
		tree_put_header(t, st, 0);
		return 0;
	}
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return is_forbidden(errno) && depth ? put_unreadable(t, st) :
						      tree_fail(t, -errno, "%s", strerror(errno));
	tree_put_header(t, st, 0);
	return put_entries(t, fd, depth);
}

/* The entry @name, and what is in it. */
static int put_tree(struct tree *t, int dir_fd, const char *name, const struct stat *st,
		    unsigned int depth)
{
	int rc;

	if (S_ISDIR(st->st_mode))
		return put_tree_directory(t, dir_fd, name, st, depth);
	if (S_ISREG(st->st_mode))
		return put_regular(t, dir_fd, name, st);
	if (S_ISLNK(st->st_mode))
		return put_link(t, dir_fd, name, st);
	rc = tree_count(t, 0);
	if (!rc)
		tree_put_header(t, st, 0);
	return rc;
}

static int put_whole_tree(struct archive *a, const struct initramfs_tree *config,
			  unsigned int *nr_entries, uint64_t *bytes)
{
	struct tree *t = calloc(1, sizeof(*t));
	int rc, fd = open(config->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (!t || fd < 0 || fstat(fd, &st)) {
		rc = t ? -errno : -ENOMEM;
		log_error("%s: %s: %s", config->option, config->path, strerror(-rc));
	} else {
		*t = (struct tree){
			.archive = a,
			.config = config,
			.device = st.st_dev,
			.nr_entries = nr_entries,
			.bytes = bytes,
		};
		t->root_len = (size_t)snprintf(t->name, sizeof(t->name), "%s", config->to);
		rc = put_tree(t, fd, ".", &st, 0);
		if (t->unreadable)
			log_notice("%s: %s: %u files cannot be read: they have no rights in the guest",
				   config->option, config->path, t->unreadable);
	}
	if (fd >= 0)
		close(fd);
	free(t);
	return rc;
}

/* ---- the archive ---- */

static void put_modules(struct archive *a, const struct module_choice *modules)
{
	char name[MODULE_NAME_BYTES + 16], list[MODULES_MAX * (MODULE_NAME_BYTES + 8)];
	size_t n = 0;

	for (unsigned int i = 0; i < modules->nr_files; i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s.ko\n",
				      modules->files[i].optional ? "-" : "", modules->files[i].name);
	put_file(a, "lkvm/modules", 0644, list, n);
	for (unsigned int i = 0; i < modules->nr_files; i++) {
		snprintf(name, sizeof(name), "lkvm/%s.ko", modules->files[i].name);
		put_file(a, name, 0644, modules->files[i].data, modules->files[i].bytes);
	}
}

static int put_all(struct archive *a, const struct initramfs_config *c)
{
	const struct stat console = { .st_mode = S_IFCHR | 0600, .st_rdev = makedev(5, 1) };
	const struct module_choice none = { .nr_files = 0 };
	const struct stat end = { .st_mode = 0 };
	unsigned int nr_entries = 0;
	uint64_t bytes = 0;
	int rc = 0;

	put_file(a, "init", 0755, c->init, c->init_bytes);
	put_directory(a, "dev");
	put_header(a, "dev/console", &console, 0);
	put_directory(a, "lkvm");
	put_modules(a, c->modules ? c->modules : &none);
	for (unsigned int i = 0; i < c->nr_trees && !rc; i++)
		rc = put_whole_tree(a, &c->trees[i], &nr_entries, &bytes);
	if (rc)
		return rc;
	put_header(a, "TRAILER!!!", &end, 0);
	archive_flush(a);
	return a->rc;
}

int initramfs_create(int *fd, const struct initramfs_config *config)
{
	struct archive *a = calloc(1, sizeof(*a));
	int rc;

	*fd = -1;
	if (!a)
		return log_enomem("initramfs");
	a->fd = memfd_create("initramfs", MFD_CLOEXEC);
	if (a->fd < 0) {
		rc = -errno;
		log_error("initramfs: %s", strerror(-rc));
	} else {
		rc = put_all(a, config);
	}
	if (!rc)
		*fd = a->fd;
	else if (a->fd >= 0)
		close(a->fd);
	free(a);
	return rc;
}
