// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writing without waiting (output.h).
 *
 * A pipe that poll(2) calls writable takes PIPE_BUF bytes at once, if nobody else writes to it
 * meanwhile; newer kernels (6.4) know RWF_NOWAIT for pipes, which cannot be overtaken. A terminal
 * that is writable has room for at least 256 characters, and makes at most two of one byte.
 *
 * Sources: pipe(7), pwritev2(2), fifo(7) on O_NONBLOCK; drivers/tty/pty.c and tty_buffer.c of
 * Linux for what a terminal has room for.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io.h"
#include "output.h"
#include "util.h"

#define DEVICE_BYTES 128u /* a terminal takes at once */

static bool is_null_device(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}

static int open_again(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static enum output_kind output_kind_of(const struct stat *st)
{
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return OUTPUT_FILE;
	if (S_ISSOCK(st->st_mode))
		return OUTPUT_SOCKET;
	return S_ISFIFO(st->st_mode) ? OUTPUT_PIPE : OUTPUT_DEVICE;
}

void output_init(struct output *o, int fd)
{
	struct stat st;

	*o = (struct output){ .kind = OUTPUT_NONE, .fd = fd, .is_null = true };
	if (fd < 0)
		return;
	o->kind = OUTPUT_DEVICE;
	o->is_null = false;
	if (fstat(fd, &st))
		return;
	o->kind = output_kind_of(&st);
	o->is_null = is_null_device(&st);
}

void output_reopen(struct output *o)
{
	int own;

	if (o->kind != OUTPUT_PIPE && o->kind != OUTPUT_DEVICE)
		return;
	own = open_again(o->fd);
	if (own < 0)
		return;
	o->kind = OUTPUT_NONBLOCK;
	o->fd = own;
	o->is_ours = true;
}

void output_init_own(struct output *o, int fd)
{
	*o = (struct output){ .kind = OUTPUT_NONBLOCK, .fd = fd };
}

void output_fini(struct output *o)
{
	if (o->is_ours)
		close(o->fd);
	*o = (struct output){ .kind = OUTPUT_NONE, .fd = -1, .is_null = true };
}

int output_open(const char *path, int flags)
{
	const int all = flags | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = open(path, O_WRONLY | all, 0666);

	if (fd < 0 && errno == ENXIO) /* a pipe without a reader: we are our own */
		fd = open(path, O_RDWR | all, 0666);
	return fd < 0 ? -errno : fd;
}

int output_check_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	char folder[PATH_MAX] = ".";

	if (len >= sizeof(folder))
		return -ENAMETOOLONG;
	if (slash)
		snprintf(folder, sizeof(folder), "%.*s", len ? (int)len : 1, path);
	return access(folder, W_OK | X_OK) ? -errno : 0;
}

int output_check(const char *path, bool regular)
{
	struct stat st;

	if (stat(path, &st))
		return errno == ENOENT ? output_check_folder(path) : -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (regular && !S_ISREG(st.st_mode))
		return -EINVAL;
	return access(path, W_OK) ? -errno : 0;
}

static bool is_writable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };

	return poll_fds(&pfd, 1, 0) == 1;
}

static ssize_t write_plain(int fd, const void *data, size_t bytes)
{
	ssize_t n;

	do
		n = write(fd, data, bytes);
	while (n < 0 && errno == EINTR);
	return n;
}

static ssize_t write_if_writable(int fd, const void *data, size_t bytes)
{
	if (is_writable(fd))
		return write_plain(fd, data, bytes);
	errno = EAGAIN;
	return -1;
}

static ssize_t write_to_pipe(int fd, const void *data, size_t bytes)
{
	const struct iovec iov = { (void *)(uintptr_t)data, bytes };
	ssize_t n = pwritev2(fd, &iov, 1, NO_OFFSET, RWF_NOWAIT);

	if (n >= 0 || (errno != EOPNOTSUPP && errno != EINTR))
		return n;
	return write_if_writable(fd, data, min_u64(bytes, PIPE_BUF));
}

ssize_t output_write(const struct output *o, const void *data, size_t bytes)
{
	switch (o->kind) {
	case OUTPUT_NONE:
		return (ssize_t)bytes;
	case OUTPUT_SOCKET:
		return socket_send(o->fd, data, bytes);
	case OUTPUT_PIPE:
		return write_to_pipe(o->fd, data, bytes);
	case OUTPUT_DEVICE:
		return write_if_writable(o->fd, data, min_u64(bytes, DEVICE_BYTES));
	case OUTPUT_FILE:
	case OUTPUT_NONBLOCK:
		break;
	}
	return write_plain(o->fd, data, bytes);
}

int output_write_all(const struct output *o, const void *data, size_t bytes, int patience_ms)
{
	struct pollfd pfd = { .fd = o->fd, .events = POLLOUT };
	const char *next = data;

	while (bytes) {
		ssize_t n = output_write(o, next, bytes);
		int ready;

		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n >= 0) {
			next += n;
			bytes -= (size_t)n;
			continue;
		}
		ready = poll_fds(&pfd, 1, patience_ms);
		if (!ready)
			return -ETIMEDOUT;
		if (ready < 0 && errno != EINTR)
			return -errno;
	}
	return 0;
}
