// SPDX-License-Identifier: GPL-2.0-only
/* A paused guest's clocks: what KVM is asked, and in which order. KVM is played here. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <x86intrin.h>

#include "kvm-cpu.h"
#include "kvm.h"
#include "x86/clocks.h"

#define VM_FD 100
#define NR    3u /* vCPUs; their descriptors are their numbers */

static struct {
	uint64_t offsets[NR], ns;
	uint64_t host_tsc; /* when the clock was read; 0: it does not say */
	bool has_offsets, has_pit;
	char order[64]; /* of what was set: a letter each */
	unsigned int nr_set;
	struct kvm_pit_state2 pit;
} kvm;

static void note(char what)
{
	kvm.order[kvm.nr_set++] = what;
}

static int kvm_fails(int error)
{
	errno = error;
	return -1;
}

static int vcpu_ioctl(unsigned int cpu, unsigned long request, const struct kvm_device_attr *attr)
{
	uint64_t *offset = (uint64_t *)(uintptr_t)attr->addr;

	if (!kvm.has_offsets)
		return kvm_fails(ENXIO);
	assert_int_equal(attr->group, KVM_VCPU_TSC_CTRL);
	assert_int_equal(attr->attr, KVM_VCPU_TSC_OFFSET);
	if (request == KVM_GET_DEVICE_ATTR) {
		*offset = kvm.offsets[cpu];
	} else {
		kvm.offsets[cpu] = *offset;
		note((char)('0' + cpu));
	}
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (fd < (int)NR)
		return vcpu_ioctl((unsigned int)fd, request, arg);
	assert_int_equal(fd, VM_FD);
	switch (request) {
	case KVM_GET_CLOCK:
		memset(arg, 0, sizeof(struct kvm_clock_data));
		((struct kvm_clock_data *)arg)->clock = kvm.ns;
		((struct kvm_clock_data *)arg)->flags = kvm.host_tsc ? KVM_CLOCK_HOST_TSC : 0;
		((struct kvm_clock_data *)arg)->host_tsc = kvm.host_tsc;
		return 0;
	case KVM_SET_CLOCK:
		assert_int_equal(((struct kvm_clock_data *)arg)->flags, 0);
		kvm.ns = ((struct kvm_clock_data *)arg)->clock;
		note('c');
		return 0;
	case KVM_GET_PIT2:
		memcpy(arg, &kvm.pit, sizeof(kvm.pit));
		return kvm.has_pit ? 0 : kvm_fails(ENXIO);
	case KVM_SET_PIT2:
		memcpy(&kvm.pit, arg, sizeof(kvm.pit));
		note('p');
		return 0;
	default:
		fail_msg("request %#lx", request);
	}
	return -1;
}

static struct vm vm = { .fd = VM_FD };
static struct vcpu cpus[NR];
static struct vcpu *const vcpus[NR] = { &cpus[0], &cpus[1], &cpus[2] };

static int set_up(void **state)
{
	(void)state;
	memset(&kvm, 0, sizeof(kvm));
	for (unsigned int i = 0; i < NR; i++) {
		cpus[i].fd = (int)i;
		kvm.offsets[i] = (uint64_t)0 - (i == 2 ? 70 : 5); /* one has set its counter itself */
	}
	kvm.ns = 1000;
	kvm.has_offsets = kvm.has_pit = true;
	kvm.pit.channels[0].count = 77;
	return 0;
}

/* The clock, and counters right behind it, all by the same number; and nobody has missed a tick. */
static void they_go_on_where_they_were(void **state)
{
	struct clocks c = { 0 };
	uint64_t back;

	(void)state;
	clocks_stop(&c, &vm, vcpus, NR);
	assert_true(c.stopped);
	assert_int_equal(kvm.nr_set, 0);
	/* What goes on meanwhile. KVM may move a counter by itself. */
	kvm.ns = 999999;
	kvm.pit.channels[0].count = 5;
	kvm.offsets[1] -= 12345;
	usleep(1000);
	clocks_start(&c, &vm, vcpus, NR);
	assert_false(c.stopped);
	assert_string_equal(kvm.order, "c012p");
	assert_true(kvm.ns == 1000);
	assert_int_equal(kvm.pit.channels[0].count, 77);
	back = (uint64_t)0 - 5 - kvm.offsets[0];
	assert_in_range(back, 1000, 1000000000000);
	assert_true(kvm.offsets[1] == kvm.offsets[0] && kvm.offsets[2] == kvm.offsets[0] - 65);
}

/* Whoever reads the clock may be interrupted before it has read the counter. */
static void both_are_of_one_moment(void **state)
{
	struct clocks c = { 0 };

	(void)state;
	kvm.host_tsc = 4000;
	clocks_stop(&c, &vm, vcpus, NR);
	assert_true(c.tsc == 4000 && c.ns == 1000);
	clocks_start(&c, &vm, vcpus, NR);
	assert_in_range((uint64_t)0 - 5 - kvm.offsets[0], 1000000, __rdtsc());
}

static void once(void **state)
{
	struct clocks c = { 0 };

	(void)state;
	clocks_start(&c, &vm, vcpus, NR);
	clocks_stop(&c, &vm, vcpus, NR);
	clocks_start(&c, &vm, vcpus, NR);
	clocks_start(&c, &vm, vcpus, NR);
	assert_string_equal(kvm.order, "c012p");
}

static void without_an_8254(void **state)
{
	struct clocks c = { 0 };

	(void)state;
	kvm.has_pit = false;
	clocks_stop(&c, &vm, vcpus, NR);
	clocks_start(&c, &vm, vcpus, NR);
	assert_string_equal(kvm.order, "c012");
}

/* All or none: clocks that do not agree are worse than a jump. */
static void an_old_kvm_lets_all_go_on(void **state)
{
	struct clocks c = { 0 };

	(void)state;
	kvm.has_offsets = false;
	clocks_stop(&c, &vm, vcpus, NR);
	assert_false(c.stopped);
	clocks_start(&c, &vm, vcpus, NR);
	assert_string_equal(kvm.order, "");
}

#define TEST(fn) cmocka_unit_test_setup(fn, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(they_go_on_where_they_were),
		TEST(both_are_of_one_moment),
		TEST(once),
		TEST(without_an_8254),
		TEST(an_old_kvm_lets_all_go_on),
	};

	return cmocka_run_group_tests_name("clocks", tests, NULL, NULL);
}
