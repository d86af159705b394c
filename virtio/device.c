// SPDX-License-Identifier: GPL-2.0-only
/*
 * The part of a virtio device that no transport and no kind of device changes.
 *
 * Registers (requested features, queue set-up) belong to vCPU threads, under
 * dev->lock, which the loop never takes: so a vCPU may hold it while it waits
 * for the loop. Queues and `running` belong to the loop. What both need (status,
 * generation, accepted features) is atomic.
 *
 * Reset: the loop stops popping; the vCPU that wrote the reset polls until all
 * requests in flight have completed. So no old I/O touches memory that the
 * driver reuses, and the loop never waits.
 *
 * Source: virtio 1.2 §2.1 (status), §2.2 (features), §2.4 (reset), §3.1
 * (initialization). Not here: legacy devices, queue reset, notification data.
 */
#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "state.h"
#include "util.h"
#include "virtio/device.h"

#define COMMON_FEATURES (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC | \
			 1ull << VIRTIO_RING_F_EVENT_IDX)
#define DRAIN_POLL_NS 200000

static void virtio_on_kick(void *arg, uint32_t events)
{
	struct virtio_queue *q = arg;
	struct virtio_device *dev = q->dev;

	(void)events;
	if (dev->running && !q->draining)
		dev->ops->kick(dev, (unsigned int)(q - dev->queues));
}

static int virtio_init_queue(struct virtio_device *dev, struct virtio_queue *q)
{
	q->dev = dev;
	q->setup.size = VIRTQ_MAX_SIZE;
	virtq_init(&q->ring, dev->mem);
	q->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->kick_fd < 0)
		return -errno;
	q->watch = event_add(dev->loop, q->kick_fd, EPOLLIN | EPOLLET, virtio_on_kick, q);
	return q->watch < 0 ? q->watch : 0;
}

int virtio_device_init(struct virtio_device *dev, const struct virtio_ops *ops, const char *name,
		       struct event_loop *loop, const struct mem *mem, unsigned int nr_queues,
		       uint64_t offered)
{
	assert(nr_queues <= VIRTIO_MAX_QUEUES);
	dev->ops = ops;
	dev->name = name;
	dev->loop = loop;
	dev->mem = mem;
	dev->offered = offered | COMMON_FEATURES;
	pthread_mutex_init(&dev->lock, NULL);
	pthread_mutex_init(&dev->config_lock, NULL);
	dev->queues = calloc(nr_queues, sizeof(*dev->queues));
	if (!dev->queues)
		return -ENOMEM;
	dev->nr_queues = nr_queues;
	for (unsigned int i = 0; i < nr_queues; i++)
		dev->queues[i].kick_fd = dev->queues[i].watch = -1;
	for (unsigned int i = 0; i < nr_queues; i++) {
		int rc = virtio_init_queue(dev, &dev->queues[i]);

		if (rc)
			return rc;
	}
	return 0;
}

void virtio_device_fini(struct virtio_device *dev)
{
	if (!dev->ops)
		return;
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		struct virtio_queue *q = &dev->queues[i];

		if (q->watch >= 0)
			event_remove(dev->loop, q->watch);
		if (q->kick_fd >= 0)
			close(q->kick_fd);
	}
	free(dev->queues);
	pthread_mutex_destroy(&dev->config_lock);
	pthread_mutex_destroy(&dev->lock);
	dev->ops = NULL;
}

/* ---- device side ---- */

bool virtio_has_feature(const struct virtio_device *dev, unsigned int bit)
{
	return dev->accepted >> bit & 1;
}

void virtio_set_needs_reset(struct virtio_device *dev, const char *why)
{
	uint8_t before = atomic_fetch_or(&dev->status, VIRTIO_CONFIG_S_NEEDS_RESET);

	dev->running = false;
	log_guest(&dev->log_limit, "%s: %s: the device stops until the driver resets it",
		  dev->name, why);
	if (before & VIRTIO_CONFIG_S_DRIVER_OK)
		dev->transport_ops->notify_config(dev->transport);
}

int virtio_pop(struct virtio_device *dev, unsigned int queue, struct virtq_chain *chain)
{
	struct virtio_queue *q = &dev->queues[queue];
	int rc;

	if (!dev->running || q->draining)
		return 0;
	rc = virtq_pop(&q->ring, chain);
	if (rc >= 0)
		return rc;
	virtio_set_needs_reset(dev, q->ring.fault);
	return 0;
}

void virtio_notify(struct virtio_device *dev, unsigned int queue)
{
	if (virtq_should_notify(&dev->queues[queue].ring))
		dev->transport_ops->notify_queue(dev->transport, queue);
}

int virtio_irq_fd(struct virtio_device *dev, unsigned int queue)
{
	const struct virtio_transport_ops *ops = dev->transport_ops;

	return ops->irq_fd ? ops->irq_fd(dev->transport, queue) : -1;
}

int virtio_detach_queue(struct virtio_device *dev, unsigned int queue)
{
	atomic_store(&dev->lends, true);
	event_modify(dev->loop, dev->queues[queue].watch, 0);
	return virtio_irq_fd(dev, queue);
}

void virtio_attach_queue(struct virtio_device *dev, unsigned int queue)
{
	event_modify(dev->loop, dev->queues[queue].watch, EPOLLIN | EPOLLET);
}

void virtio_notify_detached(struct virtio_device *dev, unsigned int queue)
{
	dev->transport_ops->notify_queue(dev->transport, queue);
}

void virtio_set_config(struct virtio_device *dev, uint32_t offset, const void *data,
		       uint32_t bytes, bool notify)
{
	assert(range_within(offset, bytes, VIRTIO_CONFIG_MAX_BYTES));
	pthread_mutex_lock(&dev->config_lock);
	memcpy(dev->config + offset, data, bytes);
	if (offset + bytes > dev->config_bytes)
		dev->config_bytes = offset + bytes;
	if (notify)
		atomic_fetch_add(&dev->generation, 1);
	pthread_mutex_unlock(&dev->config_lock);
	if (notify && atomic_load(&dev->status) & VIRTIO_CONFIG_S_DRIVER_OK)
		dev->transport_ops->notify_config(dev->transport);
}

/* ---- hand-overs to the loop ---- */

struct queue_call {
	struct virtio_device *dev;
	struct virtio_queue *queue;
};

static int enable_on_loop(void *arg)
{
	struct queue_call *c = arg;
	int rc;

	c->queue->draining = false;
	rc = virtq_enable(&c->queue->ring, &c->queue->setup,
			  virtio_has_feature(c->dev, VIRTIO_RING_F_EVENT_IDX));
	if (rc)
		virtio_set_needs_reset(c->dev, "a queue of bad size or at a bad address");
	return rc;
}

static int drain_queue(struct virtio_queue *q)
{
	struct virtio_device *dev = q->dev;

	q->draining = true;
	if (dev->ops->stop)
		dev->ops->stop(dev, (unsigned int)(q - dev->queues));
	if (q->ring.state.in_flight)
		return -EBUSY;
	virtq_reset(&q->ring);
	return 0;
}

static int drain_on_loop(void *arg)
{
	struct queue_call *c = arg;

	return drain_queue(c->queue);
}

static int reset_on_loop(void *arg)
{
	struct virtio_device *dev = arg;
	int rc = 0;

	dev->running = false;
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		if (drain_queue(&dev->queues[i]))
			rc = -EBUSY;
	if (!rc && dev->ops->reset)
		dev->ops->reset(dev);
	return rc;
}

static int start_on_loop(void *arg)
{
	struct virtio_device *dev = arg;

	if (atomic_load(&dev->status) & VIRTIO_CONFIG_S_NEEDS_RESET)
		return 0;
	dev->running = dev->had_driver = true;
	dev->ops->start(dev);
	/* Kicks that came too early were not lost: look at every queue. */
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		dev->ops->kick(dev, i);
	return 0;
}

static int irqs_changed_on_loop(void *arg)
{
	struct virtio_device *dev = arg;

	if (dev->running)
		dev->ops->irqs_changed(dev);
	return 0;
}

/* Repeats @fn on the loop until nothing is in flight, or the VM ends. */
static void call_until_drained(struct virtio_device *dev, event_call_fn fn, void *arg)
{
	const struct timespec pause = { .tv_nsec = DRAIN_POLL_NS };

	while (event_call(dev->loop, fn, arg) == -EBUSY)
		nanosleep(&pause, NULL);
}

/* ---- register side ---- */

void virtio_attach(struct virtio_device *dev, const struct virtio_transport_ops *ops,
		   void *transport)
{
	dev->transport_ops = ops;
	dev->transport = transport;
}

void virtio_lock(struct virtio_device *dev)
{
	pthread_mutex_lock(&dev->lock);
}

void virtio_unlock(struct virtio_device *dev)
{
	pthread_mutex_unlock(&dev->lock);
}

void virtio_irqs_changed(struct virtio_device *dev)
{
	if (atomic_load(&dev->lends))
		event_call(dev->loop, irqs_changed_on_loop, dev);
}

uint8_t virtio_get_status(struct virtio_device *dev)
{
	return atomic_load(&dev->status);
}

uint32_t virtio_get_generation(struct virtio_device *dev)
{
	return atomic_load(&dev->generation);
}

static void virtio_reset(struct virtio_device *dev)
{
	call_until_drained(dev, reset_on_loop, dev);
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		dev->queues[i].setup = (struct virtq_setup){ .size = VIRTQ_MAX_SIZE };
		dev->queues[i].ready = false;
	}
	dev->requested = 0;
	dev->requested_unknown = false;
	atomic_store(&dev->accepted, 0);
	atomic_store(&dev->status, 0);
}

/* Accepted = requested and offered; anything else is refused (DESIGN rule 7). */
static bool features_are_acceptable(const struct virtio_device *dev)
{
	return !(dev->requested & ~dev->offered) && !dev->requested_unknown &&
	       dev->requested & 1ull << VIRTIO_F_VERSION_1;
}

void virtio_set_status(struct virtio_device *dev, uint8_t value)
{
	uint8_t old = atomic_load(&dev->status);
	uint8_t added = (uint8_t)(value & ~old & ~VIRTIO_CONFIG_S_NEEDS_RESET);

	if (!value) {
		virtio_reset(dev);
		return;
	}
	if (added & VIRTIO_CONFIG_S_ACKNOWLEDGE)
		atomic_store(&dev->was_found, true);
	if (added & VIRTIO_CONFIG_S_FEATURES_OK) {
		if (features_are_acceptable(dev))
			atomic_store(&dev->accepted, dev->requested);
		else
			added = (uint8_t)(added & ~VIRTIO_CONFIG_S_FEATURES_OK);
	}
	/* Without features there is nothing to be ready for (§3.1.1). */
	if (!((old | added) & VIRTIO_CONFIG_S_FEATURES_OK))
		added = (uint8_t)(added & ~VIRTIO_CONFIG_S_DRIVER_OK);
	atomic_fetch_or(&dev->status, added);
	if (added & VIRTIO_CONFIG_S_DRIVER_OK)
		event_call(dev->loop, start_on_loop, dev);
}

uint32_t virtio_get_offered(struct virtio_device *dev, uint32_t select)
{
	return select < 2 ? (uint32_t)(dev->offered >> (32 * select)) : 0;
}

uint32_t virtio_get_requested(struct virtio_device *dev, uint32_t select)
{
	return select < 2 ? (uint32_t)(dev->requested >> (32 * select)) : 0;
}

void virtio_request_features(struct virtio_device *dev, uint32_t select, uint32_t bits)
{
	if (atomic_load(&dev->status) & VIRTIO_CONFIG_S_FEATURES_OK)
		return; /* they are final */
	if (select >= 2) {
		dev->requested_unknown |= bits != 0;
		return;
	}
	dev->requested &= ~(0xffffffffull << (32 * select));
	dev->requested |= (uint64_t)bits << (32 * select);
}

struct virtio_queue *virtio_get_queue(struct virtio_device *dev, uint32_t index)
{
	return index < dev->nr_queues ? &dev->queues[index] : NULL;
}

void virtio_enable_queue(struct virtio_device *dev, uint32_t index)
{
	struct virtio_queue *q = virtio_get_queue(dev, index);
	struct queue_call c = { .dev = dev, .queue = q };

	/* Features decide how the ring looks, so they come first (§3.1.1). */
	if (!q || q->ready || !(atomic_load(&dev->status) & VIRTIO_CONFIG_S_FEATURES_OK))
		return;
	if (!event_call(dev->loop, enable_on_loop, &c))
		q->ready = true;
}

void virtio_disable_queue(struct virtio_device *dev, uint32_t index)
{
	struct virtio_queue *q = virtio_get_queue(dev, index);
	struct queue_call c = { .dev = dev, .queue = q };

	if (!q || !q->ready)
		return;
	call_until_drained(dev, drain_on_loop, &c);
	q->ready = false;
}

void virtio_read_config(struct virtio_device *dev, uint64_t offset, void *data, uint32_t bytes)
{
	memset(data, 0, bytes);
	pthread_mutex_lock(&dev->config_lock);
	if (range_within(offset, bytes, VIRTIO_CONFIG_MAX_BYTES))
		memcpy(data, dev->config + offset, bytes);
	pthread_mutex_unlock(&dev->config_lock);
}

void virtio_kick(struct virtio_device *dev, uint32_t index)
{
	if (index < dev->nr_queues)
		eventfd_signal(dev->queues[index].kick_fd);
}

/* ---- saving and loading ---- */

void virtio_freeze(struct virtio_device *dev)
{
	dev->frozen |= dev->running; /* one that was loaded has yet to run */
	dev->running = false;
}

bool virtio_is_at_rest(const struct virtio_device *dev)
{
	for (unsigned int i = 0; i < dev->nr_queues && !dev->ops->holds_chains; i++)
		if (dev->queues[i].ring.state.in_flight)
			return false;
	return true;
}

static bool wants_to_run(const struct virtio_device *dev)
{
	uint8_t status = atomic_load(&dev->status);

	return status & VIRTIO_CONFIG_S_DRIVER_OK && !(status & VIRTIO_CONFIG_S_NEEDS_RESET);
}

void virtio_thaw(struct virtio_device *dev, bool lost)
{
	bool was_frozen = dev->frozen;

	dev->frozen = false;
	if (!was_frozen || !wants_to_run(dev))
		return;
	dev->running = dev->had_driver = true;
	(dev->ops->go_on ? dev->ops->go_on : dev->ops->start)(dev);
	for (unsigned int i = 0; i < dev->nr_queues; i++) {
		if (!dev->queues[i].ready)
			continue;
		eventfd_signal(dev->queues[i].kick_fd);
		if (lost)
			dev->transport_ops->notify_queue(dev->transport, i);
	}
	if (dev->config_changed)
		dev->transport_ops->notify_config(dev->transport);
	dev->config_changed = false;
}

static void config_carry(struct virtio_device *dev, struct state *s,
			 uint8_t config[VIRTIO_CONFIG_MAX_BYTES])
{
	uint32_t generation = atomic_load(&dev->generation);

	memcpy(config, dev->config, VIRTIO_CONFIG_MAX_BYTES);
	state_raw(s, config, VIRTIO_CONFIG_MAX_BYTES);
	state_u32(s, &generation);
	if (state_loads(s))
		atomic_store(&dev->generation, generation);
}

/* A configuration that is another than the one that was saved is news for the driver. */
static void compare_config(struct virtio_device *dev, const uint8_t saved[VIRTIO_CONFIG_MAX_BYTES])
{
	dev->config_changed = memcmp(saved, dev->config, VIRTIO_CONFIG_MAX_BYTES) != 0;
	if (dev->config_changed)
		atomic_fetch_add(&dev->generation, 1);
}

/* What the ring was before what is in flight had been popped. */
static uint16_t settled_avail(const struct virtio_device *dev, const struct virtq_state *q)
{
	return (uint16_t)(q->next_avail - (dev->ops->holds_chains ? q->in_flight : 0));
}

/* Checked as when a driver enables it. */
static void ring_load(struct virtio_queue *q, struct state *s, const struct virtq_state *loaded)
{
	struct virtio_device *dev = q->dev;

	if (!q->ready || !state_is_good(s))
		return;
	if (!(atomic_load(&dev->status) & VIRTIO_CONFIG_S_FEATURES_OK) ||
	    virtq_enable(&q->ring, &q->setup, virtio_has_feature(dev, VIRTIO_RING_F_EVENT_IDX))) {
		state_refuse(s, "a queue of bad size or at a bad address");
		q->ready = false;
		return;
	}
	q->ring.state.next_avail = loaded->next_avail;
	q->ring.state.next_used = loaded->next_used;
	q->ring.state.notified = loaded->notified;
}

static void queue_carry(struct virtio_queue *q, struct state *s)
{
	struct virtq_state ring = q->ring.state;

	if (!state_loads(s) && ring.in_flight && !q->dev->ops->holds_chains)
		state_refuse_errno(s, "a request is in flight", -EBUSY);
	ring.next_avail = settled_avail(q->dev, &ring);
	state_u16(s, &q->setup.size);
	state_u64(s, &q->setup.desc);
	state_u64(s, &q->setup.avail);
	state_u64(s, &q->setup.used);
	state_bool(s, &q->ready);
	state_u16(s, &ring.next_avail);
	state_u16(s, &ring.next_used);
	state_u16(s, &ring.notified);
	if (state_loads(s))
		ring_load(q, s, &ring);
}

/* As a driver may have brought them about. */
static bool status_is_possible(const struct virtio_device *dev, uint8_t status, uint64_t accepted)
{
	if (!(status & VIRTIO_CONFIG_S_FEATURES_OK))
		return !accepted && !(status & VIRTIO_CONFIG_S_DRIVER_OK);
	return accepted == dev->requested && features_are_acceptable(dev);
}

static void status_carry(struct virtio_device *dev, struct state *s)
{
	uint8_t status = atomic_load(&dev->status);
	uint64_t accepted = atomic_load(&dev->accepted);

	state_u8(s, &status);
	state_u64(s, &dev->requested);
	state_bool(s, &dev->requested_unknown);
	state_u64(s, &accepted);
	if (!state_loads(s))
		return;
	if (accepted & ~dev->offered)
		state_refuse(s, "its driver uses features that this one has not");
	else if (!status_is_possible(dev, status, accepted))
		state_refuse(s, "a status that it cannot have");
	if (!state_is_good(s))
		return;
	atomic_store(&dev->status, status);
	atomic_store(&dev->accepted, accepted);
	atomic_store(&dev->was_found, status & VIRTIO_CONFIG_S_ACKNOWLEDGE);
	dev->frozen = wants_to_run(dev);
}

void virtio_carry(struct virtio_device *dev, struct state *s, uint32_t index)
{
	uint8_t config[VIRTIO_CONFIG_MAX_BYTES];

	if (!state_loads(s) && atomic_load(&dev->lends))
		state_refuse_errno(s, "vhost has its queues", -EBUSY);
	pthread_mutex_lock(&dev->lock);
	state_section(s, "virtio", index);
	state_same(s, dev->ops->id, "a kind of device");
	state_same(s, dev->nr_queues, "queues");
	status_carry(dev, s);
	config_carry(dev, s, config);
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		queue_carry(&dev->queues[i], s);
	if (dev->ops->carry)
		dev->ops->carry(dev, s);
	if (state_loads(s) && state_is_good(s))
		compare_config(dev, config);
	pthread_mutex_unlock(&dev->lock);
}
