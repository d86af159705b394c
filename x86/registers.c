// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers of a paused vCPU (x86/registers.h). Owns nothing.
 *
 * Sources: Documentation/virt/kvm/api.rst; Intel SDM volume 3C §24.4.1 (attributes of a segment).
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "kvm-cpu.h"
#include "mem.h"
#include "util.h"
#include "x86/registers.h"

#define MSR_KERNEL_GS_BASE 0xc0000102u
#define NR_SEGMENTS	   8u
#define FIRST_SEGMENT	   18u /* in the list of numbers */
#define FIRST_TABLE	   (FIRST_SEGMENT + 4 * NR_SEGMENTS)
#define FIRST_CONTROL	   (FIRST_TABLE + 4)

static int read_kernel_gs_base(uint64_t *base, const struct vcpu *vcpu)
{
	struct { /* struct kvm_msrs with room for its entry */
		uint32_t nmsrs;
		uint32_t padding;
		struct kvm_msr_entry entry;
	} msr = { .nmsrs = 1, .entry = { .index = MSR_KERNEL_GS_BASE } };
	int n = ioctl(vcpu->fd, KVM_GET_MSRS, &msr);

	*base = n == 1 ? msr.entry.data : 0; /* a CPU without long mode has none */
	return n < 0 ? -errno : 0;
}

int registers_read(struct registers *r, const struct vcpu *vcpu)
{
	struct kvm_mp_state mp;

	if (ioctl(vcpu->fd, KVM_GET_MP_STATE, &mp) || ioctl(vcpu->fd, KVM_GET_REGS, &r->regs) ||
	    ioctl(vcpu->fd, KVM_GET_SREGS, &r->sregs) ||
	    ioctl(vcpu->fd, KVM_GET_FPU, &r->fpu) ||
	    ioctl(vcpu->fd, KVM_GET_DEBUGREGS, &r->debug))
		return -errno;
	r->mp_state = mp.mp_state;
	return read_kernel_gs_base(&r->kernel_gs_base, vcpu);
}

const char *registers_word(const struct registers *r)
{
	switch (r->mp_state) {
	case KVM_MP_STATE_RUNNABLE:
		return "running";
	case KVM_MP_STATE_HALTED:
		return "halted";
	default:
		return "waiting";
	}
}

/* ---- memory ---- */

static int read_table_entry(const void *mem, gpa_t gpa, void *dst, uint64_t bytes)
{
	return mem_read(mem, gpa, dst, bytes);
}

void registers_walk(const struct registers *r, const struct mem *mem, struct page_walk *walk)
{
	*walk = (struct page_walk){
		.cr0 = r->sregs.cr0,
		.cr3 = r->sregs.cr3,
		.cr4 = r->sregs.cr4,
		.efer = r->sregs.efer,
		.read = read_table_entry,
		.arg = mem,
	};
}

/* ---- as numbers, as text ---- */

#define SEGMENT(s) #s, #s "_base", #s "_limit", #s "_attributes"

static const char *const register_names[REGISTERS_NUMBERS + 1] = {
	"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13",
	"r14", "r15", "rip", "rflags",
	SEGMENT(cs), SEGMENT(ss), SEGMENT(ds), SEGMENT(es), SEGMENT(fs), SEGMENT(gs), SEGMENT(tr),
	SEGMENT(ldt), "gdt_base", "gdt_limit", "idt_base", "idt_limit",
	"cr0", "cr2", "cr3", "cr4", "cr8", "efer", "apic_base", "kernel_gs_base",
	"dr0", "dr1", "dr2", "dr3", "dr6", "dr7"
};

const char *const *registers_names(void)
{
	return register_names;
}

static uint64_t *put_segment(uint64_t *to, const struct kvm_segment *s)
{
	*to++ = s->selector;
	*to++ = s->base;
	*to++ = s->limit;
	*to++ = (uint64_t)s->type | (uint64_t)s->s << 4 | (uint64_t)s->dpl << 5 |
		(uint64_t)s->present << 7 | (uint64_t)s->avl << 12 | (uint64_t)s->l << 13 |
		(uint64_t)s->db << 14 | (uint64_t)s->g << 15 | (uint64_t)s->unusable << 16;
	return to;
}

static uint64_t *put_numbers(uint64_t *to, const uint64_t *from, size_t nr)
{
	while (nr--)
		*to++ = *from++;
	return to;
}

void registers_list(const struct registers *r, uint64_t numbers[REGISTERS_NUMBERS])
{
	const struct kvm_regs *g = &r->regs;
	const struct kvm_sregs *s = &r->sregs;
	const struct kvm_segment *segments[NR_SEGMENTS] = {
		&s->cs, &s->ss, &s->ds, &s->es, &s->fs, &s->gs, &s->tr, &s->ldt
	};
	const uint64_t general[FIRST_SEGMENT] = {
		g->rax, g->rbx, g->rcx, g->rdx, g->rsi, g->rdi, g->rbp, g->rsp, g->r8, g->r9, g->r10,
		g->r11, g->r12, g->r13, g->r14, g->r15, g->rip, g->rflags
	};
	const uint64_t rest[] = {
		s->gdt.base, s->gdt.limit, s->idt.base, s->idt.limit,
		s->cr0, s->cr2, s->cr3, s->cr4, s->cr8, s->efer, s->apic_base, r->kernel_gs_base,
		r->debug.db[0], r->debug.db[1], r->debug.db[2], r->debug.db[3],
		r->debug.dr6, r->debug.dr7
	};
	uint64_t *to = put_numbers(numbers, general, ARRAY_SIZE(general));

	for (unsigned int i = 0; i < NR_SEGMENTS; i++)
		to = put_segment(to, segments[i]);
	to = put_numbers(to, rest, ARRAY_SIZE(rest));
	assert(to == numbers + REGISTERS_NUMBERS);
}

static void __attribute__((format(printf, 4, 5)))
registers_put(char *text, size_t room, size_t *used, const char *fmt, ...)
{
	va_list args;
	int n;

	if (*used >= room)
		return;
	va_start(args, fmt);
	n = vsnprintf(text + *used, room - *used, fmt, args);
	va_end(args);
	*used += n > 0 ? (size_t)n : 0;
}

void registers_format(char *text, size_t room, const uint64_t numbers[REGISTERS_NUMBERS])
{
	const char *const *names = register_names;
	size_t used = 0;
	unsigned int i;

	for (i = 0; i < FIRST_SEGMENT; i++)
		registers_put(text, room, &used, "  %-6s %016llx%s", names[i], (unsigned long long)numbers[i],
			      i % 3 == 2 ? "\n" : "");
	for (; i < FIRST_TABLE; i += 4)
		registers_put(text, room, &used, "  %-3s %04llx  base %016llx  limit %08llx  attributes %05llx\n",
			      names[i], (unsigned long long)numbers[i], (unsigned long long)numbers[i + 1],
			      (unsigned long long)numbers[i + 2], (unsigned long long)numbers[i + 3]);
	for (; i < FIRST_CONTROL; i += 2)
		registers_put(text, room, &used, "  %.3s       base %016llx  limit %08llx\n", names[i],
			      (unsigned long long)numbers[i], (unsigned long long)numbers[i + 1]);
	for (unsigned int column = 0; i < REGISTERS_NUMBERS; i++, column++)
		registers_put(text, room, &used, "%s  %s %llx", column && column % 4 == 0 ? "\n" : "", names[i],
			      (unsigned long long)numbers[i]);
	registers_put(text, room, &used, "\n");
}
