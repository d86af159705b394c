// SPDX-License-Identifier: GPL-2.0-only
/*
 * The file of a snapshot: what is sent of memory comes back, holes stay holes; a header with any bit another
 * and a file that was cut or has grown are refused in words.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "control/snapshot-image.h"
#include "control/vmcore-file.h"
#include "mem.h"
#include "snapshot-file.h"
#include "util.h"

#define MAX_CPUS 255u

static char folder[64], path[96];

static int make_folder(void **unused)
{
	(void)unused;
	strcpy(folder, "/tmp/lkvm-snapshot-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/" SNAPSHOT_NAME, folder);
	return 0;
}

static int remove_folder(void **unused)
{
	(void)unused;
	unlink(path);
	return rmdir(folder);
}

/* By the records that go over the socket, in pieces of any size. */
static uint64_t write_snapshot(const struct mem *mem, const struct snapshot_header *h, const void *state)
{
	struct vmcore_file f = { .dir = -1, .fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) };
	struct snapshot_image image;
	struct vmcore_record r;
	uint64_t sent = 0;
	const void *data;
	int rc = 0, pagemap = mem_open_pagemap(); /* without it, looking makes memory: seconds for 5 GiB */

	assert_true(f.fd >= 0);
	snapshot_image_init(&image, mem, pagemap, h, state);
	while (snapshot_image_next(&image, &r, &data)) {
		assert_int_equal(rc, 0);
		rc = vmcore_file_feed(&f, &r, 7);
		assert_int_equal(rc, 0);
		rc = vmcore_file_feed(&f, (const uint8_t *)&r + 7, sizeof(r) - 7);
		if (data)
			rc = vmcore_file_feed(&f, data, r.bytes);
		sent += data ? r.bytes : 0;
	}
	assert_int_equal(rc, 1);
	assert_int_equal(f.what, 0);
	vmcore_file_close(&f);
	if (pagemap >= 0)
		close(pagemap);
	return sent;
}

static struct snapshot_header make_header(uint64_t ram_bytes, const void *state, uint64_t state_bytes)
{
	struct snapshot_header h = { .machine = { .ram_bytes = ram_bytes, .cpus = 3, .acpi = 1 } };

	snapshot_fill(&h, state, state_bytes);
	return h;
}

static void put(struct mem *mem, gpa_t gpa, uint64_t v)
{
	assert_int_equal(mem_write(mem, gpa, &v, sizeof(v)), 0);
}

static uint64_t get(struct mem *mem, gpa_t gpa)
{
	uint64_t v = 0;

	assert_int_equal(mem_read(mem, gpa, &v, sizeof(v)), 0);
	return v;
}

/* Beyond the hole below 4 GiB, too. */
static void test_there_and_back(void **unused)
{
	static const gpa_t places[] = {
		0, 4096, MIB(2) - 8, MIB(2), MIB(64), MEM_HOLE_START - 8, MEM_HOLE_END,
		MEM_HOLE_END + GIB(2) - 8
	};
	const uint64_t bytes = GIB(5);
	uint8_t state[5000];
	struct snapshot_header h, found;
	struct mem *from, *to;
	struct stat st;
	void *read;
	int fd;

	(void)unused;
	memset(state, 0xa5, sizeof(state));
	assert_int_equal(mem_create(&from, bytes), 0);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		put(from, places[i], places[i] + 1);
	h = make_header(bytes, state, sizeof(state));
	assert_true(write_snapshot(from, &h, state) < MIB(1));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, h.file_bytes);
	assert_true((uint64_t)st.st_blocks * 512 < MIB(1));
	fd = snapshot_open(folder, &found, MAX_CPUS);
	assert_true(fd >= 0);
	snapshot_set_ram_sum(&h, found.ram_sum);
	assert_memory_equal(&found, &h, sizeof(h));
	assert_int_equal(snapshot_read_state(fd, &found, &read), 0);
	assert_memory_equal(read, state, sizeof(state));
	assert_int_equal(mem_create(&to, bytes), 0);
	assert_int_equal(snapshot_read_ram(fd, &found, to), 0);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		assert_int_equal(get(to, places[i]), places[i] + 1);
		assert_int_equal(get(to, places[i] ^ 2048), 0);
	}
	free(read);
	close(fd);
	mem_destroy(to);
	mem_destroy(from);
}

static void flip(uint64_t at, uint8_t bits)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= bits;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
	close(fd);
}

/* A bit of memory that is another one, in a page that has something in it or in one that has nothing. */
static void test_memory(void **unused)
{
	static const uint64_t places[] = { 8192, 8199, 8200, 12287, 4096, MIB(2) - 1 };
	uint8_t state[64] = { 0 };
	struct snapshot_header h = make_header(MIB(2), state, sizeof(state));
	struct mem *mem, *to;
	char text[256];
	int fd, saved, rc;

	(void)unused;
	assert_int_equal(mem_create(&mem, MIB(2)), 0);
	put(mem, 8192, 5);
	put(mem, MIB(1), 7);
	write_snapshot(mem, &h, state);
	mem_destroy(mem);
	for (size_t i = 0; i <= ARRAY_SIZE(places); i++) {
		if (i)
			flip(h.ram_offset + places[i - 1], 0x80);
		fd = snapshot_open(folder, &h, MAX_CPUS);
		assert_true(fd >= 0);
		assert_int_equal(mem_create(&to, MIB(2)), 0);
		saved = begin_capture();
		rc = snapshot_read_ram(fd, &h, to);
		end_capture(saved, text, sizeof(text));
		assert_int_equal(rc, i ? -EILSEQ : 0);
		assert_true(!i || strstr(text, "the file is damaged"));
		mem_destroy(to);
		close(fd);
		if (i)
			flip(h.ram_offset + places[i - 1], 0x80);
	}
}

/* What is said about it, or NULL if it is taken. */
static const char *refusal(void)
{
	static char text[1024];
	struct snapshot_header h;
	int saved = begin_capture(), fd = snapshot_open(folder, &h, MAX_CPUS);
	void *state = NULL;
	int rc = fd < 0 ? fd : snapshot_read_state(fd, &h, &state);

	end_capture(saved, text, sizeof(text));
	free(state);
	if (fd >= 0)
		close(fd);
	assert_true(rc <= 0);
	assert_true(!rc || *text);
	return rc ? text : NULL;
}

static void expect_refusal(const char *words)
{
	const char *text = refusal();

	if (!text || !strstr(text, words))
		fail_msg("wanted \"%s\", got \"%s\"", words, text ? text : "");
}

static void write_small(void)
{
	uint8_t state[64] = { 1, 2, 3 };
	struct snapshot_header h = make_header(MIB(2), state, sizeof(state));
	struct mem *mem;

	assert_int_equal(mem_create(&mem, MIB(2)), 0);
	put(mem, 8192, 5);
	write_snapshot(mem, &h, state);
	mem_destroy(mem);
}

static void test_any_bit(void **unused)
{
	(void)unused;
	write_small();
	assert_null(refusal());
	for (uint64_t at = 0; at < sizeof(struct snapshot_header); at++) {
		for (unsigned int bit = 0; bit < 8; bit++) {
			flip(at, (uint8_t)(1u << bit));
			assert_non_null(refusal());
			flip(at, (uint8_t)(1u << bit));
		}
	}
	for (uint64_t at = SNAPSHOT_STATE_AT; at < SNAPSHOT_STATE_AT + 64; at++) {
		flip(at, 0x10);
		expect_refusal("damaged");
		flip(at, 0x10);
	}
	assert_null(refusal());
}

static void test_sizes(void **unused)
{
	struct stat st;

	(void)unused;
	write_small();
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size - 1), 0);
	expect_refusal("it was cut, or has grown");
	assert_int_equal(truncate(path, st.st_size + 4096), 0);
	expect_refusal("it was cut, or has grown");
	assert_int_equal(truncate(path, 50), 0);
	expect_refusal("too short");
	assert_int_equal(truncate(path, 0), 0);
	expect_refusal("too short");
	assert_int_equal(unlink(path), 0);
	expect_refusal("No such file");
	assert_int_equal(mkdir(path, 0700), 0);
	expect_refusal("no file");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_refusal("no file");
}

/* With a sum that is right. */
static void test_lies(void **unused)
{
	uint8_t state[64] = { 0 };
	struct snapshot_header h;
	static const struct {
		uint64_t ram_bytes;
		uint32_t cpus, disks;
		uint8_t flag, flat, waits, command, results;
		uint32_t trees;
	} cases[] = {
		{ 0, 1, 0, 0, 0, 0, 0, 0, 0 },
		{ MIB(2) + 1, 1, 0, 0, 0, 0, 0, 0, 0 },
		{ 1ull << 47, 1, 0, 0, 0, 0, 0, 0, 0 },
		{ MIB(2), 0, 0, 0, 0, 0, 0, 0, 0 },
		{ MIB(2), 256, 0, 0, 0, 0, 0, 0, 0 },
		{ MIB(2), 1, 65, 0, 0, 0, 0, 0, 0 },
		{ MIB(2), 1, 0, 2, 0, 0, 0, 0, 0 },
		{ MIB(2), 1, 0, 0, 0, 0, 3, 0, 0 },
		/* What boots instead of one that waits has nothing of it: so nothing of a command, either. */
		{ MIB(2), 1, 0, 0, 0, 1, SNAPSHOT_STREAMS, 0, 0 },
		{ MIB(2), 1, 0, 0, 0, 1, SNAPSHOT_TERMINAL, 0, 0 },
		{ MIB(2), 1, 0, 0, 1, 1, 0, 0, 0 },
		{ MIB(2), 1, 0, 0, 1, 0, SNAPSHOT_STREAMS, 0, 0 },
		{ MIB(2), 1, 0, 0, 0, 0, SNAPSHOT_STREAMS, 2, 0 },
		{ MIB(2), 1, 0, 0, 0, 0, 0, 1, 0 },
		/* Directories are a command's. */
		{ MIB(2), 1, 1, 0, 0, 0, 0, 0, 1 },
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		h = (struct snapshot_header){
			.machine = {
				.ram_bytes = cases[i].ram_bytes,
				.cpus = cases[i].cpus,
				.nr_disks = cases[i].disks,
				.mmio = cases[i].flag,
				.flat = cases[i].flat,
				.waits = cases[i].waits,
				.command = cases[i].command,
				.results = cases[i].results,
				.nr_trees = cases[i].trees,
			},
		};
		snapshot_fill(&h, state, sizeof(state));
		write_file(path, &h, sizeof(h));
		assert_int_equal(truncate(path, (off_t)min_u64(h.file_bytes, GIB(1024))), 0);
		expect_refusal("damaged");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_there_and_back, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_memory, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_any_bit, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_sizes, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_lies, make_folder, remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
