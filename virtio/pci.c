// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio over PCI, modern devices only.
 *
 * BAR 0 has a page for each structure: common configuration, ISR, device
 * configuration. BAR 1 is MSI-X. Registers are accessed in their own width, as
 * drivers must; other accesses read zero and are ignored. BAR 2 is for kicks, in
 * I/O space, because KVM need not decode an instruction to find out what was written
 * to a port (1 500 instructions of 39 600 for a request, on AMD). A kick signals an
 * ioeventfd, registered wherever the BAR is, and never reaches this file. If KVM refused
 * the ioeventfd (the BAR overlaps something), virtio_pci_notify_write() serves the kick.
 *
 * Register accesses run on vCPU threads under the device's lock; interrupts are
 * raised by the loop. Vectors, which both need, are atomic; the ISR has a lock.
 *
 * Source: virtio 1.2 §4.1.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kvm.h"
#include "pci.h"
#include "state.h"
#include "util.h"
#include "virtio/device.h"
#include "virtio/pci.h"

#define VENDOR_VIRTIO 0x1af4
#define DEVICE_BASE   0x1040 /* + device id */

#define REGISTERS_BAR 0u
#define MSIX_BAR      1u
#define PAGE	      0x1000u
#define COMMON_PAGE   0x0000u
#define ISR_PAGE      0x1000u
#define CONFIG_PAGE   0x2000u
#define BAR_BYTES     0x4000u
#define NOTIFY_BAR    2u
#define NOTIFY_STRIDE 4ul
#define NOTIFY_BYTES  128u /* NOTIFY_STRIDE * VIRTIO_MAX_QUEUES */

#define ISR_QUEUE  1u
#define ISR_CONFIG 2u

struct virtio_pci {
	struct pci_function fn; /* first: the bus hands it back to us */
	struct virtio_device *dev;
	struct vm *vm;
	uint64_t ioeventfds_at; /* the port of BAR 2 that KVM knows; 0: none */

	/* What the guest can observe. */
	uint32_t offered_select, requested_select;
	uint16_t queue_select;
	_Atomic uint16_t config_vector;
	_Atomic uint16_t queue_vectors[VIRTIO_MAX_QUEUES];
	pthread_mutex_t isr_lock;
	uint8_t isr;
	uint8_t cfg_cap; /* where the PCI configuration access capability is */
};

/* ---- interrupts, on the loop's thread ---- */

static void virtio_pci_raise(struct virtio_pci *vp, uint16_t vector, uint8_t isr)
{
	if (pci_raise_msix(&vp->fn, vector))
		return;
	pthread_mutex_lock(&vp->isr_lock);
	vp->isr |= isr;
	pci_set_intx(&vp->fn, true);
	pthread_mutex_unlock(&vp->isr_lock);
}

static void virtio_pci_notify_queue(void *transport, unsigned int queue)
{
	struct virtio_pci *vp = transport;

	virtio_pci_raise(vp, vp->queue_vectors[queue], ISR_QUEUE);
}

static void virtio_pci_notify_config(void *transport)
{
	struct virtio_pci *vp = transport;

	virtio_pci_raise(vp, vp->config_vector, ISR_CONFIG);
}

static int virtio_pci_irq_fd(void *transport, unsigned int queue)
{
	struct virtio_pci *vp = transport;

	return pci_msix_fd(&vp->fn, vp->queue_vectors[queue]);
}

static const struct virtio_transport_ops transport_ops = {
	.irq_fd = virtio_pci_irq_fd,
	.notify_queue = virtio_pci_notify_queue,
	.notify_config = virtio_pci_notify_config,
};

/* Reading it acknowledges the interrupt (§4.1.4.5). */
static uint8_t read_isr(struct virtio_pci *vp)
{
	uint8_t isr;

	pthread_mutex_lock(&vp->isr_lock);
	isr = vp->isr;
	vp->isr = 0;
	pci_set_intx(&vp->fn, false);
	pthread_mutex_unlock(&vp->isr_lock);
	return isr;
}

/* ---- common configuration ---- */

/* Halves of a 64-bit address register. */
static uint32_t half(uint64_t v, bool high)
{
	return (uint32_t)(high ? v >> 32 : v);
}

static void set_half(uint64_t *v, uint32_t bits, bool high)
{
	*v = high ? (*v & 0xffffffffull) | (uint64_t)bits << 32 : (*v & ~0xffffffffull) | bits;
}

static gpa_t *address_register(struct virtio_queue *q, uint64_t offset)
{
	switch (offset & ~4ull) {
	case VIRTIO_PCI_COMMON_Q_DESCLO:
		return &q->setup.desc;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
		return &q->setup.avail;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
		return &q->setup.used;
	default:
		return NULL;
	}
}

static uint32_t read_queue_register(struct virtio_pci *vp, uint64_t offset)
{
	struct virtio_queue *q = virtio_get_queue(vp->dev, vp->queue_select);
	const gpa_t *address;

	if (!q)
		return 0; /* a size of 0 says that there is no such queue */
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return q->setup.size;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		return vp->queue_vectors[vp->queue_select];
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return q->ready;
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return vp->queue_select;
	default:
		address = address_register(q, offset);
		return address ? half(*address, offset & 4) : 0;
	}
}

static uint32_t read_common(struct virtio_pci *vp, uint64_t offset)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		return vp->offered_select;
	case VIRTIO_PCI_COMMON_DF:
		return virtio_get_offered(vp->dev, vp->offered_select);
	case VIRTIO_PCI_COMMON_GFSELECT:
		return vp->requested_select;
	case VIRTIO_PCI_COMMON_GF:
		return virtio_get_requested(vp->dev, vp->requested_select);
	case VIRTIO_PCI_COMMON_MSIX:
		return vp->config_vector;
	case VIRTIO_PCI_COMMON_NUMQ:
		return vp->dev->nr_queues;
	case VIRTIO_PCI_COMMON_STATUS:
		return virtio_get_status(vp->dev);
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return virtio_get_generation(vp->dev) & 0xff;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		return vp->queue_select;
	default:
		return read_queue_register(vp, offset);
	}
}

/* A vector that does not exist becomes "no vector", which the driver reads back (§4.1.5.1.2). */
static uint16_t check_vector(const struct virtio_pci *vp, uint32_t vector)
{
	return vector < vp->fn.msix.nr_vectors ? (uint16_t)vector : VIRTIO_MSI_NO_VECTOR;
}

static void virtio_pci_write_queue_register(struct virtio_pci *vp, uint64_t offset, uint32_t value)
{
	struct virtio_queue *q = virtio_get_queue(vp->dev, vp->queue_select);
	gpa_t *address;

	if (!q)
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_MSIX:
		vp->queue_vectors[vp->queue_select] = check_vector(vp, value);
		return;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (value == 1)
			virtio_enable_queue(vp->dev, vp->queue_select);
		return;
	default:
		break;
	}
	if (q->ready)
		return; /* its size and place are final */
	address = address_register(q, offset);
	if (address)
		set_half(address, value, offset & 4);
	else if (offset == VIRTIO_PCI_COMMON_Q_SIZE)
		q->setup.size = (uint16_t)value;
}

static void forget_vectors(struct virtio_pci *vp)
{
	vp->config_vector = VIRTIO_MSI_NO_VECTOR;
	for (unsigned int i = 0; i < VIRTIO_MAX_QUEUES; i++)
		vp->queue_vectors[i] = VIRTIO_MSI_NO_VECTOR;
}

static void write_common(struct virtio_pci *vp, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		vp->offered_select = value;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		vp->requested_select = value;
		break;
	case VIRTIO_PCI_COMMON_GF:
		virtio_request_features(vp->dev, vp->requested_select, value);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		vp->config_vector = check_vector(vp, value);
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		virtio_set_status(vp->dev, (uint8_t)value);
		if (!value) {
			forget_vectors(vp);
			read_isr(vp);
		}
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		vp->queue_select = (uint16_t)value;
		break;
	default:
		virtio_pci_write_queue_register(vp, offset, value);
	}
}

/* Bytes of the register at @offset, 0 if none begins there (§4.1.4.3). */
static unsigned int register_bytes(uint64_t offset)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_STATUS:
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return 1;
	case VIRTIO_PCI_COMMON_MSIX:
	case VIRTIO_PCI_COMMON_NUMQ:
	case VIRTIO_PCI_COMMON_Q_SELECT:
	case VIRTIO_PCI_COMMON_Q_SIZE:
	case VIRTIO_PCI_COMMON_Q_MSIX:
	case VIRTIO_PCI_COMMON_Q_ENABLE:
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return 2;
	default:
		return offset % 4 || offset > VIRTIO_PCI_COMMON_Q_USEDHI ? 0 : 4;
	}
}

/* ---- BAR 0 ---- */

static uint64_t virtio_pci_bar_read(void *dev, uint64_t offset, unsigned int size)
{
	struct virtio_pci *vp = dev;
	uint64_t value = 0, at = offset % PAGE;

	switch (offset - at) {
	case COMMON_PAGE:
		if (register_bytes(at) != size)
			return 0;
		virtio_lock(vp->dev);
		value = read_common(vp, at);
		virtio_unlock(vp->dev);
		return value;
	case ISR_PAGE:
		return at == 0 ? read_isr(vp) : 0;
	case CONFIG_PAGE:
		virtio_read_config(vp->dev, at, &value, size);
		return value;
	default:
		return 0;
	}
}

static void virtio_pci_bar_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct virtio_pci *vp = dev;
	uint64_t at = offset % PAGE;

	switch (offset - at) {
	case COMMON_PAGE:
		if (register_bytes(at) != size)
			return;
		virtio_lock(vp->dev);
		write_common(vp, at, (uint32_t)value);
		virtio_unlock(vp->dev);
		return;
	default:
		return; /* no device has a configuration that drivers write */
	}
}

static const struct bus_ops bar_ops = {
	.read = virtio_pci_bar_read,
	.write = virtio_pci_bar_write,
};

static uint64_t virtio_pci_notify_read(void *dev, uint64_t offset, unsigned int size)
{
	(void)dev;
	(void)offset;
	(void)size;
	return 0;
}

static void virtio_pci_notify_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct virtio_pci *vp = dev;

	(void)value; /* the queue's number, which the port says as well */
	(void)size;
	if (offset % NOTIFY_STRIDE == 0)
		virtio_kick(vp->dev, (uint32_t)(offset / NOTIFY_STRIDE));
}

static const struct bus_ops notify_ops = {
	.read = virtio_pci_notify_read,
	.write = virtio_pci_notify_write,
};

/* ---- ioeventfds follow the BAR ---- */

static struct vm_ioeventfd virtio_pci_ioeventfd_of(const struct virtio_pci *vp, unsigned int queue)
{
	return (struct vm_ioeventfd){
		.fd = vp->dev->queues[queue].kick_fd,
		.pio = true,
		.addr = vp->ioeventfds_at + (uint64_t)queue * NOTIFY_STRIDE,
	};
}

static void remove_ioeventfds(struct virtio_pci *vp)
{
	for (unsigned int i = 0; i < vp->dev->nr_queues && vp->ioeventfds_at; i++) {
		struct vm_ioeventfd e = virtio_pci_ioeventfd_of(vp, i);

		vm_ioeventfd_remove(vp->vm, &e);
	}
	vp->ioeventfds_at = 0;
}

static void virtio_pci_moved(struct pci_function *fn, unsigned int bar, uint64_t addr)
{
	struct virtio_pci *vp = (struct virtio_pci *)fn;

	if (bar != NOTIFY_BAR || !vp->vm)
		return;
	remove_ioeventfds(vp);
	if (!addr)
		return;
	vp->ioeventfds_at = addr;
	/* One that KVM refuses is served by virtio_pci_notify_write(), only slower. */
	for (unsigned int i = 0; i < vp->dev->nr_queues; i++) {
		struct vm_ioeventfd e = virtio_pci_ioeventfd_of(vp, i);

		vm_ioeventfd_add(vp->vm, &e);
	}
}

/* ---- registers through configuration space (§4.1.4.9) ---- */

/* What the window shows now; false if the driver has set it to something invalid. */
static bool window(struct virtio_pci *vp, uint8_t *bar, uint32_t *offset, uint32_t *len)
{
	struct virtio_pci_cap cap;

	pthread_mutex_lock(&vp->fn.pci->lock);
	memcpy(&cap, vp->fn.config + vp->cfg_cap, sizeof(cap));
	pthread_mutex_unlock(&vp->fn.pci->lock);
	*bar = cap.bar;
	*offset = cap.offset;
	*len = cap.length;
	if ((*len != 1 && *len != 2 && *len != 4) || *offset % *len)
		return false;
	return (*bar == REGISTERS_BAR && range_within(*offset, *len, BAR_BYTES)) ||
	       (*bar == NOTIFY_BAR && range_within(*offset, *len, NOTIFY_BYTES));
}

static bool in_window(const struct virtio_pci *vp, uint32_t reg)
{
	return reg == vp->cfg_cap + sizeof(struct virtio_pci_cap);
}

static bool virtio_pci_config_read(struct pci_function *fn, uint32_t reg, uint32_t *value,
				   unsigned int size)
{
	struct virtio_pci *vp = (struct virtio_pci *)fn;
	uint32_t offset, len;
	uint8_t bar;

	(void)size;
	if (!in_window(vp, reg))
		return false;
	*value = 0;
	if (window(vp, &bar, &offset, &len) && bar == REGISTERS_BAR)
		*value = (uint32_t)virtio_pci_bar_read(vp, offset, len);
	return true;
}

static bool virtio_pci_config_write(struct pci_function *fn, uint32_t reg, uint32_t value,
				    unsigned int size)
{
	struct virtio_pci *vp = (struct virtio_pci *)fn;
	uint32_t offset, len;
	uint8_t bar;

	if (!in_window(vp, reg))
		return false;
	if (!window(vp, &bar, &offset, &len) || len > size)
		return true;
	if (len < 4)
		value &= (1u << 8 * len) - 1;
	if (bar == NOTIFY_BAR)
		virtio_pci_notify_write(vp, offset, value, len);
	else
		virtio_pci_bar_write(vp, offset, value, len);
	return true;
}

static void virtio_pci_vectors_changed(struct pci_function *fn)
{
	virtio_irqs_changed(((struct virtio_pci *)fn)->dev);
}

static const struct pci_function_ops function_ops = {
	.vectors_changed = virtio_pci_vectors_changed,
	.moved = virtio_pci_moved,
	.read = virtio_pci_config_read,
	.write = virtio_pci_config_write,
};

/* ---- setting up ---- */

static uint8_t add_structure(struct virtio_pci *vp, uint8_t type, uint8_t bar, uint32_t offset,
			     uint32_t bytes, uint8_t cap_bytes)
{
	struct virtio_pci_notify_cap cap = {
		.cap = {
			.cap_len = cap_bytes,
			.cfg_type = type,
			.bar = bar,
			.offset = offset,
			.length = bytes,
		},
		.notify_off_multiplier = NOTIFY_STRIDE,
	};

	return pci_add_capability(&vp->fn, PCI_CAP_ID_VNDR, &cap, cap_bytes);
}

static void add_structures(struct virtio_pci *vp)
{
	const uint8_t plain = sizeof(struct virtio_pci_cap), longer = plain + 4;
	uint8_t *writable;

	add_structure(vp, VIRTIO_PCI_CAP_COMMON_CFG, REGISTERS_BAR, COMMON_PAGE, PAGE, plain);
	add_structure(vp, VIRTIO_PCI_CAP_ISR_CFG, REGISTERS_BAR, ISR_PAGE, PAGE, plain);
	/* Linux walks this list a dozen times per device, two exits a step: no empty entry. */
	if (vp->dev->config_bytes)
		add_structure(vp, VIRTIO_PCI_CAP_DEVICE_CFG, REGISTERS_BAR, CONFIG_PAGE, PAGE, plain);
	add_structure(vp, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY_BAR, 0, NOTIFY_BYTES, longer);
	vp->cfg_cap = add_structure(vp, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 0, longer);
	writable = vp->fn.writable + vp->cfg_cap;
	writable[offsetof(struct virtio_pci_cap, bar)] = 0xff;
	put_le32(writable + offsetof(struct virtio_pci_cap, offset), ~0u);
	put_le32(writable + offsetof(struct virtio_pci_cap, length), ~0u);
}

int virtio_pci_create(struct virtio_pci **out, struct virtio_device *dev, struct pci *pci,
		      struct vm *vm)
{
	struct virtio_pci *vp = calloc(1, sizeof(*vp));
	const struct pci_ids ids = {
		.vendor = VENDOR_VIRTIO,
		.device = (uint16_t)(DEVICE_BASE + dev->ops->id),
		.subsystem_vendor = VENDOR_VIRTIO,
		.subsystem = (uint16_t)(DEVICE_BASE + dev->ops->id),
		.class = dev->ops->pci_class,
		.revision = 1,
	};
	int rc;

	if (!vp)
		return -ENOMEM;
	vp->dev = dev;
	vp->vm = vm;
	pthread_mutex_init(&vp->isr_lock, NULL);
	forget_vectors(vp);
	pci_function_init(&vp->fn, &function_ops, &ids);
	pci_add_bar(&vp->fn, REGISTERS_BAR,
		    &(struct pci_bar){
			    .bytes = BAR_BYTES,
			    .ops = &bar_ops,
			    .dev = vp,
		    });
	pci_add_bar(&vp->fn, NOTIFY_BAR,
		    &(struct pci_bar){
			    .bytes = NOTIFY_BYTES,
			    .pio = true,
			    .ops = &notify_ops,
			    .dev = vp,
		    });
	add_structures(vp);
	rc = pci_add_msix(&vp->fn, dev->nr_queues + 1, MSIX_BAR);
	if (!rc)
		rc = pci_attach(pci, &vp->fn);
	if (rc) {
		virtio_pci_destroy(vp);
		return rc;
	}
	virtio_attach(dev, &transport_ops, vp);
	*out = vp;
	return 0;
}

static void vector_carry(struct virtio_pci *vp, struct state *s, _Atomic uint16_t *vector)
{
	uint16_t v = atomic_load(vector);

	state_u16(s, &v);
	if (v != VIRTIO_MSI_NO_VECTOR && v >= vp->fn.msix.nr_vectors)
		state_refuse(s, "a vector that it has not");
	else if (state_loads(s))
		atomic_store(vector, v);
}

void virtio_pci_carry(struct virtio_pci *vp, struct state *s)
{
	state_section(s, "virtio-pci", vp->fn.slot);
	state_u32(s, &vp->offered_select);
	state_u32(s, &vp->requested_select);
	state_u16(s, &vp->queue_select);
	vector_carry(vp, s, &vp->config_vector);
	for (unsigned int i = 0; i < VIRTIO_MAX_QUEUES; i++)
		vector_carry(vp, s, &vp->queue_vectors[i]);
	state_u8(s, &vp->isr);
	if (vp->isr & ~(ISR_QUEUE | ISR_CONFIG)) {
		state_refuse(s, "an interrupt status that it cannot have");
		vp->isr = 0;
	}
	if (state_loads(s) && vp->isr)
		pci_set_intx(&vp->fn, true);
}

void virtio_pci_destroy(struct virtio_pci *vp)
{
	if (!vp)
		return;
	pci_function_fini(&vp->fn);
	pthread_mutex_destroy(&vp->isr_lock);
	free(vp);
}
