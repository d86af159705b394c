// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs commands in turn and says what a run of each costs, for the bench.
 *
 *	measure N [=STATUS] COMMAND... [-- [=STATUS] COMMAND...]...
 *
 * Each command runs N times, one after the other in every round and in an order drawn anew
 * for it, so that what else the machine does, and what the one before left it to do, meets
 * all alike. Prints a line for each: the medians of the time to its first
 * byte of output, of wall time and CPU time (microseconds), peak resident memory (KiB, guest
 * RAM that was touched included), context switches; then the number of runs that did not
 * exit with STATUS (0) or said nothing.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_COMMANDS 8
#define MAX_RUNS     1000

enum {
	FIRST,
	WALL,
	CPU,
	MEMORY,
	SWITCHES,
	NR_FIGURES,
};

static int64_t figures[MAX_COMMANDS][NR_FIGURES][MAX_RUNS];

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t us(const struct timeval *tv)
{
	return tv->tv_sec * 1000000 + tv->tv_usec;
}

/* How much there was until its end, and when the first of it came. */
static ssize_t read_all(int fd, int64_t *first_us)
{
	char text[4096];
	ssize_t n, all = 0;

	while ((n = read(fd, text, sizeof(text))) > 0) {
		if (!all)
			*first_us = now_us();
		all += n;
	}
	return all;
}

/* True if it exited as expected, with something said. */
static int run(char **command, int64_t (*f)[MAX_RUNS], int i)
{
	int want = *command[0] == '=' ? atoi(*command++ + 1) : 0;
	int64_t start = now_us();
	struct rusage u;
	int status, out[2];
	ssize_t said;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) || (pid = fork()) < 0) {
		perror("pipe, fork");
		exit(1);
	}
	if (!pid) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 0);
		dup2(out[1], 1);
		dup2(null, 2);
		execvp(command[0], command);
		_exit(127);
	}
	close(out[1]);
	said = read_all(out[0], &f[FIRST][i]);
	f[FIRST][i] -= start;
	close(out[0]);
	wait4(pid, &status, 0, &u);
	f[WALL][i] = now_us() - start;
	f[CPU][i] = us(&u.ru_utime) + us(&u.ru_stime);
	f[MEMORY][i] = u.ru_maxrss;
	f[SWITCHES][i] = u.ru_nvcsw + u.ru_nivcsw;
	return said && WIFEXITED(status) && WEXITSTATUS(status) == want;
}

static int by_size(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void shuffle(int *order, int nr)
{
	for (int k = nr - 1; k > 0; k--) {
		int other = rand() % (k + 1), was = order[k];

		order[k] = order[other];
		order[other] = was;
	}
}

int main(int argc, char **argv)
{
	int runs = argc > 2 ? atoi(argv[1]) : 0, nr = 0, failed[MAX_COMMANDS] = { 0 };
	int order[MAX_COMMANDS];
	char **commands[MAX_COMMANDS];

	if (runs < 1 || runs > MAX_RUNS)
		return 2;
	for (int i = 2; i < argc; i++) {
		if ((i == 2 || !argv[i - 1]) && nr < MAX_COMMANDS)
			commands[nr++] = &argv[i];
		if (!strcmp(argv[i], "--"))
			argv[i] = NULL;
	}
	for (int c = 0; c < nr; c++)
		order[c] = c;
	for (int i = 0; i < runs; i++) {
		shuffle(order, nr);
		for (int k = 0; k < nr; k++)
			failed[order[k]] += !run(commands[order[k]], figures[order[k]], i);
	}
	for (int c = 0; c < nr; c++) {
		for (int f = 0; f < NR_FIGURES; f++) {
			qsort(figures[c][f], (size_t)runs, sizeof(int64_t), by_size);
			printf("%lld ", (long long)figures[c][f][runs / 2]);
		}
		printf("%d\n", failed[c]);
	}
	return 0;
}
