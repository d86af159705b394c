/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The receiving half of a pair of queues of a network device: frames from the back end
 * into the driver's buffers (virtio 1.2 §5.1.6.4). Everything on the event loop's thread.
 */
#ifndef LKVM_VIRTIO_NET_RX_H
#define LKVM_VIRTIO_NET_RX_H

#include <stdint.h>
#include <sys/uio.h>

#include "event.h"
#include "virtio/queue.h"

struct net;
struct net_filter;
struct net_tx;
struct virtio_device;

#define NET_RX_MAX_IOV 1024u /* of one system call */

/* What it waits for. */
enum net_rx_state {
	NET_RX_OFF,	 /* to be started: no driver, or the pair is not in use */
	NET_RX_SOON,	 /* the end of the loop's round: there may be more frames */
	NET_RX_NO_FRAME, /* the back end's readable() */
	NET_RX_NO_CHAIN, /* the driver's kick */
	NET_RX_FAILED,	 /* the timer: reading fails again and again */
};

struct net_rx_chain {
	uint16_t head;
	uint16_t nr_iov;
	uint32_t bytes; /* at most that of the biggest frame */
};

struct net_rx {
	struct virtio_device *dev;
	struct net *net;
	const struct net_filter *filter;
	struct net_tx *tx; /* of the same pair */
	unsigned int pair, queue;
	enum net_rx_state state;
	struct event_deferred round_end;
	int timer;
	unsigned int failures; /* in a row */
	/* Chains held: held[first, last), their buffers iov[iov_first, iov_last). */
	unsigned int first, last, iov_first, iov_last;
	uint32_t held_bytes;
	struct net_rx_chain held[2 * VIRTQ_MAX_SIZE];
	struct iovec iov[NET_RX_MAX_IOV]; /* one is kept free for the tail */
	uint32_t window;		  /* how much to hold */
	unsigned int small_frames;	  /* in a row */
	unsigned int burst;		  /* frames to read before asking whether there are more */
	/* A frame that has been read and not yet given to the driver. */
	uint32_t frame_bytes;  /* 0: none */
	uint32_t direct_bytes; /* of it, in held chains; the rest is in tail */
	uint8_t *tail;
	uint64_t received, dropped, errors;
};

/* @dev has been initialised but for its queues; all pointers are lent. 0 or -errno. */
int net_rx_init(struct net_rx *rx, struct virtio_device *dev, struct net *net,
		const struct net_filter *filter, struct net_tx *tx, unsigned int pair);

/* Accepts a struct of zeros. */
void net_rx_fini(struct net_rx *rx);

/* The pair is in use from now on. */
void net_rx_start(struct net_rx *rx);

/* It is not any more, but the queue may be again: what is held stays. */
void net_rx_pause(struct net_rx *rx);

/* The queue stops: what is held goes back into the ring. */
void net_rx_stop(struct net_rx *rx);

/* The driver has buffers; the back end has frames. */
void net_rx_kick(struct net_rx *rx);
void net_rx_readable(struct net_rx *rx);

#endif
