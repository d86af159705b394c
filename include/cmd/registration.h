/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The run's entry among the VMs that run (control/registry.h), with its socket (control/server.h), from
 * the claim of its name to its exit status. A run that cannot have an entry goes on without.
 *
 * All functions: the main thread.
 */
#ifndef LKVM_CMD_REGISTRATION_H
#define LKVM_CMD_REGISTRATION_H

#include "cmd/options.h"
#include "control/dump.h"
#include "control/inspect.h"
#include "control/registry.h"
#include "control/snapshot.h"
#include "machine.h"

struct gdb;
struct server;
struct viewers;
struct exec;

struct registration {
	struct registry_entry entry;
	struct machine *machine;
	struct server *server; /* NULL: none */
	struct inspect inspect;
	struct dump dump;
	struct exec *exec;	 /* NULL: no command of ours runs in it */
	struct viewers *viewers; /* of its console; NULL: there can be none */
	struct gdb *gdb;	 /* NULL: it cannot be debugged */
	struct snapshot snapshot;
};

#define REGISTRATION_NONE \
	{ \
		.entry = REGISTRY_NO_ENTRY \
	}

/*
 * 0, or -errno after a message: another VM has the name that the user gave, or there can be no entry
 * for one that has to be found for @why, a word, or NULL.
 */
int registration_claim(struct registration *r, const char *name, const char *why);

/*
 * Before machine_separate(): makes the socket, and names the files in @config, which is
 * @machine's, for their removal. 0, or -errno: it goes on without, unless it has to be found.
 */
int registration_serve(struct registration *r, struct machine *machine,
		       struct machine_config *config, const struct command_options *command);

/* In the VM's process, before the sandbox, when @machine has been created. 0 or -errno. */
int registration_serve_dumps(struct registration *r, struct machine *machine);

/* At the same point, of one with config.gdb. 0, or -errno after a message. */
int registration_serve_gdb(struct registration *r);

/* In the VM's process, while the machine is there: nobody is served any more. */
void registration_stop_serving(struct registration *r);

/* Last of all (registry_leave()). */
void registration_end(struct registration *r, int status);

#endif
