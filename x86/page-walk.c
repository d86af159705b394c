// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest's page tables, walked as its CPU would (x86/page-walk.h).
 *
 * All five formats are one loop over levels, at most five times: what differs is how many levels there
 * are, how large an entry is, how many bits of an address a level takes, and which levels may have a
 * page in the place of a table. Entries are the guest's: each is read once, and leads at worst to
 * another address of its memory, or to one that is not RAM.
 *
 * Source: Intel SDM volume 3A §4.3 (32-bit), §4.4 (PAE), §4.5 (4 and 5 levels).
 */
#include <errno.h>
#include <stdbool.h>

#include "util.h"
#include "x86/page-walk.h"

#define CR0_PG	      0x80000000u
#define CR4_PSE	      0x10u
#define CR4_PAE	      0x20u
#define CR4_LA57      0x1000u
#define EFER_LMA      0x400u
#define PTE_PRESENT   0x1u
#define PTE_LARGE     0x80u
#define PTE_ADDRESS   0x000ffffffffff000ull
#define ISOLATION_BIT 0x1000u /* Linux: arch/x86/mm/pti.c */
#define PAGE_SHIFT    12u

struct page_format {
	unsigned int levels;
	unsigned int index_bits; /* of an address, each level */
	unsigned int entry_bytes;
	unsigned int large_levels; /* a bit for each that may have pages; level 0 has nothing else */
	uint64_t root_mask;	   /* of CR3 */
};

static const struct page_format format_32 = { 2, 10, 4, 0, 0xfffff000u };
static const struct page_format format_32_large = { 2, 10, 4, 1 << 1, 0xfffff000u };
static const struct page_format format_pae = { 3, 9, 8, 1 << 1, 0xffffffe0u };
static const struct page_format format_4_levels = { 4, 9, 8, 1 << 1 | 1 << 2, PTE_ADDRESS };
static const struct page_format format_5_levels = { 5, 9, 8, 1 << 1 | 1 << 2, PTE_ADDRESS };

static const struct page_format *choose_page_format(const struct page_walk *w)
{
	if (w->efer & EFER_LMA)
		return w->cr4 & CR4_LA57 ? &format_5_levels : &format_4_levels;
	if (w->cr4 & CR4_PAE)
		return &format_pae;
	return w->cr4 & CR4_PSE ? &format_32_large : &format_32;
}

static bool is_canonical(uint64_t address, const struct page_format *f)
{
	const unsigned int unused = 64 - PAGE_SHIFT - f->levels * f->index_bits;

	return (uint64_t)((int64_t)(address << unused) >> unused) == address;
}

static void set_place(struct page_walk_place *place, gpa_t page, unsigned int shift, uint64_t address)
{
	const uint64_t size = 1ull << shift, offset = address & (size - 1);

	place->gpa = page + offset;
	place->bytes = size - offset;
}

/* The page of an entry that is one: without its flags, and, of large ones, with bits above 32 (PSE-36). */
static gpa_t page_of(uint64_t entry, unsigned int shift, const struct page_format *f)
{
	const uint64_t within = (1ull << shift) - 1;

	if (f->entry_bytes == 4 && shift > PAGE_SHIFT)
		return (entry & 0xffc00000u) | (entry >> 13 & 0xff) << 32;
	return entry & PTE_ADDRESS & ~within;
}

static int walk_tables(const struct page_walk *w, const struct page_format *f, uint64_t root,
		       uint64_t address, struct page_walk_place *place)
{
	uint64_t table = root & f->root_mask;

	for (unsigned int level = f->levels; level--;) {
		const unsigned int shift = PAGE_SHIFT + level * f->index_bits;
		const uint64_t index = address >> shift & ((1u << f->index_bits) - 1);
		uint64_t entry = 0;

		if (w->read(w->arg, table + index * f->entry_bytes, &entry, f->entry_bytes) ||
		    !(entry & PTE_PRESENT))
			return -EFAULT;
		if (!level || (entry & PTE_LARGE && f->large_levels >> level & 1)) {
			set_place(place, page_of(entry, shift, f), shift, address);
			return 0;
		}
		if (entry & PTE_LARGE && f->entry_bytes == 8)
			return -EFAULT; /* reserved */
		table = entry & PTE_ADDRESS;
	}
	return -EFAULT;
}

int page_walk(const struct page_walk *w, uint64_t address, struct page_walk_place *place)
{
	const struct page_format *f = choose_page_format(w);
	int rc;

	if (!(w->efer & EFER_LMA))
		address &= UINT32_MAX;
	if (!(w->cr0 & CR0_PG)) {
		set_place(place, address & ~0xfffull, PAGE_SHIFT, address);
		return 0;
	}
	if (w->efer & EFER_LMA && !is_canonical(address, f))
		return -EFAULT;
	rc = walk_tables(w, f, w->cr3, address, place);
	if (rc && w->efer & EFER_LMA && address >> 63 && w->cr3 & ISOLATION_BIT)
		rc = walk_tables(w, f, w->cr3 & ~(uint64_t)ISOLATION_BIT, address, place);
	return rc;
}
