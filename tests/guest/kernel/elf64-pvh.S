/* SPDX-License-Identifier: GPL-2.0-only */
/* ELF vmlinux with a 64-bit entry that is wrong and a PVH note that is right. */
#define PVH
	.code32
	.global _start
_start:	ud2
pvh:
#include "body.h"
	.section .note.pvh, "a", @note
	.long	4, 4, 18
	.asciz	"Xen"
	.long	pvh
