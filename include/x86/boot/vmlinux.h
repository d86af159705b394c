/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel inside a bzImage: an ELF file with a table of relocations behind it.
 * This is what the guest's own decompressor would work on; here are the same steps
 * for the host: find the parts, choose where they go, relocate.
 *
 * vmlinux_parse() and vmlinux_choose() are pure. Their input is untrusted, but nobody else can
 * write it meanwhile.
 */
#ifndef LKVM_X86_BOOT_VMLINUX_H
#define LKVM_X86_BOOT_VMLINUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem.h"

#define VMLINUX_MAX_SEGMENTS 16

/* Addresses are relative to the place that the kernel was linked for. */
struct vmlinux_segment {
	uint64_t offset, file_bytes; /* in the file */
	uint64_t start, mem_bytes;   /* in the image */
};

/* A table of relocations: the addresses, less the image's, of what has to be changed. */
struct vmlinux_relocs {
	const uint8_t *first; /* 32-bit words, little-endian, of no alignment */
	size_t nr;
};

struct vmlinux {
	const uint8_t *file;		 /* NULL: only the image's place is known */
	uint64_t file_bytes;		 /* less its relocations */
	uint64_t link_gpa, link_address; /* physical and virtual */
	uint64_t image_bytes;		 /* in memory */
	uint64_t entry;			 /* in the image */
	unsigned int nr_segments;
	struct vmlinux_segment segments[VMLINUX_MAX_SEGMENTS];
	bool has_relocs;
	struct vmlinux_relocs add64, subtract32, add32;
};

/* Where a kernel goes: its physical address and how far its virtual ones move. */
struct vmlinux_place {
	gpa_t gpa;
	uint64_t shift;
};

/* What restricts the choice. */
struct vmlinux_limits {
	uint64_t align; /* kernel_alignment of the header: a power of two */
	uint64_t ram_bytes;
	gpa_t avoid; /* the initrd */
	uint64_t avoid_bytes;
};

/*
 * Takes @file, @bytes bytes of an unpacked payload, apart. @link_gpa is pref_address of
 * the header. 0, or -ENOTSUP with *@why if it is not the layout of a 64-bit kernel that
 * is known here: then only its own decompressor can load it.
 */
int vmlinux_parse(struct vmlinux *v, const uint8_t *file, size_t bytes, gpa_t link_gpa,
		  const char **why);

/* Checks the tables and addresses of a @v that was put together from elsewhere. */
bool vmlinux_check(const struct vmlinux *v);

/*
 * One of the places that the kernel's own randomisation could choose, each as likely as the
 * others: @random are two random numbers. False if there is none.
 */
bool vmlinux_choose(const struct vmlinux *v, const struct vmlinux_limits *limits,
		    const uint64_t random[2], struct vmlinux_place *place);

/* Copies the segments to @gpa of RAM that is zero. 0, or -EFAULT if it is not all RAM. */
int vmlinux_copy(const struct vmlinux *v, gpa_t gpa, const struct mem *mem);

/* Makes an image at @place->gpa one for @place->shift. 0 or -EFAULT. */
int vmlinux_relocate(const struct vmlinux *v, const struct vmlinux_place *place,
		     const struct mem *mem);

#endif
