/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A bzImage as far as its payload, whose last four bytes are its unpacked size. Its own stub prints "stub"
 * and switches off: the payload runs only if the host unpacks. Whoever appends it fills in syssize and the
 * payload's length, which are 0 here.
 */
#include "tests/lib/guest.h"
#ifndef INIT_SIZE
#define INIT_SIZE 0x800000
#endif
#ifndef VERSION
#define VERSION 0x20f
#endif
#ifndef RELOCATABLE
#define RELOCATABLE 1
#endif
	.code16
	.org	0x1f1
	.byte	1			/* setup_sects */
	.word	0
	.long	0			/* syssize */
	.org	0x1fe
	.word	0xaa55
	.byte	0xeb, 0x6a		/* jmp to 0x26c: the length of the header */
	.ascii	"HdrS"
	.word	VERSION
	.org	0x211
	.byte	1			/* loadflags: high */
	.org	0x22c
	.long	0x7fffffff		/* initrd_addr_max */
	.long	0x200000		/* kernel_alignment */
	.byte	RELOCATABLE, 21
	.word	1			/* xloadflags: 64-bit entry */
	.long	2047			/* cmdline_size */
	.org	0x248
	.long	payload - kernel, 0
	.org	0x258
	.quad	0x1000000		/* pref_address */
	.long	INIT_SIZE
	.org	0x400
kernel:
	.code32
	ud2
	.org	0x600
	.code64
	leaq	text(%rip), %rsi
	PUTS_FLAT
	POWEROFF
text:	.asciz	"stub\n"
	.balign	16
payload:
