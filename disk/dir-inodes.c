// SPDX-License-Identifier: GPL-2.0-only
/*
 * Inodes and directories of a directory as a disk (disk/dir.c).
 *
 * A struct dir_inodes is the places that the listing of one directory has given to what is in it:
 * first its sub-directories, DIR_SLOT_BYTES each with room for names, then all others,
 * FILE_SLOT_BYTES each. It begins at a block of its own, so what one block has belongs together and
 * is made at once: when it is first read (struct fill) all of its files are looked at, data get
 * their blocks, and each sub-directory is listed (struct listing), which fixes its size and gives its
 * own entries their places. The block then stays as it is.
 *
 * Entries of a listing arrive in the order of their names and become directory blocks at once.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "disk/dir-image.h"
#include "disk/dir-inodes.h"
#include "log.h"
#include "state.h"

#define DIR_SLOT_BYTES	1024u
#define FILE_SLOT_BYTES 128u
#define DIRS_IN_BLOCK	(EROFS_BLOCK_BYTES / DIR_SLOT_BYTES)
#define FILES_IN_BLOCK	(EROFS_BLOCK_BYTES / FILE_SLOT_BYTES)
#define NIDS_IN_BLOCK	(EROFS_BLOCK_BYTES / EROFS_NID_BYTES)
#define IDS_IN_BLOCK	(EROFS_BLOCK_BYTES / 4) /* of shared attributes */
#define NO_PLACE	UINT32_MAX

_Static_assert(FILES_IN_BLOCK <= FILES_MAX_NUMBERS, "one question for a block");

struct fill;

struct inode_block {
	uint8_t *bytes;	   /* NULL: nobody has read it */
	struct fill *fill; /* NULL: it is not being made */
	int error;	   /* -errno: it cannot be made */
};

struct dir_inodes {
	uint64_t parent_nid;	     /* of the directory that they are in */
	uint32_t nr_dirs, nr_others; /* places; some of the last ones may be free */
	uint32_t dir_blocks, nr_blocks;
	uint32_t *numbers;	  /* of the files plus 1, by place; 0: free */
	bool is_listing, is_lost; /* their directory is; it could not be listed to its end */
	bool is_nameless;	  /* they have no names in the snapshot that is being saved */
	struct inode_block blocks[];
};

/* A block of inodes that is being made. */
struct fill {
	struct files_question question; /* about all of them */
	struct dir *dir;
	struct dir_inodes *inodes;
	uint32_t first, index; /* of the blocks; this one */
	unsigned int open;     /* that question, and listings */
	int error;
	uint8_t *bytes;
};

/* A directory that is being listed, for its inode. */
struct listing {
	struct files_question question;
	struct fill *fill;
	unsigned int slot;
	struct tree_attr attr;
	uint32_t xattr_bytes;
	bool refused;		     /* by us */
	struct dir_inodes *children; /* NULL: none */
	uint32_t first;		     /* block of theirs */
	uint32_t next_dir, next_other;
	unsigned int dots; /* "." and "..", as far as they are among the names */
	uint32_t nr_blocks, room_blocks;
	struct dir_bytes *blocks;
	uint8_t last_bytes;
	char last[TREE_MAX_NAME_BYTES]; /* name */
	struct erofs_dirents dirents;
	uint8_t tail[EROFS_BLOCK_BYTES];
};

/* ---- places ---- */

static bool is_dir_block(const struct dir_inodes *inodes, uint32_t index)
{
	return index < inodes->dir_blocks;
}

static uint32_t slot_bytes_of(const struct dir_inodes *inodes, uint32_t index)
{
	return is_dir_block(inodes, index) ? DIR_SLOT_BYTES : FILE_SLOT_BYTES;
}

/* The places of a block: the first, and how many it has. */
static uint32_t places_of(const struct dir_inodes *inodes, uint32_t index, uint32_t *nr)
{
	uint32_t place;

	if (is_dir_block(inodes, index)) {
		place = index * DIRS_IN_BLOCK;
		*nr = (uint32_t)min_u64(DIRS_IN_BLOCK, inodes->nr_dirs - place);
		return place;
	}
	place = (index - inodes->dir_blocks) * FILES_IN_BLOCK;
	*nr = (uint32_t)min_u64(FILES_IN_BLOCK, inodes->nr_others - place);
	return inodes->nr_dirs + place;
}

/* What of the block may be in use; the rest is zeros. */
static uint32_t used_bytes(const struct dir_inodes *inodes, uint32_t index)
{
	uint32_t nr;

	places_of(inodes, index, &nr);
	return nr * slot_bytes_of(inodes, index);
}

static uint64_t nid_of(const struct dir_inodes *inodes, uint32_t first, uint32_t place)
{
	uint64_t block, slot;

	if (place < inodes->nr_dirs) {
		block = place / DIRS_IN_BLOCK;
		slot = (uint64_t)(place % DIRS_IN_BLOCK) * (DIR_SLOT_BYTES / EROFS_NID_BYTES);
	} else {
		place -= inodes->nr_dirs;
		block = inodes->dir_blocks + place / FILES_IN_BLOCK;
		slot = (uint64_t)(place % FILES_IN_BLOCK) * (FILE_SLOT_BYTES / EROFS_NID_BYTES);
	}
	return (first + block) * NIDS_IN_BLOCK + slot;
}

static size_t inodes_bytes(const struct dir_inodes *inodes)
{
	return sizeof(*inodes) + inodes->nr_blocks * sizeof(inodes->blocks[0]);
}

static struct dir_inodes *inodes_create(struct dir *d, uint64_t parent_nid, uint32_t nr_dirs,
					uint32_t nr_others)
{
	uint32_t dir_blocks = (nr_dirs + DIRS_IN_BLOCK - 1) / DIRS_IN_BLOCK;
	const struct dir_inodes plan = {
		.parent_nid = parent_nid,
		.nr_dirs = nr_dirs,
		.nr_others = nr_others,
		.dir_blocks = dir_blocks,
		.nr_blocks = dir_blocks + (nr_others + FILES_IN_BLOCK - 1) / FILES_IN_BLOCK,
	};
	size_t numbers = ((size_t)nr_dirs + nr_others) * sizeof(*plan.numbers);
	struct dir_inodes *inodes = dir_alloc(d, inodes_bytes(&plan));

	if (!inodes)
		return NULL;
	*inodes = plan;
	inodes->numbers = dir_alloc(d, numbers);
	if (!inodes->numbers) {
		dir_free(d, inodes, inodes_bytes(&plan));
		return NULL;
	}
	return inodes;
}

/* Where the inode of file @number is kept; NULL: no memory. */
static uint32_t *nid_at(struct dir *d, uint32_t number)
{
	uint32_t **segment = &d->nids[number / DIR_NIDS];

	if (!*segment)
		*segment = dir_alloc(d, DIR_NIDS * sizeof(**segment));
	return *segment ? &(*segment)[number % DIR_NIDS] : NULL;
}

/* ---- bytes that are elsewhere ---- */

static struct dir_bytes *bytes_create(struct dir *d, const void *data, uint32_t bytes)
{
	struct dir_bytes *b = dir_alloc(d, sizeof(*b) + bytes);

	if (b) {
		b->bytes = bytes;
		memcpy(b->data, data, bytes);
	}
	return b;
}

/* Gives @b blocks; the first, or 0, and then it is gone. */
static uint32_t place_bytes(struct dir *d, enum space_place place, struct dir_bytes *b)
{
	const struct space_range range = {
		.nr = b ? (uint32_t)(align_up(b->bytes, EROFS_BLOCK_BYTES) >> EROFS_BLOCK_BITS) : 0,
		.kind = SPACE_BYTES,
		.owner = b,
	};
	uint32_t block = space_take(&d->space, place, &range);

	if (!block && b)
		dir_free(d, b, sizeof(*b) + b->bytes);
	return block;
}

/*
 * Extended attributes for which an inode has no room: the block they are in, or 0. Files beside each
 * other often have the same.
 */
static uint32_t share_xattrs(struct dir *d, const struct erofs_xattrs *x)
{
	struct dir_bytes *b;

	if (d->shared && d->shared->bytes == x->bytes && !memcmp(d->shared->data, x->data, x->bytes))
		return d->shared_block;
	b = bytes_create(d, x->data, x->bytes);
	d->shared_block = place_bytes(d, SPACE_OF_XATTRS, b);
	d->shared = d->shared_block ? b : NULL;
	return d->shared_block;
}

/* Puts them behind the inode in its slot; how many bytes. */
static uint32_t put_xattrs(struct dir *d, uint8_t *slot, uint32_t slot_bytes, const struct tree_stat *st)
{
	struct erofs_xattrs *x = &d->xattrs;
	uint32_t bytes, block, room = slot_bytes - EROFS_INODE_BYTES;

	erofs_pack_xattrs(x, st->xattrs, st->xattr_bytes);
	bytes = erofs_put_xattrs(slot + EROFS_INODE_BYTES, room, x);
	if (bytes || !x->nr)
		return bytes;
	block = share_xattrs(d, x);
	return block ? erofs_put_xattr_ids(slot + EROFS_INODE_BYTES, room, x,
					   (block - SPACE_XATTRS) * IDS_IN_BLOCK) :
		       0;
}

/* ---- inodes of all but directories ---- */

static struct dir_file *file_create(struct dir *d, uint32_t number, const struct tree_attr *a)
{
	struct dir_file *file = dir_alloc(d, sizeof(*file));

	if (file) {
		file->number = number;
		file->identity = a->identity;
		file->size_bytes = a->size_bytes;
	}
	return file;
}

/* Blocks for @bytes of @file from @offset on: the first one, or 0. */
static uint32_t place_data(struct dir *d, struct dir_file *file, uint64_t offset, uint64_t bytes)
{
	uint64_t nr = align_up(bytes, EROFS_BLOCK_BYTES) >> EROFS_BLOCK_BITS;
	struct space_range range = {
		.nr = (uint32_t)nr,
		.offset = (uint32_t)(offset >> EROFS_BLOCK_BITS),
		.kind = SPACE_FILE,
		.owner = file,
	};
	uint32_t block = nr < SPACE_NR_BLOCKS ? space_take(&d->space, SPACE_OF_DATA, &range) : 0;

	file->nr_ranges += block != 0;
	return block;
}

/* Of a file with holes: those of its chunks that have data get blocks. */
static void place_chunks(struct dir *d, struct erofs_inode *inode, struct dir_file *file,
			 uint32_t chunks[TREE_MAX_CHUNKS])
{
	uint64_t size = inode->attr.size_bytes, chunk = 1ull << inode->attr.chunk_bits;

	inode->layout = EROFS_CHUNKS;
	inode->chunks = chunks;
	inode->nr_chunks = (uint32_t)((size - 1) / chunk + 1);
	for (uint32_t i = 0; i < inode->nr_chunks; i++) {
		uint64_t offset = i * chunk;
		uint32_t block;

		chunks[i] = EROFS_HOLE;
		if (!(inode->attr.data_chunks >> i & 1))
			continue;
		block = place_data(d, file, offset, min_u64(chunk, size - offset));
		chunks[i] = block ? block : SPACE_NOWHERE;
	}
}

static bool chunks_fit(const struct erofs_inode *inode, uint32_t slot_bytes)
{
	uint64_t nr;

	if (!inode->attr.chunk_bits)
		return false;
	nr = ((inode->attr.size_bytes - 1) >> inode->attr.chunk_bits) + 1;
	return EROFS_INODE_BYTES + inode->xattr_bytes + nr * sizeof(uint32_t) <= slot_bytes;
}

/* What does not fit on the disk any more has a place behind its end, where reading fails. */
static void place_file(struct dir *d, struct erofs_inode *inode, uint32_t number, uint32_t slot_bytes,
		       uint32_t chunks[TREE_MAX_CHUNKS])
{
	uint64_t size = inode->attr.size_bytes;
	struct dir_file *file;

	if (!size)
		return;
	inode->block = SPACE_NOWHERE;
	file = file_create(d, number, &inode->attr);
	if (file && chunks_fit(inode, slot_bytes))
		place_chunks(d, inode, file, chunks);
	else if (file)
		inode->block = place_data(d, file, 0, size);
	if (!inode->block)
		inode->block = SPACE_NOWHERE;
	if (file && !file->nr_ranges)
		dir_free(d, file, sizeof(*file));
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): one that has ranges is theirs */
}

static void place_target(struct dir *d, struct erofs_inode *inode, const struct tree_stat *st,
			 uint32_t slot_bytes)
{
	if (EROFS_INODE_BYTES + inode->xattr_bytes + st->target_bytes <= slot_bytes) {
		inode->layout = EROFS_TAIL;
		inode->tail = st->target;
		inode->tail_bytes = st->target_bytes;
		return;
	}
	inode->block = place_bytes(d, SPACE_OF_DATA, bytes_create(d, st->target, st->target_bytes));
	if (!inode->block)
		inode->block = SPACE_NOWHERE;
}

static void put_other(struct fill *f, unsigned int slot, const struct tree_stat *st)
{
	uint32_t nr, place = places_of(f->inodes, f->index, &nr) + slot;
	uint32_t slot_bytes = slot_bytes_of(f->inodes, f->index);
	uint8_t *out = f->bytes + (size_t)slot * slot_bytes;
	struct erofs_inode inode = {
		.nid = nid_of(f->inodes, f->first, place),
		.attr = st->attr,
		.xattr_bytes = put_xattrs(f->dir, out, slot_bytes, st),
	};
	uint32_t chunks[TREE_MAX_CHUNKS];

	if (S_ISREG(st->attr.mode))
		place_file(f->dir, &inode, f->inodes->numbers[place] - 1, slot_bytes, chunks);
	else if (S_ISLNK(st->attr.mode))
		place_target(f->dir, &inode, st, slot_bytes);
	else
		inode.attr.size_bytes = 0;
	if (!erofs_put_inode(out, slot_bytes, &inode))
		f->error = -EIO;
}

/* ---- directories ---- */

static void fill_done(struct fill *f, int error);

static struct listing *listing_of(struct files_question *q)
{
	return (struct listing *)((char *)q - offsetof(struct listing, question));
}

/* The largest number of blocks that names can need: each but the last is full but for one name. */
static uint32_t blocks_for(uint64_t nr, uint64_t name_bytes)
{
	return (uint32_t)((nr * 12 + name_bytes) / (EROFS_BLOCK_BYTES - EROFS_MAX_DIRENT_BYTES) + 1);
}

static int create_blocks(struct listing *l, uint64_t nr, uint64_t name_bytes)
{
	l->room_blocks = blocks_for(nr + 2, name_bytes + strlen("...")) - 1;
	if (!l->room_blocks)
		return 0;
	l->blocks = dir_alloc(l->fill->dir,
			      sizeof(*l->blocks) + (uint64_t)l->room_blocks * EROFS_BLOCK_BYTES);
	if (!l->blocks)
		return -ENOMEM;
	l->blocks->bytes = l->room_blocks * EROFS_BLOCK_BYTES;
	return 0;
}

static uint64_t listed_nid(const struct listing *l)
{
	const struct fill *f = l->fill;
	uint32_t nr, place = places_of(f->inodes, f->index, &nr) + l->slot;

	return nid_of(f->inodes, f->first, place);
}

/* Places for what is in the directory. */
static int create_children(struct listing *l, uint32_t nr_dirs, uint32_t nr_others)
{
	struct dir *d = l->fill->dir;
	struct dir_inodes *children;
	struct space_range range = { .kind = SPACE_INODE_BLOCKS };

	if (!nr_dirs && !nr_others)
		return 0;
	children = inodes_create(d, listed_nid(l), nr_dirs, nr_others);
	if (!children)
		return -ENOMEM;
	range.nr = children->nr_blocks;
	range.owner = children;
	l->first = space_take(&d->space, SPACE_OF_INODES, &range);
	if (!l->first) {
		d->memory_bytes -= inodes_bytes(children) + ((size_t)nr_dirs + nr_others) * sizeof(uint32_t);
		dir_inodes_destroy(children);
		return -ENOSPC;
	}
	children->is_listing = true;
	l->children = children;
	return 0;
}

static int on_total(struct files_question *q, const struct files_total *total)
{
	struct listing *l = listing_of(q);
	uint64_t nr = (uint64_t)total->nr_dirs + total->nr_others;
	int rc = create_blocks(l, nr, total->name_bytes);

	if (!rc)
		rc = create_children(l, total->nr_dirs, total->nr_others);
	l->refused = rc;
	return rc;
}

/* The block that is full takes its place among those before it. */
static int end_block(struct listing *l)
{
	if (l->nr_blocks == l->room_blocks)
		return -EPROTO; /* there are more names than was said */
	erofs_put_dirents(&l->dirents, l->blocks->data + (size_t)l->nr_blocks++ * EROFS_BLOCK_BYTES);
	return 0;
}

static int put_dirent(struct listing *l, uint64_t nid, unsigned int type, const char *name, size_t bytes)
{
	int rc;

	if (erofs_add_dirent(&l->dirents, nid, type, name, bytes))
		return 0;
	rc = end_block(l);
	if (!rc)
		erofs_add_dirent(&l->dirents, nid, type, name, bytes);
	return rc;
}

/* "." and "..", if they come before @name; NULL: now. */
static int put_dots(struct listing *l, const char *name, size_t bytes)
{
	uint64_t nid;
	int rc = 0;

	while (!rc && l->dots < 2 &&
	       (!name || erofs_compare_names("..", l->dots + 1, name, bytes) < 0)) {
		l->dots++;
		nid = l->dots == 1 ? listed_nid(l) : l->fill->inodes->parent_nid;
		rc = put_dirent(l, nid, DT_DIR, "..", l->dots);
	}
	return rc;
}

/* An inode that has a place already may have more names, unless it is a directory. */
static bool may_be_linked(struct dir *d, uint32_t nid)
{
	uint32_t nr, block = nid / NIDS_IN_BLOCK;
	const struct space_range *r = space_find(&d->space, block, &nr);

	return r && r->kind == SPACE_INODE_BLOCKS && !is_dir_block(r->owner, block - r->block);
}

/* The next free place for an entry, or NO_PLACE: there are more than was said. */
static uint32_t next_free_place(struct listing *l, unsigned int type)
{
	const struct dir_inodes *c = l->children;

	if (c && type == DT_DIR && l->next_dir < c->nr_dirs)
		return l->next_dir++;
	if (c && type != DT_DIR && l->next_other < c->nr_others)
		return c->nr_dirs + l->next_other++;
	return NO_PLACE;
}

/* The inode's number of file @number: a new one, or that of its other name. */
static int find_nid(struct listing *l, uint32_t number, unsigned int type, uint32_t *nid)
{
	uint32_t *at = nid_at(l->fill->dir, number), place;

	if (!at)
		return -ENOMEM;
	if (!*at) {
		place = next_free_place(l, type);
		if (place == NO_PLACE)
			return -EPROTO;
		l->children->numbers[place] = number + 1;
		*at = (uint32_t)nid_of(l->children, l->first, place);
	} else if (type == DT_DIR || !may_be_linked(l->fill->dir, *at)) {
		return -EPROTO;
	}
	*nid = *at;
	return 0;
}

static int take_name(struct listing *l, uint32_t number, unsigned int type, const char *name,
		     size_t bytes)
{
	uint32_t nid;
	int rc;

	if (l->last_bytes && erofs_compare_names(l->last, l->last_bytes, name, bytes) >= 0)
		return -EPROTO; /* a guest would not find them */
	memcpy(l->last, name, bytes);
	l->last_bytes = (uint8_t)bytes;
	rc = put_dots(l, name, bytes);
	if (!rc)
		rc = find_nid(l, number, type, &nid);
	return rc ? rc : put_dirent(l, nid, type, name, bytes);
}

static int on_entry(struct files_question *q, uint32_t number, unsigned int type, const char *name,
		    size_t bytes)
{
	struct listing *l = listing_of(q);
	int rc = take_name(l, number, type, name, bytes);

	l->refused = rc;
	return rc;
}

/* Blocks before the tail have their place on the disk; the first one in *block. */
static int place_names(struct listing *l, bool tail_inside, uint32_t tail_bytes, uint32_t *block)
{
	struct dir *d = l->fill->dir;
	struct dir_bytes *b = l->blocks;
	uint32_t full = l->nr_blocks * EROFS_BLOCK_BYTES, bytes = full + (tail_inside ? 0 : tail_bytes);

	*block = 0;
	l->blocks = NULL;
	if (!tail_inside && (!b || bytes > b->bytes)) { /* one block more: exactly what it takes */
		struct dir_bytes *more = dir_alloc(d, sizeof(*more) + bytes);

		if (more) {
			more->bytes = bytes;
			memcpy(more->data, b ? b->data : l->tail, full);
		}
		dir_free(d, b, b ? sizeof(*b) + b->bytes : 0);
		b = more;
		if (!b)
			return -ENOMEM;
	}
	if (!bytes) {
		dir_free(d, b, b ? sizeof(*b) + b->bytes : 0);
		return 0;
	}
	if (!tail_inside)
		memcpy(b->data + full, l->tail, tail_bytes);
	*block = place_bytes(d, SPACE_OF_DATA, b);
	return *block ? 0 : -ENOSPC;
}

static int put_dir(struct listing *l)
{
	struct fill *f = l->fill;
	uint32_t slot_bytes = slot_bytes_of(f->inodes, f->index), tail_bytes;
	struct erofs_inode inode = { .attr = l->attr, .xattr_bytes = l->xattr_bytes, .tail = l->tail };
	bool inside;
	int rc = put_dots(l, NULL, 0);

	if (rc)
		return rc;
	tail_bytes = erofs_put_dirents(&l->dirents, l->tail);
	inside = tail_bytes < EROFS_BLOCK_BYTES &&
		 EROFS_INODE_BYTES + l->xattr_bytes + tail_bytes <= slot_bytes;
	rc = place_names(l, inside, tail_bytes, &inode.block);
	if (rc)
		return rc;
	inode.nid = listed_nid(l);
	inode.layout = inside ? EROFS_TAIL : EROFS_FLAT;
	inode.tail_bytes = inside ? tail_bytes : 0;
	inode.attr.nlink = 2 + l->next_dir;
	inode.attr.size_bytes = (uint64_t)l->nr_blocks * EROFS_BLOCK_BYTES + tail_bytes;
	return erofs_put_inode(f->bytes + (size_t)l->slot * slot_bytes, slot_bytes, &inode) ? 0 : -EIO;
}

/* The host refuses it, or it is gone: nothing of it will ever be seen. Other errors may pass. */
static bool is_refusal(int error)
{
	return error == -EACCES || error == -EPERM || error == -ENOENT || error == -ENOTDIR;
}

/* A directory that the host refuses to list is empty and has no permissions. */
static void listing_done(struct files_question *q, int error)
{
	struct listing *l = listing_of(q);
	struct fill *f = l->fill;
	bool lost = error == -EPIPE || error == -ECANCELED;

	if (is_refusal(error) && !l->refused) {
		l->attr.mode &= S_IFMT;
		error = 0;
	}
	if (!error)
		error = put_dir(l);
	if (l->children) {
		l->children->is_listing = false;
		l->children->is_lost = error != 0;
		dir_look_again(f->dir);
	}
	if (error && !lost)
		log_limited(&f->dir->disk.log_limit, LOG_ERROR, "directory: %s: a directory below it: %s",
			    f->dir->disk.path, strerror(-error));
	dir_free(f->dir, l->blocks, l->blocks ? sizeof(*l->blocks) + l->blocks->bytes : 0);
	free(l);
	fill_done(f, error);
}

/* Its inode is put when it is known how many names it has. */
static void list_dir(struct fill *f, unsigned int slot, uint32_t number, const struct tree_stat *st)
{
	static const struct files_ops ops = {
		.total = on_total,
		.entry = on_entry,
		.done = listing_done,
	};
	uint32_t slot_bytes = slot_bytes_of(f->inodes, f->index);
	struct listing *l = calloc(1, sizeof(*l));

	if (!l) {
		f->error = -ENOMEM;
		return;
	}
	l->fill = f;
	l->slot = slot;
	l->attr = st->attr;
	l->xattr_bytes = put_xattrs(f->dir, f->bytes + (size_t)slot * slot_bytes, slot_bytes, st);
	l->question = (struct files_question){
		.ops = &ops,
		.kind = FILES_LIST,
		.tree = (uint8_t)f->dir->tree,
		.nr = 1,
		.numbers = { number },
	};
	f->open++;
	files_ask(f->dir->files, &l->question);
}

/* ---- blocks of inodes ---- */

static struct fill *fill_of(struct files_question *q)
{
	return (struct fill *)((char *)q - offsetof(struct fill, question));
}

/* Something of it is done. */
static void fill_done(struct fill *f, int error)
{
	struct inode_block *b = &f->inodes->blocks[f->index];

	if (error && !f->error)
		f->error = error;
	if (--f->open)
		return;
	b->fill = NULL;
	b->error = f->error;
	if (f->error)
		dir_free(f->dir, f->bytes, used_bytes(f->inodes, f->index));
	else
		b->bytes = f->bytes;
	dir_look_again(f->dir);
	free(f);
}

static void on_stat(struct files_question *q, unsigned int index, const struct tree_stat *st)
{
	struct fill *f = fill_of(q);

	if (S_ISDIR(st->attr.mode))
		list_dir(f, index, q->numbers[index], st);
	else
		put_other(f, index, st);
}

static void on_stat_done(struct files_question *q, int error)
{
	fill_done(fill_of(q), error);
}

/* Asks for all that are in the block. */
static void ask_for_all(struct fill *f)
{
	static const struct files_ops ops = { .stat = on_stat, .done = on_stat_done };
	uint32_t nr, place = places_of(f->inodes, f->index, &nr);

	f->question = (struct files_question){
		.ops = &ops,
		.kind = FILES_STAT,
		.tree = (uint8_t)f->dir->tree,
	};
	for (uint32_t i = 0; i < nr && f->inodes->numbers[place + i]; i++)
		f->question.numbers[f->question.nr++] = f->inodes->numbers[place + i] - 1;
	f->open = 1;
	if (f->question.nr)
		files_ask(f->dir->files, &f->question);
	else
		fill_done(f, 0);
}

static int start_fill(struct dir *d, struct dir_inodes *inodes, uint32_t first, uint32_t index)
{
	struct fill *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->bytes = dir_alloc(d, used_bytes(inodes, index));
	if (!f->bytes) {
		free(f);
		return -ENOMEM;
	}
	f->dir = d;
	f->inodes = inodes;
	f->first = first;
	f->index = index;
	inodes->blocks[index].fill = f;
	ask_for_all(f);
	return 0;
}

int dir_inodes_read(struct dir *d, struct dir_inodes *inodes, uint32_t first, uint32_t index,
		    const uint8_t **bytes, uint32_t *nr)
{
	struct inode_block *b = &inodes->blocks[index];

	/* What is read is for good: not before all of the directory's names are known. */
	if (inodes->is_listing)
		return -EAGAIN;
	if (inodes->is_lost)
		return -EIO;
	if (!b->bytes && !b->fill && !b->error)
		b->error = start_fill(d, inodes, first, index);
	if (b->error)
		return b->error;
	*bytes = b->bytes;
	*nr = used_bytes(inodes, index);
	return b->bytes ? 0 : -EAGAIN;
}

int dir_inodes_create_root(struct dir *d)
{
	uint64_t nid = (uint64_t)SPACE_ROOT * NIDS_IN_BLOCK;
	struct dir_inodes *inodes = inodes_create(d, nid, 1, 0);
	uint32_t *at = nid_at(d, TREE_ROOT);

	d->root = (struct space_range){ .block = SPACE_ROOT, .nr = 1, .owner = inodes };
	if (!inodes || !at)
		return -ENOMEM;
	inodes->numbers[0] = TREE_ROOT + 1;
	*at = (uint32_t)nid;
	return 0;
}

void dir_inodes_destroy(struct dir_inodes *inodes)
{
	if (!inodes)
		return;
	for (uint32_t i = 0; i < inodes->nr_blocks; i++)
		free(inodes->blocks[i].bytes);
	free(inodes->numbers);
	free(inodes);
}

/* ---- snapshots ---- */

struct dir_place {
	const struct dir_inodes *inodes; /* that it is one of */
	const uint8_t *slot;		 /* its inode; NULL: it was not made */
	uint32_t slot_bytes;
	uint32_t number; /* of the file; TREE_ROOT: also none */
};

/* What inode @nid is. False: it is none that has a place. */
static bool find_inode_place(struct dir *d, uint64_t nid, struct dir_place *p)
{
	const uint64_t block = nid / NIDS_IN_BLOCK;
	const uint32_t at = (uint32_t)(nid % NIDS_IN_BLOCK * EROFS_NID_BYTES);
	const struct space_range *r = &d->root;
	const struct dir_inodes *inodes;
	uint32_t nr, place, index;

	*p = (struct dir_place){ 0 };
	if (block != SPACE_ROOT)
		r = block < SPACE_NR_BLOCKS ? space_find(&d->space, (uint32_t)block, &nr) : NULL;
	if (!r || r->kind != SPACE_INODE_BLOCKS)
		return false;
	p->inodes = inodes = r->owner;
	index = (uint32_t)block - r->block;
	p->slot_bytes = slot_bytes_of(inodes, index);
	place = places_of(inodes, index, &nr);
	if (at % p->slot_bytes || at / p->slot_bytes >= nr || !inodes->numbers[place + at / p->slot_bytes])
		return false;
	p->number = inodes->numbers[place + at / p->slot_bytes] - 1;
	p->slot = inodes->blocks[index].bytes ? inodes->blocks[index].bytes + at : NULL;
	return true;
}

/* Of one that cannot be read the guest was told so: it may try again. */
static void blocks_carry(struct dir *d, struct dir_inodes *inodes, struct state *s)
{
	for (uint32_t i = 0; i < inodes->nr_blocks && state_is_good(s); i++) {
		struct inode_block *b = &inodes->blocks[i];
		bool is_made = b->bytes;

		if (b->fill || inodes->is_listing)
			state_refuse_errno(s, "a directory is being read", -EBUSY);
		state_bool(s, &is_made);
		if (state_loads(s) && is_made && !b->bytes)
			b->bytes = dir_alloc(d, used_bytes(inodes, i));
		if (is_made && !b->bytes)
			state_refuse_errno(s, "inodes", -ENOMEM);
		else if (is_made)
			state_raw(s, b->bytes, used_bytes(inodes, i));
	}
}

/* Each file's number leads to its inode, and to one only. */
static void note_numbers(struct dir *d, const struct dir_inodes *inodes, uint32_t first, struct state *s)
{
	for (uint32_t i = 0; i < inodes->nr_dirs + inodes->nr_others && state_is_good(s); i++) {
		uint32_t *at = NULL;

		if (inodes->numbers[i] > TREE_MAX_NUMBERS) {
			state_refuse(s, "a file's number that cannot be");
		} else if (inodes->numbers[i]) {
			at = nid_at(d, inodes->numbers[i] - 1);
			if (!at)
				state_refuse_errno(s, "files", -ENOMEM);
			else if (*at)
				state_refuse(s, "a file's number that is another's, too");
			else
				*at = (uint32_t)nid_of(inodes, first, i);
		}
	}
}

/* As many as there are bytes for in what is loaded. */
static struct dir_inodes *make_loaded(struct dir *d, const struct dir_inodes *plan, uint32_t nr_blocks, struct state *s)
{
	const uint64_t bytes = ((uint64_t)plan->nr_dirs + plan->nr_others) * sizeof(*plan->numbers);
	struct dir_inodes *inodes;

	if (!bytes || bytes > s->size - s->used)
		state_refuse(s, "more files than it has room for");
	if (!state_is_good(s))
		return NULL;
	inodes = inodes_create(d, plan->parent_nid, plan->nr_dirs, plan->nr_others);
	if (!inodes)
		state_refuse_errno(s, "inodes", -ENOMEM);
	else if (inodes->nr_blocks != nr_blocks)
		state_refuse(s, "more or fewer files than fit into their place");
	return inodes;
}

/*
 * Their directory has its place before them. One that could not be made whole has no names for them, by which the
 * files process could know them again, and gives their numbers to others: they are lost. It is listed anew.
 */
static bool are_lost(struct dir *d, uint64_t parent_nid, struct state *s)
{
	struct dir_place p = { 0 };

	if (state_is_good(s) && !find_inode_place(d, parent_nid, &p))
		state_refuse(s, "files that are in no directory");
	return !p.slot || p.inodes->is_lost;
}

void dir_inodes_carry(struct dir *d, struct space_range *r, struct state *s)
{
	struct dir_inodes *inodes = r->owner, plan = { 0 };

	if (inodes)
		plan = (struct dir_inodes){
			.parent_nid = inodes->parent_nid,
			.nr_dirs = inodes->nr_dirs,
			.nr_others = inodes->nr_others,
			.is_lost = inodes->is_lost,
		};
	state_u64(s, &plan.parent_nid);
	state_count(s, &plan.nr_dirs, TREE_MAX_NUMBERS, "more directories than there are");
	state_count(s, &plan.nr_others, TREE_MAX_NUMBERS, "more files than there are");
	state_bool(s, &plan.is_lost);
	if (state_loads(s))
		r->owner = inodes = make_loaded(d, &plan, r->nr, s);
	if (!inodes || !state_is_good(s))
		return;
	inodes->is_lost = plan.is_lost || (state_loads(s) && are_lost(d, plan.parent_nid, s));
	state_raw(s, inodes->numbers, ((size_t)plan.nr_dirs + plan.nr_others) * sizeof(*inodes->numbers));
	if (state_loads(s) && !inodes->is_lost)
		note_numbers(d, inodes, r->block, s);
	blocks_carry(d, inodes, s);
}

void dir_inodes_carry_root(struct dir *d, struct state *s)
{
	blocks_carry(d, d->root.owner, s);
}

/* ---- names, read from what was made of them ---- */

/* Block @index of the names of directory @p: what is in use of it, or NULL. */
static const uint8_t *find_names(struct dir *d, const struct dir_place *p, uint32_t index, uint32_t *bytes)
{
	struct erofs_dir_inode dir;
	const struct space_range *r;
	const struct dir_bytes *b;
	uint32_t nr, at;

	if (!p->slot || !erofs_get_dir(p->slot, p->slot_bytes, &dir) || index > dir.bytes / EROFS_BLOCK_BYTES)
		return NULL;
	*bytes = (uint32_t)min_u64(dir.bytes - (uint64_t)index * EROFS_BLOCK_BYTES, EROFS_BLOCK_BYTES);
	if (*bytes < EROFS_BLOCK_BYTES && dir.tail)
		return dir.tail;
	r = space_find(&d->space, dir.block, &nr);
	b = r && r->kind == SPACE_BYTES && r->block == dir.block ? r->owner : NULL;
	at = index * EROFS_BLOCK_BYTES;
	return *bytes && b && range_within(at, *bytes, b->bytes) ? b->data + at : NULL;
}

static void save_name(struct dir *d, const struct space_range *r, const struct erofs_name *name, struct state *s)
{
	const struct dir_inodes *inodes = r->owner;
	const uint64_t block = name->nid / NIDS_IN_BLOCK;
	struct dir_place p;
	uint8_t bytes = (uint8_t)name->bytes;
	char text[TREE_MAX_NAME_BYTES];
	bool is_dir;

	/* Other names of files that have their place in another directory are not what they are known by. */
	if (!tree_name_is_good(name->text, name->bytes) || block < r->block || block - r->block >= r->nr ||
	    !find_inode_place(d, name->nid, &p) || p.number == TREE_ROOT)
		return;
	is_dir = is_dir_block(inodes, (uint32_t)(block - r->block));
	memcpy(text, name->text, bytes);
	state_u32(s, &p.number);
	state_bool(s, &is_dir);
	state_u8(s, &bytes);
	state_raw(s, text, bytes);
}

/* One more block or name. False: there cannot be as many, in what was loaded several directories have the same ones. */
static bool is_within(uint64_t *left, struct state *s)
{
	if (*left)
		--*left;
	else
		state_refuse(s, "more names than there can be");
	return state_is_good(s);
}

void dir_inodes_save_names(struct dir *d, const struct space_range *r, struct state *s, uint64_t *left)
{
	struct dir_inodes *inodes = r->owner;
	uint32_t end = TREE_ROOT, bytes;
	const uint8_t *block;
	struct dir_place dir;

	if (!find_inode_place(d, inodes->parent_nid, &dir)) {
		state_refuse(s, "files that are in no directory");
		return;
	}
	inodes->is_nameless = inodes->is_lost || !dir.slot || dir.inodes->is_nameless;
	if (inodes->is_nameless)
		return;
	state_u32(s, &dir.number);
	for (uint32_t i = 0; (block = find_names(d, &dir, i, &bytes)) && is_within(left, s); i++) {
		struct erofs_name name = { 0 };

		while (erofs_next_name(block, bytes, &name) && is_within(left, s))
			save_name(d, r, &name, s);
	}
	state_u32(s, &end);
}
