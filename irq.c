// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupt sources of devices.
 *
 * Owned by the device that raises it. The line's eventfd is bound to a GSI with
 * KVM_IRQFD (api.rst 4.75); KVM pulses the line on each write, which is what an
 * edge-triggered input of the I/O APIC or the 8259 wants.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "event.h"
#include "irq.h"
#include "kvm.h"

int irq_line_init(struct irq *irq, struct vm *vm, uint32_t gsi)
{
	int rc;

	*irq = (struct irq){ .vm = vm, .fd = -1, .gsi = gsi };
	irq->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (irq->fd < 0)
		return -errno;
	if (!vm)
		return 0;
	rc = vm_irqfd_add(vm, irq->fd, gsi);
	if (rc) {
		close(irq->fd);
		irq->fd = -1;
	}
	return rc;
}

void irq_fini(struct irq *irq)
{
	if (irq->fd < 0)
		return;
	if (irq->vm)
		vm_irqfd_remove(irq->vm, irq->fd, irq->gsi);
	close(irq->fd);
	irq->fd = -1;
}

void irq_raise(struct irq *irq)
{
	eventfd_signal(irq->fd);
}
