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

#define HEADER	  0x60000ull
#define STATUS	  0x61000ull
#define DATA	  0x200000ull
#define QUEUE	  0u
#define RAM_BYTES 0x10000000ull
#define WRITE	  VRING_DESC_F_WRITE
#define NEXT	  VRING_DESC_F_NEXT

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
	set_desc(1, data, bytes,
		 NEXT | (type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID ? WRITE : 0), 2);
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

/* ---- what all devices have to survive ---- */

static void up(uint64_t features)
{
	bring_up(features);
}

static void build_good(void)
{
	build(VIRTIO_BLK_T_IN, 0, DATA, 512);
}

static void expect_good(void)
{
	expect_status(VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, 0, DATA, 512);
}

#include "tests/lib/virtio-attacks.h"

static void no_status_byte(void)
{
	build(VIRTIO_BLK_T_OUT, 0, DATA, 512);
	desc[2].flags = 0;
	attack_and_break();
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

/* What is not written stays as it was: nothing of ours ends up in the guest. */
static void canary(void)
{
	static const uint64_t sectors[] = { 0, 0xffffffff };

	for (unsigned int i = 0; i < 2; i++) {
		uint32_t kept = i ? 0 : 512;

		memset((void *)DATA, 0x7f, 1024);
		run_request(VIRTIO_BLK_T_IN, sectors[i], DATA, 512);
		for (; kept < 1024; kept++)
			if (read8(DATA + kept) != 0x7f)
				fail("a byte beyond what was read", kept);
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

static const struct {
	const char *name;
	void (*run)(void);
} attacks[] = {
/* clang-format off */
#define ATTACK(name) { #name, name }
	ATTACKS_ON_ALL_DEVICES,
	ATTACK(no_status_byte), ATTACK(split_header), ATTACK(short_header), ATTACK(odd_length),
	ATTACK(unknown_type), ATTACK(sector_overflow), ATTACK(range_overflow), ATTACK(huge_request),
	ATTACK(write_read_only), ATTACK(get_id), ATTACK(canary), ATTACK(reset_in_flight),
	/* clang-format on */
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
