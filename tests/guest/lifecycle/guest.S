/* SPDX-License-Identifier: GPL-2.0-only */
/* Says one byte and switches the machine off; for QEMU, ends it through isa-debug-exit as well. */
#include "tests/lib/guest.h"
	.code16
	SET_PORT PORT_COM1, '.'
	SET_PORT 0xf4, 0
	POWEROFF
