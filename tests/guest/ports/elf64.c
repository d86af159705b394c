// SPDX-License-Identifier: GPL-2.0-only
/*
 * One attack on what is not virtio, which the command line names: every port, addresses
 * where nothing is, ACPI's registers, PCI's ports, the old devices, string instructions; by
 * one CPU or by two. Then the proof that all of them are what they were.
 */
#include "tests/lib/virtio-guest.h"
#include "tests/lib/second-cpu.h"

__asm__(".code64\n"
	".global _start\n"
	"_start: movl $0x9e000, %esp\n"
	"	movq %rsi, %rdi\n"
	"	call guest_main\n");

#define MEMORY	0x200000ull
#define RAM_END 0x10000000ull
#define LCR	(PORT_COM1 + 3)

/* clang-format off */
static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint16_t inw(uint16_t port)
{
	uint16_t v;

	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static void in_string(uint16_t port, uint64_t to, uint64_t count)
{
	__asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(port) : "memory");
}

static void out_string(uint16_t port, uint64_t from, uint64_t count)
{
	__asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(port) : "memory");
}
/* clang-format on */

/* ---- what has to hold afterwards ---- */

static uint32_t host_bridge;

static void remember(void)
{
	outl(PORT_PCI_ADDRESS, 0x80000000);
	host_bridge = inl(PORT_PCI_DATA);
}

static uint8_t rtc(uint8_t index)
{
	outb(PORT_RTC, index);
	return inb(PORT_RTC + 1);
}

static void rtc_set(uint8_t index, uint8_t v)
{
	outb(PORT_RTC, index);
	outb(PORT_RTC + 1, v);
}

static void prove_recovery(void)
{
	uint8_t seconds;

	outl(PORT_PCI_ADDRESS, 0x80000000);
	if (inl(PORT_PCI_DATA) != host_bridge)
		fail("the host bridge", inl(PORT_PCI_DATA));
	rtc_set(11, 2); /* 24 hours, BCD, running */
	seconds = rtc(0);
	if ((seconds & 15) > 9 || seconds > 0x59)
		fail("seconds", seconds);
	(void)inb(PORT_I8042_DATA);
	outb(PORT_I8042_COMMAND, 0xaa);
	if (inb(PORT_I8042_DATA) != 0x55)
		fail("self test of the keyboard controller", 0);
	/* The serial port as firmware leaves it: then this can be read. */
	outb(LCR, 0x80);
	outb(PORT_COM1, 1);
	outb(PORT_COM1 + 1, 0);
	outb(LCR, 3);
	outb(PORT_COM1 + 1, 0);
	outb(PORT_COM1 + 2, 7);
	outb(PORT_COM1 + 4, 3);
	print("RECOVERED\n");
	power_off();
}

/* ---- attacks ---- */

/* Ports where a write ends the VM or is seen by people. */
static int is_special(uint32_t port)
{
	return (port >= PORT_COM1 - 3 && port < PORT_COM1 + 8) ||
	       (port >= PORT_PVPANIC - 3 && port <= PORT_PVPANIC);
}

static void all_ports(void)
{
	for (uint32_t port = 0; port < 0x10000; port += port < 0x100 ? 1 : every) {
		(void)inb((uint16_t)port);
		(void)inw((uint16_t)port);
		(void)inl((uint16_t)port);
		/* Beyond are windows of devices that are not there. */
		if (is_special(port) || port > 0x1100)
			continue;
		outb((uint16_t)port, 0xff);
		outw((uint16_t)port, 0xffff);
		outl((uint16_t)port, 0xffffffff);
		outb((uint16_t)port, 0);
	}
}

/* Every page from the end of RAM to 4 GiB that has no interrupt controller in it. */
static void all_addresses(void)
{
	for (uint64_t at = RAM_END; at < 0x100000000ull; at += 0x33000 * every + at % 8) {
		if (at >= LAYOUT_IOAPIC - 0x1000 && at < LAYOUT_LAPIC + 0x2000)
			continue;
		(void)read8(at);
		(void)read16(at);
		(void)read32(at);
		(void)*(volatile uint64_t *)at;
		write8(at, 0xff);
		write16(at, 0xffff);
		write32(at, 0xffffffff);
		*(volatile uint64_t *)at = ~0ull;
	}
	/* Accesses that begin or end where there is something. */
	for (uint64_t at = LAYOUT_ECAM - 8; at < LAYOUT_ECAM + 8; at++)
		*(volatile uint64_t *)at = ~0ull;
	for (uint64_t at = LAYOUT_ECAM + LAYOUT_ECAM_SIZE - 8; at < LAYOUT_ECAM + LAYOUT_ECAM_SIZE + 8; at++)
		(void)*(volatile uint64_t *)at;
	for (uint64_t at = RAM_END - 8; at < RAM_END + 8; at++)
		(void)*(volatile uint64_t *)at;
}

/* ACPI's registers take any value but the two that mean something. */
static void acpi_values(void)
{
	for (uint32_t v = 0; v < 256; v++) {
		if ((v & 0x20) && (v >> 2 & 7) == SLEEP_TYPE_S5)
			continue;
		outb(PORT_SLEEP_CONTROL, (uint8_t)v);
		outb(PORT_SLEEP_STATUS, (uint8_t)v);
		if (v != RESET_VALUE)
			outb(PORT_RESET, (uint8_t)v);
		if (inb(PORT_SLEEP_STATUS) || inb(PORT_SLEEP_CONTROL))
			fail("sleep status", inb(PORT_SLEEP_STATUS));
	}
	for (uint16_t port = PORT_SLEEP_CONTROL - 4; port < PORT_RESET + 4; port++) {
		outl(port, 0x03030303);
		outw(port, 0x0303);
		(void)inl(port);
	}
}

static void rtc_any(void)
{
	for (uint32_t round = 0; round < 8; round++) {
		for (uint32_t i = round; i < 256; i += every) {
			rtc_set(11, (uint8_t)(round << 5 | (i & 6)));
			rtc_set((uint8_t)i, (uint8_t)(i * 37 + round));
			(void)rtc((uint8_t)i);
			outw(PORT_RTC, 0xffff);
			(void)inl(PORT_RTC);
		}
		/* A time of impossible parts, in binary, as it runs. */
		rtc_set(11, 0x86);
		for (uint8_t i = 0; i < 10; i++)
			rtc_set(i, 0xff);
		rtc_set(0x32, 0xff);
		rtc_set(11, 0x06);
		for (uint8_t i = 0; i < 10; i++)
			(void)rtc(i);
	}
	rtc_set(11, 0x82);
	for (uint8_t i = 0; i < 10; i++)
		rtc_set(i, 1);
	rtc_set(11, 2);
}

static void keyboard_any(void)
{
	for (uint32_t command = 0; command < 256; command++) {
		/* Pulsing the reset line is a proper end. */
		if (command >= 0xf0 && !(command & 1))
			continue;
		for (uint32_t data = 1; data < 256; data += 2 * every) {
			outb(PORT_I8042_COMMAND, (uint8_t)command);
			outb(PORT_I8042_DATA, (uint8_t)data);
			(void)inb(PORT_I8042_COMMAND);
			(void)inb(PORT_I8042_DATA);
		}
	}
	outw(PORT_I8042_COMMAND, 0xffff);
	(void)inl(PORT_I8042_DATA);
	/* Back to a controller without interrupts. */
	outb(PORT_I8042_COMMAND, 0x60);
	outb(PORT_I8042_DATA, 4);
}

/* Every register of the serial port, in its loop: nothing comes out. */
static void serial_any(void)
{
	for (uint32_t v = 0; v < 256; v += every) {
		outb(PORT_COM1 + 4, (uint8_t)(v | 0x10));
		for (uint16_t reg = 1; reg < 8; reg++) {
			if (reg == 4)
				continue;
			outb((uint16_t)(PORT_COM1 + reg), (uint8_t)v);
			(void)inb((uint16_t)(PORT_COM1 + reg));
		}
		/* Far more than the buffer holds. */
		outb(LCR, 3);
		for (uint32_t i = 0; i < 40; i++)
			outb(PORT_COM1, (uint8_t)i);
		for (uint32_t i = 0; i < 50; i++)
			(void)inb(PORT_COM1);
		(void)inl(PORT_COM1 + 2);
	}
	outb(PORT_COM1 + 1, 0);
}

/* PCI's ports, bit by bit and in pieces. */
static void pci_any(void)
{
	for (uint32_t i = 0; i < 2000; i += every) {
		outl(PORT_PCI_ADDRESS, i * 0x10203040u);
		outl(PORT_PCI_DATA, 0xffffffff);
		(void)inl(PORT_PCI_DATA);
		outw((uint16_t)(PORT_PCI_DATA + i % 4), 0xffff);
		outb((uint16_t)(PORT_PCI_DATA + i % 4), 0xff);
		(void)inw((uint16_t)(PORT_PCI_DATA + i % 4));
		(void)inb((uint16_t)(PORT_PCI_ADDRESS + i % 8));
		outl((uint16_t)(PORT_PCI_ADDRESS + i % 4), 0x80000000 | i);
	}
	/* The host bridge is read-only. */
	for (uint32_t reg = 0; reg < 256; reg += 4) {
		outl(PORT_PCI_ADDRESS, 0x80000000 | reg);
		outl(PORT_PCI_DATA, 0xffffffff);
	}
}

/* Strings from and to ports, into RAM, onto devices and where nothing is. */
static void strings(void)
{
	static const uint16_t ports[] = { PORT_RTC + 1, PORT_I8042_DATA, PORT_I8042_COMMAND,
					  PORT_PCI_DATA, PORT_SLEEP_STATUS, 0x5000 };

	memset((void *)MEMORY, 0xff, 0x2000);
	for (unsigned int i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		in_string(ports[i], MEMORY, 0x1800);
		in_string(ports[i], LAYOUT_ECAM, 64);
		in_string(ports[i], 0xc8000000, 64);
		in_string(ports[i], RAM_END - 32, 64);
		out_string((uint16_t)(ports[i] == PORT_PCI_DATA ? 0x80 : ports[i]), LAYOUT_ECAM, 64);
		out_string(0x80, RAM_END - 32, 64);
	}
	memset((void *)MEMORY, 0xff, 0x2000);
	out_string(PORT_RTC + 1, MEMORY, 0x1800);
	out_string(PORT_SLEEP_STATUS, MEMORY, 0x1800);
}

/* ---- the same by two CPUs ---- */

static void second(void)
{
	while (!second_stop) {
		rtc_any();
		keyboard_any();
		pci_any();
	}
}

static void race_devices(void)
{
	start_second_cpu(second);
	rtc_any();
	keyboard_any();
	pci_any();
	acpi_values();
	strings();
	stop_second_cpu();
	/* Halves of each other's commands may be left. */
	outb(PORT_I8042_COMMAND, 0x60);
	outb(PORT_I8042_DATA, 4);
	rtc_any();
}

static void second_serial(void)
{
	while (!second_stop)
		serial_any();
}

static void race_serial(void)
{
	start_second_cpu(second_serial);
	serial_any();
	serial_any();
	stop_second_cpu();
}

static const struct {
	const char *name;
	void (*run)(void);
} attacks[] = {
/* clang-format off */
#define ATTACK(name) { #name, name }
	ATTACK(all_ports), ATTACK(all_addresses), ATTACK(acpi_values), ATTACK(rtc_any),
	ATTACK(keyboard_any), ATTACK(serial_any), ATTACK(pci_any), ATTACK(strings),
	ATTACK(race_devices), ATTACK(race_serial),
	/* clang-format on */
};

void guest_main(const uint8_t *zero_page);

void guest_main(const uint8_t *zero_page)
{
	read_command_line(zero_page);
	remember();
	for (unsigned int i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		if (!same_word(word, attacks[i].name))
			continue;
		attacks[i].run();
		prove_recovery();
	}
	fail("no such attack", 0);
}
