// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's first process, in `lkvm run -- COMMAND`: built for the guest, and carried in lkvm.
 *
 * It loads drivers, opens the control port, is told what to mount and what to run
 * (guest/protocol.h), runs it, moves its streams, and tells how it ended. Whatever fails is said on
 * the control port and on the console, and switches the machine off: a boot does not hang.
 *
 * The command may do whatever root may: end all processes but this one, fill the memory, fork
 * without end, mount something else over /dev. So nothing is allocated, opened or started here once it
 * runs. When it ends, all that it has left is killed, its output is sent to the last byte, and then
 * its status. What it does to this process itself (ptrace(2)) lkvm takes for what it is: a guest.
 *
 * Sources: signal(7), pty(7), credentials(7); drivers/char/virtio_console.c on what a port does.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "guest/init.h"

#define FLOW_BYTES   32768u /* what the driver takes at once */
#define CTRL_D	     4
#define LEAVE_MS     5000  /* for processes that were killed to let go of their output */
#define END_MS	     10000 /* for lkvm to end the machine when something has failed */
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#ifndef RANDOM_DEVICE /* not this machine's in a fuzzer */
#define RANDOM_DEVICE "/dev/urandom"
#define HWRNG_DEVICE  "/dev/hwrng"
#endif

/* What the kernel keeps of it (rng_buffer of its core, data of virtio-rng's driver): 64 bytes each. */
#define HWRNG_STALE_BYTES 128u
#define HWRNG_TRIES	  20u

/* One direction of one stream. */
struct flow {
	int from, to; /* -1: closed */
	char data[FLOW_BYTES];
	size_t at, until; /* what of it is yet to be written */
	uint64_t moved;	  /* bytes that were written */
	bool ended;	  /* there is no more to read, and all was written */
};

static struct {
	int control; /* -1: not yet */
	int signals;
	int random; /* -1: not yet */
	struct init_plan plan;
	struct flow in, out, err;
	uint64_t in_bytes; /* of stdin altogether, if in_known */
	bool in_known;
	char in_last;		       /* its last byte, so far */
	bool in_keyed;		       /* a terminal's end of it has been typed */
	int terminal;		       /* the master; -1: none */
	int slave;		       /* kept open until the command has ended; -1: none */
	int results_port, results_dir; /* -1: none */
	pid_t command;
	bool exited;
	struct protocol_exited end;
	bool told;	 /* the plan is complete */
	bool is_command; /* this is not the first process any more, but about to be a command's */
	int report;	 /* ... and this is where its errors are told; -1: nowhere */
	/* A message from lkvm, as far as it has come. */
	size_t message_bytes;
	char message[sizeof(struct protocol_header) + PROTOCOL_MAX_BYTES + 1];
} init;

/* ---- saying something ---- */

__attribute__((noreturn)) static void switch_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	for (;;) /* a kernel that cannot: the console has been told why */
		pause();
}

/* What to do about errno of a write: try again later. The command may have taken all memory. */
static bool init_passes(void)
{
	if (errno == ENOMEM)
		poll(NULL, 0, 1);
	return errno == EAGAIN || errno == EINTR || errno == ENOMEM;
}

static bool write_all(int fd, const void *data, size_t bytes)
{
	const char *p = data;

	while (bytes) {
		ssize_t n = write(fd, p, bytes);
		struct pollfd wait = { .fd = fd, .events = POLLOUT };

		if (n < 0 && errno == EAGAIN)
			poll(&wait, 1, -1);
		else if (n < 0 && !init_passes())
			return false;
		p += n > 0 ? n : 0;
		bytes -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

void init_tell(uint32_t kind, const void *payload, size_t bytes)
{
	struct protocol_header h = { .kind = kind, .bytes = (uint32_t)bytes };

	if (init.control >= 0 && write_all(init.control, &h, sizeof(h)))
		write_all(init.control, payload, bytes);
}

static void init_say(enum protocol_kind kind, const char *fmt, va_list ap)
{
	char text[PROTOCOL_MAX_TEXT];

	vsnprintf(text, sizeof(text), fmt, ap);
	if (init.is_command) {
		dprintf(STDERR_FILENO, "lkvm: %s\n", text);
		return;
	}
	dprintf(STDERR_FILENO, "lkvm: init: %s\n", text);
	init_tell(kind, text, strlen(text));
}

void init_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	init_say(PROTOCOL_FAILED, fmt, ap);
	va_end(ap);
	if (init.is_command) {
		if (init.report >= 0)
			write_all(init.report, &(int){ ECHILD }, sizeof(int));
		_exit(125);
	}
	/* lkvm ends the machine; if there is no way to tell it, this does. */
	if (init.control >= 0)
		poll(NULL, 0, END_MS);
	switch_off();
}

void init_notice(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	init_say(PROTOCOL_NOTICE, fmt, ap);
	va_end(ap);
}

static void *keep_memory(void *memory)
{
	if (!memory)
		init_fail("no memory: give the machine more (-m)");
	return memory;
}

uint64_t init_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* What was read of it and not yet written goes nowhere. */
static void end_output(struct flow *f, uint32_t stream)
{
	const struct protocol_stream_end end = { .stream = stream, .bytes = f->moved };

	f->ended = true;
	init_tell(PROTOCOL_STREAM_END, &end, sizeof(end));
}

/* ---- what lkvm asks for ---- */

static const char *payload_of_message(void)
{
	return init.message + sizeof(struct protocol_header);
}

/* Text of the message, which the payload's NUL ends. */
static char *copy_text(size_t bytes)
{
	if (memchr(payload_of_message(), '\0', bytes))
		init_fail("lkvm sent text with a NUL in it");
	return keep_memory(strdup(payload_of_message()));
}

static void add_string(char ***list, size_t *nr, char *text)
{
	if (*nr == PROTOCOL_MAX_STRINGS)
		init_fail("more than %u arguments", PROTOCOL_MAX_STRINGS);
	if (!(*nr & (*nr + 1))) /* full: 2^n - 1 and the NULL */
		*list = keep_memory(realloc(*list, 2 * (*nr + 1) * sizeof(**list)));
	(*list)[(*nr)++] = text;
	(*list)[*nr] = NULL;
}

void init_add_text(char ***list, size_t *nr, const char *text)
{
	add_string(list, nr, keep_memory(strdup(text)));
}

static void set_text(char **text, size_t bytes)
{
	if (*text)
		init_fail("lkvm sent a text twice");
	*text = copy_text(bytes);
}

/* An argument or a variable: all of them together have a bound. */
static char *copy_string(size_t bytes)
{
	init.plan.string_bytes += bytes + 1;
	if (init.plan.string_bytes > PROTOCOL_MAX_STRINGS_BYTES)
		init_fail("arguments and environment are longer than %u bytes",
			  PROTOCOL_MAX_STRINGS_BYTES);
	return copy_text(bytes);
}

static void add_mount(size_t bytes)
{
	struct init_plan *p = &init.plan;
	struct init_mount *m;

	if (bytes <= sizeof(m->what) || bytes - sizeof(m->what) >= sizeof(m->path) ||
	    memchr(payload_of_message() + sizeof(m->what), '\0', bytes - sizeof(m->what)) ||
	    p->nr_mounts == PROTOCOL_MAX_MOUNTS)
		init_fail("lkvm sent a bad mount");
	m = keep_memory(calloc(1, sizeof(*m)));
	memcpy(&m->what, payload_of_message(), sizeof(m->what));
	memcpy(m->path, payload_of_message() + sizeof(m->what), bytes - sizeof(m->what));
	p->mounts[p->nr_mounts++] = m;
}

static void init_add_network(size_t bytes)
{
	struct init_plan *p = &init.plan;

	if (bytes != sizeof(p->networks[0]) || p->nr_networks == INIT_MAX_NETWORKS)
		init_fail("lkvm sent a bad network");
	memcpy(&p->networks[p->nr_networks++], payload_of_message(), bytes);
	if (p->networks[p->nr_networks - 1].prefix_bits > 32)
		init_fail("lkvm sent a bad network");
}

/*
 * The kernel has read ahead from its device: what it has of that may lie in a snapshot, and is everybody's.
 * Nothing of it is left when no more comes without waiting, or so much has. In between, a request that was
 * under way may be answered.
 */
static void drop_stale_random(void)
{
	const struct timespec step = { .tv_nsec = 100000 };
	int fd = open(HWRNG_DEVICE, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char stale[HWRNG_STALE_BYTES];
	size_t bytes = 0;

	for (unsigned int i = 0; fd >= 0 && bytes < sizeof(stale) && i < HWRNG_TRIES; i++) {
		ssize_t n = read(fd, stale, sizeof(stale) - bytes);

		if (n < 0 && errno != EAGAIN)
			break; /* there is no device */
		bytes += n > 0 ? (size_t)n : 0;
		if (n <= 0)
			nanosleep(&step, NULL);
	}
	if (fd >= 0)
		close(fd);
}

/*
 * This kernel may have been here before, in another machine, with all that its generator knows: from now
 * on it knows something that no other one does. While a command runs nothing is opened, nor is a device waited for
 * that the command may be reading.
 */
static void take_seed(size_t bytes)
{
	struct { /* struct rand_pool_info with its buffer */
		int entropy_count, buf_size;
		char seed[PROTOCOL_SEED_BYTES];
	} pool = { .entropy_count = 8 * PROTOCOL_SEED_BYTES, .buf_size = PROTOCOL_SEED_BYTES };

	if (init.random < 0)
		init.random = open(RANDOM_DEVICE, O_WRONLY | O_CLOEXEC);
	if (bytes != PROTOCOL_SEED_BYTES)
		init_fail("lkvm sent a bad seed");
	memcpy(pool.seed, payload_of_message(), bytes);
	/* ENODATA: it is not ready yet, and has given nothing to anybody. */
	if (init.random < 0 || ioctl(init.random, RNDADDENTROPY, &pool) ||
	    (ioctl(init.random, RNDRESEEDCRNG) && errno != ENODATA))
		init_fail("random numbers: %s", strerror(errno));
	if (!init.told)
		drop_stale_random();
}

static void take_size(size_t bytes)
{
	struct winsize size = { 0 };

	if (bytes != sizeof(init.plan.size))
		init_fail("lkvm sent a bad window size");
	memcpy(&init.plan.size, payload_of_message(), bytes);
	size.ws_col = init.plan.size.columns;
	size.ws_row = init.plan.size.rows;
	if (init.terminal >= 0)
		ioctl(init.terminal, TIOCSWINSZ, &size);
}

/* Writers of it get SIGPIPE; those on a terminal see it hang up. */
static void take_stream_closed(size_t bytes)
{
	struct protocol_stream p;
	struct flow *f;

	if (bytes != sizeof(p))
		init_fail("lkvm sent a bad stream");
	memcpy(&p, payload_of_message(), bytes);
	f = p.stream == STDOUT_FILENO ? &init.out : &init.err;
	if (f->ended)
		return;
	if (init.terminal >= 0)
		init.in.ended = true;
	close(f->from);
	init.terminal = -1;
	end_output(f, p.stream);
}

static void take_stdin_end(size_t bytes)
{
	struct protocol_count count;

	if (bytes != sizeof(count))
		init_fail("lkvm sent a bad end of input");
	memcpy(&count, payload_of_message(), bytes);
	init.in_bytes = count.bytes;
	init.in_known = true;
}

/*
 * The machine is to be switched off: all processes are told so, as by any other init, and the end of
 * the command is that of the machine. A shell on a terminal ends when that hangs up. Who is stopped
 * has to go on to hear it.
 */
static void ask_all_to_end(void)
{
	kill(-1, SIGTERM);
	if (init.terminal >= 0)
		kill(-1, SIGHUP);
	kill(-1, SIGCONT);
}

/* One for a command that has ended is nobody's. */
static void take_signal_message(size_t bytes)
{
	struct protocol_signal p;

	if (bytes != sizeof(p))
		init_fail("lkvm sent a bad signal");
	memcpy(&p, payload_of_message(), bytes);
	if (!init.exited)
		kill(p.number & PROTOCOL_SIGNAL_ALL ? -1 : init.command, (int)(p.number & ~PROTOCOL_SIGNAL_ALL));
}

/* Some are for the plan and all others for what comes after it. */
static bool is_for_later(uint32_t kind)
{
	return kind == PROTOCOL_SIZE || kind == PROTOCOL_STDIN_END || kind == PROTOCOL_STREAM_CLOSED ||
	       kind == PROTOCOL_STOP || kind == PROTOCOL_SIGNAL;
}

/* A text of the plan. False: @kind is none. */
static bool take_text(struct init_plan *p, uint32_t kind, size_t bytes)
{
	switch (kind) {
	case PROTOCOL_NEEDED_DIRECTORY:
		p->directory_needed = true;
		__attribute__((fallthrough));
	case PROTOCOL_DIRECTORY:
		set_text(&p->directory, bytes);
		return true;
	case PROTOCOL_USER:
		set_text(&p->user, bytes);
		return true;
	case PROTOCOL_HOSTNAME:
		set_text(&p->hostname, bytes);
		return true;
	case PROTOCOL_RESULTS_PATH:
		set_text(&p->results, bytes);
		return true;
	default:
		return false;
	}
}

/* What else the plan is made of. */
static void take_part(struct init_plan *p, uint32_t kind, size_t bytes)
{
	switch (kind) {
	case PROTOCOL_MOUNT:
		add_mount(bytes);
		break;
	case PROTOCOL_NETWORK:
		init_add_network(bytes);
		break;
	case PROTOCOL_ARGUMENT:
		add_string(&p->arguments, &p->nr_arguments, copy_string(bytes));
		break;
	case PROTOCOL_ENVIRONMENT:
		add_string(&p->environment, &p->nr_environment, copy_string(bytes));
		break;
	case PROTOCOL_TERMINAL:
		p->has_terminal = true;
		take_size(bytes);
		break;
	case PROTOCOL_STEP:
		init_add_step(p, payload_of_message(), bytes);
		break;
	case PROTOCOL_CREDENTIALS:
		init_set_credentials(p, payload_of_message(), bytes);
		break;
	case PROTOCOL_SECCOMP:
		init_set_seccomp(p, payload_of_message(), bytes);
		break;
	default:
		init_fail("lkvm sent a message of kind %u, which this version does not know", kind);
	}
}

/* What comes after the plan (is_for_later()). */
static void take_later(uint32_t kind, size_t bytes)
{
	switch (kind) {
	case PROTOCOL_SIZE:
		take_size(bytes);
		break;
	case PROTOCOL_STDIN_END:
		take_stdin_end(bytes);
		break;
	case PROTOCOL_STREAM_CLOSED:
		take_stream_closed(bytes);
		break;
	case PROTOCOL_STOP:
		ask_all_to_end();
		break;
	case PROTOCOL_SIGNAL:
		take_signal_message(bytes);
		break;
	default:
		break;
	}
}

/* One whole message. True if it was the last before the command. */
static bool init_take_message(uint32_t kind, size_t bytes)
{
	if (PROTOCOL_SESSION(kind) && init.told) {
		if (!init.exited)
			init_exec_hear(PROTOCOL_SESSION(kind), PROTOCOL_KIND(kind), payload_of_message(),
				       bytes);
		return false;
	}
	if (kind == PROTOCOL_SEED) {
		take_seed(bytes);
		return false;
	}
	if (is_for_later(kind) != init.told)
		init_fail("lkvm sent a message of kind %u when it had no meaning", kind);
	if (kind == PROTOCOL_GO)
		init.told = true;
	else if (init.told)
		take_later(kind, bytes);
	else if (!take_text(&init.plan, kind, bytes))
		take_part(&init.plan, kind, bytes);
	return kind == PROTOCOL_GO;
}

/* Reads what is there of a message, and takes it when it is whole. True as init_take_message(). */
static bool init_read_message(void)
{
	struct protocol_header h = { 0 };
	size_t wanted = sizeof(h);
	bool last;
	ssize_t n;

	if (init.message_bytes >= sizeof(h)) {
		memcpy(&h, init.message, sizeof(h));
		if (h.bytes > PROTOCOL_MAX_BYTES)
			init_fail("lkvm sent a message of %u bytes", h.bytes);
		wanted += h.bytes;
	}
	if (init.message_bytes < wanted) {
		n = read(init.control, init.message + init.message_bytes, wanted - init.message_bytes);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			init_fail("control port: %s", strerror(errno));
		if (n <= 0)
			return false;
		init.message_bytes += (size_t)n;
	}
	if (init.message_bytes < sizeof(h) || init.message_bytes < wanted)
		return false;
	memcpy(&h, init.message, sizeof(h));
	if (wanted != sizeof(h) + h.bytes)
		return false; /* the header is there; now the rest */
	init.message[wanted] = '\0';
	last = init_take_message(h.kind, h.bytes);
	init.message_bytes = 0;
	return last;
}

static void hear_plan(void)
{
	struct pollfd wait = { .fd = init.control, .events = POLLIN };

	do
		poll(&wait, 1, -1);
	while (!init_read_message());
}

/* ---- the command ---- */

static void set_default(char ***list, size_t *nr, const char *name, const char *value)
{
	size_t len = strlen(name);
	char *text;

	for (size_t i = 0; i < *nr; i++)
		if (!strncmp((*list)[i], name, len) && ((*list)[i][len] == '=' || !(*list)[i][len]))
			return;
	text = keep_memory(malloc(len + strlen(value) + 2));
	snprintf(text, len + strlen(value) + 2, "%s=%s", name, value);
	add_string(list, nr, text);
}

/* Names without a value were only there to keep a default out. */
static void drop_unset(char **list, size_t *nr)
{
	size_t kept = 0;

	for (size_t i = 0; i < *nr; i++)
		if (strchr(list[i], '='))
			list[kept++] = list[i];
		else
			free(list[i]);
	*nr = kept;
	if (list)
		list[kept] = NULL;
}

static void complete_environment(const struct init_user *u)
{
	struct init_plan *p = &init.plan;

	set_default(&p->environment, &p->nr_environment, "PATH", DEFAULT_PATH);
	set_default(&p->environment, &p->nr_environment, "HOME", u->home);
	set_default(&p->environment, &p->nr_environment, "USER", u->name);
	set_default(&p->environment, &p->nr_environment, "LOGNAME", u->name);
	set_default(&p->environment, &p->nr_environment, "SHELL", u->shell);
	drop_unset(p->environment, &p->nr_environment);
}

/* No command: the user's shell, if the root has it. */
static void choose_shell(const struct init_user *u)
{
	const char *const shells[] = { u->shell, "/bin/bash", "/bin/sh" };
	struct init_plan *p = &init.plan;

	for (size_t i = 0; i < 3 && !p->nr_arguments; i++)
		if (!access(shells[i], X_OK) || i == 2)
			add_string(&p->arguments, &p->nr_arguments, keep_memory(strdup(shells[i])));
}

static void set_flow(struct flow *f, int from, int to)
{
	f->from = from;
	f->to = to;
	if (from >= 0)
		fcntl(from, F_SETFL, fcntl(from, F_GETFL) | O_NONBLOCK);
	if (to >= 0)
		fcntl(to, F_SETFL, fcntl(to, F_GETFL) | O_NONBLOCK);
	f->ended = from < 0;
}

static void close_streams(const int fds[3])
{
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static int open_pipes(int ours[3], int ends[3])
{
	for (int i = 0; i < 3; i++) {
		int fds[2], error;

		if (pipe2(fds, O_CLOEXEC)) {
			error = errno;
			close_streams(ours);
			close_streams(ends);
			return error;
		}
		ours[i] = fds[!i];
		ends[i] = fds[!!i];
	}
	return 0;
}

static int open_terminal(const struct protocol_size *size, int ours[3], int ends[3])
{
	const struct winsize window = { .ws_col = size->columns, .ws_row = size->rows };
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave = -1, unlock = 0, number, error;
	char name[32];

	if (master >= 0 && !ioctl(master, TIOCSPTLCK, &unlock) && !ioctl(master, TIOCGPTN, &number)) {
		snprintf(name, sizeof(name), "/dev/pts/%d", number);
		slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	}
	if (slave < 0) {
		error = errno;
		if (master >= 0)
			close(master);
		return error;
	}
	if (size->columns)
		ioctl(master, TIOCSWINSZ, &window);
	ours[0] = ours[1] = master;
	ends[0] = ends[1] = ends[2] = slave;
	return 0;
}

int init_open_streams(bool terminal, const struct protocol_size *size, int ours[3], int ends[3])
{
	for (int i = 0; i < 3; i++)
		ours[i] = ends[i] = -1;
	return terminal ? open_terminal(size, ours, ends) : open_pipes(ours, ends);
}

/* A container's terminal is one of its own /dev/pts. */
static bool has_own_terminal(const struct init_plan *p)
{
	return p->has_terminal && p->is_container;
}

int init_open_report(bool own_terminal, int report[2])
{
	return (own_terminal ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, report) :
			       pipe2(report, O_CLOEXEC)) ?
		       errno :
		       0;
}

union init_ancillary {
	struct cmsghdr header;
	char room[CMSG_SPACE(2 * sizeof(int))];
};

/* In its process: the master, and for whoever keeps it open the other side. 0 or errno. */
static int make_own_terminal(const struct init_plan *p, int ends[3], int report)
{
	int ours[3] = { -1, -1, -1 }, zero = 0, error = open_terminal(&p->size, ours, ends);
	struct iovec iov = { &zero, sizeof(zero) };
	union init_ancillary a = {
		.header = {
			.cmsg_len = CMSG_LEN(2 * sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		},
	};
	const struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &a,
		.msg_controllen = sizeof(a),
	};

	if (error)
		return error;
	memcpy(CMSG_DATA(&a.header), &ours[0], sizeof(int));
	memcpy(CMSG_DATA(&a.header) + sizeof(int), &ends[0], sizeof(int));
	if (sendmsg(report, &m, 0) < 0)
		error = errno;
	close(ours[0]);
	return error;
}

/* Where programs look for it; what is not there is not needed. */
static void show_own_terminal(int slave)
{
	char path[32];
	int fd = open("/dev/console", O_CREAT | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0600);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", slave);
	if (fd < 0)
		return;
	close(fd);
	mount(path, "/dev/console", NULL, MS_BIND, NULL);
}

ssize_t init_take_report(int report, bool own_terminal, int *error, int terminal[2])
{
	struct iovec iov = { error, sizeof(*error) };
	union init_ancillary a = { 0 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &a, .msg_controllen = sizeof(a) };
	ssize_t n;

	terminal[0] = terminal[1] = -1;
	if (!own_terminal)
		return read(report, error, sizeof(*error));
	n = recvmsg(report, &m, MSG_CMSG_CLOEXEC);
	if (n > 0 && m.msg_controllen >= CMSG_LEN(2 * sizeof(int)) && a.header.cmsg_type == SCM_RIGHTS)
		memcpy(terminal, CMSG_DATA(&a.header), 2 * sizeof(int));
	return n;
}

/* The first command's: the other sides are flows' to and from ports. */
static void set_streams(const int ours[3], const int ends[3])
{
	const bool terminal = init.plan.has_terminal;

	if (terminal) {
		init.terminal = ours[0];
		init.slave = ends[0];
	}
	set_flow(&init.in, init_open_port(PROTOCOL_STDIN, O_RDWR), ours[0]);
	set_flow(&init.out, ours[1], init_open_port(PROTOCOL_STDOUT, O_RDWR));
	set_flow(&init.err, ours[2], terminal ? -1 : init_open_port(PROTOCOL_STDERR, O_RDWR));
}

static void open_streams(int ends[3])
{
	const bool terminal = init.plan.has_terminal;
	int ours[3], error = init_open_streams(terminal, &init.plan.size, ours, ends);

	if (error)
		init_fail("cannot make %s: %s", terminal ? "a terminal (CONFIG_UNIX98_PTYS)" : "pipes",
			  strerror(error));
	set_streams(ours, ends);
}

/* The system calls themselves: there is one thread. 0 or errno. */
static int become_user(const struct init_user *u)
{
	gid_t groups[INIT_MAX_GROUPS];
	unsigned int nr = init_find_groups(u, groups);

	return (syscall(SYS_setgroups, nr, groups) || syscall(SYS_setgid, u->gid) ||
		syscall(SYS_setuid, u->uid)) ?
		       errno :
		       0;
}

/* errno of the first thing that fails. In the command's process. */
static int execute(const struct init_user *u, const int given[3], int report)
{
	const struct init_plan *p = &init.plan;
	int error = 0, ends[3] = { given[0], given[1], given[2] };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	init_take_steps(p);
	if (has_own_terminal(p))
		error = make_own_terminal(p, ends, report);
	if (error)
		return error;
	if (has_own_terminal(p) && p->nr_steps)
		show_own_terminal(ends[0]);
	if (p->has_terminal)
		ioctl(ends[0], TIOCSCTTY, 0);
	for (int i = 0; i < 3; i++) { /* for who opens /dev/stdout */
		fchown(ends[i], p->is_container ? p->credentials.uid : u->uid, (gid_t)-1);
		dup2(ends[i], i);
	}
	error = p->is_container ? init_become(p) : become_user(u);
	if (error)
		return error;
	environ = p->environment;
	execvp(p->arguments[0], p->arguments);
	return errno;
}

/* Says errno of the first thing that fails on @report and ends. In the command's process. */
__attribute__((noreturn)) static void become_command(const struct init_user *u, const int ends[3],
						     int report)
{
	int error = execute(u, ends, report);

	write_all(report, &error, sizeof(error));
	_exit(127);
}

/* Where it starts; for a directory that is asked for there is no other. */
static bool has_directory(void)
{
	const char *d = init.plan.directory;

	return !d || !chdir(d) || !init.plan.directory_needed;
}

static void go_to_directory(void)
{
	if (!has_directory())
		init_fail("directory: %s: %s", init.plan.directory, strerror(errno));
}

void init_leave(const int ends[3], int report)
{
	init.is_command = true;
	init.report = report;
	init.control = -1;
	if (ends[2] >= 0)
		dup2(ends[2], STDERR_FILENO);
}

void init_be_command(const struct init_plan *plan, const int ends[3], int report, int error)
{
	char *directory = init.plan.directory; /* the first one's, if it is there */
	struct init_seccomp *seccomp = init.plan.seccomp;
	struct init_user u;

	init.plan = *plan;
	if (!plan->is_member)
		init.plan.seccomp = seccomp;
	if (!init.plan.directory)
		init.plan.directory = directory;
	setpriority(PRIO_PROCESS, 0, 0);
	init_find_user(init.plan.user, &u);
	complete_environment(&u);
	choose_shell(&u);
	if (!error && report >= 0 && !has_directory())
		error = errno;
	if (report < 0)
		go_to_directory();
	if (!error)
		error = execute(&u, ends, report);
	if (report >= 0)
		write_all(report, &error, sizeof(error));
	else
		init_notice("%s: %s", init.plan.arguments[0], strerror(error));
	_exit(error == ENOENT || error == ENOTDIR ? 127 : 126);
}

/* What it needs at the end is opened before the command can have changed what is there. */
static void open_results(const struct init_user *u)
{
	const char *path = init.plan.results;

	init.results_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (init.results_dir < 0 || fchown(init.results_dir, u->uid, u->gid) ||
	    fchmod(init.results_dir, 0755))
		init_fail("%s: %s", path, strerror(errno));
	init.results_port = init_open_port(PROTOCOL_RESULTS, O_RDWR | O_NONBLOCK);
}

static void note_end(uint32_t end, uint32_t value)
{
	init.exited = true;
	init.end = (struct protocol_exited){ .end = end, .value = value };
	/* When all others who have the terminal open are gone, too, its master is at its end. */
	if (init.slave >= 0)
		close(init.slave);
	init.slave = -1;
}

/* A container is the first process of its own namespaces. The call itself: there is one thread. */
static pid_t fork_command(void)
{
	const unsigned long spaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC;

	return init.plan.is_container ? (pid_t)syscall(SYS_clone, spaces | SIGCHLD, 0, 0, 0, 0) : fork();
}

/* Until its program runs, or does not: errno. */
static int hear_report(int report)
{
	const bool own = has_own_terminal(&init.plan);
	int error = 0, terminal[2];

	while (init_take_report(report, own, &error, terminal) == (ssize_t)sizeof(error)) {
		if (terminal[0] < 0)
			return error;
		if (init.slave < 0)
			set_streams((int[]){ terminal[0], terminal[0], -1 }, (int[]){ terminal[1], -1, -1 });
	}
	if (own && init.slave < 0)
		init_fail("the container has no terminal");
	return 0;
}

static void init_start_command(void)
{
	int ends[3] = { -1, -1, -1 }, report[2], error;
	struct init_user u;

	init_find_user(init.plan.user, &u);
	complete_environment(&u);
	choose_shell(&u);
	if (init.plan.results)
		open_results(&u);
	if (!has_own_terminal(&init.plan))
		open_streams(ends);
	error = init_open_report(has_own_terminal(&init.plan), report);
	if (error)
		init_fail("cannot make a pipe: %s", strerror(error));
	go_to_directory();
	init.command = fork_command();
	if (init.command < 0)
		init_fail("cannot start a process: %s", strerror(errno));
	if (!init.command)
		become_command(&u, ends, report[1]);
	if (init.plan.is_container)
		init_keep_spaces(init.command);
	close(report[1]);
	for (int i = 0; i < 3 && !init.plan.has_terminal; i++)
		close(ends[i]);
	if (chdir("/"))
		init_fail("/: %s", strerror(errno));
	error = hear_report(report[0]);
	if (error) {
		note_end(PROTOCOL_END_NOT_STARTED, (uint32_t)error);
	} else {
		init_tell(PROTOCOL_STARTED, NULL, 0);
	}
	close(report[0]);
}

/* ---- streams ---- */

static bool can_read(const struct flow *f)
{
	return !f->ended && f->from >= 0 && f->at == f->until;
}

static bool can_write(const struct flow *f)
{
	return !f->ended && f->at < f->until;
}

/* The driver has nothing to say when it reads at the end of what is there: like EAGAIN. */
static void fill_flow(struct flow *f, bool zero_is_end)
{
	ssize_t n = read(f->from, f->data, sizeof(f->data));

	f->at = 0;
	f->until = n > 0 ? (size_t)n : 0;
	if ((n == 0 && zero_is_end) || (n < 0 && errno != EAGAIN && errno != EINTR))
		f->ended = true;
}

/* False if nobody will ever read it. */
static bool drain_flow(struct flow *f)
{
	ssize_t n = write(f->to, f->data + f->at, f->until - f->at);

	if (n < 0)
		return init_passes();
	f->at += (size_t)n;
	f->moved += (uint64_t)n;
	return true;
}

static void close_input(bool tell_it)
{
	if (init.terminal < 0)
		close(init.in.to);
	init.in.ended = true;
	if (tell_it)
		init_tell(PROTOCOL_STDIN_CLOSED, NULL, 0);
}

/*
 * The end of input as it is typed: a line that has begun is first sent without its end. In raw mode it
 * is a key as any other.
 */
static void type_end_of_input(void)
{
	struct flow *f = &init.in;
	struct termios mode;
	bool read = !ioctl(init.terminal, TCGETS, &mode);
	char key = read ? (char)mode.c_cc[VEOF] : CTRL_D;
	bool in_line = read && mode.c_lflag & ICANON && f->moved && init.in_last != '\n' &&
		       init.in_last != '\r' && init.in_last != key;

	memset(f->data, key, 2);
	f->at = 0;
	f->until = in_line ? 2 : 1;
	init.in_keyed = true;
}

static void move_input(bool readable, bool writable)
{
	struct flow *f = &init.in;

	if (readable && can_read(f))
		fill_flow(f, false);
	if (f->until)
		init.in_last = f->data[f->until - 1];
	if ((writable || readable) && can_write(f) && !drain_flow(f))
		close_input(true);
	if (f->ended || !init.in_known || f->moved < init.in_bytes || can_write(f))
		return;
	if (init.terminal >= 0 && !init.in_keyed)
		type_end_of_input();
	else
		close_input(false);
}

/* Empty pipes whose writers are gone are at their end; so is a terminal (EIO). */
static void move_output(struct flow *f, uint32_t stream, bool readable, bool writable)
{
	const bool had_ended = f->ended;

	if (readable && can_read(f))
		fill_flow(f, true);
	if ((writable || readable) && can_write(f) && !drain_flow(f))
		init_fail("what the command writes cannot be sent: %s", strerror(errno));
	if (f->ended && !had_ended)
		end_output(f, stream);
}

/* ---- the end ---- */

/* The command has ended: what it has left has no reason to stay. */
static void on_exit_of_command(int status)
{
	if (WIFSIGNALED(status))
		note_end(PROTOCOL_END_SIGNALED, (uint32_t)WTERMSIG(status));
	else
		note_end(PROTOCOL_END_EXITED, (uint32_t)WEXITSTATUS(status));
	kill(-1, SIGKILL);
}

static void init_reap(void)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(init.signals, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == init.command && !init.exited)
			on_exit_of_command(status);
		else
			init_exec_reap(pid, status);
}

static bool output_has_ended(void)
{
	return init.out.ended && init.err.ended;
}

/*
 * One turn of the loop. A port with a host that listens is writable or will be; hang-ups of pipes
 * show as POLLHUP, which a poll() for nothing reports, too: what is not wanted is left out.
 */
static void init_turn(int timeout_ms)
{
	struct pollfd p[8 + INIT_EXEC_POLLS] = {
		{ .fd = init.control, .events = POLLIN },
		{ .fd = init.signals, .events = POLLIN },
		{ .fd = can_read(&init.in) ? init.in.from : -1, .events = POLLIN },
		{ .fd = can_write(&init.in) ? init.in.to : -1, .events = POLLOUT },
		{ .fd = can_read(&init.out) ? init.out.from : -1, .events = POLLIN },
		{ .fd = can_write(&init.out) ? init.out.to : -1, .events = POLLOUT },
		{ .fd = can_read(&init.err) ? init.err.from : -1, .events = POLLIN },
		{ .fd = can_write(&init.err) ? init.err.to : -1, .events = POLLOUT },
	};

	if (init_exec_is_due() && (timeout_ms < 0 || timeout_ms > INIT_STEP_MS))
		timeout_ms = INIT_STEP_MS;
	if (poll(p, 8 + init_exec_poll(p + 8), timeout_ms) < 0)
		return;
	if (p[0].revents)
		init_read_message();
	if (p[1].revents)
		init_reap();
	move_input(p[2].revents != 0, p[3].revents != 0);
	move_output(&init.out, STDOUT_FILENO, p[4].revents != 0, p[5].revents != 0);
	move_output(&init.err, STDERR_FILENO, p[6].revents != 0, p[7].revents != 0);
	init_exec_turn();
}

/*
 * A process that does not die of SIGKILL has its output open for ever: it is left behind, but
 * nothing that it has written.
 */
static void give_up_output(struct flow *f, uint32_t stream)
{
	struct pollfd p = { .fd = f->from, .events = POLLIN };

	if (!f->ended && !can_write(f) && !poll(&p, 1, 0))
		end_output(f, stream);
}

static void move_streams(void)
{
	uint64_t since = 0;

	while (!init.exited || !output_has_ended()) {
		init_turn(init.exited ? 100 : -1);
		if (init.exited && !since)
			since = init_now_ms();
		if (since && init_now_ms() - since > LEAVE_MS) {
			give_up_output(&init.out, STDOUT_FILENO);
			give_up_output(&init.err, STDERR_FILENO);
		}
	}
}

struct results {
	int port;
	uint64_t bytes;
};

static int init_put_results(void *arg, const void *data, size_t bytes)
{
	struct results *r = arg;

	if (!write_all(r->port, data, bytes))
		return -errno;
	r->bytes += bytes;
	return 0;
}

static void send_results(void)
{
	struct results r = { .port = init.results_port };
	int rc = init_tar_write(init.results_dir, init_put_results, &r);
	struct protocol_count count;

	if (rc)
		init_fail("%s: %s", init.plan.results, strerror(-rc));
	count.bytes = r.bytes;
	init_tell(PROTOCOL_RESULTS_END, &count, sizeof(count));
}

/* ---- the beginning ---- */

static void block_signals(void)
{
	sigset_t set;

	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	init.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (init.signals < 0)
		init_fail("cannot take signals (CONFIG_SIGNALFD): %s", strerror(errno));
	reboot(RB_DISABLE_CAD);
}

int main(void)
{
	static const struct protocol_ready ready = { .version = PROTOCOL_VERSION };

	init.control = init.report = init.terminal = init.slave = init.results_port = init.results_dir = -1;
	init.random = -1;
	if (getpid() != 1) {
		dprintf(STDERR_FILENO, "this is the first process of lkvm's guests\n");
		return 1;
	}
	init_mount_kernel();
	block_signals();
	init_load_drivers();
	init.control = init_open_port(PROTOCOL_CONTROL, O_RDWR | O_NONBLOCK);
	init_tell(PROTOCOL_READY, &ready, sizeof(ready));
	hear_plan();
	if (init.plan.hostname && sethostname(init.plan.hostname, strlen(init.plan.hostname)))
		init_notice("hostname: %s", strerror(errno));
	init_make_root(&init.plan);
	init_set_networks(&init.plan);
	init_start_command();
	setpriority(PRIO_PROCESS, 0, -20); /* not the command's */
	move_streams();
	if (init.plan.results)
		send_results();
	sync();
	init_tell(PROTOCOL_EXITED, &init.end, sizeof(init.end));
	/* lkvm ends the machine when its readers have all of the output, however long they take. */
	for (;;)
		init_turn(-1);
}
