// SPDX-License-Identifier: GPL-2.0-only
/*
 * The archive for a guest, read back by Debian's cpio: names, types, rights, owners, contents; and
 * small directories in it, of every type of file, with what happens to one that is too large.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "guest/init-image.h"
#include "guest/initramfs.h"
#include "log.h"
#include "tests/lib/unit.h"
#include "util.h"

static char dir[64], listing[1 << 20];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/lkvm-initramfs-XXXXXX");
	return !mkdtemp(dir);
}

static int teardown(void **state)
{
	char command[256];

	(void)state;
	snprintf(command, sizeof(command), "chmod -R u+rwx %s; rm -rf %s", dir, dir);
	return system(command);
}

static const char *place(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void put_text(const char *name, const char *text, mode_t mode)
{
	write_file(place(name), text, strlen(text));
	assert_int_equal(chmod(place(name), mode), 0);
}

/* What "cpio ARGUMENTS" makes of the archive. */
static void cpio(int fd, const char *arguments)
{
	char command[512];
	int status;

	snprintf(command, sizeof(command), "cd %s && cpio --quiet %s </proc/%d/fd/%d", dir, arguments,
		 getpid(), fd);
	status = run_tool(command, listing, sizeof(listing));
	if (status)
		fprintf(stderr, "%s\n", listing);
	assert_int_equal(status, 0);
}

static void has_line(const char *line)
{
	char *p = strstr(listing, line);

	if (!p)
		fprintf(stderr, "not there: %s\n%s\n", line, listing);
	assert_non_null(p);
}

static void same_file(const char *name, const void *data, size_t bytes)
{
	uint8_t *back = malloc(bytes + 1);
	int fd = open(place(name), O_RDONLY);

	assert_non_null(back);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, back, bytes + 1), bytes);
	assert_memory_equal(back, data, bytes);
	close(fd);
	free(back);
}

static void it_has_all_that_a_guest_starts_with(void **state)
{
	static uint8_t driver[100001];
	const struct module_choice modules = {
		.nr_files = 3,
		.files = {
			{ .name = "virtio", .data = driver, .bytes = sizeof(driver) },
			{ .name = "crc32c_generic", .data = driver, .bytes = 3, .optional = true },
			{ .name = "erofs", .data = driver, .bytes = 0 },
		},
	};
	struct initramfs_config config = {
		.init = guest_init_start,
		.init_bytes = guest_init_bytes(),
		.modules = &modules,
	};
	static const char list[] = "virtio.ko\n-crc32c_generic.ko\nerofs.ko\n";
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(driver); i++)
		driver[i] = (uint8_t)(i * 7);
	assert_int_equal(initramfs_create(&fd, &config), 0);
	cpio(fd, "-it");
	assert_string_equal(listing, "init\ndev\ndev/console\nlkvm\nlkvm/modules\nlkvm/virtio.ko\n"
				     "lkvm/crc32c_generic.ko\nlkvm/erofs.ko\n");
	cpio(fd, "-itvn");
	has_line("-rwxr-xr-x   1 0        0        ");
	has_line("drwxr-xr-x   2 0        0               0 Jan  1  1970 dev\n");
	has_line("crw-------   1 0        0          5,   1 Jan  1  1970 dev/console\n");
	cpio(fd, "-id init 'lkvm/*'");
	same_file("init", guest_init_start, guest_init_bytes());
	same_file("lkvm/modules", list, strlen(list));
	same_file("lkvm/virtio.ko", driver, sizeof(driver));
	same_file("lkvm/crc32c_generic.ko", driver, 3);
	same_file("lkvm/erofs.ko", driver, 0);
	close(fd);
	/* What is joined to others begins and ends at a multiple of four. */
	config.init_bytes--;
	assert_int_equal(initramfs_create(&fd, &config), 0);
	assert_int_equal(lseek(fd, 0, SEEK_END) % 4, 0);
	close(fd);
}

static int create_tree(int *fd, bool own_is_root)
{
	const struct initramfs_config config = {
		.init = "x",
		.init_bytes = 1,
		.nr_trees = 1,
		.trees = { {
			.option = "--root",
			.path = place("tree"),
			.to = "lkvm/root",
			.own_is_root = own_is_root,
		} },
	};

	return initramfs_create(fd, &config);
}

static void a_tree_keeps_types_rights_and_times(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct timespec then[] = { { .tv_sec = 86400 * 365 }, { .tv_sec = 86400 * 365 } };
	int fd, s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(mkdir(place("tree"), 0755), 0);
	assert_int_equal(mkdir(place("tree/empty"), 0700), 0);
	put_text("tree/sticky", "", 0444);
	assert_int_equal(mkdir(place("tree/sub"), 0755), 0);
	assert_int_equal(chmod(place("tree/sub"), 01777), 0);
	put_text("tree/sub/file with\nodd \xff name", "text\n", 04751);
	assert_int_equal(symlink("../../a/target", place("tree/sub/link")), 0);
	assert_int_equal(mkfifo(place("tree/fifo"), 0640), 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/tree/socket", dir);
	assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof(address)), 0);
	put_text("tree/one", "same\n", 0644);
	char two[PATH_MAX];
	snprintf(two, sizeof(two), "%s/tree/two", dir);
	assert_int_equal(link(place("tree/one"), two), 0);
	assert_int_equal(utimensat(AT_FDCWD, place("tree/one"), then, 0), 0);
	assert_int_equal(create_tree(&fd, false), 0);
	cpio(fd, "-itvn");
	has_line("drwx------   2");
	has_line("lkvm/root/empty\n");
	has_line("drwxrwxrwt   2");
	has_line("-rwsr-x--x   1");
	has_line("lkvm/root/sub/link -> ../../a/target\n");
	has_line("prw-r-----   1");
	has_line("lkvm/root/socket\n");
	has_line("Jan  1  1971 lkvm/root/one\n");
	has_line("Jan  1  1971 lkvm/root/two\n");
	cpio(fd, "-idm 'lkvm/*'");
	same_file("lkvm/root/one", "same\n", 5);
	same_file("lkvm/root/two", "same\n", 5);
	same_file("lkvm/root/sub/file with\nodd \xff name", "text\n", 5);
	close(fd);
	close(s);
}

/* The caller's own become root's; others keep their owner. */
static void owners_are_kept_or_become_root(void **state)
{
	char line[128];
	int fd;

	(void)state;
	assert_int_equal(mkdir(place("tree"), 0755), 0);
	put_text("tree/own", "", 0644);
	if (is_real_root()) {
		put_text("tree/other", "", 0644);
		assert_int_equal(chown(place("tree/other"), 1234, 4321), 0);
	}
	assert_int_equal(create_tree(&fd, false), 0);
	cpio(fd, "-itvn lkvm/root/own");
	snprintf(line, sizeof(line), "-rw-r--r--   1 %-8d %-8d ", getuid(), getgid());
	has_line(line);
	close(fd);
	assert_int_equal(create_tree(&fd, true), 0);
	cpio(fd, "-itvn lkvm/root/own");
	has_line("-rw-r--r--   1 0        0        ");
	if (is_real_root()) {
		cpio(fd, "-itvn lkvm/root/other");
		has_line("-rw-r--r--   1 1234     4321     ");
	}
	close(fd);
}

static void a_tree_that_is_too_large_is_refused(void **state)
{
	char name[64];
	int fd;

	(void)state;
	assert_int_equal(mkdir(place("tree"), 0755), 0);
	put_text("tree/large", "", 0644);
	assert_int_equal(truncate(place("tree/large"), (off_t)INITRAMFS_MAX_TREE_BYTES), 0);
	assert_int_equal(create_tree(&fd, false), 0);
	close(fd);
	put_text("tree/more", "x", 0644);
	assert_int_equal(create_tree(&fd, false), -E2BIG);
	assert_int_equal(fd, -1);
	assert_int_equal(truncate(place("tree/large"), 0), 0);
	/* Depth: as many as are allowed, and one more. */
	snprintf(name, sizeof(name), "%s", "tree");
	for (int i = 0; i < 70; i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/tree", dir);
		for (int k = 0; k <= i; k++)
			strcat(path, "/d");
		assert_int_equal(mkdir(path, 0755), 0);
	}
	assert_int_equal(create_tree(&fd, false), -ELOOP);
	assert_int_equal(create_tree(&fd, true), -ELOOP);
}

static void too_many_files_are_refused(void **state)
{
	int fd, folder;

	(void)state;
	assert_int_equal(mkdir(place("tree"), 0755), 0);
	folder = open(place("tree"), O_PATH | O_DIRECTORY);
	for (unsigned int i = 0; i + 1 < INITRAMFS_MAX_TREE_ENTRIES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(symlinkat("x", folder, name), 0);
	}
	assert_int_equal(create_tree(&fd, false), 0);
	close(fd);
	assert_int_equal(symlinkat("x", folder, "one-more"), 0);
	assert_int_equal(create_tree(&fd, false), -E2BIG);
	close(folder);
}

static void what_cannot_be_read_is_said(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(create_tree(&fd, false), -ENOENT);
	put_text("tree", "a file", 0644);
	assert_int_equal(create_tree(&fd, false), -ENOTDIR);
	assert_int_equal(unlink(place("tree")), 0);
	if (!getuid())
		return; /* who may read everything */
	assert_int_equal(mkdir(place("tree"), 0755), 0);
	put_text("tree/secret", "secret", 0000);
	assert_int_equal(mkdir(place("tree/closed"), 0000), 0);
	assert_int_equal(create_tree(&fd, false), 0);
	cpio(fd, "-itvn");
	has_line("----------   1");
	has_line("lkvm/root/secret\n");
	has_line("d---------   2");
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_has_all_that_a_guest_starts_with),
		TEST(a_tree_keeps_types_rights_and_times),
		TEST(owners_are_kept_or_become_root),
		TEST(a_tree_that_is_too_large_is_refused),
		TEST(too_many_files_are_refused),
		TEST(what_cannot_be_read_is_said),
	};

	umask(022);
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("initramfs", tests, NULL, NULL);
}
