// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's first process: users and groups of a root, and paths in it. Its files are included here
 * and have files of the test's own to look at.
 */
#include "tests/lib/unit.h"

#include <sys/stat.h>

static char passwd_path[64], group_path[64];

#define INIT_PASSWD passwd_path
#define INIT_GROUP  group_path

#include "guest/init-setup.c"
#include "guest/init-user.c"
#include "guest/init-container.c"

/* Beside the C library's own. */
#undef vsnprintf
#undef snprintf
#undef dprintf
#define vsnprintf init_vsnprintf
#define snprintf  init_snprintf
#define dprintf	  init_dprintf
int vsnprintf(char *text, size_t bytes, const char *fmt, va_list ap);
int snprintf(char *text, size_t bytes, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int dprintf(int fd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#include "guest/init-print.c"
#undef vsnprintf
#undef snprintf
#undef dprintf

/* ---- what the rest of it would do ---- */

static jmp_buf failed;
static char last_words[1024];

void init_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(last_words, sizeof(last_words), fmt, ap);
	va_end(ap);
	longjmp(failed, 1);
}

void init_notice(const char *fmt, ...)
{
	(void)fmt;
}

uint64_t init_now_ms(void)
{
	return 0;
}

/* ---- users ---- */

static void put_files(const char *passwd, const char *group)
{
	write_file(passwd_path, passwd, strlen(passwd));
	write_file(group_path, group, strlen(group));
}

/* True if there is such a user; otherwise what was said is in last_words. */
static bool find(const char *asked, struct init_user *u)
{
	*last_words = '\0';
	if (setjmp(failed))
		return false;
	init_find_user(asked, u);
	return true;
}

static void assert_user(const char *asked, unsigned int uid, unsigned int gid, const char *home)
{
	struct init_user u;

	if (!find(asked, &u))
		fail_msg("%s: %s", asked ? asked : "root", last_words);
	assert_int_equal(u.uid, uid);
	assert_int_equal(u.gid, gid);
	assert_string_equal(u.home, home);
}

static void assert_no_user(const char *asked, const char *why)
{
	struct init_user u;

	assert_false(find(asked, &u));
	assert_non_null(strstr(last_words, why));
}

static const char good_passwd[] =
	"root:x:0:0:root:/root:/bin/bash\n"
	"\n"
	"# bin:x:2:2::/bin:/bin/sh\n"
	"ann:x:1000:1001:Ann,,:/home/ann:\n"
	"huge:x:4294967295:0::/:/bin/sh\n"
	"minus:x:-1:0::/:/bin/sh\n"
	"half:x:7:x::/:/bin/sh\n"
	"short:x:8\n"
	"123:x:1009:1009::/home/number:/bin/sh\n"
	"last:x:9:9::/last:/bin/false";
static const char good_group[] =
	"root:x:0:\n"
	"ann:x:1001:\n"
	"audio:x:29:bob,ann\n"
	"video:x:44:anna,joann\n"
	"empty:x:45:\n"
	"broken:x:zz:ann\n"
	"kvm:x:104:ann";

static void users_are_found(void **state)
{
	struct init_user u;

	(void)state;
	put_files(good_passwd, good_group);
	assert_user(NULL, 0, 0, "/root");
	assert_user("ann", 1000, 1001, "/home/ann");
	assert_user("1000", 1000, 1001, "/home/ann");
	assert_user("last", 9, 9, "/last");
	/* A name that is a number is a name first. */
	assert_user("123", 1009, 1009, "/home/number");
	assert_user("77", 77, 77, "/");
	assert_user("ann:audio", 1000, 29, "/home/ann");
	assert_user("ann:77", 1000, 77, "/home/ann");
	assert_user("77:kvm", 77, 104, "/");
	assert_true(find("ann", &u));
	assert_string_equal(u.shell, "/bin/sh");
	assert_true(find("1000", &u));
	assert_string_equal(u.name, "ann");
}

static void who_is_not_there_is_said(void **state)
{
	(void)state;
	put_files(good_passwd, good_group);
	assert_no_user("nobody", "there is no user \"nobody\"");
	assert_no_user("", "there is no user \"\"");
	assert_no_user("# bin", "there is no user");
	assert_no_user("huge", "there is no user");
	assert_no_user("minus", "there is no user");
	assert_no_user("half", "there is no user");
	assert_no_user("short", "there is no user");
	assert_no_user("4294967295", "there is no user");
	assert_no_user("4294967296000000000000000000", "there is no user");
	assert_no_user("ann:none", "there is no group \"none\"");
	assert_no_user("ann:broken", "there is no group \"broken\"");
	assert_no_user("ann:-1", "there is no group \"-1\"");
}

/* Nothing of a line that cannot be is kept: who has no line is root as everywhere. */
static void a_root_without_users(void **state)
{
	(void)state;
	put_files("root:x:5:bad::/:/bin/sh\n", "");
	assert_user(NULL, 0, 0, "/root");
	unlink(passwd_path);
	unlink(group_path);
	assert_user(NULL, 0, 0, "/root");
	assert_user("12:13", 12, 13, "/");
	assert_no_user("root", "there is no user \"root\"");
}

static void groups_are_those_of_the_user(void **state)
{
	gid_t groups[INIT_MAX_GROUPS];
	struct init_user u;

	(void)state;
	put_files(good_passwd, good_group);
	assert_true(find("ann", &u));
	assert_int_equal(init_find_groups(&u, groups), 3);
	assert_int_equal(groups[0], 1001);
	assert_int_equal(groups[1], 29);
	assert_int_equal(groups[2], 104);
	/* A group that was asked for is the only one, and a stranger has none. */
	assert_true(find("ann:audio", &u));
	assert_int_equal(init_find_groups(&u, groups), 0);
	assert_true(find("77", &u));
	assert_int_equal(init_find_groups(&u, groups), 0);
}

static void groups_have_a_bound(void **state)
{
	gid_t groups[INIT_MAX_GROUPS];
	struct init_user u;
	char *text;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	(void)state;
	for (unsigned int i = 0; i < 1000; i++)
		fprintf(out, "g%u:x:%u:ann\n", i, i + 2000);
	fclose(out);
	put_files(good_passwd, text);
	free(text);
	assert_true(find("ann", &u));
	assert_int_equal(init_find_groups(&u, groups), INIT_MAX_GROUPS);
	assert_int_equal(groups[INIT_MAX_GROUPS - 1], 2000 + INIT_MAX_GROUPS - 2);
}

/* What is behind its first part is no line, whatever it looks like. */
static void a_line_that_is_too_long_is_none(void **state)
{
	static char passwd[3 * INIT_LINE_BYTES];

	(void)state;
	for (size_t pad = INIT_LINE_BYTES - 40; pad < INIT_LINE_BYTES + 40; pad++) {
		memset(passwd, 'x', pad);
		strcpy(passwd + pad, "evil:x:0:0::/:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\n");
		put_files(passwd, "");
		assert_user("ann", 1000, 1001, "/home/ann");
		assert_no_user("evil", "there is no user");
	}
	memset(passwd, 'x', 2 * INIT_LINE_BYTES);
	strcpy(passwd + 2 * INIT_LINE_BYTES, "evil:x:0:0::/:/bin/sh");
	put_files(passwd, "");
	assert_no_user("evil", "there is no user");
}

/* ---- paths ---- */

static char root_path[64];

/* Where @path leads, below the root; NULL with errno. */
static const char *led_to(int root, const char *path)
{
	static char text[PATH_MAX];
	int fd = open_in_root(root, path);
	char link[32];
	ssize_t n;

	if (fd < 0)
		return NULL;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	close(fd);
	if (strncmp(text, root_path, strlen(root_path)))
		fail_msg("%s led to %s", path, text);
	return text + strlen(root_path);
}

static void paths_stay_in_the_root(void **state)
{
	static char longest[PATH_MAX + 10];
	int root = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	assert_true(root >= 0);
	assert_string_equal(led_to(root, "/"), "");
	assert_string_equal(led_to(root, ""), "");
	assert_string_equal(led_to(root, "/a/b/c"), "/a/b/c");
	assert_string_equal(led_to(root, "//a///b//"), "/a/b");
	assert_string_equal(led_to(root, "a/./new"), "/a/new");
	assert_string_equal(led_to(root, "/.."), "");
	assert_string_equal(led_to(root, "/../../../../etc/x"), "/etc/x");
	assert_string_equal(led_to(root, "/a/b/../../../d"), "/d");
	assert_int_equal(symlinkat("/a/b", root, "absolute"), 0);
	assert_int_equal(symlinkat("../../../../../../../..", root, "up"), 0);
	assert_int_equal(symlinkat("/proc/self/root", root, "magic"), 0);
	assert_int_equal(symlinkat("none/at/all", root, "dangling"), 0);
	assert_int_equal(symlinkat("loop", root, "loop"), 0);
	assert_string_equal(led_to(root, "/absolute/x"), "/a/b/x");
	assert_string_equal(led_to(root, "/up/up/tmp"), "/tmp");
	assert_null(led_to(root, "/magic/x"));
	assert_int_equal(errno, ENOENT);
	assert_null(led_to(root, "/dangling"));
	assert_int_equal(errno, ENOENT);
	assert_null(led_to(root, "/loop/x"));
	assert_int_equal(errno, ELOOP);
	close(openat(root, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_null(led_to(root, "/file"));
	assert_int_equal(errno, ENOTDIR);
	assert_null(led_to(root, "/file/x"));
	/* One that is too long is not the root. */
	memset(longest, '/', sizeof(longest) - 1);
	assert_null(led_to(root, longest));
	assert_int_equal(errno, ENAMETOOLONG);
	close(root);
}

static int make_folder(void **state)
{
	(void)state;
	strcpy(root_path, "/tmp/lkvm-init-XXXXXX");
	if (!mkdtemp(root_path))
		return -1;
	snprintf(passwd_path, sizeof(passwd_path), "%s.passwd", root_path);
	snprintf(group_path, sizeof(group_path), "%s.group", root_path);
	return 0;
}

static int remove_folder(void **state)
{
	char line[256], out[512];

	(void)state;
	snprintf(line, sizeof(line), "rm -rf %s %s %s", root_path, passwd_path, group_path);
	return run_tool(line, out, sizeof(out));
}

/* ---- text ---- */

/* The same text and length as the C library's, in @bytes. */
#define same_print(bytes, ...) \
	do { \
		char wanted[256], got[256]; \
		int n = snprintf(wanted, bytes, __VA_ARGS__); \
\
		memset(got, 'X', sizeof(got)); \
		assert_int_equal(init_snprintf(got, bytes, __VA_ARGS__), n); \
		assert_string_equal(got, wanted); \
		assert_int_equal(got[bytes], 'X'); \
	} while (0)

static void test_print(void **state)
{
	char text[8] = "unset";
	int ends[2];

	(void)state;
	same_print(200, "%s, %s and 100 %%", "a", "");
	same_print(200, "%d %d %d", 0, INT_MIN, INT_MAX);
	same_print(200, "%u %x %02x %02x", UINT_MAX, 0xabcdefu, 0u, 255u);
	same_print(200, "%lld.%09ld %llu %zu", LLONG_MIN, 123l, ULLONG_MAX, SIZE_MAX);
	same_print(200, "%08u", 4711u);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wformat-truncation"
	same_print(5, "%s", "12345");
	same_print(5, "%s", "1234");
	same_print(1, "%s%d", "123", 45);
#pragma GCC diagnostic pop
	assert_int_equal(init_snprintf(text, 0, "%s", "1234567"), 7);
	assert_string_equal(text, "unset");
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(init_dprintf(ends[1], "%s=%d\n", "a", -1), 5);
	assert_int_equal(read(ends[0], text, sizeof(text)), 5);
	assert_memory_equal(text, "a=-1\n", 5);
	close(ends[0]);
	close(ends[1]);
}

/* ---- a container's steps ---- */

/* Takes one; what was said is in last_words if it failed. */
static bool take(enum protocol_what what, uint32_t optional, uint64_t flags, uint64_t arg, const char *texts,
		 size_t bytes)
{
	const struct protocol_step step = { what, optional, flags, arg };
	static char payload[4096];
	static struct init_plan plan;

	plan = (struct init_plan){ 0 };
	*last_words = '\0';
	memcpy(payload, &step, sizeof(step));
	memcpy(payload + sizeof(step), texts, bytes);
	if (setjmp(failed)) {
		free(plan.steps[0]);
		return false;
	}
	init_add_step(&plan, payload, sizeof(step) + bytes);
	init_take_steps(&plan);
	free(plan.steps[0]);
	return true;
}

#define TAKE(what, optional, flags, arg, fmt, ...) \
	({ \
		char texts[512]; \
		int n = snprintf(texts, sizeof(texts), fmt, __VA_ARGS__); \
		for (int i = 0; i < n; i++) \
			texts[i] = texts[i] == '|' ? '\0' : texts[i]; \
		take(what, optional, flags, arg, texts, (size_t)n); \
	})

static void steps_are_taken(void **state)
{
	char here[PATH_MAX], path[PATH_MAX + 64];
	uint64_t uid, gid;
	struct stat st;

	(void)state;
	assert_non_null(getcwd(here, sizeof(here)));
	assert_true(TAKE(PROTOCOL_DO_DIRECTORY, 0, 0, 01777, "%s/c/d|", root_path));
	snprintf(path, sizeof(path), "%s/c/d", root_path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 01777);
	assert_true(TAKE(PROTOCOL_DO_DIRECTORY, 0, 0, 0700, "%s/c/d|", root_path));
	assert_true(TAKE(PROTOCOL_DO_FILE, 0, 0, 0640, "%s/c/e/f|one\n", root_path));
	assert_true(TAKE(PROTOCOL_DO_FILE, 0, PROTOCOL_FILE_MORE, 0, "%s/c/e/f|two", root_path));
	assert_string_equal(run_in(root_path, "cat c/e/f; stat -c %a c/e/f"), "one\ntwo640\n");
	assert_true(TAKE(PROTOCOL_DO_FILE, 0, 0, 0644, "%s/c/empty|", root_path));
	assert_true(TAKE(PROTOCOL_DO_LINK, 0, 0, 0, "../x|%s/c/l|", root_path));
	assert_string_equal(run_in(root_path, "readlink c/l; stat -c %s c/empty"), "../x\n0\n");
	uid = is_real_root() ? 7 : getuid();
	gid = is_real_root() ? 8 : getgid();
	assert_true(TAKE(PROTOCOL_DO_NODE, 0, S_IFIFO | 0620 | uid << 32, gid << 32, "%s/c/p|", root_path));
	snprintf(path, sizeof(path), "fifo 620 %u %u\n", (unsigned int)uid, (unsigned int)gid);
	assert_string_equal(run_in(root_path, "stat -c '%F %a %u %g' c/p"), path);
	assert_true(TAKE(PROTOCOL_DO_REMOVE, 0, 0, 0, "%s/c/d|", root_path));
	assert_true(TAKE(PROTOCOL_DO_ENTER, 0, 0, 0, "%s/c/new|", root_path));
	assert_string_equal(run_in(".", "pwd | sed 's#.*/##'"), "new\n");
	assert_int_equal(chdir(here), 0);
}

static void owned_files_are_as_their_source(void **state)
{
	const uint64_t uid = is_real_root() ? 7 : getuid(), gid = is_real_root() ? 8 : getgid();
	char wanted[64];

	(void)state;
	run_in(root_path, "mkdir -p o; echo 'longer than it' >o/f; chmod 666 o/f");
	for (int k = 0; k < 2; k++) { /* over one that is there, and as a new one */
		assert_true(TAKE(PROTOCOL_DO_FILE, 0, PROTOCOL_FILE_OWNED | uid << 32, 0400 | gid << 32, "%s/o/%c|secret",
				 root_path, 'f' + k));
		snprintf(wanted, sizeof(wanted), "%u %u 400 secret", (unsigned int)uid, (unsigned int)gid);
		assert_string_equal(run_in(root_path,
					   k ? "stat -c '%u %g %a' o/g | tr '\\n' ' '; cat o/g" :
					       "stat -c '%u %g %a' o/f | tr '\\n' ' '; cat o/f"),
				    wanted);
	}
	assert_true(TAKE(PROTOCOL_DO_FILE, 0, PROTOCOL_FILE_OWNED | uid << 32, 06755 | gid << 32, "%s/o/s|x",
			 root_path));
	assert_string_equal(run_in(root_path, "stat -c %a o/s"), is_real_root() ? "6755\n" : "755\n");
}

/* A root that has a FIFO where a file is to be: nobody waits for it to have a reader, or a writer. */
static void what_is_no_file_is_not_waited_for(void **state)
{
	struct init_user u;

	(void)state;
	run_in(root_path, "mkdir -p n; mkfifo n/fifo n/read; ln -s /dev/null n/device");
	alarm(20);
	assert_false(TAKE(PROTOCOL_DO_FILE, 0, 0, 0644, "%s/n/fifo|x", root_path));
	assert_non_null(strstr(last_words, "/n/fifo: No such device or address"));
	{
		char path[PATH_MAX];
		int fd;

		snprintf(path, sizeof(path), "%s/n/read", root_path);
		fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		assert_false(TAKE(PROTOCOL_DO_FILE, 0, 0, 0644, "%s/n/read|x", root_path));
		close(fd);
	}
	assert_non_null(strstr(last_words, "/n/read: Invalid argument"));
	assert_false(TAKE(PROTOCOL_DO_FILE, 0, 0, 0644, "%s/n/device|x", root_path));
	assert_non_null(strstr(last_words, "/n/device: Invalid argument"));
	unlink(passwd_path);
	assert_int_equal(mkfifo(passwd_path, 0600), 0);
	init_find_user("7", &u);
	assert_false(u.is_known);
	unlink(passwd_path);
	alarm(0);
}

static void containers_have_their_own_mounts(void **state)
{
	const struct init_plan command = { 0 }, container = { .is_container = true };
	char text[256] = "";

	(void)state;
	for (size_t i = 0; i < sizeof(standard_mounts) / sizeof(standard_mounts[0]); i++) {
		assert_true(is_mounted(&command, i));
		if (is_mounted(&container, i))
			strcat(strcat(text, standard_mounts[i].path), " ");
	}
	assert_string_equal(text, "proc sys dev dev/pts dev/shm sys/fs/cgroup ");
}

static void steps_that_fail_are_said(void **state)
{
	char longest[PATH_MAX + 2];

	(void)state;
	assert_false(TAKE(PROTOCOL_DO_REMOVE, 0, 0, 0, "%s/none|", root_path));
	assert_non_null(strstr(last_words, "/none: No such file or directory"));
	assert_true(TAKE(PROTOCOL_DO_REMOVE, 1, 0, 0, "%s/none|", root_path));
	assert_false(TAKE(PROTOCOL_DO_LINK, 1, 0, 0, "x|%s|", root_path));
	assert_non_null(strstr(last_words, ": File exists"));
	assert_true(TAKE(PROTOCOL_DO_MOUNT, 1, MS_BIND, 0, "/dev/null|%s/none|||", root_path));
	assert_false(TAKE(PROTOCOL_DO_MOUNT, 0, MS_BIND, 0, "%s/none|%s/target||", root_path, root_path));
	assert_string_equal(run_in(root_path, "ls -d target 2>/dev/null"), "");
	assert_false(TAKE(99, 1, 0, 0, "%s|", root_path));
	memset(longest, 'a', sizeof(longest) - 1);
	longest[0] = '/';
	longest[PATH_MAX + 1] = '\0';
	assert_false(take(PROTOCOL_DO_DIRECTORY, 0, 0, 0, longest, 3000));
	/* Texts that are not there are empty; a step that is cut is none. */
	assert_false(take(PROTOCOL_DO_MOUNT, 0, 0, 0, "", 0));
	if (!setjmp(failed)) {
		struct init_plan plan = { 0 };

		init_add_step(&plan, "x", 1);
		fail();
	}
	assert_string_equal(last_words, "lkvm sent a bad step");
}

static void credentials_have_a_form(void **state)
{
	static struct init_plan plan;
	struct protocol_credentials c = { .uid = 7, .nr_groups = PROTOCOL_MAX_GROUPS };

	(void)state;
	if (!setjmp(failed)) {
		init_set_credentials(&plan, (const char *)&c, sizeof(c) - 1);
		fail();
	}
	init_set_credentials(&plan, (const char *)&c, sizeof(c));
	assert_true(plan.is_container && plan.credentials.uid == 7);
	plan = (struct init_plan){ 0 };
	c.nr_groups++;
	if (!setjmp(failed)) {
		init_set_credentials(&plan, (const char *)&c, sizeof(c));
		fail();
	}
	assert_string_equal(last_words, "lkvm sent bad credentials");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_print),
		cmocka_unit_test(steps_are_taken),
		cmocka_unit_test(owned_files_are_as_their_source),
		cmocka_unit_test(what_is_no_file_is_not_waited_for),
		cmocka_unit_test(containers_have_their_own_mounts),
		cmocka_unit_test(steps_that_fail_are_said),
		cmocka_unit_test(credentials_have_a_form),
		cmocka_unit_test(users_are_found),
		cmocka_unit_test(who_is_not_there_is_said),
		cmocka_unit_test(a_root_without_users),
		cmocka_unit_test(groups_are_those_of_the_user),
		cmocka_unit_test(groups_have_a_bound),
		cmocka_unit_test(a_line_that_is_too_long_is_none),
		cmocka_unit_test(paths_stay_in_the_root),
	};

	return cmocka_run_group_tests_name("init", tests, make_folder, remove_folder);
}
