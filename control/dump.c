// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dumps of a machine (control/dump.h).
 *
 * CPUs are halted and let go; whether the machine is paused, and what its disks do, is not touched by it. A client
 * that goes away ends its dump, and nobody else waits for it.
 */
#include <errno.h>
#include <string.h>

#include "control/dump.h"
#include "control/server.h"
#include "control/vmcore-saver.h"
#include "control/vmcore.h"
#include "event.h"
#include "kvm-cpu.h"
#include "log.h"
#include "machine.h"
#include "util.h"
#include "x86/registers.h"

static int dump_read_cpu(void *arg, unsigned int index, struct registers *cpu)
{
	const struct board *board = arg;

	return registers_read(cpu, board->vcpus[index]);
}

static void on_dumped(void *arg, int rc)
{
	const struct dump *d = arg;

	log_verbose("control: dump: %s", rc ? strerror(-rc) : "sent");
	machine_go_on(d->machine, MACHINE_DUMP);
}

static void dump_on_halt(void *arg)
{
	const struct dump *d = arg;

	vmcore_go(d->vmcore);
}

void dump_request(struct dump *d, struct server_connection *c, const struct json_object *request)
{
	struct vmcore_client client = { .done = on_dumped, .arg = d };

	(void)request;
	if (!d->vmcore) {
		server_refuse(c, "this VM cannot be dumped");
	} else if (vmcore_is_busy(d->vmcore)) {
		server_refuse(c, "another dump of it is under way");
	} else if (!strcmp(machine_state(d->machine), "ending")) {
		server_refuse(c, "it is ending");
	} else {
		client.socket = server_take_socket(c);
		if (client.socket < 0)
			return;
		vmcore_start(d->vmcore, &client);
		if (vmcore_is_busy(d->vmcore))
			machine_halt(d->machine, MACHINE_DUMP);
	}
}

/* ---- of a machine that has ended ---- */

static void on_saved(void *arg, int rc)
{
	struct dump *d = arg;

	d->rc = rc;
	event_stop(machine_loop(d->machine));
}

static bool is_too_late(void *arg)
{
	const struct dump *d = arg;

	return machine_is_unwanted(d->machine) || (d->until_ns && now_ns() >= d->until_ns);
}

/* There is one at a time: a client's that is under way ends. */
int dump_save(struct dump *d, struct vmcore_saver *saver, uint64_t until_ns)
{
	const struct vmcore_client client = {
		.socket = saver->socket,
		.answers = true,
		.done = on_saved,
		.is_unwanted = is_too_late,
		.arg = d,
	};

	d->until_ns = until_ns;
	if (vmcore_is_busy(d->vmcore))
		vmcore_drop(d->vmcore);
	saver->socket = -1;
	vmcore_start(d->vmcore, &client);
	if (vmcore_is_busy(d->vmcore)) {
		vmcore_go(d->vmcore);
		machine_linger(d->machine);
	}
	return d->rc;
}

/* ---- all of them ---- */

int dump_init(struct dump *d, struct machine *machine)
{
	struct board *board = machine_board(machine);
	const struct vmcore_source source = {
		.loop = machine_loop(machine),
		.mem = board->host->mem,
		.nr_cpus = board->nr_vcpus,
		.read_cpu = dump_read_cpu,
		.arg = board,
		.patience_ns = VMCORE_PATIENCE_NS,
	};

	d->machine = machine;
	machine_on_halt(machine, MACHINE_DUMP, dump_on_halt, d);
	return vmcore_create(&d->vmcore, &source);
}

void dump_fini(struct dump *d)
{
	vmcore_destroy(d->vmcore);
	d->vmcore = NULL;
}
