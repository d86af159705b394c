// SPDX-License-Identifier: GPL-2.0-only
/*
 * Split virtqueues: enable-time checks, pop, push, notification suppression.
 *
 * Owned by a device, on the event loop's thread. This is the only file that
 * touches ring memory and the only one with its barriers. All fields of the
 * rings are little-endian, as is every host that this runs on. A malformed ring
 * marks the queue broken and is never looked at again.
 *
 * Source: virtio 1.2 §2.7. Not here: packed rings, in-order use.
 */
#include <assert.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "util.h"
#include "virtio/queue.h"

#define AVAIL_BYTES(size) (6u + 2u * (size)) /* flags, index, ring, used_event */
#define USED_BYTES(size)  (6u + 8u * (size)) /* flags, index, ring, avail_event */

/* Ring fields that the other side changes while we look. */
/*@ requires \valid_read(p); assigns \nothing; */
static uint16_t load16(const __virtio16 *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store16(__virtio16 *p, uint16_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/* A copy, which is what counts: the guest may write another descriptor meanwhile. */
/*@ requires \valid_read(p); assigns \nothing; */
static struct vring_desc load_desc(const struct vring_desc *p)
{
	struct vring_desc d;

	memcpy(&d, p, sizeof(d));
	__asm__ volatile("" ::
				 : "memory");
	return d;
}

/* Everything before it is visible before anything after it, loads after stores too. */
static void full_barrier(void)
{
	__asm__ volatile("lock; addl $0, -4(%%rsp)"
			 :
			 :
			 : "memory", "cc");
}

/*@ requires \valid(q); assigns q->state.broken, q->fault; ensures \result == -EPROTO; */
static int broken(struct virtq *q, const char *fault)
{
	q->state.broken = true;
	q->fault = fault;
	return -EPROTO;
}

void virtq_init(struct virtq *q, const struct mem *mem)
{
	*q = (struct virtq){ .mem = mem };
}

int virtq_enable(struct virtq *q, const struct virtq_setup *setup, bool event_idx)
{
	uint32_t size = setup->size;
	const struct mem *mem = q->mem;

	if (!size || size > VIRTQ_MAX_SIZE || size & (size - 1))
		return -EINVAL;
	/* Alignment: virtio 1.2 §2.7. */
	if (setup->desc % 16 || setup->avail % 2 || setup->used % 4)
		return -EINVAL;
	q->desc = mem_ptr(mem, setup->desc, size * sizeof(struct vring_desc));
	q->avail = mem_ptr(mem, setup->avail, AVAIL_BYTES(size));
	q->used = mem_ptr(mem, setup->used, USED_BYTES(size));
	if (!q->desc || !q->avail || !q->used)
		return -EINVAL;
	q->state = (struct virtq_state){
		.setup = *setup,
		.enabled = true,
		.event_idx = event_idx,
	};
	q->fault = NULL;
	return 0;
}

void virtq_reset(struct virtq *q)
{
	virtq_init(q, q->mem);
}

/* ---- taking chains ---- */

/*@ requires is_queue(q) && \valid(c) && \valid_read(d) && \separated(q, c, d, q->mem);
    requires is_chain(q->mem, c) && c->nr_readable + c->nr_writable < VIRTQ_MAX_SIZE;
    assigns *c, q->state.broken, q->fault;
    ensures \result == 0 || \result == -EPROTO;
    ensures c->head == \old(c->head);
    ensures \result == 0 ==> is_chain(q->mem, c) &&
      c->nr_readable + c->nr_writable <= \old(c->nr_readable + c->nr_writable) + 1; */
static int add_range(struct virtq *q, struct virtq_chain *c, const struct vring_desc *d)
{
	bool writable = d->flags & VRING_DESC_F_WRITE;
	uint32_t *sum = writable ? &c->writable_bytes : &c->readable_bytes;
	void *p;

	if (c->nr_writable && !writable)
		return broken(q, "a readable descriptor after a writable one");
	if (__builtin_add_overflow(*sum, d->len, sum))
		return broken(q, "a chain of more than 4 GiB");
	p = mem_ptr(q->mem, d->addr, d->len);
	if (!p)
		return broken(q, "a buffer outside RAM");
	if (!d->len)
		return 0;
	c->iov[c->nr_readable + c->nr_writable] = (struct iovec){ p, d->len };
	if (writable)
		c->nr_writable++;
	else
		c->nr_readable++;
	return 0;
}

/*
 * Follows a chain through @nr descriptors at @table from index @i on; @budget is how
 * many descriptors the whole chain may still have, so that a loop ends.
 */
/*@ requires is_queue(q) && \valid(c) && is_ram_at(q->mem, (uint8_t *)table, nr * sizeof(*table));
    requires \separated(q, c, q->mem);
    requires indirect != \null ==> \valid(indirect) && \separated(indirect, q, c, q->mem);
    requires is_chain(q->mem, c) && c->nr_readable + c->nr_writable + budget <= VIRTQ_MAX_SIZE;
    assigns *c, q->state.broken, q->fault, *indirect;
    ensures \result == 0 || \result == -EPROTO;
    ensures c->head == \old(c->head);
    ensures \result == 0 ==> is_chain(q->mem, c) &&
      c->nr_readable + c->nr_writable <= \old(c->nr_readable + c->nr_writable) + budget; */
static int walk(struct virtq *q, struct virtq_chain *c, const struct vring_desc *table,
		uint32_t nr, uint16_t i, uint32_t budget, struct vring_desc *indirect)
{
	/*@ loop invariant is_queue(q) && is_chain(q->mem, c) && c->head == \at(c->head, Pre);
	    loop invariant 0 <= budget <= \at(budget, Pre);
	    loop invariant c->nr_readable + c->nr_writable + budget <=
	      \at(c->nr_readable + c->nr_writable + budget, Pre);
	    loop assigns *c, q->state.broken, q->fault, *indirect, budget, i;
	    loop variant budget; */
	for (;;) {
		struct vring_desc d;
		int rc;

		if (i >= nr)
			return broken(q, "a descriptor index out of range");
		if (!budget--)
			return broken(q, "a chain longer than the queue");
		/* For WP: such bytes may be read as a descriptor. */
		//@ admit i < nr && is_ram_at(q->mem, (uint8_t *)table, 16 * nr) ==> \valid_read(&table[i]);
		d = load_desc(&table[i]);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (!indirect || d.flags & VRING_DESC_F_NEXT)
				return broken(q, "an indirect descriptor where none may be");
			*indirect = d;
			return 0;
		}
		rc = add_range(q, c, &d);
		if (rc)
			return rc;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		i = d.next;
	}
}

/*@ requires is_queue(q) && q->state.enabled && \valid(c) && \separated(q, c, q->mem);
    requires c->nr_readable == 0 && c->nr_writable == 0;
    assigns *c, q->state.broken, q->fault;
    ensures \result == 0 || \result == -EPROTO;
    ensures c->head == \old(c->head);
    ensures \result == 0 ==> is_chain(q->mem, c); */
static int read_chain(struct virtq *q, struct virtq_chain *c)
{
	uint16_t size = q->state.setup.size;
	struct vring_desc indirect = { 0 };
	const struct vring_desc *table;
	int rc = walk(q, c, q->desc, size, c->head, size, &indirect);

	if (rc || !(indirect.flags & VRING_DESC_F_INDIRECT))
		return rc;
	if (!indirect.len || indirect.len % sizeof(struct vring_desc))
		return broken(q, "an indirect table of odd size");
	table = mem_ptr(q->mem, indirect.addr, indirect.len);
	if (!table)
		return broken(q, "an indirect table outside RAM");
	/* Direct descriptors may come before the table; the bound is for both together. */
	return walk(q, c, table, (uint32_t)min_u64(indirect.len / sizeof(*table), UINT16_MAX + 1ul),
		    0, size - c->nr_readable - c->nr_writable, NULL);
}

int virtq_pop(struct virtq *q, struct virtq_chain *chain)
{
	struct virtq_state *s = &q->state;
	uint16_t waiting;
	int rc;

	if (s->broken)
		return -EPROTO;
	if (!s->enabled)
		return 0;
	/* Acquire: the ring entry and the descriptors are read after the index. */
	waiting = (uint16_t)(load16(&q->avail->idx) - s->next_avail);
	if (!waiting)
		return 0;
	if (waiting > s->setup.size)
		return broken(q, "an available index that jumps");
	chain->head = load16(&q->avail->ring[s->next_avail % s->setup.size]);
	chain->nr_readable = chain->nr_writable = 0;
	chain->readable_bytes = chain->writable_bytes = 0;
	if (chain->head >= s->setup.size)
		return broken(q, "a chain head out of range");
	if (s->is_out[chain->head])
		return broken(q, "a chain that is in flight already");
	rc = read_chain(q, chain);
	if (rc)
		return rc;
	s->is_out[chain->head] = true;
	s->next_avail++;
	s->in_flight++;
	return 1;
}

/* ---- giving them back ---- */

/*@ requires \valid(s) && s->enabled && head < VIRTQ_MAX_SIZE && s->is_out[head];
    assigns s->is_out[head], s->in_flight;
    ensures !s->is_out[head] && s->in_flight == (unsigned int)(\old(s->in_flight) - 1); */
static void clear_head(struct virtq_state *s, uint16_t head)
{
	assert(s->enabled && head < VIRTQ_MAX_SIZE && s->is_out[head]);
	s->is_out[head] = false;
	s->in_flight--;
}

void virtq_unpop(struct virtq *q, uint16_t head)
{
	clear_head(&q->state, head);
	q->state.next_avail--;
}

void virtq_fill(struct virtq *q, uint16_t head, uint32_t written)
{
	struct virtq_state *s = &q->state;
	volatile struct vring_used_elem *e;

	clear_head(s, head);
	e = &q->used->ring[s->next_used % s->setup.size];
	e->id = head;
	e->len = written;
	s->next_used++;
}

void virtq_flush(struct virtq *q)
{
	/* Release: elements and the device's data are visible before the index. */
	store16(&q->used->idx, q->state.next_used);
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t written)
{
	virtq_fill(q, head, written);
	virtq_flush(q);
}

/* Does the driver want to hear that the device has got to @next_used? */
static bool wants_notify(struct virtq *q, uint16_t next_used)
{
	const struct virtq_state *s = &q->state;

	/* The index must be visible before we read what the driver wants (§2.7.10). */
	full_barrier();
	if (!s->event_idx)
		return !(load16(&q->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	return vring_need_event(load16(&q->avail->ring[s->setup.size]), next_used, s->notified);
}

bool virtq_wants_notify(struct virtq *q)
{
	const struct virtq_state *s = &q->state;

	return s->enabled && s->next_used != s->notified && wants_notify(q, s->next_used);
}

bool virtq_will_notify(struct virtq *q)
{
	const struct virtq_state *s = &q->state;

	return s->enabled && wants_notify(q, (uint16_t)(s->next_used + 1));
}

bool virtq_should_notify(struct virtq *q)
{
	bool wants = virtq_wants_notify(q);

	q->state.notified = q->state.next_used;
	return wants;
}

unsigned int virtq_unnotified(const struct virtq *q)
{
	return (uint16_t)(q->state.next_used - q->state.notified);
}

static __virtio16 *avail_event(struct virtq *q)
{
	return (__virtio16 *)&q->used->ring[q->state.setup.size];
}

void virtq_disable_notification(struct virtq *q)
{
	/* With EVENT_IDX an old event index does it. */
	if (q->state.enabled && !q->state.event_idx)
		store16(&q->used->flags, VRING_USED_F_NO_NOTIFY);
}

bool virtq_enable_notification(struct virtq *q)
{
	struct virtq_state *s = &q->state;

	if (!s->enabled || s->broken)
		return false;
	if (s->event_idx)
		store16(avail_event(q), s->next_avail);
	else
		store16(&q->used->flags, 0);
	/* The request for kicks must be visible before we look for the last time (§2.7.7). */
	full_barrier();
	return load16(&q->avail->idx) != s->next_avail;
}
