/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A driver of a device behind virtio-mmio, for unit tests: its registers, and rings at fixed places
 * in guest memory.
 */
#ifndef LKVM_TESTS_DRIVER_H
#define LKVM_TESTS_DRIVER_H

#include <linux/virtio_mmio.h>
#include <stdint.h>

#include "bus.h"
#include "x86/layout.h"

#define RING_OF(queue) (0x10000u * ((queue) + 1))

static inline void driver_out(struct bus *mmio, uint32_t reg, uint32_t v)
{
	bus_write(mmio, LAYOUT_VIRTIO_MMIO + reg, &v, 4);
}

static inline void driver_add_ring(struct bus *mmio, unsigned int queue, uint32_t entries)
{
	driver_out(mmio, VIRTIO_MMIO_QUEUE_SEL, queue);
	driver_out(mmio, VIRTIO_MMIO_QUEUE_NUM, entries);
	driver_out(mmio, VIRTIO_MMIO_QUEUE_DESC_LOW, RING_OF(queue));
	driver_out(mmio, VIRTIO_MMIO_QUEUE_AVAIL_LOW, RING_OF(queue) + 0x1000);
	driver_out(mmio, VIRTIO_MMIO_QUEUE_USED_LOW, RING_OF(queue) + 0x2000);
	driver_out(mmio, VIRTIO_MMIO_QUEUE_READY, 1);
}

#endif
