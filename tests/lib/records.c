// SPDX-License-Identifier: GPL-2.0-only
/*
 * Checks what tests/guest/power-cut has written: records [0, COUNT) are in the raw
 * image FILE, every sector of them, and what comes after is whole or absent.
 *
 *	records FILE COUNT
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RECORDS 4096u

int main(int argc, char **argv)
{
	unsigned long count = argc == 3 ? strtoul(argv[2], NULL, 0) : 0;
	int fd = argc == 3 ? open(argv[1], O_RDONLY) : -1;

	if (fd < 0 || count > RECORDS)
		return 2;
	for (uint32_t n = 0; n < RECORDS; n++) {
		uint32_t page[1024], place = n * 2654435761u % RECORDS;

		if (pread(fd, page, 4096, (off_t)place * 4096) != 4096)
			return 2;
		for (unsigned int i = 0; i < 1024; i += 128) {
			if (page[i] == n + 1 || (n >= count && page[i] == 0))
				continue;
			printf("record %u, sector %u: %u\n", n, i / 128, page[i]);
			return 1;
		}
	}
	return 0;
}
