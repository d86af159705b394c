// SPDX-License-Identifier: GPL-2.0-only
/*
 * Text in UTF-8 (utf8.h). Pure.
 *
 * Source: RFC 3629.
 */
#include <string.h>

#include "utf8.h"
#include "util.h"

size_t utf8_length(const unsigned char *s)
{
	size_t n = s[0] < 0x80		       ? 1 :
		   s[0] >= 0xc2 && s[0] < 0xe0 ? 2 :
		   (s[0] & 0xf0) == 0xe0       ? 3 :
		   s[0] >= 0xf0 && s[0] < 0xf5 ? 4 :
						 0;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0; /* overlong, a surrogate, or beyond U+10FFFF */
	return n;
}

bool utf8_is_valid(const char *text, size_t bytes)
{
	for (size_t at = 0, n; at < bytes; at += n) {
		unsigned char s[5] = "";

		memcpy(s, text + at, min_u64(bytes - at, 4));
		n = utf8_length(s);
		if (!n)
			return false;
	}
	return true;
}
