/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What goes over the socket between the VM's process and the files process (disk/files.h).
 *
 * A question is one message. Answers come in the order of the questions, each in one or more
 * messages of at most FILES_MESSAGE_BYTES: a head, then records one behind the other. They have
 * no alignment.
 */
#ifndef LKVM_DISK_FILES_MESSAGE_H
#define LKVM_DISK_FILES_MESSAGE_H

#include <stdint.h>

#include "disk/tree.h"

#define FILES_MESSAGE_BYTES 65536u
#define FILES_MAX_NUMBERS   32u /* of one question */

enum files_kind {
	FILES_READY, /* no question: the process's first message, whose error says if it can serve */
	FILES_LIST,  /* of one number: files_total, files_entry ... */
	FILES_STAT,  /* of some: a files_stat for each, in their order */
	FILES_OPEN,  /* of one: a files_data, and a descriptor, unless there is an error */
	FILES_NR_KINDS,
};

struct files_ask {
	uint32_t id;
	uint8_t kind, tree;
	uint16_t nr;
	uint32_t numbers[FILES_MAX_NUMBERS];
};

struct files_head {
	uint32_t id;   /* of the question */
	int32_t error; /* 0 or -errno; then it is the last message, of LIST without records */
	uint8_t kind, last;
	uint16_t nr; /* records */
};

/* How many entries there will be at most that are directories, and that are not; all their names. */
struct files_total {
	uint32_t nr_dirs, nr_others;
	uint64_t name_bytes;
};

/* In the order of their names. @name_bytes follow. */
struct files_entry {
	uint32_t number;
	uint8_t type, name_bytes; /* DT_... */
	uint16_t unused;
};

/* Target and attributes follow. */
struct files_stat {
	struct tree_attr attr;
	uint32_t target_bytes, xattr_bytes;
};

/* The name of the file for messages follows, then extents. */
struct files_data {
	uint32_t name_bytes, nr_extents;
};

_Static_assert((sizeof(struct files_head) + sizeof(struct files_stat) + TREE_MAX_TARGET_BYTES +
		TREE_MAX_XATTR_BYTES) <= FILES_MESSAGE_BYTES,
	       "a file fits into a message");
_Static_assert((sizeof(struct files_head) + sizeof(struct files_data) + TREE_MAX_PATH_BYTES +
		TREE_MAX_EXTENTS * sizeof(struct tree_extent)) <= FILES_MESSAGE_BYTES,
	       "so do its places");

#endif
