// SPDX-License-Identifier: GPL-2.0-only
/*
 * The directory of running VMs (control/registry.h).
 *
 * A VM makes its lock file, locks it exclusively, and looks whether it is still there: somebody may
 * have taken the file for that of a dead VM before it was locked. Whoever wants to know asks for a
 * shared lock, which only a living VM prevents, so any number may ask at once. Who removes a dead
 * one's files has locked the file exclusively, and it still has its name: nobody else can make
 * files of that name or remove them meanwhile.
 *
 * Sources: flock(2); XDG Base Directory Specification 0.8 on $XDG_RUNTIME_DIR.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/registry.h"
#include "io.h"
#include "util.h"

#define LOCK_SUFFIX	  ".lock"
#define SOCKET_SUFFIX	  ".sock"
#define RECORD_BYTES	  32u
#define ASKED_NS	  1000000000ull /* how long others may take to ask whether a VM is alive */
#define MAX_DEFAULT_NAMES 16u
#define WAIT_MS		  5

struct lock_file {
	char name[REGISTRY_MAX_NAME_BYTES + sizeof(LOCK_SUFFIX)];
};

static struct lock_file file_of(const char *name, const char *suffix)
{
	struct lock_file f;

	snprintf(f.name, sizeof(f.name), "%.*s%s", (int)REGISTRY_MAX_NAME_BYTES, name, suffix);
	return f;
}

bool registry_is_name(const char *name)
{
	size_t len = strlen(name);

	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
			return false;
	return len && len <= REGISTRY_MAX_NAME_BYTES && *name != '-';
}

/* ---- the directory ---- */

/* False if it does not fit. */
static bool choose_path(char path[PATH_MAX])
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	uid_t user = geteuid();
	struct stat st;
	int n;

	if (runtime && *runtime == '/' && !stat(runtime, &st) && st.st_uid == user)
		n = snprintf(path, PATH_MAX, "%s/lkvm", runtime);
	else if (!user)
		n = snprintf(path, PATH_MAX, "/run/lkvm");
	else
		n = snprintf(path, PATH_MAX, "/tmp/lkvm-%u", user);
	return n > 0 && n < PATH_MAX;
}

static int open_own_directory(struct registry *r)
{
	r->fd = open(r->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return r->fd < 0 ? -errno : 0;
}

int registry_open(struct registry *r, bool make)
{
	struct stat st;
	int rc;

	r->fd = -1;
	if (!choose_path(r->path))
		return -ENAMETOOLONG;
	rc = open_own_directory(r);
	if (rc == -ENOENT && make) {
		if (mkdir(r->path, 0700) && errno != EEXIST)
			return -errno;
		rc = open_own_directory(r);
	}
	if (rc)
		return rc;
	if (fstat(r->fd, &st))
		return -errno;
	return st.st_uid == geteuid() && !(st.st_mode & 077) ? 0 : -EPERM;
}

void registry_close(struct registry *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

/* ---- locks ---- */

static bool try_lock(int fd, int how)
{
	int rc;

	do
		rc = flock(fd, how | LOCK_NB);
	while (rc && errno == EINTR);
	return !rc;
}

/* Nobody is in its way for longer than it takes to ask, unless it is a living VM. */
static bool lock_own(int fd)
{
	const uint64_t deadline = now_ns() + ASKED_NS;

	while (!try_lock(fd, LOCK_EX))
		if (!wait_a_moment(deadline))
			return false;
	return true;
}

/* Is the file that @fd is open for still there. */
static bool lock_has_name(int fd, struct stat *st)
{
	return !fstat(fd, st) && S_ISREG(st->st_mode) && st->st_nlink;
}

/* Of a dead VM. What cannot be locked somebody else is about to remove. */
static void remove_files(const struct registry *r, const char *name, int lock)
{
	struct stat st;

	if (!try_lock(lock, LOCK_EX) || !lock_has_name(lock, &st))
		return;
	unlinkat(r->fd, file_of(name, SOCKET_SUFFIX).name, 0);
	unlinkat(r->fd, file_of(name, LOCK_SUFFIX).name, 0);
}

/* What is no lock file of ours is no VM; that it cannot be looked at does not tell. */
static int error_of_open(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM ? -error : -ENOENT;
}

/* The lock file of a VM that runs, or -ENOENT; another -errno. */
static int open_lock(const struct registry *r, const char *name)
{
	int fd = openat(r->fd, file_of(name, LOCK_SUFFIX).name,
			O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return error_of_open(errno);
	if (lock_has_name(fd, &st) && !try_lock(fd, LOCK_SH))
		return fd;
	remove_files(r, name, fd);
	close(fd);
	return -ENOENT;
}

/* ---- what is in it ---- */

static bool write_record(int fd, pid_t pid, int status)
{
	char text[RECORD_BYTES];
	int n = snprintf(text, sizeof(text), "1 %10d %4d\n", pid, status);

	return write_at(fd, text, (size_t)n, 0) == n;
}

static bool read_record(int fd, pid_t *pid, int *status)
{
	char text[RECORD_BYTES] = "";
	const struct iovec iov = { text, sizeof(text) - 1 };

	return read_iov(fd, &iov, 1, 0) > 0 && sscanf(text, "1 %d %d", pid, status) == 2 &&
	       *pid > 0 && *status >= -1 && *status <= 255;
}

/* ---- for the VM ---- */

static int make_lock(struct registry_entry *e, const struct registry *r)
{
	const struct lock_file file = file_of(e->name, LOCK_SUFFIX);
	struct stat st;
	int fd = openat(r->fd, file.name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	if (!lock_own(fd) || !lock_has_name(fd, &st)) {
		close(fd);
		return -EAGAIN;
	}
	if (!write_record(fd, e->pid, -1)) {
		unlinkat(r->fd, file.name, 0);
		close(fd);
		return -EIO;
	}
	e->lock = fd;
	e->lock_name = (struct socket_name){ e->lock_path, st.st_dev, st.st_ino };
	return 0;
}

static int claim_name(struct registry_entry *e, const struct registry *r, const char *name)
{
	const uint64_t deadline = now_ns() + ASKED_NS;
	int other, rc;

	strcpy(e->name, name);
	if (snprintf(e->lock_path, PATH_MAX, "%s/%s" LOCK_SUFFIX, r->path, name) >= PATH_MAX ||
	    snprintf(e->socket_path, PATH_MAX, "%s/%s" SOCKET_SUFFIX, r->path, name) >= PATH_MAX)
		return -ENAMETOOLONG;
	do {
		rc = make_lock(e, r);
		if (rc != -EEXIST && rc != -EAGAIN)
			return rc;
		other = open_lock(r, name);
		if (other >= 0) {
			close(other);
			return -EEXIST;
		}
	} while (wait_a_moment(deadline));
	return -EBUSY;
}

int registry_claim(struct registry_entry *e, struct registry *r, const char *name)
{
	char text[REGISTRY_MAX_NAME_BYTES + 1];
	int rc;

	*e = (struct registry_entry){ .lock = -1, .directory = -1, .pid = getpid() };
	if (name && !registry_is_name(name))
		return -EINVAL;
	snprintf(text, sizeof(text), "lkvm-%d", e->pid);
	rc = claim_name(e, r, name ? name : text);
	/* Another PID namespace may have the same number. */
	for (unsigned int i = 2; !name && rc == -EEXIST && i < MAX_DEFAULT_NAMES; i++) {
		snprintf(text, sizeof(text), "lkvm-%d-%u", e->pid, i);
		rc = claim_name(e, r, text);
	}
	if (rc)
		return rc;
	e->directory = r->fd;
	r->fd = -1;
	return 0;
}

void registry_give_away(struct registry_entry *e)
{
	if (e->directory >= 0)
		close(e->directory);
	e->directory = -1;
}

/* The lock is ours: while its file has its name the socket of that name is ours, too. */
static void remove_own_files(const struct registry_entry *e)
{
	const struct lock_file file = file_of(e->name, LOCK_SUFFIX);
	struct stat st;

	if (fstatat(e->directory, file.name, &st, AT_SYMLINK_NOFOLLOW) ||
	    st.st_dev != e->lock_name.dev || st.st_ino != e->lock_name.ino)
		return;
	unlinkat(e->directory, file_of(e->name, SOCKET_SUFFIX).name, 0);
	unlinkat(e->directory, file.name, 0);
}

void registry_leave(struct registry_entry *e, int status)
{
	if (e->lock < 0)
		return;
	write_record(e->lock, e->pid, status);
	if (e->directory >= 0)
		remove_own_files(e);
	registry_give_away(e);
	close(e->lock);
	e->lock = -1;
}

/* ---- for others ---- */

int registry_find(struct registry_vm *vm, const struct registry *r, const char *name)
{
	int status;

	*vm = (struct registry_vm){ .lock = -1 };
	if (!registry_is_name(name))
		return -ENOENT;
	strcpy(vm->name, name);
	if (snprintf(vm->socket_path, PATH_MAX, "%s/%s" SOCKET_SUFFIX, r->path, name) >= PATH_MAX)
		return -ENOENT;
	vm->lock = open_lock(r, name);
	if (vm->lock < 0)
		return vm->lock;
	if (!read_record(vm->lock, &vm->pid, &status))
		vm->pid = 0;
	return 0;
}

void registry_forget(struct registry_vm *vm)
{
	if (vm->lock >= 0)
		close(vm->lock);
	vm->lock = -1;
}

static int compare_names(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

/* "NAME" of "NAME.lock", to be freed; NULL: it is called otherwise, or there is no memory. */
static char *vm_name_of(const char *file)
{
	size_t len = strlen(file), suffix = strlen(LOCK_SUFFIX);
	char *name;

	if (len <= suffix || strcmp(file + len - suffix, LOCK_SUFFIX))
		return NULL;
	name = strndup(file, len - suffix);
	if (name && registry_is_name(name))
		return name;
	free(name);
	return NULL;
}

int registry_list(const struct registry *r, char ***out)
{
	char **names = calloc(REGISTRY_MAX_VMS, sizeof(*names));
	int fd = openat(r->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	unsigned int nr = 0;

	if (!names || !dir) {
		free(names);
		if (dir)
			closedir(dir);
		else if (fd >= 0)
			close(fd);
		return -ENOMEM;
	}
	while (nr < REGISTRY_MAX_VMS && (entry = readdir(dir)) != NULL) {
		names[nr] = vm_name_of(entry->d_name);
		nr += names[nr] != NULL;
	}
	closedir(dir);
	qsort(names, nr, sizeof(*names), compare_names);
	*out = names;
	return (int)nr;
}

bool registry_wait(const struct registry_vm *vm, uint64_t deadline)
{
	if (!deadline) {
		while (flock(vm->lock, LOCK_SH))
			if (errno != EINTR)
				return false;
		return true;
	}
	while (!try_lock(vm->lock, LOCK_SH)) {
		if (now_ns() >= deadline)
			return false;
		poll_fds(NULL, 0, WAIT_MS);
	}
	return true;
}

int registry_get_status(const struct registry_vm *vm)
{
	pid_t pid;
	int status;

	return read_record(vm->lock, &pid, &status) ? status : -1;
}
