// SPDX-License-Identifier: GPL-2.0-only
/*
 * What signals ask for, and a job of a shell that nobody tells that it has the terminal now.
 * Has processes behind filters, which builds with sanitizers have not.
 */
#include "tests/lib/unit.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>

#include "event.h"
#include "io.h"
#include "sandbox/sandbox.h"
#include "sandbox/supervisor.h"
#include "signal-source.h"
#include "signals.h"
#include "util.h"

static void each_signal_is_an_order(void **state)
{
	static const struct {
		int signal, code;
		bool has_log, hung_up;
		enum order_kind kind;
	} cases[] = {
		{ SIGTERM, SI_USER, true, false, ORDER_END },
		{ SIGINT, SI_KERNEL, false, false, ORDER_END },
		{ SIGQUIT, SI_USER, true, false, ORDER_END },
		{ SIGHUP, SI_USER, false, false, ORDER_END },
		{ SIGHUP, SI_USER, true, false, ORDER_REOPEN_LOG },
		{ SIGHUP, SI_QUEUE, true, false, ORDER_REOPEN_LOG },
		{ SIGHUP, SI_KERNEL, true, false, ORDER_END },
		{ SIGHUP, SI_KERNEL, true, true, ORDER_END },
		{ SIGHUP, SI_USER, true, true, ORDER_END }, /* a shell's, to its jobs */
		{ SIGHUP, SI_USER, false, true, ORDER_END },
		{ SIGALRM, SI_KERNEL, true, false, ORDER_TIMEOUT },
		{ SIGTSTP, SI_USER, true, false, ORDER_SUSPEND },
		{ SIGTTIN, SI_USER, false, false, ORDER_SUSPEND },
		{ SIGTTOU, SI_USER, false, false, ORDER_SUSPEND },
		{ SIGCONT, SI_USER, false, false, ORDER_CONTINUED },
		{ SIGWINCH, SI_KERNEL, false, false, ORDER_RESIZED },
		{ SIGCHLD, CLD_EXITED, false, false, ORDER_CHILD },
		{ SIGUSR1, SI_USER, false, false, ORDER_NONE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct signalfd_siginfo info = {
			.ssi_signo = (uint32_t)cases[i].signal,
			.ssi_code = cases[i].code,
		};
		const struct order o = signal_order(&info, cases[i].has_log, cases[i].hung_up);

		assert_int_equal(o.kind, cases[i].kind);
		assert_int_equal(o.arg, cases[i].signal);
	}
}

/* ---- a job of a shell ---- */

/* What it has been told, a letter each, in this pipe. */
static int told[2];

static void tell(void *arg, char c)
{
	if (write(told[1], &c, 1) != 1)
		event_stop(arg);
}

static void on_end(void *arg, int signal)
{
	tell(arg, signal == SIGHUP ? 'h' : 'e');
	event_stop(arg);
}

static void on_reopen(void *arg)
{
	tell(arg, 'l');
}

static void on_continued(void *arg)
{
	tell(arg, 'c');
}

static void on_terminal(void *arg, enum tty_state state)
{
	static const char letters[] = { 'n', 'b', 'r', 'g' };

	tell(arg, letters[state]);
}

/* As an lkvm without a supervisor; ends with 0. */
static void __attribute__((noreturn)) be_job(void)
{
	struct supervisor supervisor = { .socket = -1 };
	struct signals_client client = {
		.end = on_end,
		.reopen_log = on_reopen,
		.continued = on_continued,
		.terminal = on_terminal,
	};
	struct event_loop *loop;
	struct signals *s;

	if (event_loop_create(&loop))
		_exit(1);
	client.arg = loop;
	if (signals_start(&s, loop, &supervisor, STDIN_FILENO, true, &client))
		_exit(2);
	signals_take_terminal(s);
	if (event_run(loop))
		_exit(3);
	signals_release_terminal(s);
	signals_stop(s);
	event_loop_destroy(loop);
	_exit(0);
}

/* What the job is told next, within ten seconds; continuing may be told more than once. */
static char next(void)
{
	struct pollfd p = { .fd = told[0], .events = POLLIN };
	char c;

	do
		if (poll_fds(&p, 1, 10000) != 1 || read(told[0], &c, 1) != 1)
			return '?';
	while (c == 'c');
	return c;
}

static bool is_raw(void)
{
	struct termios mode;

	return !tcgetattr(STDIN_FILENO, &mode) && !(mode.c_lflag & (ISIG | ICANON | ECHO));
}

static pid_t start_job(void)
{
	pid_t job;

	if (pipe2(told, O_CLOEXEC))
		_exit(10);
	signal(SIGTTOU, SIG_IGN); /* a shell's right */
	job = fork();
	if (!job) {
		signal(SIGTTOU, SIG_DFL);
		setpgid(0, 0);
		be_job();
	}
	setpgid(job, job);
	return job;
}

/* Each of these is a shell with a terminal; the step that failed is its status. */
static int shell_moves_a_running_job(void)
{
	pid_t job = start_job();
	int status;

	if (next() != 'b' || is_raw())
		return 1;
	/* No signal tells of this: shells continue stopped jobs only. */
	tcsetpgrp(STDIN_FILENO, job);
	if (next() != 'r' || !is_raw())
		return 2;
	kill(job, SIGTSTP);
	if (waitpid(job, &status, WUNTRACED) != job || !WIFSTOPPED(status) || is_raw())
		return 3;
	tcsetpgrp(STDIN_FILENO, getpgrp());
	kill(job, SIGCONT);
	if (next() != 'b' || is_raw())
		return 4;
	tcsetpgrp(STDIN_FILENO, job);
	do
		status = next();
	while (status == 'b');
	if (status != 'r' || !is_raw())
		return 5;
	kill(job, SIGHUP); /* the terminal is there */
	if (next() != 'l')
		return 6;
	kill(job, SIGTERM);
	if (next() != 'e' || next() != 'n' || is_raw())
		return 7;
	return waitpid(job, &status, 0) == job && !status ? 0 : 8;
}

static int on_a_terminal(int (*shell)(void))
{
	int master, status;
	pid_t pid = forkpty(&master, NULL, NULL, NULL);

	assert_true(pid >= 0);
	if (!pid)
		_exit(shell());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(master);
	return status;
}

static void a_running_job_gets_the_terminal(void **state)
{
	(void)state;
	assert_int_equal(on_a_terminal(shell_moves_a_running_job), 0);
}

/* The job is all there is on the terminal, as with xterm -e: its leader, and it has a log. */
static void a_terminal_that_hangs_up_is_no_log_rotation(void **state)
{
	int master, status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(told, O_CLOEXEC), 0);
	pid = forkpty(&master, NULL, NULL, NULL);
	assert_true(pid >= 0);
	if (!pid)
		be_job();
	assert_int_equal(next(), 'r');
	close(master);
	assert_int_equal(next(), 'h');
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* A shell whose terminal has hung up sends the signal on, as anybody might who rotates logs. */
static int shell_passes_a_hang_up_on(int ready)
{
	pid_t job;
	int status;

	signal(SIGHUP, SIG_IGN);
	job = fork();
	if (!job) {
		signal(SIGHUP, SIG_DFL);
		setpgid(0, 0);
		be_job();
	}
	setpgid(job, job);
	/* Until it is there, and until the terminal is not. */
	if (next() != 'b' || write(ready, "", 1) != 1)
		return 1;
	while (isatty(STDIN_FILENO))
		wait_a_moment(UINT64_MAX);
	kill(job, SIGHUP);
	return waitpid(job, &status, 0) == job && !status ? 0 : 2;
}

static void a_hang_up_that_is_passed_on_ends_a_background_job(void **state)
{
	int ready[2], master, status;
	pid_t pid;
	char c;

	(void)state;
	assert_int_equal(pipe2(told, O_CLOEXEC) | pipe2(ready, O_CLOEXEC), 0);
	pid = forkpty(&master, NULL, NULL, NULL);
	assert_true(pid >= 0);
	if (!pid)
		_exit(shell_passes_a_hang_up_on(ready[1]));
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(master);
	while ((c = next()) == 'g' || c == 'b')
		;
	assert_int_equal(c, 'h');
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- a job that is stopped while it ends ---- */

#define NOT_HERE 77

/* The VM's process: reports its end, and ends when it is let. */
static void report_and_stay(const struct supervisor *supervisor, int said, int let)
{
	char byte = 0;

	supervisor_send(supervisor, ORDER_READY);
	if (!supervisor_report(supervisor, "its report", 10) || write(said, "", 1) != 1 || read(let, &byte, 1) != 1)
		_exit(1);
	_exit(7);
}

/* The supervisor's process: its status is that of the VM's end. */
static void supervise(int said, int let)
{
	const struct supervisor_config config = { .tty = -1, .keep_fds = { -1, -1, -1, -1 } };
	struct supervisor_end end;
	struct sandbox sandbox;
	struct supervisor supervisor;
	int rc;

	supervisor_init(&supervisor);
	sandbox_init(&sandbox, SANDBOX_ON);
	rc = supervisor_separate(&supervisor, &sandbox, &config, &end);
	if (!rc && !supervisor_is_there(&supervisor))
		_exit(NOT_HERE);
	if (!rc)
		report_and_stay(&supervisor, said, let);
	_exit(rc == 1 && !end.left ? end.status : 1);
}

/* Longer than a VM may take that has reported its end. */
static void time_does_not_pass_for_a_stopped_job(void **state)
{
	int said[2], let[2], status;
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(said) | pipe(let), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		close(said[0]);
		supervise(said[1], let[0]);
	}
	close(said[1]);
	if (read(said[0], &byte, 1) == 1) {
		poll_fds(NULL, 0, 200); /* the supervisor has read the report */
		kill(pid, SIGSTOP);
		assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
		assert_true(WIFSTOPPED(status));
		poll_fds(NULL, 0, 6000);
		kill(pid, SIGCONT);
		poll_fds(NULL, 0, 500);
		assert_int_equal(write(let[1], "", 1), 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(said[0]);
	close(let[0]);
	close(let[1]);
	if (status == NOT_HERE << 8)
		skip();
	assert_int_equal(status, 7 << 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_signal_is_an_order),
		cmocka_unit_test(a_running_job_gets_the_terminal),
		cmocka_unit_test(a_terminal_that_hangs_up_is_no_log_rotation),
		cmocka_unit_test(a_hang_up_that_is_passed_on_ends_a_background_job),
		cmocka_unit_test(time_does_not_pass_for_a_stopped_job),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("signals", tests, NULL, NULL);
}
