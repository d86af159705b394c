// SPDX-License-Identifier: GPL-2.0-only
/*
 * One attack on a virtio console device with one named port (id 1), which the command
 * line names, and then the proof that the device works again after a reset: bytes go
 * out of the port and come back from a peer that echoes.
 */
#include "tests/lib/virtio-guest.h"

#include <linux/virtio_console.h>

__asm__(".code64\n"
	".global _start\n"
	"_start: movl $0x9e000, %esp\n"
	"	movq %rsi, %rdi\n"
	"	call guest_main\n");

/* Queues: those of port 0, of control, of port 1. */
#define RX0	    0u
#define TX0	    1u
#define CTRL_RX	    2u
#define CTRL_TX	    3u
#define RX	    4u
#define TX	    5u
#define QUEUES	    6u
#define QUEUE	    TX
#define RAM_BYTES   0x10000000ull
#define MESSAGE	    0x200000ull
#define NEWS	    0x300000ull /* control buffers, 256 bytes each */
#define OUT	    0x400000ull
#define IN	    0x500000ull /* buffers for bytes, 0x10000 each */
#define WRITE	    VRING_DESC_F_WRITE
#define NEXT	    VRING_DESC_F_NEXT
#define F_MULTIPORT (1ull << VIRTIO_CONSOLE_F_MULTIPORT)
#define F_SIZE	    (1ull << VIRTIO_CONSOLE_F_SIZE)

static void give_news_buffers(uint32_t bytes, uint16_t flags)
{
	use_queue(CTRL_RX);
	for (uint16_t i = 0; i < RING_SIZE; i++) {
		set_desc(i, NEWS + i * 256u, bytes, flags, 0);
		publish(i);
	}
	kick(CTRL_RX);
}

static void give_buffers(uint32_t bytes, uint16_t flags)
{
	use_queue(RX);
	for (uint16_t i = 0; i < RING_SIZE; i++) {
		set_desc(i, IN + i * 0x10000u, bytes, flags, 0);
		publish(i);
	}
	kick(RX);
}

static void post_message(uint32_t id, uint16_t event, uint16_t value, uint32_t bytes)
{
	use_queue(CTRL_TX);
	write32(MESSAGE, id);
	write16(MESSAGE + 4, event);
	write16(MESSAGE + 6, value);
	set_desc(0, MESSAGE, bytes, 0, 0);
	publish(0);
	kick(CTRL_TX);
}

static void send_message(uint32_t id, uint16_t event, uint16_t value, uint32_t bytes)
{
	post_message(id, event, value, bytes);
	if (!wait_used())
		fail("broken by a message", get_status());
}

static void tell(uint32_t id, uint16_t event, uint16_t value)
{
	send_message(id, event, value, 8);
}

static void send_bytes(uint32_t bytes)
{
	use_queue(TX);
	set_desc(0, OUT, bytes, 0, 0);
	publish(0);
	kick(TX);
	if (!wait_used())
		fail("broken by bytes", get_status());
}

/* Waits for the message @event about port 1 with this value. */
static void expect_news(uint16_t event, uint16_t value)
{
	use_queue(CTRL_RX);
	for (unsigned int i = 0; i < RING_SIZE; i++) {
		uint64_t at = NEWS + used_seen % RING_SIZE * 256u;

		if (!wait_used())
			fail("broken while it should speak", get_status());
		if (read32(at) == 1 && read16(at + 4) == event && read16(at + 6) == value)
			return;
	}
	fail("no news of", event);
}

static void open_port(void)
{
	give_news_buffers(256, WRITE);
	tell(0xffffffff, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect_news(VIRTIO_CONSOLE_PORT_ADD, 1);
	tell(1, VIRTIO_CONSOLE_PORT_READY, 1);
	expect_news(VIRTIO_CONSOLE_PORT_NAME, 1);
	tell(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

static void prove_recovery(void)
{
	uint32_t got = 0;

	bring_up_queues(F_MULTIPORT | F_SIZE, QUEUES);
	open_port();
	/* The peer may be on its way still: it opens the port when it is there. */
	use_queue(CTRL_RX);
	used_seen = 0;
	expect_news(VIRTIO_CONSOLE_PORT_OPEN, 1);
	give_buffers(0x1000, WRITE);
	memset((void *)OUT, 0xa5, 1000);
	send_bytes(1000);
	use_queue(RX);
	/* What came back of the attack may be before it. */
	while (got < 1000) {
		uint16_t buffer = used_seen % RING_SIZE;

		if (!wait_used())
			fail("broken when it should work", get_status());
		for (unsigned int i = 0; i < used_length(); i++)
			got += read8(IN + buffer * 0x10000u + i) == 0xa5;
		publish(buffer);
		kick(RX);
	}
	print("RECOVERED\n");
	power_off();
}

/* ---- what all devices have to survive ---- */

static void up(uint64_t features)
{
	bring_up_queues(F_MULTIPORT | F_SIZE | features, QUEUES);
	open_port();
	use_queue(TX);
}

static void build_good(void)
{
	set_desc(0, OUT, 10, NEXT, 1);
	set_desc(1, OUT + 10, 20, NEXT, 2);
	set_desc(2, OUT + 30, 30, 0, 0);
}

static void expect_good(void)
{
	build_good();
	publish(0);
	kick(TX);
	if (!wait_used())
		fail("broken by bytes", get_status());
}

#include "tests/lib/virtio-attacks.h"

/* What is not written stays as it was: nothing of ours ends up in the guest. */
static void canary(void)
{
	up(0);
	use_queue(CTRL_RX);
	used_seen = 0;
	expect_news(VIRTIO_CONSOLE_PORT_OPEN, 1);
	memset((void *)IN, 0x7f, 0x10000);
	give_buffers(0x10000, WRITE);
	send_bytes(100);
	use_queue(RX);
	if (!wait_used())
		fail("broken by bytes", get_status());
	for (uint32_t i = used_length(); i < 0x10000; i++)
		if (read8(IN + i) != 0x7f)
			fail("a byte beyond what came", i);
}

/* ---- control ---- */

static void ports_out_of_range(void)
{
	static const uint32_t ids[] = { 0, 2, 3, 15, 16, 255, 0x7fffffff, 0x80000000, 0xffffffff };

	for (unsigned int i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		for (uint16_t event = 0; event < 12; event++)
			for (uint16_t value = 0; value < 2; value++)
				tell(ids[i], event, value);
}

static void messages_malformed(void)
{
	open_port();
	for (uint32_t bytes = 0; bytes < 8; bytes++)
		send_message(1, VIRTIO_CONSOLE_PORT_OPEN, 1, bytes);
	send_message(1, VIRTIO_CONSOLE_PORT_OPEN, 1, 0x100000);
	tell(1, 0xffff, 0xffff);
	use_queue(CTRL_TX);
	set_desc(0, MESSAGE, 100, WRITE, 0);
	publish(0);
	kick(CTRL_TX);
	if (!wait_used())
		fail("broken by a writable message", get_status());
}

/* Nothing piles up for a driver that gives no buffers. */
static void news_without_buffers(void)
{
	for (unsigned int i = 0; i < 500; i++) {
		tell(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
		tell(1, VIRTIO_CONSOLE_PORT_READY, 1);
		tell(1, VIRTIO_CONSOLE_PORT_OPEN, i & 1);
	}
	give_news_buffers(256, WRITE);
	expect_news(VIRTIO_CONSOLE_PORT_ADD, 1);
	expect_news(VIRTIO_CONSOLE_PORT_NAME, 1);
}

static void news_into_nothing(void)
{
	give_news_buffers(0, WRITE);
	for (unsigned int i = 0; i < 20; i++)
		tell(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	bring_up_queues(F_MULTIPORT, QUEUES);
	give_news_buffers(100, 0);
	for (unsigned int i = 0; i < 20; i++)
		tell(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	bring_up_queues(F_MULTIPORT, QUEUES);
	give_news_buffers(5, WRITE);
	for (unsigned int i = 0; i < 20; i++)
		tell(1, VIRTIO_CONSOLE_PORT_READY, 1);
}

static void news_outside_ram(void)
{
	use_queue(CTRL_RX);
	set_desc(0, LAYOUT_LAPIC, 64, WRITE, 0);
	publish(0);
	kick(CTRL_RX);
	/* The answer breaks the device, perhaps before the message is seen to be used. */
	post_message(0, VIRTIO_CONSOLE_DEVICE_READY, 1, 8);
	expect_broken();
}

/* ---- data ---- */

static void odd_buffers(void)
{
	open_port();
	use_queue(TX);
	send_bytes(0);
	set_desc(0, OUT, 100, WRITE, 0);
	publish(0);
	kick(TX);
	if (!wait_used())
		fail("broken by a writable buffer", get_status());
	give_buffers(0, WRITE);
	send_bytes(100);
	bring_up_queues(F_MULTIPORT, QUEUES);
	open_port();
	give_buffers(100, 0);
	send_bytes(100);
	bring_up_queues(F_MULTIPORT, QUEUES);
	open_port();
	give_buffers(1, WRITE);
	send_bytes(100);
}

static void many_bytes(void)
{
	open_port();
	give_buffers(0x10000, WRITE);
	use_queue(TX);
	for (uint16_t i = 0; i < RING_SIZE; i++)
		set_desc(i, OUT, 0x8000, i < RING_SIZE - 1 ? NEXT : 0, (uint16_t)(i + 1));
	publish(0);
	kick(TX);
	/* The peer echoes: half a MiB out, and we take none of it. */
	if (!wait_used())
		fail("broken by a big chain", get_status());
}

static void absent_port(void)
{
	use_queue(TX0);
	set_desc(0, OUT, 100, 0, 0);
	publish(0);
	kick(TX0);
	use_queue(RX0);
	set_desc(0, IN, 100, WRITE, 0);
	publish(0);
	kick(RX0);
	for (uint16_t q = QUEUES; q < 40; q++)
		kick(q);
}

static void not_multiport(void)
{
	bring_up_queues(F_SIZE, 2);
	use_queue(TX0);
	set_desc(0, OUT, 100, 0, 0);
	publish(0);
	for (uint16_t q = 0; q < 10; q++)
		kick(q);
}

static void tx_loop(void)
{
	use_queue(TX);
	set_desc(0, OUT, 100, NEXT, 0);
	publish(0);
	kick(TX);
	expect_broken();
}

static void reset_at_work(void)
{
	for (unsigned int i = 0; i < 30; i++) {
		bring_up_queues(F_MULTIPORT, QUEUES);
		open_port();
		give_buffers(0x1000, WRITE);
		use_queue(TX);
		for (uint16_t k = 0; k < RING_SIZE; k++) {
			set_desc(k, OUT, 0x1000, 0, 0);
			publish(k);
		}
		kick(TX);
		set_status(STATUS_RESET);
		while (get_status())
			;
		memset((void *)IN, 0x11, 0x1000);
		for (volatile int k = 0; k < 300; k++)
			;
		if (read32(IN) != 0x11111111)
			fail("data after a reset", read32(IN));
	}
}

static void open_and_close(void)
{
	open_port();
	give_buffers(0x100, WRITE);
	for (unsigned int i = 0; i < 300; i++) {
		tell(1, VIRTIO_CONSOLE_PORT_OPEN, i & 1);
		send_bytes(10);
	}
}

/* Bytes to a peer that does not read for two seconds, then echoes: none is lost. */
static void slow_reader(void)
{
	uint64_t sent = 0, got = 0;

	open_port();
	use_queue(CTRL_RX);
	used_seen = 0;
	expect_news(VIRTIO_CONSOLE_PORT_OPEN, 1);
	give_buffers(0x10000, WRITE);
	for (uint32_t i = 0; i < 0x10000; i += 4)
		write32(OUT + i, i / 4);
	while (got < 40 * 0x10000ull) {
		use_queue(TX);
		if (sent < 40 && (sent == 0 || used[1] != used_seen)) {
			used_seen = used[1];
			set_desc(0, OUT, 0x10000, 0, 0);
			publish(0);
			kick(TX);
			sent++;
		}
		use_queue(RX);
		if (used[1] != used_seen) {
			uint16_t i = used_seen % RING_SIZE;

			used_seen++;
			/* The first word of each piece says where in the stream it is. */
			if (used_length() >= 4 && got % 4 == 0 &&
			    read32(IN + i * 0x10000u) != (uint32_t)(got % 0x10000) / 4)
				fail("bytes lost or out of order", got);
			got += used_length();
			publish(i);
			kick(RX);
		}
	}
	print("ALL\n");
	power_off();
}

static const struct {
	const char *name;
	void (*run)(void);
} attacks[] = {
/* clang-format off */
#define ATTACK(name) { #name, name }
	ATTACKS_ON_ALL_DEVICES, ATTACK(canary),
	ATTACK(ports_out_of_range), ATTACK(messages_malformed), ATTACK(news_without_buffers),
	ATTACK(news_into_nothing), ATTACK(news_outside_ram), ATTACK(odd_buffers), ATTACK(many_bytes),
	ATTACK(absent_port), ATTACK(not_multiport), ATTACK(tx_loop), ATTACK(reset_at_work),
	ATTACK(open_and_close),
	{ "slow_reader", slow_reader },
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
		bring_up_queues(F_MULTIPORT | F_SIZE, QUEUES);
		use_queue(TX);
		attacks[i].run();
		print("SURVIVED\n");
		prove_recovery();
	}
	fail("no such attack", 0);
}
