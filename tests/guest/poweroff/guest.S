/* SPDX-License-Identifier: GPL-2.0-only */
/* Says hello and switches the machine off. */
#include "tests/lib/guest.h"
	.code16
	PUTS	text
	POWEROFF
text:	.asciz	"hello\n"
