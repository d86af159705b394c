// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random requests, 64 in flight from four queues, against a model in memory: raw and qcow2 of
 * every kind, both engines, with short transfers and a full host disk now and then. What was
 * acknowledged is there, what failed is old or new, qemu-img finds nothing wrong, nothing is
 * stuck. How many flushes a request has waited for is printed, and is at most 8 for images that
 * have one flush at a time.
 *
 * A seed makes the requests and the faults; it is printed. Runs some seconds; SECONDS=600 or
 * FULL=1 for longer, SEED=n for one that was printed, SHAPE=n for one shape.
 *
 * Starts threads.
 */
#include "tests/lib/disk.h"
#include "tests/lib/disk-faults.h"

#include <signal.h>

#define QUEUES	      4
#define DEPTH	      16 /* of each queue */
#define JOBS	      (QUEUES * DEPTH)
#define MAX_BYTES     KIB(128)
#define DISK_BYTES    (MIB(8) + 4096 * 5)
#define REQUESTS      500 /* of a round */
#define MAX_FLUSHES   8u
#define STUCK_SECONDS 120

enum contents {
	KNOWN,	  /* what the model has */
	ANYTHING, /* discarded, or written by a request that failed */
};

struct job {
	struct disk_request req; /* first */
	struct iovec iov[3];
	uint8_t *data;
	uint64_t offset, bytes, flushes;
	enum disk_operation operation;
	bool busy;
};

struct shape {
	const char *name, *create; /* commands that make "img", of base.raw */
	const char *path;
	bool cow, direct, is_qcow2;
	bool bounded; /* waits of requests, in flushes */
};

static const struct shape shapes[] = {
	{ "raw", "cp base.raw img", "img", false, false, false, false },
	{ "raw direct", "cp base.raw img", "img", false, true, false, false },
	{ "raw cow", "cp base.raw img; cp img before", "img", true, false, false, false },
	{ "qcow2 64k", "qemu-img convert -O qcow2 base.raw img", "img", false, false, true, true },
	{ "qcow2 512", "qemu-img convert -O qcow2 -o cluster_size=512 base.raw img", "img", false, false, true, true },
	{ "qcow2 direct", "qemu-img convert -O qcow2 base.raw img", "img", false, true, true, true },
	{ "qcow2 compressed", "qemu-img convert -c -O qcow2 base.raw img", "img", false, false, true, true },
	{ "qcow2 compressed 4k", "qemu-img convert -c -O qcow2 -o cluster_size=4k base.raw img", "img", false, false, true, true },
	{ "qcow2 on raw", "qemu-img create -q -f qcow2 -b base.raw -F raw img", "img", false, false, true, true },
	{ "qcow2 on compressed", "qemu-img convert -c -O qcow2 base.raw base; "
				 "qemu-img create -q -f qcow2 -o cluster_size=4k -b base -F qcow2 img",
	  "img", false, false, true, true },
	{ "qcow2 cow", "qemu-img convert -O qcow2 base.raw img; cp img before", "img", true, false, false, false },
};

static struct disk *disk;
static struct job jobs[JOBS];
static struct event_deferred refill_later;
static uint8_t *model;
static uint8_t *contents; /* enum contents of each sector */
static uint64_t seed;
static unsigned int started, wanted, failures, flushes, longest_wait, faulty_requests;
static uint64_t flush_round;
static bool is_bounded;
static char doing[128];

static void on_alarm(int signal)
{
	(void)signal;
	printf("# stuck: %s\n", doing);
	fflush(stdout);
	_exit(7);
}

static void wrong(const struct job *job, const char *what)
{
	if (failures++ < 5)
		printf("# %s: request %d of %llu bytes at %llu: %s\n", doing, job->operation,
		       (unsigned long long)job->bytes, (unsigned long long)job->offset, what);
}

/* ---- the model ---- */

static void set_contents(const struct job *job, enum contents c)
{
	memset(contents + job->offset / 512, c, job->bytes / 512);
}

static void check_read(const struct job *job)
{
	for (uint64_t at = 0; at < job->bytes; at += 512) {
		uint64_t sector = (job->offset + at) / 512;

		if (contents[sector] == KNOWN && memcmp(job->data + at, model + sector * 512, 512)) {
			wrong(job, "other contents");
			return;
		}
	}
}

/* What an acknowledged request has done. */
static void apply(const struct job *job)
{
	switch (job->operation) {
	case DISK_READ:
		check_read(job);
		break;
	case DISK_WRITE:
		memcpy(model + job->offset, job->data, job->bytes);
		set_contents(job, KNOWN);
		break;
	case DISK_WRITE_ZEROES:
		memset(model + job->offset, 0, job->bytes);
		set_contents(job, KNOWN);
		break;
	case DISK_DISCARD:
		set_contents(job, ANYTHING);
		break;
	case DISK_FLUSH:
		break;
	}
}

/* ---- requests ---- */

/* Flushes that end at the same time were one. */
static void count_flush(void)
{
	if (event_round(loop) != flush_round)
		flushes++;
	flush_round = event_round(loop);
}

static void job_done(struct disk_request *req, int error)
{
	struct job *job = (struct job *)req;
	unsigned int waited = flushes - (unsigned int)job->flushes;

	job->busy = false;
	longest_wait = waited > longest_wait ? waited : longest_wait;
	if (is_bounded && waited > MAX_FLUSHES)
		wrong(job, "waited for too many flushes");
	if (job->operation == DISK_FLUSH)
		count_flush();
	if (!error) {
		apply(job);
	} else {
		faulty_requests++;
		if (error != -ENOSPC || !faults.full_percent || job->operation == DISK_READ)
			wrong(job, strerror(-error));
		else if (job->operation != DISK_FLUSH)
			set_contents(job, ANYTHING);
	}
	event_defer(loop, &refill_later);
}

/* Two that overlap have no order, unless both read. */
static bool collides(const struct job *job)
{
	for (unsigned int i = 0; i < JOBS; i++) {
		const struct job *j = &jobs[i];

		if (j->busy && j->offset < job->offset + job->bytes && job->offset < j->offset + j->bytes &&
		    (j->operation != DISK_READ || job->operation != DISK_READ))
			return true;
	}
	return false;
}

static enum disk_operation random_operation(void)
{
	static const enum disk_operation mix[16] = {
		DISK_READ, DISK_READ, DISK_READ, DISK_READ, DISK_READ, DISK_WRITE, DISK_WRITE, DISK_WRITE,
		DISK_WRITE, DISK_WRITE, DISK_WRITE, DISK_DISCARD, DISK_DISCARD, DISK_WRITE_ZEROES,
		DISK_WRITE_ZEROES, DISK_FLUSH
	};

	return mix[random_u64(&seed) % 16];
}

/* Mostly small, sometimes large, often at the start of a cluster. */
static void choose_place(struct job *job)
{
	uint64_t r = random_u64(&seed), block = disk->block_bytes;

	job->bytes = block * (1 + (r >> 8) % (r % 8 ? 16 : MAX_BYTES / block));
	job->bytes = min_u64(job->bytes, MAX_BYTES);
	job->offset = align_down(random_u64(&seed) % disk->size_bytes, r % 3 ? block : 65536);
	job->bytes = min_u64(job->bytes, disk->size_bytes - job->offset);
	if (job->operation == DISK_FLUSH)
		job->bytes = job->offset = 0;
}

/* At any address, in three parts of any length. */
static void choose_buffers(struct job *job)
{
	uint8_t *p = job->data;
	uint64_t a = random_u64(&seed) % (job->bytes + 1), b = a + random_u64(&seed) % (job->bytes - a + 1);

	if (job->operation == DISK_WRITE)
		for (uint64_t i = 0, v = random_u64(&seed); i < job->bytes; i += 8, v += 0x123456789abcdefull)
			memcpy(p + i, &v, 8);
	if (a % 4 == 0)
		a = b = job->bytes; /* in one */
	job->iov[0] = (struct iovec){ p, a };
	job->iov[1] = (struct iovec){ p + a, b - a };
	job->iov[2] = (struct iovec){ p + b, job->bytes - b };
}

static bool start(struct job *job)
{
	job->operation = random_operation();
	choose_place(job);
	if (collides(job))
		return false;
	choose_buffers(job);
	job->req = (struct disk_request){
		.operation = job->operation,
		.offset = job->offset,
		.bytes = job->bytes,
		.iov = job->iov,
		.nr_iov = job->iov[0].iov_len == job->bytes ? 1 : 3,
		.unmap = random_u64(&seed) & 1,
		.done = job_done,
	};
	job->flushes = flushes;
	job->busy = true;
	if (++started % 32 == 0)
		atomic_fetch_add(&faults.epoch, 1);
	disk_submit(disk, &job->req);
	return true;
}

/* A queue that has room gets requests until it is full, or for now. */
static void refill(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; i < JOBS && started < wanted; i++)
		if (!jobs[i].busy && random_u64(&seed) % 4)
			start(&jobs[i]);
}

static unsigned int nr_busy(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < JOBS; i++)
		n += jobs[i].busy;
	return n;
}

static void run_requests(unsigned int nr)
{
	started = 0;
	wanted = nr;
	while (started < wanted || nr_busy()) {
		unsigned int before = started;

		event_defer(loop, &refill_later);
		assert_int_equal(aio_drain(aio), 0);
		if (started == wanted && before == started && nr_busy()) {
			printf("# %s: %u requests wait for nothing\n", doing, nr_busy());
			fail();
		}
	}
}

/* ---- a round ---- */

static void compare_all(void)
{
	static _Alignas(4096) uint8_t data[4096];

	for (uint64_t at = 0; at < disk->size_bytes; at += sizeof(data)) {
		struct job whole = { .operation = DISK_READ, .offset = at, .data = data, .bytes = sizeof(data) };

		assert_int_equal(do_request(disk, DISK_READ, at, data, sizeof(data)), 0);
		check_read(&whole);
	}
}

static void make_images(const struct shape *s)
{
	for (uint64_t at = 0; at < DISK_BYTES; at += 4096) {
		uint64_t v = random_u64(&seed);

		for (uint64_t i = 0; i < 4096 && v % 3; i += 8)
			memcpy(model + at + i, &(uint64_t){ v * (i / 512 + 1) }, 8);
	}
	write_file(path_in("base.raw"), model, DISK_BYTES);
	assert_int_equal(tool("%s", s->create), 0);
}

static void set_faults(const struct shape *s, unsigned int full_percent)
{
	faults.seed = seed;
	faults.short_percent = s->direct ? 0 : 10; /* direct I/O ends where a block does */
	faults.full_percent = full_percent;
}

static void check_image(const struct shape *s)
{
	if (s->is_qcow2)
		assert_int_equal(tool("qemu-img check -q img"), 0);
	if (s->cow)
		assert_int_equal(tool("cmp img before"), 0);
}

/* Twice: the second time with what the first has left in the file. */
static void soak_disk(const struct shape *s)
{
	const struct disk_config config = { .path = path_in(s->path), .cow = s->cow, .direct = s->direct };
	char said[4096];
	int saved;

	for (int i = 0; i < (s->cow ? 1 : 2); i++) {
		disk = open_disk(&config);
		saved = begin_capture(); /* the errors that are wanted */
		set_faults(s, 0);
		run_requests(REQUESTS / 2);
		set_faults(s, 2);
		run_requests(REQUESTS / 2);
		set_faults(s, 0);
		end_capture(saved, said, sizeof(said));
		faults.short_percent = 0;
		assert_int_equal(do_request(disk, DISK_FLUSH, 0, NULL, 0), 0);
		compare_all();
		close_disk(disk);
		check_image(s);
		assert_int_equal(failures, 0);
	}
	/* In a cow disk all that was written is gone. */
	if (!s->cow) {
		disk = open_disk(&config);
		compare_all();
		close_disk(disk);
	}
	assert_int_equal(failures, 0);
}

static void soak(const struct shape *s, enum aio_engine engine, uint64_t round_seed)
{
	snprintf(doing, sizeof(doing), "SHAPE=%u SEED=%llu (%s, %s)", (unsigned int)(s - shapes),
		 (unsigned long long)round_seed, s->name, engine == AIO_THREADS ? "threads" : "io_uring");
	alarm(STUCK_SECONDS);
	seed = round_seed * 0x9e3779b97f4a7c15ull | 1;
	is_bounded = s->bounded;
	failures = longest_wait = faulty_requests = 0;
	memset(model, 0, DISK_BYTES);
	memset(contents, KNOWN, DISK_BYTES / 512);
	set_up(engine);
	make_images(s);
	soak_disk(s);
	tear_down();
	alarm(0);
	print_message("# %s: %u requests failed as they should, at most %u flushes waited for\n", doing,
		      faulty_requests, longest_wait);
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/* Each shape by the one engine, in the next round by the other. */
static void every_shape_is_equal_to_a_model(void **state)
{
	uint64_t seconds = number_of("SECONDS", getenv("FULL") ? 600 : 0);
	uint64_t end = now_ns() + seconds * 1000000000ull, round_seed = number_of("SEED", 1);
	uint64_t only = number_of("SHAPE", ARRAY_SIZE(shapes));

	(void)state;
	do {
		for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
			if (only == ARRAY_SIZE(shapes) || only == i)
				soak(&shapes[i], (i + round_seed) % 2 ? AIO_THREADS : AIO_AUTO, round_seed);
		round_seed++;
	} while (now_ns() < end);
}

static int start_all(void **state)
{
	(void)state;
	model = malloc(DISK_BYTES);
	contents = malloc(DISK_BYTES / 512);
	for (unsigned int i = 0; i < JOBS; i++)
		jobs[i].data = (uint8_t *)malloc(MAX_BYTES + 64) + i; /* at any alignment */
	refill_later.fn = refill;
	signal(SIGALRM, on_alarm);
	return model && contents ? 0 : -1;
}

static int end_all(void **state)
{
	(void)state;
	free(model);
	free(contents);
	for (unsigned int i = 0; i < JOBS; i++)
		free(jobs[i].data - i);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_shape_is_equal_to_a_model) };

	return cmocka_run_group_tests_name("disk-soak", tests, start_all, end_all);
}
