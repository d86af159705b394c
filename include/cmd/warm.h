/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `lkvm run --warm -- COMMAND`: a command in a guest whose start was saved; a container's VM likewise.
 *
 * A snapshot is taken of a guest whose first process is ready and has been told nothing yet: neither what to
 * run nor where its files are. It stands in the cache, by a name that is a sum over all that such a guest is made
 * of and of the host it was made on. A start that finds one there restores it instead of booting; one that
 * does not boots, and leaves one. Main thread.
 */
#ifndef LKVM_CMD_WARM_H
#define LKVM_CMD_WARM_H

#include <stdbool.h>

#include "cache.h"
#include "cmd/options.h"
#include "control/vmcore-saver.h"
#include "snapshot-file.h"

struct run_command;

#define WARM_NAME_CHARS 64u

struct warm {
	enum {
		WARM_COLD,
		WARM_MAKES,
		WARM_FOUND,
	} state;
	char name[WARM_NAME_CHARS];   /* of its entry in the cache */
	struct cache_identity kernel; /* that the name stands for */
	int folder;		      /* the cache, with WARM_FOUND; otherwise -1 */
	int remover;		      /* socket to the process that removes the entry; -1: there is none */
	struct sandbox *sandbox;      /* in that process */
	struct vmcore_saver saver;    /* of one that is made; its socket is -1: there is none, or not yet */
};

#define WARM_NOTHING \
	{ \
		.folder = -1, .remover = -1, .saver = VMCORE_SAVER_NONE \
	}

/*
 * Last of all, when the configuration is complete: looks for one. If it is there the machine's
 * configuration says so, with @header. 0, or -EAGAIN after a message: with --warm=strict there has to be one.
 */
int warm_prepare(struct warm *w, struct run_options *options, struct run_command *command,
		 struct snapshot_header *header);

/*
 * Before machine_separate(), with WARM_MAKES: the process that writes it. Without one it is not made. @kernel:
 * what is booted; since the name was made there may be another one at its path.
 */
void warm_start_saver(struct warm *w, const struct run_options *options, const struct cache_identity *kernel,
		      struct sandbox *sandbox);

/*
 * With WARM_FOUND, where there is no supervisor: behind its walls the VM's own process could not remove what it
 * cannot restore, so another one does it. After machine_separate().
 */
void warm_start_remover(struct warm *w, struct sandbox *sandbox);

/*
 * One could not be restored: it goes. By the remover if there is one, and otherwise here, by calls that a
 * supervisor may make. False: it is still there.
 */
bool warm_remove(struct warm *w);

/* Closes what is open. May be done again. */
void warm_fini(struct warm *w);

#endif
