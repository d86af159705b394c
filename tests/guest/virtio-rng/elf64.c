// SPDX-License-Identifier: GPL-2.0-only
/*
 * One attack on the virtio entropy device, which the command line names, and then the
 * proof that it works again after a reset.
 */
#include "tests/lib/virtio-guest.h"

__asm__(".code64\n"
	".global _start\n"
	"_start: movl $0x9e000, %esp\n"
	"	movq %rsi, %rdi\n"
	"	call guest_main\n");

#define DATA	  0x200000ull
#define WRITE	  VRING_DESC_F_WRITE
#define NEXT	  VRING_DESC_F_NEXT
#define MOST	  4096u
#define QUEUE	  0u
#define RAM_BYTES 0x140000000ull

static uint32_t ask(void)
{
	publish(0);
	kick(0);
	if (!wait_used())
		fail("broken by a request", get_status());
	return used_length();
}

static uint32_t ask_for(uint32_t bytes)
{
	set_desc(0, DATA, bytes, WRITE, 0);
	return ask();
}

static void prove_recovery(void)
{
	uint64_t zeros = 0;

	bring_up(F_EVENT_IDX);
	memset((void *)DATA, 0, 256);
	if (ask_for(256) != 256)
		fail("bytes", used_length());
	for (unsigned int i = 0; i < 256; i++)
		zeros += read8(DATA + i) == 0;
	if (zeros > 20)
		fail("zeros among 256 bytes", zeros);
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
	for (uint16_t i = 0; i < 3; i++)
		set_desc(i, DATA + i * 64u, 64, WRITE | (i < 2 ? NEXT : 0), (uint16_t)(i + 1));
}

static void expect_good(void)
{
	build_good();
	if (ask() != 192)
		fail("bytes", used_length());
}

#include "tests/lib/virtio-attacks.h"

/* What is not written stays as it was. */
static void canary(void)
{
	memset((void *)DATA, 0x7f, 2 * MOST);
	if (ask_for(2 * MOST) != MOST)
		fail("bytes", used_length());
	for (uint32_t i = MOST; i < 2 * MOST; i++)
		if (read8(DATA + i) != 0x7f)
			fail("a byte beyond what was given", i);
}

/* 100 bytes and 15 buffers of 160 MiB, one over the other: 2.4 GiB. */
static void huge(void)
{
	set_desc(0, DATA, 100, WRITE | NEXT, 1);
	for (uint16_t i = 1; i < RING_SIZE; i++)
		set_desc(i, 0x2000000, 0xa000000, WRITE | (i < RING_SIZE - 1 ? NEXT : 0),
			 (uint16_t)(i + 1));
	if (ask() != MOST)
		fail("bytes", used_length());
}

/* An indirect table of 16 buffers of 240 MiB: almost 4 GiB. */
static void indirect_huge(void)
{
	struct vring_desc *table = (struct vring_desc *)0x300000;

	bring_up(F_INDIRECT);
	for (unsigned int i = 0; i < RING_SIZE; i++) {
		table[i].addr = 0x2000000;
		table[i].len = 0xf000000;
		table[i].flags = WRITE | (i < RING_SIZE - 1 ? NEXT : 0);
		table[i].next = (uint16_t)(i + 1);
	}
	set_desc(0, 0x300000, RING_SIZE * sizeof(table[0]), VRING_DESC_F_INDIRECT, 0);
	if (ask() != MOST)
		fail("bytes", used_length());
}

static void read_only(void)
{
	set_desc(0, DATA, 256, 0, 0);
	memset((void *)DATA, 0, 256);
	if (ask() || read32(DATA))
		fail("bytes into a buffer to read from", used_length());
}

static void empty(void)
{
	if (ask_for(0))
		fail("bytes into nothing", used_length());
}

static void one_byte_each(void)
{
	for (uint16_t i = 0; i < RING_SIZE; i++)
		set_desc(i, DATA + i, 1, WRITE | (i < RING_SIZE - 1 ? NEXT : 0), (uint16_t)(i + 1));
	if (ask() != RING_SIZE)
		fail("bytes", used_length());
}

static void outside_ram(void)
{
	set_desc(0, 0x7ffffff000ull, 64, WRITE, 0);
	publish(0);
	kick(0);
	expect_broken();
}

static void flood(void)
{
	for (unsigned int i = 0; i < 3000; i++)
		if (ask_for(0x100000) > MOST)
			fail("bytes", used_length());
}

static void reset_at_work(void)
{
	for (unsigned int i = 0; i < 100; i++) {
		bring_up(0);
		for (uint16_t k = 0; k < RING_SIZE; k++) {
			set_desc(k, DATA, 0x1000, WRITE, 0);
			publish(k);
		}
		kick(0);
		set_status(STATUS_RESET);
		while (get_status())
			;
		memset((void *)DATA, 0x11, 0x1000);
		for (volatile int k = 0; k < 300; k++)
			;
		if (read32(DATA) != 0x11111111)
			fail("data after a reset", read32(DATA));
	}
}

/* 64 bytes per second: what is asked for comes, bit by bit. */
static void limited(void)
{
	uint32_t got = 0;

	while (got < 128) {
		uint32_t n = ask_for(16);

		if (!n || n > 16)
			fail("bytes", n);
		got += n;
	}
	print("LIMITED\n");
	power_off();
}

static const struct {
	const char *name;
	void (*run)(void);
} attacks[] = {
/* clang-format off */
#define ATTACK(name) { #name, name }
	ATTACKS_ON_ALL_DEVICES, ATTACK(canary),
	ATTACK(huge), ATTACK(indirect_huge), ATTACK(read_only), ATTACK(empty), ATTACK(one_byte_each),
	ATTACK(outside_ram), ATTACK(flood), ATTACK(reset_at_work),
	{ "limited", limited },
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
		bring_up(0);
		attacks[i].run();
		print("SURVIVED\n");
		prove_recovery();
	}
	fail("no such attack", 0);
}
