/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What `lkvm debug NAME` can do to a VM: each a function with the VM and its option's value, that returns the
 * exit status after a message if need be. Main thread.
 */
#ifndef LKVM_CMD_DEBUG_H
#define LKVM_CMD_DEBUG_H

struct registry_vm;

/* How long a VM may take to answer. */
#define DEBUG_ANSWER_NS 10000000000ull

/* A vmcore of it in file @path. */
int debug_dump(const struct registry_vm *vm, const char *path);

#endif
