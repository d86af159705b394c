/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest's memory and breakpoints for gdb: software breakpoints, which are int3 instructions in
 * the guest's memory, and hardware breakpoints and watchpoints, four in all. The vCPUs stand while any
 * of these is called. Owns what it has written over. No KVM.
 *
 * Source: Intel SDM volume 3B §17.2 (debug registers).
 */
#ifndef LKVM_CONTROL_GDB_BREAKS_H
#define LKVM_CONTROL_GDB_BREAKS_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem.h"
#include "x86/registers.h"

#define GDB_MAX_SOFT 256u
#define GDB_MAX_HARD 4u

/* gdb's numbers in "Z" and "z". */
enum gdb_break_type {
	GDB_SOFT,
	GDB_HARD,
	GDB_WATCH_WRITE,
	GDB_WATCH_READ,
	GDB_WATCH_ACCESS,
};

struct gdb_breaks {
	const struct mem *mem; /* lent */
	struct {
		bool used;
		uint8_t original;
		uint64_t address;
		gpa_t gpa;
	} soft[GDB_MAX_SOFT];
	struct {
		bool used;
		uint8_t type;
		uint8_t bytes;
		uint64_t address;
	} hard[GDB_MAX_HARD];
};

/* Whose page tables are used: @cpu's, and, for a kernel's addresses that it does not know, @boot's. */
struct gdb_view {
	const struct registers *cpu, *boot;
};

/*
 * Memory at a linear address, as it is without breakpoints. How many bytes: fewer where what follows is
 * not mapped, or no RAM.
 */
size_t gdb_read_memory(const struct gdb_breaks *b, const struct gdb_view *view, uint64_t address,
		       void *dst, size_t bytes);
size_t gdb_write_memory(struct gdb_breaks *b, const struct gdb_view *view, uint64_t address,
			const void *src, size_t bytes);

/* 0; -EOPNOTSUPP: no such type; -EINVAL: no such length or place; -EFAULT: not mapped; -ENOSPC. */
int gdb_break_insert(struct gdb_breaks *b, const struct gdb_view *view, unsigned int type,
		     uint64_t address, uint64_t bytes);

/* One that is not there is removed already. 0, or -EOPNOTSUPP. */
int gdb_break_remove(struct gdb_breaks *b, unsigned int type, uint64_t address, uint64_t bytes);
void gdb_break_remove_all(struct gdb_breaks *b);

/* What KVM is to be told for a CPU: fills in all of @debug but for steps. */
void gdb_breaks_control(const struct gdb_breaks *b, struct kvm_guest_debug *debug);

/* What a CPU has run into. */
enum gdb_trap {
	GDB_TRAP_FOREIGN, /* the guest's own int3 or debug exception */
	GDB_TRAP_SOFT,
	GDB_TRAP_HARD,
	GDB_TRAP_WATCH,
	GDB_TRAP_STEP,
};

/* ... as it was when that was found out. */
struct gdb_hit {
	enum gdb_trap trap;
	/* Of a watchpoint: */
	uint8_t type;
	uint8_t bytes;
	uint64_t address;
};

/* As long as the breakpoints are those that the CPU ran into. */
struct gdb_hit gdb_trap_explain(const struct gdb_breaks *b, const struct kvm_debug_exit_arch *trap,
				bool stepped);

/* Whether the watchpoint of @hit is there, or there again: gdb removes all at each stop. */
bool gdb_hit_stands(const struct gdb_breaks *b, const struct gdb_hit *hit);

#endif
