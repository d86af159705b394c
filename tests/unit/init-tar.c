// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the guest's first process packs, Debian's tar and our own side unpack: the same tree comes out.
 */
#include "tests/lib/unit.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "guest/init-tar.c"
#include "guest/results-tar.h"

#define LISTING "-printf '%P %y %#m %s %T@ %l %n\\n' | sort"
#define LONG	"a-name-of-more-than-a-hundred-bytes-0123456789-0123456789-0123456789-0123456789-0123456789-" \
	     "0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789"

static char dir[64];
static char noticed[4096];

void init_notice(const char *fmt, ...)
{
	size_t at = strlen(noticed);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(noticed + at, sizeof(noticed) - at, fmt, ap);
	va_end(ap);
	strncat(noticed, "\n", sizeof(noticed) - strlen(noticed) - 1);
}

static char *look(const char *command)
{
	return run_in(dir, command);
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/lkvm-init-tar-XXXXXX");
	assert_non_null(mkdtemp(dir));
	look("mkdir in own theirs");
	noticed[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static int open_in(const char *name, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, flags | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

struct packing {
	int fd;
	uint64_t bytes, act_at;
	void (*act)(void);
	struct results_tar *unpacks; /* or NULL */
	int error;		     /* is what put() returns at act_at */
};

static int put_packed(void *arg, const void *data, size_t bytes)
{
	struct packing *p = arg;

	if (p->act && p->bytes >= p->act_at) {
		p->act();
		p->act = NULL;
	}
	if (p->error && p->bytes >= p->act_at)
		return p->error;
	p->bytes += bytes;
	if (p->unpacks && results_tar_feed(p->unpacks, data, bytes))
		return -EINVAL;
	return write(p->fd, data, bytes) == (ssize_t)bytes ? 0 : -EIO;
}

/* Packs in/ into t.tar and unpacks it into own/ by our own side, and into theirs/. */
static void pack(void)
{
	struct packing p = { .fd = open_in("t.tar", O_WRONLY | O_CREAT | O_TRUNC) };
	int in = open_in("in", O_RDONLY | O_DIRECTORY), own = open_in("own", O_RDONLY | O_DIRECTORY);

	assert_int_equal(results_tar_create(&p.unpacks, own), 0);
	assert_int_equal(init_tar_write(in, put_packed, &p), 0);
	assert_int_equal(results_tar_end(p.unpacks), 0);
	results_tar_destroy(p.unpacks);
	close(p.fd);
	close(in);
	close(own);
	assert_string_equal(look("tar --warning=no-timestamp -C theirs -xpf t.tar"), "");
}

static void compare_all(void)
{
	assert_string_equal(look("diff -r --no-dereference in own 2>&1"), "");
	assert_string_equal(look("find theirs -mindepth 1 " LISTING), look("find in -mindepth 1 " LISTING));
	assert_string_equal(look("find own -mindepth 1 " LISTING), look("find in -mindepth 1 " LISTING));
}

static void a_tree_comes_out_as_it_was(void **state)
{
	(void)state;
	look("cd in; L=" LONG "; mkdir -p a/b/c empty $L/$L; head -c 100000 /dev/urandom >a/b/data; echo x >x; : >nothing;"
	     "ln -s /etc/passwd a/link; ln -s /$L/$L/$L l; ln x a/hard; ln $L/f $L/$L/g; echo y >$L/$L/f;"
	     "ln $L/$L/f $L/h; ln a/link a/link2; head -c 32768 /dev/urandom >even; head -c 512 even >block;"
	     "echo 1 >\"$(printf 'odd \\n\\001\\303\\244 name')\"; chmod 440 x; chmod 700 a;"
	     "touch -d '1965-01-02 03:04:05.25 UTC' nothing; touch -d '1969-12-31 23:59:59.5 UTC' even;"
	     "touch -d @99999999999 block; touch -hd 2001-02-03T04:05:06.789Z a/link l empty; touch -d @0 $L");
	pack();
	compare_all();
	assert_string_equal(noticed, "");
}

static void holes_stay_holes(void **state)
{
	(void)state;
	look("cd in; truncate -s 5M hole; truncate -s 40G big; truncate -s 3M ends; for i in 0 7 11 30; do "
	     "echo $i | dd of=big bs=1 seek=${i}G conv=notrunc status=none; done; printf x >>big;"
	     "truncate -s 41G big; echo z >>ends; truncate -s 100M many; for i in $(seq 1 30); do "
	     "echo $i | dd of=many bs=1 seek=${i}M conv=notrunc status=none; done; ln big hard");
	pack();
	assert_string_equal(look("find theirs -mindepth 1 " LISTING), look("find in -mindepth 1 " LISTING));
	assert_string_equal(look("find own -mindepth 1 " LISTING), look("find in -mindepth 1 " LISTING));
	assert_string_equal(look("diff in/many own; diff in/ends own; diff in/hole own"), "");
	assert_string_equal(look("for i in 0 7 11 30; do "
				 "dd if=own/big bs=1 skip=${i}G count=3 status=none; done | tr -d '\\0'"),
			    "0\n7\n11\n30\n");
	assert_true(atoi(look("du -k own | cut -f1")) < 2000);
}

/* What comes after the last is packed with its holes. */
static void pieces_have_a_bound(void **state)
{
	int fd = open_in("in/many", O_WRONLY | O_CREAT);

	(void)state;
	for (off_t i = 0; i < 1500; i++)
		assert_int_equal(pwrite(fd, &i, sizeof(i), i * 16384), sizeof(i));
	close(fd);
	pack();
	compare_all();
}

static void links_have_a_bound(void **state)
{
	(void)state;
	look("cd in; for i in $(seq 1030); do echo $i >$i; ln $i $i-too; done");
	pack();
	assert_string_equal(look("diff -r in own; diff -r in theirs"), "");
	assert_string_equal(look("find own -type f -links 2 | wc -l"), "2048\n");
}

static void other_kinds_are_packed_or_noticed(void **state)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), null;

	(void)state;
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/in/socket", dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	look("mkfifo in/fifo; ln in/fifo in/same; mkdir in/dir; echo 1 >in/dir/f; chmod 6711 in/dir/f");
	fd = dup(STDERR_FILENO); /* our side's messages */
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	dup2(null, STDERR_FILENO);
	close(null);
	pack();
	dup2(fd, STDERR_FILENO);
	close(fd);
	assert_string_equal(noticed, "socket: a socket: left out\n");
	assert_string_equal(look("find theirs -mindepth 1 -printf '%P %#m\\n' | sort"), "dir 0755\ndir/f 06711\nfifo 0644\nsame 0644\n");
	assert_string_equal(look("ls own; stat -c %a own/dir/f"), "dir\n711\n");
}

static void make_shorter(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/in/file", dir);
	assert_int_equal(truncate(path, 100000), 0);
}

static void a_file_that_shrinks_ends_it(void **state)
{
	struct packing p = { .fd = open_in("t.tar", O_WRONLY | O_CREAT), .act = make_shorter, .act_at = 32768 };
	int in = open_in("in", O_RDONLY | O_DIRECTORY);

	(void)state;
	look("head -c 1M /dev/urandom >in/file");
	assert_int_equal(init_tar_write(in, put_packed, &p), -EIO);
	close(in);
	close(p.fd);
	assert_string_equal(noticed, "file: it became shorter\n");
}

static void whoever_takes_nothing_is_not_written_to(void **state)
{
	struct packing p = { .fd = open_in("t.tar", O_WRONLY | O_CREAT), .error = -EPIPE, .act_at = 65536 };
	int in = open_in("in", O_RDONLY | O_DIRECTORY);

	(void)state;
	look("head -c 1M /dev/urandom >in/file; cp in/file in/file2");
	assert_int_equal(init_tar_write(in, put_packed, &p), -EPIPE);
	assert_int_equal(p.bytes, 65536);
	close(in);
	close(p.fd);
}

static void other_file_systems_are_not_entered(void **state)
{
	(void)state;
	look("mkdir in/m && mount -t tmpfs none in/m && echo x >in/m/x");
	if (!strstr(look("stat -f -c %T in/m"), "tmpfs"))
		skip();
	pack();
	look("umount in/m");
	assert_string_equal(noticed, "m: left out: another file system\n");
	assert_string_equal(look("ls own"), "");
}

static void too_deep_is_noticed(void **state)
{
	char path[600] = "", command[700];

	(void)state;
	for (unsigned int i = 0; i < 258; i++)
		strcat(path, "d/");
	path[514] = '\0';
	snprintf(command, sizeof(command), "mkdir -p in/%s", path);
	look(command);
	pack();
	assert_non_null(strstr(noticed, "d: left out: nested too deeply\n"));
	assert_string_equal(look("find own -type d | wc -l"), "257\n");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(a_tree_comes_out_as_it_was),
		TEST(holes_stay_holes),
		TEST(pieces_have_a_bound),
		TEST(links_have_a_bound),
		TEST(other_kinds_are_packed_or_noticed),
		TEST(a_file_that_shrinks_ends_it),
		TEST(whoever_takes_nothing_is_not_written_to),
		TEST(other_file_systems_are_not_entered),
		TEST(too_deep_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
