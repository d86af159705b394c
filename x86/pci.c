// SPDX-License-Identifier: GPL-2.0-only
/*
 * PCI host bridge and configuration space.
 *
 * Called on vCPU threads, hence the lock. There is one bus and, so far, one
 * function on it, the bridge 00:00.0; everything else reads as all ones, which
 * is how software learns that nothing is there. The bridge has no BARs and
 * ignores writes.
 *
 * Source: PCI Local Bus 3.0 §3.2.2.3 (ports), §6.1 (header); PCI Firmware 3.3
 * §4.1 and PCI Express 4.0 §7.2.2 (ECAM).
 */
#include <linux/pci_regs.h>
#include <stdbool.h>
#include <string.h>

#include "bus.h"
#include "util.h"
#include "x86/layout.h"
#include "x86/pci.h"

#define ADDRESS_ENABLE		0x80000000u
#define ADDRESS_MASK		0x80fffffcu	/* the bits that can be stored */

/* "Red Hat" and its id for a generic PCI Express host bridge: no driver binds. */
#define BRIDGE_VENDOR		0x1b36
#define BRIDGE_DEVICE		0x0008
#define CLASS_HOST_BRIDGE	0x0600

/* Only bus 0, device 0, function 0 exists; @function is devfn | bus << 8. */
static uint64_t config_read(struct pci *pci, uint32_t function, uint32_t reg, unsigned int size)
{
	uint64_t value = 0;

	if (function != 0)
		return ~0ull;
	if (range_within(reg, size, PCI_CONFIG_BYTES))
		memcpy(&value, pci->state.bridge_config + reg, size);
	return value;	/* extended configuration space: no capabilities, all zero */
}

static uint64_t port_read(void *dev, uint64_t offset, unsigned int size)
{
	struct pci *pci = dev;
	uint64_t value = ~0ull;
	uint32_t address;

	pthread_mutex_lock(&pci->lock);
	address = pci->state.address;
	pthread_mutex_unlock(&pci->lock);
	if (PORT_PCI_ADDRESS + offset >= PORT_PCI_DATA) {
		if (address & ADDRESS_ENABLE)
			value = config_read(pci, address >> 8 & 0xffff,
					    (address & 0xfc) + (uint32_t)(offset & 3), size);
	} else if (offset == 0 && size == 4) {
		value = address;
	}
	return value;
}

static void port_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pci *pci = dev;

	/* Narrower writes to 0xcf8 are not for the bridge (PCI 3.0 §3.2.2.3.2). */
	if (offset != 0 || size != 4)
		return;
	pthread_mutex_lock(&pci->lock);
	pci->state.address = (uint32_t)value & ADDRESS_MASK;
	pthread_mutex_unlock(&pci->lock);
}

static uint64_t ecam_read(void *dev, uint64_t offset, unsigned int size)
{
	return config_read(dev, (uint32_t)(offset >> 12), offset & 0xfff, size);
}

static void ecam_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	(void)dev;
	(void)offset;
	(void)value;
	(void)size;
}

static const struct bus_ops port_ops = { .read = port_read, .write = port_write };
static const struct bus_ops ecam_ops = { .read = ecam_read, .write = ecam_write };

int pci_init(struct pci *pci, struct bus *pio, struct bus *mmio)
{
	uint8_t *config = pci->state.bridge_config;
	int rc;

	memset(pci, 0, sizeof(*pci));
	pthread_mutex_init(&pci->lock, NULL);
	put_le16(config + PCI_VENDOR_ID, BRIDGE_VENDOR);
	put_le16(config + PCI_DEVICE_ID, BRIDGE_DEVICE);
	put_le16(config + PCI_CLASS_DEVICE, CLASS_HOST_BRIDGE);
	rc = bus_add(pio, &(struct bus_region){
		.start = PORT_PCI_ADDRESS, .len = 8, .max_access = 4,
		.ops = &port_ops, .dev = pci, .name = "pci",
	});
	if (rc)
		return rc;
	return bus_add(mmio, &(struct bus_region){
		.start = LAYOUT_ECAM, .len = LAYOUT_ECAM_SIZE, .max_access = 4,
		.ops = &ecam_ops, .dev = pci, .name = "pci-ecam",
	});
}

void pci_fini(struct pci *pci)
{
	pthread_mutex_destroy(&pci->lock);
}
