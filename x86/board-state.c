// SPDX-License-Identifier: GPL-2.0-only
/*
 * All that a guest can observe of the board, to bytes and back (board.h, state.h).
 *
 * CPUs come first, then what interrupts them, then devices, in the order in which they are loaded: an
 * interrupt that the I/O APIC sends has to find a local APIC, and a device's level an I/O APIC. To
 * be saved they are taken from KVM in the other order.
 *
 * What was on its way between devices and KVM when the machine was paused may be lost: kicks and
 * interrupts in eventfds. So each queue is kicked once, and each device interrupts once, when a
 * machine that was loaded goes on.
 *
 * The guest's clocks go on as if it had slept, or the time of day would be wrong: KVM's clock and the time
 * stamp counters are further on by the time that has gone by, to who reads them all at once. Kernels are
 * told that they were stopped (KVM_KVMCLOCK_CTRL), and do not take it for a lockup. Main thread,
 * which is the loop's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm-cpu.h"
#include "kvm.h"
#include "log.h"
#include "state.h"
#include "util.h"
#include "virtio/device.h"
#include "virtio/mmio.h"
#include "virtio/pci.h"
#include "x86/board.h"
#include "x86/clocks.h"
#include "x86/cpu-state.h"
#include "x86/cpuid.h"

#define DEVICE_BYTES KIB(16) /* of one, with room to spare: the filters of a network card are most of it */

/* Too big for a stack; one CPU after the other. */
struct scratch {
	struct cpu_host host;
	struct cpu_state cpu;
	struct chips_state chips;
	struct cpuid_table cpuid;
	uint64_t boot_offset;
	uint64_t boot_tsc;	      /* what the first CPU's counter was set to */
	uint64_t tsc_gone;	      /* since the clocks were stopped */
	uint64_t realtime_ns;	      /* when that was */
	uint64_t slept_ns, slept_tsc; /* since then, until it was loaded */
};

void board_freeze(struct board *b)
{
	for (unsigned int i = 0; i < b->nr_virtio; i++)
		virtio_freeze(b->slots[i].dev);
}

void board_thaw(struct board *b, bool loaded)
{
	for (unsigned int i = 0; i < b->nr_virtio; i++)
		virtio_thaw(b->slots[i].dev, loaded);
	if (loaded)
		serial_go_on(&b->serial);
}

bool board_is_at_rest(const struct board *b)
{
	for (unsigned int i = 0; i < b->nr_virtio; i++)
		if (!virtio_is_at_rest(b->slots[i].dev))
			return false;
	return true;
}

uint64_t board_state_bytes(const struct board *b)
{
	return sizeof(struct scratch) + b->config->cpus * sizeof(struct cpu_state) +
	       (b->nr_virtio + 1) * DEVICE_BYTES;
}

uint32_t board_tsc_khz(const struct board *b)
{
	int khz = ioctl(b->vcpus[0]->fd, KVM_GET_TSC_KHZ, 0);

	return b->config->tsc_khz ? b->config->tsc_khz :
	       khz > 0		  ? (uint32_t)khz :
				    0;
}

static void cpu_carry(struct board *b, struct scratch *x, struct state *s, unsigned int i)
{
	const char *step = "";
	int rc = 0;

	state_section(s, "cpu", i);
	if (!state_loads(s))
		rc = cpu_state_get(b->vcpus[i], &x->host, &x->cpu, &x->boot_offset, &step);
	x->cpu.tsc -= x->tsc_gone;
	cpu_state_carry(&x->cpu, &x->host, s);
	x->cpu.tsc += x->slept_tsc;
	if (state_loads(s) && state_is_good(s))
		rc = cpu_state_set(b->vcpus[i], &x->host, &x->cpu, &x->boot_offset, &step);
	if (!i)
		x->boot_tsc = x->cpu.tsc;
	if (rc)
		state_refuse_errno(s, step, rc);
}

static void board_carry_cpus(struct board *b, struct scratch *x, struct state *s)
{
	const struct cpu_config config = board_cpu_config(b);

	cpu_fit_cpuid(b->vcpus[0], &config, &x->cpuid);
	cpuid_carry(&x->cpuid, s);
	state_same(s, b->nr_vcpus, "CPUs");
	for (unsigned int i = 0; i < b->nr_vcpus && state_is_good(s); i++)
		cpu_carry(b, x, s, i);
}

static void board_carry_devices(struct board *b, struct state *s)
{
	bool crashed = atomic_load(&b->pvpanic.crashed);

	state_section(s, "pvpanic", 0);
	state_bool(s, &crashed);
	atomic_store(&b->pvpanic.crashed, crashed);
	serial_carry(&b->serial, s);
	rtc_carry(&b->rtc, s);
	i8042_carry(&b->i8042, s);
	pci_carry(&b->pci, s);
	state_same(s, b->nr_virtio, "virtio devices");
	for (unsigned int i = 0; i < b->nr_virtio && state_is_good(s); i++) {
		virtio_carry(b->slots[i].dev, s, i);
		if (b->slots[i].pci)
			virtio_pci_carry(b->slots[i].pci, s);
		else
			virtio_mmio_carry(b->slots[i].mmio, s);
	}
}

/* What they were is what they are. */
static void use_stopped_clocks(struct scratch *x, const struct clocks *c)
{
	if (!c || !c->stopped)
		return;
	x->tsc_gone = clocks_gone(c);
	x->chips.clock_ns = c->ns;
	x->realtime_ns = c->realtime_ns;
	if (c->has_pit)
		chips_use_pit(&x->chips, &c->pit);
}

/* The counters go on since they were set, and KVM's clock with them (x86/clocks.c says why). */
static int follow_counters(const struct board *b, struct scratch *x)
{
	const uint32_t khz = board_tsc_khz(b);
	uint64_t now = 0;
	int rc = cpu_state_tsc(b->vcpus[0], &now);

	if (!rc && khz && now > x->boot_tsc)
		x->chips.clock_ns += (uint64_t)((unsigned __int128)(now - x->boot_tsc) * 1000000u / khz);
	return rc;
}

/* A host whose clock was set back has not gone back in time. */
static void time_carry(struct board *b, struct scratch *x, struct state *s)
{
	const uint64_t now = clocks_realtime();

	state_section(s, "time", 0);
	state_u64(s, &x->realtime_ns);
	if (!state_loads(s) || !state_is_good(s) || b->config->keeps_clock || x->realtime_ns >= now)
		return;
	x->slept_ns = now - x->realtime_ns;
	x->slept_tsc = (uint64_t)((unsigned __int128)x->slept_ns * board_tsc_khz(b) / 1000000u);
}

void board_carry(struct board *b, bool pit, const struct clocks *clocks, struct state *s)
{
	struct scratch *x = calloc(1, sizeof(*x));
	const char *step = "";
	int rc = x ? cpu_host_init(&x->host, b->host->vm) : -ENOMEM;

	if (!rc && b->config->nested)
		rc = -EOPNOTSUPP;
	if (!rc && !state_loads(s))
		rc = chips_get(b->host->vm, pit, &x->chips, &step);
	if (rc) {
		state_refuse_errno(s, step, rc);
		free(x);
		return;
	}
	x->realtime_ns = clocks_realtime();
	use_stopped_clocks(x, clocks);
	time_carry(b, x, s);
	board_carry_cpus(b, x, s);
	chips_carry(&x->chips, pit, s);
	x->chips.clock_ns += x->slept_ns;
	if (state_loads(s) && state_is_good(s)) {
		step = "the time stamp counter";
		rc = follow_counters(b, x);
		if (!rc)
			rc = chips_set(b->host->vm, pit, &x->chips, &step);
	}
	if (rc)
		state_refuse_errno(s, step, rc);
	board_carry_devices(b, s);
	free(x);
}
