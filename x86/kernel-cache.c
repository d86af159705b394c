// SPDX-License-Identifier: GPL-2.0-only
/*
 * Decompressed kernels, kept in a folder (kernel-cache.h describes the two kinds of file).
 *
 * A file of the folder is written under another name and renamed when it is complete
 * and on disk, so a reader finds all of it or none. A reader compares the entry's
 * identity with the record's seal before and after it reads: a file that was changed,
 * damaged by a program or copied is not used, and is stored anew. One process at a time
 * stores (flock); the others do without. The oldest entries go when all together have
 * become too big.
 *
 * The folder is the user's own, or it is not used. It is not a defence against programs
 * that run as the same user: these can change lkvm's memory, too.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "helper.h"
#include "log.h"
#include "sandbox.h"
#include "util.h"
#include "x86/kernel-cache.h"

#define PAGE_BYTES	4096u
#define VERSION		1u
#define HASH_CHARS	64u	/* SHA-256 in hexadecimal */
#define HASH_BYTES	(HASH_CHARS / 2)
#define HASH_LIBRARY	"libnettle.so.8"
#ifndef LIMIT_BYTES	/* less in the test build */
#define LIMIT_BYTES	MIB(1024)	/* of all entries, on disk */
#endif
#define IMAGE_MAX_BYTES	GIB(1)
#define RELOCS_MAX	(16u << 20)	/* words: no kernel has a million */
#define CHUNK_BYTES	KIB(256)	/* of work, between two looks whether to give up */
#define MERGE_PAGES	8u		/* zero pages read along rather than begin anew */
/* A file that was just written may change again without a change of its times. */
#define SETTLE_NS	1000000000ll
#define NAME_CHARS	96u
/* The folder may be one that was there before: only names of this form are the cache's. */
#define PREFIX		"lkvm-"
#define TEMPORARY	PREFIX "new.tmp"
#define MAX_USES	256u

/* What tells one file, and one content of it, from another. */
struct identity {
	uint64_t dev, ino, bytes;
	int64_t modified_ns, changed_ns;
};

struct record {
	char magic[8];
	uint32_t version;
	uint32_t crc;			/* of the record with this field zero */
	struct identity kernel, entry;
	char hash[HASH_CHARS];
};

/* At the start of an entry; behind it the bitmap, the tables and the image, in pages. */
struct entry_header {
	char magic[8];
	uint32_t version;
	uint32_t crc;			/* of the header with this field zero */
	char hash[HASH_CHARS];
	uint64_t link_gpa, link_address, image_bytes, file_bytes, entry;
	uint32_t has_relocs, nr_add64, nr_subtract32, nr_add32;
};

struct kernel_cache {
	int dir, kernel_fd;
	struct identity kernel;
	bool settled;			/* its content will not change unnoticed */
	char record_name[NAME_CHARS], mark_name[NAME_CHARS];
	bool was_here;			/* its mark was found: it is worth waiting for */
	int helper;			/* socket of the process that stores; -1 */
	int orders;			/* in that process: its end; -1 */
	struct sandbox *sandbox;
	struct vmlinux v;
	struct kernel_cache_memory memory;
};

struct cached_kernel {
	int fd;
	struct identity seal;
	struct vmlinux v;
	uint64_t image_offset;
	uint8_t *bitmap, *relocs;	/* one bit for each page that is not zero */
};

static const char record_magic[8] = { 'l', 'k', 'v', 'm', 'r', 'e', 'c', '\n' };
static const char entry_magic[8] = { 'l', 'k', 'v', 'm', 'k', 'r', 'n', '\n' };

/* ---- identities and names ---- */

static int64_t to_ns(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static bool identify(int fd, struct identity *id)
{
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return false;
	*id = (struct identity){
		.dev = st.st_dev, .ino = st.st_ino, .bytes = (uint64_t)st.st_size,
		.modified_ns = to_ns(&st.st_mtim), .changed_ns = to_ns(&st.st_ctim),
	};
	return true;
}

static bool is_same(const struct identity *a, const struct identity *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->bytes == b->bytes &&
	       a->modified_ns == b->modified_ns && a->changed_ns == b->changed_ns;
}

static void name_kernel(const struct kernel_cache *c, char name[NAME_CHARS], const char *end)
{
	snprintf(name, NAME_CHARS, PREFIX "%llx-%llx-%llx.%s", (unsigned long long)c->kernel.dev,
		 (unsigned long long)c->kernel.ino, (unsigned long long)c->kernel.changed_ns, end);
}

static void name_entry(char name[NAME_CHARS], const char hash[HASH_CHARS])
{
	snprintf(name, NAME_CHARS, PREFIX "%.*s.kernel", (int)HASH_CHARS, hash);
}

/* Whether @name is one that name_kernel() makes, with @end. */
static bool names_kernel(const char *name, const char *end)
{
	size_t at = strlen(PREFIX);

	if (strncmp(name, PREFIX, at))
		return false;
	at += strspn(name + at, "0123456789abcdef-");
	return !strcmp(name + at, end);
}

static bool names_entry(const char *name)
{
	return strlen(name) == strlen(PREFIX) + HASH_CHARS + strlen(".kernel") &&
	       names_kernel(name, ".kernel");
}

static uint32_t crc_of(const void *data, size_t bytes)
{
	return (uint32_t)crc32(0, data, (unsigned int)bytes);
}

/* ---- the folder ---- */

/* A file of ours that nobody else can write. */
static bool is_private(const struct stat *st)
{
	return st->st_uid == geteuid() && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

static int open_dir(const char *path, const char **why)
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

static int open_default_dir(const char **why)
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
	return open_dir(path, why);
}

struct kernel_cache *kernel_cache_open(const char *dir, int kernel_fd, const char **why)
{
	struct kernel_cache *c = calloc(1, sizeof(*c));
	struct timespec now;

	*why = "no memory";
	if (!c)
		return NULL;
	c->kernel_fd = kernel_fd;
	c->helper = c->orders = -1;
	c->dir = dir ? open_dir(dir, why) : open_default_dir(why);
	if (c->dir < 0 || !identify(kernel_fd, &c->kernel)) {
		kernel_cache_close(c);
		return NULL;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	c->settled = to_ns(&now) - c->kernel.changed_ns > SETTLE_NS &&
		     to_ns(&now) - c->kernel.modified_ns > SETTLE_NS;
	name_kernel(c, c->record_name, "record");
	name_kernel(c, c->mark_name, "seen");
	c->was_here = !faccessat(c->dir, c->mark_name, F_OK, AT_SYMLINK_NOFOLLOW);
	return c;
}

void kernel_cache_close(struct kernel_cache *c)
{
	if (!c)
		return;
	/*
	 * On a host without an idle CPU a guest may end before its kernel is stored. We do
	 * not wait for that when a kernel is run for the first time, only the second time.
	 */
	if (c->helper >= 0 && c->was_here)
		helper_wait(c->helper);
	else if (c->helper >= 0)
		helper_end(c->helper, 'q');
	if (c->memory.map)
		munmap(c->memory.map, c->memory.map_bytes);
	if (c->dir >= 0)
		close(c->dir);
	free(c);
}

/* ---- looking up ---- */

/* Opens a file of the folder. -1 if it is not ours. */
static int open_own(const struct kernel_cache *c, const char *name)
{
	int fd = openat(c->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return -1;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && is_private(&st))
		return fd;
	close(fd);
	return -1;
}

static bool read_record(const struct kernel_cache *c, const char *name, struct record *r)
{
	int fd = open_own(c, name);
	struct identity id;
	uint32_t crc;
	bool ok;

	if (fd < 0)
		return false;
	ok = identify(fd, &id) && id.bytes == sizeof(*r) && !pread_all(fd, r, sizeof(*r), 0);
	close(fd);
	if (!ok)
		return false;
	crc = r->crc;
	r->crc = 0;
	return !memcmp(r->magic, record_magic, sizeof(r->magic)) && r->version == VERSION &&
	       crc == crc_of(r, sizeof(*r));
}

static uint64_t nr_pages(uint64_t bytes)
{
	return (bytes + PAGE_BYTES - 1) / PAGE_BYTES;
}

static uint64_t bitmap_bytes(uint64_t image_bytes)
{
	return align_up((nr_pages(image_bytes) + 7) / 8, PAGE_BYTES);
}

static uint64_t nr_relocs(const struct entry_header *h)
{
	return (uint64_t)h->nr_add64 + h->nr_subtract32 + h->nr_add32;
}

static uint64_t image_offset(const struct entry_header *h)
{
	return PAGE_BYTES + bitmap_bytes(h->image_bytes) + align_up(4 * nr_relocs(h), PAGE_BYTES);
}

static bool header_is_good(struct entry_header *h, const struct record *r)
{
	uint32_t crc = h->crc;

	h->crc = 0;
	return !memcmp(h->magic, entry_magic, sizeof(h->magic)) && h->version == VERSION &&
	       crc == crc_of(h, sizeof(*h)) && !memcmp(h->hash, r->hash, HASH_CHARS) &&
	       h->image_bytes && h->image_bytes <= IMAGE_MAX_BYTES &&
	       h->file_bytes <= IMAGE_MAX_BYTES && nr_relocs(h) <= RELOCS_MAX &&
	       r->entry.bytes == image_offset(h) + nr_pages(h->image_bytes) * PAGE_BYTES;
}

static bool read_tables(struct cached_kernel *k, const struct entry_header *h)
{
	uint64_t bits = bitmap_bytes(h->image_bytes), relocs = 4 * nr_relocs(h);

	k->bitmap = malloc(bits);
	k->relocs = malloc(relocs + 1);
	if (!k->bitmap || !k->relocs || pread_all(k->fd, k->bitmap, bits, PAGE_BYTES) ||
	    pread_all(k->fd, k->relocs, relocs, PAGE_BYTES + bits))
		return false;
	k->image_offset = image_offset(h);
	k->v = (struct vmlinux){
		.link_gpa = h->link_gpa, .link_address = h->link_address,
		.image_bytes = h->image_bytes, .file_bytes = h->file_bytes, .entry = h->entry,
		.has_relocs = h->has_relocs,
		.add64 = { k->relocs, h->nr_add64 },
		.subtract32 = { k->relocs + 4ul * h->nr_add64, h->nr_subtract32 },
		.add32 = { k->relocs + 4ul * (h->nr_add64 + h->nr_subtract32), h->nr_add32 },
	};
	return vmlinux_check(&k->v);
}

static bool open_entry(const struct kernel_cache *c, const struct record *r,
		       struct cached_kernel *k)
{
	struct entry_header h;
	struct identity id;
	char name[NAME_CHARS];

	name_entry(name, r->hash);
	k->fd = open_own(c, name);
	k->seal = r->entry;
	return k->fd >= 0 && identify(k->fd, &id) && is_same(&id, &r->entry) &&
	       !pread_all(k->fd, &h, sizeof(h), 0) && header_is_good(&h, r) && read_tables(k, &h);
}

struct cached_kernel *kernel_cache_find(struct kernel_cache *c, const char **why)
{
	struct cached_kernel *k;
	struct record r;

	*why = "it is not in the cache";
	if (!read_record(c, c->record_name, &r) || !is_same(&r.kernel, &c->kernel))
		return NULL;
	k = calloc(1, sizeof(*k));
	*why = "no memory";
	if (!k)
		return NULL;
	if (!open_entry(c, &r, k)) {
		*why = "what is in the cache was changed or is damaged";
		cached_kernel_free(k);
		return NULL;
	}
	/* When it was last of use. */
	utimensat(c->dir, c->record_name, NULL, AT_SYMLINK_NOFOLLOW);
	return k;
}

const struct vmlinux *cached_kernel_vmlinux(const struct cached_kernel *k)
{
	return &k->v;
}

static bool is_stored(const struct cached_kernel *k, uint64_t page)
{
	return k->bitmap[page / 8] >> page % 8 & 1;
}

/* The end of a run of pages to read that begins with @page. */
static uint64_t run_end(const struct cached_kernel *k, uint64_t page, uint64_t nr)
{
	uint64_t end = page + 1;

	for (uint64_t at = end; at < nr && at - end <= MERGE_PAGES; at++)
		if (is_stored(k, at))
			end = at + 1;
	return end;
}

int cached_kernel_read(const struct cached_kernel *k, gpa_t gpa, const struct mem *mem)
{
	uint64_t nr = nr_pages(k->v.image_bytes), end;
	struct identity id;

	for (uint64_t page = 0; page < nr; page = end) {
		int rc;

		end = page + 1;
		if (!is_stored(k, page))
			continue;
		end = run_end(k, page, nr);
		rc = mem_read_file(mem, gpa + page * PAGE_BYTES,
				   min_u64(end * PAGE_BYTES, k->v.image_bytes) - page * PAGE_BYTES,
				   k->fd, k->image_offset + page * PAGE_BYTES);
		if (rc)
			return rc;
	}
	return identify(k->fd, &id) && is_same(&id, &k->seal) ? 0 : -ESTALE;
}

void cached_kernel_free(struct cached_kernel *k)
{
	if (!k)
		return;
	if (k->fd >= 0)
		close(k->fd);
	free(k->bitmap);
	free(k->relocs);
	free(k);
}

/* ---- storing, in a process of its own ---- */

static bool write_all(int fd, const void *data, size_t bytes, uint64_t offset)
{
	const uint8_t *p = data;

	while (bytes) {
		ssize_t n = pwrite(fd, p, bytes, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		offset += (uint64_t)n;
		bytes -= (size_t)n;
	}
	return true;
}

/* The VM has ended, and nobody is to wait. */
static bool is_over(const struct kernel_cache *c)
{
	return helper_is_called(c->orders);
}

/*
 * SHA-256 from a library that is loaded only here: nettle, which uses the CPU's SHA
 * instructions. A kernel takes 22 ms, with a portable implementation (libmd) 130 ms.
 */
struct hash {
	void (*init)(void *context);
	void (*update)(void *context, size_t bytes, const uint8_t *data);
	void (*digest)(void *context, size_t bytes, uint8_t *digest);
};

static bool find_hash(struct hash *h)
{
	void *library = dlopen(HASH_LIBRARY, RTLD_NOW);

	if (!library)
		return false;
	h->init = dlsym(library, "nettle_sha256_init");
	h->update = dlsym(library, "nettle_sha256_update");
	h->digest = dlsym(library, "nettle_sha256_digest");
	return h->init && h->update && h->digest;
}

/* Of the kernel file, in hexadecimal. */
static bool hash_kernel(const struct kernel_cache *c, const struct hash *h,
			char text[HASH_CHARS + 1])
{
	uint64_t context[32];	/* struct sha256_ctx: 112 bytes */
	uint8_t *chunk = malloc(CHUNK_BYTES), digest[HASH_BYTES];
	uint64_t at = 0;

	if (!chunk)
		return false;
	h->init(context);
	for (; at < c->kernel.bytes && !is_over(c); at += CHUNK_BYTES) {
		uint64_t n = min_u64(CHUNK_BYTES, c->kernel.bytes - at);

		if (pread_all(c->kernel_fd, chunk, n, at))
			break;
		h->update(context, n, chunk);
	}
	h->digest(context, sizeof(digest), digest);
	for (size_t i = 0; i < HASH_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	free(chunk);
	return c->kernel.bytes && at >= c->kernel.bytes;
}

/* The part of the image's page @page that comes from the file; false if that is zero. */
static bool fill_page(const struct vmlinux *v, uint64_t page, uint8_t data[PAGE_BYTES])
{
	uint64_t start = page * PAGE_BYTES, end = start + PAGE_BYTES;
	bool any = false;

	memset(data, 0, PAGE_BYTES);
	for (unsigned int i = 0; i < v->nr_segments; i++) {
		const struct vmlinux_segment *s = &v->segments[i];
		uint64_t from = max_u64(start, s->start);
		uint64_t to = min_u64(end, s->start + s->file_bytes);

		if (from < to)
			memcpy(data + (from - start), v->file + s->offset + (from - s->start), to - from);
	}
	for (unsigned int i = 0; i < PAGE_BYTES / 8 && !any; i++) {
		uint64_t word;

		memcpy(&word, data + sizeof(word) * i, sizeof(word));
		any = word;
	}
	return any;
}

static bool write_image(struct kernel_cache *c, int fd, uint64_t offset, uint8_t *bitmap)
{
	uint64_t nr = nr_pages(c->v.image_bytes);
	uint8_t data[PAGE_BYTES];

	for (uint64_t page = 0; page < nr; page++) {
		if (page % (CHUNK_BYTES / PAGE_BYTES) == 0 && is_over(c))
			return false;
		if (!fill_page(&c->v, page, data))
			continue;
		bitmap[page / 8] = (uint8_t)(bitmap[page / 8] | 1u << page % 8);
		if (!write_all(fd, data, PAGE_BYTES, offset + page * PAGE_BYTES))
			return false;
	}
	return true;
}

static bool write_entry(struct kernel_cache *c, int fd, const char *hash)
{
	const struct vmlinux *v = &c->v;
	struct entry_header h;
	uint64_t bits = bitmap_bytes(v->image_bytes), at = PAGE_BYTES + bits;
	const struct vmlinux_relocs *tables[] = { &v->add64, &v->subtract32, &v->add32 };
	uint8_t *bitmap = calloc(1, bits);
	bool ok = bitmap;

	memset(&h, 0, sizeof(h));	/* with what is between the fields */
	memcpy(h.magic, entry_magic, sizeof(h.magic));
	memcpy(h.hash, hash, HASH_CHARS);
	h.version = VERSION;
	h.link_gpa = v->link_gpa;
	h.link_address = v->link_address;
	h.image_bytes = v->image_bytes;
	h.file_bytes = v->file_bytes;
	h.entry = v->entry;
	h.has_relocs = v->has_relocs;
	h.nr_add64 = (uint32_t)v->add64.nr;
	h.nr_subtract32 = (uint32_t)v->subtract32.nr;
	h.nr_add32 = (uint32_t)v->add32.nr;
	h.crc = crc_of(&h, sizeof(h));
	for (unsigned int i = 0; i < ARRAY_SIZE(tables) && ok; i++) {
		ok = write_all(fd, tables[i]->first, 4 * tables[i]->nr, at);
		at += 4 * tables[i]->nr;
	}
	ok = ok && !ftruncate(fd, (off_t)(image_offset(&h) + nr_pages(h.image_bytes) * PAGE_BYTES)) &&
	     write_image(c, fd, image_offset(&h), bitmap) &&
	     write_all(fd, bitmap, bits, PAGE_BYTES) && write_all(fd, &h, sizeof(h), 0);
	free(bitmap);
	return ok;
}

/* A new file. Only one process stores at a time: what is there under this name is left over. */
static int create_temporary(const struct kernel_cache *c)
{
	unlinkat(c->dir, TEMPORARY, 0);
	return openat(c->dir, TEMPORARY, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* Gives the complete file its final name. */
static bool publish(const struct kernel_cache *c, int fd, const char *name)
{
	return !fsync(fd) && !renameat(c->dir, TEMPORARY, c->dir, name);
}

static bool store_entry(struct kernel_cache *c, const char *hash, struct identity *id)
{
	char name[NAME_CHARS];
	int fd = create_temporary(c);
	bool ok;

	if (fd < 0)
		return false;
	name_entry(name, hash);
	ok = write_entry(c, fd, hash) && publish(c, fd, name) && identify(fd, id);
	close(fd);
	return ok;
}

static bool store_record(struct kernel_cache *c, const char *hash, const struct identity *entry)
{
	int fd = create_temporary(c);
	struct record r;
	bool ok;

	if (fd < 0)
		return false;
	memset(&r, 0, sizeof(r));
	memcpy(r.magic, record_magic, sizeof(r.magic));
	memcpy(r.hash, hash, HASH_CHARS);
	r.version = VERSION;
	r.kernel = c->kernel;
	r.entry = *entry;
	r.crc = crc_of(&r, sizeof(r));
	ok = write_all(fd, &r, sizeof(r), 0) && publish(c, fd, c->record_name);
	close(fd);
	return ok;
}

/* ---- what is in the folder ---- */

/* A record that belongs to an entry as it is now. */
struct use {
	char record[NAME_CHARS], entry[NAME_CHARS];
	struct identity id;		/* the entry's */
	int64_t last_ns;
	uint64_t disk_bytes;
};

static bool read_use(const struct kernel_cache *c, const char *name, struct use *u)
{
	struct record r;
	struct stat st;
	bool same;
	int fd;

	if (strlen(name) >= NAME_CHARS || !read_record(c, name, &r) ||
	    fstatat(c->dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return false;
	strcpy(u->record, name);
	name_entry(u->entry, r.hash);
	u->last_ns = to_ns(&st.st_mtim);
	fd = open_own(c, u->entry);
	same = fd >= 0 && identify(fd, &u->id) && is_same(&u->id, &r.entry) && !fstat(fd, &st);
	u->disk_bytes = (uint64_t)st.st_blocks * 512;
	if (fd >= 0)
		close(fd);
	return same;
}

static int newest_first(const void *a, const void *b)
{
	const struct use *x = a, *y = b;

	return x->last_ns < y->last_ns ? 1 : x->last_ns > y->last_ns ? -1 : 0;
}

/* The folder's valid records, newest first; those beyond MAX_USES are as if not there. */
static unsigned int list_uses(DIR *dir, const struct kernel_cache *c, struct use *uses)
{
	unsigned int nr = 0;
	struct dirent *e;

	rewinddir(dir);
	while ((e = readdir(dir)) && nr < MAX_USES)
		if (names_kernel(e->d_name, ".record") && read_use(c, e->d_name, &uses[nr]))
			nr++;
	qsort(uses, nr, sizeof(*uses), newest_first);
	return nr;
}

/* How many of the records stay, if all their entries are to fit. */
static unsigned int choose_kept(const struct use *uses, unsigned int nr)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < nr; i++) {
		bool counted = false;

		for (unsigned int k = 0; k < i; k++)
			counted |= !strcmp(uses[k].entry, uses[i].entry);
		bytes += counted ? 0 : uses[i].disk_bytes;
		if (i && bytes > LIMIT_BYTES)
			return i;
	}
	return nr;
}

/* Removes the files of the cache that no kept record is or names, and all marks. */
static void evict(DIR *dir, const struct kernel_cache *c, const struct use *uses, unsigned int kept)
{
	struct dirent *e;

	rewinddir(dir);
	while ((e = readdir(dir))) {
		bool keep = !names_kernel(e->d_name, ".record") && !names_entry(e->d_name) &&
			    !names_kernel(e->d_name, ".seen");

		for (unsigned int i = 0; i < kept && !keep; i++)
			keep = !strcmp(e->d_name, uses[i].record) || !strcmp(e->d_name, uses[i].entry);
		if (!keep)
			unlinkat(c->dir, e->d_name, 0);
	}
}

static bool store_with(struct kernel_cache *c, const struct hash *h, DIR *dir, struct use *uses,
		       const char **why)
{
	char hash[HASH_CHARS + 1], name[NAME_CHARS];
	unsigned int nr = list_uses(dir, c, uses), i;
	struct identity now, entry;

	*why = "the file cannot be read";
	if (!hash_kernel(c, h, hash))
		return false;
	*why = "the file was changed while it was read";
	if (!identify(c->kernel_fd, &now) || !is_same(&now, &c->kernel))
		return false;
	*why = "its files cannot be written";
	name_entry(name, hash);
	/* The same kernel may be there from another file. */
	for (i = 0; i < nr && strcmp(uses[i].entry, name); i++)
		;
	if (i < nr)
		entry = uses[i].id;
	else if (!store_entry(c, hash, &entry))
		return false;
	if (!store_record(c, hash, &entry))
		return false;
	nr = list_uses(dir, c, uses);
	evict(dir, c, uses, choose_kept(uses, nr));
	return true;
}

/* Marks this kernel as run once: if it is not stored now, the next run waits until it is. */
static void leave_mark(const struct kernel_cache *c)
{
	int fd = openat(c->dir, c->mark_name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
}

/* Why it is not stored; NULL if it is. */
static const char *store(struct kernel_cache *c, const struct hash *h, DIR *dir)
{
	struct use *uses = calloc(MAX_USES, sizeof(*uses));
	const char *why = "no memory";
	bool stored = false;

	if (uses && dir) {
		why = "another lkvm is at it";
		if (!flock(dirfd(dir), LOCK_EX | LOCK_NB)) {
			stored = store_with(c, h, dir, uses, &why);
			unlinkat(c->dir, TEMPORARY, 0);
		}
	}
	free(uses);
	if (stored)
		return NULL;
	return is_over(c) ? "the guest has ended" : why;
}

static void run_store(int socket, void *arg)
{
	struct kernel_cache *c = arg;
	const char *why = "this host has no " HASH_LIBRARY;
	struct hash h;
	DIR *dir;
	int fd;

	c->orders = socket;
	if (!c->was_here)
		leave_mark(c);
	/*
	 * The guest is booting and comes first. If lkvm is going to wait for us: a nice value, with
	 * which we get a tenth of a busy CPU. With SCHED_IDLE we might notice the end seconds late.
	 */
	setpriority(PRIO_PROCESS, 0, c->was_here ? 10 : 19);
	fd = openat(c->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (find_hash(&h) && !sandbox_confine_helper(c->sandbox, SANDBOX_STORE))
		why = store(c, &h, dir);
	/* Waiting would not help next time. */
	if (why && !is_over(c))
		unlinkat(c->dir, c->mark_name, 0);
	if (dir)
		closedir(dir);	/* and unlocks it, before anybody is told */
	if (why)
		log_verbose("kernel cache: not stored: %s", why);
	else
		log_verbose("kernel cache: stored");
}

void kernel_cache_keep(struct kernel_cache *c, const struct vmlinux *v,
		       const struct kernel_cache_memory *memory)
{
	c->v = *v;
	c->memory = *memory;
}

static void start_store(struct kernel_cache *c)
{
	const int fds[] = { c->dir, c->kernel_fd };

	if (!c->settled)
		log_verbose("kernel cache: not stored: the kernel was written just now");
	else
		c->helper = helper_start("kernel-cache", run_store, c, fds, ARRAY_SIZE(fds));
	munmap(c->memory.map, c->memory.map_bytes);	/* the process has a copy */
	c->memory.map = NULL;
}

void kernel_cache_start(struct kernel_cache *c, struct sandbox *sandbox)
{
	if (!c)
		return;
	c->sandbox = sandbox;
	if (c->memory.map)
		start_store(c);
	close(c->dir);
	c->dir = c->kernel_fd = -1;
}
