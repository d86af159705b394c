// SPDX-License-Identifier: GPL-2.0-only
/*
 * The blocks of a directory's disk: see disk/dir-space.h.
 *
 * Since blocks are given out in ascending order, the ranges of an area are sorted as they come, and
 * are found by halving. They are kept in segments, so that nothing has to move when there are more.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk/dir-space.h"
#include "state.h"
#include "util.h"

static const struct {
	uint32_t first, end;
} places[SPACE_NR_PLACES] = {
	[SPACE_OF_INODES] = { SPACE_INODES, SPACE_XATTRS },
	[SPACE_OF_XATTRS] = { SPACE_XATTRS, SPACE_DATA },
	[SPACE_OF_DATA] = { SPACE_DATA, SPACE_END },
};

int space_init(struct space *s)
{
	for (unsigned int i = 0; i < SPACE_NR_PLACES; i++) {
		struct space_area *a = &s->areas[i];

		a->next = places[i].first;
		a->end = places[i].end;
		a->segments = calloc(SPACE_SEGMENTS, sizeof(struct space_range *));
		if (!a->segments)
			return -ENOMEM;
	}
	return 0;
}

void space_fini(struct space *s)
{
	for (unsigned int i = 0; i < SPACE_NR_PLACES; i++) {
		struct space_area *a = &s->areas[i];

		for (unsigned int n = 0; a->segments && n < SPACE_SEGMENTS; n++)
			free(a->segments[n]);
		free(a->segments);
	}
}

static struct space_range *range_at(const struct space_area *a, uint32_t i)
{
	return &a->segments[i / SPACE_SEGMENT][i % SPACE_SEGMENT];
}

void space_each(struct space *s, void (*fn)(void *arg, struct space_range *range), void *arg)
{
	for (unsigned int i = 0; i < SPACE_NR_PLACES; i++)
		for (uint32_t n = 0; n < s->areas[i].nr_ranges; n++)
			fn(arg, range_at(&s->areas[i], n));
}

/* ---- taking ---- */

static bool make_range_room(struct space_area *a)
{
	uint32_t segment = a->nr_ranges / SPACE_SEGMENT;

	if (segment == SPACE_SEGMENTS)
		return false;
	if (!a->segments[segment])
		a->segments[segment] = malloc(SPACE_SEGMENT * sizeof(struct space_range));
	return a->segments[segment];
}

/* Forgets what is burned before @block. */
static void forget_burned(struct space_area *a, uint32_t block)
{
	unsigned int n = 0;

	while (n < a->nr_burned && a->burned[n].end <= block)
		n++;
	a->nr_burned -= n;
	memmove(a->burned, a->burned + n, a->nr_burned * sizeof(*a->burned));
}

/* The first place for @nr blocks where none is burned. False if there is none. */
static bool find_unburned(const struct space_area *a, uint32_t nr, uint32_t *block)
{
	uint32_t at = a->next;

	for (unsigned int i = 0; i < a->nr_burned; i++) {
		if (a->burned[i].first >= at && a->burned[i].first - at >= nr)
			break;
		at = (uint32_t)max_u64(at, a->burned[i].end);
	}
	*block = at;
	return range_within(at, nr, a->end);
}

uint32_t space_take(struct space *s, enum space_place place, const struct space_range *range)
{
	struct space_area *a = &s->areas[place];
	struct space_range *r;
	uint32_t block;

	if (!range->nr || !find_unburned(a, range->nr, &block) || !make_range_room(a))
		return 0;
	r = range_at(a, a->nr_ranges++);
	*r = *range;
	r->block = block;
	a->next = block + range->nr;
	forget_burned(a, a->next);
	return block;
}

/* ---- finding ---- */

static struct space_area *area_of(struct space *s, uint32_t block)
{
	for (unsigned int i = 0; i < SPACE_NR_PLACES; i++)
		if (block >= places[i].first && block < places[i].end)
			return &s->areas[i];
	return NULL;
}

/* How many ranges begin at or before @block. */
static uint32_t count_before(const struct space_area *a, uint32_t block)
{
	uint32_t low = 0, high = a->nr_ranges;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (range_at(a, middle)->block <= block)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The first block behind @block at which something else begins. */
static uint32_t next_start(uint32_t block)
{
	for (unsigned int i = 0; i < SPACE_NR_PLACES; i++)
		if (block < places[i].first)
			return places[i].first;
	return SPACE_NR_BLOCKS;
}

struct space_range *space_find(struct space *s, uint32_t block, uint32_t *nr)
{
	struct space_area *a = area_of(s, block);
	uint32_t n = a ? count_before(a, block) : 0;
	struct space_range *r = n ? range_at(a, n - 1) : NULL;

	if (r && block - r->block < r->nr)
		return r;
	if (!a)
		*nr = next_start(block) - block;
	else
		*nr = (n < a->nr_ranges ? range_at(a, n)->block : a->end) - block;
	return NULL;
}

/* ---- burning ---- */

static struct space_burned rounded(const struct space_area *a, uint32_t first, uint64_t end)
{
	uint64_t unit = 1ull << a->burn_bits;

	first = (uint32_t)max_u64(align_down(first, unit), a->next);
	return (struct space_burned){ first, (uint32_t)min_u64(align_up(end, unit), a->end) };
}

/* Rounds all ranges to more blocks, until there is room for more of them. */
static void burn_more(struct space_area *a)
{
	while (a->nr_burned > SPACE_MAX_BURNED / 2) {
		unsigned int n = 0;

		a->burn_bits++;
		for (unsigned int i = 0; i < a->nr_burned; i++) {
			struct space_burned b = rounded(a, a->burned[i].first, a->burned[i].end);

			if (n && a->burned[n - 1].end >= b.first)
				a->burned[n - 1].end = b.end;
			else
				a->burned[n++] = b;
		}
		a->nr_burned = n;
	}
}

/* Adds @b, and makes one of all that it touches. */
static void add_burned(struct space_area *a, struct space_burned b)
{
	unsigned int i = 0, n;

	while (i < a->nr_burned && a->burned[i].end < b.first)
		i++;
	for (n = i; n < a->nr_burned && a->burned[n].first <= b.end; n++) {
		b.first = (uint32_t)min_u64(b.first, a->burned[n].first);
		b.end = (uint32_t)max_u64(b.end, a->burned[n].end);
	}
	memmove(a->burned + i + 1, a->burned + n, (a->nr_burned - n) * sizeof(b));
	a->burned[i] = b;
	a->nr_burned = a->nr_burned + 1 - (n - i);
}

void space_burn(struct space *s, uint32_t first, uint32_t nr)
{
	struct space_area *a = area_of(s, first);
	uint64_t end = (uint64_t)first + nr;

	/* What was passed over is never given out. */
	if (!a || end <= a->next)
		return;
	if (a->nr_burned == SPACE_MAX_BURNED)
		burn_more(a);
	add_burned(a, rounded(a, first, end));
}

/* ---- snapshots ---- */

#define MAX_BURN_BITS 32u /* then all of it is one */

static void burned_carry(struct space_area *a, struct state *s)
{
	uint32_t from = a->next;

	state_count(s, &a->burn_bits, MAX_BURN_BITS, "burned blocks of no size");
	state_count(s, &a->nr_burned, SPACE_MAX_BURNED, "more burned blocks than there can be");
	for (unsigned int i = 0; i < a->nr_burned; i++) {
		struct space_burned *b = &a->burned[i];

		state_u32(s, &b->first);
		state_u32(s, &b->end);
		if (state_loads(s) && (b->first < from || b->end <= b->first || b->end > a->end))
			state_refuse(s, "burned blocks that cannot be");
		from = b->end;
	}
	if (!state_is_good(s))
		a->nr_burned = 0;
}

static bool range_is_possible(const struct space_area *a, enum space_place place, const struct space_range *r)
{
	const bool fits = place == SPACE_OF_INODES ?
				  r->kind == SPACE_INODE_BLOCKS :
				  r->kind == SPACE_BYTES || (place == SPACE_OF_DATA && r->kind == SPACE_FILE);

	return fits && r->nr && r->block >= a->next && range_within(r->block, r->nr, a->end);
}

static void range_carry(struct space_range *r, struct state *s)
{
	state_u32(s, &r->block);
	state_u32(s, &r->nr);
	state_u32(s, &r->offset);
	state_u32(s, &r->kind);
}

void space_carry(struct space *s, struct state *state,
		 void (*carry_owner)(void *arg, struct space_range *range, struct state *state), void *arg)
{
	for (unsigned int place = 0; place < SPACE_NR_PLACES; place++) {
		struct space_area *a = &s->areas[place];
		uint32_t nr = a->nr_ranges, next = a->next;

		state_count(state, &nr, SPACE_SEGMENT * SPACE_SEGMENTS, "more places than there are");
		for (uint32_t i = 0; i < nr && state_is_good(state); i++) {
			struct space_range loaded = { 0 }, *r = state_loads(state) ? &loaded : range_at(a, i);

			range_carry(r, state);
			if (state_loads(state) && !range_is_possible(a, place, r))
				state_refuse(state, "a place that cannot be");
			if (state_loads(state) && !make_range_room(a))
				state_refuse_errno(state, "its places", -ENOMEM);
			if (!state_is_good(state))
				return;
			carry_owner(arg, r, state);
			if (!state_loads(state) || !r->owner)
				continue;
			*range_at(a, a->nr_ranges++) = *r;
			a->next = r->block + r->nr;
		}
		state_u32(state, &next);
		if (next < a->next || next > a->end)
			state_refuse(state, "an end that cannot be");
		else
			a->next = next;
		burned_carry(a, state);
	}
}
