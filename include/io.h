/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Input and output by the few system calls that the sandbox allows. Any thread. As
 * the calls themselves: a number of bytes, or -1 with errno; never EINTR, since whoever
 * waits for an edge would take it for "nothing is there".
 */
#ifndef LKVM_IO_H
#define LKVM_IO_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

/* readv(2) and pread(2) are both preadv2(2): with this offset, of what has none, and without. */
#define NO_OFFSET ((off_t)-1)

static inline ssize_t read_iov(int fd, const struct iovec *iov, unsigned int nr, off_t offset)
{
	ssize_t n;

	do
		n = preadv2(fd, iov, (int)nr, offset, 0);
	while (n < 0 && errno == EINTR);
	return n;
}

static inline ssize_t write_iov(int fd, const struct iovec *iov, unsigned int nr, off_t offset)
{
	ssize_t n;

	do
		n = pwritev2(fd, iov, (int)nr, offset, 0);
	while (n < 0 && errno == EINTR);
	return n;
}

static inline ssize_t write_at(int fd, const void *data, size_t bytes, uint64_t offset)
{
	const struct iovec iov = { (void *)(uintptr_t)data, bytes };

	return write_iov(fd, &iov, 1, (off_t)offset);
}

/* All of it. 0 or -errno. */
static inline int write_whole_at(int fd, const void *data, size_t bytes, uint64_t offset)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = write_at(fd, (const char *)data + done, bytes - done, offset + done);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

/*
 * poll(2); it may return EINTR. Whoever is stopped and continued in ppoll(2) goes on by that same
 * call, and in poll(2) by restart_syscall(2).
 */
static inline int poll_fds(struct pollfd *fds, unsigned int nr, int timeout_ms)
{
	const struct timespec timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000000l };

	return ppoll(fds, nr, timeout_ms < 0 ? NULL : &timeout, NULL);
}

/* Of sockets by the calls for messages, without waiting, whatever their O_NONBLOCK says. */
static inline ssize_t socket_send_iov(int fd, const struct iovec *iov, unsigned int nr)
{
	const struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = nr };
	ssize_t n;

	do
		n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n;
}

static inline ssize_t socket_send(int fd, const void *data, size_t bytes)
{
	const struct iovec iov = { (void *)(uintptr_t)data, bytes };

	return socket_send_iov(fd, &iov, 1);
}

static inline ssize_t socket_recv_iov(int fd, const struct iovec *iov, unsigned int nr)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = nr };
	ssize_t n;

	do
		n = recvmsg(fd, &m, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n;
}

static inline ssize_t socket_recv(int fd, void *data, size_t bytes)
{
	const struct iovec iov = { data, bytes };

	return socket_recv_iov(fd, &iov, 1);
}

/* Room for one descriptor beside a message (SCM_RIGHTS in unix(7)). */
union socket_ancillary {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(int))];
};

/* With descriptor @passed beside it; -1: none. */
static inline ssize_t socket_send_fd(int fd, const void *data, size_t bytes, int passed)
{
	struct iovec iov = { (void *)(uintptr_t)data, bytes };
	union socket_ancillary a = {
		.header = {
			.cmsg_len = CMSG_LEN(sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		},
	};
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (passed >= 0) {
		memcpy(CMSG_DATA(&a.header), &passed, sizeof(passed));
		m.msg_control = &a;
		m.msg_controllen = sizeof(a);
	}
	do
		n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n;
}

/* Two descriptors, which mean nothing without each other; otherwise as the same for one. */
union socket_ancillary_pair {
	struct cmsghdr header;
	char room[CMSG_SPACE(2 * sizeof(int))];
};

static inline ssize_t socket_send_pair(int fd, const void *data, size_t bytes, const int passed[2])
{
	struct iovec iov = { (void *)(uintptr_t)data, bytes };
	union socket_ancillary_pair a = {
		.header = {
			.cmsg_len = CMSG_LEN(2 * sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		},
	};
	const struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &a,
		.msg_controllen = sizeof(a),
	};
	ssize_t n;

	memcpy(CMSG_DATA(&a.header), passed, 2 * sizeof(int));
	do
		n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n;
}

/* Up to two; those that did not come are -1. */
static inline ssize_t socket_recv_pair(int fd, void *data, size_t bytes, int passed[2])
{
	struct iovec iov = { data, bytes };
	union socket_ancillary_pair a = { 0 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &a, .msg_controllen = sizeof(a) };
	ssize_t n;

	passed[0] = passed[1] = -1;
	do
		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0 && m.msg_controllen >= sizeof(a.header) && a.header.cmsg_type == SCM_RIGHTS)
		memcpy(passed, CMSG_DATA(&a.header),
		       a.header.cmsg_len >= CMSG_LEN(2 * sizeof(int)) ? 2 * sizeof(int) : sizeof(int));
	return n;
}

/*
 * *passed is the descriptor that came beside it, the caller's to close, or -1: more than one is
 * closed by the host's kernel. A message that was cut sets *cut (may be NULL).
 */
static inline ssize_t socket_recv_fd(int fd, void *data, size_t bytes, int *passed, bool *cut)
{
	struct iovec iov = { data, bytes };
	union socket_ancillary a = { 0 };
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &a,
		.msg_controllen = CMSG_LEN(sizeof(int)), /* with padding, two would fit */
	};
	ssize_t n;

	*passed = -1;
	do
		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0 && m.msg_controllen >= sizeof(a.header) && a.header.cmsg_type == SCM_RIGHTS)
		memcpy(passed, CMSG_DATA(&a.header), sizeof(*passed));
	if (cut)
		*cut = n >= 0 && m.msg_flags & MSG_TRUNC;
	return n;
}

#endif
