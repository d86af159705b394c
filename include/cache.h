/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A folder of files that can be made again: unpacked kernels and modules.
 *
 * There is one kind of file, the entry. It is written under another name, and gets its own
 * when it is complete and on disk, so a reader finds all of it or none. An entry is made from
 * something (a kernel's file) and bears the time at which that last changed as its own
 * modification time: whoever writes to an entry later changes that time, and an entry whose
 * time is wrong is not used. Its access time says when it was last of use; when all entries
 * together become too big, those that were of use longest ago go.
 *
 * The folder is the user's own, or it is not used. It is no defence against programs that run
 * as the same user: these can change lkvm's memory, too.
 *
 * Names of entries begin with CACHE_PREFIX: the folder may have been there before, and what is
 * not the cache's stays.
 */
#ifndef LKVM_CACHE_H
#define LKVM_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#define CACHE_PREFIX "lkvm-"

/*
 * Opens the folder @path, which is made if it is missing; NULL: lkvm's in the user's cache
 * folder ($XDG_CACHE_HOME/lkvm or ~/.cache/lkvm). A descriptor, or -1 with *@why.
 */
int cache_open_folder(const char *path, const char **why);

/* What tells one file, and one content of it, from another. */
struct cache_identity {
	uint64_t dev, ino, bytes;
	int64_t modified_ns, changed_ns;
};

/* False if @fd is no regular file. */
bool cache_identify(int fd, struct cache_identity *id);
bool cache_is_same(const struct cache_identity *a, const struct cache_identity *b);

/* Whether the file has been left alone for long enough to be known by its times. */
bool cache_is_settled(const struct cache_identity *id);

/* Opens the entry @name that was made from what changed at @made_ns, or -1. */
int cache_open_entry(int folder, const char *name, int64_t made_ns);

/* Says that @name was of use now. */
void cache_mark_use(int folder, const char *name);

/* Whether the file that cache_open_entry() has opened is still as it was made. */
bool cache_is_unchanged(int entry, int64_t made_ns);

/*
 * Begins a new entry: a lock, so that one process at a time makes one, and an empty file. Its
 * descriptor, or -1 with *@why. The lock lasts as long as *@lock is open.
 */
int cache_begin(int folder, int *lock, const char **why);

/* Gives the complete file its name. False if it cannot be; nothing is left then. */
bool cache_publish(int folder, int entry, const char *name, int64_t made_ns);

/* Gives up what cache_begin() has begun. */
void cache_discard(int folder);

/* Removes entries that end in @suffix, the one of longest ago first, until they have @limit_bytes on disk. */
void cache_trim(int folder, const char *suffix, uint64_t limit_bytes);

#endif
