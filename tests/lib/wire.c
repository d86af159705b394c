// SPDX-License-Identifier: GPL-2.0-only
/*
 * A program in an emulated host, for who is outside: its stdin and stdout by a serial line.
 *
 *	wire far TTY COMMAND [ARG...]	in the host: runs COMMAND each time somebody comes, for ever
 *	wire near TTY			outside: is that command's stdin and stdout
 *
 * On the line an escape byte comes before what is no data: one end's beginning, its end, or that byte
 * itself. When the near end is gone the command finds the end of its stdin, as it would if it had been
 * there; when the command is gone, the near end ends. A beginning is answered by one, and
 * what comes before that is of an earlier one. It is said again each second until then, since the far end may
 * come later, and what is on a line before that opens it is lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define ESCAPE 0x1d
#define BEGINS 'b'
#define ENDS   'e'

static int line;
static bool line_escape; /* the next byte from the line says what */

static void fail(const char *what)
{
	fprintf(stderr, "wire: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void put_all(int fd, const void *data, size_t bytes)
{
	const char *at = data;

	while (bytes) {
		ssize_t n = write(fd, at, bytes);

		if (n < 0 && errno != EINTR)
			return; /* nobody reads it any more, which is found out elsewhere */
		at += n > 0 ? n : 0;
		bytes -= n > 0 ? (size_t)n : 0;
	}
}

static void say(char what)
{
	const char text[] = { ESCAPE, what };

	put_all(line, text, sizeof(text));
}

static void open_line(const char *path)
{
	struct termios t;

	line = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (line < 0 || tcgetattr(line, &t))
		fail(path);
	cfmakeraw(&t);
	t.c_cflag |= CLOCAL | CREAD;
	cfsetspeed(&t, B115200);
	if (tcsetattr(line, TCSANOW, &t))
		fail(path);
}

/* What was read from @fd, to the line. False: there is no more. */
static bool carry_out(int fd)
{
	char in[512], out[2 * sizeof(in)];
	ssize_t n = read(fd, in, sizeof(in));
	size_t bytes = 0;

	for (ssize_t i = 0; i < n; i++) {
		out[bytes++] = in[i];
		if (in[i] == ESCAPE)
			out[bytes++] = ESCAPE;
	}
	put_all(line, out, bytes);
	return n > 0;
}

/* From the line, to @fd; -1: nowhere. Without @begun what comes before a beginning is left out. What was said last. */
static char carry_in(int fd, bool begun)
{
	char in[512], out[sizeof(in)], said = 0;
	ssize_t n = read(line, in, sizeof(in));
	size_t bytes = 0;

	if (!n || (n < 0 && errno != EINTR))
		fail("the line");
	for (ssize_t i = 0; i < n; i++) {
		if (line_escape && in[i] != ESCAPE) {
			said = in[i];
			if (said == BEGINS)
				bytes = 0; /* of an earlier one */
			begun |= said == BEGINS;
		} else if (line_escape || in[i] != ESCAPE) {
			out[bytes++] = in[i];
		}
		line_escape = !line_escape && in[i] == ESCAPE;
	}
	if (fd >= 0 && begun)
		put_all(fd, out, bytes);
	return said;
}

/* ---- outside ---- */

static int be_near(void)
{
	bool begun = false;

	say(BEGINS);
	for (;;) {
		struct pollfd p[] = { { .fd = line, .events = POLLIN }, { .fd = begun ? 0 : -1, .events = POLLIN } };

		if (!poll(p, 2, begun ? -1 : 1000))
			say(BEGINS);
		if (p[0].revents) {
			char said = carry_in(1, begun);

			if (begun && said == ENDS)
				return 0;
			begun |= said == BEGINS;
		}
		if (p[1].revents && !carry_out(0)) {
			say(ENDS);
			return 0;
		}
	}
}

/* ---- in the host ---- */

static pid_t start(char **argv, int *in, int *out)
{
	int to[2], from[2];
	pid_t pid;

	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
		fail("pipe");
	pid = fork();
	if (!pid) {
		if (dup2(to[0], 0) < 0 || dup2(from[1], 1) < 0)
			_exit(126);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	*in = to[1];
	*out = from[0];
	return pid;
}

static void serve(char **argv)
{
	int in, out;
	pid_t pid = start(argv, &in, &out);

	say(BEGINS);
	for (;;) {
		struct pollfd p[] = { { .fd = line, .events = POLLIN }, { .fd = out, .events = POLLIN } };

		poll(p, 2, -1);
		if (p[0].revents && carry_in(in, true) == ENDS)
			break;
		if (p[1].revents && !carry_out(out))
			break;
	}
	close(in);
	close(out);
	say(ENDS);
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc < 3 || (strcmp(argv[1], "near") && argc < 4)) {
		fprintf(stderr, "usage: wire near TTY | wire far TTY COMMAND [ARG...]\n");
		return 2;
	}
	open_line(argv[2]);
	if (!strcmp(argv[1], "near"))
		return be_near();
	for (;;)
		if (carry_in(-1, false) == BEGINS)
			serve(argv + 3);
}
