// SPDX-License-Identifier: GPL-2.0-only
/*
 * qcow2: what waits goes on. Lists that are full, flushes that never stop, a full host;
 * clusters that change hands; what the header promises. Each with io_uring and with threads;
 * who hangs is ended by SIGALRM.
 * Starts threads as disk.c does, whose turn with the thread sanitizer is enough but in check-all.
 */
#include "tests/lib/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define MAX_WAIT 8u /* flushes */
#define CLUSTER	 KIB(64)

static char message[4096];

static int stop(void **state)
{
	(void)state;
	alarm(0);
	tear_down();
	return 0;
}

/* ---- the list of clusters to be freed is full ---- */

/* Writes @nr clusters, each with its number, in an order in which no two neighbours meet. */
static void write_scattered(struct disk *disk, uint64_t nr, uint64_t cluster)
{
	uint64_t *data = calloc(1, cluster);

	for (uint64_t i = 0; i < nr; i++) {
		uint64_t n = i * 7919 % nr;

		data[0] = data[cluster / 8 - 1] = n;
		assert_int_equal(do_request(disk, DISK_WRITE, n * cluster, data, cluster), 0);
	}
	free(data);
	assert_int_equal(do_request(disk, DISK_FLUSH, 0, NULL, 0), 0);
}

/* Discards all of it in @nr requests at once. */
static void discard_all(struct disk *disk, uint64_t bytes, unsigned int nr)
{
	static struct wait_request w[8];

	for (unsigned int i = 0; i < nr; i++) {
		w[i] = (struct wait_request){
			.req = {
				.operation = DISK_DISCARD,
				.done = wait_done,
				.offset = bytes / nr * i,
				.bytes = bytes / nr,
			},
		};
		disk_submit(disk, &w[i].req);
	}
	aio_drain(aio);
	for (unsigned int i = 0; i < nr; i++)
		assert_true(w[i].done && !w[i].error);
}

static void more_is_discarded_than_can_be_noted(void **state)
{
	static const struct {
		uint64_t cluster, nr;
		unsigned int requests;
		bool cow;
	} cases[] = {
		{ 4096, 2000, 1, false },
		{ 4096, 4000, 4, false },
		{ 512, 6000, 8, false },
		{ CLUSTER, 1400, 1, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t bytes = cases[i].nr * cases[i].cluster;
		const struct disk_config c = { .path = path_in("q"), .cow = cases[i].cow };
		struct disk *disk;
		uint8_t data[512];

		assert_int_equal(tool("rm -f q; qemu-img create -q -f qcow2 -o cluster_size=%u q 1G",
				      (unsigned int)cases[i].cluster),
				 0);
		disk = open_disk(&c);
		write_scattered(disk, cases[i].nr, cases[i].cluster);
		discard_all(disk, bytes, cases[i].requests);
		assert_int_equal(do_request(disk, DISK_READ, bytes / 2, data, 512), 0);
		assert_int_equal(data[0], 0);
		close_disk(disk);
		assert_int_equal(tool("qemu-img check -q q"), 0); /* nothing leaks either */
	}
}

/* ---- many at a time, each followed by the next ---- */

static struct writer {
	struct disk_request req; /* first */
	struct iovec iov;
	struct disk *disk;
} writers[32];
static uint8_t *written;
static uint64_t next_cluster, nr_clusters;

static void writer_done(struct disk_request *req, int error);

static void write_next(struct writer *w)
{
	uint64_t n = next_cluster++ * 7919 % nr_clusters;

	w->iov = (struct iovec){ written, 4096 };
	w->req = (struct disk_request){
		.operation = DISK_WRITE,
		.offset = n * 4096,
		.bytes = 4096,
		.iov = &w->iov,
		.nr_iov = 1,
		.done = writer_done,
	};
	disk_submit(w->disk, &w->req);
}

static void writer_done(struct disk_request *req, int error)
{
	assert_int_equal(error, 0);
	if (next_cluster < nr_clusters)
		write_next((struct writer *)req);
}

/* A raw image of which each cluster can be compressed to three quarters. */
static void write_compressible(const char *name, uint64_t bytes)
{
	uint8_t *data = malloc(bytes);
	uint64_t seed = 5;

	for (uint64_t i = 0; i < bytes; i++)
		data[i] = random_u64(&seed) & 63;
	write_file(path_in(name), data, bytes);
	free(data);
}

/* Each write frees a compressed cluster, and a hole has to be made for most of them. */
static void compressed_clusters_are_overwritten(void **state)
{
	struct disk *disk;

	(void)state;
	nr_clusters = 3200;
	next_cluster = 0;
	written = malloc(4096);
	memset(written, 7, 4096);
	write_compressible("raw", nr_clusters * 4096);
	assert_int_equal(tool("qemu-img convert -q -c -f raw -O qcow2 -o cluster_size=4096 raw q"), 0);
	disk = open_disk(&(struct disk_config){ .path = path_in("q") });
	for (size_t i = 0; i < ARRAY_SIZE(writers); i++) {
		writers[i].disk = disk;
		write_next(&writers[i]);
	}
	aio_drain(aio);
	assert_true(next_cluster >= nr_clusters);
	close_disk(disk);
	assert_int_equal(tool("qemu-img check -q q && head -c %u /dev/zero | tr '\\0' '\\7' >raw && "
			      "qemu-img compare -q -f raw -F qcow2 raw q",
			      3200 * 4096),
			 0);
	free(written);
}

/* ---- flushes that never stop ---- */

static struct stream {
	struct disk_request req; /* first */
	struct disk *disk;
	struct event_deferred again;
} streams[3];
static unsigned int flushes, streams_on;

static void flush_again(void *arg)
{
	struct stream *s = arg;

	s->req.operation = DISK_FLUSH;
	disk_submit(s->disk, &s->req);
}

static void stream_done(struct disk_request *req, int error)
{
	struct stream *s = (struct stream *)req;

	assert_int_equal(error, 0);
	flushes++;
	if (streams_on && flushes < 1000)
		event_defer(loop, &s->again);
}

static void start_streams(struct disk *disk, unsigned int nr)
{
	flushes = 0;
	streams_on = nr;
	for (unsigned int i = 0; i < nr; i++) {
		streams[i] = (struct stream){ .req.done = stream_done, .disk = disk };
		streams[i].again = (struct event_deferred){ .fn = flush_again, .arg = &streams[i] };
		flush_again(&streams[i]);
	}
}

/* A request that is followed by others, and how many flushes its longest wait was. */
static struct waiting {
	struct disk_request req; /* first */
	struct iovec iov;
	struct disk *disk;
	struct event_deferred again;
	unsigned int nr, left, since;
} waiting[16];
static unsigned int longest, still_waiting;

static void wait_next(void *arg)
{
	static const enum disk_operation operations[] = {
		DISK_WRITE, DISK_WRITE, DISK_DISCARD, DISK_WRITE, DISK_WRITE_ZEROES
	};
	struct waiting *w = arg;

	w->since = flushes;
	w->iov = (struct iovec){ written, 4096 };
	w->req.operation = operations[w->left % ARRAY_SIZE(operations)];
	w->req.offset = (w->nr + w->left / 5 * ARRAY_SIZE(waiting)) * CLUSTER;
	w->req.bytes = w->req.operation == DISK_WRITE ? 4096 : CLUSTER;
	w->req.iov = &w->iov;
	w->req.nr_iov = 1;
	w->req.unmap = true;
	disk_submit(w->disk, &w->req);
}

static void waiting_done(struct disk_request *req, int error)
{
	struct waiting *w = (struct waiting *)req;

	assert_int_equal(error, 0);
	if (flushes - w->since > longest)
		longest = flushes - w->since;
	if (--w->left)
		event_defer(loop, &w->again);
	else if (!--still_waiting)
		streams_on = 0;
}

/* @nr requests at a time, @left one after the other, while others do nothing but flush. */
static void wait_beside_streams(struct disk *disk, unsigned int nr, unsigned int left)
{
	still_waiting = nr;
	longest = 0;
	for (unsigned int i = 0; i < nr; i++) {
		waiting[i] = (struct waiting){
			.disk = disk,
			.nr = i,
			.left = left,
			.req.done = waiting_done,
		};
		waiting[i].again = (struct event_deferred){ .fn = wait_next, .arg = &waiting[i] };
		wait_next(&waiting[i]);
	}
	do
		aio_drain(aio); /* it may leave what was deferred last */
	while (still_waiting);
	print_message("# the longest wait: %u flushes\n", longest);
	assert_true(longest <= MAX_WAIT);
}

static void flushes_do_not_starve_others(void **state)
{
	(void)state;
	written = malloc(4096);
	memset(written, 7, 4096);
	for (unsigned int nr = 1; nr <= 3; nr++) {
		struct disk *disk;

		assert_int_equal(tool("rm -f q; qemu-img create -q -f qcow2 q 1G"), 0);
		disk = open_disk(&(struct disk_config){ .path = path_in("q") });
		start_streams(disk, nr);
		wait_beside_streams(disk, nr == 1 ? 1 : ARRAY_SIZE(waiting), 10);
		close_disk(disk);
		assert_int_equal(tool("qemu-img check -q q"), 0);
	}
	free(written);
}

/* ---- clusters that change hands ---- */

static uint64_t field(const char *name, uint64_t offset)
{
	int fd = open(path_in(name), O_RDONLY);
	uint64_t v;

	assert_int_equal(pread(fd, &v, 8, (off_t)offset), 8);
	close(fd);
	return be64toh(v);
}

static void set_field(const char *name, uint64_t offset, uint64_t v)
{
	int fd = open(path_in(name), O_WRONLY);

	v = htobe64(v);
	assert_int_equal(pwrite(fd, &v, 8, (off_t)offset), 8);
	close(fd);
}

static void write_value(struct disk *disk, uint64_t offset, uint64_t bytes, uint8_t value)
{
	uint8_t *data = malloc(bytes);

	memset(data, value, bytes);
	assert_int_equal(do_request(disk, DISK_WRITE, offset, data, bytes), 0);
	free(data);
}

static void has_value(struct disk *disk, uint64_t offset, uint64_t bytes, uint8_t value)
{
	uint8_t *data = malloc(bytes);

	assert_int_equal(do_request(disk, DISK_READ, offset, data, bytes), 0);
	for (uint64_t i = 0; i < bytes; i++)
		if (data[i] != value)
			fail_msg("byte %llu is %u, not %u", (unsigned long long)(offset + i),
				 data[i], value);
	free(data);
}

/*
 * An L1 entry that does not say that its table is ours alone: the table is copied, its
 * cluster becomes free and then another table, while the cache has slices of the old one.
 */
static void slices_of_a_freed_table_are_forgotten(void **state)
{
	struct disk *disk;
	uint64_t l1;

	(void)state;
	assert_int_equal(tool("qemu-img create -q -f qcow2 q 1G; "
			      "qemu-io -f qcow2 -c 'write -P 1 0 1M' q >/dev/null"),
			 0);
	l1 = field("q", 40);
	set_field("q", l1, field("q", l1) & ~(1ull << 63));
	disk = open_disk(&(struct disk_config){ .path = path_in("q") });
	has_value(disk, 0, MIB(1), 1);
	write_value(disk, 0, CLUSTER, 2);
	for (int i = 0; i < 3; i++)
		assert_int_equal(do_request(disk, DISK_FLUSH, 0, NULL, 0), 0);
	has_value(disk, MIB(512), MIB(1), 0);
	write_value(disk, MIB(512), MIB(1), 3);
	assert_int_equal(do_request(disk, DISK_FLUSH, 0, NULL, 0), 0);
	has_value(disk, 0, CLUSTER, 2);
	has_value(disk, CLUSTER, MIB(1) - CLUSTER, 1);
	has_value(disk, MIB(512), MIB(1), 3);
	close_disk(disk);
	assert_int_equal(tool("qemu-img check -q q && ! qemu-io -f qcow2 -c 'read -P 2 0 64k' "
			      "-c 'read -P 1 64k 960k' -c 'read -P 3 512M 1M' q | grep -q failed"),
			 0);
}

/* ---- the header ---- */

static void opening_changes_nothing(void **state)
{
	struct disk *disk;
	uint8_t data[512];
	int saved;

	(void)state;
	assert_int_equal(tool("qemu-img create -q -f qcow2 q 64M; qemu-img bitmap --add q b; "
			      "cp -p q as-it-was; touch -d 2001-01-01 q"),
			 0);
	assert_int_equal(field("q", 88), 1);
	disk = open_disk(&(struct disk_config){ .path = path_in("q") });
	assert_int_equal(do_request(disk, DISK_READ, 0, data, 512), 0);
	assert_int_equal(do_request(disk, DISK_FLUSH, 0, NULL, 0), 0);
	close_disk(disk);
	assert_int_equal(tool("cmp q as-it-was && test $(stat -c %%Y q) = $(date -d 2001-01-01 +%%s)"), 0);

	/* The first write says so, in the file before anything else. */
	disk = open_disk(&(struct disk_config){ .path = path_in("q") });
	saved = begin_capture();
	assert_int_equal(do_request(disk, DISK_DISCARD, 0, NULL, MIB(1)), 0);
	assert_int_equal(field("q", 88), 0);
	write_value(disk, 0, 512, 1);
	end_capture(saved, message, sizeof(message));
	assert_non_null(strstr(message, "bitmaps"));
	assert_null(strstr(strstr(message, "bitmaps") + 1, "bitmaps"));
	close_disk(disk);
	/* 3: the bitmap's clusters leak. */
	assert_int_equal(tool("qemu-img check -q q; test $? = 0 -o $? = 3"), 0);
}

/* ---- a full host ---- */

/*
 * What was acknowledged can be flushed although the host is full, again and again, and whatever
 * had been written then is there.
 */
static void a_full_host_fails_no_flush(void **state)
{
	static uint8_t data[KIB(512)];
	char dir[80];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/small", folder);
	assert_int_equal(mkdir(dir, 0700), 0);
	if (mount("tmpfs", dir, "tmpfs", 0, "size=8m")) {
		print_message("# cannot mount a small tmpfs: %s\n", strerror(errno));
		skip();
	}
	for (unsigned int bits = 9; bits <= 16; bits++) {
		uint64_t cluster = 1u << bits, per_table = cluster / 8 * cluster;
		uint64_t bytes = bits % 2 ? KIB(4) : KIB(512), step = bits % 3 ? bytes : per_table, at;
		struct disk *disk;
		int saved, rc;

		/* With some sizes each write needs an L2 table, too. */
		assert_int_equal(tool("rm -f small/*; "
				      "qemu-img create -q -f qcow2 -o cluster_size=%u small/q %llu; "
				      "dd if=/dev/zero of=small/ballast bs=64k count=%u 2>/dev/null",
				      1u << bits, (unsigned long long)(4096 * per_table), 100 + bits),
				 0);
		disk = open_disk(&(struct disk_config){ .path = path_in("small/q") });
		saved = begin_capture();
		memset(data, 3, sizeof(data));
		for (at = 0, rc = 0; !rc && at + bytes <= disk->size_bytes; at += step) {
			rc = do_request(disk, DISK_WRITE, at, data, bytes);
			if (!rc && at == 0)
				assert_int_equal(do_request(disk, DISK_FLUSH, 0, NULL, 0), 0);
		}
		end_capture(saved, message, sizeof(message));
		if (rc != -ENOSPC)
			fail_msg("clusters of %u bytes: %d, not ENOSPC", 1u << bits, rc);
		at -= step;
		for (int i = 0; i < 3; i++)
			if ((rc = do_request(disk, DISK_FLUSH, 0, NULL, 0)))
				fail_msg("clusters of %u bytes: flush %d: %d", 1u << bits, i, rc);
		for (uint64_t o = 0; o < at; o += step) {
			memset(data, 0, sizeof(data));
			assert_int_equal(do_request(disk, DISK_READ, o, data, bytes), 0);
			assert_int_equal(data[bytes - 1], 3);
		}
		close_disk(disk);
		assert_int_equal(tool("qemu-img check -q small/q"), 0); /* nothing leaks */
	}
	assert_int_equal(umount(dir), 0);
}

/* ---- fstrim ---- */

/* Writes scattered files, deletes some, trims: as fstrim(8) does, in ranges of any length. */
static void trim_once(uint64_t *seed, unsigned int bits)
{
	const uint64_t bytes = MIB(8), sectors = bytes / 512;
	uint8_t *model = calloc(1, bytes), *data = malloc(KIB(64));
	struct disk *disk;

	assert_int_equal(tool("rm -f q; qemu-img create -q -f qcow2 -o cluster_size=%u q 8M",
			      1u << bits),
			 0);
	disk = open_disk(&(struct disk_config){ .path = path_in("q") });
	for (unsigned int i = 0; i < 400; i++) {
		uint64_t at = random_u64(seed) % sectors * 512;
		uint64_t n = min_u64(512 * (1 + random_u64(seed) % 32), bytes - at);

		memset(data, (int)i, n);
		memset(model + at, (int)i, n);
		assert_int_equal(do_request(disk, DISK_WRITE, at, data, n), 0);
	}
	assert_int_equal(do_request(disk, DISK_FLUSH, 0, NULL, 0), 0);
	for (uint64_t at = 0; at < bytes;) {
		uint64_t n = min_u64(512 * (1 + random_u64(seed) % 512), bytes - at);

		if (random_u64(seed) % 3) {
			assert_int_equal(do_request(disk, DISK_DISCARD, at, NULL, n), 0);
			assert_int_equal(do_request(disk, DISK_READ, at, model + at, n), 0);
		}
		at += n;
	}
	close_disk(disk);
	write_file(path_in("twin"), model, bytes);
	assert_int_equal(tool("qemu-img check -q q && qemu-img compare -q -f qcow2 -F raw q twin"), 0);
	free(model);
	free(data);
}

static void trims_leave_nothing_behind(void **state)
{
	const char *full = getenv("FULL");
	unsigned int runs = full && *full ? 100 : 4; /* with each engine */
	uint64_t seed = 17;

	(void)state;
	for (unsigned int i = 0; i < runs; i++) {
		alarm(HANG_SECONDS);
		trim_once(&seed, 9 + i * 3 % 8);
	}
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, start_uring, stop), \
		 cmocka_unit_test_setup_teardown(fn, start_threads, stop)
	const struct CMUnitTest tests[] = {
		TEST(more_is_discarded_than_can_be_noted),
		TEST(compressed_clusters_are_overwritten),
		TEST(flushes_do_not_starve_others),
		TEST(slices_of_a_freed_table_are_forgotten),
		TEST(opening_changes_nothing),
		TEST(a_full_host_fails_no_flush),
		TEST(trims_leave_nothing_behind),
	};

	return cmocka_run_group_tests_name("qcow2-waiting", tests, NULL, NULL);
}
