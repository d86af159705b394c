// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command that a machine runs, if it runs one: its ports, who waits for it to be ready, to run and to end, and
 * what the other end of the gate orders meanwhile. What is said to the guest is guest/command.c's, and to the gate
 * guest/gate.c's; this only ties them to the machine.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "guest/command.h"
#include "guest/gate.h"
#include "log.h"
#include "machine-parts.h"
#include "machine.h"

/* Its ports come after the user's. */
int machine_open_command(struct machine *m)
{
	int rc;

	if (!m->config->command)
		return 0;
	rc = command_create(&m->command, m->host.loop, m->config->command, m->host.term,
			    m->err_term ? m->err_term : m->host.term);
	if (rc) {
		log_error("command: %s", strerror(-rc));
		return rc;
	}
	m->host.ports_are_ours = !m->config->nr_ports;
	m->host.nr_ports += command_ports(m->command, m->host.ports + m->host.nr_ports);
	return 0;
}

struct command *machine_command(const struct machine *m)
{
	return m->command;
}

void machine_tell_that_it_runs(const struct machine *m)
{
	if (m->config->runs)
		m->config->runs(m->config->runs_arg);
}

static void on_command_ready(void *arg)
{
	struct machine *m = arg;

	if (m->config->waits)
		m->config->waits(m->config->waits_arg);
	else if (m->gate)
		gate_ready(m->gate);
}

void machine_end_wait(struct machine *m)
{
	if (m->gate)
		gate_ready(m->gate);
	else
		command_release(m->command);
}

static void on_command_started(void *arg)
{
	const struct machine *m = arg;

	if (m->gate)
		gate_started(m->gate);
	machine_tell_that_it_runs(m);
}

static void on_command_ended(void *arg)
{
	struct machine *m = arg;
	const struct command_result result = command_result(m->command);

	if (m->gate)
		gate_ended(m->gate, &result);
	vm_request_stop(m->host.vm, STOP_COMMAND);
}

/* ---- the gate ---- */

static void on_gate_gone(void *arg)
{
	machine_end(arg, SIGKILL);
}

static void on_gate_paused(void *arg, int rc)
{
	const struct machine *m = arg;

	gate_paused(m->gate, rc);
}

static int pause_by_gate(void *arg)
{
	return machine_pause(arg, on_gate_paused, arg);
}

static void resume_by_gate(void *arg)
{
	machine_resume(arg);
}

static void exec_by_gate(void *arg, int fd)
{
	const struct machine_config *config = ((const struct machine *)arg)->config;

	if (config->exec)
		config->exec(config->exec_arg, fd);
	else
		close(fd);
}

static void join_by_gate(void *arg, int fd, int files)
{
	const struct machine_config *config = ((const struct machine *)arg)->config;

	if (config->join) {
		config->join(config->exec_arg, fd, files);
		return;
	}
	close(fd);
	close(files);
}

static int open_gate(struct machine *m)
{
	const struct gate_client client = {
		.gone = on_gate_gone,
		.pause = pause_by_gate,
		.resume = resume_by_gate,
		.exec = exec_by_gate,
		.join = join_by_gate,
		.arg = m,
	};

	return !m->command || m->config->gate_fd < 0 ?
		       0 :
		       gate_create(&m->gate, m->host.loop, m->config->gate_fd, m->command, &client);
}

int machine_start_command(struct machine *m)
{
	const struct command_client client = {
		.ready = on_command_ready,
		.started = on_command_started,
		.ended = on_command_ended,
		.arg = m,
	};
	int rc = m->results ? command_take_results(m->command, m->results) : 0;

	if (!rc)
		rc = open_gate(m);

	return rc || !m->command ? rc :
				   command_start(m->command, &client, m->config->timeout_ns ? 0 : COMMAND_READY_NS);
}
