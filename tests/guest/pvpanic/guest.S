/* SPDX-License-Identifier: GPL-2.0-only */
/* Looks for the device and tells it of a panic. */
#include "tests/lib/guest.h"
	.code16
	movw	$PORT_PVPANIC, %dx
	inb	%dx, %al
	cmpb	$3, %al
	jne	1f
	SET_PORT	PORT_PVPANIC, 1
1:	hlt
	jmp	1b
