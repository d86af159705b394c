// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who joins a pod's VM for a container (oci/member.h).
 *
 * The VM's process is behind its walls before there is such a container: it can open nothing. So it is given
 * two sockets, by its own holder: one for streams, as for lkvm-oci exec, and one of a process that reads the
 * container's directories, started here and with walls of its own, which answers for numbers and knows no names.
 *
 * This process keeps nothing of the host, either: it is in its holder's namespaces, whose root is empty, and has
 * no capabilities and no directory, since it hears what the VM's process says.
 *
 * Sources: pid_namespaces(7), setns(2).
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/exec.h"
#include "disk/files.h"
#include "log.h"
#include "oci/call.h"
#include "oci/cgroup.h"
#include "oci/console.h"
#include "oci/member.h"
#include "sandbox/fds.h"
#include "sandbox/sandbox.h"
#include "util.h"

#define ITSELF 0 /* for cgroup_enter(): its number is another in its own namespace */

/* The process that reads the root and the other directories: its socket, or -errno after a message. */
static int member_start_files(const struct member_config *c)
{
	struct tree_config trees[TREE_MAX_TREES] = { { .path = c->root, .archive_fd = -1, .owner = TREE_OWNER_KEEP } };
	struct sandbox sandbox;

	if (c->nr_dirs >= TREE_MAX_TREES) {
		log_error("pod: more than %u directories", TREE_MAX_TREES - 1);
		return -E2BIG;
	}
	for (unsigned int i = 0; i < c->nr_dirs; i++)
		trees[1 + i] = (struct tree_config){
			.path = c->dirs[i].host,
			.archive_fd = -1,
			.owner = TREE_OWNER_KEEP,
		};
	sandbox_init(&sandbox, SANDBOX_ON);
	return files_start_lent(&sandbox, trees, 1 + c->nr_dirs);
}

/* Its own end of the stream to the VM, or -errno after a message. */
static int join(const struct member_config *c)
{
	int files = member_start_files(c), ends[2], rc;

	if (files < 0)
		return files;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends)) {
		log_error("pod: socket: %s", strerror(errno));
		close(files);
		return -errno;
	}
	rc = call_join(c->sandbox, (int[]){ ends[1], files });
	close(files);
	close(ends[1]);
	if (!rc)
		return ends[0];
	log_error("pod: its VM cannot be joined: %s", rc == -ESRCH ? "it has ended" : strerror(-rc));
	close(ends[0]);
	return rc;
}

/* 0, or -errno after a message. What it was joined with leads out of there. */
static int go_behind_walls(const struct member_config *c, int stream)
{
	const int keep[] = {
		STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, c->gate, c->status, c->messages, stream
	};
	int rc = 0;

	if (setns(c->holder, CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET))
		rc = -errno;
	if (!rc)
		rc = sandbox_drop_capabilities();
	if (rc)
		log_error("pod: the container's namespaces cannot be entered: %s", strerror(-rc));
	fds_close_others(keep, ARRAY_SIZE(keep));
	return rc;
}

static int run_member(const struct member_config *c)
{
	struct exec_new new = {
		.in = { .flags = c->flags, .nr_dirs = c->nr_dirs },
		.more = c->more,
		.more_bytes = c->more_bytes,
		.gate = c->gate,
	};
	struct exec_lent lent = {
		.name = c->id,
		.plan = c->process,
		.plan_bytes = c->process_bytes,
		.terminal = c->has_terminal,
		.new = &new,
	};

	snprintf(new.in.name, sizeof(new.in.name), "%s", c->id);
	lent.fd = join(c);
	if (lent.fd < 0 || go_behind_walls(c, lent.fd))
		return EXIT_LKVM;
	signal(SIGPIPE, SIG_IGN);
	return exec_run_lent(&lent);
}

__attribute__((noreturn)) static void be_member(const struct member_config *c)
{
	const int keep[] = {
		STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, c->gate, c->status, c->messages, c->procs, c->holder,
		c->sandbox->dir
	};
	uint8_t status = EXIT_LKVM;
	int rc;

	setsid();
	rc = c->terminal >= 0 ? console_take(c->terminal) : 0;
	fds_close_others(keep, ARRAY_SIZE(keep));
	prctl(PR_SET_NAME, "lkvm-oci");
	if (!rc)
		rc = cgroup_enter(c->procs, ITSELF);
	if (rc)
		log_error("pod: %s: %s", c->id, strerror(-rc));
	else
		status = (uint8_t)run_member(c);
	if (write(c->status, &status, 1) != 1)
		log_error("container: its status is lost: %s", strerror(errno));
	_exit(status);
}

pid_t member_start(const struct member_config *c)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);

	if (!pid)
		be_member(c);
	return pid < 0 ? -errno : pid;
}
