// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an engine's monitor (conmon, containerd's shim) is to an OCI runtime: calls its create, adopts
 * the container's process, and waits for it.
 *
 *	engine NOTES PID-FILE -- RUNTIME create ...
 *
 * It appends lines to NOTES: "created STATUS" when create has returned, "ended STATUS" when the process
 * of PID-FILE has, by a signal as 128+n, and "left" when no child is left at all. Streams are the
 * container's. As with conmon, SIGPIPE is ignored, two descriptors stray in, it is a session of its own,
 * and of the environment little is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *notes;

static void note(const char *text, int status)
{
	int fd = open(notes, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || dprintf(fd, "%s %d\n", text, status) < 0)
		exit(1);
	close(fd);
}

static int plain_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static pid_t call_runtime(char **argv)
{
	static const char *const environment[] = {
		"_OCI_SYNCPIPE=3", "_OCI_STARTPIPE=4", "HOME=/root", "PATH=/bin", "XDG_RUNTIME_DIR=", NULL,
	};
	pid_t pid = fork();

	if (pid)
		return pid;
	if (dup2(STDIN_FILENO, 3) < 0 || dup2(STDOUT_FILENO, 4) < 0 || chdir("/"))
		_exit(126);
	execve(argv[0], argv, (char *const *)(void *)environment);
	_exit(127);
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

int main(int argc, char **argv)
{
	pid_t runtime, container = -1, ended;
	int status;

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
		} else if (ended > 0 && ended == container) {
			note("ended", plain_status(status));
		}
	}
	note("left", 0);
	return 0;
}
