// SPDX-License-Identifier: GPL-2.0-only
/*
 * What comes from gdb, or from whoever has its connection: bytes to packets, packets to fields, and what
 * they do to a guest's memory, whose page tables are a part of the input.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#include "control/gdb-breaks.h"
#include "control/gdb-packet.h"
#include "control/gdb-registers.h"
#include "mem.h"
#include "util.h"

#define TABLE_BYTES 64u

static struct mem *ram;
static struct gdb_packet packet;
static struct gdb_breaks breaks;
static struct registers cpu;
static struct gdb_reply reply;

static void check(bool good)
{
	if (!good)
		abort();
}

static void use_memory(const struct gdb_view *view, char kind, uint64_t address, uint64_t bytes)
{
	uint8_t data[4096], again[4096];
	size_t n = (size_t)min_u64(bytes, sizeof(data)), done;

	memset(data, kind, sizeof(data));
	done = kind == 'm' ? 0 : gdb_write_memory(&breaks, view, address, data, n);
	check(done <= n);
	/* What was written is read, breakpoints or not, unless it has changed the tables. */
	check(gdb_read_memory(&breaks, view, address, again, n) <= n);
	reply.bytes = 0;
	check(gdb_put_hex(&reply, again, n));
}

static void serve(const struct gdb_view *view)
{
	struct gdb_text t = { packet.text, packet.text + packet.bytes };
	uint8_t value[GDB_REGISTER_BYTES];
	uint64_t a = 0, b = 0, c = 0;
	unsigned int changed = 0;
	char kind = packet.bytes ? *t.at++ : 0;

	gdb_take_number(&t, &a);
	gdb_take_char(&t, ',');
	gdb_take_number(&t, &b);
	gdb_take_char(&t, ',');
	gdb_take_number(&t, &c);
	if (kind == 'Z')
		gdb_break_insert(&breaks, view, (unsigned int)a, b, c);
	else if (kind == 'z')
		gdb_break_remove(&breaks, (unsigned int)a, b, c);
	else if (kind == 'P' && gdb_take_hex(&t, value, sizeof(value)))
		gdb_register_set(&cpu, (unsigned int)a, value, &changed);
	else if (kind == 'm' || kind == 'M')
		use_memory(view, kind, a, b);
	reply.bytes = 0;
	gdb_put_binary(&reply, packet.text, packet.bytes);
}

static void reset(const uint8_t *data, size_t *size)
{
	static const uint8_t page[4096];

	cpu = (struct registers){ 0 };
	for (gpa_t at = 0; at < MIB(2); at += sizeof(page))
		mem_write(ram, at, page, sizeof(page));
	memset(&packet, 0, offsetof(struct gdb_packet, text));
	memset(&breaks, 0, sizeof(breaks));
	breaks.mem = ram;
	if (*size < TABLE_BYTES)
		return;
	memcpy(&cpu.sregs.cr0, data, 8);
	memcpy(&cpu.sregs.cr4, data + 8, 8);
	memcpy(&cpu.sregs.efer, data + 16, 8);
	mem_write(ram, 0, data + 24, TABLE_BYTES - 24);
	*size -= TABLE_BYTES;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct gdb_view view = { &cpu, &cpu };
	static char frame[GDB_FRAME_BYTES];
	const uint8_t *end = data + size;

	if (!ram)
		check(!mem_create(&ram, MIB(2)));
	reset(data, &size);
	for (const uint8_t *at = end - size; at < end; at++) {
		if (gdb_packet_feed(&packet, *at) != GDB_PACKET)
			continue;
		check(packet.bytes <= GDB_PACKET_BYTES);
		serve(&view);
		check(gdb_frame(&reply, frame) <= sizeof(frame));
	}
	gdb_break_remove_all(&breaks);
	return 0;
}
