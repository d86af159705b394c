/* SPDX-License-Identifier: GPL-2.0-only */
/* Says "ready", waits for a break on the serial line, echoes the key after it. */
#include "tests/lib/guest.h"
	.code16
	movb	$'>', %al
	movw	$PORT_COM1, %dx
	outb	%al, %dx
1:	movw	$PORT_COM1 + 5, %dx
	inb	%dx, %al
	testb	$1, %al
	jz	1b
	movb	%al, %ah
	movw	$PORT_COM1, %dx
	inb	%dx, %al
	testb	$0x10, %ah		/* a break, which reads as zero */
	jz	1b
	testb	%al, %al
	jnz	1b
2:	movw	$PORT_COM1 + 5, %dx
	inb	%dx, %al
	testb	$1, %al
	jz	2b
	testb	$0x10, %al
	jnz	3f
	movw	$PORT_COM1, %dx
	inb	%dx, %al
	outb	%al, %dx
3:	POWEROFF
