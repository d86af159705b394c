// SPDX-License-Identifier: GPL-2.0-only
/*
 * The cache of warm starts: who removes an entry that is of no use may do little else.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_supervisor_may_remove_one, make_cache, remove_cache),
		cmocka_unit_test_setup_teardown(a_process_removes_one, make_cache, remove_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
