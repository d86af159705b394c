// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's first process: commands beside the first one. Its files are included here, commands are
 * processes of this machine, and lkvm is played.
 */
#include "tests/lib/unit.h"

#include <linux/random.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>

#include "guest/protocol.h"

#define main(...)   init_main(__VA_ARGS__)
#define reboot(how) abort()
/* Whoever runs the tests stays who it is. */
#define syscall no_call

int init_main(void);

/* A first process may end all others; of this machine only those of a session are meant. */
static int guarded_kill(pid_t pid, int signal)
{
	assert_true(pid > 1 || pid < -1);
	return (kill)(pid, signal);
}

#define kill(pid, signal) guarded_kill(pid, signal)

static long no_call(long nr, ...)
{
	(void)nr;
	return 0;
}

/* The kernel's generator is not this machine's. */
static unsigned int nr_seeds;
static char last_seed[PROTOCOL_SEED_BYTES];

static int no_random(int fd, unsigned long request, ...)
{
	va_list ap;
	char *arg;

	va_start(ap, request);
	arg = va_arg(ap, char *);
	va_end(ap);
	if (request == RNDRESEEDCRNG)
		return 0;
	if (request != RNDADDENTROPY)
		return (ioctl)(fd, request, arg);
	memcpy(last_seed, arg + 2 * sizeof(int), sizeof(last_seed));
	nr_seeds++;
	return 0;
}

#define ioctl no_random

#pragma GCC diagnostic ignored "-Wunused-result" /* of the C library that they are built with */

#include "tests/lib/guest-init.h"

#undef main
#undef syscall

/* ---- what the rest of it would do ---- */

/* The ends of the first command's ports: init's, and lkvm's. */
static int port_ends[3][2];

int init_open_port(const char *name, int flags)
{
	const int i = !strcmp(name, PROTOCOL_STDIN)  ? 0 :
		      !strcmp(name, PROTOCOL_STDOUT) ? 1 :
						       2;

	(void)flags;
	return port_ends[i][0];
}

void init_find_user(const char *asked, struct init_user *u)
{
	if (asked)
		init_fail("user: there is no user \"%s\"", asked);
	*u = (struct init_user){ .name = "root", .home = "/root", .shell = "/bin/sh" };
}

/* ---- other containers ---- */

pid_t init_fork_member(const struct protocol_in *in)
{
	(void)in;
	return fork();
}

/* Its volumes, one name behind the other. */
static char volumes_made[256];

int init_make_volume(const struct protocol_volume *v)
{
	const size_t at = strlen(volumes_made);

	snprintf(volumes_made + at, sizeof(volumes_made) - at, "%s ", v->name);
	return *v->options == '!' ? ENOMEM : 0;
}

/* What its group says, and what it was told last. */
static int freeze_error, group_is_frozen;
static bool told_to_freeze;

int init_freeze(const char *name, bool on)
{
	assert_string_equal(name, "one");
	told_to_freeze = on;
	return freeze_error;
}

int init_is_frozen(const char *name)
{
	assert_string_equal(name, "one");
	return group_is_frozen;
}

static bool disk_is_free;

/* Without a name it would be the first container's group that is cleared. */
bool init_has_left(const struct protocol_in *in, const struct protocol_disk *disk)
{
	assert_true(in->flags & PROTOCOL_IN_NEW);
	assert_true(*in->name && strlen(in->name) < sizeof(in->name));
	assert_memory_equal(disk->serial, "disk", 5);
	return disk_is_free;
}

/* ---- lkvm ---- */

#define MAX_OUTPUT 2000000u

/* What has come of a session. */
static struct heard {
	size_t out_bytes, err_bytes, taken, used;
	bool out_ended, err_ended, started, released, over;
	unsigned int nr_frozen;
	struct protocol_freeze frozen;
	struct protocol_exited end;
	char *out, err[4096];
} heard[PROTOCOL_MAX_SESSIONS + 1];

static int peer;

static int set_up(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	init.control = ends[0];
	init.random = -1;
	init.told = false;
	peer = ends[1];
	memset(heard, 0, sizeof(heard));
	for (unsigned int i = 0; i <= PROTOCOL_MAX_SESSIONS; i++)
		heard[i].out = test_malloc(i < 3 ? MAX_OUTPUT : 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (unsigned int i = 1; i <= PROTOCOL_MAX_SESSIONS; i++)
		init_exec_hear(i, PROTOCOL_EXEC_HANGUP, "", 0);
	for (unsigned int i = 0; i <= PROTOCOL_MAX_SESSIONS; i++)
		test_free(heard[i].out);
	close(init.control);
	close(peer);
	return 0;
}

/* A message without a session. */
static void give_message(uint32_t kind, const void *payload, uint32_t bytes)
{
	const struct protocol_header h = { .kind = kind, .bytes = bytes };

	assert_int_equal(write(peer, &h, sizeof(h)), sizeof(h));
	assert_false(init_read_message());
	assert_int_equal(write(peer, payload, bytes), bytes);
	assert_false(init_read_message());
}

/* In a clone whose command runs, too; then nothing is opened, which the command may have replaced. */
static void test_seed_again(void **state)
{
	char seed[PROTOCOL_SEED_BYTES];
	int fd;

	(void)state;
	nr_seeds = 0;
	memset(seed, 1, sizeof(seed));
	give_message(PROTOCOL_SEED, seed, sizeof(seed));
	assert_int_equal(nr_seeds, 1);
	fd = init.random;
	assert_true(fd >= 0);
	init.told = true;
	memset(seed, 2, sizeof(seed));
	give_message(PROTOCOL_SEED, seed, sizeof(seed));
	assert_int_equal(nr_seeds, 2);
	assert_memory_equal(last_seed, seed, sizeof(seed));
	assert_int_equal(init.random, fd);
	close(fd);
}

static void read_whole(void *data, size_t bytes)
{
	assert_int_equal(recv(peer, data, bytes, MSG_WAITALL), bytes);
}

static void hear_message(void)
{
	static char data[PROTOCOL_MAX_FRAME_BYTES];
	struct protocol_count count;
	struct protocol_header h;
	struct heard *s;

	read_whole(&h, sizeof(h));
	assert_true(h.bytes <= sizeof(data));
	if (h.bytes)
		read_whole(data, h.bytes);
	s = &heard[PROTOCOL_SESSION(h.kind)];
	assert_false(s->over);
	switch (PROTOCOL_KIND(h.kind)) {
	case PROTOCOL_EXEC_STDOUT:
		memcpy(s->out + s->out_bytes, data, h.bytes);
		s->out_bytes += h.bytes;
		s->out_ended = !h.bytes;
		s->used += h.bytes ? sizeof(h) + h.bytes : 0;
		break;
	case PROTOCOL_EXEC_STDERR:
		memcpy(s->err + s->err_bytes, data, h.bytes);
		s->err_bytes += h.bytes;
		s->err_ended = !h.bytes;
		break;
	case PROTOCOL_EXEC_TAKEN:
		memcpy(&count, data, sizeof(count));
		s->taken += count.bytes;
		break;
	case PROTOCOL_EXEC_STARTED:
		assert_false(s->started);
		s->started = true;
		break;
	case PROTOCOL_EXEC_RELEASED:
		s->released = true;
		break;
	case PROTOCOL_NOTICE:
		break;
	case PROTOCOL_EXEC_FROZEN:
		assert_int_equal(h.bytes, sizeof(s->frozen));
		memcpy(&s->frozen, data, sizeof(s->frozen));
		s->nr_frozen++;
		break;
	default:
		assert_int_equal(PROTOCOL_KIND(h.kind), PROTOCOL_EXEC_EXITED);
		memcpy(&s->end, data, sizeof(s->end));
		s->over = true;
	}
}

/* One turn of the loop, and what it says. */
static void turn(void)
{
	struct pollfd p[INIT_EXEC_POLLS];
	int status;
	pid_t pid;
	char byte;

	poll(p, init_exec_poll(p), 20);
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		init_exec_reap(pid, status);
	init_exec_turn();
	while (recv(peer, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
		hear_message();
}

static void start(unsigned int session, bool terminal, const char *user, const char *script)
{
	const struct protocol_exec e = {
		.nr_arguments = 3,
		.nr_environment = 1,
		.terminal = terminal,
		.size = { 100, 40 },
	};
	char plan[4096];
	size_t n = sizeof(e);

	memcpy(plan, &e, n);
	n += (size_t)sprintf(plan + n, "/tmp%c%s%csh%c-c%c%s%cX=y", 0, user, 0, 0, 0, script, 0) + 1;
	init_exec_hear(session, PROTOCOL_EXEC_PLAN, plan, 10);
	init_exec_hear(session, PROTOCOL_EXEC_PLAN, plan + 10, n - 10);
	init_exec_hear(session, PROTOCOL_EXEC_GO, "", 0);
}

static void wait_for_end(unsigned int session)
{
	for (unsigned int i = 0; i < 3000 && !heard[session].over; i++)
		turn();
	assert_true(heard[session].over);
}

static void expect_end(unsigned int session, uint32_t end, uint32_t value)
{
	wait_for_end(session);
	assert_int_equal(heard[session].end.end, end);
	assert_int_equal(heard[session].end.value, value);
}

static void say_count(unsigned int session, uint32_t kind, uint64_t bytes)
{
	const struct protocol_count count = { .bytes = bytes };

	init_exec_hear(session, kind, (const char *)&count, sizeof(count));
}

static void wait_for_output(unsigned int session, const char *text)
{
	const struct heard *s = &heard[session];

	for (unsigned int i = 0; i < 3000 && s->out_bytes < strlen(text); i++)
		turn();
	assert_int_equal(s->out_bytes, strlen(text));
	assert_memory_equal(s->out, text, strlen(text));
}

/* ---- tests ---- */

static void test_status_and_streams(void **state)
{
	(void)state;
	start(1, false, "", "echo $X; pwd; echo err >&2; exit 42");
	init_exec_hear(1, PROTOCOL_EXEC_INPUT, "", 0);
	expect_end(1, PROTOCOL_END_EXITED, 42);
	wait_for_output(1, "y\n/tmp\n");
	assert_memory_equal(heard[1].err, "err\n", 5);
	assert_true(heard[1].out_ended && heard[1].err_ended);
	start(2, false, "", "kill -9 $$");
	expect_end(2, PROTOCOL_END_SIGNALED, 9);
}

static void test_not_started(void **state)
{
	static const struct protocol_exec e = { .nr_arguments = 1 };
	char plan[sizeof(e) + 16] = "";

	(void)state;
	memcpy(plan, &e, sizeof(e));
	strcpy(plan + sizeof(e) + 2, "/nosuch");
	init_exec_hear(1, PROTOCOL_EXEC_PLAN, plan, sizeof(plan));
	init_exec_hear(1, PROTOCOL_EXEC_GO, "", 0);
	expect_end(1, PROTOCOL_END_EXITED, 127);
	assert_string_equal(heard[1].err, "lkvm: /nosuch: No such file or directory\n");
	start(2, false, "nobody-there", "true");
	expect_end(2, PROTOCOL_END_EXITED, 125);
	assert_string_equal(heard[2].err, "lkvm: user: there is no user \"nobody-there\"\n");
}

/* A container's: whether it runs is said to lkvm, and what does not leaves nothing on its streams. */
static void start_with_credentials(unsigned int session, const char *directory, const char *program,
				   const char *script)
{
	const struct protocol_exec e = { .nr_arguments = 3, .nr_environment = 1, .has_credentials = 1 };
	const struct protocol_credentials c = { .umask = 027 };
	char plan[4096];
	size_t n = sizeof(e) + sizeof(c);

	memcpy(plan, &e, sizeof(e));
	memcpy(plan + sizeof(e), &c, sizeof(c));
	n += (size_t)sprintf(plan + n, "%s%c%c%s%c-c%c%s%cX=y", directory, 0, 0, program, 0, 0, script, 0) + 1;
	init_exec_hear(session, PROTOCOL_EXEC_PLAN, plan, n);
	init_exec_hear(session, PROTOCOL_EXEC_GO, "", 0);
}

static void test_credentials(void **state)
{
	static const struct {
		const char *directory, *program;
		uint32_t error;
	} bad[] = { { "/tmp", "/nosuch", ENOENT }, { "/nosuch", "sh", ENOENT }, { "/tmp", "/etc/passwd", EACCES } };

	(void)state;
	start_with_credentials(1, "/tmp", "sh", "umask; pwd; exit 7");
	expect_end(1, PROTOCOL_END_EXITED, 7);
	assert_true(heard[1].started);
	assert_memory_equal(heard[1].out, "0027\n/tmp\n", 10);
	for (unsigned int i = 0; i < 3; i++) {
		start_with_credentials(2 + i, bad[i].directory, bad[i].program, "exit 1");
		expect_end(2 + i, PROTOCOL_END_NOT_STARTED, bad[i].error);
		assert_false(heard[2 + i].started || heard[2 + i].err_bytes);
	}
	/* Who is gone has killed it, whatever it does about signals. */
	start_with_credentials(5, "/", "sh", "trap '' HUP; exec sleep 1000");
	for (unsigned int i = 0; i < 3000 && !heard[5].started; i++)
		turn();
	assert_true(heard[5].started && jobs[4].pid > 1);
	{
		const pid_t pid = jobs[4].pid;

		init_exec_hear(5, PROTOCOL_EXEC_HANGUP, "", 0);
		for (unsigned int i = 0; i < 3000 && !kill(pid, 0); i++)
			turn();
		assert_int_equal(kill(pid, 0), -1);
	}
	expect_end(5, PROTOCOL_END_SIGNALED, SIGHUP);
	/* Its plan ends within them. */
	init_exec_hear(6, PROTOCOL_EXEC_PLAN, (const char *)&(struct protocol_exec){ .has_credentials = 1 },
		       sizeof(struct protocol_exec));
	init_exec_hear(6, PROTOCOL_EXEC_GO, "", 0);
	expect_end(6, PROTOCOL_END_EXITED, 125);
}

/* ---- containers ---- */

static void say_in(unsigned int session, uint32_t flags, const char *name)
{
	struct protocol_in in = { .flags = flags };

	strcpy(in.name, name);
	init_exec_hear(session, PROTOCOL_EXEC_IN, (const char *)&in, sizeof(in));
}

static void say_disk(unsigned int session)
{
	static const struct protocol_disk disk = { .serial = "disk" };

	init_exec_hear(session, PROTOCOL_EXEC_DISK, (const char *)&disk, sizeof(disk));
}

/* Its end is said when its disk is free; that it is, before. */
static void test_container(void **state)
{
	(void)state;
	disk_is_free = false;
	say_disk(1);
	say_in(1, PROTOCOL_IN_NEW, "one");
	start_with_credentials(1, "", "sh", "echo in; exit 3");
	wait_for_output(1, "in\n");
	for (unsigned int i = 0; i < 3000 && !jobs[0].leaves_by; i++)
		turn();
	for (unsigned int i = 0; i < 3; i++)
		turn();
	assert_true(init_exec_is_due() && heard[1].started && !heard[1].over && !heard[1].released);
	disk_is_free = true;
	expect_end(1, PROTOCOL_END_EXITED, 3);
	assert_true(heard[1].released);
	assert_false(init_exec_is_due());
}

static void say_freeze(unsigned int session, uint32_t on)
{
	const struct protocol_freeze f = { .on = on };

	init_exec_hear(session, PROTOCOL_EXEC_FREEZE, (const char *)&f, sizeof(f));
}

static void expect_frozen(unsigned int nr, uint32_t on, uint32_t number)
{
	for (unsigned int i = 0; i < 3000 && heard[1].nr_frozen < nr; i++)
		turn();
	assert_int_equal(heard[1].nr_frozen, nr);
	assert_int_equal(heard[1].frozen.on, on);
	assert_int_equal(heard[1].frozen.error, number);
}

/* Each word is answered once: when it has stopped, cannot, or is to go on again. */
static void test_container_freeze(void **state)
{
	(void)state;
	disk_is_free = true;
	group_is_frozen = freeze_error = 0;
	say_disk(1);
	say_in(1, PROTOCOL_IN_NEW, "one");
	start_with_credentials(1, "", "sh", "read x; exit 3");
	say_freeze(1, 1);
	for (unsigned int i = 0; i < 3; i++)
		turn();
	assert_true(told_to_freeze && init_exec_is_due() && !heard[1].nr_frozen);
	group_is_frozen = 1;
	expect_frozen(1, 1, 0);
	assert_true(told_to_freeze && !init_exec_is_due());
	say_freeze(1, 0);
	expect_frozen(2, 0, 0);
	assert_false(told_to_freeze);
	/* Nobody is in its group: it goes on, as nothing else would let it. */
	group_is_frozen = -ESRCH;
	say_freeze(1, 1);
	expect_frozen(3, 1, ESRCH);
	assert_false(told_to_freeze);
	/* A kernel without it. */
	freeze_error = ENOTSUP;
	say_freeze(1, 1);
	expect_frozen(4, 1, ENOTSUP);
	freeze_error = group_is_frozen = 0;
	/* Another word comes before it has stopped. */
	say_freeze(1, 1);
	turn();
	say_freeze(1, 0);
	expect_frozen(6, 0, 0);
	/* Its end is no answer, and nothing is due after it. */
	say_freeze(1, 1);
	init_exec_hear(1, PROTOCOL_EXEC_INPUT, "x\n", 2);
	expect_end(1, PROTOCOL_END_EXITED, 3);
	assert_true(heard[1].nr_frozen == 6 && !init_exec_is_due());
	/* What is no container is not stopped. */
	start(2, false, "", "read x; exit 4");
	say_freeze(2, 1);
	for (unsigned int i = 0; i < 3000 && !heard[2].nr_frozen; i++)
		turn();
	assert_int_equal(heard[2].frozen.error, ENOTSUP);
	init_exec_hear(2, PROTOCOL_EXEC_INPUT, "x\n", 2);
	expect_end(2, PROTOCOL_END_EXITED, 4);
}

static void say_volume(unsigned int session, const char *name, const char *options)
{
	const struct protocol_header h = { PROTOCOL_VOLUME, sizeof(struct protocol_volume) };
	struct protocol_volume v = { 0 };

	strcpy(v.name, name);
	strcpy(v.options, options);
	init_exec_hear(session, PROTOCOL_EXEC_MORE, (const char *)&h, sizeof(h));
	init_exec_hear(session, PROTOCOL_EXEC_MORE, (const char *)&v, sizeof(v));
}

/* init itself makes them, before the container's process is there; one that cannot be made is its end. */
static void test_container_volumes(void **state)
{
	const struct protocol_header cut = { PROTOCOL_VOLUME, 1000 };

	(void)state;
	disk_is_free = true;
	*volumes_made = '\0';
	say_disk(1);
	say_in(1, PROTOCOL_IN_NEW, "one");
	say_volume(1, "cache", "size=1m");
	say_volume(1, "other", "size=1m");
	start_with_credentials(1, "", "sh", "exit 3");
	expect_end(1, PROTOCOL_END_EXITED, 3);
	assert_string_equal(volumes_made, "cache other ");
	say_disk(2);
	say_in(2, PROTOCOL_IN_NEW, "two");
	say_volume(2, "bad", "!");
	start_with_credentials(2, "", "sh", "exit 3");
	expect_end(2, PROTOCOL_END_NOT_STARTED, ENOMEM);
	/* One that is cut off is its own process's to tell. */
	say_disk(3);
	say_in(3, PROTOCOL_IN_NEW, "three");
	init_exec_hear(3, PROTOCOL_EXEC_MORE, (const char *)&cut, sizeof(cut));
	start_with_credentials(3, "", "sh", "exit 3");
	expect_end(3, PROTOCOL_END_NOT_STARTED, ECHILD);
	assert_string_equal(volumes_made, "cache other bad ");
}

/* Nobody is there any more: it ends first, and then its end is said; the number is free. */
static void test_container_hangup(void **state)
{
	(void)state;
	disk_is_free = true;
	say_disk(1);
	say_in(1, PROTOCOL_IN_NEW, "one");
	start_with_credentials(1, "", "sh", "trap '' HUP TERM; exec sleep 1000");
	for (unsigned int i = 0; i < 3000 && !heard[1].started; i++)
		turn();
	init_exec_hear(1, PROTOCOL_EXEC_HANGUP, "", 0);
	assert_false(heard[1].over);
	expect_end(1, PROTOCOL_END_SIGNALED, SIGKILL);
	assert_true(heard[1].released);
	memset(&heard[1].end, 0, sizeof(heard[1].end));
	heard[1].over = heard[1].released = heard[1].started = false;
	heard[1].out_bytes = 0;
	start(1, false, "", "exit 4");
	expect_end(1, PROTOCOL_END_EXITED, 4);
	/* While its disk is waited for. */
	disk_is_free = false;
	say_disk(2);
	say_in(2, PROTOCOL_IN_NEW, "two");
	start_with_credentials(2, "", "sh", "exit 5");
	for (unsigned int i = 0; i < 3000 && !jobs[1].leaves_by; i++)
		turn();
	init_exec_hear(2, PROTOCOL_EXEC_HANGUP, "", 0);
	disk_is_free = true;
	expect_end(2, PROTOCOL_END_EXITED, 5);
	/* One that was never started has nothing but a disk. */
	say_disk(3);
	say_in(3, PROTOCOL_IN_NEW, "three");
	init_exec_hear(3, PROTOCOL_EXEC_HANGUP, "", 0);
	expect_end(3, PROTOCOL_END_SIGNALED, SIGHUP);
	assert_true(heard[3].released);
}

/* Its client was killed before it had said who it is, or has said what is no name: nobody else ends for it. */
static void test_container_without_a_name(void **state)
{
	struct protocol_in bad = { .flags = PROTOCOL_IN_NEW };

	(void)state;
	disk_is_free = false;
	say_disk(1);
	init_exec_hear(1, PROTOCOL_EXEC_HANGUP, "", 0);
	expect_end(1, PROTOCOL_END_SIGNALED, SIGHUP);
	assert_true(heard[1].released);
	say_disk(2);
	init_exec_hear(2, PROTOCOL_EXEC_IN, (const char *)&bad, sizeof(bad));
	expect_end(2, PROTOCOL_END_NOT_STARTED, E2BIG);
	memset(bad.name, 'x', sizeof(bad.name));
	say_disk(3);
	init_exec_hear(3, PROTOCOL_EXEC_IN, (const char *)&bad, sizeof(bad));
	expect_end(3, PROTOCOL_END_NOT_STARTED, E2BIG);
	assert_true(heard[2].released && heard[3].released);
}

/* One that was killed is made again while it is leaving: the new one begins when nothing of it is left. */
static void test_container_again(void **state)
{
	static const struct protocol_signal s = { .number = SIGTERM };

	(void)state;
	disk_is_free = false;
	say_disk(1);
	say_in(1, PROTOCOL_IN_NEW, "one");
	start_with_credentials(1, "", "sh", "trap '' HUP TERM; echo up; exec sleep 1000");
	wait_for_output(1, "up\n");
	/* It is there still, and nobody has hung up: no other one has its name. */
	say_disk(3);
	say_in(3, PROTOCOL_IN_NEW, "one");
	start_with_credentials(3, "", "sh", "true");
	disk_is_free = true;
	expect_end(3, PROTOCOL_END_NOT_STARTED, EINVAL);
	disk_is_free = false;
	init_exec_hear(1, PROTOCOL_EXEC_HANGUP, "", 0);
	say_disk(2);
	say_in(2, PROTOCOL_IN_NEW, "one");
	start_with_credentials(2, "", "sh", "echo again; read x; echo $x");
	init_exec_hear(2, PROTOCOL_EXEC_INPUT, "in\n", 3);
	for (unsigned int i = 0; i < 3000 && !jobs[0].leaves_by; i++)
		turn();
	for (unsigned int i = 0; i < 3; i++)
		turn();
	assert_true(init_exec_is_due() && !heard[2].started && !heard[2].over && !heard[2].out_bytes);
	disk_is_free = true;
	wait_for_output(2, "again\nin\n");
	assert_true(heard[1].over && heard[1].released && heard[2].started);
	expect_end(2, PROTOCOL_END_EXITED, 0);
	/* One that waits ends as any other. */
	disk_is_free = false;
	say_disk(4);
	say_in(4, PROTOCOL_IN_NEW, "two");
	init_exec_hear(4, PROTOCOL_EXEC_HANGUP, "", 0);
	say_disk(5);
	say_in(5, PROTOCOL_IN_NEW, "two");
	start_with_credentials(5, "", "sh", "true");
	init_exec_hear(5, PROTOCOL_EXEC_SIGNAL, (const char *)&s, sizeof(s));
	init_exec_hear(5, PROTOCOL_EXEC_HANGUP, "", 0);
	for (unsigned int i = 0; i < 3000 && !jobs[4].leaves_by; i++)
		turn();
	assert_true(!heard[4].over && !heard[5].started);
	disk_is_free = true;
	wait_for_end(4);
	wait_for_end(5);
	assert_true(!heard[5].started && heard[5].released && !init_exec_is_due());
}

/* What cannot be is the end of that one only. */
static void test_bad_containers(void **state)
{
	static const struct protocol_in unnamed = { .flags = PROTOCOL_IN_NEW, .name = { 0 } };
	struct protocol_in endless = { .flags = PROTOCOL_IN_NEW };

	(void)state;
	disk_is_free = true;
	init_exec_hear(1, PROTOCOL_EXEC_IN, (const char *)&unnamed, sizeof(unnamed) - 1);
	expect_end(1, PROTOCOL_END_NOT_STARTED, E2BIG);
	memset(endless.name, 'x', sizeof(endless.name));
	init_exec_hear(2, PROTOCOL_EXEC_IN, (const char *)&endless, sizeof(endless));
	expect_end(2, PROTOCOL_END_NOT_STARTED, E2BIG);
	init_exec_hear(3, PROTOCOL_EXEC_DISK, "short", 5);
	expect_end(3, PROTOCOL_END_NOT_STARTED, E2BIG);
	say_in(4, PROTOCOL_IN_NEW, "without-disk");
	start_with_credentials(4, "", "sh", "true");
	expect_end(4, PROTOCOL_END_NOT_STARTED, EINVAL);
	say_in(5, 0, "not-there");
	start_with_credentials(5, "/", "sh", "true");
	expect_end(5, PROTOCOL_END_NOT_STARTED, ESRCH);
	/* Messages that end too early end it when it starts; init goes on. */
	say_disk(6);
	say_in(6, PROTOCOL_IN_NEW, "cut");
	init_exec_hear(6, PROTOCOL_EXEC_MORE, "abc", 3);
	start_with_credentials(6, "", "sh", "true");
	expect_end(6, PROTOCOL_END_NOT_STARTED, ECHILD);
	assert_string_equal(heard[6].err, "lkvm: lkvm sent a bad container\n");
}

/* Neither side is ahead of what the other has room for. */
static void test_through(void **state)
{
	static char data[1000000];
	size_t sent = 0, used = 0, given = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 7 + i / 1000);
	start(1, false, "", "cat");
	for (unsigned int i = 0; i < 30000 && heard[1].out_bytes < sizeof(data); i++) {
		size_t room = PROTOCOL_INPUT_WINDOW - (used - heard[1].taken);
		size_t n = sizeof(data) - sent < 3000 ? sizeof(data) - sent : 3000;

		if (n && room >= n + HEADER_BYTES) {
			init_exec_hear(1, PROTOCOL_EXEC_INPUT, data + sent, n);
			sent += n;
			used += n + HEADER_BYTES;
			continue;
		}
		turn();
		assert_true(heard[1].used - given <= PROTOCOL_OUTPUT_WINDOW);
		say_count(1, PROTOCOL_EXEC_READ, heard[1].used - given);
		given = heard[1].used;
	}
	assert_int_equal(heard[1].out_bytes, sizeof(data));
	assert_memory_equal(heard[1].out, data, sizeof(data));
	init_exec_hear(1, PROTOCOL_EXEC_INPUT, "", 0);
	expect_end(1, PROTOCOL_END_EXITED, 0);
	assert_int_equal(heard[1].taken, used + HEADER_BYTES);
}

static void test_unread(void **state)
{
	const struct protocol_stream stdout_stream = { .stream = 1 };

	(void)state;
	start(1, false, "", "exec yes");
	for (unsigned int i = 0; i < 30; i++)
		turn();
	assert_true(heard[1].used <= PROTOCOL_OUTPUT_WINDOW && heard[1].used > PROTOCOL_OUTPUT_WINDOW - 100);
	/* Another is not held up, and one that nobody reads at all ends as in a pipe. */
	start(2, false, "", "echo 2");
	expect_end(2, PROTOCOL_END_EXITED, 0);
	say_count(1, PROTOCOL_EXEC_READ, heard[1].used);
	init_exec_hear(1, PROTOCOL_EXEC_UNREAD, (const char *)&stdout_stream, sizeof(stdout_stream));
	expect_end(1, PROTOCOL_END_SIGNALED, SIGPIPE);
}

static void test_hangup(void **state)
{
	char name[] = "/tmp/lkvm-hup-XXXXXX", script[256];
	struct stat st = { 0 };

	(void)state;
	close(mkstemp(name));
	snprintf(script, sizeof(script), "exec 2>/dev/null; trap 'echo x >%s; exit' HUP; echo up; while :; do sleep 0.01; done", name);
	start(1, false, "", script);
	wait_for_output(1, "up\n");
	init_exec_hear(1, PROTOCOL_EXEC_HANGUP, "", 0);
	expect_end(1, PROTOCOL_END_SIGNALED, SIGHUP);
	for (unsigned int i = 0; i < 3000 && !st.st_size; i++) {
		turn();
		stat(name, &st);
	}
	assert_int_equal(st.st_size, 2);
	unlink(name);
	/* Before the plan is complete it is the end as well. */
	init_exec_hear(2, PROTOCOL_EXEC_PLAN, "x", 1);
	init_exec_hear(2, PROTOCOL_EXEC_HANGUP, "", 0);
	expect_end(2, PROTOCOL_END_SIGNALED, SIGHUP);
}

/* Each that comes is answered by one end, said before or then: lkvm may count on that. */
static void test_hangup_is_answered(void **state)
{
	(void)state;
	init_exec_hear(9, PROTOCOL_EXEC_HANGUP, "", 0);
	expect_end(9, PROTOCOL_END_SIGNALED, SIGHUP);
	init_exec_hear(10, PROTOCOL_EXEC_GO, "", 0);
	init_exec_hear(10, PROTOCOL_EXEC_INPUT, "x", 1);
	init_exec_hear(10, PROTOCOL_EXEC_HANGUP, "", 0);
	expect_end(10, PROTOCOL_END_SIGNALED, SIGHUP);
	start(1, false, "", "exit 3");
	expect_end(1, PROTOCOL_END_EXITED, 3);
	init_exec_hear(1, PROTOCOL_EXEC_HANGUP, "", 0);
	turn(); /* would hear a second */
	heard[1].over = false;
	init_exec_hear(1, PROTOCOL_EXEC_HANGUP, "", 0);
	expect_end(1, PROTOCOL_END_SIGNALED, SIGHUP);
	/* The number is as good as new. */
	heard[1].over = false;
	start(1, false, "", "exit 4");
	expect_end(1, PROTOCOL_END_EXITED, 4);
}

/* What comes late of a plan that was too long is no beginning of the next one. */
static void test_late_parts(void **state)
{
	static char data[PROTOCOL_MAX_FRAME_BYTES];

	(void)state;
	for (unsigned int i = 0; i < 1000 && !heard[1].over; i++) {
		init_exec_hear(1, PROTOCOL_EXEC_PLAN, data, sizeof(data));
		if (i % 50 == 49)
			turn();
	}
	expect_end(1, PROTOCOL_END_NOT_STARTED, E2BIG);
	init_exec_hear(1, PROTOCOL_EXEC_PLAN, data, 100);
	init_exec_hear(1, PROTOCOL_EXEC_HANGUP, "", 0);
	turn();
	heard[1].over = false;
	start(1, false, "", "exit 4");
	expect_end(1, PROTOCOL_END_EXITED, 4);
	/* Of one that did not start, too. */
	init_exec_hear(2, PROTOCOL_EXEC_PLAN, "x", 1);
	init_exec_hear(2, PROTOCOL_EXEC_GO, "", 0);
	expect_end(2, PROTOCOL_END_NOT_STARTED, EINVAL);
	init_exec_hear(2, PROTOCOL_EXEC_PLAN, data, 100);
	init_exec_hear(2, PROTOCOL_EXEC_GO, "", 0);
	turn();
	init_exec_hear(2, PROTOCOL_EXEC_HANGUP, "", 0);
	heard[2].over = false;
	start(2, false, "", "exit 5");
	expect_end(2, PROTOCOL_END_EXITED, 5);
}

static void test_signal(void **state)
{
	const struct protocol_signal s = { .number = SIGTERM };

	(void)state;
	start(1, false, "", "trap 'exit 9' TERM; echo up; while :; do sleep 0.01; done");
	wait_for_output(1, "up\n");
	init_exec_hear(1, PROTOCOL_EXEC_SIGNAL, (const char *)&s, sizeof(s));
	expect_end(1, PROTOCOL_END_EXITED, 9);
}

static void test_terminal(void **state)
{
	const struct protocol_size size = { .columns = 120, .rows = 50 };

	(void)state;
	start(1, true, "", "stty -echo; stty size; read x; stty size; read y; exit 3");
	wait_for_output(1, "40 100\r\n");
	init_exec_hear(1, PROTOCOL_EXEC_SIZE, (const char *)&size, sizeof(size));
	init_exec_hear(1, PROTOCOL_EXEC_INPUT, "\n", 1);
	wait_for_output(1, "40 100\r\n50 120\r\n");
	init_exec_hear(1, PROTOCOL_EXEC_INPUT, "", 0);
	expect_end(1, PROTOCOL_END_EXITED, 3);
	assert_int_equal(heard[1].taken, 2 * HEADER_BYTES + 1);
	/* Ctrl-C is the terminal's business. */
	start(2, true, "", "echo up; exec sleep 1000");
	wait_for_output(2, "up\r\n");
	init_exec_hear(2, PROTOCOL_EXEC_INPUT, "\003", 1);
	expect_end(2, PROTOCOL_END_SIGNALED, SIGINT);
}

/* The first command. Its end is noted here: all that init does at it is not for this machine. */
static void run_first(bool terminal, const char *script, const char *out, const char *err)
{
	static char shell[] = "sh", option[] = "-c";
	char *arguments[] = { shell, option, strdup(script), NULL }, got[256] = "";
	int status, no_signals[2];

	for (int i = 0; i < 3; i++)
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, port_ends[i]), 0);
	assert_int_equal(pipe(no_signals), 0);
	init.signals = no_signals[0];
	init.plan = (struct init_plan){
		.arguments = arguments,
		.nr_arguments = 3,
		.has_terminal = terminal,
		.size = { 90, 30 },
	};
	init.terminal = init.slave = -1;
	init.exited = false;
	init_start_command();
	assert_int_equal(send(port_ends[0][1], "in\n", 3, 0), 3);
	for (unsigned int i = 0; i < 1000 && (!init.exited || !output_has_ended()); i++) {
		init_turn(20);
		if (!init.exited && waitpid(init.command, &status, WNOHANG) > 0)
			note_end(PROTOCOL_END_EXITED, (uint32_t)WEXITSTATUS(status));
	}
	assert_true(init.exited && output_has_ended());
	assert_int_equal(init.end.value, 5);
	assert_int_equal(recv(port_ends[1][1], got, sizeof(got) - 1, 0), strlen(out));
	assert_string_equal(got, out);
	if (*err)
		assert_int_equal(recv(port_ends[2][1], got, sizeof(got) - 1, 0), strlen(err));
	close(no_signals[0]);
	close(no_signals[1]);
	for (int i = 0; i < 3; i++)
		close(port_ends[i][1]);
	free(arguments[2]);
	for (size_t i = 0; i < init.plan.nr_environment; i++)
		free(init.plan.environment[i]);
	free(init.plan.environment);
	init.plan = (struct init_plan){ 0 };
}

static void test_first_command(void **state)
{
	(void)state;
	run_first(false, "read x; echo $x; echo err >&2; exit 5", "in\n", "err\n");
}

static void test_first_terminal(void **state)
{
	(void)state;
	run_first(true, "read x; stty size; exit 5", "in\r\n30 90\r\n", "");
}

/* What is left behind in the background keeps nobody waiting. */
static void test_left_behind(void **state)
{
	(void)state;
	start(1, false, "", "sleep 3 & echo done");
	expect_end(1, PROTOCOL_END_EXITED, 0);
	wait_for_output(1, "done\n");
}

static void test_rubbish(void **state)
{
	static const struct protocol_exec many = { .nr_arguments = UINT32_MAX };
	static char data[PROTOCOL_MAX_FRAME_BYTES];
	char plan[sizeof(many) + 2] = "";
	unsigned int session = 3;

	(void)state;
	/* More arguments than there are, and a plan that is none. */
	memcpy(plan, &many, sizeof(many));
	init_exec_hear(session, PROTOCOL_EXEC_PLAN, plan, sizeof(plan));
	init_exec_hear(session, PROTOCOL_EXEC_GO, "", 0);
	expect_end(session++, PROTOCOL_END_EXITED, 125);
	init_exec_hear(session, PROTOCOL_EXEC_PLAN, "x", 1);
	init_exec_hear(session, PROTOCOL_EXEC_GO, "", 0);
	expect_end(session++, PROTOCOL_END_NOT_STARTED, EINVAL);
	for (unsigned int i = 0; i < 1000 && !heard[session].over; i++) {
		init_exec_hear(session, PROTOCOL_EXEC_PLAN, data, sizeof(data));
		if (i % 50 == 49)
			turn();
	}
	expect_end(session++, PROTOCOL_END_NOT_STARTED, E2BIG);
	/* More than the window, and what is no message. */
	start(session, false, "", "sleep 1000");
	for (unsigned int i = 0; i < 30; i++)
		init_exec_hear(session, PROTOCOL_EXEC_INPUT, data, sizeof(data));
	expect_end(session++, PROTOCOL_END_SIGNALED, SIGHUP);
	start(session, false, "", "sleep 1000");
	init_exec_hear(session, 0x7777, "", 0);
	expect_end(session++, PROTOCOL_END_SIGNALED, SIGHUP);
	/* Of none. */
	init_exec_hear(session, PROTOCOL_EXEC_GO, "", 0);
	init_exec_hear(session, PROTOCOL_EXEC_INPUT, data, 1);
	init_exec_hear(PROTOCOL_MAX_SESSIONS + 1, PROTOCOL_EXEC_PLAN, data, 1);
	init_exec_hear(0xffff, PROTOCOL_EXEC_HANGUP, "", 0);
	turn();
	assert_false(heard[session].over);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_status_and_streams, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_started, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_seed_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_credentials, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_container, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_container_freeze, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_container_volumes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_container_hangup, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_container_without_a_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_container_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad_containers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_through, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unread, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hangup, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hangup_is_answered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_late_parts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_signal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_terminal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_first_command, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_first_terminal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_left_behind, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rubbish, set_up, tear_down),
	};

	signal(SIGPIPE, SIG_DFL); /* as it is for a first process */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
