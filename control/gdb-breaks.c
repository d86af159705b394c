// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory and breakpoints for gdb (control/gdb-breaks.h).
 *
 * A software breakpoint stands at a guest-physical address: where the CPU's page tables led when it
 * was set. Whoever else has that page mapped runs into it, too. It is taken out by what was there, if
 * there still is an int3: a kernel that has patched its own code meanwhile keeps that.
 */
#include <errno.h>
#include <string.h>

#include "control/gdb-breaks.h"
#include "util.h"

#define INT3	     0xcc
#define EXCEPTION_DB 1u
#define EXCEPTION_BP 3u
#define DR7_FIXED    0x400u

/* ---- memory ---- */

static int walk_view(const struct mem *mem, const struct gdb_view *view, uint64_t address,
		     struct page_walk_place *place)
{
	struct page_walk walk;
	int rc;

	registers_walk(view->cpu, mem, &walk);
	/* Real mode and the like have no kernel's addresses, which would be taken for others. */
	rc = address >> 63 && !(walk.efer >> 10 & 1) ? -EFAULT : page_walk(&walk, address, place);
	if (rc && address >> 63) {
		registers_walk(view->boot, mem, &walk);
		rc = walk.efer >> 10 & 1 ? page_walk(&walk, address, place) : -EFAULT;
	}
	return rc;
}

/* One page's part of a range: how many bytes there are at *gpa; 0: none. */
static size_t find_page_part(const struct mem *mem, const struct gdb_view *view, uint64_t address,
			     size_t bytes, gpa_t *gpa)
{
	struct page_walk_place place;

	if (walk_view(mem, view, address, &place))
		return 0;
	*gpa = place.gpa;
	return (size_t)min_u64(4096 - place.gpa % 4096, bytes);
}

/* Puts what a breakpoint has written over back into a copy of memory. */
static void hide_breaks(const struct gdb_breaks *b, gpa_t gpa, uint8_t *copy, size_t bytes)
{
	for (unsigned int i = 0; i < GDB_MAX_SOFT; i++)
		if (b->soft[i].used && b->soft[i].gpa - gpa < bytes && copy[b->soft[i].gpa - gpa] == INT3)
			copy[b->soft[i].gpa - gpa] = b->soft[i].original;
}

/* What has just been written is what is there without breakpoints, which stay. */
static void renew_breaks(struct gdb_breaks *b, gpa_t gpa, const uint8_t *copy, size_t bytes)
{
	const uint8_t int3 = INT3;

	for (unsigned int i = 0; i < GDB_MAX_SOFT; i++) {
		if (!b->soft[i].used || b->soft[i].gpa - gpa >= bytes)
			continue;
		b->soft[i].original = copy[b->soft[i].gpa - gpa];
		mem_write(b->mem, b->soft[i].gpa, &int3, 1);
	}
}

size_t gdb_read_memory(const struct gdb_breaks *b, const struct gdb_view *view, uint64_t address,
		       void *dst, size_t bytes)
{
	uint8_t *to = dst;
	size_t done = 0, n;
	gpa_t gpa;

	for (; done < bytes; done += n) {
		n = find_page_part(b->mem, view, address + done, bytes - done, &gpa);
		if (!n || mem_read(b->mem, gpa, to + done, n))
			break;
		hide_breaks(b, gpa, to + done, n);
	}
	return done;
}

size_t gdb_write_memory(struct gdb_breaks *b, const struct gdb_view *view, uint64_t address,
			const void *src, size_t bytes)
{
	const uint8_t *from = src;
	size_t done = 0, n;
	gpa_t gpa;

	for (; done < bytes; done += n) {
		n = find_page_part(b->mem, view, address + done, bytes - done, &gpa);
		if (!n || mem_write(b->mem, gpa, from + done, n))
			break;
		renew_breaks(b, gpa, from + done, n);
	}
	return done;
}

/* ---- software breakpoints ---- */

static int insert_soft(struct gdb_breaks *b, const struct gdb_view *view, uint64_t address)
{
	const uint8_t int3 = INT3;
	unsigned int slot = GDB_MAX_SOFT;
	uint8_t original;
	gpa_t gpa;

	for (unsigned int i = GDB_MAX_SOFT; i--;) {
		if (b->soft[i].used && b->soft[i].address == address)
			return 0;
		if (!b->soft[i].used)
			slot = i;
	}
	if (slot == GDB_MAX_SOFT)
		return -ENOSPC;
	/* The byte as it is in memory: another address's breakpoint may be the same byte. */
	if (!gdb_read_memory(b, view, address, &original, 1) ||
	    !find_page_part(b->mem, view, address, 1, &gpa) || mem_write(b->mem, gpa, &int3, 1))
		return -EFAULT;
	b->soft[slot].used = true;
	b->soft[slot].original = original;
	b->soft[slot].address = address;
	b->soft[slot].gpa = gpa;
	return 0;
}

static bool is_shared(const struct gdb_breaks *b, unsigned int slot)
{
	for (unsigned int i = 0; i < GDB_MAX_SOFT; i++)
		if (i != slot && b->soft[i].used && b->soft[i].gpa == b->soft[slot].gpa)
			return true;
	return false;
}

static void remove_slot(struct gdb_breaks *b, unsigned int slot)
{
	uint8_t now;

	if (!is_shared(b, slot) && !mem_read(b->mem, b->soft[slot].gpa, &now, 1) && now == INT3)
		mem_write(b->mem, b->soft[slot].gpa, &b->soft[slot].original, 1);
	b->soft[slot].used = false;
}

static void remove_soft(struct gdb_breaks *b, uint64_t address)
{
	for (unsigned int i = 0; i < GDB_MAX_SOFT; i++)
		if (b->soft[i].used && b->soft[i].address == address)
			remove_slot(b, i);
}

/* ---- hardware breakpoints ---- */

static bool is_hard(const struct gdb_breaks *b, unsigned int i, unsigned int type, uint64_t address,
		    uint64_t bytes)
{
	return b->hard[i].used && b->hard[i].type == type && b->hard[i].address == address &&
	       (type == GDB_HARD || b->hard[i].bytes == bytes);
}

static int insert_hard(struct gdb_breaks *b, unsigned int type, uint64_t address, uint64_t bytes)
{
	unsigned int slot = GDB_MAX_HARD;

	if (type == GDB_HARD)
		bytes = 1;
	if ((bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8) || address % bytes)
		return -EINVAL;
	for (unsigned int i = GDB_MAX_HARD; i--;) {
		if (is_hard(b, i, type, address, bytes))
			return 0;
		if (!b->hard[i].used)
			slot = i;
	}
	if (slot == GDB_MAX_HARD)
		return -ENOSPC;
	b->hard[slot].used = true;
	b->hard[slot].type = (uint8_t)type;
	b->hard[slot].bytes = (uint8_t)bytes;
	b->hard[slot].address = address;
	return 0;
}

/* ---- all of them ---- */

static bool is_type(unsigned int type)
{
	/* There is none that reading alone trips over. */
	return type <= GDB_WATCH_ACCESS && type != GDB_WATCH_READ;
}

int gdb_break_insert(struct gdb_breaks *b, const struct gdb_view *view, unsigned int type,
		     uint64_t address, uint64_t bytes)
{
	if (!is_type(type))
		return -EOPNOTSUPP;
	return type == GDB_SOFT ? insert_soft(b, view, address) : insert_hard(b, type, address, bytes);
}

int gdb_break_remove(struct gdb_breaks *b, unsigned int type, uint64_t address, uint64_t bytes)
{
	if (!is_type(type))
		return -EOPNOTSUPP;
	if (type == GDB_SOFT)
		remove_soft(b, address);
	for (unsigned int i = 0; i < GDB_MAX_HARD; i++)
		if (is_hard(b, i, type, address, bytes))
			b->hard[i].used = false;
	return 0;
}

void gdb_break_remove_all(struct gdb_breaks *b)
{
	for (unsigned int i = 0; i < GDB_MAX_SOFT; i++)
		if (b->soft[i].used)
			remove_slot(b, i);
	memset(b->hard, 0, sizeof(b->hard));
}

/* Of register 7: enabled for all, when, and how many bytes. */
static uint64_t control_bits(unsigned int i, unsigned int type, unsigned int bytes)
{
	const uint64_t when = type == GDB_HARD	      ? 0 :
			      type == GDB_WATCH_WRITE ? 1 :
							3;
	const uint64_t length = bytes == 8 ? 2 : bytes - 1;

	return 2ull << 2 * i | (when | length << 2) << (16 + 4 * i);
}

void gdb_breaks_control(const struct gdb_breaks *b, struct kvm_guest_debug *debug)
{
	memset(debug, 0, sizeof(*debug));
	for (unsigned int i = 0; i < GDB_MAX_SOFT; i++)
		if (b->soft[i].used)
			debug->control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
	for (unsigned int i = 0; i < GDB_MAX_HARD; i++) {
		if (!b->hard[i].used)
			continue;
		debug->control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
		debug->arch.debugreg[i] = b->hard[i].address;
		debug->arch.debugreg[7] |= DR7_FIXED | control_bits(i, b->hard[i].type, b->hard[i].bytes);
	}
}

/* ---- traps ---- */

static bool has_soft(const struct gdb_breaks *b, uint64_t address)
{
	for (unsigned int i = 0; i < GDB_MAX_SOFT; i++)
		if (b->soft[i].used && b->soft[i].address == address)
			return true;
	return false;
}

static struct gdb_hit hit_of_hard(const struct gdb_breaks *b, unsigned int i)
{
	if (b->hard[i].type == GDB_HARD)
		return (struct gdb_hit){ .trap = GDB_TRAP_HARD };
	return (struct gdb_hit){
		GDB_TRAP_WATCH, b->hard[i].type, b->hard[i].bytes, b->hard[i].address
	};
}

struct gdb_hit gdb_trap_explain(const struct gdb_breaks *b, const struct kvm_debug_exit_arch *trap,
				bool stepped)
{
	struct gdb_hit hit = { .trap = GDB_TRAP_FOREIGN };

	if (trap->exception == EXCEPTION_BP && has_soft(b, trap->pc))
		hit.trap = GDB_TRAP_SOFT;
	if (trap->exception != EXCEPTION_DB)
		return hit;
	for (unsigned int i = 0; i < GDB_MAX_HARD; i++)
		if (b->hard[i].used && trap->dr6 >> i & 1)
			return hit_of_hard(b, i);
	if (stepped)
		hit.trap = GDB_TRAP_STEP;
	return hit;
}

bool gdb_hit_stands(const struct gdb_breaks *b, const struct gdb_hit *hit)
{
	for (unsigned int i = 0; i < GDB_MAX_HARD; i++)
		if (is_hard(b, i, hit->type, hit->address, hit->bytes))
			return true;
	return false;
}
