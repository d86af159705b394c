// SPDX-License-Identifier: GPL-2.0-only
/*
 * What `lkvm snapshot` leaves in its directory, whatever the disk and the VM do: the new file if the VM has ended with
 * it, what was there before if the VM runs on, and nothing else.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/receive.h"
#include "control/registry.h"
#include "io.h"
#include "util.h"

/* ---- the VM, and the disk ---- */

static struct {
	int socket; /* its end */
	enum {
		WAITS,
		LEAVES_EARLY,
		LEAVES_LATE,
		DIES_EARLY,
		DIES_LATE,
	} does;
	int fails; /* errno of this fsync(2): 1 the file's, 2 the directory's */
	unsigned int fsyncs;
	bool is_gone, has_no_links;
	int32_t word; /* 1: none */
} fake;

static void hang_up(void)
{
	close(fake.socket);
	fake.socket = -1;
}

static int test_fsync(int fd)
{
	(void)fd;
	fake.fsyncs++;
	if (fake.fsyncs == 1 && (fake.does == LEAVES_EARLY || fake.does == DIES_EARLY)) {
		fake.is_gone = fake.does == DIES_EARLY;
		hang_up();
	}
	if (fake.fails == (int)fake.fsyncs) {
		errno = EIO;
		return -1;
	}
	return 0;
}

/* FAT has none, and who does not own a file may not make one of it (fs.protected_hardlinks). */
static int test_linkat(int from, const char *name, int to, const char *new_name, int flags)
{
	if (!fake.has_no_links)
		return linkat(from, name, to, new_name, flags);
	errno = EPERM;
	return -1;
}

/* What it does with the word comes at once. */
static ssize_t test_send(int socket, const void *data, size_t bytes)
{
	ssize_t n = socket_send(socket, data, bytes);

	if (fake.socket < 0)
		return n;
	if (fake.does == WAITS) {
		assert_int_equal(socket_recv(fake.socket, &fake.word, sizeof(fake.word)), sizeof(fake.word));
		fake.is_gone = !fake.word;
	}
	fake.is_gone |= fake.does == DIES_LATE;
	hang_up();
	return n;
}

static int test_receive(struct receive *r, const char *request)
{
	int pair[2];

	assert_non_null(strstr(request, "\"stop\":true"));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	r->socket = pair[0];
	fake.socket = pair[1];
	assert_int_equal(write(r->file->fd, "new", 3), 3);
	return 0;
}

static bool test_wait(const struct registry_vm *registered, uint64_t deadline)
{
	(void)registered;
	(void)deadline;
	return fake.is_gone;
}

static int test_open(struct registry *registry, bool create)
{
	(void)registry;
	assert_false(create);
	return 0;
}

static int test_find(struct registry_vm *found, const struct registry *registry, const char *name)
{
	(void)registry;
	memset(found, 0, sizeof(*found));
	snprintf(found->name, sizeof(found->name), "%s", name);
	return 0;
}

static void test_forget(struct registry_vm *found)
{
	(void)found;
}

static void test_close(struct registry *registry)
{
	(void)registry;
}

#define linkat		test_linkat
#define fsync		test_fsync
#define socket_send	test_send
#define receive_file	test_receive
#define registry_wait	test_wait
#define registry_open	test_open
#define registry_find	test_find
#define registry_forget test_forget
#define registry_close	test_close
#define cmd_snapshot	tested_command

#include "cmd/snapshot.c"
#undef linkat

/* ---- what is there then ---- */

static char dir[] = "/tmp/snapshot-command.XXXXXX";

static int in_dir(void)
{
	return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void assert_there(const char *want)
{
	char text[8] = { 0 };
	int d = in_dir(), fd = openat(d, SNAPSHOT_NAME, O_RDONLY | O_CLOEXEC);

	assert_int_equal(fd >= 0, want != NULL);
	if (fd >= 0) {
		assert_true(read(fd, text, sizeof(text) - 1) > 0);
		close(fd);
		assert_string_equal(text, want);
	}
	assert_int_not_equal(faccessat(d, HIDDEN_NAME, F_OK, 0), 0);
	assert_int_not_equal(faccessat(d, OLD_NAME, F_OK, 0), 0);
	close(d);
}

static void put_old(bool is_there)
{
	int d = in_dir(), fd;

	unlinkat(d, SNAPSHOT_NAME, 0);
	if (is_there) {
		fd = openat(d, SNAPSHOT_NAME, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_int_equal(write(fd, "old", 3), 3);
		close(fd);
		/* Of one that was killed. */
		assert_int_equal(linkat(d, SNAPSHOT_NAME, d, OLD_NAME, 0), 0);
	}
	close(d);
}

static void an_older_one_is_replaced_only_if_the_vm_ends(void **state)
{
	static const struct {
		int does, fails;
		bool is_new;
		int32_t word;
	} cases[] = {
		{ WAITS, 0, true, 0 },
		{ WAITS, 1, false, -EIO },
		{ WAITS, 2, false, -EIO },
		{ LEAVES_EARLY, 0, false, 1 },
		{ LEAVES_LATE, 0, false, 1 },
		{ DIES_EARLY, 0, true, 1 },
		{ DIES_LATE, 0, true, 1 },
	};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		const bool had = i % 2;
		char *argv[] = { (char[]){ "snapshot" }, (char[]){ "vm" }, dir, (char[]){ "--stop" }, NULL };
		int status;

		memset(&fake, 0, sizeof(fake));
		fake.socket = -1;
		fake.word = 1;
		fake.does = cases[i / 2].does;
		fake.fails = cases[i / 2].fails;
		put_old(had);
		status = tested_command(4, argv, 0);
		if (fake.socket >= 0)
			hang_up();
		if (status != (cases[i / 2].is_new ? EXIT_OK : EXIT_NOT_DONE) || fake.word != cases[i / 2].word)
			fail_msg("%zu: status %d, told %d", i / 2, status, fake.word);
		assert_there(cases[i / 2].is_new ? "new" :
			     had		 ? "old" :
						   NULL);
	}
}

/* So it stays, and the VM is told to go on, whatever that would have done. */
static void an_older_one_that_cannot_be_kept_is_not_replaced(void **state)
{
	char *argv[] = { (char[]){ "snapshot" }, (char[]){ "vm" }, dir, (char[]){ "--stop" }, NULL };

	(void)state;
	for (int had = 0; had < 2; had++) {
		memset(&fake, 0, sizeof(fake));
		fake.word = 1;
		put_old(had);
		fake.has_no_links = had;
		assert_int_equal(tested_command(4, argv, 0), had ? EXIT_NOT_DONE : EXIT_OK);
		if (fake.socket >= 0)
			hang_up();
		assert_int_equal(fake.word, had ? -ECANCELED : 0);
		assert_there(had ? "old" : "new");
	}
}

static int make_dir(void **state)
{
	(void)state;
	return !mkdtemp(dir);
}

static int remove_dir(void **state)
{
	(void)state;
	put_old(false);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_older_one_is_replaced_only_if_the_vm_ends),
		cmocka_unit_test(an_older_one_that_cannot_be_kept_is_not_replaced),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
