/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Does on the host what a bzImage's own stub would do in the guest: decompress the kernel,
 * place it at random, relocate it.
 */
#ifndef LKVM_X86_BOOT_PAYLOAD_H
#define LKVM_X86_BOOT_PAYLOAD_H

#include <asm/bootparam.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem.h"

struct sandbox;

struct payload_config {
	int fd;			/* the kernel's file */
	uint64_t offset, bytes; /* of its protected-mode part; checked */
	const struct setup_header *header;
	const char *cmdline;
	uint64_t ram_bytes;
	gpa_t initrd;
	uint64_t initrd_bytes;
	bool use_cache;
	const char *cache_dir; /* or NULL: the user's */
};

struct payload {
	gpa_t entry; /* of the 64-bit kernel itself */
	bool randomized;
	bool five_levels;	    /* wants page tables of five levels, if the CPU can */
	const char *source;	    /* "unpacked (XZ)", for messages */
	uint64_t gpa, bytes;	    /* where it is in RAM */
	uint64_t shift;		    /* of its virtual addresses */
	struct kernel_cache *cache; /* where it came from, or will be stored */
	char text[192];		    /* why not: "reason[\nwhat to do]" */
};

/*
 * 0: the kernel is in RAM. -ENOTSUP: the guest has to decompress it, @p->text says why; RAM,
 * which was all zero, is zero again. Other errors: @p->text says what is wrong with it.
 */
int payload_load(struct payload *p, const struct payload_config *config, const struct mem *mem);

/* Starts storing the kernel, in a process of its own. Before sandbox_enter(). */
void payload_start_store(struct payload *p, struct sandbox *sandbox);

/* Ends what payload_load() has begun. The kernel's file has to be open until then. */
void payload_fini(struct payload *p);

#endif
