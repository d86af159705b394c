/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A kernel like Linux's inside a bzImage: linked for 0xffffffff81000000 at 16 MiB, in
 * four segments (one holds the file FILLING, too), with a table of relocations. It prints where it is, what the relocated
 * words are, and whether all of it is there; then it switches off, or waits.
 */
#include "tests/lib/guest.h"

#define MAGIC 0x5a5aa5a5

	.section .text, "ax"
	.code64
	.global	_start
	.org	0x40
_start:
	movl	$0x9e000, %esp
	movl	%esi, %ebp		/* the zero page */
	leaq	_start - 0x40(%rip), %rbx
	movq	%rbx, %rdi
	call	print
	movq	word64(%rip), %rdi
	call	print
	movslq	word32(%rip), %rdi
	call	print
	movslq	minus32(%rip), %rdi
	call	print
	movzbl	0x211(%rbp), %edi	/* loadflags */
	andl	$2, %edi
	call	print
	cmpl	$MAGIC, magic(%rip)
	jne	wrong
	cmpl	$MAGIC, 0x400000(%rbx)
	jne	wrong
	cmpl	$MAGIC, init_magic(%rip)
	jne	wrong
	leaq	zero(%rip), %rax
	movl	$0x2000 / 8, %ecx
1:	cmpq	$0, (%rax)
	jne	wrong
	addq	$8, %rax
	decl	%ecx
	jnz	1b
	movb	$'+', %al
	jmp	2f
wrong:	movb	$'?', %al
2:	movw	$PORT_COM1, %dx
	outb	%al, %dx
	movb	$'\n', %al
	outb	%al, %dx
	movl	0x228(%rbp), %eax	/* command line */
	cmpl	$0x74696177, (%rax)	/* "wait": until it is ended */
	jne	6f
5:	pause
	jmp	5b
6:
	POWEROFF

/* rdi as sixteen digits and a space. */
print:
	movl	$16, %ecx
	movw	$PORT_COM1, %dx
3:	rolq	$4, %rdi
	movl	%edi, %eax
	andl	$15, %eax
	addb	$'0', %al
	cmpb	$'9', %al
	jbe	4f
	addb	$'a' - '0' - 10, %al
4:	outb	%al, %dx
	decl	%ecx
	jnz	3b
	movb	$' ', %al
	outb	%al, %dx
	ret

	.section .data, "aw"
magic:	.long	MAGIC
	.global	target
target:	.long	0
	.incbin FILLING
	.fill	100000, 4, 0x12345678
	.balign	8
word64:	.quad	target
word32:	.long	target + 0x100000000
minus32: .long	minus_target

	.section .percpu, "aw"
	.long	MAGIC

	.section .initial, "aw"
init_magic: .long MAGIC

	.section .zero, "aw", @nobits
zero:	.skip	0x2000

/* As relocs of Linux's build writes it; with three tables up to Linux 6.14, then two. */
	.section .relocs, ""
#define RELOC(label) .long label + 0x100000000
	.long	0
	RELOC(word64)
#ifndef TWO_TABLES
	.long	0
	RELOC(minus32)
#endif
	.long	0
	RELOC(word32)
#ifdef LIE
	.long	LIE
#endif
