// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does the same each time: accesses of every kind to devices, whose results it keeps; then it prints
 * a sum of all of its memory that it has written. "attack=N": N rounds.
 */
#include "tests/lib/virtio-guest.h"

__asm__(".code64\n"
	".global _start\n"
	"_start: movl $0x9e000, %esp\n"
	"	movq %rsi, %rdi\n"
	"	call guest_main\n");

#define KEPT	       0x200000ull
#define KEPT_BYTES     0x100000ull
#define SCRATCH	       (PORT_COM1 + 7)
#define BRIDGE	       LAYOUT_ECAM
#define CARD	       (LAYOUT_ECAM + (1 << 15))
#define INTERRUPT_LINE 0x3c
#define NOTHING	       0xd8000000ull

static uint64_t at;

static void keep(uint64_t v)
{
	*(volatile uint64_t *)(KEPT + at) = *(volatile uint64_t *)(KEPT + at) * 31 + v + 1;
	at = (at + 8) % KEPT_BYTES;
}

static void keep_bytes(const uint8_t *bytes, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		keep(bytes[i]);
}

/* clang-format off */
/* Ports: single ones, of each width, and many by one instruction. */
static void use_ports(uint8_t value)
{
	static uint8_t out[16], in[24];
	uint64_t n = sizeof(out);
	const uint8_t *from = out;
	void *to = in;
	uint8_t byte;

	for (unsigned int i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(value + 7 * i);
	outb(SCRATCH, value);
	__asm__ volatile("inb %1, %0" : "=a"(byte) : "Nd"((uint16_t)SCRATCH));
	keep(byte);
	__asm__ volatile("rep outsb" : "+S"(from), "+c"(n) : "d"((uint16_t)SCRATCH) : "memory");
	n = sizeof(in);
	__asm__ volatile("rep insb" : "+D"(to), "+c"(n) : "d"((uint16_t)SCRATCH) : "memory");
	keep(n);
	keep_bytes(in, sizeof(in));
	outl(PORT_PCI_ADDRESS, 0x80000000u | (uint32_t)(value & 1) << 11);
	keep(inl(PORT_PCI_DATA));
	keep(inl(0x2f8));
}

/* Memory of devices: each width, beyond a page's end, and instructions that read and write. */
static void use_memory(uint8_t value)
{
	uint64_t from = BRIDGE, to;

	keep(read32(BRIDGE));
	keep(read16(CARD + 2));
	keep(read8(CARD + INTERRUPT_LINE));
	write8(CARD + INTERRUPT_LINE, value);
	__asm__ volatile("addb $3, (%0)" : : "r"(CARD + INTERRUPT_LINE) : "memory", "cc");
	keep(read8(CARD + INTERRUPT_LINE));
	__asm__ volatile("xchgb %b0, (%1)" : "+q"(value) : "r"(CARD + INTERRUPT_LINE) : "memory");
	keep(value);
	keep(*(volatile uint64_t *)NOTHING);
	keep(*(volatile uint64_t *)(NOTHING + 4092));
	*(volatile uint64_t *)(NOTHING + 4092) = value;
	to = KEPT + at;
	__asm__ volatile("movsq" : "+S"(from), "+D"(to) : : "memory");
	keep(5);
}
/* clang-format on */

void guest_main(const uint8_t *zero_page);

void guest_main(const uint8_t *zero_page)
{
	uint64_t rounds = 0, sum = 0;

	read_command_line(zero_page);
	for (const char *p = word; *p; p++)
		rounds = rounds * 10 + (uint64_t)(*p - '0');
	for (uint64_t i = 0; i < rounds; i++) {
		use_ports((uint8_t)i);
		use_memory((uint8_t)(i * 5));
	}
	for (uint64_t i = 0; i < KEPT_BYTES; i += 8)
		sum = sum * 1099511628211u + *(volatile uint64_t *)(KEPT + i) + 1;
	print("sum ");
	print_hex(sum);
	print("\n");
	power_off();
}
