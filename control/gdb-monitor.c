// SPDX-License-Identifier: GPL-2.0-only
/*
 * gdb's "monitor" command: words for a reader.
 *
 * Where a kernel is that has randomised its address is known if lkvm has placed it; otherwise its
 * page tables tell: of the gibibyte in which Linux's code always is they map nothing below it.
 *
 * Source: Linux Documentation/arch/x86/x86_64/mm.rst; CONFIG_PHYSICAL_START.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/gdb-commands.h"
#include "machine.h"
#include "util.h"
#include "x86/board.h"

#define TEXT_START  0xffffffff80000000ull /* __START_KERNEL_map */
#define TEXT_LINKED 0xffffffff81000000ull /* ... and CONFIG_PHYSICAL_START */
#define TEXT_BYTES  GIB(1)
#define TEXT_STEP   MIB(2)

static const char monitor_help[] =
	"help           this\n"
	"info version   which lkvm this is\n"
	"kaslr          where the kernel is, and what to type to tell gdb\n"
	"regs [THREAD]  all registers of it, or of the thread that gdb has looked at last\n";

/* False if the boot CPU's page tables have no kernel (yet). */
static bool find_kernel_text(const struct gdb_target *t, uint64_t *shift)
{
	struct page_walk_place place;
	struct page_walk walk;

	registers_walk(&t->boot, t->breaks.mem, &walk);
	if (!(walk.efer >> 10 & 1))
		return false;
	for (uint64_t at = TEXT_LINKED; at < TEXT_START + TEXT_BYTES; at += TEXT_STEP) {
		if (page_walk(&walk, at, &place))
			continue;
		*shift = at - TEXT_LINKED;
		return true;
	}
	return false;
}

static void monitor_kaslr(struct gdb_target *t, char *text, size_t room)
{
	uint64_t shift = 0;

	if (!find_kernel_text(t, &shift) && !machine_kernel_shift(t->machine, &shift))
		snprintf(text, room, "the kernel is not where it will be yet, or is none that is known\n");
	else if (shift)
		snprintf(text, room,
			 "the kernel is %#llx above where it was linked\n" GDB_SYMBOLS_LINE "\n",
			 (unsigned long long)shift,
			 (unsigned long long)shift);
	else
		snprintf(text, room, "the kernel is where it was linked\nsymbol-file vmlinux\n");
}

/* gdb tells which thread it has selected only when it needs something of it. */
static void monitor_regs(struct gdb_target *t, const char *thread, char *text, size_t room)
{
	const unsigned int before = t->general;
	uint64_t numbers[REGISTERS_NUMBERS];
	char *end;
	unsigned long nr = strtoul(thread, &end, 10);
	int n;

	if (*thread && (*end || !nr || nr > machine_board(t->machine)->nr_vcpus)) {
		snprintf(text, room, "there is no such thread\n");
		return;
	}
	if (*thread)
		t->general = (unsigned int)nr - 1;
	if (!gdb_target_load(t)) {
		t->general = before;
		return;
	}
	n = snprintf(text, room, "CPU %u: %s\n", t->general, registers_word(&t->registers));
	registers_list(&t->registers, numbers);
	registers_format(text + n, room - (size_t)n, numbers);
	t->general = before;
	gdb_target_load(t);
}

void gdb_monitor(struct gdb_target *t, const char *command, char *text, size_t room)
{
	if (!strcmp(command, "info version"))
		snprintf(text, room, "lkvm %s\n", t->version);
	else if (!strcmp(command, "kaslr"))
		monitor_kaslr(t, text, room);
	else if (!strcmp(command, "regs") || !strncmp(command, "regs ", 5))
		monitor_regs(t, command + 4 + (command[4] == ' '), text, room);
	else if (!strcmp(command, "help"))
		snprintf(text, room, "%s", monitor_help);
	else
		snprintf(text, room, "unknown: there is\n%s", monitor_help);
}
