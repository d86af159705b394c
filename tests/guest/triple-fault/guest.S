/* SPDX-License-Identifier: GPL-2.0-only */
/* In protected mode, an exception without an interrupt table. */
#include "tests/lib/guest.h"
	.code16
	lgdtl	gdtr
	lidtl	empty
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$8, $0x10000 + 1f
	.code32
1:	ud2
2:	jmp	2b
empty:	.word	0
	.long	0
gdtr:	.word	23
	.long	0x10000 + gdt
gdt:	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
