/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a guest's last words are understood: lines on its console, and the
 * pvpanic port.
 *
 * A Linux kernel that panics says so on the console and then, with panic=-1,
 * resets: without the words that would look like a clean reboot. A kernel that
 * halts because it has no way to switch off says so, too.
 */
#ifndef LKVM_X86_PANIC_H
#define LKVM_X86_PANIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct bus;
struct vm;

#define CONSOLE_LINE_MAX 128	/* what matters stands at the start of a line */

/* What a console line says about the end of the guest. */
enum last_words {
	WORDS_NONE,
	WORDS_PANIC,		/* "Kernel panic - not syncing" */
	WORDS_RESTART,		/* "reboot: Restarting system" */
	WORDS_HALT,		/* "reboot: System halted" and its like */
};

struct console_watch {
	char line[CONSOLE_LINE_MAX];
	size_t len;
	atomic_int words;	/* enum last_words: of the last line that says any */
};

/* Looks at one byte of console output. One thread at a time. */
void console_watch_byte(struct console_watch *watch, char c);

/* Any thread. */
enum last_words console_watch_words(struct console_watch *watch);

/* Pure: the meaning of one line without its end. Public for tests. */
enum last_words last_words_of(const char *line, size_t len);

/* The pvpanic device (port 0x505, ACPI id QEMU0001). 0 or -errno. */
struct pvpanic {
	struct vm *vm;
};

int pvpanic_init(struct pvpanic *dev, struct vm *vm, struct bus *pio);

#endif
