/* SPDX-License-Identifier: GPL-2.0-only */
/* Sleeps with interrupts on and nothing to wake it up. */
#include "tests/lib/guest.h"
	.code16
	PUTS	text
	movb	$0xff, %al
	outb	%al, $0x21
	outb	%al, $0xa1
	sti
1:	hlt
	jmp	1b
text:	.asciz	"up\n"
