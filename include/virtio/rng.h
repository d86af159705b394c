/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio entropy device (virtio 1.2 §5.4). Created on the main thread; then it
 * belongs to the event loop.
 */
#ifndef LKVM_VIRTIO_RNG_H
#define LKVM_VIRTIO_RNG_H

#include <stdint.h>

struct event_loop;
struct mem;
struct rng;
struct virtio_device;

#define RNG_MIN_RATE 64u

/* @bytes_per_second: the most that the guest gets, at least RNG_MIN_RATE; 0: no limit. */
int rng_create(struct rng **out, struct event_loop *loop, const struct mem *mem,
	       uint64_t bytes_per_second);

/* Accepts NULL. */
void rng_destroy(struct rng *rng);

struct virtio_device *rng_device(struct rng *rng);

#endif
