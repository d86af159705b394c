/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From files to a kernel in guest RAM.
 *
 *	boot_open()     open the files, identify the kernel, check every field
 *	                of it against the file and the RAM, decide what goes where
 *	boot_load()     read kernel, initrds and command line into guest RAM
 *	boot_finish()   zero page or PVH start info, setup_data, GDT, page tables
 *
 * The kernel file is untrusted: its first page is read once into a local copy,
 * and boot_plan_*() are pure functions of that copy and of two sizes.
 */
#ifndef LKVM_X86_BOOT_BOOT_H
#define LKVM_X86_BOOT_BOOT_H

#include <asm/bootparam.h>
#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem.h"
#include "x86/cpu.h"

#define BOOT_MAX_SEGMENTS 32
#define BOOT_MAX_INITRDS  16
#define BOOT_PAGE_BYTES	  4096

/* Part of a file that goes into RAM; the rest of @mem_bytes stays zero. */
struct boot_segment {
	uint64_t offset;
	uint64_t file_bytes;
	gpa_t gpa;
	uint64_t mem_bytes;
};

struct boot_plan {
	struct cpu_start start;
	unsigned int nr_segments;
	struct boot_segment segments[BOOT_MAX_SEGMENTS];
	gpa_t kernel_end;     /* RAM below is the kernel's until it runs */
	gpa_t initrd_limit;   /* an initrd in low RAM ends at or below this */
	bool initrd_high;     /* ... or it may be anywhere in RAM */
	uint32_t cmdline_max; /* bytes without the NUL */
	bool has_header;
	struct setup_header header; /* of a bzImage */
};

/* Why a plan failed: "reason[\nwhat to do]". */
struct boot_error {
	char text[256];
};

struct boot_config {
	const char *kernel; /* or NULL */
	const char *flat;   /* or NULL */
	gpa_t flat_address;
	unsigned int nr_initrds;
	const char *initrds[BOOT_MAX_INITRDS];
	int extra_initrd_fd; /* a file, behind the others; -1: none. Lent to boot_open() */
	const char *cmdline;
	const char *user_cmdline; /* or NULL: behind it, and behind the kernel's own */
	uint64_t ram_bytes;
	bool guest_unpacks;    /* a bzImage does it itself */
	bool use_cache;	       /* of unpacked kernels */
	const char *cache_dir; /* or NULL: the user's */
};

struct boot;
struct cache_identity;
struct sandbox;

/* 0 or -errno after a message. @config is lent until boot_destroy(). */
int boot_open(struct boot **out, const struct boot_config *config);

/*
 * Takes over the configuration's command line, which may change until boot_load(). 0 or -errno
 * after a message.
 */
int boot_update_cmdline(struct boot *boot);

/* The kernel's file (cache.h), until it is loaded. False: it is none. */
bool boot_file_identity(const struct boot *boot, struct cache_identity *id);

void boot_destroy(struct boot *boot);

/* What kind of kernel it is and where it is entered, for -v and --dry-run. */
const char *boot_describe(const struct boot *boot);
/* All parameters: what the kernel is given. */
const char *boot_get_cmdline(const struct boot *boot);
const struct boot_plan *boot_get_plan(const struct boot *boot);

/*
 * After boot_load(): how far the virtual addresses of a Linux kernel are from where it was linked. False
 * if that is the guest's choice.
 */
bool boot_kernel_shift(const struct boot *boot, uint64_t *shift);

/* Where the initrd goes; size 0 if there is none. */
struct boot_segment boot_initrd_place(const struct boot *boot);

int boot_load(struct boot *boot, const struct mem *mem);

/*
 * @dtb (or NULL) goes along as SETUP_DTB, @rsdp (or 0) is where ACPI begins.
 * 0 or -errno after a message.
 */
int boot_finish(struct boot *boot, const struct mem *mem, const void *dtb, size_t dtb_bytes,
		gpa_t rsdp, bool cpu_has_five_levels);

/* The machine is complete. Before sandbox_enter(): it may start a process. */
void boot_start_store(struct boot *boot, struct sandbox *sandbox);

/*
 * The pure part, public for tests and fuzzing. @page is the start of the file
 * (@page_bytes <= BOOT_PAGE_BYTES of it). 0 or -EINVAL with @error filled in.
 */
int boot_plan_bzimage(struct boot_plan *plan, const uint8_t *page, size_t page_bytes,
		      uint64_t file_bytes, uint64_t ram_bytes, struct boot_error *error);

/*
 * @phdrs and @notes are what the file header pointed at, read into memory.
 * Program headers are widened to 64 bits by the caller.
 */
struct boot_elf {
	const Elf64_Phdr *phdrs;
	unsigned int nr_phdrs;
	uint64_t entry;
	bool is_64bit;
	const uint8_t *notes;
	size_t notes_bytes;
};

int boot_plan_elf(struct boot_plan *plan, const struct boot_elf *elf, uint64_t file_bytes,
		  uint64_t ram_bytes, struct boot_error *error);

/* Highest place for an initrd of @bytes. 0 or -EINVAL with @error filled in. */
int boot_place_initrd(const struct boot_plan *plan, uint64_t bytes, uint64_t ram_bytes,
		      gpa_t *gpa, struct boot_error *error);

#endif
