/* SPDX-License-Identifier: GPL-2.0-only */
/* The guest's first process, an ELF program, as data; the Makefile says where it is. */
	.section .rodata
	.global guest_init_start, guest_init_end
	.balign 16
guest_init_start:
	.incbin "init"
guest_init_end:
	.section .note.GNU-stack,"",@progbits
