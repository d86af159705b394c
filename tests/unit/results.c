// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest sends with --out arrives whole or not at all, and nowhere but in its directory, whatever the
 * guest makes of it. Through the process and its sandbox, as in a VM.
 * Has processes behind filters, which builds with sanitizers have not.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "event.h"
#include "guest/results-tar.h"
#include "guest/results.h"
#include "sandbox/sandbox.h"
#include "tests/lib/tar.h"
#include "tests/lib/unit.h"
#include "util.h"

#define LISTING "-mindepth 1 -printf '%P %y %#m %s %T@ %l %n\\n' | sort" /* find's, of all that can change */

static char dir[64];
static char said[8192]; /* on stderr, by all processes */

/* ---- an archive ---- */

static uint8_t *archive;
static size_t archive_bytes, archive_room;

static uint8_t *more_blocks(size_t nr)
{
	uint8_t *at;

	if (archive_bytes + 512 * nr > archive_room) {
		archive_room = 2 * archive_room + 512 * nr;
		archive = realloc(archive, archive_room);
		assert_non_null(archive);
	}
	at = archive + archive_bytes;
	archive_bytes += 512 * nr;
	memset(at, 0, 512 * nr);
	return at;
}

static uint8_t *add(char type, const char *name, const char *link, unsigned int mode)
{
	uint8_t *h = more_blocks(1);

	tar_header(h, type, name, 0);
	snprintf((char *)h + 100, 8, "%07o", mode & 07777u);
	memcpy(h + 157, link, strlen(link));
	tar_seal(h);
	return h;
}

static void add_file(const char *name, const char *text)
{
	size_t n = strlen(text);

	tar_header(more_blocks(1), '0', name, n);
	memcpy(more_blocks((n + 511) / 512), text, n);
}

static void add_end(void)
{
	more_blocks(2);
}

/* What a shell command writes. */
static void add_output(const char *command)
{
	char line[512];
	FILE *f;
	size_t n;

	snprintf(line, sizeof(line), "cd %s && %s", dir, command);
	f = popen(line, "r");
	assert_non_null(f);
	do {
		uint8_t *at = more_blocks(128);

		n = fread(at, 1, 65536, f);
		archive_bytes -= 65536 - n;
	} while (n);
	assert_int_equal(pclose(f), 0);
}

/* ---- a run ---- */

struct run {
	struct event_loop *loop;
	struct results *results;
	size_t sent, piece, stop_at; /* stop_at: the stream ends there, without a commit */
	bool commits;
	int error; /* of the commit, or of put() */
};

static void run_ends(void *arg, int error)
{
	struct run *run = arg;

	run->error = error;
	event_stop(run->loop);
}

static void run_goes_on(void *arg)
{
	struct run *run = arg;
	size_t end = min_u64(run->stop_at, archive_bytes);
	ssize_t n = 0;

	while (run->sent < end && n >= 0) {
		n = results_put(run->results, archive + run->sent, min_u64(end - run->sent, run->piece));
		run->sent += n > 0 ? (size_t)n : 0;
	}
	if (n == -EAGAIN)
		return;
	if (n >= 0 && end == archive_bytes)
		results_commit(run->results, run_ends, run);
	else
		run_ends(run, n < 0 ? (int)n : -ECANCELED);
}

/* stderr of this process and its children goes to @said from now on. */
static int listen_to_stderr(void)
{
	int kept = dup(STDERR_FILENO), fd = memfd_create("stderr", MFD_CLOEXEC);

	assert_true(kept >= 0 && fd >= 0);
	dup2(fd, STDERR_FILENO);
	close(fd);
	return kept;
}

static void listen_end(int kept)
{
	ssize_t n = pread(STDERR_FILENO, said, sizeof(said) - 1, 0);

	said[n > 0 ? n : 0] = '\0';
	dup2(kept, STDERR_FILENO);
	close(kept);
}

/* Sends the archive, at most @stop_at bytes of it, in pieces. 0 or -errno. */
static int send_to(const char *name, size_t piece, size_t stop_at)
{
	struct run run = { .piece = piece, .stop_at = stop_at, .error = -1 };
	struct sandbox sandbox;
	char path[128];
	int kept, status = 0, rc = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	sandbox_init(&sandbox, SANDBOX_ON);
	assert_int_equal(event_loop_create(&run.loop), 0);
	kept = listen_to_stderr();
	run.error = results_create(&run.results, path, &sandbox);
	if (!run.error) {
		rc = results_watch(run.results, run.loop, run_goes_on, &run);
		run_goes_on(&run);
		rc = rc ? rc : event_run(run.loop);
		results_destroy(run.results);
		if (wait(&status) < 0)
			rc = -errno;
	}
	listen_end(kept);
	assert_int_equal(rc, 0);
	assert_int_equal(status, 0);
	event_loop_destroy(run.loop);
	sandbox_fini(&sandbox);
	return run.error;
}

static int send_all(void)
{
	return send_to("out", 20000, SIZE_MAX);
}

/* What a command says of all that is there. */
static char *look(const char *command)
{
	return run_in(dir, command);
}

/* The archive is refused, with @why; nothing has changed. */
static void refused(const char *why)
{
	const char *before = look("find . " LISTING);
	int rc = send_all();

	if (!rc || !strstr(said, why) || strchr(said, '\n') != said + strlen(said) - 1)
		fprintf(stderr, "%d, not '%s' but: %s", rc, why, said);
	assert_true(rc < 0);
	assert_non_null(strstr(said, why));
	assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1); /* one message */
	assert_string_equal(look("find . " LISTING), before);
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/lkvm-results-XXXXXX");
	assert_non_null(mkdtemp(dir));
	archive_bytes = 0;
	look("mkdir out outside && echo secret >outside/file && echo old >out/old && mkdir out/dir && echo a >out/dir/a");
	return 0;
}

static int teardown(void **state)
{
	char command[256];

	(void)state;
	snprintf(command, sizeof(command), "chmod -R u+w %s; rm -rf %s", dir, dir);
	return system(command);
}

/* ---- what is taken ---- */

static void a_tree_arrives_as_it_was(void **state)
{
	static const size_t pieces[] = { 1000, 511, 70000 };

	(void)state;
	look("mkdir -p in/a/b/c in/empty && head -c 100000 /dev/urandom >in/a/b/c/data && echo x >in/x && "
	     "ln -s /etc/passwd in/a/link && ln in/x in/a/hard && chmod 555 in/a/b && chmod 440 in/x && "
	     "truncate -s 5M in/sparse && echo y | dd of=in/sparse bs=1 seek=3M conv=notrunc status=none && "
	     "touch -hd 2001-02-03T04:05:06.789Z in/a in/x in/a/link in/empty in/a/b");
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		archive_bytes = 0;
		add_output(i ? "tar -C in --format=pax --sparse -c ." : "tar -C in --format=pax -c a empty x sparse");
		assert_int_equal(send_to("new", pieces[i], SIZE_MAX), 0);
		assert_string_equal(said, "");
		look("chmod 755 in/a/b"); /* its owner can always write */
		look("touch -d 2001-02-03T04:05:06.789Z in/a/b; touch -r in new");
		assert_string_equal(look("diff -r in new"), "");
		assert_string_equal(look("find new " LISTING), look("find in " LISTING));
		if (i)
			assert_string_equal(look("du -k new/sparse | cut -f1 | grep -v '^[0-9]$'"), "");
		look("chmod 555 in/a/b; rm -rf new");
	}
}

static void it_is_mixed_with_what_is_there(void **state)
{
	(void)state;
	add_file("old", "new\n");
	add('5', "dir/", "", 0700);
	add_file("dir/b", "b\n");
	add_file("dir/a", "A\n");
	add_file("more/deep/c", "c\n");
	add_end();
	assert_int_equal(send_all(), 0);
	assert_string_equal(look("cd out && find . -type f | sort && cat old dir/a dir/b more/deep/c"),
			    "./dir/a\n./dir/b\n./more/deep/c\n./old\nnew\nA\nb\nc\n");
	assert_string_equal(look("stat -c %a out/dir"), "755\n"); /* the host's */
}

static void a_later_entry_counts(void **state)
{
	(void)state;
	add_file("x", "1");
	add('2', "x", "/nowhere", 0777);
	add_file("x", "2");
	add_end();
	assert_int_equal(send_all(), 0);
	assert_string_equal(look("cat out/x"), "2");
}

static void what_is_left_out_is_said(void **state)
{
	(void)state;
	add('3', "a-device", "", 0600);
	add('4', "b-device", "", 0600);
	add('6', "fifo\033[2J", "", 0600);
	add('Z', "odd", "", 0600);
	add('0', "suid", "", 06755);
	add('5', "sticky", "", 01777);
	add_end();
	assert_int_equal(send_all(), 0);
	assert_string_equal(said, "lkvm: out: a-device: a device: left out (and 1 more)\n"
				  "lkvm: out: fifo\\x1b[2J: a fifo: left out\n"
				  "lkvm: out: odd: not a file, a directory or a link: left out\n"
				  "lkvm: out: suid: set-uid, set-gid and sticky bits: left out (and 1 more)\n");
	assert_string_equal(look("cd out && ls && stat -c %a suid sticky"), "dir\nold\nsticky\nsuid\n755\n777\n");
}

/* ---- what is refused ---- */

static void names_do_not_lead_out(void **state)
{
	static const char *const names[] = { "../outside/file", "a/../../outside/x", "..", "a/..", "/etc/x", "/" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		archive_bytes = 0;
		add_file(names[i], "bad");
		add_end();
		refused(names[i][0] == '/' ? ": it has an absolute name" : ": it leads out of the directory");
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		archive_bytes = 0;
		add('5', names[i], "", 0755);
		add_end();
		refused(names[i][0] == '/' ? ": it has an absolute name" : ": it leads out of the directory");
	}
}

static void links_are_not_followed(void **state)
{
	(void)state;
	add('2', "link", "../../outside", 0777);
	add_file("link/file", "bad");
	add_end();
	refused("out: link/file: Not a directory");
	archive_bytes = 0;
	add('2', "link", "../../outside", 0777);
	add('5', "link", "", 0700);
	add_end();
	refused("out: link: Not a directory");
	archive_bytes = 0;
	add('2', "link", "../../outside/file", 0777);
	add_file("link", "takes its place\n");
	add_end();
	assert_int_equal(send_all(), 0);
	assert_string_equal(look("cat out/link outside/file"), "takes its place\nsecret\n");
}

/* The host's own links are not followed either. */
static void links_of_the_host_are_not_followed(void **state)
{
	(void)state;
	look("ln -s ../outside out/link");
	add_file("link/file", "bad");
	add_end();
	refused("out: link: a directory, where the host has something else");
	archive_bytes = 0;
	add_file("link", "takes its place\n");
	add_end();
	assert_int_equal(send_all(), 0);
	assert_string_equal(look("cat out/link outside/file"), "takes its place\nsecret\n");
}

static void hard_links_stay_inside(void **state)
{
	static const char *const to[] = {
		"/etc/passwd", "../old", "old", "../../outside/file", "link/file", "dir", "link/../x", ".", "made/.."
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(to); i++) {
		archive_bytes = 0;
		add('5', "made", "", 0755);
		add('2', "link", "../../outside", 0777);
		add('1', "hard", to[i], 0644);
		add_end();
		refused("out: hard: a hard link to nothing that the guest has sent");
	}
}

static void damage_is_refused(void **state)
{
	(void)state;
	add_file("a", "text");
	memset(more_blocks(1), 'x', 512);
	add_end();
	refused("out: what the guest sends is damaged: a header with a wrong checksum");
	archive_bytes = 0;
	add_file("a", "text");
	archive_bytes -= 512;
	refused("out: what the guest sends is damaged: it ends in the middle of an entry");
	archive_bytes = 0;
	refused("out: what the guest sends is damaged: it is empty");
}

static void too_many_are_refused(void **state)
{
	uint8_t entry[512], *at;

	(void)state;
	memcpy(entry, add('6', "f", "", 0600), sizeof(entry));
	at = more_blocks(RESULTS_MAX_ENTRIES);
	for (unsigned int i = 0; i < RESULTS_MAX_ENTRIES; i++)
		memcpy(at + i * sizeof(entry), entry, sizeof(entry));
	add_end();
	refused("out: f: more than a million entries");
}

static void too_deep_is_refused(void **state)
{
	char name[100], path[1000] = "";

	(void)state;
	for (unsigned int i = 0; i < 300; i++)
		strcat(path, "d/");
	snprintf(name, sizeof(name), "%u path=%s\n", 610, path);
	more_blocks(1);
	tar_header(archive, 'x', "pax", 610);
	snprintf((char *)more_blocks(2), 1024, "%u path=%s\n", 610, path);
	add('5', "x", "", 0755);
	add_end();
	refused(": nested too deeply");
}

static void kinds_have_to_agree(void **state)
{
	(void)state;
	add_file("dir", "no directory");
	add_file("old", "new");
	add_end();
	refused("out: dir: no directory, where the host has one");
	archive_bytes = 0;
	add_file("first", "new");
	add_file("old/x", "in a directory");
	add_end();
	refused("out: old: a directory, where the host has something else");
	archive_bytes = 0;
	add_file("dir/a/x", "in a directory");
	add_end();
	refused("out: dir/a: a directory, where the host has something else");
}

/* A fifo is not moved by a process that may not make one: so moving fails half-way. */
static void half_a_move_is_undone(void **state)
{
	const char *before;
	char name[32];

	(void)state;
	look("mkfifo out/dir/fifo && for i in $(seq 40); do echo $i >out/$i; done");
	for (unsigned int i = 1; i <= 80; i++) {
		snprintf(name, sizeof(name), "%s%u", i % 8 ? "" : "dir/", i);
		add_file(name, "new");
	}
	add_file("dir/fifo", "new");
	add_file("tree/x", "new");
	add_end();
	if (!send_all())
		skip(); /* without Landlock */
	assert_string_equal(said, "lkvm: out: dir/fifo: Permission denied\n");
	look("touch -d @0 out out/dir");
	before = look("find . " LISTING " | sed 's/ 1[0-9.]* / /' && cd out && cat [0-9]*");
	look("rm -rf out && mkdir -p out/dir && echo old >out/old && echo a >out/dir/a && mkfifo out/dir/fifo && "
	     "for i in $(seq 40); do echo $i >out/$i; done && touch -d @0 out out/dir");
	assert_string_equal(look("find . " LISTING " | sed 's/ 1[0-9.]* / /' && cd out && cat [0-9]*"), before);
}

/* One after the other: what one of them has moved is nothing that another one may undo. */
static void two_do_not_move_at_once(void **state)
{
	(void)state;
	add_file("new", "new\n");
	add_end();
	look("{ flock out sh -c 'sleep 0.3; ls out >seen' >/dev/null 2>&1 & }; "
	     "for i in $(seq 500); do flock -n out true || break; sleep 0.01; done");
	assert_int_equal(send_all(), 0);
	assert_string_equal(look("flock out grep -v '^[.]' seen"), "dir\nold\n");
	assert_string_equal(look("cat out/new"), "new\n");
}

/* ---- ends ---- */

static void half_of_it_is_nothing(void **state)
{
	const char *before = look("find . " LISTING);

	(void)state;
	look("head -c 1000000 /dev/urandom >big");
	add_output("tar -c big --transform s,big,old,");
	look("rm big");
	before = look("find . " LISTING);
	for (size_t at = 0; at < archive_bytes; at += 300001) {
		assert_int_equal(send_to("out", 65536, at), -ECANCELED);
		assert_string_equal(said, "");
		assert_string_equal(look("find . " LISTING), before);
		/* A directory that was made for it is not there. */
		assert_int_equal(send_to("made", 65536, at), -ECANCELED);
		assert_string_equal(look("find . " LISTING), before);
	}
}

/* Nobody says good-bye. */
static void a_vm_that_is_killed_leaves_nothing(void **state)
{
	const char *before = look("find . " LISTING);
	int ends[2];
	char byte;
	pid_t pid;

	(void)state;
	add_file("old", "new");
	assert_int_equal(pipe2(ends, 0), 0); /* has an end when all processes have ended */
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct sandbox sandbox;
		struct results *r;
		char path[128];

		close(ends[0]);
		dup2(ends[1], STDERR_FILENO);
		close(ends[1]);
		snprintf(path, sizeof(path), "%s/made", dir);
		sandbox_init(&sandbox, SANDBOX_ON);
		if (results_create(&r, path, &sandbox) || results_put(r, archive, archive_bytes) < 0)
			_exit(1);
		raise(SIGKILL);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	assert_true(wait(NULL) > 0);
	assert_string_equal(look("find . " LISTING), before);
}

/* The bound on a file's size says what a disk that is full says. */
static void a_file_that_does_not_fit_is_refused(void **state)
{
	struct rlimit before, limit;

	(void)state;
	look("truncate -s 3M in");
	add_file("first", "fits");
	add_output("tar -c in");
	look("rm in");
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = MIB(1);
	setrlimit(RLIMIT_FSIZE, &limit);
	refused("out: in: File too large");
	setrlimit(RLIMIT_FSIZE, &before);
}

static void a_full_disk_is_said(void **state)
{
	(void)state;
	look("mkdir full && mount -t tmpfs -o size=300k none full");
	if (!strstr(look("stat -f -c %T full"), "tmpfs"))
		skip();
	look("echo old >full/big; head -c 1M /dev/urandom >in");
	add_output("tar -c in --transform s,in,big,");
	look("rm in");
	assert_int_equal(send_to("full", 20000, SIZE_MAX), -ENOSPC);
	assert_string_equal(said, "lkvm: out: big: No space left on device\n");
	assert_string_equal(look("ls -A full; cat full/big; umount full; rmdir full"), "big\nold\n");
}

static void where_it_cannot_be_is_said(void **state)
{
	(void)state;
	add_end();
	assert_int_equal(send_to("no/where", 1000, SIZE_MAX), -ENOENT);
	assert_non_null(strstr(said, "/no/where: No such file or directory\n"));
	assert_int_equal(send_to("out/old", 1000, SIZE_MAX), -ENOTDIR);
	assert_int_equal(send_to("out/", 1000, SIZE_MAX), 0);
	assert_int_equal(send_to("made///", 1000, SIZE_MAX), 0);
	assert_string_equal(look("ls -d made"), "made\n");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(a_tree_arrives_as_it_was),
		TEST(it_is_mixed_with_what_is_there),
		TEST(a_later_entry_counts),
		TEST(what_is_left_out_is_said),
		TEST(names_do_not_lead_out),
		TEST(links_are_not_followed),
		TEST(links_of_the_host_are_not_followed),
		TEST(hard_links_stay_inside),
		TEST(damage_is_refused),
		TEST(too_many_are_refused),
		TEST(too_deep_is_refused),
		TEST(kinds_have_to_agree),
		TEST(half_a_move_is_undone),
		TEST(two_do_not_move_at_once),
		TEST(half_of_it_is_nothing),
		TEST(a_vm_that_is_killed_leaves_nothing),
		TEST(a_file_that_does_not_fit_is_refused),
		TEST(a_full_disk_is_said),
		TEST(where_it_cannot_be_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
