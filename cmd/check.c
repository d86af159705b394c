// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm check`: can this host run virtual machines? It tries instead of asking
 * CPUID: for each question a tiny guest (cmd/probes.S) in a VM of its own, on
 * the main thread, with an alarm in case KVM never comes back. And which layers of the
 * sandbox does it have?
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>

#include "bus.h"
#include "cmd/cmd.h"
#include "cmd/probes.h"
#include "control/json.h"
#include "kvm-cpu.h"
#include "kvm.h"
#include "log.h"
#include "mem.h"
#include "sandbox/sandbox.h"
#include "util.h"
#include "x86/cpu.h"
#include "x86/cpuid.h"
#include "x86/layout.h"

#define PROBE_RAM_BYTES	      MIB(4)
#define PROBE_SECONDS	      5
#define SPEED_FIRST_TURNS     50000ull
#define SPEED_MAX_TURNS	      500000000ull
#define SPEED_MIN_NS	      100000000ull /* shorter runs measure the VM's start */
#define INSTRUCTIONS_PER_TURN 2

enum need {
	NEED_ANY,   /* without it no guest runs */
	NEED_STOCK, /* without it stock kernels do not run */
};

static const struct probe {
	const char *key; /* in --json */
	const char *question;
	enum need need;
	const uint8_t *entry; /* NULL: the real-mode guest */
} probes[] = {
	{ "real_mode", "real mode", NEED_ANY, NULL },
	{ "long_mode_cpl0", "long mode at CPL 0", NEED_ANY, probe_cpl0 },
	{ "long_mode_cpl3", "long mode at CPL 3", NEED_STOCK, probe_cpl3 },
	{ "int3", "int3 at CPL 0", NEED_STOCK, probe_int3 },
	{ "iretq", "iretq at CPL 0", NEED_STOCK, probe_iretq },
	{ "cmpxchg16b", "cmpxchg16b at CPL 0", NEED_STOCK, probe_cmpxchg16b },
	{ "xsave", "xsave and xrstor at CPL 0", NEED_STOCK, probe_xsave },
};

static const struct speed {
	const char *key, *question;
	const uint8_t *entry;
} speeds[] = {
	{ "mips_cpl0", "speed at CPL 0", probe_speed0 },
	{ "mips_cpl3", "speed at CPL 3", probe_speed3 },
};

struct result {
	bool ok;
	char why[96]; /* if not */
};

/* One VM for one probe. */
struct probe_vm {
	int kvm_fd;
	struct mem *mem;
	struct vm *vm;
	struct bus bus; /* nothing is on it */
	struct vcpu *vcpu;
};

/* For the alarm's handler only (DESIGN rule 8: a signal handler's target). */
static struct kvm_run *volatile alarm_run;

static void on_alarm(int signal)
{
	(void)signal;
	if (alarm_run)
		alarm_run->immediate_exit = 1;
}

/* Both are labels of one assembly file, which C takes for different objects. */
static uint64_t distance(const uint8_t *from, const uint8_t *to)
{
	return (uint64_t)((uintptr_t)to - (uintptr_t)from);
}

static int load_probe(struct probe_vm *p, const uint8_t *entry, struct cpu_start *start)
{
	*start = (struct cpu_start){ .entry = CPU_ENTRY_REAL, .rip = PROBE_REAL_ADDRESS };
	if (!entry)
		return mem_write(p->mem, PROBE_REAL_ADDRESS, probe_real_start,
				 distance(probe_real_start, probe_real_end));
	*start = (struct cpu_start){
		.entry = CPU_ENTRY_64,
		.rip = PROBE_ADDRESS + distance(probe_long_start, entry),
	};
	return mem_write(p->mem, PROBE_ADDRESS, probe_long_start,
			 distance(probe_long_start, probe_long_end));
}

static int probe_create(struct probe_vm *p, const uint8_t *entry, uint64_t turns)
{
	const struct vm_config config = { .identity_map = LAYOUT_IDENTITY_MAP, .tss = LAYOUT_TSS };
	struct cpuid_table *cpuid = malloc(sizeof(*cpuid));
	struct cpu_start start;
	struct kvm_regs regs;
	int rc = cpuid ? mem_create(&p->mem, PROBE_RAM_BYTES) : log_enomem("check");

	bus_init(&p->bus);
	if (!rc)
		rc = vm_create(&p->vm, p->kvm_fd, p->mem, &config);
	if (!rc)
		rc = vcpu_create(&p->vcpu, p->vm, 0, 0, &p->bus, &p->bus, p->mem);
	if (!rc)
		rc = cpuid_read_supported(cpuid, p->vm->sys_fd);
	if (!rc)
		rc = cpu_init(p->vcpu, &(struct cpu_config){ .supported = cpuid, .cpus = 1 });
	if (!rc)
		rc = load_probe(p, entry, &start);
	if (!rc)
		rc = cpu_write_tables(p->mem, &start);
	if (!rc)
		rc = cpu_set_start(p->vcpu, &start);
	if (!rc && !ioctl(p->vcpu->fd, KVM_GET_REGS, &regs)) {
		regs.rdi = turns;
		rc = ioctl(p->vcpu->fd, KVM_SET_REGS, &regs);
	}
	free(cpuid);
	return rc;
}

static void probe_destroy(struct probe_vm *p)
{
	vcpu_destroy(p->vcpu);
	bus_fini(&p->bus);
	vm_destroy(p->vm);
	mem_destroy(p->mem);
}

static void describe_failure(const struct kvm_run *run, struct result *result)
{
	size_t n;

	switch (run->exit_reason) {
	case KVM_EXIT_INTERNAL_ERROR:
		snprintf(result->why, sizeof(result->why), "KVM internal error %u",
			 run->internal.suberror);
		if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION ||
		    !(run->emulation_failure.flags &
		      KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
			return;
		n = (size_t)snprintf(result->why, sizeof(result->why), "KVM cannot emulate");
		for (size_t i = 0; i < min_u64(run->emulation_failure.insn_size, 8); i++)
			n += (size_t)snprintf(result->why + n, sizeof(result->why) - n, " %02x",
					      run->emulation_failure.insn_bytes[i]);
		return;
	case KVM_EXIT_SHUTDOWN:
		snprintf(result->why, sizeof(result->why), "triple fault");
		return;
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(result->why, sizeof(result->why), "the CPU refused to enter the guest");
		return;
	case KVM_EXIT_IO:
		snprintf(result->why, sizeof(result->why), "wrong result or unexpected exception");
		return;
	default:
		snprintf(result->why, sizeof(result->why), "KVM exit reason %u", run->exit_reason);
	}
}

static bool ended(const struct kvm_run *run, struct result *result)
{
	const uint8_t *data = (const uint8_t *)run + run->io.data_offset;

	if (run->exit_reason == KVM_EXIT_IO && run->io.port == PROBE_PORT &&
	    run->io.direction == KVM_EXIT_IO_OUT && *data == PROBE_OK) {
		result->ok = true;
		return true;
	}
	if (run->exit_reason == KVM_EXIT_INTR)
		return false;
	describe_failure(run, result);
	return true;
}

static void probe_loop(struct probe_vm *p, struct result *result)
{
	struct kvm_run *run = p->vcpu->run;
	struct itimerval limit = { .it_value.tv_sec = PROBE_SECONDS }, off = { 0 };
	bool done = false;

	alarm_run = run;
	setitimer(ITIMER_REAL, &limit, NULL);
	while (!done) {
		if (ioctl(p->vcpu->fd, KVM_RUN, 0) == 0) {
			done = ended(run, result);
		} else if (run->immediate_exit) {
			snprintf(result->why, sizeof(result->why), "no answer within %d s",
				 PROBE_SECONDS);
			done = true;
		} else if (errno != EINTR && errno != EAGAIN) {
			snprintf(result->why, sizeof(result->why), "KVM_RUN: %s", strerror(errno));
			done = true;
		}
	}
	setitimer(ITIMER_REAL, &off, NULL);
	alarm_run = NULL;
}

/* Returns how long the guest ran, in nanoseconds. */
static uint64_t run_probe(int kvm_fd, const uint8_t *entry, uint64_t turns, struct result *result)
{
	struct probe_vm p = { .kvm_fd = kvm_fd };
	uint64_t start;

	*result = (struct result){ .ok = false, .why = "the VM could not be created" };
	if (probe_create(&p, entry, turns)) {
		probe_destroy(&p);
		return 0;
	}
	start = now_ns();
	probe_loop(&p, result);
	start = now_ns() - start;
	probe_destroy(&p);
	return start;
}

/* Million instructions a second, 0 if it does not run. */
static double measure_speed(int kvm_fd, const uint8_t *entry)
{
	uint64_t turns = SPEED_FIRST_TURNS;
	struct result result;
	uint64_t ns = run_probe(kvm_fd, entry, turns, &result);

	while (result.ok && ns < SPEED_MIN_NS && turns < SPEED_MAX_TURNS) {
		turns *= 10;
		ns = run_probe(kvm_fd, entry, turns, &result);
	}
	if (!result.ok || !ns)
		return 0;
	return (double)(turns * INSTRUCTIONS_PER_TURN) * 1e3 / (double)ns;
}

struct findings {
	struct result results[ARRAY_SIZE(probes)];
	double mips[ARRAY_SIZE(speeds)];
	int layers[SANDBOX_MAX_LAYERS]; /* of the sandbox: 0 or -errno */
	unsigned int nr_layers;
	bool any, stock;
};

static void find_out(int kvm_fd, struct findings *f)
{
	struct sigaction sa = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &sa, NULL);
	f->any = f->stock = true;
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		run_probe(kvm_fd, probes[i].entry, 0, &f->results[i]);
		if (f->results[i].ok)
			continue;
		f->stock = false;
		if (probes[i].need == NEED_ANY)
			f->any = false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(speeds); i++)
		f->mips[i] = measure_speed(kvm_fd, speeds[i].entry);
	f->nr_layers = sandbox_probe(f->layers);
}

static const char *verdict(const struct findings *f)
{
	if (f->stock)
		return "stock kernels will run here";
	if (f->any)
		return kvm_is_pvm() ?
			       "only small guests will run here: this host's KVM (kvm_pvm) emulates guest "
			       "kernel code and lacks what stock kernels need" :
			       "only small guests will run here: stock kernels need what failed above";
	return "no guest will run here";
}

static void print_text(const struct findings *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++)
		printf("%-28s %s%s%s\n", probes[i].question, f->results[i].ok ? "ok" : "no",
		       f->results[i].ok ? "" : ": ", f->results[i].ok ? "" : f->results[i].why);
	for (size_t i = 0; i < ARRAY_SIZE(speeds); i++)
		printf("%-28s %.1f million instructions a second\n", speeds[i].question,
		       f->mips[i]);
	for (unsigned int i = 0; i < f->nr_layers; i++)
		printf("sandbox: %-19s %s%s\n", sandbox_layer_name(i), f->layers[i] ? "no: " : "ok",
		       f->layers[i] ? strerror(-f->layers[i]) : "");
	puts(verdict(f));
}

static void print_json(const struct findings *f)
{
	printf("{\"v\":1,\"stock_kernels\":%s,\"small_guests\":%s",
	       f->stock ? "true" : "false", f->any ? "true" : "false");
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++)
		printf(",\"%s\":%s", probes[i].key, f->results[i].ok ? "true" : "false");
	for (size_t i = 0; i < ARRAY_SIZE(speeds); i++)
		printf(",\"%s\":%.1f", speeds[i].key, f->mips[i]);
	printf(",\"sandbox\":{");
	for (unsigned int i = 0; i < f->nr_layers; i++)
		printf("%s\"%s\":%s", i ? "," : "", sandbox_layer_key(i), f->layers[i] ? "false" : "true");
	printf("}");
	printf(",\"verdict\":");
	json_string(stdout, verdict(f));
	puts("}");
}

int cmd_check(int argc, char **argv, uint64_t start_ns)
{
	bool json = false;
	int status = help_check_arguments(argc, argv, "check", "--json", &json);
	struct findings f;
	int fd, rc;

	(void)start_ns;
	if (status >= 0)
		return status;
	fd = kvm_open();
	if (fd < 0)
		return EXIT_LKVM;
	rc = kvm_check_capabilities(fd, false);
	if (!rc)
		find_out(fd, &f);
	close(fd);
	if (rc)
		return EXIT_LKVM;
	if (json)
		print_json(&f);
	else
		print_text(&f);
	return f.stock ? EXIT_OK :
	       f.any   ? EXIT_SMALL_ONLY :
			 EXIT_LKVM;
}
