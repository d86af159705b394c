/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A split virtqueue, seen from the device (virtio 1.2 §2.7).
 *
 * The guest owns the memory of the rings and may change it at any moment. So
 * addresses are checked once, when the queue is enabled; every descriptor is
 * read once, into a private copy; and devices see only chains that have been
 * checked as a whole. After a malformed ring or chain virtq_pop() fails until
 * the device is reset.
 *
 * Everything runs on the event loop's thread.
 */
#ifndef LKVM_VIRTIO_QUEUE_H
#define LKVM_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "mem.h"

struct vring_desc;
struct vring_avail;
struct vring_used;

#define VIRTQ_MAX_SIZE 256u /* descriptors in a queue, hence in a chain */

/* What the driver sets up through the transport. */
struct virtq_setup {
	uint16_t size; /* VIRTQ_MAX_SIZE unless the driver wants less */
	gpa_t desc, avail, used;
};

/* What the guest can observe, and all that a saved queue would need. */
struct virtq_state {
	struct virtq_setup setup;
	bool enabled;
	bool event_idx; /* VIRTIO_F_EVENT_IDX was accepted */
	bool broken;
	uint16_t next_avail;	     /* next entry of the available ring that we read */
	uint16_t next_used;	     /* the used ring's index */
	uint16_t notified;	     /* next_used when it was last decided whether to interrupt */
	unsigned int in_flight;	     /* chains popped and not yet pushed */
	bool is_out[VIRTQ_MAX_SIZE]; /* ... by their heads */
};

struct virtq {
	struct virtq_state state;
	const struct mem *mem;
	const struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	const char *fault; /* why it is broken */
};

/* A descriptor chain: iov[0 .. nr_readable), then nr_writable more. */
struct virtq_chain {
	uint16_t head;
	unsigned int nr_readable, nr_writable;
	uint32_t readable_bytes, writable_bytes;
	struct iovec iov[VIRTQ_MAX_SIZE];
};

/*
 * What is proved (make prove), given what virtq_enable() has checked, which is is_queue():
 * nothing outside of rings and tables is touched, whatever the guest writes meanwhile; a chain
 * lies in RAM and is at most as long as the queue; a head is given out only if it is not out
 * already, and is taken back once.
 */
/*@ predicate is_queue{L}(struct virtq *q) =
      \valid(q) && is_made(q->mem) && q->state.setup.size <= VIRTQ_MAX_SIZE &&
      (q->state.enabled ==>
        0 < q->state.setup.size &&
        is_ram_at(q->mem, (uint8_t *)q->desc, q->state.setup.size * sizeof(struct vring_desc)) &&
        \valid(&q->avail->idx) && \valid(q->avail->ring + (0 .. q->state.setup.size)) &&
        \valid(&q->used->idx) && \valid(q->used->ring + (0 .. q->state.setup.size - 1)));

    predicate is_chain{L}(struct mem *m, struct virtq_chain *c) =
      c->nr_readable + c->nr_writable <= VIRTQ_MAX_SIZE &&
      \forall integer i; 0 <= i < c->nr_readable + c->nr_writable ==> is_ram_at(m, (uint8_t *)c->iov[i].iov_base, c->iov[i].iov_len);
*/

void virtq_init(struct virtq *q, const struct mem *mem);

/*
 * Checks the set-up and starts the queue. 0 or -EINVAL: size not a power of two or
 * too big, rings misaligned or not in RAM.
 */
int virtq_enable(struct virtq *q, const struct virtq_setup *setup, bool event_idx);

/* Back to the state after virtq_init(). Chains in flight are forgotten. */
void virtq_reset(struct virtq *q);

/*
 * Takes the next available chain. 1: @chain is valid. 0: there is none (or the queue
 * is not enabled). -EPROTO: the ring is malformed; fault says how.
 */
/*@ requires is_queue(q) && \valid(chain);
    requires \separated(q, chain, q->mem);
    assigns *chain, q->state.broken, q->fault, q->state.next_avail, q->state.in_flight, q->state.is_out[0 .. VIRTQ_MAX_SIZE - 1];
    ensures \result <= 1;
    ensures \result == 1 ==> chain->head < q->state.setup.size && is_chain(q->mem, chain) &&
      !\old(q->state.is_out)[chain->head] && q->state.is_out[chain->head] &&
      q->state.in_flight == (unsigned int)(\old(q->state.in_flight) + 1);
    ensures \forall integer h; 0 <= h < VIRTQ_MAX_SIZE && (\result != 1 || h != chain->head) ==>
      q->state.is_out[h] == \old(q->state.is_out)[h]; */
int virtq_pop(struct virtq *q, struct virtq_chain *chain);

/*
 * Puts chain @head, the one that was popped last and not yet put back or pushed, back
 * into the available ring, as if it had never been taken.
 */
/*@ requires is_queue(q) && q->state.enabled && head < VIRTQ_MAX_SIZE && q->state.is_out[head];
    assigns q->state.is_out[head], q->state.in_flight, q->state.next_avail;
    ensures !q->state.is_out[head]; */
void virtq_unpop(struct virtq *q, uint16_t head);

/* Gives chain @head back, once; the device has written @written bytes into it. */
void virtq_push(struct virtq *q, uint16_t head, uint32_t written);

/* The same in two steps, for several chains that the driver must see at once. */
/*@ requires is_queue(q) && q->state.enabled && head < VIRTQ_MAX_SIZE && q->state.is_out[head];
    requires \separated(q, q->used->ring + (0 .. q->state.setup.size - 1));
    assigns q->state.is_out[head], q->state.in_flight, q->state.next_used,
      q->used->ring[0 .. q->state.setup.size - 1];
    ensures !q->state.is_out[head];
    ensures q->state.in_flight == (unsigned int)(\old(q->state.in_flight) - 1);
    ensures q->state.next_used == (uint16_t)(\old(q->state.next_used) + 1); */
void virtq_fill(struct virtq *q, uint16_t head, uint32_t written);
void virtq_flush(struct virtq *q);

/* True if the driver wants an interrupt for what was pushed since the last call. */
bool virtq_should_notify(struct virtq *q);

/*
 * What virtq_should_notify() would say, without making it a decision: an interrupt that
 * can wait may have become needless when it is asked for.
 */
bool virtq_wants_notify(struct virtq *q);

/* What it will say when one more chain has been pushed: the driver waits by interrupt. */
bool virtq_will_notify(struct virtq *q);

/* Chains pushed since virtq_should_notify() was last asked. */
unsigned int virtq_unnotified(const struct virtq *q);

/* Suppresses kicks while we look at the ring anyway. Only a hint: they may still come. */
void virtq_disable_notification(struct virtq *q);

/* Asks for kicks again. True if there is more already: then look again. */
bool virtq_enable_notification(struct virtq *q);

#endif
