/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What `lkvm debug NAME` can do to a VM: each a function with the VM and its option's value, that returns the
 * exit status after a message if need be. Main thread.
 */
#ifndef LKVM_CMD_DEBUG_H
#define LKVM_CMD_DEBUG_H

#include <stdbool.h>

struct client;
struct registry_vm;

/* How long a VM may take to answer. */
#define DEBUG_ANSWER_NS 10000000000ull

/* A vmcore of it in file @path. */
int debug_dump(const struct registry_vm *vm, const char *path);

/* The registers of all CPUs; @json: "json", or NULL for a reader. */
int debug_regs(const struct registry_vm *vm, const char *json);

/* An NMI for CPU @cpu; NULL: for each. */
int debug_nmi(const struct registry_vm *vm, const char *cpu);

/* A SysRq. */
int debug_sysrq(const struct registry_vm *vm, const char *key);

/* gdb is on stdin and stdout, or will connect to @address, [ADDR:]PORT. */
int debug_gdb(const struct registry_vm *vm, const char *address);

/*
 * Asks it one thing. True if it is done; @client has the answer, and is the caller's to finish, in
 * any case. False after a message that begins with @what.
 */
bool debug_ask(const struct registry_vm *vm, const char *what, struct client *client,
	       const char *request);

#endif
