/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Faults of a host's disk, for unit tests: this program's own system calls come here first.
 * Which ones are short or fail follows from a seed, an epoch that the test counts up, and
 * what the call is about, not from which thread comes first.
 *
 * For io_uring the entries are changed before they are submitted: a write that is to fail
 * goes to /dev/full, what a file is not to answer is read from an eventfd.
 */
#ifndef LKVM_TESTS_DISK_FAULTS_H
#define LKVM_TESTS_DISK_FAULTS_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct {
	uint64_t seed;
	atomic_uint epoch;
	unsigned int short_percent; /* of transfers */
	unsigned int full_percent;  /* of writes and allocations */
	atomic_bool hangs;	    /* nothing is completed */
	atomic_ullong hung_inode;   /* ... of this file; 0: of none */
	atomic_ullong only_inode;   /* ... but of this one; 0: see above */
	atomic_int sync_error;	    /* what fdatasync() fails with; 0: it does not */
	int full_fd;		    /* /dev/full, once it is needed */
	int hung_fd;		    /* what is read instead of the file that hangs */
	uint64_t hung_value;
	unsigned int nr_hung; /* entries that were changed so */
	int files[64];	      /* registered ones */
} faults = { .full_fd = -1, .hung_fd = -1 };

static inline bool fault_strikes(uint64_t what, uint64_t offset, unsigned int percent)
{
	uint64_t h = faults.seed ^ what * 0x9e3779b97f4a7c15ull ^ offset * 0xd6e8feb86659fd93ull ^
		     (uint64_t)atomic_load(&faults.epoch) << 32;

	h = (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
	h = (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
	return (h ^ h >> 32) % 100 < percent;
}

static inline bool fault_hangs(int fd)
{
	uint64_t inode = atomic_load(&faults.hung_inode), only = atomic_load(&faults.only_inode);
	struct stat st;

	if ((!inode && !only) || fstat(fd, &st))
		return atomic_load(&faults.hangs);
	return only ? st.st_ino != only : st.st_ino == inode;
}

static inline void fault_hang(int fd)
{
	while (fault_hangs(fd))
		usleep(1000);
}

/* From now on nothing of the file @path is completed. */
static inline void fault_hang_file(const char *path)
{
	struct stat st;

	if (!stat(path, &st))
		atomic_store(&faults.hung_inode, st.st_ino);
}

/* ... of any other file. */
static inline void fault_hang_all_but(const char *path)
{
	struct stat st;

	if (!stat(path, &st))
		atomic_store(&faults.only_inode, st.st_ino);
}

/* It answers again. What it was asked for is over somehow: reads did not read, writes may fail. */
static inline void fault_answer(void)
{
	uint64_t nr = faults.nr_hung;

	atomic_store(&faults.hung_inode, 0);
	atomic_store(&faults.only_inode, 0);
	if (nr && write(faults.hung_fd, &nr, 8) != 8)
		_exit(7);
	faults.nr_hung = 0;
}

/* Whole sectors, as a file system that was interrupted would do it. */
static inline uint64_t fault_shorten(uint64_t bytes, uint64_t offset)
{
	if (bytes < 1024 || !fault_strikes(1, offset, faults.short_percent))
		return bytes;
	return bytes / 2 / 512 * 512;
}

static inline ssize_t faulty_transfer(long nr_call, int fd, const struct iovec *iov, int nr, off_t offset)
{
	struct iovec first = iov[0];

	fault_hang(fd);
	first.iov_len = fault_shorten(first.iov_len, (uint64_t)offset);
	if (first.iov_len != iov[0].iov_len)
		return syscall(nr_call, fd, &first, 1, offset, 0, 0);
	return syscall(nr_call, fd, iov, nr, offset, 0, 0);
}

ssize_t preadv2(int fd, const struct iovec *iov, int nr, off_t offset, int flags)
{
	(void)flags;
	return faulty_transfer(SYS_preadv2, fd, iov, nr, offset);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int nr, off_t offset, int flags)
{
	(void)flags;
	if (fault_strikes(2, (uint64_t)offset, faults.full_percent)) {
		errno = ENOSPC;
		return -1;
	}
	return faulty_transfer(SYS_pwritev2, fd, iov, nr, offset);
}

int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
	fault_hang(fd);
	if (fault_strikes(3, (uint64_t)offset, faults.full_percent)) {
		errno = ENOSPC;
		return -1;
	}
	return (int)syscall(SYS_fallocate, fd, mode, offset, bytes);
}

int ftruncate(int fd, off_t bytes)
{
	fault_hang(fd);
	return (int)syscall(SYS_ftruncate, fd, bytes);
}

off_t lseek(int fd, off_t offset, int whence)
{
	fault_hang(fd);
	return (off_t)syscall(SYS_lseek, fd, offset, whence);
}

/* Only who asks for what the host remembers has an answer. */
int statx(int fd, const char *restrict path, int flags, unsigned int mask, struct statx *restrict st)
{
	if (!(flags & AT_STATX_DONT_SYNC))
		fault_hang(fd);
	return (int)syscall(SYS_statx, fd, path, flags, mask, st);
}

int fdatasync(int fd)
{
	fault_hang(fd);
	errno = atomic_load(&faults.sync_error);
	return errno ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int io_uring_register_files_update(struct io_uring *ring, unsigned int at, const int *fds, unsigned int nr)
{
	static int (*next)(struct io_uring *, unsigned int at, const int *fds, unsigned int nr);

	for (unsigned int i = 0; i < nr; i++)
		faults.files[at + i] = fds[i];
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "io_uring_register_files_update");
	return next(ring, at, fds, nr);
}

static inline void fault_hang_entry(struct io_uring_sqe *sqe)
{
	if (faults.hung_fd < 0)
		faults.hung_fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	io_uring_prep_read(sqe, faults.hung_fd, &faults.hung_value, 8, 0);
	faults.nr_hung++;
}

static inline void fault_entry(struct io_uring_sqe *sqe)
{
	uint64_t owner = sqe->user_data;
	int fd = sqe->flags & IOSQE_FIXED_FILE ? faults.files[sqe->fd] : sqe->fd;
	bool writes = sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_WRITEV;

	if (fault_hangs(fd)) {
		fault_hang_entry(sqe);
		sqe->user_data = owner;
		return;
	}
	if (writes && fault_strikes(2, sqe->off, faults.full_percent)) {
		if (faults.full_fd < 0)
			faults.full_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
		sqe->fd = faults.full_fd;
		sqe->flags &= (uint8_t)~IOSQE_FIXED_FILE;
	}
	if (sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_READ)
		sqe->len = (unsigned int)fault_shorten(sqe->len, sqe->off);
	else if ((sqe->opcode == IORING_OP_WRITEV || sqe->opcode == IORING_OP_READV) &&
		 ((const struct iovec *)(uintptr_t)sqe->addr)->iov_len &&
		 fault_strikes(1, sqe->off, faults.short_percent))
		sqe->len = 1;
}

int io_uring_submit(struct io_uring *ring)
{
	static int (*next)(struct io_uring *);
	const struct io_uring_sq *sq = &ring->sq;

	if (atomic_load(&faults.hangs))
		return -EAGAIN;
	for (unsigned int i = sq->sqe_head; i != sq->sqe_tail; i++)
		fault_entry(&sq->sqes[i & sq->ring_mask]);
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "io_uring_submit");
	return next(ring);
}

#endif
