// SPDX-License-Identifier: GPL-2.0-only
/*
 * The console's host side: every kind of reader and writer that there is.
 * Starts threads.
 */
#include "tests/lib/unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>

#include "event.h"
#include "sink.h"
#include "term.h"
#include "tty.h"
#include "util.h"

static void on_tick(void *arg, uint32_t events)
{
	(void)events;
	event_stop(arg);
}

static void run_for_ms(struct event_loop *loop, unsigned int ms)
{
	int timer = event_timer_create(loop, on_tick, loop);

	event_keep(loop, timer);
	event_timer_set(loop, timer, ms * 1000000ull, 0);
	assert_int_equal(event_run(loop), 0);
}

static unsigned int quits;

static void on_quit(void *arg)
{
	(void)arg;
	quits++;
}

static struct term *create(struct event_loop *loop, int in_fd, int out_fd, struct sink *log)
{
	const struct term_config config = {
		.in_fd = in_fd,
		.out_fd = out_fd,
		.log = log,
		.quit = on_quit,
	};
	struct term *term;

	assert_int_equal(term_create(&term, loop, &config), 0);
	return term;
}

struct reader_thread {
	int fd;
	uint8_t *got;
	size_t total;
};

static void *slow_reader(void *arg)
{
	struct reader_thread *s = arg;
	ssize_t n;

	usleep(200000);
	while (s->total < SINK_RING_BYTES && (n = read(s->fd, s->got + s->total, 40000)) > 0) {
		s->total += (size_t)n;
		usleep(1000);
	}
	return NULL;
}

static void a_slow_reader_loses_nothing(void **state)
{
	struct event_loop *loop;
	struct term *term;
	static uint8_t sent[SINK_RING_BYTES], got[SINK_RING_BYTES];
	struct reader_thread reader = { .got = got };
	pthread_t thread;
	struct sink *log;
	int fd[2], log_fd = memfd_create("log", MFD_CLOEXEC);

	(void)state;
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 31 >> 3);
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(event_loop_create(&loop), 0);
	assert_int_equal(sink_create(&log, loop, &(struct sink_config){ .fd = log_fd, .is_own = true }), 0);
	term = create(loop, -1, fd[1], log);
	term_put(term, sent, sizeof(sent));
	assert_false(term_output_ready(term, false));
	run_for_ms(loop, 20);
	assert_true(term_output_ready(term, false)); /* the pipe took some of it */
	reader.fd = fd[0];
	assert_int_equal(pthread_create(&thread, NULL, slow_reader, &reader), 0);
	sink_finish(log, 0);
	sink_finish(term_sink(term), now_ns() + 60000000000ull);
	assert_true(term_is_shown(term));
	pthread_join(thread, NULL);
	assert_int_equal(reader.total, sizeof(sent));
	assert_memory_equal(sent, got, sizeof(sent));
	assert_int_equal(pread(log_fd, got, sizeof(got), 0), sizeof(got));
	assert_memory_equal(sent, got, sizeof(sent));
	term_destroy(term);
	sink_destroy(log);
	event_loop_destroy(loop);
	close(fd[0]);
	close(fd[1]);
	close(log_fd);
}

static void a_stopped_reader_is_left_at_the_deadline(void **state)
{
	static uint8_t much[SINK_RING_BYTES];
	struct event_loop *loop;
	struct term *term;
	uint64_t start;
	int fd[2];

	(void)state;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(event_loop_create(&loop), 0);
	term = create(loop, -1, fd[1], NULL);
	term_put(term, much, sizeof(much));
	start = now_ns();
	sink_finish(term_sink(term), start + 50000000);
	assert_true(now_ns() - start < 5000000000ull);
	assert_int_equal(sink_dropped(term_sink(term)), 983040);
	assert_string_equal(sink_why_dropped(term_sink(term)), "nobody read them");
	term_destroy(term);
	event_loop_destroy(loop);
	close(fd[0]);
	close(fd[1]);
}

static void a_closed_reader_costs_nothing(void **state)
{
	struct event_loop *loop;
	struct term *term;
	int fd[2];

	(void)state;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(event_loop_create(&loop), 0);
	term = create(loop, -1, fd[1], NULL);
	close(fd[0]);
	term_put(term, "lost", 4);
	run_for_ms(loop, 20);
	for (int i = 0; i < 3; i++) {
		static uint8_t much[SINK_RING_BYTES];

		term_put(term, much, sizeof(much));
		assert_true(term_output_ready(term, false));
	}
	sink_finish(term_sink(term), 0);
	assert_int_equal(sink_dropped(term_sink(term)), 3145732);
	assert_string_equal(sink_why_dropped(term_sink(term)), strerror(EPIPE));
	assert_false(term_is_shown(term));
	term_destroy(term);
	event_loop_destroy(loop);
	close(fd[1]);
}

struct flood {
	struct term *term;
	atomic_bool stop;
};

static void *flooding_guest(void *arg)
{
	struct flood *f = arg;

	while (!atomic_load(&f->stop))
		term_put(f->term, "x", 1);
	return NULL;
}

/* A guest that prints without a pause must not keep the loop from its timers. */
static void a_flood_does_not_hold_the_loop(void **state)
{
	struct event_loop *loop;
	struct flood f = { .stop = false };
	pthread_t thread;
	uint64_t start = now_ns();
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(event_loop_create(&loop), 0);
	f.term = create(loop, -1, fd, NULL);
	assert_int_equal(pthread_create(&thread, NULL, flooding_guest, &f), 0);
	run_for_ms(loop, 300);
	assert_true(now_ns() - start < 3000000000ull);
	atomic_store(&f.stop, true);
	pthread_join(thread, NULL);
	term_destroy(f.term);
	event_loop_destroy(loop);
	close(fd);
}

static void a_full_disk_is_survived(void **state)
{
	struct event_loop *loop;
	struct term *term;
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(event_loop_create(&loop), 0);
	term = create(loop, -1, fd, NULL);
	term_put(term, "text", 4);
	sink_finish(term_sink(term), 0);
	assert_string_equal(sink_why_dropped(term_sink(term)), strerror(ENOSPC));
	term_destroy(term);
	event_loop_destroy(loop);
	close(fd);
}

static void the_last_lines_are_reported_and_tame(void **state)
{
	struct event_loop *loop;
	struct term *term;
	char message[4096], line[64];
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC), saved;

	(void)state;
	assert_int_equal(event_loop_create(&loop), 0);
	term = create(loop, -1, fd, NULL);
	for (int i = 0; i < 200000; i++) {
		int n = snprintf(line, sizeof(line), "line %d\r\n", i);

		term_put(term, line, (size_t)n);
	}
	term_put(term, "\033[31mend", 8);
	assert_false(term_is_shown(term));
	saved = begin_capture();
	term_report_last_lines(term, 50);
	end_capture(saved, message, sizeof(message));
	assert_non_null(strstr(message, "line 199999\n?[31mend\n"));
	assert_non_null(strstr(message, "lines ---\nline 199951\n"));
	assert_null(strchr(message, '\033'));
	term_destroy(term);
	event_loop_destroy(loop);
	close(fd);
}

static size_t take_all(struct term *term, char *out, size_t max)
{
	size_t n = 0, got;

	while (n < max && (got = term_get(term, (uint8_t *)out + n, max - n)) > 0)
		n += got;
	return n;
}

static void a_pipe_is_passed_on_unchanged(void **state)
{
	static const char text[] = "\x01x \x01\x01 \x03 \xff end";
	struct event_loop *loop;
	struct term *term;
	char got[64];
	int fd[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)state;
	quits = 0;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(event_loop_create(&loop), 0);
	term = create(loop, fd[0], null, NULL);
	assert_int_equal(tty_take(fd[0]), TTY_NONE);
	assert_int_equal(write(fd[1], text, sizeof(text)), sizeof(text));
	close(fd[1]);
	run_for_ms(loop, 20);
	assert_int_equal(take_all(term, got, sizeof(got)), sizeof(text));
	assert_memory_equal(got, text, sizeof(text));
	assert_int_equal(quits, 0);
	term_destroy(term);
	event_loop_destroy(loop);
	close(fd[0]);
	close(null);
}

/* Somebody who shares our input: takes one byte of it before each read() of ours. */
static int robbed_fd = -1;

ssize_t read(int fd, void *data, size_t bytes)
{
	char stolen;

	if (robbed_fd >= 0 && bytes > 8) { /* no eventfd */
		assert_int_equal(syscall(SYS_read, robbed_fd, &stolen, 1), 1);
		robbed_fd = -1;
	}
	return syscall(SYS_read, fd, data, bytes);
}

/* What it is called where the compiler knows the room. */
ssize_t __read_chk(int fd, void *data, size_t bytes, size_t room);
ssize_t __read_chk(int fd, void *data, size_t bytes, size_t room)
{
	assert_true(bytes <= room);
	return read(fd, data, bytes);
}

static void input_that_another_one_takes_holds_up_nothing(void **state)
{
	int ends[2][2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct termios mode;
	char got[64];
	size_t taken;

	(void)state;
	assert_int_equal(pipe2(ends[0], O_CLOEXEC), 0);
	assert_int_equal(openpty(&ends[1][1], &ends[1][0], NULL, NULL, NULL), 0);
	tcgetattr(ends[1][0], &mode);
	cfmakeraw(&mode);
	tcsetattr(ends[1][0], TCSANOW, &mode);
	alarm(10);
	for (unsigned int i = 0; i < 2; i++) {
		struct event_loop *loop;
		struct term *term;

		assert_int_equal(event_loop_create(&loop), 0);
		term = create(loop, ends[i][0], null, NULL);
		robbed_fd = ends[i][0];
		assert_int_equal(write(ends[i][1], "a", 1), 1);
		for (; robbed_fd >= 0; usleep(1000)) /* a terminal passes it on in its own time, until the alarm */
			event_poll(loop);
		for (unsigned int n = 0; n < 20; n++, usleep(1000))
			event_poll(loop); /* it would read for ever */
		assert_int_equal(write(ends[i][1], "b", 1), 1);
		for (; !(taken = take_all(term, got, sizeof(got))); usleep(1000))
			event_poll(loop);
		assert_int_equal(taken, 1);
		assert_int_equal(got[0], 'b');
		assert_false(fcntl(ends[i][0], F_GETFL) & O_NONBLOCK); /* others have it, too */
		term_destroy(term);
		event_loop_destroy(loop);
		close(ends[i][0]);
		close(ends[i][1]);
	}
	alarm(0);
	close(null);
}

struct reader {
	struct term *term;
	uint8_t *got;
	size_t want, total;
};

static void *slow_guest(void *arg)
{
	struct reader *r = arg;

	while (r->total < r->want) {
		size_t n = term_get(r->term, r->got + r->total, 100);

		r->total += n;
		if (!n)
			usleep(100);
	}
	return NULL;
}

/* More than the buffer holds, from a file and from a pipe. */
static void long_input_is_not_cut(void **state)
{
	enum { BYTES = 100000 };
	static uint8_t sent[BYTES], got[BYTES];
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)state;
	for (size_t i = 0; i < BYTES; i++)
		sent[i] = (uint8_t)(i * 7 >> 2);
	for (int from_pipe = 0; from_pipe < 2; from_pipe++) {
		struct event_loop *loop;
		struct reader r = { .got = got, .want = BYTES };
		pthread_t thread;
		char path[] = "/tmp/lkvm-input-XXXXXX";
		int fd[2] = { mkstemp(path), -1 };

		unlink(path);
		if (from_pipe) {
			close(fd[0]);
			assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
			assert_true(fcntl(fd[1], F_SETPIPE_SZ, 1 << 18) > BYTES);
		}
		assert_int_equal(write(fd[from_pipe], sent, BYTES), BYTES);
		if (!from_pipe)
			lseek(fd[0], 0, SEEK_SET);
		assert_int_equal(event_loop_create(&loop), 0);
		r.term = create(loop, fd[0], null, NULL);
		memset(got, 0, sizeof(got));
		assert_int_equal(pthread_create(&thread, NULL, slow_guest, &r), 0);
		run_for_ms(loop, 1000);
		pthread_join(thread, NULL);
		assert_memory_equal(sent, got, BYTES);
		term_destroy(r.term);
		event_loop_destroy(loop);
		close(fd[0]);
		if (fd[1] >= 0)
			close(fd[1]);
	}
	close(null);
}

/* A process group of its own on a pty, as a shell would have started us. */
static int on_a_terminal(void (*test)(int tty), const char *keys)
{
	struct termios mode;
	int master, status;
	pid_t pid = forkpty(&master, NULL, NULL, NULL);
	char buf[4096];

	assert_true(pid >= 0);
	if (pid == 0) {
		test(STDIN_FILENO);
		_exit(0);
	}
	/* Before the terminal is raw Ctrl-C would be the end of the child. */
	do
		assert_int_equal(tcgetattr(master, &mode), 0);
	while (*keys && mode.c_lflag & ICANON && !usleep(1000));
	assert_int_equal(write(master, keys, strlen(keys)), strlen(keys));
	while (read(master, buf, sizeof(buf)) > 0)
		;
	waitpid(pid, &status, 0);
	close(master);
	return status;
}

static void terminal_child(int tty)
{
	struct event_loop *loop;
	struct termios before = { 0 }, raw, after = { 0 };
	struct term *term;
	char got[16] = "";
	bool ok;

	tcgetattr(tty, &before);
	event_loop_create(&loop);
	term = create(loop, tty, STDOUT_FILENO, NULL);
	tty_init();
	ok = tty_take(tty) == TTY_RAW;
	term_set_terminal(term, TTY_RAW);
	tcgetattr(tty, &raw);
	quits = 0;
	run_for_ms(loop, 400);
	ok = ok && !(raw.c_lflag & (ICANON | ECHO | ISIG));
	/* Ctrl-A Ctrl-A is one, Ctrl-A q is nothing, Ctrl-C is the guest's. */
	ok = ok && take_all(term, got, sizeof(got)) == 4 && !memcmp(got, "a\x01z\x03", 4);
	ok = ok && quits == 1;
	term_destroy(term);
	tty_give_back();
	tcgetattr(tty, &after);
	ok = ok && !memcmp(&before, &after, sizeof(before));
	event_loop_destroy(loop);
	_exit(ok ? 0 : 1);
}

static void a_terminal_is_raw_and_restored(void **state)
{
	(void)state;
	assert_int_equal(on_a_terminal(terminal_child, "a\x01\x01z\x01q\x03\x01x"), 0);
}

/* What a guest takes nothing of keeps neither Ctrl-A x nor, after its end, Ctrl-C from us. */
static void keys_are_found(const char *keys, bool ended)
{
	static char pasted[3 * TERM_INPUT_BYTES];
	struct termios mode;
	struct event_loop *loop;
	struct term *term;
	int master, slave, null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	size_t sent = 0;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	tcgetattr(slave, &mode);
	cfmakeraw(&mode);
	tcsetattr(slave, TCSANOW, &mode);
	fcntl(master, F_SETFL, O_NONBLOCK);
	memset(pasted, 'a', sizeof(pasted));
	memcpy(pasted + sizeof(pasted) - 2, keys, 2);
	assert_int_equal(event_loop_create(&loop), 0);
	term = create(loop, slave, null, NULL);
	term_set_terminal(term, TTY_RAW);
	if (ended)
		term_end(term);
	quits = 0;
	for (int i = 0; i < 1000 && !quits; i++) {
		ssize_t n = write(master, pasted + sent, sizeof(pasted) - sent);

		sent += n > 0 ? (size_t)n : 0;
		run_for_ms(loop, 20);
		event_restart(loop);
	}
	assert_int_equal(quits, 1);
	assert_int_equal(sent, sizeof(pasted));
	/* What came first is the guest's. */
	assert_int_equal(term_input_bytes(term), TERM_INPUT_BYTES);
	term_destroy(term);
	event_loop_destroy(loop);
	close(master);
	close(slave);
	close(null);
}

static void keys_are_found_behind_unread_input(void **state)
{
	(void)state;
	keys_are_found("\x01x", false);
	keys_are_found("\x01x", true);
	keys_are_found("a\x03", true);
}

static void crashing_child(int tty)
{
	struct termios before = { 0 }, after = { 0 };
	pid_t pid;
	int status;

	tcgetattr(tty, &before);
	pid = fork();
	if (pid == 0) {
		tty_init();
		if (tty_take(tty) != TTY_RAW)
			_exit(7);
		raise(SIGSEGV);
		_exit(8);
	}
	waitpid(pid, &status, 0);
	tcgetattr(tty, &after);
	_exit((WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV &&
	       !memcmp(&before, &after, sizeof(before))) ?
		      0 :
		      1);
}

static void a_crash_restores_the_terminal(void **state)
{
	(void)state;
	assert_int_equal(on_a_terminal(crashing_child, ""), 0);
}

static void look_at_a_cut_file(const char *path)
{
	const int fd = open(path, O_RDWR | O_CLOEXEC);
	const volatile char *p = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);

	tty_name_file((const void *)(uintptr_t)p, 8192, "its file was cut\n");
	tty_init();
	if (p == MAP_FAILED || p[5000] || ftruncate(fd, 4096))
		_exit(1);
	_exit(p[0] + p[5000] + 2);
}

/* The memory of a guest may be a file's, and others can write to that. */
static void a_file_that_is_cut_is_told(void **state)
{
	char path[] = "/tmp/lkvm-term-XXXXXX", said[64];
	const int fd = mkstemp(path), saved = begin_capture();
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(ftruncate(fd, 8192), 0);
	pid = fork();
	if (!pid)
		look_at_a_cut_file(path);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	end_capture(saved, said, sizeof(said));
	close(fd);
	unlink(path);
	assert_string_equal(said, "its file was cut\n");
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 125);
}

static void closed_descriptors_become_null(void **state)
{
	struct stat st;
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0) {
		close(0);
		close(2);
		tty_open_std_fds();
		_exit((!fstat(0, &st) && S_ISCHR(st.st_mode) && !fstat(2, &st) &&
		       S_ISCHR(st.st_mode)) ?
			      0 :
			      1);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slow_reader_loses_nothing),
		cmocka_unit_test(a_stopped_reader_is_left_at_the_deadline),
		cmocka_unit_test(a_closed_reader_costs_nothing),
		cmocka_unit_test(a_flood_does_not_hold_the_loop),
		cmocka_unit_test(a_full_disk_is_survived),
		cmocka_unit_test(the_last_lines_are_reported_and_tame),
		cmocka_unit_test(a_pipe_is_passed_on_unchanged),
		cmocka_unit_test(input_that_another_one_takes_holds_up_nothing),
		cmocka_unit_test(long_input_is_not_cut),
		cmocka_unit_test(a_terminal_is_raw_and_restored),
		cmocka_unit_test(keys_are_found_behind_unread_input),
		cmocka_unit_test(a_crash_restores_the_terminal),
		cmocka_unit_test(a_file_that_is_cut_is_told),
		cmocka_unit_test(closed_descriptors_become_null),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("term", tests, NULL, NULL);
}
