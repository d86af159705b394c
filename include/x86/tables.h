/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tables in guest memory by which a guest finds the devices of its board.
 */
#ifndef LKVM_X86_TABLES_H
#define LKVM_X86_TABLES_H

struct board;
struct boot;

/*
 * Writes those that its configuration asks for, then what @boot passes to the kernel (zero page or
 * PVH start info). Devices and vCPUs exist, the kernel is loaded. 0 or -errno, after a message.
 */
int tables_write(const struct board *b, struct boot *boot);

#endif
