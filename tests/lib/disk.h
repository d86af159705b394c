/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For tests of disks: a loop, an engine, requests that are waited for, a fixed
 * sequence of random numbers, and a folder for images.
 */
#ifndef LKVM_TESTS_DISK_H
#define LKVM_TESTS_DISK_H

#include "tests/lib/unit.h"

#include "disk/aio.h"
#include "disk/disk.h"
#include "event.h"
#include "sandbox/sandbox.h"
#include "util.h"

static struct event_loop *loop;
static struct aio *aio;
static struct sandbox no_sandbox;
static char folder[64];

static inline void set_up(enum aio_engine engine)
{
	assert_int_equal(event_loop_create(&loop), 0);
	assert_int_equal(aio_create(&aio, loop, engine, 64), 0);
	sandbox_init(&no_sandbox, SANDBOX_OFF);
	assert_true(aio_start(aio, &no_sandbox) >= 0);
	strcpy(folder, "/tmp/lkvm-disk-XXXXXX");
	assert_non_null(mkdtemp(folder));
}

/* For a program that is ended by SIGALRM if it hangs; its teardown calls alarm(0). */
#define HANG_SECONDS 120 /* on a machine with much else to do */

static inline int start_uring(void **state)
{
	*state = NULL;
	set_up(AIO_AUTO);
	alarm(HANG_SECONDS);
	return 0;
}

static inline int start_threads(void **state)
{
	*state = folder; /* not NULL: by threads */
	set_up(AIO_THREADS);
	alarm(HANG_SECONDS);
	return 0;
}

static inline void tear_down(void)
{
	char command[128];

	aio_destroy(aio);
	sandbox_fini(&no_sandbox);
	event_loop_destroy(loop);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	assert_int_equal(system(command), 0);
}

/* "%s" in a command is the folder, as often as it is there. */
static inline int tool(const char *fmt, ...)
{
	char command[1024], out[4096];
	va_list ap;
	int rc;

	rc = snprintf(command, sizeof(command), "cd %s && ", folder);
	va_start(ap, fmt);
	vsnprintf(command + rc, sizeof(command) - (size_t)rc, fmt, ap);
	va_end(ap);
	rc = run_tool(command, out, sizeof(out));
	if (rc)
		printf("# %s\n# %s\n", command, out);
	return rc;
}

static inline const char *path_in(const char *name)
{
	static char paths[4][128];
	static unsigned int next;
	char *p = paths[next++ % 4];

	snprintf(p, sizeof(paths[0]), "%s/%s", folder, name);
	return p;
}

static inline struct disk *open_disk(const struct disk_config *config)
{
	struct disk *disk = NULL;

	assert_int_equal(disk_open(&disk, aio, config), 0);
	return disk;
}

/* disk_finish_all() of one. */
static inline int disk_finish(struct disk *disk)
{
	int error;

	disk_finish_all(&disk, 1, &error);
	return error;
}

static inline void close_disk(struct disk *disk)
{
	assert_int_equal(disk_finish(disk), 0);
	disk_close(disk);
}

static inline uint64_t random_u64(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

struct wait_request {
	struct disk_request req;
	struct iovec iov;
	bool done;
	int error;
};

static inline void wait_done(struct disk_request *req, int error)
{
	struct wait_request *w = (struct wait_request *)req;

	w->done = true;
	w->error = error;
}

static inline void start_request(struct disk *disk, struct wait_request *w, enum disk_operation operation,
				 uint64_t offset, void *data, uint64_t bytes)
{
	*w = (struct wait_request){
		.req = {
			.operation = operation,
			.offset = offset,
			.bytes = bytes,
			.nr_iov = 1,
			.done = wait_done,
		},
		.iov = { data, bytes },
	};
	w->req.iov = &w->iov;
	disk_submit(disk, &w->req);
}

/*
 * A request and its result. Every other one has company: it is the second of three in its
 * round, since the first of a round may take another way than those behind it.
 */
static inline int do_request(struct disk *disk, enum disk_operation operation, uint64_t offset,
			     void *data, uint64_t bytes)
{
	static _Alignas(4096) uint8_t scratch[2][4096];
	static bool company;
	uint64_t last = disk->size_bytes - disk->block_bytes;
	struct wait_request w, before, after;

	company = !company;
	if (company)
		start_request(disk, &before, DISK_READ, last, scratch[0], disk->block_bytes);
	start_request(disk, &w, operation, offset, data, bytes);
	if (company)
		start_request(disk, &after, DISK_READ, last, scratch[1], disk->block_bytes);
	aio_drain(aio);
	assert_true(w.done);
	assert_true(!company || (before.done && after.done));
	return w.error;
}

#endif
