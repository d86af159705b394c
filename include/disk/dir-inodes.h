/* SPDX-License-Identifier: GPL-2.0-only */
/* Inodes and directories of a directory as a disk. Internal to disk/dir*.c; the loop's thread. */
#ifndef LKVM_DISK_DIR_INODES_H
#define LKVM_DISK_DIR_INODES_H

#include <stdint.h>

struct dir;
struct dir_inodes;
struct space_range;
struct state;

/* The place of the root's inode. 0 or -ENOMEM. */
int dir_inodes_create_root(struct dir *dir);

/*
 * Block @index of @inodes, whose first is @first: 0 and its *nr bytes *bytes, behind which are zeros;
 * -EAGAIN if it is being made, and dir_look_again() will be called; -errno.
 */
int dir_inodes_read(struct dir *dir, struct dir_inodes *inodes, uint32_t first, uint32_t index,
		    const uint8_t **bytes, uint32_t *nr);

/*
 * What a snapshot has of those of @range, and of the root's inode. What is loaded is checked as far as anything here
 * depends on it: inodes and names are the guest's to read.
 */
void dir_inodes_carry(struct dir *dir, struct space_range *range, struct state *s);
void dir_inodes_carry_root(struct dir *dir, struct state *s);

/*
 * Saves what the files process calls those of @range by: the number of their directory, then of each its number,
 * whether it is a directory, and its name; TREE_ROOT ends them. *left: as many blocks and names as may be looked at.
 */
void dir_inodes_save_names(struct dir *dir, const struct space_range *range, struct state *s, uint64_t *left);

/* Accepts NULL. No question of it is open. */
void dir_inodes_destroy(struct dir_inodes *inodes);

#endif
