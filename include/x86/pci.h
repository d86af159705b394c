/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * PCI: one bus behind a host bridge, configured through ports 0xcf8/0xcfc and
 * through memory (ECAM).
 */
#ifndef LKVM_X86_PCI_H
#define LKVM_X86_PCI_H

#include <pthread.h>
#include <stdint.h>

struct bus;

#define PCI_CONFIG_BYTES 256u

/* What the guest can observe. */
struct pci_state {
	uint32_t address;	/* port 0xcf8 */
	uint8_t bridge_config[PCI_CONFIG_BYTES];	/* 00:00.0, read-only */
};

struct pci {
	pthread_mutex_t lock;
	struct pci_state state;
};

/* 0 or -errno. */
int pci_init(struct pci *pci, struct bus *pio, struct bus *mmio);
void pci_fini(struct pci *pci);

#endif
