/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Attacks that every virtio device has to survive, whatever it does: on its rings, its
 * set-up, its registers, its place in PCI, and by two CPUs at a time.
 *
 * Before it is included, a guest says which queue is attacked (QUEUE) and how
 * the device is used properly:
 *
 *	up(features)	resets it and brings it up, QUEUE the current one
 *	build_good()	a good request in descriptors 0, 1 and 2
 *	expect_good()	such a request is answered as it should be
 *
 * RAM_BYTES is where guest memory ends. After an attack, the guest proves that the device
 * works again after a reset.
 */
#include "tests/lib/second-cpu.h"

#define TABLE 0x70000ull /* indirect */

static void up(uint64_t features);
static void build_good(void);
static void expect_good(void);

static void attack_and_break(void)
{
	publish(0);
	kick(QUEUE);
	expect_broken();
}

/* ---- malformed rings: the device breaks ---- */

static void desc_loop(void)
{
	build_good();
	desc[1].next = 1;
	attack_and_break();
}

static void next_out_of_range(void)
{
	build_good();
	desc[1].next = RING_SIZE;
	attack_and_break();
}

static void head_out_of_range(void)
{
	build_good();
	publish(RING_SIZE);
	kick(QUEUE);
	expect_broken();
}

/* It breaks, or the first one was answered before the second was looked at. */
static void same_head_twice(void)
{
	build_good();
	avail[2] = avail[3] = 0;
	barrier();
	avail[1] = 2;
	kick(QUEUE);
	while (!(get_status() & STATUS_BROKEN) && used[1] != 2)
		;
}

static void avail_jumps(void)
{
	build_good();
	avail[1] = RING_SIZE + 1;
	kick(QUEUE);
	expect_broken();
}

static void avail_goes_back(void)
{
	expect_good();
	avail[1] = (uint16_t)(avail[1] - 1);
	kick(QUEUE);
	expect_broken();
}

/* The good request in a table of @len bytes; descriptor 0 points to it. */
static struct vring_desc *indirect(uint32_t len, uint16_t flags)
{
	struct vring_desc *table = (struct vring_desc *)TABLE;

	build_good();
	memcpy(table, desc, 48);
	set_desc(0, TABLE, len, (uint16_t)(VRING_DESC_F_INDIRECT | flags), 1);
	return table;
}

static void indirect_works(void)
{
	up(F_INDIRECT);
	indirect(48, 0);
	publish(0);
	kick(QUEUE);
	if (!wait_used())
		fail("broken by an indirect request", get_status());
}

static void indirect_odd_size(void)
{
	indirect(47, 0);
	attack_and_break();
}

static void indirect_empty(void)
{
	indirect(0, 0);
	attack_and_break();
}

static void indirect_with_next(void)
{
	indirect(48, VRING_DESC_F_NEXT);
	attack_and_break();
}

static void indirect_in_indirect(void)
{
	indirect(48, 0)[1].flags = VRING_DESC_F_INDIRECT;
	attack_and_break();
}

static void indirect_too_long(void)
{
	struct vring_desc *table = indirect(16 * 64, 0);

	for (unsigned int i = 1; i < 64; i++)
		table[i] = (struct vring_desc){ table[0].addr, 1, table[0].flags, (uint16_t)(i + 1) };
	table[0].next = 1;
	attack_and_break();
}

static void indirect_loop(void)
{
	struct vring_desc *table = indirect(48, 0);

	table[2].flags |= VRING_DESC_F_NEXT;
	table[2].next = 2;
	attack_and_break();
}

static void indirect_outside_ram(void)
{
	indirect(48, 0);
	desc[0].addr = 0xe0000000;
	attack_and_break();
}

static void writable_first(void)
{
	build_good();
	desc[0].flags |= VRING_DESC_F_WRITE;
	desc[1].flags &= (uint16_t)~VRING_DESC_F_WRITE;
	attack_and_break();
}

/* ---- buffers in the wrong place: the device breaks ---- */

static void buffer(uint64_t addr, uint32_t len)
{
	build_good();
	desc[1].addr = addr;
	desc[1].len = len;
	attack_and_break();
}

static void buffer_wraps(void)
{
	buffer(0xfffffffffffffe00ull, 0x400);
}

static void buffer_past_ram(void)
{
	buffer(RAM_BYTES - 512, 1024);
}

static void buffer_in_hole(void)
{
	buffer(0xc8000000, 512);
}

static void buffer_into_hole(void)
{
	buffer(0x1000, 0xfffff000);
}

static void buffer_on_device(void)
{
	buffer(registers, 512);
}

static void buffer_on_apic(void)
{
	buffer(0xfee00000, 512);
}

static void buffers_over_4g(void)
{
	struct vring_desc *table;

	up(F_INDIRECT);
	table = indirect(16 * 16, 0);
	for (unsigned int i = 1; i < 16; i++)
		table[i] = (struct vring_desc){ 0, 0x8000000, desc[1].flags, (uint16_t)(i + 1) };
	table[0].flags |= VRING_DESC_F_NEXT;
	table[0].next = 1;
	table[15].len = 0xffffffff;
	attack_and_break();
}

/* ---- bad set-up ---- */

static void set_up_badly(uint32_t size, uint64_t d, uint64_t a, uint64_t u)
{
	start_over();
	accept(F_VERSION_1);
	clear_rings();
	select_queue(QUEUE);
	set_queue(size, d, a, u);
	enable_queue();
	if (queue_enabled())
		fail("a bad queue was enabled", size);
	set_status(STATUS_READY);
	expect_broken();
	kick(QUEUE);
}

static void size_zero(void)
{
	set_up_badly(0, 0x40000, 0x42000, 0x44000);
}

static void size_odd(void)
{
	set_up_badly(15, 0x40000, 0x42000, 0x44000);
}

static void size_too_big(void)
{
	set_up_badly(512, 0x40000, 0x42000, 0x44000);
}

static void ring_misaligned(void)
{
	set_up_badly(16, 0x40008, 0x42000, 0x44000);
}

static void ring_outside_ram(void)
{
	set_up_badly(16, 0x40000, 0x42000, 0xd0000000);
}

static void ring_wraps(void)
{
	set_up_badly(16, 0xfffffffffffffff0ull, 0x42000, 0x44000);
}

static void changed_after_enable(void)
{
	select_queue(QUEUE);
	set_queue(4, 0xd0000000, 0xd0000000, 0xd0000000);
	for (int i = 0; i < 20; i++)
		expect_good();
}

static void queue_out_of_range(void)
{
	static const uint32_t numbers[] = { 31, 32, 33, 255, 4096, 65535, 0x10000, 0xffffffff };

	for (unsigned int i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		select_queue(numbers[i]);
		if ((numbers[i] & 0xffff) && max_queue_size())
			fail("a queue that is not there", numbers[i]);
		if (!(numbers[i] & 0xffff))
			continue;
		set_queue(16, 0x50000, 0x52000, 0x54000);
		enable_queue();
		if (queue_enabled())
			fail("enabled", numbers[i]);
		kick((uint16_t)numbers[i]);
	}
	expect_good();
}

static uint32_t not_offered(void)
{
	for (uint32_t bit = 1; bit < 1u << 24; bit <<= 1)
		if (!(offered(0) & bit))
			return bit;
	fail("everything is offered", offered(0));
	return 0;
}

static void features_not_offered(void)
{
	start_over();
	request(0, offered(0) | not_offered());
	request(1, 1);
	set_status(STATUS_FEATURES);
	if (get_status() & 8)
		fail("a feature that was not offered", get_status());
	start_over();
	request(0, 0);
	request(1, 1);
	request(2, 1);
	set_status(STATUS_FEATURES);
	if (get_status() & 8)
		fail("feature 64", get_status());
	for (uint32_t i = 2; i < 40; i++)
		if (offered(i))
			fail("features beyond those that there are", i);
	start_over();
	request(0, 0);
	request(1, 0);
	set_status(STATUS_FEATURES);
	if (get_status() & 8)
		fail("without VERSION_1", get_status());
}

static void ready_without_features(void)
{
	start_over();
	clear_rings();
	select_queue(QUEUE);
	set_queue(RING_SIZE, (uint64_t)desc, (uint64_t)avail, (uint64_t)used);
	enable_queue();
	if (queue_enabled())
		fail("a queue before the features", 0);
	set_status(7);
	if (get_status() & 4)
		fail("ready before the features", get_status());
	build_good();
	publish(0);
	kick(QUEUE);
	for (volatile int i = 0; i < 20000; i++)
		;
	if (used[1])
		fail("served without being ready", used[1]);
}

/* ---- registers ---- */

static void odd_accesses(void)
{
	for (uint32_t i = 0; i < 0x200; i += every) {
		write8(registers + i % 0x38, 0); /* in the middle of things */
		read8(registers + i);
		*(volatile uint16_t *)(registers + i);
		*(volatile uint32_t *)(registers + i);
		*(volatile uint64_t *)(registers + i);
	}
	/* Some of that was valid on PCI, where registers have a byte each. */
}

static void config_past_end(void)
{
	uint64_t end = config_space() + (on_pci ? 0x1000 : 0x100);

	for (uint64_t a = config_space() + 128; a < end; a += 4 * every)
		if (read32(a))
			fail("config space past its end", a);
	for (uint64_t a = config_space() + 128; a < end - 8; a += every) {
		write8(a, 0xff);
		*(volatile uint64_t *)a;
	}
	*(volatile uint64_t *)(end - 4);
}

static void flood_kicks(void)
{
	for (uint32_t i = 0; i < 20000; i += every)
		kick((uint16_t)(i & 3));
	expect_good();
}

/* ---- PCI ---- */

static void msix_abuse(void)
{
	if (!on_pci)
		return;
	/* Vectors out of range read back as none. */
	write16(registers + VIRTIO_PCI_COMMON_MSIX, 0x1234);
	if (read16(registers + VIRTIO_PCI_COMMON_MSIX) != 0xffff)
		fail("config vector", read16(registers + VIRTIO_PCI_COMMON_MSIX));
	select_queue(QUEUE);
	write16(registers + VIRTIO_PCI_COMMON_Q_MSIX, 64);
	if (read16(registers + VIRTIO_PCI_COMMON_Q_MSIX) != 0xffff)
		fail("queue vector", read16(registers + VIRTIO_PCI_COMMON_Q_MSIX));
	/* All of the table's BAR, in every width. */
	for (uint32_t i = 0; i < 4096; i += 4 * every) {
		write32(msix + i, 0xffffffff);
		write8(msix + i + 1, 0xff);
		*(volatile uint64_t *)(msix + i);
		*(volatile uint16_t *)(msix + i + 1);
	}
	/* The capability itself cannot be written but for enable and mask. */
	for (uint32_t i = 0x40; i < 0x100; i += 4)
		pci_write(i, 0xffffffff);
	if ((pci_read(0x34) & 0xff) != 0x40)
		fail("capability pointer", pci_read(0x34));
	/* Many new messages for one vector. */
	write16(registers + VIRTIO_PCI_COMMON_Q_MSIX, 1);
	for (uint32_t i = 0; i < 6000; i += every) {
		write32(msix + 16, 0xfee00000);
		write32(msix + 20, 0);
		write32(msix + 24, 0x30 + i % 64);
		write32(msix + 28, i & 1);
	}
}

static void put_bars_back(void)
{
	pci_write(4, 0);
	pci_write(0x10, (uint32_t)registers);
	pci_write(0x14, (uint32_t)msix);
	pci_write(0x18, notify);
	pci_write(4, 7);
}

static void bars_move(void)
{
	if (!on_pci)
		return;
	for (uint32_t i = 0; i < 200; i++) {
		pci_write(0x10, 0xc0000000 + (i % 40) * 0x100000);
		pci_write(0x18, 0x1000 + i * 0x40);
		pci_write(0x14, i % 3 ? 0xc0000000 : 0xfee00000); /* onto BAR 0, onto an APIC */
		pci_write(4, i % 8);
	}
	put_bars_back();
}

static void config_window(void)
{
	uint32_t cap;

	if (!on_pci)
		return;
	for (cap = pci_read(0x34) & 0xff; cap; cap = pci_read(cap) >> 8 & 0xff) {
		uint32_t type = pci_read(cap) >> 24;

		if ((pci_read(cap) & 0xff) != 9 || type != VIRTIO_PCI_CAP_PCI_CFG)
			continue;
		/* Everything that may not be: BARs, offsets, lengths. */
		for (uint32_t i = 0; i < 40; i++) {
			pci_write(cap + 4, i);
			pci_write(cap + 8, i < 20 ? 0xfffffff0 + i : i * 1000);
			pci_write(cap + 12, i % 9);
			pci_write(cap + 16, 0xffffffff);
			pci_read(cap + 16);
		}
		/* And what may: the status. */
		pci_write(cap + 4, 0);
		pci_write(cap + 8, VIRTIO_PCI_COMMON_STATUS);
		pci_write(cap + 12, 1);
		if ((pci_read(cap + 16) & 0xff) != get_status())
			fail("status through configuration space", pci_read(cap + 16));
	}
}

/* All of this function's configuration, and buses that are not there, in every width. */
static void config_everywhere(void)
{
	uint32_t id = pci_read(0);

	if (!on_pci)
		return;
	for (uint64_t i = 0x40; i < 4096; i += 2 * every) {
		uint64_t at = LAYOUT_ECAM + 0x8000 + i;

		write8(at, 0xff);
		write8(at + 1, 0);
		write16(at, 0xffff);
		if (i % 4 == 0)
			write32(at, 0xffffffff);
		*(volatile uint64_t *)at;
		*(volatile uint32_t *)(at + 1);
	}
	for (uint64_t at = LAYOUT_ECAM; at < LAYOUT_ECAM + LAYOUT_ECAM_SIZE; at += (0x8000 - 4) * every)
		read32(at);
	for (uint32_t i = 0; i < 256; i += every) {
		outl(PORT_PCI_ADDRESS, 0x80000000 | i << 16 | 0xffff);
		outl(PORT_PCI_DATA, 0xffffffff);
		(void)inl(PORT_PCI_DATA);
		outl(PORT_PCI_ADDRESS, i << 8); /* not enabled */
		(void)inl(PORT_PCI_DATA);
		outb(PORT_PCI_ADDRESS + 1, 0xff);
		outw(PORT_PCI_ADDRESS + 2, 0xffff);
	}
	put_bars_back();
	if (pci_read(0) != id)
		fail("vendor and device", pci_read(0));
}

/* ---- two CPUs ---- */

#define ROUNDS 120 /* what a peer echoes and nobody reads has to fit into its socket */

static volatile uint32_t random_state = 1;

static uint32_t random32(void)
{
	random_state = random_state * 1664525 + 1013904223;
	return random_state >> 8;
}

/* Requests while the other CPU does its worst; each is answered, or the device breaks. */
static void serve_and_break(void)
{
	unsigned int broken = 0, served = 0;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		if (get_status() & STATUS_BROKEN) {
			broken++;
			up(F_INDIRECT);
		}
		build_good();
		if (i & 1)
			indirect(48, 0);
		publish(0);
		kick(QUEUE);
		served += (unsigned int)wait_used();
	}
	stop_second_cpu();
	if (broken + served < ROUNDS - 1u)
		fail("answers", broken + served);
}

/*
 * Length and next of descriptors turn over and over, in tables of both kinds. One bit of the
 * length: a copy that is made meanwhile must not come out as a length that is valid and large.
 */
static void flip_descriptors(void)
{
	while (!second_stop) {
		volatile struct vring_desc *d = desc + 1, *t = (struct vring_desc *)TABLE + 1;

		d->len ^= 1u << 31;
		d->next ^= 0xffff;
		t->len ^= 1u << 31;
		t->next ^= 0xffff;
		d->addr ^= 1ull << 40;
		d->addr ^= 1ull << 40;
		t->flags ^= VRING_DESC_F_INDIRECT;
		t->flags ^= VRING_DESC_F_INDIRECT;
	}
}

static void race_descriptors(void)
{
	up(F_INDIRECT);
	start_second_cpu(flip_descriptors);
	serve_and_break();
}

/*
 * All of the rings, any value. A head may be lost or come twice, so nothing is known of
 * answers; nor whether the device breaks.
 */
static void scribble(void)
{
	while (!second_stop) {
		uint32_t where = random32() % 3;

		/* Lengths stay small: what peers have to swallow takes time. */
		if (where == 0) {
			uint32_t i = random32() % (RING_SIZE * 4);

			((volatile uint32_t *)desc)[i] ^= 1u << random32() % (i % 4 == 3 ? 32 : 12);
		}
		if (where == 1)
			avail[random32() % (RING_SIZE + 3)] = (uint16_t)(random32() % 40);
		if (where == 2)
			used[random32() % (RING_SIZE * 4 + 3)] = (uint16_t)random32();
	}
}

static void race_rings(void)
{
	start_second_cpu(scribble);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		if (get_status() & STATUS_BROKEN) {
			stop_second_cpu();
			up(F_EVENT_IDX);
			start_second_cpu(scribble);
		}
		build_good();
		publish(0);
		kick(QUEUE);
	}
	stop_second_cpu();
}

static void kick_for_ever(void)
{
	while (!second_stop)
		kick(QUEUE);
}

/* After a reset nothing of the past is touched, however many kicks come. */
static void race_reset(void)
{
	start_second_cpu(kick_for_ever);
	for (unsigned int i = 0; i < ROUNDS / 10; i++) {
		up(i & 1 ? F_EVENT_IDX : 0);
		build_good();
		publish(0);
		set_status(STATUS_RESET);
		while (get_status())
			;
		memset((void *)used, 0x11, 64);
		for (volatile int k = 0; k < 100; k++)
			;
		if (used[1] != 0x1111)
			fail("used ring after a reset", used[1]);
	}
	stop_second_cpu();
	up(0);
	expect_good();
}

/* Everything that a driver writes when it brings a device up, in any order. */
static void write_registers(void)
{
	static const uint8_t statuses[] = { 0, 1, 3, 7, 11, 15, 0xff };

	while (!second_stop) {
		switch (random32() % 6) {
		case 0: set_status(statuses[random32() % sizeof(statuses)]); break;
		case 1: select_queue(random32() % 8); break;
		case 2: set_queue(1u << random32() % 10, 0x40000, 0x42000, 0x44000); break;
		case 3: enable_queue(); break;
		case 4: request(random32() % 3, random32()); break;
		default: (void)read32(config_space()); break;
		}
	}
}

static void race_registers(void)
{
	start_second_cpu(write_registers);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		set_status(STATUS_RESET);
		set_status(STATUS_INIT);
		request(0, F_INDIRECT & 0xffffffff);
		request(1, 1);
		set_status(STATUS_FEATURES);
		select_queue(QUEUE);
		set_queue(RING_SIZE, (uint64_t)desc, (uint64_t)avail, (uint64_t)used);
		enable_queue();
		set_status(STATUS_READY);
		build_good();
		publish(0);
		kick(QUEUE);
	}
	stop_second_cpu();
}

/* BARs move, memory and ports come and go, while the first CPU uses the device. */
static void move_bars(void)
{
	for (uint32_t i = 0; !second_stop; i++) {
		pci_write(0x10, i % 4 ? 0xc0000000 + i % 40 * 0x100000 : (uint32_t)registers);
		pci_write(0x18, i % 4 ? 0x1000 + i % 200 * 0x40 : notify);
		pci_write(0x14, i % 3 ? 0xc0000000 : (uint32_t)msix);
		pci_write(4, i % 8);
	}
}

static void race_bars(void)
{
	if (!on_pci)
		return;
	start_second_cpu(move_bars);
	for (unsigned int i = 0; i < 10 * ROUNDS; i++) {
		set_status(i % 2 ? STATUS_INIT : STATUS_RESET);
		build_good();
		publish(0);
		kick(QUEUE);
		(void)read32(config_space());
		write32(msix + i % 64 * 4, i);
	}
	stop_second_cpu();
	put_bars_back();
}

/* Messages change and are masked while requests are answered with them. */
static void change_messages(void)
{
	for (uint32_t i = 0; !second_stop; i++) {
		write32(msix + 16, i % 5 ? 0xfee00000 : i * 0x1000);
		write32(msix + 24, 0x30 + i % 64);
		write32(msix + 28, i & 1);
	}
}

static void race_msix(void)
{
	uint32_t cap;

	if (!on_pci)
		return;
	for (cap = pci_read(0x34) & 0xff; cap && (pci_read(cap) & 0xff) != 0x11;
	     cap = pci_read(cap) >> 8 & 0xff)
		;
	if (!cap)
		fail("no MSI-X", 0);
	up(0);
	select_queue(QUEUE);
	write16(registers + VIRTIO_PCI_COMMON_Q_MSIX, 1);
	start_second_cpu(change_messages);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		pci_write(cap, i % 8 ? 0x80000000 : 0);
		expect_good();
	}
	stop_second_cpu();
	pci_write(cap, 0);
}

#define ATTACKS_ON_ALL_DEVICES \
	ATTACK(desc_loop), ATTACK(next_out_of_range), ATTACK(head_out_of_range), \
		ATTACK(same_head_twice), ATTACK(avail_jumps), ATTACK(avail_goes_back), \
		ATTACK(indirect_works), ATTACK(indirect_odd_size), ATTACK(indirect_empty), \
		ATTACK(indirect_with_next), ATTACK(indirect_in_indirect), ATTACK(indirect_too_long), \
		ATTACK(indirect_loop), ATTACK(indirect_outside_ram), ATTACK(writable_first), \
		ATTACK(buffer_wraps), ATTACK(buffer_past_ram), ATTACK(buffer_in_hole), \
		ATTACK(buffer_into_hole), ATTACK(buffer_on_device), ATTACK(buffer_on_apic), \
		ATTACK(buffers_over_4g), ATTACK(size_zero), ATTACK(size_odd), ATTACK(size_too_big), \
		ATTACK(ring_misaligned), ATTACK(ring_outside_ram), ATTACK(ring_wraps), \
		ATTACK(changed_after_enable), ATTACK(queue_out_of_range), ATTACK(features_not_offered), \
		ATTACK(ready_without_features), ATTACK(odd_accesses), ATTACK(config_past_end), \
		ATTACK(flood_kicks), ATTACK(msix_abuse), ATTACK(bars_move), ATTACK(config_window), \
		ATTACK(config_everywhere), ATTACK(race_descriptors), ATTACK(race_rings), \
		ATTACK(race_reset), ATTACK(race_registers), ATTACK(race_bars), ATTACK(race_msix)
