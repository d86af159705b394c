/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What Frama-C does not know of GCC: builtins for any type, spelled out for the types
 * that occur; functions that its C library lacks.
 */
#include <stdint.h>
#include <sys/types.h>

#define MAP_NORESERVE 0x4000
#define MADV_HUGEPAGE 14
#define MADV_DONTDUMP 16
#define MADV_DONTFORK 10
int madvise(void *at, size_t bytes, int advice);

struct iovec;
ssize_t preadv2(int fd, const struct iovec *iov, int nr, off_t offset, int flags);

/*@ assigns *sum;
    ensures *sum == (uint32_t)(a + b) && (\result == 0 <==> a + b <= 0xffffffff); */
static inline int add_overflows_32(uint32_t a, uint32_t b, uint32_t *sum)
{
	*sum = a + b;
	return *sum < a;
}

static inline int mul_overflows_64(uint64_t a, uint64_t b, uint64_t *product)
{
	*product = a * b;
	return b && *product / b != a;
}

#define __builtin_add_overflow(a, b, p) add_overflows_32((a), (b), (p))
#define __builtin_mul_overflow(a, b, p) mul_overflows_64((a), (b), (p))

/* Fields that the guest changes while we look: any value at each load. */
/*@ requires \valid_read(p); assigns \nothing; */
uint16_t load_any_16(const uint16_t *p);
/*@ requires \valid(p); assigns *p; */
void store_16(uint16_t *p, uint16_t v);

#define __atomic_load_n(p, order)     load_any_16(p)
#define __atomic_store_n(p, v, order) store_16((p), (v))
