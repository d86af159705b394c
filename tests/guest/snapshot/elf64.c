// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints the same lines each time, whatever becomes of it meanwhile. Between two of them all that it has is
 * in use: numbers in registers of the FPU, SSE and debugging, bytes in the UART's FIFO, buffers with the
 * device, the local APIC's timer that it sleeps by, the time stamp counter. What is not as it left it is
 * said. "attack=N": N lines.
 */
#include "tests/lib/virtio-guest.h"

__asm__(".code64\n"
	".global _start\n"
	"_start: movl $0x9e000, %esp\n"
	"	movq %rsi, %rdi\n"
	"	call guest_main\n"
	/* An emulated CPU was seen to forget that nothing interrupts between the two. */
	"sleep_once: sti\n"
	"halt: hlt\n"
	"	cli\n"
	"	ret\n"
	"on_timer: push %rax\n"
	"	incq ticks(%rip)\n"
	"	leaq halt(%rip), %rax\n"
	"	cmpq %rax, 8(%rsp)\n"
	"	jne 1f\n"
	"	incq 8(%rsp)\n"
	"1:\n"
	"	movl $0xfee000b0, %eax\n"
	"	movl $0, (%rax)\n"
	"	pop %rax\n"
	"	iretq\n");

#define APIC(reg) (LAYOUT_LAPIC + (reg))
#define VECTOR	  0x40u
#define SLEEP_NS  3000000u
#define UART_MCR  (PORT_COM1 + 4)
#define UART_LOOP 0x10
#define BUFFERS	  4u
#define BUFFER(n) (0x80000ull + 64 * (n))

extern void on_timer(void);
extern void sleep_once(void);
uint64_t ticks;
static uint64_t last_tsc;
static struct {
	uint64_t low, high;
} idt[VECTOR + 1] __attribute__((aligned(16)));

static uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0"
			 : "=a"(v)
			 : "Nd"(port));
	return v;
}

static void start_timers(void)
{
	const uint64_t at = (uint64_t)on_timer;
	const struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} table = { sizeof(idt) - 1, (uint64_t)idt };

	/* Nobody takes what the 8259s have: they have no vectors yet. */
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	idt[VECTOR].low = (at & 0xffff) | 0x10ull << 16 | 0x8e00ull << 32 | (at >> 16 & 0xffff) << 48;
	idt[VECTOR].high = at >> 32;
	__asm__ volatile("lidt %0"
			 :
			 : "m"(table));
	write32(APIC(0xf0), 0x1ff);
	write32(APIC(0x320), VECTOR);
	write32(APIC(0x3e0), 0xb);
}

/* Until the timer has fired. */
static void nap(void)
{
	const uint64_t before = ticks;

	write32(APIC(0x380), SLEEP_NS);
	while (*(volatile uint64_t *)&ticks == before)
		sleep_once();
}

/* ---- registers ---- */

/* clang-format off */
static void fill_registers(void)
{
	uint64_t cr4;

	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | 0x600));
	__asm__ volatile("fninit; fldpi; fldl2e; movq %0, %%xmm0; movq %1, %%xmm15"
			 : : "r"(0x1122334455667788ull), "r"(0x99aabbccddeeff00ull));
	__asm__ volatile("mov %0, %%dr0; mov %1, %%dr1; mov %2, %%dr3"
			 : : "r"(0x123000ull), "r"(0xdead000ull), "r"(0x7f0000ull));
}

static void check_registers(void)
{
	uint64_t xmm0, xmm15, dr0, dr3, st[2];

	__asm__ volatile("movq %%xmm0, %0; movq %%xmm15, %1" : "=r"(xmm0), "=r"(xmm15));
	__asm__ volatile("mov %%dr0, %0; mov %%dr3, %1" : "=r"(dr0), "=r"(dr3));
	__asm__ volatile("fstl %0; fxch; fstl %1; fxch" : "=m"(st[0]), "=m"(st[1]));
	if (xmm0 != 0x1122334455667788ull || xmm15 != 0x99aabbccddeeff00ull)
		fail("SSE", xmm0);
	if (st[0] != 0x3ff71547652b82feull || st[1] != 0x400921fb54442d18ull)
		fail("FPU", st[0]);
	if (dr0 != 0x123000 || dr3 != 0x7f0000)
		fail("debug registers", dr0);
}
/* clang-format on */

static void check_time(void)
{
	uint32_t low, high;
	uint64_t now;

	__asm__ volatile("lfence; rdtsc"
			 : "=a"(low), "=d"(high)
			 :
			 : "memory");
	now = (uint64_t)high << 32 | low;
	if (now < last_tsc || now - last_tsc > 1ull << 40)
		fail("time stamp counter", now - last_tsc);
	last_tsc = now;
}

/* ---- devices ---- */

/* What is in the FIFO stays there over a nap. */
static void use_uart(uint8_t value)
{
	outb(UART_MCR, UART_LOOP);
	for (uint8_t i = 0; i < 5; i++)
		outb(PORT_COM1, (uint8_t)(value + i));
	nap();
	for (uint8_t i = 0; i < 5; i++) {
		uint8_t v = inb(PORT_COM1);

		if (v != (uint8_t)(value + i))
			fail("UART", v);
	}
	outb(UART_MCR, 0);
}

/* Every buffer comes back once, filled; they may all be with the device over a nap. */
static void use_rng(void)
{
	for (uint16_t i = 0; i < BUFFERS; i++) {
		memset((void *)BUFFER(i), 0, 64);
		set_desc(i, BUFFER(i), 64, VRING_DESC_F_WRITE, 0);
		publish(i);
	}
	kick(0);
	nap();
	for (uint16_t i = 0; i < BUFFERS; i++) {
		uint64_t sum = 0;

		if (!wait_used())
			fail("rng", used[1]);
		for (unsigned int k = 0; k < 8; k++)
			sum |= ((volatile uint64_t *)BUFFER(i))[k];
		if (used_length() != 64 || !sum)
			fail("rng's buffer", used_length());
	}
	if (used[1] != used_seen)
		fail("rng: more than it was given", used[1]);
}

void guest_main(const uint8_t *zero_page);

void guest_main(const uint8_t *zero_page)
{
	uint64_t lines = 0;

	read_command_line(zero_page);
	for (const char *p = word; *p; p++)
		lines = lines * 10 + (uint64_t)(*p - '0');
	find_device();
	bring_up(0);
	start_timers();
	fill_registers();
	for (uint64_t i = 0; i < lines; i++) {
		check_time();
		use_uart((uint8_t)i);
		use_rng();
		check_registers();
		print("line ");
		print_hex(i);
		print("\n");
	}
	print("done\n");
	power_off();
}
