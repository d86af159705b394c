// SPDX-License-Identifier: GPL-2.0-only
/*
 * A folder of files that can be made again (cache.h). It owns nothing: the folder's descriptor is
 * its user's, who is the only one that knows what is in an entry.
 *
 * Looking up is the main thread's, before there is a guest. So is making small entries; large ones
 * are made, and old ones removed, by a process of its own (sandbox/helper.h), so that a guest that
 * takes over the VM's process does not reach the folder.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache.h"
#include "util.h"

#define TEMPORARY CACHE_PREFIX "new.tmp"
/* A file that was just written may change again without a change of its times. */
#define SETTLE_NS 1000000000ll

static int64_t cache_to_ns(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

/* A file of ours that nobody else can write. */
static bool is_private(const struct stat *st)
{
	return st->st_uid == geteuid() && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

/* ---- what an entry is made from ---- */

bool cache_identify(int fd, struct cache_identity *id)
{
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return false;
	*id = (struct cache_identity){
		.dev = st.st_dev,
		.ino = st.st_ino,
		.bytes = (uint64_t)st.st_size,
		.modified_ns = cache_to_ns(&st.st_mtim),
		.changed_ns = cache_to_ns(&st.st_ctim),
	};
	return true;
}

bool cache_is_same(const struct cache_identity *a, const struct cache_identity *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->bytes == b->bytes &&
	       a->modified_ns == b->modified_ns && a->changed_ns == b->changed_ns;
}

bool cache_is_settled(const struct cache_identity *id)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return cache_to_ns(&now) - id->changed_ns > SETTLE_NS &&
	       cache_to_ns(&now) - id->modified_ns > SETTLE_NS;
}

/* ---- the folder ---- */

static int open_folder(const char *path, const char **why)
{
	struct stat st;
	int fd;

	if (mkdir(path, 0700) && errno != EEXIST) {
		*why = "its folder cannot be made";
		return -1;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		*why = "its folder cannot be opened";
		return -1;
	}
	if (!fstat(fd, &st) && is_private(&st))
		return fd;
	close(fd);
	*why = "its folder is not ours alone to write";
	return -1;
}

static int open_default_folder(const char **why)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char path[4096];
	int n;

	*why = "the user has no cache folder";
	if (cache && *cache == '/')
		n = snprintf(path, sizeof(path), "%s", cache);
	else if (home && *home == '/')
		n = snprintf(path, sizeof(path), "%s/.cache", home);
	else
		return -1;
	if (n > (int)sizeof(path) - 8 || (mkdir(path, 0700) && errno != EEXIST))
		return -1;
	strcat(path, "/lkvm");
	return open_folder(path, why);
}

int cache_open_folder(const char *path, const char **why)
{
	return path ? open_folder(path, why) : open_default_folder(why);
}

/* ---- reading ---- */

bool cache_is_unchanged(int entry, int64_t made_ns)
{
	struct stat st;

	return !fstat(entry, &st) && S_ISREG(st.st_mode) && is_private(&st) &&
	       cache_to_ns(&st.st_mtim) == made_ns;
}

int cache_open_entry(int folder, const char *name, int64_t made_ns)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || cache_is_unchanged(fd, made_ns))
		return fd;
	close(fd);
	return -1;
}

void cache_mark_use(int folder, const char *name)
{
	const struct timespec times[] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_OMIT } };

	utimensat(folder, name, times, AT_SYMLINK_NOFOLLOW);
}

/* ---- making ---- */

int cache_begin(int folder, int *lock, const char **why)
{
	int fd = -1;

	/* Not the folder's own descriptor, which others share: the lock would be theirs, too. */
	*lock = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*why = "its files cannot be written";
	if (*lock < 0)
		return -1;
	if (flock(*lock, LOCK_EX | LOCK_NB)) {
		*why = "another lkvm is at it";
	} else {
		/* What is there under this name is left over from one that was killed. */
		unlinkat(folder, TEMPORARY, 0);
		fd = openat(folder, TEMPORARY, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    0600);
	}
	if (fd < 0)
		close(*lock);
	return fd;
}

void cache_discard(int folder)
{
	unlinkat(folder, TEMPORARY, 0);
}

bool cache_publish(int folder, int entry, const char *name, int64_t made_ns)
{
	const struct timespec times[] = {
		{ .tv_nsec = UTIME_NOW },
		{ .tv_sec = made_ns / 1000000000, .tv_nsec = made_ns % 1000000000 },
	};

	if (!futimens(entry, times) && !fsync(entry) && !renameat(folder, TEMPORARY, folder, name))
		return true;
	cache_discard(folder);
	return false;
}

/* ---- what is too much ---- */

static bool is_entry(const char *name, const char *suffix)
{
	size_t len = strlen(name), end = strlen(suffix);

	return !strncmp(name, CACHE_PREFIX, strlen(CACHE_PREFIX)) && len > end &&
	       !strcmp(name + len - end, suffix) &&
	       strspn(name + strlen(CACHE_PREFIX), "0123456789abcdef-") ==
		       len - end - strlen(CACHE_PREFIX);
}

/* What all entries have on disk; the name of the one that was of use longest ago, of several. */
static uint64_t find_oldest(DIR *dir, const char *suffix, char oldest[NAME_MAX + 1])
{
	int64_t oldest_ns = INT64_MAX;
	uint64_t bytes = 0;
	struct dirent *e;
	struct stat st;

	oldest[0] = '\0';
	rewinddir(dir);
	while ((e = readdir(dir))) {
		if (!is_entry(e->d_name, suffix) ||
		    fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
			continue;
		bytes += (uint64_t)st.st_blocks * 512;
		if (cache_to_ns(&st.st_atim) < oldest_ns) {
			oldest_ns = cache_to_ns(&st.st_atim);
			snprintf(oldest, NAME_MAX + 1, "%s", e->d_name);
		}
	}
	return bytes;
}

void cache_trim(int folder, const char *suffix, uint64_t limit_bytes)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	char oldest[NAME_MAX + 1];

	while (dir && find_oldest(dir, suffix, oldest) > limit_bytes)
		if (!oldest[0] || unlinkat(folder, oldest, 0))
			break;
	if (dir)
		closedir(dir);
}
