// SPDX-License-Identifier: GPL-2.0-only
/*
 * A directory of this host as a tree (disk/tree.h), in the files process.
 *
 * It keeps, for each number, the file's name and its directory's number: 24 bytes, 4 to 8 for hard
 * links, and the name. To look at a file it goes into its directory (fchdir()) and calls it by its
 * name there. Directories are opened one below the other, never through a symbolic link and
 * never onto another mount; the descriptors used last are kept. So whatever is moved on the host
 * meanwhile, nothing outside is ever reached.
 *
 * Hard links are found by the inode's number in a listing. Such numbers are given out again once a
 * file is gone, so that a match is only a hint: both names are looked at, and a file that was
 * looked at before has to be of the same birth.
 *
 * One file system: what is mounted below appears as an empty directory. (A single file that is mounted
 * over another is shown, since containers have their resolv.conf that way.) Of "/" also /proc,
 * /sys, /dev and /run are empty. trusted.* attributes are left out: overlayfs would obey them.
 *
 * In a guest that goes on from a snapshot files keep their numbers. Hard links are then found among what is
 * listed from now on.
 *
 * A change is seen by a file's size and the time of its last writing, as exactly as the file system
 * keeps that: what is written twice within one tick of its clock, a few milliseconds at most, may
 * not be, nor is what a program writes that sets the time back afterwards.
 *
 * Sources: getdents64(2), statx(2), xattr(7), lseek(2) for SEEK_DATA.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "disk/tree.h"
#include "log.h"
#include "state.h"
#include "util.h"

#define MAX_OPEN_DIRS	   32u				      /* 16 trees have half of what a process may mostly open */
#define LIST_BYTES	   KIB(64)			      /* of getdents64() */
#define NAMES_MAX	   (UINT32_MAX - TREE_MAX_NAME_BYTES) /* bytes of all names */
#define SPARSE_MIN_BYTES   MIB(1)			      /* smaller files have no holes that matter */
#define SPARSE_SLACK_BYTES KIB(64)
#define MIN_CHUNK_BITS	   12u
#define MAX_CHUNK_BITS	   31u
#define STAT_MASK	   (STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID)
#define NO_NODE		   UINT32_MAX

struct dir_node {
	uint64_t ino;	       /* when it was listed */
	uint32_t parent, name; /* where it is in names */
	uint32_t birth;	       /* of the file that was looked at, see birth_of(); 0: none was */
	uint8_t name_bytes, type;
};

struct open_dir {
	uint32_t number; /* NO_NODE: free */
	int fd;
	bool pinned;
	uint64_t used;
};

struct tree_dir {
	struct tree_source source;
	const void *given; /* names, of a snapshot; lent */
	size_t given_bytes;
	char *path;
	bool keeps_owner, is_host_root;
	uid_t uid;
	gid_t gid;
	uint32_t dev_major, dev_minor;
	uint64_t mount;
	struct dir_node *nodes;
	uint32_t nr_nodes, nodes_room;
	char *names;
	uint64_t name_bytes, names_room;
	uint32_t *links;	       /* numbers by the hash of their inode's; NO_NODE: free */
	uint32_t nr_links, links_room; /* a power of two */
	struct open_dir dirs[MAX_OPEN_DIRS];
	uint64_t clock;
	uint32_t *way; /* directories to go through, the deepest first */
	uint32_t way_room;
	uint64_t unreadable, left_out;
	char list[LIST_BYTES];
	char xattr_names[XATTR_LIST_MAX];
};

/* ---- nodes ---- */

static bool tree_grow(void **p, uint64_t *room, uint64_t needed, size_t size)
{
	uint64_t more = max_u64(max_u64(*room * 2, needed), 1024);
	void *bigger = realloc(*p, more * size);

	if (!bigger)
		return false;
	*p = bigger;
	*room = more;
	return true;
}

static bool make_node_room(struct tree_dir *t, size_t name_bytes)
{
	uint64_t nodes = t->nodes_room;
	bool ok = t->nr_nodes < TREE_MAX_NUMBERS && t->name_bytes + name_bytes <= NAMES_MAX;

	if (ok && t->nr_nodes == nodes)
		ok = tree_grow((void **)&t->nodes, &nodes, nodes + 1, sizeof(*t->nodes));
	t->nodes_room = (uint32_t)nodes;
	if (ok && t->name_bytes + name_bytes > t->names_room)
		ok = tree_grow((void **)&t->names, &t->names_room, t->name_bytes + name_bytes, 1);
	return ok;
}

/* The number of a new one, or NO_NODE. */
static uint32_t add_node(struct tree_dir *t, uint32_t parent, const char *name, size_t bytes,
			 unsigned int type, uint64_t ino)
{
	if (!make_node_room(t, bytes))
		return NO_NODE;
	t->nodes[t->nr_nodes] = (struct dir_node){
		.ino = ino,
		.parent = parent,
		.name = (uint32_t)t->name_bytes,
		.name_bytes = (uint8_t)bytes,
		.type = (uint8_t)type,
	};
	memcpy(t->names + t->name_bytes, name, bytes);
	t->name_bytes += bytes;
	return t->nr_nodes++;
}

/* Of a file in its directory; the root is "." in itself. */
static void name_of(const struct tree_dir *t, uint32_t number, char name[NAME_MAX + 1])
{
	const struct dir_node *n = &t->nodes[number];

	memcpy(name, t->names + n->name, n->name_bytes);
	name[n->name_bytes] = '\0';
}

static bool is_known(const struct tree_dir *t, uint32_t number)
{
	return number < t->nr_nodes;
}

/* ---- going there ---- */

static int look_at_name(int dir, const char *name, struct statx *st)
{
	return statx(dir, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STAT_MASK, st) ? -errno : 0;
}

/* Not something that is mounted here. Kernels before 5.8 do not tell mounts of one file system apart. */
static bool is_on_mount(const struct tree_dir *t, const struct statx *st)
{
	return st->stx_dev_major == t->dev_major && st->stx_dev_minor == t->dev_minor &&
	       (!(st->stx_mask & STATX_MNT_ID) || st->stx_mnt_id == t->mount);
}

/* The descriptor of a directory in @dir, or -errno; -EXDEV if it is on another mount. */
static int open_below(const struct tree_dir *t, int dir, uint32_t number)
{
	char name[NAME_MAX + 1];
	struct statx st;
	int rc, fd;

	name_of(t, number, name);
	rc = look_at_name(dir, name, &st);
	if (!rc && !S_ISDIR(st.stx_mode))
		rc = -ENOENT;
	if (!rc && !is_on_mount(t, &st))
		rc = -EXDEV;
	if (rc)
		return rc;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* Something may have been mounted there meanwhile. */
	if (!statx(fd, "", AT_EMPTY_PATH, STAT_MASK, &st) && is_on_mount(t, &st))
		return fd;
	close(fd);
	return -EXDEV;
}

static struct open_dir *find_open(struct tree_dir *t, uint32_t number)
{
	for (unsigned int i = 0; i < MAX_OPEN_DIRS; i++) {
		if (t->dirs[i].number != number)
			continue;
		t->dirs[i].used = ++t->clock;
		return &t->dirs[i];
	}
	return NULL;
}

/* In the place of the one that has not been used for longest. */
static struct open_dir *keep_open(struct tree_dir *t, uint32_t number, int fd)
{
	struct open_dir *oldest = NULL;

	for (unsigned int i = 0; i < MAX_OPEN_DIRS; i++) {
		struct open_dir *d = &t->dirs[i];

		if (!d->pinned && (!oldest || d->used < oldest->used))
			oldest = d;
	}
	if (oldest->number != NO_NODE)
		close(oldest->fd);
	*oldest = (struct open_dir){ .number = number, .fd = fd, .used = ++t->clock };
	return oldest;
}

/* Opens the @nr directories of the way, from the last one on, below @from. */
static int open_way(struct tree_dir *t, struct open_dir **from, uint32_t nr)
{
	while (nr) {
		uint32_t number = t->way[--nr];
		int fd = open_below(t, (*from)->fd, number);

		if (fd < 0)
			return fd;
		*from = keep_open(t, number, fd);
	}
	return 0;
}

/* Directory @number; its descriptor is good until the next call of this. 0 or -errno. */
static int enter_dir(struct tree_dir *t, uint32_t number, struct open_dir **out)
{
	uint64_t room = t->way_room;
	uint32_t nr = 0;

	while (!(*out = find_open(t, number))) {
		if (nr == room && !tree_grow((void **)&t->way, &room, nr + 1, sizeof(*t->way)))
			return -ENOMEM;
		t->way_room = (uint32_t)room;
		t->way[nr++] = number;
		number = t->nodes[number].parent;
	}
	return open_way(t, out, nr);
}

/* Makes the directory that has file @number ours, and says what the file is called there. */
static int go_to_dir(struct tree_dir *t, uint32_t number, char name[NAME_MAX + 1])
{
	uint32_t parent = t->nodes[number].parent;
	struct open_dir *dir;
	int rc;

	name_of(t, number, name);
	rc = enter_dir(t, parent, &dir);
	/* Each time: it is the process's, and other trees have been there since. */
	return rc || !fchdir(dir->fd) ? rc : -errno;
}

/* ---- hard links ---- */

static uint32_t link_place(const struct tree_dir *t, uint64_t ino)
{
	uint32_t at = (uint32_t)(ino * 0x9e3779b97f4a7c15ull >> 32) & (t->links_room - 1);

	while (t->links[at] != NO_NODE && t->nodes[t->links[at]].ino != ino)
		at = (at + 1) & (t->links_room - 1);
	return at;
}

static bool grow_links(struct tree_dir *t)
{
	uint32_t *old = t->links, old_room = t->links_room;

	t->links_room = old_room ? 2 * old_room : 1024;
	t->links = malloc(t->links_room * sizeof(*t->links));
	if (!t->links) {
		t->links = old;
		t->links_room = old_room;
		return false;
	}
	memset(t->links, 0xff, t->links_room * sizeof(*t->links));
	for (uint32_t i = 0; i < old_room; i++)
		if (old[i] != NO_NODE)
			t->links[link_place(t, t->nodes[old[i]].ino)] = old[i];
	free(old);
	return true;
}

/* What an inode has that no later one of its number does; 0: the file system does not tell. */
static uint32_t birth_of(const struct statx *st)
{
	uint64_t ns = (uint64_t)tree_time_ns(&st->stx_btime);

	return st->stx_mask & STATX_BTIME ? (uint32_t)(ns ^ ns >> 32) | 1 : 0;
}

/* File @name of the directory @fd is file @number, which has several names. */
static bool is_link(struct tree_dir *t, uint32_t number, int fd, const char *name)
{
	char other_name[NAME_MAX + 1];
	struct statx here, there;
	struct open_dir *dir;

	name_of(t, number, other_name);
	return !enter_dir(t, t->nodes[number].parent, &dir) && !look_at_name(fd, name, &here) &&
	       !look_at_name(dir->fd, other_name, &there) && here.stx_ino == there.stx_ino &&
	       here.stx_dev_major == there.stx_dev_major && here.stx_dev_minor == there.stx_dev_minor &&
	       here.stx_nlink > 1 && !S_ISDIR(here.stx_mode) &&
	       (!t->nodes[number].birth || t->nodes[number].birth == birth_of(&here));
}

/* The number of an entry of @dir: that of a file with another name, or a new one. NO_NODE: no memory. */
static uint32_t number_entry(struct tree_dir *t, const struct open_dir *dir, const char *name,
			     unsigned int type, uint64_t ino)
{
	uint32_t number, at;

	if (type == DT_DIR)
		return add_node(t, dir->number, name, strlen(name), type, ino);
	if (2 * t->nr_links >= t->links_room && !grow_links(t))
		return NO_NODE;
	at = link_place(t, ino);
	if (t->links[at] != NO_NODE && is_link(t, t->links[at], dir->fd, name))
		return t->links[at];
	number = add_node(t, dir->number, name, strlen(name), type, ino);
	if (number != NO_NODE) {
		t->nr_links += t->links[at] == NO_NODE;
		t->links[at] = number;
	}
	return number;
}

/* ---- listing ---- */

static unsigned int type_of_entry(const struct open_dir *dir, const struct dirent64 *d)
{
	struct statx st;

	if (d->d_type != DT_UNKNOWN)
		return d->d_type;
	return look_at_name(dir->fd, d->d_name, &st) ? DT_UNKNOWN : IFTODT(st.stx_mode);
}

static int list_entry(struct tree_dir *t, const struct open_dir *dir, const struct dirent64 *d,
		      struct tree_list *list)
{
	size_t bytes = strlen(d->d_name);
	unsigned int type;
	uint32_t number;

	if (!tree_name_is_good(d->d_name, bytes)) /* "." and "..", too */
		return 0;
	type = type_of_entry(dir, d);
	number = number_entry(t, dir, d->d_name, type, d->d_ino);
	return number == NO_NODE ? -ENOMEM : tree_list_add(list, number, type, d->d_name, bytes);
}

static int list_open_dir(struct tree_dir *t, const struct open_dir *dir, struct tree_list *list)
{
	ssize_t n;
	int rc = lseek(dir->fd, 0, SEEK_SET) < 0 ? -errno : 0;

	while (!rc && (n = getdents64(dir->fd, t->list, sizeof(t->list)))) {
		if (n < 0)
			return -errno;
		for (ssize_t at = 0; at < n && !rc;) {
			const struct dirent64 *d = (const void *)(t->list + at);

			rc = list_entry(t, dir, d, list);
			at += d->d_reclen;
		}
	}
	return rc;
}

/* What a guest has of its own. */
static bool is_of_kernel(const struct tree_dir *t, uint32_t number)
{
	static const char *const names[] = { "proc", "sys", "dev", "run" };
	char name[NAME_MAX + 1];

	if (!t->is_host_root || number == TREE_ROOT || t->nodes[number].parent != TREE_ROOT)
		return false;
	name_of(t, number, name);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static int tree_dir_list(struct tree_source *source, uint32_t number, struct tree_list *list)
{
	struct tree_dir *t = (struct tree_dir *)source;
	struct open_dir *dir;
	int rc;

	if (!is_known(t, number))
		return -ENOENT;
	if (is_of_kernel(t, number))
		return 0;
	rc = enter_dir(t, number, &dir);
	if (rc)
		return rc == -EXDEV ? 0 : rc;
	dir->pinned = true;
	rc = list_open_dir(t, dir, list);
	dir->pinned = number == TREE_ROOT;
	return rc;
}

/* ---- names of a snapshot ---- */

/* Those between that nobody knows any more are nothing. */
static void take_given(struct tree_dir *t, struct state *s, uint32_t parent, uint32_t number)
{
	char name[TREE_MAX_NAME_BYTES];
	struct dir_node *n;
	uint8_t bytes = 0;
	bool is_dir;

	state_bool(s, &is_dir);
	state_u8(s, &bytes);
	state_raw(s, name, bytes);
	/* Each takes at least a byte of what is given. */
	if (number >= TREE_MAX_NUMBERS || number > t->given_bytes || !tree_name_is_good(name, bytes))
		state_refuse(s, "a name that cannot be");
	while (state_is_good(s) && t->nr_nodes <= number)
		if (add_node(t, TREE_ROOT, "", 0, DT_UNKNOWN, 0) == NO_NODE)
			state_refuse_errno(s, "names", -ENOMEM);
	if (state_is_good(s) && !make_node_room(t, bytes))
		state_refuse_errno(s, "names", -ENOMEM);
	if (!state_is_good(s))
		return;
	n = &t->nodes[number];
	if (n->name_bytes && n->parent != parent)
		state_refuse(s, "a number of two files");
	if (n->name_bytes)
		return; /* another name that it has there */
	*n = (struct dir_node){
		.parent = parent,
		.name = (uint32_t)t->name_bytes,
		.name_bytes = bytes,
		.type = is_dir ? DT_DIR : DT_UNKNOWN,
	};
	memcpy(t->names + t->name_bytes, name, bytes);
	t->name_bytes += bytes;
}

/* A directory comes before what is in it, so that the way to each begins at the root. */
static int tree_dir_begin(struct tree_source *source)
{
	struct tree_dir *t = (struct tree_dir *)source;
	struct state s;
	uint32_t dir, number;

	if (!t->given_bytes)
		return 0;
	state_init_load(&s, t->given, t->given_bytes);
	state_section(&s, "names", 0);
	while (state_is_good(&s) && s.used < s.size) {
		state_u32(&s, &dir);
		if (!is_known(t, dir) || !t->nodes[dir].name_bytes)
			state_refuse(&s, "a directory that is none");
		for (state_u32(&s, &number); number != TREE_ROOT; state_u32(&s, &number))
			take_given(t, &s, dir, number);
	}
	if (!state_end(&s))
		return 0;
	log_error("restore: directory: %s: %s", t->path, s.fault);
	return s.error;
}

/* ---- attributes ---- */

static bool is_wanted_xattr(const char *name)
{
	return !strncmp(name, "user.", 5) || !strncmp(name, "security.", 9) ||
	       !strcmp(name, "system.posix_acl_access") || !strcmp(name, "system.posix_acl_default");
}

/* Adds attribute @attr of file @name. False if there is no room. */
static bool get_xattr(const char *name, const char *attr, struct tree_stat *out)
{
	struct tree_xattr head = { .name_bytes = (uint8_t)strlen(attr) };
	size_t room = sizeof(out->xattrs) - out->xattr_bytes, before = sizeof(head) + head.name_bytes;
	uint8_t *p = out->xattrs + out->xattr_bytes;
	ssize_t n;

	if (strlen(attr) > UINT8_MAX || room <= before)
		return false;
	n = lgetxattr(name, attr, p + before, min_u64(room - before, UINT16_MAX));
	if (n < 0)
		return errno == ENODATA; /* removed meanwhile */
	head.value_bytes = (uint16_t)n;
	memcpy(p, &head, sizeof(head));
	memcpy(p + sizeof(head), attr, head.name_bytes);
	out->xattr_bytes += (uint32_t)(before + (size_t)n);
	return true;
}

static void get_xattrs(struct tree_dir *t, const char *name, struct tree_stat *out)
{
	ssize_t n = llistxattr(name, t->xattr_names, sizeof(t->xattr_names));

	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(t->xattr_names + at) + 1)
		if (is_wanted_xattr(t->xattr_names + at) && !get_xattr(name, t->xattr_names + at, out))
			t->left_out++;
}

/* Its data can be read, or its entries. What everybody may read needs no question. */
static bool is_readable(const struct statx *st, const char *name)
{
	unsigned int all = S_ISDIR(st->stx_mode) ? 0555 : 0444;

	if ((!S_ISDIR(st->stx_mode) && !S_ISREG(st->stx_mode)) || (st->stx_mode & all) == all)
		return true;
	return !access(name, S_ISDIR(st->stx_mode) ? R_OK | X_OK : R_OK);
}

static int open_to_read(const char *name)
{
	int fd = openat(AT_FDCWD, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	/* It may be a fifo by now, which we do not wait for; whoever reads files may. */
	if (fd >= 0)
		fcntl(fd, F_SETFL, O_RDONLY);
	return fd < 0 ? -errno : fd;
}

/* The smallest that makes TREE_MAX_CHUNKS of @size; 0: there is none. */
static uint32_t chunk_bits_for(uint64_t size)
{
	uint32_t bits = MIN_CHUNK_BITS;

	while (bits <= MAX_CHUNK_BITS && (size - 1) >> bits >= TREE_MAX_CHUNKS)
		bits++;
	return bits <= MAX_CHUNK_BITS ? bits : 0;
}

/* Which chunks of a file have data; all of them where the file system does not tell. */
static uint32_t find_data(int fd, uint32_t bits, uint64_t size)
{
	uint32_t data = 0, nr = (uint32_t)((size - 1) >> bits) + 1;

	for (uint32_t i = 0; i < nr; i++) {
		off_t at = lseek(fd, (off_t)((uint64_t)i << bits), SEEK_DATA);

		if (at < 0 && errno == ENXIO)
			break;
		if (at >= 0)
			i = (uint32_t)min_u64((uint64_t)at >> bits, nr - 1);
		data |= 1u << i;
	}
	return data;
}

/* Is @fd what was looked at, and as it was then? */
static bool is_as_it_was(int fd, const struct tree_identity *then)
{
	struct statx st;

	return !statx(fd, "", AT_EMPTY_PATH, TREE_IDENTITY_MASK, &st) && tree_is_unchanged(then, &st);
}

/* One that was changed or replaced meanwhile has none: all of it is read, which is an error then. */
static void find_holes(const struct statx *st, const char *name, struct tree_attr *a)
{
	uint32_t bits = chunk_bits_for(a->size_bytes);
	int fd;

	if (a->size_bytes <= SPARSE_MIN_BYTES || !bits ||
	    st->stx_blocks * 512 + SPARSE_SLACK_BYTES >= a->size_bytes)
		return;
	fd = open_to_read(name);
	if (fd < 0)
		return;
	a->data_chunks = find_data(fd, bits, a->size_bytes);
	a->chunk_bits = is_as_it_was(fd, &a->identity) ? bits : 0;
	close(fd);
}

static void fill_attr(const struct tree_dir *t, const struct statx *st, struct tree_attr *a)
{
	*a = (struct tree_attr){
		.mode = st->stx_mode,
		.nlink = st->stx_nlink,
		.uid = !t->keeps_owner && st->stx_uid == t->uid ? 0 : st->stx_uid,
		.gid = !t->keeps_owner && st->stx_gid == t->gid ? 0 : st->stx_gid,
		.mtime_nsec = st->stx_mtime.tv_nsec,
		.mtime_sec = st->stx_mtime.tv_sec,
	};
	if (S_ISCHR(a->mode) || S_ISBLK(a->mode)) {
		a->major = st->stx_rdev_major;
		a->minor = st->stx_rdev_minor;
	}
	if (S_ISREG(a->mode)) {
		a->size_bytes = st->stx_size;
		a->identity = tree_identity_of(st);
		a->identity.is_named = true;
	}
}

static void take_permissions(struct tree_dir *t, struct tree_attr *a)
{
	a->mode &= S_IFMT;
	t->unreadable++;
}

/* What cannot be looked at. */
static void fill_unknown(struct tree_dir *t, const struct dir_node *node, int error, struct tree_attr *a)
{
	*a = (struct tree_attr){ .mode = node->type == DT_DIR ? S_IFDIR : S_IFREG, .nlink = 1 };
	if (error == -ENOENT || error == -ENOTDIR)
		a->mode = S_IFCHR;
	else if (a->mode == S_IFREG)
		a->size_bytes = 1; /* reading it fails, and does not find it empty */
	t->unreadable += a->mode != S_IFCHR;
}

static int get_target(const char *name, struct tree_stat *out)
{
	ssize_t n = readlinkat(AT_FDCWD, name, out->target, sizeof(out->target));

	if (n <= 0 || n > (ssize_t)TREE_MAX_TARGET_BYTES)
		return n < 0 ? -errno : -EIO;
	out->target_bytes = (uint32_t)n;
	out->attr.size_bytes = (uint64_t)n;
	return 0;
}

static void tree_dir_stat(struct tree_source *source, uint32_t number, struct tree_stat *out)
{
	struct tree_dir *t = (struct tree_dir *)source;
	const struct dir_node gone = { .type = DT_REG };
	char name[NAME_MAX + 1];
	struct statx st;
	int rc = is_known(t, number) ? go_to_dir(t, number, name) : -ENOENT;

	if (!rc)
		rc = look_at_name(AT_FDCWD, name, &st);
	if (!rc)
		fill_attr(t, &st, &out->attr);
	if (!rc && S_ISLNK(st.stx_mode))
		rc = get_target(name, out);
	if (rc) {
		fill_unknown(t, is_known(t, number) ? &t->nodes[number] : &gone, rc, &out->attr);
		return;
	}
	t->nodes[number].birth = birth_of(&st);
	if (!is_readable(&st, name))
		take_permissions(t, &out->attr);
	else if (S_ISREG(st.stx_mode))
		find_holes(&st, name, &out->attr);
	get_xattrs(t, name, out);
}

/* ---- data, names ---- */

static int tree_dir_open(struct tree_source *source, uint32_t number, struct tree_data *out)
{
	struct tree_dir *t = (struct tree_dir *)source;
	char name[NAME_MAX + 1];
	struct statx st;
	int rc = is_known(t, number) ? go_to_dir(t, number, name) : -ENOENT;

	if (!rc)
		rc = look_at_name(AT_FDCWD, name, &st);
	if (!rc && !S_ISREG(st.stx_mode)) /* opening a device may do things */
		rc = -ESTALE;
	if (rc)
		return rc;
	out->fd = open_to_read(name);
	if (out->fd < 0)
		return out->fd;
	/* The name may be another file's by now. */
	if (statx(out->fd, "", AT_EMPTY_PATH, STAT_MASK, &st) || !S_ISREG(st.stx_mode)) {
		close(out->fd);
		out->fd = -1;
		return -ESTALE;
	}
	out->nr_extents = 1;
	out->extents[0] = (struct tree_extent){ .start = 0, .bytes = st.stx_size, .offset = 0 };
	return 0;
}

/* Prepends to what is at *@end - of @text; false if there is no room. */
static bool prepend(const char *text, char **begin, const char *part, size_t bytes)
{
	if ((size_t)(*begin - text) < bytes)
		return false;
	*begin -= bytes;
	memcpy(*begin, part, bytes);
	return true;
}

static void tree_dir_name(struct tree_source *source, uint32_t number, char *text, size_t bytes)
{
	const struct tree_dir *t = (const struct tree_dir *)source;
	size_t path_bytes = strlen(t->path);
	char *begin = text + bytes - 1;
	bool fits = true;

	while (number != TREE_ROOT && path_bytes && t->path[path_bytes - 1] == '/')
		path_bytes--;
	*begin = '\0';
	for (; is_known(t, number) && number != TREE_ROOT && fits; number = t->nodes[number].parent)
		fits = prepend(text, &begin, t->names + t->nodes[number].name, t->nodes[number].name_bytes) &&
		       prepend(text, &begin, "/", 1);
	if (fits)
		prepend(text, &begin, t->path, path_bytes);
	memmove(text, begin, (size_t)(text + bytes - begin));
}

static void tree_dir_report(struct tree_source *source)
{
	const struct tree_dir *t = (const struct tree_dir *)source;

	if (t->unreadable)
		log_verbose("%s: %llu files and directories could not be read: they had no permissions in the guest",
			    t->path, (unsigned long long)t->unreadable);
	if (t->left_out)
		log_verbose("%s: %llu extended attributes were too large for the guest", t->path,
			    (unsigned long long)t->left_out);
}

/* ---- its life ---- */

static void tree_dir_destroy(struct tree_source *source)
{
	struct tree_dir *t = (struct tree_dir *)source;

	for (unsigned int i = 0; i < MAX_OPEN_DIRS; i++)
		if (t->dirs[i].number != NO_NODE)
			close(t->dirs[i].fd);
	free(t->path);
	free(t->nodes);
	free(t->names);
	free(t->links);
	free(t->way);
	free(t);
}

static const struct tree_source_ops tree_dir_ops = {
	.begin = tree_dir_begin,
	.list = tree_dir_list,
	.stat = tree_dir_stat,
	.open = tree_dir_open,
	.name = tree_dir_name,
	.report = tree_dir_report,
	.destroy = tree_dir_destroy,
};

static int open_root(struct tree_dir *t)
{
	struct statx st, slash;
	int fd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	t->source.fd = fd;
	t->dirs[0] = (struct open_dir){ .number = TREE_ROOT, .fd = fd, .pinned = true };
	if (statx(fd, "", AT_EMPTY_PATH, STAT_MASK, &st))
		return -errno;
	t->dev_major = st.stx_dev_major;
	t->dev_minor = st.stx_dev_minor;
	t->mount = st.stx_mnt_id;
	t->is_host_root = !look_at_name(AT_FDCWD, "/", &slash) && slash.stx_ino == st.stx_ino &&
			  is_on_mount(t, &slash);
	return add_node(t, TREE_ROOT, ".", 1, DT_DIR, st.stx_ino) == TREE_ROOT ? 0 : -ENOMEM;
}

int tree_dir_create(struct tree_source **out, const struct tree_config *config)
{
	struct tree_dir *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return log_enomem("directory");
	t->source = (struct tree_source){ .ops = &tree_dir_ops, .fd = -1, .opens_below = true };
	t->path = strdup(config->path);
	t->given = config->names;
	t->given_bytes = config->names_bytes;
	t->keeps_owner = config->owner == TREE_OWNER_KEEP;
	t->uid = getuid();
	t->gid = getgid();
	for (unsigned int i = 0; i < MAX_OPEN_DIRS; i++)
		t->dirs[i].number = NO_NODE;
	rc = t->path ? open_root(t) : -ENOMEM;
	if (rc) {
		log_error("directory: %s: %s", config->path, strerror(-rc));
		tree_dir_destroy(&t->source);
		return rc;
	}
	*out = &t->source;
	return 0;
}

struct tree_identity tree_identify(const struct tree_config *config)
{
	const bool is_archive = config->archive_fd >= 0;
	struct tree_identity id = { 0 };
	struct statx st;

	if (is_archive ? statx(config->archive_fd, "", AT_EMPTY_PATH, TREE_IDENTITY_MASK, &st) :
			 statx(AT_FDCWD, config->path, 0, TREE_IDENTITY_MASK, &st))
		return id;
	id = tree_identity_of(&st);
	if (!is_archive) /* what is in a directory may become more */
		id.size_bytes = id.mtime_ns = 0;
	return id;
}
