/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Headers of archives that no tar would write.
 */
#ifndef LKVM_TESTS_TAR_H
#define LKVM_TESTS_TAR_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Puts the checksum into a header. */
static inline void tar_seal(uint8_t *header)
{
	unsigned int sum = 0;

	memset(header + 148, ' ', 8);
	for (unsigned int i = 0; i < 512; i++)
		sum += header[i];
	snprintf((char *)header + 148, 8, "%06o", sum);
}

/* A ustar header, sealed; @name has at most 100 bytes. */
static inline void tar_header(uint8_t *h, char type, const char *name, uint64_t bytes)
{
	char size[24];

	memset(h, 0, 512);
	memcpy(h, name, strlen(name));
	memcpy(h + 100, "0000644", 8);
	snprintf(size, sizeof(size), "%011llo", (unsigned long long)bytes);
	memcpy(h + 124, size, 12);
	memcpy(h + 257, "ustar\00000", 8);
	h[156] = (uint8_t)type;
	tar_seal(h);
}

#endif
