/* SPDX-License-Identifier: GPL-2.0-only */
/* bzImage without a 64-bit entry. */
#define XLOADFLAGS 0
#include "bzimage.h"
	.code32
#include "body.h"
	.balign	4096
kernel_end:
