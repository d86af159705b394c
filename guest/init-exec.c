// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's first process: commands beside the first one (guest/protocol.h on sessions).
 *
 * Each is a session with a plan, a process, and the other sides of its streams. What comes for its
 * stdin waits in a buffer as long as the window is; what it writes is read when lkvm has room for it, so
 * one that nobody reads stops by itself. It is over when its process has ended and what that had
 * written is sent; others that it has left behind stay, but nobody reads them.
 *
 * Of one that is over nothing is heard until lkvm has hung up, which is the last that it says of it: what
 * comes before was on its way, and is not the next one's. Each hang-up has one end, said before or then.
 *
 * A mistake in what is told about one is the end of that one only: it comes from another program than
 * the VM. A container's tells by a pipe whether its program runs: errno, or the pipe's end at execve(2).
 *
 * Sources: setsid(2), kill(2), pty(7).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "guest/init.h"

#define HEADER_BYTES sizeof(struct protocol_header)
#define MAX_PLAN_BYTES (PROTOCOL_MAX_STRINGS_BYTES + 16384u)
#define CTRL_D 4

struct job {
	char *plan;		/* while it is told; NULL: it is not, or not any more */
	size_t plan_bytes;
	pid_t pid;		/* 0: it does not run */
	bool over;		/* its end is said: what comes until the hang-up is late */
	bool terminal;
	bool has_credentials;
	struct protocol_size size;	/* until a container's terminal is there */
	int report;		/* of one that has credentials: -1: it has told */
	int in, out, err;	/* ours of its streams; -1: closed. A terminal's are the same */
	uint64_t room;		/* lkvm has for its output */
	bool in_over;		/* no more input comes */
	size_t in_at, in_until;
	uint64_t in_used;	/* of the window, yet to be given back */
	char input[PROTOCOL_INPUT_WINDOW];
	bool exited;
	struct protocol_exited end;
};

static struct job jobs[PROTOCOL_MAX_SESSIONS];

static void job_tell(const struct job *j, uint32_t kind, const void *payload, size_t bytes)
{
	init_tell(PROTOCOL_OF_SESSION(j - jobs + 1, kind), payload, bytes);
}

/* ---- the end ---- */

static void job_close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_output(struct job *j, int *fd)
{
	if (j->terminal)
		*fd = -1;	/* it is the input's, too */
	else
		job_close_end(fd);
}

static void job_tell_end(struct job *j, uint32_t end, uint32_t value)
{
	const struct protocol_exited e = { .end = end, .value = value };

	j->over = true;
	job_tell(j, PROTOCOL_EXEC_EXITED, &e, sizeof(e));
}

static void job_end(struct job *j, uint32_t end, uint32_t value)
{
	close_output(j, &j->out);
	job_close_end(&j->err);
	job_close_end(&j->in);
	job_close_end(&j->report);
	free(j->plan);
	j->plan = NULL;
	j->pid = 0;
	job_tell_end(j, end, value);
}

/* All its processes but those that have left its session. Before it has one it is alone. */
static void job_signal(const struct job *j, int signal)
{
	if (j->exited)
		return;
	if (kill(-j->pid, signal))
		kill(j->pid, signal);
}

static void job_hang_up(struct job *j)
{
	if (j->pid) {
		job_signal(j, j->has_credentials ? SIGKILL : SIGHUP);
		job_signal(j, SIGCONT);
	}
	job_end(j, PROTOCOL_END_SIGNALED, SIGHUP);
}

/* The session is free afterwards. */
static void job_take_hangup(struct job *j)
{
	if (j->pid || j->plan)
		job_hang_up(j);
	else if (!j->over)
		job_tell_end(j, PROTOCOL_END_SIGNALED, SIGHUP);		/* of one that never was */
	j->over = false;
}

void init_exec_reap(pid_t pid, int status)
{
	for (struct job *j = jobs; j < jobs + PROTOCOL_MAX_SESSIONS; j++) {
		if (j->pid != pid)
			continue;
		j->exited = true;
		if (WIFSIGNALED(status))
			j->end = (struct protocol_exited){ PROTOCOL_END_SIGNALED, (uint32_t)WTERMSIG(status) };
		else
			j->end = (struct protocol_exited){ PROTOCOL_END_EXITED, (uint32_t)WEXITSTATUS(status) };
	}
}

/* ---- the beginning ---- */

/* Of the plan. */
static const char *next_string(const char **at, const char *until)
{
	const char *text = *at, *end = text < until ? memchr(text, '\0', (size_t)(until - text)) : NULL;

	if (!end)
		init_fail("lkvm exec sent a bad command");
	*at = end + 1;
	return text;
}

/* Of the plan, too. */
static void take_credentials(struct init_plan *p, const char **at, const char *until)
{
	if ((size_t)(until - *at) < sizeof(p->credentials))
		init_fail("lkvm exec sent a bad command");
	init_set_credentials(p, *at, sizeof(p->credentials));
	*at += sizeof(p->credentials);
}

/* In its process. */
__attribute__((noreturn)) static void become_job(const struct job *j, const struct protocol_exec *e,
						 const int ends[3], int report)
{
	const char *at = j->plan + sizeof(*e), *until = j->plan + j->plan_bytes, *text;
	static struct init_plan p;

	init_leave(ends);
	p.has_terminal = e->terminal;
	p.size = e->size;
	if (e->has_credentials)
		take_credentials(&p, &at, until);
	text = next_string(&at, until);
	p.directory = *text ? strdup(text) : NULL;
	p.directory_needed = p.directory;
	text = next_string(&at, until);
	p.user = *text ? strdup(text) : NULL;
	for (uint32_t i = 0; i < e->nr_arguments; i++)
		init_add_text(&p.arguments, &p.nr_arguments, next_string(&at, until));
	for (uint32_t i = 0; i < e->nr_environment; i++)
		init_add_text(&p.environment, &p.nr_environment, next_string(&at, until));
	init_be_command(&p, ends, report);
}

static void make_nonblocking(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* What of it is there before its process is. */
static int open_job(struct job *j, const struct protocol_exec *e, int ends[3], int report[2])
{
	int ours[3] = { -1, -1, -1 }, error = 0;

	if (e->has_credentials)
		error = init_open_report(e->terminal, report);
	if (error)
		return error;
	if (!e->has_credentials || !e->terminal)
		error = init_open_streams(e->terminal, &e->size, ours, ends);
	j->report = report[0];
	j->in = ours[0];
	j->out = ours[1];
	j->err = ours[2];
	j->terminal = e->terminal;
	j->has_credentials = e->has_credentials;
	j->size = e->size;
	return error;
}

static void job_start(struct job *j)
{
	struct protocol_exec e;
	int ends[3] = { -1, -1, -1 }, report[2] = { -1, -1 }, error = EINVAL;
	pid_t pid;

	if (j->plan_bytes >= sizeof(e)) {
		memcpy(&e, j->plan, sizeof(e));
		error = open_job(j, &e, ends, report);
	}
	if (error) {
		job_close_end(&report[1]);
		job_end(j, PROTOCOL_END_NOT_STARTED, (uint32_t)error);
		return;
	}
	pid = init_fork_into_container();
	error = errno;
	if (!pid)
		become_job(j, &e, ends, report[1]);
	for (int i = 0; i < (j->terminal ? 1 : 3); i++)
		job_close_end(&ends[i]);
	job_close_end(&report[1]);
	if (pid < 0) {
		job_end(j, PROTOCOL_END_NOT_STARTED, (uint32_t)error);
		return;
	}
	j->pid = pid;
	make_nonblocking(j->in);
	make_nonblocking(j->out);
	make_nonblocking(j->err);
	make_nonblocking(j->report);
	free(j->plan);
	j->plan = NULL;
}

static void add_to_plan(struct job *j, const char *part, size_t bytes)
{
	const bool is_first = !j->plan;
	char *plan;

	if (is_first)
		*j = (struct job){
			.in = -1, .out = -1, .err = -1, .report = -1, .room = PROTOCOL_OUTPUT_WINDOW,
		};
	plan = j->plan_bytes + bytes > MAX_PLAN_BYTES ? NULL : realloc(j->plan, j->plan_bytes + bytes + 1);
	if (!plan) {
		job_end(j, PROTOCOL_END_NOT_STARTED, E2BIG);
		return;
	}
	memcpy(plan + j->plan_bytes, part, bytes);
	j->plan = plan;
	j->plan_bytes += bytes;
}

/* ---- what comes ---- */

static void job_take_input(struct job *j, const char *data, size_t bytes)
{
	static const char end_key = CTRL_D;
	const size_t used = HEADER_BYTES + bytes;

	if (!bytes && j->terminal) {
		data = &end_key;
		bytes = 1;
	} else if (!bytes) {
		j->in_over = true;
	}
	if (j->in_until + bytes > sizeof(j->input)) {
		memmove(j->input, j->input + j->in_at, j->in_until - j->in_at);
		j->in_until -= j->in_at;
		j->in_at = 0;
	}
	if (j->in_until + bytes > sizeof(j->input)) {	/* more than the window */
		job_hang_up(j);
		return;
	}
	memcpy(j->input + j->in_until, data, bytes);
	j->in_until += bytes;
	j->in_used += used;
}

static void job_stop_output(struct job *j, uint32_t stream)
{
	if (j->terminal)
		job_hang_up(j);
	else
		job_close_end(stream == STDOUT_FILENO ? &j->out : &j->err);
}

static void job_resize(struct job *j, const struct protocol_size *size)
{
	const struct winsize w = { .ws_col = size->columns, .ws_row = size->rows };

	j->size = *size;
	if (j->terminal && j->in >= 0)
		ioctl(j->in, TIOCSWINSZ, &w);
}

/* A payload that is too short is one with zeros. */
static void job_hear(struct job *j, uint32_t kind, const char *payload, size_t bytes)
{
	union {
		struct protocol_count count;
		struct protocol_signal signal;
		struct protocol_size size;
		struct protocol_stream stream;
	} u = { 0 };

	memcpy(&u, payload, bytes < sizeof(u) ? bytes : sizeof(u));
	switch (kind) {
	case PROTOCOL_EXEC_INPUT:
		job_take_input(j, payload, bytes);
		break;
	case PROTOCOL_EXEC_READ:
		if (u.count.bytes <= PROTOCOL_OUTPUT_WINDOW)
			j->room += u.count.bytes;
		break;
	case PROTOCOL_EXEC_SIGNAL:
		if (u.signal.number <= 64)
			job_signal(j, (int)u.signal.number);
		break;
	case PROTOCOL_EXEC_SIZE:
		job_resize(j, &u.size);
		break;
	case PROTOCOL_EXEC_UNREAD:
		job_stop_output(j, u.stream.stream);
		break;
	default:
		job_hang_up(j);
		break;
	}
}

void init_exec_hear(unsigned int session, uint32_t kind, const char *payload, size_t bytes)
{
	struct job *j;

	if (!session || session > PROTOCOL_MAX_SESSIONS)
		return;
	j = &jobs[session - 1];
	if (kind == PROTOCOL_EXEC_HANGUP)
		job_take_hangup(j);
	else if (j->over)
		return;		/* it was on its way when that ended */
	else if (kind == PROTOCOL_EXEC_PLAN && !j->pid)
		add_to_plan(j, payload, bytes);
	else if (kind == PROTOCOL_EXEC_GO && j->plan)
		job_start(j);
	else if (j->pid)
		job_hear(j, kind, payload, bytes);
	/* All else is about none. */
}

/* ---- streams ---- */

static void move_job_input(struct job *j)
{
	const struct protocol_count taken = { .bytes = j->in_used };
	ssize_t n;

	if (j->in < 0)
		return;
	n = write(j->in, j->input + j->in_at, j->in_until - j->in_at);
	if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOMEM))
		return;
	j->in_at += n > 0 ? (size_t)n : 0;
	if (n >= 0 && j->in_at < j->in_until)
		return;
	j->in_at = j->in_until = 0;
	if ((n < 0 || j->in_over) && !j->terminal)
		job_close_end(&j->in);	/* its end, or nobody reads it */
	if (!j->in_used)
		return;
	j->in_used = 0;
	job_tell(j, PROTOCOL_EXEC_TAKEN, &taken, sizeof(taken));
}

/* As much as lkvm has room for. Of one that has ended, what is there is all. */
static void move_job_output(struct job *j, int *fd, uint32_t kind)
{
	char data[PROTOCOL_MAX_FRAME_BYTES];

	while (*fd >= 0 && j->room > HEADER_BYTES) {
		size_t most = j->room - HEADER_BYTES < sizeof(data) ? j->room - HEADER_BYTES : sizeof(data);
		ssize_t n = read(*fd, data, most);

		if (n < 0 && (errno == EINTR || (errno == EAGAIN && !j->exited)))
			return;
		if (n <= 0) {
			close_output(j, fd);
			n = 0;
		} else {
			j->room -= HEADER_BYTES + (size_t)n;
		}
		job_tell(j, kind, data, (size_t)n);
	}
}

static bool job_has_input(const struct job *j)
{
	return j->in >= 0 && (j->in_at < j->in_until || (j->in_over && !j->terminal));
}

static void take_terminal(struct job *j, int master)
{
	const struct winsize w = { .ws_col = j->size.columns, .ws_row = j->size.rows };

	j->in = j->out = master;
	make_nonblocking(master);
	if (w.ws_col)
		ioctl(master, TIOCSWINSZ, &w);
}

/* False if its program does not run. */
static bool take_report(struct job *j)
{
	int error = 0, terminal[2] = { -1, -1 };
	ssize_t n = j->report < 0 ? -1 : init_take_report(j->report, j->terminal, &error, terminal);

	if (terminal[0] >= 0 && j->in < 0) {
		take_terminal(j, terminal[0]);
		job_close_end(&terminal[1]);
		n = init_take_report(j->report, true, &error, terminal);
	}
	if (terminal[0] >= 0) {		/* no process of ours sends another */
		close(terminal[0]);
		close(terminal[1]);
	} else if (n == (ssize_t)sizeof(error)) {
		job_end(j, PROTOCOL_END_NOT_STARTED, (uint32_t)error);
		return false;
	} else if (!n) {
		job_close_end(&j->report);
		job_tell(j, PROTOCOL_EXEC_STARTED, NULL, 0);
	}
	return true;
}

void init_exec_turn(void)
{
	for (struct job *j = jobs; j < jobs + PROTOCOL_MAX_SESSIONS; j++) {
		if (!j->pid || !take_report(j))
			continue;
		if (job_has_input(j))
			move_job_input(j);
		move_job_output(j, &j->out, PROTOCOL_EXEC_STDOUT);
		move_job_output(j, &j->err, PROTOCOL_EXEC_STDERR);
		if (j->exited && j->out < 0 && j->err < 0)
			job_end(j, j->end.end, j->end.value);
	}
}

static unsigned int add_poll(struct pollfd *p, int fd, bool wanted, short events)
{
	*p = (struct pollfd){ .fd = fd, .events = events };
	return wanted && fd >= 0;
}

unsigned int init_exec_poll(struct pollfd *p)
{
	unsigned int nr = 0;

	for (const struct job *j = jobs; j < jobs + PROTOCOL_MAX_SESSIONS; j++) {
		if (!j->pid)
			continue;
		nr += add_poll(p + nr, j->in, job_has_input(j), POLLOUT);
		nr += add_poll(p + nr, j->out, j->room > HEADER_BYTES, POLLIN);
		nr += add_poll(p + nr, j->err, j->room > HEADER_BYTES, POLLIN);
		nr += add_poll(p + nr, j->report, true, POLLIN);
	}
	return nr;
}
