/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VMCOREINFO: the note by which readers of a vmcore know which kernel it is, where it is and where its log
 * is. Each Linux kernel with kexec, crash dumps or /proc/kcore makes it once, at the start of a page; nobody
 * tells lkvm which, so it is found by looking at all of them. There may be several: a crash kernel has
 * its own beside the one of the kernel that crashed, and a guest may make up any number. The one whose
 * kernel the CPUs run is taken. What a guest makes up is in its own dump and nowhere else; it is text, and
 * no longer than a page.
 *
 * Pure but for guest memory, which may change; any thread.
 */
#ifndef LKVM_CONTROL_VMCORE_INFO_H
#define LKVM_CONTROL_VMCORE_INFO_H

#include <stdbool.h>
#include <stdint.h>

#include "control/vmcore-format.h"

#define VMCORE_INFO_MAX_FOUND 64u /* what comes behind them is not looked at */

struct vmcore_info_place {
	gpa_t gpa;
	uint64_t text;	   /* virtual address of the kernel's code ... */
	uint64_t text_gpa; /* ... and where that is; the same if it is not said */
};

struct vmcore_info {
	unsigned int nr;
	int chosen; /* -1: none is the CPUs' so far */
	struct vmcore_info_place found[VMCORE_INFO_MAX_FOUND];
};

#define VMCORE_INFO_NONE \
	{ \
		.chosen = -1 \
	}

/* Looks whether there is one at @gpa, the start of a page. */
void vmcore_info_look(struct vmcore_info *info, const struct mem *mem, gpa_t gpa);

/* Chooses the one that belongs to what @cpu runs, if it was not yet chosen. */
void vmcore_info_ask(struct vmcore_info *info, const struct mem *mem, const struct registers *cpu);

/* The one that was chosen, or else the first; NULL: there is none. */
const struct vmcore_info_place *vmcore_info_place(const struct vmcore_info *info);

/* The note that was chosen, or else the first, with its padding: its bytes; 0: there is none. */
uint32_t vmcore_info_get(const struct vmcore_info *info, const struct mem *mem,
			 uint8_t note[VMCORE_INFO_BYTES]);

#endif
