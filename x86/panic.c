// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest's last words: console lines and the pvpanic port.
 *
 * The console watch belongs to the UART, which calls it under its own lock. It
 * keeps the beginning of the current line and looks at it when the line ends.
 * Only whole lines that begin with the kernel's words count (after the time
 * stamp that printk puts in front), because a guest may print old logs.
 *
 * Source of the port: docs/specs/pvpanic in QEMU's documentation (interface
 * only): bit 0 = panicked, bit 1 = panicked and a crash kernel takes over.
 */
#include <string.h>

#include "bus.h"
#include "kvm.h"
#include "log.h"
#include "util.h"
#include "x86/layout.h"
#include "x86/panic.h"

#define PVPANIC_PANICKED	1u
#define PVPANIC_CRASH_LOADED	2u

static const struct {
	const char *text;
	enum last_words words;
} last_words_table[] = {
	{ "Kernel panic - not syncing", WORDS_PANIC },
	{ "reboot: Restarting system", WORDS_RESTART },
	{ "reboot: System halted", WORDS_HALT },
	{ "reboot: Power down", WORDS_HALT },
	{ "reboot: Power off not available", WORDS_HALT },	/* Linux 6.12 */
};

/* Length of a "[    1.234567] " or, with caller ids, "[    1.234567][    T1] ". */
static size_t timestamp_len(const char *line, size_t len)
{
	size_t at = 0;

	while (at < len && line[at] == '[') {
		const char *end = memchr(line + at, ']', len - at);

		if (!end)
			break;
		at = (size_t)(end + 1 - line);
	}
	if (at && at < len && line[at] == ' ')
		at++;
	return at;
}

enum last_words last_words_of(const char *line, size_t len)
{
	size_t skip = timestamp_len(line, len);

	for (size_t i = 0; i < ARRAY_SIZE(last_words_table); i++) {
		size_t n = strlen(last_words_table[i].text);

		if (len - skip >= n && !memcmp(line + skip, last_words_table[i].text, n))
			return last_words_table[i].words;
	}
	return WORDS_NONE;
}

void console_watch_byte(struct console_watch *watch, char c)
{
	if (c == '\n' || c == '\r') {
		enum last_words words = last_words_of(watch->line, watch->len);

		if (words != WORDS_NONE)
			atomic_store(&watch->words, words);
		watch->len = 0;
	} else if (watch->len < sizeof(watch->line)) {
		watch->line[watch->len++] = c;
	}
}

enum last_words console_watch_words(struct console_watch *watch)
{
	return (enum last_words)atomic_load(&watch->words);
}

static uint64_t pvpanic_read(void *dev, uint64_t offset, unsigned int size)
{
	(void)dev;
	(void)offset;
	(void)size;
	return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;	/* the events we know */
}

static void pvpanic_write(void *dev, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pvpanic *p = dev;

	(void)offset;
	(void)size;
	/* A crash kernel is about to write its dump: let it, the reset comes later. */
	if (value & PVPANIC_CRASH_LOADED)
		log_verbose("guest: its kernel panicked; a crash kernel takes over");
	else if (value & PVPANIC_PANICKED)
		vm_request_stop(p->vm, STOP_PANIC);
}

static const struct bus_ops pvpanic_ops = { .read = pvpanic_read, .write = pvpanic_write };

int pvpanic_init(struct pvpanic *dev, struct vm *vm, struct bus *pio)
{
	dev->vm = vm;
	return bus_add(pio, &(struct bus_region){
		.start = PORT_PVPANIC, .len = 1, .max_access = 1,
		.ops = &pvpanic_ops, .dev = dev, .name = "pvpanic",
	});
}
