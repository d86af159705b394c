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

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef uint64_t gpa_t;

#define MEM_HOLE_START	0xc0000000ull
#define MEM_HOLE_END	0x100000000ull
#define MEM_MAX_REGIONS	2

struct mem_region {
	gpa_t start;
	uint64_t size_bytes;
};

struct mem {
	uint8_t *base;			/* host address of gpa 0 */
	uint64_t mapping_bytes;
	uint64_t size_bytes;		/* RAM without the hole */
	unsigned int nr_regions;
	struct mem_region regions[MEM_MAX_REGIONS];
};

/*
 * Reserves @size_bytes of RAM (a multiple of the page size). Pages are
 * allocated when first touched. Returns 0 or -errno (-ENOMEM, -EINVAL).
 */
int mem_create(struct mem **out, uint64_t size_bytes);

/* Accepts NULL. No vCPU may exist any more. */
void mem_destroy(struct mem *mem);

/*
 * Host pointer to [gpa, gpa + len), or NULL unless the whole range is RAM in
 * one region. The contents are shared with the guest: read once, into a copy.
 */
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

/* Host address of a region, for KVM_SET_USER_MEMORY_REGION only. */
uint64_t mem_region_hva(const struct mem *mem, const struct mem_region *region);

/* Fills @table, which has room for MEM_MAX_REGIONS, with all RAM, for VHOST_SET_MEM_TABLE only. */
struct vhost_memory;
void mem_fill_vhost_table(const struct mem *mem, struct vhost_memory *table);

#endif
