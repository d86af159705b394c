// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands beside the first one, between clients and a guest, both played here: as they should be, slow,
 * gone, and hostile.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <sys/socket.h>

#include "control/exec.h"
#include "control/frames.h"
#include "event.h"
#include "guest/command.h"
#include "io.h"
#include "term.h"
#include "util.h"
#include "virtio/port.h"

#define TURN_NS 2000000ull

static struct event_loop *loop;
static struct command_config config;
static struct term *io, *err;
static struct command *command;
static struct port *ports[COMMAND_MAX_PORTS];
static struct exec *exec;
static int timer;

static void on_tick(void *arg, uint32_t events)
{
	(void)events;
	event_stop(arg);
}

static void turn(void)
{
	event_timer_set(loop, timer, TURN_NS, 0);
	assert_int_equal(event_run(loop), 0);
	event_restart(loop);
}

/* ---- the guest ---- */

static void guest_says(uint32_t kind, const void *payload, uint32_t bytes)
{
	const struct protocol_header h = { kind, bytes };
	const struct iovec iov[] = {
		{ (void *)(uintptr_t)&h, sizeof(h) },
		{ (void *)(uintptr_t)payload, bytes },
	};

	assert_int_equal(port_write(ports[0], iov, 2, true), sizeof(h) + bytes);
}

/* The next message of a session's: its number and kind; 0: there is none. */
static unsigned int guest_hears(uint32_t *kind, uint8_t *payload, uint32_t *bytes)
{
	struct protocol_header h;
	struct iovec iov = { &h, sizeof(h) };

	if (port_read(ports[0], &iov, 1) != (ssize_t)sizeof(h))
		return 0;
	iov = (struct iovec){ payload, h.bytes };
	if (h.bytes)
		assert_int_equal(port_read(ports[0], &iov, 1), h.bytes);
	*kind = PROTOCOL_KIND(h.kind);
	*bytes = h.bytes;
	return PROTOCOL_SESSION(h.kind);
}

static void expect_message(unsigned int session, uint32_t kind, const char *payload)
{
	static uint8_t data[PROTOCOL_MAX_FRAME_BYTES];
	uint32_t got = 0, bytes = 0;

	for (unsigned int i = 0; i < 5; i++) {
		unsigned int number = guest_hears(&got, data, &bytes);

		if (!number) {
			turn();
			continue;
		}
		assert_int_equal(number, session);
		assert_int_equal(got, kind);
		assert_int_equal(bytes, strlen(payload));
		assert_memory_equal(data, payload, bytes);
		return;
	}
	fail_msg("session %u was not told %u", session, kind);
}

static void expect_silence(void)
{
	static uint8_t data[PROTOCOL_MAX_FRAME_BYTES];
	uint32_t kind, bytes;

	turn();
	assert_int_equal(guest_hears(&kind, data, &bytes), 0);
}

static void says_of(unsigned int session, uint32_t kind, const void *payload, uint32_t bytes)
{
	guest_says(PROTOCOL_OF_SESSION(session, kind), payload, bytes);
}

static void exits(unsigned int session)
{
	const struct protocol_exited e = { PROTOCOL_END_EXITED, 3 };

	says_of(session, PROTOCOL_EXEC_EXITED, &e, sizeof(e));
}

/* ---- clients ---- */

static int attach(void)
{
	int pair[2];

	assert_null(exec_obstacle(exec));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	exec_add(exec, pair[0]);
	return pair[1];
}

static void say(int fd, uint32_t kind, const char *payload)
{
	const struct protocol_header h = { kind, (uint32_t)strlen(payload) };

	assert_int_equal(socket_send(fd, &h, sizeof(h)), sizeof(h));
	if (h.bytes)
		assert_int_equal(socket_send(fd, payload, h.bytes), h.bytes);
}

/* The next frame's kind; 0: none; -1: the end. */
static int64_t hear(int fd)
{
	static struct frame_reader r;
	int rc;

	r.bytes = 0;
	turn();
	rc = frame_recv(&r, fd);
	return rc > 0 ? (int64_t)frame_header(&r).kind :
	       rc < 0 ? -1 :
			0;
}

/* ---- life ---- */

static void create(bool started)
{
	static char name[] = "true", *const arguments[] = { name };
	const struct protocol_ready ready = { PROTOCOL_VERSION };
	uint8_t data[4096];
	uint32_t kind, bytes;

	config = (struct command_config){
		.arguments = arguments,
		.nr_arguments = 1,
		.nr_mounts = 1,
		.mounts = { { .path = "/" } },
	};
	assert_int_equal(event_loop_create(&loop), 0);
	assert_int_equal(term_create(&io, loop, &(struct term_config){ .in_fd = -1, .out_fd = -1 }), 0);
	assert_int_equal(term_create(&err, loop, &(struct term_config){ .in_fd = -1, .out_fd = -1 }), 0);
	assert_int_equal(command_create(&command, loop, &config, io, err), 0);
	command_ports(command, ports);
	assert_int_equal(exec_create(&exec, loop, command), 0);
	assert_int_equal(command_start(command, &(struct command_client){ 0 }, 0), 0);
	timer = event_timer_create(loop, on_tick, loop);
	event_keep(loop, timer);
	assert_non_null(exec_obstacle(exec));
	guest_says(PROTOCOL_READY, &ready, sizeof(ready));
	do
		guest_hears(&kind, data, &bytes);
	while (kind != PROTOCOL_GO);
	assert_non_null(exec_obstacle(exec));
	if (started)
		guest_says(PROTOCOL_STARTED, NULL, 0);
}

static void destroy(void)
{
	exec_destroy(exec);
	command_destroy(command);
	term_destroy(io);
	term_destroy(err);
	event_loop_destroy(loop);
}

static void test_one(void **state)
{
	int a;

	(void)state;
	assert_non_null(exec_obstacle(NULL));
	create(true);
	a = attach();
	say(a, PROTOCOL_EXEC_PLAN, "plan");
	say(a, PROTOCOL_EXEC_GO, "");
	expect_message(1, PROTOCOL_EXEC_PLAN, "plan");
	expect_message(1, PROTOCOL_EXEC_GO, "");
	says_of(1, PROTOCOL_EXEC_STDOUT, "out", 3);
	says_of(1, PROTOCOL_EXEC_STDERR, "err", 3);
	exits(1);
	assert_int_equal(hear(a), PROTOCOL_EXEC_STDOUT);
	assert_int_equal(hear(a), PROTOCOL_EXEC_STDERR);
	assert_int_equal(hear(a), PROTOCOL_EXEC_EXITED);
	assert_int_equal(hear(a), -1);
	expect_message(1, PROTOCOL_EXEC_HANGUP, "");
	expect_silence();
	close(a);
	destroy();
}

/* What of a client is still on its way when the guest says that it is over is not the next one's. */
static void test_late_parts(void **state)
{
	int a, b;

	(void)state;
	create(true);
	a = attach();
	say(a, PROTOCOL_EXEC_PLAN, "a");
	say(a, PROTOCOL_EXEC_PLAN, "late");
	expect_message(1, PROTOCOL_EXEC_PLAN, "a");
	expect_message(1, PROTOCOL_EXEC_PLAN, "late");
	exits(1);
	assert_int_equal(hear(a), PROTOCOL_EXEC_EXITED);
	assert_int_equal(hear(a), -1);
	b = attach();
	say(b, PROTOCOL_EXEC_PLAN, "b");
	turn();
	/* Its number waits until the guest has been told where what the first one says ends. */
	exits(1);
	says_of(1, PROTOCOL_EXEC_STDOUT, "x", 1);
	assert_int_equal(hear(b), 0);
	for (unsigned int i = 0; i < 2; i++) {
		uint8_t data[8];
		uint32_t kind = 0, bytes;
		unsigned int session = guest_hears(&kind, data, &bytes);

		assert_true((session == 1 && kind == PROTOCOL_EXEC_HANGUP) ||
			    (session == 2 && kind == PROTOCOL_EXEC_PLAN));
		turn();
	}
	expect_silence();
	close(a);
	a = attach();
	say(a, PROTOCOL_EXEC_PLAN, "c");
	expect_message(1, PROTOCOL_EXEC_PLAN, "c");
	close(a);
	close(b);
	destroy();
}

/* The guest's end and the client's meet on their way: there is one of each, in whatever order. */
static void test_ends_meet(void **state)
{
	int a;

	(void)state;
	create(true);
	a = attach();
	say(a, PROTOCOL_EXEC_PLAN, "a");
	expect_message(1, PROTOCOL_EXEC_PLAN, "a");
	close(a);
	turn();
	exits(1);
	expect_message(1, PROTOCOL_EXEC_HANGUP, "");
	expect_silence();
	a = attach();
	say(a, PROTOCOL_EXEC_PLAN, "b");
	expect_message(1, PROTOCOL_EXEC_PLAN, "b");
	close(a);
	expect_message(1, PROTOCOL_EXEC_HANGUP, "");
	exits(1);
	expect_silence();
	destroy();
}

/* Whoever does not begin with a plan has not begun: no number is lost by that. */
static void test_no_plan(void **state)
{
	static const uint32_t first[] = {
		PROTOCOL_EXEC_GO, PROTOCOL_EXEC_INPUT, PROTOCOL_EXEC_READ, PROTOCOL_EXEC_SIGNAL,
		PROTOCOL_EXEC_SIZE, PROTOCOL_EXEC_UNREAD
	};
	int a;

	(void)state;
	create(true);
	for (unsigned int i = 0; i < 2 * PROTOCOL_MAX_SESSIONS; i++) {
		a = attach();
		say(a, first[i % ARRAY_SIZE(first)], "");
		assert_int_equal(hear(a), -1);
		close(a);
	}
	expect_silence();
	assert_null(exec_obstacle(exec));
	destroy();
}

static void test_gone(void **state)
{
	int a, b;

	(void)state;
	create(true);
	/* One that has said nothing is nobody's business. */
	close(attach());
	expect_silence();
	a = attach();
	say(a, PROTOCOL_EXEC_PLAN, "x");
	expect_message(1, PROTOCOL_EXEC_PLAN, "x");
	close(a);
	expect_message(1, PROTOCOL_EXEC_HANGUP, "");
	/* Its number is not another's before the guest knows. */
	b = attach();
	say(b, PROTOCOL_EXEC_PLAN, "y");
	expect_message(2, PROTOCOL_EXEC_PLAN, "y");
	says_of(1, PROTOCOL_EXEC_STDOUT, "late", 4);
	exits(1);
	a = attach();
	assert_int_equal(hear(a), 0);
	say(a, PROTOCOL_EXEC_PLAN, "z");
	expect_message(1, PROTOCOL_EXEC_PLAN, "z");
	assert_int_equal(hear(b), 0);
	close(a);
	close(b);
	destroy();
}

/* A guest that says more than there is room for loses that client, and no other. */
static void test_too_much(void **state)
{
	static uint8_t data[PROTOCOL_MAX_FRAME_BYTES];
	int a, b, kind;

	(void)state;
	create(true);
	a = attach();
	b = attach();
	say(a, PROTOCOL_EXEC_PLAN, "x");
	expect_message(1, PROTOCOL_EXEC_PLAN, "x");
	say(b, PROTOCOL_EXEC_PLAN, "x");
	expect_message(2, PROTOCOL_EXEC_PLAN, "x");
	for (unsigned int i = 0; i < 1000; i++)
		says_of(1, PROTOCOL_EXEC_STDOUT, data, sizeof(data));
	says_of(2, PROTOCOL_EXEC_STDOUT, "b", 1);
	assert_int_equal(hear(b), PROTOCOL_EXEC_STDOUT);
	while ((kind = (int)hear(a)) == PROTOCOL_EXEC_STDOUT)
		;
	assert_int_equal(kind, -1);
	expect_message(1, PROTOCOL_EXEC_HANGUP, "");
	close(a);
	close(b);
	destroy();
}

static void test_rubbish(void **state)
{
	static const struct protocol_header bad[] = {
		{ PROTOCOL_EXEC_GO, PROTOCOL_MAX_FRAME_BYTES + 1 },
		{ PROTOCOL_EXEC_INPUT, UINT32_MAX },
		{ 0, 0 },
		{ PROTOCOL_EXEC_HANGUP, 0 },
		{ PROTOCOL_OF_SESSION(2, PROTOCOL_EXEC_GO), 0 },
		{ PROTOCOL_EXEC_EXITED, 0 },
		{ PROTOCOL_GO, 0 },
	};
	int a;

	(void)state;
	create(true);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		a = attach();
		assert_int_equal(socket_send(a, &bad[i], sizeof(bad[i])), sizeof(bad[i]));
		assert_int_equal(hear(a), -1);
		close(a);
	}
	expect_silence();
	/* The guest's: of nobody, and what is no such message. */
	says_of(1, PROTOCOL_EXEC_STDOUT, "x", 1);
	says_of(33, PROTOCOL_EXEC_STDOUT, "x", 1);
	says_of(0xffff, PROTOCOL_EXEC_EXITED, "x", 1);
	a = attach();
	say(a, PROTOCOL_EXEC_PLAN, "x");
	expect_message(1, PROTOCOL_EXEC_PLAN, "x");
	says_of(1, PROTOCOL_EXEC_GO, NULL, 0);
	assert_int_equal(hear(a), -1);
	expect_message(1, PROTOCOL_EXEC_HANGUP, "");
	assert_int_equal(command_result(command).end, COMMAND_UNKNOWN);
	close(a);
	destroy();
}

static void test_bound(void **state)
{
	int all[PROTOCOL_MAX_SESSIONS];
	unsigned int heard[PROTOCOL_MAX_SESSIONS + 1] = { 0 };
	uint8_t data[16];
	uint32_t kind, bytes;

	(void)state;
	create(true);
	for (unsigned int i = 0; i < PROTOCOL_MAX_SESSIONS; i++) {
		all[i] = attach();
		for (unsigned int k = 0; k < 10; k++)
			say(all[i], PROTOCOL_EXEC_PLAN, "x");
	}
	assert_non_null(exec_obstacle(exec));
	turn();
	/* Each has its turn. */
	for (unsigned int i = 0; i < 5 * PROTOCOL_MAX_SESSIONS; i++) {
		unsigned int session = guest_hears(&kind, data, &bytes);

		if (session)
			heard[session]++;
		else
			turn();
	}
	for (unsigned int i = 1; i <= PROTOCOL_MAX_SESSIONS; i++)
		assert_true(heard[i] >= 2 && heard[i] <= 5);
	exits(7);
	close(all[6]);
	assert_non_null(exec_obstacle(exec));
	do
		guest_hears(&kind, data, &bytes);
	while (kind != PROTOCOL_EXEC_HANGUP);
	assert_null(exec_obstacle(exec));
	for (unsigned int i = 0; i < PROTOCOL_MAX_SESSIONS; i++)
		if (i != 6)
			close(all[i]);
	destroy();
}

/* Of a command that is not there a guest says nothing. */
static void test_too_early(void **state)
{
	(void)state;
	create(false);
	exits(1);
	assert_int_equal(command_result(command).end, COMMAND_FAILED);
	assert_non_null(exec_obstacle(exec));
	destroy();
}

/* ---- containers: two disks ---- */

static struct {
	int socket; /* of who serves it; -1: nothing */
	bool lent;
} disks[2];

static int lend(void *arg, int socket)
{
	for (int i = 0; i < 2; i++) {
		if (disks[i].lent)
			continue;
		assert_int_equal(disks[i].socket, -1);
		disks[i].socket = socket;
		disks[i].lent = true;
		return i;
	}
	assert_ptr_equal(arg, disks);
	return -EBUSY;
}

static const char *serial(void *arg, unsigned int disk)
{
	assert_ptr_equal(arg, disks);
	return disk ? "d1" : "d0";
}

static void take_back(void *arg, unsigned int disk)
{
	assert_ptr_equal(arg, disks);
	assert_int_not_equal(disks[disk].socket, -1);
	close(disks[disk].socket);
	disks[disk].socket = -1;
}

static void release(void *arg, unsigned int disk)
{
	assert_ptr_equal(arg, disks);
	assert_int_equal(disks[disk].socket, -1);
	disks[disk].lent = false;
}

static void create_with_disks(void)
{
	create(true);
	for (int i = 0; i < 2; i++)
		disks[i].socket = -1;
	disks[0].lent = disks[1].lent = false;
	exec_set_disks(exec, &(struct exec_disks){ lend, serial, take_back, release, disks });
}

/* A client, and in *files the other end of what it has given. */
static int join(int *files)
{
	int pair[2], served[2];

	assert_null(exec_obstacle(exec));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, served), 0);
	exec_join(exec, pair[0], served[0]);
	*files = served[1];
	return pair[1];
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void expect_disk(unsigned int session, const char *name)
{
	struct protocol_disk disk = { 0 };
	uint8_t data[PROTOCOL_MAX_FRAME_BYTES];
	uint32_t kind = 0, bytes = 0;

	strcpy(disk.serial, name);
	for (unsigned int i = 0; i < 5 && !guest_hears(&kind, data, &bytes); i++)
		turn();
	(void)session;
	assert_int_equal(kind, PROTOCOL_EXEC_DISK);
	assert_int_equal(bytes, sizeof(disk));
	assert_memory_equal(data, &disk, bytes);
}

/* Its disk is what its client serves until its end, and another's when the guest has said so. */
static void test_join(void **state)
{
	int a, b, c, files[3];

	(void)state;
	create_with_disks();
	a = join(&files[0]);
	assert_int_equal(hear(a), PROTOCOL_EXEC_JOINED);
	say(a, PROTOCOL_EXEC_IN, "in");
	say(a, PROTOCOL_EXEC_MORE, "more");
	say(a, PROTOCOL_EXEC_PLAN, "plan");
	say(a, PROTOCOL_EXEC_GO, "");
	expect_disk(1, "d0");
	expect_message(1, PROTOCOL_EXEC_IN, "in");
	expect_message(1, PROTOCOL_EXEC_MORE, "more");
	expect_message(1, PROTOCOL_EXEC_PLAN, "plan");
	expect_message(1, PROTOCOL_EXEC_GO, "");
	b = join(&files[1]);
	assert_int_equal(hear(b), PROTOCOL_EXEC_JOINED);
	expect_disk(2, "d1");
	c = join(&files[2]); /* too many */
	assert_int_equal(hear(c), PROTOCOL_EXEC_EXITED);
	assert_int_equal(hear(c), -1);
	assert_true(is_closed(files[2]));
	close(c);
	assert_false(is_closed(files[0]));
	says_of(1, PROTOCOL_EXEC_RELEASED, NULL, 0);
	exits(1);
	assert_true(is_closed(files[0])); /* before its client knows */
	assert_int_equal(hear(a), PROTOCOL_EXEC_EXITED);
	expect_message(1, PROTOCOL_EXEC_HANGUP, "");
	assert_false(disks[0].lent);
	close(a);
	a = join(&files[0]);
	assert_int_equal(hear(a), PROTOCOL_EXEC_JOINED);
	expect_disk(1, "d0");
	close(a);
	close(b);
	destroy();
}

/* The client has gone: so has what it served. Who comes waits until the guest has let go of it, or has not. */
static void test_join_waits(void **state)
{
	int a, b, c, d, files[4];

	(void)state;
	create_with_disks();
	a = join(&files[0]);
	b = join(&files[1]);
	expect_disk(1, "d0");
	expect_disk(2, "d1");
	close(a);
	turn();
	assert_true(is_closed(files[0]) && disks[0].lent);
	c = join(&files[2]);
	say(c, PROTOCOL_EXEC_PLAN, "early");
	assert_int_equal(hear(c), 0);
	expect_message(1, PROTOCOL_EXEC_HANGUP, "");
	expect_silence();
	says_of(1, PROTOCOL_EXEC_RELEASED, NULL, 0);
	exits(1);
	assert_int_equal(hear(c), PROTOCOL_EXEC_JOINED);
	expect_disk(3, "d0");
	expect_message(3, PROTOCOL_EXEC_PLAN, "early");
	/* One that the guest keeps is nobody's any more. */
	close(c);
	turn();
	expect_message(3, PROTOCOL_EXEC_HANGUP, "");
	d = join(&files[3]);
	exits(3);
	assert_int_equal(hear(d), PROTOCOL_EXEC_EXITED);
	assert_true(disks[0].lent);
	close(d);
	close(b);
	destroy();
}

/* One that has gone before the guest has heard of it leaves its disk at once; so does one that waits. */
static void test_join_gone(void **state)
{
	int a, b, c, files[3];

	(void)state;
	create_with_disks();
	a = join(&files[0]);
	close(a);
	turn();
	assert_false(disks[0].lent);
	expect_silence();
	a = join(&files[0]);
	b = join(&files[1]);
	expect_disk(1, "d0");
	expect_disk(2, "d1");
	close(a);
	turn();
	c = join(&files[2]);
	close(c);
	turn();
	assert_true(is_closed(files[2]));
	close(b);
	destroy();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_late_parts),
		cmocka_unit_test(test_ends_meet),
		cmocka_unit_test(test_no_plan),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_too_much),
		cmocka_unit_test(test_rubbish),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_too_early),
		cmocka_unit_test(test_join),
		cmocka_unit_test(test_join_waits),
		cmocka_unit_test(test_join_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
