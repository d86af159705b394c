// SPDX-License-Identifier: GPL-2.0-only
/*
 * A host whose system calls fail, to be preloaded: FAULT=CALL:ERRNO:FIRST:COUNT makes
 * the calls number FIRST to FIRST + COUNT - 1 of CALL fail with that error, on any thread; with
 * 0 they never return. FAULT=CALL:-SIGNAL:FIRST:COUNT: they succeed, and this signal comes at once.
 * "ioctl" is KVM_RUN alone. NO_IO_URING=1: the host refuses io_uring. FAULT_FILE=PATH: only calls
 * for this file, of open (by this name), fdatasync, fallocate and transfers. (In builds that are
 * fortified.) By io_uring only an fdatasync of that file can be had, and only one that never returns.
 */
#define _FILE_OFFSET_BITS 64 /* preadv64v2() and its kind, as lkvm */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char call[32];
static int error;
static unsigned int first, count;
static atomic_uint calls;
static const char *only_file;
static atomic_bool is_only_file[1024]; /* descriptors; filters forbid to look later */

__attribute__((constructor)) static void read_environment(void)
{
	const char *fault = getenv("FAULT");

	only_file = getenv("FAULT_FILE");

	if (fault && sscanf(fault, "%31[a-z0-9_]:%d:%u:%u", call, &error, &first, &count) != 4)
		abort();
}

static bool is_due(const char *name)
{
	unsigned int n;

	if (strcmp(name, call))
		return false;
	n = atomic_fetch_add(&calls, 1) + 1;
	return n >= first && n - first < count;
}

static int then_signal(const char *name, int result)
{
	if (error < 0 && is_due(name))
		kill(getpid(), -error);
	return result;
}

static bool fails(const char *name)
{
	if (error < 0 || !is_due(name))
		return false;
	while (!error) /* by a call that every thread may make */
		syscall(SYS_futex, &(unsigned int){ 0 }, FUTEX_WAIT, 0, NULL, NULL, 0);
	errno = error;
	return true;
}

static bool fails_for(const char *name, int fd)
{
	return (!only_file || (fd >= 0 && fd < 1024 && is_only_file[fd])) && fails(name);
}

/* What open() becomes with _FORTIFY_SOURCE, without a mode. */
int open_checked(const char *path, int flags) __asm__("__open64_2");

int open_checked(const char *path, int flags)
{
	static int (*next)(const char *path, int flags);
	struct stat a, b;
	int fd;

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "__open64_2");
	fd = next(path, flags);
	if (only_file && fd >= 0 && fd < 1024)
		is_only_file[fd] = !stat(only_file, &a) && !fstat(fd, &b) && a.st_dev == b.st_dev &&
				   a.st_ino == b.st_ino;
	return fd;
}

/* The function itself, once it is not to fail. */
#define PASS_ON(name, ...)	   PASS_ON_IF(!fails(#name), name, __VA_ARGS__)
#define PASS_ON_FOR(fd, name, ...) PASS_ON_IF(!fails_for(#name, fd), name, fd, __VA_ARGS__)
#define PASS_ON_IF(works, name, ...) \
	do { \
		static __typeof__(&name) next; \
		if (!(works)) \
			return -1; \
		if (!next) \
			*(void **)&next = dlsym(RTLD_NEXT, #name); \
		return next(__VA_ARGS__); \
	} while (0)

ssize_t preadv2(int fd, const struct iovec *iov, int nr, off_t offset, int flags)
{
	PASS_ON_FOR(fd, preadv2, iov, nr, offset, flags);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int nr, off_t offset, int flags)
{
	PASS_ON_FOR(fd, pwritev2, iov, nr, offset, flags);
}

int fdatasync(int fd)
{
	PASS_ON_IF(!fails_for("fdatasync", fd), fdatasync, fd);
}

ssize_t read(int fd, void *buf, size_t n)
{
	PASS_ON(read, fd, buf, n);
}

/* Not of eventfds, which do not fail. */
ssize_t write(int fd, const void *buf, size_t n)
{
	if (n == 8)
		return syscall(SYS_write, fd, buf, n);
	PASS_ON(write, fd, buf, n);
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	PASS_ON(recvmsg, fd, m, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	PASS_ON(sendmsg, fd, m, flags);
}

ssize_t getrandom(void *buf, size_t n, unsigned int flags)
{
	PASS_ON(getrandom, buf, n, flags);
}

int epoll_wait(int fd, struct epoll_event *events, int n, int timeout)
{
	PASS_ON(epoll_wait, fd, events, n, timeout);
}

int epoll_ctl(int fd, int op, int what, struct epoll_event *event)
{
	PASS_ON(epoll_ctl, fd, op, what, event);
}

int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
	PASS_ON_FOR(fd, fallocate, mode, offset, bytes);
}

/* ---- of who writes a file whole, and then gives it its name ---- */

int ftruncate64(int fd, off_t bytes)
{
	PASS_ON(ftruncate64, fd, bytes);
}

int fsync(int fd)
{
	PASS_ON(fsync, fd);
}

int linkat(int from, const char *old, int to, const char *new, int flags)
{
	PASS_ON(linkat, from, old, to, new, flags);
}

/* open() with a mode. Of these two calls a signal may follow, too. */
int open64(const char *path, int flags, ...)
{
	static int (*next)(const char *path, int flags, ...);
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if ((!only_file || !strcmp(path, only_file)) && fails("open"))
		return -1;
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "open64");
	return then_signal("open", next(path, flags, mode));
}

int bind(int fd, const struct sockaddr *address, socklen_t bytes)
{
	static int (*next)(int fd, const struct sockaddr *address, socklen_t bytes);

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "bind");
	return then_signal("bind", next(fd, address, bytes));
}

/* ---- io_uring ---- */

static int ring_files[64]; /* registered ones */
static int silent_fd = -1; /* reading it never ends */
static unsigned long long silence;

int io_uring_register_files_update(struct io_uring *ring, unsigned int at, const int *fds, unsigned int nr)
{
	static int (*next)(struct io_uring *, unsigned int at, const int *fds, unsigned int nr);

	for (unsigned int i = 0; i < nr && at + i < 64; i++)
		ring_files[at + i] = fds[i];
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "io_uring_register_files_update");
	return next(ring, at, fds, nr);
}

/* An fdatasync() of the only file becomes something that never ends. */
static void hang_entry(struct io_uring_sqe *sqe)
{
	int fd = sqe->flags & IOSQE_FIXED_FILE ? ring_files[sqe->fd] : sqe->fd;
	unsigned long long owner = sqe->user_data;

	if (sqe->opcode != IORING_OP_FSYNC || fd < 0 || fd >= 1024 || !is_only_file[fd] || !is_due("fdatasync"))
		return;
	io_uring_prep_read(sqe, silent_fd, &silence, 8, 0);
	sqe->user_data = owner;
}

/* liburing's functions give the error itself. */
int io_uring_submit(struct io_uring *ring)
{
	static int (*next)(struct io_uring *);
	const struct io_uring_sq *sq = &ring->sq;

	if (fails("io_uring_submit"))
		return -error;
	for (unsigned int i = sq->sqe_head; only_file && !error && i != sq->sqe_tail; i++)
		hang_entry(&sq->sqes[i & sq->ring_mask]);
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "io_uring_submit");
	return next(ring);
}

int io_uring_queue_init_params(unsigned int entries, struct io_uring *ring, struct io_uring_params *params)
{
	static int (*next)(unsigned int entries, struct io_uring *ring, struct io_uring_params *params);

	if (getenv("NO_IO_URING"))
		return -EPERM;
	silent_fd = eventfd(0, EFD_CLOEXEC);
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "io_uring_queue_init_params");
	return next(entries, ring, params);
}

int ioctl(int fd, unsigned long request, ...)
{
	static int (*next)(int fd, unsigned long request, ...);
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (request == KVM_RUN && fails("ioctl"))
		return -1;
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "ioctl");
	return next(fd, request, arg);
}
