// SPDX-License-Identifier: GPL-2.0-only
/*
 * A command in a VM, on the host's side: what its ports give and take, with real pipes behind them.
 * The guest is played here: first as it should be, then as it should not.
 */
#include "tests/lib/unit.h"

#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#include "event.h"
#include "guest/command.h"
#include "guest/gate.h"
#include "sink.h"
#include "state.h"
#include "term.h"
#include "util.h"
#include "virtio/port.h"

enum {
	CONTROL,
	STDIN,
	STDOUT,
	STDERR,
	RESULTS,
	NR_PORTS,
};

struct rig {
	struct event_loop *loop;
	struct command_config config;
	struct term *io, *err;
	struct command *command;
	struct port *ports[COMMAND_MAX_PORTS];
	int in[2], out[2], errors[2];
	unsigned int started, ended, readable[NR_PORTS], writable[NR_PORTS];
	int saved;	 /* stderr, while messages are caught */
	char said[4096]; /* the messages */
};

/* A minute is what init has to be ready, a sixth of it one that was restored to start; who does not want to wait has it shortened. */
static bool minutes_are_short;

int timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
	struct itimerspec spec = *new;

	if (minutes_are_short && (spec.it_value.tv_sec == 60 || spec.it_value.tv_sec == 10))
		spec.it_value = (struct timespec){ .tv_nsec = 20000000 };
	return (int)syscall(SYS_timerfd_settime, fd, flags, &spec, old);
}

static void on_started(void *arg)
{
	((struct rig *)arg)->started++;
}

static void on_ended(void *arg)
{
	((struct rig *)arg)->ended++;
}

static void on_readable_0(void *arg)
{
	((struct rig *)arg)->readable[CONTROL]++;
}

static void on_readable_1(void *arg)
{
	((struct rig *)arg)->readable[STDIN]++;
}

static void on_writable_2(void *arg)
{
	((struct rig *)arg)->writable[STDOUT]++;
}

static void on_writable_3(void *arg)
{
	((struct rig *)arg)->writable[STDERR]++;
}

static void set_clients(struct rig *r)
{
	port_set_client(r->ports[CONTROL], &(struct port_client){ .readable = on_readable_0, .arg = r });
	port_set_client(r->ports[STDIN], &(struct port_client){ .readable = on_readable_1, .arg = r });
	port_set_client(r->ports[STDOUT], &(struct port_client){ .writable = on_writable_2, .arg = r });
	port_set_client(r->ports[STDERR], &(struct port_client){ .writable = on_writable_3, .arg = r });
	port_want(r->ports[CONTROL], PORT_NOW);
	port_want(r->ports[STDIN], PORT_NOW);
}

static int open_rig(struct rig *r)
{
	struct term_config io = { 0 }, err = { .in_fd = -1 };
	int rc;

	assert_int_equal(event_loop_create(&r->loop), 0);
	assert_int_equal(pipe2(r->in, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(r->out, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(r->errors, O_CLOEXEC | O_NONBLOCK), 0);
	io.in_fd = r->in[0];
	io.out_fd = r->out[1];
	err.out_fd = r->errors[1];
	assert_int_equal(term_create(&r->io, r->loop, &io), 0);
	assert_int_equal(term_create(&r->err, r->loop, &err), 0);
	rc = command_create(&r->command, r->loop, &r->config, r->io, r->err);
	if (rc)
		return rc;
	assert_int_equal(command_ports(r->command, r->ports), NR_PORTS - !r->config.results);
	set_clients(r);
	assert_int_equal(command_start(r->command,
				       &(struct command_client){
					       .started = on_started,
					       .ended = on_ended,
					       .arg = r,
				       },
				       COMMAND_READY_NS),
			 0);
	return 0;
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_rig(struct rig *r)
{
	command_destroy(r->command);
	term_destroy(r->io);
	term_destroy(r->err);
	event_loop_destroy(r->loop);
	for (int i = 0; i < 2; i++) {
		close_end(&r->in[i]);
		close_end(&r->out[i]);
		close_end(&r->errors[i]);
	}
}

static char true_name[] = "true", *const no_arguments[] = { true_name, NULL };

static void default_rig(struct rig *r)
{
	*r = (struct rig){ .config = { .arguments = no_arguments, .nr_arguments = 1 } };
	assert_int_equal(open_rig(r), 0);
}

static void listen_to_messages(struct rig *r)
{
	r->saved = begin_capture();
}

static void stop_listening(struct rig *r)
{
	end_capture(r->saved, r->said, sizeof(r->said));
}

static unsigned int count_messages(const char *said)
{
	unsigned int n = 0;

	for (const char *p = said; (p = strstr(p, "lkvm: ")); p++)
		n += p == said || p[-1] == '\n';
	return n;
}

/* One step of the loop, which has something to do within 10 s. */
static void step(struct rig *r)
{
	struct pollfd wait = { .fd = event_fd(r->loop), .events = POLLIN };

	assert_int_equal(poll(&wait, 1, 10000), 1);
	event_poll(r->loop);
}

/* ---- the guest ---- */

static ssize_t give(struct rig *r, unsigned int port, const void *data, size_t bytes)
{
	const struct iovec iov = { (void *)(uintptr_t)data, bytes };

	return port_write(r->ports[port], &iov, 1, true);
}

static ssize_t get(struct rig *r, unsigned int port, void *data, size_t bytes)
{
	const struct iovec iov = { data, bytes };

	return port_read(r->ports[port], &iov, 1);
}

static size_t put_message(uint8_t *to, uint32_t kind, const void *payload, size_t bytes)
{
	const struct protocol_header h = { .kind = kind, .bytes = (uint32_t)bytes };

	memcpy(to, &h, sizeof(h));
	if (bytes)
		memcpy(to + sizeof(h), payload, bytes);
	return sizeof(h) + bytes;
}

static void say(struct rig *r, uint32_t kind, const void *payload, size_t bytes)
{
	uint8_t message[sizeof(struct protocol_header) + 4096];
	size_t n = put_message(message, kind, payload, bytes);

	assert_int_equal(give(r, CONTROL, message, n), n);
}

static void say_ready(struct rig *r)
{
	say(r, PROTOCOL_READY, &(struct protocol_ready){ PROTOCOL_VERSION }, sizeof(struct protocol_ready));
}

static void say_stream_end(struct rig *r, uint32_t stream, uint64_t bytes)
{
	const struct protocol_stream_end end = { .stream = stream, .bytes = bytes };

	say(r, PROTOCOL_STREAM_END, &end, sizeof(end));
}

static void say_exited(struct rig *r, uint32_t end, uint32_t value)
{
	const struct protocol_exited e = { .end = end, .value = value };

	say(r, PROTOCOL_EXITED, &e, sizeof(e));
}

/* All that the control port gives now. */
static size_t hear_all(struct rig *r, uint8_t *to, size_t room)
{
	size_t n = 0;
	ssize_t got;

	while ((got = get(r, CONTROL, to + n, room - n)) > 0)
		n += (size_t)got;
	assert_int_equal(got, -EAGAIN);
	assert_true(n < room);
	return n;
}

static void get_ready(struct rig *r)
{
	uint8_t plan[4096];

	say_ready(r);
	assert_true(hear_all(r, plan, sizeof(plan)) > 0);
}

/* ---- the plan ---- */

#define LONGEST (128u << 10)

static void fill_config(struct command_config *c, char *longest)
{
	static char shell[] = "sh", every_byte[256], empty[1];
	static char *arguments[] = { shell, every_byte, empty, NULL };
	static const char *const environment[] = { "A=1", "B=", "C" };

	for (int i = 1; i < 256; i++)
		every_byte[i - 1] = (char)i;
	memset(longest, 'x', LONGEST);
	longest[LONGEST] = '\0';
	arguments[3] = longest;
	*c = (struct command_config){
		.arguments = arguments,
		.nr_arguments = 4,
		.environment = environment,
		.nr_environment = 3,
		.directory = "/a b",
		.directory_needed = true,
		.user = "u:g",
		.hostname = "h",
		.results = "/out",
		.nr_mounts = 2,
		.mounts = {
			{ .path = "/", .serial = "12345678901234567890" },
			{ .path = "/d" },
		},
		.nr_networks = 1,
		.networks = { { .mac = { 2, 1 }, .prefix_bits = 24, .address = { 10, 0, 0, 2 } } },
	};
}

static size_t put_text(uint8_t *to, uint32_t kind, const char *text)
{
	return put_message(to, kind, text, strlen(text));
}

static size_t put_mount(uint8_t *to, uint32_t source, const char *serial, const char *path)
{
	uint8_t payload[256] = { 0 };
	const struct protocol_mount m = { .source = source };

	memcpy(payload, &m, sizeof(m));
	memcpy(payload + offsetof(struct protocol_mount, serial), serial, strlen(serial));
	memcpy(payload + sizeof(m), path, strlen(path));
	return put_message(to, PROTOCOL_MOUNT, payload, sizeof(m) + strlen(path));
}

#define SEED_MESSAGE_BYTES (sizeof(struct protocol_header) + PROTOCOL_SEED_BYTES)

/* *seed: where that is, which nobody knows. */
static size_t put_plan(uint8_t *to, const struct command_config *c, size_t *seed)
{
	static const uint8_t unknown[PROTOCOL_SEED_BYTES];
	size_t n = put_mount(to, PROTOCOL_FROM_DISK, "12345678901234567890", "/");

	n += put_mount(to + n, PROTOCOL_FROM_INITRAMFS, "", "/d");
	for (unsigned int i = 0; i < c->nr_arguments; i++)
		n += put_text(to + n, PROTOCOL_ARGUMENT, c->arguments[i]);
	for (unsigned int i = 0; i < c->nr_environment; i++)
		n += put_text(to + n, PROTOCOL_ENVIRONMENT, c->environment[i]);
	n += put_message(to + n, PROTOCOL_NETWORK, &c->networks[0], sizeof(c->networks[0]));
	*seed = n + sizeof(struct protocol_header);
	n += put_message(to + n, PROTOCOL_SEED, unknown, sizeof(unknown));
	n += put_text(to + n, PROTOCOL_NEEDED_DIRECTORY, "/a b");
	n += put_text(to + n, PROTOCOL_USER, "u:g");
	n += put_text(to + n, PROTOCOL_HOSTNAME, "h");
	n += put_text(to + n, PROTOCOL_RESULTS_PATH, "/out");
	return n + put_message(to + n, PROTOCOL_GO, NULL, 0);
}

static void the_plan_is_what_was_asked(void **state)
{
	static uint8_t wanted[2 * LONGEST], got[2 * LONGEST];
	static char longest[LONGEST + 1];
	static const uint8_t zero[PROTOCOL_SEED_BYTES];
	struct rig r = { 0 };
	size_t bytes, n = 0, seed;
	ssize_t part;

	(void)state;
	fill_config(&r.config, longest);
	assert_int_equal(open_rig(&r), 0);
	bytes = put_plan(wanted, &r.config, &seed);
	/* Nothing before init is heard, whatever happens on this side. */
	close_end(&r.in[1]);
	step(&r);
	assert_int_equal(get(&r, CONTROL, got, sizeof(got)), -EAGAIN);
	say_ready(&r);
	assert_true(r.readable[CONTROL] > 0);
	/* In pieces of many lengths. */
	while ((part = get(&r, CONTROL, got + n, n < 2000 ? n % 17 + 1 : 70000)) > 0 && n < bytes)
		n += (size_t)part;
	assert_memory_not_equal(got + seed, zero, PROTOCOL_SEED_BYTES);
	memset(got + seed, 0, PROTOCOL_SEED_BYTES);
	assert_memory_equal(got, wanted, bytes);
	close_rig(&r);
}

/* What two guests are told: the same, but for what nobody else may know. */
static void no_two_seeds_are_the_same(void **state)
{
	uint8_t got[2][4096] = { 0 };

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct rig r;

		default_rig(&r);
		say_ready(&r);
		assert_true(hear_all(&r, got[i], sizeof(got[i])) > SEED_MESSAGE_BYTES);
		close_rig(&r);
	}
	assert_memory_not_equal(got[0], got[1], sizeof(got[0]));
}

/* One that is held and has been told nothing is what another one goes on from. */
static void one_that_waits_goes_on_elsewhere(void **state)
{
	struct rig r = { .config = { .held = true } };
	uint8_t got[4096];
	size_t n;

	(void)state;
	assert_int_equal(open_rig(&r), 0);
	assert_false(command_waits(r.command));
	say_ready(&r);
	assert_true(command_waits(r.command));
	assert_int_equal(give(&r, CONTROL, "half a message", 3), 3);
	assert_false(command_waits(r.command));
	close_rig(&r);

	default_rig(&r);
	assert_int_equal(hear_all(&r, got, sizeof(got)), 0);
	command_was_ready(r.command);
	assert_false(command_waits(r.command));
	n = hear_all(&r, got, sizeof(got));
	assert_true(n > SEED_MESSAGE_BYTES);
	say(&r, PROTOCOL_STARTED, NULL, 0);
	assert_int_equal(r.ended, 0);
	close_rig(&r);
}

/* How many bytes, or -errno. */
static ssize_t try_to_save_command(struct rig *r, uint8_t *bytes, size_t room)
{
	struct state s;

	state_init_save(&s, bytes, room);
	command_carry(r->command, &s);
	return state_end(&s) ? s.error : (ssize_t)s.used;
}

/* No such user, no such directory: that says nothing against what it was restored from. */
static void one_that_cannot_do_it_has_answered(void **state)
{
	static const char words[] = "user: there is no user \"x\"";
	uint8_t plan[4096];
	struct rig r;

	(void)state;
	for (unsigned int reads = 0; reads < 2; reads++) {
		default_rig(&r);
		command_was_ready(r.command);
		if (reads)
			assert_true(hear_all(&r, plan, sizeof(plan)) > 0);
		listen_to_messages(&r);
		say(&r, PROTOCOL_FAILED, words, strlen(words));
		stop_listening(&r);
		assert_int_equal(r.ended, 1);
		assert_int_equal(command_has_answered(r.command), reads);
		close_rig(&r);
	}
}

static size_t save_command(struct rig *r, uint8_t *bytes, size_t room)
{
	ssize_t n;

	assert_null(command_refuses_snapshot(r->command));
	n = try_to_save_command(r, bytes, room);
	assert_true(n > 0);
	return (size_t)n;
}

/* In another VM, whose stdin, stdout and stderr are others. */
static int load_command(struct rig *r, const uint8_t *bytes, size_t nr, bool terminal)
{
	struct state s;

	*r = (struct rig){ .config.terminal = terminal };
	assert_int_equal(open_rig(r), 0);
	state_init_load(&s, bytes, nr);
	command_carry(r->command, &s);
	return state_end(&s);
}

/* Begins a command that has read 3 bytes of 5 and written 4, half a message on its way. */
static void begin_one(struct rig *r)
{
	uint8_t got[16];

	default_rig(r);
	assert_non_null(command_refuses_snapshot(r->command));
	get_ready(r);
	assert_non_null(command_refuses_snapshot(r->command));
	say(r, PROTOCOL_STARTED, NULL, 0);
	assert_int_equal(write(r->in[1], "abc--", 5), 5);
	while (!term_has_input(r->io))
		step(r);
	assert_int_equal(get(r, STDIN, got, 3), 3);
	assert_int_equal(give(r, STDOUT, "four", 4), 4);
	command_signal(r->command, 10);
	assert_int_equal(get(r, CONTROL, got, 5), 5);
}

static void one_that_runs_goes_on_elsewhere(void **state)
{
	const struct protocol_stream_end end = { .stream = 1, .bytes = 9 };
	const struct protocol_signal sent = { .number = 10 };
	const struct protocol_count count = { .bytes = 7 };
	const struct protocol_header seed = { PROTOCOL_SEED, PROTOCOL_SEED_BYTES };
	uint8_t message[64], wanted[64], got[128], first[SEED_MESSAGE_BYTES], saved[512];
	const size_t nr = put_message(message, PROTOCOL_STREAM_END, &end, sizeof(end));
	size_t n, bytes;
	struct rig r;

	(void)state;
	begin_one(&r);
	assert_int_equal(give(&r, CONTROL, message, 11), 11);
	bytes = save_command(&r, saved, sizeof(saved));
	/* It goes on here, too. */
	assert_int_equal(give(&r, CONTROL, message + 11, nr - 11), nr - 11);
	assert_int_equal(r.ended, 0);
	close_rig(&r);

	assert_int_equal(load_command(&r, saved, bytes, false), 0);
	assert_true(command_is_running(r.command));
	n = put_message(wanted, PROTOCOL_SIGNAL, &sent, sizeof(sent));
	assert_int_equal(hear_all(&r, got, sizeof(got)), n - 5 + SEED_MESSAGE_BYTES);
	assert_memory_equal(got, wanted + 5, n - 5);
	/* Nobody else knows what its kernel knows from now on. */
	assert_memory_equal(got + n - 5, &seed, sizeof(seed));
	memcpy(first, got + n - 5, sizeof(first));
	close_rig(&r);
	assert_int_equal(load_command(&r, saved, bytes, false), 0);
	hear_all(&r, got, sizeof(got));
	assert_memory_equal(got + n - 5, &seed, sizeof(seed));
	assert_memory_not_equal(got + n - 5, first, sizeof(first));
	/* What it reads is what was said there and then what is said here, and counts with what it has read. */
	assert_int_equal(get(&r, STDIN, got, sizeof(got)), 2);
	assert_memory_equal(got, "--", 2);
	assert_int_equal(write(r.in[1], "de", 2), 2);
	close_end(&r.in[1]);
	while (!term_has_input(r.io))
		step(&r);
	step(&r);
	assert_int_equal(get(&r, STDIN, got, sizeof(got)), 2);
	n = put_message(wanted, PROTOCOL_STDIN_END, &count, sizeof(count));
	assert_int_equal(hear_all(&r, got, sizeof(got)), n);
	assert_memory_equal(got, wanted, n);
	/* So does what it writes, and the rest of what init was about to say. */
	assert_int_equal(give(&r, CONTROL, message + 11, nr - 11), nr - 11);
	assert_int_equal(give(&r, STDOUT, "-five", 5), 5);
	say_stream_end(&r, 2, 0);
	assert_int_equal(r.ended, 0);
	say_exited(&r, PROTOCOL_END_EXITED, 7);
	assert_int_equal(r.ended, 1);
	assert_int_equal(command_result(r.command).value, 7);
	assert_null(strstr(r.said, "lkvm: "));
	sink_flush(term_sink(r.io));
	assert_int_equal(read(r.out[0], got, sizeof(got)), 5);
	assert_memory_equal(got, "-five", 5);
	close_rig(&r);
}

/* Nobody would read it a second time from where it came. */
static void input_that_was_read_ahead_goes_along(void **state)
{
	static uint8_t input[3000], saved[8192], got[sizeof(input) + 1];
	struct rig r;
	size_t bytes;

	(void)state;
	for (size_t i = 0; i < sizeof(input); i++)
		input[i] = (uint8_t)(i * 7 ^ i >> 8);
	begin_one(&r);
	assert_int_equal(get(&r, STDIN, got, 2), 2);
	assert_int_equal(write(r.in[1], input, sizeof(input)), sizeof(input));
	while (term_input_bytes(r.io) < sizeof(input))
		step(&r);
	bytes = save_command(&r, saved, sizeof(saved));
	/* It is this one's, too, unless it ends with its snapshot. */
	assert_int_equal(get(&r, STDIN, got, sizeof(got)), sizeof(input));
	close_rig(&r);
	assert_int_equal(load_command(&r, saved, bytes, false), 0);
	assert_int_equal(get(&r, STDIN, got, sizeof(got)), sizeof(input));
	assert_memory_equal(got, input, sizeof(input));
	close_rig(&r);
}

static bool there_is_another(void *arg)
{
	return *(bool *)arg;
}

/* Between the request and the moment at which the guest stands still: nobody would hear of its end there. */
static void what_comes_before_it_is_saved_counts(void **state)
{
	bool is_there = false;
	const struct command_sessions sessions = { .are_there = there_is_another, .arg = &is_there };
	uint8_t saved[512];
	struct rig r;

	(void)state;
	begin_one(&r);
	command_set_sessions(r.command, &sessions);
	save_command(&r, saved, sizeof(saved));
	is_there = true;
	assert_int_equal(try_to_save_command(&r, saved, sizeof(saved)), -EINVAL);
	is_there = false;
	save_command(&r, saved, sizeof(saved));
	/* It has ended, and not all that it has written is here. */
	say_exited(&r, PROTOCOL_END_EXITED, 7);
	assert_int_equal(r.ended, 0);
	assert_int_equal(try_to_save_command(&r, saved, sizeof(saved)), -EINVAL);
	command_set_sessions(r.command, NULL);
	close_rig(&r);
}

/* Whatever is loaded: it is refused, or what init says then is taken as any other guest's words. */
static void a_saved_command_may_be_anything(void **state)
{
	static const uint8_t changes[] = { 0x01, 0x40, 0xff };
	uint8_t saved[512], message[64];
	char text[1024];
	size_t bytes;
	struct rig r;
	int capture;

	(void)state;
	begin_one(&r);
	assert_int_equal(give(&r, CONTROL, message, put_message(message, PROTOCOL_NOTICE, "x", 2) - 1), 9);
	bytes = save_command(&r, saved, sizeof(saved));
	close_rig(&r);
	assert_int_not_equal(load_command(&r, saved, bytes, true), 0);
	close_rig(&r);
	for (size_t at = 0; at < bytes; at++) {
		assert_int_not_equal(load_command(&r, saved, at, false), 0);
		close_rig(&r);
		for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
			saved[at] ^= changes[i];
			capture = begin_capture();
			if (!load_command(&r, saved, bytes, false)) {
				give(&r, CONTROL, "\0\0\0\0\0\0\0\0\0\0", 10);
				give(&r, STDOUT, "something", 9);
				say_exited(&r, PROTOCOL_END_EXITED, 1);
			}
			close_rig(&r);
			end_capture(capture, text, sizeof(text));
			saved[at] ^= changes[i];
		}
	}
}

static int create_with(char *const *arguments, unsigned int nr, unsigned int nr_environment)
{
	struct rig r = { .config = { .arguments = arguments, .nr_arguments = nr } };
	const char **environment = calloc(nr_environment + 1, sizeof(*environment));
	int rc;

	for (unsigned int i = 0; i < nr_environment; i++)
		environment[i] = "";
	r.config.environment = environment;
	r.config.nr_environment = nr_environment;
	rc = open_rig(&r);
	close_rig(&r);
	free(environment);
	return rc;
}

static void arguments_have_a_bound(void **state)
{
	static char longer[LONGEST + 2], half[LONGEST / 2];
	static char *many[PROTOCOL_MAX_STRINGS];

	(void)state;
	memset(longer, 'x', LONGEST + 1);
	memset(half, 'y', sizeof(half) - 1);
	many[0] = longer;
	assert_int_equal(create_with(many, 1, 0), -E2BIG);
	/* 2 MiB with the NULs, and a byte more. */
	for (unsigned int i = 0; i < 33; i++)
		many[i] = half;
	assert_int_equal(create_with(many, 32, 0), 0);
	assert_int_equal(create_with(many, 32, 1), -E2BIG);
	assert_int_equal(create_with(many, 33, 0), -E2BIG);
	for (unsigned int i = 0; i < PROTOCOL_MAX_STRINGS; i++)
		many[i] = half + sizeof(half) - 1;
	assert_int_equal(create_with(many, PROTOCOL_MAX_STRINGS - 1, 0), 0);
	assert_int_equal(create_with(many, PROTOCOL_MAX_STRINGS, 0), -E2BIG);
	assert_int_equal(create_with(many, 1, PROTOCOL_MAX_STRINGS), -E2BIG);
}

/* ---- stdin ---- */

static void the_end_of_stdin_comes_with_its_count(void **state)
{
	const struct protocol_count count = { .bytes = 5 };
	uint8_t wanted[64], got[64];
	struct rig r;

	(void)state;
	default_rig(&r);
	get_ready(&r);
	assert_int_equal(write(r.in[1], "hello", 5), 5);
	close_end(&r.in[1]);
	while (!term_has_input(r.io))
		step(&r);
	step(&r); /* the end is seen */
	assert_int_equal(hear_all(&r, got, sizeof(got)), 0);
	assert_int_equal(get(&r, STDIN, got, 3), 3);
	assert_int_equal(hear_all(&r, got + 3, 32), 0);
	r.readable[CONTROL] = 0;
	assert_int_equal(get(&r, STDIN, got + 3, 32), 2);
	assert_memory_equal(got, "hello", 5);
	assert_true(r.readable[CONTROL] > 0);
	assert_int_equal(get(&r, STDIN, got, 1), -EAGAIN);
	put_message(wanted, PROTOCOL_STDIN_END, &count, sizeof(count));
	assert_int_equal(hear_all(&r, got, sizeof(got)), 16);
	assert_memory_equal(got, wanted, 16);
	assert_int_equal(hear_all(&r, got, sizeof(got)), 0);
	close_rig(&r);
}

static void stdin_that_nobody_wants_stays(void **state)
{
	uint8_t got[64];
	struct rig r;

	(void)state;
	default_rig(&r);
	get_ready(&r);
	assert_int_equal(write(r.in[1], "hello", 5), 5);
	while (!term_has_input(r.io))
		step(&r);
	say(&r, PROTOCOL_STDIN_CLOSED, NULL, 0);
	assert_int_equal(get(&r, STDIN, got, sizeof(got)), -EAGAIN);
	close_end(&r.in[1]);
	step(&r);
	assert_int_equal(hear_all(&r, got, sizeof(got)), 0);
	assert_int_equal(r.ended, 0);
	close_rig(&r);
}

/* ---- the end ---- */

enum {
	DO_OUT,
	DO_OUT_END,
	DO_ERR,
	DO_ERR_END,
	DO_EXITED,
	NR_DOINGS,
};

static void act(struct rig *r, unsigned int what)
{
	switch (what) {
	case DO_OUT:
		assert_int_equal(give(r, STDOUT, "out", 3), 3);
		break;
	case DO_OUT_END:
		say_stream_end(r, 1, 3);
		break;
	case DO_ERR:
		assert_int_equal(give(r, STDERR, "error", 5), 5);
		break;
	case DO_ERR_END:
		say_stream_end(r, 2, 5);
		break;
	default:
		say_exited(r, PROTOCOL_END_EXITED, 42);
	}
}

static void end_in_this_order(const unsigned int order[NR_DOINGS])
{
	struct rig r;

	default_rig(&r);
	get_ready(&r);
	say(&r, PROTOCOL_STARTED, NULL, 0);
	assert_int_equal(r.started, 1);
	for (unsigned int i = 0; i < NR_DOINGS; i++) {
		assert_int_equal(command_result(r.command).end, COMMAND_UNKNOWN);
		assert_int_equal(r.ended, 0);
		act(&r, order[i]);
	}
	assert_int_equal(r.ended, 1);
	assert_int_equal(command_result(r.command).end, COMMAND_EXITED);
	assert_int_equal(command_result(r.command).value, 42);
	assert_true(command_result(r.command).ready);
	close_rig(&r);
}

static void permute(unsigned int order[NR_DOINGS], unsigned int from)
{
	if (from == NR_DOINGS)
		end_in_this_order(order);
	for (unsigned int i = from; i < NR_DOINGS; i++) {
		unsigned int chosen = order[i];

		order[i] = order[from];
		order[from] = chosen;
		permute(order, from + 1);
		order[from] = order[i];
		order[i] = chosen;
	}
}

static void ends_may_come_in_any_order(void **state)
{
	unsigned int order[NR_DOINGS] = { DO_OUT, DO_OUT_END, DO_ERR, DO_ERR_END, DO_EXITED };

	(void)state;
	permute(order, 0);
}

static void a_terminal_is_one_stream(void **state)
{
	struct rig r = { .config = { .terminal = true } };

	(void)state;
	assert_int_equal(open_rig(&r), 0);
	get_ready(&r);
	say(&r, PROTOCOL_STARTED, NULL, 0);
	say_exited(&r, PROTOCOL_END_SIGNALED, 9);
	assert_int_equal(r.ended, 0);
	say_stream_end(&r, 1, 0);
	assert_int_equal(r.ended, 1);
	assert_int_equal(command_result(r.command).end, COMMAND_SIGNALED);
	assert_int_equal(command_result(r.command).value, 9);
	close_rig(&r);
}

static void a_command_that_is_not_there(void **state)
{
	struct rig r;

	(void)state;
	default_rig(&r);
	get_ready(&r);
	say_exited(&r, PROTOCOL_END_NOT_STARTED, ENOENT);
	say_stream_end(&r, 1, 0);
	say_stream_end(&r, 2, 0);
	assert_int_equal(r.ended, 1);
	assert_int_equal(r.started, 0);
	assert_int_equal(command_result(r.command).end, COMMAND_NOT_STARTED);
	assert_int_equal(command_result(r.command).value, ENOENT);
	close_rig(&r);
}

static void say_results_end(struct rig *r, uint64_t bytes)
{
	const struct protocol_count count = { .bytes = bytes };

	say(r, PROTOCOL_RESULTS_END, &count, sizeof(count));
}

/* Here nobody takes them, which is a failure; but they are waited for. */
static void results_are_waited_for(void **state)
{
	struct rig r = { .config = { .results = "/out" } };

	(void)state;
	assert_int_equal(open_rig(&r), 0);
	get_ready(&r);
	say(&r, PROTOCOL_STARTED, NULL, 0);
	say_stream_end(&r, 1, 0);
	say_stream_end(&r, 2, 0);
	say_exited(&r, PROTOCOL_END_EXITED, 0);
	assert_int_equal(give(&r, RESULTS, "12", 2), 2);
	say_results_end(&r, 5);
	assert_int_equal(give(&r, RESULTS, "34", 2), 2);
	assert_int_equal(r.ended, 0);
	assert_int_equal(give(&r, RESULTS, "5", 1), 1);
	assert_int_equal(r.ended, 1);
	assert_int_equal(command_result(r.command).end, COMMAND_FAILED);
	close_rig(&r);
}

/* Those of a command that is saved come where it goes on, unless some have come before. */
static void results_are_for_who_goes_on(void **state)
{
	struct rig r = { .config = { .results = "/out" } };
	uint8_t saved[512];
	struct state s;
	size_t bytes;

	(void)state;
	assert_int_equal(open_rig(&r), 0);
	get_ready(&r);
	say(&r, PROTOCOL_STARTED, NULL, 0);
	bytes = save_command(&r, saved, sizeof(saved));
	assert_int_equal(give(&r, RESULTS, "1", 1), 1);
	assert_non_null(command_refuses_snapshot(r.command));
	assert_int_equal(try_to_save_command(&r, saved + bytes, sizeof(saved) - bytes), -EINVAL);
	close_rig(&r);

	r = (struct rig){ .config = { .results = "/out" } };
	assert_int_equal(open_rig(&r), 0);
	state_init_load(&s, saved, bytes);
	command_carry(r.command, &s);
	assert_int_equal(state_end(&s), 0);
	say_stream_end(&r, 1, 0);
	say_stream_end(&r, 2, 0);
	say_exited(&r, PROTOCOL_END_EXITED, 0);
	assert_int_equal(give(&r, RESULTS, "123", 3), 3);
	assert_int_equal(r.ended, 0);
	say_results_end(&r, 3);
	assert_int_equal(r.ended, 1);
	assert_int_equal(command_result(r.command).end, COMMAND_FAILED); /* nobody takes them */
	close_rig(&r);
}

/* ---- output ---- */

#define MUCH  (64u << 20)
#define PIECE 32768u

static uint8_t byte_at(size_t at)
{
	return (uint8_t)(at * 31 >> 7);
}

static size_t read_and_compare(int fd, size_t at)
{
	static uint8_t got[65536];
	ssize_t n = read(fd, got, sizeof(got));

	for (ssize_t i = 0; i < n; i++)
		if (got[i] != byte_at(at + (size_t)i))
			fail_msg("byte %zu", at + (size_t)i);
	return n > 0 ? (size_t)n : 0;
}

static void a_reader_that_stops_loses_nothing(void **state)
{
	static uint8_t piece[PIECE];
	size_t sent = 0, got = 0, stops = 0;
	struct rig r;

	(void)state;
	default_rig(&r);
	get_ready(&r);
	say(&r, PROTOCOL_STARTED, NULL, 0);
	while (sent < MUCH) {
		size_t bytes = min_u64(PIECE, MUCH - sent);
		ssize_t n;

		for (size_t i = 0; i < bytes; i++)
			piece[i] = byte_at(sent + i);
		n = give(&r, STDOUT, piece, bytes);
		sent += n > 0 ? (size_t)n : 0;
		if (n > 0)
			continue;
		assert_int_equal(n, -EAGAIN);
		/* Nothing but the reader makes it go on, and stderr is not held up by it. */
		assert_int_equal(give(&r, STDOUT, piece, bytes), -EAGAIN);
		if (!stops++)
			assert_int_equal(give(&r, STDERR, "e", 1), 1);
		r.writable[STDOUT] = 0;
		while (!r.writable[STDOUT]) {
			got += read_and_compare(r.out[0], got);
			step(&r);
		}
	}
	assert_true(stops > 10);
	say_exited(&r, PROTOCOL_END_EXITED, 0);
	say_stream_end(&r, 2, 1);
	assert_int_equal(r.ended, 0);
	say_stream_end(&r, 1, MUCH);
	assert_int_equal(r.ended, 1);
	while (got < MUCH) {
		sink_flush(term_sink(r.io));
		got += read_and_compare(r.out[0], got);
	}
	assert_int_equal(read_and_compare(r.out[0], got), 0);
	close_rig(&r);
}

/* "yes | head": the command hears that nobody reads it, once. */
static void a_reader_that_goes_is_told(void **state)
{
	const struct protocol_stream stream = { .stream = 1 };
	uint8_t wanted[64], got[64];
	struct rig r;

	(void)state;
	default_rig(&r);
	get_ready(&r);
	close_end(&r.out[0]);
	assert_int_equal(give(&r, STDOUT, "y\n", 2), 2);
	while (!sink_error(term_sink(r.io)))
		step(&r);
	r.readable[CONTROL] = 0;
	assert_int_equal(give(&r, STDOUT, "y\n", 2), 2);
	assert_true(r.readable[CONTROL] > 0);
	assert_int_equal(hear_all(&r, got, sizeof(got)),
			 put_message(wanted, PROTOCOL_STREAM_CLOSED, &stream, sizeof(stream)));
	assert_memory_equal(got, wanted, 12);
	assert_int_equal(give(&r, STDOUT, "y\n", 2), 2);
	assert_int_equal(hear_all(&r, got, sizeof(got)), 0);
	say_stream_end(&r, 1, 6);
	say_stream_end(&r, 2, 0);
	say(&r, PROTOCOL_STARTED, NULL, 0);
	say_exited(&r, PROTOCOL_END_SIGNALED, SIGPIPE);
	assert_int_equal(r.ended, 1);
	close_rig(&r);
}

/* However often a window changes while nobody listens: the last size is what counts. */
static void the_last_size_of_the_window_is_told(void **state)
{
	const struct protocol_size last = { .columns = 999, .rows = 42 };
	struct rig r = { .config = { .terminal = true } };
	uint8_t wanted[64], got[4096];
	size_t bytes, n;

	(void)state;
	assert_int_equal(open_rig(&r), 0);
	for (uint16_t i = 0; i < 1000; i++)
		command_set_size(r.command, i, 42);
	say_ready(&r);
	n = hear_all(&r, got, sizeof(got));
	bytes = put_message(wanted, PROTOCOL_SIZE, &last, sizeof(last));
	assert_true(n > bytes);
	assert_memory_equal(got + n - bytes, wanted, bytes);
	/* The plan's end is right before it. */
	put_message(wanted, PROTOCOL_GO, NULL, 0);
	assert_memory_equal(got + n - bytes - 8, wanted, 8);
	command_set_size(r.command, 80, 25);
	assert_int_equal(hear_all(&r, got, sizeof(got)), bytes);
	assert_int_equal(hear_all(&r, got, sizeof(got)), 0);
	close_rig(&r);
	/* Without a terminal there is none. */
	default_rig(&r);
	get_ready(&r);
	command_set_size(r.command, 80, 25);
	assert_int_equal(hear_all(&r, got, sizeof(got)), 0);
	close_rig(&r);
}

/* Once each time, and not before the plan has been read. */
static void it_is_asked_to_end(void **state)
{
	uint8_t wanted[64], got[4096];
	const size_t bytes = put_message(wanted, PROTOCOL_STOP, NULL, 0);
	struct rig r;
	size_t n;

	(void)state;
	default_rig(&r);
	command_ask_end(r.command);
	command_ask_end(r.command);
	assert_int_equal(hear_all(&r, got, sizeof(got)), 0);
	say_ready(&r);
	n = hear_all(&r, got, sizeof(got));
	assert_true(n > 2 * bytes);
	assert_memory_equal(got + n - bytes, wanted, bytes);
	put_message(wanted, PROTOCOL_GO, NULL, 0);
	assert_memory_equal(got + n - 2 * bytes, wanted, bytes);
	r.readable[CONTROL] = 0;
	command_ask_end(r.command);
	assert_true(r.readable[CONTROL] > 0);
	assert_int_equal(hear_all(&r, got, sizeof(got)), bytes);
	assert_int_equal(hear_all(&r, got, sizeof(got)), 0);
	close_rig(&r);
}

static unsigned int nr_gone;

static void on_gate_end(void *arg)
{
	(void)arg;
	nr_gone++;
}

static void tell_gate(struct rig *r, int fd, uint32_t kind, uint32_t value)
{
	const struct gate_message m = { kind, value };

	assert_int_equal(send(fd, &m, sizeof(m), 0), sizeof(m));
	step(r);
}

static void a_container_waits_at_its_gate(void **state)
{
	const struct gate_client client = { .gone = on_gate_end };
	const struct protocol_signal signal = { .number = 15 };
	const struct command_result result = { .end = COMMAND_NOT_STARTED, .value = 2 };
	uint8_t more[64], go[64], wanted[64], got[4096];
	const size_t more_bytes = put_message(more, PROTOCOL_STEP, "step", 4);
	const size_t go_bytes = put_message(go, PROTOCOL_GO, NULL, 0);
	const size_t bytes = put_message(wanted, PROTOCOL_SIGNAL, &signal, sizeof(signal));
	struct rig r = { .config = { .held = true, .more = more, .more_bytes = more_bytes } };
	struct gate_message m;
	struct gate *gate;
	int pair[2];
	size_t n;

	(void)state;
	assert_int_equal(open_rig(&r), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(gate_create(&gate, r.loop, pair[0], r.command, &client), 0);
	say_ready(&r);
	assert_int_equal(hear_all(&r, got, sizeof(got)), 0);
	/* A signal waits for the start, and comes once. */
	tell_gate(&r, pair[1], GATE_SIGNAL, 15);
	tell_gate(&r, pair[1], GATE_SIGNAL, 15);
	tell_gate(&r, pair[1], GATE_SIGNAL, 65);
	tell_gate(&r, pair[1], GATE_GO, 0);
	n = hear_all(&r, got, sizeof(got));
	assert_int_equal(n, SEED_MESSAGE_BYTES + more_bytes + go_bytes);
	assert_memory_equal(got + n - go_bytes, go, go_bytes);
	assert_memory_equal(got + n - go_bytes - more_bytes, more, more_bytes);
	say(&r, PROTOCOL_STARTED, NULL, 0);
	assert_int_equal(hear_all(&r, got, sizeof(got)), bytes);
	assert_memory_equal(got, wanted, bytes);
	assert_int_equal(hear_all(&r, got, sizeof(got)), 0);
	/* What has become of it is told once. */
	gate_ended(gate, &result);
	gate_ended(gate, &result);
	assert_int_equal(recv(pair[1], &m, sizeof(m), MSG_DONTWAIT), sizeof(m));
	assert_int_equal(m.kind, GATE_NOT_STARTED);
	assert_int_equal(m.value, 2);
	assert_int_equal(recv(pair[1], &m, sizeof(m), MSG_DONTWAIT), -1);
	close(pair[1]);
	step(&r);
	assert_int_equal(nr_gone, 1);
	gate_destroy(gate);
	close(pair[0]);
	close_rig(&r);
}

static void an_init_that_says_nothing_is_given_up(void **state)
{
	struct rig r;

	(void)state;
	minutes_are_short = true;
	default_rig(&r);
	listen_to_messages(&r);
	while (!r.ended)
		step(&r);
	stop_listening(&r);
	minutes_are_short = false;
	assert_string_equal(r.said, "lkvm: guest: nothing was heard of its first process for 60 s\n"
				    "  -v shows what its kernel says.\n");
	assert_int_equal(command_result(r.command).end, COMMAND_FAILED);
	assert_false(command_result(r.command).ready);
	close_rig(&r);
	/* One that was heard has no such limit. */
	minutes_are_short = true;
	default_rig(&r);
	get_ready(&r);
	minutes_are_short = false;
	usleep(60000);
	event_poll(r.loop);
	assert_int_equal(r.ended, 0);
	close_rig(&r);
}

/* Its memory was not looked at: it may be anybody's. */
static void one_that_was_restored_and_says_nothing_is_given_up(void **state)
{
	uint8_t plan[4096];
	struct rig r;

	(void)state;
	minutes_are_short = true;
	default_rig(&r);
	command_was_ready(r.command);
	assert_false(command_has_answered(r.command));
	assert_true(hear_all(&r, plan, sizeof(plan)) > 0);
	command_expect_ready(r.command, false); /* it is paused */
	usleep(60000);
	event_poll(r.loop);
	assert_int_equal(r.ended, 0);
	command_expect_ready(r.command, true);
	listen_to_messages(&r);
	while (!r.ended)
		step(&r);
	stop_listening(&r);
	assert_string_equal(r.said, "lkvm: guest: nothing was heard of its first process for 10 s since it was restored\n"
				    "  -v shows what its kernel says.\n");
	assert_int_equal(command_result(r.command).end, COMMAND_FAILED);
	assert_false(command_has_answered(r.command));
	close_rig(&r);
	/* Of one that is held nothing is expected until it is released. */
	r = (struct rig){ .config = { .held = true } };
	assert_int_equal(open_rig(&r), 0);
	command_was_ready(r.command);
	usleep(60000);
	event_poll(r.loop);
	assert_int_equal(r.ended, 0);
	assert_int_equal(hear_all(&r, plan, sizeof(plan)), 0);
	command_release(r.command);
	assert_true(hear_all(&r, plan, sizeof(plan)) > 0);
	listen_to_messages(&r);
	while (!r.ended)
		step(&r);
	stop_listening(&r);
	assert_int_equal(command_result(r.command).end, COMMAND_FAILED);
	close_rig(&r);
	/* One whose command has started has no such limit; nor has one that could not be started. */
	for (unsigned int i = 0; i < 2; i++) {
		default_rig(&r);
		command_was_ready(r.command);
		if (i)
			say(&r, PROTOCOL_STARTED, NULL, 0);
		else
			say_exited(&r, PROTOCOL_END_NOT_STARTED, ENOENT);
		assert_true(command_has_answered(r.command));
		command_expect_ready(r.command, true);
		usleep(60000);
		event_poll(r.loop);
		assert_int_equal(r.ended, 0);
		close_rig(&r);
	}
	minutes_are_short = false;
}

/* ---- a hostile guest ---- */

#define READY_BYTES		       64, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0
#define STARTED_BYTES		       65, 0, 0, 0, 0, 0, 0, 0
#define CLOSED_BYTES		       66, 0, 0, 0, 0, 0, 0, 0
#define EXITED_BYTES(end, value)       69, 0, 0, 0, 8, 0, 0, 0, end, 0, 0, 0, value, 0, 0, 0
#define END_BYTES(stream, first, last) 67, 0, 0, 0, 16, 0, 0, 0, stream, 0, 0, 0, 0, 0, 0, 0, \
				       first, 0, 0, 0, 0, 0, 0, last

#define SAYS(...) \
	{ \
		(const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }) \
	}

/* What cannot be a message, or not now. Three bytes came on stdout after READY. */
static const struct {
	const uint8_t *data;
	size_t bytes;
} bad_speech[] = {
	SAYS(0, 0, 0, 0, 0, 0, 0, 0),
	SAYS(1, 0, 0, 0, 0, 0, 0, 0), /* what lkvm says */
	SAYS(11, 0, 0, 0, 0, 0, 0, 0),
	SAYS(255, 255, 255, 255, 255, 255, 255, 255),
	SAYS(READY_BYTES), /* twice */
	SAYS(64, 0, 0, 0, 3, 0, 0, 0),
	SAYS(64, 0, 0, 0, 5, 0, 0, 0),
	SAYS(65, 0, 0, 0, 1, 0, 0, 0),
	SAYS(65, 0, 0, 0, 0, 0, 2, 0),
	SAYS(STARTED_BYTES, STARTED_BYTES),
	SAYS(CLOSED_BYTES, CLOSED_BYTES),
	SAYS(67, 0, 0, 0, 15, 0, 0, 0),
	SAYS(END_BYTES(0, 3, 0)),
	SAYS(END_BYTES(3, 3, 0)),
	SAYS(END_BYTES(1, 2, 0)), /* more has come */
	SAYS(END_BYTES(1, 3, 0), END_BYTES(1, 3, 0)),
	SAYS(END_BYTES(2, 0, 255), END_BYTES(2, 0, 255)),
	SAYS(69, 0, 0, 0, 7, 0, 0, 0),
	SAYS(69, 0, 0, 0, 12, 0, 0, 0),
	SAYS(EXITED_BYTES(0, 0)), /* it has not started */
	SAYS(STARTED_BYTES, EXITED_BYTES(0, 0), EXITED_BYTES(0, 0)),
	SAYS(STARTED_BYTES, EXITED_BYTES(1, 0)),
	SAYS(STARTED_BYTES, EXITED_BYTES(1, 65)),
	SAYS(STARTED_BYTES, EXITED_BYTES(2, 2)),
	SAYS(STARTED_BYTES, EXITED_BYTES(3, 1)),
	SAYS(STARTED_BYTES, EXITED_BYTES(255, 1)),
	SAYS(STARTED_BYTES, 69, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), /* 256 */
	SAYS(70, 0, 0, 0, 1, 4, 0, 0),					      /* 1025 bytes of text */
	SAYS(71, 0, 0, 0, 1, 4, 0, 0),
	SAYS(72, 0, 0, 0, 0, 0, 0, 0)
};

/* After it is over nothing that comes says or changes anything. */
static void babble(struct rig *r)
{
	static const uint8_t end[] = { READY_BYTES, STARTED_BYTES, END_BYTES(1, 3, 0), END_BYTES(2, 0, 0),
				       EXITED_BYTES(0, 0) };
	uint8_t noise[3000];

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)(i * 13);
	assert_int_equal(give(r, CONTROL, end, sizeof(end)), sizeof(end));
	assert_int_equal(give(r, CONTROL, noise, sizeof(noise)), sizeof(noise));
	assert_true(give(r, STDOUT, noise, sizeof(noise)) > 0);
	assert_int_equal(give(r, STDIN, noise, sizeof(noise)), sizeof(noise));
	get(r, CONTROL, noise, sizeof(noise));
	get(r, STDIN, noise, sizeof(noise));
	get(r, STDOUT, noise, sizeof(noise));
}

static void assert_refused(struct rig *r, size_t number)
{
	const bool at_once = r->ended == 1;

	babble(r);
	stop_listening(r);
	if (!at_once || r->ended != 1 || count_messages(r->said) != 1 ||
	    command_result(r->command).end != COMMAND_FAILED)
		fail_msg("speech %zu: ended %u, said [%s]", number, r->ended, r->said);
	assert_non_null(strstr(r->said, "\n  it may have been taken over.\n"));
	close_rig(r);
}

static void bad_messages_are_one_message(void **state)
{
	struct rig r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_speech); i++) {
		default_rig(&r);
		get_ready(&r);
		assert_int_equal(give(&r, STDOUT, "out", 3), 3);
		listen_to_messages(&r);
		for (size_t k = 0; k < bad_speech[i].bytes; k++)
			assert_int_equal(give(&r, CONTROL, bad_speech[i].data + k, 1), 1);
		assert_refused(&r, i);
	}
}

static void nothing_may_come_before_ready(void **state)
{
	static const uint8_t early[][24] = {
		{ STARTED_BYTES },
		{ CLOSED_BYTES },
		{ END_BYTES(1, 0, 0) },
		{ EXITED_BYTES(2, 2) },
		{ 64, 0, 0, 0, 4, 0, 0, 0, 2 }, /* of another version */
	};
	struct rig r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(early); i++) {
		struct protocol_header h;

		default_rig(&r);
		listen_to_messages(&r);
		memcpy(&h, early[i], sizeof(h));
		give(&r, CONTROL, early[i], sizeof(h) + h.bytes);
		assert_refused(&r, i);
	}
}

static void more_than_the_end_is_refused_and_not_shown(void **state)
{
	char got[16] = "";
	struct rig r;

	(void)state;
	default_rig(&r);
	get_ready(&r);
	assert_int_equal(give(&r, STDOUT, "out", 3), 3);
	say_stream_end(&r, 1, 5);
	listen_to_messages(&r);
	assert_int_equal(give(&r, STDOUT, "123", 3), 3);
	assert_refused(&r, 0);
	assert_int_equal(r.ended, 1);
	/* ... also when nothing is missing but the status. */
	default_rig(&r);
	get_ready(&r);
	say_stream_end(&r, 1, 0);
	listen_to_messages(&r);
	assert_int_equal(give(&r, STDOUT, "1", 1), 1);
	sink_flush(term_sink(r.io));
	assert_int_equal(read(r.out[0], got, sizeof(got)), -1);
	assert_refused(&r, 1);
}

static void results_that_lie_are_refused(void **state)
{
	(void)state;
	for (unsigned int way = 0; way < 4; way++) {
		struct rig r = { .config = { .results = way == 3 ? NULL : "/out" } };

		assert_int_equal(open_rig(&r), 0);
		get_ready(&r);
		listen_to_messages(&r);
		if (way < 3)
			assert_int_equal(give(&r, RESULTS, "123", 3), 3);
		say_results_end(&r, way == 0 ? 2 : 4);
		if (way == 1)
			say_results_end(&r, 4);
		if (way == 2)
			assert_int_equal(give(&r, RESULTS, "45", 2), 2);
		assert_refused(&r, way);
	}
}

/* A message that does not end is no message: nothing happens. */
static void cut_messages_say_nothing(void **state)
{
	static const uint8_t speech[] = { READY_BYTES, STARTED_BYTES, CLOSED_BYTES, END_BYTES(1, 0, 0),
					  END_BYTES(2, 0, 0), EXITED_BYTES(0, 7) };

	(void)state;
	for (size_t cut = 0; cut <= sizeof(speech); cut++) {
		struct rig r;

		default_rig(&r);
		assert_int_equal(cut ? give(&r, CONTROL, speech, cut) : 0, cut);
		assert_int_equal(r.ended, cut == sizeof(speech));
		assert_int_equal(command_result(r.command).end,
				 cut == sizeof(speech) ? COMMAND_EXITED : COMMAND_UNKNOWN);
		close_rig(&r);
	}
}

static void text_drives_no_terminal(void **state)
{
	static const char text[] = "a\033[2J\r\x80\x7f\nb\nlkvm: c";
	struct rig r;

	(void)state;
	default_rig(&r);
	get_ready(&r);
	listen_to_messages(&r);
	for (int i = 0; i < 100; i++)
		say(&r, PROTOCOL_NOTICE, text, sizeof(text) - 1);
	stop_listening(&r);
	assert_int_equal(count_messages(r.said), 20);
	r.said[strcspn(r.said, "b") + 9] = '\0';
	assert_string_equal(r.said, "lkvm: guest: a?[2J???\n  b?lkvm: c");
	assert_int_equal(r.ended, 0);
	listen_to_messages(&r);
	say(&r, PROTOCOL_FAILED, text, sizeof(text) - 1);
	say(&r, PROTOCOL_FAILED, text, sizeof(text) - 1);
	say(&r, PROTOCOL_NOTICE, text, 0);
	stop_listening(&r);
	assert_string_equal(r.said, "lkvm: guest: a?[2J???\n  b?lkvm: c\n");
	assert_int_equal(command_result(r.command).end, COMMAND_FAILED);
	assert_int_equal(r.ended, 1);
	close_rig(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_plan_is_what_was_asked),
		cmocka_unit_test(no_two_seeds_are_the_same),
		cmocka_unit_test(one_that_waits_goes_on_elsewhere),
		cmocka_unit_test(one_that_cannot_do_it_has_answered),
		cmocka_unit_test(one_that_runs_goes_on_elsewhere),
		cmocka_unit_test(input_that_was_read_ahead_goes_along),
		cmocka_unit_test(what_comes_before_it_is_saved_counts),
		cmocka_unit_test(a_saved_command_may_be_anything),
		cmocka_unit_test(arguments_have_a_bound),
		cmocka_unit_test(the_end_of_stdin_comes_with_its_count),
		cmocka_unit_test(stdin_that_nobody_wants_stays),
		cmocka_unit_test(ends_may_come_in_any_order),
		cmocka_unit_test(a_terminal_is_one_stream),
		cmocka_unit_test(a_command_that_is_not_there),
		cmocka_unit_test(results_are_waited_for),
		cmocka_unit_test(results_are_for_who_goes_on),
		cmocka_unit_test(a_reader_that_stops_loses_nothing),
		cmocka_unit_test(a_reader_that_goes_is_told),
		cmocka_unit_test(the_last_size_of_the_window_is_told),
		cmocka_unit_test(it_is_asked_to_end),
		cmocka_unit_test(a_container_waits_at_its_gate),
		cmocka_unit_test(an_init_that_says_nothing_is_given_up),
		cmocka_unit_test(one_that_was_restored_and_says_nothing_is_given_up),
		cmocka_unit_test(bad_messages_are_one_message),
		cmocka_unit_test(nothing_may_come_before_ready),
		cmocka_unit_test(more_than_the_end_is_refused_and_not_shown),
		cmocka_unit_test(results_that_lie_are_refused),
		cmocka_unit_test(cut_messages_say_nothing),
		cmocka_unit_test(text_drives_no_terminal),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
