/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sends a string by interrupts alone: 8259, COM1's line, the transmitter-empty
 * interrupt. The handler sends the next byte; nothing polls.
 */
#include "tests/lib/guest.h"
	.code16
	cli
	xorw	%ax, %ax
	movw	%ax, %es
	movw	$handler, %es:(0x20 + GSI_COM1) * 4
	movw	%cs, %es:(0x20 + GSI_COM1) * 4 + 2
	SET_PORT	0x20, 0x11
	SET_PORT	0x21, 0x20
	SET_PORT	0x21, 0x04
	SET_PORT	0x21, 0x01
	SET_PORT	0x21, 0xef		/* only line 4 */
	SET_PORT	PORT_COM1 + 2, 0x01
	SET_PORT	PORT_COM1 + 4, 0x08
	SET_PORT	PORT_COM1 + 1, 0x02
	sti
1:	hlt
	cmpw	$end, position
	jne	1b
	POWEROFF
handler:
	pushw	%ax
	pushw	%dx
	pushw	%si
	movw	$PORT_COM1 + 2, %dx
	inb	%dx, %al
	movw	position, %si
	cmpw	$end, %si
	je	2f
	movw	$PORT_COM1, %dx
	outsb
	movw	%si, position
2:	movb	$0x20, %al
	outb	%al, $0x20
	popw	%si
	popw	%dx
	popw	%ax
	iretw
position: .word	text
text:	.ascii	"sent by interrupts\n"
end:
