/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Waits for the power button, which latches a line of the second 8259, and switches the machine off;
 * prints a dot every now and then.
 */
#include "tests/lib/guest.h"
#define PORT_PIC2	0xa0
#define READ_REQUESTS	0x0a
	.code16
	PUTS	text
	movb	$READ_REQUESTS, %al
	outb	%al, $PORT_PIC2
1:	movw	$PORT_COM1, %dx
	movb	$'.', %al
	outb	%al, %dx
	movl	$200000, %ecx
2:	decl	%ecx
	jnz	2b
	inb	$PORT_PIC2, %al
	testb	$1 << (GSI_POWER_BUTTON - 8), %al
	jz	1b
	PUTS	pressed
	POWEROFF
text:	.asciz	"up\n"
pressed: .asciz	"pressed\n"
