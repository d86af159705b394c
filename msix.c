// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSI-X: the table in a BAR, masks, pending bits, and the way to KVM.
 *
 * Each vector owns one GSI, whose message KVM is told when the vector is first
 * usable and whenever it has changed; so a guest may rewrite vectors as often as
 * it likes. Raising is a write to the vector's irqfd. A lock per function orders
 * table writes (vCPU threads) and raising (the loop).
 *
 * Source: PCI Local Bus 3.0 §6.8.2.
 */
#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "event.h"
#include "kvm.h"
#include "log.h"
#include "msix.h"
#include "pci.h"
#include "state.h"
#include "util.h"

#define MSIX_BAR_BYTES 4096u
#define PBA_OFFSET     2048u
#define MAX_VECTORS    64u /* what fits into one word of pending bits */
#define CONTROL_MASKED 1u

static struct msix_vector *vector_of(struct pci_msix *msix, uint64_t offset)
{
	uint64_t i = offset / PCI_MSIX_ENTRY_SIZE;

	return i < msix->nr_vectors ? &msix->vectors[i] : NULL;
}

static bool can_fire(const struct pci_msix *msix, const struct msix_vector *v)
{
	return msix->enabled && !msix->masked && !(v->table[3] & CONTROL_MASKED);
}

/* Tells KVM the vector's message. False if there is no way to deliver it. */
static bool connect(struct pci_function *fn, struct msix_vector *v)
{
	struct vm *vm = fn->pci->vm;
	int rc = 0;

	if (!vm)
		return true; /* unit tests count what is written to irq_fd */
	if (vm_msi_set(vm, v->gsi, (uint64_t)v->table[1] << 32 | v->table[0], v->table[2])) {
		log_guest(&fn->log_limit, "pci 00:%02x.0: KVM refuses the message %#x at %#x",
			  fn->slot, v->table[2], v->table[0]);
		return false;
	}
	if (v->irq_fd >= 0)
		return true;
	v->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->irq_fd >= 0)
		rc = vm_irqfd_add(vm, v->irq_fd, (uint32_t)v->gsi);
	if (v->irq_fd >= 0 && rc) {
		close(v->irq_fd);
		v->irq_fd = -1;
	}
	return v->irq_fd >= 0;
}

/* Something about @v may have changed. Under the lock. */
static void update_vector(struct pci_function *fn, struct msix_vector *v)
{
	struct pci_msix *msix = &fn->msix;
	uint64_t bit = 1ull << (v - msix->vectors);

	if (!can_fire(msix, v) || !connect(fn, v))
		return;
	if (msix->pending & bit) {
		msix->pending &= ~bit;
		eventfd_signal(v->irq_fd);
	}
}

static void tell_function(struct pci_function *fn)
{
	if (fn->ops->vectors_changed)
		fn->ops->vectors_changed(fn);
}

void msix_update_control(struct pci_function *fn, uint16_t control)
{
	struct pci_msix *msix = &fn->msix;
	bool enabled = control & PCI_MSIX_FLAGS_ENABLE, masked = control & PCI_MSIX_FLAGS_MASKALL;

	pthread_mutex_lock(&msix->lock);
	if (enabled != msix->enabled || masked != msix->masked) {
		msix->enabled = enabled;
		msix->masked = masked;
		for (unsigned int i = 0; i < msix->nr_vectors; i++)
			update_vector(fn, &msix->vectors[i]);
	}
	pthread_mutex_unlock(&msix->lock);
	tell_function(fn);
}

int pci_msix_fd(struct pci_function *fn, unsigned int vector)
{
	struct pci_msix *msix = &fn->msix;
	int fd = -1;

	pthread_mutex_lock(&msix->lock);
	if (vector < msix->nr_vectors && can_fire(msix, &msix->vectors[vector]))
		fd = msix->vectors[vector].irq_fd;
	pthread_mutex_unlock(&msix->lock);
	return fd;
}

bool pci_raise_msix(struct pci_function *fn, unsigned int vector)
{
	struct pci_msix *msix = &fn->msix;
	bool enabled;

	pthread_mutex_lock(&msix->lock);
	enabled = msix->enabled;
	if (enabled && vector < msix->nr_vectors) {
		if (can_fire(msix, &msix->vectors[vector]) && msix->vectors[vector].irq_fd >= 0)
			eventfd_signal(msix->vectors[vector].irq_fd);
		else
			msix->pending |= 1ull << vector;
	}
	pthread_mutex_unlock(&msix->lock);
	return enabled;
}

/* Aligned accesses of 4 and 8 bytes exist (PCI 3.0 §6.8.2); others read as zero. */
static uint64_t table_read(void *dev, uint64_t offset, unsigned int size)
{
	struct pci_function *fn = dev;
	const struct msix_vector *v = vector_of(&fn->msix, offset);
	uint64_t value = 0;

	if (size < 4 || offset % size)
		return 0;
	pthread_mutex_lock(&fn->msix.lock);
	if (v)
		memcpy(&value, (const uint8_t *)v->table + offset % PCI_MSIX_ENTRY_SIZE, size);
	else if (offset >= PBA_OFFSET && offset + size <= PBA_OFFSET + 8)
		value = fn->msix.pending >> 8 * (offset - PBA_OFFSET);
	pthread_mutex_unlock(&fn->msix.lock);
	return value;
}

static void table_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pci_function *fn = dev;
	struct msix_vector *v = vector_of(&fn->msix, offset);

	if (size < 4 || offset % size || !v)
		return;
	pthread_mutex_lock(&fn->msix.lock);
	memcpy((uint8_t *)v->table + offset % PCI_MSIX_ENTRY_SIZE, &value, size);
	update_vector(fn, v);
	pthread_mutex_unlock(&fn->msix.lock);
	tell_function(fn);
}

static const struct bus_ops table_ops = { .read = table_read, .write = table_write };

int pci_add_msix(struct pci_function *fn, unsigned int nr_vectors, unsigned int bar)
{
	struct pci_msix *msix = &fn->msix;
	uint8_t cap[PCI_CAP_MSIX_SIZEOF] = { 0 };

	assert(nr_vectors && nr_vectors <= MAX_VECTORS);
	msix->vectors = calloc(nr_vectors, sizeof(*msix->vectors));
	if (!msix->vectors)
		return -ENOMEM;
	msix->nr_vectors = nr_vectors;
	for (unsigned int i = 0; i < nr_vectors; i++) {
		msix->vectors[i].irq_fd = -1;
		msix->vectors[i].gsi = -1;
		msix->vectors[i].table[3] = CONTROL_MASKED;
	}
	pci_add_bar(fn, bar, &(struct pci_bar){
				     .bytes = MSIX_BAR_BYTES,
				     .ops = &table_ops,
				     .dev = fn,
			     });
	put_le16(cap + PCI_MSIX_FLAGS, (uint16_t)(nr_vectors - 1));
	put_le32(cap + PCI_MSIX_TABLE, bar);
	put_le32(cap + PCI_MSIX_PBA, PBA_OFFSET | bar);
	msix->cap = pci_add_capability(fn, PCI_CAP_ID_MSIX, cap, sizeof(cap));
	put_le16(fn->writable + msix->cap + PCI_MSIX_FLAGS,
		 PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	return 0;
}

int msix_attach(struct pci_function *fn)
{
	struct pci_msix *msix = &fn->msix;

	for (unsigned int i = 0; i < msix->nr_vectors && fn->pci->vm; i++) {
		msix->vectors[i].gsi = vm_msi_alloc(fn->pci->vm);
		if (msix->vectors[i].gsi < 0)
			return -ENOSPC;
	}
	return 0;
}

void msix_carry(struct pci_function *fn, struct state *s)
{
	struct pci_msix *msix = &fn->msix;

	pthread_mutex_lock(&msix->lock);
	for (unsigned int i = 0; i < msix->nr_vectors; i++)
		state_raw(s, msix->vectors[i].table, sizeof(msix->vectors[i].table));
	state_u64(s, &msix->pending);
	if (state_loads(s) && msix->nr_vectors < 64 && msix->pending >> msix->nr_vectors) {
		state_refuse(s, "a vector that it has not is pending");
		msix->pending = 0;
	}
	pthread_mutex_unlock(&msix->lock);
}

void msix_fini(struct pci_function *fn)
{
	struct pci_msix *msix = &fn->msix;

	for (unsigned int i = 0; i < msix->nr_vectors; i++) {
		struct msix_vector *v = &msix->vectors[i];

		if (v->irq_fd < 0)
			continue;
		if (fn->pci && fn->pci->vm)
			vm_irqfd_remove(fn->pci->vm, v->irq_fd, (uint32_t)v->gsi);
		close(v->irq_fd);
	}
	free(msix->vectors);
	msix->vectors = NULL;
	msix->nr_vectors = 0;
}
