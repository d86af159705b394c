/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `lkvm run --restore`: the machine's configuration from its snapshot. Main thread.
 */
#ifndef LKVM_CMD_RESTORE_H
#define LKVM_CMD_RESTORE_H

#include "cmd/options.h"

struct run_command;
struct snapshot_header;

/*
 * Opens the snapshot and makes the machine of @options what it says; @header is lent to it. If a command runs in it,
 * @command is what goes on. 0 or -errno, after a message: also if the command line names other disks, directories,
 * networks or ports than it had.
 */
int restore_prepare(struct run_options *options, struct run_command *command, struct snapshot_header *header);

/* The file has been read. */
void restore_close(struct run_options *options);

#endif
