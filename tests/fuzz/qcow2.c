// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile image: opened as qcow2 for writing, read, written, discarded. The input is 64
 * bytes that say what is done and the image. It is given up when it is larger than
 * a sparse file of 64 MiB.
 */
#include "tests/fuzz/fuzz.h"

#include "disk/aio.h"
#include "disk/disk.h"
#include "event.h"
#include "sandbox/sandbox.h"
#include "util.h"

struct job {
	struct disk_request req; /* first */
	struct iovec iov;
	uint8_t data[65536];
};

static void done(struct disk_request *req, int error)
{
	(void)req;
	(void)error;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct job job;
	static const enum disk_operation operations[] = {
		DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_DISCARD, DISK_WRITE_ZEROES
	};
	struct input in = { data, min_u64(bytes, 64) };
	/* Once for all: making rings takes longer than the rest. */
	static struct event_loop *loop;
	static struct aio *aio;
	static struct sandbox unconfined; /* off */
	struct disk *disk;
	char path[32];
	int fd;

	log_set_level(LOG_ERROR);
	if (bytes < 64)
		return 0;
	fd = memory_file(data + 64, bytes - 64, path);
	if (!aio)
		must(!event_loop_create(&loop) && !aio_create(&aio, loop, AIO_THREADS, 16) && aio_start(aio, &unconfined) > 0);
	if (!disk_open(&disk, aio, &(struct disk_config){ .path = path, .format = DISK_FORMAT_QCOW2 })) {
		while (in.left) {
			uint64_t size = disk->size_bytes, n, offset;

			job.req.operation = operations[take(&in, 1) % ARRAY_SIZE(operations)];
			offset = align_down(take(&in, 4) << 9, disk->block_bytes);
			n = align_down(take(&in, 2), disk->block_bytes);
			if (!range_within(offset, n, size) || !n)
				continue;
			job.iov = (struct iovec){ job.data, n };
			job.req.iov = &job.iov;
			job.req.nr_iov = 1;
			job.req.offset = offset;
			job.req.bytes = n;
			job.req.done = done;
			disk_submit(disk, &job.req);
			aio_drain(aio);
		}
		disk_finish_all(&disk, 1, &(int){ 0 });
		disk_close(disk);
	}
	close(fd);
	return 0;
}
