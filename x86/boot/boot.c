// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kernel, initrd and command line: from files into guest RAM (the stages are
 * listed in boot.h).
 *
 * Runs on the main thread before there are vCPUs. Everything that a kernel file
 * says is checked once, in the pure boot_plan_*() functions, against the size of
 * the file and of RAM; loading then follows the plan. Kernels go above 1 MiB,
 * initrds as high as the kernel can reach. Files are read straight into guest
 * RAM. A bzImage is unpacked by the host if it can be (payload.h); if not, the file is
 * loaded as it is and the guest's own stub does it.
 *
 * Source: x86 boot protocol 2.15 (Documentation/x86/boot.rst); System V ABI
 * (ELF); Xen's docs/misc/pvh for the note that marks a PVH entry.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache.h"
#include "io.h"
#include "log.h"
#include "uki.h"
#include "util.h"
#include "x86/boot/boot.h"
#include "x86/boot/payload.h"
#include "x86/boot/zeropage.h"
#include "x86/layout.h"

#ifndef SETUP_RNG_SEED
#define SETUP_RNG_SEED 9 /* Linux 6.0; ignored by older kernels */
#endif

#define HEADER_OFFSET	      0x1f1	 /* struct setup_header in the file */
#define HEADER_MAGIC	      0x53726448 /* "HdrS" */
#define BOOT_FLAG_MAGIC	      0xaa55
#define SECTOR_BYTES	      512u
#define ENTRY_64_OFFSET	      0x200u
#define PROTOCOL_MIN	      0x0206 /* cmdline_size: Linux 2.6.22 */
#define PROTOCOL_INIT_SIZE    0x020a
#define PROTOCOL_XLOADFLAGS   0x020c
#define SYSSIZE_UNIT	      16u
#define ELF_MAX_PHDRS	      128u
#define ELF_MAX_NOTES_BYTES   65536u
#define CMDLINE_MAX_VMLINUX   2047u /* COMMAND_LINE_SIZE of x86 less the NUL */
#define NOTE_XEN_PHYS32_ENTRY 18u
#define INITRD_ALIGN	      4096u
#define INITRD_PART_ALIGN     4u /* what the kernel's unpacker expects of a cpio */
#define RNG_SEED_BYTES	      32u
#define MAX_KERNEL_PIPE_BYTES GIB(1) /* with what a debugger wants of it */

struct initrd_file {
	const char *path;
	int fd;
	uint64_t at; /* where in the file it begins */
	uint64_t bytes;
	uint64_t offset; /* in the initrd */
};

struct boot {
	const struct boot_config *config;
	const char *path;
	const char *kind;
	int fd;
	uint64_t at;	/* where in the file the kernel begins */
	struct uki uki; /* what else is in it */
	char *cmdline;	/* ours, the kernel's own, the user's */
	struct boot_plan plan;
	unsigned int nr_initrds;
	struct initrd_file initrds[BOOT_MAX_INITRDS + 2]; /* the kernel's, the user's, ours */
	gpa_t initrd;
	uint64_t initrd_bytes;
	struct payload payload;
};

__attribute__((format(printf, 2, 3))) static int boot_fail(struct boot_error *error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(error->text, sizeof(error->text), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static unsigned long long mib_up(uint64_t bytes)
{
	return (unsigned long long)((bytes >> 20) + ((bytes & (MIB(1) - 1)) != 0));
}

static uint64_t low_ram(uint64_t ram_bytes)
{
	return min_u64(ram_bytes, MEM_HOLE_START);
}

/* ---- bzImage ---- */

/*
 * The header's length is in the operand of the jump across it (protocol @0x201).
 * What an older kernel has behind it is code, not fields.
 */
static void cut_header(struct setup_header *h)
{
	size_t end = 0x202 + (h->jump >> 8) - HEADER_OFFSET;

	if (end < sizeof(*h))
		memset((uint8_t *)h + end, 0, sizeof(*h) - end);
}

static int check_header(const struct setup_header *h, struct boot_error *error)
{
	if (h->version < PROTOCOL_MIN)
		return boot_fail(error, "boot protocol %u.%02u is too old\n"
					"kernels from Linux 2.6.22 on (2.06) are supported.",
				 h->version >> 8, h->version & 0xff);
	if (!(h->loadflags & LOADED_HIGH))
		return boot_fail(error, "a zImage, which loads below 1 MiB\nbuild a bzImage instead.");
	return 0;
}

/* The protected-mode part of the file: offset and size. */
static int find_payload(const struct setup_header *h, uint64_t file_bytes,
			struct boot_segment *seg, struct boot_error *error)
{
	uint64_t sects = h->setup_sects ? h->setup_sects : 4; /* protocol @0x1f1 */
	uint64_t promised = (uint64_t)h->syssize * SYSSIZE_UNIT;

	seg->offset = (sects + 1) * SECTOR_BYTES;
	if (seg->offset >= file_bytes)
		return boot_fail(error, "truncated: the kernel starts at byte %llu, the file has %llu",
				 (unsigned long long)seg->offset, (unsigned long long)file_bytes);
	seg->file_bytes = file_bytes - seg->offset;
	if (promised < 2ull * ENTRY_64_OFFSET)
		return boot_fail(error, "its header promises a kernel of %llu bytes",
				 (unsigned long long)promised);
	if (promised >= seg->file_bytes + SYSSIZE_UNIT)
		return boot_fail(error, "truncated: the header promises %llu bytes, the file has %llu",
				 (unsigned long long)(seg->offset + promised),
				 (unsigned long long)file_bytes);
	/* What follows (a signature, say) is not the kernel's. */
	seg->file_bytes = min_u64(seg->file_bytes, promised);
	seg->mem_bytes = seg->file_bytes;
	seg->gpa = LAYOUT_HIGH_START;
	return 0;
}

/* How much RAM the kernel uses before it reads the memory map. */
static int find_kernel_end(struct boot_plan *plan, uint64_t ram_bytes, struct boot_error *error)
{
	const struct setup_header *h = &plan->header;
	uint64_t loaded = plan->segments[0].gpa + plan->segments[0].mem_bytes;
	uint64_t unpacked = loaded;

	if (h->version >= PROTOCOL_INIT_SIZE && !add_u64(h->pref_address, h->init_size, &unpacked))
		return boot_fail(error, "its header wants to run at %#llx",
				 (unsigned long long)h->pref_address);
	plan->kernel_end = max_u64(loaded, unpacked);
	if (plan->kernel_end > low_ram(ram_bytes))
		return boot_fail(error, "needs %llu MiB of RAM to start, the machine has %llu\n"
					"use -m %lluM or more.",
				 mib_up(plan->kernel_end),
				 (unsigned long long)(ram_bytes >> 20), mib_up(plan->kernel_end) + 32);
	return 0;
}

int boot_plan_bzimage(struct boot_plan *plan, const uint8_t *page, size_t page_bytes,
		      uint64_t file_bytes, uint64_t ram_bytes, struct boot_error *error)
{
	struct setup_header *h = &plan->header;
	uint16_t xloadflags;
	int rc;

	memset(plan, 0, sizeof(*plan));
	if (page_bytes < HEADER_OFFSET + sizeof(*h))
		return boot_fail(error, "truncated: %llu bytes", (unsigned long long)file_bytes);
	memcpy(h, page + HEADER_OFFSET, sizeof(*h));
	cut_header(h);
	plan->has_header = true;
	rc = check_header(h, error);
	if (!rc)
		rc = find_payload(h, file_bytes, &plan->segments[0], error);
	if (rc)
		return rc;
	plan->nr_segments = 1;
	rc = find_kernel_end(plan, ram_bytes, error);
	if (rc)
		return rc;
	xloadflags = h->version >= PROTOCOL_XLOADFLAGS ? h->xloadflags : 0;
	plan->cmdline_max = h->cmdline_size;
	plan->initrd_limit = (uint64_t)h->initrd_addr_max + 1;
	if (xloadflags & XLF_KERNEL_64) {
		plan->start.entry = CPU_ENTRY_64;
		plan->start.rip = plan->segments[0].gpa + ENTRY_64_OFFSET;
		plan->initrd_high = xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G;
	} else {
		plan->start.entry = CPU_ENTRY_32;
		plan->start.rip = plan->segments[0].gpa;
	}
	return 0;
}

/* ---- ELF ---- */

static int plan_segment(struct boot_plan *plan, const Elf64_Phdr *ph, unsigned int index,
			uint64_t file_bytes, uint64_t ram_bytes, struct boot_error *error)
{
	struct boot_segment *seg = &plan->segments[plan->nr_segments];

	if (!ph->p_memsz)
		return 0;
	if (plan->nr_segments == BOOT_MAX_SEGMENTS)
		return boot_fail(error, "more than %u loadable segments", BOOT_MAX_SEGMENTS);
	if (ph->p_filesz > ph->p_memsz)
		return boot_fail(error, "segment %u: %llu bytes in the file, %llu in memory", index,
				 (unsigned long long)ph->p_filesz, (unsigned long long)ph->p_memsz);
	if (!range_within(ph->p_offset, ph->p_filesz, file_bytes))
		return boot_fail(error, "truncated: segment %u ends beyond the file's %llu bytes", index,
				 (unsigned long long)file_bytes);
	if (ph->p_paddr < LAYOUT_HIGH_START)
		return boot_fail(error, "segment %u: physical address %#llx is below 1 MiB", index,
				 (unsigned long long)ph->p_paddr);
	if (!range_within(ph->p_paddr, ph->p_memsz, low_ram(ram_bytes)))
		return boot_fail(error, "segment %u: %#llx + %#llx is outside of the %llu MiB of RAM\n"
					"use a larger -m.",
				 index, (unsigned long long)ph->p_paddr,
				 (unsigned long long)ph->p_memsz, (unsigned long long)(ram_bytes >> 20));
	*seg = (struct boot_segment){
		.offset = ph->p_offset,
		.file_bytes = ph->p_filesz,
		.gpa = ph->p_paddr,
		.mem_bytes = ph->p_memsz,
	};
	plan->nr_segments++;
	plan->kernel_end = max_u64(plan->kernel_end, seg->gpa + seg->mem_bytes);
	return 0;
}

/* The physical address of the entry; vmlinux has that already, others a virtual one. */
static bool find_entry(const struct boot_elf *elf, gpa_t *rip)
{
	for (int by_virtual = 0; by_virtual < 2; by_virtual++) {
		for (unsigned int i = 0; i < elf->nr_phdrs; i++) {
			const Elf64_Phdr *ph = &elf->phdrs[i];
			uint64_t start = by_virtual ? ph->p_vaddr : ph->p_paddr;

			if (ph->p_type == PT_LOAD && elf->entry >= start &&
			    elf->entry - start < ph->p_memsz) {
				*rip = ph->p_paddr + (elf->entry - start);
				return true;
			}
		}
	}
	return false;
}

static bool in_segments(const struct boot_plan *plan, gpa_t gpa)
{
	for (unsigned int i = 0; i < plan->nr_segments; i++)
		if (gpa >= plan->segments[i].gpa &&
		    gpa - plan->segments[i].gpa < plan->segments[i].mem_bytes)
			return true;
	return false;
}

/* Looks for the note that gives a 32-bit PVH entry. True if there is one. */
static bool find_pvh_entry(const uint8_t *notes, size_t bytes, gpa_t *rip)
{
	size_t at = 0;

	while (range_within(at, sizeof(Elf64_Nhdr), bytes)) {
		Elf64_Nhdr nh;
		uint64_t name, desc;
		uint32_t entry;

		memcpy(&nh, notes + at, sizeof(nh));
		name = at + sizeof(nh);
		desc = name + align_up(nh.n_namesz, 4);
		if (!range_within(desc, nh.n_descsz, bytes))
			return false;
		if (nh.n_type == NOTE_XEN_PHYS32_ENTRY && nh.n_namesz == 4 &&
		    !memcmp(notes + name, "Xen", 4) && nh.n_descsz >= sizeof(entry)) {
			memcpy(&entry, notes + desc, sizeof(entry));
			*rip = entry;
			return true;
		}
		at = desc + align_up(nh.n_descsz, 4);
	}
	return false;
}

int boot_plan_elf(struct boot_plan *plan, const struct boot_elf *elf, uint64_t file_bytes,
		  uint64_t ram_bytes, struct boot_error *error)
{
	gpa_t pvh;
	int rc;

	memset(plan, 0, sizeof(*plan));
	for (unsigned int i = 0; i < elf->nr_phdrs; i++) {
		if (elf->phdrs[i].p_type != PT_LOAD)
			continue;
		rc = plan_segment(plan, &elf->phdrs[i], i, file_bytes, ram_bytes, error);
		if (rc)
			return rc;
	}
	if (!plan->nr_segments)
		return boot_fail(error, "an ELF file without loadable segments");
	plan->cmdline_max = CMDLINE_MAX_VMLINUX;
	plan->initrd_limit = elf->is_64bit ? MEM_HOLE_START : 0x38000000;
	plan->start.entry = elf->is_64bit ? CPU_ENTRY_64 : CPU_ENTRY_32;
	if (find_pvh_entry(elf->notes, elf->notes_bytes, &pvh)) {
		if (!in_segments(plan, pvh))
			return boot_fail(error, "its PVH entry %#llx is in no loadable segment",
					 (unsigned long long)pvh);
		plan->start.entry = CPU_ENTRY_PVH;
		plan->start.rip = pvh;
	} else if (!find_entry(elf, &plan->start.rip)) {
		return boot_fail(error, "its entry point %#llx is in no loadable segment",
				 (unsigned long long)elf->entry);
	}
	return 0;
}

static Elf64_Phdr widen(const Elf32_Phdr *p)
{
	return (Elf64_Phdr){
		.p_type = p->p_type,
		.p_offset = p->p_offset,
		.p_vaddr = p->p_vaddr,
		.p_paddr = p->p_paddr,
		.p_filesz = p->p_filesz,
		.p_memsz = p->p_memsz,
	};
}

/* Fills @phdrs from the file, after checking where they are. */
static int read_phdrs(int fd, uint64_t offset, unsigned int nr, bool is_64bit,
		      Elf64_Phdr *phdrs, uint64_t file_bytes, struct boot_error *error)
{
	size_t entry = is_64bit ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

	if (nr == 0 || nr > ELF_MAX_PHDRS)
		return boot_fail(error, "an ELF file with %u program headers", nr);
	if (!range_within(offset, nr * entry, file_bytes))
		return boot_fail(error, "truncated: program headers at %#llx, the file has %llu bytes",
				 (unsigned long long)offset, (unsigned long long)file_bytes);
	for (unsigned int i = 0; i < nr; i++) {
		Elf32_Phdr narrow;
		int rc;

		if (is_64bit)
			rc = pread_all(fd, &phdrs[i], entry, offset + i * entry);
		else
			rc = pread_all(fd, &narrow, entry, offset + i * entry);
		if (rc)
			return boot_fail(error, "reading program header %u: %s", i, strerror(-rc));
		if (!is_64bit)
			phdrs[i] = widen(&narrow);
	}
	return 0;
}

/* Reads the first note segment of a sensible size; without one there is no PVH. */
static size_t read_notes(int fd, const Elf64_Phdr *phdrs, unsigned int nr, uint64_t file_bytes,
			 uint8_t *notes)
{
	for (unsigned int i = 0; i < nr; i++) {
		const Elf64_Phdr *ph = &phdrs[i];

		if (ph->p_type != PT_NOTE || ph->p_filesz > ELF_MAX_NOTES_BYTES ||
		    !range_within(ph->p_offset, ph->p_filesz, file_bytes))
			continue;
		if (!pread_all(fd, notes, ph->p_filesz, ph->p_offset))
			return ph->p_filesz;
	}
	return 0;
}

static int check_elf_header(const uint8_t *page, size_t page_bytes, struct boot_error *error)
{
	Elf64_Ehdr e; /* the fields up to e_version are the same in both classes */

	if (page_bytes < sizeof(e))
		return boot_fail(error, "truncated: %zu bytes", page_bytes);
	memcpy(&e, page, sizeof(e));
	if (e.e_ident[EI_DATA] != ELFDATA2LSB ||
	    (e.e_ident[EI_CLASS] != ELFCLASS64 && e.e_ident[EI_CLASS] != ELFCLASS32) ||
	    (e.e_machine != EM_X86_64 && e.e_machine != EM_386))
		return boot_fail(error, "an ELF file for another machine (class %u, machine %u)",
				 e.e_ident[EI_CLASS], e.e_machine);
	if (e.e_type != ET_EXEC)
		return boot_fail(error, "an ELF file of type %u, not an executable kernel", e.e_type);
	return 0;
}

static int plan_elf_file(struct boot_plan *plan, int fd, const uint8_t *page, size_t page_bytes,
			 uint64_t file_bytes, uint64_t ram_bytes, struct boot_error *error)
{
	Elf64_Phdr phdrs[ELF_MAX_PHDRS] = { 0 };
	uint8_t *notes;
	Elf64_Ehdr e64;
	Elf32_Ehdr e32;
	struct boot_elf elf = { .phdrs = phdrs };
	uint64_t phoff;
	int rc = check_elf_header(page, page_bytes, error);

	if (rc)
		return rc;
	memcpy(&e64, page, sizeof(e64));
	memcpy(&e32, page, sizeof(e32));
	elf.is_64bit = e64.e_ident[EI_CLASS] == ELFCLASS64;
	elf.nr_phdrs = elf.is_64bit ? e64.e_phnum : e32.e_phnum;
	elf.entry = elf.is_64bit ? e64.e_entry : e32.e_entry;
	phoff = elf.is_64bit ? e64.e_phoff : e32.e_phoff;
	if ((elf.is_64bit ? e64.e_phentsize : e32.e_phentsize) !=
	    (elf.is_64bit ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
		return boot_fail(error, "an ELF file with program headers of an unknown size");
	rc = read_phdrs(fd, phoff, elf.nr_phdrs, elf.is_64bit, phdrs, file_bytes, error);
	if (rc)
		return rc;
	notes = malloc(ELF_MAX_NOTES_BYTES);
	if (!notes)
		return boot_fail(error, "no memory");
	elf.notes = notes;
	elf.notes_bytes = read_notes(fd, phdrs, elf.nr_phdrs, file_bytes, notes);
	rc = boot_plan_elf(plan, &elf, file_bytes, ram_bytes, error);
	free(notes);
	return rc;
}

/* ---- flat image ---- */

static int plan_flat(struct boot_plan *plan, gpa_t address, uint64_t file_bytes,
		     uint64_t ram_bytes, struct boot_error *error)
{
	uint64_t limit = min_u64(LAYOUT_ACPI, ram_bytes);

	memset(plan, 0, sizeof(*plan));
	if (address % 16 || address >= limit)
		return boot_fail(error, "cannot be entered at segment:0 of address %#llx\n"
					"the address has to be a multiple of 16 below %#x.",
				 (unsigned long long)address, LAYOUT_ACPI);
	if (!range_within(address, file_bytes, limit))
		return boot_fail(error, "%llu bytes at %#llx reach beyond %#llx",
				 (unsigned long long)file_bytes, (unsigned long long)address,
				 (unsigned long long)limit);
	plan->nr_segments = 1;
	plan->segments[0] = (struct boot_segment){
		.file_bytes = file_bytes,
		.gpa = address,
		.mem_bytes = file_bytes,
	};
	plan->start.entry = CPU_ENTRY_REAL;
	plan->start.rip = address;
	plan->kernel_end = LAYOUT_HIGH_START;
	return 0;
}

/* ---- initrd ---- */

int boot_place_initrd(const struct boot_plan *plan, uint64_t bytes, uint64_t ram_bytes,
		      gpa_t *gpa, struct boot_error *error)
{
	uint64_t low = low_ram(ram_bytes);
	uint64_t limit = align_down(min_u64(plan->initrd_limit, low), INITRD_ALIGN);
	uint64_t start = align_up(plan->kernel_end, INITRD_ALIGN);
	uint64_t room = limit > start ? limit - start : 0;

	if (bytes <= room) {
		*gpa = align_down(limit - bytes, INITRD_ALIGN);
		return 0;
	}
	if (plan->initrd_high && bytes <= align_down(ram_bytes - low, INITRD_ALIGN)) {
		*gpa = align_down(MEM_HOLE_END + (ram_bytes - low) - bytes, INITRD_ALIGN);
		return 0;
	}
	return boot_fail(error, "%llu bytes do not fit: this kernel takes an initrd between %#llx and "
				"%#llx, %llu bytes less\n%s",
			 (unsigned long long)bytes,
			 (unsigned long long)start, (unsigned long long)limit,
			 (unsigned long long)(bytes - room),
			 limit < align_down(plan->initrd_limit, INITRD_ALIGN) ?
				 "use a larger -m or a smaller initrd." :
				 "use a smaller initrd.");
}

/* A pipe has no size: copies it into a memory file, bounded by RAM. */
static int slurp(int pipe_fd, uint64_t max_bytes)
{
	struct pollfd p = { .fd = pipe_fd, .events = POLLIN };
	int fd = memfd_create("pipe", MFD_CLOEXEC);
	uint64_t total = 0;
	char buf[65536];

	if (fd < 0)
		return -errno;
	for (;;) {
		int err = 0;
		ssize_t n;

		/* A FIFO that nobody has opened for writing yet would read as its end. */
		poll_fds(&p, 1, -1);
		n = read(pipe_fd, buf, sizeof(buf));
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n == 0)
			return fd;
		if (n < 0)
			err = errno;
		else if (total + (uint64_t)n > max_bytes)
			err = EFBIG;
		else if (write(fd, buf, (size_t)n) != n)
			err = ENOMEM;
		if (err) {
			close(fd);
			return -err;
		}
		total += (uint64_t)n;
	}
}

static const char *boot_kind_of(mode_t mode)
{
	return S_ISDIR(mode) ? "is a directory" :
	       S_ISCHR(mode) ? "is a character device" :
	       S_ISBLK(mode) ? "is a block device" :
			       "is neither a file nor a pipe";
}

/*
 * Opens a file to load; a pipe is read to its end, of which @max_bytes may come. fd or -errno, after
 * a message.
 */
static int open_input(const char *what, const char *path, uint64_t max_bytes, uint64_t *bytes)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st)) {
		int err = errno;

		log_error("%s: %s: %s", what, path, strerror(err));
		if (fd >= 0)
			close(fd);
		return -err;
	}
	if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) {
		int copy = slurp(fd, max_bytes);

		close(fd);
		if (copy < 0) {
			log_error("%s: %s: %s", what, path, strerror(-copy));
			return copy;
		}
		fd = copy;
		if (fstat(fd, &st))
			st.st_mode = 0;
	}
	if (!S_ISREG(st.st_mode)) {
		log_error("%s: %s: %s\nit has to be a file or a pipe.", what, path,
			  boot_kind_of(st.st_mode));
		close(fd);
		return -EINVAL;
	}
	*bytes = (uint64_t)st.st_size;
	return fd;
}

/* Behind those that are there. @bytes at @at of the file; -errno after a message. */
static int boot_add_initrd(struct boot *boot, const char *path, int fd, uint64_t at, uint64_t bytes)
{
	uint64_t offset = align_up(boot->initrd_bytes, INITRD_PART_ALIGN);

	if (fd < 0)
		return fd;
	boot->initrds[boot->nr_initrds++] = (struct initrd_file){
		.path = path,
		.fd = fd,
		.at = at,
		.bytes = bytes,
		.offset = offset,
	};
	if (bytes > 1ull << 46) {
		log_error("initrd: %s: too large", path);
		return -EFBIG;
	}
	boot->initrd_bytes = offset + bytes;
	return 0;
}

/* The one that came with the kernel. */
static int add_own_initrd(struct boot *boot)
{
	int fd;

	if (!boot->uki.initrd.bytes)
		return 0;
	fd = fcntl(boot->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0) {
		fd = -errno;
		log_error("kernel: %s: %s", boot->path, strerror(-fd));
	}
	return boot_add_initrd(boot, boot->path, fd, boot->uki.initrd.offset, boot->uki.initrd.bytes);
}

/* What lkvm itself has for the guest. */
static int add_extra_initrd(struct boot *boot)
{
	static const char name[] = "lkvm's own files";
	struct stat st;
	int fd;

	if (boot->config->extra_initrd_fd < 0)
		return 0;
	fd = fcntl(boot->config->extra_initrd_fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || fstat(fd, &st)) {
		int err = errno;

		log_error("initrd: %s: %s", name, strerror(err));
		if (fd >= 0)
			close(fd);
		return -err;
	}
	return boot_add_initrd(boot, name, fd, 0, (uint64_t)st.st_size);
}

static int open_initrds(struct boot *boot)
{
	const struct boot_config *c = boot->config;
	struct boot_error error = { "" };
	int rc = add_own_initrd(boot);

	for (unsigned int i = 0; i < c->nr_initrds && !rc; i++) {
		uint64_t bytes = 0;
		int fd = open_input("initrd", c->initrds[i], c->ram_bytes, &bytes);

		rc = boot_add_initrd(boot, c->initrds[i], fd, 0, bytes);
	}
	if (!rc)
		rc = add_extra_initrd(boot);
	if (rc || !boot->initrd_bytes)
		return rc;
	rc = boot_place_initrd(&boot->plan, boot->initrd_bytes, c->ram_bytes, &boot->initrd,
			       &error);
	if (rc)
		log_error("initrd: %s%s: %s", boot->initrds[0].path,
			  boot->nr_initrds > 1 ? " and others" : "", error.text);
	return rc;
}

/* ---- the stages ---- */

static bool has_bzimage_header(const uint8_t *page, size_t n)
{
	struct setup_header h;

	if (n < HEADER_OFFSET + sizeof(h))
		return false;
	memcpy(&h, page + HEADER_OFFSET, sizeof(h));
	return h.boot_flag == BOOT_FLAG_MAGIC && h.header == HEADER_MAGIC;
}

/* A bzImage inside of an EFI program. 0, -ENOENT if it is none, or -EINVAL. */
static int identify_uki(struct boot *boot, uint64_t file_bytes, struct boot_error *error)
{
	uint8_t page[BOOT_PAGE_BYTES];
	const char *why = "";
	int rc = uki_find(&boot->uki, boot->fd, file_bytes, &why);
	size_t n = min_u64(boot->uki.kernel.bytes, sizeof(page));

	if (rc)
		return rc == -ENOENT ? rc : boot_fail(error, "%s", why);
	boot->kind = "unified kernel image";
	boot->at = boot->uki.kernel.offset;
	rc = pread_all(boot->fd, page, n, boot->at);
	if (rc)
		return boot_fail(error, "%s", strerror(-rc));
	if (!has_bzimage_header(page, n))
		return boot_fail(error, "an EFI program whose section .linux is not a bzImage");
	return boot_plan_bzimage(&boot->plan, page, n, boot->uki.kernel.bytes,
				 boot->config->ram_bytes, error);
}

/* Recognises the kernel by its first page and makes the plan. */
static int boot_identify(struct boot *boot, uint64_t file_bytes, struct boot_error *error)
{
	uint8_t page[BOOT_PAGE_BYTES];
	size_t n = min_u64(file_bytes, sizeof(page));
	uint64_t ram = boot->config->ram_bytes;
	int rc = pread_all(boot->fd, page, n, 0);

	if (rc)
		return boot_fail(error, "%s", strerror(-rc));
	if (boot->config->flat) {
		boot->kind = "flat image";
		return plan_flat(&boot->plan, boot->config->flat_address, file_bytes, ram, error);
	}
	if (has_bzimage_header(page, n)) {
		boot->kind = "bzImage";
		return boot_plan_bzimage(&boot->plan, page, n, file_bytes, ram, error);
	}
	if (n >= SELFMAG && !memcmp(page, ELFMAG, SELFMAG)) {
		boot->kind = "ELF kernel";
		return plan_elf_file(&boot->plan, boot->fd, page, n, file_bytes, ram, error);
	}
	rc = identify_uki(boot, file_bytes, error);
	if (rc != -ENOENT)
		return rc;
	if (n < 4)
		return boot_fail(error, "not a bzImage or ELF vmlinux (%zu bytes)", n);
	return boot_fail(error, "not a bzImage or ELF vmlinux (first bytes %02x %02x %02x %02x)",
			 page[0], page[1], page[2], page[3]);
}

static int boot_open_kernel(struct boot *boot)
{
	const char *what = boot->config->flat ? "flat" : "kernel";
	struct boot_error error = { "" };
	uint64_t file_bytes = 0;
	int rc;

	boot->path = boot->config->flat ? boot->config->flat : boot->config->kernel;
	boot->fd = open_input(what, boot->path, MAX_KERNEL_PIPE_BYTES, &file_bytes);
	if (boot->fd < 0)
		return boot->fd;
	rc = boot_identify(boot, file_bytes, &error);
	if (rc)
		log_error("%s: %s: %s", what, boot->path, error.text);
	return rc;
}

/* Of two values for one parameter the kernel takes the last. */
static int join_cmdline(struct boot *boot)
{
	char *own = uki_read_cmdline(&boot->uki, boot->fd);
	const char *parts[] = { boot->config->cmdline, own, boot->config->user_cmdline };
	size_t bytes;
	FILE *out = open_memstream(&boot->cmdline, &bytes);

	for (size_t i = 0; i < ARRAY_SIZE(parts) && out; i++)
		if (parts[i] && *parts[i])
			fprintf(out, "%s%s", ftell(out) ? " " : "", parts[i]);
	free(own);
	return !out || fclose(out) ? log_enomem("command line") : 0;
}

static int check_cmdline(const struct boot *boot)
{
	size_t len = strlen(boot->cmdline);
	size_t max = min_u64(boot->plan.cmdline_max, LAYOUT_CMDLINE_MAX - 1);

	if (boot->config->flat || len <= max)
		return 0;
	log_error("command line: %zu bytes; this kernel takes at most %zu\n"
		  "nothing was cut: shorten -p or use --no-default-params.",
		  len, max);
	return -E2BIG;
}

int boot_update_cmdline(struct boot *boot)
{
	int rc;

	free(boot->cmdline);
	boot->cmdline = NULL;
	rc = join_cmdline(boot);
	return rc ? rc : check_cmdline(boot);
}

int boot_open(struct boot **out, const struct boot_config *config)
{
	struct boot *boot = calloc(1, sizeof(*boot));
	int rc;

	if (!boot)
		return log_enomem("boot");
	boot->config = config;
	boot->fd = -1;
	rc = boot_open_kernel(boot);
	if (!rc)
		rc = open_initrds(boot);
	if (!rc)
		rc = boot_update_cmdline(boot);
	if (rc) {
		boot_destroy(boot);
		return rc;
	}
	*out = boot;
	return 0;
}

bool boot_file_identity(const struct boot *boot, struct cache_identity *id)
{
	return cache_identify(boot->fd, id);
}

static void close_files(struct boot *boot)
{
	if (boot->fd >= 0)
		close(boot->fd);
	boot->fd = -1;
	while (boot->nr_initrds)
		close(boot->initrds[--boot->nr_initrds].fd);
}

void boot_destroy(struct boot *boot)
{
	if (!boot)
		return;
	payload_fini(&boot->payload);
	close_files(boot);
	free(boot->cmdline);
	free(boot);
}

const char *boot_describe(const struct boot *boot)
{
	return boot->kind;
}

const char *boot_get_cmdline(const struct boot *boot)
{
	return boot->cmdline;
}

const struct boot_plan *boot_get_plan(const struct boot *boot)
{
	return &boot->plan;
}

bool boot_kernel_shift(const struct boot *boot, uint64_t *shift)
{
	const bool is_bzimage = boot->plan.has_header;

	*shift = boot->payload.shift;
	return !boot->config->flat && (!is_bzimage || boot->payload.bytes);
}

struct boot_segment boot_initrd_place(const struct boot *boot)
{
	return (struct boot_segment){ .gpa = boot->initrd, .mem_bytes = boot->initrd_bytes };
}

static int load_error(const char *what, const char *path, int rc)
{
	log_error("%s: %s: %s", what, path,
		  rc == -ENODATA ? "became shorter while it was read" : strerror(-rc));
	return rc;
}

static int load_segments(const struct boot *boot, const struct mem *mem)
{
	for (unsigned int i = 0; i < boot->plan.nr_segments; i++) {
		const struct boot_segment *s = &boot->plan.segments[i];

		int rc = mem_read_file(mem, s->gpa, s->file_bytes, boot->fd,
				       boot->at + s->offset);

		/* Fresh RAM is zero, but segments of a hostile file may overlap. */
		if (!rc && s->mem_bytes > s->file_bytes && i)
			rc = mem_zero(mem, s->gpa + s->file_bytes, s->mem_bytes - s->file_bytes);
		if (rc)
			return load_error("kernel", boot->path, rc);
	}
	return 0;
}

/* The kernel inside a bzImage. 1 if it is in RAM now, 0 if the guest has to unpack it. */
static int load_payload(struct boot *boot, const struct mem *mem)
{
	const struct payload_config config = {
		.fd = boot->fd,
		.offset = boot->at + boot->plan.segments[0].offset,
		.bytes = boot->plan.segments[0].file_bytes,
		.header = &boot->plan.header,
		.cmdline = boot->cmdline,
		.ram_bytes = boot->config->ram_bytes,
		.initrd = boot->initrd,
		.initrd_bytes = boot->initrd_bytes,
		.use_cache = boot->config->use_cache,
		.cache_dir = boot->config->cache_dir,
	};
	struct payload *p = &boot->payload;
	int rc;

	if (!boot->plan.has_header || boot->config->guest_unpacks)
		return 0;
	rc = payload_load(p, &config, mem);
	if (rc == -ENOTSUP) {
		log_verbose("kernel: the guest unpacks it: %s", p->text);
		return 0;
	}
	if (rc) {
		log_error("kernel: %s: %s", boot->path, p->text);
		return rc;
	}
	log_verbose("kernel: %s: %llu bytes at %#llx%s", p->source,
		    (unsigned long long)p->bytes, (unsigned long long)p->gpa,
		    p->randomized ? ", randomized" : "");
	boot->plan.start.rip = p->entry;
	boot->plan.start.image = p->gpa;
	boot->plan.start.five_levels = p->five_levels;
	if (p->randomized)
		boot->plan.header.loadflags |= KASLR_FLAG;
	return 1;
}

int boot_load(struct boot *boot, const struct mem *mem)
{
	int rc = load_payload(boot, mem);

	if (!rc)
		rc = load_segments(boot, mem);
	if (rc < 0)
		return rc;
	for (unsigned int i = 0; i < boot->nr_initrds; i++) {
		const struct initrd_file *f = &boot->initrds[i];

		rc = mem_read_file(mem, boot->initrd + f->offset, f->bytes, f->fd, f->at);
		if (rc)
			return load_error("initrd", f->path, rc);
	}
	if (boot->config->flat)
		return 0;
	return mem_write(mem, LAYOUT_CMDLINE, boot->cmdline,
			 strlen(boot->cmdline) + 1);
}

void boot_start_store(struct boot *boot, struct sandbox *sandbox)
{
	payload_start_store(&boot->payload, sandbox);
	close_files(boot);
}

/* Appends one setup_data element at *@gpa; *@link is where its address belongs. */
static int add_setup_data(const struct mem *mem, gpa_t *gpa, uint32_t type, const void *data,
			  size_t bytes, gpa_t *first, gpa_t *last)
{
	struct setup_data head = { .type = type, .len = (uint32_t)bytes };
	gpa_t at = align_up(*gpa, 16);
	int rc;

	if (!range_within(at - LAYOUT_SETUP_DATA, sizeof(head) + bytes,
			  LAYOUT_LOW_END - LAYOUT_SETUP_DATA))
		return -E2BIG;
	rc = mem_write(mem, at, &head, sizeof(head));
	if (!rc)
		rc = mem_write(mem, at + sizeof(head), data, bytes);
	if (!rc && *last)
		rc = mem_write(mem, *last + offsetof(struct setup_data, next), &at, sizeof(at));
	if (!*first)
		*first = at;
	*last = at;
	*gpa = at + sizeof(head) + bytes;
	return rc;
}

static int write_setup_data(const struct mem *mem, const void *dtb, size_t dtb_bytes, gpa_t *first)
{
	uint8_t seed[RNG_SEED_BYTES];
	gpa_t at = LAYOUT_SETUP_DATA, last = 0;
	int rc;

	*first = 0;
	if (random_bytes(seed, sizeof(seed)))
		return -EIO;
	rc = add_setup_data(mem, &at, SETUP_RNG_SEED, seed, sizeof(seed), first, &last);
	explicit_bzero(seed, sizeof(seed));
	if (!rc && dtb)
		rc = add_setup_data(mem, &at, SETUP_DTB, dtb, dtb_bytes, first, &last);
	return rc;
}

int boot_finish(struct boot *boot, const struct mem *mem, const void *dtb, size_t dtb_bytes,
		gpa_t rsdp, bool cpu_has_five_levels)
{
	struct zeropage_input in = {
		.ram_bytes = boot->config->ram_bytes,
		.header = boot->plan.has_header ? &boot->plan.header : NULL,
		.cmdline = LAYOUT_CMDLINE,
		.cmdline_bytes = (uint32_t)strlen(boot->cmdline),
		.initrd = boot->initrd,
		.initrd_bytes = boot->initrd_bytes,
		.rsdp = rsdp,
	};
	struct boot_params bp;
	uint8_t pvh[PVH_MAX_BYTES];
	int rc;

	boot->plan.start.five_levels &= cpu_has_five_levels;
	if (boot->config->flat)
		return 0;
	rc = write_setup_data(mem, dtb, dtb_bytes, &in.setup_data);
	if (!rc && boot->plan.start.entry == CPU_ENTRY_PVH) {
		size_t n = pvh_build(pvh, LAYOUT_PVH, &in);

		rc = mem_write(mem, LAYOUT_PVH, pvh, n);
	} else if (!rc) {
		zeropage_build(&bp, &in);
		rc = mem_write(mem, LAYOUT_ZERO_PAGE, &bp, sizeof(bp));
	}
	if (!rc)
		rc = cpu_write_tables(mem, &boot->plan.start);
	if (rc)
		log_error("boot: writing the kernel's parameters: %s", strerror(-rc));
	return rc;
}
