/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reports of a guest's kernel that something is wrong, of which it does not die: an oops, a warning,
 * a lockup, a hung task, KASAN and lockdep. Looked for in the lines of its console.
 *
 * One thread at a time; a line is kept as far as OOPS_LINE_BYTES, and the first that is a report
 * for good.
 */
#ifndef LKVM_X86_OOPS_WATCH_H
#define LKVM_X86_OOPS_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#define OOPS_LINE_BYTES 256u
#define OOPS_TEXT_BYTES 80u /* of the first report, with its NUL: printable ASCII */

struct oops_watch {
	size_t bytes; /* of the line that is coming */
	char line[OOPS_LINE_BYTES];
	char first[OOPS_TEXT_BYTES]; /* empty: there was none */
};

/* Looks at output of the console. */
void oops_watch_put(struct oops_watch *watch, const char *data, size_t bytes);

/* Whether @line (of @bytes, without printk's stamp) begins a report. Pure. */
bool oops_is_report(const char *line, size_t bytes);

#endif
