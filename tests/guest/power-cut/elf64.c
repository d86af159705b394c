// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writes records to a disk, flushes after every few, and says on the console how many
 * are safe as soon as a flush has been acknowledged. Record n is 4 KiB at a place of
 * its own and holds its number. "attack=NUMBER" is where to begin.
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
#define RECORDS 4096u

static void go(uint32_t type, uint64_t sector, uint32_t bytes)
{
	write32(HEADER, type);
	*(volatile uint64_t *)(HEADER + 8) = sector;
	write8(STATUS, 0xee);
	set_desc(0, HEADER, 16, VRING_DESC_F_NEXT, bytes ? 1 : 2);
	set_desc(1, DATA, bytes, VRING_DESC_F_NEXT, 2);
	set_desc(2, STATUS, 1, VRING_DESC_F_WRITE, 0);
	publish(0);
	kick(0);
	if (!wait_used() || read8(STATUS) != VIRTIO_BLK_S_OK)
		fail("request", read8(STATUS));
}

void guest_main(const uint8_t *zero_page);

void guest_main(const uint8_t *zero_page)
{
	uint32_t n = 0;

	read_command_line(zero_page);
	for (const char *p = word; *p; p++)
		n = n * 10 + (uint32_t)(*p - '0');
	find_device();
	bring_up(1ull << VIRTIO_BLK_F_FLUSH);
	for (; n < RECORDS; n++) {
		/* An odd multiplier visits every place once. */
		uint64_t place = n * 2654435761u % RECORDS;

		for (unsigned int i = 0; i < 4096; i += 512)
			write32(DATA + i, n + 1);
		go(VIRTIO_BLK_T_OUT, place * 8, 4096);
		if (n % 4 == 3) {
			go(VIRTIO_BLK_T_FLUSH, 0, 0);
			print_hex(n + 1);
			print("\n");
		}
	}
	power_off();
}
