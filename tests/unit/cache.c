// SPDX-License-Identifier: GPL-2.0-only
/*
 * A folder of files that can be made again: entries are whole or not there, one that was changed
 * is not used, the one that was of use longest ago goes first, and nothing else is touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache.h"
#include "tests/lib/unit.h"

#define MADE_NS 1234567890123456789ll
#define SUFFIX	".kernel"

static char dir[64];
static int folder;

static int setup(void **state)
{
	const char *why;

	(void)state;
	strcpy(dir, "/tmp/lkvm-cache-XXXXXX");
	assert_non_null(mkdtemp(dir));
	folder = cache_open_folder(dir, &why);
	return folder < 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	close(folder);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static bool is_there(const char *name)
{
	return !faccessat(folder, name, F_OK, AT_SYMLINK_NOFOLLOW);
}

/* An entry of @bytes bytes, last used at second @used. */
static void store(const char *name, size_t bytes, time_t used)
{
	const struct timespec times[] = { { .tv_sec = used }, { .tv_nsec = UTIME_OMIT } };
	char *data = calloc(1, bytes);
	const char *why;
	int lock, fd = cache_begin(folder, &lock, &why);

	assert_true(fd >= 0);
	memset(data, 'x', bytes);
	assert_int_equal(write(fd, data, bytes), (ssize_t)bytes);
	assert_false(is_there(name));
	assert_true(cache_publish(folder, fd, name, MADE_NS));
	close(fd);
	close(lock);
	free(data);
	assert_int_equal(utimensat(folder, name, times, 0), 0);
}

static bool is_used(const char *name)
{
	int fd = cache_open_entry(folder, name, MADE_NS);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void an_entry_is_found_until_it_is_changed(void **state)
{
	struct stat st;
	int fd;

	(void)state;
	assert_false(is_used("lkvm-1" SUFFIX));
	store("lkvm-1" SUFFIX, 5000, 1);
	assert_true(is_used("lkvm-1" SUFFIX));
	assert_int_equal(fstatat(folder, "lkvm-1" SUFFIX, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	fd = cache_open_entry(folder, "lkvm-1" SUFFIX, MADE_NS + 1);
	assert_int_equal(fd, -1);
	/* A reader that has it open notices, too. */
	fd = cache_open_entry(folder, "lkvm-1" SUFFIX, MADE_NS);
	assert_true(cache_is_unchanged(fd, MADE_NS));
	int writer = openat(folder, "lkvm-1" SUFFIX, O_WRONLY);
	assert_int_equal(pwrite(writer, "y", 1, 100), 1);
	close(writer);
	assert_false(cache_is_unchanged(fd, MADE_NS));
	close(fd);
	assert_false(is_used("lkvm-1" SUFFIX));
}

static void what_others_can_write_is_not_used(void **state)
{
	const char *why;

	(void)state;
	store("lkvm-1" SUFFIX, 100, 1);
	assert_int_equal(fchmodat(folder, "lkvm-1" SUFFIX, 0620, 0), 0);
	assert_false(is_used("lkvm-1" SUFFIX));
	store("lkvm-2" SUFFIX, 100, 1);
	assert_int_equal(symlinkat("lkvm-2" SUFFIX, folder, "lkvm-3" SUFFIX), 0);
	assert_false(is_used("lkvm-3" SUFFIX));
	assert_int_equal(mkfifoat(folder, "lkvm-4" SUFFIX, 0600), 0);
	assert_false(is_used("lkvm-4" SUFFIX));
	assert_int_equal(mkdirat(folder, "open", 0777), 0);
	assert_int_equal(fchmodat(folder, "open", 0777, 0), 0);
	char path[128];
	snprintf(path, sizeof(path), "%s/open", dir);
	assert_int_equal(cache_open_folder(path, &why), -1);
	assert_string_equal(why, "its folder is not ours alone to write");
}

static void what_is_given_up_leaves_nothing(void **state)
{
	const char *why;
	int lock, other, fd = cache_begin(folder, &lock, &why);

	(void)state;
	assert_true(fd >= 0);
	/* One at a time. */
	assert_int_equal(cache_begin(folder, &other, &why), -1);
	assert_string_equal(why, "another lkvm is at it");
	cache_discard(folder);
	close(fd);
	close(lock);
	assert_false(is_there(CACHE_PREFIX "new.tmp"));
	/* One that was killed leaves its file, and the next one goes on. */
	close(openat(folder, CACHE_PREFIX "new.tmp", O_CREAT | O_WRONLY, 0600));
	store("lkvm-1" SUFFIX, 100, 1);
	assert_true(is_used("lkvm-1" SUFFIX));
	assert_false(is_there(CACHE_PREFIX "new.tmp"));
}

static void the_oldest_use_goes_first(void **state)
{
	(void)state;
	store("lkvm-a" SUFFIX, 100000, 30);
	store("lkvm-b" SUFFIX, 100000, 10);
	store("lkvm-c" SUFFIX, 100000, 20);
	cache_trim(folder, SUFFIX, 400000);
	assert_true(is_there("lkvm-b" SUFFIX));
	cache_mark_use(folder, "lkvm-b" SUFFIX);
	assert_true(is_used("lkvm-b" SUFFIX)); /* which changes nothing else */
	cache_trim(folder, SUFFIX, 250000);
	assert_false(is_there("lkvm-c" SUFFIX));
	assert_true(is_there("lkvm-a" SUFFIX));
	cache_trim(folder, SUFFIX, 150000);
	assert_false(is_there("lkvm-a" SUFFIX));
	assert_true(is_there("lkvm-b" SUFFIX));
}

static void what_is_not_the_caches_stays(void **state)
{
	static const char *const names[] = {
		"linux.kernel", "lkvm-6.1.kernel", "lkvm-notes.kernel", "lkvm-12.image", "a", "lkvm-.kernelx"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int fd = openat(folder, names[i], O_CREAT | O_WRONLY, 0600);

		assert_int_equal(write(fd, "mine", 4), 4);
		close(fd);
	}
	/* One that cannot be removed keeps no other. */
	assert_int_equal(mkdirat(folder, "lkvm-0" SUFFIX, 0700), 0);
	store("lkvm-1" SUFFIX, 100000, 1);
	cache_trim(folder, SUFFIX, 0);
	assert_false(is_there("lkvm-1" SUFFIX));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_true(is_there(names[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_entry_is_found_until_it_is_changed, setup, teardown),
		cmocka_unit_test_setup_teardown(what_others_can_write_is_not_used, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_given_up_leaves_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(the_oldest_use_goes_first, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_the_caches_stays, setup, teardown),
	};

	return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
