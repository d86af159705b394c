/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An interrupt source of a device: an eventfd that KVM turns into an interrupt
 * (irqfd), so that raising one is a single write from any thread.
 */
#ifndef LKVM_IRQ_H
#define LKVM_IRQ_H

#include <stdint.h>

struct vm;

struct irq {
	struct vm *vm; /* NULL: the source raises nothing (unit tests count the eventfd) */
	int fd;	       /* -1 when absent */
	uint32_t gsi;
};

/* An edge-triggered line. 0 or -errno. */
int irq_line_init(struct irq *irq, struct vm *vm, uint32_t gsi);
void irq_fini(struct irq *irq);

/* One edge. Any thread; never blocks. */
void irq_raise(struct irq *irq);

#endif
