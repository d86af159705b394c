// SPDX-License-Identifier: GPL-2.0-only
/*
 * Decompressed kernels in a cache (kernel-cache.h).
 *
 * One file for each kernel, named after the identity of the kernel's file. It begins with a
 * header, which has that identity and a checksum of itself and the tables; a bitmap of the pages
 * that are not zero, the tables of relocations and the image follow, each at the start of a page.
 * The pages of the image have no checksum, since it would take longer to compute than to read
 * them: that nobody has changed them is told from the file's time (cache.h).
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "cache.h"
#include "io.h"
#include "log.h"
#include "sandbox/helper.h"
#include "sandbox/sandbox.h"
#include "util.h"
#include "x86/boot/kernel-cache.h"

#define PAGE_BYTES 4096u
#define VERSION	   2u
#ifndef LIMIT_BYTES	      /* less in the test build */
#define LIMIT_BYTES MIB(1024) /* of all entries, on disk */
#endif
#define IMAGE_MAX_BYTES GIB(1)
#define RELOCS_MAX	(16u << 20) /* words: no kernel has a million */
#define CHUNK_PAGES	64u	    /* of work, between two looks whether to give up */
#define MERGE_PAGES	8u	    /* zero pages read along rather than begin anew */
/* What a run that stores waits for that at its end; a host with an idle CPU has done it by then. */
#define STORE_WAIT_MS 500
#define SUFFIX	      ".kernel"
#define NAME_CHARS    96u

struct entry_header {
	char magic[8];
	uint32_t version;
	uint32_t crc; /* of the header with this field zero, bitmap and tables */
	struct cache_identity kernel;
	uint64_t link_gpa, link_address, image_bytes, file_bytes, entry;
	uint32_t has_relocs, nr_add64, nr_subtract32, nr_add32;
};

struct kernel_cache {
	int folder, kernel_fd;
	struct cache_identity kernel;
	char name[NAME_CHARS]; /* of its entry */
	bool settled;	       /* the kernel's content will not change unnoticed */
	int helper;	       /* socket of the process that stores; -1 */
	int orders;	       /* in that process: its end; -1 */
	struct sandbox *sandbox;
	struct vmlinux v;
	struct kernel_cache_memory memory;
};

struct cached_kernel {
	int fd;
	int64_t made_ns;
	struct vmlinux v;
	uint64_t image_offset;
	uint8_t *bitmap, *relocs; /* one bit for each page that is not zero */
};

static const char entry_magic[8] = { 'l', 'k', 'v', 'm', 'k', 'r', 'n', '\n' };

struct kernel_cache *kernel_cache_open(const char *dir, int kernel_fd, const char **why)
{
	struct kernel_cache *c = calloc(1, sizeof(*c));

	*why = "no memory";
	if (!c)
		return NULL;
	c->kernel_fd = kernel_fd;
	c->helper = c->orders = -1;
	c->folder = cache_open_folder(dir, why);
	if (c->folder >= 0 && !cache_identify(kernel_fd, &c->kernel)) {
		*why = "the kernel is not a file";
		close(c->folder);
		c->folder = -1;
	}
	if (c->folder < 0) {
		free(c);
		return NULL;
	}
	c->settled = cache_is_settled(&c->kernel);
	snprintf(c->name, sizeof(c->name), CACHE_PREFIX "%llx-%llx-%llx" SUFFIX,
		 (unsigned long long)c->kernel.dev, (unsigned long long)c->kernel.ino,
		 (unsigned long long)c->kernel.changed_ns);
	return c;
}

/* A guest may end before its kernel is stored. Nobody is to wait long for that. */
static void end_store(const struct kernel_cache *c)
{
	struct pollfd p = { .fd = c->helper, .events = POLLIN };

	/* On a file system that does not answer it is left alone after that: it is told by the end of file. */
	if (poll_fds(&p, 1, STORE_WAIT_MS) <= 0 && helper_call(c->helper, 'q'))
		poll_fds(&p, 1, STORE_WAIT_MS);
	close(c->helper);
}

void kernel_cache_close(struct kernel_cache *c)
{
	if (!c)
		return;
	if (c->helper >= 0)
		end_store(c);
	if (c->memory.map)
		munmap(c->memory.map, c->memory.map_bytes);
	if (c->folder >= 0)
		close(c->folder);
	free(c);
}

/* ---- looking up ---- */

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

/* Of the header with its own field zero, then of @tables. */
static uint32_t crc_of(const struct entry_header *h, const void *bitmap, const struct iovec *tables,
		       unsigned int nr)
{
	struct entry_header copy = *h;
	unsigned long crc;

	copy.crc = 0;
	crc = crc32(0, (const void *)&copy, sizeof(copy));
	crc = crc32(crc, bitmap, (unsigned int)bitmap_bytes(h->image_bytes));
	for (unsigned int i = 0; i < nr; i++)
		if (tables[i].iov_len)
			crc = crc32(crc, tables[i].iov_base, (unsigned int)tables[i].iov_len);
	return (uint32_t)crc;
}

static bool kernel_cache_header_is_good(const struct entry_header *h, const struct kernel_cache *c)
{
	return !memcmp(h->magic, entry_magic, sizeof(h->magic)) && h->version == VERSION &&
	       cache_is_same(&h->kernel, &c->kernel) && h->image_bytes &&
	       h->image_bytes <= IMAGE_MAX_BYTES && h->file_bytes <= IMAGE_MAX_BYTES &&
	       nr_relocs(h) <= RELOCS_MAX;
}

static bool has_size(int fd, uint64_t bytes)
{
	struct stat st;

	return !fstat(fd, &st) && (uint64_t)st.st_size == bytes;
}

static bool read_tables(struct cached_kernel *k, const struct entry_header *h)
{
	uint64_t bits = bitmap_bytes(h->image_bytes), bytes = 4 * nr_relocs(h);
	struct iovec relocs = { .iov_len = bytes };

	k->image_offset = image_offset(h);
	k->bitmap = malloc(bits);
	k->relocs = malloc(bytes + 1);
	relocs.iov_base = k->relocs;
	if (!k->bitmap || !k->relocs ||
	    !has_size(k->fd, k->image_offset + nr_pages(h->image_bytes) * PAGE_BYTES) ||
	    pread_all(k->fd, k->bitmap, bits, PAGE_BYTES) ||
	    pread_all(k->fd, k->relocs, bytes, PAGE_BYTES + bits) ||
	    crc_of(h, k->bitmap, &relocs, 1) != h->crc)
		return false;
	k->v = (struct vmlinux){
		.link_gpa = h->link_gpa,
		.link_address = h->link_address,
		.image_bytes = h->image_bytes,
		.file_bytes = h->file_bytes,
		.entry = h->entry,
		.has_relocs = h->has_relocs,
		.add64 = { k->relocs, h->nr_add64 },
		.subtract32 = { k->relocs + 4ul * h->nr_add64, h->nr_subtract32 },
		.add32 = { k->relocs + 4ul * (h->nr_add64 + h->nr_subtract32), h->nr_add32 },
	};
	return vmlinux_check(&k->v);
}

struct cached_kernel *kernel_cache_find(struct kernel_cache *c, const char **why)
{
	int fd = cache_open_entry(c->folder, c->name, c->kernel.changed_ns);
	struct cached_kernel *k;
	struct entry_header h;

	*why = "it is not in the cache";
	if (fd < 0)
		return NULL;
	k = calloc(1, sizeof(*k));
	*why = "no memory";
	if (!k) {
		close(fd);
		return NULL;
	}
	k->fd = fd;
	k->made_ns = c->kernel.changed_ns;
	if (pread_all(fd, &h, sizeof(h), 0) || !kernel_cache_header_is_good(&h, c) || !read_tables(k, &h)) {
		*why = "what is in the cache is damaged";
		cached_kernel_free(k);
		return NULL;
	}
	cache_mark_use(c->folder, c->name);
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
	return cache_is_unchanged(k->fd, k->made_ns) ? 0 : -ESTALE;
}

void cached_kernel_free(struct cached_kernel *k)
{
	if (!k)
		return;
	close(k->fd);
	free(k->bitmap);
	free(k->relocs);
	free(k);
}

/* ---- storing, in a process of its own ---- */

static bool kernel_cache_write_all(int fd, const void *data, size_t bytes, uint64_t offset)
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
		if (page % CHUNK_PAGES == 0 && is_over(c))
			return false;
		if (!fill_page(&c->v, page, data))
			continue;
		bitmap[page / 8] = (uint8_t)(bitmap[page / 8] | 1u << page % 8);
		if (!kernel_cache_write_all(fd, data, PAGE_BYTES, offset + page * PAGE_BYTES))
			return false;
	}
	return true;
}

static void fill_header(const struct kernel_cache *c, struct entry_header *h)
{
	const struct vmlinux *v = &c->v;

	memset(h, 0, sizeof(*h)); /* with what is between the fields */
	memcpy(h->magic, entry_magic, sizeof(h->magic));
	h->version = VERSION;
	h->kernel = c->kernel;
	h->link_gpa = v->link_gpa;
	h->link_address = v->link_address;
	h->image_bytes = v->image_bytes;
	h->file_bytes = v->file_bytes;
	h->entry = v->entry;
	h->has_relocs = v->has_relocs;
	h->nr_add64 = (uint32_t)v->add64.nr;
	h->nr_subtract32 = (uint32_t)v->subtract32.nr;
	h->nr_add32 = (uint32_t)v->add32.nr;
}

static struct iovec table_of(const struct vmlinux_relocs *r)
{
	return (struct iovec){ (void *)r->first, 4 * r->nr };
}

static bool kernel_cache_write_tables(int fd, const struct iovec *tables, unsigned int nr, uint64_t at)
{
	for (unsigned int i = 0; i < nr; at += tables[i++].iov_len)
		if (!kernel_cache_write_all(fd, tables[i].iov_base, tables[i].iov_len, at))
			return false;
	return true;
}

static bool write_entry(struct kernel_cache *c, int fd)
{
	const struct iovec tables[] = {
		table_of(&c->v.add64), table_of(&c->v.subtract32), table_of(&c->v.add32)
	};
	struct entry_header h;
	uint64_t bits = bitmap_bytes(c->v.image_bytes), image;
	uint8_t *bitmap = calloc(1, bits);
	bool ok;

	if (!bitmap)
		return false;
	fill_header(c, &h);
	image = image_offset(&h);
	ok = !ftruncate(fd, (off_t)(image + nr_pages(h.image_bytes) * PAGE_BYTES)) &&
	     kernel_cache_write_tables(fd, tables, ARRAY_SIZE(tables), PAGE_BYTES + bits) &&
	     write_image(c, fd, image, bitmap) && kernel_cache_write_all(fd, bitmap, bits, PAGE_BYTES);
	h.crc = crc_of(&h, bitmap, tables, ARRAY_SIZE(tables));
	ok = ok && kernel_cache_write_all(fd, &h, sizeof(h), 0);
	free(bitmap);
	return ok;
}

/* Why it is not stored; NULL if it is. */
static const char *kernel_cache_store(struct kernel_cache *c)
{
	const char *why;
	int lock, fd = cache_begin(c->folder, &lock, &why);
	bool ok;

	if (fd < 0)
		return why;
	ok = write_entry(c, fd);
	if (!ok)
		cache_discard(c->folder);
	ok = ok && cache_publish(c->folder, fd, c->name, c->kernel.changed_ns);
	if (ok)
		cache_trim(c->folder, SUFFIX, LIMIT_BYTES);
	close(fd);
	close(lock); /* before anybody is told */
	if (ok)
		return NULL;
	return is_over(c) ? "the guest has ended" : why;
}

static void run_store(int socket, void *arg)
{
	struct kernel_cache *c = arg;
	const char *why = "no sandbox";

	c->orders = socket;
	setpriority(PRIO_PROCESS, 0, 10); /* the guest is booting: it comes first */
	if (!sandbox_confine_helper(c->sandbox, SANDBOX_STORE))
		why = kernel_cache_store(c);
	if (why)
		log_verbose("kernel cache: not stored: %s", why);
	else
		log_verbose("kernel cache: stored");
}

void kernel_cache_keep(struct kernel_cache *c, const struct vmlinux *v,
		       const struct kernel_cache_memory *memory)
{
	struct cache_identity now;

	c->v = *v;
	c->memory = *memory;
	/* What was read is what the name says, unless it was changed meanwhile. */
	c->settled = c->settled && cache_identify(c->kernel_fd, &now) && cache_is_same(&now, &c->kernel);
}

static void start_store(struct kernel_cache *c)
{
	if (!c->settled)
		log_verbose("kernel cache: not stored: the kernel was written just now");
	else
		c->helper = helper_start("kernel-cache", run_store, c, &c->folder, 1);
	munmap(c->memory.map, c->memory.map_bytes); /* the process has a copy */
	c->memory.map = NULL;
}

void kernel_cache_start(struct kernel_cache *c, struct sandbox *sandbox)
{
	if (!c)
		return;
	c->sandbox = sandbox;
	if (c->memory.map)
		start_store(c);
	close(c->folder);
	c->folder = c->kernel_fd = -1;
}
