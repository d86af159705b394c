// SPDX-License-Identifier: GPL-2.0-only
/*
 * The system calls that each kind of thread may make, and why.
 *
 * A program that runs when lkvm is built: libseccomp makes BPF programs of the tables
 * below, which are written to a header for sandbox/sandbox.c. So lkvm itself neither needs the
 * library nor spends time on it at start. What is not listed raises SIGSYS, which ends the VM
 * with the name of the call.
 *
 * What abort() calls is not listed either: sandbox/sandbox.c knows it by that.
 *
 * No thread may open or create a file or a socket, start a process or a thread, change
 * what it is allowed to do, or map memory that can be executed. What io_uring may do for
 * them is restricted in disk/aio.c, which no filter can see.
 *
 * Sources: seccomp(2), seccomp_rule_add_array(3) of libseccomp 2.5.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/vhost.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sandbox/sandbox.h"
#include "util.h"

#define LOOP_GDB   (1u << SANDBOX_LOOP_GDB)
#define LOOP	   (1u << SANDBOX_LOOP | LOOP_GDB)
#define VCPU	   (1u << SANDBOX_VCPU)
#define WORKER	   (1u << SANDBOX_WORKER)
#define STORE	   (1u << SANDBOX_STORE)
#define BROKER	   (1u << SANDBOX_BROKER)
#define SUPERVISOR (1u << SANDBOX_SUPERVISOR)
#define RESULTS	   (1u << SANDBOX_RESULTS)
#define FILES	   (1u << SANDBOX_FILES)
#define HOLDER	   (1u << SANDBOX_HOLDER)
#define THREADS	   (LOOP | VCPU | WORKER)
#define ALL	   (THREADS | STORE | BROKER | SUPERVISOR | RESULTS | FILES | HOLDER)

#define MAX_CALL 1024u /* no number beyond has been given out */

struct call {
	int nr;
	unsigned int kinds;
	unsigned int nr_checks;
	struct scmp_arg_cmp checks[2];
	const char *why;
};

/* clang-format off */
#define CALL(name, kinds, why) { SCMP_SYS(name), kinds, 0, { { 0 } }, why }
#define CALL1(name, kinds, check, why) { SCMP_SYS(name), kinds, 1, { check }, why }
#define CALL2(name, kinds, a, b, why) { SCMP_SYS(name), kinds, 2, { a, b }, why }
#define IS(n, value) { n, SCMP_CMP_EQ, value, 0 }
#define BITS(n, mask, value) { n, SCMP_CMP_MASKED_EQ, mask, value }
/* clang-format on */
#define NO_EXEC	  BITS(2, PROT_EXEC, 0)
#define ANONYMOUS BITS(3, MAP_ANONYMOUS, MAP_ANONYMOUS)

static const struct call calls[] = {
	CALL(futex, ALL, "locks, joining threads"),
	CALL(write, ALL, "eventfds, messages, console"),
	CALL(read, LOOP | BROKER | SUPERVISOR | RESULTS | HOLDER, "eventfds, timers, signals, input; orders"),
	CALL(exit_group, ALL, "the end, also after a forbidden call"),
	CALL(rt_sigreturn, ALL, "from the handlers of the kick and of fatal signals"),
	CALL(clock_gettime, ALL, "where the host's clock cannot be read without a call"),
	CALL(brk, ALL, "malloc(), free()"),
	CALL(munmap, THREADS | STORE | SUPERVISOR | RESULTS | FILES, "free(), guest memory at the end"),
	CALL(close, LOOP | VCPU | STORE | BROKER | SUPERVISOR | RESULTS | FILES | HOLDER, "what is not used any more"),
	CALL(rt_sigprocmask, ALL, "Ctrl-A z; the end of a thread; abort()"),
	CALL2(mmap, ALL, NO_EXEC, ANONYMOUS, "malloc()"),
	CALL1(mprotect, VCPU | WORKER, NO_EXEC, "malloc() on other threads than the first"),
	CALL(madvise, VCPU | WORKER, "the end of a thread: its stack"),
	CALL(exit, VCPU | WORKER, "the end of a thread"),
	CALL(eventfd2, LOOP | VCPU, "interrupts and ioeventfds that a driver sets up"),

	CALL(clock_nanosleep, VCPU, "a device is reset with requests in flight"),
	CALL(restart_syscall, VCPU, "the same, if we were stopped meanwhile"),
	CALL1(tgkill, ALL, IS(0, SANDBOX_OWN_PID), "kicks, fatal signals; own threads only"),
	CALL2(kill, LOOP, IS(0, 0), IS(1, SIGTSTP), "Ctrl-A z: stops the job, nothing else"),
	CALL(kill, SUPERVISOR, "signals for the VM and its job"),
	CALL(wait4, SUPERVISOR, "the VM's end"),
	CALL(epoll_wait, LOOP, "waiting for events"),
	CALL(epoll_ctl, LOOP, "what to wait for"),
	CALL(timerfd_settime, LOOP, "timers"),
	CALL(ppoll, ALL, "would output wait; is the VM gone; has passt ended"),
	CALL(io_uring_enter, LOOP, "disk I/O; disk/aio.c restricts what rings can do"),
	CALL(io_uring_register, LOOP, "files of a ring are given back at the end"),
	CALL(getrandom, LOOP, "virtio-rng"),
	CALL(accept4, LOOP | HOLDER, "connections to ports and mode=stream; commands"),
	CALL(recvmsg, LOOP | SUPERVISOR | FILES | HOLDER,
	     "frames, news about interfaces, the console log's new file, orders, questions about files"),
	CALL(sendmsg, ALL, "frames, output to a socket, orders"),

	CALL(preadv2, LOOP | WORKER | RESULTS | FILES, "disks, frames, console input; what was moved; archives"),
	CALL(pwritev2, ALL, "disks, frames, output to a pipe"),
	CALL(fdatasync, WORKER, "flush"),
	CALL(fallocate, WORKER, "discard, write zeroes"),
	CALL(ftruncate, LOOP | STORE | SUPERVISOR | RESULTS,
	     "an image grows, a cache file gets its size, a report is empty, a file ends in a hole"),
	CALL1(statx, LOOP, BITS(2, AT_EMPTY_PATH, AT_EMPTY_PATH), "has a disk's file grown, or changed"),
	CALL(lseek, STORE | FILES, "reading a folder; holes of a file"),

	CALL(openat, STORE | BROKER | RESULTS, "the cache's files; the console log; results"),
	CALL(unlinkat, STORE | SUPERVISOR | RESULTS,
	     "old files of the cache; what the VM was found by; the hidden directory of results"),
	CALL(renameat, STORE, "a complete file gets its name"),
	CALL(newfstatat, STORE | BROKER | SUPERVISOR | RESULTS, "how big and old are these files; what is there"),
	CALL(getdents64, STORE | RESULTS | FILES,
	     "the oldest files of the cache; which results there are; directories"),
	CALL1(fcntl, STORE, IS(1, F_GETFL), "fdopendir() for them"),
	CALL1(fcntl, STORE, IS(1, F_SETFD), "the same"),
	CALL(flock, STORE | RESULTS, "one process stores; one moves results"),
	CALL(fsync, STORE, "complete before it has its name"),
	CALL(utimensat, STORE | RESULTS, "it bears the time of its kernel; times of results"),
	CALL(pwrite64, STORE, "writing files of the cache"),
	CALL1(mkdirat, RESULTS, BITS(2, 07000, 0), "directories in results"),
	CALL(linkat, RESULTS, "hard links there"),
	CALL(symlinkat, RESULTS, "symbolic links there"),
	CALL1(fchmod, RESULTS, BITS(1, 07000, 0), "permissions there"),
	CALL(faccessat, RESULTS, "can everything be moved"),
	CALL(renameat2, RESULTS, "moving it"),
	CALL1(openat, FILES, BITS(2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY), "files for the guest to read"),
	CALL(statx, FILES, "their attributes"),
	CALL(fchdir, FILES, "where attributes are asked for by name"),
	CALL(readlinkat, FILES, "symbolic links"),
	CALL(llistxattr, FILES, "extended attributes"),
	CALL(lgetxattr, FILES, "the same"),
	CALL(access, FILES, "can it be read"),
	CALL(mremap, FILES, "realloc() of what is known of files"),
	CALL1(fcntl, FILES, IS(1, F_SETFL), "a file is not a fifo: reading it may wait"),
	CALL1(fcntl, FILES, IS(1, F_DUPFD_CLOEXEC), "the archive, for the guest to read"),
	CALL(unlink, BROKER, "sockets, at the end"),
	CALL(pidfd_send_signal, BROKER, "passt, if it does not end"),
};

/* The argument that matters most: what an ioctl(2) does. */
struct request {
	unsigned long request;
	unsigned int kinds;
	const char *why;
};

static const struct request requests[] = {
	{ KVM_RUN, VCPU, "running the guest" },
	{ KVM_IRQ_LINE, LOOP | VCPU, "interrupt lines" },
	{ KVM_IOEVENTFD, LOOP | VCPU, "ioeventfds: a driver starts or moves a device" },
	{ KVM_IRQFD, LOOP | VCPU, "interrupts: a driver sets up a vector" },
	{ KVM_SET_GSI_ROUTING, LOOP | VCPU, "the same" },
	{ KVM_GET_MP_STATE, LOOP | VCPU, "is this CPU halted for good; showing registers" },
	{ KVM_GET_REGS, LOOP | VCPU, "the same; the report of a lost guest" },
	{ KVM_GET_SREGS, LOOP | VCPU, "the report of a lost guest; was the end an orderly one" },
	{ KVM_GET_FPU, LOOP, "showing registers" },
	{ KVM_GET_DEBUGREGS, LOOP, "the same" },
	{ KVM_GET_MSRS, LOOP, "the same; was the end an orderly one" },
	{ KVM_GET_IRQCHIP, LOOP, "the same" },
	{ KVM_NMI, VCPU, "lkvm debug --nmi" },
	{ KVM_TRANSLATE, VCPU, "the report of a lost guest" },
	{ KVM_GET_SREGS2, LOOP, "a snapshot: all that can be read of a CPU" },
	{ KVM_GET_XSAVE2, LOOP, "the same" },
	{ KVM_GET_XCRS, LOOP, "the same" },
	{ KVM_GET_LAPIC, LOOP, "the same" },
	{ KVM_GET_VCPU_EVENTS, LOOP, "the same" },
	{ KVM_GET_TSC_KHZ, LOOP, "the same" },
	{ KVM_GET_MSR_INDEX_LIST, LOOP, "which MSRs these are" },
	{ KVM_CHECK_EXTENSION, LOOP, "can this KVM tell all of it" },
	{ KVM_KVMCLOCK_CTRL, VCPU, "the guest was stopped" },
	{ KVM_SET_GUEST_DEBUG, LOOP_GDB, "gdb: breakpoints, steps" },
	{ KVM_SET_REGS, LOOP_GDB, "gdb: registers" },
	{ KVM_SET_SREGS, LOOP_GDB, "the same" },
	{ KVM_SET_FPU, LOOP_GDB, "the same" },
	{ KVM_GET_CLOCK, LOOP, "a snapshot; pausing: the guest's clocks stop" },
	{ KVM_SET_CLOCK, LOOP, "... and go on" },
	{ KVM_GET_PIT2, LOOP, "the same" },
	{ KVM_SET_PIT2, LOOP, "the same" },
	{ KVM_GET_DEVICE_ATTR, LOOP, "the same: the offset of a vCPU's time stamp counter" },
	{ KVM_SET_DEVICE_ATTR, LOOP, "the same" },
	{ TCGETS, ALL, "is it a terminal, and in which mode; asked after TCSETS, too" },
	{ TCSETS, ALL, "its mode, also in handlers of fatal signals" },
	{ TIOCGPGRP, LOOP | SUPERVISOR, "may we use the terminal" },
	{ TIOCGWINSZ, LOOP, "its size" },
	{ BLKGETSIZE64, LOOP, "has a disk grown" },
	{ TUNSETOFFLOAD, LOOP, "what a network driver can do" },
	{ TUNSETQUEUE, LOOP, "how many queues it uses" },
	{ VHOST_SET_MEM_TABLE, LOOP, "vhost: a network driver starts and stops" },
	{ VHOST_SET_FEATURES, LOOP, "the same" },
	{ VHOST_SET_VRING_NUM, LOOP, "the same" },
	{ VHOST_SET_VRING_BASE, LOOP, "the same" },
	{ VHOST_GET_VRING_BASE, LOOP, "the same" },
	{ VHOST_SET_VRING_ADDR, LOOP, "the same" },
	{ VHOST_SET_VRING_KICK, LOOP, "the same" },
	{ VHOST_SET_VRING_CALL, LOOP, "the same" },
	{ VHOST_SET_VRING_ERR, LOOP, "the same" },
	{ VHOST_NET_SET_BACKEND, LOOP, "the same" },
};

static const char *const kind_names[SANDBOX_NR_KINDS] = {
	[SANDBOX_LOOP] = "loop",
	[SANDBOX_LOOP_GDB] = "loop_gdb",
	[SANDBOX_VCPU] = "vcpu",
	[SANDBOX_WORKER] = "worker",
	[SANDBOX_STORE] = "store",
	[SANDBOX_BROKER] = "broker",
	[SANDBOX_SUPERVISOR] = "supervisor",
	[SANDBOX_RESULTS] = "results",
	[SANDBOX_FILES] = "files",
	[SANDBOX_HOLDER] = "holder",
};

static void filters_die(const char *what, int rc)
{
	fprintf(stderr, "sandbox-filters: %s: %s\n", what, strerror(-rc));
	_exit(1); /* what was written so far is not used */
}

/* How many system calls a kind may make, whatever their arguments; ioctl() is one of them. */
static unsigned int count_calls(enum sandbox_kind kind)
{
	bool is_allowed[MAX_CALL] = { [SCMP_SYS(ioctl)] = true };
	unsigned int nr = 0;

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].kinds >> kind & 1)
			is_allowed[calls[i].nr] = true;
	for (size_t i = 0; i < MAX_CALL; i++)
		nr += is_allowed[i];
	return nr;
}

static void add_rules(scmp_filter_ctx ctx, enum sandbox_kind kind)
{
	int rc;

	if (count_calls(kind) > SANDBOX_MAX_CALLS)
		filters_die(kind_names[kind], -E2BIG);

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		const struct call *c = &calls[i];

		if (!(c->kinds >> kind & 1))
			continue;
		rc = seccomp_rule_add_exact_array(ctx, SCMP_ACT_ALLOW, c->nr, c->nr_checks,
						  c->checks);
		if (rc)
			filters_die(c->why, rc);
	}
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		const struct request *r = &requests[i];

		if (!(r->kinds >> kind & 1))
			continue;
		rc = seccomp_rule_add_exact(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
					    (struct scmp_arg_cmp)IS(1, r->request));
		if (rc)
			filters_die(r->why, rc);
	}
}

/*
 * The program as C. A tree of comparisons: a host's kernel tries a filter that it is given with
 * every number there is, which took twice as long with a list.
 */
static void print_filter(enum sandbox_kind kind)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
	struct sock_filter insn;
	FILE *program = tmpfile();
	int rc;

	if (!ctx || !program)
		filters_die("memory", -ENOMEM);
	add_rules(ctx, kind);
	seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	rc = seccomp_export_bpf(ctx, fileno(program));
	if (rc)
		filters_die("export", rc);
	rewind(program);
	printf("static const struct sock_filter filter_%s[] = {\n", kind_names[kind]);
	while (fread(&insn, sizeof(insn), 1, program) == 1)
		printf("\t{ %#x, %u, %u, %#x },\n", insn.code, insn.jt, insn.jf, insn.k);
	printf("};\n\n");
	fclose(program);
	seccomp_release(ctx);
}

/* The names of all calls by number, one after the other, for the message. */
static void print_names(void)
{
	unsigned int last = 0;

	for (unsigned int nr = 0; nr < MAX_CALL; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, (int)nr);

		if (name)
			last = nr;
		free(name);
	}
	printf("static const char call_names[] =\n");
	for (unsigned int nr = 0; nr <= last; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, (int)nr);

		printf("\t\"%s\\0\"\n", name ? name : "");
		free(name);
	}
	printf("\t;\n\n");
	printf("#define NR_CALL_NAMES %uu\n", last + 1);
}

int main(void)
{
	printf("/* Made by sandbox/filters.c. */\n\n");
	for (unsigned int kind = 0; kind < SANDBOX_NR_KINDS; kind++)
		print_filter(kind);
	print_names();
	return ferror(stdout) || fflush(stdout) ? 1 : 0;
}
