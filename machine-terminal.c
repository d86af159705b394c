// SPDX-License-Identifier: GPL-2.0-only
/*
 * A machine's console on the host's side, and who sits at it: the terminal or the streams, the log, what keys and
 * signals order, and how large the window is. What a terminal is made of is in term.c, and its modes in tty.c; how
 * signals arrive, in signals.c.
 */
#include <string.h>
#include <unistd.h>

#include "guest/command.h"
#include "kvm-cpu.h"
#include "log.h"
#include "machine-parts.h"
#include "machine.h"
#include "sandbox/broker.h"
#include "signals.h"
#include "sink.h"
#include "term.h"
#include "tty.h"
#include "x86/board.h"
#include "x86/serial.h"

/* ---- keys ---- */

static void on_quit(void *arg)
{
	struct machine *m = arg;

	machine_hurry(m);
	vm_request_stop(m->host.vm, STOP_QUIT);
}

/* Stops the whole job, as Ctrl-Z would. */
static void on_suspend(void *arg)
{
	struct machine *m = arg;

	signals_suspend(m->signals);
}

static void on_refused(void *arg)
{
	struct machine *m = arg;

	signals_take_terminal(m->signals);
}

/* The terminal is others', and nobody would let us go on: it is not read until we are told to. */
static void on_unreadable(void *arg)
{
	(void)arg;
}

static void on_break(void *arg)
{
	struct machine *m = arg;

	/* To Linux this character on hvc0 is what a break is on a serial line. */
	if (m->config->virtio_console)
		term_type(m->host.term, "\x0f", 1);
	else
		serial_send_break(&m->board.serial);
}

void machine_send_break(struct machine *m)
{
	on_break(m);
}

void machine_quit(struct machine *m)
{
	on_quit(m);
}

void machine_send_sysrq(struct machine *m, char key)
{
	on_break(m);
	term_type(m->config->virtio_console ? m->host.term : m->host.serial_term, &key, 1);
}

/* ---- the log ---- */

static void on_log_died(void *arg, int error)
{
	(void)arg;
	log_error("console-log: write: %s\nthe log ends here; the VM runs on.", strerror(error));
}

int machine_create_log(struct machine *m)
{
	const struct sink_config config = { .fd = m->config->log_fd, .is_own = true };
	int rc = config.fd < 0 ? 0 : sink_create(&m->log, m->host.loop, &config);

	if (!rc && m->log)
		sink_set_mourner(m->log, on_log_died, NULL);
	if (rc)
		log_error("machine: console log: %s", strerror(-rc));
	return rc;
}

/* The log's name may stand for another file now (log rotation). */
static void reopen_log(void *arg)
{
	struct machine *m = arg;

	broker_reopen_log(&m->broker);
}

static void on_log_opened(void *arg, int fd)
{
	struct machine *m = arg;

	if (fd >= 0)
		sink_set_fd(m->log, fd);
	else
		log_error("console-log: %s: %s\nthe old file is kept.", m->config->log_path,
			  strerror(-fd));
}

int machine_watch_log(struct machine *m)
{
	return broker_watch(&m->broker, m->host.loop, on_log_opened, m);
}

/* ---- the terminal ---- */

int machine_own_terminal(const struct machine *m)
{
	const struct command_config *c = m->config->command;

	return c && !c->terminal ? -1 : m->config->in_fd;
}

int machine_create_terminal(struct machine *m)
{
	const struct command_config *command = m->config->command;
	const struct term_config config = {
		.in_fd = m->config->in_fd,
		.out_fd = m->config->out_fd,
		.log = command ? NULL : m->log,
		.quit = on_quit,
		.no_keys = m->config->gate_fd >= 0, /* engines have theirs */
		.suspend = on_suspend,
		.send_break = on_break,
		.refused = !isatty(m->config->in_fd)	? NULL :
			   machine_own_terminal(m) >= 0 ? on_refused :
			   m->config->is_job		? on_suspend :
							  on_unreadable,
		.arg = m,
	};
	const struct term_config unseen = {
		.in_fd = -1,
		.out_fd = m->config->shows_log ? STDERR_FILENO : -1,
		.log = m->log,
	};
	const struct term_config errors = { .in_fd = -1, .out_fd = STDERR_FILENO };
	int rc = term_create(&m->host.term, m->host.loop, &config);

	/* With hvc0 or a command on the terminal, ttyS0 has the log and the last lines. */
	m->host.serial_term = m->host.term;
	if (!rc && (m->config->virtio_console || command)) {
		m->host.serial_term = NULL;
		rc = term_create(&m->host.serial_term, m->host.loop, &unseen);
	}
	if (!rc && command && !m->config->detached)
		rc = term_create(&m->err_term, m->host.loop, &errors);
	if (rc)
		log_error("machine: terminal: %s", strerror(-rc));
	return rc;
}

struct term *machine_console(const struct machine *m)
{
	return m->host.term;
}

bool machine_console_has_keys(const struct machine *m)
{
	return !m->config->command || m->config->command->terminal;
}

static void update_window_size(struct machine *m)
{
	uint16_t columns, rows;

	board_update_window_size(&m->board);
	if (m->command && term_get_size(m->host.term, &columns, &rows))
		command_set_size(m->command, columns, rows);
}

void machine_resize_console(struct machine *m, uint16_t columns, uint16_t rows)
{
	term_set_other_size(m->host.term, columns, rows);
	update_window_size(m);
}

/* ---- signals ---- */

static void on_continue(void *arg)
{
	struct machine *m = arg;

	for (unsigned int i = 0; i < m->board.nr_vcpus; i++)
		vcpu_kick(m->board.vcpus[i], VCPU_REQUEST_PAUSED);
	if (m->command && !machine_stands(m))
		command_expect_ready(m->command, true);
	update_window_size(m);
	if (machine_own_terminal(m) < 0)
		term_set_terminal(m->host.term, TTY_NONE); /* it may be ours to read now */
}

static void on_resize(void *arg)
{
	update_window_size(arg);
}

static void machine_on_terminal(void *arg, enum tty_state state)
{
	struct machine *m = arg;
	char text[512];

	term_set_terminal(m->host.term, state);
	if (state != TTY_RAW)
		return;
	update_window_size(m);
	if (m->announced)
		return;
	m->announced = true;
	machine_describe(m, text, sizeof(text));
	log_notice("%s. Ctrl-A x quits.", m->config->announcement ? m->config->announcement : text);
}

/* Signals arrive as events. */
int machine_take_signals(struct machine *m)
{
	const struct signals_client client = {
		.end = machine_on_end,
		.timed_out = machine_on_timed_out,
		.reopen_log = reopen_log,
		.continued = on_continue,
		.resized = on_resize,
		.terminal = machine_on_terminal,
		.arg = m,
	};

	return signals_start(&m->signals, m->host.loop, &m->supervisor, machine_own_terminal(m),
			     m->config->log_path != NULL, &client);
}
