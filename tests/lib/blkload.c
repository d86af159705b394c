// SPDX-License-Identifier: GPL-2.0-only
/*
 * Load on a block device, for guests: runs COUNT requests of BYTES each with DEPTH in
 * flight, O_DIRECT, and prints nanoseconds per request. Kernel AIO by bare system
 * calls, so that the load itself costs little and links statically.
 *
 *	blkload DEVICE read|write seq|rand BYTES DEPTH COUNT
 */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEPTH 256

static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint64_t random_u64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int main(int argc, char **argv)
{
	struct iocb cbs[MAX_DEPTH], *todo[MAX_DEPTH];
	struct io_event events[MAX_DEPTH];
	aio_context_t ctx = 0;
	uint64_t bytes, blocks, next = 0, start;
	long depth, count, started = 0, done = 0;
	int fd, writes, sequential;
	char *data;

	if (argc != 7)
		return 2;
	writes = !strcmp(argv[2], "write");
	sequential = !strcmp(argv[3], "seq");
	bytes = strtoull(argv[4], NULL, 0);
	depth = atol(argv[5]);
	count = atol(argv[6]);
	fd = open(argv[1], O_DIRECT | (writes ? O_RDWR : O_RDONLY));
	if (fd < 0 || depth < 1 || depth > MAX_DEPTH ||
	    syscall(SYS_io_setup, MAX_DEPTH, &ctx) || posix_memalign((void **)&data, 4096, bytes * (size_t)depth))
		return 1;
	memset(data, 0x5a, bytes * (size_t)depth);
	blocks = (uint64_t)lseek(fd, 0, SEEK_END) / bytes;
	memset(cbs, 0, sizeof(cbs));
	for (long i = 0; i < depth; i++) {
		cbs[i].aio_fildes = (uint32_t)fd;
		cbs[i].aio_lio_opcode = writes ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
		cbs[i].aio_buf = (uint64_t)(uintptr_t)(data + bytes * (size_t)i);
		cbs[i].aio_nbytes = bytes;
		events[i].obj = (uint64_t)(uintptr_t)&cbs[i];
	}
	start = now();
	for (long free_now = depth; done < count;) {
		long n = 0;

		for (long i = 0; i < free_now && started < count; i++, started++) {
			struct iocb *cb = (struct iocb *)(uintptr_t)events[i].obj;

			cb->aio_offset = (int64_t)((sequential ? next++ : random_u64()) % blocks * bytes);
			todo[n++] = cb;
		}
		if (n && syscall(SYS_io_submit, ctx, n, todo) != n)
			return 1;
		free_now = syscall(SYS_io_getevents, ctx, 1, depth, events, NULL);
		for (long i = 0; i < free_now; i++)
			if (events[i].res != (int64_t)bytes)
				return 1;
		done += free_now;
	}
	printf("%llu\n", (unsigned long long)((now() - start) / (uint64_t)count));
	return 0;
}
