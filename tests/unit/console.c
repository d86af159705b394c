// SPDX-License-Identifier: GPL-2.0-only
/*
 * The console device between a driver that gives it chains of many megabytes and a host that takes
 * and has all of them at once: the loop does something else meanwhile, and no byte is lost. And what one
 * that goes on from a snapshot is refused.
 */
#include "tests/lib/unit.h"
#include "tests/lib/driver.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "bus.h"
#include "event.h"
#include "mem.h"
#include "state.h"
#include "util.h"
#include "virtio/console.h"
#include "virtio/device.h"
#include "virtio/mmio.h"
#include "virtio/port.h"
#include "x86/layout.h"

#define RAM	    MIB(4)
#define RING	    256u
#define RX	    0u
#define TX	    1u
#define BUFFER	    MIB(1)
#define PART_BYTES  ((uint32_t)KIB(256))
#define CHAIN_BYTES ((uint64_t)RING * PART_BYTES)
#define TURN_BYTES  MIB(1) /* the most that others may have to wait for */

struct rig {
	struct event_loop *loop;
	struct mem *mem;
	struct bus mmio;
	struct port *port;
	struct console *console;
	struct virtio_mmio *vt;
	unsigned int queue;
	int file, others;
	uint64_t moved, most_in_a_turn, seen;
	unsigned int chains_used, turns;
	bool in_order;
};

static void start_driver(struct rig *r)
{
	driver_out(&r->mmio, VIRTIO_MMIO_STATUS, 3);
	driver_out(&r->mmio, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	driver_out(&r->mmio, VIRTIO_MMIO_DRIVER_FEATURES, 1); /* VIRTIO_F_VERSION_1 */
	driver_out(&r->mmio, VIRTIO_MMIO_STATUS, 11);
	driver_add_ring(&r->mmio, RX, RING);
	driver_add_ring(&r->mmio, TX, RING);
	driver_out(&r->mmio, VIRTIO_MMIO_STATUS, 15);
}

/* Every descriptor names the same part of memory: 64 MiB that cost the guest nothing. */
static void write_descriptors(struct rig *r, uint16_t flags)
{
	struct vring_desc *desc = mem_ptr(r->mem, RING_OF(r->queue), RING * sizeof(*desc));

	for (uint16_t i = 0; i < RING; i++)
		desc[i] = (struct vring_desc){ BUFFER, PART_BYTES, flags, (uint16_t)(i + 1) };
	desc[RING - 1].flags &= (uint16_t)~VRING_DESC_F_NEXT;
}

static void publish(struct rig *r, uint16_t head)
{
	struct vring_avail *avail = mem_ptr(r->mem, RING_OF(r->queue) + 0x1000, 0x1000);

	avail->ring[avail->idx % RING] = head;
	avail->idx++;
}

static const struct vring_used *used_of(const struct rig *r)
{
	return mem_ptr(r->mem, RING_OF(r->queue) + 0x2000, 0x1000);
}

static void count_turn(struct rig *r, uint64_t moved)
{
	r->most_in_a_turn = max_u64(r->most_in_a_turn, moved - r->moved);
	r->moved = moved;
	r->turns++;
}

/* ---- out ---- */

/* What everybody else in the loop is: called once in each of its rounds. */
static void on_turn_out(void *arg, uint32_t events)
{
	struct rig *r = arg;
	struct stat st;

	(void)events;
	assert_int_equal(fstat(r->file, &st), 0);
	count_turn(r, (uint64_t)st.st_size);
	if (used_of(r)->idx)
		event_stop(r->loop);
}

static void saw(void *arg, const char *data, size_t len)
{
	struct rig *r = arg;

	/* Each byte once, each part of the chain from its start. */
	r->in_order = r->in_order && len &&
		      data == (char *)mem_ptr(r->mem, BUFFER, PART_BYTES) + r->seen % PART_BYTES;
	r->seen += len;
}

/* ---- in ---- */

static void on_turn_in(void *arg, uint32_t events)
{
	struct rig *r = arg;
	uint64_t moved = r->moved;

	(void)events;
	for (; r->chains_used != used_of(r)->idx; r->chains_used++)
		moved += used_of(r)->ring[r->chains_used].len;
	count_turn(r, moved);
	if (r->moved == CHAIN_BYTES)
		event_stop(r->loop);
	assert_true(r->turns < 100000);
	if (!r->chains_used || used_of(r)->ring[r->chains_used - 1].len)
		publish(r, 0);
	virtio_kick(console_device(r->console), RX);
}

/* ---- life ---- */

static void open_rig(struct rig *r, unsigned int queue, event_fn on_turn)
{
	const struct port_config config = { .kind = PORT_FD, .name = "hvc0", .fd = r->file };

	r->queue = queue;
	r->in_order = true;
	assert_int_equal(event_loop_create(&r->loop), 0);
	assert_int_equal(mem_create(&r->mem, RAM), 0);
	bus_init(&r->mmio);
	assert_int_equal(port_create(&r->port, r->loop, &config), 0);
	assert_int_equal(console_create(&r->console, r->loop, r->mem, r->port, NULL, 0), 0);
	console_set_watch(r->console, saw, r);
	assert_int_equal(virtio_mmio_create(&r->vt, console_device(r->console), &r->mmio, NULL,
					    LAYOUT_VIRTIO_MMIO, 5),
			 0);
	start_driver(r);
	r->others = eventfd(1, EFD_CLOEXEC);
	assert_true(event_add(r->loop, r->others, EPOLLIN, on_turn, r) >= 0);
}

static void close_rig(struct rig *r)
{
	virtio_mmio_destroy(r->vt);
	console_destroy(r->console);
	port_destroy(r->port);
	bus_fini(&r->mmio);
	mem_destroy(r->mem);
	event_loop_destroy(r->loop);
	close(r->others);
	close(r->file);
}

static void assert_others_had_turns(const struct rig *r)
{
	if (r->most_in_a_turn > TURN_BYTES)
		fail_msg("%llu bytes in one round of the loop", (unsigned long long)r->most_in_a_turn);
	assert_int_equal(r->moved, CHAIN_BYTES);
}

static void a_long_chain_goes_out_in_turns(void **state)
{
	struct rig r = { .file = memfd_create("out", MFD_CLOEXEC) };

	(void)state;
	open_rig(&r, TX, on_turn_out);
	write_descriptors(&r, VRING_DESC_F_NEXT);
	publish(&r, 0);
	virtio_kick(console_device(r.console), TX);
	assert_int_equal(event_run(r.loop), 0);
	assert_others_had_turns(&r);
	assert_true(r.in_order);
	assert_int_equal(r.seen, CHAIN_BYTES);
	close_rig(&r);
}

static void a_long_file_comes_in_in_turns(void **state)
{
	struct rig r = { .file = memfd_create("in", MFD_CLOEXEC) };

	(void)state;
	assert_int_equal(ftruncate(r.file, CHAIN_BYTES), 0);
	open_rig(&r, RX, on_turn_in);
	write_descriptors(&r, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
	publish(&r, 0);
	assert_int_equal(event_run(r.loop), 0);
	assert_others_had_turns(&r);
	close_rig(&r);
}

/* ---- from a snapshot ---- */

#define NAME_BYTES 64u

/* The state of a device with one named port, and none with the number 0. */
struct saved {
	struct event_loop *loop;
	struct mem *mem;
	struct port *port;
	struct console *console;
	uint8_t bytes[KIB(4)], *ports[2]; /* what is behind the name of each: whether it is there, news, is it open */
	size_t nr;
};

static void save_console(struct saved *d)
{
	const struct port_config config = { .kind = PORT_PEER, .name = "named" };
	struct state s;

	assert_int_equal(event_loop_create(&d->loop), 0);
	assert_int_equal(mem_create(&d->mem, RAM), 0);
	assert_int_equal(port_create(&d->port, d->loop, &config), 0);
	assert_int_equal(console_create(&d->console, d->loop, d->mem, NULL, &d->port, 1), 0);
	state_init_save(&s, d->bytes, sizeof(d->bytes));
	virtio_carry(console_device(d->console), &s, 0);
	assert_int_equal(state_end(&s), 0);
	d->nr = s.used;
	d->ports[1] = (uint8_t *)memmem(d->bytes, d->nr, "named", 6) + NAME_BYTES;
	d->ports[0] = d->ports[1] - NAME_BYTES - 17; /* and how much was written */
}

static void forget_console(struct saved *d)
{
	console_destroy(d->console);
	port_destroy(d->port);
	mem_destroy(d->mem);
	event_loop_destroy(d->loop);
}

/* Each is what a guest could not have brought about, and would be told to a port that is not there, or has no name. */
static void ports_have_only_their_news(void **state)
{
	static const struct {
		unsigned int port;
		uint8_t news, open;
		int rc;
	} cases[] = {
		{ 0, 0, 0, 0 },
		{ 0, 1, 0, -EINVAL },
		{ 0, 16, 0, -EINVAL },
		{ 0, 0, 1, -EINVAL },
		{ 1, 1 | 8 | 16, 1, 0 },
		{ 1, 2, 0, -EINVAL },
		{ 1, 4, 0, -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct saved d;
		struct state s;

		save_console(&d);
		assert_int_equal(d.ports[0][0], 0);
		assert_int_equal(d.ports[1][0], 1);
		d.ports[cases[i].port][8] = cases[i].news;
		d.ports[cases[i].port][12] = cases[i].open;
		state_init_load(&s, d.bytes, d.nr);
		virtio_carry(console_device(d.console), &s, 0);
		if (state_end(&s) != cases[i].rc)
			fail_msg("%zu: %s", i, s.fault);
		forget_console(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_long_chain_goes_out_in_turns),
		cmocka_unit_test(a_long_file_comes_in_in_turns),
		cmocka_unit_test(ports_have_only_their_news),
	};

	return cmocka_run_group_tests_name("console", tests, NULL, NULL);
}
