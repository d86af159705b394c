/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MSI-X of a PCI function: used by pci.c only. Devices raise vectors with
 * pci_raise_msix().
 */
#ifndef LKVM_MSIX_H
#define LKVM_MSIX_H

#include <stdint.h>

struct pci_function;
struct state;

/* Reserves a GSI for each vector, once the function is on a bus. 0 or -ENOSPC. */
int msix_attach(struct pci_function *fn);

/* The control word of the capability was written. vCPU thread. */
void msix_update_control(struct pci_function *fn, uint16_t control);

/* state.h. What is loaded counts from the next msix_update_control() on. */
void msix_carry(struct pci_function *fn, struct state *s);

void msix_fini(struct pci_function *fn);

#endif
