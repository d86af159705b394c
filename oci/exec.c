// SPDX-License-Identifier: GPL-2.0-only
/*
 * lkvm-oci exec: one more process in a container.
 *
 * It has a process here, its engine's child as the container's is, in the namespaces of the
 * container's holder: so it ends with the container, and nothing of the host is reached by it. It is a
 * client of the VM's commands (control/exec.h) over a socket that the holder has passed on, moves the
 * streams, and ends with the guest's status. This command waits until the program runs, or does not.
 *
 * Sources: OCI runtime specification 1.2.0, config.md on processes; setns(2); conmon 2.1 and containerd 1.6
 * as they were watched.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/exec.h"
#include "guest/protocol.h"
#include "io.h"
#include "oci/call.h"
#include "oci/cgroup.h"
#include "oci/config.h"
#include "oci/console.h"
#include "oci/plan.h"
#include "sandbox/fds.h"
#include "sandbox/sandbox.h"
#include "util.h"

#define STARTED_MS 120000
#define FAILED	   126

struct execution {
	const struct call *call;
	const struct call_exec *args;
	struct store_container container;
	struct store_record record;
	struct config config;
	struct config_error error;
	char *plan; /* ours */
	size_t plan_bytes;
	int vm;	       /* the client's end of the socket */
	int terminal;  /* -1: none */
	int report[2]; /* errno of the start, or 0 */
	int procs;     /* -1: no group */
	int spaces;    /* pidfd of the holder */
};

static int fail_execution(struct execution *e, int rc, const char *text)
{
	snprintf(e->error.text, sizeof(e->error.text), "exec: %s%s%s", text, rc < 0 ? ": " : "",
		 rc < 0 ? strerror(-rc) : "");
	return -EIO;
}

/* ---- what it is ---- */

static int execution_read(struct execution *e, const char *path, enum config_kind kind)
{
	size_t bytes;
	char *text;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), rc;

	if (fd < 0)
		return fail_execution(e, -errno, path);
	rc = config_read_file(fd, &text, &bytes);
	close(fd);
	if (rc)
		return fail_execution(e, rc, path);
	rc = config_parse(&e->config, kind, text, bytes, &e->error);
	free(text);
	return rc;
}

/* Without --process: as the container's own, but for its arguments. */
static int execution_read_bundle(struct execution *e)
{
	struct config_process *p = &e->config.process;
	char path[PATH_MAX + 16];
	int rc;

	if (!e->args->nr_arguments)
		return fail_execution(e, 0, "--process is missing, and there is no command");
	snprintf(path, sizeof(path), "%s/config.json", e->record.bundle);
	rc = execution_read(e, path, CONFIG_BUNDLE);
	if (rc)
		return rc;
	free(p->args.texts);
	p->args = (struct config_strings){ .texts = calloc(e->args->nr_arguments + 1u, sizeof(char *)) };
	if (!p->args.texts)
		return fail_execution(e, -ENOMEM, "arguments");
	while (p->args.nr < e->args->nr_arguments) {
		p->args.texts[p->args.nr] = e->args->arguments[p->args.nr];
		p->args.nr++;
	}
	p->terminal = e->args->tty;
	return 0;
}

static int read_what(struct execution *e)
{
	int rc = e->args->process ? execution_read(e, e->args->process, CONFIG_PROCESS) : execution_read_bundle(e);

	if (rc)
		return rc;
	if (e->args->preserved && strcmp(e->args->preserved, "0") != 0)
		return fail_execution(e, 0, "--preserve-fds: descriptors cannot go into a VM");
	e->config.process.terminal |= e->args->tty;
	if (e->args->cwd)
		e->config.process.cwd = e->args->cwd;
	return 0;
}

static int execution_make_message(struct execution *e)
{
	int rc = plan_process(&e->config, e->config.process.cwd, &e->plan, &e->plan_bytes);

	return rc ? fail_execution(e, rc, "arguments") : 0;
}

/* ---- what it takes ---- */

static int open_terminal_of(struct execution *e)
{
	const struct config_process *p = &e->config.process;

	if (!p->terminal)
		return 0;
	if (!e->args->console_socket)
		return isatty(STDIN_FILENO) ? 0 : fail_execution(e, 0, "a terminal needs --console-socket");
	e->terminal = console_open(e->args->console_socket, p->columns, p->rows);
	return e->terminal < 0 ? fail_execution(e, e->terminal, "--console-socket") : 0;
}

static int open_all(struct execution *e)
{
	e->spaces = store_open_process(&e->record.holder);
	if (e->spaces < 0)
		return fail_execution(e, 0, "container not running");
	e->procs = cgroup_open(e->record.cgroup);
	if (e->procs < 0 && *e->record.cgroup)
		return fail_execution(e, e->procs, "the container's group cannot be opened");
	if (pipe2(e->report, O_CLOEXEC))
		return fail_execution(e, -errno, "pipe");
	return open_terminal_of(e);
}

/* By the holder whose VM it is, to that. */
static int ask_for_vm(struct execution *e, int fd)
{
	struct store_container sandbox;
	int rc;

	if (!*e->record.sandbox)
		return call_ask(&e->container, HOLDER_EXEC, 0, fd);
	rc = store_find(&sandbox, e->call->root, e->record.sandbox, false);
	if (!rc)
		rc = call_ask(&sandbox, HOLDER_EXEC, 0, fd);
	store_close(&sandbox);
	return rc == -ENOENT ? -ESRCH : rc;
}

static int connect_to_vm(struct execution *e)
{
	int ends[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends))
		return fail_execution(e, -errno, "socket");
	e->vm = ends[0];
	rc = ask_for_vm(e, ends[1]);
	close(ends[1]);
	if (rc == -ESRCH)
		return fail_execution(e, 0, "container not running");
	return rc ? fail_execution(e, rc, "the VM cannot be reached") : 0;
}

/* ---- its process ---- */

static void tell_caller(void *arg, int error)
{
	const struct execution *e = arg;

	if (write(e->report[1], &error, sizeof(error)) != (ssize_t)sizeof(error))
		return; /* whoever has called is gone, which ends nothing */
}

static int execution_enter(const struct execution *e)
{
	if (cgroup_enter(e->procs, getpid()) || setsid() < 0)
		return -errno;
	if (e->terminal >= 0 && console_take(e->terminal))
		return -errno;
	if (setns(e->spaces, CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET))
		return -errno;
	return sandbox_drop_capabilities(); /* it reads what the VM's process says */
}

__attribute__((noreturn)) static void be_process(struct execution *e)
{
	const int keep[] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, e->vm, e->report[1] };
	const struct exec_lent lent = {
		.name = e->container.id,
		.fd = e->vm,
		.plan = e->plan,
		.plan_bytes = e->plan_bytes,
		.terminal = e->config.process.terminal,
		.container = *e->record.sandbox ? e->container.id : NULL,
		.started = tell_caller,
		.arg = e,
	};
	const struct call *call = e->call;
	int rc = execution_enter(e);

	if (rc) {
		tell_caller(e, -rc);
		_exit(FAILED);
	}
	fds_close_others(keep, ARRAY_SIZE(keep));
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NAME, "lkvm-oci");
	holder_show_title(call->title, call->title_bytes, e->config.process.args.texts);
	_exit(exec_run_lent(&lent));
}

/* Its number, or -errno. Children of this process are in the holder's PID namespace from now on. */
static pid_t start_process(struct execution *e)
{
	pid_t pid;

	if (setns(e->spaces, CLONE_NEWPID))
		return fail_execution(e, -errno, "the container's namespace cannot be entered");
	pid = fork();
	if (pid < 0)
		return fail_execution(e, -errno, "no more processes");
	if (!pid)
		be_process(e);
	close(e->report[1]);
	close(e->vm);
	e->report[1] = e->vm = -1;
	return pid;
}

static void say_why_not(struct execution *e, int error)
{
	const char *name = e->config.process.args.texts[0];

	if (error == ENOENT || error == ENOTDIR)
		snprintf(e->error.text, sizeof(e->error.text),
			 "executable file \"%.200s\" not found%s, or its "
			 "directory: No such file or directory",
			 name, strchr(name, '/') ? "" : " in $PATH");
	else if (error == EACCES)
		snprintf(e->error.text, sizeof(e->error.text), "executable file \"%.200s\": Permission denied", name);
	else
		fail_execution(e, -error, name);
}

/* 0; or -errno, after its end. */
static int wait_for_start(struct execution *e, pid_t pid)
{
	struct pollfd p = { .fd = e->report[0], .events = POLLIN };
	int n, error = 0;

	do
		n = poll_fds(&p, 1, STARTED_MS);
	while (n < 0 && errno == EINTR);
	if (n > 0 && read(e->report[0], &error, sizeof(error)) == (ssize_t)sizeof(error) && !error)
		return 0;
	if (n <= 0)
		kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (!error)
		return fail_execution(e, 0,
				      n > 0 ? "the VM takes no more commands, or has ended" :
					      "the VM does not answer");
	say_why_not(e, error);
	return -error;
}

static int execution_status(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return FAILED;
	return WIFSIGNALED(status) ? EXIT_SIGNAL(WTERMSIG(status)) : WEXITSTATUS(status);
}

/* ---- all of it ---- */

static int take_execution_steps(struct execution *e, int *status)
{
	static int (*const steps[])(struct execution *) = { read_what, execution_make_message,
							    open_all, connect_to_vm };
	pid_t pid;
	int rc = 0;

	for (size_t i = 0; i < ARRAY_SIZE(steps) && !rc; i++)
		rc = steps[i](e);
	if (rc)
		return -EIO;
	pid = start_process(e);
	if (pid < 0)
		return pid;
	rc = call_write_pid(e->args->pid_file, pid);
	if (rc) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return fail_execution(e, 0, "--pid-file: cannot be written");
	}
	rc = wait_for_start(e, pid);
	if (!rc)
		*status = e->args->detach ? 0 : execution_status(pid);
	return rc;
}

static void execution_fini(struct execution *e)
{
	const int fds[] = { e->vm, e->terminal, e->report[0], e->report[1], e->procs, e->spaces };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(e->plan);
	config_fini(&e->config);
	store_close(&e->container);
}

int call_exec(const struct call *call, const struct call_exec *args)
{
	struct execution e = {
		.call = call,
		.args = args,
		.container = STORE_NO_CONTAINER,
		.vm = -1,
		.terminal = -1,
		.report = { -1, -1 },
		.procs = -1,
		.spaces = -1,
	};
	const char *state;
	int rc, status = 1;

	if (call_find(call, &e.container, &e.record, args->id, false))
		return 1;
	state = call_status_of(&e.container, &e.record);
	if (strcmp(state, "running") != 0) {
		store_close(&e.container);
		return call_fail(call, "container \"%s\" is %s: nothing can be executed in it", args->id, state);
	}
	rc = take_execution_steps(&e, &status);
	if (rc == -ENOENT || rc == -ENOTDIR || rc == -EACCES)
		status = call_fail_by_words(call, e.error.text);
	else if (rc)
		status = call_fail(call, "%s", e.error.text);
	execution_fini(&e);
	return status;
}
