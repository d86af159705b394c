/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a run ended: exit status, the word for it, and --json.
 */
#ifndef LKVM_CMD_REPORT_H
#define LKVM_CMD_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "machine.h"
#include "sandbox/supervisor.h"

struct outcome {
	const char *word; /* "poweroff", "reset", "panic" ... */
	int status;	  /* exit status */
	const char *lost; /* why the guest was lost, in words, or NULL */
};

/* Pure. "Lost" is the preset result; only an orderly end changes it. */
struct outcome outcome_of(const struct machine_result *result);

/* A success in whose course the guest's kernel reported trouble is none. */
struct outcome outcome_with_oops(struct outcome outcome, const char *oops);

struct report {
	struct outcome outcome;
	char oops[OOPS_TEXT_BYTES]; /* the first report of trouble on the guest's console, or "" */
	bool bad_snapshot;	    /* of a warm start: what it was to go on from is to go */
	const char *name;	    /* --name, or NULL */
	const char *kernel;	    /* or NULL if it was never found */
	unsigned int cpus;
	uint64_t ram_bytes;
	/* Since the start of lkvm; -1: never. */
	int64_t boot_ns;   /* first guest instruction */
	int64_t kernel_ns; /* kernel in memory */
	int64_t awake_ns;  /* first access of the guest's to a device */
	int64_t init_ns;   /* ttyS0 opened: init is about to run */
	int64_t wall_ns;   /* all of it */
};

/*
 * Writes it to @fd, whole or (but for a pipe that breaks) not at all. 0 or -errno; -EAGAIN: nobody
 * has read that pipe for a second.
 */
int report_save(int fd, const struct report *report);

/* The same text, for the caller to free; NULL without memory. */
char *report_text(const struct report *report, size_t *bytes);

/* From the VM's process to its supervisor. False if there is none. */
bool report_send(const struct report *report, struct machine *machine);

/* In the supervisor: what was sent if that agrees with how the VM ended, else what is known. */
void report_receive(struct report *report, const struct supervisor_end *end);

/* One JSON object and a newline. */
void report_write(FILE *out, const struct report *report);

#endif
