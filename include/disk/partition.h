/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Partition tables (MBR, GPT): which partition is a guest's root file system. The tables are a
 * guest's: whatever they say, nothing outside of the disk is looked at.
 */
#ifndef LKVM_DISK_PARTITION_H
#define LKVM_DISK_PARTITION_H

#include <stdbool.h>
#include <stdint.h>

#define PARTITION_MAX 128u

struct disk;

struct partition_table {
	bool present;
	unsigned int root;     /* number of the only Linux partition; 0: not clear */
	unsigned int nr_linux; /* partitions of type Linux, and the first of them */
	unsigned int linux_numbers[PARTITION_MAX];
};

/*
 * Reads the table of @disk, whatever its format. Only before requests of a guest. False if it
 * cannot be read.
 */
bool partition_read(struct disk *disk, struct partition_table *out);

/*
 * The two kinds of table, pure. @block: bytes of a block of the disk; @blocks: how many it has.
 * partition_parse_mbr() returns true if a GPT is what counts, as its one entry then says.
 */
bool partition_parse_mbr(const uint8_t sector[512], uint64_t blocks, struct partition_table *out);

/* Where the entries of a GPT are, from the header in block 1. False if there are none to be used. */
bool partition_parse_gpt_header(const uint8_t header[512], uint64_t blocks, uint32_t block,
				uint64_t *offset, unsigned int *nr);

#define PARTITION_GPT_ENTRY_BYTES 128u

void partition_parse_gpt(const uint8_t *entries, unsigned int nr, uint64_t blocks,
			 struct partition_table *out);

#endif
