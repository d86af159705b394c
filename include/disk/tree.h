/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tree of files that becomes a guest's read-only disk: what a source of one has to be able to
 * do. Sources live in the files process (disk/files.h), which may block and which calls them for
 * one question after the other: a directory of this host (disk/tree-dir.c), an archive.
 *
 * A source gives each file a number, below TREE_MAX_NUMBERS; TREE_ROOT is the tree itself. A number
 * stays what it is for as long as the source lives, and is all that others know a file by. Two
 * names with the same number are hard links, to anything but a directory. A file may be listed
 * before it is looked at, and may be looked at years later: nothing is asked ahead.
 *
 * What a source says is not trusted by whoever asks; what is wrong with it makes the file
 * unreadable, and no more.
 */
#ifndef LKVM_DISK_TREE_H
#define LKVM_DISK_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#define TREE_MAX_TREES	      16u
#define TREE_MAX_NUMBERS      (1u << 24)
#define TREE_ROOT	      0u
#define TREE_MAX_NAME_BYTES   255u
#define TREE_MAX_TARGET_BYTES 4095u  /* of a symbolic link */
#define TREE_MAX_XATTR_BYTES  49152u /* of one file, as in struct tree_stat */
#define TREE_MAX_EXTENTS      1024u  /* of one file */
#define TREE_MAX_CHUNKS	      16u
#define TREE_MAX_PATH_BYTES   1024u /* of a name in a message */

/* Whose files they are in the guest. */
enum tree_owner {
	TREE_OWNER_KEEP, /* as on the host, or in the archive */
	TREE_OWNER_ROOT, /* the invoking user's and group's are root's */
};

/* What the user has named. All of it is lent. */
struct tree_config {
	const char *path; /* a directory; of an archive: what messages call it */
	int archive_fd;	  /* a tar archive, readable at any offset; -1: it is a directory */
	enum tree_owner owner;
	/* Of a directory that a snapshot had: what its files are called by (disk/dir.h: dir_map_save_names()). */
	const void *names;
	size_t names_bytes; /* 0: nobody has called any by a number yet */
};

/*
 * The file of this host that data are read from: as long as all of it is the same, what is read
 * is what was there when the file was first looked at. It says nothing of names and rights, so that
 * chmod, ln and mv change no data. An inode number that is given out again has another time of
 * birth, where the file system keeps one (otherwise it is 0).
 */
struct tree_identity {
	uint64_t dev, ino, size_bytes;
	int64_t mtime_ns, btime_ns;
	uint64_t is_named; /* a file without a name is another than it was: somebody has replaced it */
};

#define TREE_IDENTITY_MASK (STATX_INO | STATX_SIZE | STATX_MTIME | STATX_BTIME | STATX_NLINK | STATX_TYPE)

static inline int64_t tree_time_ns(const struct statx_timestamp *t)
{
	return (int64_t)((uint64_t)t->tv_sec * 1000000000u + t->tv_nsec);
}

static inline struct tree_identity tree_identity_of(const struct statx *st)
{
	return (struct tree_identity){
		.dev = (uint64_t)st->stx_dev_major << 32 | st->stx_dev_minor,
		.ino = st->stx_ino,
		.size_bytes = st->stx_size,
		.mtime_ns = tree_time_ns(&st->stx_mtime),
		.btime_ns = st->stx_mask & STATX_BTIME ? tree_time_ns(&st->stx_btime) : 0,
	};
}

/* Is a file that has @st by now what it was @then? */
static inline bool tree_is_unchanged(const struct tree_identity *then, const struct statx *st)
{
	struct tree_identity now = tree_identity_of(st);

	now.is_named = then->is_named && st->stx_nlink;
	return S_ISREG(st->stx_mode) && !memcmp(&now, then, sizeof(now));
}

/* What the guest is told about a file. */
struct tree_attr {
	uint32_t mode; /* with its type, S_IF...; unreadable: without permissions */
	uint32_t nlink, uid, gid;
	uint32_t major, minor; /* of a device */
	uint32_t mtime_nsec;
	int64_t mtime_sec;
	uint64_t size_bytes;
	/*
	 * A regular file with holes: bit n of @data_chunks is set if there may be something in
	 * bytes [n << chunk_bits, (n + 1) << chunk_bits); all of them are at most TREE_MAX_CHUNKS, and
	 * @chunk_bits is 12 to 31. 0: the file has no holes that matter.
	 */
	uint32_t chunk_bits, data_chunks;
	struct tree_identity identity; /* of a regular file */
};

/* One extended attribute: this, its name, its value, and the next one right behind it. */
struct tree_xattr {
	uint8_t name_bytes; /* of the whole name, "user.x" */
	uint8_t unused;
	uint16_t value_bytes;
};

/* Zero but for the buffers when a source is given it. */
struct tree_stat {
	struct tree_attr attr;
	uint32_t target_bytes; /* of a symbolic link */
	uint32_t xattr_bytes;
	char target[TREE_MAX_TARGET_BYTES + 1]; /* ends without a NUL */
	uint8_t xattrs[TREE_MAX_XATTR_BYTES];
};

/* Bytes [start, start + bytes) of a file are at @offset of the descriptor. */
struct tree_extent {
	uint64_t start, bytes, offset;
};

/* In ascending order, apart from each other; what is in none of them is zeros. */
struct tree_data {
	int fd; /* whoever asked closes it: give a dup() of one that is kept */
	uint32_t nr_extents;
	struct tree_extent extents[TREE_MAX_EXTENTS];
};

struct tree_source;
struct tree_list; /* the entries of a directory */

struct tree_source_ops {
	/*
	 * Once, before anything else and behind the sandbox: what takes long or parses what is not
	 * trusted. 0 or -errno after a message, and there is no VM. May be NULL.
	 */
	int (*begin)(struct tree_source *source);
	/* tree_list_add() for each entry but "." and "..", in any order. 0 or -errno. */
	int (*list)(struct tree_source *source, uint32_t number, struct tree_list *list);
	/*
	 * Never fails: what is not there any more is a character device 0:0 without permissions (which
	 * overlayfs takes for "there is nothing"), what cannot be looked at a file without any.
	 */
	void (*stat)(struct tree_source *source, uint32_t number, struct tree_stat *out);
	/* 0 or -errno. */
	int (*open)(struct tree_source *source, uint32_t number, struct tree_data *out);
	/* What it is called in messages: any bytes, cut to fit, with a NUL. */
	void (*name)(struct tree_source *source, uint32_t number, char *text, size_t bytes);
	/* At the end: a line about what could not be read, if anything. May be NULL. */
	void (*report)(struct tree_source *source);
	void (*destroy)(struct tree_source *source);
};

/* What a directory may have an entry of. */
static inline bool tree_name_is_good(const char *name, size_t bytes)
{
	bool is_dots = (bytes == 1 || bytes == 2) && !memcmp(name, "..", bytes);

	return bytes && bytes <= TREE_MAX_NAME_BYTES && !is_dots && !memchr(name, '/', bytes) &&
	       !memchr(name, '\0', bytes);
}

/* Each source has one first. */
struct tree_source {
	const struct tree_source_ops *ops;
	int fd;		  /* of the source's; stays open in the process. -1: none */
	bool opens_below; /* it is a directory in which files are opened */
};

/*
 * @type: a DT_... of dirent.h, which decides only whether it has the address of a directory, the
 * rest is up to stat(). 0, -ENOMEM, or -EINVAL for a name that cannot be one.
 */
int tree_list_add(struct tree_list *list, uint32_t number, unsigned int type, const char *name,
		  size_t bytes);

/* From now on what is added as n has the number @first + n * @step, or is too much (-ENOMEM). */
void tree_list_renumber(struct tree_list *list, uint32_t step, uint32_t first);

/*
 * Opens what @config names, before the sandbox and the process. 0 or -errno after a message.
 * Each kind of source has such a function.
 */
int tree_dir_create(struct tree_source **out, const struct tree_config *config);
int tree_tar_create(struct tree_source **out, const struct tree_config *config);

/*
 * What a tree is known by when a snapshot of its guest is restored: the directory itself, or the archive. All
 * zero: it is known by nothing.
 */
struct tree_identity tree_identify(const struct tree_config *config);

/* Those @nr as one, in directories "0", "1" ... of it; all of them are lent. 0 or -ENOMEM. */
int tree_join_create(struct tree_source **out, struct tree_source *const sources[], unsigned int nr);

#endif
