/* SPDX-License-Identifier: GPL-2.0-only */
/* Prints 256 KiB as fast as it can, polling, and switches off. */
#include "tests/lib/guest.h"
	.code16
	movl	$4096, %ecx
1:	pushl	%ecx
	movw	$64, %cx
	movw	$text, %si
	movw	$PORT_COM1, %dx
	rep outsb
	popl	%ecx
	decl	%ecx
	jnz	1b
	POWEROFF
text:	.ascii	"0123456789abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXY\r\n"
