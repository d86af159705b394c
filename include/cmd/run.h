/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A run that no command line asks for: a container's VM (oci/). Main thread.
 */
#ifndef LKVM_CMD_RUN_H
#define LKVM_CMD_RUN_H

#include "cmd/options.h"

struct run_client {
	int status_fd; /* one byte, the exit status, is written to it at the end; then it is closed */
	/* All of the host's that the VM needs is open, but nothing of it runs: 0 or -errno after a message. */
	int (*opened)(void *arg);
	void *arg;
};

/*
 * The whole life of a VM, in this process and others that it makes. Its exit status. @options is used
 * up; descriptors that it does not name are the caller's to have closed.
 */
int run_for_container(struct run_options *options, const struct run_client *client);

#endif
