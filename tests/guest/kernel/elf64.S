/* SPDX-License-Identifier: GPL-2.0-only */
/* ELF vmlinux with a 64-bit entry. */
	.code64
	.global _start
_start:
	movq	%cr3, %rax		/* long mode has page tables */
#include "body.h"
