// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMCOREINFO (control/vmcore-info.h).
 *
 * A note is taken for one if its head is a kernel's, and its text is lines of printable characters of
 * which the first tells the release. It says at which virtual address the kernel's code begins and how
 * far from where it was linked that is in memory; a CPU whose page tables say the same runs that kernel.
 *
 * Sources: Linux 6.1 kernel/crash_core.c (the note), arch/x86/kernel/crash_core_64.c (its values).
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "control/vmcore-info.h"
#include "util.h"

#define NAME	       "VMCOREINFO"
#define FIRST_LINE     "OSRELEASE="
#define HEAD_BYTES     24u /* Elf64_Nhdr and the name */
#define MAX_TEXT_BYTES 4096u
#define LINKED_AT      0xffffffff80000000ull /* __START_KERNEL_map */

struct info_note {
	uint32_t bytes; /* all of it, with padding */
	uint8_t note[VMCORE_INFO_BYTES];
	char text[MAX_TEXT_BYTES + 1]; /* the same as a string */
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

static bool is_info_text(const char *text, uint32_t bytes)
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
	return is_info_text(n->text, bytes);
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

static bool runs_kernel_of(const struct vmcore_info_place *place, const struct mem *mem,
			   const struct registers *cpu)
{
	struct page_walk_place there;
	struct page_walk walk;

	registers_walk(cpu, mem, &walk);
	return place->text && !page_walk(&walk, place->text, &there) && there.gpa == place->text_gpa;
}

void vmcore_info_ask(struct vmcore_info *info, const struct mem *mem, const struct registers *cpu)
{
	for (unsigned int i = 0; i < info->nr && info->chosen < 0; i++)
		if (runs_kernel_of(&info->found[i], mem, cpu))
			info->chosen = (int)i;
}

const struct vmcore_info_place *vmcore_info_place(const struct vmcore_info *info)
{
	return info->nr ? &info->found[info->chosen < 0 ? 0 : info->chosen] : NULL;
}

uint32_t vmcore_info_get(const struct vmcore_info *info, const struct mem *mem,
			 uint8_t note[VMCORE_INFO_BYTES])
{
	struct info_note n;

	if (!info->nr || !read_info_note(&n, mem, vmcore_info_place(info)->gpa))
		return 0;
	memcpy(note, n.note, n.bytes);
	return n.bytes;
}
