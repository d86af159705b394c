// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile payload: an even first byte unpacks the rest, in whichever format its own
 * first bytes say, into as many bytes as the next two say; an odd one takes the rest as
 * the unpacked file, which is parsed, copied into guest memory and relocated there.
 */
#include "tests/fuzz/fuzz.h"

#include "decompress.h"
#include "mem.h"
#include "util.h"
#include "x86/boot/vmlinux.h"

#define RAM MIB(64)

static struct mem *ram;

static void relocate(const uint8_t *file, size_t bytes)
{
	static const uint64_t random[2] = { 0x123456789, 0x987654321 };
	const struct vmlinux_limits limits = { .align = MIB(2), .ram_bytes = RAM };
	struct vmlinux_place place;
	const char *why;
	struct vmlinux v;

	if (vmlinux_parse(&v, file, bytes, MIB(16), &why) || v.image_bytes > MIB(16) ||
	    !vmlinux_choose(&v, &limits, random, &place))
		return;
	must(place.gpa + v.image_bytes <= RAM);
	if (!vmlinux_copy(&v, place.gpa, ram))
		vmlinux_relocate(&v, &place, ram);
	mem_zero(ram, place.gpa, v.image_bytes);
}

static void unpack_any(struct input in)
{
	size_t room = take(&in, 2);
	const struct unpacker *u = unpack_find(in.data, in.left);
	uint8_t *dst = malloc(room ? room : 1); /* its end is watched */

	must(dst);
	if (u)
		unpack(u, in.data, in.left, dst, room);
	free(dst);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = { data, bytes };
	bool is_unpacked = take(&in, 1) & 1;

	log_set_level(LOG_ERROR);
	if (!ram)
		must(!mem_create(&ram, RAM));
	if (is_unpacked)
		relocate(in.data, in.left);
	else
		unpack_any(in);
	return 0;
}
