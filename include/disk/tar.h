/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading tar archives, block by block: old (v7), ustar, GNU and pax.
 *
 * Whoever has the archive feeds its blocks one after the other, and is told when an entry is complete.
 * The entry's data follow: they are taken in any amounts with tar_skip(), or fed as well. Nothing is read
 * from anywhere, and nothing of an archive is trusted: it may come from a guest.
 *
 * Memory: about 20 KiB, and while an archive has them up to TAR_PAX_MAX of extended header, TAR_XATTRS_MAX of
 * attributes and TAR_PIECES_MAX pieces of 16 bytes. Any thread, one at a time.
 *
 * Sources: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Interchange Format"; the manual of GNU
 * tar 1.34, "Basic Tar Format", "Storing Sparse Files".
 */
#ifndef LKVM_DISK_TAR_H
#define LKVM_DISK_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAR_BLOCK_BYTES 512u
#define TAR_NAME_MAX	4096u	   /* bytes of a name, without its end */
#define TAR_XATTRS_MAX	65536u	   /* bytes of names and values, of one entry */
#define TAR_PAX_MAX	(2u << 20) /* bytes of an extended header */
#define TAR_PIECES_MAX	65536u	   /* of a sparse file */

enum tar_type {
	TAR_FILE,
	TAR_HARD_LINK,
	TAR_SYMLINK,
	TAR_CHAR_DEVICE,
	TAR_BLOCK_DEVICE,
	TAR_DIR,
	TAR_FIFO,
	TAR_UNKNOWN, /* a kind that only its writer knows */
};

/* A part of a sparse file that is stored; between these are holes. */
struct tar_piece {
	uint64_t offset, bytes;
};

/* Valid until the block that follows its data is fed. */
struct tar_entry {
	enum tar_type type;
	const char *path;      /* never empty; not otherwise checked: may be absolute, have ".." */
	const char *link;      /* of links, where to; "" otherwise */
	uint32_t mode;	       /* 07777 */
	uint32_t uid, gid;     /* 65534 if it has more than 32 bits */
	uint32_t major, minor; /* of devices */
	uint64_t size_bytes;   /* of a file, with its holes */
	int64_t mtime_s;
	uint32_t mtime_ns;
	uint64_t stored_bytes; /* of data that follow, and are padded to whole blocks */
	uint64_t data_offset;  /* of these, in the archive */
	bool is_sparse;
	uint32_t nr_pieces; /* of a sparse file: in order, apart, together stored_bytes */
	const struct tar_piece *pieces;
	const uint8_t *xattrs; /* see tar_next_xattr() */
	size_t xattrs_bytes;
};

struct tar_xattr {
	const char *name;
	const void *value;
	size_t value_bytes;
};

enum tar_step {
	TAR_MORE,  /* it takes more blocks */
	TAR_ENTRY, /* tar_entry() is complete */
	TAR_DATA,  /* it was data of the entry */
	TAR_END,   /* it was the end's mark: what follows does not matter */
	TAR_BAD,   /* tar_error() says why; so do all calls after it */
};

struct tar;

/* 0 or -ENOMEM. */
int tar_create(struct tar **out);
void tar_destroy(struct tar *t); /* accepts NULL */

/* Before the first block: that is at @offset of the archive, where an entry's headers begin. */
void tar_begin_at(struct tar *t, uint64_t offset);

/* The next TAR_BLOCK_BYTES of the archive. */
enum tar_step tar_feed(struct tar *t, const void *block);

/* After TAR_ENTRY: how many bytes of its data are still to come, without padding. */
uint64_t tar_data_left(const struct tar *t);

/* The same as feeding @blocks of data, at most those with tar_data_left() bytes. */
void tar_skip(struct tar *t, uint64_t blocks);

const struct tar_entry *tar_entry(const struct tar *t);
const char *tar_error(const struct tar *t);

/* How many bytes have been fed and skipped. */
uint64_t tar_offset(const struct tar *t);

/* Why an archive cannot end after what was fed; NULL if it can, even without the end's mark. */
const char *tar_cannot_end(const struct tar *t);

/* The next attribute; *@at is 0 at first. False after the last. */
bool tar_next_xattr(const struct tar_entry *e, size_t *at, struct tar_xattr *x);

/* The program that unpacks an archive with this first block: "zstd"; NULL if it is not compressed. */
const char *tar_unpacker(const void *block);

#endif
