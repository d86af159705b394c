/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Decompressed modules, kept in the folder of decompressed kernels (cache.h): to decompress XZ
 * takes longer than all else that is done for modules. Nothing depends on it: what cannot be read
 * or stored is decompressed again. Main thread, before the sandbox.
 */
#ifndef LKVM_GUEST_MODULE_CACHE_H
#define LKVM_GUEST_MODULE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the compressed file @fd gives, in memory from malloc(), of which there are @max_bytes at
 * most. False: it has to be decompressed.
 */
bool module_cache_find(int folder, int fd, uint64_t max_bytes, uint8_t **data, size_t *bytes);

/* Stores it, unless @fd was written just now. */
void module_cache_store(int folder, int fd, const uint8_t *data, size_t bytes);

#endif
