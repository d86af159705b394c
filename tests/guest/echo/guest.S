/* SPDX-License-Identifier: GPL-2.0-only */
/* Echoes what it receives, polling, until a '!'. */
#include "tests/lib/guest.h"
	.code16
1:	movw	$PORT_COM1 + 5, %dx
	inb	%dx, %al
	testb	$1, %al
	jz	1b
	movw	$PORT_COM1, %dx
	inb	%dx, %al
	outb	%al, %dx
	cmpb	$'!', %al
	jne	1b
	POWEROFF
