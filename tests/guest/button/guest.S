/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Waits for the power button as a line of the second 8259, and switches the machine off; prints a dot
 * every now and then. The line is unmasked after some of them.
 */
#include "tests/lib/guest.h"
#define PORT_PIC2	0xa0
#define READ_REQUESTS	0x0a
#define LINE		(1 << (GSI_POWER_BUTTON - 8))
#define DEAF_DOTS	20
	.code16
	PUTS	text
	movb	$0x11, %al		/* ICW1 to ICW4: vectors, its place, 8086 */
	outb	%al, $PORT_PIC2
	movb	$0x70, %al
	outb	%al, $PORT_PIC2 + 1
	movb	$2, %al
	outb	%al, $PORT_PIC2 + 1
	movb	$1, %al
	outb	%al, $PORT_PIC2 + 1
	movb	$0xff, %al
	outb	%al, $PORT_PIC2 + 1
	movb	$READ_REQUESTS, %al
	outb	%al, $PORT_PIC2
	movw	$DEAF_DOTS, %bx
1:	movw	$PORT_COM1, %dx
	movb	$'.', %al
	outb	%al, %dx
	movl	$200000, %ecx
2:	decl	%ecx
	jnz	2b
	inb	$PORT_PIC2, %al
	testb	$LINE, %al
	jnz	4f
	decw	%bx
	jnz	1b
	movb	$0xff & ~LINE, %al
	outb	%al, $PORT_PIC2 + 1
	jmp	1b
4:	testw	%bx, %bx		/* before it was unmasked, or after */
	jg	3f
	PUTS	pressed
	POWEROFF
3:	PUTS	early
	POWEROFF
early:	.asciz	"early\n"
text:	.asciz	"up\n"
pressed: .asciz	"pressed\n"
