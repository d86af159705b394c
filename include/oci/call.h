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
#include <stdint.h>
#include <sys/types.h>

#include "oci/config.h"
#include "oci/holder.h"
#include "oci/store.h"

struct call {
	const char *log;	/* --log, or NULL */
	const char *log_format; /* or NULL: text */
	const char *root_given; /* --root, or NULL */
	bool systemd;		/* --systemd-cgroup */
	char root[PATH_MAX];
	char *title; /* the process's arguments as they lie in memory */
	size_t title_bytes;
};

struct call_create {
	const char *bundle, *pid_file, *console_socket, *preserved; /* or NULL */
	const char *id;
};

/* Says it, and is 1. */
int call_fail(const struct call *call, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same with words that engines understand. */
int call_fail_by_words(const struct call *call, const char *text);

/* For --log, if there is one: what was passed over. */
void call_note(const struct call *call, const char *text);

struct call_exec {
	const char *process, *pid_file, *console_socket, *preserved, *cwd; /* or NULL */
	bool tty, detach;
	const char *id;
	char **arguments; /* of the command, without --process */
	unsigned int nr_arguments;
};

/* With its record. 0, or -errno after a message; store_close() in any case. */
int call_find(const struct call *call, struct store_container *c, struct store_record *r, const char *id,
	      bool lock);

/* "creating", "created", "running", "paused" or "stopped": as its holder says, and its pod's. */
const char *call_status_of(const struct store_container *c, const struct store_record *r);

/*
 * Asks its holder; @passed goes along (-1: nothing). What it answers, or -errno, of the holder or on the way: -ESRCH
 * if it is gone, -ETIMEDOUT after 10 s; if the VM is asked, 120.
 */
int call_ask(const struct store_container *c, enum holder_kind kind, uint32_t value, int passed);

/* HOLDER_JOIN, with both: the same. */
int call_join(const struct store_container *c, const int passed[2]);

/* Its processes, group and links of networks; all but what is written down. 0 or -errno; @force: of the group, too. */
int call_clear(const struct call *call, const struct store_container *c, const struct store_record *r, bool force);

/* The whole file at once; @path may be NULL. 0 or -errno. */
int call_write_pid(const char *path, pid_t pid);

/*
 * What is in @fd (-1: errno says why), or the bundle's config.json. 0: config_fini() is the caller's; -errno with
 * the reason in @error.
 */
int call_read_file(struct config *c, enum config_kind kind, int fd, struct config_error *error);
int call_read_config(struct config *c, const struct store_record *r, struct config_error *error);

/* The exit status. */
int call_ps(const struct call *call, const char *id, bool json);
int call_update(const struct call *call, const char *id, const char *resources);
int call_exec(const struct call *call, const struct call_exec *args);
int call_create(const struct call *call, const struct call_create *args);

#endif
