// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's clocks (x86/clocks.h).
 *
 * A guest's time stamp counter is the host's and an offset: what has gone by is taken off each
 * vCPU's, all by the same number, so that KVM still sees them as one and has them all read one clock. Its
 * own clock for the guest is told to it as a function of the counter, when it is entered. Both have to go on
 * from one moment: a Linux guest looks every half second whether they agree, and does without the counter if they
 * are a tenth of a millisecond apart. So the counter is read right behind each call that reads or sets the clock. The
 * offsets are those of the beginning: where the host's counter is not stable KVM changes them meanwhile.
 * KVM's 8254 counts ticks that nobody has taken, and would give the guest all those of the pause
 * at once; its state is put back with none.
 *
 * Sources: Documentation/virt/kvm/api.rst 4.29 and 4.30 (KVM_GET_CLOCK, KVM_SET_CLOCK), 4.71;
 * devices/vcpu.rst section 4 (KVM_VCPU_TSC_OFFSET).
 */
#include <stddef.h>
#include <sys/ioctl.h>
#include <time.h>
#include <x86intrin.h>

#include "kvm-cpu.h"
#include "kvm.h"
#include "x86/clocks.h"

static bool counter_offset(const struct vcpu *vcpu, unsigned long request, uint64_t *offset)
{
	const struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uint64_t)(uintptr_t)offset,
	};

	return !ioctl(vcpu->fd, request, &attr);
}

uint64_t clocks_realtime(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void clocks_stop(struct clocks *c, const struct vm *vm, struct vcpu *const *vcpus, unsigned int nr)
{
	struct kvm_clock_data clock = { 0 };

	c->stopped = !ioctl(vm->fd, KVM_GET_CLOCK, &clock);
	c->tsc = clock.flags & KVM_CLOCK_HOST_TSC ? clock.host_tsc : __rdtsc();
	for (unsigned int i = 0; i < nr && c->stopped; i++)
		c->stopped = counter_offset(vcpus[i], KVM_GET_DEVICE_ATTR, &vcpus[i]->stopped_offset);
	if (!c->stopped)
		return;
	c->realtime_ns = clocks_realtime();
	c->ns = clock.clock;
	c->has_pit = !ioctl(vm->fd, KVM_GET_PIT2, &c->pit);
}

uint64_t clocks_gone(const struct clocks *c)
{
	return __rdtsc() - c->tsc;
}

void clocks_start(struct clocks *c, const struct vm *vm, struct vcpu *const *vcpus, unsigned int nr)
{
	const struct kvm_clock_data clock = { .clock = c->ns };
	uint64_t back, offset;

	if (!c->stopped)
		return;
	c->stopped = false;
	ioctl(vm->fd, KVM_SET_CLOCK, &clock);
	back = clocks_gone(c);
	for (unsigned int i = 0; i < nr; i++) {
		offset = vcpus[i]->stopped_offset - back;
		counter_offset(vcpus[i], KVM_SET_DEVICE_ATTR, &offset);
	}
	if (c->has_pit)
		ioctl(vm->fd, KVM_SET_PIT2, &c->pit);
}
