// SPDX-License-Identifier: GPL-2.0-only
/*
 * Partition tables: sector 0, and for a GPT its header and entries, read once at the start into
 * buffers of a fixed size. A partition counts if it lies within the disk.
 *
 * Source: UEFI 2.10 §5.2.3 (protective MBR), §5.3 (GPT). Not here: logical partitions, checksums,
 * the second copy of a GPT; a kernel that disagrees says which partitions it sees.
 */
#include <stdlib.h>
#include <string.h>

#include "disk/disk.h"
#include "disk/partition.h"
#include "util.h"

#define MBR_ENTRIES 446u
#define MBR_NR	    4u
#define TYPE_LINUX  0x83
#define TYPE_GPT    0xee

/* As they are in an entry: the first three fields are little-endian. */
static const uint8_t type_linux[16] = {
	0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4
};
static const uint8_t type_root_x86_64[16] = {
	0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09
};

static void add_linux(struct partition_table *t, unsigned int number)
{
	t->linux_numbers[t->nr_linux++] = number;
	t->root = t->nr_linux == 1 ? number : 0;
}

bool partition_parse_mbr(const uint8_t sector[512], uint64_t blocks, struct partition_table *out)
{
	*out = (struct partition_table){ 0 };
	if (sector[510] != 0x55 || sector[511] != 0xaa)
		return false;
	/* The boot sector of a FAT file system ends like this, too, but has code there. */
	for (size_t i = 0; i < MBR_NR; i++)
		if (sector[MBR_ENTRIES + 16 * i] & 0x7f)
			return false;
	for (size_t i = 0; i < MBR_NR; i++) {
		const uint8_t *e = sector + MBR_ENTRIES + 16 * i;
		uint32_t first = get_le32(e + 8), count = get_le32(e + 12);

		if (e[4] == TYPE_GPT)
			return true;
		if (!e[4] || !first || !count || !range_within(first, count, blocks))
			continue;
		out->present = true;
		if (e[4] == TYPE_LINUX)
			add_linux(out, (unsigned int)i + 1);
	}
	return false;
}

bool partition_parse_gpt_header(const uint8_t header[512], uint64_t blocks, uint32_t block,
				uint64_t *offset, unsigned int *nr)
{
	uint64_t first = get_le64(header + 72), disk_bytes;

	*nr = (unsigned int)min_u64(get_le32(header + 80), PARTITION_MAX);
	if (memcmp(header, "EFI PART", 8) || get_le32(header + 84) != PARTITION_GPT_ENTRY_BYTES)
		return false;
	return mul_u64(blocks, block, &disk_bytes) && mul_u64(first, block, offset) &&
	       range_within(*offset, *nr * (uint64_t)PARTITION_GPT_ENTRY_BYTES, disk_bytes);
}

void partition_parse_gpt(const uint8_t *entries, unsigned int nr, uint64_t blocks,
			 struct partition_table *out)
{
	unsigned int roots = 0, root = 0;

	*out = (struct partition_table){ .present = true };
	for (unsigned int i = 0; i < nr; i++) {
		const uint8_t *e = entries + i * (size_t)PARTITION_GPT_ENTRY_BYTES;
		uint64_t first = get_le64(e + 32), last = get_le64(e + 40);
		bool is_root = !memcmp(e, type_root_x86_64, 16);

		if ((!is_root && memcmp(e, type_linux, 16)) || first > last || last >= blocks)
			continue;
		add_linux(out, i + 1);
		roots += is_root;
		root = is_root ? i + 1 : root;
	}
	if (roots == 1) /* it says what it is for */
		out->root = root;
}

/* ---- reading ---- */

struct look {
	struct disk_request req; /* first */
	struct iovec iov;
	int error;
};

static void look_done(struct disk_request *req, int error)
{
	((struct look *)req)->error = error;
}

static bool look(struct disk *disk, uint64_t offset, void *data, uint64_t bytes)
{
	struct look l = {
		.req = {
			.operation = DISK_READ,
			.offset = offset,
			.bytes = bytes,
			.nr_iov = 1,
			.done = look_done,
		},
		.iov = { data, bytes },
		.error = -EIO,
	};

	l.req.iov = &l.iov;
	disk_submit(disk, &l.req);
	return !aio_drain(disk->aio) && !l.error;
}

static bool read_gpt(struct disk *disk, uint8_t *buffer, uint64_t blocks, struct partition_table *out)
{
	uint64_t offset, bytes;
	unsigned int nr;

	if (!look(disk, disk->block_bytes, buffer, disk->block_bytes) ||
	    !partition_parse_gpt_header(buffer, blocks, disk->block_bytes, &offset, &nr))
		return false;
	bytes = min_u64(align_up((uint64_t)nr * PARTITION_GPT_ENTRY_BYTES, disk->block_bytes),
			disk->size_bytes - offset);
	if (!bytes || !look(disk, offset, buffer, bytes))
		return false;
	partition_parse_gpt(buffer, nr, blocks, out);
	return true;
}

bool partition_read(struct disk *disk, struct partition_table *out)
{
	uint64_t blocks = disk->size_bytes / disk->block_bytes;
	uint8_t *buffer = aligned_alloc(4096, (size_t)PARTITION_MAX * PARTITION_GPT_ENTRY_BYTES);
	bool ok;

	*out = (struct partition_table){ 0 };
	if (!buffer)
		return false;
	ok = look(disk, 0, buffer, disk->block_bytes);
	if (ok && partition_parse_mbr(buffer, blocks, out))
		ok = read_gpt(disk, buffer, blocks, out);
	free(buffer);
	return ok;
}
