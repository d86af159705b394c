// SPDX-License-Identifier: GPL-2.0-only
/*
 * Containers as they are written down (oci/store.h).
 *
 * The record is a file of few lines that is renamed into its place: whoever looks finds the old one or
 * the new one. Everything is below descriptors of directories that only the user may enter.
 *
 * Sources: flock(2), rename(2), proc(5) (stat), pidfd_open(2).
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "control/json.h"
#include "io.h"
#include "oci/store.h"
#include "util.h"

#define HOST_ROOT	 "/run/lkvm-oci"
#define MAX_RECORD_BYTES 32768u

bool store_is_id(const char *id)
{
	if (!*id || strlen(id) > STORE_MAX_ID_BYTES || !strcmp(id, ".") || !strcmp(id, ".."))
		return false;
	for (; *id; id++)
		if (!isalnum((unsigned char)*id) && !strchr("_+-.", *id))
			return false;
	return true;
}

bool store_is_hosts_root(void)
{
	unsigned int inside = 1, outside = 1;
	FILE *f = geteuid() ? NULL : fopen("/proc/self/uid_map", "re");
	bool is = f && fscanf(f, "%u %u", &inside, &outside) == 2 && !inside && !outside;

	if (f)
		fclose(f);
	return is;
}

int store_choose_root(const char *given, char path[PATH_MAX])
{
	const char *own = getenv("XDG_RUNTIME_DIR");
	int n;

	if (given && *given)
		n = snprintf(path, PATH_MAX, "%s", given);
	else if (store_is_hosts_root() || !own || !*own)
		n = snprintf(path, PATH_MAX, "%s", HOST_ROOT);
	else
		n = snprintf(path, PATH_MAX, "%s/lkvm-oci", own);
	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* With its parents. */
static int store_open_root(const char *root, bool make)
{
	char part[PATH_MAX];
	int fd;

	for (size_t i = 1; make && root[i - 1]; i++) {
		if (root[i] && root[i] != '/')
			continue;
		memcpy(part, root, i);
		part[i] = '\0';
		if (mkdir(part, root[i] ? 0755 : 0700) && errno != EEXIST)
			return -errno;
	}
	fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* 0; -ENOENT: the container has been removed meanwhile, and what is there now is another's. */
static int take_lock(struct store_container *c, int flags, uint64_t deadline)
{
	struct stat st;

	c->lock = openat(c->dir, "lock", O_RDWR | O_CLOEXEC | flags, 0600);
	if (c->lock < 0)
		return -errno;
	while (flock(c->lock, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (!wait_a_moment(deadline))
			return -EBUSY;
	}
	if (!fstat(c->lock, &st) && st.st_nlink)
		return 0;
	close(c->lock);
	c->lock = -1;
	return -ENOENT;
}

static int open_container(struct store_container *c, const char *root, const char *id, bool make)
{
	*c = (struct store_container)STORE_NO_CONTAINER;
	if (!store_is_id(id))
		return -EINVAL;
	strcpy(c->id, id);
	c->root = store_open_root(root, make);
	if (c->root < 0)
		return c->root;
	if (make && mkdirat(c->root, id, 0700) && errno != EEXIST)
		return -errno;
	c->dir = openat(c->root, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return c->dir < 0 ? -errno : 0;
}

static int store_claim(struct store_container *c, const char *root, const char *id, uint64_t deadline)
{
	int rc = open_container(c, root, id, true);

	if (!rc)
		rc = take_lock(c, O_CREAT, deadline);
	if (!rc && !faccessat(c->dir, "record", F_OK, 0))
		rc = -EEXIST;
	return rc;
}

/* What is being removed at this moment is made once more. */
int store_create(struct store_container *c, const char *root, const char *id)
{
	const uint64_t deadline = now_ns() + STORE_LOCK_NS;
	int rc;

	while ((rc = store_claim(c, root, id, deadline)) == -ENOENT && c->root >= 0 && wait_a_moment(deadline))
		store_close(c);
	return rc;
}

/* An empty directory is what a create has left that was killed; one that is at it makes it again. */
int store_find_within(struct store_container *c, const char *root, const char *id, uint64_t ns)
{
	int rc = open_container(c, root, id, false);

	if (!rc)
		rc = take_lock(c, 0, now_ns() + ns);
	if (rc == -ENOENT && c->dir >= 0)
		unlinkat(c->root, c->id, AT_REMOVEDIR);
	return rc;
}

int store_find(struct store_container *c, const char *root, const char *id, bool lock)
{
	return lock ? store_find_within(c, root, id, STORE_LOCK_NS) : open_container(c, root, id, false);
}

static void store_write_record(FILE *out, const struct store_record *r)
{
	fputs("{\"v\":1,\"bundle\":", out);
	json_string(out, r->bundle);
	fputs(",\"cgroup\":", out);
	json_string(out, r->cgroup);
	fprintf(out, ",\"cgroup_made\":%s,\"cgroup_scope\":%s", r->cgroup_made ? "true" : "false",
		r->cgroup_scope ? "true" : "false");
	fputs(",\"network\":", out);
	json_string(out, r->network);
	fprintf(out, ",\"sandbox\":\"%s\"", r->sandbox);
	fprintf(out, ",\"creating\":%s", r->creating ? "true" : "false");
	fprintf(out, ",\"pid\":%d,\"pid_start\":%llu,\"vm\":%d,\"vm_start\":%llu,\"started\":%s,\"paused\":%s}\n",
		r->holder.pid, (unsigned long long)r->holder.start, r->vm.pid,
		(unsigned long long)r->vm.start, r->started ? "true" : "false",
		r->paused ? "true" : "false");
}

int store_save(const struct store_container *c, const struct store_record *r)
{
	int fd = openat(c->dir, "record.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
	long bytes;

	if (!out)
		return -errno;
	store_write_record(out, r);
	bytes = ftell(out);
	if (bytes < 0 || ferror(out) | fclose(out))
		return -EIO;
	if (bytes >= (long)MAX_RECORD_BYTES) {
		unlinkat(c->dir, "record.new", 0);
		return -EFBIG;
	}
	return renameat(c->dir, "record.new", c->dir, "record") ? -errno : 0;
}

static int copy_path(char to[PATH_MAX], const char *from)
{
	if (!from || strlen(from) >= PATH_MAX)
		return -EINVAL;
	strcpy(to, from);
	return 0;
}

/* Records of older versions have none. */
static int copy_sandbox(char to[STORE_MAX_ID_BYTES + 1], const char *from)
{
	if (!from || !*from)
		return 0;
	if (!store_is_id(from))
		return -EINVAL;
	strcpy(to, from);
	return 0;
}

static int store_read_record(struct store_record *r, char *text, size_t bytes)
{
	struct json_object o;
	uint64_t pid = 0, vm = 0;
	int rc = json_parse(&o, text, bytes);

	*r = (struct store_record){ 0 };
	if (!rc)
		rc = copy_path(r->bundle, json_get_string(&o, "bundle"));
	if (!rc)
		rc = copy_path(r->cgroup, json_get_string(&o, "cgroup"));
	if (!rc)
		rc = copy_path(r->network, json_get_string(&o, "network"));
	if (!rc)
		rc = copy_sandbox(r->sandbox, json_get_string(&o, "sandbox"));
	r->creating = !rc && json_is_true(&o, "creating");
	if (rc || !json_get_count(&o, "pid", &pid) || !json_get_count(&o, "pid_start", &r->holder.start) ||
	    !json_get_count(&o, "vm", &vm) || !json_get_count(&o, "vm_start", &r->vm.start) ||
	    (!r->creating && (!pid || !vm)) || pid > INT32_MAX || vm > INT32_MAX)
		return -EINVAL;
	r->holder.pid = (pid_t)pid;
	r->vm.pid = (pid_t)vm;
	r->cgroup_made = json_is_true(&o, "cgroup_made");
	r->cgroup_scope = json_is_true(&o, "cgroup_scope");
	r->started = json_is_true(&o, "started");
	r->paused = json_is_true(&o, "paused");
	return 0;
}

int store_load(const struct store_container *c, struct store_record *r)
{
	int fd = openat(c->dir, "record", O_RDONLY | O_NOFOLLOW | O_CLOEXEC), rc = -EINVAL;
	char *text = malloc(MAX_RECORD_BYTES);
	ssize_t n;

	if (fd < 0 || !text) {
		rc = fd < 0 ? -errno : -ENOMEM;
		free(text);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	n = read(fd, text, MAX_RECORD_BYTES);
	if (n > 0 && n < (ssize_t)MAX_RECORD_BYTES)
		rc = store_read_record(r, text, (size_t)n - (text[n - 1] == '\n'));
	close(fd);
	free(text);
	return rc;
}

/*
 * The record first: from then on there is no container. The lock last: from then on there can be another one, whose
 * the directory is, then.
 */
int store_remove(struct store_container *c)
{
	static const char *const files[] = { "record", "record.new", "socket", "lock" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (unlinkat(c->dir, files[i], 0) && errno != ENOENT)
			return -errno;
	return unlinkat(c->root, c->id, AT_REMOVEDIR) && errno != ENOENT && errno != ENOTEMPTY ? -errno : 0;
}

void store_close(struct store_container *c)
{
	int *const fds[] = { &c->lock, &c->dir, &c->root };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

/* ---- processes ---- */

/* Its name may have anything in it, and ends with the last ')'. */
static bool read_stat(pid_t pid, char *state, uint64_t *start)
{
	char path[32], text[1024], *p;
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	p = strrchr(text, ')');
	if (!p || p[1] != ' ')
		return false;
	*state = p[2];
	p += 2;
	for (int field = 3; field < 22 && p; field++) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	*start = p ? strtoull(p, NULL, 10) : 0;
	return p != NULL;
}

struct store_process store_process_of(pid_t pid)
{
	struct store_process p = { .pid = pid };
	char state;

	read_stat(pid, &state, &p.start);
	return p;
}

bool store_is_alive(const struct store_process *p)
{
	uint64_t start;
	char state;

	return p->pid > 0 && read_stat(p->pid, &state, &start) && start == p->start && state != 'Z' &&
	       state != 'X';
}

/* Opened first, then compared: it cannot become another one in between. */
int store_open_process(const struct store_process *p)
{
	int fd = p->pid > 0 ? (int)syscall(SYS_pidfd_open, p->pid, 0) : -1;

	if (fd >= 0 && !store_is_alive(p)) {
		close(fd);
		return -1;
	}
	return fd;
}

void store_kill(const struct store_process *p, int signal)
{
	int fd = store_open_process(p);

	if (fd < 0)
		return;
	syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0);
	close(fd);
}

bool store_wait(const struct store_process *p, uint64_t ns)
{
	const uint64_t deadline = now_ns() + ns;
	struct pollfd wait = { .fd = store_open_process(p), .events = POLLIN };
	bool ended = wait.fd < 0;

	while (!ended && now_ns() < deadline)
		ended = poll_fds(&wait, 1, 100) > 0;
	if (wait.fd >= 0)
		close(wait.fd);
	return ended;
}
