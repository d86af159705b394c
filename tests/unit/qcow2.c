// SPDX-License-Identifier: GPL-2.0-only
/*
 * qcow2 against a model in memory, a raw twin and qemu-img: the same random reads,
 * writes, discards and zeroes, many at a time, on images of every shape.
 * Starts threads as disk.c does, whose turn with the thread sanitizer is enough but in check-all.
 */
#include "tests/lib/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define DEPTH 24
/* Without FULL=1: two rounds of an image's life, and with sanitizers some of the cluster sizes. */
#if defined(__SANITIZE_THREAD__)
#define STEP 12
#elif defined(__SANITIZE_ADDRESS__)
#define STEP 4
#else
#define STEP 1
#endif
#define MAX_BYTES KIB(256)

/* One request in flight. */
struct job {
	struct disk_request req; /* first */
	struct iovec iov[3];
	uint8_t *data;
	uint64_t offset, bytes;
	bool busy;
	enum disk_operation operation;
};

static struct job jobs[DEPTH];
static uint8_t *model;
static bool *discarded; /* sectors whose contents nobody knows */
static uint64_t seed;
static unsigned int failures;

static bool collides(uint64_t offset, uint64_t bytes)
{
	for (unsigned int i = 0; i < DEPTH; i++)
		if (jobs[i].busy && jobs[i].offset < offset + bytes &&
		    offset < jobs[i].offset + jobs[i].bytes)
			return true;
	return false;
}

static void check_read(const struct job *job)
{
	for (uint64_t s = 0; s < job->bytes; s += 512) {
		uint64_t sector = (job->offset + s) / 512;

		if (!discarded[sector] && memcmp(job->data + s, model + job->offset + s, 512)) {
			if (failures++ < 5)
				printf("# sector %llu differs: %02x, not %02x\n",
				       (unsigned long long)sector, job->data[s],
				       model[job->offset + s]);
		}
	}
}

static void job_done(struct disk_request *req, int error)
{
	struct job *job = (struct job *)req;

	if (error) {
		printf("# operation %d at %llu: %s\n", job->operation,
		       (unsigned long long)job->offset, strerror(-error));
		failures++;
	}
	if (job->operation == DISK_READ)
		check_read(job);
	job->busy = false;
}

/* What the request will have done to the disk. */
static void apply(struct job *job)
{
	if (job->operation == DISK_WRITE)
		memcpy(model + job->offset, job->data, job->bytes);
	if (job->operation == DISK_WRITE_ZEROES)
		memset(model + job->offset, 0, job->bytes);
	if (job->operation == DISK_WRITE || job->operation == DISK_WRITE_ZEROES)
		memset(discarded + job->offset / 512, 0, job->bytes / 512);
	if (job->operation == DISK_DISCARD)
		memset(discarded + job->offset / 512, 1, job->bytes / 512);
}

static enum disk_operation random_operation(void)
{
	static const enum disk_operation mix[16] = {
		DISK_READ, DISK_READ, DISK_READ, DISK_READ, DISK_READ, DISK_READ,
		DISK_WRITE, DISK_WRITE, DISK_WRITE, DISK_WRITE, DISK_WRITE, DISK_WRITE,
		DISK_DISCARD, DISK_WRITE_ZEROES, DISK_WRITE_ZEROES, DISK_FLUSH
	};

	return mix[random_u64(&seed) % 16];
}

static void fill(struct job *job)
{
	uint64_t v = random_u64(&seed);

	for (uint64_t i = 0; i < job->bytes; i += 8, v += 0x123456789abcdefull)
		memcpy(job->data + i, &v, 8);
}

static void split(struct job *job)
{
	uint64_t a = random_u64(&seed) % (job->bytes + 1), b = a + random_u64(&seed) % (job->bytes - a + 1);

	job->iov[0] = (struct iovec){ job->data, a };
	job->iov[1] = (struct iovec){ job->data + a, b - a };
	job->iov[2] = (struct iovec){ job->data + b, job->bytes - b };
	job->req.iov = job->iov;
	job->req.nr_iov = 3;
}

static void start(struct disk *disk, struct job *job)
{
	uint64_t r = random_u64(&seed), sectors = disk->size_bytes / 512;

	job->operation = random_operation();
	/* Mostly small, sometimes big, sometimes whole clusters of any size. */
	job->bytes = r % 8 ? 512 * (1 + r / 8 % 16) : 512 * (1 + r / 8 % (MAX_BYTES / 512));
	job->offset = random_u64(&seed) % sectors * 512;
	if (r % 3 == 0)
		job->offset = align_down(job->offset, 65536);
	job->bytes = min_u64(job->bytes, disk->size_bytes - job->offset);
	if (job->operation == DISK_FLUSH)
		job->bytes = job->offset = 0;
	else if (collides(job->offset, job->bytes))
		return;
	if (job->operation == DISK_WRITE)
		fill(job);
	split(job);
	job->req.operation = job->operation;
	job->req.offset = job->offset;
	job->req.bytes = job->bytes;
	job->req.unmap = r >> 40 & 1;
	job->req.done = job_done;
	job->busy = true;
	apply(job);
	disk_submit(disk, &job->req);
}

/* Some requests finish, others stay in flight: the loop runs a little. */
static void run_requests(struct disk *disk, unsigned int count)
{
	for (unsigned int n = 0; n < count; n++) {
		struct job *job = &jobs[random_u64(&seed) % DEPTH];

		if (job->busy)
			aio_drain(aio);
		start(disk, job);
		if (random_u64(&seed) % 4 == 0)
			event_run_deferred(loop);
	}
	aio_drain(aio);
	for (unsigned int i = 0; i < DEPTH; i++)
		assert_false(jobs[i].busy);
}

/* What was discarded may read as anything; from here on it reads as what it reads. */
static void settle(struct disk *disk)
{
	for (uint64_t s = 0; s < disk->size_bytes / 512; s++)
		if (discarded[s])
			assert_int_equal(do_request(disk, DISK_READ, s * 512, model + s * 512, 512), 0);
}

static void write_twin(uint64_t bytes)
{
	write_file(path_in("twin"), model, bytes);
}

static void begin(uint64_t bytes)
{
	model = calloc(1, bytes);
	discarded = calloc(bytes / 512, sizeof(*discarded));
	failures = 0;
	for (unsigned int i = 0; i < DEPTH; i++) {
		jobs[i].data = malloc(MAX_BYTES);
		assert_non_null(jobs[i].data);
	}
}

static void end(void)
{
	free(model);
	free(discarded);
	for (unsigned int i = 0; i < DEPTH; i++)
		free(jobs[i].data);
	assert_int_equal(failures, 0);
}

/* A base of random contents with holes, in @model as well. */
static void make_base(uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes; at += 4096) {
		uint64_t v = random_u64(&seed);

		if (v % 3 == 0)
			continue;
		for (uint64_t i = 0; i < min_u64(4096, bytes - at); i += 8)
			memcpy(model + at + i, &(uint64_t){ v * (i / 64 + 1) }, 8);
	}
	write_file(path_in("base.raw"), model, bytes);
}

struct shape {
	const char *name;
	unsigned int cluster_bits;
	const char *options; /* of qemu-img create */
	const char *base;    /* how the base is made from base.raw; NULL: none */
	unsigned int requests;
	bool cow;
	enum aio_engine engine;
};

static void exercise(const struct shape *s)
{
	/* Neither whole clusters nor a whole L2 table of the small ones. */
	uint64_t bytes = MIB(6) + 512 * 77;
	unsigned int cluster = 1u << s->cluster_bits;
	struct disk *disk;

	set_up(s->engine);
	begin(bytes);
	if (s->base) {
		make_base(bytes);
		assert_int_equal(tool(s->base, cluster), 0);
	}
	assert_int_equal(tool("qemu-img create -q -f qcow2 -o cluster_size=%u%s%s %s top.qcow2 %llu",
			      cluster, *s->options ? "," : "", s->options,
			      s->base ? "-b base -F $(test -e base.raw_is_it && echo raw || echo qcow2)" : "",
			      (unsigned long long)bytes),
			 0);
	for (int round = 0; round < (getenv("FULL") ? 3 : 2); round++) {
		disk = open_disk(&(struct disk_config){ .path = path_in("top.qcow2") });
		assert_int_equal(disk->size_bytes, bytes);
		run_requests(disk, s->requests / 3);
		settle(disk);
		memset(discarded, 0, bytes / 512);
		close_disk(disk);
		assert_int_equal(failures, 0);
		write_twin(bytes);
		assert_int_equal(tool("qemu-img check -q top.qcow2"), 0);
		assert_int_equal(tool("qemu-img compare -q -f qcow2 -F raw top.qcow2 twin"), 0);
	}
	end();
	tear_down();
}

#define RAW_BASE    "cp base.raw base; touch base.raw_is_it; true %u"
#define QCOW2_BASE  "qemu-img convert -q -O qcow2 -o cluster_size=%u base.raw base"
#define PACKED_BASE "qemu-img convert -q -c -O qcow2 -o cluster_size=%u base.raw base"
#define ZSTD_BASE   "qemu-img convert -q -c -O qcow2 -o compression_type=zstd,cluster_size=%u base.raw base"

static void every_cluster_size(const char *base, unsigned int requests)
{
	const char *full = getenv("FULL");

	for (unsigned int bits = 9; bits <= 21; bits += full ? 1 : STEP)
		exercise(&(struct shape){
			.cluster_bits = bits,
			.options = "",
			.base = base,
			.requests = requests,
		});
}

static void plain(void **state)
{
	(void)state;
	seed = 1;
	every_cluster_size(NULL, 2600);
}

static void raw_backing(void **state)
{
	(void)state;
	seed = 2;
	every_cluster_size(RAW_BASE, 2600);
}

static void compressed_backing(void **state)
{
	(void)state;
	seed = 3;
	every_cluster_size(PACKED_BASE, 2600);
}

static void other_shapes(void **state)
{
	static const struct shape shapes[] = {
		{ .cluster_bits = 16, .options = "compat=0.10" },
		{ .cluster_bits = 9, .options = "compat=0.10" },
		{ .cluster_bits = 12, .options = "compat=0.10", .base = QCOW2_BASE },
		{ .cluster_bits = 9, .options = "refcount_bits=1" },
		{ .cluster_bits = 10, .options = "refcount_bits=2" },
		{ .cluster_bits = 9, .options = "refcount_bits=4" },
		{ .cluster_bits = 12, .options = "refcount_bits=8" },
		{ .cluster_bits = 9, .options = "refcount_bits=32" },
		{ .cluster_bits = 9, .options = "refcount_bits=64" },
		{ .cluster_bits = 16, .options = "lazy_refcounts=on" },
		{ .cluster_bits = 16, .options = "preallocation=metadata" },
		{ .cluster_bits = 12, .options = "preallocation=falloc" },
		{ .cluster_bits = 16, .options = "preallocation=full" },
		{ .cluster_bits = 16, .options = "", .base = ZSTD_BASE },
		{ .cluster_bits = 16, .options = "", .base = QCOW2_BASE },
		{ .cluster_bits = 16, .options = "", .base = RAW_BASE, .engine = AIO_THREADS },
		{ .cluster_bits = 9, .options = "", .base = PACKED_BASE, .engine = AIO_THREADS },
	};

	(void)state;
	seed = 4;
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct shape s = shapes[i];

#ifdef __SANITIZE_THREAD__
		/* Who hands over to whom does not depend on the format. */
		if (!getenv("FULL") && s.engine != AIO_THREADS)
			continue;
#endif
		s.requests = 2400;
		exercise(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain),
		cmocka_unit_test(raw_backing),
		cmocka_unit_test(compressed_backing),
		cmocka_unit_test(other_shapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
