/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Dumps of a running machine, and of one that was lost: who asks for them, and what becomes of the machine.
 *
 *	{"v":1,"do":"dump"}	{"v":1,"ok":true}, and the connection is a stream of records
 *				(control/vmcore-image.h) from then on; the CPUs stand meanwhile
 *
 * All functions: the main thread.
 */
#ifndef LKVM_CONTROL_DUMP_H
#define LKVM_CONTROL_DUMP_H

#include <stdbool.h>
#include <stdint.h>

struct json_object;
struct machine;
struct server_connection;
struct vmcore;
struct vmcore_saver;

struct dump {
	struct machine *machine; /* lent */
	struct vmcore *vmcore;	 /* NULL: there can be none */
	uint64_t until_ns;	 /* for dump_save() */
	int rc;
};

/* Of a machine that has been created; in its process, before the sandbox. 0 or -errno. */
int dump_init(struct dump *d, struct machine *machine);

void dump_request(struct dump *d, struct server_connection *c, const struct json_object *request);

/*
 * After machine_run(): has @saver write one, and waits for it, until @until_ns (of now_ns(); 0: as long as it
 * goes on) or a signal. 0 or -errno; -ECANCELED by these two.
 */
int dump_save(struct dump *d, struct vmcore_saver *saver, uint64_t until_ns);

/* Before the machine is destroyed. */
void dump_fini(struct dump *d);

#endif
