/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tiny guests of `lkvm check`: one entry point per question, each ends by
 * writing PROBE_OK or PROBE_FAILED to PROBE_PORT.
 *
 * The real-mode guest is loaded at PROBE_REAL_ADDRESS. The others run in long
 * mode at CPL 0 with an identity map, loaded and linked at PROBE_ADDRESS; their
 * own GDT, IDT, TSS and stack are part of the image. rdi = loop count for the
 * speed probes (two instructions a turn).
 */
#include "cmd/probes.h"

#define ADDRESS(label) (PROBE_ADDRESS + (label) - probe_long_start)
#define KERNEL_CS 0x08
#define USER_DS (0x10 | 3)
#define USER_CS (0x18 | 3)
#define TSS 0x20
#define RFLAGS_IOPL3 0x3002
#define CR4_OSFXSR_OSXMMEXCPT 0x600
#define CR4_OSXSAVE 0x40000

	.section .rodata
	.global probe_real_start, probe_real_end, probe_long_start, probe_long_end
	.global probe_cpl0, probe_cpl3, probe_int3, probe_iretq
	.global probe_cmpxchg16b, probe_xsave, probe_speed0, probe_speed3

	.code16
probe_real_start:
	movw	$PROBE_OK, %ax
	outb	%al, $PROBE_PORT
1:	hlt
	jmp	1b
probe_real_end:

	.code64
	.balign 64
probe_long_start:

ok:	movb	$PROBE_OK, %al
	outb	%al, $PROBE_PORT
1:	jmp	1b
failed:	movb	$PROBE_FAILED, %al
	outb	%al, $PROBE_PORT
1:	jmp	1b

probe_cpl0:
	jmp	ok

/* An IDT whose every gate but the breakpoint's leads to "failed". */
set_up_exceptions:
	movq	$ADDRESS(stack_top) - 8, %rdx
	popq	%rcx
	movq	%rdx, %rsp
	pushq	%rcx
	lgdt	ADDRESS(gdt_pointer)
	lidt	ADDRESS(idt_pointer)
	movq	$ADDRESS(idt), %rbx
	xorl	%ecx, %ecx
1:	movl	$ADDRESS(failed), %eax
	cmpl	$3, %ecx
	jne	2f
	movl	$ADDRESS(breakpoint), %eax
2:	movw	%ax, (%rbx)
	movw	$KERNEL_CS, 2(%rbx)
	movw	$0x8e00, 4(%rbx)
	shrl	$16, %eax
	movw	%ax, 6(%rbx)
	movq	$0, 8(%rbx)
	addq	$16, %rbx
	incl	%ecx
	cmpl	$32, %ecx
	jne	1b
	ret

breakpoint:
	movl	$1, ADDRESS(seen)
	movq	$ADDRESS(ok), (%rsp)
	iretq

probe_iretq:
	call	set_up_exceptions
	movq	%rsp, %rax
	pushq	$0
	pushq	%rax
	pushq	$2
	pushq	$KERNEL_CS
	pushq	$ADDRESS(ok)
	iretq

/* Without relying on iretq: the handler says that it was reached. */
probe_int3:
	call	set_up_exceptions
	movl	$ADDRESS(ok), %eax
	movw	%ax, ADDRESS(idt) + 3 * 16
	int3
	jmp	failed

probe_cmpxchg16b:
	call	set_up_exceptions
	movl	$1, %eax
	cpuid
	btl	$13, %ecx
	jnc	failed
	movq	$ADDRESS(scratch), %rsi
	movq	$1, (%rsi)
	movq	$2, 8(%rsi)
	movl	$1, %eax
	movl	$2, %edx
	movl	$3, %ebx
	movl	$4, %ecx
	lock cmpxchg16b (%rsi)
	jne	failed
	cmpq	$3, (%rsi)
	jne	failed
	cmpq	$4, 8(%rsi)
	jne	failed
	jmp	ok

probe_xsave:
	call	set_up_exceptions
	movl	$1, %eax
	cpuid
	btl	$26, %ecx
	jnc	ok		/* a CPU without it: kernels use fxsave */
	movq	%cr4, %rax
	orq	$CR4_OSXSAVE | CR4_OSFXSR_OSXMMEXCPT, %rax
	movq	%rax, %cr4
	xorl	%ecx, %ecx
	xgetbv
	orl	$3, %eax
	xsetbv
	movl	$3, %eax
	xorl	%edx, %edx
	movq	$ADDRESS(scratch), %rsi
	xsave	(%rsi)
	xrstor	(%rsi)
	jmp	ok

probe_speed0:
	movq	%rdi, %rcx
1:	decq	%rcx
	jnz	1b
	jmp	ok

/* To CPL 3 with the right to use ports; the identity map becomes the user's, too. */
enter_user:
	popq	%r8
	movl	$0x9000, %ebx
1:	movl	(%rbx), %eax
	testb	$1, %al
	jz	2f
	orl	$4, (%rbx)
2:	addl	$8, %ebx
	cmpl	$0x9000 + 6 * 4096, %ebx
	jne	1b
	movq	%cr3, %rax
	movq	%rax, %cr3
	movq	$ADDRESS(stack_top), %rsp
	lgdt	ADDRESS(gdt_pointer)
	movq	$ADDRESS(tss), %rax
	movq	%rsp, 4(%rax)
	movw	%ax, ADDRESS(gdt) + TSS + 2
	shrl	$16, %eax
	movb	%al, ADDRESS(gdt) + TSS + 4
	movw	$TSS, %ax
	ltr	%ax
	pushq	$USER_DS
	pushq	$ADDRESS(stack_top)
	pushq	$RFLAGS_IOPL3
	pushq	$USER_CS
	pushq	%r8
	iretq

probe_cpl3:
	call	enter_user
	jmp	ok

probe_speed3:
	call	enter_user
	jmp	probe_speed0

	.balign 16
gdt:	.quad	0
	.quad	0x00af9b000000ffff	/* KERNEL_CS */
	.quad	0x00cff3000000ffff	/* USER_DS */
	.quad	0x00affb000000ffff	/* USER_CS */
	.quad	0x0000890000000067	/* TSS; its base is filled in */
	.quad	0
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.quad	ADDRESS(gdt)
idt_pointer:
	.word	32 * 16 - 1
	.quad	ADDRESS(idt)
	.balign 16
seen:	.quad	0
tss:	.fill	0x68, 1, 0
	.balign 64
idt:	.fill	32 * 16, 1, 0
	.balign 64
scratch: .fill	4096, 1, 0
stack:	.fill	1024, 1, 0
stack_top:
probe_long_end:

	.section .note.GNU-stack, "", @progbits
