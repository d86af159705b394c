/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio block device (virtio 1.2 §5.2). Created on the main thread; then it
 * belongs to the event loop.
 */
#ifndef LKVM_VIRTIO_BLK_H
#define LKVM_VIRTIO_BLK_H

#include <stdint.h>

struct blk;
struct disk;
struct event_loop;
struct mem;
struct virtio_device;

struct blk_config {
	const char *name;   /* "vda", for messages; lent */
	const char *serial; /* at most BLK_SERIAL_BYTES, or NULL; lent */
	unsigned int queues;
};

#define BLK_SERIAL_BYTES 20u

/* @disk is lent. 0 or -errno. */
int blk_create(struct blk **out, struct event_loop *loop, const struct mem *mem,
	       struct disk *disk, const struct blk_config *config);

/* Accepts NULL. Nothing is in flight on the disk any more. */
void blk_destroy(struct blk *blk);

struct virtio_device *blk_device(struct blk *blk);

/* The disk has another size: tells the driver. */
void blk_tell_size(struct blk *blk);

/* Looks whether the image has another size, and tells the driver. */
void blk_poll_size(struct blk *blk);

#endif
