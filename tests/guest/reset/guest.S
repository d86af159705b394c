/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Resets the machine in the way that the byte at 0x10002 names: reset register,
 * keyboard controller, or the jump to the reset vector.
 */
#include "tests/lib/guest.h"
	.code16
	jmp	start
how:	.byte	'r'
start:	movb	how, %al
	cmpb	$'k', %al
	je	keyboard
	cmpb	$'v', %al
	je	vector
	SET_PORT	PORT_RESET, RESET_VALUE
1:	hlt
	jmp	1b
keyboard:
	inb	$PORT_I8042_COMMAND, %al
	testb	$2, %al
	jnz	keyboard
	movb	$0xfe, %al
	outb	%al, $PORT_I8042_COMMAND
2:	hlt
	jmp	2b
vector:	ljmp	$0xffff, $0
