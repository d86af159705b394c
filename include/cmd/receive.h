/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Takes a stream of records from a VM (control/vmcore-image.h) into a file: for `lkvm debug --dump` and
 * `lkvm snapshot`. What comes is a VM's, and checked where it is taken (control/vmcore-file.c).
 *
 * Signals that end us are blocked between receive_begin() and receive_end(), and looked for between two
 * waits, so that a file that has a hidden name does not keep it. Main thread.
 */
#ifndef LKVM_CMD_RECEIVE_H
#define LKVM_CMD_RECEIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "control/client.h"
#include "control/registry.h"
#include "control/vmcore-file.h"

struct receive {
	const char *what; /* "dump", for messages */
	const struct registry_vm *vm;
	const char *path; /* of what is written, for messages */
	struct vmcore_file *file;
	struct client client;
	int socket; /* -1: none */
	bool shows; /* how far it is, on a terminal */
	bool shown;
	uint64_t shown_ns;
};

/* All is lent; @file has to be open by receive_file(). */
void receive_begin(struct receive *r, const char *what, const struct registry_vm *vm,
		   const char *path, struct vmcore_file *file);
void receive_end(struct receive *r);

/*
 * Sends @request and takes all that comes. 0: the file is complete; -EINTR: we are to end; another -errno,
 * after a message. The connection is there until receive_end().
 */
int receive_file(struct receive *r, const char *request);

#endif
