/* SPDX-License-Identifier: GPL-2.0-only */
/* virtio over MMIO: a page of registers and an interrupt line. */
#ifndef LKVM_VIRTIO_MMIO_H
#define LKVM_VIRTIO_MMIO_H

#include <stdint.h>

struct bus;
struct virtio_device;
struct virtio_mmio;
struct vm;

#define VIRTIO_MMIO_BYTES 0x200u

/* Puts @dev, which is lent, at @base with line @gsi. 0 or -errno. */
int virtio_mmio_create(struct virtio_mmio **out, struct virtio_device *dev, struct bus *mmio,
		       struct vm *vm, uint64_t base, uint32_t gsi);

/* Accepts NULL. */
void virtio_mmio_destroy(struct virtio_mmio *vt);

/* state.h */
struct state;
void virtio_mmio_carry(struct virtio_mmio *vt, struct state *s);

#endif
