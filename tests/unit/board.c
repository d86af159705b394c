// SPDX-License-Identifier: GPL-2.0-only
/* The small devices: i8042, RTC, PCI host bridge, power management, pvpanic. */
#include "tests/lib/unit.h"

#include <sys/eventfd.h>

#include "bus.h"
#include "kvm.h"
#include "pci.h"
#include "x86/i8042.h"
#include "x86/layout.h"
#include "x86/pm.h"
#include "x86/pvpanic.h"
#include "x86/rtc.h"

static const struct pci_places pci_places = LAYOUT_PCI_PLACES;

struct rig {
	struct bus pio, mmio;
	struct vm vm; /* only its stop request is used */
};

static int set_up(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	bus_init(&r->pio);
	bus_init(&r->mmio);
	r->vm.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	bus_fini(&r->pio);
	bus_fini(&r->mmio);
	close(r->vm.stop_fd);
	free(r);
	return 0;
}

static uint8_t in8(struct rig *r, unsigned int port)
{
	uint8_t v;

	bus_read(&r->pio, port, &v, 1);
	return v;
}

static uint32_t in32(struct rig *r, unsigned int port)
{
	uint32_t v;

	bus_read(&r->pio, port, &v, 4);
	return v;
}

static void out8(struct rig *r, unsigned int port, uint8_t v)
{
	bus_write(&r->pio, port, &v, 1);
}

static void out32(struct rig *r, unsigned int port, uint32_t v)
{
	bus_write(&r->pio, port, &v, 4);
}

static uint8_t i8042_answer(struct rig *r, uint8_t command)
{
	out8(r, PORT_I8042_COMMAND, command);
	assert_true(in8(r, PORT_I8042_COMMAND) & 1);
	return in8(r, PORT_I8042_DATA);
}

/* The sequence of Linux' i8042_controller_init() and i8042_check_aux(). */
static void i8042_answers_at_once(void **state)
{
	struct rig *r = *state;
	struct i8042 dev;

	assert_int_equal(i8042_init(&dev, NULL, &r->pio), 0);
	assert_int_equal(in8(r, PORT_I8042_COMMAND) & 3, 0);
	assert_int_equal(i8042_answer(r, 0xaa), 0x55);
	assert_int_equal(i8042_answer(r, 0xab), 0x00);
	out8(r, PORT_I8042_COMMAND, 0x60);
	out8(r, PORT_I8042_DATA, 0x65);
	assert_int_equal(i8042_answer(r, 0x20), 0x65);
	out8(r, PORT_I8042_COMMAND, 0xd3);
	out8(r, PORT_I8042_DATA, 0x5a);
	assert_int_equal(in8(r, PORT_I8042_COMMAND) & 0x21, 0x21);
	assert_int_not_equal(in8(r, PORT_I8042_DATA), 0x5a);
	assert_int_not_equal(i8042_answer(r, 0xa9), 0);
	out8(r, PORT_I8042_DATA, 0xf2); /* to the keyboard: identify */
	assert_int_equal(in8(r, PORT_I8042_COMMAND) & 0x21, 0x01);
	assert_int_equal(in8(r, PORT_I8042_DATA), 0xfe);
	assert_int_equal(in8(r, PORT_I8042_COMMAND) & 1, 0);
	i8042_fini(&dev);
}

static void i8042_interrupts_if_enabled(void **state)
{
	struct rig *r = *state;
	struct i8042 dev;
	uint64_t n;

	assert_int_equal(i8042_init(&dev, NULL, &r->pio), 0);
	out8(r, PORT_I8042_DATA, 0xf2);
	assert_int_equal(read(dev.irq.fd, &n, sizeof(n)), -1);
	out8(r, PORT_I8042_COMMAND, 0x60);
	out8(r, PORT_I8042_DATA, 0x01);
	out8(r, PORT_I8042_DATA, 0xf2);
	assert_int_equal(read(dev.irq.fd, &n, sizeof(n)), sizeof(n));
	i8042_fini(&dev);
}

static void i8042_resets(void **state)
{
	struct rig *r = *state;
	struct i8042 dev;

	assert_int_equal(i8042_init(&dev, NULL, &r->pio), 0);
	dev.vm = &r->vm;
	for (unsigned int c = 0; c < 256; c++) {
		bool resets = c >= 0xf0 && !(c & 1);

		atomic_store(&r->vm.stop_reason, STOP_NONE);
		out8(r, PORT_I8042_COMMAND, (uint8_t)c);
		assert_int_equal(vm_stop_reason(&r->vm), resets ? STOP_RESET : STOP_NONE);
		out8(r, PORT_I8042_COMMAND, 0xff);
	}
	atomic_store(&r->vm.stop_reason, STOP_NONE);
	out8(r, PORT_I8042_COMMAND, 0xd1);
	out8(r, PORT_I8042_DATA, 0xfe);
	assert_int_equal(vm_stop_reason(&r->vm), STOP_RESET);
	i8042_fini(&dev);
}

static void power_registers_end_the_vm(void **state)
{
	struct rig *r = *state;
	struct pm pm;

	assert_int_equal(pm_init(&pm, &r->vm, &r->pio), 0);
	for (unsigned int v = 0; v < 256; v++) {
		atomic_store(&r->vm.stop_reason, STOP_NONE);
		out8(r, PORT_SLEEP_CONTROL, (uint8_t)v);
		assert_int_equal(vm_stop_reason(&r->vm),
				 (v & 0x20) && (v >> 2 & 7) == 5 ? STOP_POWEROFF : STOP_NONE);
		atomic_store(&r->vm.stop_reason, STOP_NONE);
		out8(r, PORT_RESET, (uint8_t)v);
		assert_int_equal(vm_stop_reason(&r->vm), v == 1 ? STOP_RESET : STOP_NONE);
	}
	assert_int_equal(in8(r, PORT_SLEEP_STATUS), 0);
}

static void the_first_reason_counts(void **state)
{
	struct rig *r = *state;

	vm_request_stop(&r->vm, STOP_PANIC);
	vm_request_stop(&r->vm, STOP_POWEROFF);
	vm_request_stop_signal(&r->vm, 15);
	assert_int_equal(vm_stop_reason(&r->vm), STOP_PANIC);
}

static void pvpanic_ends_the_vm(void **state)
{
	struct rig *r = *state;
	struct pvpanic dev;

	assert_int_equal(pvpanic_init(&dev, &r->vm, &r->pio), 0);
	assert_int_equal(in8(r, PORT_PVPANIC), 3);
	out8(r, PORT_PVPANIC, 0);
	out8(r, PORT_PVPANIC, 0xfc);
	assert_false(dev.crashed);
	out8(r, PORT_PVPANIC, 2); /* a crash kernel takes over */
	assert_int_equal(vm_stop_reason(&r->vm), STOP_NONE);
	assert_true(dev.crashed);
	out8(r, PORT_PVPANIC, 1);
	assert_int_equal(vm_stop_reason(&r->vm), STOP_PANIC);
}

static time_t fixed_time(void)
{
	return 1709210096; /* Thu Feb 29 12:34:56 UTC 2024 */
}

static uint8_t cmos(struct rig *r, uint8_t reg)
{
	out8(r, PORT_RTC, reg);
	return in8(r, PORT_RTC + 1);
}

static void set_cmos(struct rig *r, uint8_t reg, uint8_t value)
{
	out8(r, PORT_RTC, reg);
	out8(r, PORT_RTC + 1, value);
}

static void rtc_tells_the_time(void **state)
{
	static const uint8_t bcd[] = { 0x56, 0, 0x34, 0, 0x12, 0, 0x05, 0x29, 0x02, 0x24 };
	struct rig *r = *state;
	struct rtc rtc;

	assert_int_equal(rtc_init(&rtc, &r->pio), 0);
	rtc.host_time = fixed_time;
	for (uint8_t i = 0; i < sizeof(bcd); i++)
		if (i >= 6 || !(i & 1))
			assert_int_equal(cmos(r, i), bcd[i]);
	assert_int_equal(cmos(r, 0x32), 0x20);
	assert_int_equal(cmos(r, 10) & 0x80, 0);
	assert_int_equal(cmos(r, 13), 0x80);
	set_cmos(r, 11, 0x04); /* binary, 12 hours */
	assert_int_equal(cmos(r, 4), 12 | 0x80);
	assert_int_equal(cmos(r, 0), 56);
	rtc_fini(&rtc);
}

static void rtc_can_be_set(void **state)
{
	struct rig *r = *state;
	struct rtc rtc;

	assert_int_equal(rtc_init(&rtc, &r->pio), 0);
	rtc.host_time = fixed_time;
	set_cmos(r, 11, 0x82);
	set_cmos(r, 0, 0x01);
	set_cmos(r, 2, 0x02);
	set_cmos(r, 4, 0x03);
	set_cmos(r, 7, 0x31);
	set_cmos(r, 8, 0x12);
	set_cmos(r, 9, 0x99);
	set_cmos(r, 0x32, 0x19);
	assert_int_equal(cmos(r, 9), 0x99);
	set_cmos(r, 11, 0x02);
	assert_int_equal(cmos(r, 0), 0x01);
	assert_int_equal(cmos(r, 8), 0x12);
	assert_int_equal(cmos(r, 0x32), 0x19);
	assert_int_equal(rtc.state.offset_s, 946609321 - fixed_time());
	/* Nonsense must not crash. */
	for (unsigned int i = 0; i < 256; i++) {
		set_cmos(r, 11, 0x80);
		for (uint8_t reg = 0; reg < 128; reg++)
			set_cmos(r, reg == 11 ? 0x40 : reg, (uint8_t)(i * 7 + reg));
		set_cmos(r, 11, (uint8_t)(i & 0x7f));
		for (unsigned int reg = 0; reg < 256; reg++)
			cmos(r, (uint8_t)reg);
	}
	rtc_fini(&rtc);
}

static void pci_shows_one_bridge(void **state)
{
	struct rig *r = *state;
	struct pci pci;
	uint32_t v;

	assert_int_equal(pci_init(&pci, &pci_places, NULL, &r->pio, &r->mmio), 0);
	out32(r, PORT_PCI_ADDRESS, 0x80000000);
	assert_int_equal(in32(r, PORT_PCI_ADDRESS), 0x80000000);
	assert_int_equal(in32(r, PORT_PCI_DATA), 0x00081b36);
	assert_int_equal(in8(r, PORT_PCI_DATA + 2), 0x08);
	out32(r, PORT_PCI_DATA, 0);
	assert_int_equal(in32(r, PORT_PCI_DATA), 0x00081b36);
	out32(r, PORT_PCI_ADDRESS, 0); /* not enabled */
	assert_int_equal(in32(r, PORT_PCI_DATA), 0xffffffff);
	for (uint32_t devfn = 1; devfn < 65536; devfn += 97) {
		out32(r, PORT_PCI_ADDRESS, 0x80000000 | devfn << 8);
		assert_int_equal(in32(r, PORT_PCI_DATA), 0xffffffff);
	}
	bus_read(&r->mmio, LAYOUT_ECAM, &v, 4);
	assert_int_equal(v, 0x00081b36);
	bus_read(&r->mmio, LAYOUT_ECAM + 0x100, &v, 4);
	assert_int_equal(v, 0); /* no extended capabilities */
	bus_read(&r->mmio, LAYOUT_ECAM + 0xffe, &v, 4);
	bus_read(&r->mmio, LAYOUT_ECAM + 0x8000, &v, 4);
	assert_int_equal(v, 0xffffffff);
	bus_read(&r->mmio, LAYOUT_ECAM + LAYOUT_ECAM_SIZE - 1, &v, 4);
	assert_int_equal(v, 0xffffffff);
	pci_fini(&pci);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(i8042_answers_at_once),
		TEST(i8042_interrupts_if_enabled),
		TEST(i8042_resets),
		TEST(power_registers_end_the_vm),
		TEST(the_first_reason_counts),
		TEST(pvpanic_ends_the_vm),
		TEST(rtc_tells_the_time),
		TEST(rtc_can_be_set),
		TEST(pci_shows_one_bridge),
	};

	return cmocka_run_group_tests_name("board", tests, NULL, NULL);
}
