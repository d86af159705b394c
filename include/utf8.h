/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Text in UTF-8 (RFC 3629). Any thread; nothing allocates.
 */
#ifndef LKVM_UTF8_H
#define LKVM_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the sequence at @s, which a NUL ends, or 0 if it is none. */
size_t utf8_length(const unsigned char *s);

/* The @bytes are sequences of UTF-8, whole ones. NULs may be among them. */
bool utf8_is_valid(const char *text, size_t bytes);

#endif
