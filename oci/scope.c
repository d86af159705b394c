// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control groups that systemd makes (oci/scope.h).
 *
 * A scope needs a process to begin with, and the container's have devices to open before they enter. So a keeper,
 * who only waits, is in it until they are.
 *
 * Sources: org.freedesktop.systemd1(5), systemd.scope(5), systemd.resource-control(5), busctl(1) of systemd 252;
 * the form of the path: runc, docs/systemd.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oci/cgroup.h"
#include "oci/scope.h"
#include "util.h"

#define ASKED_NS 15000000000ull
#define MADE_NS	 10000000000ull
#define GONE_NS	 5000000000ull

/* ---- names ---- */

/* What systemd allows in the name of a unit. */
static bool is_name_of_unit(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@";

	return *name && strspn(name, allowed) == strlen(name);
}

static bool ends_with(const char *text, const char *end)
{
	const size_t n = strlen(text), m = strlen(end);

	return n > m && !strcmp(text + n - m, end);
}

int scope_find_name(const char *cgroups_path, char *name, char *slice, struct config_error *error)
{
	const char *prefix = strchr(cgroups_path, ':');
	const char *own = prefix ? strchr(prefix + 1, ':') : NULL;
	int n = -1, m = -1;

	if (own) {
		const int slice_bytes = (int)min_u64((uint64_t)(prefix - cgroups_path), SCOPE_MAX_NAME);
		const int prefix_bytes = (int)min_u64((uint64_t)(own - prefix - 1), SCOPE_MAX_NAME);

		m = slice_bytes ? snprintf(slice, SCOPE_MAX_NAME, "%.*s", slice_bytes, cgroups_path) :
				  snprintf(slice, SCOPE_MAX_NAME, "system.slice");
		n = snprintf(name, SCOPE_MAX_NAME, "%.*s%s%s.scope", prefix_bytes, prefix + 1, prefix_bytes ? "-" : "", own + 1);
	}
	if (n > 0 && n < (int)SCOPE_MAX_NAME && m < (int)SCOPE_MAX_NAME && own[1] && is_name_of_unit(name) &&
	    is_name_of_unit(slice) && ends_with(slice, ".slice"))
		return 0;
	snprintf(error->text, sizeof(error->text),
		 "config.json: linux.cgroupsPath: \"%.100s\": with --systemd-cgroup it is "
		 "SLICE:PREFIX:NAME",
		 cgroups_path);
	return -EINVAL;
}

/* ---- what is asked ---- */

static void scope_put(struct scope_command *s, const char *word)
{
	if (s->nr < SCOPE_MAX_ARGUMENTS)
		s->argv[s->nr++] = word;
	s->argv[s->nr] = NULL;
}

static void __attribute__((format(printf, 2, 3))) scope_put_text(struct scope_command *s, const char *fmt, ...)
{
	const size_t room = sizeof(s->text) - s->used;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(s->text + s->used, room, fmt, args);
	va_end(args);
	scope_put(s, s->text + s->used);
	s->used += min_u64((uint64_t)n + 1, room - 1);
}

static void scope_put_number(struct scope_command *s, const char *property, uint64_t value)
{
	scope_put(s, property);
	scope_put(s, "t");
	scope_put_text(s, "%llu", (unsigned long long)value);
	s->nr_properties++;
}

static void scope_put_string(struct scope_command *s, const char *property, const char *type, const char *value)
{
	scope_put(s, property);
	scope_put(s, type);
	scope_put(s, value);
	s->nr_properties++;
}

/* UINT64_MAX: no limit. */
static uint64_t quota_per_second(const struct config_resources *r)
{
	const uint64_t period = r->cpu_period_us > 0 ? (uint64_t)r->cpu_period_us : 100000;

	uint64_t product;

	if (r->cpu_quota_us < 0 || __builtin_mul_overflow((uint64_t)r->cpu_quota_us, 1000000u, &product))
		return UINT64_MAX;
	return product / period;
}

/* A number of it, and what is behind that; false: it is none. */
static bool take_number(const char **at, unsigned long *n)
{
	char *end;

	if (**at < '0' || **at > '9')
		return false;
	*n = strtoul(*at, &end, 10);
	*at = end;
	return *n <= SCOPE_MAX_NUMBER;
}

/* "0-2,7" as bits, of which the first byte has the lowest numbers: how many bytes, or 0 if it is no such list. */
static unsigned int list_to_bits(const char *list, uint8_t bits[SCOPE_MAX_NUMBER / 8 + 1])
{
	unsigned long first, last;
	unsigned int nr = 0;

	memset(bits, 0, SCOPE_MAX_NUMBER / 8 + 1);
	for (;;) {
		if (!take_number(&list, &first))
			return 0;
		last = first;
		if (*list == '-' && (list++, !take_number(&list, &last) || last < first))
			return 0;
		for (unsigned long i = first; i <= last; i++)
			bits[i / 8] |= (uint8_t)(1u << i % 8);
		nr = (unsigned int)max_u64(nr, last / 8 + 1);
		if (!*list)
			return nr;
		if (*list++ != ',')
			return 0;
	}
}

static void scope_put_set(struct scope_command *s, const char *property, const char *list)
{
	uint8_t bits[SCOPE_MAX_NUMBER / 8 + 1];
	const unsigned int nr = list ? list_to_bits(list, bits) : 0;

	if (!nr)
		return;
	scope_put(s, property);
	scope_put(s, "ay");
	scope_put_text(s, "%u", nr);
	for (unsigned int i = 0; i < nr; i++)
		scope_put_text(s, "%u", bits[i]);
	s->nr_properties++;
}

int scope_check_sets(const struct config_resources *r, struct config_error *error)
{
	const char *const lists[] = { r->cpus, r->mems };
	uint8_t bits[SCOPE_MAX_NUMBER / 8 + 1];

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (lists[i] && *lists[i] && !list_to_bits(lists[i], bits)) {
			snprintf(error->text, sizeof(error->text), "config.json: linux.resources.cpu.%s: \"%.100s\" is no list of "
								   "numbers up to %u, such as 0-2,7",
				 i ? "mems" : "cpus", lists[i], SCOPE_MAX_NUMBER);
			return -EINVAL;
		}
	return 0;
}

static void scope_put_cpu(struct scope_command *s, const struct config_resources *r)
{
	if (r->cpu_quota_us) {
		scope_put_number(s, "CPUQuotaPerSecUSec", quota_per_second(r));
		if (r->cpu_period_us > 0)
			scope_put_number(s, "CPUQuotaPeriodUSec", (uint64_t)r->cpu_period_us);
	}
	if (r->cpu_shares >= 2)
		scope_put_number(s, "CPUWeight", (uint64_t)cgroup_weight(r->cpu_shares));
	scope_put_set(s, "AllowedCPUs", r->cpus);
	scope_put_set(s, "AllowedMemoryNodes", r->mems);
}

static void scope_put_memory(struct scope_command *s, const struct config_resources *r)
{
	if (r->memory_bytes > 0)
		scope_put_number(s, "MemoryMax", (uint64_t)cgroup_vm_bytes(r->memory_bytes));
	if (r->memory_bytes > 0 && r->swap_bytes >= r->memory_bytes)
		scope_put_number(s, "MemorySwapMax", (uint64_t)(r->swap_bytes - r->memory_bytes));
	if (r->reservation_bytes > 0)
		scope_put_number(s, "MemoryLow", (uint64_t)r->reservation_bytes);
}

/* Up to the number of properties, which scope_end() writes. */
static void scope_begin(struct scope_command *s, const char *method, const char *signature, const char *name, const char *mode)
{
	const char *const words[] = {
		"busctl", "--timeout=10", "--", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
		"org.freedesktop.systemd1.Manager", method, signature, name, mode, s->number
	};

	s->nr = s->nr_properties = 0;
	s->used = 0;
	s->patience_ns = ASKED_NS;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		scope_put(s, words[i]);
}

static void scope_end(struct scope_command *s)
{
	snprintf(s->number, sizeof(s->number), "%u", s->nr_properties);
}

void scope_write_start(struct scope_command *s, const char *name, const char *slice, const struct config_resources *r,
		       pid_t pid)
{
	scope_begin(s, "StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail");
	scope_put_string(s, "Description", "s", "a container in a virtual machine");
	scope_put_string(s, "Slice", "s", slice);
	scope_put_string(s, "CollectMode", "s", "inactive-or-failed");
	scope_put_string(s, "DefaultDependencies", "b", "false");
	scope_put_string(s, "Delegate", "b", "true");
	scope_put_memory(s, r);
	scope_put_cpu(s, r);
	scope_put_string(s, "PIDs", "au", "1");
	scope_put_text(s, "%d", pid);
	scope_put(s, "0"); /* other units */
	scope_end(s);
}

void scope_write_update(struct scope_command *s, const char *name, const struct config_resources *r)
{
	scope_begin(s, "SetUnitProperties", "sba(sv)", name, "true");
	scope_put_cpu(s, r);
	scope_end(s);
}

/* ---- asking ---- */

/* 0, -EIO: it has failed, or -ETIMEDOUT. */
static int reap_in_time(pid_t pid, uint64_t patience_ns)
{
	const uint64_t deadline = now_ns() + patience_ns;
	int status = -1;

	while (!waitpid(pid, &status, WNOHANG))
		if (!wait_a_moment(deadline)) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return -ETIMEDOUT;
		}
	return status ? -EIO : 0;
}

/* What it says when it fails is the reason. */
int scope_ask(const struct scope_command *s, const char *name, struct config_error *error)
{
	int said = memfd_create("busctl", MFD_CLOEXEC), rc;
	posix_spawn_file_actions_t actions;
	char text[200] = "";
	pid_t pid = -1;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, said, STDERR_FILENO);
	rc = said < 0 ? -errno : -posix_spawnp(&pid, s->argv[0], &actions, NULL, (char *const *)(uintptr_t)s->argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (!rc)
		rc = reap_in_time(pid, s->patience_ns);
	if (rc == -EIO && pread(said, text, sizeof(text) - 1, 0) > 0)
		text[strcspn(text, "\n")] = '\0';
	if (said >= 0)
		close(said);
	if (rc)
		snprintf(error->text, sizeof(error->text),
			 "systemd: %.100s: %s; the engine's cgroup manager cgroupfs does "
			 "without systemd",
			 name, *text ? text : rc == -ENOENT ? "busctl is not there" :
				      rc == -ETIMEDOUT	    ? "it does not answer" :
							      strerror(-rc));
	return rc;
}

/* ---- a scope ---- */

__attribute__((noreturn)) static void be_keeper(int pipe)
{
	char byte;

	if (!prctl(PR_SET_PDEATHSIG, SIGKILL))
		while (read(pipe, &byte, 1) < 0 && errno == EINTR)
			;
	_exit(0);
}

static int start_keeper(struct scope *s)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	s->keeper = fork();
	if (!s->keeper) {
		close(ends[1]);
		be_keeper(ends[0]);
	}
	close(ends[0]);
	s->pipe = ends[1];
	if (s->keeper > 0)
		return 0;
	s->keeper = 0;
	return -errno;
}

/* Where @pid is, if that is @name. */
static bool is_in_scope(pid_t pid, const char *name, char place[PATH_MAX])
{
	char path[32], line[PATH_MAX];
	bool is = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	f = fopen(path, "re");
	while (f && !is && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		is = !strncmp(line, "0::/", 4) && !strstr(line, "/../") && ends_with(line, name) &&
		     line[strlen(line) - strlen(name) - 1] == '/';
		strcpy(place, line + 3);
	}
	if (f)
		fclose(f);
	return is;
}

int scope_make(struct scope *s, const struct config *c, char place[PATH_MAX], struct config_error *error)
{
	char name[SCOPE_MAX_NAME], slice[SCOPE_MAX_NAME];
	const uint64_t deadline = now_ns() + MADE_NS;
	struct scope_command command;
	int rc = scope_find_name(c->cgroups_path, name, slice, error);

	*s = (struct scope)SCOPE_NONE;
	if (!rc)
		rc = scope_check_sets(&c->resources, error);
	if (rc)
		return rc;
	rc = start_keeper(s);
	if (rc) {
		snprintf(error->text, sizeof(error->text), "systemd: %s", strerror(-rc));
		return rc;
	}
	scope_write_start(&command, name, slice, &c->resources, s->keeper);
	rc = scope_ask(&command, name, error);
	while (!rc && !is_in_scope(s->keeper, name, place))
		if (!wait_a_moment(deadline)) {
			snprintf(error->text, sizeof(error->text), "systemd: %.100s: is not made in time", name);
			rc = -ETIMEDOUT;
		}
	return rc;
}

void scope_release(struct scope *s)
{
	if (s->pipe >= 0)
		close(s->pipe);
	if (s->keeper > 0) {
		kill(s->keeper, SIGKILL);
		waitpid(s->keeper, NULL, 0);
	}
	*s = (struct scope)SCOPE_NONE;
}

int scope_wait_gone(const char *path)
{
	const uint64_t deadline = now_ns() + GONE_NS;

	while (!access(path, F_OK))
		if (!wait_a_moment(deadline))
			return -EBUSY;
	return 0;
}

int scope_update(const char *path, const struct config_resources *r, struct config_error *error)
{
	const char *name = strrchr(path, '/');
	struct scope_command command;

	int rc = scope_check_sets(r, error);

	if (rc || !name)
		return rc;
	scope_write_update(&command, name + 1, r);
	return command.nr_properties ? scope_ask(&command, name + 1, error) : 0;
}
