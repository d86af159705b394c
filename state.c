// SPDX-License-Identifier: GPL-2.0-only
/*
 * State of a machine as bytes (state.h).
 *
 * Owns nothing. A section is a tag of 16 bytes, its name padded with zeros and its index, and the
 * fields follow each other without padding, little-endian as every host that this runs on. There are
 * no lengths in it: who writes and who reads agree on every field, or the format's number
 * (snapshot-file.h) is another.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "state.h"
#include "util.h"

#define NAME_BYTES 12u

void state_init_save(struct state *s, void *bytes, size_t size)
{
	*s = (struct state){ .bytes = bytes, .size = size, .section = "?" };
}

void state_init_measure(struct state *s)
{
	*s = (struct state){ .size = SIZE_MAX, .section = "?" };
}

void state_init_load(struct state *s, const void *bytes, size_t size)
{
	*s = (struct state){ .bytes = (uint8_t *)bytes, .size = size, .loads = true, .section = "?" };
}

void state_refuse_errno(struct state *s, const char *what, int error)
{
	if (s->error)
		return;
	s->error = error;
	snprintf(s->fault, sizeof(s->fault), "%s %u: %s%s%s", s->section, s->index, what,
		 error == -EINVAL ? "" : ": ", error == -EINVAL ? "" : strerror(-error));
}

void state_refuse(struct state *s, const char *why)
{
	state_refuse_errno(s, why, -EINVAL);
}

void state_raw(struct state *s, void *p, size_t bytes)
{
	if (!s->error && !range_within(s->used, bytes, s->size))
		state_refuse(s, s->loads ? "it is cut short" : "there is no room for it");
	if (s->error) {
		if (s->loads)
			memset(p, 0, bytes);
		return;
	}
	if (s->loads)
		memcpy(p, s->bytes + s->used, bytes);
	else if (s->bytes)
		memcpy(s->bytes + s->used, p, bytes);
	s->used += bytes;
}

void state_section(struct state *s, const char *name, uint32_t index)
{
	char tag[NAME_BYTES] = { 0 }, found[NAME_BYTES];
	uint32_t number = index;

	assert(strlen(name) <= NAME_BYTES);
	s->section = name;
	s->index = index;
	memcpy(tag, name, strlen(name));
	memcpy(found, tag, sizeof(found));
	state_raw(s, found, sizeof(found));
	state_u32(s, &number);
	if (memcmp(found, tag, sizeof(tag)) || number != index)
		state_refuse(s, "it is not where it should be");
}

void state_u8(struct state *s, uint8_t *v)
{
	state_raw(s, v, sizeof(*v));
}

void state_u16(struct state *s, uint16_t *v)
{
	state_raw(s, v, sizeof(*v));
}

void state_u32(struct state *s, uint32_t *v)
{
	state_raw(s, v, sizeof(*v));
}

void state_u64(struct state *s, uint64_t *v)
{
	state_raw(s, v, sizeof(*v));
}

void state_bool(struct state *s, bool *v)
{
	uint8_t byte = s->loads ? 0 : *v;

	state_u8(s, &byte);
	if (byte > 1)
		state_refuse(s, "neither true nor false");
	if (s->loads)
		*v = byte == 1;
}

void state_same(struct state *s, uint64_t v, const char *what)
{
	uint64_t found = v;
	char text[96];

	state_u64(s, &found);
	if (s->error || found == v)
		return;
	snprintf(text, sizeof(text), "%s: %llu in it, %llu here", what, (unsigned long long)found,
		 (unsigned long long)v);
	state_refuse(s, text);
}

void state_count(struct state *s, uint32_t *v, uint32_t most, const char *what)
{
	state_u32(s, v);
	if (*v <= most)
		return;
	state_refuse(s, what);
	if (s->loads)
		*v = 0;
}

int state_end(struct state *s)
{
	if (s->loads && !s->error && s->used != s->size)
		state_refuse(s, "there is something behind it");
	return s->error;
}
