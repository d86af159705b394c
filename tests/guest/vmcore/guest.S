/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fills 512 KiB of its memory with what the addresses are, leaves numbers in its registers and prints dots for
 * ever. With 'r' in place of the byte at offset 8 it says that it has panicked instead, and resets.
 */
#include "tests/lib/guest.h"
	.code16
	jmp	start
	.org	8
what:	.byte	'.'
start:	movl	$0x20000, %eax
1:	movl	%eax, %edx
	shrl	$4, %edx
	movw	%dx, %es
	movl	%eax, %es:0
	addl	$4, %eax
	testl	$0xf, %eax
	jnz	2f
3:	cmpl	$0xa0000, %eax
	jb	1b
	jmp	4f
	/* Within a paragraph: by an offset. */
2:	movl	%eax, %ebx
	andl	$0xf, %ebx
	movl	%eax, %es:(%bx)
	addl	$4, %eax
	testl	$0xf, %eax
	jnz	2b
	jmp	3b
4:	movl	$0x12345678, %ebx
	movl	$0x9abcdef0, %ebp
	movl	$0x13572468, %edi
	cmpb	$'r', what
	je	panic
	PUTS	text
1:	movw	$PORT_COM1, %dx
	movb	$'.', %al
	outb	%al, %dx
	movl	$200000, %ecx
2:	decl	%ecx
	jnz	2b
	jmp	1b
panic:	PUTS	words
	SET_PORT	PORT_RESET, RESET_VALUE
1:	hlt
	jmp	1b
text:	.asciz	"up\n"
words:	.asciz	"Kernel panic - not syncing: test\n"
