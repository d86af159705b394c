/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a vmcore is made of: an ELF core file of a machine's memory and CPUs, as drgn, crash and makedumpfile
 * read it. Pure; any thread.
 *
 *	0		ELF header, then program headers: one for the notes, one for each piece of RAM, and
 *			one more for the part of it that is the kernel itself, if that is known
 *	behind them	notes: of each CPU CORE/NT_PRSTATUS and QEMU/0, then VMCOREINFO
 *	ram_offset	RAM, piece by piece, by physical addresses
 *
 * Readers tell a machine's core from a process's by what is written here and nowhere said: why each
 * value is as it is stands beside it in vmcore-format.c.
 */
#ifndef LKVM_CONTROL_VMCORE_FORMAT_H
#define LKVM_CONTROL_VMCORE_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "mem.h"
#include "x86/registers.h"

#define VMCORE_MAX_PIECES      (MEM_MAX_REGIONS + 1)
#define VMCORE_HEADER_BYTES    (64u + 56u * (2 + VMCORE_MAX_PIECES))
#define VMCORE_CPU_BYTES       816u	    /* the notes of one CPU */
#define VMCORE_INFO_BYTES      4120u	    /* at most: a page, and the head of a note */
#define VMCORE_MOST_BESIDE_RAM (1ull << 20) /* of all CPUs that there may be */

struct vmcore_piece {
	gpa_t start;
	uint64_t bytes;
	uint64_t offset; /* in the file */
};

struct vmcore_layout {
	unsigned int nr_cpus;
	uint64_t notes_offset, info_offset;
	unsigned int nr_pieces;
	struct vmcore_piece pieces[VMCORE_MAX_PIECES];
	uint64_t bytes; /* of the file */
};

void vmcore_plan(struct vmcore_layout *layout, const struct mem *mem, unsigned int nr_cpus);

/*
 * @info_bytes: of the note VMCOREINFO, padding and all; 0: there is none. @text: the virtual address of
 * the kernel's code, which is at @text_gpa; both are a guest's word. 0: nobody knows.
 */
void vmcore_put_header(const struct vmcore_layout *layout, uint64_t info_bytes, uint64_t text, gpa_t text_gpa,
		       uint8_t out[VMCORE_HEADER_BYTES]);

/* The notes of CPU @index, which belong at notes_offset + index * VMCORE_CPU_BYTES. */
void vmcore_put_cpu(const struct registers *cpu, unsigned int index, uint8_t out[VMCORE_CPU_BYTES]);

#endif
