// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest RAM: one aligned mapping and checked access to it.
 *
 * Owned by the machine; the layout never changes after mem_create(), so every
 * thread may use it without a lock. Contents are shared with running vCPUs and
 * may change at any moment. No memory hotplug, no ballooning.
 *
 * Source: Linux 6.1 Documentation/admin-guide/mm/pagemap.rst.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io.h"
#include "mem.h"
#include "util.h"

#define HUGE_PAGE_BYTES MIB(2)
#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)

static void *reserve_aligned(uint64_t len)
{
	uint64_t padded;
	uintptr_t start, aligned;
	void *p;

	if (!add_u64(len, HUGE_PAGE_BYTES, &padded))
		return NULL;
	p = mmap(NULL, padded, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	start = (uintptr_t)p;
	aligned = align_up(start, HUGE_PAGE_BYTES);
	if (aligned > start)
		munmap(p, aligned - start);
	if (start + padded > aligned + len)
		munmap((void *)(aligned + len), start + padded - (aligned + len));
	return (void *)aligned;
}

static void set_regions(struct mem *mem, uint64_t size_bytes)
{
	uint64_t low = min_u64(size_bytes, MEM_HOLE_START);

	mem->size_bytes = size_bytes;
	mem->regions[0] = (struct mem_region){ .start = 0, .size_bytes = low };
	mem->nr_regions = 1;
	mem->mapping_bytes = low;
	if (size_bytes > low) {
		mem->regions[1] = (struct mem_region){
			.start = MEM_HOLE_END,
			.size_bytes = size_bytes - low,
		};
		mem->nr_regions = 2;
		mem->mapping_bytes = MEM_HOLE_END + (size_bytes - low);
	}
}

static void advise_region(void *p, uint64_t bytes)
{
	/* Advice only: a host without huge pages is slower, not wrong. */
	madvise(p, bytes, MADV_HUGEPAGE);
	/* Not in a dump of ours, nor in processes that we start. */
	madvise(p, bytes, MADV_DONTDUMP);
	madvise(p, bytes, MADV_DONTFORK);
}

int mem_create(struct mem **out, uint64_t size_bytes)
{
	struct mem *mem;

	/* 2^46 is what a CPU of today can address; it keeps the sums below in range. */
	if (!size_bytes || size_bytes % MEM_PAGE_BYTES || size_bytes > 1ull << 46)
		return -EINVAL;
	mem = calloc(1, sizeof(*mem));
	if (!mem)
		return -ENOMEM;
	set_regions(mem, size_bytes);
	mem->starts_zero = true;
	mem->base = reserve_aligned(mem->mapping_bytes);
	if (!mem->base) {
		free(mem);
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < mem->nr_regions; i++) {
		const struct mem_region *r = &mem->regions[i];
		void *p = mem->base + r->start;

		if (mprotect(p, r->size_bytes, PROT_READ | PROT_WRITE)) {
			int rc = -errno;

			mem_destroy(mem);
			return rc;
		}
		advise_region(p, r->size_bytes);
	}
	*out = mem;
	return 0;
}

int mem_map_file(struct mem *mem, unsigned int region, int fd, uint64_t offset)
{
	const struct mem_region *r = &mem->regions[region];
	void *p = mem->base + r->start;

	if (mmap(p, r->size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd,
		 (off_t)offset) == MAP_FAILED)
		return -errno;
	madvise(p, r->size_bytes, MADV_DONTDUMP);
	madvise(p, r->size_bytes, MADV_DONTFORK);
	mem->starts_zero = false;
	return 0;
}

int mem_clear(struct mem *mem)
{
	for (unsigned int i = 0; i < mem->nr_regions; i++) {
		const struct mem_region *r = &mem->regions[i];
		void *p = mem->base + r->start;

		if (mmap(p, r->size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
			 -1, 0) == MAP_FAILED)
			return -errno;
		advise_region(p, r->size_bytes);
	}
	mem->starts_zero = true;
	return 0;
}

void mem_destroy(struct mem *mem)
{
	if (!mem)
		return;
	if (mem->base)
		munmap(mem->base, mem->mapping_bytes);
	free(mem);
}

void *mem_ptr(const struct mem *mem, gpa_t gpa, uint64_t len)
{
	//@ assert is_mem(mem);
	/*@ loop invariant 0 <= i <= mem->nr_regions;
	    loop assigns i;
	    loop variant mem->nr_regions - i; */
	for (unsigned int i = 0; i < mem->nr_regions; i++) {
		const struct mem_region *r = &mem->regions[i];

		if (gpa >= r->start && range_within(gpa - r->start, len, r->size_bytes))
			return mem->base + gpa;
	}
	return NULL;
}

int mem_read(const struct mem *mem, gpa_t gpa, void *dst, uint64_t len)
{
	const void *src = mem_ptr(mem, gpa, len);

	if (!src)
		return -EFAULT;
	memcpy(dst, src, len);
	return 0;
}

int mem_write(const struct mem *mem, gpa_t gpa, const void *src, uint64_t len)
{
	void *dst = mem_ptr(mem, gpa, len);

	if (!dst)
		return -EFAULT;
	memcpy(dst, src, len);
	return 0;
}

int mem_zero(const struct mem *mem, gpa_t gpa, uint64_t len)
{
	void *dst = mem_ptr(mem, gpa, len);

	if (!dst)
		return -EFAULT;
	memset(dst, 0, len);
	return 0;
}

int mem_read_file(const struct mem *mem, gpa_t gpa, uint64_t len, int fd, uint64_t offset)
{
	void *dst = mem_ptr(mem, gpa, len);

	if (!dst || !range_within(offset, len, INT64_MAX))
		return -EFAULT;
	return pread_all(fd, dst, len, offset);
}

/*
 * The kernel tells physical addresses to whoever had the right to know them when he opened the file, and we
 * give that up only later.
 */
int mem_open_pagemap(void)
{
	cap_t had = cap_get_proc(), none = had ? cap_dup(had) : NULL;
	int fd = -ENOMEM;

	if (none && !cap_clear_flag(none, CAP_EFFECTIVE) && !cap_set_proc(none)) {
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
		fd = fd < 0 ? -errno : fd;
		cap_set_proc(had);
	}
	cap_free(none);
	cap_free(had);
	return fd;
}

void mem_find_touched(const struct mem *mem, int pagemap, gpa_t gpa,
		      uint64_t touched[MEM_TOUCHED_PAGES / 64])
{
	uint64_t entries[MEM_TOUCHED_PAGES];
	const struct iovec iov = { entries, sizeof(entries) };
	const uintptr_t page = (uintptr_t)(mem->base + gpa) / MEM_PAGE_BYTES;
	ssize_t n = -1;

	if (mem->starts_zero && pagemap >= 0)
		n = read_iov(pagemap, &iov, 1, (off_t)(page * sizeof(entries[0])));
	memset(touched, 0xff, MEM_TOUCHED_PAGES / 8);
	for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(entries[0]); i++)
		if (!(entries[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)))
			touched[i / 64] &= ~(1ull << i % 64);
}

uint64_t mem_region_hva(const struct mem *mem, const struct mem_region *region)
{
	return (uint64_t)(uintptr_t)(mem->base + region->start);
}

void mem_fill_vhost_table(const struct mem *mem, struct vhost_memory *table)
{
	table->nregions = mem->nr_regions;
	table->padding = 0;
	for (unsigned int i = 0; i < mem->nr_regions; i++)
		table->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = mem->regions[i].start,
			.memory_size = mem->regions[i].size_bytes,
			.userspace_addr = mem_region_hva(mem, &mem->regions[i]),
		};
}
