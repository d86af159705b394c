// SPDX-License-Identifier: GPL-2.0-only
/*
 * Opening disks: which files, formats, locks and backing files; what a full disk, a
 * truncated file and a hostile image do; snapshots; sizes. And raw images.
 * Starts threads.
 */
#include "tests/lib/disk.h"
#include "tests/lib/disk-faults.h"

#include "disk/file.h"
#include "disk/partition.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char message[4096];

/* The error of an attempt to open; what was said is in message[]. */
static int try_open(const struct disk_config *config)
{
	struct disk *disk = NULL;
	int saved = begin_capture(), rc = disk_open(&disk, aio, config);

	end_capture(saved, message, sizeof(message));
	if (!rc)
		close_disk(disk);
	return rc;
}

static void refused(const struct disk_config *config, const char *why)
{
	int rc = try_open(config);

	if (!rc || !strstr(message, why) || !strstr(message, config->path))
		fail_msg("wanted [%s], got %d [%s]", why, rc, message);
}

static int start(void **state)
{
	(void)state;
	set_up(AIO_AUTO);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	alarm(0);
	tear_down();
	return 0;
}

static void only_files_and_devices(void **state)
{
	(void)state;
	assert_int_equal(tool("mkdir dir; mkfifo fifo; touch empty; truncate -s 1M ro; chmod 400 ro"), 0);
	refused(&(struct disk_config){ .path = path_in("none") }, "No such file");
	refused(&(struct disk_config){ .path = path_in("dir") }, "directory");
	refused(&(struct disk_config){ .path = path_in("fifo") }, "regular file or a block device");
	refused(&(struct disk_config){ .path = path_in("empty") }, "empty");
	refused(&(struct disk_config){ .path = path_in("empty"), .cow = true }, "empty");
	refused(&(struct disk_config){ .path = "/dev/null" }, "regular file or a block device");
}

static void formats_are_not_guessed_dangerously(void **state)
{
	static const char *const others[] = {
		"vmdk", "vdi", "vhdx", "vpc", "vpc -o subformat=fixed", "qed", "parallels"
	};
	static const char *const packers[] = { "gzip", "xz", "bzip2", "zstd", "lz4" };
	char sector[512] = { 0 };
	struct disk *disk;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		assert_int_equal(tool("qemu-img create -q -f %s other 4M", others[i]), 0);
		refused(&(struct disk_config){ .path = path_in("other") }, "looks like a");
		assert_int_equal(try_open(
					 &(struct disk_config){
						 .path = path_in("other"),
						 .format = DISK_FORMAT_RAW,
					 }),
				 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(packers); i++) {
		char command[32];

		if (tool("command -v %s >/dev/null", packers[i]))
			continue;
		assert_int_equal(tool("yes | head -c 4M | %s -c >packed", packers[i]), 0);
		snprintf(command, sizeof(command), "unpack it: %s -dc ", packers[i]);
		refused(&(struct disk_config){ .path = path_in("packed"), .cow = true }, command);
		refused(&(struct disk_config){ .path = path_in("packed") }, "format=raw");
	}
	assert_int_equal(tool("truncate -s 4M raw; qemu-img create -q -f qcow2 q 4M"), 0);
	refused(&(struct disk_config){ .path = path_in("raw"), .format = DISK_FORMAT_QCOW2 },
		"not a qcow2 image");
	disk = open_disk(&(struct disk_config){ .path = path_in("q") });
	assert_string_equal(disk->ops->format, "qcow2");
	close_disk(disk);
	disk = open_disk(&(struct disk_config){ .path = path_in("q"), .format = DISK_FORMAT_RAW });
	assert_string_equal(disk->ops->format, "raw");
	close_disk(disk);
	/* A guest cannot turn what was taken for raw into something else. */
	disk = open_disk(&(struct disk_config){ .path = path_in("raw") });
	memcpy(sector, "QFI\xfb", 4);
	assert_int_equal(do_request(disk, DISK_WRITE, 0, sector, 512), -EPERM);
	memcpy(sector, "fine", 4);
	assert_int_equal(do_request(disk, DISK_WRITE, 0, sector, 512), 0);
	memset(sector, 0, 512);
	assert_int_equal(do_request(disk, DISK_READ, 0, sector, 512), 0);
	assert_memory_equal(sector, "fine", 4);
	close_disk(disk);
	/* ... unless it is told that it is raw. */
	disk = open_disk(&(struct disk_config){ .path = path_in("raw"), .format = DISK_FORMAT_RAW });
	memcpy(sector, "QFI\xfb", 4);
	assert_int_equal(do_request(disk, DISK_WRITE, 0, sector, 512), 0);
	close_disk(disk);
}

/* Three buffers, the first block across two of them, the rest behind it. */
static void the_first_block_may_be_split(void **state)
{
	uint8_t data[3 * 512], back[3 * 512];
	struct disk *disk;
	struct iovec iov[3] = { { data, 100 }, { data + 100, 700 }, { data + 800, sizeof(data) - 800 } };
	struct wait_request w = {
		.req = {
			.operation = DISK_WRITE,
			.bytes = sizeof(data),
			.iov = iov,
			.nr_iov = 3,
			.done = wait_done,
		},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 3);
	assert_int_equal(tool("truncate -s 1M raw"), 0);
	disk = open_disk(&(struct disk_config){ .path = path_in("raw") });
	disk_submit(disk, &w.req);
	aio_drain(aio);
	assert_true(w.done);
	assert_int_equal(w.error, 0);
	assert_int_equal(do_request(disk, DISK_READ, 0, back, sizeof(back)), 0);
	assert_memory_equal(data, back, sizeof(data));
	close_disk(disk);
}

/* A read first, which is the first of its round; then zeroes over data, twice. */
static void each_of_a_round_does_its_work(void **state)
{
	static const enum disk_operation operations[] = { DISK_WRITE_ZEROES, DISK_DISCARD };
	static uint8_t data[3 * 65536], zeros[65536], other[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		struct wait_request read, first, second;
		struct disk *disk;

		assert_int_equal(tool("rm -f raw; truncate -s 4M raw"), 0);
		disk = open_disk(&(struct disk_config){ .path = path_in("raw"), .format = DISK_FORMAT_RAW });
		memset(data, 0xaa, sizeof(data));
		assert_int_equal(do_request(disk, DISK_WRITE, MIB(1), data, sizeof(data)), 0);
		start_request(disk, &read, DISK_READ, 0, other, sizeof(other));
		start_request(disk, &first, operations[i], MIB(1), NULL, 65536);
		start_request(disk, &second, operations[i], MIB(1) + 131072, NULL, 65536);
		aio_drain(aio);
		assert_true(read.done && first.done && second.done);
		assert_int_equal(read.error | first.error | second.error, 0);
		assert_int_equal(do_request(disk, DISK_READ, MIB(1), data, sizeof(data)), 0);
		assert_memory_equal(data, zeros, 65536);
		assert_int_equal(data[65536], 0xaa);
		assert_int_equal(data[131071], 0xaa);
		assert_memory_equal(data + 131072, zeros, 65536);
		close_disk(disk);
	}
}

/* What was checked is what is written, whatever a vCPU does to its buffer meanwhile. */
static void the_first_block_is_the_one_that_was_checked(void **state)
{
	uint8_t sector[512] = "fine", other[512], back[512];
	struct wait_request read, write;
	struct disk *disk;

	(void)state;
	assert_int_equal(tool("truncate -s 4M raw"), 0);
	disk = open_disk(&(struct disk_config){ .path = path_in("raw") });
	start_request(disk, &read, DISK_READ, 4096, other, sizeof(other));
	start_request(disk, &write, DISK_WRITE, 0, sector, sizeof(sector));
	memcpy(sector, "QFI\xfb", 4);
	aio_drain(aio);
	assert_true(read.done && write.done);
	assert_int_equal(do_request(disk, DISK_READ, 0, back, sizeof(back)), 0);
	assert_memory_equal(back, "fine", 4);
	close_disk(disk);
}

static void an_image_is_locked(void **state)
{
	struct disk *writer, *reader;
	char pid[64];
	pid_t child;
	int go[2], status;

	(void)state;
	assert_int_equal(tool("qemu-img create -q -f qcow2 q 4M; truncate -s 1M raw"), 0);
	assert_int_equal(pipe(go), 0);
	child = fork();
	if (!child) {
		char c;
		int fd[2];

		for (int i = 0; i < 2; i++) {
			struct flock fl = { .l_type = F_RDLCK, .l_start = i ? 201 : 101, .l_len = 1 };

			fd[i] = open(path_in("raw"), O_RDWR);
			if (fcntl(fd[i], F_OFD_SETLK, &fl))
				_exit(1);
		}
		if (read(go[0], &c, 1) != 1)
			_exit(1);
		_exit(0);
	}
	snprintf(pid, sizeof(pid), "in use by process %d (use ,ro or ,cow", (int)child);
	while (try_open(&(struct disk_config){ .path = path_in("raw") }) != -EBUSY)
		usleep(1000);
	refused(&(struct disk_config){ .path = path_in("raw") }, pid);
	/* Whoever only reads may share it, and is told. */
	assert_int_equal(try_open(&(struct disk_config){ .path = path_in("raw"), .read_only = true }), 0);
	assert_non_null(strstr(message, "may write to it while you read"));
	assert_int_equal(try_open(&(struct disk_config){ .path = path_in("raw"), .cow = true }), 0);
	assert_int_equal(write(go[1], "x", 1), 1);
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);

	writer = open_disk(&(struct disk_config){ .path = path_in("q") });
	assert_int_equal(try_open(&(struct disk_config){ .path = path_in("q") }), -EBUSY);
	assert_int_not_equal(tool("qemu-img resize q 8M 2>/dev/null"), 0); /* QEMU's locks */
	assert_int_not_equal(tool("qemu-io -c 'write 0 512' q 2>/dev/null >&2"), 0);
	close_disk(writer);
	reader = open_disk(&(struct disk_config){ .path = path_in("q"), .read_only = true });
	assert_int_equal(try_open(&(struct disk_config){ .path = path_in("q"), .read_only = true }), 0);
	assert_int_equal(try_open(&(struct disk_config){ .path = path_in("q") }), -EBUSY);
	close_disk(reader);
	assert_int_equal(try_open(&(struct disk_config){ .path = path_in("q") }), 0);
}

static void backing_files_stay_in_their_folder(void **state)
{
	(void)state;
	assert_int_equal(tool("mkdir a b; truncate -s 4M a/base b/base; "
			      "qemu-img create -q -f qcow2 -b base -F raw a/good; "
			      "qemu-img create -q -f qcow2 -b ../b/base -F raw a/elsewhere; "
			      "qemu-img create -q -f qcow2 -b $PWD/a/base -F raw a/absolute; "
			      "ln -s ../b/base a/link; "
			      "qemu-img create -q -f qcow2 -b link -F raw a/linked; "
			      "qemu-img create -q -f qcow2 -b base -F raw a/unsaid; "
			      "printf '\\001\\002\\003\\004' | dd of=a/unsaid bs=1 seek=112 conv=notrunc 2>/dev/null; "
			      "qemu-img create -q -f qcow2 -u -b loop -F qcow2 a/loop 4M; "
			      "qemu-img create -q -f qcow2 -u -b gone -F raw a/orphan 4M; "
			      "qemu-img create -q -f vmdk a/v 4M; "
			      "qemu-img create -q -f qcow2 -b v -F vmdk a/foreign"),
			 0);
	assert_int_equal(try_open(&(struct disk_config){ .path = path_in("a/good") }), 0);
	assert_int_equal(try_open(&(struct disk_config){ .path = path_in("a/absolute") }), 0);
	refused(&(struct disk_config){ .path = path_in("a/elsewhere") }, "backing=on");
	refused(&(struct disk_config){ .path = path_in("a/linked") }, "backing=on");
	refused(&(struct disk_config){ .path = path_in("a/unsaid") }, "qemu-img rebase");
	refused(&(struct disk_config){ .path = path_in("a/foreign") }, "vmdk");
	refused(&(struct disk_config){ .path = path_in("a/loop") }, "loop");
	assert_int_equal(try_open(&(struct disk_config){ .path = path_in("a/orphan") }), -ENOENT);
	assert_non_null(strstr(message, "a/gone: No such file"));
	assert_int_equal(try_open(&(struct disk_config){ .path = path_in("a/elsewhere"), .backing = true }), 0);
	assert_int_equal(try_open(&(struct disk_config){ .path = path_in("a/linked"), .backing = true }), 0);
}

static void what_cannot_be_read_is_refused_by_name(void **state)
{
	(void)state;
	assert_int_equal(tool("qemu-img create -q -f qcow2 luks 4M; "
			      "printf '\\002' | dd of=luks bs=1 seek=35 conv=notrunc 2>/dev/null; "
			      "qemu-img create -q -f qcow2 -o data_file=d data 4M; "
			      "qemu-img create -q -f qcow2 -o extended_l2=on ext 4M"),
			 0);
	refused(&(struct disk_config){ .path = path_in("luks") }, "encrypted");
	refused(&(struct disk_config){ .path = path_in("data") }, "data_file");
	refused(&(struct disk_config){ .path = path_in("ext") }, "extended_l2");
	assert_int_equal(tool("qemu-img create -q -f qcow2 u 4M; "
			      "printf '\\200' | dd of=u bs=1 seek=72 conv=notrunc 2>/dev/null"),
			 0);
	refused(&(struct disk_config){ .path = path_in("u") }, "bit 63");
	assert_int_equal(tool("qemu-img create -q -f qcow2 dirty 4M; "
			      "printf '\\001' | dd of=dirty bs=1 seek=79 conv=notrunc 2>/dev/null"),
			 0);
	refused(&(struct disk_config){ .path = path_in("dirty") }, "qemu-img check -r all");
	assert_int_equal(try_open(&(struct disk_config){ .path = path_in("dirty"), .read_only = true }), 0);
	assert_int_equal(tool("qemu-img create -q -f qcow2 bad 4M; "
			      "printf '\\002' | dd of=bad bs=1 seek=79 conv=notrunc 2>/dev/null"),
			 0);
	refused(&(struct disk_config){ .path = path_in("bad") }, "marked corrupt");
}

/* A 64-bit field of image @name becomes @value. */
static void poke(const char *name, uint64_t offset, uint64_t value)
{
	int fd = open(path_in(name), O_WRONLY);

	value = htobe64(value);
	assert_int_equal(pwrite(fd, &value, 8, (off_t)offset), 8);
	close(fd);
}

static uint64_t peek(const char *name, uint64_t offset)
{
	int fd = open(path_in(name), O_RDONLY);
	uint64_t value;

	assert_int_equal(pread(fd, &value, 8, (off_t)offset), 8);
	close(fd);
	return be64toh(value);
}

static void make_victim(void)
{
	assert_int_equal(tool("rm -f v; qemu-img create -q -f qcow2 v 64M; "
			      "qemu-io -f qcow2 -c 'write -P 1 0 128k' v >/dev/null"),
			 0);
}

static void tables_in_wrong_places_are_named(void **state)
{
	uint64_t l1, l2, refcounts;

	(void)state;
	make_victim();
	l1 = peek("v", 40);
	l2 = peek("v", l1) & 0x00fffffffffffe00ull;
	refcounts = peek("v", 48);
	poke("v", l1, 0x7fff0000 | 1ull << 63);
	refused(&(struct disk_config){ .path = path_in("v") }, "L2 table at 0x7fff0000");
	poke("v", l1, (l2 + 512) | 1ull << 63);
	refused(&(struct disk_config){ .path = path_in("v") }, "not at the start of a cluster");
	poke("v", l1, l1 | 1ull << 63);
	refused(&(struct disk_config){ .path = path_in("v") }, "overlap at 0x30000");
	poke("v", l1, 0 | 1ull << 63);
	refused(&(struct disk_config){ .path = path_in("v") }, "header");
	make_victim();
	poke("v", refcounts, refcounts);
	refused(&(struct disk_config){ .path = path_in("v") }, "overlap at");
	make_victim();
	poke("v", 48, 1ull << 60);
	refused(&(struct disk_config){ .path = path_in("v") }, "refcount table at 0x1000000000000000");
	make_victim();
	poke("v", 40, 3);
	refused(&(struct disk_config){ .path = path_in("v") }, "L1 table at 0x3");
	make_victim();
	poke("v", 24, 1ull << 62);
	refused(&(struct disk_config){ .path = path_in("v") }, "L1 table");
	assert_int_equal(tool("truncate -s 100000 v"), 0);
	assert_int_not_equal(try_open(&(struct disk_config){ .path = path_in("v") }), 0);
}

/* Opens the image again, without /proc or with it. 0, 1: it cannot be hidden, 2: no, 3: O_NONBLOCK. */
static int open_again(bool proc)
{
	int status;
	pid_t child = fork();

	if (!child) {
		int fd, again;

		if (!proc && (unshare(CLONE_NEWUSER | CLONE_NEWNS) || mount("none", "/proc", "tmpfs", 0, NULL)))
			_exit(1);
		fd = file_open(path_in("raw"), FILE_WRITE);
		again = fd < 0 ? fd : file_reopen(fd, path_in("raw"), true, false);
		_exit(again < 0				 ? 2 :
		      fcntl(again, F_GETFL) & O_NONBLOCK ? 3 :
							   0);
	}
	waitpid(child, &status, 0);
	return WEXITSTATUS(status);
}

/* A descriptor that does not wait could give EAGAIN for ever, and would be asked for ever. */
static void what_is_used_waits(void **state)
{
	int without;

	(void)state;
	assert_int_equal(tool("truncate -s 1M raw"), 0);
	assert_int_equal(open_again(true), 0);
	without = open_again(false);
	if (without == 1) {
		print_message("# cannot hide /proc\n");
		skip();
	}
	assert_int_equal(without, 0);
}

/* Of this process, whatever else the machine has to do. */
static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void refused_at_once(const char *why)
{
	uint64_t start = cpu_ns();

	refused(&(struct disk_config){ .path = path_in("v") }, why);
	assert_true(cpu_ns() - start < 2000000000ull);
}

/* Sizes that would have us walk through clusters for minutes. */
static void tables_larger_than_any_are_refused(void **state)
{
	const uint64_t hop = 0xfffffff0ull;

	(void)state;
	make_victim();
	poke("v", 56, 0xffffffffull << 32); /* clusters of the refcount table */
	refused_at_once("refcount table at 0x10000 is larger than any");

	/* A table of snapshots whose entries are 4 GiB apart, in a file of holes. */
	assert_int_equal(tool("rm -f v; qemu-img create -q -f qcow2 -o cluster_size=512 v 1M; truncate -s 4T v"), 0);
	poke("v", 60, 1000ull << 32);
	poke("v", 64, 1 << 20);
	for (uint64_t at = 1 << 20; at < (1 << 20) + 1000 * (hop + 40); at += hop + 40)
		poke("v", at + 32, hop);
	refused_at_once("snapshot table at 0x100000 is larger than any");

	/* Each snapshot with the largest L1 table, all of them the same. */
	assert_int_equal(tool("rm -f v; qemu-img create -q -f qcow2 -o cluster_size=512 v 1M; truncate -s 64M v"), 0);
	poke("v", 60, 65536ull << 32);
	poke("v", 64, 1 << 20);
	for (uint64_t at = 1 << 20; at < (1 << 20) + 65536 * 40; at += 40) {
		poke("v", at, MIB(16));
		poke("v", at + 8, (uint64_t)(MIB(32) / 8) << 32);
	}
	refused_at_once("L1 table of a snapshot at 0x1000000 is larger than any");
}

static void entries_are_checked_when_used(void **state)
{
	uint8_t data[4096] = { 0 };
	uint64_t l1, l2, first;
	struct disk *disk;
	int saved;

	(void)state;
	make_victim();
	l1 = peek("v", 40);
	l2 = peek("v", l1) & 0x00fffffffffffe00ull;
	first = peek("v", l2);
	poke("v", l2, 0x7fff0000 | 1ull << 63);			 /* past the end */
	poke("v", l2 + 8, l2 | 1ull << 63);			 /* its own L2 table */
	poke("v", l2 + 16, (first & ~(1ull << 63)) + 3 * 512);	 /* not a cluster */
	poke("v", l2 + 24, 1ull << 62 | (first & 0xfffffffull)); /* nothing compressed */
	disk = open_disk(&(struct disk_config){ .path = path_in("v") });
	saved = begin_capture();
	assert_int_equal(do_request(disk, DISK_READ, 0, data, 4096), -EIO);
	assert_int_equal(do_request(disk, DISK_WRITE, 65536, data, 4096), -EIO);
	assert_int_equal(do_request(disk, DISK_READ, 2 * 65536, data, 4096), -EIO);
	assert_int_equal(do_request(disk, DISK_WRITE, 2 * 65536, data, 4096), -EIO);
	end_capture(saved, message, sizeof(message));
	assert_non_null(strstr(message, "entry 0 points to 0x7fff0000, past the end"));
	assert_non_null(strstr(message, "belongs to the image's own tables: not written"));
	assert_non_null(strstr(message, "which is no cluster"));
	saved = begin_capture();
	assert_int_equal(do_request(disk, DISK_READ, 3 * 65536, data, 4096), -EIO);
	end_capture(saved, message, sizeof(message));
	/* The rest of the disk works. */
	assert_int_equal(do_request(disk, DISK_WRITE, MIB(32), data, 4096), 0);
	assert_int_equal(do_request(disk, DISK_READ, MIB(32), data, 4096), 0);
	close_disk(disk);
	assert_int_equal(peek("v", l2 + 8), l2 | 1ull << 63); /* the table is as it was */
}

/*
 * Refcounts that do not count a table invite to write over it: the header (such an image
 * once kept the loop busy for ever, writing there), the L1 table. The write fails instead.
 */
static void tables_that_count_as_free_are_not_taken(void **state)
{
	static const struct {
		uint64_t pointer; /* in the header: to the refcount table or to ... */
		bool block;	  /* ... its first block */
		uint64_t at, bytes;
	} damages[] = {
		{ 48, false, 0, 8 }, /* no block for the first clusters */
		{ 48, true, 0, 64 }, /* a block of zeros */
	};
	static uint8_t data[65536];
	uint8_t before[512], after[512], word[8], zeros[64] = { 0 };

	(void)state;
	for (size_t d = 0; d < ARRAY_SIZE(damages); d++) {
		struct disk *disk;
		uint64_t at;
		int fd, saved;

		assert_int_equal(tool("rm -f v; qemu-img create -q -f qcow2 -o cluster_size=1024 v 1M"), 0);
		fd = open(path_in("v"), O_RDWR);
		assert_int_equal(pread(fd, word, 8, (off_t)damages[d].pointer), 8);
		at = __builtin_bswap64(*(uint64_t *)(void *)word);
		if (damages[d].block) {
			assert_int_equal(pread(fd, word, 8, (off_t)at), 8);
			at = __builtin_bswap64(*(uint64_t *)(void *)word);
		}
		assert_int_equal(pwrite(fd, zeros, damages[d].bytes, (off_t)(at + damages[d].at)),
				 damages[d].bytes);
		assert_int_equal(pread(fd, before, sizeof(before), 0), sizeof(before));
		saved = begin_capture();
		if (!disk_open(&disk, aio, &(struct disk_config){ .path = path_in("v"), .format = DISK_FORMAT_QCOW2 })) {
			assert_int_equal(do_request(disk, DISK_WRITE, 0, data, sizeof(data)), -EIO);
			disk_finish(disk);
			disk_close(disk);
		}
		end_capture(saved, message, sizeof(message));
		assert_non_null(strstr(message, "counts as free"));
		assert_int_equal(pread(fd, after, sizeof(after), 0), sizeof(after));
		assert_memory_equal(before, after, 72); /* what comes next says how the image was closed */
		close(fd);
	}
}

/* Any byte of the tables and the header changed: no crash, no hang, no sanitizer. */
static void random_damage_is_survived(void **state)
{
	static uint8_t data[65536];
	uint64_t seed = 99;
	unsigned int opened = 0;

	(void)state;
	make_victim();
	assert_int_equal(tool("qemu-img snapshot -c s v; qemu-io -f qcow2 -c 'write -P 2 64k 64k' v >/dev/null; "
			      "cp v original"),
			 0);
	for (unsigned int round = 0; round < few_of(400); round++) {
		struct disk *disk = NULL;
		int saved = begin_capture(), fd;

		assert_int_equal(tool("cp original v"), 0);
		fd = open(path_in("v"), O_RDWR);
		for (int i = 0; i < 4; i++) {
			uint64_t at = random_u64(&seed) % (round % 2 ? 112 : 0x60000);
			uint8_t byte = (uint8_t)random_u64(&seed);

			/* Tables are mostly zeros; hit the starts of clusters more often. */
			if (i % 2)
				at = at / 65536 * 65536 + at % 64;
			assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
		}
		close(fd);
		if (!disk_open(&disk, aio, &(struct disk_config){ .path = path_in("v"), .format = DISK_FORMAT_QCOW2 })) {
			opened++;
			for (int i = 0; i < 12; i++) {
				enum disk_operation op = (enum disk_operation)(random_u64(&seed) % 5);
				uint64_t at = random_u64(&seed) % 16 * 32768;

				do_request(disk, op, op == DISK_FLUSH ? 0 : at, data, op == DISK_FLUSH ? 0 : 32768);
			}
			disk_finish(disk);
			disk_close(disk);
		}
		end_capture(saved, message, sizeof(message));
	}
	assert_true(opened > few_of(400) / 8);
}

static void snapshots_stay_as_they_are(void **state)
{
	static uint8_t data[MIB(1)];
	struct disk *disk;

	(void)state;
	for (int bits = 9; bits <= 16; bits += 7) {
		assert_int_equal(tool("rm -f s; qemu-img create -q -f qcow2 -o cluster_size=%d s 8M; "
				      "qemu-io -f qcow2 -c 'write -P 7 1M 2M' s >/dev/null; "
				      "qemu-img snapshot -c one s; "
				      "qemu-io -f qcow2 -c 'write -P 8 2M 1M' s >/dev/null; "
				      "qemu-img snapshot -c two s",
				      1 << bits),
				 0);
		disk = open_disk(&(struct disk_config){ .path = path_in("s") });
		memset(data, 9, sizeof(data));
		assert_int_equal(do_request(disk, DISK_WRITE, MIB(1) + 4096, data, 8192), 0);
		assert_int_equal(do_request(disk, DISK_WRITE, MIB(2) + 512 * 3, data, MIB(1)), 0);
		assert_int_equal(do_request(disk, DISK_DISCARD, MIB(1) + 65536, NULL, 131072), 0);
		assert_int_equal(do_request(disk, DISK_WRITE_ZEROES, MIB(1) + 300000 / 512 * 512, NULL, 70144), 0);
		close_disk(disk);
		assert_int_equal(tool("qemu-img check -q s"), 0);
		assert_int_equal(tool("qemu-img snapshot -a one s && "
				      "qemu-io -f qcow2 -c 'read -P 7 1M 2M' s | grep -q '2 MiB' && "
				      "! qemu-io -f qcow2 -c 'read -P 7 1M 2M' s | grep -q failed"),
				 0);
		assert_int_equal(tool("qemu-img snapshot -a two s && "
				      "! qemu-io -f qcow2 -c 'read -P 7 1M 1M' -c 'read -P 8 2M 1M' s | grep -q failed"),
				 0);
	}
}

static void a_full_disk_fails_one_request(void **state)
{
	static uint8_t data[MIB(1)];
	char dir[80];
	struct disk *disk;
	int rc = 0;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/small", folder);
	assert_int_equal(mkdir(dir, 0700), 0);
	if (mount("tmpfs", dir, "tmpfs", 0, "size=8m")) {
		/* Not root: the same by a limit on the size of files cannot be had for one file. */
		print_message("# cannot mount a small tmpfs: %s\n", strerror(errno));
		skip();
	}
	for (int qcow2 = 0; qcow2 < 2; qcow2++) {
		uint64_t at = 0;
		int saved;

		assert_int_equal(tool(qcow2 ? "rm -f small/*; qemu-img create -q -f qcow2 small/img 64M" :
					      "rm -f small/*; truncate -s 64M small/img"),
				 0);
		assert_int_equal(tool("dd if=/dev/zero of=small/ballast bs=1M count=3 2>/dev/null"), 0);
		disk = open_disk(&(struct disk_config){ .path = path_in("small/img") });
		memset(data, 3, sizeof(data));
		saved = begin_capture();
		for (rc = 0; !rc && at < MIB(20); at += MIB(1))
			rc = do_request(disk, DISK_WRITE, at, data, MIB(1));
		end_capture(saved, message, sizeof(message));
		assert_int_equal(rc, -ENOSPC);
		at -= MIB(1);
		memset(data, 0, sizeof(data));
		assert_int_equal(do_request(disk, DISK_READ, 0, data, MIB(1)), 0);
		assert_int_equal(data[12345], 3);
		assert_int_equal(unlink(path_in("small/ballast")), 0);
		memset(data, 4, sizeof(data));
		assert_int_equal(do_request(disk, DISK_WRITE, at, data, MIB(1)), 0);
		assert_int_equal(do_request(disk, DISK_FLUSH, 0, NULL, 0), 0);
		memset(data, 0, sizeof(data));
		assert_int_equal(do_request(disk, DISK_READ, at, data, MIB(1)), 0);
		assert_int_equal(data[MIB(1) - 1], 4);
		close_disk(disk);
		if (qcow2)
			assert_int_equal(tool("qemu-img check -q small/img"), 0);
	}
	assert_int_equal(umount(dir), 0);
}

static void a_file_that_shrinks_fails_requests(void **state)
{
	uint8_t data[4096];
	struct disk *disk;

	(void)state;
	assert_int_equal(tool("truncate -s 1M raw"), 0);
	disk = open_disk(&(struct disk_config){ .path = path_in("raw"), .format = DISK_FORMAT_RAW });
	assert_int_equal(tool("truncate -s 64K raw"), 0);
	assert_int_equal(do_request(disk, DISK_READ, MIB(1) - 4096, data, 4096), -EIO);
	assert_int_equal(do_request(disk, DISK_READ, 65536 - 2048, data, 4096), -EIO);
	assert_int_equal(do_request(disk, DISK_READ, 0, data, 4096), 0);
	assert_true(disk_poll_size(disk));
	assert_int_equal(disk->size_bytes, 65536);
	close_disk(disk);
}

static void ranges_are_checked_once_for_all(void **state)
{
	static const struct {
		uint64_t offset, bytes;
		int rc;
	} cases[] = {
		{ 0, 512, 0 },
		{ MIB(1) - 512, 512, 0 },
		{ MIB(1) - 512, 1024, -EIO },
		{ MIB(1), 512, -EIO },
		{ 1, 512, -EINVAL },
		{ 0, 511, -EINVAL },
		{ ~0ull - 511, 512, -EIO },
		{ ~0ull - 511, 1024, -EIO },
		{ 512, ~0ull - 511, -EIO },
	};
	uint8_t data[1024];

	(void)state;
	assert_int_equal(tool("truncate -s 1M raw; qemu-img create -q -f qcow2 q 1M"), 0);
	for (int i = 0; i < 2; i++) {
		struct disk *disk = open_disk(&(struct disk_config){ .path = path_in(i ? "q" : "raw") });

		for (size_t c = 0; c < ARRAY_SIZE(cases); c++)
			for (int op = DISK_READ; op <= DISK_WRITE_ZEROES; op++)
				if (op != DISK_FLUSH)
					assert_int_equal(do_request(disk, (enum disk_operation)op, cases[c].offset,
								    data, cases[c].bytes),
							 cases[c].rc);
		close_disk(disk);
		disk = open_disk(&(struct disk_config){ .path = path_in(i ? "q" : "raw"), .read_only = true });
		assert_int_equal(do_request(disk, DISK_WRITE, 0, data, 512), -EROFS);
		assert_int_equal(do_request(disk, DISK_DISCARD, 0, data, 512), -EROFS);
		assert_int_equal(do_request(disk, DISK_WRITE_ZEROES, 0, data, 512), -EROFS);
		assert_int_equal(do_request(disk, DISK_READ, 0, data, 512), 0);
		close_disk(disk);
	}
}

/* More than a round may begin: the rest comes in later ones, in order, and nothing is lost. */
static void one_round_does_not_do_everything(void **state)
{
	const uint64_t bytes = MIB(8);
	uint8_t *data = malloc(bytes);
	struct wait_request w[12];

	(void)state;
	assert_int_equal(tool("truncate -s 16M raw; qemu-img create -q -f qcow2 q 16M"), 0);
	for (int qcow2 = 0; qcow2 < 2; qcow2++) {
		struct disk *disk = open_disk(&(struct disk_config){ .path = path_in(qcow2 ? "q" : "raw") });
		unsigned int done = 0;

		/* Clusters that are not there are read without any operation. */
		for (size_t i = 0; i < ARRAY_SIZE(w); i++)
			start_request(disk, &w[i], DISK_READ, i % 2 * bytes, data, bytes);
		for (size_t i = 0; i < ARRAY_SIZE(w); i++)
			done += w[i].done;
		assert_in_range(done, 0, 2);
		assert_int_equal(aio_drain(aio), 0);
		for (size_t i = 0; i < ARRAY_SIZE(w); i++)
			assert_true(w[i].done && !w[i].error);
		close_disk(disk);
	}
	free(data);
}

static uint64_t blocks_of(const char *name)
{
	struct stat st;

	assert_int_equal(stat(path_in(name), &st), 0);
	return (uint64_t)st.st_blocks;
}

static void discard_gives_space_back(void **state)
{
	static uint8_t data[MIB(4)];

	(void)state;
	assert_int_equal(tool("truncate -s 16M raw; qemu-img create -q -f qcow2 q 16M"), 0);
	memset(data, 1, sizeof(data));
	for (int i = 0; i < 2; i++) {
		const char *name = i ? "q" : "raw";
		struct disk *disk = open_disk(&(struct disk_config){ .path = path_in(name) });
		uint64_t full;

		assert_int_equal(do_request(disk, DISK_WRITE, MIB(4), data, MIB(4)), 0);
		assert_int_equal(do_request(disk, DISK_FLUSH, 0, NULL, 0), 0);
		full = blocks_of(name);
		assert_true(full >= MIB(4) / 512);
		assert_int_equal(do_request(disk, DISK_DISCARD, MIB(5), NULL, MIB(2)), 0);
		assert_int_equal(do_request(disk, DISK_FLUSH, 0, NULL, 0), 0);
		assert_true(blocks_of(name) + MIB(2) / 512 <= full);
		close_disk(disk);
	}
	assert_int_equal(tool("qemu-img check -q q"), 0);
}

static void discards_can_be_forbidden(void **state)
{
	static uint8_t data[MIB(1)];

	(void)state;
	assert_int_equal(tool("fallocate -l 4M raw; qemu-img create -q -f qcow2 -o preallocation=full q 4M"), 0);
	for (int i = 0; i < 2; i++) {
		const char *name = i ? "q" : "raw";
		struct disk *disk = open_disk(&(struct disk_config){ .path = path_in(name), .no_discard = true });
		struct wait_request zeroes;
		uint64_t full = blocks_of(name);

		memset(data, 1, sizeof(data));
		assert_false(disk->can_discard);
		assert_int_equal(do_request(disk, DISK_WRITE, MIB(1), data, sizeof(data)), 0);
		assert_int_equal(do_request(disk, DISK_DISCARD, MIB(1), NULL, MIB(1)), -EOPNOTSUPP);
		start_request(disk, &zeroes, DISK_FLUSH, 0, NULL, 0);
		aio_drain(aio);
		zeroes.req.operation = DISK_WRITE_ZEROES;
		zeroes.req.unmap = true;
		zeroes.req.offset = MIB(1);
		zeroes.req.bytes = MIB(1);
		disk_submit(disk, &zeroes.req);
		aio_drain(aio);
		assert_int_equal(zeroes.error, 0);
		assert_int_equal(do_request(disk, DISK_FLUSH, 0, NULL, 0), 0);
		assert_true(blocks_of(name) >= full);
		assert_int_equal(do_request(disk, DISK_READ, MIB(1), data, sizeof(data)), 0);
		assert_int_equal(data[0] | data[MIB(1) - 1], 0);
		close_disk(disk);
	}
}

/* A file may end within a sector; a disk does not. */
static void the_last_bytes_of_a_base_are_there(void **state)
{
	static const char *const images[] = { "top", "base" };
	static _Alignas(4096) uint8_t sector[4096];

	(void)state;
	assert_int_equal(tool("yes | head -c 10700 >base; qemu-img create -q -f qcow2 -F raw -b base top 64K; "
			      "yes | head -c 100 >small"),
			 0);
	for (int direct = 0; direct < 2; direct++) {
		for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
			struct disk *disk = open_disk(&(struct disk_config){
				.path = path_in(images[i]), .cow = i == 1, .direct = direct });
			uint64_t last = align_down(10700, disk->block_bytes);

			assert_int_equal(do_request(disk, DISK_READ, last, sector, disk->block_bytes), 0);
			assert_memory_equal(sector + 10700 - last - 4, "y\ny\n\0\0\0", 7);
			/* A write beside them copies them. */
			if (!direct) {
				memset(sector, 7, sizeof(sector));
				assert_int_equal(do_request(disk, DISK_WRITE, 0, sector, 512), 0);
				assert_int_equal(do_request(disk, DISK_READ, last, sector, 512), 0);
				assert_memory_equal(sector + 10700 - last - 4, "y\ny\n\0\0\0", 7);
			}
			close_disk(disk);
		}
	}
	refused(&(struct disk_config){ .path = path_in("small") }, "100 bytes");
	assert_int_equal(try_open(&(struct disk_config){ .path = path_in("small"), .cow = true }), 0);
}

static void writes_to_a_cow_disk_leave_the_image_alone(void **state)
{
	static uint8_t data[MIB(1)], back[MIB(1)];

	(void)state;
	assert_int_equal(tool("truncate -s 4M raw; yes | head -c 3000000 | dd of=raw conv=notrunc 2>/dev/null; "
			      "qemu-img convert -q -O qcow2 raw q; sha256sum raw q >sums"),
			 0);
	for (int i = 0; i < 2; i++) {
		const struct disk_config c = { .path = path_in(i ? "q" : "raw"), .cow = true };
		struct disk *disk = open_disk(&c), *other = open_disk(&c);

		memset(data, 0x42, sizeof(data));
		assert_int_equal(do_request(disk, DISK_WRITE, MIB(1) + 512, data, MIB(1)), 0);
		assert_int_equal(do_request(disk, DISK_READ, MIB(1) + 512, back, MIB(1)), 0);
		assert_memory_equal(data, back, MIB(1));
		assert_int_equal(do_request(disk, DISK_READ, 0, back, 512), 0);
		assert_int_equal(back[0], 'y');
		assert_int_equal(do_request(other, DISK_READ, MIB(1) + 512, back, 512), 0);
		assert_int_equal(back[0], 'y');
		close_disk(disk);
		close_disk(other);
	}
	assert_int_equal(tool("sha256sum -c --quiet sums"), 0);
	assert_int_equal(tool("test -z \"$(ls -A | grep lkvm)\""), 0);
}

static void big_images_open_at_once(void **state)
{
	static const char *const images[] = { "raw", "q", "huge-clusters" };
	uint8_t data[4096] = { 5 };

	(void)state;
	assert_int_equal(tool("truncate -s 1T raw; qemu-img create -q -f qcow2 q 1T; "
			      "qemu-img create -q -f qcow2 -o cluster_size=2M huge-clusters 1T"),
			 0);
	for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
		uint64_t start = cpu_ns(), ns;
		struct disk *disk = open_disk(&(struct disk_config){ .path = path_in(images[i]) });

		ns = cpu_ns() - start;
		print_message("# %s: %llu us\n", images[i], (unsigned long long)ns / 1000);
		assert_true(ns < 200000000); /* "milliseconds", on a loaded machine with sanitizers */
		for (uint64_t at = 0; at < 1ull << 40; at += 1ull << 34)
			assert_int_equal(do_request(disk, DISK_WRITE, at, data, 4096), 0);
		close_disk(disk);
	}
	assert_int_equal(tool("qemu-img check -q q && qemu-img check -q huge-clusters"), 0);
}

static void direct_io_works(void **state)
{
	uint8_t *data = aligned_alloc(4096, 65536);
	struct disk *disk = NULL;

	(void)state;
	assert_int_equal(tool("truncate -s 4M raw; qemu-img create -q -f qcow2 q 4M"), 0);
	for (int i = 0; i < 2; i++) {
		const struct disk_config c = { .path = path_in(i ? "q" : "raw"), .direct = true };
		int saved = begin_capture(), rc = disk_open(&disk, aio, &c);

		end_capture(saved, message, sizeof(message));
		if (rc) { /* some file systems have none: then it is said so */
			assert_non_null(strstr(message, "leave out ,direct"));
			continue;
		}
		memset(data, 0x77, 65536);
		assert_int_equal(do_request(disk, DISK_WRITE, 8192, data, 65536), 0);
		memset(data, 0, 65536);
		assert_int_equal(do_request(disk, DISK_READ, 8192, data, 65536), 0);
		assert_int_equal(data[0], 0x77);
		assert_int_equal(data[65535], 0x77);
		close_disk(disk);
	}
	free(data);
}

/* virtio asks no alignment of a guest's buffers; more of them at once than there is room for. */
static void direct_io_takes_any_buffer(void **state)
{
	const uint64_t bytes = KIB(300) / 512 * 512;
	static uint8_t data[MIB(4)], back[MIB(4)];
	struct iovec iov[12][3];
	struct wait_request w[12];
	uint64_t seed = 5;

	(void)state;
	assert_int_equal(tool("truncate -s 4M raw; qemu-img create -q -f qcow2 q 4M"), 0);
	for (uint64_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)random_u64(&seed);
	for (int round = 0; round < 4; round++) {
		bool is_write = round % 2 == 0;
		const char *name = round < 2 ? "raw" : "q";
		struct disk *disk = open_disk(&(struct disk_config){ .path = path_in(name), .direct = true });
		uint64_t n = align_down(bytes, disk->block_bytes);

		for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
			uint8_t *p = (is_write ? data : back) + i * n + 1;

			iov[i][0] = (struct iovec){ p, 1000 };
			iov[i][1] = (struct iovec){ p + 1000, 77777 };
			iov[i][2] = (struct iovec){ p + 78777, n - 78777 };
			w[i] = (struct wait_request){
				.req = {
					.operation = is_write ? DISK_WRITE :
								DISK_READ,
					.offset = i * n,
					.bytes = n,
					.iov = iov[i],
					.nr_iov = 3,
					.done = wait_done,
				},
			};
			disk_submit(disk, &w[i].req);
		}
		assert_int_equal(aio_drain(aio), 0);
		for (size_t i = 0; i < ARRAY_SIZE(w); i++)
			assert_true(w[i].done && !w[i].error);
		if (!is_write)
			assert_memory_equal(data + 1, back + 1, ARRAY_SIZE(w) * n);
		memset(back, 0, sizeof(back));
		close_disk(disk);
	}
}

static void put_mbr_entry(uint8_t sector[512], unsigned int i, uint8_t type, uint32_t first, uint32_t count)
{
	uint8_t *e = sector + 446 + 16 * i;

	e[4] = type;
	put_le32(e + 8, first);
	put_le32(e + 12, count);
	sector[510] = 0x55;
	sector[511] = 0xaa;
}

static void an_mbr_says_where_the_root_is(void **state)
{
	struct partition_table t;
	uint8_t sector[512] = { 0 };

	(void)state;
	assert_false(partition_parse_mbr(sector, 2048, &t));
	assert_false(t.present);
	put_mbr_entry(sector, 0, 0x82, 1, 100);
	put_mbr_entry(sector, 1, 0x83, 101, 1947);
	assert_false(partition_parse_mbr(sector, 2048, &t));
	assert_true(t.present);
	assert_int_equal(t.root, 2);
	/* One that is not within the disk does not count, nor does one of no size. */
	assert_false(partition_parse_mbr(sector, 2047, &t));
	assert_int_equal(t.root, 0);
	put_mbr_entry(sector, 2, 0x83, ~0u, ~0u);
	put_mbr_entry(sector, 3, 0x83, 7, 0);
	partition_parse_mbr(sector, 2048, &t);
	assert_int_equal(t.root, 2);
	put_mbr_entry(sector, 3, 0x83, 7, 1);
	partition_parse_mbr(sector, 2048, &t);
	assert_int_equal(t.root, 0);
	assert_int_equal(t.nr_linux, 2);
	/* The boot sector of FAT has code where the entries would be. */
	sector[446] = 0x33;
	assert_false(partition_parse_mbr(sector, 2048, &t));
	assert_false(t.present);
}

static const uint8_t gpt_linux[16] = "\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4";
static const uint8_t gpt_root[16] = "\xe3\xbc\x68\x4f\xcd\xe8\xb1\x4d\x96\xe7\xfb\xca\xf9\x84\xb7\x09";

static void put_gpt_entry(uint8_t *entry, const uint8_t type[16], uint64_t first, uint64_t last)
{
	memcpy(entry, type, 16);
	put_le64(entry + 32, first);
	put_le64(entry + 40, last);
}

static void a_gpt_is_bounded(void **state)
{
	static uint8_t entries[128 * 128];
	struct partition_table t;
	uint8_t header[512] = "EFI PART";
	uint64_t offset;
	unsigned int nr;

	(void)state;
	put_le64(header + 72, 2);
	put_le32(header + 80, 128);
	put_le32(header + 84, 128);
	assert_true(partition_parse_gpt_header(header, 34, 512, &offset, &nr));
	assert_int_equal(offset, 1024);
	assert_int_equal(nr, 128);
	assert_false(partition_parse_gpt_header(header, 33, 512, &offset, &nr));
	put_le32(header + 80, ~0u);
	assert_true(partition_parse_gpt_header(header, 34, 512, &offset, &nr));
	assert_int_equal(nr, 128);
	put_le64(header + 72, 1ull << 55);
	assert_false(partition_parse_gpt_header(header, 34, 512, &offset, &nr));
	put_le64(header + 72, ~0ull);
	assert_false(partition_parse_gpt_header(header, 34, 512, &offset, &nr));
	put_gpt_entry(entries + 13 * 128, gpt_linux, 40, 49);
	partition_parse_gpt(entries, 128, 50, &t);
	assert_int_equal(t.root, 14);
	partition_parse_gpt(entries, 128, 49, &t);
	assert_int_equal(t.nr_linux, 0);
	put_gpt_entry(entries, gpt_linux, 30, 39);
	partition_parse_gpt(entries, 128, 50, &t);
	assert_int_equal(t.root, 0);
	assert_int_equal(t.nr_linux, 2);
	/* One that says that it is a root is the one. */
	put_gpt_entry(entries + 127 * 128, gpt_root, 20, 20);
	partition_parse_gpt(entries, 128, 50, &t);
	assert_int_equal(t.root, 128);
	for (unsigned int i = 0; i < 128; i++)
		put_gpt_entry(entries + i * 128, gpt_root, 20, 20);
	partition_parse_gpt(entries, 128, 50, &t);
	assert_int_equal(t.nr_linux, 128);
	assert_int_equal(t.root, 0);
}

/* Before the engine has started, whatever the format. */
static void partitions_are_read_through_the_format(void **state)
{
	static uint8_t start_of_disk[34 * 512];
	static const char *const images[] = { "raw", "q" };
	struct partition_table t;

	(void)state;
	put_mbr_entry(start_of_disk, 0, 0xee, 1, ~0u);
	memcpy(start_of_disk + 512, "EFI PART", 8);
	put_le64(start_of_disk + 512 + 72, 2);
	put_le32(start_of_disk + 512 + 80, 128);
	put_le32(start_of_disk + 512 + 84, 128);
	put_gpt_entry(start_of_disk + 1024 + 2 * 128, gpt_linux, 64, 127);
	write_file(path_in("raw"), start_of_disk, sizeof(start_of_disk));
	assert_int_equal(tool("truncate -s 1M raw; qemu-img convert -f raw -O qcow2 -c raw q"), 0);
	for (enum aio_engine engine = AIO_AUTO; engine <= AIO_THREADS; engine++) {
		for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
			struct disk_config c = { .path = path_in(images[i]), .cow = engine == AIO_AUTO };
			struct disk *disk;
			struct aio *early;

			assert_int_equal(aio_create(&early, loop, engine, 64), 0);
			assert_int_equal(disk_open(&disk, early, &c), 0);
			assert_true(partition_read(disk, &t));
			assert_true(t.present);
			assert_int_equal(t.root, 3);
			disk_close(disk);
			aio_destroy(early);
		}
	}
}

/* The end of a VM is bounded, whatever its disk does. */
static void a_disk_that_hangs_is_left(void **state)
{
	static uint8_t data[4096];
	struct wait_request w;
	struct disk *disk;
	uint64_t start;
	int saved;

	(void)state;
	assert_int_equal(tool("truncate -s 1M raw; qemu-img create -q -f qcow2 q 1M"), 0);
	for (int qcow2 = 0; qcow2 < 2; qcow2++) {
		disk = open_disk(&(struct disk_config){ .path = path_in(qcow2 ? "q" : "raw") });
		assert_int_equal(do_request(disk, DISK_WRITE, 4096, data, 4096), 0);
		atomic_store(&faults.hangs, true);
		start_request(disk, &w, DISK_FLUSH, 0, NULL, 0);
		start = now_ns();
		aio_set_limit(aio, start + 50000000);
		assert_int_equal(aio_drain(aio), -ETIMEDOUT);
		saved = begin_capture();
		assert_int_equal(disk_finish(disk), DISK_STUCK);
		end_capture(saved, message, sizeof(message));
		assert_non_null(strstr(message, "what was written last may be lost: it does not answer"));
		assert_true(now_ns() - start < AIO_GRACE_NS);
		assert_false(w.done);
		/* It comes back: nothing was forgotten. */
		atomic_store(&faults.hangs, false);
		aio_set_limit(aio, 0);
		assert_int_equal(aio_drain(aio), 0);
		assert_true(w.done && !w.error);
		close_disk(disk);
	}
}

/* A kernel that takes no submissions is asked again, and the loop goes on meanwhile. */
static void a_full_ring_does_not_spin(void **state)
{
	static _Alignas(4096) uint8_t data[300][512];
	struct wait_request w[300];
	struct disk *disk;

	(void)state;
	assert_int_equal(tool("truncate -s 1M raw"), 0);
	disk = open_disk(&(struct disk_config){ .path = path_in("raw"), .format = DISK_FORMAT_RAW });
	atomic_store(&faults.hangs, true);
	for (size_t i = 0; i < ARRAY_SIZE(w); i++)
		start_request(disk, &w[i], DISK_READ, i * 512, data[i], 512);
	aio_set_limit(aio, now_ns() + 20000000);
	assert_int_equal(aio_drain(aio), -ETIMEDOUT);
	atomic_store(&faults.hangs, false);
	aio_set_limit(aio, 0);
	assert_int_equal(aio_drain(aio), 0);
	for (size_t i = 0; i < ARRAY_SIZE(w); i++)
		assert_true(w[i].done && !w[i].error);
	close_disk(disk);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, start, stop)
/* ... and by threads. */
#define TEST_BOTH(fn) \
	TEST(fn), { #fn "_by_threads", fn, start_threads, stop, NULL }
	const struct CMUnitTest tests[] = {
		TEST(only_files_and_devices),
		TEST(formats_are_not_guessed_dangerously),
		TEST_BOTH(the_first_block_may_be_split),
		TEST_BOTH(each_of_a_round_does_its_work),
		TEST_BOTH(the_first_block_is_the_one_that_was_checked),
		TEST(an_image_is_locked),
		TEST(what_is_used_waits),
		TEST(backing_files_stay_in_their_folder),
		TEST(what_cannot_be_read_is_refused_by_name),
		TEST(tables_in_wrong_places_are_named),
		TEST(tables_larger_than_any_are_refused),
		TEST_BOTH(entries_are_checked_when_used),
		TEST(tables_that_count_as_free_are_not_taken),
		TEST(random_damage_is_survived),
		TEST_BOTH(snapshots_stay_as_they_are),
		TEST_BOTH(a_full_disk_fails_one_request),
		TEST_BOTH(a_file_that_shrinks_fails_requests),
		TEST_BOTH(ranges_are_checked_once_for_all),
		TEST_BOTH(one_round_does_not_do_everything),
		TEST_BOTH(discard_gives_space_back),
		TEST_BOTH(discards_can_be_forbidden),
		TEST_BOTH(the_last_bytes_of_a_base_are_there),
		TEST_BOTH(writes_to_a_cow_disk_leave_the_image_alone),
		TEST(big_images_open_at_once),
		TEST_BOTH(direct_io_works),
		TEST_BOTH(direct_io_takes_any_buffer),
		TEST(an_mbr_says_where_the_root_is),
		TEST(a_gpt_is_bounded),
		TEST(partitions_are_read_through_the_format),
		TEST_BOTH(a_disk_that_hangs_is_left),
		TEST_BOTH(a_full_ring_does_not_spin),
	};

	return cmocka_run_group_tests_name("disk", tests, NULL, NULL);
}
