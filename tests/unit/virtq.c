// SPDX-License-Identifier: GPL-2.0-only
/*
 * The split ring, driven by a mock driver in fake RAM: order, wrap-around, both kinds
 * of notification suppression, and whatever random bytes in a ring do.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <linux/virtio_ring.h>

#include "mem.h"
#include "util.h"
#include "iov.h"
#include "virtio/queue.h"

#define DESC	0x10000
#define AVAIL	0x20000
#define USED	0x30000
#define BUFFERS 0x40000
#define RAM	MIB(2)

struct rig {
	struct mem *mem;
	struct virtq q;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
};

static int set_up(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	assert_int_equal(mem_create(&r->mem, RAM), 0);
	virtq_init(&r->q, r->mem);
	r->desc = mem_ptr(r->mem, DESC, 0x1000);
	r->avail = mem_ptr(r->mem, AVAIL, 0x1000);
	r->used = mem_ptr(r->mem, USED, 0x1000);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	mem_destroy(r->mem);
	free(r);
	return 0;
}

static struct virtq_setup setup_of(uint16_t size)
{
	return (struct virtq_setup){ .size = size, .desc = DESC, .avail = AVAIL, .used = USED };
}

static void enable(struct rig *r, uint16_t size, bool event_idx)
{
	struct virtq_setup s = setup_of(size);

	memset(mem_ptr(r->mem, DESC, 0x30000), 0, 0x30000);
	assert_int_equal(virtq_enable(&r->q, &s, event_idx), 0);
}

static void publish(struct rig *r, uint16_t head)
{
	uint16_t size = r->q.state.setup.size;

	r->avail->ring[r->avail->idx % size] = head;
	r->avail->idx++;
}

static void enable_checks_size_and_place(void **state)
{
	static const struct {
		struct virtq_setup s;
		int rc;
	} cases[] = {
		{ { 0, DESC, AVAIL, USED }, -EINVAL },
		{ { 1, DESC, AVAIL, USED }, 0 },
		{ { 3, DESC, AVAIL, USED }, -EINVAL },
		{ { 256, DESC, AVAIL, USED }, 0 },
		{ { 512, DESC, AVAIL, USED }, -EINVAL },
		{ { 0x8000, DESC, AVAIL, USED }, -EINVAL },
		{ { 16, DESC + 8, AVAIL, USED }, -EINVAL },
		{ { 16, DESC, AVAIL + 1, USED }, -EINVAL },
		{ { 16, DESC, AVAIL, USED + 2 }, -EINVAL },
		{ { 16, RAM - 256, AVAIL, USED }, 0 },
		{ { 16, RAM - 240, AVAIL, USED }, -EINVAL },
		{ { 16, DESC, RAM - 38, USED }, 0 },
		{ { 16, DESC, RAM - 36, USED }, -EINVAL },
		{ { 16, DESC, AVAIL, RAM - 136 }, 0 },
		{ { 16, DESC, AVAIL, RAM - 132 }, -EINVAL },
		{ { 16, ~0ull - 15, AVAIL, USED }, -EINVAL },
		{ { 16, DESC, ~0ull - 1, USED }, -EINVAL },
	};
	struct rig *r = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		virtq_reset(&r->q);
		assert_int_equal(virtq_enable(&r->q, &cases[i].s, false), cases[i].rc);
		assert_int_equal(r->q.state.enabled, cases[i].rc == 0);
	}
}

static void a_chain_is_copied_and_given_back(void **state)
{
	struct rig *r = *state;
	struct virtq_chain c;

	enable(r, 8, false);
	assert_int_equal(virtq_pop(&r->q, &c), 0);
	r->desc[3] = (struct vring_desc){ BUFFERS, 100, VRING_DESC_F_NEXT, 1 };
	r->desc[1] = (struct vring_desc){ BUFFERS + 4096, 0, VRING_DESC_F_NEXT, 5 };
	r->desc[5] = (struct vring_desc){ BUFFERS + 8192, 7, VRING_DESC_F_WRITE, 0 };
	publish(r, 3);
	assert_int_equal(virtq_pop(&r->q, &c), 1);
	assert_int_equal(c.head, 3);
	assert_int_equal(c.nr_readable, 1);
	assert_int_equal(c.nr_writable, 1);
	assert_int_equal(c.readable_bytes, 100);
	assert_int_equal(c.writable_bytes, 7);
	assert_ptr_equal(c.iov[0].iov_base, mem_ptr(r->mem, BUFFERS, 1));
	assert_int_equal(r->q.state.in_flight, 1);
	virtq_push(&r->q, 3, 7);
	assert_int_equal(r->used->idx, 1);
	assert_int_equal(r->used->ring[0].id, 3);
	assert_int_equal(r->used->ring[0].len, 7);
	assert_int_equal(r->q.state.in_flight, 0);
}

/* 300 000 chains through rings of every size: no index is wrong, before and after it wraps. */
static void indices_wrap(void **state)
{
	struct rig *r = *state;
	struct virtq_chain c;
	uint64_t seed = 88172645463325252ull;

	for (uint16_t size = 1; size <= 256; size = (uint16_t)(size * 2)) {
		uint16_t heads[256], nr = 0;
		bool in_flight[256] = { false };

		enable(r, size, true);
		for (uint16_t i = 0; i < size; i++)
			r->desc[i] = (struct vring_desc){ BUFFERS + i * 16u, 16, 0, 0 };
		for (uint32_t pushed = 0; pushed < 140000 / 4;) {
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			if (nr < size && seed % 2) {
				uint16_t head = (uint16_t)(seed >> 20) % size;

				while (in_flight[head])
					head = (uint16_t)((head + 1) % size);
				publish(r, head);
				assert_int_equal(virtq_pop(&r->q, &c), 1);
				assert_int_equal(c.head, head);
				in_flight[head] = true;
				heads[nr++] = head;
			} else if (nr) {
				uint16_t at = (uint16_t)(seed >> 30) % nr, head = heads[at];

				virtq_push(&r->q, head, pushed);
				heads[at] = heads[--nr];
				in_flight[head] = false;
				assert_int_equal(r->used->ring[(uint16_t)(r->used->idx - 1) % size].id, head);
				assert_int_equal(r->used->idx, (uint16_t)++pushed);
			}
			assert_int_equal(r->q.state.in_flight, nr);
		}
	}
}

/* EVENT_IDX: an interrupt exactly if the driver's event index was passed, wherever it is. */
static void interrupts_follow_the_event_index(void **state)
{
	struct rig *r = *state;
	struct virtq_chain c;

	enable(r, 4, true);
	r->desc[0] = (struct vring_desc){ BUFFERS, 16, 0, 0 };
	for (uint32_t i = 0; i < 70000; i++) {
		uint16_t event = (uint16_t)(i + i % 3); /* this one, the next, the one after */
		bool want = i % 3 == 0;

		r->avail->ring[4] = event;
		publish(r, 0);
		assert_int_equal(virtq_pop(&r->q, &c), 1);
		virtq_push(&r->q, 0, 0);
		assert_int_equal(virtq_should_notify(&r->q), want);
		assert_false(virtq_should_notify(&r->q)); /* once is enough */
	}
}

static void flags_suppress_without_event_index(void **state)
{
	struct rig *r = *state;
	struct virtq_chain c;

	enable(r, 4, false);
	r->desc[0] = (struct vring_desc){ BUFFERS, 16, 0, 0 };
	for (int i = 0; i < 4; i++) {
		r->avail->flags = i % 2 ? VRING_AVAIL_F_NO_INTERRUPT : 0;
		publish(r, 0);
		assert_int_equal(virtq_pop(&r->q, &c), 1);
		virtq_push(&r->q, 0, 0);
		assert_int_equal(virtq_should_notify(&r->q), i % 2 == 0);
	}
	virtq_disable_notification(&r->q);
	assert_int_equal(r->used->flags, VRING_USED_F_NO_NOTIFY);
	assert_false(virtq_enable_notification(&r->q));
	assert_int_equal(r->used->flags, 0);
	publish(r, 0);
	assert_true(virtq_enable_notification(&r->q));
}

static void kicks_are_asked_for_by_index(void **state)
{
	struct rig *r = *state;
	struct virtq_chain c;
	uint16_t event;

	enable(r, 4, true);
	r->desc[0] = (struct vring_desc){ BUFFERS, 16, 0, 0 };
	for (uint32_t i = 0; i < 66000; i++) {
		publish(r, 0);
		assert_int_equal(virtq_pop(&r->q, &c), 1);
		assert_false(virtq_enable_notification(&r->q));
		memcpy(&event, &r->used->ring[4], 2);
		assert_int_equal(event, (uint16_t)(i + 1));
		virtq_push(&r->q, 0, 0);
	}
}

static void a_broken_queue_stays_broken(void **state)
{
	struct rig *r = *state;
	struct virtq_chain c;

	enable(r, 4, false);
	publish(r, 7);
	assert_int_equal(virtq_pop(&r->q, &c), -EPROTO);
	assert_non_null(r->q.fault);
	r->avail->ring[0] = 0;
	assert_int_equal(virtq_pop(&r->q, &c), -EPROTO);
	assert_false(virtq_enable_notification(&r->q));
	enable(r, 4, false);
	assert_int_equal(virtq_pop(&r->q, &c), 0);
}

/* Random descriptors: a chain that comes out is inside RAM and no longer than the queue. */
static void random_rings_are_harmless(void **state)
{
	struct rig *r = *state;
	const uint8_t *ram = mem_ptr(r->mem, 0, RAM);
	uint64_t seed = 42, chains = 0, breaks = 0;
	struct virtq_chain c;

	for (int round = 0; round < 200000; round++) {
		uint64_t *words = (uint64_t *)r->desc;
		int rc;

		enable(r, 16, round & 1);
		for (unsigned int i = 0; i < 32; i++) {
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			words[i] = seed;
			/* Half of them nearly right, or no chain would ever get through. */
			if (i % 2 == 0 && seed % 8)
				words[i] = seed % (RAM + 4096);
			if (i % 2 && seed % 8)
				words[i] = (seed & 0x000f000700000fffull);
		}
		publish(r, (uint16_t)(seed % 17));
		rc = virtq_pop(&r->q, &c);
		breaks += rc < 0;
		if (rc != 1)
			continue;
		chains++;
		assert_true(c.nr_readable + c.nr_writable <= 16);
		for (unsigned int i = 0; i < c.nr_readable + c.nr_writable; i++) {
			const uint8_t *p = c.iov[i].iov_base;

			assert_true(p >= ram && p + c.iov[i].iov_len <= ram + RAM);
		}
		virtq_push(&r->q, c.head, 0);
	}
	assert_true(chains > 10000 && breaks > 10000);
}

static void buffers_are_copied_across_borders(void **state)
{
	char a[3] = "ab", b[4] = "cde", out[8] = "";
	struct iovec iov[] = { { a, 2 }, { NULL, 0 }, { b, 3 } };

	(void)state;
	assert_int_equal(iov_read(iov, 3, 1, out, 8), 4);
	assert_string_equal(out, "bcde");
	assert_int_equal(iov_write(iov, 3, 1, "XYZ", 3), 3);
	assert_string_equal(a, "aX");
	assert_string_equal(b, "YZe");
	assert_int_equal(iov_read(iov, 3, 5, out, 8), 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(enable_checks_size_and_place),
		TEST(a_chain_is_copied_and_given_back),
		TEST(indices_wrap),
		TEST(interrupts_follow_the_event_index),
		TEST(flags_suppress_without_event_index),
		TEST(kicks_are_asked_for_by_index),
		TEST(a_broken_queue_stays_broken),
		TEST(random_rings_are_harmless),
		TEST(buffers_are_copied_across_borders),
	};

	return cmocka_run_group_tests_name("virtq", tests, NULL, NULL);
}
