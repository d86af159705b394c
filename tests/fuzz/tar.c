// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile archive. Checksums of headers are put right, since no input would have them by chance, where
 * a block ends them as a header does. What the parser says of an entry has to be within its bounds.
 */
#include "tests/fuzz/fuzz.h"

#include "disk/tar.h"
#include "util.h"

static void put_sum(uint8_t *block)
{
	unsigned int sum = 0;

	memset(block + 148, ' ', 8);
	for (unsigned int i = 0; i < TAR_BLOCK_BYTES; i++)
		sum += block[i];
	snprintf((char *)block + 148, 8, "%06o", sum);
}

static void check_pieces(const struct tar_entry *e)
{
	uint64_t end = 0, sum = 0;

	must(e->nr_pieces <= TAR_PIECES_MAX);
	for (uint32_t i = 0; i < e->nr_pieces; i++) {
		must(e->pieces[i].offset >= end && e->pieces[i].bytes);
		must(range_within(e->pieces[i].offset, e->pieces[i].bytes, e->size_bytes));
		end = e->pieces[i].offset + e->pieces[i].bytes;
		sum += e->pieces[i].bytes;
	}
	must(sum == e->stored_bytes);
}

static void check_entry(const struct tar_entry *e)
{
	struct tar_xattr x;
	size_t at = 0;

	must(e->path[0] && strlen(e->path) <= TAR_NAME_MAX && strlen(e->link) <= TAR_NAME_MAX);
	must(e->type == TAR_HARD_LINK || e->type == TAR_SYMLINK ? e->link[0] : !e->link[0]);
	must(e->mode <= 07777 && e->mtime_ns < 1000000000);
	must(e->size_bytes <= INT64_MAX && e->data_offset + e->stored_bytes <= INT64_MAX);
	if (e->is_sparse)
		check_pieces(e);
	while (tar_next_xattr(e, &at, &x))
		must(x.name[0] && at <= e->xattrs_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint8_t block[TAR_BLOCK_BYTES];
	struct tar *t;

	must(!tar_create(&t));
	for (; bytes >= sizeof(block); data += sizeof(block), bytes -= sizeof(block)) {
		memcpy(block, data, sizeof(block));
		if (!block[154] && block[155] == ' ')
			put_sum(block);
		switch (tar_feed(t, block)) {
		case TAR_ENTRY:
			check_entry(tar_entry(t));
			if (data[0] & 1)
				tar_skip(t, min_u64(tar_data_left(t), 7 * sizeof(block)) / sizeof(block));
			break;
		case TAR_BAD:
			must(tar_error(t) && tar_cannot_end(t));
			break;
		default:
			break;
		}
	}
	tar_cannot_end(t);
	tar_destroy(t);
	return 0;
}
