/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which pages of guest RAM have anything in them, for files in which zero pages are holes. Of a machine that
 * stands still. Each call does a bounded amount of work. The loop's thread.
 */
#ifndef LKVM_CONTROL_RAM_SCAN_H
#define LKVM_CONTROL_RAM_SCAN_H

#include <stdint.h>

#include "mem.h"

/* A run ends where one of these ends. */
#define RAM_SCAN_WINDOW_BYTES ((uint64_t)MEM_TOUCHED_PAGES * MEM_PAGE_BYTES)

struct ram_scan {
	const struct mem *mem; /* lent */
	int pagemap;	       /* of mem_open_pagemap(), lent; -1: none */
	gpa_t window;	       /* of 2 MiB, that touched is about; 1: none */
	uint64_t touched[MEM_TOUCHED_PAGES / 64];
};

/* Pages [from, to) with content; from = to: there are none up to there. */
struct ram_run {
	gpa_t from, to;
};

void ram_scan_init(struct ram_scan *scan, const struct mem *mem, int pagemap);

/*
 * The first run from @start on, of @most bytes at most, within the 2 MiB of @start and before @end. All
 * of it is RAM.
 */
void ram_scan_next(struct ram_scan *scan, gpa_t start, gpa_t end, uint64_t most, struct ram_run *run);

#endif
