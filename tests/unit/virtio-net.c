// SPDX-License-Identifier: GPL-2.0-only
/*
 * The network device between a driver and a back end of ours, which breaks the connection
 * in every state of either half, in every way, and then expects that frames move again, by
 * nothing but what the device has asked to be woken up by; a stream of frames that is
 * collected; a device that is saved, which writes nothing meanwhile; and what one is refused.
 */
#include "tests/lib/unit.h"
#include "tests/lib/driver.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "bus.h"
#include "event.h"
#include "mem.h"
#include "net/net.h"
#include "state.h"
#include "util.h"
#include "virtio/device.h"
#include "virtio/mmio.h"
#include "virtio/net.h"
#include "x86/layout.h"

#define RAM	       MIB(1)
#define RING	       64u
#define RX	       0u
#define TX	       1u
#define BUFFER	       0x30000u
#define FRAME_BYTES    64u
#define TICK_NS	       100000u
#define PATIENCE_TICKS 5000u
#define FOR_EVER       (~0u)

struct rig {
	struct event_loop *loop;
	struct mem *mem;
	struct bus mmio;
	struct virtio_net *vn;
	struct virtio_mmio *vt;
	uint32_t features;
	int timer;
	/* The driver. */
	unsigned int given[2];	  /* chains since the rings were set up */
	unsigned int next_number; /* of frames that are sent */
	/* The back end. */
	struct net net;
	bool watched, gone;
	unsigned int frames;   /* that can be received */
	unsigned int room;     /* for frames that are sent */
	unsigned int failures; /* of reads */
	int error;	       /* ... with -errno */
	unsigned int reads, sent, last_number;
	/* The test: what is tried, and how far that is. */
	unsigned int state, way, phase, ticks;
};

static struct rig *rig_of(struct net *net)
{
	return (struct rig *)((char *)net - offsetof(struct rig, net));
}

/* ---- the back end ---- */

static ssize_t wire_recv(struct net *net, unsigned int queue, const struct iovec *iov,
			 unsigned int nr)
{
	struct rig *r = rig_of(net);

	(void)queue;
	assert_true(nr > 0 && iov[0].iov_len >= 100);
	r->reads++;
	if (r->failures) {
		r->failures -= r->failures != FOR_EVER;
		return r->error;
	}
	if (!r->frames)
		return -EAGAIN;
	r->frames--;
	memset(iov[0].iov_base, 0xff, 100);
	return 100;
}

static int wire_send(struct net *net, unsigned int queue, const struct iovec *iov, unsigned int nr)
{
	struct rig *r = rig_of(net);
	uint32_t number;

	(void)queue;
	assert_int_equal(nr, 2);
	if (r->gone)
		return -ENOTCONN;
	if (!r->room)
		return -EAGAIN;
	r->room -= r->room != FOR_EVER;
	memcpy(&number, (uint8_t *)iov[1].iov_base + 14, sizeof(number));
	assert_true(number > r->last_number);
	r->last_number = number;
	r->sent++;
	return 0;
}

static void wire_watch(struct net *net, unsigned int queue, bool on)
{
	(void)queue;
	rig_of(net)->watched = on;
}

static const struct net_ops wire_ops = {
	.recv = wire_recv,
	.send = wire_send,
	.watch = wire_watch,
};

/* ---- the driver ---- */

static struct vring_avail *avail_of(const struct rig *r, unsigned int queue)
{
	return mem_ptr(r->mem, RING_OF(queue) + 0x1000, 0x1000);
}

static const struct vring_used *used_of(const struct rig *r, unsigned int queue)
{
	return mem_ptr(r->mem, RING_OF(queue) + 0x2000, 0x1000);
}

static void add_ring(struct rig *r, unsigned int queue)
{
	uint8_t *ring = mem_ptr(r->mem, RING_OF(queue), 0x3000);

	memset(ring, 0, 0x3000);
	r->given[queue] = 0;
	driver_add_ring(&r->mmio, queue, RING);
}

static void start_driver(struct rig *r)
{
	driver_out(&r->mmio, VIRTIO_MMIO_STATUS, 0);
	driver_out(&r->mmio, VIRTIO_MMIO_STATUS, 3);
	driver_out(&r->mmio, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	driver_out(&r->mmio, VIRTIO_MMIO_DRIVER_FEATURES, r->features);
	driver_out(&r->mmio, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	driver_out(&r->mmio, VIRTIO_MMIO_DRIVER_FEATURES, 1); /* VIRTIO_F_VERSION_1 */
	driver_out(&r->mmio, VIRTIO_MMIO_STATUS, 11);
	add_ring(r, RX);
	add_ring(r, TX);
	driver_out(&r->mmio, VIRTIO_MMIO_STATUS, 15);
}

static unsigned int outstanding(const struct rig *r, unsigned int queue)
{
	return (uint16_t)(r->given[queue] - __atomic_load_n(&used_of(r, queue)->idx, __ATOMIC_ACQUIRE));
}

static bool wants_kicks(const struct rig *r, unsigned int queue)
{
	return !(__atomic_load_n(&used_of(r, queue)->flags, __ATOMIC_ACQUIRE) & VRING_USED_F_NO_NOTIFY);
}

static void publish(struct rig *r, unsigned int queue, struct vring_desc desc)
{
	struct vring_avail *avail = avail_of(r, queue);
	unsigned int slot = r->given[queue]++ % RING;

	assert_int_equal(mem_write(r->mem, RING_OF(queue) + slot * sizeof(desc), &desc, sizeof(desc)), 0);
	avail->ring[avail->idx % RING] = (uint16_t)slot;
	__atomic_store_n(&avail->idx, (uint16_t)(avail->idx + 1), __ATOMIC_RELEASE);
}

/* As a driver does it: not if kicks are not wanted. */
static void kick_if_wanted(struct rig *r, unsigned int queue)
{
	if (wants_kicks(r, queue))
		virtio_kick(virtio_net_device(r->vn), queue);
}

static void give_buffers(struct rig *r, unsigned int nr)
{
	while (nr-- && outstanding(r, RX) < RING)
		publish(r, RX,
			(struct vring_desc){ BUFFER + 0x8000 + r->given[RX] % RING * 2048, 2048,
					     VRING_DESC_F_WRITE, 0 });
	kick_if_wanted(r, RX);
}

static void publish_frame(struct rig *r)
{
	gpa_t frame = BUFFER + r->given[TX] % RING * 256;

	r->next_number++;
	assert_int_equal(mem_write(r->mem, frame + NET_HEADER_BYTES + 14, &r->next_number, 4), 0);
	publish(r, TX, (struct vring_desc){ frame, NET_HEADER_BYTES + FRAME_BYTES, 0, 0 });
}

static void send_frames(struct rig *r, unsigned int nr)
{
	while (nr-- && outstanding(r, TX) < RING)
		publish_frame(r);
	kick_if_wanted(r, TX);
}

/* A back end tells of frames if it has been asked to. */
static void receive_frames(struct rig *r, unsigned int nr)
{
	r->frames += nr;
	if (r->watched)
		net_readable(&r->net, 0);
}

/* ---- states of the device, and how it comes there ---- */

static bool rx_no_frame(struct rig *r)
{
	give_buffers(r, RING);
	return r->watched && !wants_kicks(r, RX);
}

static bool rx_no_chain(struct rig *r)
{
	receive_frames(r, RING - r->frames % RING);
	return r->frames && !r->watched && wants_kicks(r, RX);
}

static bool rx_failed(struct rig *r)
{
	give_buffers(r, RING);
	r->failures = FOR_EVER;
	r->error = -EIO;
	receive_frames(r, 1);
	return !r->watched && !wants_kicks(r, RX);
}

static bool tx_empty(struct rig *r)
{
	return !outstanding(r, TX) && wants_kicks(r, TX);
}

static bool tx_full(struct rig *r)
{
	r->room = 0;
	send_frames(r, 1);
	return r->net.refused && !wants_kicks(r, TX);
}

/* Many kicks in a short time, each with a frame. */
static void send_with_kicks(struct rig *r, unsigned int nr)
{
	struct virtio_device *dev = virtio_net_device(r->vn);

	while (nr-- && outstanding(r, TX) < RING) {
		publish_frame(r);
		if (wants_kicks(r, TX))
			dev->ops->kick(dev, TX);
		event_run_deferred(r->loop);
	}
}

/* The clock, which runs, will find that there were many. */
static bool tx_kicked(struct rig *r)
{
	send_with_kicks(r, 12);
	return !outstanding(r, TX) && wants_kicks(r, TX);
}

static bool tx_stream(struct rig *r)
{
	send_with_kicks(r, 16);
	return !r->net.refused && !wants_kicks(r, TX);
}

static const struct {
	const char *name;
	bool (*reach)(struct rig *r);
} states[] = {
	{ "no frame", rx_no_frame },
	{ "no chain", rx_no_chain },
	{ "failed", rx_failed },
	{ "empty", tx_empty },
	{ "kicked", tx_kicked },
	{ "full", tx_full },
	{ "stream", tx_stream },
};

/* ---- what happens to it there ---- */

static void fail_once(struct rig *r, int error)
{
	r->failures = 1;
	r->error = error;
	receive_frames(r, 1);
}

static void fail_io(struct rig *r) { fail_once(r, -EIO); }
static void fail_inval(struct rig *r) { fail_once(r, -EINVAL); }
static void fail_fault(struct rig *r) { fail_once(r, -EFAULT); }
static void fail_nomem(struct rig *r) { fail_once(r, -ENOMEM); }
static void fail_badfd(struct rig *r) { fail_once(r, -EBADFD); }
static void fail_nodev(struct rig *r) { fail_once(r, -ENODEV); }
static void nothing(struct rig *r) { (void)r; }

static void fail_often(struct rig *r)
{
	r->failures = 100;
	r->error = -EIO;
	receive_frames(r, 1);
}

static void link_flaps(struct rig *r)
{
	for (unsigned int i = 0; i < 10; i++)
		net_set_link(&r->net, i & 1);
}

static void peer_leaves(struct rig *r)
{
	r->gone = true;
	net_set_link(&r->net, false);
	net_writable(&r->net, 0);
}

static void peers_come_and_go(struct rig *r)
{
	for (unsigned int i = 0; i < 10; i++) {
		peer_leaves(r);
		r->gone = false;
		r->room = 1;
		net_set_link(&r->net, true);
	}
}

static void kicks_unasked(struct rig *r)
{
	virtio_kick(virtio_net_device(r->vn), RX);
	virtio_kick(virtio_net_device(r->vn), TX);
}

static void wakes_unasked(struct rig *r)
{
	r->net.client.readable(r->net.client.arg, 0);
	r->net.client.writable(r->net.client.arg, 0);
}

static void queue_stops(struct rig *r, unsigned int queue)
{
	driver_out(&r->mmio, VIRTIO_MMIO_QUEUE_SEL, queue);
	driver_out(&r->mmio, VIRTIO_MMIO_QUEUE_READY, 0);
	add_ring(r, queue);
}

static void rx_stops(struct rig *r) { queue_stops(r, RX); }
static void tx_stops(struct rig *r) { queue_stops(r, TX); }

static void driver_leaves(struct rig *r)
{
	driver_out(&r->mmio, VIRTIO_MMIO_STATUS, 0);
}

/* What is malformed stops the device until it is reset; it must not stay awake for that. */
static void driver_errs(struct rig *r)
{
	struct virtio_device *dev = virtio_net_device(r->vn);
	char messages[512];
	unsigned int reads;
	int saved = begin_capture();

	avail_of(r, TX)->idx = (uint16_t)(avail_of(r, TX)->idx + 1000);
	dev->ops->kick(dev, TX);
	virtio_set_needs_reset(dev, "a malformed ring");
	reads = r->reads;
	r->frames++;
	wakes_unasked(r);
	event_run_deferred(r->loop);
	end_capture(saved, messages, sizeof(messages));
	assert_false(r->watched);
	assert_int_equal(r->reads, reads);
}

static const struct {
	const char *name;
	void (*happen)(struct rig *r);
	bool needs_start;
} ways[] = {
	{ "nothing", nothing, false },
	{ "a read fails: EIO", fail_io, false },
	{ "a read fails: EINVAL", fail_inval, false },
	{ "a read fails: EFAULT", fail_fault, false },
	{ "a read fails: ENOMEM", fail_nomem, false },
	{ "a read fails: EBADFD", fail_badfd, false },
	{ "a read fails: ENODEV", fail_nodev, false },
	{ "reads fail", fail_often, false },
	{ "the link flaps", link_flaps, false },
	{ "the peer leaves", peer_leaves, false },
	{ "peers come and go", peers_come_and_go, false },
	{ "kicks", kicks_unasked, false },
	{ "wakes", wakes_unasked, false },
	{ "receiving stops", rx_stops, false },
	{ "sending stops", tx_stops, false },
	{ "a reset", driver_leaves, true },
	{ "an error of the driver", driver_errs, true },
};

/* All is well again, and there is something to do in both directions. */
static void repair(struct rig *r)
{
	r->gone = false;
	r->room = FOR_EVER;
	r->failures = r->failures == FOR_EVER ? 0 : r->failures;
	net_set_link(&r->net, true);
	net_writable(&r->net, 0);
	if (ways[r->way].needs_start)
		start_driver(r);
	give_buffers(r, RING);
	send_frames(r, 3);
	receive_frames(r, 3);
}

enum phase {
	REACH,
	REPAIR,
	MOVE,
};

static void on_tick(void *arg, uint32_t events)
{
	struct rig *r = arg;

	(void)events;
	if (++r->ticks > PATIENCE_TICKS)
		fail_msg("%s: %s: no progress (phase %u): %u frames to receive, %u to send",
			 states[r->state].name, ways[r->way].name, r->phase, r->frames,
			 outstanding(r, TX));
	if (r->net.repeats && r->frames)
		receive_frames(r, 0);
	if (r->phase == REACH && states[r->state].reach(r)) {
		ways[r->way].happen(r);
		r->phase = REPAIR;
	} else if (r->phase == REPAIR) {
		repair(r);
		r->phase = MOVE;
	} else if (r->phase == MOVE) {
		give_buffers(r, RING);
		if (r->frames || outstanding(r, TX) || r->failures)
			return;
		r->phase = REACH;
		r->ticks = 0;
		if (++r->way < ARRAY_SIZE(ways))
			return;
		r->way = 0;
		if (++r->state == ARRAY_SIZE(states))
			event_stop(r->loop);
	}
}

/* ---- life ---- */

static void open_rig_of(struct rig *r, uint32_t features, unsigned int pairs, event_fn tick)
{
	const struct virtio_net_params params = { .name = "net0" };

	memset(r, 0, sizeof(*r));
	r->features = features;
	r->room = FOR_EVER;
	assert_int_equal(event_loop_create(&r->loop), 0);
	assert_int_equal(mem_create(&r->mem, RAM), 0);
	bus_init(&r->mmio);
	r->net = (struct net){
		.ops = &wire_ops,
		.name = "net0",
		.loop = r->loop,
		.nr_queues = pairs,
		.link_up = true,
	};
	assert_int_equal(virtio_net_create(&r->vn, r->loop, r->mem, &r->net, &params), 0);
	assert_int_equal(virtio_mmio_create(&r->vt, virtio_net_device(r->vn), &r->mmio, NULL,
					    LAYOUT_VIRTIO_MMIO, 5),
			 0);
	start_driver(r);
	r->timer = event_timer_create(r->loop, tick, r);
	event_timer_set(r->loop, r->timer, TICK_NS, TICK_NS);
}

static void open_rig(struct rig *r, uint32_t features, event_fn tick)
{
	open_rig_of(r, features, 1, tick);
}

static void close_rig(struct rig *r)
{
	virtio_mmio_destroy(r->vt);
	virtio_net_destroy(r->vn);
	bus_fini(&r->mmio);
	mem_destroy(r->mem);
	event_loop_destroy(r->loop);
}

static void frames_move_after(uint32_t features, bool repeats)
{
	struct rig r;

	open_rig(&r, features, on_tick);
	r.net.repeats = repeats;
	assert_int_equal(event_run(r.loop), 0);
	close_rig(&r);
}

static void frames_move_whatever_happens(void **state)
{
	(void)state;
	frames_move_after(0, false);
}

static void merged_frames_move_whatever_happens(void **state)
{
	(void)state;
	frames_move_after(1u << VIRTIO_NET_F_MRG_RXBUF, true);
}

/* ---- a stream of frames ---- */

#define PER_TICK 10u

static void on_stream_tick(void *arg, uint32_t events)
{
	struct rig *r = arg;
	struct virtio_device *dev = virtio_net_device(r->vn);

	(void)events;
	r->ticks++;
	if (r->ticks == 200)
		event_timer_set(r->loop, r->timer, 100000000, 0); /* a pause ends it */
	else if (r->ticks > 200)
		event_stop(r->loop);
	else
		for (unsigned int i = 0; i < PER_TICK && outstanding(r, TX) < RING; i++) {
			publish_frame(r);
			if (wants_kicks(r, TX))
				dev->ops->kick(dev, TX);
			else
				r->phase++;
			event_run_deferred(r->loop);
		}
	/* So does a frame: its answer is not to wait. */
	if (r->ticks % 50 == 49 && !wants_kicks(r, TX)) {
		receive_frames(r, 1);
		event_run_deferred(r->loop);
		assert_int_equal(r->frames, 0);
		assert_true(wants_kicks(r, TX));
		assert_int_equal(outstanding(r, TX), 0);
		r->way++;
	}
}

static void a_stream_is_collected(void **state)
{
	struct rig r;

	(void)state;
	open_rig(&r, 0, on_stream_tick);
	event_timer_set(r.loop, r.timer, 30000, 30000);
	give_buffers(&r, RING);
	assert_int_equal(event_run(r.loop), 0);
	/* Most frames went without a kick; when there were no more, kicks were wanted again. */
	assert_int_equal(r.sent, r.next_number);
	assert_true(r.phase >= 5 * PER_TICK);
	assert_true(r.way >= 1);
	assert_true(wants_kicks(&r, TX));
	close_rig(&r);
}

/* ---- one that is saved ---- */

#define SAVED_TICKS 20u

/* Memory is read in peace, and in any order, while it is saved. */
static void on_saving_tick(void *arg, uint32_t events)
{
	static uint8_t memory[RAM];
	struct rig *r = arg;
	struct virtio_device *dev = virtio_net_device(r->vn);

	(void)events;
	if (++r->ticks > PATIENCE_TICKS)
		fail_msg("%s: no progress (phase %u)", states[r->state].name, r->phase);
	if (r->phase == REACH && states[r->state].reach(r)) {
		virtio_freeze(dev);
		memcpy(memory, mem_ptr(r->mem, 0, RAM), RAM);
		r->phase = REPAIR;
		r->ticks = 0;
	} else if (r->phase == REPAIR && r->ticks < SAVED_TICKS) {
		r->room = FOR_EVER;
		r->failures = 0;
		kicks_unasked(r);
		wakes_unasked(r);
		if (memcmp(memory, mem_ptr(r->mem, 0, RAM), RAM))
			fail_msg("%s: memory was written while it is saved", states[r->state].name);
	} else if (r->phase == REPAIR) {
		virtio_thaw(dev, false);
		r->way = 0; /* nothing */
		repair(r);
		r->phase = MOVE;
	} else if (r->phase == MOVE) {
		give_buffers(r, RING);
		if (r->frames || outstanding(r, TX))
			return;
		r->phase = REACH;
		r->ticks = 0;
		if (++r->state == ARRAY_SIZE(states))
			event_stop(r->loop);
	}
}

static void nothing_is_written_while_it_is_saved(void **state)
{
	struct rig r;

	(void)state;
	open_rig(&r, 0, on_saving_tick);
	assert_int_equal(event_run(r.loop), 0);
	close_rig(&r);
}

/* ---- one that goes on ---- */

static void on_no_tick(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
}

static size_t save_device(struct rig *r, uint8_t *bytes, size_t room)
{
	struct state s;

	virtio_freeze(virtio_net_device(r->vn));
	state_init_save(&s, bytes, room);
	virtio_carry(virtio_net_device(r->vn), &s, 0);
	assert_int_equal(state_end(&s), 0);
	return s.used;
}

static int load_device(struct rig *r, const uint8_t *bytes, size_t nr, char fault[STATE_FAULT_BYTES])
{
	struct state s;
	int rc;

	state_init_load(&s, bytes, nr);
	virtio_carry(virtio_net_device(r->vn), &s, 0);
	rc = state_end(&s);
	strcpy(fault, s.fault);
	return rc;
}

/* Without VIRTIO_NET_F_MQ the third queue is the control queue, and of no pair. */
static void pairs_need_their_feature(void **state)
{
	static const uint8_t one_of_two[] = { 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0 };
	char fault[STATE_FAULT_BYTES];
	uint8_t bytes[KIB(16)], *active;
	struct rig a, b;
	size_t n;

	(void)state;
	open_rig_of(&a, 1u << VIRTIO_NET_F_CTRL_VQ, 2, on_no_tick);
	n = save_device(&a, bytes, sizeof(bytes));
	active = memmem(bytes, n, one_of_two, sizeof(one_of_two));
	assert_non_null(active);
	open_rig_of(&b, 0, 2, on_no_tick);
	assert_int_equal(load_device(&b, bytes, n, fault), 0);
	close_rig(&b);
	active[8] = 2;
	open_rig_of(&b, 0, 2, on_no_tick);
	assert_int_equal(load_device(&b, bytes, n, fault), -EINVAL);
	assert_non_null(strstr(fault, "queues or offloads that it cannot have"));
	close_rig(&b);
	close_rig(&a);
}

/* The host's kernel begins rings at their begin. */
static void vhost_takes_no_used_rings(void **state)
{
	char fault[STATE_FAULT_BYTES];
	uint8_t bytes[KIB(16)];
	struct rig a, b;
	size_t n;

	(void)state;
	for (int has_driver = 0; has_driver < 2; has_driver++) {
		open_rig(&a, 0, on_no_tick);
		if (!has_driver)
			driver_leaves(&a);
		n = save_device(&a, bytes, sizeof(bytes));
		open_rig(&b, 0, on_no_tick);
		driver_leaves(&b);
		b.net.vhost = (struct vhost *)&b; /* no more than that it is there */
		assert_int_equal(load_device(&b, bytes, n, fault), has_driver ? -EINVAL : 0);
		b.net.vhost = NULL;
		if (has_driver)
			assert_non_null(strstr(fault, "vhost"));
		close_rig(&b);
		close_rig(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_move_whatever_happens),
		cmocka_unit_test(merged_frames_move_whatever_happens),
		cmocka_unit_test(a_stream_is_collected),
		cmocka_unit_test(nothing_is_written_while_it_is_saved),
		cmocka_unit_test(pairs_need_their_feature),
		cmocka_unit_test(vhost_takes_no_used_rings),
	};

	return cmocka_run_group_tests_name("virtio-net", tests, NULL, NULL);
}
