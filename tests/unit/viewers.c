// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who looks at a console: readers, a writer, slow and hostile ones.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "control/frames.h"
#include "control/viewers.h"
#include "event.h"
#include "io.h"
#include "sink.h"
#include "term.h"
#include "util.h"

#define TURN_NS 6000000ull /* more than an output needs to be flushed */

static struct event_loop *loop;
static struct term *term;
static struct viewers *viewers;
static int timer;
static unsigned int breaks, quits;
static uint16_t columns, rows;

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

static void on_size(void *arg, uint16_t c, uint16_t r)
{
	(void)arg;
	columns = c;
	rows = r;
}

static void on_break(void *arg)
{
	(void)arg;
	breaks++;
}

static void on_quit(void *arg)
{
	(void)arg;
	quits++;
}

static void create(bool takes_keys)
{
	const struct term_config config = { .in_fd = -1, .out_fd = -1 };
	struct viewers_vm vm = {
		.takes_keys = takes_keys,
		.resized = on_size,
		.send_break = on_break,
		.quit = on_quit,
	};

	assert_int_equal(event_loop_create(&loop), 0);
	assert_int_equal(term_create(&term, loop, &config), 0);
	vm.term = term;
	assert_int_equal(viewers_create(&viewers, loop, &vm), 0);
	timer = event_timer_create(loop, on_tick, loop);
	event_keep(loop, timer);
	breaks = quits = columns = 0;
}

static void destroy(void)
{
	viewers_destroy(viewers);
	term_destroy(term);
	event_loop_destroy(loop);
}

static int attach(bool log)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	viewers_add(viewers, pair[0], log);
	return pair[1];
}

/* What a viewer has got: its output in @out, the rest in what is returned. */
struct got {
	size_t bytes, first; /* of output; the number that the first line has */
	uint64_t lost;
	uint32_t why, greetings;
	bool ended, closed;
};

static struct got read_all(int fd, uint8_t *out)
{
	static struct frame_reader r;
	struct got g = { 0 };
	int rc;

	r.bytes = 0;
	for (unsigned int idle = 0; idle < 3;) {
		struct protocol_header h;
		uint64_t lost;

		rc = frame_recv(&r, fd);
		if (!rc) {
			idle++;
			turn();
			continue;
		}
		if (rc < 0) {
			g.closed = true;
			break;
		}
		idle = 0;
		h = frame_header(&r);
		if (h.kind == CONSOLE_OUTPUT) {
			if (out)
				memcpy(out + g.bytes, frame_payload(&r), h.bytes);
			g.bytes += h.bytes;
		} else if (h.kind == CONSOLE_LOST) {
			memcpy(&lost, frame_payload(&r), sizeof(lost));
			g.lost += lost;
		} else if (h.kind == CONSOLE_READS_ONLY) {
			memcpy(&g.why, frame_payload(&r), sizeof(g.why));
			g.greetings++;
		} else {
			assert_int_equal(h.kind, CONSOLE_END);
			g.ended = true;
		}
		frame_next(&r);
	}
	return g;
}

static void say(int fd, uint32_t kind, const void *payload, uint32_t bytes)
{
	const struct protocol_header h = { kind, bytes };

	assert_int_equal(socket_send(fd, &h, sizeof(h)), sizeof(h));
	if (bytes)
		assert_int_equal(socket_send(fd, payload, bytes), bytes);
}

static uint8_t *make_output(size_t bytes)
{
	uint8_t *data = test_malloc(bytes);

	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(i * 7 + i / 4096);
	return data;
}

static void test_history(void **state)
{
	uint8_t *data = make_output(100000), *out = test_malloc(200000);
	struct got g;
	int a, b;

	(void)state;
	create(true);
	term_put(term, data, 300);
	a = attach(false);
	g = read_all(a, out);
	assert_int_equal(g.bytes, 300);
	assert_memory_equal(out, data, 300);
	assert_true(g.greetings == 1 && !g.why);
	term_put(term, data + 300, 100000 - 300);
	b = attach(true);
	g = read_all(b, out);
	assert_int_equal(g.bytes, VIEWERS_HISTORY_BYTES);
	assert_memory_equal(out, data + 100000 - VIEWERS_HISTORY_BYTES, VIEWERS_HISTORY_BYTES);
	assert_true(g.ended && g.closed && !g.lost);
	g = read_all(a, out);
	assert_int_equal(g.bytes, 100000 - 300);
	assert_memory_equal(out, data + 300, 100000 - 300);
	assert_false(g.closed);
	close(a);
	close(b);
	destroy();
	test_free(data);
	test_free(out);
}

static void test_slow(void **state)
{
	uint8_t *data = make_output(3000000), *out = test_malloc(4000000);
	struct got g;
	int a, b;

	(void)state;
	create(true);
	a = attach(false);
	b = attach(false);
	for (size_t at = 0; at < 3000000; at += 100000) {
		term_put(term, data + at, 100000);
		turn();
	}
	/* Neither has read: each loses, and neither more than the ring and its socket do not hold. */
	g = read_all(a, out);
	assert_true(g.lost > 0);
	assert_true(g.bytes + g.lost == 3000000 && g.bytes >= SINK_RING_BYTES);
	assert_memory_equal(out + g.bytes - SINK_RING_BYTES, data + 3000000 - SINK_RING_BYTES, SINK_RING_BYTES);
	/* One that reads again loses nothing more. */
	term_put(term, data, 1000);
	g = read_all(a, out);
	assert_true(g.bytes == 1000 && !g.lost);
	close(a);
	close(b);
	destroy();
	test_free(data);
	test_free(out);
}

static void test_writer(void **state)
{
	const struct protocol_size size = { 100, 40 };
	uint8_t keys[256];
	uint32_t why;
	int a, b, c;

	(void)state;
	create(true);
	a = attach(false);
	b = attach(false);
	why = read_all(b, NULL).why;
	assert_int_equal(why, CONSOLE_HAS_WRITER);
	say(a, CONSOLE_INPUT, "ls\n", 3);
	say(a, CONSOLE_SIZE, &size, sizeof(size));
	say(a, CONSOLE_BREAK, NULL, 0);
	say(a, CONSOLE_QUIT, NULL, 0);
	turn();
	assert_int_equal(term_get(term, keys, sizeof(keys)), 3);
	assert_memory_equal(keys, "ls\n", 3);
	assert_true(columns == 100 && rows == 40 && breaks == 1 && quits == 1);
	/* Who only reads may say nothing. */
	say(b, CONSOLE_INPUT, "rm\n", 3);
	assert_true(read_all(b, NULL).closed);
	assert_int_equal(term_get(term, keys, sizeof(keys)), 0);
	/* The next one may when the first has left, but not one that wants the log. */
	close(a);
	turn();
	c = attach(true);
	turn();
	a = attach(false);
	assert_int_equal(read_all(a, NULL).why, 0);
	say(a, CONSOLE_INPUT, "x", 1);
	turn();
	assert_int_equal(term_get(term, keys, sizeof(keys)), 1);
	/* Or when it has no more to type; then that one only reads. */
	say(a, CONSOLE_INPUT, NULL, 0);
	turn();
	close(b);
	b = attach(false);
	assert_int_equal(read_all(b, NULL).why, 0);
	assert_false(read_all(a, NULL).closed);
	say(a, CONSOLE_INPUT, "y", 1);
	assert_true(read_all(a, NULL).closed);
	close(a);
	close(b);
	close(c);
	destroy();
}

static void test_no_keys(void **state)
{
	int a;

	(void)state;
	create(false);
	a = attach(false);
	assert_int_equal(read_all(a, NULL).why, CONSOLE_HAS_STREAMS);
	say(a, CONSOLE_INPUT, "x", 1);
	assert_true(read_all(a, NULL).closed);
	close(a);
	destroy();
}

/* A guest that takes no keys: they wait, and come in their order. */
static void test_key_room(void **state)
{
	const size_t total = 150000;
	uint8_t *data = make_output(total), *got = test_malloc(total);
	size_t sent = 0, taken = 0;
	int a;

	(void)state;
	create(true);
	a = attach(false);
	while (taken < total) {
		size_t n = min_u64(3000, total - sent);
		const struct protocol_header h = { CONSOLE_INPUT, (uint32_t)n };
		const struct iovec iov[] = { { (void *)(uintptr_t)&h, sizeof(h) }, { data + sent, n } };

		if (n && socket_send_iov(a, iov, 2) > 0) {
			sent += n;
			continue;
		}
		turn();
		taken += term_get(term, got + taken, 5000);
	}
	assert_memory_equal(got, data, total);
	close(a);
	destroy();
	test_free(data);
	test_free(got);
}

static void test_rubbish(void **state)
{
	static const struct protocol_header bad[] = {
		{ CONSOLE_INPUT, FRAME_MAX_BYTES + 1 },
		{ CONSOLE_INPUT, UINT32_MAX },
		{ 0, 0 },
		{ CONSOLE_OUTPUT, 0 },
		{ UINT32_MAX, 0 },
		{ CONSOLE_SIZE, 0 },
	};

	(void)state;
	create(true);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int a = attach(false);

		assert_int_equal(socket_send(a, &bad[i], sizeof(bad[i])), sizeof(bad[i]));
		assert_true(read_all(a, NULL).closed);
		close(a);
	}
	/* Half a frame, and gone; and gone at once. */
	for (size_t n = 0; n < sizeof(bad[0]); n++) {
		int a = attach(false);

		assert_int_equal(socket_send(a, bad, n), n);
		turn();
		close(a);
		turn();
	}
	for (unsigned int i = 0; i < VIEWERS_MAX; i++) {
		assert_false(viewers_are_full(viewers));
		attach(false);
	}
	assert_true(viewers_are_full(viewers));
	destroy();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_slow),
		cmocka_unit_test(test_writer),
		cmocka_unit_test(test_no_keys),
		cmocka_unit_test(test_key_room),
		cmocka_unit_test(test_rubbish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
