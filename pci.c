// SPDX-License-Identifier: GPL-2.0-only
/*
 * PCI host bridge, configuration space, BARs, INTx. MSI-X is in msix.c.
 *
 * Called on vCPU threads, hence the lock. There is one bus: slot 0 is the bridge,
 * the others hold one function each. A function's configuration space is bytes and
 * a mask of what the guest may write; BARs and the command register are acted on
 * after each write. What is absent reads as all ones, which is how software
 * learns that nothing is there.
 *
 * Source: PCI Local Bus 3.0 §3.2.2.3 (ports), §6.1 (header), §6.2.5 (BARs); PCI
 * Firmware 3.3 §4.1 and PCI Express 4.0 §7.2.2 (ECAM). Not here: bridges, hotplug,
 * power management, 64-bit BARs.
 */
#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bus.h"
#include "kvm.h"
#include "msix.h"
#include "pci.h"
#include "state.h"
#include "util.h"

#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_MASK   0x80fffffcu /* the bits that can be stored */

/* "Red Hat" and its id for a generic PCI Express host bridge: no driver binds. */
#define BRIDGE_VENDOR	  0x1b36
#define BRIDGE_DEVICE	  0x0008
#define CLASS_HOST_BRIDGE 0x060000

#define DATA_PORT 4u /* of the eight; the address is at 0 */

#define FIRST_CAPABILITY 0x40u
#define COMMAND_WRITABLE (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | \
			  PCI_COMMAND_INTX_DISABLE)

/* ---- BARs ---- */

static uint64_t bar_address(const struct pci_function *fn, unsigned int i)
{
	uint32_t v = get_le32(fn->config + PCI_BASE_ADDRESS_0 + 4ul * i);

	if (fn->bars[i].pio)
		return v & (uint32_t)PCI_BASE_ADDRESS_IO_MASK & 0xffff;
	return v & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK;
}

static void unmap_bar(struct pci_function *fn, unsigned int i)
{
	struct pci_bar *bar = &fn->bars[i];

	if (!bar->mapped_at)
		return;
	fn->ops->moved(fn, i, 0);
	bus_remove(bar->pio ? fn->pci->pio : fn->pci->mmio, bar->mapped_at);
	bar->mapped_at = 0;
}

static void map_bar(struct pci_function *fn, unsigned int i, uint64_t addr)
{
	struct pci_bar *bar = &fn->bars[i];
	int rc = bus_add(bar->pio ? fn->pci->pio : fn->pci->mmio,
			 &(struct bus_region){
				 .start = addr,
				 .len = bar->bytes,
				 .max_access = 8,
				 .ops = bar->ops,
				 .dev = bar->dev,
				 .name = "pci-bar",
			 });

	if (rc) {
		log_guest(&fn->log_limit, "pci 00:%02x.0: BAR %u at %#llx overlaps another device",
			  fn->slot, i, (unsigned long long)addr);
		return;
	}
	bar->mapped_at = addr;
	fn->ops->moved(fn, i, addr);
}

/* Makes the buses agree with the BARs and the command register. */
static void update_mappings(struct pci_function *fn)
{
	uint16_t command = get_le16(fn->config + PCI_COMMAND);

	for (unsigned int i = 0; i < PCI_NR_BARS; i++) {
		const struct pci_bar *bar = &fn->bars[i];
		uint64_t addr = 0;

		if (!bar->bytes)
			continue;
		if (command & (bar->pio ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY))
			addr = bar_address(fn, i);
		if (addr == bar->mapped_at)
			continue;
		unmap_bar(fn, i);
		if (addr)
			map_bar(fn, i, addr);
	}
}

/* ---- INTx ---- */

static uint32_t intx_gsi(const struct pci *pci, unsigned int slot)
{
	return pci->places->first_gsi + slot % PCI_INTX_LINES;
}

/* A line is up as long as any function holds it. Under intx_lock. */
static void update_intx(struct pci_function *fn)
{
	struct pci *pci = fn->pci;
	unsigned int *holders = &pci->intx_levels[fn->slot % PCI_INTX_LINES];
	bool level = fn->intx_wanted && !fn->intx_disabled;

	if (level == fn->intx_asserted)
		return;
	fn->intx_asserted = level;
	if (level)
		++*holders;
	else
		--*holders;
	if (pci->vm && *holders == (level ? 1 : 0))
		vm_set_irq_level(pci->vm, intx_gsi(pci, fn->slot), level);
}

void pci_set_intx(struct pci_function *fn, bool level)
{
	pthread_mutex_lock(&fn->pci->intx_lock);
	fn->intx_wanted = level;
	update_intx(fn);
	pthread_mutex_unlock(&fn->pci->intx_lock);
}

/* ---- configuration space ---- */

static uint64_t config_read(struct pci *pci, uint32_t function, uint32_t reg, unsigned int size)
{
	struct pci_function *fn;
	uint32_t value = 0;

	/* Only bus 0, function 0 of each slot: @function is devfn | bus << 8. */
	if (function >= PCI_SLOTS * 8 || function % 8 || !pci->slots[function / 8])
		return ~0ull;
	fn = pci->slots[function / 8];
	/* Kernels that do without PCI look for a bridge or a graphics card by their ids all the same. */
	if (fn->slot && reg > PCI_DEVICE_ID)
		atomic_store(&pci->was_scanned, true);
	if (fn->ops->read && fn->ops->read(fn, reg, &value, size))
		return value;
	pthread_mutex_lock(&pci->lock);
	if (range_within(reg, size, PCI_CONFIG_BYTES))
		memcpy(&value, fn->config + reg, size);
	pthread_mutex_unlock(&pci->lock);
	return value; /* extended configuration space: no capabilities, all zero */
}

/* Makes everything agree with configuration space. Under the lock. */
static void act_on_config(struct pci_function *fn)
{
	struct pci *pci = fn->pci;

	update_mappings(fn);
	if (fn->msix.cap)
		msix_update_control(fn, get_le16(fn->config + fn->msix.cap + PCI_MSIX_FLAGS));
	pthread_mutex_lock(&pci->intx_lock);
	fn->intx_disabled = get_le16(fn->config + PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE;
	update_intx(fn);
	pthread_mutex_unlock(&pci->intx_lock);
}

static void config_write(struct pci *pci, uint32_t function, uint32_t reg, uint32_t value,
			 unsigned int size)
{
	struct pci_function *fn;

	if (function >= PCI_SLOTS * 8 || function % 8 || !pci->slots[function / 8])
		return;
	fn = pci->slots[function / 8];
	if (!range_within(reg, size, PCI_CONFIG_BYTES))
		return;
	if (fn->ops->write && fn->ops->write(fn, reg, value, size))
		return;
	pthread_mutex_lock(&pci->lock);
	for (unsigned int i = 0; i < size; i++) {
		uint8_t mask = fn->writable[reg + i], byte = (uint8_t)(value >> 8 * i);

		fn->config[reg + i] = (uint8_t)((fn->config[reg + i] & ~mask) | (byte & mask));
	}
	act_on_config(fn);
	pthread_mutex_unlock(&pci->lock);
}

static uint64_t pci_port_read(void *dev, uint64_t offset, unsigned int size)
{
	struct pci *pci = dev;
	uint64_t value = ~0ull;
	uint32_t address;

	pthread_mutex_lock(&pci->lock);
	address = pci->address;
	pthread_mutex_unlock(&pci->lock);
	if (offset >= DATA_PORT) {
		if (address & ADDRESS_ENABLE)
			value = config_read(pci, address >> 8 & 0xffff,
					    (address & 0xfc) + (uint32_t)(offset & 3), size);
	} else if (offset == 0 && size == 4) {
		value = address;
	}
	return value;
}

static void pci_port_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pci *pci = dev;
	uint32_t address;

	if (offset >= DATA_PORT) {
		pthread_mutex_lock(&pci->lock);
		address = pci->address;
		pthread_mutex_unlock(&pci->lock);
		if (address & ADDRESS_ENABLE)
			config_write(pci, address >> 8 & 0xffff,
				     (address & 0xfc) + (uint32_t)(offset & 3), (uint32_t)value,
				     size);
		return;
	}
	/* Narrower writes to 0xcf8 are not for the bridge (PCI 3.0 §3.2.2.3.2). */
	if (offset != 0 || size != 4)
		return;
	pthread_mutex_lock(&pci->lock);
	pci->address = (uint32_t)value & ADDRESS_MASK;
	pthread_mutex_unlock(&pci->lock);
}

static uint64_t ecam_read(void *dev, uint64_t offset, unsigned int size)
{
	struct pci *pci = dev;

	atomic_store(&pci->ecam_was_read, true);
	return config_read(dev, (uint32_t)(offset >> 12), offset & 0xfff, size);
}

static void ecam_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	config_write(dev, (uint32_t)(offset >> 12), offset & 0xfff, (uint32_t)value, size);
}

static const struct bus_ops port_ops = { .read = pci_port_read, .write = pci_port_write };
static const struct bus_ops ecam_ops = { .read = ecam_read, .write = ecam_write };

/* ---- setting up ---- */

void pci_function_init(struct pci_function *fn, const struct pci_function_ops *ops,
		       const struct pci_ids *ids)
{
	memset(fn, 0, sizeof(*fn));
	fn->ops = ops;
	fn->caps_end = FIRST_CAPABILITY;
	pthread_mutex_init(&fn->msix.lock, NULL);
	put_le16(fn->config + PCI_VENDOR_ID, ids->vendor);
	put_le16(fn->config + PCI_DEVICE_ID, ids->device);
	put_le16(fn->config + PCI_SUBSYSTEM_VENDOR_ID, ids->subsystem_vendor);
	put_le16(fn->config + PCI_SUBSYSTEM_ID, ids->subsystem);
	fn->config[PCI_REVISION_ID] = ids->revision;
	fn->config[PCI_CLASS_PROG] = (uint8_t)ids->class;
	put_le16(fn->config + PCI_CLASS_DEVICE, (uint16_t)(ids->class >> 8));
	put_le16(fn->writable + PCI_COMMAND, COMMAND_WRITABLE);
	fn->writable[PCI_CACHE_LINE_SIZE] = fn->writable[PCI_INTERRUPT_LINE] = 0xff;
}

void pci_add_bar(struct pci_function *fn, unsigned int index, const struct pci_bar *bar)
{
	uint8_t *reg = fn->config + PCI_BASE_ADDRESS_0 + 4ul * index;

	assert(index < PCI_NR_BARS && !(bar->bytes & (bar->bytes - 1)));
	fn->bars[index] = *bar;
	fn->bars[index].mapped_at = 0;
	if (bar->pio)
		reg[0] = PCI_BASE_ADDRESS_SPACE_IO;
	put_le32(fn->writable + PCI_BASE_ADDRESS_0 + 4ul * index, ~(bar->bytes - 1));
}

uint8_t pci_add_capability(struct pci_function *fn, uint8_t id, const void *cap, uint8_t len)
{
	uint8_t at = fn->caps_end;
	uint8_t *link = fn->config + PCI_CAPABILITY_LIST;

	assert(range_within(at, len, PCI_CONFIG_BYTES - 4));
	while (*link)
		link = fn->config + *link + PCI_CAP_LIST_NEXT;
	*link = at;
	memcpy(fn->config + at, cap, len);
	fn->config[at] = id;
	fn->config[at + PCI_CAP_LIST_NEXT] = 0;
	fn->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	fn->caps_end = (uint8_t)align_up(at + len, 4);
	return at;
}

/* The BARs of a slot share its part of each window. */
static void place_bars(struct pci_function *fn)
{
	const struct pci_places *places = fn->pci->places;
	uint32_t mem = places->window + fn->slot * places->window_slot_bytes;
	uint32_t port = places->ports_window + fn->slot * places->ports_slot_bytes;

	for (unsigned int i = 0; i < PCI_NR_BARS; i++) {
		const struct pci_bar *bar = &fn->bars[i];
		uint32_t *next = bar->pio ? &port : &mem;
		uint8_t *reg = fn->config + PCI_BASE_ADDRESS_0 + 4ul * i;

		if (!bar->bytes)
			continue;
		*next = (uint32_t)align_up(*next, bar->bytes);
		put_le32(reg, *next | (bar->pio ? PCI_BASE_ADDRESS_SPACE_IO : 0));
		*next += bar->bytes;
	}
}

int pci_attach(struct pci *pci, struct pci_function *fn)
{
	for (unsigned int slot = 0; slot < PCI_SLOTS; slot++) {
		if (pci->slots[slot])
			continue;
		fn->slot = slot;
		fn->pci = pci;
		place_bars(fn);
		if (slot) {
			fn->config[PCI_INTERRUPT_PIN] = 1;
			fn->config[PCI_INTERRUPT_LINE] = (uint8_t)intx_gsi(pci, slot);
		}
		pci->slots[slot] = fn;
		return msix_attach(fn);
	}
	return -ENOSPC;
}

void pci_function_fini(struct pci_function *fn)
{
	if (!fn->ops)
		return;
	if (fn->pci) {
		for (unsigned int i = 0; i < PCI_NR_BARS; i++)
			unmap_bar(fn, i);
		fn->pci->slots[fn->slot] = NULL;
	}
	msix_fini(fn);
	pthread_mutex_destroy(&fn->msix.lock);
	fn->ops = NULL;
}

/* ---- the bridge ---- */

static void bridge_moved(struct pci_function *fn, unsigned int bar, uint64_t addr)
{
	(void)fn;
	(void)bar;
	(void)addr; /* it has no BARs */
}

int pci_init(struct pci *pci, const struct pci_places *places, struct vm *vm, struct bus *pio,
	     struct bus *mmio)
{
	static const struct pci_function_ops bridge_ops = { .moved = bridge_moved };
	static const struct pci_ids bridge_ids = {
		.vendor = BRIDGE_VENDOR,
		.device = BRIDGE_DEVICE,
		.class = CLASS_HOST_BRIDGE,
	};
	int rc;

	memset(pci, 0, sizeof(*pci));
	pci->places = places;
	pci->vm = vm;
	pci->pio = pio;
	pci->mmio = mmio;
	pthread_mutex_init(&pci->lock, NULL);
	pthread_mutex_init(&pci->intx_lock, NULL);
	pci_function_init(&pci->bridge, &bridge_ops, &bridge_ids);
	memset(pci->bridge.writable, 0, sizeof(pci->bridge.writable));
	pci_attach(pci, &pci->bridge);
	rc = bus_add(pio, &(struct bus_region){
				  .start = places->ports,
				  .len = 8,
				  .max_access = 4,
				  .ops = &port_ops,
				  .dev = pci,
				  .name = "pci",
			  });
	if (rc)
		return rc;
	return bus_add(mmio, &(struct bus_region){
				     .start = places->ecam,
				     .len = places->ecam_bytes,
				     .max_access = 4,
				     .ops = &ecam_ops,
				     .dev = pci,
				     .name = "pci-ecam",
			     });
}

/* Bits that no guest can change say which function it is. */
static void function_carry(struct pci_function *fn, struct state *s)
{
	uint8_t config[PCI_CONFIG_BYTES];
	bool same = true;

	memcpy(config, fn->config, sizeof(config));
	state_section(s, "pci-function", fn->slot);
	state_raw(s, config, sizeof(config));
	for (unsigned int i = 0; i < sizeof(config); i++)
		same &= !((config[i] ^ fn->config[i]) & ~fn->writable[i]);
	if (!same)
		state_refuse(s, "another device than the one that is here");
	else if (state_loads(s))
		memcpy(fn->config, config, sizeof(config));
	if (fn->msix.cap)
		msix_carry(fn, s);
}

void pci_carry(struct pci *pci, struct state *s)
{
	pthread_mutex_lock(&pci->lock);
	state_section(s, "pci", 0);
	state_u32(s, &pci->address);
	pci->address &= ADDRESS_MASK;
	for (unsigned int slot = 0; slot < PCI_SLOTS; slot++) {
		state_same(s, pci->slots[slot] != NULL, "a device in a slot");
		if (pci->slots[slot])
			function_carry(pci->slots[slot], s);
	}
	/* All of them first: a guest may have put a BAR where another's was. */
	for (unsigned int slot = 0; slot < PCI_SLOTS && state_loads(s) && state_is_good(s); slot++)
		if (pci->slots[slot])
			act_on_config(pci->slots[slot]);
	pthread_mutex_unlock(&pci->lock);
}

void pci_fini(struct pci *pci)
{
	pci_function_fini(&pci->bridge);
	pthread_mutex_destroy(&pci->intx_lock);
	pthread_mutex_destroy(&pci->lock);
}
