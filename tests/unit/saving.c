// SPDX-License-Identifier: GPL-2.0-only
/*
 * A snapshot on its way out of a machine that is only told: whoever does not come along, the CPUs, a disk, or the one
 * who takes it, it has an end, and the machine goes on; it ends only with a snapshot that is safe.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <sys/socket.h>

#include "control/json.h"
#include "control/server.h"
#include "control/snapshot-image.h"
#include "control/vmcore-file.h"
#include "control/vmcore.h"
#include "event.h"
#include "io.h"
#include "machine.h"
#include "mem.h"
#include "util.h"
#include "x86/board.h"

#define LIMIT_NS  250000000ull
#define RAM_BYTES MIB(4)

/* ---- the machine ---- */

static struct {
	struct event_loop *loop;
	struct board board;
	struct board_host host;
	machine_halted_fn halted;
	void *halted_arg;
	bool stands, rests, saves; /* its CPUs will; its devices; its state can be saved */
	bool is_frozen;
	unsigned int halts, runs, ends;
} m;

static struct event_loop *test_loop(const struct machine *machine)
{
	(void)machine;
	return m.loop;
}

static struct board *test_board(struct machine *machine)
{
	(void)machine;
	return &m.board;
}

static void test_on_halt(struct machine *machine, enum machine_halter who, machine_halted_fn fn, void *arg)
{
	(void)machine;
	assert_int_equal(who, MACHINE_SNAPSHOT);
	m.halted = fn;
	m.halted_arg = arg;
}

static void test_halt(struct machine *machine, enum machine_halter who)
{
	(void)machine;
	assert_int_equal(who, MACHINE_SNAPSHOT);
	m.halts++;
	if (m.stands)
		m.halted(m.halted_arg);
}

static void test_go_on(struct machine *machine, enum machine_halter who)
{
	(void)machine;
	assert_int_equal(who, MACHINE_SNAPSHOT);
	assert_false(m.is_frozen);
	m.runs++;
}

static void test_freeze(struct machine *machine)
{
	(void)machine;
	m.is_frozen = true;
}

static void test_thaw(struct machine *machine)
{
	(void)machine;
	m.is_frozen = false;
}

static bool test_is_at_rest(const struct machine *machine)
{
	(void)machine;
	return m.rests;
}

static int test_save(struct machine *machine, struct snapshot_header *h, void **state)
{
	(void)machine;
	if (!m.saves)
		return -EBUSY;
	*h = (struct snapshot_header){ .machine = { .ram_bytes = RAM_BYTES, .cpus = 1 } };
	*state = calloc(1, 64);
	assert_non_null(*state);
	snapshot_fill(h, *state, 64);
	return 0;
}

static void test_end_in_snapshot(struct machine *machine)
{
	(void)machine;
	m.ends++;
	event_stop(m.loop);
}

static const char *test_state(const struct machine *machine)
{
	(void)machine;
	return "running";
}

static const char *test_refuses(const struct machine *machine)
{
	(void)machine;
	return NULL;
}

#define machine_loop		 test_loop
#define machine_board		 test_board
#define machine_on_halt		 test_on_halt
#define machine_halt		 test_halt
#define machine_go_on		 test_go_on
#define machine_freeze		 test_freeze
#define machine_thaw		 test_thaw
#define machine_is_at_rest	 test_is_at_rest
#define machine_save		 test_save
#define machine_end_in_snapshot	 test_end_in_snapshot
#define machine_state		 test_state
#define machine_refuses_snapshot test_refuses
#define snapshot_save		 tested_save
#define snapshot_is_under_way	 tested_is_under_way
#define snapshot_request	 tested_request
#define snapshot_init		 tested_init
#define snapshot_fini		 tested_fini

#include "control/snapshot.c"

/* ---- who takes it ---- */

struct receiver {
	enum {
		TAKES_ALL,
		TAKES_NOTHING,
		LEAVES,
	} does;
	bool stops;
	int32_t answer;
	/* What has become of it. */
	int socket, watch, done; /* 1: not yet */
	struct vmcore_file file;
	uint32_t what;
	int rc;
};

static struct snapshot snapshot;

static void on_snapshot_records(void *arg, uint32_t events)
{
	static uint8_t bytes[VMCORE_MESSAGE_BYTES];
	struct receiver *r = arg;
	ssize_t n = socket_recv(r->socket, bytes, sizeof(bytes));

	(void)events;
	if (n > 0 && !r->rc)
		r->rc = vmcore_file_feed(&r->file, bytes, (size_t)n);
	if (r->rc != 1)
		return;
	event_modify(m.loop, r->watch, 0);
	socket_send(r->socket, &r->answer, sizeof(r->answer));
}

static void on_snapshot_done(void *arg, int rc)
{
	struct receiver *r = arg;

	assert_int_equal(r->done, 1);
	assert_false(tested_is_under_way(&snapshot));
	assert_null(snapshot.state);
	r->done = rc;
	event_stop(m.loop);
}

static void save_to(struct receiver *r, uint64_t limit_ns)
{
	struct vmcore_source source = { .nr_cpus = 1, .patience_ns = 60000000000ull };
	struct vmcore *vmcore;
	int pair[2];

	assert_int_equal(event_loop_create(&m.loop), 0);
	assert_int_equal(mem_create(&m.host.mem, RAM_BYTES), 0);
	/* More than any socket takes. */
	for (gpa_t gpa = 0; gpa < RAM_BYTES; gpa += 8)
		assert_int_equal(mem_write(m.host.mem, gpa, &gpa, sizeof(gpa)), 0);
	m.board.host = &m.host;
	source.loop = m.loop;
	source.mem = m.host.mem;
	assert_int_equal(vmcore_create(&vmcore, &source), 0);
	assert_int_equal(tested_init(&snapshot, (struct machine *)&m, vmcore), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	r->socket = pair[1];
	r->done = 1;
	r->file = (struct vmcore_file){ .dir = -1, .fd = memfd_create("file", MFD_CLOEXEC) };
	if (r->does == TAKES_ALL)
		r->watch = event_add(m.loop, r->socket, EPOLLIN, on_snapshot_records, r);
	assert_int_equal(tested_save(&snapshot, pair[0], limit_ns, on_snapshot_done, r), 0);
	snapshot.stop = r->stops; /* as if it was asked for by a client */
	if (r->does == LEAVES)
		shutdown(r->socket, SHUT_RDWR);
	event_run(m.loop);
	tested_fini(&snapshot);
	vmcore_destroy(vmcore);
	if (r->does == TAKES_ALL)
		event_remove(m.loop, r->watch);
	close(r->socket);
	r->what = r->file.what;
	vmcore_file_close(&r->file);
	mem_destroy(m.host.mem);
	event_loop_destroy(m.loop);
}

/* Whatever it is that takes so long: within the limit it is given up, and the command is not kept waiting. */
static void saving_has_a_deadline(void **state)
{
	static const struct {
		bool stands, rests;
		struct receiver r;
	} cases[] = {
		{ false, true, { .does = TAKES_ALL } },
		{ true, false, { .does = TAKES_ALL } },
		{ true, true, { .does = TAKES_NOTHING } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const uint64_t start = now_ns();
		struct receiver r = cases[i].r;

		memset(&m, 0, sizeof(m));
		m.stands = cases[i].stands;
		m.rests = cases[i].rests;
		m.saves = true;
		save_to(&r, LIMIT_NS);
		assert_int_equal(r.done, -ECANCELED);
		assert_true(now_ns() - start >= LIMIT_NS);
		assert_int_equal(r.rc, 0);
		assert_int_equal(m.halts, 1);
		assert_int_equal(m.runs, 1);
		assert_int_equal(m.ends, 0);
		assert_false(m.is_frozen);
	}
}

static void a_machine_ends_only_with_a_safe_one(void **state)
{
	static const struct {
		struct receiver r;
		bool saves;
		int done, rc;
		unsigned int ends;
	} cases[] = {
		{ { .does = TAKES_ALL }, true, 0, 1, 0 },
		{ { .does = TAKES_ALL, .answer = -ENOSPC }, true, -ENOSPC, 1, 0 },
		{ { .does = TAKES_ALL, .answer = -EIO }, false, -EIO, 1, 0 },
		{ { .does = LEAVES }, true, -EPIPE, 0, 0 },
		{ { .does = TAKES_ALL, .stops = true }, true, 1, 1, 1 },
		{ { .does = TAKES_ALL, .stops = true, .answer = -ENOSPC }, true, -ENOSPC, 1, 0 },
		/* Without a state there is nothing that could be safe, whatever is said. */
		{ { .does = TAKES_ALL, .stops = true }, false, 0, 1, 0 },
		{ { .does = LEAVES, .stops = true }, true, -EPIPE, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct receiver r = cases[i].r;

		memset(&m, 0, sizeof(m));
		m.stands = m.rests = true;
		m.saves = cases[i].saves;
		save_to(&r, 60000000000ull);
		if (r.done != cases[i].done || r.rc != cases[i].rc || m.ends != cases[i].ends || m.runs != !m.ends)
			fail_msg("%zu: %d, %d, %u ends, %u runs", i, r.done, r.rc, m.ends, m.runs);
		assert_int_equal(!(r.what & VMCORE_LACKS_STATE), m.saves || r.rc != 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(saving_has_a_deadline),
		cmocka_unit_test(a_machine_ends_only_with_a_safe_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
