// SPDX-License-Identifier: GPL-2.0-only
/*
 * lkvm-oci: its command line, and all commands but create (oci/runtime.h).
 *
 * What a command knows of a container is its record (oci/store.h), and what its processes say. Engines
 * call with odd environments and streams, and nothing of these is relied on.
 *
 * Sources: OCI runtime specification 1.2.0, runtime.md; runc(8) for the command line; podman 4.3 and containerd
 * 1.6 as they were watched.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "control/json.h"
#include "io.h"
#include "log.h"
#include "oci/call.h"
#include "oci/cgroup.h"
#include "oci/config.h"
#include "oci/holder.h"
#include "oci/network.h"
#include "oci/runtime.h"
#include "oci/scope.h"
#include "oci/store.h"
#include "util.h"

#define VM_ANSWER_MS   120000 /* of the holder after its VM's; without it, the next */
#define ANSWER_MS      10000
#define CONNECT_S      10
#define PAUSE_NS       15000000000ull
#define PAUSE_AGAIN_MS 1000
#define KILL_NS	       5000000000ull
#define END_NS	       12000000000ull
#define LOOK_AGAIN_NS  200000000ull
#define MAX_FLAGS      8

/* ---- how it fails ---- */

/* What engines would take for something else (oci/call.h). */
static void soften(char *text)
{
	static const char *const words[][2] = {
		{ "no such file or directory", "it is not there" },
		{ "executable file not found in", "no program in" },
		{ "permission denied", "not allowed" },
		{ "operation not permitted", "not possible here" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		const size_t old = strlen(words[i][0]), new = strlen(words[i][1]);
		char *at;

		while ((at = strcasestr(text, words[i][0]))) {
			memcpy(at, words[i][1], new);
			memmove(at + new, at + old, strlen(at + old) + 1);
		}
	}
}

static void call_log(const struct call *call, const char *level, const char *text)
{
	char now[64];
	time_t t = time(NULL);
	struct tm tm;
	/* A FIFO that nobody reads is not waited for. */
	int fd = open(call->log, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "a");

	if (!f) {
		if (fd >= 0)
			close(fd);
		return;
	}
	strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
	if (call->log_format && !strcmp(call->log_format, "json")) {
		fprintf(f, "{\"level\":\"%s\",\"msg\":", level);
		json_string(f, text);
		fprintf(f, ",\"time\":\"%s\"}\n", now);
	} else {
		fprintf(f, "%s %s: %s\n", now, level, text);
	}
	fclose(f);
}

int call_fail_by_words(const struct call *call, const char *text)
{
	dprintf(STDERR_FILENO, "%s\n", text);
	if (call->log)
		call_log(call, "error", text);
	return 1;
}

void call_note(const struct call *call, const char *text)
{
	if (call->log && *text)
		call_log(call, "warning", text);
}

int call_fail(const struct call *call, const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	soften(text);
	return call_fail_by_words(call, text);
}

/* ---- a container ---- */

int call_find(const struct call *call, struct store_container *c, struct store_record *r, const char *id,
	      bool lock)
{
	int rc = store_find(c, call->root, id, lock);

	if (!rc)
		rc = store_load(c, r);
	if (!rc)
		return 0;
	store_close(c);
	if (rc == -ENOENT || rc == -EINVAL || rc == -ENOTDIR)
		call_fail(call, "container \"%s\" does not exist", id);
	else
		call_fail(call, "container \"%s\": %s", id,
			  rc == -EBUSY ? "another command is at it" : strerror(-rc));
	return rc;
}

/* What tells of a holder that is gone, or about to go. */
static int softened_error(int error)
{
	return error == ECONNREFUSED || error == ENOENT || error == EPIPE || error == ECONNRESET ? -ESRCH : -error;
}

/* Connecting and sending wait, too, while others are served. */
static int connect_to_holder(const struct store_container *c)
{
	const struct timeval most = { .tv_sec = CONNECT_S };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/socket", c->dir);
	if (!setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most)) &&
	    !connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	rc = errno == EAGAIN ? -ETIMEDOUT : softened_error(errno);
	close(fd);
	return rc;
}

static int ask_holder(const struct store_container *c, enum holder_kind kind, uint32_t value, const int passed[2],
		      int answer_ms)
{
	const struct holder_request request = { .kind = kind, .value = value };
	struct holder_answer answer;
	struct pollfd p = { .fd = connect_to_holder(c), .events = POLLIN };
	int rc = p.fd < 0 ? p.fd : 0, n;

	if (!rc && (passed[1] < 0 ? socket_send_fd(p.fd, &request, sizeof(request), passed[0]) :
				    socket_send_pair(p.fd, &request, sizeof(request), passed)) < 0)
		rc = softened_error(errno);
	if (!rc) {
		do
			n = poll_fds(&p, 1, answer_ms);
		while (n < 0 && errno == EINTR);
		rc = n <= 0								   ? -ETIMEDOUT :
		     socket_recv(p.fd, &answer, sizeof(answer)) == (ssize_t)sizeof(answer) ? answer.rc :
											     -ESRCH;
	}
	if (p.fd >= 0)
		close(p.fd);
	return rc;
}

int call_ask(const struct store_container *c, enum holder_kind kind, uint32_t value, int passed)
{
	return ask_holder(c, kind, value, (int[]){ passed, -1 },
			  kind == HOLDER_START || kind == HOLDER_PAUSE ? VM_ANSWER_MS : ANSWER_MS);
}

int call_join(const struct store_container *c, const int passed[2])
{
	return ask_holder(c, HOLDER_JOIN, 0, passed, ANSWER_MS);
}

/* Its sandbox, which has the VM. */
static bool pod_is_paused(const struct store_container *c, const struct store_record *r)
{
	struct store_container sandbox;
	char root[32];
	int is;

	snprintf(root, sizeof(root), "/proc/self/fd/%d", c->root);
	is = *r->sandbox ? store_find(&sandbox, root, r->sandbox, false) : -ENOENT;
	if (!is)
		is = call_ask(&sandbox, HOLDER_STATE, 0, -1);
	if (*r->sandbox)
		store_close(&sandbox);
	return is >= 0 && is & HOLDER_IS_PAUSED;
}

/*
 * Of a pod's, whatever its sandbox does. A command that was killed has not written down what it had done: the holder
 * knows.
 */
static const char *own_status_of(const struct store_container *c, const struct store_record *r)
{
	bool started = r->started, paused = r->paused;
	int is;

	if (!store_is_alive(&r->holder))
		return "stopped";
	if (r->creating)
		return "creating";
	is = call_ask(c, HOLDER_STATE, 0, -1);
	if (is >= 0) {
		started = is & HOLDER_IS_STARTED;
		paused = is & HOLDER_IS_PAUSED;
	}
	return paused  ? "paused" :
	       started ? "running" :
			 "created";
}

const char *call_status_of(const struct store_container *c, const struct store_record *r)
{
	const char *status = own_status_of(c, r);

	return !strcmp(status, "running") && pod_is_paused(c, r) ? "paused" : status;
}

int call_read_file(struct config *c, enum config_kind kind, int fd, struct config_error *error)
{
	size_t bytes = 0;
	char *text = NULL;
	int rc = fd < 0 ? -errno : config_read_file(fd, &text, &bytes);

	*c = (struct config){ 0 };
	if (rc) {
		snprintf(error->text, sizeof(error->text), "%s", strerror(-rc));
		return rc;
	}
	rc = config_parse(c, kind, text, bytes, error);
	free(text);
	if (rc)
		config_fini(c);
	return rc;
}

int call_read_config(struct config *c, const struct store_record *r, struct config_error *error)
{
	char path[PATH_MAX + 16];
	int fd, rc;

	snprintf(path, sizeof(path), "%s/config.json", r->bundle);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	rc = call_read_file(c, CONFIG_BUNDLE, fd, error);
	if (fd >= 0)
		close(fd);
	return rc;
}

int call_write_pid(const char *path, pid_t pid)
{
	char temporary[PATH_MAX + 8];
	FILE *f;

	if (!path)
		return 0;
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	f = fopen(temporary, "we");
	if (!f || fprintf(f, "%d", pid) < 0 || fclose(f) || rename(temporary, path))
		return -errno;
	return 0;
}

/* ---- the commands ---- */

static int call_start(const struct call *call, const char *id)
{
	struct store_container c;
	struct store_record r;
	int rc = call_find(call, &c, &r, id, true), status = 0;

	if (rc)
		return 1;
	/* Its guest would not answer, and start it later. */
	rc = pod_is_paused(&c, &r) ? -EHOSTDOWN : call_ask(&c, HOLDER_START, 0, -1);
	if (!rc) {
		r.started = true;
		store_save(&c, &r); /* its holder knows it, too; it runs whether this can be written or not */
	}
	if (rc == -ENOENT || rc == -ENOTDIR)
		status = call_fail_by_words(call,
					    "executable file not found in the container: No such file or "
					    "directory");
	else if (rc == -EACCES)
		status = call_fail_by_words(call, "the program cannot be executed: Permission denied");
	else if (rc)
		status = call_fail(call, "container \"%s\" cannot be started: %s", id,
				   rc == -EALREADY  ? "it is running already" :
				   rc == -ECHILD    ? "its VM has said why" :
				   rc == -ESRCH	    ? "container not running" :
				   rc == -EHOSTDOWN ? "its pod's sandbox is paused" :
						      strerror(-rc));
	store_close(&c);
	return status;
}

/* Of the bundle, if it is there still. */
static void print_annotations(const struct config *c)
{
	fputs(",\"annotations\":{", stdout);
	for (unsigned int i = 0; i < c->annotations.nr; i++) {
		fputs(i ? "," : "", stdout);
		json_string(stdout, c->annotations.pairs[i].name);
		putchar(':');
		json_string(stdout, c->annotations.pairs[i].value);
	}
	putchar('}');
}

static void print_state(const struct store_container *c, const struct store_record *r)
{
	const char *status = call_status_of(c, r);
	struct config_error error;
	struct config config;

	printf("{\"ociVersion\":\"1.0.2\",\"id\":");
	json_string(stdout, c->id);
	printf(",\"status\":\"%s\",\"pid\":%d,\"bundle\":", status,
	       strcmp(status, "stopped") ? r->holder.pid : 0);
	json_string(stdout, r->bundle);
	if (!call_read_config(&config, r, &error)) {
		print_annotations(&config);
		config_fini(&config);
	}
	puts("}");
}

static int call_state(const struct call *call, const char *id)
{
	struct store_container c;
	struct store_record r;

	if (call_find(call, &c, &r, id, false))
		return 1;
	print_state(&c, &r);
	store_close(&c);
	return 0;
}

/* "RTMIN+3", "RTMAX-1" and without a number behind. -1: it is none. */
static int parse_real_time_signal(const char *text)
{
	const bool from_least = !strncasecmp(text, "RTMIN", 5);
	char *end = NULL;
	long n = 0;

	if (!from_least && strncasecmp(text, "RTMAX", 5) != 0)
		return -1;
	text += 5;
	if (*text == (from_least ? '+' : '-') && text[1] >= '0' && text[1] <= '9')
		n = strtol(text + 1, &end, 10);
	if ((end ? *end : *text) || n > SIGRTMAX - SIGRTMIN)
		return -1;
	return from_least ? SIGRTMIN + (int)n : SIGRTMAX - (int)n;
}

/* A number, or a name with or without SIG. -1: it is none. */
static int parse_signal(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*text && !*end)
		return n > 0 && n <= 64 ? (int)n : -1;
	text += strncasecmp(text, "SIG", 3) ? 0 : 3;
	if (!strncasecmp(text, "RT", 2))
		return parse_real_time_signal(text);
	if (!strcasecmp(text, "IOT"))
		return SIGABRT;
	if (!strcasecmp(text, "CLD"))
		return SIGCHLD;
	for (int i = 1; i < 32; i++)
		if (sigabbrev_np(i) && !strcasecmp(sigabbrev_np(i), text))
			return i;
	return -1;
}

/* Nobody is asked, so nobody can be in the way. The holder ends with the VM's process, and has its status. */
static void end_by_force(const struct store_record *r)
{
	store_kill(&r->vm, SIGKILL);
	if (!store_wait(&r->holder, KILL_NS))
		store_kill(&r->holder, SIGKILL);
}

static int signal_by_force(const struct store_record *r)
{
	if (!store_is_alive(&r->holder))
		return -ESRCH;
	end_by_force(r);
	return 0;
}

static int call_kill(const struct call *call, const char *id, const char *text, bool all)
{
	const int number = text ? parse_signal(text) : SIGTERM;
	struct store_container c;
	struct store_record r;
	int rc;

	if (number < 0)
		return call_fail(call, "kill: \"%s\" is no signal", text);
	if (call_find(call, &c, &r, id, false))
		return 1;
	if (number == SIGKILL)
		rc = signal_by_force(&r);
	else
		rc = store_is_alive(&r.holder) ?
			     call_ask(&c, HOLDER_SIGNAL, (uint32_t)number | (all ? HOLDER_ALL : 0), -1) :
			     -ESRCH;
	store_close(&c);
	if (rc == -ESRCH)
		return call_fail(call, "container not running");
	return rc ? call_fail(call, "container \"%s\" cannot be signalled: %s", id, strerror(-rc)) : 0;
}

static void end_container(const struct store_record *r)
{
	end_by_force(r);
	store_wait(&r->holder, END_NS);
	store_wait(&r->vm, END_NS);
}

/* Others can have put something into it: then the container goes all the same if it is forced. */
static int remove_group(const struct call *call, const struct store_record *r, bool force)
{
	char text[PATH_MAX + 128];
	int rc = r->cgroup_scope ? scope_wait_gone(r->cgroup) :
		 r->cgroup_made	 ? cgroup_remove(r->cgroup) :
				   0;

	if (!rc || !force)
		return rc;
	snprintf(text, sizeof(text), "cgroup: %s: cannot be removed (%s)", r->cgroup, strerror(-rc));
	call_note(call, text);
	return 0;
}

int call_clear(const struct call *call, const struct store_container *c, const struct store_record *r, bool force)
{
	end_container(r);
	network_remove(r->network, c->id);
	return remove_group(call, r, force);
}

static int delete_container(const struct call *call, struct store_container *c, struct store_record *r,
			    bool force)
{
	int rc;

	if (!force && store_is_alive(&r->holder))
		return call_fail(call, "container \"%s\" is %s: it has to end before, or --force ends it", c->id,
				 call_status_of(c, r));
	rc = call_clear(call, c, r, force);
	if (!rc)
		rc = store_remove(c);
	return rc ? call_fail(call, "container \"%s\" cannot be removed: %s", c->id, strerror(-rc)) : 0;
}

/*
 * Its record cannot be read: its holder, if there is one, is who listens at its socket, and takes its VM with it.
 */
static int delete_unreadable(const struct call *call, struct store_container *c)
{
	const uint64_t deadline = now_ns() + END_NS;
	int rc;

	do
		rc = call_ask(c, HOLDER_SIGNAL, SIGKILL, -1);
	while (rc != -ESRCH && wait_a_moment(deadline));
	if (rc != -ESRCH)
		return call_fail(call, "container \"%s\": its record cannot be read, and its processes do not end (%s): "
				       "they have to be ended by hand",
				 c->id, rc ? strerror(-rc) : "they still answer");
	call_note(call, "the container's record cannot be read: its control group is left, if it has one");
	rc = store_remove(c);
	return rc ? call_fail(call, "container \"%s\" cannot be removed: %s", c->id, strerror(-rc)) : 0;
}

/* A command that has the lock waits for the container, which has to go: then it ends, too. */
static void end_before_lock(const struct call *call, const char *id)
{
	struct store_container c;
	struct store_record r;

	if (!store_find(&c, call->root, id, false) && !store_load(&c, &r))
		end_by_force(&r);
	store_close(&c);
}

/* Locked. A create that has the lock may have made what it waits for only since. */
static int find_to_delete(const struct call *call, struct store_container *c, const char *id, bool force)
{
	const uint64_t deadline = now_ns() + 3 * STORE_LOCK_NS; /* who has it may ask systemd */
	int rc;

	if (!force)
		return store_find(c, call->root, id, true);
	for (;;) {
		end_before_lock(call, id);
		rc = store_find_within(c, call->root, id, LOOK_AGAIN_NS);
		if (rc != -EBUSY || now_ns() > deadline)
			return rc;
		store_close(c);
	}
}

/* With --force nothing is left, and nothing that is not there is a reason to fail. */
static int call_delete(const struct call *call, const char *id, bool force)
{
	struct store_container c;
	struct store_record r = { 0 };
	bool found;
	int rc, status;

	rc = find_to_delete(call, &c, id, force);
	found = !rc;
	if (!rc)
		rc = store_load(&c, &r);
	if (!rc) {
		status = delete_container(call, &c, &r, force);
	} else if (found && rc == -EINVAL && force) {
		status = delete_unreadable(call, &c);
	} else if (rc == -ENOENT || rc == -ENOTDIR || rc == -EINVAL) {
		if (force && c.lock >= 0)
			store_remove(&c); /* a create that was killed */
		status = force ? 0 : call_fail(call, "container \"%s\" does not exist", id);
	} else {
		status = call_fail(call, "container \"%s\": %s", id, strerror(-rc));
	}
	store_close(&c);
	return status;
}

/*
 * One of a pod whose VM does not run stays as it is told when that goes on: engines pause all of a pod, in any order
 * and at once, so the VM may stop before the guest has answered.
 */
static int pause_member(const struct store_container *c, const struct store_record *r)
{
	const uint64_t deadline = now_ns() + PAUSE_NS;
	int rc;

	do {
		if (pod_is_paused(c, r))
			return call_ask(c, HOLDER_PAUSE, HOLDER_UNHEARD, -1);
		rc = ask_holder(c, HOLDER_PAUSE, 0, (int[]){ -1, -1 }, PAUSE_AGAIN_MS);
	} while ((rc == -ETIMEDOUT || rc == -EBUSY) && wait_a_moment(deadline));
	if (rc)
		call_ask(c, HOLDER_RESUME, 0, -1); /* or it would stop when nobody knows of that any more */
	return rc;
}

/* -ENOTTY: it is not what it would have to be; -EHOSTDOWN: its pod's VM does not run. */
static int ask_to_pause(const struct store_container *c, const struct store_record *r, bool pause)
{
	if (strcmp(own_status_of(c, r), pause ? "running" : "paused") != 0)
		return !pause && !strcmp(call_status_of(c, r), "paused") ? -EHOSTDOWN : -ENOTTY;
	if (pause && *r->sandbox)
		return pause_member(c, r);
	return call_ask(c, pause ? HOLDER_PAUSE : HOLDER_RESUME, 0, -1);
}

static int call_pause(const struct call *call, const char *id, bool pause)
{
	struct store_container c;
	struct store_record r;
	int rc;

	if (call_find(call, &c, &r, id, true))
		return 1;
	rc = ask_to_pause(&c, &r, pause);
	if (!rc) {
		r.paused = pause;
		rc = store_save(&c, &r);
	}
	store_close(&c);
	if (rc == -EHOSTDOWN)
		return call_fail(call, "container \"%s\" runs again when its pod's sandbox does, which is paused", id);
	if (rc == -ENOTTY)
		return call_fail(call, "container \"%s\" is not %s", id, pause ? "running" : "paused");
	return rc ? call_fail(call, "container \"%s\" cannot be %s: %s", id, pause ? "paused" : "resumed",
			      strerror(-rc)) :
		    0;
}

static int call_features(void)
{
	puts("{\"ociVersionMin\":\"1.0.0\",\"ociVersionMax\":\"1.2.0\",\"hooks\":[],"
	     "\"linux\":{\"cgroup\":{\"v1\":false,\"v2\":true,\"systemd\":true},"
	     "\"seccomp\":{\"enabled\":true},\"apparmor\":{\"enabled\":false},"
	     "\"selinux\":{\"enabled\":false},\"intelRdt\":{\"enabled\":false}}}");
	return 0;
}

static int call_version(void)
{
	puts("lkvm-oci version " LKVM_VERSION "\nspec: 1.0.2");
	return 0;
}

/* ---- the command line ---- */

struct flag {
	const char *name; /* --name; letter: -l or 0 */
	char letter;
	const char **value; /* NULL: it has none, and sets given */
	bool *given;
};

static const struct flag *find_flag(const struct flag *flags, const char *arg, size_t bytes)
{
	for (; flags->name; flags++)
		if ((bytes == strlen(flags->name) + 2 && !strncmp(arg, "--", 2) &&
		     !strncmp(arg + 2, flags->name, bytes - 2)) ||
		    (flags->letter && bytes == 2 && arg[0] == '-' && arg[1] == flags->letter))
			return flags;
	return NULL;
}

/* Flags up to the first argument that is none: how many of @argv they are, or -1 after a message. */
static int parse_flags(const struct call *call, const struct flag *flags, int argc, char **argv)
{
	int i = 0;

	for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		const size_t bytes = strcspn(argv[i], "=");
		const struct flag *f = find_flag(flags, argv[i], bytes);
		const bool joined = argv[i][bytes] == '=';

		if (!f || (joined && !f->value) || (!joined && f->value && i + 1 == argc)) {
			call_fail(call, "%s: %s", argv[i],
				  f ? "it needs a value, or has one and takes none" :
				      "lkvm-oci does not know this option");
			return -1;
		}
		if (f->given)
			*f->given = true;
		if (f->value)
			*f->value = joined ? argv[i] + bytes + 1 : argv[++i];
	}
	return i;
}

/* @argv: the command, flags, ID, and up to @more words behind it. The ID's place, or -1 after a message. */
static int parse_command(const struct call *call, const struct flag *flags, int argc, char **argv, int more)
{
	int n = parse_flags(call, flags, argc - 1, argv + 1);

	if (n < 0)
		return -1;
	if (argc - 1 - n >= 1 && argc - 1 - n <= 1 + more)
		return n + 1;
	call_fail(call, "%s: it takes the container's id%s", argv[0], more ? " and a signal" : "");
	return -1;
}

static const struct flag no_flags[] = { { NULL, 0, NULL, NULL } };

static int run_create(const struct call *call, int argc, char **argv)
{
	struct call_create args = { 0 };
	bool ignored;
	const struct flag flags[] = {
		{ "bundle", 'b', &args.bundle, NULL },
		{ "pid-file", 0, &args.pid_file, NULL },
		{ "console-socket", 0, &args.console_socket, NULL },
		{ "preserve-fds", 0, &args.preserved, NULL },
		{ "no-pivot", 0, NULL, &ignored },
		{ "no-new-keyring", 0, NULL, &ignored },
		{ NULL, 0, NULL, NULL },
	};
	int at = parse_command(call, flags, argc, argv, 0);

	if (at < 0)
		return 1;
	args.id = argv[at];
	return call_create(call, &args);
}

static int run_kill(const struct call *call, int argc, char **argv)
{
	bool all = false;
	const struct flag flags[] = { { "all", 'a', NULL, &all }, { NULL, 0, NULL, NULL } };
	int at = parse_command(call, flags, argc, argv, 1);

	return at < 0 ? 1 : call_kill(call, argv[at], argv[at + 1], all);
}

static int run_delete(const struct call *call, int argc, char **argv)
{
	bool force = false;
	const struct flag flags[] = { { "force", 'f', NULL, &force }, { NULL, 0, NULL, NULL } };
	int at = parse_command(call, flags, argc, argv, 0);

	return at < 0 ? 1 : call_delete(call, argv[at], force);
}

static int run_simple(const struct call *call, int argc, char **argv)
{
	int at = parse_command(call, no_flags, argc, argv, 0);

	if (at < 0)
		return 1;
	if (!strcmp(argv[0], "start"))
		return call_start(call, argv[at]);
	if (!strcmp(argv[0], "state"))
		return call_state(call, argv[at]);
	return call_pause(call, argv[at], !strcmp(argv[0], "pause"));
}

static int run_exec_of_call(const struct call *call, int argc, char **argv)
{
	struct call_exec args = { 0 };
	const struct flag flags[] = {
		{ "process", 'p', &args.process, NULL },
		{ "pid-file", 0, &args.pid_file, NULL },
		{ "console-socket", 0, &args.console_socket, NULL },
		{ "cwd", 0, &args.cwd, NULL },
		{ "preserve-fds", 0, &args.preserved, NULL },
		{ "tty", 't', NULL, &args.tty },
		{ "detach", 'd', NULL, &args.detach },
		{ NULL, 0, NULL, NULL },
	};
	int n = parse_flags(call, flags, argc - 1, argv + 1);

	if (n < 0)
		return 1;
	if (n == argc - 1)
		return call_fail(call, "exec: it takes the container's id");
	args.id = argv[n + 1];
	args.arguments = argv + n + 2;
	args.nr_arguments = (unsigned int)(argc - n - 2);
	return call_exec(call, &args);
}

static int run_ps(const struct call *call, int argc, char **argv)
{
	const char *format = "table";
	const struct flag flags[] = { { "format", 'f', &format, NULL }, { NULL, 0, NULL, NULL } };
	int n = parse_flags(call, flags, argc - 1, argv + 1);

	if (n < 0)
		return 1;
	if (n == argc - 1)
		return call_fail(call, "ps: it takes the container's id");
	if (strcmp(format, "table") != 0 && strcmp(format, "json") != 0)
		return call_fail(call, "ps: --format %s: it is table or json", format);
	return call_ps(call, argv[n + 1], !strcmp(format, "json"));
}

static int run_update(const struct call *call, int argc, char **argv)
{
	const char *resources = NULL;
	const struct flag flags[] = { { "resources", 'r', &resources, NULL }, { NULL, 0, NULL, NULL } };
	int at = parse_command(call, flags, argc, argv, 0);

	if (at < 0)
		return 1;
	return resources ? call_update(call, argv[at], resources) :
			   call_fail(call, "update: --resources with a file is missing");
}

static int run_missing(const struct call *call, int argc, char **argv)
{
	(void)argc;
	return call_fail(call, "%s: lkvm-oci cannot do this yet", argv[0]);
}

static int run_command_of_call(const struct call *call, int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const struct call *call, int argc, char **argv);
	} commands[] = {
		{ "create", run_create },
		{ "start", run_simple },
		{ "state", run_simple },
		{ "kill", run_kill },
		{ "delete", run_delete },
		{ "pause", run_simple },
		{ "resume", run_simple },
		{ "exec", run_exec_of_call },
		{ "ps", run_ps },
		{ "update", run_update },
		{ "run", run_missing },
		{ "list", run_missing },
		{ "events", run_missing },
		{ "spec", run_missing },
		{ "checkpoint", run_missing },
		{ "restore", run_missing },
	};

	if (!strcmp(argv[0], "features"))
		return call_features();
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(argv[0], commands[i].name))
			return commands[i].run(call, argc, argv);
	return call_fail(call, "%s: lkvm-oci has no such command", argv[0]);
}

/* Where the kernel has put the arguments, one behind the other. */
static void find_title(struct call *call, int argc, char **argv)
{
	call->title = argv[0];
	call->title_bytes = (size_t)(argv[argc - 1] - argv[0]) + strlen(argv[argc - 1]) + 1;
}

int oci_main(int argc, char **argv)
{
	struct call call = { 0 };
	bool version = false, ignored;
	const char *rootless;
	const struct flag flags[] = {
		{ "root", 0, &call.root_given, NULL },
		{ "log", 0, &call.log, NULL },
		{ "log-format", 0, &call.log_format, NULL },
		{ "debug", 0, NULL, &ignored },
		{ "systemd-cgroup", 0, NULL, &call.systemd },
		{ "rootless", 0, &rootless, NULL },
		{ "version", 'v', NULL, &version },
		{ NULL, 0, NULL, NULL },
	};
	int n = parse_flags(&call, flags, argc - 1, argv + 1);

	if (n < 0)
		return 1;
	log_set_level(LOG_ERROR);
	signal(SIGCHLD, SIG_DFL); /* an engine may ignore it, and its children do then */
	find_title(&call, argc, argv);
	if (version)
		return call_version();
	if (n == argc - 1)
		return call_fail(&call, "no command: lkvm-oci is called by podman, containerd and others");
	if (store_choose_root(call.root_given, call.root))
		return call_fail(&call, "--root: the name is too long");
	return run_command_of_call(&call, argc - 1 - n, argv + 1 + n);
}
