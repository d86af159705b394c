/* SPDX-License-Identifier: GPL-2.0-only */
/* An exception without an interrupt table. */
#include "tests/lib/guest.h"
	.code16
	lidtl	empty
	int	$3
	POWEROFF
empty:	.word	0
	.long	0
