// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a kernel calls itself.
 *
 * Runs on the main thread before there is a guest; has no state. A bzImage says it in its header;
 * an ELF file has no such field, and the banner that every Linux prints first is looked for in what
 * it loads. Whatever is found is taken only if it looks like a release: it becomes part of a path.
 *
 * Source: x86 boot protocol 2.15 @0x20e; System V ABI (ELF); UAPI.5 Unified Kernel Image.
 */
#include <asm/bootparam.h>
#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/kernel-release.h"
#include "uki.h"
#include "util.h"

#define HEADER_OFFSET	    0x1f1u	/* struct setup_header in the file */
#define HEADER_MAGIC	    0x53726448u /* "HdrS" */
#define BOOT_FLAG_MAGIC	    0xaa55u
#define SECTOR_BYTES	    512u
#define TEXT_BASE	    0x200u /* what the field kernel_version counts from */
#define PROTOCOL_XLOADFLAGS 0x020cu
#define MAX_PHDRS	    128u
#define CHUNK_BYTES	    KIB(256)

static const char banner[] = "Linux version ";

#define BANNER_BYTES (sizeof(banner) - 1)
#define FOUND_BYTES  (BANNER_BYTES + KERNEL_RELEASE_BYTES)

static bool is_release_char(char c)
{
	return isalnum((unsigned char)c) || (c && strchr(".+~_-", c));
}

/* A decimal number at @*p; false if there is none, or a senseless one. */
static bool take_version(const char **p, unsigned int *number)
{
	unsigned int n = 0, digits = 0;

	for (; digits < 5 && isdigit((unsigned char)**p); ++*p, digits++)
		n = n * 10 + (unsigned int)(**p - '0');
	*number = n;
	return digits && digits < 5;
}

int kernel_release_parse(struct kernel_release *release, const char *text, size_t bytes)
{
	const char *p = release->text;
	size_t len = 0;

	while (len < bytes && is_release_char(text[len]))
		len++;
	if (len == bytes || len >= sizeof(release->text) || (text[len] && text[len] != ' '))
		return -ENODATA;
	memcpy(release->text, text, len);
	release->text[len] = '\0';
	if (take_version(&p, &release->major) && *p++ == '.' && take_version(&p, &release->minor))
		return 0;
	release->text[0] = '\0';
	return -ENODATA;
}

/* ---- bzImage ---- */

/* At byte @at of the file, where a bzImage of @bytes begins. -ENODATA if it is none. */
static int find_in_bzimage(struct kernel_release *release, int fd, uint64_t at, uint64_t bytes)
{
	char text[KERNEL_RELEASE_BYTES];
	struct setup_header h;
	uint64_t offset, setup_bytes;
	int rc;

	if (bytes < HEADER_OFFSET + sizeof(h))
		return -ENODATA;
	rc = pread_all(fd, &h, sizeof(h), at + HEADER_OFFSET);
	if (rc)
		return rc;
	if (h.boot_flag != BOOT_FLAG_MAGIC || h.header != HEADER_MAGIC || !h.kernel_version)
		return -ENODATA;
	release->is_64bit = h.version >= PROTOCOL_XLOADFLAGS && h.xloadflags & XLF_KERNEL_64;
	offset = (uint64_t)h.kernel_version + TEXT_BASE;
	setup_bytes = min_u64(SECTOR_BYTES * (h.setup_sects ? h.setup_sects + 1ull : 5), bytes);
	if (offset >= setup_bytes)
		return -ENODATA;
	bytes = min_u64(setup_bytes - offset, sizeof(text));
	rc = pread_all(fd, text, bytes, at + offset);
	return rc ? rc : kernel_release_parse(release, text, bytes);
}

/* ---- ELF ---- */

/* Looks through @bytes in memory; the last FOUND_BYTES belong to the next chunk, too. */
static int find_banner(struct kernel_release *release, const char *data, size_t bytes)
{
	const char *end = data + bytes;

	for (const char *p = data; (p = memmem(p, (size_t)(end - p), banner, BANNER_BYTES)); p++)
		if (!kernel_release_parse(release, p + BANNER_BYTES, (size_t)(end - p) - BANNER_BYTES))
			return 0;
	return -ENODATA;
}

/* @left: how much more may be looked through. */
static int find_in_segment(struct kernel_release *release, int fd, uint64_t offset, uint64_t bytes,
			   uint64_t *left, char *chunk)
{
	int rc = -ENODATA;

	bytes = min_u64(bytes, *left);
	*left -= bytes;
	while (bytes > BANNER_BYTES && rc == -ENODATA) {
		size_t n = min_u64(bytes, CHUNK_BYTES);
		size_t step = n < bytes ? n - FOUND_BYTES : n;

		rc = pread_all(fd, chunk, n, offset);
		if (rc)
			return rc;
		rc = find_banner(release, chunk, n);
		offset += step;
		bytes -= step;
	}
	return rc;
}

/* Program header @i, whatever the file's class; false if it cannot be read or is not to load. */
static bool read_segment(int fd, const Elf64_Ehdr *e, unsigned int i, uint64_t file_bytes,
			 uint64_t *offset, uint64_t *bytes)
{
	uint64_t at = e->e_phoff + (uint64_t)i * e->e_phentsize;
	Elf64_Phdr p;
	Elf32_Phdr narrow;

	if (e->e_ident[EI_CLASS] == ELFCLASS64) {
		if (!range_within(at, sizeof(p), file_bytes) || pread_all(fd, &p, sizeof(p), at))
			return false;
	} else {
		if (!range_within(at, sizeof(narrow), file_bytes) ||
		    pread_all(fd, &narrow, sizeof(narrow), at))
			return false;
		p = (Elf64_Phdr){
			.p_type = narrow.p_type,
			.p_offset = narrow.p_offset,
			.p_filesz = narrow.p_filesz,
		};
	}
	*offset = p.p_offset;
	*bytes = p.p_filesz;
	return p.p_type == PT_LOAD && range_within(*offset, *bytes, file_bytes);
}

/* The file's header in the wide form. False if it is no ELF file, or one without segments. */
static bool read_elf_header(int fd, uint64_t file_bytes, Elf64_Ehdr *e)
{
	Elf32_Ehdr narrow;

	if (file_bytes < sizeof(*e) || pread_all(fd, e, sizeof(*e), 0) ||
	    memcmp(e->e_ident, ELFMAG, SELFMAG) || e->e_ident[EI_DATA] != ELFDATA2LSB)
		return false;
	if (e->e_ident[EI_CLASS] == ELFCLASS32) {
		memcpy(&narrow, e, sizeof(narrow));
		e->e_phoff = narrow.e_phoff;
		e->e_phnum = narrow.e_phnum;
		e->e_phentsize = narrow.e_phentsize;
	} else if (e->e_ident[EI_CLASS] != ELFCLASS64) {
		return false;
	}
	return e->e_phnum && e->e_phnum <= MAX_PHDRS && e->e_phoff <= file_bytes;
}

static int find_in_elf(struct kernel_release *release, int fd, uint64_t file_bytes)
{
	uint64_t left = KERNEL_RELEASE_MAX_SEARCH, offset, bytes;
	int rc = -ENODATA;
	char *chunk;
	Elf64_Ehdr e;

	if (!read_elf_header(fd, file_bytes, &e))
		return -ENODATA;
	release->is_64bit = e.e_ident[EI_CLASS] == ELFCLASS64;
	chunk = malloc(CHUNK_BYTES);
	if (!chunk)
		return -ENOMEM;
	for (unsigned int i = 0; i < e.e_phnum && rc == -ENODATA; i++)
		if (read_segment(fd, &e, i, file_bytes, &offset, &bytes))
			rc = find_in_segment(release, fd, offset, bytes, &left, chunk);
	free(chunk);
	return rc;
}

/* ---- any of them ---- */

int kernel_release_find(struct kernel_release *release, int fd, uint64_t file_bytes)
{
	const char *why;
	struct uki uki;
	int rc;

	memset(release, 0, sizeof(*release));
	rc = find_in_bzimage(release, fd, 0, file_bytes);
	if (rc == -ENODATA)
		rc = find_in_elf(release, fd, file_bytes);
	if (rc == -ENODATA && !uki_find(&uki, fd, file_bytes, &why))
		rc = find_in_bzimage(release, fd, uki.kernel.offset, uki.kernel.bytes);
	return rc;
}

int kernel_release_read(struct kernel_release *release, const char *path)
{
	struct stat st;
	int fd, rc;

	memset(release, 0, sizeof(*release));
	if (stat(path, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENODATA;
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = fstat(fd, &st) ? -errno : kernel_release_find(release, fd, (uint64_t)st.st_size);
	close(fd);
	return rc;
}

bool kernel_release_is_older(const struct kernel_release *release, unsigned int major,
			     unsigned int minor)
{
	return release->major < major || (release->major == major && release->minor < minor);
}
