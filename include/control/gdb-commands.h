/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What gdb's packets ask for: registers, memory, breakpoints, threads, and what is known of the target.
 * The CPUs stand meanwhile. All functions: the loop's thread.
 */
#ifndef LKVM_CONTROL_GDB_COMMANDS_H
#define LKVM_CONTROL_GDB_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

#include "control/gdb-breaks.h"
#include "control/gdb-packet.h"
#include "x86/registers.h"

struct machine;

/* Why they stand. */
struct gdb_stop {
	int signal;
	enum gdb_trap trap;	 /* with SIGTRAP */
	unsigned int watch_type; /* with GDB_TRAP_WATCH */
	uint64_t watched;
};

struct gdb_target {
	struct machine *machine; /* lent */
	const char *version;	 /* lkvm's */
	struct gdb_breaks breaks;
	unsigned int cpu; /* that has stopped */
	struct gdb_stop stop;
	unsigned int general; /* the CPU that packets are about */
	unsigned int stepped; /* ... that old ones about running are about */
	/* Of one CPU, and of the boot CPU: */
	bool cached;
	unsigned int cached_cpu;
	unsigned int changed; /* what KVM is yet to be told */
	struct registers registers, boot;
};

/* How CPUs are to run. */
struct gdb_resume {
	bool alone; /* only CPU @cpu */
	bool step;  /* CPU @cpu one instruction */
	unsigned int cpu;
};

enum gdb_action {
	GDB_ANSWER,
	GDB_NO_ACKS,
	GDB_RESUME,
	GDB_DETACH,
	GDB_KILL,
};

void gdb_target_init(struct gdb_target *t, struct machine *machine, const char *version);

/* For another gdb. */
void gdb_target_reset(struct gdb_target *t);

/* The CPUs have run: registers are read anew, and the CPU that has stopped is the one in question. */
void gdb_target_forget(struct gdb_target *t);

/* Before they run: what was changed is told to KVM. */
void gdb_target_flush(struct gdb_target *t);

/* What to do about a packet, with @reply but for GDB_RESUME, which has *resume, and GDB_KILL. */
enum gdb_action gdb_serve(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply,
			  struct gdb_resume *resume);

/* Tells why they stand. */
void gdb_put_stop(const struct gdb_target *t, struct gdb_reply *reply);

/*
 * What makes gdb look for a kernel's symbols where it is, by how far above it was linked (an unsigned
 * long long). Variables of a CPU each are numbers there, which do not move (symbol-file -o would move them).
 */
#define GDB_SYMBOLS_LINE "add-symbol-file vmlinux -o %#llx -s .data..percpu 0"

/* What a user typed after "monitor": fills in @text for a reader. The registers are the CPU's in question. */
void gdb_monitor(struct gdb_target *t, const char *command, char *text, size_t room);

/* The registers of the CPU in question and of the boot CPU are in @t afterwards. False if KVM has none. */
bool gdb_target_load(struct gdb_target *t);

#endif
