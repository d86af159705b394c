/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The command line of `lkvm run`: parsed straight into what the machine is made of. Parsing opens
 * no file and touches no state of the process.
 *
 * All options are rows of one table. Help and completion are made from it; tests compare it with
 * the manual page and README.
 */
#ifndef LKVM_CMD_OPTIONS_H
#define LKVM_CMD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine.h"

#define OPTIONS_MAX_DIRS	15u
#define OPTIONS_MAX_TEXTS	(2 * BOARD_MAX_VIRTIO + CONSOLE_MAX_PORTS + OPTIONS_MAX_DIRS + 3)
#define OPTIONS_MAX_ENVIRONMENT 256u

/* A directory of this host and where it is in the guest, or the other way round. */
struct dir_option {
	const char *host, *guest;
};

/* What a container has instead of the options' own. All of it is lent. */
struct command_container {
	const char *const *environment; /* all of it */
	unsigned int nr_environment;
	const char *hostname; /* or NULL */
	const void *plan;     /* messages for the guest's first process (oci/plan.h) */
	size_t plan_bytes;
	unsigned int nr_spares; /* disks for others that join it, up to RUN_COMMAND_MAX_SPARES */
};

/* What is to be run in the guest, and with which files. */
struct command_options {
	bool given;		/* there was a "--" */
	char *const *arguments; /* behind it */
	unsigned int nr_arguments;
	const char *root; /* or NULL */
	unsigned int nr_dirs;
	struct dir_option dirs[OPTIONS_MAX_DIRS];
	struct dir_option out; /* host: NULL: none */
	enum command_owner {
		OWNER_DEFAULT,
		OWNER_KEEP,
		OWNER_ROOT,
	} owner;
	unsigned int nr_environment;
	const char *environment[OPTIONS_MAX_ENVIRONMENT];
	const char *directory, *user; /* or NULL */
	enum command_tty {
		TTY_AUTO,
		TTY_ON,
		TTY_OFF,
	} tty;
	const char *modules; /* a directory, "off", or NULL */
	bool oops_fails;
	const struct command_container *container; /* NULL: it is none */
};

struct run_options {
	struct machine_config machine; /* what options say about it; cmd/run.c adds the rest */
	struct command_options command;
	const char *name, *json, *dump_on_panic;
	const char *restore; /* a snapshot's directory, or NULL */
	const char *fixed;   /* the first option given that a restored machine cannot have */
	enum warm_mode {
		WARM_OFF,
		WARM_ON,
		WARM_STRICT,
	} warm;
	bool no_default_params, detach, die_with_parent, dry_run, quiet, verbose, help;

	/* What the configuration points into. */
	char *params; /* of all -p, joined by spaces; ours, or NULL */
	unsigned int nr_texts;
	char *texts[OPTIONS_MAX_TEXTS]; /* copies of values; ours */
	char net_names[BOARD_MAX_VIRTIO][8];
};

/* As without any option. */
void options_set_defaults(struct run_options *out);

/*
 * Fills @out from @argv. 0, or -errno after one message. What was parsed
 * before is in @out either way (--json, for one); end with options_fini().
 */
int options_parse(struct run_options *out, int argc, char **argv);
void options_fini(struct run_options *options);

struct value_error;

enum option_group {
	GROUP_BOOT,
	GROUP_COMMAND,
	GROUP_MACHINE,
	GROUP_RUN,
};

struct option_row {
	const char *name; /* without the dashes */
	char letter;	  /* or 0 */
	enum option_group group;
	const char *argument; /* NULL: none; "on|off": one of these words; FILE, DIR: a path */
	const char *help;     /* lines of at most 70 characters */
	/* Where it goes. */
	enum option_kind {
		KIND_FLAG,   /* no argument: a bool becomes true */
		KIND_FIRST,  /* a bool: whether it is the first of the argument's words */
		KIND_SECOND, /* ... the second */
		KIND_WORD,   /* an enum: which of the words */
		KIND_STRING, /* a const char *, as it is */
		KIND_VALUE,  /* set() checks and stores it; without an argument: NULL, or what
					 * follows a '=' */
	} kind;
	size_t offset; /* in struct run_options */
	int (*set)(struct run_options *o, const char *value, struct value_error *why);
};

/* All of them, in the order of help, groups together. */
const struct option_row *options_table(size_t *nr);

/* Devices that the options ask for, over the virtio transport. */
unsigned int options_nr_virtio(const struct run_options *options);

#endif
