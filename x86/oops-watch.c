// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reports of trouble on a guest's console (x86/oops-watch.h).
 *
 * A report begins with one of the words below, at the beginning of a line or behind printk's stamp
 * ("[    1.234567] ", with the caller "[    1.234567][    T1] "). What a program prints on the
 * console can look like it: that is a failure, too, and no more.
 *
 * Sources: Linux 6.1 and 6.12: lib/bug.c, kernel/panic.c, arch/x86/kernel/{dumpstack,traps}.c,
 * arch/x86/mm/fault.c, kernel/watchdog.c, kernel/hung_task.c, kernel/rcu/tree_stall.h,
 * kernel/locking/lockdep.c, mm/kasan/report.c, lib/ubsan.c, mm/kmemleak.c.
 */
#include <string.h>
#include <sys/types.h>

#include "util.h"
#include "x86/oops-watch.h"

static const char *const beginnings[] = {
	"BUG: ", /* page faults, KASAN, KCSAN, KFENCE, scheduling while atomic */
	"kernel BUG at ",
	"Oops: ",
	"general protection fault",
	"divide error: ", "invalid opcode: ", "int3: ", "double fault: ", "stack segment: ",
	"traps: PANIC: ",
	"WARNING: ", /* WARN(), and most of lockdep's */
	"UBSAN: ",
	"INFO: task ",		     /* ... blocked for more than 120 seconds */
	"INFO: possible ",	     /* lockdep before Linux 4.x said so */
	"INFO: rcu_", "rcu: INFO: ", /* stalls */
	"INFO: suspicious ",
	"watchdog: BUG: ", /* soft lockup */
	"NMI watchdog: Watchdog detected hard LOCKUP", "watchdog: Watchdog detected hard LOCKUP",
	"kmemleak: ", /* "N new suspected memory leaks" is the rest */
	"unregister_netdevice: waiting for "
};

bool oops_is_report(const char *line, size_t bytes)
{
	for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++) {
		size_t len = strlen(beginnings[i]);

		if (bytes >= len && !memcmp(line, beginnings[i], len))
			return strcmp(beginnings[i], "kmemleak: ") ||
			       memmem(line, bytes, "suspected memory leak", 21);
	}
	return false;
}

/* Where the text begins if printk's stamp is at @at: "[", a blank or digit ... "] ". 0: it is not. */
static size_t skip_stamp(const char *line, size_t bytes, size_t at)
{
	while (at < bytes && line[at] == '[') {
		const char *end = memchr(line + at, ']', bytes - at);

		if (!end)
			return 0;
		at = (size_t)(end - line) + 1;
	}
	return at + 1 < bytes && line[at] == ' ' ? at + 1 : 0;
}

/* Where in the line a report begins: it may follow what a program has printed. -1: nowhere. */
static ssize_t find_report(const char *line, size_t bytes)
{
	if (oops_is_report(line, bytes))
		return 0;
	for (size_t i = 0; i < bytes; i++) {
		size_t at = line[i] == '[' ? skip_stamp(line, bytes, i) : 0;

		if (at && oops_is_report(line + at, bytes - at))
			return (ssize_t)at;
	}
	return -1;
}

static void take_line(struct oops_watch *w)
{
	ssize_t at = find_report(w->line, w->bytes);
	size_t n;

	if (at < 0)
		return;
	n = min_u64(w->bytes - (size_t)at, sizeof(w->first) - 1);
	for (size_t i = 0; i < n; i++) {
		char c = w->line[(size_t)at + i];

		w->first[i] = (char)(c >= 0x20 && c < 0x7f ? c : '?');
	}
	w->first[n] = '\0';
}

void oops_watch_put(struct oops_watch *w, const char *data, size_t bytes)
{
	for (size_t i = 0; i < bytes && !*w->first; i++) {
		if (data[i] == '\n' || data[i] == '\r') {
			take_line(w);
			w->bytes = 0;
		} else if (w->bytes < sizeof(w->line)) {
			w->line[w->bytes++] = data[i];
		}
	}
}
