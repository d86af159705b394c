// SPDX-License-Identifier: GPL-2.0-only
/*
 * A disk that does not answer, beside others that do: their requests and their last flush are
 * done. By what disk-faults.h does to calls, and with a real file system that is frozen, where
 * this user may mount one. Starts threads.
 */
#include "tests/lib/disk.h"
#include "tests/lib/disk-faults.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define NR_EACH	   64		  /* requests of a kind to the disk that hangs */
#define SOON_NS	   20000000000ull /* on a machine with much else to do */
#define GIVE_UP_NS 200000000ull

static char message[4096];
static int frozen_fd = -1; /* the root of a file system */
static bool mounted;	   /* ... in m */
static struct wait_request hung[4 * NR_EACH];
static _Alignas(4096) uint8_t buffers[4 * NR_EACH][4096 + 512];

static void thaw(void)
{
	if (frozen_fd < 0)
		return;
	ioctl(frozen_fd, FITHAW, 0);
	close(frozen_fd);
	frozen_fd = -1;
}

/* After a failure, too: nothing may stay frozen. */
static int stop(void **state)
{
	(void)state;
	alarm(0);
	thaw();
	fault_answer();
	aio_set_limit(aio, 0);
	aio_drain(aio);
	if (mounted)
		tool("umount -l m");
	mounted = false;
	tear_down();
	return 0;
}

/* More of each kind than there are buffers and threads. Not aligned: direct I/O needs buffers. */
static void submit_many(struct disk *disk, bool writes)
{
	const enum disk_operation kinds[] = {
		writes ? DISK_WRITE : DISK_DISCARD, DISK_READ, DISK_FLUSH, DISK_DISCARD
	};

	for (size_t i = 0; i < ARRAY_SIZE(hung); i++)
		start_request(disk, &hung[i], kinds[i % 4], i * 4096, buffers[i] + 8,
			      kinds[i % 4] == DISK_FLUSH ? 0 : 4096);
}

static bool is_over(const struct wait_request *w)
{
	uint64_t deadline = now_ns() + SOON_NS;
	int rc = 0;

	aio_set_limit(aio, deadline);
	while (!rc && !w->done)
		rc = aio_wait(aio);
	aio_set_limit(aio, 0);
	return w->done;
}

static void does(struct disk *disk, enum disk_operation operation, uint64_t offset, void *data, uint64_t bytes)
{
	struct wait_request w;

	start_request(disk, &w, operation, offset, data, bytes);
	if (!is_over(&w))
		fail_msg("%s: operation %d waits for another disk", disk->path, operation);
	assert_int_equal(w.error, 0);
}

static void works(struct disk *disk)
{
	static _Alignas(4096) uint8_t data[4096 + 512], back[4096 + 512];

	memset(data, (int)now_ns() | 1, sizeof(data));
	for (uint64_t at = 0; at < MIB(1); at += KIB(128)) {
		does(disk, DISK_WRITE, at, data + 8, 4096);
		does(disk, DISK_READ, at, back + 8, 4096);
		assert_memory_equal(data + 8, back + 8, 4096);
		does(disk, DISK_DISCARD, at + KIB(64), NULL, KIB(64));
		does(disk, DISK_FLUSH, 0, NULL, 0);
	}
}

/* The first of @disks hangs until @answer(); what is in its image then is nobody's affair. */
static void one_hangs(struct disk *disks[], unsigned int nr, bool writes, void (*answer)(void))
{
	int errors[8], saved;
	uint64_t begin;

	submit_many(disks[0], writes);
	for (unsigned int i = 1; i < nr; i++)
		works(disks[i]);
	saved = begin_capture();
	begin = now_ns();
	aio_set_limit(aio, begin + GIVE_UP_NS + (nr - 1) * 1000000000ull);
	disk_finish_all(disks, nr, errors);
	end_capture(saved, message, sizeof(message));
	assert_true(now_ns() - begin < SOON_NS);
	assert_int_equal(errors[0], DISK_STUCK);
	assert_non_null(strstr(message, disks[0]->path));
	for (unsigned int i = 1; i < nr; i++) {
		assert_int_equal(errors[i], 0);
		assert_null(strstr(message, disks[i]->path));
		disk_close(disks[i]); /* nothing of it is left */
	}
	saved = begin_capture();
	answer();
	aio_set_limit(aio, 0);
	assert_int_equal(aio_drain(aio), 0);
	disk_finish(disks[0]);
	disk_close(disks[0]);
	end_capture(saved, message, sizeof(message));
	for (size_t i = 0; i < ARRAY_SIZE(hung); i++)
		assert_true(hung[i].done);
}

static struct disk *open_one(const char *name, bool direct)
{
	return open_disk(&(struct disk_config){ .path = path_in(name), .direct = direct });
}

/* O_DIRECT where the folder's file system has it, so that buffers are needed, too. */
static bool has_direct(void)
{
	struct disk *disk = NULL;
	int saved = begin_capture();
	int rc = disk_open(&disk, aio, &(struct disk_config){ .path = path_in("raw"), .direct = true });

	end_capture(saved, message, sizeof(message));
	if (!rc)
		close_disk(disk);
	return !rc;
}

static void one_disk_hangs_the_others_go_on(void **state)
{
	(void)state;
	assert_int_equal(tool("truncate -s 2M hangs; truncate -s 2M raw; truncate -s 2M raw2; "
			      "qemu-img create -q -f qcow2 q 2M; qemu-img create -q -f qcow2 hangs-too 2M"),
			 0);
	for (int i = 0; i < 2; i++) {
		const char *name = i ? "hangs-too" : "hangs";
		bool direct = i && has_direct();
		struct disk *disks[4] = {
			open_one(name, direct), open_one("raw", direct), open_one("q", direct),
			open_one("raw2", false)
		};

		fault_hang_file(path_in(name));
		one_hangs(disks, 4, true, fault_answer);
		assert_int_equal(tool("qemu-img check -q q"), 0);
	}
}

/* Each is served although all the others hang. */
static void many_disks_hang_one_goes_on(void **state)
{
	enum { MANY = 8 };
	struct disk *disks[MANY + 1];
	int errors[MANY + 1], saved;

	(void)state;
	aio_destroy(aio);
	assert_int_equal(aio_create(&aio, loop, AIO_THREADS, 64), 0);
	assert_int_equal(tool("truncate -s 2M raw; for i in 0 1 2 3 4 5 6 7; do truncate -s 2M d$i; done"), 0);
	for (int i = 0; i < MANY; i++)
		disks[i] = open_one((char[]){ 'd', (char)('0' + i), 0 }, false);
	disks[MANY] = open_one("raw", false);
	assert_int_equal(aio_start(aio, &no_sandbox), MANY + 1 + 3); /* now that they are there */
	fault_hang_all_but(path_in("raw"));
	for (size_t i = 0; i < ARRAY_SIZE(hung); i++)
		start_request(disks[i % MANY], &hung[i], DISK_FLUSH, 0, NULL, 0);
	works(disks[MANY]);
	saved = begin_capture();
	aio_set_limit(aio, now_ns() + GIVE_UP_NS);
	disk_finish_all(disks, MANY + 1, errors);
	end_capture(saved, message, sizeof(message));
	for (int i = 0; i < MANY; i++)
		assert_int_equal(errors[i], DISK_STUCK);
	assert_int_equal(errors[MANY], 0);
	fault_answer();
	aio_set_limit(aio, 0);
	assert_int_equal(aio_drain(aio), 0);
	for (int i = 0; i <= MANY; i++)
		close_disk(disks[i]);
}

static void a_size_is_looked_up_without_waiting(void **state)
{
	struct disk *disk;

	(void)state;
	assert_int_equal(tool("truncate -s 2M hangs"), 0);
	disk = open_one("hangs", false);
	assert_int_equal(tool("truncate -s 3M hangs"), 0);
	fault_hang_file(path_in("hangs"));
	assert_true(disk_poll_size(disk));
	assert_int_equal(disk->size_bytes, MIB(3));
	fault_answer();
	close_disk(disk);
}

/*
 * More than a round of the loop begins, of clusters that are not there: the last of them end within the
 * disk, without a completion, and the disk's last flush begins all the same.
 */
static void what_ends_without_a_completion_is_noticed(void **state)
{
	enum { READS = 40 };
	static struct wait_request reads[READS];
	uint8_t *data = malloc(MIB(1));
	struct disk *disks[2];
	int errors[2], saved;

	(void)state;
	assert_non_null(data);
	assert_int_equal(tool("truncate -s 2M hangs; qemu-img create -q -f qcow2 q 64M"), 0);
	disks[0] = open_one("hangs", false);
	disks[1] = open_one("q", false);
	fault_hang_file(path_in("hangs"));
	for (size_t i = 0; i < ARRAY_SIZE(hung); i++)
		start_request(disks[0], &hung[i], DISK_FLUSH, 0, NULL, 0);
	does(disks[1], DISK_WRITE, 0, data, 4096);
	for (unsigned int i = 0; i < READS; i++)
		start_request(disks[1], &reads[i], DISK_READ, MIB(20 + i), data, MIB(1));
	assert_false(reads[READS - 1].done);
	saved = begin_capture();
	aio_set_limit(aio, now_ns() + 5 * GIVE_UP_NS);
	disk_finish_all(disks, 2, errors);
	end_capture(saved, message, sizeof(message));
	assert_int_equal(errors[0], DISK_STUCK);
	assert_int_equal(errors[1], 0);
	fault_answer();
	aio_set_limit(aio, 0);
	assert_int_equal(aio_drain(aio), 0);
	close_disk(disks[0]);
	close_disk(disks[1]);
	free(data);
}

/* An error of a host that a disk could be taken for stuck by (a network's file system). */
static void what_the_host_says_is_an_answer(void **state)
{
	struct disk *disk;
	int saved;

	(void)state;
	assert_int_equal(tool("truncate -s 2M raw; qemu-img create -q -f qcow2 q 2M"), 0);
	for (int i = 0; i < 2; i++) {
		disk = open_one(i ? "q" : "raw", false);
		does(disk, DISK_WRITE, 0, buffers[0] + 8, 4096);
		atomic_store(&faults.sync_error, ETIMEDOUT);
		saved = begin_capture();
		assert_int_equal(disk_finish(disk), -ETIMEDOUT);
		end_capture(saved, message, sizeof(message));
		assert_non_null(strstr(message, "may be lost: Connection timed out"));
		atomic_store(&faults.sync_error, 0);
		disk_close(disk); /* nothing of it is in flight */
	}
}

/* ---- an image that grows ---- */

#define STEP KIB(64)

static uint8_t *filled(void)
{
	static _Alignas(4096) uint8_t data[STEP];

	memset(data, 0x5a, sizeof(data));
	return data;
}

/* While its file hangs a write of @disk begins; @other is served. */
static void begin_hung_write(struct disk *disk, struct disk *other, struct wait_request *w, uint64_t at,
			     uint64_t bytes)
{
	static _Alignas(4096) uint8_t back[4096];

	fault_hang_file(disk->path);
	start_request(disk, w, DISK_WRITE, at, filled(), bytes);
	does(other, DISK_READ, 0, back, sizeof(back));
	assert_false(w->done);
}

/*
 * Each write hangs in the first thing that it needs: growth of the file, refcounts, a refcount table,
 * an L2 table or a copy of one. By threads, so that what hung is done in the end.
 */
static void whatever_an_image_needs_may_hang(void **state)
{
	static const struct {
		const char *create;
		uint64_t step, bytes;
	} cases[] = {
		{ "qemu-img create -q -f qcow2 q 32M", STEP, MIB(17) },
		{ "qemu-img create -q -f qcow2 -o cluster_size=512 q 32M", KIB(16), MIB(9) },
		{ "head -c 1M /dev/urandom >r; qemu-img convert -O qcow2 -o cluster_size=512 r q; "
		  "qemu-img snapshot -c one q",
		  KIB(16), MIB(1) },
	};
	struct disk *other, *disk;
	struct wait_request w;

	(void)state;
	assert_int_equal(tool("truncate -s 1M raw"), 0);
	other = open_one("raw", false);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(tool("rm -f q; %s", cases[i].create), 0);
		disk = open_one("q", false);
		for (uint64_t at = 0; at < cases[i].bytes; at += cases[i].step) {
			begin_hung_write(disk, other, &w, at, cases[i].step);
			fault_answer();
			assert_true(is_over(&w));
			assert_int_equal(w.error, 0);
		}
		close_disk(disk);
		assert_int_equal(tool("qemu-img check -q q && head -c %u /dev/zero | tr '\\0' Z >twin && "
				      "qemu-img convert -O raw q whole && cmp -n %u twin whole",
				      (unsigned int)cases[i].bytes, (unsigned int)cases[i].bytes),
				 0);
	}
	close_disk(other);
}

/* Writes until the file of q grows for the second time, or @steps. How many it were. */
static unsigned int write_until_it_grows(struct disk *disk, unsigned int steps)
{
	struct stat st = { 0 };
	unsigned int n = 0;

	for (; n < steps && st.st_size <= (off_t)MIB(16); n++) {
		assert_int_equal(do_request(disk, DISK_WRITE, n * STEP, filled(), STEP), 0);
		assert_int_equal(stat(disk->path, &st), 0);
	}
	return n;
}

/* What hangs is given up within the limit, also growth, a new table and the copy of a shared one. */
static void an_image_that_hangs_as_it_grows_is_given_up(void **state)
{
	enum {
		GROWS,
		TABLE,
		COPY,
		CASES,
	};
	unsigned int steps = 1000;
	struct wait_request w;

	(void)state;
	assert_int_equal(tool("truncate -s 1M raw"), 0);
	for (int i = -1; i < CASES; i++) {
		struct disk *disks[2];
		int errors[2], saved;

		assert_int_equal(tool("qemu-img create -q -f qcow2 q 1G && qemu-io -f qcow2 -c 'write 512M 64k' q && "
				      "qemu-img snapshot %s q",
				      i == COPY ? "-c one" : "-l"),
				 0);
		disks[0] = open_one("q", false);
		disks[1] = open_one("raw", false);
		if (i <= GROWS) /* the first time only to see when */
			steps = write_until_it_grows(disks[0], steps) - 1;
		else
			write_until_it_grows(disks[0], 1);
		if (i >= 0) {
			begin_hung_write(disks[0], disks[1], &w,
					 i == GROWS ? steps * STEP :
					 i == TABLE ? MIB(1000) - STEP :
						      MIB(512),
					 STEP);
			saved = begin_capture();
			aio_set_limit(aio, now_ns() + GIVE_UP_NS);
			disk_finish_all(disks, 2, errors);
			assert_int_equal(errors[0], DISK_STUCK);
			assert_int_equal(errors[1], 0);
			fault_answer();
			aio_set_limit(aio, 0);
			assert_int_equal(aio_drain(aio), 0);
			end_capture(saved, message, sizeof(message));
			assert_true(w.done);
		}
		saved = begin_capture();
		disk_finish(disks[0]);
		end_capture(saved, message, sizeof(message));
		disk_close(disks[0]);
		disk_close(disks[1]);
	}
}

/* ---- a file system that is frozen ---- */

static bool mount_small(void)
{
	mounted = !tool("truncate -s 64M fs && mkfs.ext4 -q fs && mkdir m && mount -o loop fs m");
	return mounted;
}

static void a_frozen_file_system_holds_up_its_own_disk(void **state)
{
	struct disk *disks[3];

	if (!mount_small()) {
		print_message("# cannot mount a file system of its own\n");
		skip();
	}
	assert_int_equal(tool("fallocate -l 2M m/raw; sync; truncate -s 2M raw; qemu-img create -q -f qcow2 q 2M"), 0);
	disks[0] = open_one("m/raw", false);
	disks[1] = open_one("raw", false);
	disks[2] = open_one("q", false);
	frozen_fd = open(path_in("m"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(ioctl(frozen_fd, FIFREEZE, 0), 0);
	/* No writes by io_uring: two files may share a queue for them in the kernel (disk/aio.c). */
	one_hangs(disks, 3, *state, thaw);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, start_uring, stop), \
		 cmocka_unit_test_setup_teardown(fn, start_threads, stop)
	const struct CMUnitTest tests[] = {
		TEST(one_disk_hangs_the_others_go_on),
		cmocka_unit_test_setup_teardown(many_disks_hang_one_goes_on, start_threads, stop),
		cmocka_unit_test_setup_teardown(a_size_is_looked_up_without_waiting, start_uring, stop),
		cmocka_unit_test_setup_teardown(whatever_an_image_needs_may_hang, start_threads, stop),
		cmocka_unit_test_setup_teardown(what_the_host_says_is_an_answer, start_threads, stop),
		TEST(an_image_that_hangs_as_it_grows_is_given_up),
		TEST(what_ends_without_a_completion_is_noticed),
		TEST(a_frozen_file_system_holds_up_its_own_disk),
	};

	return cmocka_run_group_tests_name("disk-hang", tests, NULL, NULL);
}
