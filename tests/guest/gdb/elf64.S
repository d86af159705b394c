/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Something to debug: symbols, a function that is called for ever and counts in memory, a byte on COM1
 * now and then, an int3 of its own that its own handler counts, and another CPU in real mode that loops.
 */
#include "tests/lib/guest.h"
#define APIC_ICR_LOW	0x300
#define ALL_BUT_SELF	0xc4000
	.code64
	.global _start, tick, counter, own_traps, after_trap, slow
_start:
	movl	$0x9e000, %esp
	movl	$trampoline, %esi
	movl	$0x80000, %edi
	movl	$trampoline_end - trampoline, %ecx
	rep movsb
	/* Vector 3: own_handler, by an interrupt gate of the code segment that we are in. */
	movl	$own_handler, %eax
	movw	%ax, idt + 3 * 16
	movw	%cs, idt + 3 * 16 + 2
	movw	$0x8e00, idt + 3 * 16 + 4
	shrl	$16, %eax
	movw	%ax, idt + 3 * 16 + 6
	lidt	idt_pointer
	movl	$LAYOUT_LAPIC, %ebx
	movl	$ALL_BUT_SELF | 0x500, APIC_ICR_LOW(%rbx)
	movl	$ALL_BUT_SELF | 0x680, APIC_ICR_LOW(%rbx)
	movl	$ALL_BUT_SELF | 0x680, APIC_ICR_LOW(%rbx)
again:
	int3
after_trap:
	movl	$2000, %ebx
1:	call	tick
	decl	%ebx
	jnz	1b
	movw	$PORT_COM1, %dx
	movb	$'.', %al
	outb	%al, %dx
	jmp	again
	.type tick, @function
tick:
	nop
	nop
	incq	counter
	ret
own_handler:
	incl	own_traps
	iretq

	.code16
trampoline:
	movw	$0x8100, %ax
	movw	%ax, %ds
2:	incl	0
	jmp	2b
trampoline_end:

	.data
	.balign	8
counter:	.quad 0
own_traps:	.long 0
idt:	.fill	4 * 16
idt_pointer:
	.word	4 * 16 - 1
	.quad	idt
