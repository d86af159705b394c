/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A container that joins a pod: the process on the host that is for it what a VM is for others. It has its
 * streams and its holder's gate, is a client of the sandbox's VM (control/exec.h), and has the process that reads the
 * container's files for that (disk/files.h), which ends with it. When it is gone the VM ends the container.
 */
#ifndef LKVM_OCI_MEMBER_H
#define LKVM_OCI_MEMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cmd/options.h"

struct store_container;

/* All of it is lent. */
struct member_config {
	const char *id;
	const struct store_container *sandbox;
	uint32_t flags;	  /* PROTOCOL_IN_... */
	const char *root; /* directories of the host */
	unsigned int nr_dirs;
	const struct dir_option *dirs;
	const void *more, *process; /* for the guest (oci/plan.h) */
	size_t more_bytes, process_bytes;
	bool has_terminal;
	int terminal;	  /* the other side; -1: none, or the streams are one */
	int gate, status; /* the VM's ends of what its holder has */
	int messages;	  /* where they go until it is ready */
	int procs;	  /* of its group; -1: none */
	int holder;	  /* pidfd */
};

/* Its number, or -errno. It is the first process of a PID namespace of its own. */
pid_t member_start(const struct member_config *config);

#endif
