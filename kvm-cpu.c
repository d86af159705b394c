// SPDX-License-Identifier: GPL-2.0-only
/*
 * One virtual CPU: its thread, the KVM_RUN loop, and what to do on each exit.
 *
 * The thread owns struct vcpu while it runs. It reaches devices only through
 * the two buses and the VM only through vm_request_stop().
 *
 * Kick: the sender publishes its request, sets immediate_exit and sends a
 * signal with an empty handler. A thread inside KVM_RUN is thrown out by the
 * signal; one that is about to enter sees immediate_exit and returns at once.
 * The thread clears immediate_exit *before* it looks at the requests, so that
 * a request which arrives in between costs one more round, never a loss
 * (api.rst section 5, immediate_exit).
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bus.h"
#include "event.h"
#include "kvm-cpu.h"
#include "kvm-stats.h"
#include "kvm.h"
#include "log.h"
#include "mem.h"
#include "sandbox/sandbox.h"
#include "util.h"

#define VCPU_STACK_BYTES KIB(256)
#define RFLAGS_IF	 0x200u
#define VCPU_MAX_STATS	 64u   /* a descriptor each, of which there may be 1024 */
#define MAX_PIECES	 4096u /* of one access: a string instruction may have many */

static int kick_signal(void)
{
	return SIGRTMIN;
}

static void on_kick(int signal)
{
	(void)signal; /* its arrival is the message: KVM_RUN returns EINTR */
}

int vcpu_install_kick_handler(void)
{
	struct sigaction sa = { .sa_handler = on_kick };
	int rc;

	sigemptyset(&sa.sa_mask);
	rc = sigaction(kick_signal(), &sa, NULL) ? -errno : 0;
	if (rc)
		log_error("vcpu: its signal: %s", strerror(-rc));
	return rc;
}

int vcpu_create(struct vcpu **out, struct vm *vm, unsigned int index, unsigned int id,
		struct bus *pio, struct bus *mmio, const struct mem *mem)
{
	struct vcpu *vcpu = calloc(1, sizeof(*vcpu));
	void *run;
	int rc;

	if (!vcpu)
		return log_enomem("vcpu");
	*vcpu = (struct vcpu){
		.vm = vm,
		.pio = pio,
		.mmio = mmio,
		.mem = mem,
		.index = index,
		.stats_fd = -1,
	};
	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)id);
	if (vcpu->fd < 0) {
		rc = -errno;
		log_error("vcpu %u: KVM_CREATE_VCPU: %s", index, strerror(-rc));
		vcpu_destroy(vcpu);
		return rc;
	}
	run = mmap(NULL, vm->vcpu_mmap_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED) {
		rc = -errno;
		log_error("vcpu %u: mapping its run area: %s", index, strerror(-rc));
		vcpu_destroy(vcpu);
		return rc;
	}
	vcpu->run = run;
	if (index < VCPU_MAX_STATS)
		vcpu->stats_fd = kvm_stats_open(vcpu->fd);
	*out = vcpu;
	return 0;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	if (!vcpu)
		return;
	assert(!vcpu->started);
	if (vcpu->run)
		munmap(vcpu->run, vcpu->vm->vcpu_mmap_bytes);
	if (vcpu->stats_fd >= 0)
		close(vcpu->stats_fd);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	free(vcpu);
}

void vcpu_kick(struct vcpu *vcpu, unsigned int request)
{
	atomic_fetch_or(&vcpu->requests, request);
	if (!vcpu->started)
		return;
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	/* 0: it has not looked at the requests yet. One call, other than pthread_kill(). */
	if (atomic_load(&vcpu->tid))
		syscall(SYS_tgkill, vcpu->vm->pid, atomic_load(&vcpu->tid), kick_signal());
}

void vcpu_join(struct vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	vcpu_release(vcpu); /* it may never have been */
	pthread_join(vcpu->thread, NULL);
	sem_destroy(&vcpu->may_run);
	vcpu->started = false;
}

uint64_t vcpu_cpu_time_ns(const struct vcpu *vcpu)
{
	struct timespec ts = { 0 };
	clockid_t clock;

	if (!vcpu->started || pthread_getcpuclockid(vcpu->thread, &clock) ||
	    clock_gettime(clock, &ts))
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void format_bytes(char *out, size_t out_size, const uint8_t *bytes, size_t n)
{
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; i < n && len + 4 < out_size; i++)
		len += (size_t)snprintf(out + len, out_size - len, "%s%02x", i ? " " : "", bytes[i]);
}

/* Instruction bytes at the guest's CS:RIP through its own page tables. */
static size_t read_instruction(const struct vcpu *vcpu, uint8_t *bytes, size_t max, uint64_t *rip)
{
	struct kvm_regs r;
	struct kvm_sregs s;
	struct kvm_translation tr = { 0 };
	size_t n;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &r) || ioctl(vcpu->fd, KVM_GET_SREGS, &s))
		return 0;
	*rip = r.rip;
	tr.linear_address = s.cs.l ? r.rip : s.cs.base + r.rip;
	if (ioctl(vcpu->fd, KVM_TRANSLATE, &tr) || !tr.valid)
		return 0;
	n = 4096 - (tr.linear_address & 4095);
	if (n > max)
		n = max;
	return mem_read(vcpu->mem, tr.physical_address, bytes, n) ? 0 : n;
}

/* Registers, then the bytes at RIP as far as they can be read. */
static void dump_registers(const struct vcpu *vcpu)
{
	struct kvm_regs r;
	struct kvm_sregs s;
	char text[1600];
	uint8_t code[15];
	uint64_t rip;
	int n;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &r) || ioctl(vcpu->fd, KVM_GET_SREGS, &s))
		return;
	n = snprintf(text, sizeof(text),
		     "  rip %016" PRIx64 "  rsp %016" PRIx64 "  rflags %08" PRIx64 "\n"
		     "  rax %016" PRIx64 "  rbx %016" PRIx64 "  rcx %016" PRIx64 "\n"
		     "  rdx %016" PRIx64 "  rsi %016" PRIx64 "  rdi %016" PRIx64 "\n"
		     "  rbp %016" PRIx64 "  r8  %016" PRIx64 "  r9  %016" PRIx64 "\n"
		     "  r10 %016" PRIx64 "  r11 %016" PRIx64 "  r12 %016" PRIx64 "\n"
		     "  r13 %016" PRIx64 "  r14 %016" PRIx64 "  r15 %016" PRIx64 "\n",
		     (uint64_t)r.rip, (uint64_t)r.rsp, (uint64_t)r.rflags, (uint64_t)r.rax,
		     (uint64_t)r.rbx, (uint64_t)r.rcx, (uint64_t)r.rdx, (uint64_t)r.rsi,
		     (uint64_t)r.rdi, (uint64_t)r.rbp, (uint64_t)r.r8, (uint64_t)r.r9,
		     (uint64_t)r.r10, (uint64_t)r.r11, (uint64_t)r.r12, (uint64_t)r.r13,
		     (uint64_t)r.r14, (uint64_t)r.r15);
	snprintf(text + n, sizeof(text) - (size_t)n,
		 "  cr0 %08" PRIx64 "  cr2 %016" PRIx64 "  cr3 %016" PRIx64 "  cr4 %08" PRIx64
		 "  efer %04" PRIx64 "\n"
		 "  cs %04x base %" PRIx64 " %s  ss %04x  ds %04x  es %04x  fs %04x  gs %04x\n"
		 "  gdt %" PRIx64 ":%04x  idt %" PRIx64 ":%04x\n",
		 (uint64_t)s.cr0, (uint64_t)s.cr2, (uint64_t)s.cr3, (uint64_t)s.cr4,
		 (uint64_t)s.efer, s.cs.selector, (uint64_t)s.cs.base,
		 s.cs.l	 ? "64-bit" :
		 s.cs.db ? "32-bit" :
			   "16-bit",
		 s.ss.selector,
		 s.ds.selector, s.es.selector, s.fs.selector, s.gs.selector,
		 (uint64_t)s.gdt.base, s.gdt.limit, (uint64_t)s.idt.base, s.idt.limit);
	log_raw(text);
	n = (int)read_instruction(vcpu, code, sizeof(code), &rip);
	format_bytes(text, sizeof(text), code, (size_t)n);
	log_raw("  code ");
	log_raw(n ? text : "(unreadable)");
	log_raw("\n");
}

static const char *cause_of_emulation_failure(const struct vcpu *vcpu)
{
	if (vcpu->vm->is_pvm)
		return "this host's KVM (kvm_pvm) cannot run unmodified kernels; "
		       "`lkvm check` tells more.";
	return "KVM's emulator lacks this instruction on memory that it has to emulate "
	       "(a device, or a page it cannot map).";
}

static void report_internal_error(const struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	uint8_t bytes[15];
	char text[64];
	uint64_t rip = 0;
	size_t n;

	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION) {
		log_error("vcpu %u: KVM internal error %u (data %#llx %#llx)\n%s", vcpu->index,
			  run->internal.suberror,
			  run->internal.ndata > 0 ? (unsigned long long)run->internal.data[0] : 0,
			  run->internal.ndata > 1 ? (unsigned long long)run->internal.data[1] : 0,
			  vcpu->vm->is_pvm ? cause_of_emulation_failure(vcpu) :
					     "the kernel log of this host may tell more.");
		return;
	}
	n = read_instruction(vcpu, bytes, sizeof(bytes), &rip);
	if (run->emulation_failure.ndata >= 1 &&
	    run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES &&
	    run->emulation_failure.insn_size) {
		n = min_u64(run->emulation_failure.insn_size, sizeof(bytes));
		memcpy(bytes, run->emulation_failure.insn_bytes, n);
	}
	format_bytes(text, sizeof(text), bytes, n);
	log_error("vcpu %u: KVM could not emulate the instruction %s at %" PRIx64 "\n%s",
		  vcpu->index, n ? text : "(unreadable)", rip, cause_of_emulation_failure(vcpu));
}

/*
 * This vCPU cannot go on. The VM ends first of all, whatever becomes of the messages about it.
 * False, for the caller to return.
 */
static bool vcpu_lost(struct vcpu *vcpu, enum stop_reason reason,
		      void (*report)(const struct vcpu *vcpu))
{
	int err = errno;

	vm_request_stop(vcpu->vm, reason);
	errno = err; /* that of KVM_RUN: a report may need it */
	report(vcpu);
	dump_registers(vcpu);
	return false;
}

static void handle_pio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			bus_write(vcpu->pio, run->io.port, data, run->io.size);
		else
			bus_read(vcpu->pio, run->io.port, data, run->io.size);
	}
}

static void handle_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (run->mmio.is_write)
		bus_write(vcpu->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	else
		bus_read(vcpu->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
}

/*
 * One that has asked for the end of the VM does not run again: how it had left everything tells
 * whether it was orderly (x86/end-watch.h).
 */
static bool goes_on(struct vcpu *vcpu)
{
	vcpu->ended = vm_stop_reason(vcpu->vm) != STOP_NONE;
	return !vcpu->ended;
}

static void report_system_event(const struct vcpu *vcpu)
{
	log_error("vcpu %u: KVM system event %u is unknown to lkvm", vcpu->index,
		  vcpu->run->system_event.type);
}

static bool handle_system_event(struct vcpu *vcpu)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vm_request_stop(vcpu->vm, STOP_POWEROFF);
		return false;
	case KVM_SYSTEM_EVENT_RESET:
		vm_request_stop(vcpu->vm, STOP_RESET);
		return false;
	case KVM_SYSTEM_EVENT_CRASH:
		vm_request_stop(vcpu->vm, STOP_PANIC);
		return false;
	default:
		return vcpu_lost(vcpu, STOP_KVM_ERROR, report_system_event);
	}
}

/* Exits that this machine never enables, and those of other architectures. */
static void report_unexpected(const struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;

	if (run->exit_reason == KVM_EXIT_UNKNOWN)
		log_error("vcpu %u: unknown hardware exit %#llx", vcpu->index,
			  (unsigned long long)run->hw.hardware_exit_reason);
	else if (run->exit_reason == KVM_EXIT_EXCEPTION)
		log_error("vcpu %u: unexpected exception %u, error code %#x", vcpu->index,
			  run->ex.exception, run->ex.error_code);
	else
		log_error("vcpu %u: KVM exit reason %u is unknown to lkvm\n"
			  "please report it with `lkvm check` of this host.",
			  vcpu->index,
			  run->exit_reason);
}

static void report_triple_fault(const struct vcpu *vcpu)
{
	log_error("vcpu %u: triple fault", vcpu->index);
}

static void report_failed_entry(const struct vcpu *vcpu)
{
	log_error("vcpu %u: the CPU refused to enter the guest: reason %#llx\n"
		  "the guest's state is one that this host's CPU does not accept.",
		  vcpu->index,
		  (unsigned long long)vcpu->run->fail_entry.hardware_entry_failure_reason);
}

/* It stands where a debugger wants it to stand; this may be the thread's second one before it parks. */
static bool vcpu_take_trap(struct vcpu *vcpu)
{
	if (!vcpu->traps)
		return vcpu_lost(vcpu, STOP_KVM_ERROR, report_unexpected);
	vcpu->trapped = true;
	vcpu->trap = vcpu->run->debug.arch;
	atomic_fetch_or(&vcpu->requests, VCPU_REQUEST_PARK);
	return true;
}

/* One exit from KVM_RUN. True to go on, false if the VM has to end. */
static bool handle_exit(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		if (!vcpu->first_access_ns)
			vcpu->first_access_ns = now_ns();
		handle_pio(vcpu);
		return goes_on(vcpu);
	case KVM_EXIT_MMIO:
		handle_mmio(vcpu);
		return true;
	case KVM_EXIT_INTR:	       /* a signal: the caller looks at the requests */
	case KVM_EXIT_IRQ_WINDOW_OPEN: /* only asked for without an in-kernel irqchip */
	case KVM_EXIT_NMI:	       /* the host took an NMI */
	case KVM_EXIT_X86_BUS_LOCK:    /* throttling by the host */
	case KVM_EXIT_SET_TPR:
	case KVM_EXIT_IOAPIC_EOI:
	case KVM_EXIT_HLT: /* the in-kernel irqchip halts in the kernel */
		return true;
	case KVM_EXIT_SYSTEM_EVENT:
		return handle_system_event(vcpu);
	case KVM_EXIT_DEBUG:
		return vcpu_take_trap(vcpu);
	case KVM_EXIT_SHUTDOWN:
		return vcpu_lost(vcpu, STOP_TRIPLE_FAULT, report_triple_fault);
	case KVM_EXIT_FAIL_ENTRY:
		return vcpu_lost(vcpu, STOP_KVM_ERROR, report_failed_entry);
	case KVM_EXIT_INTERNAL_ERROR:
		return vcpu_lost(vcpu, STOP_KVM_ERROR, report_internal_error);
	default:
		return vcpu_lost(vcpu, STOP_KVM_ERROR, report_unexpected);
	}
}

static bool halted_for_good(const struct vcpu *vcpu)
{
	struct kvm_mp_state mp;
	struct kvm_regs regs;

	if (ioctl(vcpu->fd, KVM_GET_MP_STATE, &mp) || ioctl(vcpu->fd, KVM_GET_REGS, &regs))
		return false;
	switch (mp.mp_state) {
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED:
		return true; /* only another CPU can start it */
	case KVM_MP_STATE_HALTED:
		return !(regs.rflags & RFLAGS_IF);
	default:
		return false;
	}
}

/*
 * What the guest has read from a device it gets by the next KVM_RUN, which then does not enter it,
 * or comes back with the next piece of the same access. False if the VM has to end.
 */
static bool complete_access(struct vcpu *vcpu)
{
	bool go_on = true;

	for (unsigned int i = 0; i < MAX_PIECES && go_on; i++) {
		__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		if (ioctl(vcpu->fd, KVM_RUN, 0) < 0)
			break; /* EINTR; what else it may be comes again */
		go_on = handle_exit(vcpu);
	}
	return go_on;
}

/* True to go on. */
static bool vcpu_wait_parked(struct vcpu *vcpu)
{
	if (!complete_access(vcpu))
		return false;
	atomic_fetch_add(&vcpu->park->nr, 1);
	eventfd_signal(vcpu->park->fd);
	while (sem_wait(&vcpu->may_run))
		;
	ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0); /* EINVAL: it has no such clock */
	return true;
}

/* A CPU that was never started would get it at its start. */
static void vcpu_take_nmi(const struct vcpu *vcpu)
{
	struct kvm_mp_state mp;

	if (!ioctl(vcpu->fd, KVM_GET_MP_STATE, &mp) && (mp.mp_state == KVM_MP_STATE_RUNNABLE ||
							mp.mp_state == KVM_MP_STATE_HALTED))
		ioctl(vcpu->fd, KVM_NMI, 0);
}

/* True to go on. */
static bool serve_requests(struct vcpu *vcpu)
{
	unsigned int requests = atomic_exchange(&vcpu->requests, 0);

	if (requests & VCPU_REQUEST_REPORT)
		atomic_store(&vcpu->report,
			     halted_for_good(vcpu) ? VCPU_REPORT_DEAD : VCPU_REPORT_ALIVE);
	if (requests & VCPU_REQUEST_PAUSED)
		ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0); /* EINVAL: it has no such clock */
	if (requests & VCPU_REQUEST_STOP)
		return false;
	if (requests & VCPU_REQUEST_NMI)
		vcpu_take_nmi(vcpu);
	return !(requests & VCPU_REQUEST_PARK) || vcpu_wait_parked(vcpu);
}

/* KVM_RUN failed, with errno. Newer kernels describe some failures in the run area as well. */
static void report_run_error(const struct vcpu *vcpu)
{
	int err = errno;

	if (err == EFAULT && vcpu->run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		report_internal_error(vcpu);
	else
		log_error("vcpu %u: KVM_RUN: %s%s", vcpu->index, strerror(err),
			  err == EFAULT || err == ENOMEM || err == EHWPOISON ?
				  "\nthe host could not provide a page of guest memory." :
				  "");
}

/* KVM_RUN failed, with errno. True to try again. */
static bool handle_run_error(struct vcpu *vcpu)
{
	if (errno != EINTR && errno != EAGAIN) /* EAGAIN: an AP that was just started */
		return vcpu_lost(vcpu, STOP_KVM_ERROR, report_run_error);
	__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	return true;
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	char name[16];
	bool go_on = true;
	sigset_t kick;

	snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
	pthread_setname_np(pthread_self(), name);
	/* Our parent may have started us with everything blocked. */
	sigemptyset(&kick);
	sigaddset(&kick, kick_signal());
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	atomic_store(&vcpu->tid, gettid());
	sandbox_confine(vcpu->sandbox, SANDBOX_VCPU);
	/* Nobody runs before all are confined. */
	while (sem_wait(&vcpu->may_run))
		;
	while (go_on && atomic_load(&vcpu->requests))
		go_on = serve_requests(vcpu);
	while (go_on) {
		if (ioctl(vcpu->fd, KVM_RUN, 0) < 0)
			go_on = handle_run_error(vcpu);
		else
			go_on = handle_exit(vcpu);
		while (go_on && atomic_load(&vcpu->requests))
			go_on = serve_requests(vcpu);
	}
	return NULL;
}

int vcpu_start(struct vcpu *vcpu, struct sandbox *sandbox)
{
	pthread_attr_t attr;
	int rc;

	vcpu->sandbox = sandbox;
	atomic_store(&vcpu->tid, 0);
	sem_init(&vcpu->may_run, 0, 0);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, VCPU_STACK_BYTES);
	rc = pthread_create(&vcpu->thread, &attr, vcpu_thread, vcpu);
	pthread_attr_destroy(&attr);
	if (rc) {
		sem_destroy(&vcpu->may_run);
		log_error("vcpu %u: starting its thread: %s", vcpu->index, strerror(rc));
		return -rc;
	}
	vcpu->started = true;
	return 0;
}

void vcpu_release(struct vcpu *vcpu)
{
	sem_post(&vcpu->may_run);
}

/* Those who ask for a park are this thread and the vCPU's, which waits: none is lost. */
void vcpu_unpark(struct vcpu *vcpu)
{
	atomic_fetch_and(&vcpu->requests, ~VCPU_REQUEST_PARK);
	sem_post(&vcpu->may_run);
}
