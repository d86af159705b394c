/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One call of lkvm-oci: what is before the command, and how it fails.
 *
 * podman reads the text on stderr, and takes some words in it for "no such program" and "not
 * allowed"; containerd reads the last line of --log. Both get the same text, in which those words
 * are there only if they are meant.
 */
#ifndef LKVM_OCI_CALL_H
#define LKVM_OCI_CALL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct call {
	const char *log;		/* --log, or NULL */
	const char *log_format;		/* or NULL: text */
	const char *root_given;		/* --root, or NULL */
	bool systemd;			/* --systemd-cgroup */
	char root[PATH_MAX];
	char *title;			/* the process's arguments as they lie in memory */
	size_t title_bytes;
};

struct call_create {
	const char *bundle, *pid_file, *console_socket, *preserved;	/* or NULL */
	const char *id;
};

/* Says it, and is 1. */
int call_fail(const struct call *call, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same with words that engines understand. */
int call_fail_by_words(const struct call *call, const char *text);

/* The exit status. */
int call_create(const struct call *call, const struct call_create *args);

#endif
