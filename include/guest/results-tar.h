/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unpacks a tar stream that a guest has sent into an empty directory.
 *
 * What comes out is files, directories, symbolic links (which are kept as they are and never followed) and
 * hard links among them, all of whoever runs this, with the archive's permissions and times. Left out,
 * with one message for all of a kind: devices, fifos, set-uid, set-gid and sticky bits. Extended attributes and
 * owners are not looked at. An end of all, after one message: an archive that is damaged, names that are
 * absolute or have "..", one that leads through a link, hard links to what the archive did not make, more than
 * RESULTS_MAX_ENTRIES entries, directories nested deeper than RESULTS_MAX_DEPTH, and what the host refuses: a
 * file that is larger than its disk.
 *
 * Memory: about 200 KiB and what disk/tar.h says; a descriptor for each directory on the way to the current
 * file. One thread, of the process that unpacks.
 */
#ifndef LKVM_GUEST_RESULTS_TAR_H
#define LKVM_GUEST_RESULTS_TAR_H

#include <stddef.h>

#define RESULTS_MAX_ENTRIES 1000000u
#define RESULTS_MAX_DEPTH   256u

struct results_tar;

/* Unpacks into @dir, which is lent. 0 or -ENOMEM. */
int results_tar_create(struct results_tar **out, int dir);
void results_tar_destroy(struct results_tar *rt); /* accepts NULL */

/* The next @bytes of the stream, any number. 0, or -errno after a message: then it is over. */
int results_tar_feed(struct results_tar *rt, const void *data, size_t bytes);

/*
 * There is nothing more. 0 if the archive is complete, after messages about what was left out; otherwise
 * -errno, after a message.
 */
int results_tar_end(struct results_tar *rt);

#endif
