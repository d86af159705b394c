// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile driver of a split virtqueue, indirect tables and event indices included. The
 * input changes guest memory and calls the queue's functions in any order that a device may;
 * whatever happens, a chain is inside of RAM, adds up, is given out once at a time and
 * comes back once.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <linux/virtio_ring.h>

#include "mem.h"
#include "util.h"
#include "virtio/queue.h"

#define RAM	KIB(64)
#define DESC	0x0000u
#define AVAIL	0x4000u
#define USED	0x8000u
#define BUFFERS 0xc000u

struct ring {
	struct mem *mem;
	const uint8_t *base;
	struct virtq q;
	struct virtq_chain chain;
	bool out[VIRTQ_MAX_SIZE]; /* given to us */
	unsigned int nr_out;
	int last; /* head that may be put back; -1: none */
};

static void enable(struct ring *r, struct input *in)
{
	unsigned int op = (unsigned int)take(in, 1);
	struct virtq_setup setup = {
		.size = (uint16_t)(1u << (op & 15)),
		.desc = DESC,
		.avail = AVAIL,
		.used = USED,
	};

	/* Now and then at an address of the guest's choice. */
	if (op & 0x40)
		setup = (struct virtq_setup){
			.size = (uint16_t)take(in, 2),
			.desc = take(in, 3),
			.avail = take(in, 3),
			.used = take(in, 3),
		};
	virtq_reset(&r->q);
	memset(r->out, 0, sizeof(r->out));
	r->nr_out = 0;
	r->last = -1;
	if (!virtq_enable(&r->q, &setup, op & 0x80))
		must(setup.size && setup.size <= VIRTQ_MAX_SIZE && !(setup.size & (setup.size - 1)));
}

static void check_chain(const struct ring *r)
{
	const struct virtq_chain *c = &r->chain;
	uint64_t readable = 0, writable = 0;

	must(c->nr_readable + c->nr_writable <= r->q.state.setup.size);
	for (unsigned int i = 0; i < c->nr_readable + c->nr_writable; i++) {
		uint64_t at = (uint64_t)((const uint8_t *)c->iov[i].iov_base - r->base);

		must(at <= RAM && c->iov[i].iov_len <= RAM - at);
		*(i < c->nr_readable ? &readable : &writable) += c->iov[i].iov_len;
	}
	must(readable == c->readable_bytes && writable == c->writable_bytes);
}

static void pop(struct ring *r)
{
	int rc = virtq_pop(&r->q, &r->chain);

	must(rc == 0 || rc == 1 || (rc == -EPROTO && r->q.fault));
	if (rc != 1)
		return;
	check_chain(r);
	must(r->chain.head < r->q.state.setup.size && !r->out[r->chain.head]);
	r->out[r->chain.head] = true;
	r->nr_out++;
	r->last = r->chain.head;
	must(r->nr_out == r->q.state.in_flight);
}

static void give_back(struct ring *r, unsigned int first, bool unpop)
{
	uint16_t before = r->q.state.next_used;

	if (unpop) {
		if (r->last < 0)
			return;
		virtq_unpop(&r->q, (uint16_t)r->last);
		r->out[r->last] = false;
		r->nr_out--;
		r->last = -1;
		return;
	}
	for (unsigned int i = 0; i < VIRTQ_MAX_SIZE; i++) {
		unsigned int head = (first + i) % VIRTQ_MAX_SIZE;

		if (!r->out[head])
			continue;
		virtq_push(&r->q, (uint16_t)head, first);
		must((uint16_t)(before + 1) == r->q.state.next_used);
		r->out[head] = false;
		r->nr_out--;
		r->last = -1;
		return;
	}
}

/* Writes a descriptor, mostly a sensible one, and perhaps publishes it. */
static void describe(struct ring *r, struct input *in)
{
	unsigned int flags = (unsigned int)take(in, 1), index = (unsigned int)take(in, 1);
	struct vring_desc d = { BUFFERS + take(in, 2) % 0x4000, (uint32_t)take(in, 2), flags & 7,
				(uint16_t)take(in, 1) };
	uint16_t size = r->q.state.setup.size, idx;

	if (flags & 0x80)
		d.addr = take(in, 8);
	if (flags & 0x40)
		d.len = (uint32_t)take(in, 4);
	/* The last quarter of the buffers is tables as well. */
	mem_write(r->mem, (flags & 0x10 ? BUFFERS : DESC) + index * 16, &d, sizeof(d));
	if (!(flags & 0x20) || !size)
		return;
	mem_read(r->mem, AVAIL + 2, &idx, 2);
	mem_write(r->mem, AVAIL + 4 + 2 * (idx & (size - 1u)), &index, 2);
	idx++;
	mem_write(r->mem, AVAIL + 2, &idx, 2);
}

static void write_memory(struct ring *r, struct input *in)
{
	uint64_t at = take(in, 2), n = take(in, 1) % 32;

	n = min_u64(n, in->left);
	mem_write(r->mem, at, in->data, n);
	in->data += n;
	in->left -= n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = { data, bytes };
	static struct ring r;

	if (!r.mem)
		must(!mem_create(&r.mem, RAM));
	mem_zero(r.mem, 0, RAM);
	r.base = mem_ptr(r.mem, 0, RAM);
	virtq_init(&r.q, r.mem);
	enable(&r, &in);
	while (in.left) {
		unsigned int op = (unsigned int)take(&in, 1);

		switch (op & 7) {
		case 0:
		case 1: describe(&r, &in); break;
		case 2: write_memory(&r, &in); break;
		case 3: pop(&r); break;
		case 4: give_back(&r, op >> 4, op & 8); break;
		case 5:
			virtq_wants_notify(&r.q);
			virtq_should_notify(&r.q);
			break;
		case 6:
			virtq_disable_notification(&r.q);
			virtq_enable_notification(&r.q);
			break;
		default:
			if (op > 0xf0)
				enable(&r, &in);
			else
				pop(&r);
			break;
		}
	}
	virtq_reset(&r.q);
	return 0;
}
