// SPDX-License-Identifier: GPL-2.0-only
/*
 * A machine's CPUs stand, and go on: pausing, for who wants the guest and its disks at rest, and halting, for
 * who looks at CPUs or has them step. Nothing here waits, since a CPU may itself be waiting for the loop: a CPU
 * that parks says so, and on_parked() is the place where all have.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "disk/aio.h"
#include "disk/files.h"
#include "event.h"
#include "guest/command.h"
#include "kvm-cpu.h"
#include "machine-parts.h"
#include "machine.h"
#include "util.h"
#include "x86/clocks.h"

#define PAUSE_TICK_NS	 2000000ull
#define PAUSE_IDLE_TICKS 2u /* what a kick asks for is submitted a round later at the latest */

void machine_pause_init(struct machine *m)
{
	m->pause.park.fd = m->halt.step = -1;
}

void machine_pause_fini(struct machine *m)
{
	if (m->pause.park.fd >= 0)
		close(m->pause.park.fd);
}

bool machine_stands(const struct machine *m)
{
	return m->pause.state == PAUSE_DONE || m->pause.state == PAUSE_HALTED;
}

const char *machine_state(const struct machine *m)
{
	if (vm_stop_reason(m->host.vm) != STOP_NONE)
		return "ending";
	return m->pause.state == PAUSE_DONE   ? "paused" :
	       m->pause.state == PAUSE_HALTED ? "halted" :
						"running";
}

const struct clocks *machine_clocks(const struct machine *m)
{
	return &m->pause.clocks;
}

/* ---- pausing ---- */

static bool is_halted_by(const struct machine *m, enum machine_halter who)
{
	return m->halt.by[who].wanted;
}

static bool anybody_halts(const struct machine *m)
{
	return is_halted_by(m, MACHINE_GDB) || is_halted_by(m, MACHINE_LOOK) || is_halted_by(m, MACHINE_DUMP) ||
	       is_halted_by(m, MACHINE_SNAPSHOT);
}

static void start_parking(struct machine *m, bool unwanted)
{
	m->pause.state = PAUSE_PARKING;
	m->pause.unwanted = unwanted;
	for (unsigned int i = 0; i < m->board.nr_vcpus; i++)
		vcpu_kick(m->board.vcpus[i], VCPU_REQUEST_PARK);
}

static void let_all_go(struct machine *m)
{
	m->pause.state = PAUSE_NONE;
	atomic_store(&m->pause.park.nr, 0);
	clocks_start(&m->pause.clocks, m->host.vm, m->board.vcpus, m->board.nr_vcpus);
	for (unsigned int i = 0; i < m->board.nr_vcpus; i++)
		vcpu_unpark(m->board.vcpus[i]);
	if (m->command)
		command_expect_ready(m->command, true);
}

/* It parks again when it has trapped. */
static void let_one_go(struct machine *m, unsigned int cpu)
{
	m->halt.step = -1;
	m->halt.by[MACHINE_GDB].told = false; /* not before: it is told when that CPU has parked */
	m->pause.state = PAUSE_PARKING;
	m->pause.unwanted = true;
	atomic_fetch_sub(&m->pause.park.nr, 1);
	clocks_start(&m->pause.clocks, m->host.vm, m->board.vcpus, m->board.nr_vcpus);
	vcpu_unpark(m->board.vcpus[cpu]);
}

static bool all_are_parked(const struct machine *m)
{
	return m->pause.state != PAUSE_NONE && m->pause.state != PAUSE_PARKING;
}

static bool has_trapped(const struct machine *m)
{
	for (unsigned int i = 0; i < m->board.nr_vcpus; i++)
		if (m->board.vcpus[i]->trapped)
			return true;
	return false;
}

/* True if there was one to be told. */
static bool tell_halted(struct machine *m)
{
	for (unsigned int i = 0; i < MACHINE_NR_HALTERS; i++) {
		if (!m->halt.by[i].wanted || m->halt.by[i].told || !m->halt.by[i].fn)
			continue;
		m->halt.by[i].told = true;
		m->halt.by[i].fn(m->halt.by[i].arg);
		return true;
	}
	return false;
}

/* After each change: who is told, do the CPUs go on. Those who are told change something again. */
static void settle_halt(struct machine *m)
{
	if (m->halt.settling)
		return;
	m->halt.settling = true;
	while (all_are_parked(m) && tell_halted(m))
		;
	m->halt.settling = false;
	if (m->pause.state != PAUSE_HALTED)
		return;
	if (!anybody_halts(m))
		let_all_go(m);
	else if (m->halt.step >= 0 && !is_halted_by(m, MACHINE_LOOK) && !is_halted_by(m, MACHINE_DUMP) &&
		 !is_halted_by(m, MACHINE_SNAPSHOT))
		let_one_go(m, (unsigned int)m->halt.step);
}

/* All have parked, and no pause is wanted any more. */
static void unpark(struct machine *m)
{
	m->pause.state = PAUSE_HALTED;
	m->pause.unwanted = false;
	event_timer_set(m->host.loop, m->pause.timer, 0, 0);
	if (m->command)
		command_expect_ready(m->command, false);
	settle_halt(m);
}

static void on_parked(void *arg, uint32_t events)
{
	struct machine *m = arg;
	struct machine_pause *p = &m->pause;

	(void)events;
	eventfd_clear(p->park.fd);
	if (vm_stop_reason(m->host.vm) != STOP_NONE)
		return;
	if (p->state == PAUSE_NONE && atomic_load(&p->park.nr))
		start_parking(m, true); /* one has trapped: all stand */
	if (p->state != PAUSE_PARKING || atomic_load(&p->park.nr) < m->board.nr_vcpus)
		return;
	m->halt.by[MACHINE_GDB].wanted |= has_trapped(m);
	p->state = PAUSE_DRAINING;
	p->idle_ticks = 0;
	clocks_stop(&p->clocks, m->host.vm, m->board.vcpus, m->board.nr_vcpus);
	if (p->unwanted)
		unpark(m);
	else
		settle_halt(m);
}

/* Somebody waits for it to be paused. */
static bool is_pausing(const struct machine *m)
{
	return (m->pause.state == PAUSE_PARKING || m->pause.state == PAUSE_DRAINING) && !m->pause.unwanted;
}

/* It is not paused, and will not be. */
static void give_up_pause(struct machine *m, int rc)
{
	if (m->pause.state == PAUSE_PARKING) {
		m->pause.unwanted = true;
		event_timer_set(m->host.loop, m->pause.timer, 0, 0);
	} else {
		unpark(m);
	}
	m->pause.done(m->pause.arg, rc);
}

static void on_pause_tick(void *arg, uint32_t events)
{
	struct machine *m = arg;
	struct machine_pause *p = &m->pause;
	bool idle = p->state == PAUSE_DRAINING && (!m->aio || aio_all_idle(m->aio)) &&
		    !(m->files && files_are_asked(m->files));

	(void)events;
	if (!is_pausing(m))
		return; /* the timer had expired when it was set off */
	p->idle_ticks = idle ? p->idle_ticks + 1 : 0;
	if (p->idle_ticks >= PAUSE_IDLE_TICKS) {
		p->state = PAUSE_DONE;
		if (m->command)
			command_expect_ready(m->command, false);
		event_timer_set(m->host.loop, p->timer, 0, 0);
		p->done(p->arg, 0);
	} else if (now_ns() >= p->until_ns) {
		give_up_pause(m, -ETIMEDOUT);
	}
}

int machine_prepare_pause(struct machine *m)
{
	struct machine_pause *p = &m->pause;
	int rc;

	p->park.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->park.fd < 0)
		return -errno;
	rc = event_add(m->host.loop, p->park.fd, EPOLLIN, on_parked, m);
	if (rc >= 0)
		rc = p->timer = event_timer_create(m->host.loop, on_pause_tick, m);
	for (unsigned int i = 0; i < m->board.nr_vcpus; i++) {
		m->board.vcpus[i]->park = &p->park;
		m->board.vcpus[i]->traps = m->config->gdb;
	}
	return rc;
}

int machine_pause(struct machine *m, void (*done)(void *arg, int rc), void *arg)
{
	struct machine_pause *p = &m->pause;

	if (vm_stop_reason(m->host.vm) != STOP_NONE)
		return -ECANCELED;
	if (p->state == PAUSE_DONE)
		return 0;
	p->done = done;
	p->arg = arg;
	p->unwanted = false;
	p->until_ns = now_ns() + MACHINE_PAUSE_NS;
	event_timer_set(m->host.loop, p->timer, PAUSE_TICK_NS, PAUSE_TICK_NS);
	if (p->state == PAUSE_HALTED) {
		p->state = PAUSE_DRAINING;
		p->idle_ticks = 0;
	} else if (p->state != PAUSE_DRAINING) {
		start_parking(m, false);
	}
	return -EINPROGRESS;
}

void machine_resume(struct machine *m)
{
	if (vm_stop_reason(m->host.vm) != STOP_NONE)
		return; /* they are woken up to end */
	if (m->pause.state == PAUSE_DONE)
		unpark(m);
	else if (is_pausing(m))
		give_up_pause(m, -ECANCELED);
}

/* ---- halting ---- */

void machine_on_halt(struct machine *m, enum machine_halter who, machine_halted_fn halted,
		     void *arg)
{
	m->halt.by[who].fn = halted;
	m->halt.by[who].arg = arg;
}

void machine_halt(struct machine *m, enum machine_halter who)
{
	if (vm_stop_reason(m->host.vm) != STOP_NONE)
		return;
	m->halt.by[who].wanted = true;
	m->halt.by[who].told = false;
	if (m->pause.state == PAUSE_NONE)
		start_parking(m, true);
	else if (m->pause.state == PAUSE_PARKING)
		start_parking(m, m->pause.unwanted); /* the one that steps, too */
	settle_halt(m);
}

void machine_go_on(struct machine *m, enum machine_halter who)
{
	m->halt.by[who].wanted = m->halt.by[who].told = false;
	if (who == MACHINE_GDB)
		m->halt.step = -1;
	if (vm_stop_reason(m->host.vm) == STOP_NONE)
		settle_halt(m);
}

void machine_step(struct machine *m, unsigned int cpu)
{
	m->halt.step = (int)cpu;
	settle_halt(m);
}
