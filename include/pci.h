/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * PCI: one bus behind a host bridge, configured through ports 0xcf8/0xcfc and
 * through memory (ECAM), and the functions on it: BARs, capabilities, MSI-X, INTx.
 *
 * A function is set up by its owner on the main thread (pci_function_init, pci_add_*,
 * then pci_attach). After that its configuration space belongs to vCPU threads,
 * under the lock of the bus; interrupts may be raised by any thread.
 */
#ifndef LKVM_PCI_H
#define LKVM_PCI_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "log.h"

struct state;
struct vm;

#define PCI_CONFIG_BYTES 256u
#define PCI_NR_BARS	 6u

struct pci;
struct pci_function;

struct pci_function_ops {
	/*
	 * BAR @bar can now be reached at @addr; 0: it cannot. Called with the lock of
	 * the bus held.
	 */
	void (*moved)(struct pci_function *fn, unsigned int bar, uint64_t addr);
	/*
	 * Registers in configuration space that are more than memory. True if @reg
	 * is one; without the lock of the bus. May be NULL.
	 */
	bool (*read)(struct pci_function *fn, uint32_t reg, uint32_t *value, unsigned int size);
	bool (*write)(struct pci_function *fn, uint32_t reg, uint32_t value, unsigned int size);
	/* pci_msix_fd() may say something else now. On a vCPU's thread; may be NULL. */
	void (*vectors_changed)(struct pci_function *fn);
};

/* What identifies a function (PCI 3.0 §6.2.1). */
struct pci_ids {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class; /* base class, subclass, interface */
	uint8_t revision;
};

struct pci_bar {
	uint32_t bytes; /* a power of two; 0: there is none */
	bool pio;
	const struct bus_ops *ops;
	void *dev;
	uint64_t mapped_at; /* 0: not */
};

struct msix_vector {
	uint32_t table[4]; /* address low, high, data, control: as the guest wrote it */
	int irq_fd;	   /* -1 until KVM knows the message */
	int gsi;
};

struct pci_msix {
	pthread_mutex_t lock; /* what the table says and who is masked */
	unsigned int nr_vectors;
	struct msix_vector *vectors;
	uint64_t pending;     /* one bit per vector */
	bool enabled, masked; /* from the capability */
	uint8_t cap;	      /* where it is; 0: no MSI-X */
};

struct pci_function {
	const struct pci_function_ops *ops;
	struct pci *pci; /* NULL until attached */
	unsigned int slot;
	uint8_t config[PCI_CONFIG_BYTES];
	uint8_t writable[PCI_CONFIG_BYTES]; /* bits that the guest may change */
	uint8_t caps_end;
	struct pci_bar bars[PCI_NR_BARS];
	struct pci_msix msix;
	bool intx_wanted;   /* by the device; under intx_lock, as the next two */
	bool intx_disabled; /* by the guest */
	bool intx_asserted; /* the level of its pin */
	struct log_limit log_limit;
};

#define PCI_SLOTS      32u
#define PCI_INTX_LINES 8u

/* Where the bus can be reached, and where it puts what is on it. */
struct pci_places {
	uint64_t ports;				 /* eight: address, data */
	uint64_t ecam, ecam_bytes;		 /* configuration space in memory */
	uint32_t window, window_slot_bytes;	 /* memory BARs: the start, and the part of each slot */
	uint32_t ports_window, ports_slot_bytes; /* BARs of ports */
	uint32_t first_gsi;			 /* of PCI_INTX_LINES; slots share them by their number */
};

struct pci {
	pthread_mutex_t lock;		 /* configuration space and where BARs are */
	uint32_t address;		 /* port 0xcf8 */
	const struct pci_places *places; /* lent */
	struct vm *vm;			 /* NULL in unit tests: no interrupts */
	struct bus *pio, *mmio;
	struct pci_function bridge; /* 00:00.0 */
	struct pci_function *slots[PCI_SLOTS];
	pthread_mutex_t intx_lock;
	unsigned int intx_levels[PCI_INTX_LINES]; /* functions that hold the line */
	atomic_bool was_scanned;		  /* the guest has looked at a function of ours */
	atomic_bool ecam_was_read;		  /* whose address only ACPI tells */
};

/* All but @pci is lent. 0 or -errno. */
int pci_init(struct pci *pci, const struct pci_places *places, struct vm *vm, struct bus *pio,
	     struct bus *mmio);
void pci_fini(struct pci *pci);

/*
 * state.h: the bus and all functions on it, which have to be the same ones. What is loaded is then
 * acted on as if the guest had written it: BARs, MSI-X. Main thread, before vCPUs run.
 */
void pci_carry(struct pci *pci, struct state *s);

void pci_function_init(struct pci_function *fn, const struct pci_function_ops *ops,
		       const struct pci_ids *ids);
void pci_add_bar(struct pci_function *fn, unsigned int index, const struct pci_bar *bar);

/* Appends a capability of @len bytes (header included). Returns where it is. */
uint8_t pci_add_capability(struct pci_function *fn, uint8_t id, const void *cap, uint8_t len);

/* MSI-X with its table and pending bits in a BAR of its own. 0 or -errno. */
int pci_add_msix(struct pci_function *fn, unsigned int nr_vectors, unsigned int bar);

/*
 * Puts the function into the next free slot and places its BARs, as firmware would.
 * 0, or -ENOSPC if the bus is full.
 */
int pci_attach(struct pci *pci, struct pci_function *fn);

/* Takes it away and frees what pci_add_*() made. Accepts one that was never attached. */
void pci_function_fini(struct pci_function *fn);

/* Raises a vector if MSI-X is on; false if it is off: then INTx is the way. */
bool pci_raise_msix(struct pci_function *fn, unsigned int vector);

/* The eventfd that fires a vector as things stand; -1 if it is masked or MSI-X is off. */
int pci_msix_fd(struct pci_function *fn, unsigned int vector);

/* Level of INTA#, unless the guest has disabled it. */
void pci_set_intx(struct pci_function *fn, bool level);

#endif
