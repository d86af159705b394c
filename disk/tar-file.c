// SPDX-License-Identifier: GPL-2.0-only
/*
 * Opening archives (disk/tar-file.h).
 *
 * Files of an archive are read in place, when the guest asks for them, so a pipe has to become a
 * file first. Only the disk limits how large; the file has no name and is gone with the process, whatever ends
 * it. The first bytes are looked at before the rest is taken, so that who sends a compressed archive is told at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/tar-file.h"
#include "disk/tar.h"
#include "io.h"
#include "log.h"
#include "util.h"

#define COPY_BYTES 65536u

bool tar_file_is_meant(const char *path)
{
	struct stat st;

	return !strcmp(path, "-") || (!stat(path, &st) && !S_ISDIR(st.st_mode));
}

/* Compressed ones are the only kind that can be told apart with certainty here. 0 or -errno. */
static int tar_file_check(const char *path, const uint8_t *first, size_t bytes)
{
	uint8_t block[TAR_BLOCK_BYTES] = { 0 };
	bool is_stdin = !strcmp(path, "-");
	const char *program;

	memcpy(block, first, min_u64(bytes, sizeof(block)));
	program = tar_unpacker(block);
	if (!program)
		return 0;
	log_error("root: %s: compressed (%s)\nunpack it on the way: %s -dc %s | lkvm run --root - ...",
		  is_stdin ? "stdin" : path, program, program, is_stdin ? "FILE" : path);
	return -EINVAL;
}

/* An empty file without a name. */
static int tar_file_temporary(const char *folder)
{
	char name[4096];
	int fd = open(folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd < 0 ? -errno : fd;
	if (snprintf(name, sizeof(name), "%s/lkvm-XXXXXX", folder) >= (int)sizeof(name))
		return -ENAMETOOLONG;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(name);
	return fd;
}

/* Fills the buffer, if the writer has so much. How many bytes, or -errno. */
static ssize_t read_full(int fd, uint8_t *data, size_t room)
{
	size_t have = 0;

	while (have < room) {
		const struct iovec iov = { data + have, room - have };
		ssize_t n = read_iov(fd, &iov, 1, NO_OFFSET);

		if (n < 0 && errno == EAGAIN) {
			poll_fds(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1);
			continue;
		}
		if (n <= 0)
			return n < 0 ? -errno : (ssize_t)have;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

static int copy_all(const char *path, const char *folder, int from, int to)
{
	uint8_t data[COPY_BYTES];
	uint64_t offset = 0;
	ssize_t n;
	int rc = 0;

	while (!rc && (n = read_full(from, data, offset ? sizeof(data) : TAR_BLOCK_BYTES)) > 0) {
		if (!offset)
			rc = tar_file_check(path, data, (size_t)n);
		if (rc)
			return rc;
		rc = write_whole_at(to, data, (size_t)n, offset);
		if (rc)
			log_error("root: %s: %s\nset TMPDIR to a directory with room for the archive.", folder, strerror(-rc));
		offset += (uint64_t)n;
	}
	if (rc || !n)
		return rc;
	log_error("root: %s: %s", path, strerror((int)-n));
	return (int)n;
}

static int copy_to_temporary(const char *path, int from)
{
	const char *folder = getenv("TMPDIR");
	int to, rc;

	folder = folder && *folder ? folder : "/var/tmp";
	to = tar_file_temporary(folder);
	if (to < 0) {
		log_error("root: %s: %s\na directory for a copy of the archive; TMPDIR names another.", folder,
			  strerror(-to));
		return to;
	}
	rc = copy_all(path, folder, from, to);
	if (rc)
		close(to);
	return rc ? rc : to;
}

/* A file, from its beginning: it can be read as it is. */
static bool is_in_place(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) && !lseek(fd, 0, SEEK_CUR);
}

static int check_first(const char *path, int fd)
{
	uint8_t block[TAR_BLOCK_BYTES];
	const struct iovec iov = { block, sizeof(block) };
	ssize_t n = read_iov(fd, &iov, 1, 0);

	if (n >= 0)
		return tar_file_check(path, block, (size_t)n);
	n = -errno;
	log_error("root: %s: %s", path, strerror((int)-n));
	return (int)n;
}

int tar_file_open(const char *path)
{
	int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) :
				     fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	int rc;

	if (fd < 0) {
		rc = -errno;
		log_error("root: %s: %s", path, strerror(-rc));
		return rc;
	}
	if (isatty(fd)) {
		log_error("root: %s: a terminal, no archive\nsend one: podman export NAME | lkvm run --root - ...", path);
		rc = -ENOTTY;
	} else if (is_in_place(fd)) {
		rc = check_first(path, fd);
		if (!rc)
			return fd;
	} else {
		rc = copy_to_temporary(path, fd);
	}
	close(fd);
	return rc;
}
