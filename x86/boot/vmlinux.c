// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel inside a bzImage: segments, relocations, and where it goes.
 *
 * Runs on one thread before there are vCPUs. A 64-bit kernel is linked for one physical and one
 * virtual address. It runs unchanged at any physical address of the right alignment. To run at
 * another virtual address it has to be relocated: the distance is added to each word that the
 * relocation table lists. vmlinux_parse() checks every length, offset and address of the file;
 * loading relies on its result.
 *
 * Source: Linux 6.12: arch/x86/tools/relocs.c (what the tables hold), the comments of
 * arch/x86/boot/compressed/{misc,kaslr}.c (their order; which places are allowed);
 * x86 boot protocol 2.15. Not here: 32-bit kernels, which decompress themselves.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "util.h"
#include "x86/boot/vmlinux.h"
#include "x86/layout.h"

#define KERNEL_MAP	 0xffffffff80000000ull /* __START_KERNEL_map */
#define KERNEL_MAP_BYTES GIB(1)		       /* of a kernel that can move in it */
#define MAX_PHDRS	 64u
/* Two tables, or three with the per-CPU ones that Linux had up to 6.14. */
#define MAX_TABLES 3u
/* What the page tables of the 64-bit entry can reach: one PML4 entry. */
#define REACH_BYTES GIB(512)

/* ---- the file ---- */

static int unknown(const char **why, const char *what)
{
	*why = what;
	return -ENOTSUP;
}

static int add_segment(struct vmlinux *v, const Elf64_Phdr *ph, size_t bytes, const char **why)
{
	struct vmlinux_segment *s = &v->segments[v->nr_segments];

	if (v->nr_segments == VMLINUX_MAX_SEGMENTS)
		return unknown(why, "too many segments");
	if (ph->p_filesz > ph->p_memsz || !range_within(ph->p_offset, ph->p_filesz, bytes))
		return unknown(why, "a segment beyond the file's end");
	if (ph->p_paddr < v->link_gpa || ph->p_paddr - v->link_gpa > KERNEL_MAP_BYTES ||
	    ph->p_memsz > KERNEL_MAP_BYTES)
		return unknown(why, "a segment at an unexpected address");
	*s = (struct vmlinux_segment){
		.offset = ph->p_offset,
		.file_bytes = ph->p_filesz,
		.start = ph->p_paddr - v->link_gpa,
		.mem_bytes = ph->p_memsz,
	};
	if (v->nr_segments++ == 0) {
		if (s->start || ph->p_vaddr != KERNEL_MAP + v->link_gpa)
			return unknown(why, "a segment at an unexpected address");
		v->link_address = ph->p_vaddr;
	}
	v->image_bytes = max_u64(v->image_bytes, s->start + s->mem_bytes);
	return 0;
}

static int read_segments(struct vmlinux *v, const Elf64_Ehdr *e, size_t bytes, const char **why)
{
	if (e->e_phentsize != sizeof(Elf64_Phdr) || !e->e_phnum || e->e_phnum > MAX_PHDRS ||
	    !range_within(e->e_phoff, e->e_phnum * sizeof(Elf64_Phdr), bytes))
		return unknown(why, "program headers in an unexpected place");
	for (unsigned int i = 0; i < e->e_phnum; i++) {
		Elf64_Phdr ph;
		int rc;

		memcpy(&ph, v->file + e->e_phoff + i * sizeof(ph), sizeof(ph));
		if (ph.p_type != PT_LOAD || !ph.p_memsz)
			continue;
		rc = add_segment(v, &ph, bytes, why);
		if (rc)
			return rc;
	}
	if (!v->nr_segments || e->e_entry < v->link_gpa ||
	    e->e_entry - v->link_gpa >= v->image_bytes)
		return unknown(why, "no segment has its entry");
	v->entry = e->e_entry - v->link_gpa;
	return 0;
}

static uint32_t word(const uint8_t *at)
{
	uint32_t w;

	memcpy(&w, at, sizeof(w));
	return w;
}

/* The address in the image of the word that relocation @i changes. */
static uint64_t vmlinux_place_of(const struct vmlinux *v, const struct vmlinux_relocs *r, size_t i)
{
	/* Addresses of the kernel's 2 GiB are kept as 32 bits with the sign extended. */
	return (uint64_t)(int64_t)(int32_t)word(r->first + 4 * i) - v->link_address;
}

static bool inside_image(const struct vmlinux *v, const struct vmlinux_relocs *r, size_t width)
{
	for (size_t i = 0; i < r->nr; i++)
		if (!range_within(vmlinux_place_of(v, r, i), width, v->image_bytes))
			return false;
	return true;
}

static bool tables_are_good(const struct vmlinux *v)
{
	return inside_image(v, &v->add64, 8) && inside_image(v, &v->subtract32, 4) &&
	       inside_image(v, &v->add32, 4);
}

/* The tables, each behind a word of zero: words that are added to, 64 bits first. */
static int read_relocs(struct vmlinux *v, size_t at, size_t bytes, const char **why)
{
	struct vmlinux_relocs tables[MAX_TABLES] = { { NULL, 0 } };
	unsigned int nr = 0;

	if (at == bytes)
		return 0;
	if ((bytes - at) % 4 || word(v->file + at))
		return unknown(why, "no relocation table behind the file");
	for (; at < bytes; at += 4) {
		if (word(v->file + at)) {
			tables[nr - 1].nr++;
			continue;
		}
		if (nr == MAX_TABLES)
			return unknown(why, "too many relocation tables");
		tables[nr++].first = v->file + at + 4;
	}
	if (nr < 2)
		return unknown(why, "too few relocation tables");
	v->has_relocs = true;
	v->add64 = tables[0];
	v->add32 = tables[nr - 1];
	if (nr == 3)
		v->subtract32 = tables[1];
	return tables_are_good(v) ? 0 : unknown(why, "a relocation outside of the kernel");
}

int vmlinux_parse(struct vmlinux *v, const uint8_t *file, size_t bytes, gpa_t link_gpa,
		  const char **why)
{
	Elf64_Ehdr e;
	uint64_t end;
	int rc;

	memset(v, 0, sizeof(*v));
	v->file = file;
	v->file_bytes = bytes;
	v->link_gpa = link_gpa;
	if (bytes < sizeof(e) || link_gpa >= KERNEL_MAP_BYTES)
		return unknown(why, "not an ELF file");
	memcpy(&e, file, sizeof(e));
	if (memcmp(e.e_ident, ELFMAG, SELFMAG) || e.e_ident[EI_CLASS] != ELFCLASS64 ||
	    e.e_ident[EI_DATA] != ELFDATA2LSB || e.e_machine != EM_X86_64 || e.e_type != ET_EXEC)
		return unknown(why, "not a 64-bit ELF file");
	rc = read_segments(v, &e, bytes, why);
	if (rc)
		return rc;
	/* The linker and objcopy put the section headers last. */
	if (e.e_shentsize != sizeof(Elf64_Shdr) ||
	    !add_u64(e.e_shoff, e.e_shnum * sizeof(Elf64_Shdr), &end) || end > bytes)
		return unknown(why, "section headers in an unexpected place");
	return read_relocs(v, end, bytes, why);
}

bool vmlinux_check(const struct vmlinux *v)
{
	return v->link_gpa < KERNEL_MAP_BYTES && v->link_address == KERNEL_MAP + v->link_gpa &&
	       v->image_bytes && v->image_bytes <= KERNEL_MAP_BYTES &&
	       v->file_bytes <= KERNEL_MAP_BYTES && v->entry < v->image_bytes &&
	       tables_are_good(v);
}

/* ---- the place ---- */

struct slots {
	gpa_t first;
	uint64_t nr;
};

/* The places for @bytes in [start, end). */
static struct slots slots_in(gpa_t start, gpa_t end, uint64_t bytes,
			     const struct vmlinux_limits *l)
{
	struct slots s = { .first = align_up(start, l->align) };

	if (s.first < end && end - s.first >= bytes)
		s.nr = (end - s.first - bytes) / l->align + 1;
	return s;
}

bool vmlinux_choose(const struct vmlinux *v, const struct vmlinux_limits *l,
		    const uint64_t random[2], struct vmlinux_place *place)
{
	uint64_t low = min_u64(l->ram_bytes, MEM_HOLE_START);
	uint64_t high = min_u64(MEM_HOLE_END + (l->ram_bytes - low), REACH_BYTES);
	gpa_t avoid_end = l->avoid + l->avoid_bytes;
	bool avoid_low = l->avoid_bytes && l->avoid < low, avoid_high = l->avoid >= MEM_HOLE_END;
	/* The stub decompresses in place, so it needs room for both. */
	uint64_t bytes = max_u64(v->image_bytes, v->file_bytes);
	const struct slots all[] = {
		slots_in(v->link_gpa, avoid_low ? l->avoid : low, bytes, l),
		slots_in(avoid_low ? max_u64(avoid_end, v->link_gpa) : low, low, bytes, l),
		slots_in(MEM_HOLE_END, avoid_high ? min_u64(l->avoid, high) : high, bytes, l),
		slots_in(avoid_high ? avoid_end : high, high, bytes, l),
	};
	uint64_t nr = 0, pick, shifts;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		nr += all[i].nr;
	if (!nr || v->link_gpa + bytes > KERNEL_MAP_BYTES)
		return false;
	pick = random[0] % nr;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (pick < all[i].nr) {
			place->gpa = all[i].first + pick * l->align;
			break;
		}
		pick -= all[i].nr;
	}
	shifts = (KERNEL_MAP_BYTES - v->link_gpa - bytes) / l->align + 1;
	place->shift = random[1] % shifts * l->align;
	return true;
}

/* ---- loading ---- */

static void relocate32(const struct vmlinux *v, const struct vmlinux_relocs *r, uint8_t *image,
		       uint32_t add)
{
	for (size_t i = 0; i < r->nr; i++) {
		uint8_t *at = image + vmlinux_place_of(v, r, i);

		put_le32(at, word(at) + add);
	}
}

static void relocate64(const struct vmlinux *v, const struct vmlinux_relocs *r, uint8_t *image,
		       uint64_t add)
{
	for (size_t i = 0; i < r->nr; i++) {
		uint8_t *at = image + vmlinux_place_of(v, r, i);
		uint64_t value;

		memcpy(&value, at, sizeof(value));
		put_le64(at, value + add);
	}
}

int vmlinux_copy(const struct vmlinux *v, gpa_t gpa, const struct mem *mem)
{
	uint8_t *image = mem_ptr(mem, gpa, v->image_bytes);

	if (!image)
		return -EFAULT;
	for (unsigned int i = 0; i < v->nr_segments; i++) {
		const struct vmlinux_segment *s = &v->segments[i];

		memcpy(image + s->start, v->file + s->offset, s->file_bytes);
	}
	return 0;
}

int vmlinux_relocate(const struct vmlinux *v, const struct vmlinux_place *place,
		     const struct mem *mem)
{
	uint8_t *image = mem_ptr(mem, place->gpa, v->image_bytes);

	if (!image)
		return -EFAULT;
	if (!place->shift)
		return 0;
	relocate32(v, &v->add32, image, (uint32_t)place->shift);
	relocate32(v, &v->subtract32, image, 0 - (uint32_t)place->shift);
	relocate64(v, &v->add64, image, place->shift);
	return 0;
}
