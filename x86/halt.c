// SPDX-License-Identifier: GPL-2.0-only
/*
 * Notices a machine that has halted for good.
 *
 * With an in-kernel interrupt controller HLT does not leave KVM, so lkvm has to
 * look. Looking at a vCPU costs an exit; therefore the first question is free:
 * if no vCPU thread has used any CPU time since the last tick, all of them are
 * asleep, and only then each is asked whether something could wake it up. Runs
 * on the loop's thread.
 */
#include <stdatomic.h>

#include "event.h"
#include "kvm-cpu.h"
#include "kvm.h"
#include "x86/halt.h"

static uint64_t total_cpu_time(const struct halt_watch *w)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < w->nr_vcpus; i++)
		sum += vcpu_cpu_time_ns(w->vcpus[i]);
	return sum;
}

static void ask_all(struct halt_watch *w)
{
	for (unsigned int i = 0; i < w->nr_vcpus; i++) {
		atomic_store(&w->vcpus[i]->report, VCPU_REPORT_NONE);
		vcpu_kick(w->vcpus[i], VCPU_REQUEST_REPORT);
	}
	w->asked = true;
}

static bool all_dead(const struct halt_watch *w)
{
	for (unsigned int i = 0; i < w->nr_vcpus; i++)
		if (atomic_load(&w->vcpus[i]->report) != VCPU_REPORT_DEAD)
			return false;
	return true;
}

static void on_tick(void *arg, uint32_t events)
{
	struct halt_watch *w = arg;
	uint64_t now = total_cpu_time(w);

	(void)events;
	if (w->asked) {
		w->asked = false;
		if (all_dead(w))
			vm_request_stop(w->vm, STOP_HALTED);
	} else if (now == w->cpu_time_ns) {
		ask_all(w);
	}
	w->cpu_time_ns = now;
}

int halt_watch_start(struct halt_watch *watch, struct event_loop *loop, struct vm *vm,
		     struct vcpu *const *vcpus, unsigned int nr_vcpus)
{
	int timer;

	*watch = (struct halt_watch){ .vm = vm, .vcpus = vcpus, .nr_vcpus = nr_vcpus };
	timer = event_timer_create(loop, on_tick, watch);
	if (timer < 0)
		return timer;
	event_timer_set(loop, timer, HALT_TICK_NS, HALT_TICK_NS);
	return 0;
}
