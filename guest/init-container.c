// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's first process: what makes a command's process a container's (guest/protocol.h).
 *
 * Which mounts, files and devices a container has is known to lkvm, which sends them as steps of a
 * few kinds. The process takes them itself, behind clone(2), in namespaces of its own: what it
 * mounts is its own, and its /proc shows its own processes. All of it is in the root that init has
 * entered, so that links lead nowhere else. A step that fails ends the machine, with the path.
 *
 * Sources: mount(2), namespaces(7), capabilities(7), credentials(7); OCI runtime specification 1.2.0.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/init.h"

#define STEP_TEXTS 4

void init_add_step(struct init_plan *p, const char *payload, size_t bytes)
{
	struct init_step *s;

	if (bytes < sizeof(s->what) || p->nr_steps == PROTOCOL_MAX_STEPS)
		init_fail("lkvm sent a bad step");
	s = malloc(sizeof(*s) + bytes + 1);
	if (!s)
		init_fail("no memory: give the machine more (-m)");
	memcpy(&s->what, payload, sizeof(s->what));
	s->bytes = bytes - sizeof(s->what);
	memcpy(s->texts, payload + sizeof(s->what), s->bytes);
	s->texts[s->bytes] = '\0';
	p->steps[p->nr_steps++] = s;
}

void init_add_volume(struct init_plan *p, const char *payload, size_t bytes)
{
	if (bytes != sizeof(*p->volumes) || p->nr_volumes == PROTOCOL_MAX_VOLUMES)
		init_fail("lkvm sent a bad volume");
	memcpy(&p->volumes[p->nr_volumes++], payload, bytes);
}

void init_set_credentials(struct init_plan *p, const char *payload, size_t bytes)
{
	if (bytes != sizeof(p->credentials) || p->is_container)
		init_fail("lkvm sent bad credentials");
	memcpy(&p->credentials, payload, bytes);
	if (p->credentials.nr_groups > PROTOCOL_MAX_GROUPS)
		init_fail("lkvm sent bad credentials");
	p->is_container = true;
}

void init_set_seccomp(struct init_plan *p, const char *payload, size_t bytes)
{
	struct protocol_seccomp head;
	struct init_seccomp *s = malloc(sizeof(*s) + bytes);

	if (bytes <= sizeof(head) || (bytes - sizeof(head)) % sizeof(struct sock_filter) || p->seccomp || !s ||
	    (bytes - sizeof(head)) / sizeof(struct sock_filter) > BPF_MAXINSNS)
		init_fail("lkvm sent a bad list of system calls");
	memcpy(&head, payload, sizeof(head));
	*s = (struct init_seccomp){
		.flags = head.flags,
		.nr = (uint16_t)((bytes - sizeof(head)) / sizeof(struct sock_filter)),
		.program = s + 1,
	};
	memcpy(s->program, payload + sizeof(head), bytes - sizeof(head));
	p->seccomp = s;
}

/* ---- steps ---- */

/* Its texts, of which those that are not there are "". */
static void find_texts(const struct init_step *s, const char *texts[STEP_TEXTS])
{
	const char *next = s->texts, *end = s->texts + s->bytes;

	for (int i = 0; i < STEP_TEXTS; i++) {
		texts[i] = next < end ? next : end;
		next = texts[i] + strlen(texts[i]) + (next < end);
	}
}

static int make_parents(const char *path)
{
	char part[PATH_MAX];
	size_t bytes = strlen(path);

	if (bytes >= sizeof(part)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	for (size_t i = 1; i < bytes; i++) {
		if (path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0755) && errno != EEXIST)
			return -1;
	}
	return 0;
}

static int make_directory(const char *path, mode_t mode)
{
	struct stat st;

	if (make_parents(path))
		return -1;
	if (!mkdir(path, mode))
		return chmod(path, mode); /* whatever the umask is */
	return errno == EEXIST && !stat(path, &st) && S_ISDIR(st.st_mode) ? 0 : -1;
}

/* For writing. What the root has there instead of a file (a FIFO) is an error, and nothing waits for it. */
static int open_target(const char *path, int flags, mode_t mode)
{
	int fd = make_parents(path) ? -1 : open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags, mode);
	struct stat st;

	if (fd < 0 || (!fstat(fd, &st) && S_ISREG(st.st_mode)))
		return fd;
	close(fd);
	errno = EINVAL;
	return -1;
}

/* The owner first: a change of it takes bits of the mode away. */
static int make_file(const char *path, const struct protocol_step *s, const char *data, size_t bytes)
{
	const bool owned = s->flags & PROTOCOL_FILE_OWNED;
	const mode_t mode = s->arg & 07777;
	int fd = open_target(path, s->flags & PROTOCOL_FILE_MORE ? O_APPEND : O_CREAT | O_TRUNC, owned ? 0600 : mode);
	int rc = fd < 0 ? -1 : 0;

	if (!rc && owned && (fchown(fd, (uid_t)(s->flags >> 32), (gid_t)(s->arg >> 32)) || fchmod(fd, mode)))
		rc = -1;
	if (!rc && bytes && write(fd, data, bytes) != (ssize_t)bytes)
		rc = -1;
	if (fd >= 0 && close(fd))
		rc = -1;
	return rc;
}

/* What a file can be mounted on. */
static int make_place(const char *path)
{
	int fd = open_target(path, O_CREAT, 0644);

	return fd < 0 ? -1 : close(fd);
}

/* The owner first, as for a file. */
static int make_node(const char *path, const struct protocol_step *s)
{
	return (make_parents(path) || mknod(path, (mode_t)s->flags, (dev_t)(uint32_t)s->arg) ||
		chown(path, (uid_t)(s->flags >> 32), (gid_t)(s->arg >> 32)) ||
		chmod(path, s->flags & 07777)) ?
		       -1 :
		       0;
}

static int make_target(const char *source, const char *target, unsigned long flags)
{
	struct stat st;

	if (flags & MS_REMOUNT || !stat(target, &st))
		return 0;
	if (flags & (MS_BIND | MS_MOVE) && stat(source, &st))
		return -1;
	if (flags & MS_BIND && !S_ISDIR(st.st_mode))
		return make_place(target);
	return make_directory(target, 0755);
}

static const char *or_null(const char *text)
{
	return *text ? text : NULL;
}

static int take_mount(const struct init_step *s, const char *const texts[STEP_TEXTS])
{
	if (!s->what.optional && make_target(texts[0], texts[1], s->what.flags))
		return -1;
	if (!mount(texts[0], texts[1], or_null(texts[2]), s->what.flags, or_null(texts[3])))
		return 0;
	/* init has mounted the same there, as sysfs: no place takes a file system twice. */
	if (errno != EBUSY || umount2(texts[1], MNT_DETACH))
		return -1;
	return mount(texts[0], texts[1], or_null(texts[2]), s->what.flags, or_null(texts[3]));
}

/* 0, or -1 with errno; *path is what it is about. */
static int take_step(const struct init_step *s, const char **path)
{
	const char *texts[STEP_TEXTS];
	size_t bytes;

	find_texts(s, texts);
	*path = texts[0];
	bytes = strlen(texts[0]) + 1;
	switch (s->what.what) {
	case PROTOCOL_DO_MOUNT:
		*path = texts[1];
		return take_mount(s, texts);
	case PROTOCOL_DO_UNMOUNT:
		return umount2(texts[0], MNT_DETACH);
	case PROTOCOL_DO_DIRECTORY:
		return make_directory(texts[0], (mode_t)s->what.arg);
	case PROTOCOL_DO_FILE:
		return make_file(texts[0], &s->what, s->texts + bytes, s->bytes > bytes ? s->bytes - bytes : 0);
	case PROTOCOL_DO_NODE:
	case PROTOCOL_DO_DISK: /* its number is known by now */
		return make_node(texts[0], &s->what);
	case PROTOCOL_DO_LINK:
		*path = texts[1];
		return symlink(texts[0], texts[1]);
	case PROTOCOL_DO_REMOVE:
		return rmdir(texts[0]);
	case PROTOCOL_DO_ENTER:
		return make_directory(texts[0], 0755) || chdir(texts[0]) ? -1 : 0;
	default:
		errno = EINVAL;
		return -1;
	}
}

/* What number they have, as long as nothing hides where that stands. */
static void find_disks(const struct init_plan *p)
{
	for (size_t i = 0; i < p->nr_steps; i++) {
		struct init_step *s = p->steps[i];
		const char *texts[STEP_TEXTS];
		char serial[21] = "", path[80];
		struct stat st;

		if (s->what.what != PROTOCOL_DO_DISK)
			continue;
		find_texts(s, texts);
		snprintf(serial, sizeof(serial), "%s", texts[1]);
		if (!init_find_disk(serial, path) || stat(path, &st))
			init_fail("container: %s: its disk is not there", texts[0]);
		s->what.arg |= (uint32_t)st.st_rdev;
	}
}

void init_take_steps(const struct init_plan *p)
{
	umask(0);
	find_disks(p);
	for (size_t i = 0; i < p->nr_steps; i++) {
		const char *path;

		if (take_step(p->steps[i], &path) && p->steps[i]->what.optional < 2 &&
		    !(p->steps[i]->what.optional && (errno == ENOENT || errno == ENOTDIR)))
			init_fail("container: %s: %s", path, strerror(errno));
	}
}

/* ---- rights ---- */

static int set_rlimits(const struct protocol_credentials *c)
{
	for (unsigned int i = 0; i < PROTOCOL_NR_RLIMITS; i++) {
		const uint64_t limit[] = { c->rlimits[i].soft, c->rlimits[i].hard };

		if (c->rlimits_given >> i & 1 && syscall(SYS_prlimit64, 0, i, limit, NULL))
			return -1;
	}
	return 0;
}

/* Numbers that this kernel does not know are nobody's. */
static int drop_bounding(uint64_t kept)
{
	for (unsigned int i = 0; i < 64; i++)
		if (!(kept >> i & 1) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) && errno != EINVAL)
			return -1;
	return 0;
}

static int set_capabilities(const struct protocol_credentials *c)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	for (unsigned int i = 0; i < 2; i++)
		data[i] = (struct __user_cap_data_struct){
			.effective = (uint32_t)(c->effective >> 32 * i),
			.permitted = (uint32_t)(c->permitted >> 32 * i),
			.inheritable = (uint32_t)(c->inheritable >> 32 * i),
		};
	if (syscall(SYS_capset, &header, data))
		return -1;
	for (unsigned int i = 0; i < 64; i++)
		if (c->ambient >> i & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0))
			return -1;
	return 0;
}

/* What the root has is what the kernel takes for permitted, also behind setuid(2). */
static int raise_effective(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		return -1;
	for (unsigned int i = 0; i < 2; i++)
		data[i].effective = data[i].permitted;
	return (int)syscall(SYS_capset, &header, data);
}

/* As late as it can be: what follows has to be among what is allowed, as it is in engines' lists. */
static int load_seccomp(const struct init_seccomp *s)
{
	const struct sock_fprog program = { .len = s->nr, .filter = s->program };

	if (!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, s->flags, &program))
		return 0;
	init_notice("container: seccomp: %s", strerror(errno));
	return -1;
}

/* The system calls themselves: there is one thread. */
int init_become(const struct init_plan *p)
{
	const struct protocol_credentials *c = &p->credentials;

	umask((mode_t)c->umask);
	if (set_rlimits(c) || syscall(SYS_setgroups, c->nr_groups, c->groups) ||
	    syscall(SYS_setgid, c->gid) || (c->has_capabilities && drop_bounding(c->bounding)) ||
	    prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) || syscall(SYS_setuid, c->uid) ||
	    (c->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) ||
	    (p->seccomp && (raise_effective() || load_seccomp(p->seccomp))) ||
	    (c->has_capabilities && set_capabilities(c)))
		return errno;
	return 0;
}

/* ---- more of its processes ---- */

/* Of this process, and of the first container; -1: there is none. */
static int own_pids = -1;
static struct init_spaces first_spaces = { -1, -1, -1, -1 };

static int open_space(const char *process, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s/ns/%s", process, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

void init_close_spaces(struct init_spaces *s)
{
	int *const all[] = { &s->pids, &s->mounts, &s->ipc, &s->name };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (*all[i] >= 0)
			close(*all[i]);
		*all[i] = -1;
	}
}

bool init_open_spaces(struct init_spaces *s, pid_t first)
{
	char process[16];

	snprintf(process, sizeof(process), "%d", first);
	s->pids = open_space(process, "pid");
	s->mounts = open_space(process, "mnt");
	s->ipc = open_space(process, "ipc");
	s->name = open_space(process, "uts");
	if (s->pids >= 0 && s->mounts >= 0 && s->ipc >= 0 && s->name >= 0)
		return true;
	init_close_spaces(s);
	return false;
}

void init_keep_spaces(pid_t first)
{
	own_pids = open_space("self", "pid");
	if (own_pids < 0 || !init_open_spaces(&first_spaces, first))
		init_fail("namespaces: %s", strerror(errno));
}

const struct init_spaces *init_first_spaces(void)
{
	return &first_spaces;
}

pid_t init_fork_into(const struct init_spaces *s, unsigned long new)
{
	pid_t pid;
	int error;

	if (s->pids >= 0 && setns(s->pids, CLONE_NEWPID))
		return -1;
	pid = new ? (pid_t)syscall(SYS_clone, new | SIGCHLD, 0, 0, 0, 0) : fork();
	error = errno;
	if (pid && s->pids >= 0 && setns(own_pids, CLONE_NEWPID))
		init_fail("namespaces: %s", strerror(errno));
	errno = error;
	return pid;
}

/* Processes that are not counted have no group. */
static int enter_group(const char *group)
{
	char path[64 + PROTOCOL_NAME_BYTES];
	int fd, rc = 0;

	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (write(fd, "0", 1) != 1)
		rc = errno;
	close(fd);
	return rc;
}

int init_enter(const struct init_spaces *s, const char *group)
{
	int error;

	if (s->pids < 0)
		return 0;
	error = enter_group(group);
	if (error)
		return error;
	return setns(s->ipc, CLONE_NEWIPC) || setns(s->name, CLONE_NEWUTS) || setns(s->mounts, CLONE_NEWNS) ? errno : 0;
}
