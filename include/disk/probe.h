/* SPDX-License-Identifier: GPL-2.0-only */
/* What the first bytes of a file look like. Internal to disk/. */
#ifndef LKVM_DISK_PROBE_H
#define LKVM_DISK_PROBE_H

#include <stddef.h>

#define PROBE_BYTES 512u

/* The name of the image format, or NULL: nothing but raw contents. */
const char *probe_format(const void *bytes, size_t len);

#endif
