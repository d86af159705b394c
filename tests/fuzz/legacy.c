// SPDX-License-Identifier: GPL-2.0-only
/* A hostile driver of the board's old devices: 16550A, RTC, i8042, ACPI's power ports, pvpanic. */
#include "tests/fuzz/fuzz.h"

#include "bus.h"
#include "event.h"
#include "kvm.h"
#include "term.h"
#include "util.h"
#include "x86/i8042.h"
#include "x86/layout.h"
#include "x86/pm.h"
#include "x86/pvpanic.h"
#include "x86/rtc.h"
#include "x86/serial.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const uint16_t ports[] = { 0x3f8, 0x70, 0x60, PORT_SLEEP_CONTROL };
	struct term_config config = { .in_fd = -1, .out_fd = -1 };
	struct input in = { data, bytes };
	struct console_watch watch;
	atomic_int words = WORDS_NONE;
	struct event_loop *loop;
	struct serial serial;
	struct term *term = NULL;
	struct vm vm = { .stop_fd = -1 }; /* what ends it leaves a reason here */
	struct pvpanic pvpanic;
	struct i8042 i8042;
	struct rtc rtc;
	struct pm pm;
	struct bus bus;

	log_set_level(LOG_ERROR);
	console_watch_init(&watch, &words);
	bus_init(&bus);
	must(!event_loop_create(&loop) && !term_create(&term, loop, &config));
	must(!serial_init(&serial, NULL, &bus, term, &watch) && !rtc_init(&rtc, &bus) &&
	     !i8042_init(&i8042, NULL, &bus) && !pm_init(&pm, &vm, &bus) &&
	     !pvpanic_init(&pvpanic, &vm, &bus));
	i8042.vm = &vm; /* it resets, but does not interrupt */
	while (in.left) {
		unsigned int op = (unsigned int)take(&in, 1), size = 1u << (op >> 6);
		uint64_t at = ports[op & 3] + (op >> 2 & 7), v = 0;

		if (at >= PORT_SLEEP_CONTROL + 4u)
			at += PORT_PVPANIC - PORT_SLEEP_CONTROL - 4u;
		if (op & 0x20)
			v = take(&in, size);
		if (size == 8)
			term_type(term, "abc", 3);
		else if (op & 0x20)
			bus_write(&bus, at, &v, size);
		else
			bus_read(&bus, at, &v, size);
		event_run_deferred(loop);
	}
	i8042_fini(&i8042);
	rtc_fini(&rtc);
	serial_fini(&serial);
	term_destroy(term);
	event_loop_destroy(loop);
	bus_fini(&bus);
	return 0;
}
