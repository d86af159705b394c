// SPDX-License-Identifier: GPL-2.0-only
/*
 * Receiving (net-rx.h). Chains are popped ahead and held, as many as the next frame is
 * likely to need, and the frame is read straight into them; what does not fit goes to a
 * buffer behind them (the tail) and is copied into more chains. Without a chain the back
 * end is not watched: its queue is the buffer.
 *
 * There is always one thing that makes us look again, its state says which, and
 * net_rx_wait() alone arms it; what comes unasked is ignored.
 */
#include <errno.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>

#include "iov.h"
#include "net/net.h"
#include "util.h"
#include "virtio/device.h"
#include "virtio/net-filter.h"
#include "virtio/net-rx.h"
#include "virtio/net-tx.h"

#define BUDGET VIRTQ_MAX_SIZE /* frames before others have their turn */
/* How much is held for the next frame: enough for a small one; or for any. */
#define SMALL_BYTES 2048u
#define BIG_BYTES   (NET_HEADER_BYTES + NET_MAX_FRAME_BYTES)
#define SMALL_AGAIN 64u /* small frames in a row until we expect small ones */
/* A failed read is a frame that is lost, and the next may be good; but not for ever. */
#define MAX_FAILURES 64u /* in a row */
#define RETRY_NS     20000000u

static struct virtq *net_rx_ring(const struct net_rx *rx)
{
	return &rx->dev->queues[rx->queue].ring;
}

/* ---- chains ---- */

/* Makes room for one more. False if the buffers of those that are held leave none. */
static bool make_room(struct net_rx *rx)
{
	unsigned int n;

	if (rx->first == rx->last)
		rx->first = rx->last = rx->iov_first = rx->iov_last = 0;
	n = rx->iov_last - rx->iov_first;
	if (rx->iov_last + VIRTQ_MAX_SIZE >= NET_RX_MAX_IOV) {
		if (n + VIRTQ_MAX_SIZE >= NET_RX_MAX_IOV)
			return false;
		memmove(rx->iov, rx->iov + rx->iov_first, n * sizeof(rx->iov[0]));
		rx->iov_first = 0;
		rx->iov_last = n;
	}
	if (rx->last == ARRAY_SIZE(rx->held)) {
		rx->last -= rx->first;
		memmove(rx->held, rx->held + rx->first, rx->last * sizeof(rx->held[0]));
		rx->first = 0;
	}
	return true;
}

/* Pops one more chain and holds it. False if there is none. */
static bool hold_chain(struct net_rx *rx)
{
	struct virtq_chain chain;
	uint32_t bytes;

	if (!make_room(rx) || virtio_pop(rx->dev, rx->queue, &chain) <= 0)
		return false;
	memcpy(rx->iov + rx->iov_last, chain.iov + chain.nr_readable,
	       chain.nr_writable * sizeof(rx->iov[0]));
	rx->iov_last += chain.nr_writable;
	/* No frame is bigger, and no sum of 256 of these wraps. */
	bytes = (uint32_t)min_u64(chain.writable_bytes, BIG_BYTES);
	rx->held[rx->last++] = (struct net_rx_chain){
		.head = chain.head,
		.nr_iov = (uint16_t)chain.nr_writable,
		.bytes = bytes,
	};
	rx->held_bytes += bytes;
	return true;
}

/* What is held goes back into the ring, last one first. */
static void release_chains(struct net_rx *rx)
{
	while (rx->last > rx->first)
		virtq_unpop(net_rx_ring(rx), rx->held[--rx->last].head);
	rx->first = rx->last = rx->iov_first = rx->iov_last = 0;
	rx->held_bytes = 0;
	rx->frame_bytes = 0;
}

/* ---- frames ---- */

static bool merges(const struct net_rx *rx)
{
	return virtio_has_feature(rx->dev, VIRTIO_NET_F_MRG_RXBUF);
}

/* Reads one frame. > 0 if there is one; 0: no chain; -EAGAIN: no frame; -errno. */
static int read_frame(struct net_rx *rx)
{
	uint32_t want = merges(rx) ? rx->window : 1;
	struct iovec *tail, saved;
	unsigned int nr;
	ssize_t n;

	while (rx->held_bytes < want && hold_chain(rx))
		;
	if (rx->first == rx->last)
		return 0;
	nr = merges(rx) ? rx->iov_last - rx->iov_first : rx->held[rx->first].nr_iov;
	rx->direct_bytes = merges(rx) ? rx->held_bytes : rx->held[rx->first].bytes;
	/* The tail takes the place of a buffer that is not used, or of the one kept free. */
	tail = &rx->iov[rx->iov_first + nr];
	saved = *tail;
	*tail = (struct iovec){ rx->tail, BIG_BYTES };
	n = net_recv(rx->net, rx->pair, rx->iov + rx->iov_first, nr + 1);
	*tail = saved;
	if (n <= 0)
		return (int)n;
	rx->frame_bytes = (uint32_t)n;
	return 1;
}

/* Small frames are the rule until a big one comes, and again after many small ones. */
static void learn_size(struct net_rx *rx)
{
	if (rx->frame_bytes > SMALL_BYTES) {
		rx->window = BIG_BYTES;
		rx->small_frames = 0;
	} else if (rx->window != SMALL_BYTES && ++rx->small_frames == SMALL_AGAIN) {
		rx->window = SMALL_BYTES;
	}
}

static bool wanted(struct net_rx *rx)
{
	uint8_t start[NET_FILTER_MIN_BYTES] = { 0 };
	unsigned int nr = rx->iov_last - rx->iov_first;
	uint32_t n;

	if (rx->filter->promiscuous)
		return true;
	n = iov_read(rx->iov + rx->iov_first, nr, NET_HEADER_BYTES, start,
		     (uint32_t)min_u64(sizeof(start), rx->direct_bytes > NET_HEADER_BYTES ?
							      rx->direct_bytes - NET_HEADER_BYTES :
							      0));
	/* Buffers so small that the addresses are in the tail. */
	if (n < sizeof(start) && rx->direct_bytes < NET_HEADER_BYTES + sizeof(start))
		memcpy(start + n,
		       rx->tail + NET_HEADER_BYTES + n - min_u64(rx->direct_bytes, NET_HEADER_BYTES + n),
		       sizeof(start) - n);
	return net_filter_accepts(rx->filter, start);
}

/* Gives the first chains, with the frame in them, to the driver. */
static void push_frame(struct net_rx *rx)
{
	struct virtq *q = net_rx_ring(rx);
	uint32_t left = rx->frame_bytes;
	unsigned int last = rx->first;
	uint16_t nr_buffers;

	for (uint32_t covered = 0; covered < left; last++)
		covered += rx->held[last].bytes;
	nr_buffers = (uint16_t)(last - rx->first);
	iov_write(rx->iov + rx->iov_first, rx->iov_last - rx->iov_first,
		  offsetof(struct virtio_net_hdr_v1, num_buffers), &nr_buffers,
		  sizeof(nr_buffers));
	for (; rx->first < last; rx->first++) {
		const struct net_rx_chain *h = &rx->held[rx->first];
		uint32_t written = (uint32_t)min_u64(left, h->bytes);

		virtq_fill(q, h->head, written);
		left -= written;
		rx->held_bytes -= h->bytes;
		rx->iov_first += h->nr_iov;
	}
	virtq_flush(q); /* all at once: the driver counts on them */
	rx->received++;
	virtio_count(rx->dev, rx->frame_bytes - min_u64(rx->frame_bytes, NET_HEADER_BYTES), 0);
	rx->frame_bytes = 0;
	net_tx_received(rx->tx);
}

static void drop_frame(struct net_rx *rx, const char *why)
{

	log_guest(&rx->dev->log_limit, "%s: a received frame of %u bytes is dropped: %s",
		  rx->dev->name, rx->frame_bytes, why);
	rx->dropped++;
	rx->dev->counts.errors++;
	rx->frame_bytes = 0;
}

/* Finds room for all of the frame. False if chains have to come first. */
static bool place_frame(struct net_rx *rx)
{
	if (!merges(rx) && rx->direct_bytes < rx->frame_bytes) {
		drop_frame(rx, "the driver's buffer is too small");
		return true;
	}
	while (merges(rx) && rx->held_bytes < rx->frame_bytes) {
		if (hold_chain(rx))
			continue;
		if (rx->last - rx->first < net_rx_ring(rx)->state.setup.size &&
		    rx->iov_last - rx->iov_first + VIRTQ_MAX_SIZE < NET_RX_MAX_IOV)
			return false;
		drop_frame(rx, "the whole queue has no room for it");
		return true;
	}
	if (rx->frame_bytes > rx->direct_bytes)
		iov_write(rx->iov + rx->iov_first, rx->iov_last - rx->iov_first,
			  rx->direct_bytes, rx->tail, rx->frame_bytes - rx->direct_bytes);
	push_frame(rx);
	return true;
}

/* ---- what comes next ---- */

/* Enters @state, and arms the one thing that ends it. */
static void net_rx_wait(struct net_rx *rx, enum net_rx_state state)
{
	rx->state = rx->dev->running ? state : NET_RX_OFF;
	net_watch(rx->net, rx->pair, rx->state == NET_RX_NO_FRAME);
	switch (rx->state) {
	case NET_RX_OFF:      /* net_rx_start(), or a first kick */
	case NET_RX_NO_FRAME: /* readable(), as was just said */
		break;
	case NET_RX_SOON:
		event_defer(rx->dev->loop, &rx->round_end);
		break;
	case NET_RX_NO_CHAIN:
		if (virtq_enable_notification(net_rx_ring(rx)))
			net_rx_wait(rx, NET_RX_SOON);
		break;
	case NET_RX_FAILED:
		event_timer_set(rx->dev->loop, rx->timer, RETRY_NS, 0);
		break;
	}
}

/* > 0: a frame came, and had its place or was dropped; 0: no chain; -EAGAIN: no frame; -errno. */
static int move_frame(struct net_rx *rx)
{
	int rc = rx->frame_bytes ? 1 : read_frame(rx);

	if (rc < 0 && rc != -EAGAIN) {
		rx->errors++;
		rx->dev->counts.errors++;
		return ++rx->failures < MAX_FAILURES ? 1 : rc;
	}
	if (rc <= 0)
		return rc;
	rx->failures = 0;
	learn_size(rx);
	if (wanted(rx))
		return place_frame(rx);
	rx->frame_bytes = 0;
	return 1;
}

static void net_rx_serve(struct net_rx *rx)
{
	unsigned int budget = rx->net->repeats ? rx->burst : BUDGET;
	enum net_rx_state next = NET_RX_NO_CHAIN;
	int rc = 1;

	if (!rx->dev->running) { /* the other half has broken it */
		net_rx_wait(rx, NET_RX_OFF);
		return;
	}
	virtq_disable_notification(net_rx_ring(rx));
	while (rc > 0 && budget--)
		rc = move_frame(rx);
	if (rc > 0) {
		/* There may be more: the back end tells, or we look when others had their turn. */
		rx->burst = (unsigned int)min_u64(2ul * rx->burst, BUDGET);
		next = rx->net->repeats ? NET_RX_NO_FRAME : NET_RX_SOON;
	} else if (rc < 0) {
		rx->burst = 1;
		next = rc == -EAGAIN ? NET_RX_NO_FRAME : NET_RX_FAILED;
	}
	net_rx_wait(rx, next);
	virtio_notify(rx->dev, rx->queue);
}

static void net_rx_round_end(void *arg)
{
	struct net_rx *rx = arg;

	if (rx->state == NET_RX_SOON)
		net_rx_serve(rx);
}

static void net_rx_timer(void *arg, uint32_t events)
{
	struct net_rx *rx = arg;

	(void)events;
	rx->failures = 0;
	if (rx->state == NET_RX_FAILED)
		net_rx_serve(rx);
}

void net_rx_readable(struct net_rx *rx)
{
	if (rx->state == NET_RX_NO_FRAME)
		net_rx_serve(rx);
}

void net_rx_kick(struct net_rx *rx)
{
	/* A queue that was stopped alone begins with its first kick. */
	if (rx->state == NET_RX_NO_CHAIN || rx->state == NET_RX_OFF)
		net_rx_serve(rx);
}

/* ---- life ---- */

void net_rx_start(struct net_rx *rx)
{
	net_rx_wait(rx, NET_RX_SOON);
}

void net_rx_pause(struct net_rx *rx)
{
	net_rx_wait(rx, NET_RX_OFF);
}

void net_rx_stop(struct net_rx *rx)
{
	release_chains(rx);
	net_rx_wait(rx, NET_RX_OFF);
}

int net_rx_init(struct net_rx *rx, struct virtio_device *dev, struct net *net,
		const struct net_filter *filter, struct net_tx *tx, unsigned int pair)
{
	rx->dev = dev;
	rx->net = net;
	rx->filter = filter;
	rx->tx = tx;
	rx->pair = pair;
	rx->queue = 2 * pair;
	rx->round_end = (struct event_deferred){ .fn = net_rx_round_end, .arg = rx };
	rx->window = SMALL_BYTES;
	rx->burst = 1;
	rx->timer = event_timer_create(dev->loop, net_rx_timer, rx);
	if (rx->timer < 0)
		return rx->timer;
	rx->tail = calloc(1, BIG_BYTES);
	return rx->tail ? 0 : -ENOMEM;
}

void net_rx_fini(struct net_rx *rx)
{
	if (!rx->dev)
		return;
	event_undefer(rx->dev->loop, &rx->round_end);
	event_remove(rx->dev->loop, rx->timer);
	free(rx->tail);
}
