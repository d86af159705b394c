// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages of guest RAM with content (control/ram-scan.h).
 *
 * 2 MiB at a time: of pages that were ever touched, those that are not zero. What was never touched is
 * not even read, which would give it a page. With huge pages most of what is touched is zero.
 */
#include <string.h>

#include "control/ram-scan.h"
#include "util.h"

#define WINDOW_BYTES RAM_SCAN_WINDOW_BYTES
#define NO_WINDOW    1u

void ram_scan_init(struct ram_scan *scan, const struct mem *mem, int pagemap)
{
	*scan = (struct ram_scan){ .mem = mem, .pagemap = pagemap, .window = NO_WINDOW };
}

static bool is_zero(const uint8_t *page)
{
	uint64_t first;

	memcpy(&first, page, sizeof(first));
	return !first && !memcmp(page, page + sizeof(first), MEM_PAGE_BYTES - sizeof(first));
}

/* The page at @gpa is RAM. */
static bool has_content(struct ram_scan *scan, gpa_t gpa)
{
	unsigned int nr = (unsigned int)(gpa % WINDOW_BYTES / MEM_PAGE_BYTES);

	if (scan->window != align_down(gpa, WINDOW_BYTES)) {
		scan->window = align_down(gpa, WINDOW_BYTES);
		mem_find_touched(scan->mem, scan->pagemap, scan->window, scan->touched);
	}
	return scan->touched[nr / 64] >> nr % 64 & 1 &&
	       !is_zero(mem_ptr(scan->mem, gpa, MEM_PAGE_BYTES));
}

/* Goes on as long as pages have content, or as long as they have none. */
static gpa_t find_pages(struct ram_scan *scan, gpa_t start, gpa_t end, bool content)
{
	gpa_t at = start;

	while (at < end && has_content(scan, at) == content)
		at += MEM_PAGE_BYTES;
	return at;
}

void ram_scan_next(struct ram_scan *scan, gpa_t start, gpa_t end, uint64_t most, struct ram_run *run)
{
	const gpa_t window_end = min_u64(align_down(start, WINDOW_BYTES) + WINDOW_BYTES, end);

	run->from = find_pages(scan, start, window_end, false);
	run->to = find_pages(scan, run->from, min_u64(window_end, run->from + most), true);
}
