/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What KVM counts of a vCPU: a file of descriptions and numbers, which is opened while everything
 * may be opened and read later by the calls that the sandbox leaves.
 *
 * Source: Documentation/virt/kvm/api.rst 4.133 (KVM_GET_STATS_FD). Linux 5.14 or newer; without, there
 * are none.
 */
#ifndef LKVM_KVM_STATS_H
#define LKVM_KVM_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KVM_STATS_BLOCK_BYTES 8192u /* of descriptions, and of numbers; 47 are 3 KiB (Linux 6.18) */

/* The statistics of @fd, a vCPU's or a VM's. A descriptor, or -1. */
int kvm_stats_open(int fd);

/*
 * Where the number called @name is in that file. @block: its first @bytes bytes. 0: it is not there, or
 * more than one number.
 */
uint64_t kvm_stats_find(const uint8_t *block, size_t bytes, const char *name);

/*
 * Reads the numbers called @names. Of those that are there, values[i] and found[i] are set. False if
 * nothing can be read at all.
 */
bool kvm_stats_read(int fd, const char *const *names, unsigned int nr, uint64_t *values, bool *found);

#endif
