/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A bzImage by hand: the boot sector with a setup header, one setup sector, and
 * a "compressed kernel" that is loaded at 1 MiB and ends at kernel_end.
 */
/* clang-format off */
	.code16
	.org	0x1f1
	.byte	1			/* setup_sects */
	.word	0
	.long	(kernel_end - kernel) / 16
	.word	0, 0, 0
	.word	0xaa55
	.byte	0xeb, header_end - 1f	/* jump across the header */
1:	.ascii	"HdrS"
	.word	0x020f
	.long	0
	.word	0, 0
	.byte	0
	.byte	1			/* loadflags: LOADED_HIGH */
	.word	0
	.long	0x100000, 0, 0, 0
	.word	0
	.byte	0, 0
	.long	0
	.long	0x7fffffff		/* initrd_addr_max */
	.long	0x200000
	.byte	1, 21
	.word	XLOADFLAGS
	.long	255			/* cmdline_size */
	.long	0
	.quad	0
	.long	0, 0
	.quad	0
	.quad	0x1000000		/* pref_address */
	.long	0x100000		/* init_size */
	.long	0
	.long	0
header_end:
	.org	0x400
kernel:
