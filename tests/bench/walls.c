// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the sandbox costs at least: its walls, by the functions that lkvm calls, without a virtual machine.
 *
 *	walls none      starts, says a byte, has a second thread, ends
 *	walls alone     and two processes with all that they have in lkvm around a guest without disks:
 *	                namespaces, limits, no capabilities, Landlock, the filters of both and of the vCPU's thread
 *
 * The bench compares their difference with what "--sandbox off" spares (docs/MEASUREMENTS). It is linked with all of
 * lkvm, so that what a fork has to copy is alike.
 */
#include "sandbox/sandbox.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* In front: the supervisor's filter; it waits for the other. */
static bool be_front(struct sandbox *s, pid_t other)
{
	int status;

	return !sandbox_confine_helper(s, SANDBOX_SUPERVISOR) && waitpid(other, &status, 0) == other && !status;
}

static void *be_vcpu(void *walls)
{
	struct sandbox *s = walls;

	return s && sandbox_confine(s, SANDBOX_VCPU) ? s : NULL;
}

static bool run_vcpu(struct sandbox *s)
{
	pthread_t thread;
	void *failed;

	return !pthread_create(&thread, NULL, be_vcpu, s) && !pthread_join(thread, &failed) && !failed;
}

static bool be_vm(struct sandbox *s)
{
	return !sandbox_enter(s) && s->filters && run_vcpu(s) && !sandbox_confine(s, SANDBOX_LOOP);
}

static bool build_walls(void)
{
	struct sandbox s;
	pid_t other;

	sandbox_init(&s, SANDBOX_STRICT);
	if (sandbox_separate(&s) != 1)
		return false;
	other = fork();
	if (!other)
		_exit(!be_vm(&s));
	return other > 0 && be_front(&s, other);
}

int main(int argc, char **argv)
{
	const bool none = argc == 2 && !strcmp(argv[1], "none");

	if (!none && (argc != 2 || strcmp(argv[1], "alone"))) {
		fputs("usage: walls none|alone\n", stderr);
		return 2;
	}
	if (write(STDOUT_FILENO, "x", 1) != 1)
		return 1;
	/* Without what exit() would do: the filters have no calls for it. */
	_exit(!(none ? run_vcpu(NULL) : build_walls()));
}
