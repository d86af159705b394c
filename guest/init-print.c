// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's first process: the C library's snprintf(3) and its like, as far as this program needs
 * them, in their place. Those of the library know floating-point numbers, wide characters and
 * streams: a fifth of the size that this program may have.
 *
 * Conversions are %s, %d, %u, %x and %%, with l, ll or z, and a width that zeros fill. Others, which
 * the compiler lets pass, come out as they stand.
 *
 * Source: printf(3).
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_DIGITS 20	 /* of a 64-bit number */
#define LINE_BYTES 2048u /* what dprintf(3) writes at most */

struct print {
	char *text;
	size_t bytes; /* of text, with its NUL */
	size_t at;    /* how long it would be so far */
};

static void print_char(struct print *p, char c)
{
	if (p->at + 1 < p->bytes)
		p->text[p->at] = c;
	p->at++;
}

static void print_string(struct print *p, const char *s)
{
	while (*s)
		print_char(p, *s++);
}

static void print_number(struct print *p, uint64_t n, unsigned int base, unsigned int width)
{
	char digits[MAX_DIGITS];
	unsigned int nr = 0;

	do
		digits[nr++] = "0123456789abcdef"[n % base];
	while (n /= base);
	for (; width > nr; width--)
		print_char(p, '0');
	while (nr)
		print_char(p, digits[--nr]);
}

static uint64_t next_number(va_list *ap, bool is_long, bool is_signed)
{
	if (is_long)
		return va_arg(*ap, uint64_t);
	return is_signed ? (uint64_t)(int64_t)va_arg(*ap, int) : va_arg(*ap, unsigned int);
}

/* What stands behind a '%'. The last character of it. */
static const char *print_conversion(struct print *p, const char *fmt, va_list *ap)
{
	unsigned int width = 0;
	bool is_long = false;
	uint64_t n;

	for (; *fmt >= '0' && *fmt <= '9'; fmt++)
		width = 10 * width + (unsigned int)(*fmt - '0');
	for (; *fmt == 'l' || *fmt == 'z'; fmt++)
		is_long = true;
	switch (*fmt) {
	case 's':
		print_string(p, va_arg(*ap, const char *));
		break;
	case 'd':
		n = next_number(ap, is_long, true);
		if ((int64_t)n < 0)
			print_char(p, '-');
		print_number(p, (int64_t)n < 0 ? -n : n, 10, width);
		break;
	case 'u':
	case 'x':
		print_number(p, next_number(ap, is_long, false), *fmt == 'x' ? 16 : 10, width);
		break;
	case '\0':
		return fmt - 1;
	default:
		print_char(p, *fmt);
	}
	return fmt;
}

int vsnprintf(char *text, size_t bytes, const char *fmt, va_list ap)
{
	struct print p = { .text = text, .bytes = bytes };
	va_list args;

	va_copy(args, ap);
	for (; *fmt; fmt++)
		if (*fmt == '%')
			fmt = print_conversion(&p, fmt + 1, &args);
		else
			print_char(&p, *fmt);
	va_end(args);
	if (bytes)
		text[p.at < bytes ? p.at : bytes - 1] = '\0';
	return (int)p.at;
}

int snprintf(char *text, size_t bytes, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, bytes, fmt, ap);
	va_end(ap);
	return n;
}

int dprintf(int fd, const char *fmt, ...)
{
	char line[LINE_BYTES];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(line))
		n = (int)sizeof(line) - 1;
	return write(fd, line, (size_t)n) == n ? n : -1;
}
