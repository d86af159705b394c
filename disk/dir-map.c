// SPDX-License-Identifier: GPL-2.0-only
/*
 * A directory as a disk, for snapshots (disk/dir.h): what is on which block, since a guest that goes on has
 * addresses in its memory, and names and inodes that it will not read again.
 *
 * Files are compared with what they were as before, when they are first read: one that has changed since the
 * snapshot is an I/O error. What the guest has not looked at is looked at when it does. Other names of a file
 * that are listed later are files of their own (disk/tree-dir.c).
 *
 * What is loaded is hostile: addresses are checked in disk/dir-space.c, sizes against their places, all else is
 * only the guest's to read, or compared.
 */
#include <errno.h>

#include "disk/dir-image.h"
#include "disk/dir-inodes.h"
#include "disk/dir.h"
#include "state.h"

/* Of one disk, while it is carried. */
struct carried {
	struct dir *dir;
	struct dir_file *last; /* file of the range before, or NULL */
};

static uint64_t range_bytes(const struct space_range *r)
{
	return (uint64_t)r->nr * EROFS_BLOCK_BYTES;
}

static void bytes_carry(struct dir *d, struct space_range *r, struct state *s)
{
	struct dir_bytes *b = r->owner;
	uint32_t bytes = b ? b->bytes : 0;

	state_u32(s, &bytes);
	if (state_loads(s)) {
		if (!bytes || align_up(bytes, EROFS_BLOCK_BYTES) != range_bytes(r) || bytes > s->size - s->used)
			state_refuse(s, "names of another size than their place");
		b = state_is_good(s) ? dir_alloc(d, sizeof(*b) + bytes) : NULL;
		if (!b) {
			state_refuse_errno(s, "names", -ENOMEM);
			return;
		}
		b->bytes = bytes;
		r->owner = b;
	}
	state_raw(s, b->data, bytes);
}

static void identity_carry(struct tree_identity *id, struct state *s)
{
	state_u64(s, &id->dev);
	state_u64(s, &id->ino);
	state_u64(s, &id->size_bytes);
	state_u64(s, (uint64_t *)&id->mtime_ns);
	state_u64(s, (uint64_t *)&id->btime_ns);
	state_u64(s, &id->is_named);
}

/* Parts of a file with holes follow each other. */
static void file_carry(struct carried *c, struct space_range *r, struct state *s)
{
	struct dir_file *file = r->owner;
	bool is_more = file && file == c->last;

	state_bool(s, &is_more);
	if (is_more && state_loads(s)) {
		if (!c->last || c->last->nr_ranges >= TREE_MAX_CHUNKS)
			state_refuse(s, "a part of no file");
		r->owner = file = state_is_good(s) ? c->last : NULL;
	} else if (!is_more) {
		if (state_loads(s))
			r->owner = file = dir_alloc(c->dir, sizeof(*file));
		if (!file) {
			state_refuse_errno(s, "files", -ENOMEM);
			return;
		}
		identity_carry(&file->identity, s);
		state_u64(s, &file->size_bytes);
		state_count(s, &file->number, TREE_MAX_NUMBERS - 1, "a file's number that cannot be");
		state_bool(s, &file->is_bad);
	}
	if (file && state_loads(s))
		file->nr_ranges++;
	c->last = file;
}

static void owner_carry(void *arg, struct space_range *r, struct state *s)
{
	struct carried *c = arg;

	if (r->kind == SPACE_INODE_BLOCKS)
		dir_inodes_carry(c->dir, r, s);
	else if (r->kind == SPACE_BYTES)
		bytes_carry(c->dir, r, s);
	else
		file_carry(c, r, s);
}

void dir_map_carry(struct disk *disk, struct state *s)
{
	struct carried c = { .dir = (struct dir *)disk };

	if (c.dir->waiting)
		state_refuse_errno(s, "it is being read", -EBUSY);
	dir_inodes_carry_root(c.dir, s);
	space_carry(&c.dir->space, s, owner_carry, &c);
}

#define LEAST_ENTRY_BYTES 13u /* of a directory's block, with a name */

struct names {
	struct dir *dir;
	struct state *s;
	uint64_t left; /* blocks and names that may be looked at */
};

static void save_range(void *arg, struct space_range *r)
{
	struct names *n = arg;

	if (r->kind == SPACE_INODE_BLOCKS && state_is_good(n->s))
		dir_inodes_save_names(n->dir, r, n->s, &n->left);
}

void dir_map_save_names(struct disk *disk, struct state *s)
{
	struct dir *d = (struct dir *)disk;
	/* Each is looked at once, and each block has one at least. */
	struct names n = { d, s, d->memory_bytes / LEAST_ENTRY_BYTES * 2 };

	state_section(s, "names", 0);
	space_each(&d->space, save_range, &n);
}
