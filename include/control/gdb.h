/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * gdb's other end in a VM that was started with --gdb: a stub of its remote serial protocol, on a
 * connection of the VM's socket (control/server.h) that has become a stream.
 *
 * All CPUs stop and go on together; each is a thread of gdb's, CPU k is thread k+1. What gdb leaves
 * behind, by detaching, by its death, is undone, and the VM runs on. One gdb at a time.
 *
 * All functions: the loop's thread.
 */
#ifndef LKVM_CONTROL_GDB_H
#define LKVM_CONTROL_GDB_H

#include <stdbool.h>

struct gdb;
struct machine;

/* Of a machine with config.gdb and @cpus, before machine_create(). 0 or -errno. */
int gdb_create(struct gdb **out, struct machine *machine, unsigned int cpus, const char *version);

/* Somebody is connected. */
bool gdb_is_busy(const struct gdb *gdb);

/* The guest is not what it would be by itself: breakpoints are in its code, or registers are yet to be set. */
bool gdb_is_in_guest(const struct gdb *gdb);

/* A client of its own at @socket (non-blocking), which is gdb's from now on. */
void gdb_connect(struct gdb *gdb, int socket);

/* The VM ends: who is connected is told so. Accepts NULL. */
void gdb_destroy(struct gdb *gdb);

#endif
