// SPDX-License-Identifier: GPL-2.0-only
/*
 * What lkvm says to the guest's first process, in any pieces: it makes a plan that is whole, or ends in
 * words. The program itself is included here; what it would do to a machine is not done.
 */
#include "tests/fuzz/fuzz.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <unistd.h>

static jmp_buf fuzz_end;
static unsigned int fuzz_words; /* that the console has been told something */

/* ---- the machine ---- */

#define main(...)	     fuzz_main(__VA_ARGS__)
#define reboot(how)	     longjmp(fuzz_end, 1)
#define sync()		     (void)0
#define poll(p, nr, timeout) fuzz_poll(p, nr, timeout)
#define dprintf(fd, ...)     fuzz_print(__VA_ARGS__)

int fuzz_main(void);

/* Nothing is waited for. */
static int fuzz_poll(struct pollfd *p, nfds_t nr, int timeout_ms)
{
	(void)timeout_ms;
	return p ? (poll)(p, nr, 0) : 0;
}

__attribute__((format(printf, 1, 2))) static void fuzz_print(const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	fuzz_words += vsnprintf(text, sizeof(text), fmt, ap) > 0;
	va_end(ap);
}

/* Processes are numbers that no process has, and none of this machine's hears of a signal. */
static int fuzz_kill(pid_t pid, int signal)
{
	(void)pid;
	(void)signal;
	return 0;
}

#define fork() ((pid_t)0x7f000001)
#define kill   fuzz_kill
#include "tests/lib/guest-init.h"
#undef fork
#undef kill

#undef main
#undef poll

int init_open_port(const char *name, int flags)
{
	(void)name;
	(void)flags;
	return -1;
}

/* ---- other containers ---- */

pid_t init_fork_member(const struct protocol_in *in)
{
	(void)in;
	return 0x7f000001;
}

int init_make_volume(const struct protocol_volume *v)
{
	return *v->options == '!' ? ENOMEM : 0;
}

int init_freeze(const char *name, bool on)
{
	(void)name;
	(void)on;
	return 0;
}

int init_is_frozen(const char *name)
{
	return *name & 1;
}

bool init_has_left(const struct protocol_in *in, const struct protocol_disk *disk)
{
	(void)in;
	return disk->serial[1] & 1;
}

void init_find_user(const char *asked, struct init_user *u)
{
	(void)asked;
	*u = (struct init_user){ .name = "root", .home = "/root", .shell = "/bin/sh" };
}

/* ---- what has to be true ---- */

static void check_strings(char **list, size_t nr, bool are_variables)
{
	must(list ? !list[nr] : !nr);
	for (size_t i = 0; i < nr; i++)
		must(list[i] && strlen(list[i]) <= PROTOCOL_MAX_BYTES && (!are_variables || strchr(list[i], '=')));
}

static void check_plan(void)
{
	const struct init_plan *p = &init.plan;
	struct init_user u;

	must(p->nr_mounts <= PROTOCOL_MAX_MOUNTS && p->nr_networks <= INIT_MAX_NETWORKS);
	for (unsigned int i = 0; i < p->nr_mounts; i++)
		must(p->mounts[i]->path[0] && strlen(p->mounts[i]->path) < sizeof(p->mounts[i]->path));
	for (unsigned int i = 0; i < p->nr_networks; i++)
		must(p->networks[i].prefix_bits <= 32);
	must(p->string_bytes <= PROTOCOL_MAX_STRINGS_BYTES);
	check_strings(p->arguments, p->nr_arguments, false);
	init_find_user(p->user, &u);
	complete_environment(&u);
	choose_shell(&u);
	must(p->nr_arguments);
	check_strings(p->arguments, p->nr_arguments, false);
	check_strings(p->environment, p->nr_environment, true);
}

static void check_jobs(void)
{
	for (struct job *j = jobs; j < jobs + PROTOCOL_MAX_SESSIONS; j++) {
		must(j->in_at <= j->in_until && j->in_until <= sizeof(j->input));
		must(!j->plan.data || (!j->pid && j->plan.bytes <= MAX_PLAN_BYTES));
		must(j->more.bytes <= PROTOCOL_MAX_MORE_BYTES && memchr(j->where.name, 0, sizeof(j->where.name)));
		must(j->pid || (j->in <= 0 && j->out <= 0 && j->err <= 0));
	}
}

static void free_strings(char **list, size_t nr)
{
	while (nr)
		free(list[--nr]);
	free(list);
}

static void forget(void)
{
	struct init_plan *p = &init.plan;

	free_strings(p->arguments, p->nr_arguments);
	free_strings(p->environment, p->nr_environment);
	while (p->nr_mounts)
		free(p->mounts[--p->nr_mounts]);
	free(p->directory);
	free(p->user);
	free(p->hostname);
	free(p->results);
}

/* Takes all that is there. */
static void hear(int peer)
{
	char words[4096];

	while (recv(init.control, words, 1, MSG_PEEK) > 0) {
		struct pollfd p[INIT_EXEC_POLLS];

		if (init_read_message())
			check_plan();
		must(init_exec_poll(p) <= INIT_EXEC_POLLS);
		init_exec_turn();
		check_jobs();
	}
	while (recv(peer, words, sizeof(words), 0) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	const size_t piece = bytes ? data[0] % 64 + 1 : 1;
	int ends[2];

	memset(&init, 0, sizeof(init));
	fuzz_words = 0;
	must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends));
	init.control = ends[0];
	init.report = init.terminal = init.slave = init.results_port = init.results_dir = init.random = -1;
	init.out.from = open("/dev/null", O_RDONLY | O_CLOEXEC);
	init.err.from = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (!setjmp(fuzz_end)) {
		for (size_t at = 1; at < bytes; at += piece) {
			size_t n = bytes - at < piece ? bytes - at : piece;

			must(send(ends[1], data + at, n, 0) == (ssize_t)n);
			hear(ends[1]);
		}
	} else {
		must(fuzz_words == 1);
	}
	for (unsigned int i = 1; i <= PROTOCOL_MAX_SESSIONS; i++)
		init_exec_hear(i, PROTOCOL_EXEC_HANGUP, NULL, 0);
	/* Containers wait for processes that there are not. */
	for (struct job *j = jobs; j < jobs + PROTOCOL_MAX_SESSIONS; j++) {
		job_close_streams(j);
		told_forget(&j->plan);
		told_forget(&j->more);
		*j = (struct job){ .in = -1, .out = -1, .err = -1, .report = -1, .go = -1 };
	}
	forget();
	if (!init.out.ended)
		close(init.out.from);
	if (!init.err.ended)
		close(init.err.from);
	if (init.random >= 0)
		close(init.random);
	close(ends[0]);
	close(ends[1]);
	return 0;
}
