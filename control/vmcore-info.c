// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMCOREINFO (control/vmcore-info.h).
 *
 * A note is taken for one if its head is a kernel's, and its text is lines of printable characters of
 * which the first tells the release. It says at which virtual address the kernel's code begins and how
 * far from where it was linked that is in memory; a CPU whose page tables say the same runs that kernel.
 * A CPU in user mode has the tables of its process, in which the kernel may be missing (page-table
 * isolation); those with it are then in the page before.
 *
 * Sources: Linux 6.1 kernel/crash_core.c (the note), arch/x86/kernel/crash_core_64.c (its values),
 * arch/x86/entry/calling.h (PTI_USER_PGTABLE_MASK); SDM volume 3A §4.5 (page tables).
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "control/vmcore-info.h"
#include "util.h"

#define NAME "VMCOREINFO"
#define FIRST_LINE "OSRELEASE="
#define HEAD_BYTES 24u			/* Elf64_Nhdr and the name */
#define MAX_TEXT_BYTES 4096u
#define LINKED_AT 0xffffffff80000000ull	/* __START_KERNEL_map */

#define CR0_PG 0x80000000ull
#define CR4_LA57 0x1000ull
#define EFER_LMA 0x400ull
#define USER_TABLES 0x1000ull
#define ENTRY_PRESENT 1ull
#define ENTRY_LARGE 0x80ull
#define ENTRY_ADDRESS 0x000ffffffffff000ull

struct info_note {
	uint32_t bytes;			/* all of it, with padding */
	uint8_t note[VMCORE_INFO_BYTES];
	char text[MAX_TEXT_BYTES + 1];	/* the same as a string */
};

/* ---- one note ---- */

static bool has_head(const uint8_t *page, uint32_t *text_bytes)
{
	Elf64_Nhdr head;

	memcpy(&head, page, sizeof(head));
	*text_bytes = head.n_descsz;
	return head.n_namesz == sizeof(NAME) && !head.n_type && head.n_descsz <= MAX_TEXT_BYTES &&
	       head.n_descsz >= strlen(FIRST_LINE) && !memcmp(page + sizeof(head), NAME, sizeof(NAME)) &&
	       !memcmp(page + HEAD_BYTES, FIRST_LINE, strlen(FIRST_LINE));
}

static bool is_text(const char *text, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		if ((text[i] < ' ' || text[i] > '~') && text[i] != '\n' && text[i] != '\t')
			return false;
	return true;
}

/* A private copy of the note at @gpa; false if it is none. */
static bool read_info_note(struct info_note *n, const struct mem *mem, gpa_t gpa)
{
	uint8_t start[HEAD_BYTES + sizeof(FIRST_LINE)];
	uint32_t bytes;

	if (mem_read(mem, gpa, start, sizeof(start)) || !has_head(start, &bytes))
		return false;
	memset(n, 0, sizeof(*n));
	n->bytes = HEAD_BYTES + (uint32_t)align_up(bytes, 4);
	if (mem_read(mem, gpa, n->note, HEAD_BYTES + bytes) || !has_head(n->note, &bytes) ||
	    n->bytes != HEAD_BYTES + (uint32_t)align_up(bytes, 4))
		return false;
	memcpy(n->text, n->note + HEAD_BYTES, bytes);
	return is_text(n->text, bytes);
}

/* The value in a line of its own. False if there is none. */
static bool find_value(const char *text, const char *name, int base, uint64_t *value)
{
	for (const char *line = text; line; line = strchr(line, '\n')) {
		char *end;

		line += *line == '\n';
		if (strncmp(line, name, strlen(name)))
			continue;
		*value = strtoull(line + strlen(name), &end, base);
		return end != line + strlen(name) && (!*end || *end == '\n');
	}
	return false;
}

void vmcore_info_look(struct vmcore_info *info, const struct mem *mem, gpa_t gpa)
{
	struct vmcore_info_place *place = &info->found[info->nr];
	struct info_note n;
	uint64_t moved;

	if (info->nr == VMCORE_INFO_MAX_FOUND || !read_info_note(&n, mem, gpa))
		return;
	*place = (struct vmcore_info_place){ .gpa = gpa };
	/* A number below 0 wraps round, as it does in the kernel. */
	if (find_value(n.text, "SYMBOL(_stext)=", 16, &place->text) &&
	    find_value(n.text, "NUMBER(phys_base)=", 10, &moved))
		place->text_gpa = place->text - LINKED_AT + moved;
	else
		place->text = 0;
	info->nr++;
}

/* ---- which one ---- */

/* Where @address is by the page tables at @table. False if it is nowhere. */
static bool walk_tables(const struct mem *mem, uint64_t table, unsigned int levels, uint64_t address,
			gpa_t *gpa)
{
	uint64_t entry;

	for (unsigned int level = levels; level; level--) {
		unsigned int shift = 12 + 9 * (level - 1);
		uint64_t inside = (1ull << shift) - 1;

		table &= ENTRY_ADDRESS;
		if (mem_read(mem, table + (address >> shift & 511) * sizeof(entry), &entry, sizeof(entry)) ||
		    !(entry & ENTRY_PRESENT))
			return false;
		table = entry;
		if (level > 1 && (level > 3 || !(entry & ENTRY_LARGE)))
			continue;
		*gpa = (entry & ENTRY_ADDRESS & ~inside) | (address & inside);
		return true;
	}
	return false;
}

static bool runs_kernel_of(const struct vmcore_info_place *place, const struct mem *mem,
			   const struct vmcore_cpu *cpu)
{
	const unsigned int levels = cpu->sregs.cr4 & CR4_LA57 ? 5 : 4;
	const uint64_t tables[] = { cpu->sregs.cr3, cpu->sregs.cr3 & ~USER_TABLES };
	gpa_t gpa;

	if (!place->text || !(cpu->sregs.cr0 & CR0_PG) || !(cpu->sregs.efer & EFER_LMA))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		if (walk_tables(mem, tables[i], levels, place->text, &gpa) && gpa == place->text_gpa)
			return true;
	return false;
}

void vmcore_info_ask(struct vmcore_info *info, const struct mem *mem, const struct vmcore_cpu *cpu)
{
	for (unsigned int i = 0; i < info->nr && info->chosen < 0; i++)
		if (runs_kernel_of(&info->found[i], mem, cpu))
			info->chosen = (int)i;
}

uint32_t vmcore_info_get(const struct vmcore_info *info, const struct mem *mem,
			 uint8_t note[VMCORE_INFO_BYTES])
{
	struct info_note n;

	if (!info->nr || !read_info_note(&n, mem, info->found[info->chosen < 0 ? 0 : info->chosen].gpa))
		return 0;
	memcpy(note, n.note, n.bytes);
	return n.bytes;
}
