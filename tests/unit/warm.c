// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cache of warm starts: who removes an entry that is of no use may do little else; what others left behind
 * goes; nobody takes away what another one makes.
 * Has processes behind filters, which builds with sanitizers have not.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd/warm.h"
#include "sandbox/sandbox.h"
#include "util.h"

#define NAME "lkvm-0123456789abcdef0123456789abcdef"

static char folder[64];

static int make_cache(void **unused)
{
	(void)unused;
	strcpy(folder, "/tmp/lkvm-warm-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_cache(void **unused)
{
	char command[128], out[8];

	(void)unused;
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return run_tool(command, out, sizeof(out));
}

static const char *file_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static bool is_there(const char *name)
{
	return !access(file_of(name), F_OK);
}

/* ---- who locks ---- */

static unsigned int steals; /* so often a file is another one by the time it is locked */

static void put_old(const char *name, long age_s)
{
	struct timespec times[2];

	write_file(file_of(name), "x", 1);
	clock_gettime(CLOCK_REALTIME, &times[0]);
	times[0].tv_sec -= age_s;
	times[1] = times[0];
	assert_int_equal(utimensat(AT_FDCWD, file_of(name), times, 0), 0);
}

int flock(int fd, int operation)
{
	if (steals) {
		steals--;
		unlink(file_of("." NAME ".warm"));
		write_file(file_of("." NAME ".warm"), "y", 1);
	}
	return (int)syscall(SYS_flock, fd, operation);
}

static bool is_locked(const char *name)
{
	int fd = open(file_of(name), O_RDONLY | O_CLOEXEC), rc = flock(fd, LOCK_EX | LOCK_NB);

	assert_true(fd >= 0);
	close(fd);
	return rc && errno == EWOULDBLOCK;
}

/* ---- removing ---- */

static struct warm found_one(void)
{
	struct warm w = WARM_NOTHING;

	write_file(file_of(NAME ".warm"), "x", 1);
	write_file(file_of(NAME ".uses"), "x", 1);
	w.state = WARM_FOUND;
	strcpy(w.name, NAME);
	w.folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(w.folder >= 0);
	return w;
}

/* In a process of its own: its filter stays. */
static void a_supervisor_may_remove_one(void **unused)
{
	struct warm w = found_one();
	struct sandbox sandbox;
	int status;
	pid_t pid;

	(void)unused;
	sandbox_init(&sandbox, SANDBOX_ON);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(sandbox_confine_helper(&sandbox, SANDBOX_SUPERVISOR) || !warm_remove(&w));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_false(is_there(NAME ".warm"));
	assert_false(is_there(NAME ".uses"));
	warm_fini(&w);
	sandbox_fini(&sandbox);
}

/* Without a supervisor. */
static void a_process_removes_one(void **unused)
{
	struct warm w = found_one();
	struct sandbox sandbox;

	(void)unused;
	sandbox_init(&sandbox, SANDBOX_ON);
	warm_start_remover(&w, &sandbox);
	assert_int_equal(w.folder, -1);
	assert_true(w.remover >= 0);
	assert_true(is_there(NAME ".warm"));
	assert_true(warm_remove(&w));
	assert_false(is_there(NAME ".warm"));
	assert_false(is_there(NAME ".uses"));
	warm_fini(&w);
	/* One that is told nothing does nothing. */
	w = found_one();
	warm_start_remover(&w, &sandbox);
	warm_fini(&w);
	assert_true(is_there(NAME ".warm"));
	assert_false(warm_remove(&w));
	sandbox_fini(&sandbox);
}

/* ---- making one ---- */

static void make_one(struct warm *w, struct sandbox *sandbox)
{
	static struct run_options options;

	*w = (struct warm)WARM_NOTHING;
	strcpy(w->name, NAME);
	w->state = WARM_MAKES;
	options.machine.boot.cache_dir = folder;
	sandbox_init(sandbox, SANDBOX_OFF);
	warm_start_saver(w, &options, &w->kernel, sandbox);
}

#define OTHER(digit) "lkvm-" #digit "123456789abcdef0123456789abcdef"

static void what_is_of_no_use_goes(void **unused)
{
	static const char *const stay[] = {
		"." OTHER(1) ".warm", OTHER(2) ".warm", OTHER(2) ".uses", ".other.warm", "lkvm-1-2.kernel", "other.warm",
		"lkvm-123.warm", "lkvm-123.uses"
	};
	static const char *const go[] = {
		"." NAME ".warm", "." OTHER(3) ".warm", OTHER(4) ".warm", OTHER(4) ".uses", OTHER(5) ".uses"
	};
	struct sandbox sandbox;
	struct warm w;
	int lock;

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(stay); i++)
		put_old(stay[i], i == 1 ? 3000 : 1000000);
	for (size_t i = 0; i < ARRAY_SIZE(go); i++)
		put_old(go[i], 3700);
	lock = open(file_of(stay[0]), O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
	make_one(&w, &sandbox);
	assert_true(w.saver.socket >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(stay); i++)
		if (!is_there(stay[i]))
			fail_msg("%s is gone", stay[i]);
	assert_true(is_locked(go[0])); /* a new one */
	for (size_t i = 1; i < ARRAY_SIZE(go); i++)
		if (is_there(go[i]))
			fail_msg("%s is there", go[i]);
	vmcore_saver_stop(&w.saver);
	assert_false(is_there(go[0]));
	close(lock);
	sandbox_fini(&sandbox);
}

static void one_that_was_taken_is_made_again(void **unused)
{
	struct sandbox sandbox;
	struct warm w, other;

	(void)unused;
	steals = 1;
	make_one(&w, &sandbox);
	assert_int_equal(steals, 0);
	assert_true(w.saver.socket >= 0);
	assert_true(is_locked("." NAME ".warm"));
	/* Another one finds that it is being made. */
	make_one(&other, &sandbox);
	assert_int_equal(other.saver.socket, -1);
	assert_true(is_locked("." NAME ".warm"));
	/* And it does not try for ever. */
	vmcore_saver_stop(&w.saver);
	steals = 1000;
	make_one(&other, &sandbox);
	assert_int_equal(other.saver.socket, -1);
	assert_true(steals > 900);
	steals = 0;
	sandbox_fini(&sandbox);
}

/* Its name stands for the one that was there before. */
static void a_kernel_that_was_replaced_has_none(void **unused)
{
	struct warm w = WARM_NOTHING;
	struct run_options options = { .machine.boot.cache_dir = folder };
	struct cache_identity other = { .ino = 1 };

	(void)unused;
	strcpy(w.name, NAME);
	warm_start_saver(&w, &options, &other, NULL);
	assert_int_equal(w.saver.socket, -1);
	assert_false(is_there("." NAME ".warm"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_supervisor_may_remove_one, make_cache, remove_cache),
		cmocka_unit_test_setup_teardown(a_process_removes_one, make_cache, remove_cache),
		cmocka_unit_test_setup_teardown(what_is_of_no_use_goes, make_cache, remove_cache),
		cmocka_unit_test_setup_teardown(a_kernel_that_was_replaced_has_none, make_cache, remove_cache),
		cmocka_unit_test_setup_teardown(one_that_was_taken_is_made_again, make_cache, remove_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
