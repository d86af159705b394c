/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A control group that systemd makes, as engines with --systemd-cgroup want it: a scope, named by the config as
 * "SLICE:PREFIX:NAME". It is asked for by busctl(1), which whoever has systemd has. Its limits are told to systemd,
 * too, which would otherwise undo them when it is reloaded. It goes when the last process in it has gone.
 *
 * Main thread.
 */
#ifndef LKVM_OCI_SCOPE_H
#define LKVM_OCI_SCOPE_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "oci/config.h"

#define SCOPE_MAX_NUMBER    1023u /* of a CPU, or of a node */
#define SCOPE_MAX_ARGUMENTS 352u  /* two sets of those, a byte an argument, and the rest */

/* What holds it while nothing else is in it. */
struct scope {
	pid_t keeper; /* 0: none */
	int pipe;     /* the keeper ends with it; -1: not open */
};

#define SCOPE_NONE \
	{ \
		.pipe = -1 \
	}

/* A command line for busctl, with pointers into itself: it is not to be copied. */
struct scope_command {
	const char *argv[SCOPE_MAX_ARGUMENTS + 1];
	unsigned int nr, nr_properties;
	char number[12]; /* of properties */
	char text[2048];
	size_t used;
	uint64_t patience_ns;
};

/* The unit's @name and its @slice, of SCOPE_MAX_NAME bytes each. 0 or -EINVAL with the reason in @error. */
#define SCOPE_MAX_NAME 256u
int scope_find_name(const char *cgroups_path, char *name, char *slice, struct config_error *error);

/* What asks systemd for it, with process @pid in it; and what changes its limits. */
void scope_write_start(struct scope_command *s, const char *name, const char *slice, const struct config_resources *r,
		       pid_t pid);
void scope_write_update(struct scope_command *s, const char *name, const struct config_resources *r);

/* Up to s->patience_ns. 0 or -errno with the reason in @error, about @name. */
int scope_ask(const struct scope_command *s, const char *name, struct config_error *error);

/* Systemd could be told these sets of CPUs and nodes. 0 or -EINVAL with the reason in @error. */
int scope_check_sets(const struct config_resources *r, struct config_error *error);

/*
 * Makes it; @place is its path below the mount of cgroups then. 0 or -errno with the reason in @error, after 20
 * seconds at most. scope_release() in any case.
 */
int scope_make(struct scope *s, const struct config *c, char place[PATH_MAX], struct config_error *error);

/* When others are in it. */
void scope_release(struct scope *s);

/* Until systemd has removed the one at @path, which is empty: 5 seconds. 0 or -EBUSY. */
int scope_wait_gone(const char *path);

/* New limits of CPUs for the scope at @path. 0 or -errno with the reason in @error. */
int scope_update(const char *path, const struct config_resources *r, struct config_error *error);

#endif
