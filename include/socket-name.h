/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The name of a socket that we have bound, to be removed at the end: only if it is still ours.
 * Somebody may have removed it meanwhile, and another VM may have made one of the same name.
 */
#ifndef LKVM_SOCKET_NAME_H
#define LKVM_SOCKET_NAME_H

#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

struct socket_name {
	const char *path; /* lent; NULL: none */
	dev_t dev;
	ino_t ino;
};

/* After bind(). */
static inline struct socket_name socket_name_of(const char *path)
{
	struct socket_name n = { .path = path };
	struct stat st = { 0 };

	if (lstat(path, &st))
		n.path = NULL; /* gone already */
	n.dev = st.st_dev;
	n.ino = st.st_ino;
	return n;
}

static inline void socket_name_remove(struct socket_name *n)
{
	struct stat st;

	if (n->path && !lstat(n->path, &st) && st.st_dev == n->dev && st.st_ino == n->ino)
		unlink(n->path);
	n->path = NULL;
}

#endif
