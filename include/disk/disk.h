/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A disk image, whatever its format: opened, locked, checked, and read and written
 * asynchronously. Knows nothing of virtio.
 *
 * Opening is synchronous and reports its own errors. Requests and their callbacks
 * belong to the event loop's thread.
 */
#ifndef LKVM_DISK_DISK_H
#define LKVM_DISK_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "disk/aio.h"
#include "disk/format.h"

/* 0, or -errno after one message that names the file and what is wrong with it. */
int disk_open(struct disk **out, struct aio *aio, const struct disk_config *config);

/*
 * Waits for what is in flight and makes everything durable, of @nr disks of one engine beside
 * each other, until the limit of the engine (aio_set_limit()). errors[i]: 0, or, after a message, if
 * something of disks[i] may be lost, -errno; or DISK_STUCK, which is no error of the host's:
 * requests are still in flight, and it cannot be closed.
 */
#define DISK_STUCK 1
void disk_finish_all(struct disk *const disks[], unsigned int nr, int errors[]);

/* Accepts NULL. Nothing is in flight. */
void disk_close(struct disk *disk);

/*
 * Every range is checked here: -EINVAL if it is not made of whole blocks, -EIO if it
 * is outside the disk, -EROFS if the disk is read-only, -EOPNOTSUPP for a discard if
 * it cannot. What is more than the loop should
 * do in one round begins in a later one.
 */
void disk_submit(struct disk *disk, struct disk_request *req);

/*
 * A spare one becomes what the process at the other end of @socket serves (files_start_lent()); @socket is taken
 * over in any case. 0, -EBUSY if it is something already or is not at rest yet, or another -errno. size_bytes is
 * the new one.
 */
int disk_lend(struct disk *disk, int socket);

/* It is nothing any more: requests fail, and it has no size. What is in flight comes to its end by itself. */
void disk_take_back(struct disk *disk);

/* True if the image has another size now; size_bytes is the new one. */
bool disk_poll_size(struct disk *disk);

#endif
