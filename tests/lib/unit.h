/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What unit tests share: cmocka's includes in the order that it wants, and
 * helpers for temporary files and for tools that judge our output.
 */
#ifndef LKVM_TESTS_UNIT_H
#define LKVM_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * How many of @n things of a kind are tried: with the thread sanitizer, which looks for races and not for values
 * that are wrong, a few, unless FULL=1; otherwise all.
 */
static inline unsigned int few_of(unsigned int n)
{
#ifdef __SANITIZE_THREAD__
	if (!getenv("FULL"))
		return (n + 9) / 10;
#endif
	return n;
}

/* Root of this machine, and not of a user namespace only: who makes devices, and gives files to others. */
static inline bool is_real_root(void)
{
	FILE *map = fopen("/proc/self/uid_map", "re");
	unsigned int inside, outside, n = 0;
	bool all = map && fscanf(map, "%u %u %u", &inside, &outside, &n) == 3 && n == UINT32_MAX;

	if (map)
		fclose(map);
	return all && !geteuid();
}

/* A memory file with these contents, at offset 0. */
static inline int memfile(const void *data, size_t bytes)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, bytes), bytes);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

/* A path under which @fd can be opened again. */
static inline const char *path_of(int fd, char buf[32])
{
	snprintf(buf, 32, "/proc/self/fd/%d", fd);
	return buf;
}

static inline void write_file(const char *path, const void *data, size_t bytes)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, bytes, f), bytes);
	assert_int_equal(fclose(f), 0);
}

/* Runs a shell command; its output (2>&1) goes to @out. Returns its exit status. */
static inline int run_tool(const char *command, char *out, size_t bytes)
{
	char line[2048];
	size_t n;
	FILE *f;

	snprintf(line, sizeof(line), "{ %s\n} 2>&1", command);
	f = popen(line, "r");
	assert_non_null(f);
	n = fread(out, 1, bytes - 1, f);
	out[n] = '\0';
	return pclose(f);
}

/* What a shell command says in directory @dir; good until the call after the next. */
static inline char *run_in(const char *dir, const char *command)
{
	static char texts[2][65536];
	static unsigned int at;
	char line[1800];

	at ^= 1;
	snprintf(line, sizeof(line), "cd %s && %s", dir, command);
	run_tool(line, texts[at], sizeof(texts[at]));
	return texts[at];
}

/* Redirects stderr to a memory file; returns what end_capture() needs. */
static inline int begin_capture(void)
{
	int saved = dup(STDERR_FILENO), fd = memfd_create("stderr", 0);

	assert_true(saved >= 0 && fd >= 0);
	dup2(fd, STDERR_FILENO);
	close(fd);
	return saved;
}

static inline void end_capture(int saved, char *out, size_t bytes)
{
	ssize_t n = pread(STDERR_FILENO, out, bytes - 1, 0);

	out[n > 0 ? n : 0] = '\0';
	dup2(saved, STDERR_FILENO);
	close(saved);
}

#endif
