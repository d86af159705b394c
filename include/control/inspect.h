/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What `lkvm debug` asks a VM for, at the VM's end, apart from gdb and dumps:
 *
 *	{"v":1,"do":"regs","cpu":N}	{"v":1,"ok":true,"state":"running","numbers":TEXT}: as
 *					registers_list() has them, in hexadecimal with blanks
 *					between; its CPUs stand meanwhile
 *	{"v":1,"do":"nmi","cpu":N}	an NMI for that CPU; without "cpu" for each
 *	{"v":1,"do":"sysrq","key":TEXT}	one character, typed as a SysRq on the kernel's console
 *
 * All functions: the loop's thread.
 */
#ifndef LKVM_CONTROL_INSPECT_H
#define LKVM_CONTROL_INSPECT_H

#include <stdbool.h>

#include "machine.h"

struct json_object;
struct server;
struct server_connection;

struct inspect {
	struct machine *machine; /* lent, as the server */
	struct server *server;
	bool wanted[MACHINE_MAX_CPUS]; /* registers of these CPUs; the address is the request's tag */
};

/* server is to be set before the first request. */
void inspect_init(struct inspect *i, struct machine *machine);

void inspect_regs(struct inspect *i, struct server_connection *c, const struct json_object *request);
void inspect_nmi(struct inspect *i, struct server_connection *c, const struct json_object *request);
void inspect_sysrq(struct inspect *i, struct server_connection *c, const struct json_object *request);

#endif
