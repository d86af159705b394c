// SPDX-License-Identifier: GPL-2.0-only
/*
 * Image files: opening, locking, geometry.
 *
 * Locks are OFD locks on single bytes, in the places where QEMU has them since 2.10
 * (byte 100 + n: "I use permission n"; 200 + n: "I do not share permission n"), so that
 * lkvm, QEMU and qemu-img all keep out of each other's way. They belong to the open
 * file and end with it, however the process ends.
 *
 * OFD locks do not tell who holds them; /proc does, for processes that we may
 * look at.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/file.h"
#include "disk/format.h"
#include "log.h"
#include "util.h"

#define PATIENCE_NS 1000000000ull /* with who holds a lock */

#define USES_BASE     100
#define UNSHARED_BASE 200

/* Permissions: their numbers in the locks. */
#define PERM_READ   0
#define PERM_WRITE  1
#define PERM_RESIZE 3
#define NR_PERMS    5

/* Bit n: permission n. A reader is stable, if it can be; see lock_image(). */
static const struct {
	unsigned int uses, unshared;
} locks_of[] = {
	[FILE_READ] = { 1u << PERM_READ, 1u << PERM_WRITE | 1u << PERM_RESIZE },
	[FILE_READ_STABLE] = { 1u << PERM_READ, 1u << PERM_WRITE | 1u << PERM_RESIZE },
	[FILE_WRITE] = { 1u << PERM_READ | 1u << PERM_WRITE | 1u << PERM_RESIZE,
			 1u << PERM_WRITE | 1u << PERM_RESIZE },
};

static int lock_byte(int fd, int byte)
{
	struct flock fl = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	return fcntl(fd, F_OFD_SETLK, &fl) ? -errno : 0;
}

/* True if somebody else holds @byte. */
static bool is_locked(int fd, int byte)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	return !fcntl(fd, F_OFD_GETLK, &fl) && fl.l_type != F_UNLCK;
}

static void unlock_all(int fd)
{
	struct flock fl = {
		.l_type = F_UNLCK,
		.l_whence = SEEK_SET,
		.l_start = USES_BASE,
		.l_len = UNSHARED_BASE + NR_PERMS - USES_BASE,
	};

	fcntl(fd, F_OFD_SETLK, &fl);
}

/* Locks first, then looks: of two that race, at least one sees the other. */
static int take_locks(int fd, enum file_use use)
{
	int rc = 0;

	for (int i = 0; i < NR_PERMS && !rc; i++) {
		if (locks_of[use].uses >> i & 1)
			rc = lock_byte(fd, USES_BASE + i);
		if (!rc && locks_of[use].unshared >> i & 1)
			rc = lock_byte(fd, UNSHARED_BASE + i);
	}
	for (int i = 0; i < NR_PERMS && !rc; i++) {
		if (locks_of[use].uses >> i & 1 && is_locked(fd, UNSHARED_BASE + i))
			rc = -EBUSY;
		if (locks_of[use].unshared >> i & 1 && is_locked(fd, USES_BASE + i))
			rc = -EBUSY;
	}
	return rc;
}

/* True if /proc/PID/fd/FD is @st's file and has OFD locks of any kind. */
static bool holds_lock(const char *pid, const char *fd, const struct stat *st)
{
	char path[64], line[128];
	bool found = false;
	struct stat other;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.16s/fd/%.16s", pid, fd);
	if (stat(path, &other) || other.st_dev != st->st_dev || other.st_ino != st->st_ino)
		return false;
	snprintf(path, sizeof(path), "/proc/%.16s/fdinfo/%.16s", pid, fd);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = !strncmp(line, "lock:", 5);
	if (f)
		fclose(f);
	return found;
}

static bool process_holds_lock(const char *pid, const struct stat *st)
{
	char path[64];
	bool found = false;
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	dir = opendir(path);
	while (dir && !found && (d = readdir(dir)))
		found = isdigit((unsigned char)d->d_name[0]) && holds_lock(pid, d->d_name, st);
	if (dir)
		closedir(dir);
	return found;
}

/* Process that has the file of @fd locked, other than us; 0 if it cannot be seen. */
static int find_holder(int fd)
{
	DIR *proc = opendir("/proc");
	int holder = 0;
	struct dirent *d;
	struct stat st;

	if (fstat(fd, &st)) {
		if (proc)
			closedir(proc);
		return 0;
	}
	while (proc && !holder && (d = readdir(proc))) {
		int pid = atoi(d->d_name);

		if (pid > 0 && pid != getpid() && process_holds_lock(d->d_name, &st))
			holder = pid;
	}
	if (proc)
		closedir(proc);
	/* Nobody else: the same image twice on our own command line. */
	return holder ? holder : -1;
}

/*
 * Who has just been killed takes a moment to be gone, and with a process in front (sandbox/supervisor.h) the
 * one that was waited for is gone first. A reader that may share the image does not wait.
 */
static int take_locks_soon(int fd, enum file_use use)
{
	uint64_t deadline = now_ns() + PATIENCE_NS;
	int rc = take_locks(fd, use);

	while (rc == -EBUSY && use != FILE_READ) {
		unlock_all(fd);
		if (!wait_a_moment(deadline))
			break;
		rc = take_locks(fd, use);
	}
	return rc;
}

static int lock_image(int fd, const char *path, enum file_use use)
{
	int rc = take_locks_soon(fd, use), holder;
	char who[64] = "another process";

	/* File systems without locks exist; who uses them has to take care himself. */
	if (rc == -EINVAL || rc == -ENOLCK || rc == -EOPNOTSUPP || rc == -ENOSYS) {
		log_notice("disk: %s: its file system has no locks (%s): make sure that "
			   "nobody else uses it",
			   path, strerror(-rc));
		return 0;
	}
	if (!rc)
		return 0;
	holder = find_holder(fd);
	if (holder > 0)
		snprintf(who, sizeof(who), "process %d", holder);
	else if (holder < 0)
		snprintf(who, sizeof(who), "this or another process");
	if (use == FILE_READ) {
		unlock_all(fd); /* or the writer would find us in its way */
		log_notice("disk: %s: in use by %s, which may write to it while you read", path,
			   who);
		return 0;
	}
	log_error("disk: %s: in use by %s (use ,ro or ,cow to share it)", path, who);
	return -EBUSY;
}

int file_open(const char *path, enum file_use use)
{
	bool writable = use == FILE_WRITE;
	int fd, rc;
	struct stat st;

	/* O_NONBLOCK: a FIFO must not make us wait. */
	fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		rc = -errno;
		if ((rc == -EACCES || rc == -EROFS) && writable && !access(path, R_OK))
			log_error("disk: %s: you may read it but not write: %s\n"
				  "use ,ro or ,cow.",
				  path, strerror(-rc));
		else
			log_error("disk: %s: %s", path, strerror(-rc));
		return rc;
	}
	if (fstat(fd, &st) || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))) {
		log_error("disk: %s: %s\na disk is a regular file or a block device.", path,
			  S_ISDIR(st.st_mode) ? "is a directory" : "is neither");
		close(fd);
		return -EINVAL;
	}
	rc = lock_image(fd, path, use);
	if (rc) {
		close(fd);
		return rc;
	}
	return fd;
}

/* By its name, where there is no /proc: it has to be the same file still. fd or -errno. */
static int reopen_by_name(int fd, const char *path, int flags)
{
	/* It could be a FIFO by now, and must not make us wait. What is used is to wait. */
	int again = open(path, flags | O_NONBLOCK | O_NOCTTY);
	struct stat a, b;
	int have;

	if (again < 0)
		return -errno;
	have = fcntl(again, F_GETFL);
	if (!fstat(fd, &a) && !fstat(again, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino &&
	    have >= 0 && !fcntl(again, F_SETFL, have & ~O_NONBLOCK))
		return again;
	close(again);
	return -ESTALE;
}

int file_reopen(int fd, const char *path, bool writable, bool direct)
{
	int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | (direct ? O_DIRECT : 0);
	char self[64];
	int again;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	again = open(self, flags);
	if (again < 0)
		again = errno == ENOENT ? reopen_by_name(fd, path, flags) : -errno;
	if (again >= 0)
		return again;
	if (direct)
		log_error("disk: %s: no direct I/O: %s\nleave out ,direct.", path, strerror(-again));
	else
		log_error("disk: %s: opening it again: %s", path, strerror(-again));
	return again;
}

static int device_geometry(int fd, struct file_geometry *g)
{
	int logical = 0;
	unsigned int physical = 0;

	if (ioctl(fd, BLKGETSIZE64, &g->size_bytes) || ioctl(fd, BLKSSZGET, &logical) ||
	    ioctl(fd, BLKPBSZGET, &physical))
		return -errno;
	g->block_bytes = (uint32_t)logical;
	g->physical_bytes = physical;
	return 0;
}

/* What direct I/O on a regular file asks for, if the host's kernel tells (Linux 6.1). */
static void direct_geometry(int fd, struct file_geometry *g)
{
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) ||
	    !(stx.stx_mask & STATX_DIOALIGN) || !stx.stx_dio_offset_align)
		return;
	g->block_bytes = stx.stx_dio_offset_align;
	g->align = stx.stx_dio_mem_align;
#endif
}

int file_geometry(int fd, const char *path, bool direct, struct file_geometry *out)
{
	struct stat st;
	int rc = fstat(fd, &st) ? -errno : 0;

	*out = (struct file_geometry){ .block_bytes = DISK_SECTOR_BYTES, .align = 1 };
	if (!rc && S_ISBLK(st.st_mode)) {
		rc = device_geometry(fd, out);
	} else if (!rc) {
		out->regular = true;
		out->size_bytes = (uint64_t)st.st_size;
		out->physical_bytes = 4096;
		if (direct)
			direct_geometry(fd, out);
	}
	if (rc) {
		log_error("disk: %s: %s", path, strerror(-rc));
		return rc;
	}
	if (out->block_bytes < DISK_SECTOR_BYTES || out->block_bytes > 4096 ||
	    out->block_bytes & (out->block_bytes - 1)) {
		log_error("disk: %s: its blocks of %u bytes are nothing that a guest understands",
			  path, out->block_bytes);
		return -EINVAL;
	}
	out->physical_bytes = (uint32_t)max_u64(out->physical_bytes, out->block_bytes);
	if (direct)
		out->align = (uint32_t)max_u64(out->align, out->block_bytes);
	return 0;
}

int file_size_now(int fd, bool regular, uint64_t *bytes)
{
	struct statx stx;

	if (!regular)
		return ioctl(fd, BLKGETSIZE64, bytes) ? -errno : 0;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, &stx))
		return -errno;
	*bytes = stx.stx_size;
	return 0;
}

const void *file_zeroes(void)
{
	/* Never written: not const only because that would put it into the binary. */
	static _Alignas(4096) uint8_t zeroes[FILE_ZEROES_BYTES];

	return zeroes;
}
