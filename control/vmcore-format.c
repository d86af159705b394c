// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a vmcore is made of (control/vmcore-format.h).
 *
 * Sources: elf(5); Linux's include/linux/elfcore-compat.h and arch/x86/include/asm/elf.h (form of NT_PRSTATUS);
 * QEMU's documentation of dump-guest-memory and the form of its note as crash reads it
 * (qemu-load.h, netdump.c of crash 8.0); libdrgn/program.c and stack_trace.c of drgn 0.0.22 (what a
 * core of a kernel has to have).
 */
#include <assert.h>
#include <elf.h>
#include <stdbool.h>
#include <string.h>

#include "control/vmcore-format.h"
#include "machine.h"
#include "util.h"

#define PAGE_BYTES 4096u
#define LOW_BYTES  MIB(1)

#define QEMU_STATE_VERSION 1u
#define NOTE_ALIGN	   4u
#define KERNEL_ALIGN	   MIB(2)
#define KERNEL_MAX_BYTES   MIB(256)

/* ---- notes ---- */

/* struct elf_prstatus of x86-64: what is not here are signals, times and parents. */
struct prstatus {
	uint8_t unused[32];
	uint32_t pid;
	uint8_t unused_too[76];
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax;
	uint64_t rip, cs, rflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
	uint32_t fpvalid, padding;
};

/* struct QEMUCPUState, version 1. */
struct qemu_segment {
	uint32_t selector, limit, flags, padding;
	uint64_t base;
};

struct qemu_state {
	uint32_t version, size;
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags;
	struct qemu_segment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
	uint64_t cr[5];
	uint64_t kernel_gs_base;
};

struct __attribute__((packed)) cpu_notes { /* notes are aligned to 4 bytes only */
	Elf64_Nhdr core;
	char core_name[8];
	struct prstatus status;
	Elf64_Nhdr qemu;
	char qemu_name[8];
	struct qemu_state state;
};

_Static_assert(sizeof(struct prstatus) == 336 && offsetof(struct prstatus, r15) == 112, "its form");
_Static_assert(sizeof(struct qemu_state) == 440, "its form");
_Static_assert(sizeof(struct cpu_notes) == VMCORE_CPU_BYTES, "without holes");
_Static_assert(VMCORE_HEADER_BYTES + MACHINE_MAX_CPUS * VMCORE_CPU_BYTES + VMCORE_INFO_BYTES + PAGE_BYTES <=
		       VMCORE_MOST_BESIDE_RAM,
	       "they fit");

static struct prstatus prstatus_of(const struct registers *cpu, unsigned int index)
{
	const struct kvm_regs *r = &cpu->regs;
	const struct kvm_sregs *s = &cpu->sregs;

	/* clang-format off */
	return (struct prstatus){
		.pid = index + 1,	/* drgn looks for CPU N as thread N + 1 */
		.r15 = r->r15, .r14 = r->r14, .r13 = r->r13, .r12 = r->r12, .rbp = r->rbp, .rbx = r->rbx,
		.r11 = r->r11, .r10 = r->r10, .r9 = r->r9, .r8 = r->r8, .rax = r->rax, .rcx = r->rcx,
		.rdx = r->rdx, .rsi = r->rsi, .rdi = r->rdi, .orig_rax = UINT64_MAX,
		.rip = r->rip, .cs = s->cs.selector, .rflags = r->rflags, .rsp = r->rsp,
		.ss = s->ss.selector, .fs_base = s->fs.base, .gs_base = s->gs.base,
		.ds = s->ds.selector, .es = s->es.selector, .fs = s->fs.selector, .gs = s->gs.selector,
	};
	/* clang-format on */
}

/* Flags as in the second half of a descriptor (SDM volume 3A §3.4.5). */
static struct qemu_segment segment_of(const struct kvm_segment *s)
{
	return (struct qemu_segment){
		.selector = s->selector,
		.limit = s->limit,
		.flags = (uint32_t)(s->type << 8 | s->s << 12 | s->dpl << 13 | s->present << 15) |
			 (uint32_t)(s->avl << 20 | s->l << 21 | s->db << 22 | s->g << 23),
		.base = s->base,
	};
}

static struct qemu_state qemu_state_of(const struct registers *cpu)
{
	const struct kvm_regs *r = &cpu->regs;
	const struct kvm_sregs *s = &cpu->sregs;

	/* clang-format off */
	return (struct qemu_state){
		.version = QEMU_STATE_VERSION, .size = sizeof(struct qemu_state),
		.rax = r->rax, .rbx = r->rbx, .rcx = r->rcx, .rdx = r->rdx, .rsi = r->rsi, .rdi = r->rdi,
		.rsp = r->rsp, .rbp = r->rbp, .r8 = r->r8, .r9 = r->r9, .r10 = r->r10, .r11 = r->r11,
		.r12 = r->r12, .r13 = r->r13, .r14 = r->r14, .r15 = r->r15,
		.rip = r->rip, .rflags = r->rflags,
		.cs = segment_of(&s->cs), .ds = segment_of(&s->ds), .es = segment_of(&s->es),
		.fs = segment_of(&s->fs), .gs = segment_of(&s->gs), .ss = segment_of(&s->ss),
		.ldt = segment_of(&s->ldt), .tr = segment_of(&s->tr),
		.gdt = { .limit = s->gdt.limit, .base = s->gdt.base },
		.idt = { .limit = s->idt.limit, .base = s->idt.base },
		.cr = { s->cr0, 0, s->cr2, s->cr3, s->cr4 },
		.kernel_gs_base = cpu->kernel_gs_base,
	};
	/* clang-format on */
}

void vmcore_put_cpu(const struct registers *cpu, unsigned int index, uint8_t out[VMCORE_CPU_BYTES])
{
	const struct cpu_notes notes = {
		.core = { sizeof("CORE"), sizeof(struct prstatus), NT_PRSTATUS },
		.core_name = "CORE",
		.status = prstatus_of(cpu, index),
		.qemu = { sizeof("QEMU"), sizeof(struct qemu_state), 0 },
		.qemu_name = "QEMU",
		.state = qemu_state_of(cpu),
	};

	memcpy(out, &notes, sizeof(notes));
}

/* ---- where everything is ---- */

static void add_piece(struct vmcore_layout *l, gpa_t start, uint64_t bytes)
{
	l->pieces[l->nr_pieces++] = (struct vmcore_piece){ start, bytes, l->bytes };
	l->bytes += bytes;
}

/*
 * The first MiB is a piece of its own: if every physical address in the headers were 0, drgn would take
 * it that none is known.
 */
void vmcore_plan(struct vmcore_layout *l, const struct mem *mem, unsigned int nr_cpus)
{
	*l = (struct vmcore_layout){ .nr_cpus = nr_cpus, .notes_offset = VMCORE_HEADER_BYTES };
	l->info_offset = l->notes_offset + (uint64_t)nr_cpus * VMCORE_CPU_BYTES;
	l->bytes = align_up(l->info_offset + VMCORE_INFO_BYTES, PAGE_BYTES);
	for (unsigned int i = 0; i < mem->nr_regions; i++) {
		const struct mem_region *r = &mem->regions[i];
		uint64_t low = i ? 0 : min_u64(r->size_bytes, LOW_BYTES);

		if (low)
			add_piece(l, r->start, low);
		if (r->size_bytes > low)
			add_piece(l, r->start + low, r->size_bytes - low);
	}
	assert(l->nr_pieces <= VMCORE_MAX_PIECES);
}

/*
 * The kernel's code and data, where they are mapped: there are the page tables by which drgn finds all the
 * rest. How long they are is not said. False if they are not in RAM.
 */
static bool map_kernel(const struct vmcore_layout *l, uint64_t text, gpa_t text_gpa, Elf64_Phdr *segment)
{
	const uint64_t before = text % KERNEL_ALIGN; /* what stands before _stext */

	for (unsigned int i = 0; i < l->nr_pieces && text; i++) {
		const struct vmcore_piece *p = &l->pieces[i];
		const gpa_t start = text_gpa - before;
		uint64_t bytes;

		if (text_gpa < before || start < p->start || start - p->start >= p->bytes)
			continue;
		bytes = min_u64(p->bytes - (start - p->start), KERNEL_MAX_BYTES);
		*segment = (Elf64_Phdr){
			.p_type = PT_LOAD,
			.p_flags = PF_R | PF_W | PF_X,
			.p_offset = p->offset + (start - p->start),
			.p_vaddr = text - before,
			.p_paddr = start,
			.p_filesz = bytes,
			.p_memsz = bytes,
		};
		return true;
	}
	return false;
}

void vmcore_put_header(const struct vmcore_layout *l, uint64_t info_bytes, uint64_t text, gpa_t text_gpa,
		       uint8_t out[VMCORE_HEADER_BYTES])
{
	Elf64_Ehdr header = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_CORE,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(header),
		.e_ehsize = sizeof(header),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = (Elf64_Half)(1 + l->nr_pieces),
	};
	Elf64_Phdr segments[2 + VMCORE_MAX_PIECES] = { {
		.p_type = PT_NOTE,
		.p_offset = l->notes_offset,
		.p_align = NOTE_ALIGN,
		.p_filesz = l->info_offset - l->notes_offset + info_bytes,
	} };

	/*
	 * No alignment is what crash knows a core with physical addresses by. Virtual addresses but for
	 * those of the kernel itself are found by its page tables.
	 */
	for (unsigned int i = 0; i < l->nr_pieces; i++)
		segments[1 + i] = (Elf64_Phdr){
			.p_type = PT_LOAD,
			.p_flags = PF_R | PF_W | PF_X,
			.p_offset = l->pieces[i].offset,
			.p_paddr = l->pieces[i].start,
			.p_filesz = l->pieces[i].bytes,
			.p_memsz = l->pieces[i].bytes,
		};
	header.e_phnum += map_kernel(l, text, text_gpa, &segments[1 + l->nr_pieces]);
	_Static_assert(sizeof(header) + sizeof(segments) == VMCORE_HEADER_BYTES, "their sizes");
	memcpy(out, &header, sizeof(header));
	memcpy(out + sizeof(header), segments, sizeof(segments));
}
