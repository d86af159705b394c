// SPDX-License-Identifier: GPL-2.0-only
/* What processes of lkvm have open, and what they leave behind in the file system. */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "sandbox/fds.h"
#include "socket-name.h"
#include "util.h"

/* From now on call @nr of this process fails with @error. */
static int refuse_call(unsigned int nr, unsigned int error)
{
	struct sock_filter insns[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_SIZE(insns), insns };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &program);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* In a process of its own: 0 if 20, 23 and 300 are what is left. */
static int close_all_but_three(const unsigned int *refused, unsigned int nr)
{
	const int keep[] = { 300, -1, 20, 23 };
	const struct rlimit limit = { 400, 400 };

	for (int fd = 20; fd < 26; fd++)
		dup2(STDERR_FILENO, fd);
	dup2(STDERR_FILENO, 300);
	dup2(STDERR_FILENO, 399);
	setrlimit(RLIMIT_NOFILE, &limit);
	for (unsigned int i = 0; i < nr; i++)
		if (refuse_call(refused[i], i ? ENOENT : ENOSYS))
			return 1;
	fds_close_others(keep, ARRAY_SIZE(keep));
	for (int fd = 0; fd < 400; fd++)
		if (is_open(fd) != (fd == 20 || fd == 23 || fd == 300))
			return 2;
	return 0;
}

/* Also on hosts without close_range(), and without /proc. */
static void everything_but_what_is_kept_is_closed(void **state)
{
	static const unsigned int refused[] = { SYS_close_range, SYS_openat };

	(void)state;
	for (unsigned int nr = 0; nr <= ARRAY_SIZE(refused); nr++) {
		int status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (!pid)
			_exit(close_all_but_three(refused, nr));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
}

static void what_is_named_has_to_be_open(void **state)
{
	struct fds f = { .nr = 0 };
	int fd = dup(STDERR_FILENO), other = dup(STDERR_FILENO);
	char text[100];

	(void)state;
	assert_int_equal(fds_keep(&f, STDIN_FILENO), 0);
	assert_int_equal(f.nr, 0);
	assert_int_equal(fds_keep(&f, fd), 0);
	assert_int_equal(fds_keep(&f, fd), 0);
	assert_int_equal(f.nr, 1);
	assert_int_equal(fds_keep(&f, 987), -EBADF);
	snprintf(text, sizeof(text), "/dev/fd/%d,ro:/proc/self/fd/987,/dev/fd/x,/dev/fd/%d", fd, other);
	assert_int_equal(fds_keep_paths(&f, text), 0);
	assert_int_equal(f.nr, 2);
	assert_int_equal(f.kept[1], other);
	fds_close_kept(&f);
	assert_false(is_open(fd) || is_open(other));
	assert_int_equal(f.nr, 0);
}

static void there_is_a_limit_to_what_is_named(void **state)
{
	struct fds f = { .nr = 0 };
	int fd = 0;

	(void)state;
	while (f.nr < FDS_MAX_KEPT) {
		fd = dup(STDERR_FILENO);
		assert_int_equal(fds_keep(&f, fd), 0);
	}
	assert_int_equal(fds_keep(&f, fd), 0);
	fd = dup(STDERR_FILENO);
	assert_int_equal(fds_keep(&f, fd), -EMFILE);
	fds_close_kept(&f);
	close(fd);
}

static int bind_at(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void only_our_own_socket_is_removed(void **state)
{
	char folder[] = "/tmp/lkvm-socket-XXXXXX", path[64];
	struct socket_name name, again;
	struct stat st;
	int ours, theirs;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/s", folder);
	ours = bind_at(path);
	name = socket_name_of(path);
	/* As by somebody who takes a name for a leftover. */
	unlink(path);
	theirs = bind_at(path);
	again = socket_name_of(path);
	socket_name_remove(&name);
	assert_null(name.path);
	assert_int_equal(lstat(path, &st), 0);
	socket_name_remove(&again);
	assert_int_equal(lstat(path, &st), -1);
	socket_name_remove(&again);
	assert_null(socket_name_of(path).path);
	close(ours);
	close(theirs);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_but_what_is_kept_is_closed),
		cmocka_unit_test(what_is_named_has_to_be_open),
		cmocka_unit_test(there_is_a_limit_to_what_is_named),
		cmocka_unit_test(only_our_own_socket_is_removed),
	};

	return cmocka_run_group_tests_name("processes", tests, NULL, NULL);
}
