/* SPDX-License-Identifier: GPL-2.0-only */
/* Runs for ever, and prints a dot every now and then. */
#include "tests/lib/guest.h"
	.code16
	PUTS	text
1:	movw	$PORT_COM1, %dx
	movb	$'.', %al
	outb	%al, %dx
	movl	$200000, %ecx
2:	decl	%ecx
	jnz	2b
	jmp	1b
text:	.asciz	"up\n"
