/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The sending half of a pair of queues of a network device: frames from the driver's ring
 * to the back end (virtio 1.2 §5.1.6.2). Everything on the event loop's thread.
 */
#ifndef LKVM_VIRTIO_NET_TX_H
#define LKVM_VIRTIO_NET_TX_H

#include <stdbool.h>
#include <stdint.h>

#include "event.h"

struct net;
struct virtio_device;

/* What it waits for. */
enum net_tx_state {
	NET_TX_OFF,    /* to be started: no driver, or the pair is not in use */
	NET_TX_SERVED, /* the end of the loop's round, to look again */
	NET_TX_EMPTY,  /* the driver's kick */
	NET_TX_FULL,   /* the back end's writable() */
	NET_TX_STREAM, /* the timer */
};

struct net_tx {
	struct virtio_device *dev;
	struct net *net;
	unsigned int pair, queue;
	enum net_tx_state state;
	struct event_deferred round_end;
	int timer; /* an interrupt is owed at the latest when it expires */
	bool timer_runs;
	unsigned int kicks; /* since it was set, or since a frame was received */
	bool streams;	    /* the timer looks, instead of kicks */
	uint64_t sent, errors;
};

/* @dev has been initialised but for its queues; both are lent. 0 or -errno. */
int net_tx_init(struct net_tx *tx, struct virtio_device *dev, struct net *net, unsigned int pair);

/* Accepts a struct of zeros. */
void net_tx_fini(struct net_tx *tx);

/* The queue is in use from now on; or not any more. */
void net_tx_start(struct net_tx *tx);
void net_tx_stop(struct net_tx *tx);

/* The driver has frames; the back end has room, or nobody there; a frame was received. */
void net_tx_kick(struct net_tx *tx);
void net_tx_writable(struct net_tx *tx);
void net_tx_received(struct net_tx *tx);

#endif
