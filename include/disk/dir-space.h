/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The blocks of a directory's disk (disk/dir.c): which are in use, by what, and which can still
 * be given out. Knows nothing of what is in them. The loop's thread.
 *
 *	block 0				superblock
 *	300				the root's inode, out of the way of who looks for partitions and
 *					file systems
 *	2048 ... 2^25 - 1		inodes; so their numbers fit into 32 bits
 *	2^25 ... 2^25 + 2^22 - 1	shared extended attributes, as far as an inode can refer to them
 *	... up to the last 8 MiB	names of directories, data of files, long symbolic links
 *
 * In each area blocks are given out in ascending order, for ever. A block that was read before it
 * was given out is burned: the guest may have it in its page cache, as zeros, and would not ask again.
 * SPACE_MAX_BURNED ranges of such blocks are known; if there are more, they are rounded to more
 * and more blocks, until in the end there is no room for anything: a guest that reads its disk
 * all over hurts itself, not the host.
 *
 * A range that is in use costs 24 bytes.
 */
#ifndef LKVM_DISK_DIR_SPACE_H
#define LKVM_DISK_DIR_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#define SPACE_NR_BLOCKS 0xfffffffeu /* of the disk */
#define SPACE_NOWHERE	0xfffffffeu /* a block behind its end: reading it fails in the guest */
#define SPACE_ROOT	300u
#define SPACE_INODES	2048u
#define SPACE_XATTRS	(1u << 25)
#define SPACE_DATA	(SPACE_XATTRS + (1u << 22))
#define SPACE_END	(SPACE_NR_BLOCKS - 2048u)

#define SPACE_MAX_BURNED 512u
#define SPACE_SEGMENT	 2048u /* ranges that memory is taken for at a time */
#define SPACE_SEGMENTS	 8192u

enum space_kind {
	SPACE_INODE_BLOCKS,
	SPACE_BYTES,
	SPACE_FILE,
};

struct state;

struct space_range {
	uint32_t block, nr;
	uint32_t offset; /* of the first in what its owner has, in blocks */
	uint32_t kind;
	void *owner;
};

struct space_burned {
	uint32_t first, end;
};

struct space_area {
	uint32_t next, end;
	struct space_range **segments;
	uint32_t nr_ranges;
	struct space_burned burned[SPACE_MAX_BURNED]; /* at or behind next, in order, apart */
	unsigned int nr_burned;
	unsigned int burn_bits; /* ranges are rounded to this many blocks (a power of two) */
};

enum space_place {
	SPACE_OF_INODES,
	SPACE_OF_XATTRS,
	SPACE_OF_DATA,
	SPACE_NR_PLACES,
};

struct space {
	struct space_area areas[SPACE_NR_PLACES];
};

int space_init(struct space *s);
void space_fini(struct space *s);

/* Calls @fn for each range. */
void space_each(struct space *s, void (*fn)(void *arg, struct space_range *range), void *arg);

/* Gives range->nr blocks to what @range says. Their first one, or 0 if there are none or no memory. */
uint32_t space_take(struct space *s, enum space_place place, const struct space_range *range);

/* The range that @block is in. NULL: none; then *nr blocks from it on are in none, either. */
struct space_range *space_find(struct space *s, uint32_t block, uint32_t *nr);

/* @nr blocks from @first on, which are in no range, are read. */
void space_burn(struct space *s, uint32_t first, uint32_t nr);

/*
 * All of it (include/state.h); it is loaded into one that is new. @carry_owner carries the owner of a range, and
 * makes it when it loads; without one it has refused the state.
 */
void space_carry(struct space *s, struct state *state,
		 void (*carry_owner)(void *arg, struct space_range *range, struct state *state), void *arg);

#endif
