/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What all virtio devices have in common, whatever the transport: the status
 * machine, features, queues, configuration space, reset (virtio 1.2 §2, §3).
 *
 * Two sides. The register side is called by a transport, on a vCPU's thread, with
 * virtio_lock() held. The device side runs on the event loop's thread and owns
 * the queues; a register write that changes a queue or starts or resets the
 * device is handed over to it (event_call) and waited for.
 */
#ifndef LKVM_VIRTIO_DEVICE_H
#define LKVM_VIRTIO_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "event.h"
#include "log.h"
#include "virtio/queue.h"

#define VIRTIO_MAX_QUEUES	32u
#define VIRTIO_CONFIG_MAX_BYTES 128u

struct state;
struct virtio_device;

/* A kind of device. All on the loop's thread. */
struct virtio_ops {
	uint32_t id;	    /* virtio 1.2 §5 */
	uint32_t pci_class; /* for people who run lspci */
	const char *driver; /* Linux's name for it, for people who lack it */
	/* The driver is ready: features and queues are final. */
	void (*start)(struct virtio_device *dev);
	/* There may be chains in queue @queue. */
	void (*kick)(struct virtio_device *dev, unsigned int queue);
	/* Optional: queue @queue stops; give back what was popped ahead of time. */
	void (*stop)(struct virtio_device *dev, unsigned int queue);
	/* Optional: after a reset, with all queues stopped. */
	void (*reset)(struct virtio_device *dev);
	/* For devices that lend queues: virtio_irq_fd() may say something else now. */
	void (*irqs_changed)(struct virtio_device *dev);
	/* Optional, for state.h: what the guest can observe beside what all devices have. */
	void (*carry)(struct virtio_device *dev, struct state *s);
	/* As start(), from a state that was loaded, or from where it was frozen; NULL: start() can. */
	void (*go_on)(struct virtio_device *dev);
	/*
	 * Chains in flight are those that were popped last, in their order, and wait: to save their
	 * queue is to save it as it was before.
	 */
	bool holds_chains;
};

/* How a transport interrupts the guest. On the loop's thread. */
struct virtio_transport_ops {
	void (*notify_queue)(void *transport, unsigned int queue);
	void (*notify_config)(void *transport);
	/* Optional: an eventfd that interrupts for a queue as things stand; -1: none. */
	int (*irq_fd)(void *transport, unsigned int queue);
};

/* One queue, with the registers that describe it before it is enabled. */
struct virtio_queue {
	struct virtq ring;	  /* loop */
	bool draining;		  /* loop: being stopped, nothing is popped any more */
	struct virtq_setup setup; /* registers */
	bool ready;		  /* registers: the driver has enabled it */
	int kick_fd;		  /* written by the transport or by KVM for it */
	int watch;
	struct virtio_device *dev;
};

/* What it has done, for lkvm stat. */
struct virtio_counts {
	uint64_t requests;	      /* or frames, or buffers */
	uint64_t bytes_in, bytes_out; /* to the guest, from it */
	uint64_t errors;
};

struct virtio_device {
	const struct virtio_ops *ops;
	const char *name; /* "vda", for messages; lent */
	const struct mem *mem;
	struct event_loop *loop;
	const struct virtio_transport_ops *transport_ops;
	void *transport;
	struct log_limit log_limit;
	uint64_t offered; /* features */

	/* What the guest can observe. */
	_Atomic uint8_t status;
	_Atomic uint32_t generation; /* of the configuration */
	uint64_t requested;	     /* features, until FEATURES_OK */
	bool requested_unknown;	     /* ... beyond bit 63 */
	_Atomic uint64_t accepted;
	uint32_t config_bytes;
	uint8_t config[VIRTIO_CONFIG_MAX_BYTES];

	unsigned int nr_queues;
	struct virtio_queue *queues;
	pthread_mutex_t lock;	     /* registers */
	pthread_mutex_t config_lock; /* config[]; held for a copy only */
	bool running;		     /* loop: DRIVER_OK, not broken */
	bool had_driver;	     /* loop: ... at any time */
	bool frozen;		     /* loop: it was running */
	bool config_changed;	     /* loop: it is not what was saved */
	struct virtio_counts counts; /* loop */
	atomic_bool lends;	     /* loop: somebody else serves queues */
	atomic_bool was_found;	     /* registers: a driver of the transport was there */
};

/* ---- for devices ---- */

/*
 * @offered: features of the device; those of every device (VERSION_1, ring features)
 * are added. 0 or -errno.
 */
int virtio_device_init(struct virtio_device *dev, const struct virtio_ops *ops, const char *name,
		       struct event_loop *loop, const struct mem *mem, unsigned int nr_queues,
		       uint64_t offered);

/* Accepts a device whose init failed. The loop has stopped or the guest never ran. */
void virtio_device_fini(struct virtio_device *dev);

bool virtio_has_feature(const struct virtio_device *dev, unsigned int bit);

/* Takes a chain; 0 also if the ring is malformed, which breaks the device. */
int virtio_pop(struct virtio_device *dev, unsigned int queue, struct virtq_chain *chain);

/* One request is done, with so many bytes of data. */
static inline void virtio_count(struct virtio_device *dev, uint64_t bytes_in, uint64_t bytes_out)
{
	dev->counts.requests++;
	dev->counts.bytes_in += bytes_in;
	dev->counts.bytes_out += bytes_out;
}

/* Interrupts the driver if it wants to know of what was pushed to @queue. */
void virtio_notify(struct virtio_device *dev, unsigned int queue);

/* Changes the configuration; @notify: with a new generation and an interrupt. */
void virtio_set_config(struct virtio_device *dev, uint32_t offset, const void *data,
		       uint32_t bytes, bool notify);

/*
 * Detaches a queue: somebody else reads its kicks and writes interrupts without us, until
 * virtio_attach_queue(). The interrupts' eventfd, or -1 if virtio_notify_detached() has to be
 * called.
 */
int virtio_detach_queue(struct virtio_device *dev, unsigned int queue);
int virtio_irq_fd(struct virtio_device *dev, unsigned int queue);
void virtio_attach_queue(struct virtio_device *dev, unsigned int queue);
void virtio_notify_detached(struct virtio_device *dev, unsigned int queue);

/* The driver or the ring broke a rule: the device stops until it is reset. */
void virtio_set_needs_reset(struct virtio_device *dev, const char *why);

/* ---- saving and loading; the loop's thread, while no vCPU runs ---- */

/*
 * Between these the device does nothing: it touches no memory, and no ring moves. Nothing may be in
 * flight on a host's file. virtio_thaw() is also what goes on with a state that was loaded; with
 * @lost interrupts and kicks may be that were sent before: each is sent once more.
 */
void virtio_freeze(struct virtio_device *dev);
bool virtio_is_at_rest(const struct virtio_device *dev); /* frozen: nothing is in flight */
void virtio_thaw(struct virtio_device *dev, bool lost);

/* state.h. Of a device that is frozen or was never started; it is the @index'th. */
void virtio_carry(struct virtio_device *dev, struct state *s, uint32_t index);

/* ---- for transports; the register side, under the lock unless noted ---- */

void virtio_attach(struct virtio_device *dev, const struct virtio_transport_ops *ops,
		   void *transport);
void virtio_lock(struct virtio_device *dev);
void virtio_unlock(struct virtio_device *dev);

/* Without the lock: vectors were masked, unmasked or given away. Waits for the loop. */
void virtio_irqs_changed(struct virtio_device *dev);

/* Without the lock. */
uint8_t virtio_get_status(struct virtio_device *dev);
uint32_t virtio_get_generation(struct virtio_device *dev);

/* 0 resets, which waits for requests in flight; bits cannot be cleared otherwise. */
void virtio_set_status(struct virtio_device *dev, uint8_t value);

/* 32 feature bits, number @select of them. */
uint32_t virtio_get_offered(struct virtio_device *dev, uint32_t select);
uint32_t virtio_get_requested(struct virtio_device *dev, uint32_t select);
void virtio_request_features(struct virtio_device *dev, uint32_t select, uint32_t bits);

/* The registers of a queue; NULL if there is no such queue. Read-only once ready. */
struct virtio_queue *virtio_get_queue(struct virtio_device *dev, uint32_t index);
void virtio_enable_queue(struct virtio_device *dev, uint32_t index);
void virtio_disable_queue(struct virtio_device *dev, uint32_t index);

/* Reads beyond the end are zeros. Without the lock. */
void virtio_read_config(struct virtio_device *dev, uint64_t offset, void *data, uint32_t bytes);

/* A kick that did not come through KVM. Without the lock. */
void virtio_kick(struct virtio_device *dev, uint32_t index);

#endif
