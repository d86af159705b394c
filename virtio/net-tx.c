// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sending (net-tx.h). A chain is a frame behind a header. The header is checked against
 * what was negotiated, in a copy; the copy and the guest's buffers go to the back end in
 * one call. A back end that has no room keeps the frame in the ring until it has.
 *
 * There is always one thing that makes us look at the ring again, its state says which,
 * and net_tx_wait() alone arms it; what comes unasked is ignored. Beside that, a timer
 * sees to it that a driver hears of frames that have been sent.
 */
#include <errno.h>
#include <linux/virtio_net.h>

#include "iov.h"
#include "net/net.h"
#include "virtio/device.h"
#include "virtio/net-tx.h"

#ifndef VIRTIO_NET_F_HOST_USO /* Linux 6.2 */
#define VIRTIO_NET_F_HOST_USO	  56
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define BUDGET VIRTQ_MAX_SIZE /* frames before others have their turn */
/*
 * That a frame has been sent is news that can wait: a driver looks itself when it next
 * receives or sends. An interrupt for each costs 7 of 71 thousand instructions of a
 * round trip (measured).
 */
#define SENT_NEWS_NS 300000u
/*
 * Many frames sent and none received: nobody waits for each of them. While such a stream
 * lasts its ring is looked at by the clock, not at each kick, and many go at once.
 */
#define STREAM_KICKS  8u      /* in SENT_NEWS_NS: it has begun */
#define STREAM_NS     100000u /* from one look to the next */
#define STREAM_FRAMES 2u      /* found in a look; with fewer it is over */

static struct virtq *net_tx_ring(const struct net_tx *tx)
{
	return &tx->dev->queues[tx->queue].ring;
}

/* ---- frames ---- */

static bool gso_is_negotiated(const struct virtio_device *dev, uint8_t type)
{
	switch (type) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return virtio_has_feature(dev, VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return virtio_has_feature(dev, VIRTIO_NET_F_HOST_TSO6);
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return virtio_has_feature(dev, VIRTIO_NET_F_HOST_USO);
	default:
		return false;
	}
}

/* Checks @h, a copy, for a frame of @bytes bytes, and clears what means nothing. */
static bool net_tx_header_is_good(const struct virtio_device *dev, struct virtio_net_hdr_v1 *h,
				  uint32_t bytes)
{
	uint8_t type = h->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;

	h->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h->num_buffers = 0;
	if (h->flags) {
		if (!virtio_has_feature(dev, VIRTIO_NET_F_CSUM) ||
		    (uint32_t)h->csum_start + h->csum_offset + 2 > bytes)
			return false;
	} else {
		h->csum_start = h->csum_offset = 0;
	}
	if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		h->gso_size = h->hdr_len = 0;
		return true;
	}
	if (h->gso_type & VIRTIO_NET_HDR_GSO_ECN &&
	    !virtio_has_feature(dev, VIRTIO_NET_F_HOST_ECN))
		return false;
	return gso_is_negotiated(dev, type) && h->flags && h->gso_size && h->hdr_len <= bytes;
}

/* Drops what cannot be sent. Returns 0. */
static int net_tx_refuse(struct net_tx *tx, const char *what, uint32_t bytes)
{
	log_guest(&tx->dev->log_limit, "%s: a frame of %u bytes with its header%s: dropped",
		  tx->dev->name, bytes, what);
	tx->errors++;
	tx->dev->counts.errors++;
	return 0;
}

/* Sends a chain. 0 if it is done with, for good or ill; -EAGAIN: later. */
static int net_tx_transmit(struct net_tx *tx, const struct virtq_chain *c)
{
	struct iovec parts[VIRTQ_MAX_SIZE + 1];
	struct virtio_net_hdr_v1 header = { 0 };
	uint32_t bytes = c->readable_bytes - NET_HEADER_BYTES;
	unsigned int nr;
	int rc;

	if (c->readable_bytes < NET_HEADER_BYTES + NET_MIN_FRAME_BYTES ||
	    bytes > NET_MAX_FRAME_BYTES)
		return net_tx_refuse(tx, "", c->readable_bytes);
	iov_read(c->iov, c->nr_readable, 0, &header, NET_HEADER_BYTES);
	if (!net_tx_header_is_good(tx->dev, &header, bytes))
		return net_tx_refuse(tx, ", which is bad", c->readable_bytes);
	parts[0] = (struct iovec){ &header, NET_HEADER_BYTES };
	nr = iov_part(c->iov, c->nr_readable, NET_HEADER_BYTES, bytes, parts + 1);
	rc = net_send(tx->net, tx->pair, parts, nr + 1);
	if (rc == -EAGAIN)
		return rc;
	virtio_count(tx->dev, 0, rc ? 0 : bytes);
	tx->dev->counts.errors += rc != 0;
	if (rc)
		tx->errors++;
	else
		tx->sent++;
	return 0;
}

/* ---- what comes next ---- */

static unsigned int net_tx_serve(struct net_tx *tx);

static void start_timer(struct net_tx *tx, uint32_t ns)
{
	if (tx->timer_runs)
		return;
	tx->timer_runs = true;
	tx->kicks = 0;
	event_timer_set(tx->dev->loop, tx->timer, ns, 0);
}

/* Enters @state, and arms the one thing that ends it. */
static void net_tx_wait(struct net_tx *tx, enum net_tx_state state)
{
	tx->state = tx->dev->running ? state : NET_TX_OFF;
	switch (tx->state) {
	case NET_TX_OFF: /* net_tx_start(), or a first kick */
		break;
	case NET_TX_FULL: /* writable(), which the refusal has promised; what has gone is told */
	case NET_TX_SERVED:
		event_defer(tx->dev->loop, &tx->round_end);
		break;
	case NET_TX_EMPTY:
		if (virtq_enable_notification(net_tx_ring(tx)))
			net_tx_serve(tx);
		break;
	case NET_TX_STREAM:
		start_timer(tx, STREAM_NS);
		break;
	}
}

/* The number of frames that have gone. */
static unsigned int net_tx_serve(struct net_tx *tx)
{
	enum net_tx_state next = NET_TX_SERVED;
	struct virtq *q = net_tx_ring(tx);
	struct virtq_chain chain;
	unsigned int n = 0;

	if (!tx->dev->running) { /* it is saved, or the other half has broken it */
		net_tx_wait(tx, NET_TX_OFF);
		return 0;
	}
	virtq_disable_notification(q);
	while (n < BUDGET && virtio_pop(tx->dev, tx->queue, &chain) > 0) {
		if (net_tx_transmit(tx, &chain)) {
			virtq_unpop(q, chain.head);
			next = NET_TX_FULL;
			break;
		}
		virtq_push(q, chain.head, 0);
		n++;
	}
	net_tx_wait(tx, next);
	return n;
}

/* Interrupts soon, or now if the driver may be waiting for room in the ring. */
static void tell_sent(struct net_tx *tx)
{
	struct virtq *q = net_tx_ring(tx);

	if (2 * virtq_unnotified(q) >= q->state.setup.size)
		virtio_notify(tx->dev, tx->queue);
	if (virtq_wants_notify(q))
		start_timer(tx, tx->streams ? STREAM_NS : SENT_NEWS_NS);
}

static void net_tx_round_end(void *arg)
{
	struct net_tx *tx = arg;

	tell_sent(tx);
	if (tx->state == NET_TX_SERVED)
		net_tx_wait(tx, tx->streams ? NET_TX_STREAM : NET_TX_EMPTY);
}

static void net_tx_timer(void *arg, uint32_t events)
{
	struct net_tx *tx = arg;

	(void)events;
	tx->timer_runs = false;
	if (tx->state == NET_TX_OFF)
		return;
	if (tx->state == NET_TX_STREAM) {
		tx->streams = net_tx_serve(tx) >= STREAM_FRAMES;
	} else if (tx->state != NET_TX_FULL && tx->kicks >= STREAM_KICKS) {
		tx->streams = true;
		net_tx_serve(tx);
	}
	virtio_notify(tx->dev, tx->queue);
}

void net_tx_kick(struct net_tx *tx)
{
	tx->kicks++;
	/* A queue that was stopped alone begins with its first kick. */
	if (tx->state == NET_TX_EMPTY || tx->state == NET_TX_OFF)
		net_tx_serve(tx);
}

void net_tx_writable(struct net_tx *tx)
{
	if (tx->state == NET_TX_FULL)
		net_tx_serve(tx);
}

/* The guest has an answer to wait for: back to looking at each kick. */
void net_tx_received(struct net_tx *tx)
{
	tx->kicks = 0;
	if (!tx->streams)
		return;
	tx->streams = false;
	if (tx->state == NET_TX_STREAM)
		net_tx_wait(tx, NET_TX_SERVED);
}

/* ---- life ---- */

void net_tx_start(struct net_tx *tx)
{
	net_tx_wait(tx, NET_TX_SERVED);
}

void net_tx_stop(struct net_tx *tx)
{
	tx->streams = tx->timer_runs = false;
	event_timer_set(tx->dev->loop, tx->timer, 0, 0);
	net_tx_wait(tx, NET_TX_OFF);
}

int net_tx_init(struct net_tx *tx, struct virtio_device *dev, struct net *net, unsigned int pair)
{
	*tx = (struct net_tx){
		.dev = dev,
		.net = net,
		.pair = pair,
		.queue = 2 * pair + 1,
		.round_end = { .fn = net_tx_round_end, .arg = tx },
	};
	tx->timer = event_timer_create(dev->loop, net_tx_timer, tx);
	return tx->timer < 0 ? tx->timer : 0;
}

void net_tx_fini(struct net_tx *tx)
{
	if (!tx->dev)
		return;
	event_undefer(tx->dev->loop, &tx->round_end);
	event_remove(tx->dev->loop, tx->timer);
}
