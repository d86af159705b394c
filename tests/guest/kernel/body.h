/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tiny kernels of this folder have in common: they print the command
 * line that they were given and switch off. esi = address of the zero page, or
 * ebx = address of the PVH start info (with -DPVH).
 */
/* clang-format off */
#include "tests/lib/guest.h"

#ifdef PVH
	cmpl	$0x336ec578, (%ebx)
	jne	wrong
	movl	24(%ebx), %esi		/* command line */
#else
	cmpl	$0x53726448, 0x202(%esi)	/* "HdrS" */
	jne	wrong
	cmpb	$3, 0x1e8(%esi)		/* e820 entries */
	jb	wrong
	cmpb	$0xff, 0x210(%esi)	/* type of loader */
	jne	wrong
	movl	0x228(%esi), %esi	/* command line */
#endif
	PUTS_FLAT
	movb	$'\n', %al
	outb	%al, %dx
	POWEROFF
wrong:	movw	$PORT_COM1, %dx
	movb	$'?', %al
	outb	%al, %dx
	POWEROFF
