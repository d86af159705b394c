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
 * A container has its name alone: one that is made again while another of its name is leaving, since that was
 * killed on the host, has a process, which waits.
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

#define HEADER_BYTES   sizeof(struct protocol_header)
#define MAX_PLAN_BYTES (PROTOCOL_MAX_STRINGS_BYTES + 16384u)
#define LEAVE_MS       5000  /* for a container to let go of its disk */
#define FREEZE_MS      10000 /* ... and to stop */
#define CTRL_D	       4

/* What is told in parts. */
struct told {
	char *data; /* NULL: nothing yet, or not any more */
	size_t bytes;
};

struct job {
	bool begun; /* something was told of it */
	struct told plan;
	struct protocol_in where;  /* the container that it is in, or is; no name: the first one */
	struct told more;	   /* of one that is a container: its messages, for as long as it runs */
	struct protocol_disk disk; /* of such a one; no serial number: none */
	struct init_spaces spaces; /* ... while it runs, if: */
	bool spaces_open;
	bool hung;	     /* nobody is there any more, but its end is to be said */
	int go;		     /* of a container's that runs: where its process waits for its name; -1: it has it */
	uint64_t leaves_by;  /* init_now_ms(): it has ended, but for its disk; 0: it has not */
	uint64_t freezes_by; /* likewise: it is about to stop; 0: it is not */
	pid_t pid;	     /* 0: it does not run */
	bool over;	     /* its end is said: what comes until the hang-up is late */
	bool terminal;
	bool has_credentials;
	struct protocol_size size; /* until a container's terminal is there */
	int report;		   /* of one that has credentials: -1: it has told */
	int in, out, err;	   /* ours of its streams; -1: closed. A terminal's are the same */
	uint64_t room;		   /* lkvm has for its output */
	bool in_over;		   /* no more input comes */
	size_t in_at, in_until;
	uint64_t in_used; /* of the window, yet to be given back */
	char input[PROTOCOL_INPUT_WINDOW];
	bool exited;
	struct protocol_exited end;
};

static struct job jobs[PROTOCOL_MAX_SESSIONS];

static void job_tell(const struct job *j, uint32_t kind, const void *payload, size_t bytes)
{
	init_tell(PROTOCOL_OF_SESSION(j - jobs + 1, kind), payload, bytes);
}

static bool is_container(const struct job *j)
{
	return j->where.flags & PROTOCOL_IN_NEW;
}

static void told_forget(struct told *t)
{
	free(t->data);
	*t = (struct told){ 0 };
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
		*fd = -1; /* it is the input's, too */
	else
		job_close_end(fd);
}

/* One that nobody is there for any more is free afterwards. */
static void job_tell_end(struct job *j, uint32_t end, uint32_t value)
{
	const struct protocol_exited e = { .end = end, .value = value };

	j->leaves_by = 0;
	j->begun = j->over = !j->hung;
	j->hung = false;
	job_tell(j, PROTOCOL_EXEC_EXITED, &e, sizeof(e));
}

static void job_close_streams(struct job *j)
{
	close_output(j, &j->out);
	job_close_end(&j->err);
	job_close_end(&j->in);
	job_close_end(&j->report);
	job_close_end(&j->go);
}

/* A container's end is said when its disk is free, or will not be. */
static void job_end(struct job *j, uint32_t end, uint32_t value)
{
	job_close_streams(j);
	told_forget(&j->plan);
	told_forget(&j->more);
	j->pid = 0;
	j->freezes_by = 0;
	if (!*j->disk.serial) {
		job_tell_end(j, end, value);
		return;
	}
	init_close_spaces(&j->spaces);
	j->spaces_open = false;
	j->end = (struct protocol_exited){ end, value };
	j->leaves_by = init_now_ms() + LEAVE_MS;
}

/* One that nothing was told of but its disk has never had that. */
static void job_leave(struct job *j)
{
	const bool left = !is_container(j) || init_has_left(&j->where, &j->disk);

	if (!left && init_now_ms() < j->leaves_by)
		return;
	if (left)
		job_tell(j, PROTOCOL_EXEC_RELEASED, NULL, 0);
	else
		init_notice("container: its disk is in use still, and is not anybody else's any more");
	job_tell_end(j, j->end.end, j->end.value);
}

bool init_exec_is_due(void)
{
	for (const struct job *j = jobs; j < jobs + PROTOCOL_MAX_SESSIONS; j++)
		if (j->leaves_by || j->freezes_by || (j->pid && j->go >= 0))
			return true;
	return false;
}

/* All its processes but those that have left its session. Before it has one it is alone. */
static void job_signal(const struct job *j, int signal)
{
	if (j->exited)
		return;
	if (kill(-j->pid, signal))
		kill(j->pid, signal);
}

/* A container's first process has to be gone before it is over. */
static void job_hang_up(struct job *j)
{
	if (j->pid) {
		job_signal(j, j->has_credentials ? SIGKILL : SIGHUP);
		job_signal(j, SIGCONT);
	}
	if (is_container(j) && j->pid)
		job_close_streams(j);
	else
		job_end(j, PROTOCOL_END_SIGNALED, SIGHUP);
}

/* The session is free afterwards, or as soon as its end is said. */
static void job_take_hangup(struct job *j)
{
	if (j->over || !j->begun) {
		if (!j->over)
			job_tell_end(j, PROTOCOL_END_SIGNALED, SIGHUP); /* of one that never was */
		j->over = j->begun = false;
		return;
	}
	j->hung = true;
	if (!j->leaves_by)
		job_hang_up(j);
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

/* The container that @j is in; NULL: the first one, or @j is one itself. */
static struct job *find_container(const struct job *j)
{
	for (struct job *c = jobs; c < jobs + PROTOCOL_MAX_SESSIONS; c++)
		if (c != j && c->spaces_open && !c->exited && !c->hung && !strcmp(c->where.name, j->where.name))
			return c;
	return NULL;
}

/* Another container of its name has not left yet: what it has left in its group would be taken for that one's. */
static bool has_namesake(const struct job *j)
{
	for (const struct job *c = jobs; c < jobs + PROTOCOL_MAX_SESSIONS; c++)
		if (c != j && is_container(c) && ((c->pid && c->go < 0) || c->leaves_by) &&
		    !strcmp(c->where.name, j->where.name))
			return true;
	return false;
}

/* Messages of a container's, in a process of it: of one that is not the first only the list of system calls. */
static void take_more(struct init_plan *p, const struct told *more, bool is_first)
{
	struct protocol_header h;

	for (size_t at = 0; at < more->bytes; at += h.bytes) {
		if (more->bytes - at < sizeof(h))
			init_fail("lkvm sent a bad container");
		memcpy(&h, more->data + at, sizeof(h));
		at += sizeof(h);
		if (h.bytes > more->bytes - at)
			init_fail("lkvm sent a bad container");
		if (h.kind == PROTOCOL_SECCOMP)
			init_set_seccomp(p, more->data + at, h.bytes);
		else if (h.kind == PROTOCOL_STEP && is_first)
			init_add_step(p, more->data + at, h.bytes);
		else if (h.kind == PROTOCOL_VOLUME && is_first)
			init_add_volume(p, more->data + at, h.bytes);
		else if (h.kind != PROTOCOL_STEP && h.kind != PROTOCOL_VOLUME)
			init_fail("lkvm sent a bad container");
	}
}

/* In its process: where its namespaces and its root are. 0 or errno. */
static int go_where_it_is(struct job *j, struct init_plan *p)
{
	const struct job *c = is_container(j) ? j :
			      *j->where.name  ? find_container(j) :
						NULL;
	char group[INIT_GROUP_BYTES];

	p->is_member = c;
	if (c)
		take_more(p, &c->more, c == j);
	if (c == j) {
		init_make_member(&j->where, &j->disk, p);
		return 0;
	}
	init_name_group(group, j->where.name);
	return init_enter(c ? &c->spaces : init_first_spaces(), group);
}

/* In its process. Its end is what it waits for, too. */
static void job_wait_for_name(int go)
{
	char byte;

	if (go >= 0 && read(go, &byte, 1) != 1)
		_exit(125);
}

/* In its process. */
__attribute__((noreturn)) static void become_job(struct job *j, const struct protocol_exec *e,
						 const int ends[3], int report, int go)
{
	const char *at = j->plan.data + sizeof(*e), *until = j->plan.data + j->plan.bytes, *text;
	static struct init_plan p;
	int error;

	job_close_end(&j->go); /* otherwise it would be its own */
	job_wait_for_name(go);
	init_leave(ends, is_container(j) ? report : -1);
	error = go_where_it_is(j, &p);
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
	init_be_command(&p, ends, report, error);
}

static void make_nonblocking(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* What its process waits at, if it has to. 0 or errno. */
static int open_go(struct job *j, int *go)
{
	int ends[2];

	if (!is_container(j) || !has_namesake(j))
		return 0;
	if (pipe2(ends, O_CLOEXEC))
		return errno;
	*go = ends[0];
	j->go = ends[1];
	return 0;
}

/* What of it is there before its process is. */
static int open_job(struct job *j, const struct protocol_exec *e, int ends[3], int report[2], int *go)
{
	int ours[3] = { -1, -1, -1 }, error = open_go(j, go);

	if (!error && e->has_credentials)
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

/* Before its process is there, which has a copy of what init has mounted. What is no message is that one's to tell. */
static int make_volumes(const struct told *more)
{
	struct protocol_header h;
	struct protocol_volume v;
	int error = 0;

	for (size_t at = 0; !error && more->bytes - at >= sizeof(h); at += h.bytes) {
		memcpy(&h, more->data + at, sizeof(h));
		at += sizeof(h);
		if (h.bytes > more->bytes - at)
			break;
		if (h.kind != PROTOCOL_VOLUME || h.bytes != sizeof(v))
			continue;
		memcpy(&v, more->data + at, sizeof(v));
		error = init_make_volume(&v);
	}
	if (error)
		init_notice("container: a volume of its pod cannot be made: %s", strerror(error));
	return error;
}

static pid_t job_fork(const struct job *j)
{
	const struct job *c = *j->where.name && !is_container(j) ? find_container(j) : NULL;

	if (is_container(j))
		return init_fork_member(&j->where);
	if (*j->where.name && !c) {
		errno = ESRCH;
		return -1;
	}
	return init_fork_into(c ? &c->spaces : init_first_spaces(), 0);
}

/* A container has a disk and a name that no other one has, and whose rights it has is told. */
static bool job_may_start(const struct job *j, const struct protocol_exec *e)
{
	return !is_container(j) || (*j->disk.serial && *j->where.name && e->has_credentials && !find_container(j));
}

static void job_start(struct job *j)
{
	struct protocol_exec e;
	int ends[3] = { -1, -1, -1 }, report[2] = { -1, -1 }, go = -1, error = EINVAL;
	pid_t pid;

	if (j->plan.bytes >= sizeof(e)) {
		memcpy(&e, j->plan.data, sizeof(e));
		error = job_may_start(j, &e) ? make_volumes(&j->more) : EINVAL;
		if (!error)
			error = open_job(j, &e, ends, report, &go);
	}
	if (error) {
		job_close_end(&go);
		job_close_end(&report[1]);
		job_end(j, PROTOCOL_END_NOT_STARTED, (uint32_t)error);
		return;
	}
	pid = job_fork(j);
	error = errno;
	if (!pid)
		become_job(j, &e, ends, report[1], go);
	job_close_end(&go);
	for (int i = 0; i < (j->terminal ? 1 : 3); i++)
		job_close_end(&ends[i]);
	job_close_end(&report[1]);
	if (pid < 0) {
		job_end(j, PROTOCOL_END_NOT_STARTED, (uint32_t)error);
		return;
	}
	j->pid = pid;
	if (is_container(j))
		j->spaces_open = init_open_spaces(&j->spaces, pid);
	make_nonblocking(j->in);
	make_nonblocking(j->out);
	make_nonblocking(j->err);
	make_nonblocking(j->report);
	told_forget(&j->plan);
}

static bool told_add(struct told *t, const char *part, size_t bytes, size_t most)
{
	char *data = t->bytes + bytes > most ? NULL : realloc(t->data, t->bytes + bytes + 1);

	if (!data)
		return false;
	memcpy(data + t->bytes, part, bytes);
	t->data = data;
	t->bytes += bytes;
	return true;
}

/* Its payload is as long as it has to be, and there is a name, which has an end. */
static bool job_set_container(struct job *j, const char *payload, size_t bytes)
{
	struct protocol_in in;

	if (bytes != sizeof(j->where) || *j->where.name)
		return false;
	memcpy(&in, payload, bytes);
	if (!*in.name || !memchr(in.name, '\0', sizeof(in.name)) || in.nr_dirs >= PROTOCOL_MAX_MOUNTS)
		return false;
	j->where = in;
	return true;
}

static bool job_set_disk(struct job *j, const char *payload, size_t bytes)
{
	if (bytes != sizeof(j->disk))
		return false;
	memcpy(&j->disk, payload, bytes);
	return true;
}

static bool is_before_start(uint32_t kind)
{
	return kind == PROTOCOL_EXEC_PLAN || kind == PROTOCOL_EXEC_IN || kind == PROTOCOL_EXEC_MORE ||
	       kind == PROTOCOL_EXEC_DISK;
}

/* What comes before it is started. */
static void job_prepare(struct job *j, uint32_t kind, const char *payload, size_t bytes)
{
	bool good;

	if (!j->begun)
		*j = (struct job){
			.begun = true,
			.in = -1,
			.out = -1,
			.err = -1,
			.report = -1,
			.go = -1,
			.room = PROTOCOL_OUTPUT_WINDOW,
			.spaces = INIT_NO_SPACES,
		};
	switch (kind) {
	case PROTOCOL_EXEC_PLAN:
		good = told_add(&j->plan, payload, bytes, MAX_PLAN_BYTES);
		break;
	case PROTOCOL_EXEC_MORE:
		good = told_add(&j->more, payload, bytes, PROTOCOL_MAX_MORE_BYTES);
		break;
	case PROTOCOL_EXEC_IN:
		good = job_set_container(j, payload, bytes);
		break;
	default:
		good = job_set_disk(j, payload, bytes);
		break;
	}
	if (!good)
		job_end(j, PROTOCOL_END_NOT_STARTED, E2BIG);
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
	if (j->in_until + bytes > sizeof(j->input)) { /* more than the window */
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

/* Of a container the first process gets it, or all of them do. */
static void job_take_signal(const struct job *j, uint32_t number)
{
	const int plain = (int)(number & ~PROTOCOL_SIGNAL_ALL);

	if (plain > 64 || j->exited)
		return;
	if (!is_container(j))
		job_signal(j, plain);
	else if (!kill(j->pid, plain) && number & PROTOCOL_SIGNAL_ALL && j->spaces_open && !(j->where.flags & PROTOCOL_IN_SHARED_PIDS))
		init_signal_all(&j->spaces, plain);
}

static void job_resize(struct job *j, const struct protocol_size *size)
{
	const struct winsize w = { .ws_col = size->columns, .ws_row = size->rows };

	j->size = *size;
	if (j->terminal && j->in >= 0)
		ioctl(j->in, TIOCSWINSZ, &w);
}

/* ---- stopping one ---- */

static void job_tell_frozen(struct job *j, bool on, int error)
{
	const struct protocol_freeze f = { .on = on, .error = (uint32_t)error };

	j->freezes_by = 0;
	job_tell(j, PROTOCOL_EXEC_FROZEN, &f, sizeof(f));
}

/* Each is answered: one that another comes after is off. */
static void job_freeze(struct job *j, bool on)
{
	const int error = is_container(j) ? init_freeze(j->where.name, on) : ENOTSUP;

	if (j->freezes_by)
		job_tell_frozen(j, true, ECANCELED);
	if (error || !on)
		job_tell_frozen(j, on, error);
	else
		j->freezes_by = init_now_ms() + FREEZE_MS;
}

/* One that does not stop goes on. */
static void job_look_if_frozen(struct job *j)
{
	const int is = init_is_frozen(j->where.name);

	if (!is && init_now_ms() < j->freezes_by)
		return;
	if (is != 1)
		init_freeze(j->where.name, false);
	job_tell_frozen(j, true,
			is == 1 ? 0 :
			is < 0	? -is :
				  ETIMEDOUT);
}

/* A payload that is too short is one with zeros. */
static void job_hear(struct job *j, uint32_t kind, const char *payload, size_t bytes)
{
	union {
		struct protocol_count count;
		struct protocol_signal signal;
		struct protocol_size size;
		struct protocol_stream stream;
		struct protocol_freeze freeze;
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
		job_take_signal(j, u.signal.number);
		break;
	case PROTOCOL_EXEC_SIZE:
		job_resize(j, &u.size);
		break;
	case PROTOCOL_EXEC_UNREAD:
		job_stop_output(j, u.stream.stream);
		break;
	case PROTOCOL_EXEC_FREEZE:
		job_freeze(j, u.freeze.on);
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
	else if (j->over || j->hung || j->leaves_by)
		return; /* it was on its way when that ended */
	else if (is_before_start(kind) && !j->pid)
		job_prepare(j, kind, payload, bytes);
	else if (kind == PROTOCOL_EXEC_GO && j->plan.data && !j->pid)
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
		job_close_end(&j->in); /* its end, or nobody reads it */
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
	if (terminal[0] >= 0) { /* no process of ours sends another */
		close(terminal[0]);
		close(terminal[1]);
	} else if (n == (ssize_t)sizeof(error)) {
		move_job_output(j, &j->err, PROTOCOL_EXEC_STDERR); /* it may have said why */
		job_end(j, PROTOCOL_END_NOT_STARTED, (uint32_t)error);
		return false;
	} else if (!n) {
		job_close_end(&j->report);
		job_tell(j, PROTOCOL_EXEC_STARTED, NULL, 0);
	}
	return true;
}

/* What it was to wait for has gone. */
static void job_let_go(struct job *j)
{
	if (j->go < 0 || has_namesake(j))
		return;
	if (write(j->go, "", 1) != 1)
		init_notice("container: %s", strerror(errno));
	job_close_end(&j->go);
}

void init_exec_turn(void)
{
	for (struct job *j = jobs; j < jobs + PROTOCOL_MAX_SESSIONS; j++) {
		if (j->leaves_by)
			job_leave(j);
		if (j->pid)
			job_let_go(j);
		if (j->freezes_by)
			job_look_if_frozen(j);
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
