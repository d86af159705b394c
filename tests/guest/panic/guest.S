/* SPDX-License-Identifier: GPL-2.0-only */
/* Prints the words that are put at offset 8 and resets. */
#include "tests/lib/guest.h"
	.code16
	jmp	start
	.org	8
text:	.fill	120, 1, 0
start:	PUTS	text
	SET_PORT	PORT_RESET, RESET_VALUE
1:	hlt
	jmp	1b
