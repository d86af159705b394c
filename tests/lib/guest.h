/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Macros for the tiny guests. A flat guest is assembled for offset 0 and
 * entered in real mode at its first byte; all segments point at it.
 */
#include "x86/layout.h"

/* clang-format off */
#define SLP_EN_S5 (0x20 | SLEEP_TYPE_S5 << 2)

/* Writes one byte to a port. Changes al, dx. */
.macro SET_PORT port, value
	movw	$\port, %dx
	movb	$\value, %al
	outb	%al, %dx
.endm

/* Sends a zero-terminated string to COM1. Real mode; changes ax, dx, si. */
.macro PUTS label
	movw	$\label, %si
	movw	$PORT_COM1, %dx
1001:	lodsb
	testb	%al, %al
	jz	1002f
	outb	%al, %dx
	jmp	1001b
1002:
.endm

/* The same in 32-bit and 64-bit mode; changes eax, edx, esi. */
.macro PUTS_FLAT
	movw	$PORT_COM1, %dx
1003:	lodsb
	testb	%al, %al
	jz	1004f
	outb	%al, %dx
	jmp	1003b
1004:
.endm

.macro POWEROFF
	SET_PORT	PORT_SLEEP_CONTROL, SLP_EN_S5
1005:	hlt
	jmp	1005b
.endm
