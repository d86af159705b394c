// SPDX-License-Identifier: GPL-2.0-only
/*
 * Output to readers who are slow, stop, go, or were never there: nobody waits for them.
 * Starts threads.
 */
#include "tests/lib/unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "event.h"
#include "log.h"
#include "output.h"
#include "sink.h"
#include "util.h"

static uint8_t much[2 << 20];

static void on_tick(void *arg, uint32_t events)
{
	(void)events;
	event_stop(arg);
}

/* @loop goes on afterwards. */
static void run_for_ms(struct event_loop *loop, unsigned int ms)
{
	int timer = event_timer_create(loop, on_tick, loop);

	event_keep(loop, timer);
	event_timer_set(loop, timer, ms * 1000000ull, 0);
	assert_int_equal(event_run(loop), 0);
	event_remove(loop, timer);
	event_restart(loop);
}

/* ---- output ---- */

enum pair_kind {
	A_PIPE,
	A_TERMINAL,
	A_SOCKET,
	NR_PAIRS,
};

/* fd[0] is the reader's. */
static void open_pair(enum pair_kind kind, int fd[2])
{
	if (kind == A_PIPE)
		assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	else if (kind == A_TERMINAL)
		assert_int_equal(openpty(&fd[0], &fd[1], NULL, NULL, NULL), 0);
	else
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
}

/* Writes until nothing more is taken; returns how much was. A write that blocks is an alarm. */
static size_t fill(const struct output *o)
{
	size_t total = 0;
	ssize_t n;

	while ((n = output_write(o, much, sizeof(much))) > 0)
		total += (size_t)n;
	assert_int_equal(errno, EAGAIN);
	return total;
}

/* With a description of our own and, as where /proc cannot be used, with the shared one. */
static void no_kind_of_reader_blocks_a_write(void **state)
{
	static char buf[65536];

	(void)state;
	for (int kind = 0; kind < NR_PAIRS; kind++) {
		for (int reopened = 0; reopened < 2; reopened++) {
			struct output o;
			int fd[2];

			open_pair((enum pair_kind)kind, fd);
			output_init(&o, fd[1]);
			if (reopened)
				output_reopen(&o);
			assert_int_equal(o.is_ours, reopened && kind != A_SOCKET);
			alarm(20);
			assert_true(fill(&o) >= 4096);
			/* A terminal's driver moves what it has got to its reader in its own time. */
			while (output_write_all(&o, "x", 1, 50) != -ETIMEDOUT)
				fill(&o);
			/* It is taken as soon as the reader reads; what is read may have to be much. */
			for (int i = 0; i < 16 && output_write(&o, "x", 1) < 0; i++)
				assert_true(read(fd[0], buf, sizeof(buf)) > 0);
			assert_true(fill(&o) > 0);
			alarm(0);
			assert_int_equal(fcntl(fd[1], F_GETFL) & O_NONBLOCK, 0);
			output_fini(&o);
			close(fd[0]);
			close(fd[1]);
		}
	}
}

static void a_file_gets_all(void **state)
{
	struct output o;
	int fd = memfd_create("file", MFD_CLOEXEC);
	struct stat st;

	(void)state;
	output_init(&o, fd);
	output_reopen(&o);
	for (int i = 0; i < 4; i++)
		assert_int_equal(output_write_all(&o, much, sizeof(much), 0), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 4 * sizeof(much));
	output_fini(&o);
	close(fd);
}

static void a_fifo_needs_no_reader_yet(void **state)
{
	char folder[] = "/tmp/lkvm-sink-XXXXXX", path[64], got[8] = "";
	struct output o;
	int reader, fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/fifo", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	alarm(20);
	fd = output_open(path, O_TRUNC);
	assert_true(fd >= 0);
	output_init_own(&o, fd);
	assert_int_equal(output_write_all(&o, "one", 3, 20), 0);
	reader = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(reader, got, sizeof(got)), 3);
	assert_string_equal(got, "one");
	assert_true(fill(&o) >= 4096);
	close(fd);
	/* One that somebody reads is an ordinary pipe. */
	fd = output_open(path, O_TRUNC);
	assert_true(fd >= 0);
	output_init_own(&o, fd);
	close(reader);
	assert_int_equal(output_write_all(&o, "two", 3, 20), -EPIPE);
	alarm(0);
	close(fd);
	unlink(path);
	rmdir(folder);
}

/* ---- sinks ---- */

static unsigned int told;

static void on_room(void *arg)
{
	(void)arg;
	told++;
}

/* A guest is held back while the ring is full; one that cannot wait, for a second. */
static void a_reader_that_stops_holds_for_a_second(void **state)
{
	struct event_loop *loop;
	struct sink *s;
	int fd[2];

	(void)state;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(event_loop_create(&loop), 0);
	assert_int_equal(sink_create(&s, loop, &(struct sink_config){ .fd = fd[1] }), 0);
	sink_set_listener(s, on_room, NULL);
	alarm(20);
	for (unsigned int i = 0; i < 3; i++) {
		sink_put(s, much, SINK_RING_BYTES);
		run_for_ms(loop, 10);
	}
	assert_int_equal(sink_room(s, 100, true), 0);
	assert_int_equal(sink_room(s, 100, false), 0);
	assert_false(sink_has_stopped(s));
	told = 0;
	run_for_ms(loop, 1200);
	assert_int_equal(told, 1);
	assert_true(sink_has_stopped(s));
	assert_int_equal(sink_room(s, 100, true), 0);
	assert_int_equal(sink_room(s, 100, false), 100);
	/* Until it takes something. */
	assert_true(read(fd[0], much, 65536) > 0);
	run_for_ms(loop, 10);
	assert_false(sink_has_stopped(s));
	assert_int_equal(sink_room(s, 100, true), 100);
	sink_finish(s, now_ns());
	alarm(0);
	assert_int_equal(sink_dropped(s), 3 * SINK_RING_BYTES - 2 * 65536);
	sink_destroy(s);
	event_loop_destroy(loop);
	close(fd[0]);
	close(fd[1]);
}

/* Output that comes after a long silence has not been waiting all that time. */
static void a_burst_is_not_mistaken_for_a_stop(void **state)
{
	struct event_loop *loop;
	struct sink *s;
	int fd[2];

	(void)state;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(event_loop_create(&loop), 0);
	assert_int_equal(sink_create(&s, loop, &(struct sink_config){ .fd = fd[1] }), 0);
	usleep(1100000);
	sink_put(s, much, SINK_RING_BYTES);
	assert_int_equal(sink_room(s, 1, false), 0);
	sink_destroy(s);
	event_loop_destroy(loop);
	close(fd[0]);
	close(fd[1]);
}

/* ---- messages ---- */

static int stderr_to(int fd)
{
	int saved = dup(STDERR_FILENO);

	dup2(fd, STDERR_FILENO);
	return saved;
}

static void stderr_back(int saved)
{
	dup2(saved, STDERR_FILENO);
	close(saved);
}

static size_t read_all(int fd, char *out, size_t max)
{
	size_t total = 0;
	ssize_t n;

	while (total < max && (n = read(fd, out + total, max - total)) > 0)
		total += (size_t)n;
	return total;
}

/* Before there is a loop a reader is waited for once. */
static void early_messages_wait_for_a_second(void **state)
{
	uint64_t start = now_ns();
	char got[256] = "";
	struct output o;
	int fd[2], saved;

	(void)state;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	output_init(&o, fd[1]);
	fill(&o);
	saved = stderr_to(fd[1]);
	alarm(20);
	for (int i = 0; i < 8; i++)
		log_error("nobody reads this");
	alarm(0);
	assert_true(now_ns() - start > 900000000);
	assert_true(now_ns() - start < 6000000000);
	assert_true(fcntl(fd[0], F_SETFL, O_NONBLOCK) == 0);
	read_all(fd[0], (char *)much, sizeof(much));
	log_error("somebody reads this");
	assert_true(read(fd[0], got, sizeof(got) - 1) > 0);
	stderr_back(saved);
	assert_string_equal(got, "lkvm: somebody reads this\n");
	close(fd[0]);
	close(fd[1]);
}

struct late_reader {
	int fd;
	size_t total;
};

static void *read_late(void *arg)
{
	struct late_reader *r = arg;

	r->total = read_all(r->fd, (char *)much, sizeof(much) - 1);
	return NULL;
}

/* While there is one nobody waits; who comes back has the last of it, and how much was lost. */
static void messages_to_nobody_cost_nothing(void **state)
{
	struct late_reader reader;
	struct event_loop *loop;
	pthread_t thread;
	struct output o;
	int fd[2], saved;

	(void)state;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	output_init(&o, fd[1]);
	memset(much, '.', sizeof(much));
	fill(&o);
	assert_int_equal(event_loop_create(&loop), 0);
	saved = stderr_to(fd[1]);
	alarm(60);
	assert_int_equal(log_start(loop), 0);
	for (int i = 0; i < 100000; i++)
		log_error("message %d", i);
	reader.fd = fd[0];
	assert_int_equal(pthread_create(&thread, NULL, read_late, &reader), 0);
	log_stop();
	stderr_back(saved);
	close(fd[1]);
	pthread_join(thread, NULL);
	alarm(0);
	much[reader.total] = '\0';
	assert_non_null(strstr((char *)much + 65536, "lkvm: message 99999\nlkvm: "));
	assert_non_null(strstr((char *)much + 65536, "bytes of messages dropped: nobody read them\n"));
	event_loop_destroy(loop);
	close(fd[0]);
}

/* ... and one who is only slow has all of it, at once as long as he keeps up. */
static void messages_arrive_in_order(void **state)
{
	struct event_loop *loop;
	char got[256] = "";
	int fd[2], saved;

	(void)state;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(event_loop_create(&loop), 0);
	saved = stderr_to(fd[1]);
	assert_int_equal(log_start(loop), 0);
	log_error("one");
	assert_true(read(fd[0], got, sizeof(got) - 1) > 0);
	log_error("two");
	log_stop();
	stderr_back(saved);
	assert_string_equal(got, "lkvm: one\n");
	memset(got, 0, sizeof(got));
	assert_true(read(fd[0], got, sizeof(got) - 1) > 0);
	assert_string_equal(got, "lkvm: two\n");
	event_loop_destroy(loop);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_kind_of_reader_blocks_a_write),
		cmocka_unit_test(a_file_gets_all),
		cmocka_unit_test(a_fifo_needs_no_reader_yet),
		cmocka_unit_test(a_reader_that_stops_holds_for_a_second),
		cmocka_unit_test(a_burst_is_not_mistaken_for_a_stop),
		cmocka_unit_test(early_messages_wait_for_a_second),
		cmocka_unit_test(messages_to_nobody_cost_nothing),
		cmocka_unit_test(messages_arrive_in_order),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("sink", tests, NULL, NULL);
}
