/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Decompressed kernels, kept in a folder (cache.h) from one run to the next.
 *
 * Each is one file, named after the identity of the kernel's file (device, inode, time of the
 * last change) and with all of that identity in it. Whatever does not match is not used, and
 * nothing ever depends on the cache.
 *
 * The main thread looks up and reads, before there is a guest. A process of its own (sandbox/helper.h)
 * stores a kernel while the guest boots.
 */
#ifndef LKVM_X86_BOOT_KERNEL_CACHE_H
#define LKVM_X86_BOOT_KERNEL_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem.h"
#include "x86/boot/vmlinux.h"

struct cached_kernel;
struct kernel_cache;
struct sandbox;

/*
 * @dir is the folder; NULL: lkvm's in the user's cache folder. Made if it is missing.
 * @kernel_fd is lent until kernel_cache_start(); what its content is named after is taken now,
 * so the content has to be read later than this. NULL, with *@why, if there is none to use.
 */
struct kernel_cache *kernel_cache_open(const char *dir, int kernel_fd, const char **why);

/* Accepts NULL. Waits up to half a second for the process that stores, then ends it. */
void kernel_cache_close(struct kernel_cache *cache);

/* The kernel, or NULL with *@why. */
struct cached_kernel *kernel_cache_find(struct kernel_cache *cache, const char **why);
const struct vmlinux *cached_kernel_vmlinux(const struct cached_kernel *kernel);

/*
 * Reads the image, without what is zero, to @gpa of RAM that is. 0 or -errno; -ESTALE if
 * the entry was changed meanwhile. (Mapping it copy-on-write instead shares it between VMs but
 * is not faster: pages with relocations are copied one by one, and the guest takes thousands
 * of small nested page faults instead of a few for huge pages.)
 */
int cached_kernel_read(const struct cached_kernel *kernel, gpa_t gpa, const struct mem *mem);
void cached_kernel_free(struct cached_kernel *kernel);

/* Memory of mmap() that the cache gives back when it does not need it any more. */
struct kernel_cache_memory {
	void *map;
	size_t map_bytes;
};

/* Keeps @v, whose file is in @memory, to be stored; takes @memory. */
void kernel_cache_keep(struct kernel_cache *cache, const struct vmlinux *v,
		       const struct kernel_cache_memory *memory);

/*
 * Starts the process that stores what was kept, behind a filter of @sandbox. Before
 * sandbox_enter(): it needs the folder. Accepts NULL.
 */
void kernel_cache_start(struct kernel_cache *cache, struct sandbox *sandbox);

#endif
