/* SPDX-License-Identifier: GPL-2.0-only */
/* An instruction on device memory that KVM's emulator does not have. */
#include "tests/lib/guest.h"
	.code16
	movl	%cr0, %eax
	orl	$1, %eax
	lgdtl	gdtr
	movl	%eax, %cr0
	ljmpl	$8, $0x10000 + 1f
	.code32
1:	movw	$16, %ax
	movw	%ax, %ds
	paddb	0xd0000000, %mm0
2:	jmp	2b
gdtr:	.word	23
	.long	0x10000 + gdt
gdt:	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
