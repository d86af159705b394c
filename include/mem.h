/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest RAM, and the only code that turns a guest-physical address into a
 * pointer (DESIGN rule 1).
 *
 * RAM is one host mapping that starts at a 2 MiB boundary, so that KVM can map
 * it with huge pages. Guest-physical address A is byte A of the mapping: the
 * 1 GiB hole below 4 GiB, where devices live, is part of the mapping but
 * PROT_NONE and never handed to KVM.
 *
 *	0          min(size, 3 GiB)      4 GiB        4 GiB + size - 3 GiB
 *	| low RAM         |   hole         | high RAM          |
 */
#ifndef LKVM_MEM_H
#define LKVM_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef uint64_t gpa_t;

#define MEM_HOLE_START	0xc0000000ull
#define MEM_HOLE_END	0x100000000ull
#define MEM_MAX_REGIONS 2

struct mem_region {
	gpa_t start;
	uint64_t size_bytes;
};

struct mem {
	uint8_t *base; /* host address of gpa 0 */
	uint64_t mapping_bytes;
	uint64_t size_bytes; /* RAM without the hole */
	bool starts_zero;    /* what was never touched is zero */
	unsigned int nr_regions;
	struct mem_region regions[MEM_MAX_REGIONS];
};

/*
 * Reserves @size_bytes of RAM (a multiple of the page size). Pages are
 * allocated when first touched. Returns 0 or -errno (-ENOMEM, -EINVAL).
 */
int mem_create(struct mem **out, uint64_t size_bytes);

/*
 * Region @region is, from now on, what is in @fd from @offset on; what is written to it stays here. For who has not read
 * or written it yet, nor given it to the host's kernel. 0 or -errno.
 */
int mem_map_file(struct mem *mem, unsigned int region, int fd, uint64_t offset);

/*
 * All of it is as mem_create() has made it, whatever it was; it stays where it is. No vCPU and no VM has it. 0 or
 * -errno.
 */
int mem_clear(struct mem *mem);

/* Accepts NULL. All vCPUs must have been destroyed. */
void mem_destroy(struct mem *mem);

/*@ predicate is_mem{L}(struct mem *m) =
      \valid_read(m) && m->nr_regions <= MEM_MAX_REGIONS &&
      \valid(m->base + (0 .. m->mapping_bytes - 1)) &&
      \forall integer r; 0 <= r < m->nr_regions ==>
        m->regions[r].start + m->regions[r].size_bytes <= m->mapping_bytes;

    predicate is_ram{L}(struct mem *m, integer gpa, integer len) =
      \exists integer r; 0 <= r < m->nr_regions &&
        m->regions[r].start <= gpa && gpa + len <= m->regions[r].start + m->regions[r].size_bytes;

    // The layout never changes after mem_create(), so these hold for ever:
    axiomatic RamAt {
      predicate is_made(struct mem *m);
      axiom made{L}: \forall struct mem *m; is_made(m) ==> is_mem(m);
      predicate is_ram_at(struct mem *m, uint8_t *p, integer len);
      axiom placed{L}: \forall struct mem *m, integer gpa, len;
        is_ram(m, gpa, len) ==> is_ram_at(m, m->base + gpa, len);
      axiom part: \forall struct mem *m, uint8_t *p, integer len, less;
        is_ram_at(m, p, len) && 0 <= less <= len ==> is_ram_at(m, p, less);
    }
*/

/*
 * Host pointer to [gpa, gpa + len), or NULL unless the whole range is RAM in
 * one region. The contents are shared with the guest: read once, into a copy.
 */
/*@ requires is_made(mem);
    assigns \nothing;
    ensures \result == \null || (is_ram(mem, gpa, len) && \result == (void *)(mem->base + gpa));
    ensures \result == \null || is_ram_at(mem, (uint8_t *)\result, len); */
void *mem_ptr(const struct mem *mem, gpa_t gpa, uint64_t len);

/* Copies in and out. 0, or -EFAULT with nothing copied if not all is RAM. */
int mem_read(const struct mem *mem, gpa_t gpa, void *dst, uint64_t len);
int mem_write(const struct mem *mem, gpa_t gpa, const void *src, uint64_t len);
int mem_zero(const struct mem *mem, gpa_t gpa, uint64_t len);

/*
 * Reads @len bytes at @offset of file @fd straight into RAM. 0, -EFAULT if not
 * all is RAM, -ENODATA if the file ends early, or the error of pread(2).
 */
int mem_read_file(const struct mem *mem, gpa_t gpa, uint64_t len, int fd, uint64_t offset);

/*
 * For mem_find_touched(), in the process that has the memory, before the sandbox. It does not tell where in
 * the host's memory that is, whoever opens it. A descriptor or -errno.
 */
int mem_open_pagemap(void);

/*
 * Which pages of the 2 MiB from @gpa on, a page of RAM, were ever touched, a bit for each: what was not
 * is zero. Bits of what is no RAM mean nothing. All are set where nobody can tell (@pagemap may be -1).
 */
#define MEM_TOUCHED_PAGES 512u
#define MEM_PAGE_BYTES	  4096u
void mem_find_touched(const struct mem *mem, int pagemap, gpa_t gpa,
		      uint64_t touched[MEM_TOUCHED_PAGES / 64]);

/* Host address of a region, for KVM_SET_USER_MEMORY_REGION only. */
uint64_t mem_region_hva(const struct mem *mem, const struct mem_region *region);

/* Fills @table, which has room for MEM_MAX_REGIONS, with all RAM, for VHOST_SET_MEM_TABLE only. */
struct vhost_memory;
void mem_fill_vhost_table(const struct mem *mem, struct vhost_memory *table);

#endif
