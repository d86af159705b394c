/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Looks for the device and tells it the event at offset 8. Then, as a crash kernel may, it
 * reboots (offset 9: 1) or powers off in order.
 */
#include "tests/lib/guest.h"
	.code16
	jmp	start
	.org	8
event:	.byte	1
end:	.byte	0
text:	.asciz	"[    1.000000] reboot: Restarting system\r\n"
start:	movw	$PORT_PVPANIC, %dx
	inb	%dx, %al
	cmpb	$3, %al
	jne	1f
	movb	event, %al
	outb	%al, %dx
	cmpb	$1, end
	je	2f
	POWEROFF
2:	PUTS	text
	SET_PORT	PORT_RESET, RESET_VALUE
1:	hlt
	jmp	1b
