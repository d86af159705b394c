// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where running VMs are found: names, the lock that dies with its processes, what the dead leave,
 * directories that are not ours, and many claims at once.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cmd/cmd.h"
#include "cmd/debug.h"
#include "cmd/registration.h"
#include "control/registry.h"
#include "util.h"

static char folder[64];

static int set_up(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/lkvm-registry-XXXXXX");
	assert_non_null(mkdtemp(folder));
	setenv("XDG_RUNTIME_DIR", folder, 1);
	return 0;
}

static int tear_down(void **state)
{
	char line[128], out[64];

	(void)state;
	snprintf(line, sizeof(line), "rm -rf %s", folder);
	return run_tool(line, out, sizeof(out));
}

/* Claims @name, as a run does. */
static int claim(struct registry_entry *e, const char *name)
{
	struct registry r;
	int rc = registry_open(&r, true);

	assert_int_equal(rc, 0);
	rc = registry_claim(e, &r, name);
	registry_close(&r);
	return rc;
}

static int find(struct registry_vm *vm, const char *name)
{
	struct registry r;
	int rc = registry_open(&r, false);

	if (!rc)
		rc = registry_find(vm, &r, name);
	registry_close(&r);
	return rc;
}

static bool exists(const char *file)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/lkvm/%s", folder, file);
	return !access(path, F_OK);
}

static void make_file(const char *file)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/lkvm/%s", folder, file);
	write_file(path, "x", 1);
}

/* A VM of that name in a process of its own, which writes a byte when it is there. */
static pid_t start_vm(const char *name)
{
	int ready[2];
	char byte = 0;
	pid_t child;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (!child) {
		struct registry_entry e;

		byte = claim(&e, name) ? 'n' : 'y';
		if (write(ready[1], &byte, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	close(ready[0]);
	return child;
}

static void kill_vm_process(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_life(void **state)
{
	struct registry_entry e, other;
	struct registry_vm vm;

	(void)state;
	assert_int_equal(find(&vm, "a"), -ENOENT);
	assert_int_equal(claim(&e, "a"), 0);
	make_file("a.sock");
	assert_int_equal(claim(&other, "a"), -EEXIST);
	assert_int_equal(find(&vm, "a"), 0);
	assert_int_equal(vm.pid, getpid());
	assert_false(registry_wait(&vm, 1));
	assert_int_equal(registry_get_status(&vm), -1);
	registry_leave(&e, 7);
	assert_true(registry_wait(&vm, 1));
	assert_true(registry_wait(&vm, 0));
	assert_int_equal(registry_get_status(&vm), 7);
	registry_forget(&vm);
	assert_false(exists("a.lock") || exists("a.sock"));
	assert_int_equal(find(&vm, "a"), -ENOENT);
}

/* Each process that has the lock keeps the VM alive; the last one to go ends it. */
static void test_lock_lives_in_all_processes(void **state)
{
	struct registry_entry e;
	struct registry_vm vm;
	pid_t child;

	(void)state;
	assert_int_equal(claim(&e, "a"), 0);
	child = fork();
	if (!child)
		for (;;)
			pause();
	assert_int_equal(find(&vm, "a"), 0);
	registry_give_away(&e);
	registry_leave(&e, 3);
	assert_false(registry_wait(&vm, 1));
	assert_true(exists("a.lock"));
	kill_vm_process(child);
	assert_true(registry_wait(&vm, 0));
	assert_int_equal(registry_get_status(&vm), 3);
	registry_forget(&vm);
}

static void test_the_dead_are_removed(void **state)
{
	struct registry_vm vm;
	struct registry_entry e;
	pid_t child = start_vm("dead");

	(void)state;
	make_file("dead.sock");
	assert_int_equal(find(&vm, "dead"), 0);
	assert_int_equal(vm.pid, child);
	kill_vm_process(child);
	assert_true(registry_wait(&vm, 0));
	assert_int_equal(registry_get_status(&vm), -1);
	registry_forget(&vm);
	assert_true(exists("dead.lock"));
	assert_int_equal(find(&vm, "dead"), -ENOENT);
	assert_false(exists("dead.lock") || exists("dead.sock"));

	/* By the next one of that name, too. */
	kill_vm_process(start_vm("dead"));
	assert_true(exists("dead.lock"));
	assert_int_equal(claim(&e, "dead"), 0);
	registry_leave(&e, 0);
}

static void test_names(void **state)
{
	static const char *const bad[] = { "", "a/b", "../a", "a b", "a\n", "ä", "-a", "--all", "-" };
	char longest[REGISTRY_MAX_NAME_BYTES + 2];
	struct registry_entry e, other;
	struct registry_vm vm;

	(void)state;
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(claim(&e, bad[i]), -EINVAL);
		assert_int_equal(find(&vm, bad[i]), -ENOENT);
	}
	assert_int_equal(claim(&e, longest), -EINVAL);
	longest[REGISTRY_MAX_NAME_BYTES] = '\0';
	assert_int_equal(claim(&e, longest), 0);
	assert_int_equal(find(&vm, longest), 0);
	registry_forget(&vm);
	registry_leave(&e, 0);
	assert_int_equal(claim(&e, NULL), 0);
	assert_int_equal(claim(&other, NULL), 0); /* the same number, elsewhere */
	assert_string_not_equal(e.name, other.name);
	assert_memory_equal(e.name, "lkvm-", 5);
	registry_leave(&e, 0);
	registry_leave(&other, 0);
}

static void test_list(void **state)
{
	static const char *const want[] = { "vm2", "vm10", "x" };
	struct registry_entry e[3];
	struct registry r;
	char **names;
	int nr;

	(void)state;
	assert_int_equal(registry_open(&r, false), -ENOENT);
	assert_int_equal(claim(&e[0], "x"), 0);
	assert_int_equal(claim(&e[1], "vm10"), 0);
	assert_int_equal(claim(&e[2], "vm2"), 0);
	make_file("rubbish");
	make_file(".lock");
	make_file("a b.lock");
	assert_int_equal(registry_open(&r, false), 0);
	nr = registry_list(&r, &names);
	assert_int_equal(nr, 3);
	for (int i = 0; i < nr; i++) {
		assert_string_equal(names[i], want[i]);
		free(names[i]);
	}
	free(names);
	registry_close(&r);
	for (int i = 0; i < 3; i++)
		registry_leave(&e[i], 0);
}

/* A directory that others can look into, one that is a link, one that is no directory. */
static void test_bad_directories(void **state)
{
	struct registry r;
	char path[128], elsewhere[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/lkvm", folder);
	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", folder);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(registry_open(&r, true), -EPERM);
	registry_close(&r);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkdir(elsewhere, 0700), 0);
	assert_int_equal(symlink(elsewhere, path), 0);
	assert_true(registry_open(&r, true) < 0);
	registry_close(&r);
	assert_int_equal(unlink(path), 0);
	write_file(path, "x", 1);
	assert_int_equal(registry_open(&r, true), -ENOTDIR);
	registry_close(&r);
	if (!is_real_root())
		return;
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chown(path, 12345, 12345), 0);
	assert_int_equal(registry_open(&r, true), -EPERM);
	registry_close(&r);
}

/* What a lock file should not be: nothing of it is believed, and nothing waits. */
static void test_bad_files(void **state)
{
	static const char *const records[] = { "", "1", "2 5 0\n", "1 -5 0\n", "1 5 4000\n", "1 0 0\n" };
	char path[256], target[256];
	struct registry_entry e;
	struct registry_vm vm;

	(void)state;
	assert_int_equal(claim(&e, "a"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		assert_int_equal(ftruncate(e.lock, 0), 0);
		assert_int_equal(pwrite(e.lock, records[i], strlen(records[i]), 0), strlen(records[i]));
		assert_int_equal(find(&vm, "a"), 0);
		assert_int_equal(vm.pid, 0);
		assert_int_equal(registry_get_status(&vm), -1);
		registry_forget(&vm);
	}
	registry_leave(&e, 0);
	snprintf(path, sizeof(path), "%s/lkvm/fifo.lock", folder);
	snprintf(target, sizeof(target), "%s/lkvm/target", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(find(&vm, "fifo"), -ENOENT);
	make_file("target");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(find(&vm, "fifo"), -ENOENT);
	assert_true(exists("target"));
}

/* Whose files were removed by hand removes no other VM's. */
static void test_removes_only_own(void **state)
{
	struct registry_entry e, next;
	struct registry_vm vm;

	(void)state;
	assert_int_equal(claim(&e, "a"), 0);
	assert_int_equal(unlink(e.lock_path), 0);
	assert_int_equal(claim(&next, "a"), 0);
	registry_leave(&e, 0);
	assert_int_equal(find(&vm, "a"), 0);
	registry_forget(&vm);
	registry_leave(&next, 0);
}

/* Many at once, who are killed, and others who look: of a name there is never more than one. */
static void test_race(void **state)
{
	int counter[2];
	pid_t children[8];

	(void)state;
	assert_int_equal(pipe(counter), 0);
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		children[i] = fork();
		if (children[i])
			continue;
		for (unsigned int k = 0; k < 200; k++) {
			struct registry_entry e;
			struct registry_vm vm;
			char guard[128];
			int fd;

			if (i & 1) {
				if (!find(&vm, "a"))
					registry_forget(&vm);
				continue;
			}
			if (claim(&e, "a"))
				continue;
			/* Alone: this file can be made only by one at a time. */
			snprintf(guard, sizeof(guard), "%s/guard", folder);
			fd = open(guard, O_CREAT | O_EXCL | O_WRONLY, 0600);
			if (fd < 0)
				_exit(1);
			close(fd);
			unlink(guard);
			if (k & 1)
				registry_give_away(&e); /* as if it had been killed */
			registry_leave(&e, 0);
		}
		_exit(0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		int status;

		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_int_equal(status, 0);
	}
}

/* lkvm list -q, in a process that may have @soft files open, and no more than @hard. How many lines. */
static unsigned int count_listed(rlim_t soft, rlim_t hard, int *status)
{
	char list[] = "list", quiet[] = "-q", path[128], line[128];
	char *argv[] = { list, quiet, NULL };
	const struct rlimit limit = { soft, hard };
	unsigned int lines = 0;
	pid_t child;
	FILE *out;

	snprintf(path, sizeof(path), "%s/out", folder);
	child = fork();
	if (!child) {
		int rc = (freopen(path, "w", stdout) && freopen("/dev/null", "w", stderr) &&
			  !setrlimit(RLIMIT_NOFILE, &limit)) ?
				 cmd_control(2, argv, 0) :
				 99;

		fflush(stdout);
		_exit(rc);
	}
	assert_int_equal(waitpid(child, status, 0), child);
	out = fopen(path, "r");
	assert_non_null(out);
	while (fgets(line, sizeof(line), out))
		lines++;
	fclose(out);
	return lines;
}

/* More of them than a process may usually have files open: all are found, or it is said. */
static void test_many(void **state)
{
	struct registry_entry *e = calloc(100, sizeof(*e));
	char name[16];
	int status;

	(void)state;
	for (unsigned int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "vm%u", i);
		assert_int_equal(claim(&e[i], name), 0);
		registry_give_away(&e[i]);
	}
	/* Those that this process has open count, too. */
	assert_int_equal(count_listed(150, 1000, &status), 100);
	assert_int_equal(status, 0);
	count_listed(150, 150, &status);
	assert_int_equal(WEXITSTATUS(status), EXIT_LKVM);
	for (unsigned int i = 0; i < 100; i++)
		registry_leave(&e[i], 0);
	free(e);
}

/* What is said when there can be no entry, by a process of its own. */
static const char *words_without_entry(const char *why)
{
	static char text[512];
	int words[2];
	ssize_t n;
	pid_t child;

	assert_int_equal(pipe(words), 0);
	child = fork();
	if (!child) {
		struct registration r = REGISTRATION_NONE;

		dup2(words[1], STDERR_FILENO);
		_exit(registration_claim(&r, NULL, why) ? 1 : 0);
	}
	close(words[1]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	n = read(words[0], text, sizeof(text) - 1);
	close(words[0]);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* One that has to be found says what for; another runs all the same. */
static void test_no_entry(void **state)
{
	char path[128], want[256];

	(void)state;
	snprintf(path, sizeof(path), "%s/lkvm", folder);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(want, sizeof(want), "lkvm: gdb: %s: Operation not permitted\n", path);
	assert_memory_equal(words_without_entry("gdb"), want, strlen(want));
	snprintf(want, sizeof(want), "lkvm: detach: %s: Operation not permitted\n", path);
	assert_memory_equal(words_without_entry("detach"), want, strlen(want));
	assert_string_equal(words_without_entry(NULL), "");
}

/* A port of this host that nobody has. */
static unsigned int free_port(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t bytes = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&addr, bytes), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &bytes), 0);
	close(fd);
	return ntohs(addr.sin_port);
}

/* Who waits for gdb to connect does not wait longer than there is a VM. */
static void test_gdb_of_a_dead_one(void **state)
{
	pid_t child = start_vm("a"), waiter;
	struct registry_vm vm;
	char port[16];
	int status;

	(void)state;
	snprintf(port, sizeof(port), "%u", free_port());
	assert_int_equal(find(&vm, "a"), 0);
	waiter = fork();
	if (!waiter) {
		alarm(20);
		_exit(debug_gdb(&vm, port));
	}
	kill_vm_process(child);
	assert_int_equal(waitpid(waiter, &status, 0), waiter);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_NOT_DONE);
	registry_forget(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lock_lives_in_all_processes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_dead_are_removed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_list, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad_directories, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_removes_only_own, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_entry, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_gdb_of_a_dead_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_race, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
