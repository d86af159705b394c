// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sends back what port 0 of a plain virtio console receives, buffer by buffer, until
 * it was as many bytes as the command line says (attack=N); "stall" instead of a
 * number gives no buffers at all. It asks to be interrupted when its output has been taken, as
 * a driver that can wait does; with "hold" it does not, sends two megabytes, and ends.
 */
#include "tests/lib/virtio-guest.h"

#include <linux/virtio_console.h>

__asm__(".code64\n"
	".global _start\n"
	"_start: movl $0x9e000, %esp\n"
	"	movq %rsi, %rdi\n"
	"	call guest_main\n");

#define RX    0u
#define TX    1u
#define DATA  0x200000ull
#define BYTES 0x10000u
#define WRITE VRING_DESC_F_WRITE

static void give(uint16_t i)
{
	use_queue(RX);
	set_desc(i, DATA + i * (uint64_t)BYTES, BYTES, WRITE, 0);
	publish(i);
	kick(RX);
}

static uint16_t last_used_id(void)
{
	volatile uint32_t *element = (volatile uint32_t *)(used + 2);

	return (uint16_t)element[2 * ((uint16_t)(used_seen - 1) % RING_SIZE)];
}

/* Waits for as long as it takes: people are slow. */
static int poll_used(void)
{
	if (used[1] == used_seen)
		return 0;
	used_seen++;
	return 1;
}

static void want_interrupt(void)
{
	avail[2 + RING_SIZE] = used_seen; /* used_event */
}

/* As Linux's hvc0: looks all the time whether its output has been taken. */
static void hold(void)
{
	use_queue(TX);
	for (unsigned int sent = 0; sent < 32; sent++) {
		set_desc(0, DATA, BYTES, 0, 0);
		publish(0);
		kick(TX);
		while (!poll_used())
			;
	}
	print("SENT\n");
	power_off();
}

void guest_main(const uint8_t *zero_page);

void guest_main(const uint8_t *zero_page)
{
	uint64_t wanted = 0, sent = 0;

	read_command_line(zero_page);
	find_device();
	for (const char *p = word; *p >= '0' && *p <= '9'; p++)
		wanted = 10 * wanted + (uint64_t)(*p - '0');
	bring_up_queues(1ull << VIRTIO_CONSOLE_F_SIZE | F_EVENT_IDX, 2);
	print("UP ");
	print_hex(read16(config_space()));
	print("x");
	print_hex(read16(config_space() + 2));
	print("\n");
	if (word[0] == 'h')
		hold();
	use_queue(TX);
	want_interrupt();
	for (uint16_t i = 0; i < RING_SIZE && wanted; i++)
		give(i);
	while (sent < wanted || !wanted) {
		use_queue(RX);
		if (poll_used()) {
			uint16_t i = last_used_id();
			uint32_t bytes = used_length();

			use_queue(TX);
			set_desc(i, DATA + i * (uint64_t)BYTES, bytes, 0, 0);
			publish(i);
			kick(TX);
		}
		use_queue(TX);
		if (poll_used()) {
			uint16_t i = last_used_id();

			want_interrupt();
			sent += desc[i].len;
			give(i);
		}
	}
	power_off();
}
