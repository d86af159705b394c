// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtio network device: frames between rings and a back end.
 *
 * Sending: a chain is a frame behind a header. The header is checked against what was
 * negotiated, in a copy; the copy and the guest's buffers go to the back end in one
 * call. A back end that has no room keeps the frame in the ring until it has.
 *
 * Receiving: chains are popped ahead and held, as many as the next frame is likely to
 * need, and the frame is read straight into them; what does not fit goes to a
 * buffer behind them (the tail) and is copied into more chains. Without a chain the
 * back end is not watched: its queue is the buffer, and the next kick looks again.
 *
 * Everything runs on the event loop's thread. Interrupts and the wish for kicks are
 * deferred to the end of the loop's round.
 *
 * Source: virtio 1.2 §5.1. Not here: RSS, hash reports, notification coalescing,
 * announcements, legacy headers.
 */
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "event.h"
#include "iov.h"
#include "net/net.h"
#include "net/vhost.h"
#include "util.h"
#include "virtio/device.h"
#include "virtio/net-filter.h"
#include "virtio/net.h"

#ifndef VIRTIO_NET_F_GUEST_USO4		/* Linux 6.2 */
#define VIRTIO_NET_F_GUEST_USO4		54
#define VIRTIO_NET_F_GUEST_USO6		55
#define VIRTIO_NET_F_HOST_USO		56
#define VIRTIO_NET_HDR_GSO_UDP_L4	5
#endif
#ifndef TUN_F_USO4
#define TUN_F_USO4	0x20
#define TUN_F_USO6	0x40
#endif

#define PCI_CLASS	0x020000	/* Ethernet controller */
#define SPEED_MBPS	10000u
#define MAX_IOV		1024u		/* of one system call */
#define BUDGET		VIRTQ_MAX_SIZE	/* frames before others have their turn */
/* How much is held for the next frame: enough for a small one; or for any. */
#define SMALL_BYTES	2048u
#define BIG_BYTES	(NET_HEADER_BYTES + NET_MAX_FRAME_BYTES)
#define SMALL_AGAIN	64u		/* small frames in a row until we expect small ones */
/*
 * That a frame has been sent is news that can wait: a driver looks itself when it next
 * receives or sends. An interrupt for each costs 7 of 71 thousand instructions of a
 * round trip (measured).
 */
#define SENT_NEWS_NS	300000u
/*
 * Many frames sent and none received: nobody waits for each of them. While such a stream
 * lasts its ring is looked at by the clock, not at each kick, and many go at once.
 */
#define STREAM_KICKS	8u		/* in SENT_NEWS_NS: it has begun */
#define STREAM_NS	100000u		/* from one look to the next */
#define STREAM_FRAMES	2u		/* found in a look; with fewer it is over */

struct held_chain {
	uint16_t head;
	uint16_t nr_iov;
	uint32_t bytes;		/* at most BIG_BYTES: more is of no use */
};

struct rx {
	struct virtio_net *vn;
	unsigned int pair;
	struct event_deferred finish;
	/* Chains held: held[first, last), their buffers iov[iov_first, iov_last). */
	unsigned int first, last, iov_first, iov_last;
	uint32_t held_bytes;
	struct held_chain held[2 * VIRTQ_MAX_SIZE];
	struct iovec iov[MAX_IOV];	/* one is kept free for the tail */
	uint32_t window;		/* how much to hold */
	unsigned int small_frames;	/* in a row */
	unsigned int burst;		/* frames to read before asking whether there are more */
	/* A frame that has been read and not yet given to the driver. */
	uint32_t frame_bytes;		/* 0: none */
	uint32_t direct_bytes;		/* of it, in held chains; the rest is in tail */
	uint8_t *tail;			/* BIG_BYTES */
};

struct tx {
	struct virtio_net *vn;
	unsigned int pair;
	struct event_deferred finish;
	bool blocked;			/* the back end has no room */
	int timer;			/* an interrupt is owed at the latest when it expires */
	bool timer_runs;
	unsigned int kicks;		/* since it was set, or since a frame was received */
	bool streams;			/* kicks are off, the timer looks */
};

struct virtio_net {
	struct virtio_device dev;	/* first: virtio_ops hand it back */
	struct net *net;
	unsigned int nr_pairs;
	uint8_t mac[NET_MAC_BYTES];	/* as configured */
	/* What the guest can observe, apart from queues and configuration. */
	struct {
		unsigned int active_pairs;
		unsigned int control;	/* index of the control queue; 0: none */
		struct net_filter filter;
	} state;
	struct rx *rx;
	struct tx *tx;
	struct event_deferred control_finish;
	/* With vhost: who interrupts for the kernel when it cannot, and hears of its errors. */
	struct lent {
		struct virtio_net *vn;
		unsigned int queue;
		int call_fd, call_watch;
	} *lent;			/* one for each queue of a pair */
	int error_fd, error_watch;
	uint64_t received, sent, dropped, send_errors, receive_errors;
};

static struct virtq *ring(struct virtio_net *vn, unsigned int queue)
{
	return &vn->dev.queues[queue].ring;
}

/* ---- sending ---- */

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
static bool header_is_good(const struct virtio_device *dev, struct virtio_net_hdr_v1 *h,
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

/* Sends a chain. 0 if it is done with, for good or ill; -EAGAIN: later. */
static int transmit(struct tx *tx, const struct virtq_chain *c)
{
	struct virtio_net *vn = tx->vn;
	struct iovec parts[VIRTQ_MAX_SIZE + 1];
	struct virtio_net_hdr_v1 header = { 0 };
	uint32_t bytes = c->readable_bytes - NET_HEADER_BYTES;
	unsigned int nr;
	int rc;

	if (c->readable_bytes < NET_HEADER_BYTES + NET_MIN_FRAME_BYTES ||
	    bytes > NET_MAX_FRAME_BYTES) {
		log_guest(&vn->dev.log_limit, "%s: a frame of %u bytes with its header: dropped",
			  vn->dev.name, c->readable_bytes);
		vn->send_errors++;
		return 0;
	}
	iov_read(c->iov, c->nr_readable, 0, &header, NET_HEADER_BYTES);
	if (!header_is_good(&vn->dev, &header, bytes)) {
		log_guest(&vn->dev.log_limit, "%s: a frame with a bad header: dropped",
			  vn->dev.name);
		vn->send_errors++;
		return 0;
	}
	parts[0] = (struct iovec){ &header, NET_HEADER_BYTES };
	nr = iov_part(c->iov, c->nr_readable, NET_HEADER_BYTES, bytes, parts + 1);
	rc = net_send(vn->net, tx->pair, parts, nr + 1);
	if (rc == -EAGAIN)
		return rc;
	if (rc)
		vn->send_errors++;
	else
		vn->sent++;
	return 0;
}

/* The number of frames that the driver had for us. */
static unsigned int serve_tx(struct tx *tx)
{
	struct virtio_net *vn = tx->vn;
	unsigned int queue = 2 * tx->pair + 1;
	struct virtq_chain chain;
	unsigned int n = 0;

	virtq_kicks_off(ring(vn, queue));
	for (; !tx->blocked && n < BUDGET && virtio_pop(&vn->dev, queue, &chain) > 0; n++) {
		if (transmit(tx, &chain)) {
			virtq_unpop(ring(vn, queue), chain.head);
			tx->blocked = true;
		} else {
			virtq_push(ring(vn, queue), chain.head, 0);
		}
	}
	event_defer(vn->dev.loop, &tx->finish);
	return n;
}

/* Interrupts soon, or now if the driver may be waiting for room in the ring. */
static void tell_sent(struct tx *tx)
{
	struct virtio_net *vn = tx->vn;
	unsigned int queue = 2 * tx->pair + 1;
	struct virtq *q = ring(vn, queue);

	if (2 * virtq_unnotified(q) >= q->state.setup.size)
		virtio_notify(&vn->dev, queue);
	if (!tx->timer_runs && (tx->streams || virtq_wants_notify(q))) {
		tx->timer_runs = true;
		tx->kicks = 0;
		event_timer_set(vn->dev.loop, tx->timer,
				tx->streams ? STREAM_NS : SENT_NEWS_NS, 0);
	}
}

static void on_tx_timer(void *arg, uint32_t events)
{
	struct tx *tx = arg;

	(void)events;
	tx->timer_runs = false;
	if (!tx->vn->dev.running)
		return;
	if (tx->streams) {
		tx->streams = serve_tx(tx) >= STREAM_FRAMES;
	} else if (tx->kicks >= STREAM_KICKS) {
		tx->streams = true;
		serve_tx(tx);
	}
	virtio_notify(&tx->vn->dev, 2 * tx->pair + 1);
}

static void finish_tx(void *arg)
{
	struct tx *tx = arg;
	struct virtio_net *vn = tx->vn;
	unsigned int queue = 2 * tx->pair + 1;

	tell_sent(tx);
	if (vn->dev.running && !tx->streams && !tx->blocked && virtq_kicks_on(ring(vn, queue)))
		serve_tx(tx);
}

/* The guest has an answer to wait for: back to looking at each kick. */
static void end_stream(struct tx *tx)
{
	tx->kicks = 0;
	if (tx->streams) {
		tx->streams = false;
		event_defer(tx->vn->dev.loop, &tx->finish);
	}
}

static void on_writable(void *arg, unsigned int pair)
{
	struct virtio_net *vn = arg;

	vn->tx[pair].blocked = false;
	if (vn->dev.running)
		serve_tx(&vn->tx[pair]);
}

/* ---- receiving ---- */

/* Pops one more chain and holds it. False if there is none. */
static bool hold_chain(struct rx *rx)
{
	struct virtio_net *vn = rx->vn;
	unsigned int queue = 2 * rx->pair;
	struct virtq_chain chain;
	uint32_t bytes;

	if (rx->first == rx->last)
		rx->first = rx->last = rx->iov_first = rx->iov_last = 0;
	if (rx->iov_last + VIRTQ_MAX_SIZE >= MAX_IOV) {
		unsigned int n = rx->iov_last - rx->iov_first;

		if (n + VIRTQ_MAX_SIZE >= MAX_IOV)
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
	if (virtio_pop(&vn->dev, queue, &chain) <= 0)
		return false;
	memcpy(rx->iov + rx->iov_last, chain.iov + chain.nr_readable,
	       chain.nr_writable * sizeof(rx->iov[0]));
	rx->iov_last += chain.nr_writable;
	/* No frame is bigger, and no sum of 256 of these wraps. */
	bytes = (uint32_t)min_u64(chain.writable_bytes, BIG_BYTES);
	rx->held[rx->last++] = (struct held_chain){
		.head = chain.head, .nr_iov = (uint16_t)chain.nr_writable, .bytes = bytes,
	};
	rx->held_bytes += bytes;
	return true;
}

/* What is held goes back into the ring, last one first. */
static void release_chains(struct rx *rx)
{
	while (rx->last > rx->first)
		virtq_unpop(ring(rx->vn, 2 * rx->pair), rx->held[--rx->last].head);
	rx->first = rx->last = rx->iov_first = rx->iov_last = 0;
	rx->held_bytes = 0;
	rx->frame_bytes = 0;
}

static bool merges(const struct rx *rx)
{
	return virtio_has_feature(&rx->vn->dev, VIRTIO_NET_F_MRG_RXBUF);
}

/* Reads one frame. > 0 if there is one; 0: no chain; -EAGAIN: no frame; -errno. */
static int read_frame(struct rx *rx)
{
	struct virtio_net *vn = rx->vn;
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
	n = net_recv(vn->net, rx->pair, rx->iov + rx->iov_first, nr + 1);
	*tail = saved;
	if (n <= 0)
		return (int)n;
	rx->frame_bytes = (uint32_t)n;
	return 1;
}

/* Small frames are the rule until a big one comes, and again after many small ones. */
static void learn_size(struct rx *rx)
{
	if (rx->frame_bytes > SMALL_BYTES) {
		rx->window = BIG_BYTES;
		rx->small_frames = 0;
	} else if (rx->window != SMALL_BYTES && ++rx->small_frames == SMALL_AGAIN) {
		rx->window = SMALL_BYTES;
	}
}

static bool wanted(struct rx *rx)
{
	uint8_t start[NET_FILTER_MIN_BYTES] = { 0 };
	unsigned int nr = rx->iov_last - rx->iov_first;
	uint32_t n;

	if (rx->vn->state.filter.promiscuous)
		return true;
	n = iov_read(rx->iov + rx->iov_first, nr, NET_HEADER_BYTES, start,
		     (uint32_t)min_u64(sizeof(start), rx->direct_bytes > NET_HEADER_BYTES ?
				       rx->direct_bytes - NET_HEADER_BYTES : 0));
	/* Buffers so small that the addresses are in the tail. */
	if (n < sizeof(start) && rx->direct_bytes < NET_HEADER_BYTES + sizeof(start))
		memcpy(start + n, rx->tail + NET_HEADER_BYTES + n -
		       min_u64(rx->direct_bytes, NET_HEADER_BYTES + n), sizeof(start) - n);
	return net_filter_accepts(&rx->vn->state.filter, start);
}

/* Gives the first chains, with the frame in them, to the driver. */
static void push_frame(struct rx *rx)
{
	struct virtq *q = ring(rx->vn, 2 * rx->pair);
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
		const struct held_chain *h = &rx->held[rx->first];
		uint32_t written = (uint32_t)min_u64(left, h->bytes);

		virtq_fill(q, h->head, written);
		left -= written;
		rx->held_bytes -= h->bytes;
		rx->iov_first += h->nr_iov;
	}
	virtq_flush(q);	/* all at once: the driver counts on them */
	rx->vn->received++;
	rx->frame_bytes = 0;
	end_stream(&rx->vn->tx[rx->pair]);
}

static void drop_frame(struct rx *rx, const char *why)
{
	struct virtio_net *vn = rx->vn;

	log_guest(&vn->dev.log_limit, "%s: a received frame of %u bytes is dropped: %s",
		  vn->dev.name, rx->frame_bytes, why);
	vn->dropped++;
	rx->frame_bytes = 0;
}

/* Finds room for all of the frame. False if chains have to come first. */
static bool place_frame(struct rx *rx)
{
	if (!merges(rx) && rx->direct_bytes < rx->frame_bytes) {
		drop_frame(rx, "the driver's buffer is too small");
		return true;
	}
	while (merges(rx) && rx->held_bytes < rx->frame_bytes) {
		if (hold_chain(rx))
			continue;
		if (rx->last - rx->first < ring(rx->vn, 2 * rx->pair)->state.setup.size &&
		    rx->iov_last - rx->iov_first + VIRTQ_MAX_SIZE < MAX_IOV)
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

/* Out of chains: look at the back end again when the driver has given some. */
static void wait_for_chains(struct rx *rx)
{
	struct virtio_net *vn = rx->vn;

	net_watch(vn->net, rx->pair, false);
	if (vn->dev.running && virtq_kicks_on(ring(vn, 2 * rx->pair)))
		event_defer(vn->dev.loop, &rx->finish);
}

static void serve_rx(struct rx *rx)
{
	struct virtio_net *vn = rx->vn;
	unsigned int budget = vn->net->repeats ? rx->burst : BUDGET;

	if (!vn->dev.running || rx->pair >= vn->state.active_pairs)
		return;
	virtq_kicks_off(ring(vn, 2 * rx->pair));
	while (budget--) {
		int rc = rx->frame_bytes ? 1 : read_frame(rx);

		if (rc < 0) {
			rx->burst = 1;
			vn->receive_errors += rc != -EAGAIN;
			/* An error may stay: the next kick tries again, not the next event. */
			net_watch(vn->net, rx->pair, rc == -EAGAIN);
			goto out;
		}
		if (rc > 0) {
			learn_size(rx);
			if (!wanted(rx)) {
				rx->frame_bytes = 0;
				continue;
			}
			if (place_frame(rx))
				continue;
		}
		wait_for_chains(rx);
		goto out;
	}
	/* There may be more: the back end tells, or we look when others had their turn. */
	rx->burst = (unsigned int)min_u64(2ul * rx->burst, BUDGET);
	if (vn->net->repeats)
		net_watch(vn->net, rx->pair, true);
	else
		event_defer(vn->dev.loop, &rx->finish);
out:
	virtio_notify(&vn->dev, 2 * rx->pair);
}

static void finish_rx(void *arg)
{
	serve_rx(arg);
}

static void on_readable(void *arg, unsigned int pair)
{
	struct virtio_net *vn = arg;

	serve_rx(&vn->rx[pair]);
}

/* ---- queues that the host's kernel serves ---- */

static void on_lent_call(void *arg, uint32_t events)
{
	struct lent *lent = arg;

	(void)events;
	virtio_notify_lent(&lent->vn->dev, lent->queue);
}

static struct vhost_ring vhost_ring(struct virtio_net *vn, unsigned int queue)
{
	const struct virtq *q = ring(vn, queue);
	int call_fd = virtio_lend(&vn->dev, queue);

	return (struct vhost_ring){
		.size = q->state.setup.size,
		.desc = q->desc,
		.avail = q->avail,
		.used = q->used,
		.kick_fd = vn->dev.queues[queue].kick_fd,
		.call_fd = call_fd >= 0 ? call_fd : vn->lent[queue].call_fd,
		.error_fd = vn->error_fd,
	};
}

static void stop_vhost(struct virtio_net *vn, unsigned int pair)
{
	vhost_stop(vn->net->vhost, pair);
	virtio_take_back(&vn->dev, 2 * pair);
	virtio_take_back(&vn->dev, 2 * pair + 1);
}

static void on_lent_error(void *arg, uint32_t events)
{
	struct virtio_net *vn = arg;

	(void)events;
	eventfd_clear(vn->error_fd);
	for (unsigned int i = 0; i < vn->nr_pairs; i++)
		stop_vhost(vn, i);
	if (vn->dev.running)
		virtio_break(&vn->dev, "vhost: a malformed ring");
}

static void start_vhost(struct virtio_net *vn, unsigned int pair)
{
	struct vhost_ring rings[2];
	int rc;

	if (!ring(vn, 2 * pair)->state.enabled || !ring(vn, 2 * pair + 1)->state.enabled)
		return;
	for (unsigned int i = 0; i < 2; i++)
		rings[i] = vhost_ring(vn, 2 * pair + i);
	rc = vhost_start(vn->net->vhost, pair, vn->dev.accepted, rings,
			 net_queue_fd(vn->net, pair));
	if (rc) {
		stop_vhost(vn, pair);
		log_guest(&vn->dev.log_limit, "%s: vhost: %s", vn->dev.name, strerror(-rc));
		virtio_break(&vn->dev, "the host's kernel does not take its queues");
	}
}

static void irqs_changed(struct virtio_device *dev)
{
	struct virtio_net *vn = (struct virtio_net *)dev;

	for (unsigned int i = 0; i < 2 * vn->state.active_pairs; i++) {
		int fd = virtio_irq_fd(dev, i);

		vhost_set_call(vn->net->vhost, i / 2, i % 2, fd >= 0 ? fd : vn->lent[i].call_fd);
	}
}

static int init_lent(struct virtio_net *vn, unsigned int queue)
{
	struct lent *lent = &vn->lent[queue];

	*lent = (struct lent){ .vn = vn, .queue = queue, .call_watch = -1 };
	lent->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (lent->call_fd < 0)
		return -errno;
	lent->call_watch = event_add(vn->dev.loop, lent->call_fd, EPOLLIN | EPOLLET, on_lent_call,
				     lent);
	return lent->call_watch < 0 ? lent->call_watch : 0;
}

static int init_vhost(struct virtio_net *vn, const struct mem *mem)
{
	int rc = 0;

	vn->lent = calloc(2ul * vn->nr_pairs, sizeof(*vn->lent));
	if (!vn->lent)
		return -ENOMEM;
	for (unsigned int i = 0; i < 2 * vn->nr_pairs; i++)
		vn->lent[i].call_fd = vn->lent[i].call_watch = -1;
	for (unsigned int i = 0; i < 2 * vn->nr_pairs && !rc; i++)
		rc = init_lent(vn, i);
	vn->error_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!rc && vn->error_fd < 0)
		rc = -errno;
	if (!rc)
		rc = vn->error_watch = event_add(vn->dev.loop, vn->error_fd, EPOLLIN,
						 on_lent_error, vn);
	return rc < 0 ? rc : vhost_own(vn->net->vhost, mem);
}

static void fini_vhost(struct virtio_net *vn)
{
	for (unsigned int i = 0; vn->lent && i < 2 * vn->nr_pairs; i++) {
		event_remove(vn->dev.loop, vn->lent[i].call_watch);
		if (vn->lent[i].call_fd >= 0)
			close(vn->lent[i].call_fd);
	}
	event_remove(vn->dev.loop, vn->error_watch);
	if (vn->error_fd >= 0)
		close(vn->error_fd);
	free(vn->lent);
}

/* ---- the control queue (§5.1.6.5) ---- */

static unsigned int tun_offloads(uint64_t features)
{
	static const struct {
		unsigned int feature, flag;
	} map[] = {
		{ VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM }, { VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 }, { VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
		{ VIRTIO_NET_F_GUEST_USO4, TUN_F_USO4 }, { VIRTIO_NET_F_GUEST_USO6, TUN_F_USO6 },
	};
	unsigned int flags = 0;

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (features >> map[i].feature & 1)
			flags |= map[i].flag;
	/* Without checksums nothing can be segmented later. */
	return flags & TUN_F_CSUM ? flags : 0;
}

static bool set_offloads(struct virtio_net *vn, uint64_t features)
{
	if (features & ~vn->dev.accepted)
		return false;
	return !net_set_offloads(vn->net, tun_offloads(features));
}

static bool set_rx_mode(struct virtio_net *vn, uint8_t command, bool on)
{
	struct net_filter *f = &vn->state.filter;
	bool *const modes[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &f->promiscuous,
		[VIRTIO_NET_CTRL_RX_ALLMULTI] = &f->all_multicast,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &f->all_unicast,
		[VIRTIO_NET_CTRL_RX_NOMULTI] = &f->no_multicast,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &f->no_unicast,
		[VIRTIO_NET_CTRL_RX_NOBCAST] = &f->no_broadcast,
	};

	if (command >= ARRAY_SIZE(modes))
		return false;
	*modes[command] = on;
	return true;
}

static bool set_active_pairs(struct virtio_net *vn, uint16_t pairs)
{
	unsigned int before = vn->state.active_pairs;

	if (pairs < 1 || pairs > vn->nr_pairs || net_set_queues(vn->net, pairs))
		return false;
	vn->state.active_pairs = pairs;
	for (unsigned int i = pairs; i < before; i++) {
		if (vn->net->vhost)
			stop_vhost(vn, i);
		net_watch(vn->net, i, false);
	}
	for (unsigned int i = before; i < pairs; i++) {
		if (vn->net->vhost) {
			start_vhost(vn, i);
			continue;
		}
		event_defer(vn->dev.loop, &vn->rx[i].finish);
		/* What was queued when the pair was switched off: its kick came too late. */
		vn->tx[i].blocked = false;
		event_defer(vn->dev.loop, &vn->tx[i].finish);
	}
	return true;
}

static void set_mac(struct virtio_net *vn, const uint8_t mac[NET_MAC_BYTES])
{
	memcpy(vn->state.filter.mac, mac, NET_MAC_BYTES);
	virtio_set_config(&vn->dev, offsetof(struct virtio_net_config, mac), mac, NET_MAC_BYTES,
			  false);
}

/* A command: class, number, data. True if it was understood and done. */
static bool run_command(struct virtio_net *vn, const struct virtq_chain *c)
{
	struct virtio_net_ctrl_hdr header = { 0 };
	uint32_t bytes = c->readable_bytes;
	uint64_t data = 0;	/* all but the tables fit into it */
	bool has_data;

	if (bytes < sizeof(header))
		return false;
	iov_read(c->iov, c->nr_readable, 0, &header, sizeof(header));
	bytes -= (uint32_t)sizeof(header);
	has_data = bytes <= sizeof(data);
	if (has_data)
		iov_read(c->iov, c->nr_readable, sizeof(header), &data, bytes);
	switch (header.class << 8 | header.cmd) {
	case VIRTIO_NET_CTRL_MAC << 8 | VIRTIO_NET_CTRL_MAC_TABLE_SET:
		return net_filter_set_tables(&vn->state.filter, c->iov, c->nr_readable, sizeof(header),
					     c->readable_bytes);
	case VIRTIO_NET_CTRL_MAC << 8 | VIRTIO_NET_CTRL_MAC_ADDR_SET:
		if (bytes != NET_MAC_BYTES)
			return false;
		set_mac(vn, (const uint8_t *)&data);
		return true;
	case VIRTIO_NET_CTRL_VLAN << 8 | VIRTIO_NET_CTRL_VLAN_ADD:
	case VIRTIO_NET_CTRL_VLAN << 8 | VIRTIO_NET_CTRL_VLAN_DEL:
		return bytes == 2 && net_filter_set_vlan(&vn->state.filter, (uint16_t)data,
							 header.cmd == VIRTIO_NET_CTRL_VLAN_ADD);
	case VIRTIO_NET_CTRL_MQ << 8 | VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET:
		return bytes == 2 && virtio_has_feature(&vn->dev, VIRTIO_NET_F_MQ) &&
		       set_active_pairs(vn, (uint16_t)data);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS << 8 | VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET:
		return bytes == 8 && set_offloads(vn, data);
	default:
		return header.class == VIRTIO_NET_CTRL_RX && bytes == 1 &&
		       set_rx_mode(vn, header.cmd, data);
	}
}

static void serve_control(struct virtio_net *vn)
{
	unsigned int budget = BUDGET;
	struct virtq_chain chain;

	virtq_kicks_off(ring(vn, vn->state.control));
	while (budget-- && virtio_pop(&vn->dev, vn->state.control, &chain) > 0) {
		uint8_t ack = run_command(vn, &chain) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
		uint32_t written = iov_write(chain.iov + chain.nr_readable, chain.nr_writable, 0,
					     &ack, sizeof(ack));

		virtq_push(ring(vn, vn->state.control), chain.head, written);
		if (!written) {
			virtio_break(&vn->dev, "a command without room for its answer");
			return;
		}
	}
	event_defer(vn->dev.loop, &vn->control_finish);
}

static void finish_control(void *arg)
{
	struct virtio_net *vn = arg;

	if (!vn->state.control)
		return;
	virtio_notify(&vn->dev, vn->state.control);
	if (vn->dev.running && virtq_kicks_on(ring(vn, vn->state.control)))
		serve_control(vn);
}

/* ---- the device ---- */

static void start(struct virtio_device *dev)
{
	struct virtio_net *vn = (struct virtio_net *)dev;

	vn->state.control = 0;
	if (virtio_has_feature(dev, VIRTIO_NET_F_CTRL_VQ))
		vn->state.control = virtio_has_feature(dev, VIRTIO_NET_F_MQ) ? 2 * vn->nr_pairs : 2;
	vn->state.active_pairs = 1;
	net_filter_reset(&vn->state.filter, vn->mac, virtio_has_feature(dev, VIRTIO_NET_F_CTRL_VLAN));
	set_offloads(vn, dev->accepted);
	if (vn->net->vhost)
		start_vhost(vn, 0);
}

static void kick(struct virtio_device *dev, unsigned int queue)
{
	struct virtio_net *vn = (struct virtio_net *)dev;

	if (vn->state.control && queue == vn->state.control) {
		serve_control(vn);
		return;
	}
	if (queue / 2 >= vn->nr_pairs || queue / 2 >= vn->state.active_pairs || vn->net->vhost)
		return;
	if (queue % 2) {
		vn->tx[queue / 2].kicks++;
		serve_tx(&vn->tx[queue / 2]);
	} else {
		serve_rx(&vn->rx[queue / 2]);
	}
}

static void stop(struct virtio_device *dev, unsigned int queue)
{
	struct virtio_net *vn = (struct virtio_net *)dev;

	if (queue / 2 >= vn->nr_pairs)
		return;
	if (vn->net->vhost) {
		stop_vhost(vn, queue / 2);
		vhost_forget(vn->net->vhost, queue / 2);
	} else if (queue % 2) {
		vn->tx[queue / 2].blocked = false;
		vn->tx[queue / 2].timer_runs = false;
		vn->tx[queue / 2].streams = false;
		event_timer_set(dev->loop, vn->tx[queue / 2].timer, 0, 0);
	} else {
		release_chains(&vn->rx[queue / 2]);
		net_watch(vn->net, queue / 2, false);
	}
}

static void reset(struct virtio_device *dev)
{
	struct virtio_net *vn = (struct virtio_net *)dev;

	vn->state.control = 0;
	vn->state.active_pairs = 1;
	net_set_queues(vn->net, 1);
	net_set_offloads(vn->net, 0);
	set_mac(vn, vn->mac);
}

static const struct virtio_ops net_device_ops = {
	.id = VIRTIO_ID_NET,
	.pci_class = PCI_CLASS,
	.driver = "virtio_net (CONFIG_VIRTIO_NET)",
	.start = start,
	.kick = kick,
	.stop = stop,
	.reset = reset,
	.irqs_changed = irqs_changed,
};

static void on_link(void *arg, bool up)
{
	struct virtio_net *vn = arg;
	uint16_t status = up ? VIRTIO_NET_S_LINK_UP : 0;

	virtio_set_config(&vn->dev, offsetof(struct virtio_net_config, status), &status,
			  sizeof(status), true);
}

/* ---- life ---- */

#define F(name) (1ull << VIRTIO_NET_F_##name)

static uint64_t features(const struct virtio_net *vn)
{
	const struct net *net = vn->net;
	uint64_t f = F(MAC) | F(STATUS) | F(MRG_RXBUF) | F(CTRL_VQ) | F(CTRL_RX) |
		     F(CTRL_RX_EXTRA) | F(CTRL_VLAN) | F(CTRL_MAC_ADDR) | F(SPEED_DUPLEX);

	/* The kernel does not filter. */
	if (net->vhost)
		f &= ~(F(CTRL_RX) | F(CTRL_RX_EXTRA) | F(CTRL_VLAN));
	if (net->mtu)
		f |= F(MTU);
	if (vn->nr_pairs > 1)
		f |= F(MQ);
	if (net->sends_offloads)
		f |= F(CSUM) | F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_ECN);
	if (net->offloads & TUN_F_USO4)		/* a kernel that makes them takes them */
		f |= F(HOST_USO) | F(GUEST_USO4) | F(GUEST_USO6);
	if (net->offloads & TUN_F_CSUM)
		f |= F(GUEST_CSUM) | F(CTRL_GUEST_OFFLOADS);
	if (net->offloads & TUN_F_TSO4)
		f |= F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_ECN);
	return f;
}

static void set_config(struct virtio_net *vn)
{
	struct virtio_net_config c = {
		.status = vn->net->link_up ? VIRTIO_NET_S_LINK_UP : 0,
		.max_virtqueue_pairs = (uint16_t)vn->nr_pairs,
		.mtu = (uint16_t)vn->net->mtu,
		.speed = SPEED_MBPS,
		.duplex = 1,
	};

	memcpy(c.mac, vn->mac, sizeof(c.mac));
	virtio_set_config(&vn->dev, 0, &c, sizeof(c), false);
}

static int init_pair(struct virtio_net *vn, unsigned int i)
{
	struct rx *rx = &vn->rx[i];

	rx->vn = vn->tx[i].vn = vn;
	rx->pair = vn->tx[i].pair = i;
	rx->finish = (struct event_deferred){ .fn = finish_rx, .arg = rx };
	vn->tx[i].finish = (struct event_deferred){ .fn = finish_tx, .arg = &vn->tx[i] };
	rx->window = SMALL_BYTES;
	rx->burst = 1;
	vn->tx[i].timer = event_timer_create(vn->dev.loop, on_tx_timer, &vn->tx[i]);
	if (vn->tx[i].timer < 0)
		return vn->tx[i].timer;
	rx->tail = calloc(1, BIG_BYTES);
	return rx->tail ? 0 : -ENOMEM;
}

static int init(struct virtio_net *vn, struct event_loop *loop, const struct mem *mem,
		const struct virtio_net_params *params)
{
	const struct net_client client = {
		.readable = on_readable, .writable = on_writable, .link = on_link, .arg = vn,
	};
	unsigned int pairs = vn->net->nr_queues;
	int rc = 0;

	vn->rx = calloc(pairs, sizeof(*vn->rx));
	vn->tx = calloc(pairs, sizeof(*vn->tx));
	if (!vn->rx || !vn->tx)
		return -ENOMEM;
	vn->nr_pairs = pairs;
	vn->state.active_pairs = 1;
	vn->control_finish = (struct event_deferred){ .fn = finish_control, .arg = vn };
	memcpy(vn->mac, params->mac, sizeof(vn->mac));
	for (unsigned int i = 0; i < pairs && !rc; i++)
		rc = init_pair(vn, i);
	if (!rc)
		rc = virtio_device_init(&vn->dev, &net_device_ops, params->name, loop, mem,
					2 * pairs + 1, features(vn));
	if (!rc && vn->net->vhost)
		rc = init_vhost(vn, mem);
	if (rc)
		return rc;
	set_config(vn);
	net_set_client(vn->net, &client);
	return 0;
}

int virtio_net_create(struct virtio_net **out, struct event_loop *loop, const struct mem *mem,
		      struct net *net, const struct virtio_net_params *params)
{
	struct virtio_net *vn = calloc(1, sizeof(*vn));
	int rc;

	if (!vn)
		return -ENOMEM;
	vn->net = net;
	vn->dev.loop = loop;
	vn->error_fd = vn->error_watch = -1;
	rc = init(vn, loop, mem, params);
	if (rc) {
		virtio_net_destroy(vn);
		return rc;
	}
	*out = vn;
	return 0;
}

void virtio_net_destroy(struct virtio_net *vn)
{
	if (!vn)
		return;
	net_set_client(vn->net, NULL);
	if (vn->dev.ops && vn->dev.had_driver)
		log_verbose("%s: %llu frames sent, %llu received; %llu not sent, %llu dropped, %llu errors",
			    vn->dev.name, (unsigned long long)vn->sent,
			    (unsigned long long)vn->received, (unsigned long long)vn->send_errors,
			    (unsigned long long)vn->dropped,
			    (unsigned long long)vn->receive_errors);
	for (unsigned int i = 0; vn->net->vhost && i < vn->nr_pairs; i++)
		vhost_stop(vn->net->vhost, i);
	virtio_device_fini(&vn->dev);
	fini_vhost(vn);
	for (unsigned int i = 0; i < vn->nr_pairs; i++) {
		event_undefer(vn->dev.loop, &vn->rx[i].finish);
		event_undefer(vn->dev.loop, &vn->tx[i].finish);
		if (vn->tx[i].vn)
			event_remove(vn->dev.loop, vn->tx[i].timer);
		free(vn->rx[i].tail);
	}
	event_undefer(vn->dev.loop, &vn->control_finish);
	free(vn->rx);
	free(vn->tx);
	free(vn);
}

struct virtio_device *virtio_net_device(struct virtio_net *vn)
{
	return &vn->dev;
}
