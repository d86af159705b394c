// SPDX-License-Identifier: GPL-2.0-only
/*
 * A tar archive as a tree (disk/tree.h), in the files process: nothing is unpacked.
 *
 * The archive is gone through once, from header to header. What is kept is for each file 80 bytes (struct
 * tar_inode) and the target of a symbolic link; for each of its names 20 bytes (struct tar_name), the name and
 * 8 to 16 bytes of a hash table. What is rarely asked for is not kept: attributes and the pieces of sparse
 * files are read again from the entry's headers.
 *
 * The tree is what unpacking would make: a later entry takes the place of an earlier one, a directory that
 * has no entry is there with 0755, names that are absolute begin at the root. Left out, with one message
 * for all: names with "..", entries below something that is no directory, hard links to what is not there,
 * kinds that only their writer knows. Nothing in names has a meaning (whiteouts of container images).
 *
 * Numbers are those of inodes, so that names of one file share it. A file that was replaced stays, unseen.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/tar.h"
#include "disk/tree.h"
#include "io.h"
#include "log.h"
#include "util.h"

#define READ_BYTES	 16384u /* at once, when headers are looked for */
#define NO_NAME		 UINT32_MAX
#define NO_INODE	 UINT32_MAX
#define TEXT_MAX	 (UINT32_MAX - TAR_NAME_MAX) /* bytes of all names and targets */
#define SPARSE_MIN_BYTES MIB(1)			     /* smaller files have no holes that matter */
#define MIN_CHUNK_BITS	 12u
#define MAX_CHUNK_BITS	 31u

struct tar_inode {
	uint64_t header; /* where the first of its headers is in the archive */
	uint64_t data;	 /* where its data are; of a symbolic link: its target in text */
	uint64_t size_bytes;
	int64_t mtime_s;
	uint32_t mtime_ns;
	uint32_t mode, uid, gid, nlink;
	uint32_t major, minor;
	uint32_t first;	      /* name in a directory; NO_NAME */
	uint32_t name;	      /* the first it had */
	uint32_t data_chunks; /* of a sparse file, as in struct tree_attr */
	uint8_t chunk_bits;
	bool has_xattrs, is_sparse;
};

struct tar_name {
	uint32_t parent, inode; /* inodes */
	uint32_t next;		/* in the directory; NO_NAME */
	uint32_t text;		/* where it is in text */
	uint8_t bytes;
};

struct tree_tar {
	struct tree_source source;
	char *path; /* what messages call the archive */
	bool keeps_owner;
	uid_t uid;
	gid_t gid;
	struct tree_identity identity; /* of the archive */
	struct tar_inode *inodes;
	struct tar_name *names;
	char *text;
	uint32_t *places; /* names by their hash; NO_NAME: free */
	uint64_t seed;	  /* of the hash: no archive has names that collide on purpose */
	uint64_t nr_inodes, inodes_room, nr_names, names_room, text_bytes, text_room, places_room;
	uint64_t nr_left;
	char left_name[LOG_NAME_BYTES];
	const char *left_why;
	uint64_t window, window_bytes; /* what of the archive is in: */
	uint8_t read[READ_BYTES];
};

/* ---- memory ---- */

static bool tar_grow(void **p, uint64_t *room, uint64_t needed, size_t size)
{
	uint64_t more = max_u64(max_u64(*room * 2, needed), 1024);
	void *bigger;

	if (needed <= *room)
		return true;
	bigger = realloc(*p, more * size);
	if (!bigger)
		return false;
	*p = bigger;
	*room = more;
	return true;
}

/* Where the copy is in text; UINT32_MAX: no room. */
static uint32_t add_text(struct tree_tar *t, const char *text, size_t bytes)
{
	uint64_t at = t->text_bytes;

	if (at + bytes > TEXT_MAX || !tar_grow((void **)&t->text, &t->text_room, at + bytes, 1))
		return UINT32_MAX;
	memcpy(t->text + at, text, bytes);
	t->text_bytes += bytes;
	return (uint32_t)at;
}

static uint32_t add_inode(struct tree_tar *t)
{
	if (t->nr_inodes == TREE_MAX_NUMBERS ||
	    !tar_grow((void **)&t->inodes, &t->inodes_room, t->nr_inodes + 1, sizeof(*t->inodes)))
		return NO_INODE;
	t->inodes[t->nr_inodes] = (struct tar_inode){ .first = NO_NAME, .name = NO_NAME };
	return (uint32_t)t->nr_inodes++;
}

/* ---- names ---- */

static uint64_t hash_of(const struct tree_tar *t, uint32_t parent, const char *name, size_t bytes)
{
	uint64_t h = t->seed ^ parent;

	for (size_t i = 0; i < bytes; i++)
		h = (h ^ (uint8_t)name[i]) * 0x100000001b3ull;
	return h ^ h >> 29;
}

/* Where the name is, or would be. */
static uint64_t name_place(const struct tree_tar *t, uint32_t parent, const char *name, size_t bytes)
{
	uint64_t mask = t->places_room - 1, at = hash_of(t, parent, name, bytes) & mask;

	for (; t->places[at] != NO_NAME; at = (at + 1) & mask) {
		const struct tar_name *n = &t->names[t->places[at]];

		if (n->parent == parent && n->bytes == bytes && !memcmp(t->text + n->text, name, bytes))
			break;
	}
	return at;
}

static bool grow_places(struct tree_tar *t)
{
	uint64_t room = t->places_room ? 2 * t->places_room : 1024;
	uint32_t *places;

	if (2 * t->nr_names < t->places_room)
		return true;
	places = malloc(room * sizeof(*places));
	if (!places)
		return false;
	memset(places, 0xff, room * sizeof(*places));
	free(t->places);
	t->places = places;
	t->places_room = room;
	for (uint32_t i = 0; i < t->nr_names; i++) {
		const struct tar_name *n = &t->names[i];

		t->places[name_place(t, n->parent, t->text + n->text, n->bytes)] = i;
	}
	return true;
}

static uint32_t name_in_dir(const struct tree_tar *t, uint32_t parent, const char *name, size_t bytes)
{
	return t->places[name_place(t, parent, name, bytes)];
}

/* A new name of @inode in directory @parent. NO_NAME: no memory. */
static uint32_t add_name(struct tree_tar *t, uint32_t parent, const char *name, size_t bytes, uint32_t inode)
{
	uint32_t text, nr = (uint32_t)t->nr_names;

	if (nr == NO_NAME || !grow_places(t) ||
	    !tar_grow((void **)&t->names, &t->names_room, t->nr_names + 1, sizeof(*t->names)))
		return NO_NAME;
	text = add_text(t, name, bytes);
	if (text == UINT32_MAX)
		return NO_NAME;
	t->places[name_place(t, parent, name, bytes)] = nr;
	t->names[nr] = (struct tar_name){
		.parent = parent,
		.inode = inode,
		.next = t->inodes[parent].first,
		.text = text,
		.bytes = (uint8_t)bytes,
	};
	t->inodes[parent].first = nr;
	t->nr_names++;
	return nr;
}

static bool is_dir(const struct tree_tar *t, uint32_t inode)
{
	return S_ISDIR(t->inodes[inode].mode);
}

/* Name @nr is that of @inode from now on. */
static void set_inode(struct tree_tar *t, uint32_t nr, uint32_t inode)
{
	struct tar_name *n = &t->names[nr];

	if (n->inode != NO_INODE && n->inode != inode)
		t->inodes[n->inode].nlink--;
	if (n->inode != NO_INODE && n->inode != inode && is_dir(t, n->inode))
		t->inodes[n->parent].nlink--;
	if (n->inode == inode)
		return;
	n->inode = inode;
	t->inodes[inode].nlink++;
	if (t->inodes[inode].name == NO_NAME)
		t->inodes[inode].name = nr;
	if (is_dir(t, inode))
		t->inodes[n->parent].nlink++;
}

/* ---- paths ---- */

/* The next component of *@path; 0 at its end. */
static size_t tree_tar_component(const char **path, const char **name)
{
	const char *at = *path;
	size_t n;

	while (*at == '/' || (at[0] == '.' && (at[1] == '/' || !at[1])))
		at++;
	n = strcspn(at, "/");
	*name = at;
	*path = at + n;
	return n;
}

/* Why the entry is left out; NULL if a component is a name. */
static const char *refuse_component(const char *name, size_t bytes)
{
	if (bytes > TREE_MAX_NAME_BYTES)
		return strerror(ENAMETOOLONG);
	return tree_name_is_good(name, bytes) ? NULL : "its name leads out of the archive";
}

static uint32_t make_dir_inode(struct tree_tar *t, int64_t mtime_s)
{
	uint32_t inode = add_inode(t);

	if (inode != NO_INODE) {
		t->inodes[inode].mode = S_IFDIR | 0755;
		t->inodes[inode].mtime_s = mtime_s;
		t->inodes[inode].nlink = 1;
	}
	return inode;
}

/* An entry's place: a name in a directory, whose inode may be none yet. */
struct place {
	uint32_t parent;
	const char *name;
	size_t bytes; /* 0: it is the root */
};

/*
 * Goes to the directory of @path; with @makes makes those that are not there. 0, -ENOMEM, or -ENOENT with
 * *@why.
 */
static int place_of_path(struct tree_tar *t, const char *path, bool makes, int64_t mtime_s, struct place *p,
			 const char **why)
{
	const char *name;
	size_t bytes;

	*p = (struct place){ .parent = TREE_ROOT };
	while ((bytes = tree_tar_component(&path, &name))) {
		*why = refuse_component(name, bytes);
		if (*why)
			return -ENOENT;
		if (p->bytes) {
			uint32_t nr = name_in_dir(t, p->parent, p->name, p->bytes);

			*why = "it is below what is no directory";
			if (nr == NO_NAME && !makes)
				return -ENOENT;
			if (nr == NO_NAME) {
				uint32_t inode = make_dir_inode(t, mtime_s);

				nr = inode == NO_INODE ? NO_NAME : add_name(t, p->parent, p->name, p->bytes, NO_INODE);
				if (nr == NO_NAME)
					return -ENOMEM;
				set_inode(t, nr, inode);
			}
			if (!is_dir(t, t->names[nr].inode))
				return -ENOENT;
			p->parent = t->names[nr].inode;
		}
		p->name = name;
		p->bytes = bytes;
	}
	return 0;
}

/* ---- entries ---- */

static void tree_tar_leave(struct tree_tar *t, const struct tar_entry *e, const char *why)
{
	if (t->nr_left++)
		return;
	log_name(t->left_name, sizeof(t->left_name), e->path);
	t->left_why = why;
}

static uint32_t mode_of(const struct tar_entry *e)
{
	static const uint32_t types[] = {
		[TAR_FILE] = S_IFREG,
		[TAR_SYMLINK] = S_IFLNK,
		[TAR_CHAR_DEVICE] = S_IFCHR,
		[TAR_BLOCK_DEVICE] = S_IFBLK,
		[TAR_DIR] = S_IFDIR,
		[TAR_FIFO] = S_IFIFO,
	};

	return types[e->type] | e->mode;
}

/* As the guest's file system can show it: TREE_MAX_CHUNKS of a power of two, each with data or without. */
static void set_chunks(struct tar_inode *i, const struct tar_entry *e)
{
	uint32_t bits = MIN_CHUNK_BITS;

	while (bits <= MAX_CHUNK_BITS && (e->size_bytes - 1) >> bits >= TREE_MAX_CHUNKS)
		bits++;
	if (bits > MAX_CHUNK_BITS || e->size_bytes <= SPARSE_MIN_BYTES)
		return;
	i->chunk_bits = (uint8_t)bits;
	for (uint32_t n = 0; n < e->nr_pieces; n++) {
		const struct tar_piece *p = &e->pieces[n];

		for (uint64_t c = p->offset >> bits; c <= (p->offset + p->bytes - 1) >> bits; c++)
			i->data_chunks |= 1u << c;
	}
}

static bool fill_inode(struct tree_tar *t, const struct tar_entry *e, uint64_t header, struct tar_inode *i)
{
	uint32_t text = 0;

	i->header = header;
	i->mode = mode_of(e);
	i->uid = !t->keeps_owner && e->uid == t->uid ? 0 : e->uid;
	i->gid = !t->keeps_owner && e->gid == t->gid ? 0 : e->gid;
	i->mtime_s = e->mtime_s;
	i->mtime_ns = e->mtime_ns;
	i->major = e->major;
	i->minor = e->minor;
	i->has_xattrs = e->xattrs_bytes;
	if (e->type == TAR_FILE) {
		i->size_bytes = e->size_bytes;
		i->data = e->data_offset;
		i->is_sparse = e->is_sparse;
		if (e->is_sparse)
			set_chunks(i, e);
	}
	if (e->type == TAR_SYMLINK) {
		i->size_bytes = strlen(e->link);
		text = add_text(t, e->link, i->size_bytes);
		i->data = text;
	}
	return text != UINT32_MAX;
}

/* The inode for the entry at @nr, which may be NO_NAME: a directory stays the one that was there. */
static uint32_t inode_for(struct tree_tar *t, const struct tar_entry *e, uint32_t nr)
{
	if (e->type == TAR_DIR && nr != NO_NAME && is_dir(t, t->names[nr].inode))
		return t->names[nr].inode;
	if (e->type == TAR_DIR)
		return make_dir_inode(t, e->mtime_s);
	return add_inode(t);
}

/* The file that a hard link means; NO_INODE: there is none. */
static uint32_t find_linked(struct tree_tar *t, const struct tar_entry *e)
{
	const char *why;
	struct place p;
	uint32_t nr;

	if (place_of_path(t, e->link, false, 0, &p, &why) || !p.bytes)
		return NO_INODE;
	nr = name_in_dir(t, p.parent, p.name, p.bytes);
	return nr == NO_NAME || is_dir(t, t->names[nr].inode) ? NO_INODE : t->names[nr].inode;
}

static int put_entry(struct tree_tar *t, const struct tar_entry *e, uint64_t header, const struct place *p)
{
	uint32_t nr = p->bytes ? name_in_dir(t, p->parent, p->name, p->bytes) : NO_NAME;
	uint32_t inode = TREE_ROOT;

	if (!p->bytes && e->type != TAR_DIR) {
		tree_tar_leave(t, e, "its name is that of the root");
		return 0;
	}
	if (e->type == TAR_HARD_LINK) {
		inode = find_linked(t, e);
		if (inode == NO_INODE) {
			tree_tar_leave(t, e, "a hard link to what is not in the archive");
			return 0;
		}
	} else {
		if (p->bytes)
			inode = inode_for(t, e, nr);
		if (inode == NO_INODE || !fill_inode(t, e, header, &t->inodes[inode]))
			return -ENOMEM;
	}
	if (!p->bytes)
		return 0;
	if (nr == NO_NAME)
		nr = add_name(t, p->parent, p->name, p->bytes, NO_INODE);
	if (nr == NO_NAME)
		return -ENOMEM;
	set_inode(t, nr, inode);
	return 0;
}

static int index_entry(struct tree_tar *t, const struct tar_entry *e, uint64_t header)
{
	const char *why;
	struct place p;
	int rc;

	if (e->type == TAR_UNKNOWN) {
		tree_tar_leave(t, e, "of a kind that is not known");
		return 0;
	}
	if (strlen(e->link) > TREE_MAX_TARGET_BYTES) {
		tree_tar_leave(t, e, strerror(ENAMETOOLONG));
		return 0;
	}
	rc = place_of_path(t, e->path, true, e->mtime_s, &p, &why);
	if (rc == -ENOENT)
		tree_tar_leave(t, e, why);
	else if (!rc)
		rc = put_entry(t, e, header, &p);
	return rc == -ENOENT ? 0 : rc;
}

/* ---- going through the archive ---- */

/* The block at @offset. -ENODATA: the archive ends before it, or in it. */
static int read_block(struct tree_tar *t, uint64_t offset, const uint8_t **block)
{
	if (!range_within(offset, TAR_BLOCK_BYTES, t->identity.size_bytes))
		return -ENODATA;
	if (offset < t->window || !range_within(offset - t->window, TAR_BLOCK_BYTES, t->window_bytes)) {
		uint64_t n = min_u64(sizeof(t->read), t->identity.size_bytes - offset);
		int rc = pread_all(t->source.fd, t->read, n, offset);

		t->window = offset;
		t->window_bytes = rc ? 0 : n;
		if (rc)
			return rc;
	}
	*block = t->read + (offset - t->window);
	return 0;
}

/* Up to the next entry, or the end. TAR_BAD with *@why. */
static enum tar_step read_entry(struct tree_tar *t, struct tar *tar, const char **why)
{
	enum tar_step step = TAR_MORE;
	const uint8_t *block = NULL;

	while (step == TAR_MORE) {
		int rc = read_block(t, tar_offset(tar), &block);

		if (rc) {
			*why = rc == -ENODATA ? tar_cannot_end(tar) : strerror(-rc);
			if (rc == -ENODATA && t->identity.size_bytes && !tar_offset(tar))
				*why = "it is shorter than a block of 512 bytes";
			return *why ? TAR_BAD : TAR_END;
		}
		step = tar_feed(tar, block);
	}
	*why = tar_error(tar);
	return step;
}

/* The entry whose headers are at @header. NULL: the archive is not what it was. */
static struct tar *read_again(struct tree_tar *t, uint64_t header)
{
	enum tar_step step;
	const char *why;
	struct tar *tar;

	if (tar_create(&tar))
		return NULL;
	tar_begin_at(tar, header);
	step = read_entry(t, tar, &why);
	if (step == TAR_ENTRY)
		return tar;
	tar_destroy(tar);
	return NULL;
}

static int refuse_archive(const struct tree_tar *t, const struct tar *tar, const char *why)
{
	if (!t->nr_inodes || tar_offset(tar) <= TAR_BLOCK_BYTES)
		log_error("root: %s: not a tar archive (%s)", t->path, why);
	else
		log_error("root: %s: damaged at byte %llu: %s", t->path,
			  (unsigned long long)tar_offset(tar), why);
	return -EINVAL;
}

static int index_archive(struct tree_tar *t, struct tar *tar)
{
	const char *why;
	int rc = 0;

	while (!rc) {
		uint64_t header = tar_offset(tar), left;
		enum tar_step step = read_entry(t, tar, &why);

		if (step == TAR_BAD)
			return refuse_archive(t, tar, why);
		if (step == TAR_END)
			return 0;
		left = tar_data_left(tar);
		if (!range_within(tar_offset(tar), left, t->identity.size_bytes))
			return refuse_archive(t, tar, "it ends in the middle of an entry");
		rc = index_entry(t, tar_entry(tar), header);
		tar_skip(tar, align_up(left, TAR_BLOCK_BYTES) / TAR_BLOCK_BYTES);
	}
	return rc;
}

static int tree_tar_begin(struct tree_source *source)
{
	struct tree_tar *t = (struct tree_tar *)source;
	struct tar *tar = NULL;
	int rc = tar_create(&tar);

	if (!rc && (!grow_places(t) || make_dir_inode(t, 0) != TREE_ROOT))
		rc = -ENOMEM;
	if (!rc) {
		t->inodes[TREE_ROOT].nlink = 2;
		rc = index_archive(t, tar);
	}
	if (rc == -ENOMEM)
		log_error("root: %s: %s: %llu files so far", t->path, strerror(ENOMEM),
			  (unsigned long long)t->nr_inodes);
	tar_destroy(tar);
	if (!rc && t->nr_left == 1)
		log_error("root: %s: %s: left out: %s", t->path, t->left_name, t->left_why);
	else if (!rc && t->nr_left)
		log_error("root: %s: %s: left out: %s (and %llu more)", t->path, t->left_name, t->left_why,
			  (unsigned long long)t->nr_left - 1);
	return rc;
}

/* ---- what is asked ---- */

static bool tree_tar_knows(const struct tree_tar *t, uint32_t number)
{
	return number < t->nr_inodes;
}

static int tree_tar_list(struct tree_source *source, uint32_t number, struct tree_list *list)
{
	const struct tree_tar *t = (const struct tree_tar *)source;
	int rc = tree_tar_knows(t, number) ? 0 : -ENOENT;

	for (uint32_t at = rc ? NO_NAME : t->inodes[number].first; at != NO_NAME && !rc; at = t->names[at].next) {
		const struct tar_name *n = &t->names[at];

		rc = tree_list_add(list, n->inode, IFTODT(t->inodes[n->inode].mode), t->text + n->text,
				   n->bytes);
	}
	return rc;
}

/* Others are of no use in the guest, or obeyed by its overlayfs. */
static bool takes_xattr(const char *name)
{
	return !strncmp(name, "user.", 5) || !strncmp(name, "security.", 9) ||
	       !strcmp(name, "system.posix_acl_access") || !strcmp(name, "system.posix_acl_default");
}

static void put_xattr(struct tree_stat *out, const struct tar_xattr *x)
{
	size_t n = strlen(x->name);
	struct tree_xattr head = { .name_bytes = (uint8_t)n, .value_bytes = (uint16_t)x->value_bytes };
	uint8_t *p = out->xattrs + out->xattr_bytes;

	if (!takes_xattr(x->name) || n > UINT8_MAX || x->value_bytes > UINT16_MAX ||
	    !range_within(out->xattr_bytes, sizeof(head) + n + x->value_bytes, sizeof(out->xattrs)))
		return;
	memcpy(p, &head, sizeof(head));
	memcpy(p + sizeof(head), x->name, n);
	memcpy(p + sizeof(head) + n, x->value, x->value_bytes);
	out->xattr_bytes += (uint32_t)(sizeof(head) + n + x->value_bytes);
}

static void put_all_xattrs(struct tree_tar *t, const struct tar_inode *i, struct tree_stat *out)
{
	struct tar *tar = read_again(t, i->header);
	struct tar_xattr x;
	size_t at = 0;

	while (tar && tar_next_xattr(tar_entry(tar), &at, &x))
		put_xattr(out, &x);
	tar_destroy(tar);
}

static void tree_tar_stat(struct tree_source *source, uint32_t number, struct tree_stat *out)
{
	struct tree_tar *t = (struct tree_tar *)source;
	const struct tar_inode *i;

	if (!tree_tar_knows(t, number)) {
		out->attr = (struct tree_attr){ .mode = S_IFCHR, .nlink = 1 };
		return;
	}
	i = &t->inodes[number];
	out->attr = (struct tree_attr){
		.mode = i->mode,
		.nlink = i->nlink,
		.uid = i->uid,
		.gid = i->gid,
		.major = i->major,
		.minor = i->minor,
		.mtime_sec = i->mtime_s,
		.mtime_nsec = i->mtime_ns,
		.size_bytes = i->size_bytes,
		.chunk_bits = i->chunk_bits,
		.data_chunks = i->data_chunks,
	};
	if (S_ISREG(i->mode))
		out->attr.identity = t->identity;
	if (S_ISLNK(i->mode)) {
		out->target_bytes = (uint32_t)i->size_bytes;
		memcpy(out->target, t->text + i->data, i->size_bytes);
	}
	if (i->has_xattrs)
		put_all_xattrs(t, i, out);
}

static int put_pieces(struct tree_tar *t, const struct tar_inode *i, struct tree_data *out)
{
	struct tar *tar = read_again(t, i->header);
	const struct tar_entry *e = tar ? tar_entry(tar) : NULL;
	uint64_t at = i->data;
	int rc = 0;

	if (!e || e->size_bytes != i->size_bytes || e->data_offset != i->data)
		rc = -ESTALE;
	else if (e->nr_pieces > TREE_MAX_EXTENTS)
		rc = -EFBIG;
	for (uint32_t n = 0; !rc && n < e->nr_pieces; n++) {
		out->extents[n] = (struct tree_extent){ e->pieces[n].offset, e->pieces[n].bytes, at };
		at += e->pieces[n].bytes;
		out->nr_extents++;
	}
	tar_destroy(tar);
	return rc;
}

static int tree_tar_open(struct tree_source *source, uint32_t number, struct tree_data *out)
{
	struct tree_tar *t = (struct tree_tar *)source;
	const struct tar_inode *i;
	int rc = 0;

	if (!tree_tar_knows(t, number) || !S_ISREG(t->inodes[number].mode))
		return -ESTALE;
	i = &t->inodes[number];
	out->nr_extents = 0;
	if (i->is_sparse)
		rc = put_pieces(t, i, out);
	else
		out->extents[out->nr_extents++] = (struct tree_extent){ 0, i->size_bytes, i->data };
	if (rc)
		return rc;
	out->fd = fcntl(t->source.fd, F_DUPFD_CLOEXEC, 0);
	return out->fd < 0 ? -errno : 0;
}

/* Prepends to what is at *@begin of @text; false if there is no room. */
static bool put_before(const char *text, char **begin, const char *part, size_t bytes)
{
	if ((size_t)(*begin - text) < bytes)
		return false;
	*begin -= bytes;
	memcpy(*begin, part, bytes);
	return true;
}

static void tree_tar_name(struct tree_source *source, uint32_t number, char *text, size_t bytes)
{
	const struct tree_tar *t = (const struct tree_tar *)source;
	char *begin = text + bytes - 1;
	bool fits = true;

	*begin = '\0';
	while (fits && tree_tar_knows(t, number) && t->inodes[number].name != NO_NAME) {
		const struct tar_name *n = &t->names[t->inodes[number].name];

		fits = put_before(text, &begin, t->text + n->text, n->bytes) && put_before(text, &begin, "/", 1);
		number = n->parent;
	}
	if (fits)
		put_before(text, &begin, t->path, strlen(t->path));
	memmove(text, begin, (size_t)(text + bytes - begin));
}

static void tree_tar_destroy(struct tree_source *source)
{
	struct tree_tar *t = (struct tree_tar *)source;

	if (t->source.fd >= 0)
		close(t->source.fd);
	free(t->path);
	free(t->inodes);
	free(t->names);
	free(t->text);
	free(t->places);
	free(t);
}

static const struct tree_source_ops tree_tar_ops = {
	.begin = tree_tar_begin,
	.list = tree_tar_list,
	.stat = tree_tar_stat,
	.open = tree_tar_open,
	.name = tree_tar_name,
	.destroy = tree_tar_destroy,
};

int tree_tar_create(struct tree_source **out, const struct tree_config *config)
{
	struct tree_tar *t = calloc(1, sizeof(*t));
	struct statx st = { 0 };
	int rc = 0;

	if (!t)
		return log_enomem("archive");
	t->source = (struct tree_source){ .ops = &tree_tar_ops };
	t->source.fd = fcntl(config->archive_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	t->path = strdup(config->path);
	t->keeps_owner = config->owner == TREE_OWNER_KEEP;
	t->uid = getuid();
	t->gid = getgid();
	if (!t->path)
		rc = -ENOMEM;
	else if (random_bytes(&t->seed, sizeof(t->seed)))
		rc = -EIO;
	else if (t->source.fd < 0 || statx(t->source.fd, "", AT_EMPTY_PATH, TREE_IDENTITY_MASK, &st))
		rc = -errno;
	if (rc) {
		log_error("root: %s: %s", config->path, strerror(-rc));
		tree_tar_destroy(&t->source);
		return rc;
	}
	t->identity = tree_identity_of(&st);
	*out = &t->source;
	return 0;
}
