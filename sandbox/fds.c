// SPDX-License-Identifier: GPL-2.0-only
/*
 * Descriptors that a process has from its parent (sandbox/fds.h).
 *
 * A guest that takes over the VM's process has what is open in it. So each process closes what
 * it was not given on purpose, by close_range(2), or one by one where a host or a container's
 * filter of system calls has none.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sandbox/fds.h"
#include "util.h"

static bool is_in(const int *keep, unsigned int nr, int fd)
{
	for (unsigned int i = 0; i < nr; i++)
		if (keep[i] == fd)
			return true;
	return false;
}

/* False without /proc. Closing while reading is fine: the kernel lists them by their numbers. */
static bool close_listed(const int *keep, unsigned int nr)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *e;

	if (!dir)
		return false;
	while ((e = readdir(dir))) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] != '.' && fd != dirfd(dir) && !is_in(keep, nr, fd))
			close(fd);
	}
	closedir(dir);
	return true;
}

static void close_one_by_one(const int *keep, unsigned int nr)
{
	struct rlimit limit = { 1024, 1024 };

	if (close_listed(keep, nr))
		return;
	getrlimit(RLIMIT_NOFILE, &limit);
	for (int fd = 0; fd < (int)min_u64(limit.rlim_max, 1u << 20); fd++)
		if (!is_in(keep, nr, fd))
			close(fd);
}

void fds_close_others(const int *keep, unsigned int nr)
{
	unsigned int from = 0;

	for (;;) {
		unsigned int next = ~0u;

		for (unsigned int i = 0; i < nr; i++)
			if (keep[i] >= (int)from && (unsigned int)keep[i] < next)
				next = (unsigned int)keep[i];
		if (next > from && close_range(from, next == ~0u ? ~0u : next - 1, 0)) {
			close_one_by_one(keep, nr);
			return;
		}
		if (next == ~0u)
			return;
		from = next + 1;
	}
}

int fds_keep(struct fds *f, int fd)
{
	if (fcntl(fd, F_GETFD) < 0)
		return -errno;
	if (fd <= STDERR_FILENO || is_in(f->kept, f->nr, fd))
		return 0;
	if (f->nr == FDS_MAX_KEPT)
		return -EMFILE;
	f->kept[f->nr++] = fd;
	return 0;
}

int fds_keep_paths(struct fds *f, const char *text)
{
	static const char *const folders[] = { "/dev/fd/", "/proc/self/fd/" };

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		const char *at = text;

		while ((at = strstr(at, folders[i]))) {
			long fd = strtol(at += strlen(folders[i]), NULL, 10);

			/* One that is not open is reported by whoever opens the file. */
			if (fd >= 0 && fd <= INT_MAX && fds_keep(f, (int)fd) == -EMFILE)
				return -EMFILE;
		}
	}
	return 0;
}

void fds_close_kept(struct fds *f)
{
	while (f->nr)
		close(f->kept[--f->nr]);
}
