/* SPDX-License-Identifier: GPL-2.0-only */
/* Halts with interrupts off, after the words that follow (or none). */
#include "tests/lib/guest.h"
	.code16
	jmp	start
	.org	8
text:	.fill	64, 1, 0
start:	PUTS	text
	cli
1:	hlt
	jmp	1b
