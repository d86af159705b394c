// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an engine's monitor (conmon, containerd's shim) is to an OCI runtime: calls its create, adopts
 * the container's process, and waits for it.
 *
 *	engine NOTES PID-FILE -- RUNTIME create ...
 *
 * With "-c SOCKET" before NOTES it takes a terminal's master there, and joins it to its own streams: of 100
 * columns and 40 rows at first, and 120 and 50 from the word RESIZE on.
 *
 * With "-l ID" it goes on: calls "start ID" when create has returned, and "delete --force ID" when the process has ended;
 * lines "at WHAT US" say when.
 *
 * It appends lines to NOTES: "created STATUS" when create has returned, "ended STATUS" when the process
 * of PID-FILE has, by a signal as 128+n, and "left" when no child is left at all. Streams are the
 * container's. As with conmon, SIGPIPE is ignored, two descriptors stray in, it is a session of its own,
 * and of the environment little is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static const char *notes;

static void note(const char *text, int status)
{
	int fd = open(notes, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || dprintf(fd, "%s %d\n", text, status) < 0)
		exit(1);
	close(fd);
}

/* Of a whole life: how long after the start it was, in microseconds. */
static void note_time(const char *what, const struct timespec *start)
{
	char text[64];
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof(text), "at %s", what);
	note(text, (int)((now.tv_sec - start->tv_sec) * 1000000 + (now.tv_nsec - start->tv_nsec) / 1000));
}

static int plain_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static pid_t call_runtime(char **argv)
{
	static const char *const environment[] = {
		"_OCI_SYNCPIPE=3", "_OCI_STARTPIPE=4", "HOME=/root", "PATH=/bin", "XDG_RUNTIME_DIR=", NULL
	};
	pid_t pid = fork();

	if (pid)
		return pid;
	if (dup2(STDIN_FILENO, 3) < 0 || dup2(STDOUT_FILENO, 4) < 0 || chdir("/"))
		_exit(126);
	execve(argv[0], argv, (char *const *)(void *)environment);
	_exit(127);
}

/* The runtime's own flags are before its command. */
static void call_for_life(char **argv, const char *command, const char *flag, const char *id)
{
	const char *call[64];
	unsigned int n = 0;
	int status = 127;
	pid_t pid;

	while (argv[n] && strcmp(argv[n], "create") != 0 && n < 60) {
		call[n] = argv[n];
		n++;
	}
	call[n++] = command;
	if (flag)
		call[n++] = flag;
	call[n++] = id;
	call[n] = NULL;
	pid = call_runtime((char **)(void *)call);
	if (waitpid(pid, &status, 0) != pid || status)
		note(command, plain_status(status));
}

static pid_t read_pid(const char *path)
{
	FILE *f = fopen(path, "re");
	int pid = 0;

	if (!f || fscanf(f, "%d", &pid) != 1 || pid <= 1)
		pid = -1;
	if (f)
		fclose(f);
	return pid;
}

/* ---- terminals ---- */

static int listen_at(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1))
		exit(1);
	return fd;
}

static int take_master(int listener)
{
	char name[64], room[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { name, sizeof(name) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), master = -1;

	if (fd < 0 || recvmsg(fd, &m, 0) <= 0 || m.msg_controllen < CMSG_LEN(sizeof(int)))
		exit(1);
	memcpy(&master, CMSG_DATA((struct cmsghdr *)(void *)room), sizeof(master));
	return master;
}

static void set_window(int master, unsigned short columns, unsigned short rows)
{
	const struct winsize w = { .ws_col = columns, .ws_row = rows };

	if (ioctl(master, TIOCSWINSZ, &w))
		exit(1);
}

/* As conmon: the mode's bits are its business, too. */
static void relay_terminal(int listener)
{
	char data[4096], seen[8192] = "";
	struct termios mode;
	int master = take_master(listener);
	struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = master, .events = POLLIN } };
	ssize_t n;

	if (tcgetattr(master, &mode))
		exit(1);
	mode.c_oflag |= ONLCR;
	tcsetattr(master, TCSANOW, &mode);
	set_window(master, 100, 40);
	while (poll(p, 2, -1) > 0) {
		if (p[0].revents) {
			n = read(STDIN_FILENO, data, sizeof(data));
			if (n <= 0)
				p[0].fd = -1;
			else if (write(master, data, (size_t)n) != n)
				exit(1);
		}
		if (!p[1].revents)
			continue;
		n = read(master, data, sizeof(data) - 1);
		if (n <= 0 || write(STDOUT_FILENO, data, (size_t)n) != n)
			exit(0);
		data[n] = '\0';
		strncat(seen, data, sizeof(seen) - strlen(seen) - 1);
		if (strstr(seen, "RESIZE"))
			set_window(master, 120, 50);
	}
	exit(0);
}

/* In a process of its own, which ends with the terminal. */
static void start_terminal(const char *path)
{
	int listener = listen_at(path);

	if (!fork())
		relay_terminal(listener);
	close(listener);
}

int main(int argc, char **argv)
{
	pid_t runtime, container = -1, ended;
	const char *life = NULL;
	struct timespec start;
	int status;

	clock_gettime(CLOCK_MONOTONIC, &start);

	if (argc > 3 && !strcmp(argv[1], "-l")) {
		life = argv[2];
		argv += 2;
		argc -= 2;
	}
	if (argc > 3 && !strcmp(argv[1], "-c")) {
		signal(SIGPIPE, SIG_IGN);
		start_terminal(argv[2]);
		argv += 2;
		argc -= 2;
	}
	if (argc < 5 || strcmp(argv[3], "--") != 0)
		return 2;
	notes = argv[1];
	signal(SIGPIPE, SIG_IGN);
	setsid();
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
		return 1;
	runtime = call_runtime(argv + 4);
	while ((ended = waitpid(-1, &status, 0)) > 0 || errno == EINTR) {
		if (ended == runtime) {
			note("created", plain_status(status));
			container = status ? -1 : read_pid(argv[2]);
			if (!life)
				continue;
			note_time("created", &start);
			call_for_life(argv + 4, "start", NULL, life);
			note_time("started", &start);
		} else if (ended > 0 && ended == container) {
			note("ended", plain_status(status));
			if (!life)
				continue;
			note_time("ended", &start);
			call_for_life(argv + 4, "delete", "--force", life);
			note_time("deleted", &start);
		}
	}
	note("left", 0);
	if (life)
		note_time("left", &start);
	return 0;
}
