/* SPDX-License-Identifier: GPL-2.0-only */
/* What the first bytes of a file look like. Internal to disk/. */
#ifndef LKVM_DISK_PROBE_H
#define LKVM_DISK_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#define PROBE_BYTES	512u
#define PROBE_VHD_MAGIC "conectix" /* also of the last sector, after what is otherwise raw */

struct probe_format {
	const char *name;
	const char *command; /* makes something that lkvm can read of it */
	bool compressed;     /* ... and writes that to its output */
};

/* The format, or NULL: nothing but raw contents. */
const struct probe_format *probe_format(const void *bytes, size_t len);

#endif
