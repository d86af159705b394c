/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For fuzz targets: bytes of the input one after the other, files in memory.
 */
#ifndef LKVM_TESTS_FUZZ_H
#define LKVM_TESTS_FUZZ_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct input {
	const uint8_t *data;
	size_t left;
};

/* The next @n bytes as a number, little-endian; what is missing is zero. */
static inline uint64_t take(struct input *in, unsigned int n)
{
	uint64_t v = 0;

	for (unsigned int i = 0; i < n && in->left; i++, in->data++, in->left--)
		v |= (uint64_t)*in->data << 8 * i;
	return v;
}

/* A number of a few bits or of many: its two parts in this order, which within an expression a compiler chooses. */
static inline uint64_t take_scaled(struct input *in)
{
	uint64_t v = take(in, 8);

	return v >> take(in, 1) % 64;
}

/* A length: a byte, but no more than is left behind it. */
static inline uint64_t take_length(struct input *in)
{
	uint64_t n = take(in, 1);

	return n < in->left ? n : in->left;
}

static inline void must(bool ok)
{
	if (!ok)
		abort();
}

/* A file in memory with these bytes; its path in @path. */
static inline int memory_file(const void *data, size_t bytes, char path[32])
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	must(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes);
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return fd;
}

#endif
