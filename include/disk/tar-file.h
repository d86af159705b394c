/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Opens an archive that the user has named, so that it can be read at any offset.
 */
#ifndef LKVM_DISK_TAR_FILE_H
#define LKVM_DISK_TAR_FILE_H

#include <stdbool.h>

/* Whether @path is for this file: stdin ("-"), or anything that is there and is no directory. */
bool tar_file_is_meant(const char *path);

/*
 * A descriptor of the archive @path; "-" is stdin. What is no regular file is copied to a file without a
 * name in $TMPDIR or /var/tmp, until its writer has closed it: a signal may end the process
 * meanwhile. -errno after a message, also for one that is compressed. Before the sandbox.
 */
int tar_file_open(const char *path);

#endif
