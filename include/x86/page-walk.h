/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a guest's virtual address is in its memory, by the page tables of one of its CPUs: real mode
 * and paging off, 32-bit with and without large pages, PAE, and 64-bit with 4 and 5 levels. Who may
 * use the page is not asked.
 *
 * Source: Intel SDM volume 3A chapter 4. Any thread; pure but for what @read does.
 */
#ifndef LKVM_X86_PAGE_WALK_H
#define LKVM_X86_PAGE_WALK_H

#include <stdint.h>

#include "mem.h"

struct page_walk {
	uint64_t cr0, cr3, cr4, efer;
	/* Copies guest memory. 0, or -errno if it is not all RAM. */
	int (*read)(const void *arg, gpa_t gpa, void *dst, uint64_t bytes);
	const void *arg;
};

struct page_walk_place {
	gpa_t gpa;
	uint64_t bytes; /* from there to the end of its page */
};

/*
 * @address is linear: a segment's base has been added. 0, or -EFAULT if it is not mapped. A guest
 * that keeps its kernel out of the tables of its programs (page-table isolation) has other tables
 * beside them, which Linux places at the same address without bit 12: an address of the kernel
 * that the CPU's own tables do not map is looked for there.
 */
int page_walk(const struct page_walk *walk, uint64_t address, struct page_walk_place *place);

#endif
