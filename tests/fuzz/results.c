// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile stream of results, unpacked into a scratch directory and moved from there to where the user wants
 * them. Nothing beside these may change: a file, which links could lead to, and a directory with one.
 *
 * Checksums of headers are put right, as in tar.c. The first byte says in what pieces the stream comes.
 */
#include "tests/fuzz/fuzz.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "guest/results-move.h"
#include "guest/results-tar.h"
#include "util.h"

#define BLOCK 512u

static int scratch; /* has "new", "old", "out" and "beside" */
static struct stat beside, secret;

static int open_at(int dir, const char *name, int flags)
{
	int fd = openat(dir, name, flags | O_CLOEXEC, 0600);

	must(fd >= 0);
	return fd;
}

static void make_file(int dir, const char *name)
{
	int fd = open_at(dir, name, O_WRONLY | O_CREAT);

	must(write(fd, name, strlen(name)) == (ssize_t)strlen(name));
	close(fd);
}

static void remove_scratch(void)
{
	static char command[64];

	if (command[0]) {
		must(!system(command));
		return;
	}
	snprintf(command, sizeof(command), "/tmp/lkvm-fuzz-XXXXXX");
	must(mkdtemp(command));
	scratch = open(command, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(scratch >= 0);
	memmove(command + 7, command, strlen(command) + 1);
	memcpy(command, "rm -rf ", 7);
	atexit(remove_scratch);
}

/* Holes are allowed to be large, files are not. */
static void set_up(void)
{
	const struct rlimit limit = { MIB(64), RLIM_INFINITY };
	int dir;

	remove_scratch();
	must(!mkdirat(scratch, "new", 0700) && !mkdirat(scratch, "old", 0700) && !mkdirat(scratch, "out", 0700));
	must(!mkdirat(scratch, "beside", 0755));
	dir = open_at(scratch, "beside", O_RDONLY | O_DIRECTORY);
	make_file(dir, "secret");
	must(!fstatat(dir, "secret", &secret, 0) && !fstat(dir, &beside));
	close(dir);
	setrlimit(RLIMIT_FSIZE, &limit);
	signal(SIGXFSZ, SIG_IGN);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_mode == b->st_mode && a->st_nlink == b->st_nlink &&
	       a->st_size == b->st_size && !memcmp(&a->st_mtim, &b->st_mtim, sizeof(a->st_mtim)) &&
	       !memcmp(&a->st_ctim, &b->st_ctim, sizeof(a->st_ctim));
}

static void check_outside(void)
{
	struct stat st;

	must(!fstatat(scratch, "beside", &st, AT_SYMLINK_NOFOLLOW) && is_same(&st, &beside));
	must(!fstatat(scratch, "beside/secret", &st, AT_SYMLINK_NOFOLLOW) && is_same(&st, &secret));
	must(!fstat(scratch, &st) && st.st_nlink <= 6); /* the four, and ".", ".." */
}

/* What was there before: a file, a directory with one, and a link that leads out. */
static void fill_out(int out)
{
	int dir;

	make_file(out, "f");
	must(!mkdirat(out, "d", 0700) && !symlinkat("../beside", out, "l"));
	dir = open_at(out, "d", O_RDONLY | O_DIRECTORY);
	make_file(dir, "f");
	close(dir);
}

static int unpack_stream(int new, const uint8_t *data, size_t bytes, size_t piece)
{
	struct results_tar *rt;
	uint8_t block[BLOCK];
	int rc = 0;

	must(!results_tar_create(&rt, new));
	for (; bytes >= BLOCK && !rc; data += BLOCK, bytes -= BLOCK) {
		memcpy(block, data, BLOCK);
		if (!block[154] && block[155] == ' ') {
			unsigned int sum = 0;

			memset(block + 148, ' ', 8);
			for (unsigned int i = 0; i < BLOCK; i++)
				sum += block[i];
			snprintf((char *)block + 148, 8, "%06o", sum);
		}
		for (size_t at = 0; at < BLOCK && !rc; at += piece)
			rc = results_tar_feed(rt, block + at, min_u64(piece, BLOCK - at));
	}
	rc = rc ? rc : results_tar_end(rt);
	results_tar_destroy(rt);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static int quiet = -1;
	int new, old, out, kept = dup(STDERR_FILENO);

	if (quiet < 0) {
		set_up();
		quiet = open_at(AT_FDCWD, "/dev/null", O_WRONLY);
	}
	new = open_at(scratch, "new", O_RDONLY | O_DIRECTORY);
	old = open_at(scratch, "old", O_RDONLY | O_DIRECTORY);
	out = open_at(scratch, "out", O_RDONLY | O_DIRECTORY);
	fill_out(out);
	dup2(quiet, STDERR_FILENO);
	if (bytes && !unpack_stream(new, data + 1, bytes - 1, 1 + data[0]))
		results_move(new, out, old);
	dup2(kept, STDERR_FILENO);
	close(kept);
	must(!results_remove_below(new) && !results_remove_below(old) && !results_remove_below(out));
	close(new);
	close(old);
	close(out);
	check_outside();
	return 0;
}
