/* SPDX-License-Identifier: GPL-2.0-only */
/* bzImage that is entered in long mode, 0x200 bytes behind the 32-bit entry. */
#define XLOADFLAGS 1
#include "bzimage.h"
	.code32
	ud2
	.org	0x600
	.code64
	movq	%cr3, %rax
#include "body.h"
	.balign	4096
kernel_end:
