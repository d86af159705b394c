/* SPDX-License-Identifier: GPL-2.0-only */
/* ELF vmlinux with a 32-bit entry. */
	.code32
	.global _start
_start:
#include "body.h"
