// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a guest ended: its last words, what it had switched off, whether it halted.
 *
 * Words: the UART calls on vCPU threads, under its own lock; the virtio console on the
 * loop's. Words are compared without keeping a line, so no length of one hides them.
 *
 * Shutdown: measured with Linux 6.1 and 6.12, 64-bit and 32-bit. kernel_restart() runs KVM's
 * reboot notifier, which switches off the clock of each CPU, and machine_shutdown(), which masks
 * the pins of the I/O APIC; kernel_halt() only the latter. Both mask the 8259s before. An
 * emergency restart, which ends a panic, does none of it. A vCPU that asks for a reset does not
 * run again (kvm-cpu.c), so all is still as it was then when this looks at it, on the main
 * thread, after the vCPUs have ended. What cannot be told apart so: "reboot=force" leaves out
 * machine_shutdown(), and "no-kvmclock" leaves the lines alone to tell.
 *
 * Halted: with an in-kernel interrupt controller HLT does not leave KVM, so lkvm has to
 * look. Looking at a vCPU costs an exit; therefore the first question is free: if no vCPU
 * thread has used any CPU time since the last tick, all of them are asleep, and only then
 * each is asked whether something could wake it up. Runs on the loop's thread.
 *
 * Source: Linux 6.1 Documentation/virt/kvm/x86/msr.rst (clock), api.rst 4.26 (irqchips);
 * 82093AA data sheet §3.2.4 (redirection table); 8259A data sheet (IMR).
 */
#include <asm/kvm_para.h>
#include <string.h>
#include <sys/ioctl.h>

#include "event.h"
#include "kvm-cpu.h"
#include "kvm.h"
#include "log.h"
#include "util.h"
#include "x86/end-watch.h"
#include "x86/layout.h"

#define CLOCK_ENABLED	    1u /* of MSR_KVM_SYSTEM_TIME_NEW */
#define IOAPIC_ENTRY_MASKED (1u << 16)
#define PIC_CASCADE	    (1u << 2) /* of the master: where the slave comes in */

/* ---- words ---- */

static const struct {
	const char *text;
	enum last_words words;
} messages[] = {
	{ "Kernel panic - not syncing", WORDS_PANIC },
	{ "reboot: Restarting system", WORDS_RESTART },
	{ "sysrq: Resetting", WORDS_RESTART }, /* somebody wanted it: SysRq b */
	{ "reboot: System halted", WORDS_HALT },
	{ "reboot: Power down", WORDS_HALT },
	{ "reboot: Power off not available", WORDS_HALT }, /* Linux 6.12 */
};

#define ALL_MESSAGES ((1u << ARRAY_SIZE(messages)) - 1)

/* "[    1.234567] " or, with caller ids, "[    1.234567][    T1] ": what has come of it. */
enum stamp {
	STAMP_NONE,
	STAMP_OPEN,   /* "[" */
	STAMP_TIME,   /* ... and a digit */
	STAMP_CLOSED, /* ... and "]" */
	STAMP_CALLER, /* ... and "[" */
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static enum stamp next_stamp(enum stamp now, char c)
{
	switch (now) {
	case STAMP_OPEN:
	case STAMP_TIME:
		if (is_digit(c) || (now == STAMP_TIME && c == '.'))
			return STAMP_TIME;
		if (now == STAMP_OPEN && c == ' ')
			return STAMP_OPEN;
		if (now == STAMP_TIME && c == ']')
			return STAMP_CLOSED;
		break;
	case STAMP_CLOSED:
		if (c == '[')
			return STAMP_CALLER;
		break;
	case STAMP_CALLER: /* a task or a CPU */
		if (is_digit(c) || c == ' ' || c == 'T' || c == 'C')
			return STAMP_CALLER;
		if (c == ']')
			return STAMP_CLOSED;
		break;
	case STAMP_NONE:
		break;
	}
	return c == '[' ? STAMP_OPEN : STAMP_NONE;
}

/* The messages of @candidates whose next byte is @c. One that is complete counts. */
static unsigned int end_watch_compare(struct console_watch *w, unsigned int candidates, char c)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(messages); i++) {
		const char *rest = messages[i].text + w->compared;

		if (!(candidates & 1u << i))
			continue;
		if (*rest == c && rest[1])
			continue;
		if (*rest == c)
			atomic_store(w->words, (int)messages[i].words);
		candidates &= ~(1u << i);
	}
	return candidates;
}

static void message_may_begin(struct console_watch *w)
{
	w->candidates = ALL_MESSAGES;
	w->compared = 0;
}

static void end_watch_look_at(struct console_watch *w, char c)
{
	bool begins = c == '\n' || c == '\r' || (w->stamp == STAMP_CLOSED && c == ' ');

	w->stamp = (uint8_t)next_stamp((enum stamp)w->stamp, c);
	if (begins) {
		message_may_begin(w);
	} else if (w->candidates) {
		w->candidates = (uint8_t)end_watch_compare(w, w->candidates, c);
		w->compared++;
	}
}

void console_watch_init(struct console_watch *watch, atomic_int *words)
{
	*watch = (struct console_watch){ .words = words };
	message_may_begin(watch);
}

void console_watch_put(struct console_watch *watch, const char *data, size_t len)
{
	oops_watch_put(&watch->oops, data, len);
	for (size_t i = 0; i < len; i++)
		end_watch_look_at(watch, data[i]);
}

const char *end_watch_oops(const struct end_watch *watch)
{
	return *watch->serial.oops.first ? watch->serial.oops.first : watch->virtio.oops.first;
}

/* ---- shutdown ---- */

/*
 * What is still on was not switched off. That nothing is on says something only of what was
 * used before: a kernel that gives up at once has used nothing.
 */
enum shutdown shutdown_judge(const struct shutdown_traces *t, bool halted)
{
	if (!t->has_idt)
		return SHUTDOWN_NO_OS;
	if (t->lines_on || (t->clock_on && !halted))
		return SHUTDOWN_SKIPPED;
	if (t->lines_used || (t->clock_used && !t->clock_on))
		return SHUTDOWN_DONE;
	return SHUTDOWN_UNKNOWN;
}

/* The vCPU whose own doing ended the VM; the boot CPU if it was not one's own doing. */
static const struct vcpu *the_one_that_ended(const struct end_watch *w)
{
	for (unsigned int i = 0; i < w->nr_vcpus; i++)
		if (w->vcpus[i]->ended)
			return w->vcpus[i];
	return w->vcpus[0];
}

/* lkvm enters a kernel with an empty interrupt table. */
static void read_idt(struct shutdown_traces *t, const struct vcpu *vcpu)
{
	struct kvm_sregs sregs;

	t->has_idt = !ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) && sregs.idt.limit;
}

/* Linux asks KVM for the time of day when it starts to use the clock, and never takes that back. */
static void read_clock(struct shutdown_traces *t, const struct vcpu *vcpu)
{
	struct { /* struct kvm_msrs with room for its entries */
		uint32_t nmsrs;
		uint32_t padding;
		struct kvm_msr_entry entries[2];
	} msrs = {
		.nmsrs = 2,
		.entries = {
			{ .index = MSR_KVM_SYSTEM_TIME_NEW },
			{ .index = MSR_KVM_WALL_CLOCK_NEW },
		},
	};

	if (ioctl(vcpu->fd, KVM_GET_MSRS, &msrs) != 2)
		return; /* a KVM without it */
	t->clock_on = msrs.entries[0].data & CLOCK_ENABLED;
	t->clock_used = t->clock_on || msrs.entries[1].data;
}

/* Its register select is 0 until somebody has selected a register. */
static void read_ioapic(struct shutdown_traces *t, const struct vm *vm)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	if (ioctl(vm->fd, KVM_GET_IRQCHIP, &chip))
		return;
	t->lines_used |= chip.chip.ioapic.ioregsel != 0;
	for (unsigned int i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		t->lines_on += !(chip.chip.ioapic.redirtbl[i].bits & IOAPIC_ENTRY_MASKED);
}

/* One that nobody has initialized has no vectors. */
static void read_pic(struct shutdown_traces *t, const struct vm *vm, uint32_t chip_id)
{
	struct kvm_irqchip chip = { .chip_id = chip_id };
	unsigned int on;

	if (ioctl(vm->fd, KVM_GET_IRQCHIP, &chip) || !chip.chip.pic.irq_base)
		return;
	t->lines_used = true;
	on = ~chip.chip.pic.imr & 0xffu;
	if (chip_id == KVM_IRQCHIP_PIC_MASTER)
		on &= ~PIC_CASCADE;
	t->lines_on += (unsigned int)__builtin_popcount(on);
}

enum shutdown end_watch_shutdown(const struct end_watch *w, enum stop_reason reason, bool is_kernel)
{
	struct shutdown_traces t = { 0 };
	const struct vcpu *vcpu;

	/* Any other may come before there is anything to look at. */
	if (!is_kernel || (reason != STOP_RESET && reason != STOP_HALTED))
		return SHUTDOWN_NO_OS;
	vcpu = the_one_that_ended(w);
	read_idt(&t, vcpu);
	read_clock(&t, vcpu);
	read_ioapic(&t, w->vm);
	read_pic(&t, w->vm, KVM_IRQCHIP_PIC_MASTER);
	read_pic(&t, w->vm, KVM_IRQCHIP_PIC_SLAVE);
	log_verbose("at its end: KVM's clock %s, interrupt lines %s, %u on",
		    t.clock_on	 ? "on" :
		    t.clock_used ? "off" :
				   "unused",
		    t.lines_used ? "used" : "unused", t.lines_on);
	return shutdown_judge(&t, reason == STOP_HALTED);
}

/* ---- halted ---- */

static uint64_t total_cpu_time(const struct end_watch *w)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < w->nr_vcpus; i++)
		sum += vcpu_cpu_time_ns(w->vcpus[i]);
	return sum;
}

static void ask_all(struct end_watch *w)
{
	for (unsigned int i = 0; i < w->nr_vcpus; i++) {
		atomic_store(&w->vcpus[i]->report, VCPU_REPORT_NONE);
		vcpu_kick(w->vcpus[i], VCPU_REQUEST_REPORT);
	}
	w->asked = true;
}

static bool all_dead(const struct end_watch *w)
{
	for (unsigned int i = 0; i < w->nr_vcpus; i++)
		if (atomic_load(&w->vcpus[i]->report) != VCPU_REPORT_DEAD)
			return false;
	return true;
}

static void on_tick(void *arg, uint32_t events)
{
	struct end_watch *w = arg;
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

/* ---- all of it ---- */

void end_watch_init(struct end_watch *watch)
{
	memset(watch, 0, sizeof(*watch));
	console_watch_init(&watch->serial, &watch->words);
	console_watch_init(&watch->virtio, &watch->words);
}

int end_watch_start(struct end_watch *watch, struct event_loop *loop, struct vm *vm,
		    struct vcpu *const *vcpus, unsigned int nr_vcpus)
{
	int timer;

	watch->vm = vm;
	watch->vcpus = vcpus;
	watch->nr_vcpus = nr_vcpus;
	timer = event_timer_create(loop, on_tick, watch);
	if (timer < 0)
		return timer;
	event_timer_set(loop, timer, HALT_TICK_NS, HALT_TICK_NS);
	return 0;
}

enum last_words end_watch_words(struct end_watch *watch)
{
	return (enum last_words)atomic_load(&watch->words);
}
