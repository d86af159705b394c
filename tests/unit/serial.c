// SPDX-License-Identifier: GPL-2.0-only
/* The 16550A: what drivers probe, interrupts, input that waits, full output. */
#include "tests/lib/unit.h"

#include <fcntl.h>
#include <linux/serial_reg.h>
#include <sys/socket.h>

#include "bus.h"
#include "event.h"
#include "sink.h"
#include "term.h"
#include "util.h"
#include "x86/layout.h"
#include "x86/serial.h"

struct rig {
	struct bus bus;
	struct event_loop *loop;
	struct term *term;
	struct serial serial;
	struct console_watch watch;
	atomic_int words;
	int in[2], out[2];
};

static void on_tick(void *arg, uint32_t events)
{
	(void)events;
	event_stop(arg);
}

/* A loop runs only once, so each rig lives for one test. */
static void run_loop_for(struct rig *r, uint64_t ns)
{
	int timer = event_timer_create(r->loop, on_tick, r->loop);

	event_timer_set(r->loop, timer, ns, 0);
	assert_int_equal(event_run(r->loop), 0);
}

static int set_up(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct term_config config = { .log = NULL };

	bus_init(&r->bus);
	console_watch_init(&r->watch, &r->words);
	assert_int_equal(pipe2(r->in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(r->out, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(event_loop_create(&r->loop), 0);
	config.in_fd = r->in[0];
	config.out_fd = r->out[1];
	assert_int_equal(term_create(&r->term, r->loop, &config), 0);
	assert_int_equal(serial_init(&r->serial, NULL, &r->bus, r->term, &r->watch), 0);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	serial_fini(&r->serial);
	term_destroy(r->term);
	event_loop_destroy(r->loop);
	bus_fini(&r->bus);
	close(r->in[0]);
	close(r->in[1]);
	close(r->out[0]);
	close(r->out[1]);
	free(r);
	return 0;
}

static uint8_t in(struct rig *r, unsigned int reg)
{
	uint8_t v;

	bus_read(&r->bus, PORT_COM1 + reg, &v, 1);
	return v;
}

static void out(struct rig *r, unsigned int reg, uint8_t v)
{
	bus_write(&r->bus, PORT_COM1 + reg, &v, 1);
}

/* Edges since the last call. */
static unsigned int edges(struct rig *r)
{
	uint64_t n = 0;

	return read(r->serial.irq.fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? (unsigned int)n : 0;
}

static void probes_find_a_16550a(void **state)
{
	struct rig *r = *state;

	out(r, UART_IER, 0xff);
	assert_int_equal(in(r, UART_IER), 0x0f);
	out(r, UART_IER, 0);
	out(r, UART_MCR, UART_MCR_LOOP | 0x0a);
	assert_int_equal(in(r, UART_MSR) & 0xf0, 0x90);
	out(r, UART_MCR, 0);
	assert_int_equal(in(r, UART_MSR) & 0xf0, UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
	out(r, UART_FCR, UART_FCR_ENABLE_FIFO);
	assert_int_equal(in(r, UART_IIR) >> 6, 3);
	out(r, UART_FCR, 0);
	assert_int_equal(in(r, UART_IIR) >> 6, 0);
	out(r, UART_LCR, UART_LCR_DLAB | 3);
	out(r, UART_DLL, 0x12);
	out(r, UART_DLM, 0x34);
	assert_int_equal(in(r, UART_DLL), 0x12);
	assert_int_equal(in(r, UART_DLM), 0x34);
	out(r, UART_LCR, 3);
	assert_int_equal(in(r, UART_IER), 0);
	out(r, UART_SCR, 0xa5);
	assert_int_equal(in(r, UART_SCR), 0xa5);
	assert_int_equal(in(r, UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
}

static void loopback_returns_what_was_sent(void **state)
{
	struct rig *r = *state;

	out(r, UART_MCR, UART_MCR_LOOP);
	for (int i = 0; i < SERIAL_FIFO_BYTES + 4; i++)
		out(r, UART_TX, (uint8_t)i);
	for (int i = 0; i < SERIAL_FIFO_BYTES; i++) {
		assert_true(in(r, UART_LSR) & UART_LSR_DR);
		assert_int_equal(in(r, UART_RX), i);
	}
	assert_false(in(r, UART_LSR) & UART_LSR_DR);
}

static void transmit_interrupts_once_per_cause(void **state)
{
	struct rig *r = *state;

	assert_int_equal(edges(r), 0);
	out(r, UART_IER, UART_IER_THRI);
	assert_int_equal(edges(r), 1); /* empty already */
	assert_int_equal(in(r, UART_IIR) & 0x0f, UART_IIR_THRI);
	assert_int_equal(in(r, UART_IIR) & 0x0f, UART_IIR_NO_INT);
	assert_int_equal(edges(r), 0);
	out(r, UART_TX, 'x');
	assert_int_equal(edges(r), 1);
	assert_int_equal(in(r, UART_IIR) & 0x0f, UART_IIR_THRI);
	out(r, UART_IER, UART_IER_THRI); /* no change: no new interrupt */
	assert_int_equal(edges(r), 0);
}

static void output_comes_out_in_batches(void **state)
{
	struct rig *r = *state;
	char got[64] = "";

	for (const char *p = "hello\n"; *p; p++)
		out(r, UART_TX, (uint8_t)*p);
	assert_int_equal(read(r->out[0], got, sizeof(got)), -1);
	run_loop_for(r, 20000000);
	assert_int_equal(read(r->out[0], got, sizeof(got)), 6);
	assert_string_equal(got, "hello\n");
}

/* A driver that probes the port must not swallow what came too early. */
static void input_waits_for_the_driver(void **state)
{
	struct rig *r = *state;

	assert_int_equal(write(r->in[1], "abc", 3), 3);
	run_loop_for(r, 20000000);
	out(r, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	assert_int_equal(in(r, UART_LSR) & UART_LSR_DR, 0);
	in(r, UART_RX);
	assert_int_equal(in(r, UART_LSR) & UART_LSR_DR, 0);
	in(r, UART_RX);
	assert_int_equal(edges(r), 0);
	out(r, UART_IER, UART_IER_RDI);
	assert_int_equal(edges(r), 1);
	assert_int_equal(in(r, UART_IIR) & 0x0f, UART_IIR_RDI);
	assert_int_equal(in(r, UART_RX), 'a');
	assert_int_equal(in(r, UART_RX), 'b');
	assert_int_equal(in(r, UART_RX), 'c');
	assert_int_equal(in(r, UART_IIR) & 0x0f, UART_IIR_NO_INT);
}

static void a_polling_program_gets_input(void **state)
{
	struct rig *r = *state;
	int polls = 0;

	assert_int_equal(write(r->in[1], "z", 1), 1);
	run_loop_for(r, 20000000);
	while (!(in(r, UART_LSR) & UART_LSR_DR))
		assert_true(++polls < 10);
	assert_int_equal(in(r, UART_RX), 'z');
}

static void full_output_holds_an_interrupt_driven_guest(void **state)
{
	struct rig *r = *state;
	static char buf[65536];
	size_t total = 0;
	unsigned int sent = 0;
	ssize_t n;

	out(r, UART_IER, UART_IER_THRI);
	while (in(r, UART_LSR) & UART_LSR_THRE) {
		out(r, UART_TX, 'x');
		assert_true(++sent <= SINK_RING_BYTES);
	}
	assert_int_equal(sent, SINK_RING_BYTES);
	in(r, UART_IIR);
	assert_int_equal(in(r, UART_IIR) & 0x0f, UART_IIR_NO_INT);
	edges(r);
	run_loop_for(r, 20000000); /* the pipe takes 64 KiB: there is room again */
	assert_int_equal(edges(r), 1);
	assert_int_equal(in(r, UART_IIR) & 0x0f, UART_IIR_THRI);
	while ((n = read(r->out[0], buf, sizeof(buf))) > 0)
		total += (size_t)n;
	assert_true(total >= 4096);
}

static void a_polling_guest_is_held_for_a_second_only(void **state)
{
	struct rig *r = *state;
	static uint8_t full[SINK_RING_BYTES];
	uint64_t start = now_ns();

	term_put(r->term, full, sizeof(full));
	assert_false(in(r, UART_LSR) & UART_LSR_THRE);
	while (!(in(r, UART_LSR) & UART_LSR_THRE))
		assert_true(now_ns() - start < 5000000000ull);
	out(r, UART_TX, 'y'); /* pushes out the oldest byte, blocks nobody */
}

/* Nothing that a guest writes in any order may break an invariant. */
static void random_register_traffic_is_harmless(void **state)
{
	struct rig *r = *state;
	unsigned int seed = 1;

	for (int i = 0; i < 200000; i++) {
		unsigned int v = (unsigned int)rand_r(&seed);

		if (v & 0x100)
			out(r, v >> 9 & 7, (uint8_t)v);
		else
			in(r, v >> 9 & 7);
		assert_true(r->serial.state.loop_count <= SERIAL_FIFO_BYTES);
	}
}

static void the_console_is_watched(void **state)
{
	struct rig *r = *state;

	for (const char *p = "passed[  1.0] Kernel panic - not syncing: x\r\n"; *p; p++)
		out(r, UART_TX, (uint8_t)*p);
	assert_int_equal(r->words, WORDS_PANIC);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(probes_find_a_16550a),
		TEST(loopback_returns_what_was_sent),
		TEST(transmit_interrupts_once_per_cause),
		TEST(output_comes_out_in_batches),
		TEST(input_waits_for_the_driver),
		TEST(a_polling_program_gets_input),
		TEST(full_output_holds_an_interrupt_driven_guest),
		TEST(a_polling_guest_is_held_for_a_second_only),
		TEST(random_register_traffic_is_harmless),
		TEST(the_console_is_watched),
	};

	return cmocka_run_group_tests_name("serial", tests, NULL, NULL);
}
