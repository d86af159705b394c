// SPDX-License-Identifier: GPL-2.0-only
/*
 * A container's control group (oci/cgroup.h).
 *
 * The memory that config.json allows is the guest's; the VM has some beside it, without which it would
 * be killed for what its guest may use. What the container's processes may be in number is the
 * guest's business, as devices are: here are the VM's.
 *
 * Sources: Documentation/admin-guide/cgroup-v2.rst; OCI runtime specification 1.2.0, config-linux.md.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "oci/cgroup.h"
#include "util.h"

#define CGROUP_MOUNT "/sys/fs/cgroup"
/*
 * For whoever was killed in it: KVM takes a VM apart before its last thread is gone, on a busy host in seconds.
 * containerd waits 5 s for all of a delete.
 */
#define REMOVE_NS 4000000000ull

static int write_text(const char *dir, const char *file, const char *text)
{
	char path[PATH_MAX + 32];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	if (n < 0)
		n = -errno;
	close(fd);
	return n < 0 ? (int)n : 0;
}

/*
 * Each group on the way gives its children what it has itself; what it lacks is found out by a limit. The last
 * one can be there: -EEXIST.
 */
static int make_groups(char *path)
{
	static const char *const controllers[] = { "+cpuset", "+cpu", "+io", "+memory", "+pids" };

	for (char *p = path + strlen(CGROUP_MOUNT);; p++) {
		char c = *p;

		if (c && c != '/')
			continue;
		*p = '\0';
		if (mkdir(path, 0755) && (errno != EEXIST || !c))
			return -errno;
		for (size_t i = 0; i < ARRAY_SIZE(controllers) && c; i++)
			write_text(path, "cgroup.subtree_control", controllers[i]);
		*p = c;
		if (!c)
			return 0;
	}
}

/* No processes and no groups: nobody's, then. 0, -EBUSY or another -errno. */
static int check_is_empty(const char *path)
{
	char procs[PATH_MAX + 32];
	struct dirent *e;
	int rc = 0, pid;
	DIR *d = opendir(path);
	FILE *f;

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
	f = d ? fopen(procs, "re") : NULL;
	if (!f)
		rc = -errno;
	else if (fscanf(f, "%d", &pid) == 1)
		rc = -EBUSY;
	while (d && !rc && (e = readdir(d)))
		if (e->d_type == DT_DIR && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			rc = -EBUSY;
	if (f)
		fclose(f);
	if (d)
		closedir(d);
	return rc;
}

static int cgroup_set_limit(const char *path, const char *file, const char *text, struct config_error *error)
{
	int rc = write_text(path, file, text);

	if (rc)
		snprintf(error->text, sizeof(error->text), "cgroup: %.200s: %s: cannot be set to \"%.40s\" (%s)",
			 path, file, text, rc == -ENOENT ? "the controller is not there" : strerror(-rc));
	return rc;
}

static int cgroup_set_bytes(const char *path, const char *file, int64_t bytes, struct config_error *error)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long)bytes);
	return cgroup_set_limit(path, file, bytes < 0 ? "max" : text, error);
}

int64_t cgroup_vm_bytes(int64_t bytes)
{
	return bytes > INT64_MAX - (int64_t)CGROUP_OVERHEAD_BYTES ? -1 : bytes + (int64_t)CGROUP_OVERHEAD_BYTES;
}

/* A host that does not count swap has none to forbid. */
static int cgroup_set_swap(const char *path, int64_t bytes, struct config_error *error)
{
	int rc = cgroup_set_bytes(path, "memory.swap.max", bytes, error);

	return rc == -ENOENT && !bytes ? 0 : rc;
}

static int cgroup_set_memory(const char *path, const struct config_resources *r, struct config_error *error)
{
	int rc = 0;

	if (r->memory_bytes > 0)
		rc = cgroup_set_bytes(path, "memory.max", cgroup_vm_bytes(r->memory_bytes), error);
	if (!rc && r->memory_bytes > 0 && r->swap_bytes >= r->memory_bytes) /* it counts both */
		rc = cgroup_set_swap(path, r->swap_bytes - r->memory_bytes, error);
	if (!rc && r->reservation_bytes > 0)
		rc = cgroup_set_bytes(path, "memory.low", r->reservation_bytes, error);
	return rc;
}

int64_t cgroup_weight(int64_t shares)
{
	return (int64_t)min_u64(10000, (uint64_t)(1 + (shares - 2) * 9999 / 262142));
}

static int set_cpu(const char *path, const struct config_resources *r, struct config_error *error)
{
	char text[64];
	int rc = 0;

	if (r->cpu_quota_us > 0) {
		snprintf(text, sizeof(text), "%lld %lld", (long long)r->cpu_quota_us,
			 (long long)(r->cpu_period_us ? r->cpu_period_us : 100000));
		rc = cgroup_set_limit(path, "cpu.max", text, error);
	}
	if (!rc && r->cpu_shares >= 2) {
		snprintf(text, sizeof(text), "%lld", (long long)cgroup_weight(r->cpu_shares));
		rc = cgroup_set_limit(path, "cpu.weight", text, error);
	}
	if (!rc && r->cpus)
		rc = cgroup_set_limit(path, "cpuset.cpus", r->cpus, error);
	if (!rc && r->mems)
		rc = cgroup_set_limit(path, "cpuset.mems", r->mems, error);
	return rc;
}

static bool is_version_2(void)
{
	struct statfs fs;

	return !statfs(CGROUP_MOUNT, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* Has names in it, and none of them leads back. */
static bool is_path_of_group(const char *path)
{
	unsigned int nr = 0;

	for (path += strspn(path, "/"); *path; path += strspn(path, "/"), nr++) {
		const size_t n = strcspn(path, "/");

		if (*path == '.' && (n == 1 || (n == 2 && path[1] == '.')))
			return false;
		path += n;
	}
	return nr > 0;
}

/* Without a leading "/" it is below the same place. */
static int cgroup_choose_path(const struct config *c, char *path, struct config_error *error)
{
	const char *given = c->cgroups_path;
	int n = snprintf(path, PATH_MAX, CGROUP_MOUNT "%s%s", *given == '/' ? "" : "/", given);

	while (n < PATH_MAX && path[n - 1] == '/')
		path[--n] = '\0';
	if (n >= PATH_MAX || !is_path_of_group(given)) {
		snprintf(error->text, sizeof(error->text), "config.json: linux.cgroupsPath: is no path of a group");
		return -EINVAL;
	}
	if (is_version_2())
		return 0;
	snprintf(error->text, sizeof(error->text),
		 "cgroup: " CGROUP_MOUNT " is not of version 2, and no other "
		 "can be used");
	return -ENOTSUP;
}

static int set_limits(const char *path, const struct config_resources *r, struct config_error *error)
{
	int rc = cgroup_set_memory(path, r, error);

	return rc ? rc : set_cpu(path, r, error);
}

int cgroup_take(const struct config *c, const char *place, char *path, struct config_error *error)
{
	int n = snprintf(path, PATH_MAX, CGROUP_MOUNT "%s", place);

	if (n < PATH_MAX)
		return set_limits(path, &c->resources, error);
	snprintf(error->text, sizeof(error->text), "cgroup: %.200s: the path is too long", place);
	*path = '\0';
	return -ENAMETOOLONG;
}

int cgroup_make(const struct config *c, char *path, bool *made, struct config_error *error)
{
	int rc;

	*path = '\0';
	*made = false;
	if (!c->cgroups_path)
		return 0;
	rc = cgroup_choose_path(c, path, error);
	if (rc) {
		*path = '\0';
		return rc;
	}
	rc = make_groups(path);
	*made = !rc;
	if (rc == -EEXIST)
		rc = check_is_empty(path);
	if (rc == -EBUSY)
		snprintf(error->text, sizeof(error->text),
			 "config.json: linux.cgroupsPath: %.200s: this group has "
			 "processes or groups of others in it; a container needs one of its own",
			 path);
	else if (rc)
		snprintf(error->text, sizeof(error->text), "cgroup: %.200s: cannot be made (%s)", path,
			 strerror(-rc));
	return rc ? rc : set_limits(path, &c->resources, error);
}

int cgroup_update(const char *path, const struct config_resources *r, struct config_error *error)
{
	char text[64];
	int rc = 0;

	/* Of a new group it is so by itself. */
	if (*path && r->cpu_quota_us < 0) {
		snprintf(text, sizeof(text), "max %lld", (long long)(r->cpu_period_us ? r->cpu_period_us : 100000));
		rc = cgroup_set_limit(path, "cpu.max", text, error);
	}
	if (*path)
		return rc ? rc : set_cpu(path, r, error);
	snprintf(error->text, sizeof(error->text), "cgroup: the engine has given the container none");
	return -ENOTSUP;
}

void cgroup_complete_cpu(const char *path, struct config_resources *r)
{
	char file[PATH_MAX + 32], quota[24];
	long long period;
	FILE *f;

	if (!r->cpu_quota_us == !r->cpu_period_us)
		return;
	snprintf(file, sizeof(file), "%s/cpu.max", path);
	f = *path ? fopen(file, "re") : NULL;
	if (f && fscanf(f, "%23s %lld", quota, &period) == 2) {
		if (!r->cpu_quota_us)
			r->cpu_quota_us = *quota == 'm' ? -1 : strtoll(quota, NULL, 10);
		else
			r->cpu_period_us = period;
	}
	if (f)
		fclose(f);
}

int cgroup_open(const char *path)
{
	char procs[PATH_MAX + 32];
	int fd;

	if (!*path)
		return -1;
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
	fd = open(procs, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int cgroup_enter(int procs_fd, pid_t pid)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", pid);

	return procs_fd < 0 || write(procs_fd, text, (size_t)n) == n ? 0 : -errno;
}

int cgroup_enter_family(int procs_fd)
{
	FILE *children = fopen("/proc/thread-self/children", "re");
	int pid, rc = cgroup_enter(procs_fd, getpid());

	while (!rc && children && fscanf(children, "%d", &pid) == 1) {
		rc = cgroup_enter(procs_fd, pid);
		if (rc == -ESRCH) /* it has ended */
			rc = 0;
	}
	if (children)
		fclose(children);
	return rc;
}

/* Whether a process is in it, or in a group below it; also if that cannot be read. */
static bool is_populated(const char *path)
{
	char file[PATH_MAX + 32], name[32];
	unsigned int value, populated = 1;
	FILE *f;

	snprintf(file, sizeof(file), "%s/cgroup.events", path);
	f = fopen(file, "re");
	while (f && fscanf(f, "%31s %u", name, &value) == 2)
		if (!strcmp(name, "populated"))
			populated = value;
	if (f)
		fclose(f);
	return populated;
}

int cgroup_remove(const char *path)
{
	const uint64_t deadline = now_ns() + REMOVE_NS;

	while (*path && rmdir(path) && errno != ENOENT) {
		if (errno != EBUSY)
			return -errno;
		if (!is_populated(path) && rmdir(path)) /* there are groups in it: waiting is of no use */
			return errno == ENOENT ? 0 : -errno;
		if (!wait_a_moment(deadline))
			return -EBUSY;
	}
	return 0;
}
