// SPDX-License-Identifier: GPL-2.0-only
/*
 * lkvm-oci ps and update: what there is of a container on the host, and how much of the host it has.
 *
 * Its processes on the host are its holder and those of exec, which share a PID namespace; those of its VM are
 * nobody's business. What an update changes are the limits of the VM's CPU time. Memory and the
 * number of processes are the guest's, which has them from its start: other ones are refused by name. So are all
 * of a container that shares its VM: what it has on the host moves its streams, and limits nothing.
 *
 * Sources: runc(8) for the forms; namespaces(7).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci/call.h"
#include "oci/cgroup.h"
#include "oci/config.h"
#include "oci/scope.h"
#include "oci/store.h"

#define LINE_BYTES 4096

/* ---- ps ---- */

/* Of the process's PID namespace; 0: it is gone, or not ours to see. */
static ino_t pid_space_of(const char *pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%.20s/ns/pid", pid);
	return stat(path, &st) ? 0 : st.st_ino;
}

static void print_command(const char *pid)
{
	char path[64], line[LINE_BYTES];
	int fd, n;

	snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : (int)read(fd, line, sizeof(line));
	if (fd >= 0)
		close(fd);
	while (n > 0 && !line[n - 1])
		n--;
	for (int i = 0; i < n; i++)
		if (line[i] < ' ' || line[i] == 0x7f)
			line[i] = ' ';
	printf("%10s %.*s\n", pid, n > 0 ? n : 0, line);
}

static int print_processes(const struct store_record *r, bool json)
{
	char holder[16];
	bool first = true;
	struct dirent *e;
	ino_t space;
	DIR *d = opendir("/proc");

	if (!d)
		return -errno;
	snprintf(holder, sizeof(holder), "%d", r->holder.pid);
	space = pid_space_of(holder);
	fputs(json ? "[" : "       PID COMMAND\n", stdout);
	while (space && (e = readdir(d))) {
		if (*e->d_name < '0' || *e->d_name > '9' || pid_space_of(e->d_name) != space)
			continue;
		if (json)
			printf("%s%s", first ? "" : ",", e->d_name);
		else
			print_command(e->d_name);
		first = false;
	}
	fputs(json ? "]\n" : "", stdout);
	closedir(d);
	return 0;
}

int call_ps(const struct call *call, const char *id, bool json)
{
	struct store_container c;
	struct store_record r;
	int rc;

	if (call_find(call, &c, &r, id, false))
		return 1;
	rc = store_is_alive(&r.holder) ? print_processes(&r, json) : -ESRCH;
	store_close(&c);
	return !rc ? 0 : call_fail(call, rc == -ESRCH ? "container not running" : "/proc cannot be read");
}

/* ---- update ---- */

static bool differs(int64_t asked, int64_t is)
{
	return asked && asked != is && !(asked < 0 && is <= 0);
}

static bool texts_differ(const char *asked, const char *is)
{
	return asked && *asked && strcmp(asked, is ? is : "") != 0;
}

/* The first limit of CPU time that would be another one; NULL: none. */
static const char *changed_cpu(const struct config_resources *asked, const struct config_resources *is)
{
	return differs(asked->cpu_quota_us, is->cpu_quota_us)	? "cpu.quota" :
	       differs(asked->cpu_period_us, is->cpu_period_us) ? "cpu.period" :
	       differs(asked->cpu_shares, is->cpu_shares)	? "cpu.shares" :
	       texts_differ(asked->cpus, is->cpus)		? "cpu.cpus" :
	       texts_differ(asked->mems, is->mems)		? "cpu.mems" :
								  NULL;
}

static int check_update(const struct config_resources *asked, const struct config_resources *is, bool in_pod,
			struct config_error *error)
{
	const char *what = differs(asked->memory_bytes, is->memory_bytes)	    ? "memory.limit" :
			   differs(asked->swap_bytes, is->swap_bytes)		    ? "memory.swap" :
			   differs(asked->reservation_bytes, is->reservation_bytes) ? "memory.reservation" :
			   differs(asked->pids, is->pids)			    ? "pids.limit" :
			   in_pod						    ? changed_cpu(asked, is) :
										      NULL;

	if (!what)
		return 0;
	snprintf(error->text, sizeof(error->text),
		 "update: %s: a %s has it from its start; make the container "
		 "anew with another",
		 what, in_pod ? "container of a pod" : "VM");
	return -ENOTSUP;
}

static int update_container(const struct store_record *r, int fd, struct config_error *error)
{
	const bool in_pod = *r->sandbox;
	struct config asked, is;
	int rc = call_read_file(&asked, CONFIG_RESOURCES, fd, error);

	if (rc)
		return rc;
	rc = call_read_config(&is, r, error);
	if (!rc) {
		rc = check_update(&asked.resources, &is.resources, in_pod, error);
		cgroup_complete_cpu(r->cgroup, &asked.resources);
		config_fini(&is);
	}
	/* systemd first: it may refuse, and sets anew all that the group has. */
	if (!rc && !in_pod && r->cgroup_scope)
		rc = scope_update(r->cgroup, &asked.resources, error);
	if (!rc && !in_pod)
		rc = cgroup_update(r->cgroup, &asked.resources, error);
	config_fini(&asked);
	return rc;
}

int call_update(const struct call *call, const char *id, const char *resources)
{
	const bool from_stdin = !strcmp(resources, "-");
	struct config_error error = { "" };
	struct store_container c;
	struct store_record r;
	int fd, rc;

	if (call_find(call, &c, &r, id, true))
		return 1;
	if (!store_is_alive(&r.holder)) {
		store_close(&c);
		return call_fail(call, "container not running");
	}
	fd = from_stdin ? STDIN_FILENO : open(resources, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	rc = update_container(&r, fd, &error);
	if (!from_stdin && fd >= 0)
		close(fd);
	store_close(&c);
	return rc ? call_fail(call, "%s", error.text) : 0;
}
