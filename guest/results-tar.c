// SPDX-License-Identifier: GPL-2.0-only
/*
 * Unpacking a guest's tar stream (guest/results-tar.h).
 *
 * The directories on the way to the current entry are kept open, as a stack. To get to the next entry, those
 * that its path does not share are left and its own entered, one component at a time and never through a link:
 * so no path is ever given to the kernel, and nothing outside can be reached. A directory gets its
 * time when it is left, since what is made in it changes that; when a stream comes back to it later, its time
 * is that of then. Its owner can always enter and empty a directory, whatever its permissions were.
 *
 * A file is written when its data come, hole by hole, and gets permissions and time at its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/tar.h"
#include "guest/results-tar.h"
#include "io.h"
#include "log.h"
#include "util.h"

#define BUFFER_BYTES 65536u
#define NAME_ROOM    256u /* of a component with its end: NAME_MAX */

/* A directory that is open. The first is the one that is unpacked into. */
struct level {
	int fd;
	char name[NAME_ROOM];
	bool has_time;
	struct timespec mtime;
};

/* What is left out, as messages name it. */
enum left {
	LEFT_DEVICE,
	LEFT_FIFO,
	LEFT_UNKNOWN,
	LEFT_BITS,
	NR_LEFT,
};

struct results_tar {
	struct tar *tar;
	int error; /* it is over */
	uint64_t nr_entries;
	struct level levels[RESULTS_MAX_DEPTH + 1];
	unsigned int nr_levels;

	int file;	     /* that data are for; -1 */
	uint32_t piece;	     /* of a sparse file: the one that data are for, */
	uint64_t piece_done; /* and how many of its bytes are written */

	struct {
		uint64_t nr;
		char first[LOG_NAME_BYTES];
	} left[NR_LEFT];

	size_t buffered;
	uint8_t buffer[BUFFER_BYTES];
};

int results_tar_create(struct results_tar **out, int dir)
{
	struct results_tar *rt = calloc(1, sizeof(*rt));

	*out = NULL;
	if (!rt || tar_create(&rt->tar)) {
		free(rt);
		return -ENOMEM;
	}
	rt->file = -1;
	rt->levels[0].fd = dir;
	rt->nr_levels = 1;
	*out = rt;
	return 0;
}

void results_tar_destroy(struct results_tar *rt)
{
	if (!rt)
		return;
	if (rt->file >= 0)
		close(rt->file);
	while (rt->nr_levels > 1)
		close(rt->levels[--rt->nr_levels].fd);
	tar_destroy(rt->tar);
	free(rt);
}

static int fail_because(struct results_tar *rt, const char *why, int rc)
{
	char name[LOG_NAME_BYTES];

	log_error("out: %s: %s", log_name(name, sizeof(name), tar_entry(rt->tar)->path), why);
	return rc;
}

static int fail_by(struct results_tar *rt, int rc)
{
	return fail_because(rt, strerror(-rc), rc);
}

static void leave_out(struct results_tar *rt, enum left what)
{
	if (!rt->left[what].nr++)
		log_name(rt->left[what].first, LOG_NAME_BYTES, tar_entry(rt->tar)->path);
}

static void say_what_is_left(const struct results_tar *rt)
{
	static const char *const whats[NR_LEFT] = {
		[LEFT_DEVICE] = "a device: left out",
		[LEFT_FIFO] = "a fifo: left out",
		[LEFT_UNKNOWN] = "not a file, a directory or a link: left out",
		[LEFT_BITS] = "set-uid, set-gid and sticky bits: left out",
	};

	for (unsigned int i = 0; i < NR_LEFT; i++) {
		if (rt->left[i].nr == 1)
			log_error("out: %s: %s", rt->left[i].first, whats[i]);
		else if (rt->left[i].nr)
			log_error("out: %s: %s (and %llu more)", rt->left[i].first, whats[i],
				  (unsigned long long)rt->left[i].nr - 1);
	}
}

static mode_t permissions(struct results_tar *rt, const struct tar_entry *e)
{
	if (e->mode & ~0777u)
		leave_out(rt, LEFT_BITS);
	return e->mode & 0777;
}

static struct timespec time_of(const struct tar_entry *e)
{
	return (struct timespec){ .tv_sec = e->mtime_s, .tv_nsec = e->mtime_ns };
}

/* ---- the way to an entry ---- */

/* The next component of *@path into @name; false at its end, or with *@why for one that cannot be. */
static bool next_component(const char **path, char name[NAME_ROOM], const char **why)
{
	const char *at = *path;
	size_t n;

	*why = NULL;
	while (*at == '/' || (at[0] == '.' && (at[1] == '/' || !at[1])))
		at++;
	n = strcspn(at, "/");
	*path = at + n;
	if (!n)
		return false;
	if (n >= NAME_ROOM)
		*why = strerror(ENAMETOOLONG);
	else if (n == 2 && !memcmp(at, "..", 2))
		*why = "it leads out of the directory";
	if (*why)
		return false;
	memcpy(name, at, n);
	name[n] = '\0';
	return true;
}

static void leave_level(struct results_tar *rt)
{
	struct level *l = &rt->levels[--rt->nr_levels];
	const struct timespec times[] = { { .tv_nsec = UTIME_OMIT }, l->mtime };

	if (l->has_time)
		futimens(l->fd, times);
	close(l->fd);
}

/* Opens @name in the last level, makes it if it is not there. */
static int enter_level(struct results_tar *rt, const char *name)
{
	struct level *l = &rt->levels[rt->nr_levels];
	int above = rt->levels[rt->nr_levels - 1].fd;

	if (rt->nr_levels > RESULTS_MAX_DEPTH)
		return -ELOOP;
	if (mkdirat(above, name, 0755) && errno != EEXIST)
		return -errno;
	*l = (struct level){ .fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) };
	if (l->fd < 0)
		return -errno;
	strcpy(l->name, name);
	rt->nr_levels++;
	return 0;
}

/*
 * Makes the levels those of @path but for its last component, which goes to @last; that is empty
 * for the directory itself.
 */
static int go_to_parent(struct results_tar *rt, const char *path, char last[NAME_ROOM])
{
	unsigned int depth = 0; /* levels of this path */
	char name[NAME_ROOM];
	const char *why;
	int rc = 0;

	if (*path == '/')
		return fail_because(rt, "it has an absolute name", -EPERM);
	last[0] = '\0';
	while (!rc && next_component(&path, name, &why)) {
		if (last[0]) {
			depth++;
			if (depth < rt->nr_levels && strcmp(rt->levels[depth].name, last))
				while (rt->nr_levels > depth)
					leave_level(rt);
			if (depth >= rt->nr_levels)
				rc = enter_level(rt, last);
		}
		strcpy(last, name);
	}
	if (!rc && why)
		return fail_because(rt, why, -EPERM);
	if (rc == -ELOOP && rt->nr_levels > RESULTS_MAX_DEPTH)
		return fail_because(rt, "nested too deeply", rc);
	if (rc)
		return fail_by(rt, rc);
	while (rt->nr_levels > depth + 1)
		leave_level(rt);
	return 0;
}

static int here(const struct results_tar *rt)
{
	return rt->levels[rt->nr_levels - 1].fd;
}

/* ---- entries ---- */

static int unpack_dir(struct results_tar *rt, const struct tar_entry *e, const char *name)
{
	struct level *l;
	int rc;

	if (!name[0])
		return 0; /* the directory itself: DIR of the host is as it is */
	rc = enter_level(rt, name);
	if (rc == -ELOOP && rt->nr_levels > RESULTS_MAX_DEPTH)
		return fail_because(rt, "nested too deeply", rc);
	if (rc)
		return fail_by(rt, rc);
	l = &rt->levels[rt->nr_levels - 1];
	l->has_time = true;
	l->mtime = time_of(e);
	return fchmod(l->fd, permissions(rt, e) | 0700) ? fail_by(rt, -errno) : 0;
}

/* A later entry takes the place of an earlier one; not of a directory. */
static bool take_place(int dir, const char *name)
{
	return errno == EEXIST && !unlinkat(dir, name, 0);
}

static int unpack_symlink(struct results_tar *rt, const struct tar_entry *e, const char *name)
{
	const struct timespec times[] = { { .tv_nsec = UTIME_OMIT }, time_of(e) };

	if (symlinkat(e->link, here(rt), name) &&
	    (!take_place(here(rt), name) || symlinkat(e->link, here(rt), name)))
		return fail_by(rt, -errno);
	utimensat(here(rt), name, times, AT_SYMLINK_NOFOLLOW);
	return 0;
}

/* The directory that @path is in, as a descriptor of its own, without a change of the levels. */
static int open_parent(struct results_tar *rt, const char *path, char last[NAME_ROOM], const char **why)
{
	int dir = openat(rt->levels[0].fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char name[NAME_ROOM];

	last[0] = '\0';
	*why = NULL;
	while (dir >= 0 && next_component(&path, name, why)) {
		int next = dir;

		if (last[0]) {
			next = openat(dir, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			close(dir);
		}
		dir = next;
		strcpy(last, name);
	}
	return dir;
}

static int unpack_hard_link(struct results_tar *rt, const struct tar_entry *e, const char *name)
{
	const char *why = NULL;
	char last[NAME_ROOM];
	int dir, rc = 0;

	dir = e->link[0] == '/' ? -1 : open_parent(rt, e->link, last, &why);
	if (dir < 0 || why || !last[0])
		rc = -EPERM;
	else if (linkat(dir, last, here(rt), name, 0) &&
		 (!take_place(here(rt), name) || linkat(dir, last, here(rt), name, 0)))
		rc = -errno;
	if (dir >= 0)
		close(dir);
	if (rc == -EPERM || rc == -ENOENT)
		return fail_because(rt, "a hard link to nothing that the guest has sent", rc);
	return rc ? fail_by(rt, rc) : 0;
}

static int end_file(struct results_tar *rt, const struct tar_entry *e)
{
	const struct timespec times[] = { { .tv_nsec = UTIME_OMIT }, time_of(e) };
	int rc = 0;

	if (e->is_sparse && ftruncate(rt->file, (off_t)e->size_bytes))
		rc = -errno;
	if (!rc && (fchmod(rt->file, permissions(rt, e)) || futimens(rt->file, times)))
		rc = -errno;
	if (close(rt->file) && !rc)
		rc = -errno; /* some file systems say only now that they are full */
	rt->file = -1;
	return rc ? fail_by(rt, rc) : 0;
}

static int unpack_file(struct results_tar *rt, const struct tar_entry *e, const char *name)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;

	rt->file = openat(here(rt), name, flags, 0600);
	if (rt->file < 0 && take_place(here(rt), name))
		rt->file = openat(here(rt), name, flags, 0600);
	if (rt->file < 0)
		return fail_by(rt, -errno);
	rt->piece = 0;
	rt->piece_done = 0;
	return tar_data_left(rt->tar) ? 0 : end_file(rt, e);
}

static int unpack_entry(struct results_tar *rt)
{
	const struct tar_entry *e = tar_entry(rt->tar);
	char name[NAME_ROOM];
	int rc;

	if (++rt->nr_entries > RESULTS_MAX_ENTRIES)
		return fail_because(rt, "more than a million entries", -EMFILE);
	rc = go_to_parent(rt, e->path, name);
	if (rc)
		return rc;
	if (!name[0] && e->type != TAR_DIR)
		return fail_because(rt, "it has no name", -EINVAL);
	switch (e->type) {
	case TAR_DIR:
		return unpack_dir(rt, e, name);
	case TAR_FILE:
		return unpack_file(rt, e, name);
	case TAR_SYMLINK:
		return unpack_symlink(rt, e, name);
	case TAR_HARD_LINK:
		return unpack_hard_link(rt, e, name);
	case TAR_CHAR_DEVICE:
	case TAR_BLOCK_DEVICE:
		leave_out(rt, LEFT_DEVICE);
		return 0;
	case TAR_FIFO:
		leave_out(rt, LEFT_FIFO);
		return 0;
	default:
		leave_out(rt, LEFT_UNKNOWN);
		return 0;
	}
}

/* ---- data ---- */

/* The next @bytes of what is stored of the current file. */
static int write_file_data(struct results_tar *rt, const struct tar_entry *e, const uint8_t *data, size_t bytes)
{
	const struct tar_piece whole = { 0, e->stored_bytes };
	int rc = 0;

	while (bytes && !rc) {
		const struct tar_piece *p = e->is_sparse ? &e->pieces[rt->piece] : &whole;
		size_t n = min_u64(bytes, p->bytes - rt->piece_done);

		rc = write_whole_at(rt->file, data, n, p->offset + rt->piece_done);
		data += n;
		bytes -= n;
		rt->piece_done += n;
		if (rt->piece_done == p->bytes) {
			rt->piece++;
			rt->piece_done = 0;
		}
	}
	return rc ? fail_by(rt, rc) : 0;
}

/* Data of the current entry are next. Returns how many bytes of @data it has taken, or -errno. */
static ssize_t take_file_data(struct results_tar *rt, const uint8_t *data, size_t bytes)
{
	const struct tar_entry *e = tar_entry(rt->tar);
	uint64_t left = tar_data_left(rt->tar);
	size_t blocks = min_u64(bytes, align_up(left, TAR_BLOCK_BYTES)) / TAR_BLOCK_BYTES;
	int rc = 0;

	if (rt->file >= 0)
		rc = write_file_data(rt, e, data, min_u64(left, blocks * TAR_BLOCK_BYTES));
	if (rc)
		return rc;
	tar_skip(rt->tar, blocks);
	if (rt->file >= 0 && !tar_data_left(rt->tar))
		rc = end_file(rt, e);
	return rc ? rc : (ssize_t)(blocks * TAR_BLOCK_BYTES);
}

static int take_block(struct results_tar *rt, const uint8_t *block)
{
	switch (tar_feed(rt->tar, block)) {
	case TAR_ENTRY:
		return unpack_entry(rt);
	case TAR_BAD:
		log_error("out: what the guest sends is damaged: %s", tar_error(rt->tar));
		return -EINVAL;
	default:
		return 0;
	}
}

/* All whole blocks; what is left of one stays in the buffer. */
static int take_buffer(struct results_tar *rt)
{
	size_t at = 0;

	while (rt->buffered - at >= TAR_BLOCK_BYTES) {
		ssize_t n = TAR_BLOCK_BYTES;

		if (tar_data_left(rt->tar))
			n = take_file_data(rt, rt->buffer + at, rt->buffered - at);
		else
			rt->error = take_block(rt, rt->buffer + at);
		if (n < 0)
			rt->error = (int)n;
		if (rt->error)
			return rt->error;
		at += (size_t)n;
	}
	rt->buffered -= at;
	memmove(rt->buffer, rt->buffer + at, rt->buffered);
	return 0;
}

int results_tar_feed(struct results_tar *rt, const void *data, size_t bytes)
{
	const uint8_t *from = data;

	while (bytes && !rt->error) {
		size_t n = min_u64(bytes, sizeof(rt->buffer) - rt->buffered);

		memcpy(rt->buffer + rt->buffered, from, n);
		rt->buffered += n;
		from += n;
		bytes -= n;
		take_buffer(rt);
	}
	return rt->error;
}

int results_tar_end(struct results_tar *rt)
{
	const char *why = tar_cannot_end(rt->tar);

	if (!rt->error && (why || rt->buffered)) {
		log_error("out: what the guest sends is damaged: %s", why ? why : "it ends in the middle of a block");
		rt->error = -EINVAL;
	}
	while (rt->nr_levels > 1)
		leave_level(rt);
	if (!rt->error)
		say_what_is_left(rt);
	return rt->error;
}
