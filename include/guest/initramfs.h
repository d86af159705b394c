/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What lkvm puts into a guest before it starts: one cpio archive in a memory file, unpacked by the
 * guest's kernel over what the user's own initrds gave.
 *
 *	init			the first process
 *	dev/console		so that it has a console even without devtmpfs
 *	lkvm/modules		the drivers to load, a file name a line, in this order; one that
 *				may fail has a '-' before its name
 *	lkvm/NAME.ko		the drivers
 *	lkvm/root/...		a small directory, where there is nothing better for --root
 */
#ifndef LKVM_GUEST_INITRAMFS_H
#define LKVM_GUEST_INITRAMFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/module-choice.h"

/* Trees: what all of them may have, together. */
#define INITRAMFS_MAX_TREE_BYTES   (64ull << 20)
#define INITRAMFS_MAX_TREE_ENTRIES 65536u
#define INITRAMFS_MAX_TREES	   16

/* A directory of this host, without what is mounted in it. */
struct initramfs_tree {
	const char *option; /* that named it, for messages: "--root" */
	const char *path;
	const char *to;	  /* in the archive: "lkvm/root", or another name in lkvm */
	bool own_is_root; /* this user's and group's files are root's there */
};

struct initramfs_config {
	const void *init;
	size_t init_bytes;
	const struct module_choice *modules; /* or NULL */
	unsigned int nr_trees;
	struct initramfs_tree trees[INITRAMFS_MAX_TREES];
};

/*
 * The archive: an own descriptor at offset 0. 0 or -errno after a message: no memory, a tree that
 * cannot be read or is larger than the two bounds (-E2BIG).
 */
int initramfs_create(int *fd, const struct initramfs_config *config);

#endif
