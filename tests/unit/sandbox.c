// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is left to a thread behind its filter of system calls, and how its end is reported:
 * each test confines a child process as it would a thread of the VM. Neither KVM nor root.
 * Has processes behind filters, which builds with sanitizers have not.
 */
#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus.h"
#include "log.h"
#include "sandbox/sandbox.h"
#include "tests/lib/unit.h"
#include "util.h"
#include "x86/layout.h"
#include "x86/rtc.h"

#define NO_FILTERS 77 /* status of a child on a host, or in a build, without them */

struct end {
	int status;	 /* of waitpid() */
	char text[4096]; /* stderr */
};

static const enum sandbox_kind all_kinds[] = {
	SANDBOX_LOOP, SANDBOX_VCPU, SANDBOX_WORKER, SANDBOX_STORE, SANDBOX_BROKER, SANDBOX_SUPERVISOR,
	SANDBOX_RESULTS, SANDBOX_FILES, SANDBOX_LOOP_GDB
};

static void be_confined(enum sandbox_kind kind, void (*act)(void))
{
	struct sandbox s;

	sandbox_init(&s, SANDBOX_ON);
	if (sandbox_confine_helper(&s, kind))
		_exit(99);
	if (!s.filters)
		_exit(NO_FILTERS);
	act();
	_exit(0);
}

static void read_end(int fd, pid_t child, struct end *end)
{
	size_t bytes = 0;
	ssize_t n;

	while ((n = read(fd, end->text + bytes, sizeof(end->text) - 1 - bytes)) > 0)
		bytes += (size_t)n;
	end->text[bytes] = '\0';
	close(fd);
	assert_int_equal(waitpid(child, &end->status, 0), child);
	if (WIFEXITED(end->status) && WEXITSTATUS(end->status) == NO_FILTERS)
		skip();
}

static void confine(enum sandbox_kind kind, void (*act)(void), struct end *end)
{
	int out[2];
	pid_t child;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		dup2(out[1], STDERR_FILENO);
		log_init();
		be_confined(kind, act);
	}
	close(out[1]);
	read_end(out[0], child, end);
}

static void assert_has(const struct end *end, const char *words)
{
	if (!strstr(end->text, words))
		fail_msg("no \"%s\" in: %s", words, end->text);
}

static void assert_has_not(const struct end *end, const char *words)
{
	if (strstr(end->text, words))
		fail_msg("\"%s\" in: %s", words, end->text);
}

static void assert_ends_with(const struct end *end, int status)
{
	if (!WIFEXITED(end->status) || WEXITSTATUS(end->status) != status)
		fail_msg("status %#x instead of exit status %d: %s", end->status, status, end->text);
}

/* ---- what ends a process ---- */

static void open_a_file(void)
{
	syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY | O_CREAT);
	syscall(SYS_socket, 1, 1, 0);
}

static void a_forbidden_call_is_named(void **state)
{
	struct end end;

	(void)state;
	confine(SANDBOX_VCPU, open_a_file, &end);
	assert_ends_with(&end, SANDBOX_EXIT_STATUS);
	assert_has(&end, "lkvm: sandbox: vcpu thread: forbidden system call: openat (");
}

/* cmocka has a macro of this name: this is the C library's. */
#undef assert
static void fail_an_assertion(void)
{
	__assert_fail("our_invariant", "file.c", 1, "function");
}

static void free_what_is_not_ours(void)
{
	static char room[64];
	char *volatile p = room + 17;

	free(p); /* the C library notices, says so and calls abort() */
}

static void overflow_a_buffer(void)
{
	extern void __chk_fail(void) __attribute__((noreturn));

	__chk_fail(); /* what _FORTIFY_SOURCE calls */
}

static void assert_reported_as_abort(void (*act)(void), const char *words)
{
	struct end end;

	for (size_t i = 0; i < ARRAY_SIZE(all_kinds); i++) {
		confine(all_kinds[i], act, &end);
		assert_has(&end, words);
		assert_has(&end, ": aborted\n");
		assert_has_not(&end, "forbidden");
		assert_ends_with(&end, 128 + SIGABRT);
	}
}

static void a_failed_assertion_is_reported_as_one(void **state)
{
	(void)state;
	assert_reported_as_abort(fail_an_assertion, "Assertion `our_invariant' failed.");
}

static void an_abort_of_the_c_library_is_reported_as_one(void **state)
{
	(void)state;
	assert_reported_as_abort(abort, "");
	assert_reported_as_abort(free_what_is_not_ours, "free(): invalid pointer");
	assert_reported_as_abort(overflow_a_buffer, "buffer overflow detected");
}

/* A pipe that is full, and that nobody reads. */
static void open_stopped_reader(int out[2])
{
	static const char page[4096];

	assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	while (write(out[1], page, sizeof(page)) > 0)
		;
	assert_int_equal(fcntl(out[1], F_SETFL, O_WRONLY), 0);
}

static void last_words_wait_for_nobody(void **state)
{
	static void (*const acts[])(void) = { fail_an_assertion, free_what_is_not_ours };
	int out[2];

	(void)state;
	open_stopped_reader(out);
	for (size_t i = 0; i < ARRAY_SIZE(acts); i++) {
		struct end end = { .text = "" };
		pid_t child = fork();

		assert_true(child >= 0);
		if (!child) {
			alarm(30);
			dup2(out[1], STDERR_FILENO);
			log_init();
			be_confined(SANDBOX_LOOP, acts[i]);
		}
		assert_int_equal(waitpid(child, &end.status, 0), child);
		if (WIFEXITED(end.status) && WEXITSTATUS(end.status) == NO_FILTERS)
			skip();
		assert_ends_with(&end, 128 + SIGABRT);
	}
	close(out[0]);
	close(out[1]);
}

/* ---- hosts without a vDSO ---- */

static struct bus pio;
static struct rtc rtc;

static void read_the_clocks(void)
{
	uint8_t value = 0; /* of the seconds */

	bus_write(&pio, PORT_RTC, &value, 1);
	bus_read(&pio, PORT_RTC + 1, &value, 1);
	if (!now_ns())
		_exit(1);
}

/* Has process @pid, which has just called exec(), find no vDSO in its auxiliary vector. */
static void hide_vdso(pid_t pid)
{
	struct user_regs_struct regs;
	unsigned long p, type;
	unsigned int nulls = 0;

	assert_int_equal(ptrace(PTRACE_GETREGS, pid, NULL, &regs), 0);
	/* argc, the arguments, NULL, the environment, NULL, the vector. */
	for (p = regs.rsp + 8; nulls < 2; p += 8)
		nulls += !ptrace(PTRACE_PEEKDATA, pid, (void *)p, NULL);
	while ((type = (unsigned long)ptrace(PTRACE_PEEKDATA, pid, (void *)p, NULL)) != AT_NULL) {
		if (type == AT_SYSINFO_EHDR)
			assert_int_equal(ptrace(PTRACE_POKEDATA, pid, (void *)p, (void *)AT_IGNORE), 0);
		p += 16;
	}
}

/* This program again, without a vDSO: main() confines it and reads the clocks. */
static void confine_without_vdso(enum sandbox_kind kind, struct end *end)
{
	char number[] = { (char)('0' + kind), '\0' };
	int out[2], status;
	pid_t child;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		dup2(out[1], STDERR_FILENO);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(NO_FILTERS);
		execl("/proc/self/exe", "clocks", number, NULL);
		_exit(98);
	}
	close(out[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_FILTERS)
		skip(); /* nobody may trace here */
	assert_true(WIFSTOPPED(status));
	hide_vdso(child);
	assert_int_equal(ptrace(PTRACE_DETACH, child, NULL, NULL), 0);
	read_end(out[0], child, end);
}

static void clocks_need_no_vdso(void **state)
{
	static const enum sandbox_kind kinds[] = { SANDBOX_LOOP, SANDBOX_VCPU, SANDBOX_WORKER };
	struct end end;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		confine_without_vdso(kinds[i], &end);
		assert_has_not(&end, "forbidden");
		assert_ends_with(&end, 0);
	}
}

static void set_registers(void)
{
	struct kvm_regs regs = { 0 };

	ioctl(-1, KVM_SET_REGS, &regs);
}

static void only_gdb_sets_registers(void **state)
{
	static const enum sandbox_kind kinds[] = { SANDBOX_LOOP_GDB, SANDBOX_LOOP, SANDBOX_VCPU };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct end end;

		confine(kinds[i], set_registers, &end);
		assert_ends_with(&end, i ? SANDBOX_EXIT_STATUS : 0);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_forbidden_call_is_named),
		cmocka_unit_test(a_failed_assertion_is_reported_as_one),
		cmocka_unit_test(an_abort_of_the_c_library_is_reported_as_one),
		cmocka_unit_test(last_words_wait_for_nobody),
		cmocka_unit_test(clocks_need_no_vdso),
		cmocka_unit_test(only_gdb_sets_registers),
	};

	if (argc == 2 && !strcmp(argv[0], "clocks")) {
		bus_init(&pio);
		rtc_init(&rtc, &pio);
		be_confined((enum sandbox_kind)(argv[1][0] - '0'), read_the_clocks);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
