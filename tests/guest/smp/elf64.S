/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Starts all other CPUs with INIT and SIPI through the local APIC; each adds
 * itself to a counter and halts. Prints how many there are, as one digit.
 */
#include "tests/lib/guest.h"
#define APIC_ICR_LOW	0x300
#define APIC_ICR_HIGH	0x310
#define ALL_BUT_SELF	0xc4000
	.code64
	.global _start
_start:
	movl	$0x9e000, %esp
	movl	$trampoline, %esi
	movl	$0x80000, %edi
	movl	$trampoline_end - trampoline, %ecx
	rep movsb
	movl	$LAYOUT_LAPIC, %ebx
	movl	$ALL_BUT_SELF | 0x500, APIC_ICR_LOW(%rbx)
	movl	$ALL_BUT_SELF | 0x680, APIC_ICR_LOW(%rbx)
	movl	$ALL_BUT_SELF | 0x680, APIC_ICR_LOW(%rbx)
	/* Until the count has been the same for a while: exits, in which other CPUs' threads run, too. */
	xorl	%eax, %eax
1:	movl	$4000, %ecx
	movl	%eax, %r8d
2:	outb	%al, $0x80
	movl	0x81000, %eax
	decl	%ecx
	jnz	2b
	cmpl	%eax, %r8d
	jne	1b
	testl	%eax, %eax
	jz	3f
3:	addb	$'1', %al
	movw	$PORT_COM1, %dx
	outb	%al, %dx
	movb	$'\n', %al
	outb	%al, %dx
	POWEROFF
	.code16
trampoline:
	movw	$0x8100, %ax
	movw	%ax, %ds
	lock incl 0
4:	cli
	hlt
	jmp	4b
trampoline_end:
