/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The few helpers that every layer needs: checked arithmetic on untrusted
 * sizes, alignment, little-endian stores, whole reads, and a clock. Any thread.
 */
#ifndef LKVM_UTIL_H
#define LKVM_UTIL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

/* False if the result does not fit; *sum is then of no use. */
static inline bool add_u64(uint64_t a, uint64_t b, uint64_t *sum)
{
	*sum = a + b;
	return *sum >= a;
}

static inline bool mul_u64(uint64_t a, uint64_t b, uint64_t *product)
{
	return !__builtin_mul_overflow(a, b, product);
}

/* True if [start, start + len) lies inside [0, limit), whatever the values. */
/*@ assigns \nothing;
    ensures \result <==> start + len <= limit; */
static inline bool range_within(uint64_t start, uint64_t len, uint64_t limit)
{
	return start <= limit && len <= limit - start;
}

/* @align is a power of two; the caller knows that value + align fits. */
static inline uint64_t align_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

static inline uint64_t align_down(uint64_t value, uint64_t align)
{
	return value & ~(align - 1);
}

/*@ assigns \nothing;
    ensures \result == \min(a, b); */
static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Little-endian loads, without alignment. */
static inline uint16_t get_le16(const void *p)
{
	uint16_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t get_le32(const void *p)
{
	uint32_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t get_le64(const void *p)
{
	uint64_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

/* Little-endian stores into table buffers that have no alignment. */
static inline void put_le16(void *p, uint16_t v)
{
	__builtin_memcpy(p, &v, sizeof(v));
}

static inline void put_le32(void *p, uint32_t v)
{
	__builtin_memcpy(p, &v, sizeof(v));
}

static inline void put_le64(void *p, uint64_t v)
{
	__builtin_memcpy(p, &v, sizeof(v));
}

/* Byte that makes @len bytes at @p sum to zero, when added to them. */
static inline uint8_t checksum_byte(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *b++);
	return (uint8_t)(0 - sum);
}

/*
 * pread(2) until all @len bytes are there. 0, -ENODATA if the file ends early, or
 * -errno. @offset + @len is at most INT64_MAX.
 */
static inline int pread_all(int fd, void *buf, uint64_t len, uint64_t offset)
{
	uint8_t *out = buf;

	while (len) {
		const struct iovec iov = { out, min_u64(len, GIB(1)) };
		ssize_t n = preadv2(fd, &iov, 1, (off_t)offset, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		out += n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* At most 256 random bytes. 0 or -errno. */
static inline int random_bytes(void *p, size_t n)
{
	ssize_t got;

	do
		got = getrandom(p, n, 0);
	while (got < 0 && errno == EINTR);
	return got == (ssize_t)n ? 0 :
	       got < 0		 ? -errno :
				   -EIO;
}

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

#define WAIT_SLICE_MS 500
#define BUSY_HOST_NS  1000000000ull

/*
 * A wait of at most @timeout_ms began at @start_ns (of now_ns()). How much later than a busy host
 * explains it has ended: we were stopped, and whoever waits with a deadline puts that off. To be
 * told well from waiting, it waits for WAIT_SLICE_MS at a time.
 */
static inline uint64_t stopped_ns(uint64_t start_ns, int timeout_ms)
{
	uint64_t took = now_ns() - start_ns, most = (uint64_t)timeout_ms * 1000000u + BUSY_HOST_NS;

	return took > most ? took - (uint64_t)timeout_ms * 1000000u : 0;
}

/* Waits a millisecond for another process. False at once if @deadline (of now_ns()) has passed. */
static inline bool wait_a_moment(uint64_t deadline)
{
	const struct timespec moment = { .tv_nsec = 1000000 };

	if (now_ns() >= deadline)
		return false;
	nanosleep(&moment, NULL);
	return true;
}

#endif
