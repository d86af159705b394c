// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers of a vCPU, from KVM and back (cpu-state.h).
 *
 * Two orders matter, and they are not the same one. Taking: the multiprocessor state first, since
 * asking for it lets the local APIC accept what is pending; MSRs before the APIC, because its timer
 * goes on: an expiry in between is then in both, not in neither; events last. Setting: system
 * registers before the APIC, which they enable; general registers before events, which they clear;
 * the APIC before the deadline of its timer, which is dropped in another mode.
 *
 * A time stamp counter goes on from what it was. It is set by its offset from the host's, and all
 * CPUs get the distance that they had: written one after the other they would differ.
 *
 * MSRs are those that KVM lists, and the memory type ranges, which it does not list. One that cannot
 * be set is an error unless it has the value already.
 *
 * Source: Documentation/virt/kvm/api.rst, and vcpu.rst §4 in devices/ (Linux 6.1); Intel SDM volume
 * 3A §10.5.4 (timer), §11.11.2 (memory types).
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm-cpu.h"
#include "kvm.h"
#include "log.h"
#include "state.h"
#include "util.h"
#include "x86/cpu-state.h"

#define MSR_TSC		 0x10u
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_CHUNK	 128u /* KVM takes fewer than 256 at once */

#define APIC_IRR	    0x200u
#define APIC_ISR	    0x100u
#define APIC_TIMER	    0x320u
#define TIMER_MODE_MASK	    0x60000u
#define TIMER_MODE_DEADLINE 0x40000u
#define TIMER_MASKED	    0x10000u

/* Memory type ranges: the default, sixteen variable registers, eleven fixed ones. */
static const struct {
	uint32_t first, nr;
} unlisted_msrs[] = {
	{ 0x2ff, 1 },
	{ 0x200, 16 },
	{ 0x250, 1 },
	{ 0x258, 2 },
	{ 0x268, 8 },
};

/* struct kvm_msrs with room for its entries. */
struct msr_chunk {
	uint32_t nmsrs;
	uint32_t padding;
	struct kvm_msr_entry entries[MSR_CHUNK];
};

/* ---- what there is ---- */

static int list_msrs(struct cpu_host *host, int sys_fd)
{
	struct {
		uint32_t nmsrs;
		uint32_t indices[CPU_STATE_MAX_MSRS];
	} list = { .nmsrs = CPU_STATE_MAX_MSRS };

	if (ioctl(sys_fd, KVM_GET_MSR_INDEX_LIST, &list))
		return -errno;
	for (uint32_t i = 0; i < list.nmsrs && i < CPU_STATE_MAX_MSRS - 28; i++)
		host->msrs[host->nr_msrs++] = list.indices[i];
	for (size_t i = 0; i < ARRAY_SIZE(unlisted_msrs); i++)
		for (uint32_t n = 0; n < unlisted_msrs[i].nr; n++)
			host->msrs[host->nr_msrs++] = unlisted_msrs[i].first + n;
	return list.nmsrs > CPU_STATE_MAX_MSRS - 28 ? -E2BIG : 0;
}

int cpu_host_init(struct cpu_host *host, struct vm *vm)
{
	int xsave = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2), rc;

	*host = (struct cpu_host){ .xsave_bytes = xsave > 0 ? (uint32_t)xsave : 0 };
	if (xsave < (int)sizeof(struct kvm_xsave) || xsave > (int)CPU_STATE_MAX_XSAVE ||
	    kvm_capability(vm->sys_fd, KVM_CAP_SREGS2) <= 0) {
		log_error("snapshot: this host's KVM cannot tell all of a CPU's state\n"
			  "it needs Linux 5.17 or newer.");
		return -ENOTSUP;
	}
	rc = list_msrs(host, vm->sys_fd);
	if (rc)
		log_error("snapshot: KVM_GET_MSR_INDEX_LIST: %s", strerror(-rc));
	return rc;
}

static bool host_has_msr(const struct cpu_host *host, uint32_t index)
{
	for (uint32_t i = 0; i < host->nr_msrs; i++)
		if (host->msrs[i] == index)
			return true;
	return false;
}

/* ---- MSRs ---- */

/* One that this vCPU has not is left out. */
static int take_msrs(struct vcpu *vcpu, const struct cpu_host *host, struct cpu_state *cpu)
{
	struct msr_chunk chunk = { 0 };
	uint32_t at = 0;

	cpu->nr_msrs = 0;
	while (at < host->nr_msrs) {
		int n;

		chunk.nmsrs = (uint32_t)min_u64(MSR_CHUNK, host->nr_msrs - at);
		for (uint32_t i = 0; i < chunk.nmsrs; i++)
			chunk.entries[i] = (struct kvm_msr_entry){ .index = host->msrs[at + i] };
		n = ioctl(vcpu->fd, KVM_GET_MSRS, &chunk);
		if (n < 0)
			return -errno;
		memcpy(cpu->msrs + cpu->nr_msrs, chunk.entries, (size_t)n * sizeof(chunk.entries[0]));
		cpu->nr_msrs += (uint32_t)n;
		at += (uint32_t)n + ((uint32_t)n < chunk.nmsrs);
	}
	return 0;
}

static int get_msr(struct vcpu *vcpu, uint32_t index, uint64_t *value)
{
	struct msr_chunk one = { .nmsrs = 1, .entries = { { .index = index } } };
	int n = ioctl(vcpu->fd, KVM_GET_MSRS, &one);

	*value = one.entries[0].data;
	return n < 0  ? -errno :
	       n == 1 ? 0 :
			-ENXIO;
}

static int set_msr(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
	struct msr_chunk one = { .nmsrs = 1, .entries = { { .index = index, .data = value } } };
	int n = ioctl(vcpu->fd, KVM_SET_MSRS, &one);

	return n < 0  ? -errno :
	       n == 1 ? 0 :
			-EINVAL;
}

/* Some can only be read, or exist as long as they are 0. */
static int tolerate_msr(struct vcpu *vcpu, const struct kvm_msr_entry *e)
{
	uint64_t now;

	if (get_msr(vcpu, e->index, &now) ? !e->data : now == e->data)
		return 0;
	log_error("restore: vcpu %u: MSR %#x cannot be %#llx on this host", vcpu->index, e->index,
		  (unsigned long long)e->data);
	return -EINVAL;
}

/* All but the counter and its deadline. */
static int load_msrs(struct vcpu *vcpu, const struct cpu_state *cpu)
{
	struct msr_chunk chunk = { 0 };
	uint32_t at = 0;

	while (at < cpu->nr_msrs) {
		const struct kvm_msr_entry *e = &cpu->msrs[at];
		int n, rc = 0;

		if (e->index == MSR_TSC || e->index == MSR_TSC_DEADLINE) {
			at++;
			continue;
		}
		for (chunk.nmsrs = 0; chunk.nmsrs < MSR_CHUNK && at + chunk.nmsrs < cpu->nr_msrs; chunk.nmsrs++) {
			e = &cpu->msrs[at + chunk.nmsrs];
			if (e->index == MSR_TSC || e->index == MSR_TSC_DEADLINE)
				break;
			chunk.entries[chunk.nmsrs] = *e;
		}
		n = ioctl(vcpu->fd, KVM_SET_MSRS, &chunk);
		if (n < 0)
			return -errno;
		if ((uint32_t)n < chunk.nmsrs)
			rc = tolerate_msr(vcpu, &cpu->msrs[at + (uint32_t)n]);
		if (rc)
			return rc;
		at += (uint32_t)n + ((uint32_t)n < chunk.nmsrs);
	}
	return 0;
}

static uint64_t *find_msr(struct cpu_state *cpu, uint32_t index)
{
	for (uint32_t i = 0; i < cpu->nr_msrs; i++) {
		struct kvm_msr_entry *e = &cpu->msrs[i];

		if (e->index == index)
			return (uint64_t *)&e->data;
	}
	return NULL;
}

/* ---- the time stamp counter ---- */

static int offset_ioctl(struct vcpu *vcpu, unsigned long request, uint64_t *offset)
{
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uint64_t)(uintptr_t)offset,
	};

	return ioctl(vcpu->fd, request, &attr) ? -errno : 0;
}

static int get_tsc(struct vcpu *vcpu, struct cpu_state *cpu, uint64_t *boot_offset)
{
	uint64_t offset = 0;
	int rc = offset_ioctl(vcpu, KVM_GET_DEVICE_ATTR, &offset);

	if (!rc)
		rc = get_msr(vcpu, MSR_TSC, &cpu->tsc);
	if (!vcpu->index)
		*boot_offset = offset;
	cpu->tsc_ahead = offset - *boot_offset;
	return rc;
}

int cpu_state_tsc(struct vcpu *vcpu, uint64_t *now)
{
	return get_msr(vcpu, MSR_TSC, now);
}

static int set_tsc(struct vcpu *vcpu, const struct cpu_state *cpu, uint64_t *boot_offset)
{
	uint64_t offset = 0, now = 0;
	int rc = 0;

	if (!vcpu->index) {
		rc = offset_ioctl(vcpu, KVM_GET_DEVICE_ATTR, &offset);
		if (!rc)
			rc = get_msr(vcpu, MSR_TSC, &now);
		*boot_offset = offset + (cpu->tsc - now);
	}
	offset = *boot_offset + cpu->tsc_ahead;
	return rc ? rc : offset_ioctl(vcpu, KVM_SET_DEVICE_ATTR, &offset);
}

static uint32_t apic_register(const struct cpu_state *cpu, unsigned int at)
{
	uint32_t v;

	memcpy(&v, cpu->lapic.regs + at, sizeof(v));
	return v;
}

void cpu_state_keep_deadline(struct cpu_state *cpu)
{
	uint32_t timer = apic_register(cpu, APIC_TIMER), vector = timer & 0xff;
	unsigned int word = vector / 32 * 16;
	uint32_t shown = apic_register(cpu, APIC_IRR + word) | apic_register(cpu, APIC_ISR + word);
	uint64_t *deadline = find_msr(cpu, MSR_TSC_DEADLINE);

	if (deadline && !*deadline && (timer & TIMER_MODE_MASK) == TIMER_MODE_DEADLINE &&
	    !(timer & TIMER_MASKED) && !(shown >> vector % 32 & 1))
		*deadline = cpu->tsc;
}

/* ---- all of it ---- */

struct cpu_part {
	const char *name;
	unsigned long request;
	void *data;
};

/* In their order. 0 or -errno, with the name of the part that failed in *step. */
static int exchange(struct vcpu *vcpu, const struct cpu_part *parts, size_t nr, const char **step)
{
	for (size_t i = 0; i < nr; i++) {
		*step = parts[i].name;
		if (ioctl(vcpu->fd, parts[i].request, parts[i].data) < 0)
			return -errno;
	}
	return 0;
}

int cpu_state_get(struct vcpu *vcpu, const struct cpu_host *host, struct cpu_state *cpu,
		  uint64_t *boot_offset, const char **step)
{
	const struct cpu_part first[] = {
		{ "KVM_GET_MP_STATE", KVM_GET_MP_STATE, &cpu->mp },
		{ "KVM_GET_REGS", KVM_GET_REGS, &cpu->regs },
		{ "KVM_GET_SREGS2", KVM_GET_SREGS2, &cpu->sregs },
		{ "KVM_GET_XSAVE2", KVM_GET_XSAVE2, cpu->xsave },
		{ "KVM_GET_XCRS", KVM_GET_XCRS, &cpu->xcrs },
		{ "KVM_GET_DEBUGREGS", KVM_GET_DEBUGREGS, &cpu->debug },
	},
			      last[] = {
				      { "KVM_GET_LAPIC", KVM_GET_LAPIC, &cpu->lapic },
				      { "KVM_GET_VCPU_EVENTS", KVM_GET_VCPU_EVENTS, &cpu->events },
			      };
	int rc;

	memset(cpu, 0, sizeof(*cpu));
	rc = exchange(vcpu, first, ARRAY_SIZE(first), step);
	if (rc)
		return rc;
	*step = "its time stamp counter";
	rc = get_tsc(vcpu, cpu, boot_offset);
	if (!rc) {
		*step = "KVM_GET_MSRS";
		rc = take_msrs(vcpu, host, cpu);
	}
	if (!rc)
		rc = exchange(vcpu, last, ARRAY_SIZE(last), step);
	if (!rc)
		cpu_state_keep_deadline(cpu);
	return rc;
}

int cpu_state_set(struct vcpu *vcpu, const struct cpu_host *host, struct cpu_state *cpu,
		  uint64_t *boot_offset, const char **step)
{
	const struct cpu_part first[] = {
		{ "KVM_SET_SREGS2", KVM_SET_SREGS2, &cpu->sregs },
		{ "KVM_SET_MP_STATE", KVM_SET_MP_STATE, &cpu->mp },
		{ "KVM_SET_REGS", KVM_SET_REGS, &cpu->regs },
		{ "KVM_SET_XCRS", KVM_SET_XCRS, &cpu->xcrs },
		{ "KVM_SET_XSAVE", KVM_SET_XSAVE, cpu->xsave },
		{ "KVM_SET_DEBUGREGS", KVM_SET_DEBUGREGS, &cpu->debug },
		{ "KVM_SET_LAPIC", KVM_SET_LAPIC, &cpu->lapic },
	},
			      last[] = {
				      { "KVM_SET_VCPU_EVENTS", KVM_SET_VCPU_EVENTS, &cpu->events },
			      };
	uint64_t *deadline = find_msr(cpu, MSR_TSC_DEADLINE);
	int rc = exchange(vcpu, first, ARRAY_SIZE(first), step);

	for (uint32_t i = 0; i < cpu->nr_msrs && !rc; i++) {
		*step = "an MSR that this host has not";
		rc = host_has_msr(host, cpu->msrs[i].index) ? 0 : -EINVAL;
	}
	if (!rc) {
		*step = "its time stamp counter";
		rc = set_tsc(vcpu, cpu, boot_offset);
	}
	if (!rc) {
		*step = "KVM_SET_MSRS";
		rc = load_msrs(vcpu, cpu);
	}
	if (!rc && deadline)
		rc = set_msr(vcpu, MSR_TSC_DEADLINE, *deadline);
	return rc ? rc : exchange(vcpu, last, ARRAY_SIZE(last), step);
}

void cpu_state_carry(struct cpu_state *cpu, const struct cpu_host *host, struct state *s)
{
	state_raw(s, &cpu->mp, sizeof(cpu->mp));
	state_raw(s, &cpu->regs, sizeof(cpu->regs));
	state_raw(s, &cpu->sregs, sizeof(cpu->sregs));
	state_raw(s, &cpu->xcrs, sizeof(cpu->xcrs));
	state_raw(s, &cpu->debug, sizeof(cpu->debug));
	state_raw(s, &cpu->lapic, sizeof(cpu->lapic));
	state_raw(s, &cpu->events, sizeof(cpu->events));
	state_u64(s, &cpu->tsc);
	state_u64(s, &cpu->tsc_ahead);
	state_count(s, &cpu->nr_msrs, CPU_STATE_MAX_MSRS, "more MSRs than there are");
	state_raw(s, cpu->msrs, cpu->nr_msrs * sizeof(cpu->msrs[0]));
	state_same(s, host->xsave_bytes, "bytes of extended state");
	state_raw(s, cpu->xsave, host->xsave_bytes);
}

/* ---- interrupt controllers and clocks ---- */

static const struct {
	const char *name;
	uint32_t id;
} chip_ids[CHIPS_NR] = {
	{ "the first 8259", KVM_IRQCHIP_PIC_MASTER },
	{ "the second 8259", KVM_IRQCHIP_PIC_SLAVE },
	{ "the I/O APIC", KVM_IRQCHIP_IOAPIC },
};

/* When each channel was last set, in the host's time, is of no use later. */
void chips_use_pit(struct chips_state *c, const struct kvm_pit_state2 *pit)
{
	c->pit = *pit;
	for (size_t i = 0; i < ARRAY_SIZE(c->pit.channels); i++)
		c->pit.channels[i].count_load_time = 0;
}

int chips_get(struct vm *vm, bool pit, struct chips_state *c, const char **step)
{
	struct kvm_clock_data clock = { 0 };

	memset(c, 0, sizeof(*c));
	for (size_t i = 0; i < CHIPS_NR; i++) {
		*step = chip_ids[i].name;
		c->chips[i].chip_id = chip_ids[i].id;
		if (ioctl(vm->fd, KVM_GET_IRQCHIP, &c->chips[i]))
			return -errno;
	}
	*step = "KVM_GET_PIT2";
	if (pit && ioctl(vm->fd, KVM_GET_PIT2, &c->pit))
		return -errno;
	chips_use_pit(c, &c->pit);
	*step = "KVM_GET_CLOCK";
	if (ioctl(vm->fd, KVM_GET_CLOCK, &clock))
		return -errno;
	c->clock_ns = clock.clock;
	return 0;
}

int chips_set(struct vm *vm, bool pit, struct chips_state *c, const char **step)
{
	struct kvm_clock_data clock = { .clock = c->clock_ns };

	*step = "KVM_SET_CLOCK";
	if (c->clock_ns >> 62)
		return -EINVAL;
	if (ioctl(vm->fd, KVM_SET_CLOCK, &clock))
		return -errno;
	*step = "KVM_SET_PIT2";
	if (pit && ioctl(vm->fd, KVM_SET_PIT2, &c->pit))
		return -errno;
	for (size_t i = 0; i < CHIPS_NR; i++) {
		*step = chip_ids[i].name;
		c->chips[i].chip_id = chip_ids[i].id;
		if (ioctl(vm->fd, KVM_SET_IRQCHIP, &c->chips[i]))
			return -errno;
	}
	return 0;
}

void chips_carry(struct chips_state *c, bool pit, struct state *s)
{
	state_section(s, "chips", 0);
	for (size_t i = 0; i < CHIPS_NR; i++)
		state_raw(s, &c->chips[i].chip, sizeof(c->chips[i].chip));
	state_same(s, pit, "an interval timer");
	if (pit)
		state_raw(s, &c->pit, sizeof(c->pit));
	state_u64(s, &c->clock_ns);
}
