// SPDX-License-Identifier: GPL-2.0-only
/*
 * Decompressed modules.
 *
 * One entry for each, named after the identity of the compressed file: a header with that identity,
 * and what the file gives. An entry is small; it is written where it is needed first, and is
 * complete and on disk when it gets its name. Whatever does not fit is not used.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache.h"
#include "guest/module-cache.h"
#include "io.h"
#include "log.h"
#include "util.h"

#define SUFFIX		  ".module"
#define CACHE_LIMIT_BYTES MIB(64) /* of all entries, on disk */
#define NAME_CHARS	  96u

struct module_header {
	char magic[8];
	struct cache_identity module;
	uint64_t bytes; /* behind the header, which are all the rest */
};

static const char header_magic[8] = { 'l', 'k', 'v', 'm', 'm', 'o', 'd', '\n' };

/* The header that an entry for @fd has to have, and the entry's name. */
static bool describe(int fd, struct module_header *h, char name[NAME_CHARS])
{
	memset(h, 0, sizeof(*h));
	memcpy(h->magic, header_magic, sizeof(h->magic));
	if (!cache_identify(fd, &h->module))
		return false;
	snprintf(name, NAME_CHARS, CACHE_PREFIX "%llx-%llx-%llx" SUFFIX,
		 (unsigned long long)h->module.dev, (unsigned long long)h->module.ino,
		 (unsigned long long)h->module.changed_ns);
	return true;
}

static bool is_good(const struct module_header *h, const struct module_header *expected)
{
	return !memcmp(h->magic, expected->magic, sizeof(h->magic)) &&
	       cache_is_same(&h->module, &expected->module);
}

static bool module_cache_read(int entry, const struct module_header *expected, uint64_t max_bytes,
			      uint8_t **data, size_t *bytes)
{
	struct module_header h;
	struct stat st;

	if (pread_all(entry, &h, sizeof(h), 0) || !is_good(&h, expected) || h.bytes > max_bytes ||
	    fstat(entry, &st) || (uint64_t)st.st_size != sizeof(h) + h.bytes)
		return false;
	*data = malloc(h.bytes ? h.bytes : 1);
	if (!*data)
		return false;
	if (!pread_all(entry, *data, h.bytes, sizeof(h))) {
		*bytes = h.bytes;
		return true;
	}
	free(*data);
	*data = NULL;
	return false;
}

bool module_cache_find(int folder, int fd, uint64_t max_bytes, uint8_t **data, size_t *bytes)
{
	struct module_header expected;
	char name[NAME_CHARS];
	bool found = false;
	int entry;

	if (!describe(fd, &expected, name))
		return false;
	entry = cache_open_entry(folder, name, expected.module.changed_ns);
	if (entry < 0)
		return false;
	found = module_cache_read(entry, &expected, max_bytes, data, bytes);
	close(entry);
	if (found)
		cache_mark_use(folder, name);
	return found;
}

static bool module_cache_write(int entry, const struct module_header *h, const uint8_t *data,
			       size_t bytes)
{
	const struct iovec iov[] = { { (void *)(uintptr_t)h, sizeof(*h) },
				     { (void *)(uintptr_t)data, bytes } };

	return write_iov(entry, iov, ARRAY_SIZE(iov), 0) == (ssize_t)(sizeof(*h) + bytes);
}

void module_cache_store(int folder, int fd, const uint8_t *data, size_t bytes)
{
	struct module_header h;
	char name[NAME_CHARS];
	const char *why;
	int lock, entry;
	bool ok;

	if (!describe(fd, &h, name) || !cache_is_settled(&h.module))
		return;
	h.bytes = bytes;
	entry = cache_begin(folder, &lock, &why);
	if (entry < 0) {
		log_verbose("module cache: not stored: %s", why);
		return;
	}
	ok = module_cache_write(entry, &h, data, bytes);
	if (!ok)
		cache_discard(folder);
	if (ok && cache_publish(folder, entry, name, h.module.changed_ns))
		cache_trim(folder, SUFFIX, CACHE_LIMIT_BYTES);
	close(entry);
	close(lock);
}
