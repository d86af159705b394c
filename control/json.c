// SPDX-License-Identifier: GPL-2.0-only
/*
 * JSON between a VM and its clients (control/json.h). Pure.
 *
 * The reader takes one character after the other and never looks back. What a string decodes to is
 * never longer than what it was, so it takes its place, with a NUL where the closing quote was or
 * before.
 *
 * Source: RFC 8259.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "control/json.h"
#include "utf8.h"
#include "util.h"

struct reader {
	char *next, *end;
};

void json_string(FILE *out, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	fputc('"', out);
	while (*s) {
		size_t n = utf8_length(s);

		if (!n)
			fputs("\\ufffd", out);
		else if (*s == '"' || *s == '\\')
			fprintf(out, "\\%c", *s);
		else if (*s < 0x20 || *s == 0x7f)
			fprintf(out, "\\u%04x", *s);
		else
			fwrite(s, 1, n, out);
		s += n ? n : 1;
	}
	fputc('"', out);
}

/* ---- reading ---- */

/* The next character, or NUL at the end. A NUL in the text is no character that JSON has. */
static char reader_peek(const struct reader *r)
{
	return r->next < r->end ? *r->next : '\0';
}

static bool reader_take(struct reader *r, char c)
{
	if (reader_peek(r) != c || r->next >= r->end)
		return false;
	r->next++;
	return true;
}

static void reader_skip_blanks(struct reader *r)
{
	while (r->next < r->end && strchr(" \t\r\n", *r->next) && *r->next)
		r->next++;
}

static bool reader_take_word(struct reader *r, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(r->end - r->next) < len || memcmp(r->next, word, len))
		return false;
	r->next += len;
	return true;
}

/* Four hexadecimal digits. */
static bool read_unit(struct reader *r, uint32_t *unit)
{
	*unit = 0;
	for (unsigned int i = 0; i < 4; i++) {
		char c = reader_peek(r);

		if (!isxdigit((unsigned char)c))
			return false;
		*unit = *unit << 4 | (uint32_t)(isdigit((unsigned char)c) ? c - '0' : (c | 32) - 'a' + 10);
		r->next++;
	}
	return true;
}

/* Behind "\u": one unit of UTF-16, or two that belong together. NUL is none. */
static bool read_code_point(struct reader *r, uint32_t *code)
{
	uint32_t low;

	if (!read_unit(r, code) || !*code || (*code & 0xfc00) == 0xdc00)
		return false;
	if ((*code & 0xfc00) != 0xd800)
		return true;
	if (!reader_take(r, '\\') || !reader_take(r, 'u') || !read_unit(r, &low) ||
	    (low & 0xfc00) != 0xdc00)
		return false;
	*code = 0x10000 + ((*code & 0x3ff) << 10) + (low & 0x3ff);
	return true;
}

/* As UTF-8 (RFC 3629). Returns behind it. */
static char *put_code_point(char *out, uint32_t code)
{
	unsigned int more = code < 0x80	   ? 0 :
			    code < 0x800   ? 1 :
			    code < 0x10000 ? 2 :
					     3;
	static const uint8_t first[] = { 0, 0xc0, 0xe0, 0xf0 };

	*out++ = (char)(first[more] | code >> 6 * more);
	while (more--)
		*out++ = (char)(0x80 | (code >> 6 * more & 0x3f));
	return out;
}

/* Behind a backslash. Returns behind what it stands for, or NULL. */
static char *read_escape(struct reader *r, char *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	char c = reader_peek(r);
	const char *which = c ? strchr(from, c) : NULL;
	uint32_t code;

	if (which) {
		*out++ = to[which - from];
		r->next++;
		return out;
	}
	return reader_take(r, 'u') && read_code_point(r, &code) ? put_code_point(out, code) : NULL;
}

/* The whole of a UTF-8 sequence, which lies inside the text. 0: it is none. */
static size_t sequence_length(const struct reader *r)
{
	unsigned char four[4] = { 0 };

	memcpy(four, r->next, min_u64((size_t)(r->end - r->next), sizeof(four)));
	return four[0] < 0x20 ? 0 : utf8_length(four);
}

static bool read_string(struct reader *r, const char **text)
{
	char *out = r->next + 1;

	if (!reader_take(r, '"'))
		return false;
	*text = out;
	while (reader_peek(r) != '"') {
		size_t n = r->next < r->end ? sequence_length(r) : 0;

		if (!n)
			return false;
		if (reader_take(r, '\\')) {
			out = read_escape(r, out);
			if (!out)
				return false;
			continue;
		}
		memmove(out, r->next, n);
		out += n;
		r->next += n;
	}
	r->next++;
	*out = '\0'; /* the closing quote's place, or one before it */
	return true;
}

static bool skip_digits(struct reader *r)
{
	if (!isdigit((unsigned char)reader_peek(r)))
		return false;
	while (isdigit((unsigned char)reader_peek(r)))
		r->next++;
	return true;
}

/* A number as such is read to its end; whether it is a count decides what it is good for. */
static bool read_number(struct reader *r, struct json_member *m)
{
	bool count = !reader_take(r, '-');
	const char *start = r->next;

	if (!skip_digits(r) || (*start == '0' && r->next - start > 1))
		return false;
	m->number = 0;
	for (const char *p = start; p < r->next && count; p++)
		count = mul_u64(m->number, 10, &m->number) &&
			add_u64(m->number, (uint64_t)(*p - '0'), &m->number);
	if (reader_take(r, '.')) {
		count = false;
		if (!skip_digits(r))
			return false;
	}
	if (reader_take(r, 'e') || reader_take(r, 'E')) {
		count = false;
		if (!reader_take(r, '+'))
			reader_take(r, '-');
		if (!skip_digits(r))
			return false;
	}
	m->type = count ? JSON_COUNT : JSON_OTHER_NUMBER;
	m->number = count ? m->number : 0;
	return true;
}

static bool read_value(struct reader *r, struct json_member *m)
{
	static const char *const words[] = {
		[JSON_NULL] = "null",
		[JSON_FALSE] = "false",
		[JSON_TRUE] = "true",
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		m->type = (enum json_type)i;
		if (reader_take_word(r, words[i]))
			return true;
	}
	m->type = JSON_STRING;
	return reader_peek(r) == '"' ? read_string(r, &m->text) : read_number(r, m);
}

static const struct json_member *find_member(const struct json_object *o, const char *name)
{
	for (unsigned int i = 0; i < o->nr; i++)
		if (!strcmp(o->members[i].name, name))
			return &o->members[i];
	return NULL;
}

/* "name": value */
static int read_member(struct reader *r, struct json_object *o)
{
	struct json_member m = { 0 };

	if (o->nr == JSON_MAX_MEMBERS)
		return -E2BIG;
	reader_skip_blanks(r);
	if (!read_string(r, &m.name))
		return -EINVAL;
	reader_skip_blanks(r);
	if (!reader_take(r, ':') || find_member(o, m.name))
		return -EINVAL;
	reader_skip_blanks(r);
	if (!read_value(r, &m))
		return -EINVAL;
	reader_skip_blanks(r);
	o->members[o->nr++] = m;
	return 0;
}

int json_parse(struct json_object *o, char *text, size_t bytes)
{
	struct reader r = { text, text + bytes };
	int rc;

	o->nr = 0;
	reader_skip_blanks(&r);
	if (!reader_take(&r, '{'))
		return -EINVAL;
	reader_skip_blanks(&r);
	if (reader_peek(&r) != '}') {
		do {
			rc = read_member(&r, o);
			if (rc)
				return rc;
		} while (reader_take(&r, ','));
	}
	if (!reader_take(&r, '}'))
		return -EINVAL;
	reader_skip_blanks(&r);
	return r.next == r.end ? 0 : -EINVAL;
}

const char *json_get_string(const struct json_object *o, const char *name)
{
	const struct json_member *m = find_member(o, name);

	return m && m->type == JSON_STRING ? m->text : NULL;
}

bool json_get_count(const struct json_object *o, const char *name, uint64_t *number)
{
	const struct json_member *m = find_member(o, name);

	if (!m || m->type != JSON_COUNT)
		return false;
	*number = m->number;
	return true;
}

bool json_is_true(const struct json_object *o, const char *name)
{
	const struct json_member *m = find_member(o, name);

	return m && m->type == JSON_TRUE;
}
