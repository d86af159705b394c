// SPDX-License-Identifier: GPL-2.0-only
/*
 * Packets of gdb's remote serial protocol (control/gdb-packet.h).
 *
 * A packet is "$", its text, "#" and two digits of a sum. In the text "}" makes the next byte another
 * one (xor 0x20). Between packets there are "+" and "-", which say how the last one came over, and
 * 0x03 for Ctrl-C; all else there means nothing.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control/gdb-packet.h"

#define ESCAPE	   '}'
#define ESCAPE_XOR 0x20
#define CTRL_C	   0x03

static int hex_digit(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void packet_start(struct gdb_packet *p)
{
	p->state = GDB_INSIDE;
	p->sum = 0;
	p->bytes = 0;
	p->too_long = false;
}

static void packet_add(struct gdb_packet *p, char c)
{
	if (p->bytes < GDB_PACKET_BYTES)
		p->text[p->bytes++] = c;
	else
		p->too_long = true;
}

static enum gdb_event feed_outside(struct gdb_packet *p, uint8_t byte)
{
	switch (byte) {
	case '$':
		packet_start(p);
		return GDB_NOTHING;
	case CTRL_C:
		return GDB_INTERRUPT;
	case '-':
		return GDB_NAK;
	default:
		return GDB_NOTHING;
	}
}

static enum gdb_event feed_inside(struct gdb_packet *p, uint8_t byte)
{
	if (byte == '$') { /* the end of the other one was lost */
		packet_start(p);
		return GDB_NOTHING;
	}
	if (byte == '#') {
		p->state = GDB_SUM_HIGH;
		return GDB_NOTHING;
	}
	p->sum = (uint8_t)(p->sum + byte);
	if (p->state == GDB_INSIDE && byte == ESCAPE) {
		p->state = GDB_ESCAPED;
	} else {
		packet_add(p, (char)(p->state == GDB_ESCAPED ? byte ^ ESCAPE_XOR : byte));
		p->state = GDB_INSIDE;
	}
	return GDB_NOTHING;
}

static enum gdb_event packet_end(struct gdb_packet *p, uint8_t byte)
{
	const int low = hex_digit(byte);

	p->state = GDB_OUTSIDE;
	p->text[p->bytes] = '\0';
	return (!p->too_long && p->high >= 0 && low >= 0 && p->high << 4 == (p->sum & 0xf0) &&
		low == (p->sum & 0xf)) ?
		       GDB_PACKET :
		       GDB_BROKEN;
}

enum gdb_event gdb_packet_feed(struct gdb_packet *p, uint8_t byte)
{
	switch (p->state) {
	case GDB_INSIDE:
	case GDB_ESCAPED:
		return feed_inside(p, byte);
	case GDB_SUM_HIGH:
		p->high = hex_digit(byte);
		p->state = GDB_SUM_LOW;
		return GDB_NOTHING;
	case GDB_SUM_LOW:
		return packet_end(p, byte);
	default:
		return feed_outside(p, byte);
	}
}

/* ---- fields ---- */

bool gdb_take_char(struct gdb_text *t, char c)
{
	if (t->at == t->end || *t->at != c)
		return false;
	t->at++;
	return true;
}

bool gdb_take_word(struct gdb_text *t, const char *word)
{
	const size_t n = strlen(word);

	if (gdb_text_left(t) < n || memcmp(t->at, word, n))
		return false;
	t->at += n;
	return true;
}

bool gdb_take_number(struct gdb_text *t, uint64_t *n)
{
	const char *at = t->at;
	uint64_t value = 0;

	for (; at < t->end && hex_digit(*at) >= 0; at++) {
		if (value >> 60)
			return false;
		value = value << 4 | (uint64_t)hex_digit(*at);
	}
	if (at == t->at)
		return false;
	t->at = at;
	*n = value;
	return true;
}

bool gdb_take_hex(struct gdb_text *t, void *dst, size_t bytes)
{
	if (gdb_text_left(t) / 2 < bytes)
		return false;
	for (size_t i = 0; i < 2 * bytes; i++)
		if (hex_digit(t->at[i]) < 0)
			return false;
	for (size_t i = 0; i < bytes; i++, t->at += 2)
		((uint8_t *)dst)[i] = (uint8_t)(hex_digit(t->at[0]) * 16 + hex_digit(t->at[1]));
	return true;
}

/* ---- replies ---- */

bool gdb_put(struct gdb_reply *r, const char *fmt, ...)
{
	const size_t room = sizeof(r->text) - r->bytes;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(r->text + r->bytes, room, fmt, args);
	va_end(args);
	if (n < 0 || (size_t)n >= room)
		return false;
	r->bytes += (size_t)n;
	return true;
}

bool gdb_put_hex(struct gdb_reply *r, const void *data, size_t bytes)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *from = data;

	if ((GDB_PACKET_BYTES - r->bytes) / 2 < bytes)
		return false;
	for (size_t i = 0; i < bytes; i++) {
		r->text[r->bytes++] = digits[from[i] >> 4];
		r->text[r->bytes++] = digits[from[i] & 0xf];
	}
	return true;
}

static bool is_special(char c)
{
	return c == '$' || c == '#' || c == '*' || c == ESCAPE;
}

size_t gdb_put_binary(struct gdb_reply *r, const void *data, size_t bytes)
{
	const char *from = data;
	size_t i;

	for (i = 0; i < bytes; i++) {
		const bool special = is_special(from[i]);

		if (GDB_PACKET_BYTES - r->bytes < 1u + special)
			break;
		if (special)
			r->text[r->bytes++] = ESCAPE;
		r->text[r->bytes++] = (char)(special ? from[i] ^ ESCAPE_XOR : from[i]);
	}
	return i;
}

size_t gdb_frame(const struct gdb_reply *r, char frame[GDB_FRAME_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t sum = 0;

	for (size_t i = 0; i < r->bytes; i++)
		sum = (uint8_t)(sum + (uint8_t)r->text[i]);
	frame[0] = '$';
	memcpy(frame + 1, r->text, r->bytes);
	frame[r->bytes + 1] = '#';
	frame[r->bytes + 2] = digits[sum >> 4];
	frame[r->bytes + 3] = digits[sum & 0xf];
	return r->bytes + 4;
}
