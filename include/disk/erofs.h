/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How EROFS lies on a disk: superblock, inodes, directory blocks and extended attributes, put
 * into buffers from plain structs. Pure: no I/O, no memory of its own. Any thread.
 *
 * What is put is checked where it is put: whatever the arguments say, nothing is written outside
 * of the buffer, and what cannot be expressed is refused.
 */
#ifndef LKVM_DISK_EROFS_H
#define LKVM_DISK_EROFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk/tree.h"

#define EROFS_BLOCK_BITS       12u
#define EROFS_BLOCK_BYTES      (1u << EROFS_BLOCK_BITS)
#define EROFS_NID_BYTES	       32u /* inode n is at byte n * 32 of the disk */
#define EROFS_INODE_BYTES      64u
#define EROFS_HOLE	       0xffffffffu		 /* instead of a chunk's first block */
#define EROFS_MAX_DIRENTS      (EROFS_BLOCK_BYTES / 13u) /* of one block */
#define EROFS_MAX_DIRENT_BYTES (12u + TREE_MAX_NAME_BYTES)

/* ---- extended attributes ---- */

#define EROFS_XATTRS_BYTES   12u  /* what comes before them in an inode */
#define EROFS_XATTR_ID_BYTES 4u	  /* an inode's reference to one that is elsewhere */
#define EROFS_MAX_XATTRS     255u /* references of one inode */

/* Those of one file, as they are stored, one behind the other. */
struct erofs_xattrs {
	uint32_t bytes;
	uint32_t nr, left_out;
	uint16_t offsets[EROFS_MAX_XATTRS]; /* of each, in units of 4 bytes */
	uint8_t data[TREE_MAX_XATTR_BYTES + 4 * EROFS_MAX_XATTRS];
};

/*
 * Takes them from a list as in struct tree_stat. Names that EROFS has no word for are left out, and
 * what is behind something malformed.
 */
void erofs_pack_xattrs(struct erofs_xattrs *x, const uint8_t *list, size_t bytes);

/*
 * What an inode has of them, all or references to where they are: 4 * @first_id bytes behind the
 * superblock's xattr_block. Returns how many bytes that are, 0 if there are none or they need
 * more than @room; the rest of the references is left out.
 */
uint32_t erofs_put_xattrs(uint8_t *out, uint32_t room, const struct erofs_xattrs *x);
uint32_t erofs_put_xattr_ids(uint8_t *out, uint32_t room, const struct erofs_xattrs *x,
			     uint32_t first_id);

/* ---- inodes ---- */

enum erofs_layout {
	EROFS_FLAT = 0,	  /* all data from @block on */
	EROFS_TAIL = 2,	  /* the same, but what does not fill a block is behind the inode */
	EROFS_CHUNKS = 4, /* data are where @chunks say */
};

struct erofs_inode {
	uint64_t nid;
	struct tree_attr attr; /* its size is that of the data */
	enum erofs_layout layout;
	uint32_t block;
	const void *tail;
	uint32_t tail_bytes;
	const uint32_t *chunks;
	uint32_t nr_chunks;
	uint32_t xattr_bytes; /* that are at EROFS_INODE_BYTES of the slot already */
};

/* False, and nothing is put, if it is more than @slot_bytes or can be no inode. */
bool erofs_put_inode(uint8_t *slot, size_t slot_bytes, const struct erofs_inode *inode);

/* True if a guest can be shown a file like this. */
bool erofs_attr_is_good(const struct tree_attr *attr);

/* ---- directories ---- */

/* The order of names in a directory, as of strcmp(): <0, 0, >0. */
int erofs_compare_names(const void *a, size_t a_bytes, const void *b, size_t b_bytes);

/* A block of a directory while it is made. */
struct erofs_dirents {
	uint32_t nr, name_bytes;
	struct {
		uint64_t nid;
		uint8_t type; /* DT_... */
		uint8_t name_bytes;
	} entries[EROFS_MAX_DIRENTS];
	uint8_t names[EROFS_BLOCK_BYTES];
};

/* False if there is no room for it in this block. Entries are in order. */
bool erofs_add_dirent(struct erofs_dirents *d, uint64_t nid, unsigned int type, const void *name,
		      size_t bytes);

/* Writes the block and begins a new one. Returns how many bytes of it are in use; the rest is zero. */
uint32_t erofs_put_dirents(struct erofs_dirents *d, uint8_t block[EROFS_BLOCK_BYTES]);

/* ---- reading what was put; whatever the bytes are, nothing outside of them is read ---- */

struct erofs_dir_inode {
	uint64_t bytes;
	uint32_t block;
	const uint8_t *tail; /* what does not fill a block, if it is behind the inode; or NULL */
};

/* False: the inode in this slot is no directory that erofs_put_inode() could have put. */
bool erofs_get_dir(const uint8_t *slot, size_t slot_bytes, struct erofs_dir_inode *dir);

/* Zero before the first one of a block. */
struct erofs_name {
	uint32_t at; /* of the next one */
	uint64_t nid;
	const char *text;
	size_t bytes;
};

/* The next entry of a block of a directory of which @bytes are in use. False: there is none. */
bool erofs_next_name(const uint8_t *block, uint32_t bytes, struct erofs_name *name);

/* ---- superblock ---- */

/* Block 0 of a disk of which every block may be in use. The root's number has to be below 2^16. */
void erofs_put_super(uint8_t block[EROFS_BLOCK_BYTES], uint16_t root_nid, uint32_t xattr_block);

#endif
