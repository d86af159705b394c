// SPDX-License-Identifier: GPL-2.0-only
/*
 * qcow2: a crash at any moment. The program's own writes to the image and its syncs are noted; then
 * images are made as a crash of the host may leave them: what a sync has made durable, and of what
 * came later any part. qemu-img finds at most clusters that leak in them.
 *
 * SEED=n for other ones, FULL=1 for more. Starts threads.
 */
#include "tests/lib/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_CALLS 20000u

enum call_kind {
	CALL_WRITE,
	CALL_ALLOCATE,
	CALL_SYNC,
};

/* A system call about the image; @begin and @end are moments. */
static struct call {
	enum call_kind kind;
	int mode;
	uint64_t offset, bytes;
	uint8_t *data;
	unsigned int begin, end; /* end 0: it goes on */
} calls[MAX_CALLS];
static unsigned int nr_calls, moment;
static ino_t noted_inode; /* 0: nothing is noted */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t seed;

/* ---- noting ---- */

static struct call *begin_call(int fd, const struct call *values)
{
	struct call *c = NULL;
	struct stat st;

	pthread_mutex_lock(&lock);
	if (noted_inode && !fstat(fd, &st) && st.st_ino == noted_inode) {
		assert_true(nr_calls < MAX_CALLS);
		c = &calls[nr_calls++];
		*c = *values;
		c->begin = ++moment;
	}
	pthread_mutex_unlock(&lock);
	return c;
}

static void end_call(struct call *c)
{
	pthread_mutex_lock(&lock);
	if (c)
		c->end = ++moment;
	pthread_mutex_unlock(&lock);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int nr, off_t offset, int flags)
{
	struct call values = { .kind = CALL_WRITE, .offset = (uint64_t)offset }, *c;
	ssize_t n;

	for (int i = 0; i < nr; i++) {
		values.data = realloc(values.data, values.bytes + iov[i].iov_len + 1);
		memcpy(values.data + values.bytes, iov[i].iov_base, iov[i].iov_len);
		values.bytes += iov[i].iov_len;
	}
	c = begin_call(fd, &values);
	n = syscall(SYS_pwritev2, fd, iov, nr, offset, 0, flags);
	if (c)
		end_call(c);
	else
		free(values.data);
	return n;
}

int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
	const struct call values = {
		.kind = CALL_ALLOCATE,
		.mode = mode,
		.offset = (uint64_t)offset,
		.bytes = (uint64_t)bytes,
	};
	struct call *c = begin_call(fd, &values);
	int rc = (int)syscall(SYS_fallocate, fd, mode, offset, bytes);

	end_call(c);
	return rc;
}

int fdatasync(int fd)
{
	end_call(begin_call(fd, &(struct call){ .kind = CALL_SYNC }));
	return 0; /* this host will not crash */
}

/* ---- crashing ---- */

static bool is_durable(const struct call *c, unsigned int crash)
{
	for (unsigned int i = 0; i < nr_calls; i++)
		if (calls[i].kind == CALL_SYNC && c->end && calls[i].begin > c->end &&
		    calls[i].end && calls[i].end < crash)
			return true;
	return false;
}

static void do_again(int fd, const struct call *c)
{
	if (c->kind == CALL_WRITE)
		assert_int_equal(pwrite(fd, c->data, c->bytes, (off_t)c->offset), c->bytes);
	else
		assert_int_equal(syscall(SYS_fallocate, fd, c->mode, c->offset, c->bytes), 0);
}

/* What a crash at moment @crash leaves of each write after the last sync: it or not, @percent are. */
static void check_crash(unsigned int crash, unsigned int percent)
{
	int fd, rc;

	assert_int_equal(tool("cp before crashed"), 0);
	fd = open(path_in("crashed"), O_RDWR);
	for (unsigned int i = 0; i < nr_calls; i++) {
		const struct call *c = &calls[i];

		if (c->kind != CALL_SYNC && c->begin < crash &&
		    (is_durable(c, crash) || random_u64(&seed) % 100 < percent))
			do_again(fd, c);
	}
	/* Its size is what the file system had: that of the last write, whether its data came or not. */
	for (unsigned int i = 0; i < nr_calls; i++)
		if (calls[i].kind == CALL_WRITE && calls[i].begin < crash &&
		    (uint64_t)lseek(fd, 0, SEEK_END) < calls[i].offset + calls[i].bytes)
			assert_int_equal(ftruncate(fd, (off_t)(calls[i].offset + calls[i].bytes)), 0);
	close(fd);
	/* 3: clusters leak. */
	rc = tool("qemu-img check -q crashed; rc=$?; test $rc = 0 -o $rc = 3");
	if (rc)
		fail_msg("a crash at moment %u of %u, with %u percent", crash, moment, percent);
}

/* The end of a stage is the moment at which most is not durable yet. */
static unsigned int random_moment(void)
{
	unsigned int i = (unsigned int)(random_u64(&seed) % nr_calls), first = i;

	while (calls[i].kind != CALL_SYNC && i + 1 < nr_calls)
		i++;
	return random_u64(&seed) % 4 ? calls[i].begin : calls[first].begin + 1;
}

static void start_noting(void)
{
	struct stat st;

	assert_int_equal(tool("cp img before"), 0);
	assert_int_equal(stat(path_in("img"), &st), 0);
	nr_calls = moment = 0;
	noted_inode = st.st_ino;
}

static void stop_noting(void)
{
	noted_inode = 0;
	for (unsigned int i = 0; i < nr_calls; i++)
		free(calls[i].data);
}

/* New clusters in new tables, flushes, discards: in an image of @cluster bytes. */
static void write_a_lot(struct disk *disk, uint64_t cluster, unsigned int nr)
{
	uint8_t *data = malloc(64 * cluster);

	memset(data, 7, 64 * cluster);
	for (unsigned int i = 0; i < nr; i++) {
		uint64_t at = align_down(random_u64(&seed) % (disk->size_bytes - 64 * cluster), cluster);

		assert_int_equal(do_request(disk, i % 5 == 4 ? DISK_DISCARD : DISK_WRITE, at, data,
					    cluster * (1 + random_u64(&seed) % 64)),
				 0);
		if (i % 4 == 3)
			assert_int_equal(do_request(disk, DISK_FLUSH, 0, NULL, 0), 0);
	}
	free(data);
}

static void crashes_leave_the_image_whole(void **state)
{
	static const struct {
		unsigned int cluster, nr;
	} cases[] = { { 512, 600 }, { 4096, 300 } };
	const char *given = getenv("SEED");
	unsigned int crashes = getenv("FULL") ? 1000 : 24;

	(void)state;
	seed = (given ? strtoull(given, NULL, 0) : 1) * 0x9e3779b97f4a7c15ull | 1;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct disk *disk;

		alarm(HANG_SECONDS);
		assert_int_equal(tool("rm -f img; qemu-img create -q -f qcow2 -o cluster_size=%u img 64M",
				      cases[i].cluster),
				 0);
		start_noting();
		disk = open_disk(&(struct disk_config){ .path = path_in("img") });
		write_a_lot(disk, cases[i].cluster, cases[i].nr);
		close_disk(disk);
		for (unsigned int n = 0; n < crashes; n++)
			check_crash(random_moment(), n % 3 * 40 + 10);
		stop_noting();
	}
}

static int stop(void **state)
{
	(void)state;
	alarm(0);
	tear_down();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(crashes_leave_the_image_whole, start_threads, stop),
	};

	return cmocka_run_group_tests_name("qcow2-crash", tests, NULL, NULL);
}
