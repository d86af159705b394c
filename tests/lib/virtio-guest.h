/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A driver for virtio devices in a few lines, for tiny guests in C: 64-bit, no
 * interrupts, one page of everything. Finds its device on PCI (slot 1, unless told otherwise) or at the
 * first virtio-mmio window. Does only what it is told, right or wrong.
 */
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stdint.h>

#include "x86/layout.h"

#define RING_SIZE	16u /* what this driver likes to use */
#define STATUS_RESET	0u
#define STATUS_INIT	3u /* ACKNOWLEDGE, DRIVER */
#define STATUS_FEATURES 11u
#define STATUS_READY	15u
#define STATUS_BROKEN	0x40u /* NEEDS_RESET */
#define F_INDIRECT	(1ull << 28)
#define F_EVENT_IDX	(1ull << 29)
#define F_VERSION_1	(1ull << 32)

/* ---- the machine ---- */

/* clang-format off */
static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline void outl(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}

static inline void outw(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint32_t read32(uint64_t addr)
{
	return *(volatile uint32_t *)addr;
}

static inline void write32(uint64_t addr, uint32_t v)
{
	*(volatile uint32_t *)addr = v;
}

static inline uint16_t read16(uint64_t addr)
{
	return *(volatile uint16_t *)addr;
}

static inline void write16(uint64_t addr, uint16_t v)
{
	*(volatile uint16_t *)addr = v;
}

static inline uint8_t read8(uint64_t addr)
{
	return *(volatile uint8_t *)addr;
}

static inline void write8(uint64_t addr, uint8_t v)
{
	*(volatile uint8_t *)addr = v;
}

static inline void barrier(void)
{
	__asm__ volatile("" : : : "memory");
}

void *memset(void *p, int c, unsigned long n);
void *memcpy(void *to, const void *from, unsigned long n);

void *memset(void *p, int c, unsigned long n)
{
	void *at = p;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(c) : "memory");
	return p;
}

void *memcpy(void *to, const void *from, unsigned long n)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
	return to;
}
/* clang-format on */

static inline void print(const char *s)
{
	while (*s)
		outb(PORT_COM1, (uint8_t)*s++);
}

static inline void print_hex(uint64_t v)
{
	for (int i = 60; i >= 0; i -= 4)
		if (v >> i || i == 0)
			outb(PORT_COM1, (uint8_t) "0123456789abcdef"[v >> i & 15]);
}

static inline void power_off(void)
{
	for (;;)
		outb(PORT_SLEEP_CONTROL, 0x20 | SLEEP_TYPE_S5 << 2);
}

/* What to do instead of giving up, once: for devices that may answer otherwise. */
static void (*on_failure)(void);

static inline void fail(const char *what, uint64_t got)
{
	void (*instead)(void) = on_failure;

	if (instead) {
		on_failure = 0;
		print("OTHERWISE\n");
		instead();
	}
	print("FAILED ");
	print(what);
	print(": ");
	print_hex(got);
	print("\n");
	power_off();
}

/* What follows @key on the command line, or "". */
static inline const char *command_line_after(const uint8_t *zero_page, const char *key)
{
	const char *p = (const char *)(uint64_t)read32((uint64_t)zero_page + 0x228);
	unsigned int i;

	for (; *p; p++) {
		for (i = 0; key[i] && p[i] == key[i]; i++)
			;
		if (!key[i])
			return p + i;
	}
	return p;
}

/* The word after "attack=" on the command line, or "". */
static char word[64];
/* The number after "every=": loops over all of something may leave so many out. 1 without it. */
static uint32_t every = 1;

static inline void read_command_line(const uint8_t *zero_page)
{
	const char *p = command_line_after(zero_page, "attack=");
	unsigned int n = 0;

	while (*p && *p != ' ' && n < sizeof(word) - 1)
		word[n++] = *p++;
	p = command_line_after(zero_page, "every=");
	for (n = 0; *p >= '0' && *p <= '9'; p++)
		n = n * 10 + (unsigned int)(*p - '0');
	every = n ? n : 1;
}

static inline int same_word(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return *a == *b;
}

/* ---- the transport ---- */

static int on_pci;
static uint64_t registers; /* mmio: the window; PCI: BAR 0 */
static uint64_t msix;	   /* BAR 1 */
static uint16_t notify;	   /* BAR 2, a port */

static uint32_t pci_slot = 1;

static inline void pci_write(uint32_t reg, uint32_t v)
{
	outl(PORT_PCI_ADDRESS, 0x80000000 | pci_slot << 11 | reg);
	outl(PORT_PCI_DATA, v);
}

static inline uint32_t pci_read(uint32_t reg)
{
	outl(PORT_PCI_ADDRESS, 0x80000000 | pci_slot << 11 | reg);
	return inl(PORT_PCI_DATA);
}

static inline void find_device(void)
{
	on_pci = pci_read(0) != 0xffffffff;
	if (on_pci) {
		registers = pci_read(0x10) & ~15u;
		msix = pci_read(0x14) & ~15u;
		notify = (uint16_t)(pci_read(0x18) & ~3u);
		pci_write(4, 7); /* ports, memory, bus master */
	} else {
		registers = LAYOUT_VIRTIO_MMIO;
		if (read32(registers) != 0x74726976)
			fail("no device", read32(registers));
	}
}

static inline uint32_t get_status(void)
{
	return on_pci ? read8(registers + VIRTIO_PCI_COMMON_STATUS) :
			read32(registers + VIRTIO_MMIO_STATUS);
}

static inline void set_status(uint8_t v)
{
	if (on_pci)
		write8(registers + VIRTIO_PCI_COMMON_STATUS, v);
	else
		write32(registers + VIRTIO_MMIO_STATUS, v);
}

static inline uint32_t offered(uint32_t select)
{
	write32(registers + (on_pci ? VIRTIO_PCI_COMMON_DFSELECT : VIRTIO_MMIO_DEVICE_FEATURES_SEL),
		select);
	return read32(registers + (on_pci ? VIRTIO_PCI_COMMON_DF : VIRTIO_MMIO_DEVICE_FEATURES));
}

static inline void request(uint32_t select, uint32_t bits)
{
	write32(registers + (on_pci ? VIRTIO_PCI_COMMON_GFSELECT : VIRTIO_MMIO_DRIVER_FEATURES_SEL),
		select);
	write32(registers + (on_pci ? VIRTIO_PCI_COMMON_GF : VIRTIO_MMIO_DRIVER_FEATURES), bits);
}

static inline void select_queue(uint32_t queue)
{
	if (on_pci)
		write16(registers + VIRTIO_PCI_COMMON_Q_SELECT, (uint16_t)queue);
	else
		write32(registers + VIRTIO_MMIO_QUEUE_SEL, queue);
}

static inline uint32_t max_queue_size(void)
{
	return on_pci ? read16(registers + VIRTIO_PCI_COMMON_Q_SIZE) :
			read32(registers + VIRTIO_MMIO_QUEUE_NUM_MAX);
}

static inline void set_address(uint32_t pci_reg, uint32_t mmio_reg, uint64_t v)
{
	uint64_t reg = registers + (on_pci ? pci_reg : mmio_reg);

	write32(reg, (uint32_t)v);
	write32(reg + 4, (uint32_t)(v >> 32));
}

static inline void set_queue(uint32_t size, uint64_t desc, uint64_t avail, uint64_t used)
{
	if (on_pci)
		write16(registers + VIRTIO_PCI_COMMON_Q_SIZE, (uint16_t)size);
	else
		write32(registers + VIRTIO_MMIO_QUEUE_NUM, size);
	set_address(VIRTIO_PCI_COMMON_Q_DESCLO, VIRTIO_MMIO_QUEUE_DESC_LOW, desc);
	set_address(VIRTIO_PCI_COMMON_Q_AVAILLO, VIRTIO_MMIO_QUEUE_AVAIL_LOW, avail);
	set_address(VIRTIO_PCI_COMMON_Q_USEDLO, VIRTIO_MMIO_QUEUE_USED_LOW, used);
}

static inline void enable_queue(void)
{
	if (on_pci)
		write16(registers + VIRTIO_PCI_COMMON_Q_ENABLE, 1);
	else
		write32(registers + VIRTIO_MMIO_QUEUE_READY, 1);
}

static inline uint32_t queue_enabled(void)
{
	return on_pci ? read16(registers + VIRTIO_PCI_COMMON_Q_ENABLE) :
			read32(registers + VIRTIO_MMIO_QUEUE_READY);
}

static inline void kick(uint16_t queue)
{
	barrier();
	if (on_pci)
		outw((uint16_t)(notify + 4 * queue), queue);
	else
		write32(registers + VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

static inline uint64_t config_space(void)
{
	return registers + (on_pci ? 0x2000 : VIRTIO_MMIO_CONFIG);
}

/* ---- one ring ---- */

static struct vring_desc *desc = (struct vring_desc *)0x40000;
static volatile uint16_t *avail = (volatile uint16_t *)0x42000; /* flags, index, ring */
static volatile uint16_t *used = (volatile uint16_t *)0x44000;	/* flags, index, elements */
static uint16_t used_seen;

static inline void use_rings(uint64_t base)
{
	desc = (struct vring_desc *)base;
	avail = (volatile uint16_t *)(base + 0x2000);
	used = (volatile uint16_t *)(base + 0x4000);
}

static inline void start_over(void)
{
	set_status(STATUS_RESET);
	if (get_status())
		fail("status after reset", get_status());
	set_status(STATUS_INIT);
}

static inline void accept(uint64_t features)
{
	request(0, (uint32_t)features);
	request(1, (uint32_t)(features >> 32));
	set_status(STATUS_FEATURES);
	if (get_status() != STATUS_FEATURES)
		fail("features refused", get_status());
}

static inline void clear_rings(void)
{
	memset(desc, 0, 0x6000);
	used_seen = 0;
}

/* More than one queue: each has its rings, one is the current one. Who has more says where. */
#ifndef MAX_QUEUES
#define MAX_QUEUES 8u
#define RINGS	   0x40000ull
#endif

static uint16_t used_seen_of[MAX_QUEUES];
static unsigned int current_queue;

static inline void use_queue(unsigned int queue)
{
	used_seen_of[current_queue] = used_seen;
	current_queue = queue;
	used_seen = used_seen_of[queue];
	use_rings(RINGS + queue * 0x8000ull);
}

/* Reset and everything after it, with the first @nr queues; rings are empty. */
static inline void bring_up_queues(uint64_t features, unsigned int nr)
{
	start_over();
	accept(features | F_VERSION_1);
	for (unsigned int q = 0; q < nr; q++) {
		use_queue(q);
		clear_rings();
		select_queue(q);
		set_queue(RING_SIZE, (uint64_t)desc, (uint64_t)avail, (uint64_t)used);
		enable_queue();
	}
	set_status(STATUS_READY);
	if (get_status() != STATUS_READY)
		fail("status when ready", get_status());
}

/* Reset and everything after it, with one queue. */
static inline void bring_up(uint64_t features)
{
	start_over();
	accept(features | F_VERSION_1);
	clear_rings();
	select_queue(0);
	set_queue(RING_SIZE, (uint64_t)desc, (uint64_t)avail, (uint64_t)used);
	enable_queue();
	set_status(STATUS_READY);
	if (get_status() != STATUS_READY)
		fail("status when ready", get_status());
}

static inline void set_desc(unsigned int i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	desc[i] = (struct vring_desc){ .addr = addr, .len = len, .flags = flags, .next = next };
}

static inline void publish(uint16_t head)
{
	uint16_t i = avail[1];

	avail[2 + i % RING_SIZE] = head;
	barrier();
	avail[1] = (uint16_t)(i + 1);
}

/* Waits for one completion, or for the device to break. 1 or 0. */
static inline int wait_used(void)
{
	for (unsigned int i = 0; i < 3000000; i++) {
		if (used[1] != used_seen) {
			used_seen++;
			return 1;
		}
		if (i % 64 == 63 && get_status() & STATUS_BROKEN)
			return 0;
	}
	fail("no answer; status", get_status());
	return 0;
}

/* The length of the completion that wait_used() has just seen. */
static inline uint32_t used_length(void)
{
	volatile uint32_t *element = (volatile uint32_t *)(used + 2);

	return element[2 * ((uint16_t)(used_seen - 1) % RING_SIZE) + 1];
}

/* Waits for one completion for a limited time, and says whether there was one. */
static inline int try_used(unsigned int tries)
{
	while (tries--) {
		if (used[1] == used_seen)
			continue;
		used_seen++;
		return 1;
	}
	return 0;
}

static inline void expect_broken(void)
{
	for (unsigned int i = 0; i < 100000; i++)
		if (get_status() & STATUS_BROKEN)
			return;
	fail("not broken; status", get_status());
}
