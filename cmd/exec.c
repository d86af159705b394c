// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm exec NAME -- COMMAND`: one more command in a VM that runs one, with this process's streams.
 *
 * What it is goes ahead as a plan, in parts; then its streams go both ways, each as far as the other
 * side has room (guest/protocol.h). Signals that would end this process are passed on to the command; the third
 * one ends it all the same, and then the command's terminal hangs up, as it does when this is killed.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/attach.h"
#include "cmd/cmd.h"
#include "cmd/exec.h"
#include "guest/gate.h"
#include "io.h"
#include "log.h"
#include "util.h"

#define HEADER_BYTES	((int64_t)sizeof(struct protocol_header))
#define MAX_ENVIRONMENT 256u
#define MAX_SIGNALS	3u

struct exec_client {
	struct attach attach; /* first: attach_ops hand it back */
	bool interactive, terminal;
	const char *directory, *user; /* "": none is asked for */
	unsigned int nr_environment;
	const char *environment[MAX_ENVIRONMENT];
	char *plan; /* ours */
	size_t plan_bytes, plan_at, more_at;
	bool placed;	   /* it has been said where it is */
	bool joined;	   /* of a new container: there is room for it */
	bool ready, go;	   /* ... it is all there, and its holder has been told; it may start */
	bool told;	   /* all of it */
	int64_t in_room;   /* bytes of stdin that may be sent */
	uint64_t out_used; /* bytes that came, for which it is yet to hear that there is room again */
	bool unread[2];	   /* nobody reads that stream of ours any more */
	bool failed;	   /* ... since it takes no more */
	unsigned int signals;
	bool freezing;		      /* a new container was told to stop, and its holder waits for the answer */
	unsigned int nr_stale;	      /* answers that are to come, and that nobody waits for any more */
	const struct exec_lent *lent; /* NULL: a user's command line */
};

/* ---- what it is ---- */

static void exec_put_text(FILE *out, const char *text)
{
	fwrite(text, 1, strlen(text) + 1, out);
}

/* NAME=VALUE as it is; NAME as it is here, or alone: not even ours. */
static void put_variable(FILE *out, const char *given)
{
	const char *value = strchr(given, '=') ? NULL : getenv(given);

	if (value)
		fprintf(out, "%s=", given);
	exec_put_text(out, value ? value : given);
}

static bool exec_has_variable(const struct exec_client *c, const char *name)
{
	size_t len = strlen(name);

	for (unsigned int i = 0; i < c->nr_environment; i++)
		if (!strncmp(c->environment[i], name, len) && strchr("=", c->environment[i][len]))
			return true;
	return false;
}

static unsigned int put_default(FILE *out, const struct exec_client *c, const char *name, const char *other)
{
	const char *value = getenv(name);

	if (exec_has_variable(c, name))
		return 0;
	fprintf(out, "%s=", name);
	exec_put_text(out, value ? value : other);
	return 1;
}

/* 0 or -errno. */
static int exec_make_plan(struct exec_client *c, char **arguments, unsigned int nr)
{
	struct protocol_exec e = { .nr_arguments = nr, .terminal = c->terminal };
	FILE *out = open_memstream(&c->plan, &c->plan_bytes);

	if (!out)
		return -ENOMEM;
	if (c->terminal)
		attach_window(&e.size);
	fwrite(&e, sizeof(e), 1, out);
	exec_put_text(out, c->directory);
	exec_put_text(out, c->user);
	for (unsigned int i = 0; i < nr; i++)
		exec_put_text(out, arguments[i]);
	e.nr_environment = c->nr_environment + put_default(out, c, "TERM", "dumb") +
			   put_default(out, c, "LANG", "C.UTF-8");
	for (unsigned int i = 0; i < c->nr_environment; i++)
		put_variable(out, c->environment[i]);
	if (fclose(out))
		return -ENOMEM;
	memcpy(c->plan, &e, sizeof(e));
	return c->plan_bytes > PROTOCOL_MAX_STRINGS_BYTES ? -E2BIG : 0;
}

static void send_parts(struct attach *a, uint32_t kind, const char *data, size_t bytes, size_t *at)
{
	while (*at < bytes && attach_room(a)) {
		size_t n = min_u64(bytes - *at, attach_room(a));

		attach_send(a, kind, data + *at, n);
		*at += n;
	}
}

/* In which container; nothing is said of the first one. */
static void send_place(struct exec_client *c)
{
	const struct exec_lent *lent = c->lent;
	struct protocol_in in = { 0 };

	c->placed = true;
	if (lent && lent->new)
		in = lent->new->in;
	else if (lent && lent->container)
		snprintf(in.name, sizeof(in.name), "%s", lent->container);
	if (*in.name)
		attach_send(&c->attach, PROTOCOL_EXEC_IN, &in, sizeof(in));
}

static void tell_holder(const struct exec_client *c, enum gate_kind kind, uint32_t value)
{
	const struct gate_message m = { .kind = kind, .value = value };

	socket_send(c->lent->new->gate, &m, sizeof(m));
}

/* A new container waits for its holder's word. */
static bool may_go(struct exec_client *c)
{
	if (!c->lent || !c->lent->new)
		return true;
	if (!c->ready) {
		c->ready = true;
		log_set_output(STDERR_FILENO);
		tell_holder(c, GATE_READY, 0);
	}
	return c->go;
}

/* A command on a terminal that has no stdin waits for ever; others see its end. */
static void exec_fill(struct attach *a)
{
	struct exec_client *c = (struct exec_client *)a;
	const struct exec_new *new = c->lent ? c->lent->new : NULL;
	const size_t more_bytes = new ? new->more_bytes : 0;
	struct protocol_size size;

	if (new && !c->joined)
		return;
	if (!c->placed)
		send_place(c);
	if (new)
		send_parts(a, PROTOCOL_EXEC_MORE, new->more, more_bytes, &c->more_at);
	if (c->more_at == more_bytes)
		send_parts(a, PROTOCOL_EXEC_PLAN, c->plan, c->plan_bytes, &c->plan_at);
	if (c->told || c->plan_at < c->plan_bytes || attach_room(a) < 64 || !may_go(c))
		return;
	c->told = true;
	attach_send(a, PROTOCOL_EXEC_GO, NULL, 0);
	if (!c->interactive && !c->terminal)
		attach_send(a, PROTOCOL_EXEC_INPUT, NULL, 0);
	c->in_room = (int64_t)PROTOCOL_INPUT_WINDOW - (c->interactive || c->terminal ? 0 : HEADER_BYTES);
	if (c->terminal && attach_window(&size)) /* its plan is older than its window */
		attach_send(a, PROTOCOL_EXEC_SIZE, &size, sizeof(size));
}

/* ---- from the VM ---- */

static int exec_refuse(struct attach *a)
{
	log_error("exec: %s: its first process says what none should\nit may have been taken over.", a->name);
	attach_end(a, EXIT_LOST);
	return -1;
}

static void exec_took(struct attach *a, size_t bytes)
{
	struct exec_client *c = (struct exec_client *)a;
	struct protocol_count count;

	c->out_used += (uint64_t)HEADER_BYTES + bytes;
	if (c->out_used < PROTOCOL_OUTPUT_WINDOW / 2)
		return;
	count = (struct protocol_count){ .bytes = c->out_used };
	attach_send(a, PROTOCOL_EXEC_READ, &count, sizeof(count));
	c->out_used = 0;
}

static int hear_output(struct attach *a, int stream, size_t bytes)
{
	const struct exec_client *c = (const struct exec_client *)a;

	if (!bytes) {
		if (!stream)
			attach_close_stdout(a);
		return -1;
	}
	if (!c->unread[stream])
		return stream;
	exec_took(a, bytes);
	return -1;
}

static void exec_wrote(struct attach *a, int stream, size_t bytes, int error)
{
	struct exec_client *c = (struct exec_client *)a;
	const struct protocol_stream s = { .stream = (uint32_t)stream + 1 };

	exec_took(a, bytes);
	if (!error || c->unread[stream])
		return;
	c->unread[stream] = true;
	attach_send(a, PROTOCOL_EXEC_UNREAD, &s, sizeof(s));
	if (error == -EPIPE)
		return;
	log_error("%s: %s", stream ? "stderr" : "stdout", strerror(-error));
	c->failed = true;
}

/* Its program runs: 0, or does not: errno. ECHILD is what init says if it has said why. */
static void tell_start(const struct exec_client *c, int error)
{
	if (c->lent && c->lent->new)
		tell_holder(c, error ? GATE_NOT_STARTED : GATE_STARTED, error == ECHILD ? 0 : (uint32_t)error);
	else if (c->lent)
		c->lent->started(c->lent->arg, error);
}

/* A container that there is no room for; or one, or a command, whose program does not run. */
static int status_of_failure(const struct attach *a, int error)
{
	const struct exec_client *c = (const struct exec_client *)a;

	if (!c->lent)
		log_error("exec: %s: it cannot start a command: %s", a->name, strerror(error));
	if (!c->lent || !c->lent->new)
		return EXIT_NOT_DONE;
	if (!c->joined) {
		log_error("pod: %s: %s", a->name,
			  error == ENOSPC ?
				  "its VM has no disk for one more container\n"
				  "the annotation lkvm.max_containers of the pod says how many it has." :
				  strerror(error));
		return EXIT_LKVM;
	}
	return error == ENOENT || error == ENOTDIR ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

static void hear_end(struct attach *a, const struct protocol_exited *e)
{
	const struct exec_client *c = (const struct exec_client *)a;

	if (e->end == PROTOCOL_END_EXITED && e->value <= 255) {
		attach_end(a, c->failed && !e->value ? EXIT_LKVM : (int)e->value);
	} else if (e->end == PROTOCOL_END_SIGNALED && e->value >= 1 && e->value <= 64) {
		attach_end(a, EXIT_SIGNAL((int)e->value));
	} else if (e->end == PROTOCOL_END_NOT_STARTED && e->value >= 1 && e->value <= 4095) {
		tell_start(c, (int)e->value);
		attach_end(a, status_of_failure(a, (int)e->value));
	} else {
		exec_refuse(a);
	}
}

/* It answers what it was asked, and no more. */
static int hear_frozen(struct attach *a, const struct protocol_freeze *f)
{
	struct exec_client *c = (struct exec_client *)a;

	if (!f->on)
		return -1;
	if (c->nr_stale) {
		c->nr_stale--;
		return -1;
	}
	if (!c->freezing)
		return exec_refuse(a);
	c->freezing = false;
	tell_holder(c, GATE_PAUSED, f->error);
	return -1;
}

static int exec_heard(struct attach *a, const struct protocol_header *h, const uint8_t *payload)
{
	struct exec_client *c = (struct exec_client *)a;
	struct protocol_freeze frozen;
	struct protocol_exited e;
	struct protocol_count count;

	if (h->kind == PROTOCOL_EXEC_STDOUT || h->kind == PROTOCOL_EXEC_STDERR)
		return hear_output(a, h->kind == PROTOCOL_EXEC_STDERR, h->bytes);
	if (h->kind == PROTOCOL_EXEC_TAKEN && h->bytes == sizeof(count)) {
		memcpy(&count, payload, sizeof(count));
		if (!c->told || count.bytes > (uint64_t)((int64_t)PROTOCOL_INPUT_WINDOW - c->in_room))
			return exec_refuse(a);
		c->in_room += (int64_t)count.bytes;
	} else if (h->kind == PROTOCOL_EXEC_JOINED && c->lent && c->lent->new) {
		c->joined = true;
	} else if (h->kind == PROTOCOL_EXEC_STARTED && c->lent && c->told) {
		tell_start(c, 0);
	} else if (h->kind == PROTOCOL_EXEC_FROZEN && h->bytes == sizeof(frozen) && c->lent && c->lent->new) {
		memcpy(&frozen, payload, sizeof(frozen));
		return hear_frozen(a, &frozen);
	} else if (h->kind == PROTOCOL_EXEC_EXITED && h->bytes == sizeof(e)) {
		memcpy(&e, payload, sizeof(e));
		hear_end(a, &e);
	} else {
		return exec_refuse(a);
	}
	return -1;
}

static void exec_lost(struct attach *a)
{
	const struct exec_client *c = (const struct exec_client *)a;

	if (c->lent && c->lent->new && !c->joined)
		log_error("pod: %s: its VM has ended, or as many commands as can be run in it already", a->name);
	if (c->lent) {
		attach_end(a, EXIT_SIGNAL(SIGKILL));
		return;
	}
	log_error("exec: %s: the virtual machine ended before the command had", a->name);
	attach_end(a, EXIT_LOST);
}

/* ---- to the VM ---- */

static size_t exec_room(struct attach *a)
{
	const struct exec_client *c = (const struct exec_client *)a;

	if (!c->interactive || !c->told || c->in_room <= HEADER_BYTES)
		return 0;
	return min_u64((uint64_t)(c->in_room - HEADER_BYTES), attach_room(a));
}

static void exec_typed(struct attach *a, const uint8_t *data, size_t bytes)
{
	struct exec_client *c = (struct exec_client *)a;

	c->in_room -= HEADER_BYTES + (int64_t)bytes;
	attach_send(a, PROTOCOL_EXEC_INPUT, data, bytes);
}

static void exec_typed_all(struct attach *a)
{
	exec_typed(a, NULL, 0);
}

static void exec_signaled(struct attach *a, int signal)
{
	struct exec_client *c = (struct exec_client *)a;
	const struct protocol_signal s = { .number = (uint32_t)signal };

	if (c->lent ? !c->told : ++c->signals == MAX_SIGNALS)
		attach_end(a, EXIT_SIGNAL(signal)); /* or nobody is there yet who has a handler */
	else
		attach_send(a, PROTOCOL_EXEC_SIGNAL, &s, sizeof(s));
}

/* To all of a new container. Each one is answered, also one that another has come after. */
static void exec_freeze(struct exec_client *c, bool on)
{
	const struct protocol_freeze f = { .on = on };

	if (on && !c->told) {
		tell_holder(c, GATE_PAUSED, ESRCH);
		return;
	}
	if (c->freezing)
		c->nr_stale++;
	c->freezing = on;
	if (c->told)
		attach_send(&c->attach, PROTOCOL_EXEC_FREEZE, &f, sizeof(f));
}

/* From the holder of a new container, whose end is its end. Of one that is not there yet the VM would not hear. */
static void exec_gate(struct attach *a)
{
	struct exec_client *c = (struct exec_client *)a;
	struct gate_message m;
	const ssize_t n = socket_recv(a->other_fd, &m, sizeof(m));
	struct protocol_signal s;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n != (ssize_t)sizeof(m)) {
		attach_end(a, EXIT_SIGNAL(SIGKILL));
		return;
	}
	c->go |= m.kind == GATE_GO;
	if (m.kind == GATE_PAUSE || m.kind == GATE_RESUME)
		exec_freeze(c, m.kind == GATE_PAUSE);
	if (m.kind != GATE_SIGNAL || !c->told)
		return;
	s = (struct protocol_signal){ .number = m.value };
	attach_send(a, PROTOCOL_EXEC_SIGNAL, &s, sizeof(s));
}

/* Before it has been told all it is told the size that it has then. */
static void exec_resized(struct attach *a, const struct protocol_size *size)
{
	const struct exec_client *c = (const struct exec_client *)a;

	if (c->terminal && c->told)
		attach_send(a, PROTOCOL_EXEC_SIZE, size, sizeof(*size));
}

static const struct attach_ops exec_ops = {
	.hear = exec_heard,
	.wrote = exec_wrote,
	.fill = exec_fill,
	.room = exec_room,
	.typed = exec_typed,
	.typed_all = exec_typed_all,
	.signaled = exec_signaled,
	.resized = exec_resized,
	.lost = exec_lost,
	.other = exec_gate,
};

/* ---- the command ---- */

static const struct option exec_options[] = {
	{ "interactive", no_argument, NULL, 'i' },
	{ "tty", no_argument, NULL, 't' },
	{ "env", required_argument, NULL, 'e' },
	{ "workdir", required_argument, NULL, 'w' },
	{ "user", required_argument, NULL, 'u' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int exec_usage(const char *option, const char *reason)
{
	log_error("exec: %s: %s\n`lkvm help exec` lists the options.", option, reason);
	return EXIT_LKVM;
}

static int take_exec_option(struct exec_client *c, int option, char **argv)
{
	switch (option) {
	case 'h':
		return help_print("exec");
	case 'i':
		c->interactive = true;
		break;
	case 't':
		c->terminal = true;
		break;
	case 'e':
		if (!*optarg || *optarg == '=' || c->nr_environment == MAX_ENVIRONMENT)
			return exec_usage("--env", "must be NAME=VALUE or NAME, up to 256 times");
		c->environment[c->nr_environment++] = optarg;
		break;
	case 'w':
		if (*optarg != '/')
			return exec_usage(optarg, "must begin with a slash: it is a directory of the guest");
		c->directory = optarg;
		break;
	case 'u':
		c->user = optarg;
		break;
	default:
		return exec_usage(argv[optind - 1], "unknown, or without its value");
	}
	return -1;
}

/* NAME, and what stands behind it: the command is behind "--". -1, or the exit status after a message. */
static int take_exec_arguments(struct exec_client *c, int argc, char **argv)
{
	int option, status = -1;

	opterr = optind = 0;
	while (status < 0 && (option = getopt_long(argc, argv, "+:ite:w:u:h", exec_options, NULL)) != -1)
		status = take_exec_option(c, option, argv);
	if (status >= 0)
		return status;
	if (argc - optind < 1 || !strcmp(argv[optind], "--"))
		return exec_usage("NAME", "the name of a VM is missing");
	if (argc - optind < 3 || strcmp(argv[optind + 1], "--") != 0 || !*argv[optind + 2])
		return exec_usage("COMMAND", "it has to stand behind NAME and --");
	return -1;
}

static int run_exec(struct exec_client *c, const char *name, char **arguments, int nr)
{
	struct attach *a = &c->attach;
	int status, rc = exec_make_plan(c, arguments, (unsigned int)nr);

	if (rc) {
		log_error("exec: %s: %s", arguments[0], strerror(-rc));
		return EXIT_LKVM;
	}
	a->raw = c->terminal && c->interactive;
	status = attach_open(a, "exec", name, "{\"v\":1,\"do\":\"exec\"}\n");
	if (status < 0) {
		attach_run(a);
		status = a->status;
	}
	attach_fini(a);
	return status;
}

int cmd_exec(int argc, char **argv, uint64_t start_ns)
{
	struct exec_client c = {
		.attach = { .ops = &exec_ops },
		.directory = "",
		.user = "",
	};
	int status = take_exec_arguments(&c, argc, argv);

	(void)start_ns;
	if (status < 0)
		status = run_exec(&c, argv[optind], argv + optind + 2, argc - optind - 2);
	free(c.plan);
	return status;
}

int exec_run_lent(const struct exec_lent *lent)
{
	struct exec_client c = {
		.attach = { .ops = &exec_ops },
		.lent = lent,
		.interactive = true,
		.terminal = lent->terminal,
		.plan = (char *)(uintptr_t)lent->plan,
		.plan_bytes = lent->plan_bytes,
	};

	if (attach_lend(&c.attach, lent->name, lent->fd))
		return EXIT_LOST;
	c.attach.raw = lent->terminal;
	if (lent->new)
		c.attach.other_fd = lent->new->gate;
	attach_run(&c.attach);
	attach_fini(&c.attach);
	return c.attach.status;
}
