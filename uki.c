// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sections of a unified kernel image.
 *
 * An EFI program is a PE file: at byte 0x3c the offset of its header, behind the header a table
 * of sections. Of those with a name that the specification gives, the first of each name
 * counts: what follows a .profile section belongs to other choices in a boot menu. Other
 * sections (.osrel, .uname, .splash, .ucode, signatures) are nothing to a kernel.
 *
 * Source: UAPI.5 Unified Kernel Image; Microsoft PE Format, "COFF File Header", "Section Table".
 * No state.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "uki.h"
#include "util.h"

#define DOS_HEADER_BYTES   64u
#define DOS_PE_OFFSET	   0x3cu
#define PE_SIGNATURE_BYTES 4u
#define PE_HEADER_BYTES	   24u /* the signature and the COFF header */
#define MACHINE_I386	   0x14cu
#define MACHINE_X86_64	   0x8664u
#define MAX_SECTIONS	   96u /* of what Windows loads; such images have ten */
#define CMDLINE_MAX	   0xffffu

struct coff_header {
	uint16_t machine;
	uint16_t nr_sections;
	uint32_t unused[3];
	uint16_t optional_bytes; /* of the header between this one and the table */
	uint16_t flags;
};

struct section {
	char name[8]; /* without a NUL if it is full */
	uint32_t virtual_bytes;
	uint32_t virtual_address;
	uint32_t file_bytes; /* virtual_bytes, rounded up */
	uint32_t offset;
	uint32_t unused[4];
};

static bool has_name(const struct section *s, const char *name)
{
	return !strncmp(s->name, name, sizeof(s->name));
}

/* Where in @uki a section belongs; NULL: nowhere. */
static struct uki_section *uki_place_of(struct uki *uki, const struct section *s)
{
	if (has_name(s, ".linux"))
		return &uki->kernel;
	if (has_name(s, ".initrd"))
		return &uki->initrd;
	if (has_name(s, ".cmdline"))
		return &uki->cmdline;
	return NULL;
}

static int take_section(struct uki *uki, const struct section *s, uint64_t file_bytes,
			const char **why)
{
	struct uki_section *place = uki_place_of(uki, s);
	uint64_t bytes = s->file_bytes;

	if (s->virtual_bytes && s->virtual_bytes < bytes)
		bytes = s->virtual_bytes;
	if (!place || place->bytes || !bytes)
		return 0;
	if (!range_within(s->offset, bytes, file_bytes)) {
		*why = "truncated: a section of the EFI program ends beyond the file";
		return -EINVAL;
	}
	*place = (struct uki_section){ .offset = s->offset, .bytes = bytes };
	return 0;
}

/* The table of sections: how many, and where. */
static int find_table(int fd, uint64_t file_bytes, unsigned int *nr, uint64_t *offset,
		      const char **why)
{
	uint8_t dos[DOS_HEADER_BYTES], header[PE_HEADER_BYTES];
	struct coff_header coff;
	uint32_t at;

	if (file_bytes < sizeof(dos) || pread_all(fd, dos, sizeof(dos), 0) || memcmp(dos, "MZ", 2))
		return -ENOENT;
	memcpy(&at, dos + DOS_PE_OFFSET, sizeof(at));
	if (!range_within(at, sizeof(header), file_bytes) ||
	    pread_all(fd, header, sizeof(header), at) || memcmp(header, "PE\0", PE_SIGNATURE_BYTES))
		return -ENOENT;
	memcpy(&coff, header + PE_SIGNATURE_BYTES, sizeof(coff));
	*why = "an EFI program for another machine";
	if (coff.machine != MACHINE_X86_64 && coff.machine != MACHINE_I386)
		return -EINVAL;
	*why = "an EFI program with a damaged table of sections";
	*nr = coff.nr_sections;
	*offset = (uint64_t)at + sizeof(header) + coff.optional_bytes;
	if (*nr > MAX_SECTIONS || !range_within(*offset, *nr * sizeof(struct section), file_bytes))
		return -EINVAL;
	return 0;
}

int uki_find(struct uki *uki, int fd, uint64_t file_bytes, const char **why)
{
	struct section sections[MAX_SECTIONS];
	unsigned int nr;
	uint64_t offset;
	int rc = find_table(fd, file_bytes, &nr, &offset, why);

	memset(uki, 0, sizeof(*uki));
	if (rc)
		return rc;
	if (pread_all(fd, sections, nr * sizeof(sections[0]), offset)) {
		*why = "its table of sections cannot be read";
		return -EINVAL;
	}
	for (unsigned int i = 0; i < nr && !rc; i++)
		rc = take_section(uki, &sections[i], file_bytes, why);
	if (!rc && !uki->kernel.bytes) {
		*why = "an EFI program without a kernel in it (a section .linux)";
		rc = -EINVAL;
	}
	return rc;
}

/* Ends at the first NUL; what ends lines becomes spaces, and none are left at the end. */
static void make_one_line(char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ')
			text[i] = ' ';
	while (len && text[len - 1] == ' ')
		text[--len] = '\0';
}

char *uki_read_cmdline(const struct uki *uki, int fd)
{
	/* One that is longer is more than a kernel takes; it is too long as it is. */
	uint64_t bytes = min_u64(uki->cmdline.bytes, CMDLINE_MAX);
	char *text = bytes ? calloc(1, bytes + 1) : NULL;

	if (!text)
		return NULL;
	if (!pread_all(fd, text, bytes, uki->cmdline.offset)) {
		make_one_line(text);
		if (*text)
			return text;
	}
	free(text);
	return NULL;
}
