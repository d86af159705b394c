// SPDX-License-Identifier: GPL-2.0-only
/*
 * One attack on a virtio block device, which the command line names, and then the
 * proof that the device works again after a reset.
 */
#include "tests/lib/virtio-guest.h"

#include <linux/virtio_blk.h>

__asm__(".code64\n"
	".global _start\n"
	"_start: movl $0x9e000, %esp\n"
	"	movq %rsi, %rdi\n"
	"	call guest_main\n");

#define HEADER	0x60000ull
#define STATUS	0x61000ull
#define DATA	0x200000ull
#define TABLE	0x70000ull	/* indirect */
#define WRITE	VRING_DESC_F_WRITE
#define NEXT	VRING_DESC_F_NEXT

static void set_header(uint32_t type, uint64_t sector)
{
	write32(HEADER, type);
	write32(HEADER + 4, 0);
	*(volatile uint64_t *)(HEADER + 8) = sector;
	write8(STATUS, 0xee);
}

/* Header, data, status in descriptors 0 to 2. */
static void build(uint32_t type, uint64_t sector, uint64_t data, uint32_t bytes)
{
	set_header(type, sector);
	set_desc(0, HEADER, 16, NEXT, bytes ? 1 : 2);
	set_desc(1, data, bytes, NEXT | (type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID ?
					 WRITE : 0), 2);
	set_desc(2, STATUS, 1, WRITE, 0);
}

static uint8_t go(void)
{
	publish(0);
	kick(0);
	if (!wait_used())
		fail("broken by a valid request", read8(STATUS));
	return read8(STATUS);
}

static uint8_t run_request(uint32_t type, uint64_t sector, uint64_t data, uint32_t bytes)
{
	build(type, sector, data, bytes);
	return go();
}

static void expect_status(uint8_t want, uint32_t type, uint64_t sector, uint64_t data, uint32_t bytes)
{
	uint8_t got = run_request(type, sector, data, bytes);

	if (got != want)
		fail("status of the request", got);
}

static int read_only(void)
{
	return offered(0) >> VIRTIO_BLK_F_RO & 1;
}

/* What every run ends with: reset, write, read back. */
static void prove_recovery(void)
{
	use_rings(0x40000);
	bring_up(F_INDIRECT | F_EVENT_IDX | 1ull << VIRTIO_BLK_F_FLUSH);
	if (!read_only()) {
		memset((void *)DATA, 0xa5, 4096);
		expect_status(VIRTIO_BLK_S_OK, VIRTIO_BLK_T_OUT, 8, DATA, 4096);
		expect_status(VIRTIO_BLK_S_OK, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	}
	memset((void *)DATA, 0, 4096);
	expect_status(VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, 8, DATA, 4096);
	if (!read_only() && (read8(DATA) != 0xa5 || read8(DATA + 4095) != 0xa5))
		fail("data read back", read8(DATA));
	print("RECOVERED\n");
	power_off();
}

static void attack_and_break(void)
{
	publish(0);
	kick(0);
	expect_broken();
}

/* ---- malformed rings: the device breaks ---- */

static void desc_loop(void)
{
	build(VIRTIO_BLK_T_IN, 0, DATA, 512);
	desc[1].next = 1;
	attack_and_break();
}

static void next_out_of_range(void)
{
	build(VIRTIO_BLK_T_IN, 0, DATA, 512);
	desc[1].next = RING_SIZE;
	attack_and_break();
}

static void head_out_of_range(void)
{
	build(VIRTIO_BLK_T_IN, 0, DATA, 512);
	publish(RING_SIZE);
	kick(0);
	expect_broken();
}

static void same_head_twice(void)
{
	build(VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	avail[2] = avail[3] = 0;
	barrier();
	avail[1] = 2;
	kick(0);
	expect_broken();
}

static void avail_jumps(void)
{
	build(VIRTIO_BLK_T_IN, 0, DATA, 512);
	avail[1] = RING_SIZE + 1;
	kick(0);
	expect_broken();
}

static void avail_goes_back(void)
{
	expect_status(VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, 0, DATA, 512);
	avail[1] = 0;
	kick(0);
	expect_broken();
}

static void indirect(uint32_t len, uint16_t flags)
{
	set_header(VIRTIO_BLK_T_IN, 0);
	set_desc(0, TABLE, len, (uint16_t)(VRING_DESC_F_INDIRECT | flags), 1);
	memcpy((void *)TABLE, &(struct vring_desc){ HEADER, 16, NEXT, 1 }, 16);
	memcpy((void *)(TABLE + 16), &(struct vring_desc){ DATA, 512, NEXT | WRITE, 2 }, 16);
	memcpy((void *)(TABLE + 32), &(struct vring_desc){ STATUS, 1, WRITE, 0 }, 16);
}

static void indirect_works(void)
{
	indirect(48, 0);
	if (go() != VIRTIO_BLK_S_OK)
		fail("indirect request", read8(STATUS));
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
	indirect(48, NEXT);
	attack_and_break();
}

static void indirect_in_indirect(void)
{
	indirect(48, 0);
	((struct vring_desc *)TABLE)[1].flags = VRING_DESC_F_INDIRECT;
	attack_and_break();
}

static void indirect_too_long(void)
{
	indirect(16 * 64, 0);
	for (unsigned int i = 0; i < 64; i++)
		((struct vring_desc *)TABLE)[i] = (struct vring_desc){ HEADER, 1, NEXT, (uint16_t)(i + 1) };
	attack_and_break();
}

static void indirect_loop(void)
{
	indirect(48, 0);
	((struct vring_desc *)TABLE)[2].flags = NEXT | WRITE;
	((struct vring_desc *)TABLE)[2].next = 2;
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
	build(VIRTIO_BLK_T_IN, 0, DATA, 512);
	desc[0].flags |= WRITE;
	desc[1].flags = NEXT;
	attack_and_break();
}

static void no_status_byte(void)
{
	build(VIRTIO_BLK_T_OUT, 0, DATA, 512);
	desc[2].flags = 0;
	attack_and_break();
}

/* ---- buffers in the wrong place: the device breaks ---- */

static void buffer(uint64_t addr, uint32_t len)
{
	build(VIRTIO_BLK_T_IN, 0, addr, len);
	attack_and_break();
}

static void buffer_wraps(void)
{
	buffer(0xfffffffffffffe00ull, 0x400);
}

static void buffer_past_ram(void)
{
	buffer(0x10000000 - 512, 1024);		/* 256 MiB of RAM */
}

static void buffer_in_hole(void)
{
	buffer(0xc8000000, 512);
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
	set_header(VIRTIO_BLK_T_IN, 0);
	set_desc(0, HEADER, 16, NEXT, 1);
	for (uint16_t i = 1; i < RING_SIZE; i++)
		set_desc(i, 0, 0xfff0000, NEXT | WRITE, (uint16_t)(i + 1));
	/* 15 times 256 MiB do not overflow; an indirect table of 20 would. */
	indirect(16 * 16, 0);
	for (unsigned int i = 1; i < 16; i++)
		((struct vring_desc *)TABLE)[i] =
			(struct vring_desc){ 0, 0x10000000, NEXT | WRITE, (uint16_t)(i + 1) };
	((struct vring_desc *)TABLE)[15].len = 0xffffffff;
	attack_and_break();
}

/* ---- bad set-up ---- */

static void set_up_badly(uint32_t size, uint64_t d, uint64_t a, uint64_t u)
{
	start_over();
	accept(F_VERSION_1);
	clear_rings();
	select_queue(0);
	set_queue(size, d, a, u);
	enable_queue();
	if (queue_enabled())
		fail("a bad queue was enabled", size);
	set_status(STATUS_READY);
	expect_broken();
	kick(0);
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
	select_queue(0);
	set_queue(4, 0xd0000000, 0xd0000000, 0xd0000000);
	for (int i = 0; i < 20; i++)
		expect_status(VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, 0, DATA, 512);
}

static void queue_out_of_range(void)
{
	static const uint32_t numbers[] = { 1, 2, 31, 32, 255, 65535, 0x10000, 0xffffffff };

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
	expect_status(VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, 0, DATA, 512);
}

static void features_not_offered(void)
{
	start_over();
	request(0, offered(0) | 1u << VIRTIO_BLK_F_SCSI);
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
	select_queue(0);
	set_queue(RING_SIZE, 0x40000, 0x42000, 0x44000);
	enable_queue();
	if (queue_enabled())
		fail("a queue before the features", 0);
	set_status(7);
	if (get_status() & 4)
		fail("ready before the features", get_status());
	build(VIRTIO_BLK_T_IN, 0, DATA, 512);
	publish(0);
	kick(0);
	for (volatile int i = 0; i < 20000; i++)
		;
	if (used[1])
		fail("served without being ready", used[1]);
}

/* ---- malformed requests: answered ---- */

static void split_header(void)
{
	set_header(VIRTIO_BLK_T_IN, 0);
	set_desc(0, HEADER, 3, NEXT, 1);
	set_desc(1, HEADER + 3, 1, NEXT, 2);
	set_desc(2, HEADER + 4, 11, NEXT, 3);
	set_desc(3, HEADER + 15, 1, NEXT, 4);
	set_desc(4, DATA, 500, NEXT | WRITE, 5);
	set_desc(5, DATA + 500, 0, NEXT | WRITE, 6);
	set_desc(6, DATA + 500, 12, NEXT | WRITE, 7);
	set_desc(7, STATUS, 1, WRITE, 0);
	if (go() != VIRTIO_BLK_S_OK)
		fail("split header", read8(STATUS));
}

static void short_header(void)
{
	build(VIRTIO_BLK_T_IN, 0, DATA, 512);
	desc[0].len = 15;
	if (go() != VIRTIO_BLK_S_IOERR)
		fail("short header", read8(STATUS));
}

static void odd_length(void)
{
	expect_status(VIRTIO_BLK_S_IOERR, VIRTIO_BLK_T_IN, 0, DATA, 511);
	expect_status(VIRTIO_BLK_S_IOERR, VIRTIO_BLK_T_OUT, 0, DATA, 513);
}

static void unknown_type(void)
{
	expect_status(VIRTIO_BLK_S_UNSUPP, 0x77, 0, DATA, 512);
	expect_status(VIRTIO_BLK_S_UNSUPP, 0x80000000, 0, DATA, 512);
	expect_status(VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_SCSI_CMD, 0, DATA, 512);
}

static uint64_t capacity(void)
{
	return read32(config_space()) | (uint64_t)read32(config_space() + 4) << 32;
}

static void sector_overflow(void)
{
	const uint64_t sectors[] = { capacity(), capacity() - 1, 1ull << 55, 0x7fffffffffffffull,
				     0x80000000000000ull, 0xffffffffffffffffull };

	for (unsigned int i = 0; i < sizeof(sectors) / sizeof(sectors[0]); i++) {
		expect_status(VIRTIO_BLK_S_IOERR, VIRTIO_BLK_T_IN, sectors[i], DATA, 1024);
		expect_status(VIRTIO_BLK_S_IOERR, VIRTIO_BLK_T_OUT, sectors[i], DATA, 1024);
	}
}

static void range(uint64_t sector, uint32_t sectors, uint32_t flags)
{
	*(volatile uint64_t *)DATA = sector;
	write32(DATA + 8, sectors);
	write32(DATA + 12, flags);
}

static void range_overflow(void)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES };

	bring_up(1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES);
	for (int i = 0; i < 2; i++) {
		range(capacity(), 1, 0);
		expect_status(VIRTIO_BLK_S_IOERR, types[i], 0, DATA, 16);
		range(0xffffffffffffffffull, 1, 0);
		expect_status(VIRTIO_BLK_S_IOERR, types[i], 0, DATA, 16);
		range(0, 0xffffffff, 0);
		expect_status(VIRTIO_BLK_S_IOERR, types[i], 0, DATA, 16);
		range(1ull << 55, 8, 0);
		expect_status(VIRTIO_BLK_S_IOERR, types[i], 0, DATA, 16);
		range(0, 8, 0xfffffffe);
		expect_status(VIRTIO_BLK_S_UNSUPP, types[i], 0, DATA, 16);
		range(0, 8, 0);
		expect_status(VIRTIO_BLK_S_IOERR, types[i], 0, DATA, 15);
		expect_status(VIRTIO_BLK_S_IOERR, types[i], 0, DATA, 16 * 17);
		expect_status(VIRTIO_BLK_S_IOERR, types[i], 0, 0, 0);
		expect_status(VIRTIO_BLK_S_OK, types[i], 0, DATA, 16);
	}
	bring_up(0);
	range(0, 8, 0);
	expect_status(VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_DISCARD, 0, DATA, 16);
}

static void huge_request(void)
{
	set_header(VIRTIO_BLK_T_IN, 0);
	set_desc(0, HEADER, 16, NEXT, 1);
	set_desc(1, 0x200000, 0xf000000, NEXT | WRITE, 2);
	set_desc(2, 0x200000, 0xf000000, NEXT | WRITE, 3);
	set_desc(3, STATUS, 1, WRITE, 0);
	if (go() != VIRTIO_BLK_S_IOERR)
		fail("huge request", read8(STATUS));
}

static void write_read_only(void)
{
	expect_status(VIRTIO_BLK_S_IOERR, VIRTIO_BLK_T_OUT, 0, DATA, 512);
	expect_status(VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, 0, DATA, 512);
}

static void get_id(void)
{
	memset((void *)DATA, 0x7f, 64);
	expect_status(VIRTIO_BLK_S_OK, VIRTIO_BLK_T_GET_ID, 0, DATA, 20);
	if (read8(DATA) != 'S' || read8(DATA + 3) != 0 || read8(DATA + 20) != 0x7f)
		fail("serial number", read8(DATA));
	memset((void *)DATA, 0x7f, 64);
	expect_status(VIRTIO_BLK_S_OK, VIRTIO_BLK_T_GET_ID, 0, DATA, 2);
	if (read8(DATA + 1) != 'N' || read8(DATA + 2) != 0x7f)
		fail("short serial number", read8(DATA + 2));
}

/* ---- registers ---- */

static void odd_accesses(void)
{
	for (uint32_t i = 0; i < 0x200; i++) {
		write8(registers + i % 0x38, 0);	/* in the middle of things */
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

	for (uint64_t a = config_space() + 128; a < end; a += 4)
		if (read32(a))
			fail("config space past its end", a);
	for (uint64_t a = config_space(); a < end - 8; a++) {
		write8(a, 0xff);
		*(volatile uint64_t *)a;
	}
	*(volatile uint64_t *)(end - 4);
}

static void msix_abuse(void)
{
	if (!on_pci)
		return;
	/* Vectors out of range read back as none. */
	write16(registers + VIRTIO_PCI_COMMON_MSIX, 0x1234);
	if (read16(registers + VIRTIO_PCI_COMMON_MSIX) != 0xffff)
		fail("config vector", read16(registers + VIRTIO_PCI_COMMON_MSIX));
	select_queue(0);
	write16(registers + VIRTIO_PCI_COMMON_Q_MSIX, 64);
	if (read16(registers + VIRTIO_PCI_COMMON_Q_MSIX) != 0xffff)
		fail("queue vector", read16(registers + VIRTIO_PCI_COMMON_Q_MSIX));
	/* All of the table's BAR, in every width. */
	for (uint32_t i = 0; i < 4096; i += 4) {
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
	for (uint32_t i = 0; i < 6000; i++) {
		write32(msix + 16, 0xfee00000);
		write32(msix + 20, 0);
		write32(msix + 24, 0x30 + i % 64);
		write32(msix + 28, i & 1);
	}
}

static void bars_move(void)
{
	if (!on_pci)
		return;
	for (uint32_t i = 0; i < 200; i++) {
		pci_write(0x10, 0xc0000000 + (i % 40) * 0x100000);
		pci_write(0x18, 0x1000 + i * 0x40);
		pci_write(0x14, i % 3 ? 0xc0000000 : 0xfee00000);	/* onto BAR 0, onto an APIC */
		pci_write(4, i % 8);
	}
	pci_write(4, 0);
	pci_write(0x10, (uint32_t)registers);
	pci_write(0x14, (uint32_t)msix);
	pci_write(0x18, notify);
	pci_write(4, 7);
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

/* ---- time ---- */

static void reset_in_flight(void)
{
	for (int round = 0; round < 50; round++) {
		use_rings(round % 2 ? 0x40000 : 0x50000);
		bring_up(0);
		memset((void *)(DATA + 0x100000), 0, 0x1000);
		set_header(VIRTIO_BLK_T_IN, 0);
		for (uint16_t i = 0; i + 3u <= RING_SIZE; i = (uint16_t)(i + 3)) {
			set_desc(i, HEADER, 16, NEXT, (uint16_t)(i + 1));
			set_desc(i + 1u, DATA, 0x80000, NEXT | WRITE, (uint16_t)(i + 2));
			set_desc(i + 2u, STATUS + i, 1, WRITE, 0);
			publish(i);
		}
		kick(0);
		set_status(STATUS_RESET);
		while (get_status())
			;
		/* Whatever comes now would come into memory that is ours again. */
		memset((void *)DATA, 0x11, 0x1000);
		for (volatile int i = 0; i < 300; i++)
			;
		if (read8(DATA) != 0x11)
			fail("data after a reset", read8(DATA));
	}
}

static void flood_kicks(void)
{
	for (int i = 0; i < 20000; i++)
		kick((uint16_t)(i & 3));
	expect_status(VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, 0, DATA, 512);
}

/*
 * The second CPU turns the length of a descriptor and its next field over and over
 * (in real mode, hence rings below 1 MiB) while the first one submits it.
 */
static void race(void)
{
	static const uint8_t code[] = {
		0xb8, 0x00, 0x40, 0x8e, 0xd8,			/* mov $0x4000, %ax; mov %ax, %ds */
		0x66, 0xf7, 0x16, 0x18, 0x00,			/* notl 0x18: length of 1 */
		0xf7, 0x16, 0x1e, 0x00,				/* notw 0x1e: next of 1 */
		0x66, 0xf7, 0x16, 0x18, 0x00,
		0xf7, 0x16, 0x1e, 0x00,
		0xeb, 0xec,					/* jmp back to the first notl */
	};
	unsigned int broken = 0, served = 0;

	memcpy((void *)0x80000, code, sizeof(code));
	write32(LAYOUT_LAPIC + 0x300, 0xc4500);
	write32(LAYOUT_LAPIC + 0x300, 0xc4680);
	for (int i = 0; i < 300; i++) {
		if (get_status() & STATUS_BROKEN) {
			broken++;
			bring_up(0);
		}
		build(VIRTIO_BLK_T_IN, 0, DATA, 512);
		publish(0);
		kick(0);
		served += (unsigned int)wait_used();
	}
	write32(LAYOUT_LAPIC + 0x300, 0xc4500);	/* INIT: it stops */
	if (broken + served < 299u)
		fail("answers", broken + served);
}

static const struct {
	const char *name;
	void (*run)(void);
} attacks[] = {
#define ATTACK(name) { #name, name }
	ATTACK(desc_loop), ATTACK(next_out_of_range), ATTACK(head_out_of_range),
	ATTACK(same_head_twice), ATTACK(avail_jumps), ATTACK(avail_goes_back),
	ATTACK(indirect_works), ATTACK(indirect_odd_size), ATTACK(indirect_empty),
	ATTACK(indirect_with_next), ATTACK(indirect_in_indirect), ATTACK(indirect_too_long),
	ATTACK(indirect_loop), ATTACK(indirect_outside_ram), ATTACK(writable_first),
	ATTACK(no_status_byte), ATTACK(buffer_wraps), ATTACK(buffer_past_ram),
	ATTACK(buffer_in_hole), ATTACK(buffer_on_device), ATTACK(buffer_on_apic),
	ATTACK(buffers_over_4g), ATTACK(size_zero), ATTACK(size_odd), ATTACK(size_too_big),
	ATTACK(ring_misaligned), ATTACK(ring_outside_ram), ATTACK(ring_wraps),
	ATTACK(changed_after_enable), ATTACK(queue_out_of_range), ATTACK(features_not_offered),
	ATTACK(ready_without_features), ATTACK(split_header), ATTACK(short_header),
	ATTACK(odd_length), ATTACK(unknown_type), ATTACK(sector_overflow), ATTACK(range_overflow),
	ATTACK(huge_request), ATTACK(write_read_only), ATTACK(get_id), ATTACK(odd_accesses),
	ATTACK(config_past_end), ATTACK(msix_abuse), ATTACK(bars_move), ATTACK(config_window),
	ATTACK(reset_in_flight), ATTACK(flood_kicks), ATTACK(race),
};

void guest_main(const uint8_t *zero_page);

void guest_main(const uint8_t *zero_page)
{
	read_command_line(zero_page);
	find_device();
	for (unsigned int i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		if (!same_word(word, attacks[i].name))
			continue;
		bring_up(F_INDIRECT);
		attacks[i].run();
		print("SURVIVED\n");
		prove_recovery();
	}
	fail("no such attack", 0);
}
