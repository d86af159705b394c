/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `lkvm run -- COMMAND`: what options, environment and kernel make of the machine's configuration.
 * Main thread, before the machine is opened.
 */
#ifndef LKVM_CMD_RUN_COMMAND_H
#define LKVM_CMD_RUN_COMMAND_H

#include <limits.h>
#include <stdbool.h>

#include "cmd/options.h"
#include "guest/command.h"
#include "guest/kernel-release.h"
#include "guest/modules.h"

struct snapshot_machine;

#define RUN_COMMAND_MAX_SPARES	  16u
#define RUN_COMMAND_MAX_VARIABLES (OPTIONS_MAX_ENVIRONMENT + 4)

/* What the configuration points into. */
struct run_command {
	struct command_config config;
	unsigned int nr_variables;
	char *variables[RUN_COMMAND_MAX_VARIABLES]; /* ours */
	char current[PATH_MAX];			    /* working directory */
	struct kernel_release release;
	char announcement[256];
	bool has_release;	 /* the kernel says what it is */
	struct modules *modules; /* NULL: not yet */
	char serials[OPTIONS_MAX_DIRS + 1][16], spares[RUN_COMMAND_MAX_SPARES][16];
	char *dir_paths[OPTIONS_MAX_DIRS]; /* of directories in the guest; ours, or NULL */
	int initramfs_fd;		   /* -1: none */
	int archive_fd;			   /* --root FILE; -1: none */
	int in_fd;			   /* stdin, if it is not ours; -1: it is */
};

/*
 * Is there a command, or nothing else to boot from than a shell in this host's files? Kernels that
 * are told by a parameter what their root is are left alone.
 */
bool run_command_is_wanted(const struct run_options *o);

/*
 * Completes the configuration: drivers, disks of directories, what to say to the guest. 0 or -errno
 * after a message; run_command_fini() in any case, after the machine's end.
 */
int run_command_prepare(struct run_command *c, struct run_options *o);

/*
 * The same of one that goes on from a snapshot of @s: its directories, where its results go, and its streams, or its
 * terminal. What it runs is in the guest.
 */
int run_command_restore(struct run_command *c, struct run_options *o, const struct snapshot_machine *s);
void run_command_fini(struct run_command *c);

/* What the command could not be started for, in a message of its own. */
void run_command_report(const struct run_command *c, const struct command_result *result);

#endif
