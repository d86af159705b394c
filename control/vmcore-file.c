// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writing a vmcore (control/vmcore-file.h).
 *
 * Where the file system can do it, the file has no name until it is complete, so nothing is left of one
 * whose writer is killed. Otherwise it has a hidden one. Zero pages do not come, and are holes.
 *
 * Sources: O_TMPFILE in open(2), linkat(2); elf(5).
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "control/vmcore-file.h"
#include "io.h"
#include "log.h"
#include "util.h"

#define MAX_FILE_BYTES (1ull << 47)

/* ---- the file ---- */

/* What may be replaced. */
static bool is_core_file(const char *path, const struct stat *st)
{
	Elf64_Ehdr header = { 0 };
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	bool is_core = fd >= 0 && (!st->st_size || (pread_all(fd, &header, sizeof(header), 0) == 0 &&
						    !memcmp(header.e_ident, ELFMAG, SELFMAG) &&
						    header.e_type == ET_CORE));

	if (fd >= 0)
		close(fd);
	return is_core;
}

/* 0 if @path can be given to a new file, or -errno after a message. */
static int check_name_is_free(const char *what, const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return 0; /* whatever is wrong, opening it says */
	if (!S_ISREG(st.st_mode)) {
		log_error("%s: %s: not a regular file", what, path);
		return -EINVAL;
	}
	if (is_core_file(path, &st))
		return 0;
	log_error("%s: %s: there is a file of that name, and it is no core file\n"
		  "remove it, or name another.",
		  what, path);
	return -EEXIST;
}

/* The directory of @path, and in @name what it is called there. */
static int open_directory_of(const char *path, char name[NAME_MAX + 1])
{
	char *real = realpath(path, NULL), *whole = real ? real : strdup(path), *slash;
	int fd = -1, rc = -ENOMEM;

	if (whole) {
		slash = strrchr(whole, '/');
		rc = snprintf(name, NAME_MAX + 1, "%s", slash ? slash + 1 : whole) > NAME_MAX ? -ENAMETOOLONG :
		     *name								      ? 0 :
												-EISDIR;
		if (slash)
			slash[slash == whole] = '\0';
		if (!rc)
			fd = open(slash ? whole : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (!rc && fd < 0)
			rc = -errno;
	}
	free(whole);
	return rc ? rc : fd;
}

static int choose_hidden(struct vmcore_file *f)
{
	uint64_t random;
	int rc = random_bytes(&random, sizeof(random));

	snprintf(f->hidden, sizeof(f->hidden), ".%.200s.%016llx", f->name, (unsigned long long)random);
	return rc;
}

static int open_hidden(struct vmcore_file *f)
{
	int rc = choose_hidden(f);

	if (!rc)
		f->fd = openat(f->dir, f->hidden, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (!rc && f->fd < 0)
		rc = -errno;
	if (rc)
		*f->hidden = '\0';
	return rc;
}

int vmcore_file_open(struct vmcore_file *f, const char *what, const char *path, bool hidden)
{
	int rc = check_name_is_free(what, path);

	*f = (struct vmcore_file){ .dir = -1, .fd = -1 };
	if (rc)
		return rc;
	f->dir = open_directory_of(path, f->name);
	rc = f->dir < 0 ? f->dir : 0;
	if (!rc && !hidden)
		f->fd = openat(f->dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (!rc && f->fd < 0)
		rc = open_hidden(f);
	if (rc) {
		log_error("%s: %s: %s", what, path, strerror(-rc));
		vmcore_file_close(f);
	}
	return rc;
}

/* The file that has no name gets @name. 0 or -errno; -EEXIST: there is one of that name. */
static int name_core_file(const struct vmcore_file *f, const char *name)
{
	char self[32];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", f->fd);
	return linkat(AT_FDCWD, self, f->dir, name, AT_SYMLINK_FOLLOW) ? -errno : 0;
}

/*
 * A new name is given in one step, so that a killed process leaves either the whole file or nothing. Only
 * to replace one takes two, since a link cannot.
 */
int vmcore_file_commit(struct vmcore_file *f)
{
	int rc;

	if (!*f->hidden) {
		rc = name_core_file(f, f->name);
		if (rc != -EEXIST)
			return rc;
		rc = f->between ? 0 : choose_hidden(f);
		if (f->between)
			snprintf(f->hidden, sizeof(f->hidden), "%s", f->between);
		if (!rc)
			rc = name_core_file(f, f->hidden);
		if (rc) {
			*f->hidden = '\0';
			return rc;
		}
	}
	/* Not renameat(2), which glibc would make of it: that is in no filter. */
	if (syscall(SYS_renameat2, f->dir, f->hidden, f->dir, f->name, 0))
		return -errno;
	*f->hidden = '\0';
	return 0;
}

void vmcore_file_close(struct vmcore_file *f)
{
	if (*f->hidden)
		unlinkat(f->dir, f->hidden, 0);
	*f->hidden = '\0';
	if (f->fd >= 0)
		close(f->fd);
	if (f->dir >= 0)
		close(f->dir);
	f->dir = f->fd = -1;
}

/* ---- the stream ---- */

static int begin_file(struct vmcore_file *f, uint64_t bytes)
{
	if (f->size || !bytes || bytes > (f->most ? f->most : MAX_FILE_BYTES))
		return -EPROTO;
	f->size = bytes;
	return ftruncate(f->fd, (off_t)bytes) ? -errno : 0;
}

/* No more than the file has comes in all, wherever it belongs. */
static int begin_data(struct vmcore_file *f)
{
	const struct vmcore_record *r = &f->record;

	if (!f->size || !r->bytes || r->bytes > VMCORE_MAX_DATA_BYTES ||
	    !range_within(r->offset, r->bytes, f->size) ||
	    !range_within(f->received, r->bytes, f->size))
		return -EPROTO;
	f->received += r->bytes;
	f->data_left = r->bytes;
	return 0;
}

/* It goes up, and there are at most as many as windows of a scan (ram-scan.c), which is bounded as data are. */
static int note_progress(struct vmcore_file *f)
{
	const uint64_t most = f->size / RAM_SCAN_WINDOW_BYTES + 2ull * VMCORE_MAX_PIECES;

	if (f->record.offset > f->size || f->record.offset < f->at || f->steps++ == most)
		return -EPROTO;
	f->at = f->record.offset;
	return 0;
}

/* As vmcore_file_feed(). */
static int take_vmcore_record(struct vmcore_file *f)
{
	const struct vmcore_record *r = &f->record;

	switch (r->kind) {
	case VMCORE_BEGIN:
		return begin_file(f, r->offset);
	case VMCORE_DATA:
		return begin_data(f);
	case VMCORE_AT:
		return note_progress(f);
	case VMCORE_END:
		f->what = r->bytes;
		return f->size ? 1 : -EPROTO;
	default:
		return -EPROTO;
	}
}

static int take_data(struct vmcore_file *f, const void *data, size_t bytes)
{
	const uint64_t offset = f->record.offset + f->record.bytes - f->data_left;
	int rc = write_whole_at(f->fd, data, bytes, offset);

	f->data_left -= (uint32_t)bytes;
	if (offset + bytes > f->at)
		f->at = offset + bytes;
	return rc;
}

int vmcore_file_feed(struct vmcore_file *f, const void *data, size_t bytes)
{
	const uint8_t *p = data;
	int rc = 0;

	while (bytes && !rc) {
		size_t n = min_u64(bytes, f->data_left ? f->data_left :
							 sizeof(f->record) - f->record_bytes);

		if (f->data_left) {
			rc = take_data(f, p, n);
		} else {
			memcpy((uint8_t *)&f->record + f->record_bytes, p, n);
			f->record_bytes = (uint32_t)(f->record_bytes + n) % sizeof(f->record);
			rc = f->record_bytes ? 0 : take_vmcore_record(f);
		}
		p += n;
		bytes -= n;
	}
	return rc;
}
