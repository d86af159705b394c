/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a guest can observe of its machine, as bytes: what a snapshot has of it beside memory.
 *
 * Who has a part of that writes one function, which names its fields in order; it serves both ways,
 * so what is saved is what is loaded:
 *
 *	state_section(s, "rtc", 0);
 *	state_u8(s, &rtc->state.index);
 *	if (state_loads(s) && rtc->state.index >= RTC_RAM_BYTES)
 *		state_refuse(s, "an index out of range");
 *
 * What is loaded is hostile. Numbers have a fixed size, a bool is 0 or 1, and after the first thing
 * that is wrong all that follows is zero, so that loops over counts end; the owner checks values as
 * it does a guest's. Only one thread uses a struct state.
 */
#ifndef LKVM_STATE_H
#define LKVM_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_FAULT_BYTES 160u

struct state {
	uint8_t *bytes; /* lent */
	size_t used, size;
	bool loads;
	int error;	     /* of the first fault; 0: none */
	const char *section; /* where we are */
	uint32_t index;
	char fault[STATE_FAULT_BYTES]; /* what it was, with its section */
};

/* @bytes is room for @size bytes; state.used says how many it took. */
void state_init_save(struct state *s, void *bytes, size_t size);
/* Nothing is kept: state.used says how many bytes it would take. */
void state_init_measure(struct state *s);
void state_init_load(struct state *s, const void *bytes, size_t size);

static inline bool state_loads(const struct state *s)
{
	return s->loads;
}

static inline bool state_is_good(const struct state *s)
{
	return !s->error;
}

/* A part begins: @name and @index are in the file, and have to be there when it is loaded. */
void state_section(struct state *s, const char *name, uint32_t index);

void state_u8(struct state *s, uint8_t *v);
void state_u16(struct state *s, uint16_t *v);
void state_u32(struct state *s, uint32_t *v);
void state_u64(struct state *s, uint64_t *v);
void state_bool(struct state *s, bool *v);

/* A struct whose layout is the kernel's, or bytes of any value. */
void state_raw(struct state *s, void *p, size_t bytes);

/* A number that has to be what this machine has; @what names it. */
void state_same(struct state *s, uint64_t v, const char *what);

/* A number from 0 to @most; 0 if it is more. */
void state_count(struct state *s, uint32_t *v, uint32_t most, const char *what);

/* It cannot be saved, or may not be loaded. @why is kept if nothing was wrong before. */
void state_refuse(struct state *s, const char *why);
void state_refuse_errno(struct state *s, const char *what, int error);

/* All of it was read. 0 or -errno; state.fault says what was wrong. */
int state_end(struct state *s);

#endif
