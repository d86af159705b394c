/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The little of JSON (RFC 8259) that VMs and their clients exchange: objects of scalars, a line each.
 * What is read comes from another process and is hostile. Any thread; nothing allocates.
 */
#ifndef LKVM_CONTROL_JSON_H
#define LKVM_CONTROL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_MAX_MEMBERS 32u

enum json_type {
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_COUNT, /* a whole number from 0 to UINT64_MAX: number */
	JSON_OTHER_NUMBER,
	JSON_STRING, /* text, UTF-8 without NUL */
};

struct json_member {
	const char *name;
	enum json_type type;
	const char *text;
	uint64_t number;
};

struct json_object {
	unsigned int nr;
	struct json_member members[JSON_MAX_MEMBERS];
};

/*
 * Reads one object from the @bytes of @text, which are changed: strings are decoded in place, and @o
 * points into them. 0; -EINVAL if it is anything else (an object with objects or arrays in it, a
 * name twice, text behind it); -E2BIG if it has more than JSON_MAX_MEMBERS.
 */
int json_parse(struct json_object *o, char *text, size_t bytes);

/* The text of member @name, or NULL if there is no such string. */
const char *json_get_string(const struct json_object *o, const char *name);

/* False if there is no such whole number; *number is unchanged then. */
bool json_get_count(const struct json_object *o, const char *name, uint64_t *number);

/* The member is there and true. */
bool json_is_true(const struct json_object *o, const char *name);

/* @text as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void json_string(FILE *out, const char *text);

#endif
