/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Writing a vmcore: the file beside the name it is to have, what is written to it as it comes from a VM's process
 * (vmcore-image.h), which may be a guest's by now, and its name when all has come.
 *
 * What is there already by that name is only replaced if it is a core file (or empty).
 */
#ifndef LKVM_CONTROL_VMCORE_FILE_H
#define LKVM_CONTROL_VMCORE_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/vmcore-image.h"

struct vmcore_file {
	int dir, fd;		   /* -1: not open */
	char name[NAME_MAX + 1];   /* in dir */
	char hidden[NAME_MAX + 1]; /* what it is called so far; "": it has no name */
	/* What it is called while it replaces one, in a directory that is locked; NULL: by chance. */
	const char *between;
	/* Of the stream: */
	uint64_t most; /* bytes that the file may have; 0: as many as any */
	uint64_t size; /* of the file; 0: not known yet */
	uint64_t received;
	uint64_t at;		     /* so far it has come */
	uint64_t steps;		     /* ... and so often was told so */
	uint32_t what;		     /* VMCORE_HAS_INFO and the like, when it is complete */
	struct vmcore_record record; /* the one that is coming */
	uint32_t record_bytes;	     /* of it that are there */
	uint32_t data_left;	     /* of its data that are not */
};

/*
 * Opens a file beside @path. @hidden: it has a name from the start, for who cannot give it one later, and
 * leaves that behind if it is killed. 0 or -errno, after a message that begins with @what.
 */
int vmcore_file_open(struct vmcore_file *f, const char *what, const char *path, bool hidden);

/*
 * Takes a part of the stream. 0: there is more to come; 1: it is complete; -EPROTO: it is no such stream;
 * another -errno of the file.
 */
int vmcore_file_feed(struct vmcore_file *f, const void *data, size_t bytes);

/* Gives it its name. 0 or -errno. */
int vmcore_file_commit(struct vmcore_file *f);

/* Closes it; one that was not committed is gone. */
void vmcore_file_close(struct vmcore_file *f);

#endif
