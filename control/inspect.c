// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looking into a VM (control/inspect.h).
 *
 * Registers are asked for while the CPUs stand, which they do after the request was taken, and then for
 * all who wait. An NMI is injected by the CPU's own thread, since KVM would have another one wait for
 * it; to a paused machine it comes when that goes on.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/inspect.h"
#include "control/json.h"
#include "control/server.h"
#include "kvm-cpu.h"
#include "util.h"
#include "x86/registers.h"

#define NO_SUCH_CPU "it has no such CPU"

static unsigned int nr_cpus(const struct inspect *i)
{
	return machine_board(i->machine)->nr_vcpus;
}

/* ---- registers ---- */

static void tell_registers(struct inspect *i, unsigned int cpu)
{
	struct registers r;
	uint64_t numbers[REGISTERS_NUMBERS];
	char text[REGISTERS_NUMBERS * 17 + 1];
	size_t used = 0;

	if (registers_read(&r, machine_board(i->machine)->vcpus[cpu])) {
		server_finish(i->server, &i->wanted[cpu], "KVM does not tell");
		return;
	}
	registers_list(&r, numbers);
	for (unsigned int n = 0; n < REGISTERS_NUMBERS; n++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%llx", n ? " " : "",
					 (unsigned long long)numbers[n]);
	server_tell(i->server, &i->wanted[cpu], ",\"state\":\"%s\",\"numbers\":\"%s\"",
		    registers_word(&r), text);
	server_finish(i->server, &i->wanted[cpu], NULL);
}

static void inspect_halted(void *arg)
{
	struct inspect *i = arg;

	/* First, since who is answered may have asked again already. */
	machine_go_on(i->machine, MACHINE_LOOK);
	for (unsigned int cpu = 0; cpu < nr_cpus(i); cpu++) {
		if (!i->wanted[cpu])
			continue;
		i->wanted[cpu] = false;
		tell_registers(i, cpu);
	}
}

/* A client that goes away leaves nothing behind: the CPUs go on when they have stood. */
void inspect_regs(struct inspect *i, struct server_connection *c, const struct json_object *request)
{
	uint64_t cpu;

	if (!json_get_count(request, "cpu", &cpu) || cpu >= nr_cpus(i)) {
		server_refuse(c, NO_SUCH_CPU);
		return;
	}
	if (!strcmp(machine_state(i->machine), "ending")) {
		server_refuse(c, "it is ending");
		return;
	}
	i->wanted[cpu] = true;
	server_defer(c, &i->wanted[cpu], NULL, NULL);
	machine_halt(i->machine, MACHINE_LOOK);
}

/* ---- NMI, SysRq ---- */

void inspect_nmi(struct inspect *i, struct server_connection *c, const struct json_object *request)
{
	uint64_t first = 0, end = nr_cpus(i);

	if (json_get_count(request, "cpu", &first)) {
		if (first >= end) {
			server_refuse(c, NO_SUCH_CPU);
			return;
		}
		end = first + 1;
	}
	for (uint64_t cpu = first; cpu < end; cpu++)
		vcpu_kick(machine_board(i->machine)->vcpus[cpu], VCPU_REQUEST_NMI);
	server_done(c);
}

void inspect_sysrq(struct inspect *i, struct server_connection *c, const struct json_object *request)
{
	const char *key = json_get_string(request, "key");

	if (!key || strlen(key) != 1 || key[0] <= ' ' || key[0] > '~') {
		server_refuse(c, "a SysRq is one character");
		return;
	}
	machine_send_sysrq(i->machine, key[0]);
	server_done(c);
}

void inspect_init(struct inspect *i, struct machine *machine)
{
	*i = (struct inspect){ .machine = machine };
	machine_on_halt(machine, MACHINE_LOOK, inspect_halted, i);
}
