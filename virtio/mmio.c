// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio over MMIO, version 2.
 *
 * A page of 32-bit registers and one edge-triggered interrupt line. A kick is an
 * ioeventfd that matches the queue's number and never reaches this file. Registers
 * are accessed by aligned 32-bit words and the configuration in any width, as
 * drivers must (§4.2.2.2); other accesses read zero and are ignored.
 *
 * Register accesses run on vCPU threads under the device's lock. The interrupt
 * status, which the loop sets and drivers read and clear in every interrupt, is
 * atomic and needs no lock.
 *
 * Source: virtio 1.2 §4.2.2. Not here: version 1, shared memory regions.
 */
#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "bus.h"
#include "irq.h"
#include "kvm.h"
#include "state.h"
#include "util.h"
#include "virtio/device.h"
#include "virtio/mmio.h"

#define MAGIC	0x74726976u /* "virt" */
#define VERSION 2u
#define VENDOR	0x4d564b4cu /* "LKVM" */

struct virtio_mmio {
	struct virtio_device *dev;
	struct vm *vm;
	struct bus *bus;
	uint64_t base;
	bool on_bus;
	unsigned int nr_ioeventfds; /* how many KVM knows */
	struct irq irq;

	/* What the guest can observe. */
	uint32_t offered_select, requested_select, queue_select;
	_Atomic uint32_t interrupt_status;
};

static void virtio_mmio_notify_queue(void *transport, unsigned int queue)
{
	struct virtio_mmio *vt = transport;

	(void)queue;
	atomic_fetch_or(&vt->interrupt_status, VIRTIO_MMIO_INT_VRING);
	irq_raise(&vt->irq);
}

static void virtio_mmio_notify_config(void *transport)
{
	struct virtio_mmio *vt = transport;

	atomic_fetch_or(&vt->interrupt_status, VIRTIO_MMIO_INT_CONFIG);
	irq_raise(&vt->irq);
}

static const struct virtio_transport_ops transport_ops = {
	.notify_queue = virtio_mmio_notify_queue,
	.notify_config = virtio_mmio_notify_config,
};

static uint32_t virtio_mmio_read_locked(struct virtio_mmio *vt, uint64_t offset)
{
	const struct virtio_queue *q = virtio_get_queue(vt->dev, vt->queue_select);

	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return virtio_get_offered(vt->dev, vt->offered_select);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return q ? VIRTQ_MAX_SIZE : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return q ? q->ready : 0;
	default:
		return 0;
	}
}

static uint64_t virtio_mmio_read(void *dev, uint64_t offset, unsigned int size)
{
	struct virtio_mmio *vt = dev;
	uint64_t value = 0;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		virtio_read_config(vt->dev, offset - VIRTIO_MMIO_CONFIG, &value, size);
		return value;
	}
	if (size != 4 || offset % 4)
		return 0;
	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return vt->dev->ops->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return atomic_load(&vt->interrupt_status);
	case VIRTIO_MMIO_STATUS:
		return virtio_get_status(vt->dev);
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return virtio_get_generation(vt->dev);
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return ~0u; /* no such region (§4.2.2.1) */
	default:
		virtio_lock(vt->dev);
		value = virtio_mmio_read_locked(vt, offset);
		virtio_unlock(vt->dev);
		return value;
	}
}

static void set_low(gpa_t *address, uint32_t value)
{
	*address = (*address & ~0xffffffffull) | value;
}

static void set_high(gpa_t *address, uint32_t value)
{
	*address = (*address & 0xffffffffull) | (gpa_t)value << 32;
}

static void virtio_mmio_write_queue_register(struct virtio_mmio *vt, uint64_t offset, uint32_t value)
{
	struct virtio_queue *q = virtio_get_queue(vt->dev, vt->queue_select);

	if (!q)
		return;
	if (offset == VIRTIO_MMIO_QUEUE_READY) {
		if (value == 1)
			virtio_enable_queue(vt->dev, vt->queue_select);
		else if (value == 0)
			virtio_disable_queue(vt->dev, vt->queue_select);
		return;
	}
	if (q->ready)
		return; /* its size and place are final */
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		/* What does not fit 16 bits is no size either way. */
		q->setup.size = value > VIRTQ_MAX_SIZE ? 0 : (uint16_t)value;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
		set_low(&q->setup.desc, value);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_high(&q->setup.desc, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
		set_low(&q->setup.avail, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_high(&q->setup.avail, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
		set_low(&q->setup.used, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_high(&q->setup.used, value);
		break;
	default:
		break;
	}
}

static void virtio_mmio_write_locked(struct virtio_mmio *vt, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		vt->offered_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		vt->requested_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		virtio_request_features(vt->dev, vt->requested_select, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		vt->queue_select = value;
		break;
	case VIRTIO_MMIO_STATUS:
		virtio_set_status(vt->dev, (uint8_t)value);
		if (!(value & 0xff))
			atomic_store(&vt->interrupt_status, 0);
		break;
	default:
		virtio_mmio_write_queue_register(vt, offset, value);
	}
}

static void virtio_mmio_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct virtio_mmio *vt = dev;

	if (size != 4 || offset % 4 || offset >= VIRTIO_MMIO_CONFIG)
		return; /* no device has a configuration that drivers write */
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		virtio_kick(vt->dev, (uint32_t)value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		atomic_fetch_and(&vt->interrupt_status, ~(uint32_t)value);
		break;
	default:
		virtio_lock(vt->dev);
		virtio_mmio_write_locked(vt, offset, (uint32_t)value);
		virtio_unlock(vt->dev);
	}
}

static const struct bus_ops registers_ops = {
	.read = virtio_mmio_read,
	.write = virtio_mmio_write,
};

static struct vm_ioeventfd virtio_mmio_ioeventfd_of(const struct virtio_mmio *vt, unsigned int queue)
{
	return (struct vm_ioeventfd){
		.fd = vt->dev->queues[queue].kick_fd,
		.addr = vt->base + VIRTIO_MMIO_QUEUE_NOTIFY,
		.bytes = 4,
		.value = queue,
	};
}

static int virtio_mmio_init(struct virtio_mmio *vt, uint32_t gsi)
{
	int rc = irq_line_init(&vt->irq, vt->vm, gsi);

	if (rc)
		return rc;
	rc = bus_add(vt->bus, &(struct bus_region){
				      .start = vt->base,
				      .len = VIRTIO_MMIO_BYTES,
				      .max_access = 8,
				      .ops = &registers_ops,
				      .dev = vt,
				      .name = "virtio-mmio",
			      });
	vt->on_bus = !rc;
	for (unsigned int i = 0; i < vt->dev->nr_queues && vt->vm && !rc; i++) {
		struct vm_ioeventfd e = virtio_mmio_ioeventfd_of(vt, i);

		rc = vm_ioeventfd_add(vt->vm, &e);
		if (!rc)
			vt->nr_ioeventfds++;
	}
	return rc;
}

int virtio_mmio_create(struct virtio_mmio **out, struct virtio_device *dev, struct bus *mmio,
		       struct vm *vm, uint64_t base, uint32_t gsi)
{
	struct virtio_mmio *vt = calloc(1, sizeof(*vt));
	int rc;

	if (!vt)
		return -ENOMEM;
	vt->dev = dev;
	vt->vm = vm;
	vt->bus = mmio;
	vt->base = base;
	vt->irq.fd = -1;
	rc = virtio_mmio_init(vt, gsi);
	if (rc) {
		virtio_mmio_destroy(vt);
		return rc;
	}
	virtio_attach(dev, &transport_ops, vt);
	*out = vt;
	return 0;
}

void virtio_mmio_carry(struct virtio_mmio *vt, struct state *s)
{
	uint32_t status = atomic_load(&vt->interrupt_status);

	state_section(s, "virtio-mmio", (uint32_t)(vt->base / VIRTIO_MMIO_BYTES));
	state_u32(s, &vt->offered_select);
	state_u32(s, &vt->requested_select);
	state_u32(s, &vt->queue_select);
	state_u32(s, &status);
	if (status & ~(uint32_t)(VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG))
		state_refuse(s, "an interrupt status that it cannot have");
	else if (state_loads(s))
		atomic_store(&vt->interrupt_status, status);
}

void virtio_mmio_destroy(struct virtio_mmio *vt)
{
	if (!vt)
		return;
	while (vt->nr_ioeventfds) {
		struct vm_ioeventfd e = virtio_mmio_ioeventfd_of(vt, --vt->nr_ioeventfds);

		vm_ioeventfd_remove(vt->vm, &e);
	}
	if (vt->on_bus)
		bus_remove(vt->bus, vt->base);
	irq_fini(&vt->irq);
	free(vt);
}
