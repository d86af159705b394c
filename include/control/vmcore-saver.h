/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The process beside the VM that writes the file of --dump-on-panic: it has a hidden file beside the one that is named,
 * takes a vmcore if one comes (control/vmcore.h), and gives the file its name when it is complete.
 * Otherwise, whatever ends the VM, the hidden file is removed.
 *
 * All functions: the main thread.
 */
#ifndef LKVM_CONTROL_VMCORE_SAVER_H
#define LKVM_CONTROL_VMCORE_SAVER_H

#include "control/vmcore-file.h"

struct sandbox;

struct vmcore_saver {
	int socket; /* for messages, to the process; -1: there is none */
	/* In the process: */
	struct sandbox *sandbox;
	struct vmcore_file file;
};

#define VMCORE_SAVER_NONE \
	{ \
		.socket = -1 \
	}

/* Before machine_separate(), behind what @sandbox (lent) asks for. 0, or -errno after a message. */
int vmcore_saver_start(struct vmcore_saver *s, const char *path, uint64_t ram_bytes, struct sandbox *sandbox);

/*
 * The same with s->file, which is open with a hidden name and is what @name, the process, is for: a snapshot's,
 * for one.
 */
int vmcore_saver_begin(struct vmcore_saver *s, const char *name, struct sandbox *sandbox);

/* Waits for it, up to 3 s, if there is one. */
void vmcore_saver_stop(struct vmcore_saver *s);

#endif
