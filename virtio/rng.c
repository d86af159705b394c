// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtio entropy device: fills buffers from getrandom(2).
 *
 * A request gets MAX_REQUEST_BYTES at most, however big its buffer is; the driver asks
 * again. A rate limit is a token bucket of one second's worth; while it is empty,
 * requests wait in the ring until a timer expires.
 *
 * Source: virtio 1.2 §5.4. Not here: leaking entropy detection (it is not in 1.2).
 */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/random.h>

#include "event.h"
#include "util.h"
#include "virtio/device.h"
#include "virtio/rng.h"

#define MAX_REQUEST_BYTES 4096u
#define BUDGET		  16u /* requests before others have their turn */
#define RETRY_NS	  50000000u
#define PCI_CLASS	  0x100000 /* encryption controller, as near as it gets */

struct rng {
	struct virtio_device dev; /* first: virtio_ops hand it back */
	uint64_t rate;		  /* bytes per second; 0: no limit */
	uint64_t tokens;	  /* bytes that may be handed out now */
	uint64_t filled_ns;	  /* when tokens were counted */
	int timer;
	struct event_deferred finish;
};

static uint64_t allowance(struct rng *rng)
{
	uint64_t now = now_ns(), fresh;

	if (!rng->rate)
		return MAX_REQUEST_BYTES;
	fresh = min_u64(now - rng->filled_ns, 1000000000u) * rng->rate / 1000000000u;
	if (fresh) {
		rng->tokens = min_u64(rng->tokens + fresh, rng->rate);
		rng->filled_ns = now;
	}
	return min_u64(rng->tokens, MAX_REQUEST_BYTES);
}

/* Fills a chain. Bytes, or -EAGAIN if the host has no entropy yet. */
static int rng_fill(const struct virtq_chain *c, uint64_t most)
{
	uint32_t done = 0;

	for (unsigned int i = c->nr_readable; i < c->nr_readable + c->nr_writable && most; i++) {
		/* More than 256 bytes may come in parts. */
		ssize_t n = getrandom(c->iov[i].iov_base, min_u64(c->iov[i].iov_len, most),
				      GRND_NONBLOCK);

		if (n < 0)
			return done ? (int)done : -EAGAIN;
		done += (uint32_t)n;
		most -= (uint64_t)n;
	}
	return (int)done;
}

static void rng_serve(struct rng *rng)
{
	struct virtq *q = &rng->dev.queues[0].ring;
	unsigned int budget = BUDGET;
	struct virtq_chain chain;

	virtq_disable_notification(q);
	while (budget-- && virtio_pop(&rng->dev, 0, &chain) > 0) {
		uint64_t most = allowance(rng);
		int n = most ? rng_fill(&chain, most) : -EAGAIN;

		if (n < 0) {
			virtq_unpop(q, chain.head);
			event_timer_set(rng->dev.loop, rng->timer, RETRY_NS, 0);
			virtio_notify(&rng->dev, 0);
			return; /* kicks stay off until the timer expires */
		}
		if (rng->rate)
			rng->tokens -= (uint64_t)n;
		virtq_push(q, chain.head, (uint32_t)n);
		virtio_count(&rng->dev, (uint32_t)n, 0);
	}
	event_defer(rng->dev.loop, &rng->finish);
}

static void rng_finish(void *arg)
{
	struct rng *rng = arg;

	virtio_notify(&rng->dev, 0);
	if (rng->dev.running && virtq_enable_notification(&rng->dev.queues[0].ring))
		rng_serve(rng);
}

static void rng_on_timer(void *arg, uint32_t events)
{
	struct rng *rng = arg;

	(void)events;
	if (rng->dev.running)
		rng_serve(rng);
}

static void rng_start(struct virtio_device *dev)
{
	(void)dev; /* it has no features */
}

static void rng_kick(struct virtio_device *dev, unsigned int queue)
{
	(void)queue;
	rng_serve((struct rng *)dev);
}

static const struct virtio_ops rng_ops = {
	.id = VIRTIO_ID_RNG,
	.pci_class = PCI_CLASS,
	.driver = "virtio_rng (CONFIG_HW_RANDOM_VIRTIO)",
	.start = rng_start,
	.kick = rng_kick,
};

int rng_create(struct rng **out, struct event_loop *loop, const struct mem *mem,
	       uint64_t bytes_per_second)
{
	struct rng *rng = calloc(1, sizeof(*rng));
	int rc;

	if (!rng)
		return -ENOMEM;
	rng->dev.loop = loop;
	rng->rate = rng->tokens = bytes_per_second;
	rng->filled_ns = now_ns();
	rng->finish = (struct event_deferred){ .fn = rng_finish, .arg = rng };
	rng->timer = event_timer_create(loop, rng_on_timer, rng);
	rc = rng->timer < 0 ? rng->timer :
			      virtio_device_init(&rng->dev, &rng_ops, "rng", loop, mem, 1, 0);
	if (rc) {
		rng_destroy(rng);
		return rc;
	}
	*out = rng;
	return 0;
}

void rng_destroy(struct rng *rng)
{
	if (!rng)
		return;
	virtio_device_fini(&rng->dev);
	event_undefer(rng->dev.loop, &rng->finish);
	event_remove(rng->dev.loop, rng->timer);
	free(rng);
}

struct virtio_device *rng_device(struct rng *rng)
{
	return &rng->dev;
}
