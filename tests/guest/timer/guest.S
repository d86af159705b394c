/* SPDX-License-Identifier: GPL-2.0-only */
/* Looks for the 8254: port 0x61 is all ones if nobody is there. */
#include "tests/lib/guest.h"
	.code16
	inb	$0x61, %al
	movb	$'y', %bl
	cmpb	$0xff, %al
	jne	1f
	movb	$'n', %bl
1:	movw	$PORT_COM1, %dx
	movb	%bl, %al
	outb	%al, %dx
	POWEROFF
