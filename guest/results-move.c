// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moving results to where they belong (guest/results-move.h).
 *
 * First both sides are compared. Then each move gets a number and its path a line in a file, before it
 * is made; what a move replaces is kept under that number. Undoing goes through the lines from
 * the last to the first: a number that has something in the trash gives it back in place of what was moved
 * there, one that has nothing gives what was moved there to the trash.
 *
 * Directories are nested RESULTS_MAX_DEPTH deep at most: so deep goes the recursion. What is listed is moved
 * or removed, and a directory is listed again until it is empty, so that no file system's order matters.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/results-move.h"
#include "io.h"
#include "log.h"
#include "util.h"

#define LIST_BYTES   2048u /* in each step of a recursion */
#define PATH_ROOM    4352u /* for what disk/tar.h lets through */
#define LINES	     "moved"
#define NUMBER_CHARS 24u

struct moving {
	int from, to, trash;
	int lines; /* the file */
	uint64_t nr, lines_bytes;
	size_t path_bytes;
	char path[PATH_ROOM]; /* below both sides */
};

/* ---- listing ---- */

/* As getdents64(2) gives it. */
struct listed {
	uint64_t ino;
	int64_t next;
	uint16_t bytes;
	uint8_t type;
	char name[];
};

struct list {
	int fd;
	int error;
	size_t at, bytes;
	uint64_t entries[LIST_BYTES / sizeof(uint64_t)];
};

static int begin_list(struct list *l, int dir, const char *name)
{
	l->fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	l->error = l->fd < 0 ? -errno : 0;
	l->at = l->bytes = 0;
	return l->error;
}

/* NULL at the end, or with an error. */
static const char *next_listed(struct list *l)
{
	for (;;) {
		const struct listed *e = (const void *)((const uint8_t *)l->entries + l->at);

		if (l->at == l->bytes) {
			long n = l->error ? 0 : syscall(SYS_getdents64, l->fd, l->entries, sizeof(l->entries));

			l->error = n < 0 ? -errno : l->error;
			if (n <= 0)
				return NULL;
			l->at = 0;
			l->bytes = (size_t)n;
			continue;
		}
		l->at += e->bytes;
		if (strcmp(e->name, ".") && strcmp(e->name, ".."))
			return e->name;
	}
}

/* Closes it. 0 or -errno of listing. */
static int end_list(struct list *l)
{
	if (l->fd >= 0)
		close(l->fd);
	return l->error;
}

/* ---- removing ---- */

static int remove_entry(int dir, const char *name)
{
	int fd, rc;

	if (!unlinkat(dir, name, 0))
		return 0;
	if (errno != EISDIR)
		return -errno;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = results_remove_below(fd);
	close(fd);
	if (!rc && unlinkat(dir, name, AT_REMOVEDIR))
		rc = -errno;
	return rc;
}

int results_remove_below(int dir)
{
	bool any = true;
	int rc = 0;

	while (any && !rc) {
		const char *name;
		struct list l;

		any = false;
		rc = begin_list(&l, dir, ".");
		while (!rc && (name = next_listed(&l))) {
			any = true;
			rc = remove_entry(dir, name);
		}
		rc = end_list(&l) ? l.error : rc;
	}
	return rc;
}

/* ---- paths, for messages and lines ---- */

static int path_enter(struct moving *m, const char *name, size_t *before)
{
	size_t n = strlen(name);

	*before = m->path_bytes;
	if (m->path_bytes + n + 2 > sizeof(m->path))
		return -ENAMETOOLONG;
	if (m->path_bytes)
		m->path[m->path_bytes++] = '/';
	memcpy(m->path + m->path_bytes, name, n + 1);
	m->path_bytes += n;
	return 0;
}

static void path_leave(struct moving *m, size_t before)
{
	m->path_bytes = before;
	m->path[before] = '\0';
}

static int move_refuse(const struct moving *m, const char *why, int rc)
{
	char name[LOG_NAME_BYTES];

	log_error("out: %s: %s", m->path_bytes ? log_name(name, sizeof(name), m->path) : ".", why);
	return rc;
}

/* ---- comparing ---- */

static int compare_below(struct moving *m, int from, int to);

static int compare_entry(struct moving *m, int from, int to, const char *name)
{
	struct stat ours, there;
	int sub, rc;

	if (fstatat(from, name, &ours, AT_SYMLINK_NOFOLLOW))
		return move_refuse(m, strerror(errno), -errno);
	if (fstatat(to, name, &there, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : move_refuse(m, strerror(errno), -errno);
	if (S_ISDIR(ours.st_mode) && !S_ISDIR(there.st_mode))
		return move_refuse(m, "a directory, where the host has something else", -ENOTDIR);
	if (!S_ISDIR(ours.st_mode) && S_ISDIR(there.st_mode))
		return move_refuse(m, "no directory, where the host has one", -EISDIR);
	if (!S_ISDIR(ours.st_mode))
		return 0;
	if (ours.st_dev != there.st_dev)
		return move_refuse(m, "where the host has another file system", -EXDEV);
	if (syscall(SYS_faccessat, to, name, W_OK | X_OK)) /* the C library's is another */
		return move_refuse(m, strerror(errno), -errno);
	sub = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sub < 0)
		return move_refuse(m, strerror(errno), -errno);
	from = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	rc = from < 0 ? move_refuse(m, strerror(errno), -errno) : compare_below(m, from, sub);
	if (from >= 0)
		close(from);
	close(sub);
	return rc;
}

/* Whether everything can be moved. */
static int compare_below(struct moving *m, int from, int to)
{
	const char *name;
	struct list l;
	int rc = begin_list(&l, from, ".");

	while (!rc && (name = next_listed(&l))) {
		size_t before;

		rc = path_enter(m, name, &before);
		if (!rc)
			rc = compare_entry(m, from, to, name);
		path_leave(m, before);
	}
	if (end_list(&l))
		return move_refuse(m, strerror(-l.error), l.error);
	return rc;
}

/* ---- moving ---- */

/* A line: the path, a zero, how long both are. So it can be read from its end. */
static int write_line(struct moving *m)
{
	uint16_t bytes = (uint16_t)(m->path_bytes + 1);
	const struct iovec iov[] = { { m->path, bytes }, { &bytes, sizeof(bytes) } };
	ssize_t n = write_iov(m->lines, iov, 2, (off_t)m->lines_bytes);

	if (n < 0)
		return -errno;
	if (n != (ssize_t)(bytes + sizeof(bytes)))
		return -ENOSPC;
	m->lines_bytes += (uint64_t)n;
	m->nr++;
	return 0;
}

static void number_name(char name[NUMBER_CHARS], uint64_t nr)
{
	snprintf(name, NUMBER_CHARS, "%llu", (unsigned long long)nr);
}

/* Not every file system can do more than plain renames (NFS). The C library's has two calls for it. */
static int rename_as(int from, const char *name, int to, const char *other, unsigned int flags)
{
	return syscall(SYS_renameat2, from, name, to, other, flags) ? -errno : 0;
}

/* What is there goes to the trash. At no time is there nothing, where the host can do that. */
static int replace(struct moving *m, int from, int to, const char *name)
{
	char number[NUMBER_CHARS];
	int rc;

	number_name(number, m->nr);
	rc = rename_as(from, name, to, name, RENAME_EXCHANGE);
	if (!rc) {
		rc = rename_as(from, name, m->trash, number, 0);
		if (rc)
			rename_as(from, name, to, name, RENAME_EXCHANGE);
	} else if (rc == -EINVAL) {
		rc = rename_as(to, name, m->trash, number, 0);
		if (!rc) {
			rc = rename_as(from, name, to, name, 0);
			if (rc)
				rename_as(m->trash, number, to, name, 0);
		}
	}
	return rc;
}

static int move_one(struct moving *m, int from, int to, const char *name, bool is_there)
{
	uint64_t bytes = m->lines_bytes;
	int rc = write_line(m);

	if (rc)
		return rc;
	if (is_there)
		rc = replace(m, from, to, name);
	else
		rc = rename_as(from, name, to, name, RENAME_NOREPLACE);
	if (rc == -EINVAL && !is_there)
		rc = rename_as(from, name, to, name, 0);
	if (rc) {
		m->lines_bytes = bytes;
		m->nr--;
	}
	return rc;
}

static int move_below(struct moving *m, int from, int to);

static int move_entry(struct moving *m, int from, int to, const char *name)
{
	struct stat ours, there;
	bool is_there = !fstatat(to, name, &there, AT_SYMLINK_NOFOLLOW);
	int a, b, rc;

	if (fstatat(from, name, &ours, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (!is_there || !S_ISDIR(ours.st_mode))
		return is_there && S_ISDIR(there.st_mode) ? -EISDIR : move_one(m, from, to, name, is_there);
	a = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	b = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	rc = a < 0 || b < 0 ? -errno : move_below(m, a, b);
	if (a >= 0)
		close(a);
	if (b >= 0)
		close(b);
	if (!rc && unlinkat(from, name, AT_REMOVEDIR))
		rc = -errno;
	return rc;
}

static int move_below(struct moving *m, int from, int to)
{
	bool any = true;
	int rc = 0;

	while (any && !rc) {
		const char *name;
		struct list l;

		any = false;
		rc = begin_list(&l, from, ".");
		while (!rc && (name = next_listed(&l))) {
			size_t before;

			any = true;
			rc = path_enter(m, name, &before);
			if (!rc)
				rc = move_entry(m, from, to, name);
			if (!rc)
				path_leave(m, before); /* otherwise it is what the message names */
		}
		rc = end_list(&l) && !rc ? l.error : rc;
	}
	return rc;
}

/* ---- undoing ---- */

/* The directory of @path below @to; its last component in *@name. */
static int open_folder_of(const struct moving *m, char *path, const char **name)
{
	int dir = openat(m->to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *slash;

	for (; dir >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
		int above = dir;

		*slash = '\0';
		dir = openat(above, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		close(above);
	}
	*name = path;
	return dir < 0 ? -errno : dir;
}

static int undo_one(struct moving *m)
{
	char number[NUMBER_CHARS];
	const char *name;
	int rc, dir = open_folder_of(m, m->path, &name);

	if (dir < 0)
		return dir;
	number_name(number, m->nr);
	rc = rename_as(m->trash, number, dir, name, 0);
	if (rc == -ENOENT)
		rc = rename_as(dir, name, m->trash, number, 0);
	close(dir);
	return rc;
}

static bool read_line(struct moving *m)
{
	uint16_t bytes;

	m->lines_bytes -= sizeof(bytes);
	if (pread_all(m->lines, &bytes, sizeof(bytes), m->lines_bytes) || !bytes ||
	    bytes > sizeof(m->path) || bytes > m->lines_bytes)
		return false;
	m->lines_bytes -= bytes;
	return !pread_all(m->lines, m->path, bytes, m->lines_bytes);
}

static void undo_all(struct moving *m)
{
	char name[LOG_NAME_BYTES];

	while (m->lines_bytes) {
		int rc = read_line(m) ? 0 : -EIO;

		log_name(name, sizeof(name), m->path);
		rc = rc ? rc : undo_one(m);
		m->nr--;
		if (rc)
			log_error("out: %s: could not be undone: %s", name, strerror(-rc));
		if (rc == -EIO)
			return;
	}
}

int results_move(int from, int to, int trash)
{
	struct moving m = { .from = from, .to = to, .trash = trash };
	int rc = compare_below(&m, from, to);

	if (rc)
		return rc;
	m.lines = openat(trash, LINES, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (m.lines < 0) {
		rc = -errno;
		return move_refuse(&m, strerror(-rc), rc);
	}
	rc = move_below(&m, from, to);
	if (rc) {
		move_refuse(&m, strerror(-rc), rc);
		undo_all(&m);
	}
	close(m.lines);
	return rc;
}
