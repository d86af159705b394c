/* SPDX-License-Identifier: GPL-2.0-only */
/* Never ends: the other CPUs wait for their start-up, this one counts. */
#include "tests/lib/guest.h"
	.code16
	PUTS	text
1:	incl	%ecx
	jmp	1b
text:	.asciz	"up\n"
