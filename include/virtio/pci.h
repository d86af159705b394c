/* SPDX-License-Identifier: GPL-2.0-only */
/* virtio over PCI: makes a virtio device a PCI function. */
#ifndef LKVM_VIRTIO_PCI_H
#define LKVM_VIRTIO_PCI_H

struct pci;
struct virtio_device;
struct virtio_pci;
struct vm;

/* Puts @dev, which is lent, on the bus. 0 or -errno (-ENOSPC: the bus is full). */
int virtio_pci_create(struct virtio_pci **out, struct virtio_device *dev, struct pci *pci,
		      struct vm *vm);

/* Accepts NULL. */
void virtio_pci_destroy(struct virtio_pci *vp);

/* state.h; after pci_carry(). */
struct state;
void virtio_pci_carry(struct virtio_pci *vp, struct state *s);

#endif
