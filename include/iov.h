/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Copies between a buffer and a list of iovecs, at an offset. Memory behind iovecs may
 * be the guest's: what is read is read once. Any thread.
 */
#ifndef LKVM_IOV_H
#define LKVM_IOV_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "util.h"

/*@ axiomatic IovBytes {
      logic integer iov_bytes{L}(struct iovec *iov, integer nr) reads iov[0 .. nr - 1].iov_len;
      axiom none{L}: \forall struct iovec *iov, integer nr; nr <= 0 ==> iov_bytes(iov, nr) == 0;
      axiom one_more{L}: \forall struct iovec *iov, integer nr; nr > 0 ==>
        iov_bytes(iov, nr) == iov_bytes(iov, nr - 1) + iov[nr - 1].iov_len;
      // By induction from these two:
      axiom same{K,L}: \forall struct iovec *iov, integer nr;
        (\forall integer i; 0 <= i < nr ==> \at(iov[i].iov_len, K) == \at(iov[i].iov_len, L)) ==>
        iov_bytes{K}(iov, nr) == iov_bytes{L}(iov, nr);
      axiom grows{L}: \forall struct iovec *iov, integer m, n; m <= n ==> iov_bytes(iov, m) <= iov_bytes(iov, n);
    }

    predicate are_buffers{L}(struct iovec *iov, integer nr) =
      \valid_read(iov + (0 .. nr - 1)) &&
      \forall integer i; 0 <= i < nr ==> \valid((char *)iov[i].iov_base + (0 .. iov[i].iov_len - 1));
*/

/*
 * The part of @iov from byte @skip on, at most @bytes of it, as a list of its own in
 * @out, which has room for @nr. Returns its length.
 */
/*@ requires are_buffers(iov, nr) && \valid(out + (0 .. nr - 1));
    requires \separated(iov + (0 .. nr - 1), out + (0 .. nr - 1));
    assigns out[0 .. nr - 1];
    ensures \result <= nr && are_buffers(out, \result);
    ensures iov_bytes(out, \result) == \min(bytes, \max(0, iov_bytes(iov, nr) - skip)); */
static inline unsigned int iov_part(const struct iovec *iov, unsigned int nr, uint64_t skip,
				    uint64_t bytes, struct iovec *out)
{
	unsigned int n = 0;

	/*@ loop invariant 0 <= n <= i <= nr;
	    loop invariant \forall integer k; 0 <= k < nr ==> iov[k] == \at(iov[k], Pre);
	    loop invariant are_buffers(out, n);
	    loop invariant iov_bytes(out, n) + bytes == \at(bytes, Pre);
	    loop invariant n == 0 ==> bytes == \at(bytes, Pre);
	    loop invariant n == 0 ==> skip == \at(skip, Pre) - iov_bytes{Pre}(iov, i);
	    loop invariant n > 0 ==> skip == 0;
	    loop invariant n > 0 && bytes > 0 ==> \at(bytes, Pre) - bytes == iov_bytes{Pre}(iov, i) - \at(skip, Pre);
	    loop invariant n > 0 ==> \at(bytes, Pre) - bytes <= iov_bytes{Pre}(iov, i) - \at(skip, Pre);
	    loop assigns i, n, skip, bytes, out[0 .. nr - 1];
	    loop variant nr - i; */
	for (unsigned int i = 0; i < nr && bytes; i++) {
		uint64_t len;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		len = min_u64(iov[i].iov_len - skip, bytes);
		out[n++] = (struct iovec){ (char *)iov[i].iov_base + skip, len };
		bytes -= len;
		skip = 0;
	}
	return n;
}

static inline uint32_t iov_copy(const struct iovec *iov, unsigned int nr, uint32_t offset,
				void *buf, uint32_t len, bool to_iov)
{
	uint32_t done = 0;

	for (unsigned int i = 0; i < nr && done < len; i++) {
		size_t n;
		uint8_t *p;

		if (offset >= iov[i].iov_len) {
			offset -= (uint32_t)iov[i].iov_len;
			continue;
		}
		n = min_u64(iov[i].iov_len - offset, len - done);
		p = (uint8_t *)iov[i].iov_base + offset;
		if (to_iov)
			memcpy(p, (uint8_t *)buf + done, n);
		else
			memcpy((uint8_t *)buf + done, p, n);
		done += (uint32_t)n;
		offset = 0;
	}
	return done;
}

/*
 * Copies up to @len bytes between @buf and @nr iovecs, from byte @offset of them on.
 * Returns how many bytes there were.
 */
static inline uint32_t iov_read(const struct iovec *iov, unsigned int nr, uint32_t offset,
				void *buf, uint32_t len)
{
	return iov_copy(iov, nr, offset, buf, len, false);
}

static inline uint32_t iov_write(const struct iovec *iov, unsigned int nr, uint32_t offset,
				 const void *buf, uint32_t len)
{
	return iov_copy(iov, nr, offset, (void *)(uintptr_t)buf, len, true);
}

#endif
