// SPDX-License-Identifier: GPL-2.0-only
/* The end of a guest: its last words on a console, and what it had switched off. */
#include "tests/lib/unit.h"

#include "util.h"
#include "x86/end-watch.h"

static enum last_words words_in(const char *text)
{
	struct console_watch watch;
	atomic_int words = WORDS_NONE;

	console_watch_init(&watch, &words);
	console_watch_put(&watch, text, strlen(text));
	return (enum last_words)words;
}

static void words_are_found_where_a_message_begins(void **state)
{
	static const struct {
		const char *text;
		enum last_words words;
	} cases[] = {
		{ "[    1.234567] Kernel panic - not syncing: sysrq\n", WORDS_PANIC },
		{ "Kernel panic - not syncing: x", WORDS_PANIC },
		{ "one\r\nKernel panic - not syncing: x", WORDS_PANIC },
		{ "[    1.2][   T1] Kernel panic - not syncing: x\n", WORDS_PANIC },
		{ "[    1.2][T12345] Kernel panic - not syncing: x\n", WORDS_PANIC },
		{ "[12345.678901][    C1] Kernel panic - not syncing: x\n", WORDS_PANIC },
		{ "<0>[    1.2] Kernel panic - not syncing: x\n", WORDS_PANIC },
		{ "[    1.2] reboot: Restarting system\n", WORDS_RESTART },
		{ "[    1.2] sysrq: Resetting\n", WORDS_RESTART },
		{ "[    1.2] reboot: System halted\n", WORDS_HALT },
		{ "[    1.2] reboot: Power down\n", WORDS_HALT },
		{ "[    5.4] reboot: Power off not available: System halted instead\n", WORDS_HALT },
		/* The cursor was in mid-line. */
		{ "all tests passed[    1.2] Kernel panic - not syncing: x\n", WORDS_PANIC },
		{ "login: [[[    1.2] reboot: Restarting system\n", WORDS_RESTART },
		{ "50% [   [    1.2] Kernel panic - not syncing: x\n", WORDS_PANIC },
		{ "[ 1.0] [    1.2] Kernel panic - not syncing: x\n", WORDS_PANIC },
		{ "[ 1.0] Kernel pan[    1.2] Kernel panic - not syncing: x\n", WORDS_PANIC },
		{ "reboot: P[    1.2] reboot: Power down\n", WORDS_HALT },
		/* Somebody else's words. */
		{ "user: Kernel panic - not syncing\n", WORDS_NONE },
		{ "# grep 'Kernel panic - not syncing' log\n", WORDS_NONE },
		{ "[Kernel panic - not syncing\n", WORDS_NONE },
		{ "[] Kernel panic - not syncing\n", WORDS_NONE },
		{ "[.] Kernel panic - not syncing\n", WORDS_NONE },
		{ "[ OK ] Kernel panic - not syncing\n", WORDS_NONE },
		{ "[ 1.2]Kernel panic - not syncing\n", WORDS_NONE },
		{ "[ 1.2][x] Kernel panic - not syncing\n", WORDS_NONE },
		{ "[ 1.2]\n Kernel panic - not syncing\n", WORDS_NONE },
		{ "[ 1.2]  Kernel panic - not syncing\n", WORDS_NONE },
		{ "Kernel panic - not\n syncing\n", WORDS_NONE },
		{ "[", WORDS_NONE },
		{ "[]", WORDS_NONE },
		{ "", WORDS_NONE },
		/* The last counts. */
		{ "Kernel panic - not syncing: old\n[ 1.0] reboot: Restarting system\n", WORDS_RESTART },
		{ "[ 1.0] reboot: Power down\n[ 1.0] Kernel panic - not syncing: x\n", WORDS_PANIC },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (words_in(cases[i].text) != cases[i].words)
			fail_msg("%s: %d", cases[i].text, words_in(cases[i].text));
}

/* A megabyte without an end of line, in pieces of every size. */
static void no_line_is_too_long(void **state)
{
	static const char message[] = "[    1.234567] Kernel panic - not syncing: x";
	struct console_watch watch;
	atomic_int words = WORDS_NONE;

	(void)state;
	console_watch_init(&watch, &words);
	for (int i = 0; i < 1 << 20; i++)
		console_watch_put(&watch, "x", 1);
	for (size_t n = 1; n < sizeof(message); n++) {
		words = WORDS_NONE;
		for (size_t at = 0; at < sizeof(message) - 1; at += n)
			console_watch_put(&watch, message + at,
					  min_u64(n, sizeof(message) - 1 - at));
		assert_int_equal(words, WORDS_PANIC);
	}
}

/* Whatever two consoles print in turn, neither disturbs the other. */
static void consoles_are_watched_apart(void **state)
{
	static const char message[] = "[    1.2] Kernel panic - not syncing: x\n";
	struct end_watch w;

	(void)state;
	end_watch_init(&w);
	for (const char *p = message; *p; p++) {
		console_watch_put(&w.serial, "x", 1);
		console_watch_put(&w.virtio, p, 1);
	}
	assert_int_equal(end_watch_words(&w), WORDS_PANIC);
	console_watch_put(&w.serial, "\nreboot: Restarting system", 26);
	assert_int_equal(end_watch_words(&w), WORDS_RESTART);
}

/* Any text, compared with what a search in all of it says. */
static void random_text_is_understood(void **state)
{
	static const char *const pieces[] = {
		"[", "]", " ", "1", ".", "2", "T", "Kernel panic - not syncing", "Kernel panic",
		" - not syncing", "\n", "x", "reboot: Restarting", " system", "[ 1.2] ", "[1.2][T1] "
	};
	unsigned int seed = 1, hits = 0;

	(void)state;
	for (int run = 0; run < 20000; run++) {
		char text[512] = "";
		bool panic = false;

		for (int i = 0; i < 12; i++)
			strcat(text, pieces[(unsigned int)rand_r(&seed) % ARRAY_SIZE(pieces)]);
		for (const char *p = text; (p = strstr(p, "Kernel panic - not syncing")); p++)
			panic |= p == text || p[-1] == '\n' ||
				 (p - text >= 7 && !memcmp(p - 7, "[ 1.2] ", 7)) ||
				 (p - text >= 10 && !memcmp(p - 10, "[1.2][T1] ", 10));
		hits += panic;
		if (panic) /* made of single pieces a stamp may be another one */
			assert_true(words_in(text) != WORDS_NONE);
	}
	assert_true(hits > 100);
}

static void what_is_off_was_switched_off(void **state)
{
	static const struct {
		struct shutdown_traces traces;
		enum shutdown reset, halted;
	} cases[] = {
		/* idt, clock used, on, lines used, on */
		{ { false, false, false, false, 0 }, SHUTDOWN_NO_OS, SHUTDOWN_NO_OS },
		{ { false, true, true, true, 3 }, SHUTDOWN_NO_OS, SHUTDOWN_NO_OS },
		{ { true, false, false, false, 0 }, SHUTDOWN_UNKNOWN, SHUTDOWN_UNKNOWN },
		{ { true, true, false, true, 0 }, SHUTDOWN_DONE, SHUTDOWN_DONE },
		{ { true, true, true, true, 0 }, SHUTDOWN_SKIPPED, SHUTDOWN_DONE },
		{ { true, true, true, true, 1 }, SHUTDOWN_SKIPPED, SHUTDOWN_SKIPPED },
		{ { true, true, false, true, 1 }, SHUTDOWN_SKIPPED, SHUTDOWN_SKIPPED },
		{ { true, true, true, false, 0 }, SHUTDOWN_SKIPPED, SHUTDOWN_UNKNOWN },
		{ { true, true, false, false, 0 }, SHUTDOWN_DONE, SHUTDOWN_DONE },
		{ { true, false, false, true, 0 }, SHUTDOWN_DONE, SHUTDOWN_DONE },
		{ { true, false, false, true, 2 }, SHUTDOWN_SKIPPED, SHUTDOWN_SKIPPED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(shutdown_judge(&cases[i].traces, false), cases[i].reset);
		assert_int_equal(shutdown_judge(&cases[i].traces, true), cases[i].halted);
	}
}

static void reports_of_trouble_are_found(void **state)
{
	static const struct {
		const char *text, *first;
	} cases[] = {
		{ "[    1.2] BUG: kernel NULL pointer dereference, address: 0\n[    1.2] Oops: 0002\n",
		  "BUG: kernel NULL pointer dereference, address: 0" },
		{ "[    1.2][   T1] WARNING: CPU: 0 PID: 1 at kernel/x.c:1 f+0x1/0x2\r\n",
		  "WARNING: CPU: 0 PID: 1 at kernel/x.c:1 f+0x1/0x2" },
		{ "50% done[    1.2] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!\n",
		  "watchdog: BUG: soft lockup - CPU#0 stuck for 22s!" },
		{ "[ 1.2] INFO: task sh:12 blocked for more than 120 seconds.\n",
		  "INFO: task sh:12 blocked for more than 120 seconds." },
		{ "[ 1.2] rcu: INFO: rcu_preempt self-detected stall on CPU\n",
		  "rcu: INFO: rcu_preempt self-detected stall on CPU" },
		{ "[ 1.2] BUG: KASAN: use-after-free in f+0x1\n", "BUG: KASAN: use-after-free in f+0x1" },
		{ "[ 1.2] BUG: \033[2J\200\n", "BUG: ?[2J?" },
		{ "[ 1.2] BUG: 0123456789012345678901234567890123456789012345678901234567890123456789"
		  "0123456789\n",
		  "BUG: 01234567890123456789012345678901234567890123456789012345678901234567890123" },
		{ "[ 1.2] kmemleak: Kernel memory leak detector initialized\n", "" },
		{ "[ 1.2] kmemleak: 3 new suspected memory leaks\n", "kmemleak: 3 new suspected memory leaks" },
		{ "[ 1.2] Spectre V2 : WARNING: Unprivileged eBPF is enabled\n", "" },
		{ "user: BUG: mine\n", "" },
		{ "[ 1.2] BUG: not yet at its end", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct oops_watch whole = { 0 }, bytewise = { 0 };

		oops_watch_put(&whole, cases[i].text, strlen(cases[i].text));
		assert_string_equal(whole.first, cases[i].first);
		for (const char *c = cases[i].text; *c; c++)
			oops_watch_put(&bytewise, c, 1);
		assert_string_equal(bytewise.first, cases[i].first);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reports_of_trouble_are_found),
		cmocka_unit_test(words_are_found_where_a_message_begins),
		cmocka_unit_test(no_line_is_too_long),
		cmocka_unit_test(consoles_are_watched_apart),
		cmocka_unit_test(random_text_is_understood),
		cmocka_unit_test(what_is_off_was_switched_off),
	};

	return cmocka_run_group_tests_name("end-watch", tests, NULL, NULL);
}
