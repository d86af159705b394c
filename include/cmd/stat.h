/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `lkvm stat`: what a VM's CPUs and devices have done. It is asked for one after the other, each a
 * request of its own with one short answer, so that neither side has to hold many.
 */
#ifndef LKVM_CMD_STAT_H
#define LKVM_CMD_STAT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define STAT_MAX_ITEMS 512u /* more than a machine can have (MACHINE_MAX_CPUS, BOARD_MAX_VIRTIO) */

/*
 * Asks the VM called @name at @path and writes a table, or with @json one line, to @out; all of it or
 * nothing. 0; -ETIMEDOUT: it does not answer; -EPROTO: it does, but not so; or another -errno.
 */
int stat_write(FILE *out, const char *name, const char *path, bool json, uint64_t patience_ns);

#endif
