// SPDX-License-Identifier: GPL-2.0-only
/*
 * The boot CPU lets its local APIC's timer run down 100 times, 10 ms each. With
 * "attack=yes" a second CPU prints on ttyS0 all the while, as fast as it can.
 */
#include "tests/lib/virtio-guest.h"

__asm__(".code64\n"
	".global _start\n"
	"_start: movl $0x9e000, %esp\n"
	"	movq %rsi, %rdi\n"
	"	call guest_main\n");

#define LVT_TIMER     0x320
#define INITIAL_COUNT 0x380
#define CURRENT_COUNT 0x390
#define DIVIDE	      0x3e0
#define MASKED	      0x10000u
#define ICR	      0x300

void guest_main(const uint8_t *zero_page);

void guest_main(const uint8_t *zero_page)
{
	static const uint8_t code[] = {
		0xba, PORT_COM1 & 0xff, PORT_COM1 >> 8, /* mov $PORT_COM1, %dx */
		0xb0, 'y',				/* mov $'y', %al */
		0xee, 0xb0, '\n', 0xee,			/* out %al, %dx; mov $'\n', %al; out */
		0xeb, 0xf8,				/* jmp to the first mov to %al */
	};

	read_command_line(zero_page);
	if (same_word(word, "yes")) {
		memcpy((void *)0x80000, code, sizeof(code));
		write32(LAYOUT_LAPIC + ICR, 0xc4500);
		write32(LAYOUT_LAPIC + ICR, 0xc4680);
	}
	write32(LAYOUT_LAPIC + LVT_TIMER, MASKED);
	write32(LAYOUT_LAPIC + DIVIDE, 0xb); /* by 1: KVM's counts nanoseconds */
	for (unsigned int i = 0; i < 100; i++) {
		write32(LAYOUT_LAPIC + INITIAL_COUNT, 10000000);
		while (read32(LAYOUT_LAPIC + CURRENT_COUNT))
			;
	}
	power_off();
}
