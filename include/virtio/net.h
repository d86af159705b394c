/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtio network device (virtio 1.2 §5.1). Created on the main thread; then it
 * belongs to the event loop.
 */
#ifndef LKVM_VIRTIO_NET_H
#define LKVM_VIRTIO_NET_H

#include <stdint.h>

struct event_loop;
struct mem;
struct net;
struct virtio_device;
struct virtio_net;

struct virtio_net_params {
	const char *name; /* "net0", for messages; lent */
	uint8_t mac[6];
};

/* @net is lent. 0 or -errno. */
int virtio_net_create(struct virtio_net **out, struct event_loop *loop, const struct mem *mem,
		      struct net *net, const struct virtio_net_params *params);

/* Accepts NULL. */
void virtio_net_destroy(struct virtio_net *vn);

struct virtio_device *virtio_net_device(struct virtio_net *vn);

#endif
