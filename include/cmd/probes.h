/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tiny guests of `lkvm check` (cmd/probes.S) and what both sides agree on.
 */
#ifndef LKVM_CMD_PROBES_H
#define LKVM_CMD_PROBES_H

#define PROBE_ADDRESS	   0x100000 /* where the long-mode code is loaded and linked */
#define PROBE_REAL_ADDRESS 0x10000
#define PROBE_PORT	   0x80 /* a byte written here ends a probe */
#define PROBE_OK	   0x4f
#define PROBE_FAILED	   0x46

#ifndef __ASSEMBLER__
#include <stdint.h>

extern const uint8_t probe_real_start[], probe_real_end[];
extern const uint8_t probe_long_start[], probe_long_end[];
/* Entry points, inside [probe_long_start, probe_long_end). */
extern const uint8_t probe_cpl0[], probe_cpl3[], probe_int3[], probe_iretq[];
extern const uint8_t probe_cmpxchg16b[], probe_xsave[], probe_speed0[], probe_speed3[];
#endif

#endif
