// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest RAM: one aligned mapping and checked access to it.
 *
 * Owned by the machine; the layout never changes after mem_create(), so every
 * thread may use it without a lock. Contents are shared with running vCPUs and
 * may change at any moment. No memory hotplug, no ballooning.
 */
#include <assert.h>
#include <errno.h>
#include <linux/vhost.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mem.h"
#include "util.h"

#define HUGE_PAGE_BYTES MIB(2)
#define PAGE_BYTES 4096u

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

int mem_create(struct mem **out, uint64_t size_bytes)
{
	struct mem *mem;

	/* 2^46 is what a CPU of today can address; it keeps the sums below in range. */
	if (!size_bytes || size_bytes % PAGE_BYTES || size_bytes > 1ull << 46)
		return -EINVAL;
	mem = calloc(1, sizeof(*mem));
	if (!mem)
		return -ENOMEM;
	set_regions(mem, size_bytes);
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
		/* Advice only: a host without huge pages is slower, not wrong. */
		madvise(p, r->size_bytes, MADV_HUGEPAGE);
		/* Not in a dump of ours, nor in processes that we start. */
		madvise(p, r->size_bytes, MADV_DONTDUMP);
		madvise(p, r->size_bytes, MADV_DONTFORK);
	}
	*out = mem;
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
