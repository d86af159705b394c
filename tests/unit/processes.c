// SPDX-License-Identifier: GPL-2.0-only
/*
 * What processes of lkvm have open, what they leave behind in the file system, and that the VM's
 * does not wait for the broker.
 */
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

#include "event.h"
#include "sandbox/broker.h"
#include "sandbox/fds.h"
#include "sandbox/sandbox.h"
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

/* ---- the broker ---- */

struct log_rig {
	struct event_loop *loop;
	struct broker broker;
	int other; /* what a broker of ours would have; -1 */
	unsigned int opened;
	struct stat file;
	int error;
};

static void on_opened(void *arg, int fd)
{
	struct log_rig *r = arg;

	r->opened++;
	r->error = fd < 0 ? fd : 0;
	if (fd >= 0) {
		assert_int_equal(fstat(fd, &r->file), 0);
		close(fd);
	}
	event_stop(r->loop);
}

static void open_log_rig(struct log_rig *r, const char *path)
{
	*r = (struct log_rig){ .other = -1 };
	alarm(20); /* whoever waits for a broker that does not answer */
	assert_int_equal(event_loop_create(&r->loop), 0);
	broker_init(&r->broker, path);
}

static void close_log_rig(struct log_rig *r)
{
	broker_stop(&r->broker);
	event_loop_destroy(r->loop);
	alarm(0);
}

static void the_log_is_opened_again(void **state)
{
	char folder[] = "/tmp/lkvm-broker-XXXXXX", path[64];
	struct sandbox sandbox;
	struct log_rig r;
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/log", folder);
	sandbox_init(&sandbox, SANDBOX_OFF);
	open_log_rig(&r, path);
	assert_int_equal(broker_start(&r.broker, &sandbox), 0);
	assert_int_equal(broker_watch(&r.broker, r.loop, on_opened, &r), 0);
	broker_reopen_log(&r.broker);
	assert_int_equal(r.opened, 0);
	assert_int_equal(event_run(r.loop), 0);
	assert_int_equal(r.opened, 1);
	assert_int_equal(r.error, 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(r.file.st_ino, st.st_ino);
	close_log_rig(&r);
	sandbox_fini(&sandbox);
	unlink(path);
	rmdir(folder);
}

/* One that we are: what the kernel has sent us so far. */
static unsigned int orders_of(int fd)
{
	char order;
	unsigned int n = 0;

	while (recv(fd, &order, 1, MSG_DONTWAIT) == 1)
		n++;
	return n;
}

static void be_the_broker(struct log_rig *r)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	r->broker.helper = pair[0];
	r->other = pair[1];
	assert_int_equal(broker_watch(&r->broker, r->loop, on_opened, r), 0);
}

static void nobody_waits_for_a_broker(void **state)
{
	const int error = ENOSPC;
	struct log_rig r;
	uint64_t start;

	(void)state;
	open_log_rig(&r, "log");
	be_the_broker(&r);
	for (unsigned int i = 0; i < 3; i++)
		broker_reopen_log(&r.broker);
	assert_int_equal(r.opened, 0);
	assert_int_equal(orders_of(r.other), 1);
	/* An answer, and it is asked what else has changed meanwhile: once. */
	assert_int_equal(send(r.other, &error, sizeof(error), 0), sizeof(error));
	assert_int_equal(event_run(r.loop), 0);
	assert_int_equal(r.opened, 1);
	assert_int_equal(r.error, -ENOSPC);
	assert_int_equal(orders_of(r.other), 1);
	/* Nor at the end, for long. */
	start = now_ns();
	close_log_rig(&r);
	assert_true(now_ns() - start < 5000000000ull);
	close(r.other);
}

static void a_broker_that_is_gone_is_noticed(void **state)
{
	struct log_rig r;

	(void)state;
	open_log_rig(&r, "log");
	be_the_broker(&r);
	broker_reopen_log(&r.broker);
	close(r.other);
	assert_int_equal(event_run(r.loop), 0);
	assert_int_equal(r.opened, 1);
	assert_int_equal(r.error, -EPIPE);
	broker_reopen_log(&r.broker);
	assert_int_equal(r.opened, 2);
	close_log_rig(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_but_what_is_kept_is_closed),
		cmocka_unit_test(what_is_named_has_to_be_open),
		cmocka_unit_test(there_is_a_limit_to_what_is_named),
		cmocka_unit_test(only_our_own_socket_is_removed),
		cmocka_unit_test(the_log_is_opened_again),
		cmocka_unit_test(nobody_waits_for_a_broker),
		cmocka_unit_test(a_broker_that_is_gone_is_noticed),
	};

	return cmocka_run_group_tests_name("processes", tests, NULL, NULL);
}
