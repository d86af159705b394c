/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors that a process has from its parent, and gets rid of.
 */
#ifndef LKVM_SANDBOX_FDS_H
#define LKVM_SANDBOX_FDS_H

#include <stdbool.h>

#define FDS_MAX_KEPT 64u

/* Descriptors of the caller of lkvm that its command line names. */
struct fds {
	int kept[FDS_MAX_KEPT];
	unsigned int nr;
};

/* Closes every descriptor but those @nr in @keep, which are few, in any order; -1 is none. */
void fds_close_others(const int *keep, unsigned int nr);

/*
 * Adds descriptor @fd that the user has named, before anything else was opened: 0, -EBADF if the
 * caller has not opened it, -EMFILE if there are too many.
 */
int fds_keep(struct fds *f, int fd);

/* Adds each that @text names as a file: /dev/fd/63, /proc/self/fd/63. 0 or -EMFILE. */
int fds_keep_paths(struct fds *f, const char *text);

/* Closes those that were kept, once whoever needs one has opened it for itself. */
void fds_close_kept(struct fds *f);

#endif
