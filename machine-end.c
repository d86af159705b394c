// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a machine ends: its guest is asked to, or whoever is in a hurry, or its time, ends it; then its disks are made
 * durable, and readers are given what is left of its output. The reasons themselves are kvm.c's
 * (vm_request_stop()); the order of all this is machine_run()'s.
 */
#include <errno.h>
#include <signal.h>

#include "disk/aio.h"
#include "disk/disk.h"
#include "event.h"
#include "guest/command.h"
#include "log.h"
#include "machine-parts.h"
#include "machine.h"
#include "sandbox/supervisor.h"
#include "sink.h"
#include "term.h"
#include "util.h"
#include "x86/board.h"

#define DELIVERY_TICK_NS 10000000ull
#define ASK_AGAIN_NS	 2000000000ull
#define ASK_SOON_NS	 100000000ull

/* Whoever wants us gone does not wait for readers much longer. */
void machine_hurry(struct machine *m)
{
	uint64_t soon = now_ns() + SINK_PATIENCE_NS;

	m->urgent = m->unwanted = true;
	if (m->delivers && (!m->deliver_until_ns || m->deliver_until_ns > soon))
		m->deliver_until_ns = soon;
}

bool machine_is_unwanted(const struct machine *m)
{
	return m->unwanted;
}

/* ---- asking for an end ---- */

/* Asks it, and again later: it may not listen yet, or have other things to do. */
static void machine_ask(struct machine *m)
{
	m->asked_ns = now_ns();
	m->ask_ns = ASK_AGAIN_NS;
	if (!m->command && !board_press_power_button(&m->board))
		m->ask_ns = ASK_SOON_NS;
	if (m->grace_ns)
		m->ask_ns = min_u64(m->ask_ns, m->grace_ns);
	event_timer_set(m->host.loop, m->ask_timer, m->ask_ns, 0);
}

/* Of a wait for the timer no more counts than it was set to: meanwhile we may have been stopped. False if none is left. */
static bool spend_grace(struct machine *m)
{
	const uint64_t spent = min_u64(now_ns() - m->asked_ns, m->ask_ns);

	if (!m->grace_ns)
		return true;
	m->grace_ns -= min_u64(spent, m->grace_ns);
	return m->grace_ns;
}

void machine_end(struct machine *m, int signal)
{
	machine_hurry(m);
	vm_request_stop_signal(m->host.vm, signal);
}

static void on_ask_timer(void *arg, uint32_t events)
{
	struct machine *m = arg;

	(void)events;
	if (spend_grace(m))
		machine_ask(m);
	else
		machine_end(m, SIGTERM);
}

const char *machine_ask_end(struct machine *m)
{
	if (vm_stop_reason(m->host.vm) != STOP_NONE)
		return "ending";
	if (!m->command && !m->config->board.acpi)
		return NULL;
	if (m->asked && !spend_grace(m))
		m->grace_ns = 1; /* the timer is due */
	m->asked = true;
	machine_resume(m);
	if (m->command)
		command_ask_end(m->command);
	machine_ask(m);
	return m->command ? "command" : "button";
}

/* The first SIGTERM may leave the guest time; whatever comes after it is meant seriously. */
void machine_on_end(void *arg, int signal)
{
	struct machine *m = arg;

	if (signal == SIGTERM && m->config->grace_ns && !m->asked &&
	    vm_stop_reason(m->host.vm) == STOP_NONE) {
		m->grace_ns = m->config->grace_ns;
		if (machine_ask_end(m))
			return;
	}
	machine_end(m, signal);
}

void machine_on_timed_out(void *arg)
{
	struct machine *m = arg;

	vm_request_stop(m->host.vm, STOP_TIMEOUT);
}

static void on_timeout(void *arg, uint32_t events)
{
	(void)events;
	machine_on_timed_out(arg);
}

int machine_start_timeout(struct machine *m)
{
	uint64_t used = now_ns() - m->config->start_ns;
	uint64_t timeout = m->config->timeout_ns;
	int timer;

	if (!timeout)
		return 0;
	timer = event_timer_create(m->host.loop, on_timeout, m);
	if (timer < 0)
		return timer;
	event_timer_set(m->host.loop, timer, timeout > used ? timeout - used : 1, 0);
	return 0;
}

int machine_prepare_asking(struct machine *m)
{
	return m->ask_timer = event_timer_create(m->host.loop, on_ask_timer, m);
}

/* ---- disks ---- */

/* Who wants us gone does not wait for what is not there: a disk's answer, a reader. */
static bool is_urgent(enum stop_reason reason)
{
	return reason == STOP_SIGNAL || reason == STOP_QUIT || reason == STOP_TIMEOUT;
}

/*
 * A guest that has ended in order waits for its disks as long as it takes; a signal or the
 * timeout ends that.
 */
static void limit_disks(struct machine *m)
{
	uint64_t timeout = m->config->timeout_ns;
	uint64_t end = timeout ? m->config->start_ns + timeout + AIO_GRACE_NS : 0;

	if (m->urgent && (!end || end > now_ns() + AIO_GRACE_NS))
		end = now_ns() + AIO_GRACE_NS;
	aio_set_limit(m->aio, end);
}

/* An order or a key while disks are waited for; one of them may be to end at once. */
static void on_disks_wait(void *arg)
{
	struct machine *m = arg;
	bool was_urgent = m->urgent;

	event_poll(m->host.loop);
	if (m->urgent && !was_urgent)
		limit_disks(m);
}

void machine_finish_disks(struct machine *m, struct machine_result *result)
{
	unsigned int nr = m->config->nr_disks;
	struct disk *disks[BOARD_MAX_VIRTIO];
	int errors[BOARD_MAX_VIRTIO];

	m->urgent |= is_urgent(result->reason);
	if (m->aio) {
		aio_set_news(m->aio, event_fd(m->host.loop), on_disks_wait, m);
		limit_disks(m);
		if (!m->urgent)
			supervisor_send(&m->supervisor, ORDER_ENDED);
	}
	for (unsigned int i = 0; i < nr; i++)
		disks[i] = m->host.disks[i].disk;
	disk_finish_all(disks, nr, errors);
	for (unsigned int i = 0; i < nr; i++) {
		result->data_lost |= errors[i] != 0;
		m->disks_stuck |= errors[i] == DISK_STUCK;
	}
	result->disks_stuck = m->disks_stuck;
}

/* ---- delivering what is left ---- */

static bool is_delivered(struct sink *s, bool patient)
{
	return !s || sink_is_empty(s) || (!patient && sink_has_stopped(s));
}

/* The console's reader may be a pager: it is waited for. */
static bool all_is_delivered(const struct machine *m)
{
	return is_delivered(term_sink(m->host.term), true) &&
	       (!m->err_term || is_delivered(term_sink(m->err_term), true)) &&
	       is_delivered(term_sink(m->host.serial_term), true) && is_delivered(m->log, false) &&
	       is_delivered(log_sink(), false);
}

/* Once, and not of a reader who is only slow. */
static void tell_waiting(struct machine *m)
{
	if (m->tells_waiting || !sink_has_stopped(term_sink(m->host.term)))
		return;
	m->tells_waiting = true;
	log_notice("%s: the guest has ended, and nobody reads the rest of its output\n"
		   "Ctrl-C drops it.",
		   m->command ? "stdout" : "console");
}

static void on_delivery_timer(void *arg, uint32_t events)
{
	struct machine *m = arg;

	(void)events;
	tell_waiting(m);
	if (all_is_delivered(m) || (m->deliver_until_ns && now_ns() >= m->deliver_until_ns))
		event_stop(m->host.loop);
}

int machine_create_delivery_timer(struct machine *m)
{
	m->delivery_timer = event_timer_create(m->host.loop, on_delivery_timer, m);
	event_keep(m->host.loop, m->delivery_timer);
	return m->delivery_timer < 0 ? m->delivery_timer : 0;
}

/* The loop once more, for what concerns the terminal and its user only. */
static void wait_for_readers(struct machine *m)
{
	m->delivers = true;
	event_restart(m->host.loop);
	event_timer_set(m->host.loop, m->delivery_timer, DELIVERY_TICK_NS, DELIVERY_TICK_NS);
	event_run(m->host.loop);
}

void machine_linger(struct machine *m)
{
	event_restart(m->host.loop);
	event_run(m->host.loop);
}

/* A command whose reader has left was told so, as any other in a pipe. */
static void report_dropped(struct machine *m, const char *what, struct sink *s)
{
	sink_finish(s, 0);
	if (!sink_dropped(s) || (m->command && sink_error(s) == -EPIPE && s != m->log))
		return;
	if (m->command && sink_error(s) && s != m->log) {
		log_error("%s: %s\n%llu bytes of it are lost.", what, sink_why_dropped(s),
			  (unsigned long long)sink_dropped(s));
		m->output_lost = true;
	} else {
		log_notice("%s: %llu bytes of guest output dropped: %s", what,
			   (unsigned long long)sink_dropped(s), sink_why_dropped(s));
	}
}

void machine_deliver_output(struct machine *m, enum stop_reason reason)
{
	if (m->config->timeout_ns)
		m->deliver_until_ns = m->config->start_ns + m->config->timeout_ns;
	if (is_urgent(reason))
		m->deliver_until_ns = now_ns() + SINK_PATIENCE_NS;
	sink_flush(term_sink(m->host.term));
	sink_flush(term_sink(m->host.serial_term));
	if (m->err_term)
		sink_flush(term_sink(m->err_term));
	if (m->log)
		sink_flush(m->log);
	if (!all_is_delivered(m))
		wait_for_readers(m);
	report_dropped(m, m->command ? "stdout" : "console", term_sink(m->host.term));
	if (m->err_term)
		report_dropped(m, "stderr", term_sink(m->err_term));
	if (m->log)
		report_dropped(m, "console-log", m->log);
}
