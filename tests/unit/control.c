// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM's socket: requests, hostile clients, and, the other way round, clients of hostile or hanging VMs;
 * the JSON that both exchange.
 */
#include "tests/lib/unit.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "control/client.h"
#include "control/json.h"
#include "control/server.h"
#include "event.h"
#include "io.h"
#include "utf8.h"
#include "util.h"

#define STATUS	    "{\"v\":1,\"do\":\"status\"}\n"
#define STOP	    "{\"v\":1,\"do\":\"stop\"}\n"
#define PATIENCE_NS 20000000000ull

/* ---- JSON ---- */

static int parse(struct json_object *o, const char *text, char *copy)
{
	strcpy(copy, text);
	return json_parse(o, copy, strlen(copy));
}

static void test_json(void **state)
{
	static const char *const good[] = {
		"{}", " { } ", "{\"a\":1}", "\t{\"a\" : 1 , \"b\" : \"\" }\r", "{\"a\":-1.5e+7}",
		"{\"a\":true,\"b\":false,\"c\":null}", "{\"a\":0}", "{\"\":0}", "{\"a\":\"\\u00e9\\ud83d\\ude00\"}"
	};
	static const char *const bad[] = {
		"", "{", "}", "[]", "1", "null", "{}x", "{}{}", "{a:1}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}",
		"{,}", "{\"a\":01}", "{\"a\":+1}", "{\"a\":1.}", "{\"a\":.5}", "{\"a\":1e}", "{\"a\":-}",
		"{\"a\":{}}", "{\"a\":[1]}", "{\"a\":tru}", "{\"a\":\"}", "{\"a\":\"\\x\"}", "{\"a\":\"\\u12\"}",
		"{\"a\":\"\\u0000\"}", "{\"a\":\"\\ud800\"}", "{\"a\":\"\\ud800\\u0041\"}", "{\"a\":\"\\udc00\"}",
		"{\"a\":\"\x01\"}", "{\"a\":\"\xff\"}", "{\"a\":\"\xc0\x80\"}", "{\"a\":\"\xe4\"}", "{\"a\":\"\\",
		"{\"a\":1,\"a\":2}", "{\"a\":1 \"b\":2}", "{'a':1}", "{\"a\":NaN}"
	};
	struct json_object o;
	char copy[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(parse(&o, good[i], copy), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse(&o, bad[i], copy), -EINVAL);
	/* A NUL is no end. */
	memcpy(copy, "{}\0", 3);
	assert_int_equal(json_parse(&o, copy, 3), -EINVAL);
}

static void test_utf8(void **state)
{
	static const char *const bad[] = {
		"\xff", "\xc3", "a\xe4", "\xc0\x80", "\xe2\x82", "\xf0\x9f\x98", "\xed\xa0\x80", "\xf4\x90\x80\x80"
	};

	(void)state;
	assert_true(utf8_is_valid("", 0) && utf8_is_valid("a\0b", 3));
	assert_true(utf8_is_valid("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(utf8_is_valid(bad[i], strlen(bad[i])));
	/* What follows the text is not looked at. */
	assert_false(utf8_is_valid("\xc3\xa9", 1));
}

static void test_json_values(void **state)
{
	struct json_object o;
	char copy[1024], text[1024] = "{";
	uint64_t n = 5;

	(void)state;
	assert_int_equal(parse(&o, "{\"s\":\"a\\n\\\"\\\\\\/\\u00e9\\u20ac\\ud83d\\ude00\xc3\xa9\",\"n\":18446744073709551615,"
				   "\"big\":18446744073709551616,\"neg\":-1,\"t\":true,\"f\":false}",
			       copy),
			 0);
	assert_string_equal(json_get_string(&o, "s"), "a\n\"\\/\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa9");
	assert_true(json_get_count(&o, "n", &n));
	assert_true(n == UINT64_MAX);
	assert_false(json_get_count(&o, "big", &n) || json_get_count(&o, "neg", &n) ||
		     json_get_count(&o, "s", &n) || json_get_count(&o, "none", &n));
	assert_true(n == UINT64_MAX);
	assert_null(json_get_string(&o, "n"));
	assert_true(json_is_true(&o, "t"));
	assert_false(json_is_true(&o, "f") || json_is_true(&o, "s") || json_is_true(&o, "none"));
	for (unsigned int i = 0; i <= JSON_MAX_MEMBERS; i++)
		sprintf(text + strlen(text), "%s\"m%u\":%u", i ? "," : "", i, i);
	strcat(text, "}");
	assert_int_equal(parse(&o, text, copy), -E2BIG);
}

/* ---- a VM ---- */

static char folder[64], path[108];
static pid_t vm;

static int set_up(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/lkvm-control-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/vm.sock", folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (vm) {
		kill(vm, SIGKILL);
		waitpid(vm, NULL, 0);
	}
	vm = 0;
	unlink(path);
	return rmdir(folder);
}

static const char *fake_state(void *loop)
{
	(void)loop;
	return "running";
}

static struct server *server; /* in the VM's process */
static unsigned int nr_gone;
static const char tag[1];

static void fake_stop(void *loop, struct server_connection *c, const struct json_object *request)
{
	(void)request;
	event_stop(loop);
	server_done(c);
}

static void on_gone(void *arg)
{
	assert(arg == &nr_gone);
	nr_gone++;
}

/* A pause takes until the VM is asked to resume, which is an end of the pause, too, for who asks for it. */
static void fake_pause(void *loop, struct server_connection *c, const struct json_object *request)
{
	(void)loop;
	(void)request;
	server_defer(c, tag, on_gone, &nr_gone);
}

static void fake_resume(void *loop, struct server_connection *c, const struct json_object *request)
{
	(void)loop;
	server_tell(server, tag, ",\"gone\":%u", nr_gone);
	server_finish(server, tag, json_get_string(request, "reason"));
	server_done(c);
}

/* Is answered while it is served, as if the answer came at once. */
static void fake_now(void *loop, struct server_connection *c, const struct json_object *request)
{
	static const char now[1];

	(void)loop;
	(void)request;
	server_defer(c, now, NULL, NULL);
	server_finish(server, now, NULL);
}

static void fake_stream(void *loop, struct server_connection *c, const struct json_object *request)
{
	int fd = server_take_socket(c);

	(void)loop;
	(void)request;
	if (fd < 0)
		return;
	assert(write(fd, "stream", 6) == 6);
	close(fd);
}

static const struct server_request fake_requests[] = {
	{ "stop", fake_stop },
	{ "pause", fake_pause },
	{ "resume", fake_resume },
	{ "now", fake_now },
	{ "stream", fake_stream },
	{ NULL, NULL },
};

/* In a process of its own, which ends with 0 when it is told to end. */
static void be_vm(const struct server_vm *facts, int ready)
{
	struct server_vm own = *facts;
	struct event_loop *loop;

	if (event_loop_create(&loop))
		_exit(2);
	own.arg = loop;
	if (server_create(&server, loop, path, &own) || strcmp(server_take_name(server).path, path))
		_exit(3);
	close(ready);
	event_run(loop);
	server_destroy(server);
	event_loop_destroy(loop);
	_exit(access(path, F_OK) ? 4 : 0); /* another's to remove */
}

static void start_vm_of(const char *kernel, const char *parent, char *const *arguments,
			unsigned int nr_arguments)
{
	const struct server_vm facts = {
		.start_ns = now_ns(),
		.cpus = 3,
		.ram_bytes = GIB(2),
		.kernel = kernel,
		.arguments = arguments,
		.nr_arguments = nr_arguments,
		.parent = parent,
		.state = fake_state,
		.requests = fake_requests,
	};
	int ready[2];
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	vm = fork();
	if (!vm) {
		close(ready[0]);
		be_vm(&facts, ready[1]);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 0);
	close(ready[0]);
}

static void start_vm(const char *kernel, char *const *arguments, unsigned int nr_arguments)
{
	start_vm_of(kernel, nr_arguments ? NULL : "/a \"snapshot\"", arguments, nr_arguments);
}

static int connect_to(const char *where)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const struct timeval patience = { .tv_sec = 20 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, where);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* The next line, without its newline; "" if the VM has closed the connection. */
static const char *hear(int fd)
{
	static char text[16384];
	size_t n = 0;

	while (n < sizeof(text) - 1 && recv(fd, text + n, 1, 0) == 1 && text[n] != '\n')
		n++;
	text[n] = '\0';
	return text;
}

static bool is_ok(const char *answer)
{
	return !strncmp(answer, "{\"v\":1,\"ok\":true", 16);
}

/* Whatever others do, this works. */
static void expect_service(void)
{
	int fd = connect_to(path);

	say(fd, STATUS);
	assert_true(is_ok(hear(fd)));
	close(fd);
}

static unsigned int open_files(void)
{
	char folder_name[64];
	unsigned int n = 0;
	DIR *dir;

	snprintf(folder_name, sizeof(folder_name), "/proc/%d/fd", vm);
	dir = opendir(folder_name);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void test_requests(void **state)
{
	static char command[1000];
	char *arguments[] = { (char *)"sh", command };
	struct json_object o;
	uint64_t n = 0;
	char copy[16384];
	int fd, status;

	(void)state;
	memset(command, '"', sizeof(command) - 1);
	start_vm("a\\b\xff", arguments, 2);
	fd = connect_to(path);
	say(fd, STATUS);
	assert_int_equal(parse(&o, hear(fd), copy), 0);
	assert_true(json_is_true(&o, "ok"));
	assert_string_equal(json_get_string(&o, "state"), "running");
	assert_string_equal(json_get_string(&o, "kernel"), "a\\b\xef\xbf\xbd");
	assert_memory_equal(json_get_string(&o, "command"), "sh \"\"\"", 6);
	assert_null(json_get_string(&o, "parent"));
	assert_true(json_get_count(&o, "cpus", &n) && n == 3);
	assert_true(json_get_count(&o, "mem_mib", &n) && n == 2048);
	assert_true(json_get_count(&o, "uptime_ms", &n) && n < 60000);
	/* Several in one piece, and one in pieces. */
	say(fd, STATUS STATUS "{\"v\":1,");
	assert_true(is_ok(hear(fd)));
	assert_true(is_ok(hear(fd)));
	say(fd, "\"do\":\"status\"}");
	say(fd, "\n");
	assert_true(is_ok(hear(fd)));
	say(fd, STOP);
	assert_true(is_ok(hear(fd)));
	assert_string_equal(hear(fd), "");
	close(fd);
	assert_int_equal(waitpid(vm, &status, 0), vm);
	vm = 0;
	assert_int_equal(status, 0);
}

/* Of whatever it is called: an answer has room for it, and a client for that. */
static void test_longest_facts(void **state)
{
	struct client *c = malloc(sizeof(*c));
	char name[PATH_MAX], *arguments[] = { name };
	const char *text;

	(void)state;
	memset(name, '\1', sizeof(name) - 1); /* six characters each */
	name[sizeof(name) - 1] = '\0';
	start_vm_of(name, name, arguments, 1);
	client_init(c, path, STATUS);
	client_ask(c, 1, now_ns() + PATIENCE_NS);
	assert_true(c->answered && json_is_true(&c->answer, "ok"));
	text = json_get_string(&c->answer, "parent");
	assert_true(text && strlen(text) >= 500 && !strncmp(text, name, strlen(text)));
	client_fini(c);
	free(c);
}

/* Answered with an error, and nothing else happens. */
static void test_refused(void **state)
{
	static const char *const requests[] = {
		"{}\n", "{\"v\":1}\n", "{\"v\":2,\"do\":\"stop\"}\n", "{\"do\":\"stop\"}\n", "{\"v\":1,\"do\":\"frob\"}\n",
		"{\"v\":1,\"do\":1}\n", "{\"v\":99999999999999999999999999,\"do\":\"stop\"}\n",
		"{\"v\":-1,\"do\":\"stop\"}\n", "{\"v\":1.0,\"do\":\"stop\"}\n", "{\"v\":\"1\",\"do\":\"stop\"}\n"
	};
	int fd;

	(void)state;
	start_vm("k", NULL, 0);
	fd = connect_to(path);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		say(fd, requests[i]);
		assert_memory_equal(hear(fd), "{\"v\":1,\"ok\":false,\"error\":\"", 27);
	}
	say(fd, STATUS);
	assert_non_null(strstr(hear(fd), ",\"parent\":\"/a \\\"snapshot\\\"\""));
	close(fd);
}

/* No object of JSON, or too long: the end of the connection. */
static void test_rubbish(void **state)
{
	static const char *const rubbish[] = {
		"\n", "stop\n", "{\"v\":1,\"do\":\"stop\"\n", "GET / HTTP/1.1\r\n", "{\"v\":1,\"do\":[\"stop\"]}\n",
		"\xff\xfe\n", "{\"v\":1,\"do\":\"stop\"}}\n"
	};
	char longest[SERVER_MAX_REQUEST_BYTES + 2];
	int fd;

	(void)state;
	start_vm("k", NULL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(rubbish); i++) {
		fd = connect_to(path);
		say(fd, rubbish[i]);
		assert_string_equal(hear(fd), "");
		close(fd);
	}
	/* The longest request there is, then one byte more. */
	for (unsigned int more = 0; more < 2; more++) {
		size_t bytes = SERVER_MAX_REQUEST_BYTES + more;

		memset(longest, ' ', bytes);
		memcpy(longest + bytes - strlen(STATUS), STATUS, strlen(STATUS) + 1);
		fd = connect_to(path);
		say(fd, longest);
		assert_int_equal(is_ok(hear(fd)), !more);
		close(fd);
	}
	expect_service();
}

/* Half a request, and then silence or the end. */
static void test_half_requests(void **state)
{
	int silent, gone;

	(void)state;
	start_vm("k", NULL, 0);
	silent = connect_to(path);
	gone = connect_to(path);
	say(silent, "{\"v\":1,\"do\":\"st");
	say(gone, "{\"v\":1,\"do\":\"stop\"}");
	shutdown(gone, SHUT_WR);
	assert_string_equal(hear(gone), "");
	close(gone);
	expect_service();
	close(silent);
	expect_service();
}

/* The one that has been silent the longest makes room. */
static void test_many_clients(void **state)
{
	int fds[SERVER_MAX_CLIENTS + 1];
	unsigned int files;

	(void)state;
	start_vm("k", NULL, 0);
	expect_service();
	files = open_files();
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = connect_to(path);
		say(fds[i], STATUS);
		assert_true(is_ok(hear(fds[i])));
		if (i == 1) {
			say(fds[0], STATUS); /* now the second is */
			assert_true(is_ok(hear(fds[0])));
		}
	}
	assert_string_equal(hear(fds[1]), "");
	say(fds[0], STATUS);
	assert_true(is_ok(hear(fds[0])));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	for (unsigned int i = 0; i < 10000; i++)
		close(connect_to(path));
	expect_service();
	expect_service();
	assert_in_range(open_files(), files - 1, files + SERVER_MAX_CLIENTS);
}

/* The answer comes later; others are served meanwhile, and the next request of the same client waits. */
static void test_pause(void **state)
{
	int one, two, gone;
	char byte;

	(void)state;
	start_vm("k", NULL, 0);
	one = connect_to(path);
	two = connect_to(path);
	gone = connect_to(path);
	say(gone, "{\"v\":1,\"do\":\"pause\"}\n");
	close(gone);
	say(one, "{\"v\":1,\"do\":\"pause\"}\n{\"v\":1,\"do\":\"frob\"}\n");
	say(two, "{\"v\":1,\"do\":\"pause\"}\n");
	expect_service();
	expect_service();
	assert_int_equal(recv(one, &byte, 1, MSG_DONTWAIT), -1);
	gone = connect_to(path);
	say(gone, "{\"v\":1,\"do\":\"resume\"}\n");
	assert_true(is_ok(hear(gone)));
	assert_string_equal(hear(one), "{\"v\":1,\"ok\":true,\"gone\":1}");
	assert_string_equal(hear(one), "{\"v\":1,\"ok\":true}");
	assert_memory_equal(hear(one), "{\"v\":1,\"ok\":false", 17);
	assert_string_equal(hear(two), "{\"v\":1,\"ok\":true,\"gone\":1}");
	assert_string_equal(hear(two), "{\"v\":1,\"ok\":true}");
	/* It cannot be done after all. */
	say(two, "{\"v\":1,\"do\":\"pause\"}\n");
	expect_service();
	say(gone, "{\"v\":1,\"do\":\"resume\",\"reason\":\"no\"}\n");
	assert_true(is_ok(hear(gone)));
	assert_true(is_ok(hear(two)));
	assert_string_equal(hear(two), "{\"v\":1,\"ok\":false,\"error\":\"no\"}");
	/* More than there is room for, while it waits. */
	say(one, "{\"v\":1,\"do\":\"pause\"}\n");
	for (unsigned int i = 0; i < SERVER_MAX_REQUEST_BYTES; i++)
		send(one, STATUS, strlen(STATUS), MSG_NOSIGNAL);
	assert_string_equal(hear(one), "");
	expect_service();
	close(one);
	close(two);
	close(gone);
}

/* Clients that come, say parts of all there is to say, in any pieces, listen or not, and go. Always the same ones. */
static void test_any_clients(void **state)
{
	static const char words[] = STATUS "{\"v\":1,\"do\":\"pause\"}\n{\"v\":1,\"do\":\"resume\"}\n{\"v\":1,\"do\":\"now\"}\n"
					   "{\"v\":1,\"do\":\"stream\"}\n{\"v\":18446744073709551615,\"do\":\"resume\",\"reason\":\"no\"}\n{\"v\":1,";
	int fds[SERVER_MAX_CLIENTS + 4];
	uint32_t random = 1;
	char heard[256];

	(void)state;
	start_vm("k", NULL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = -1;
	for (unsigned int n = 0; n < 20000; n++) {
		int *fd;
		size_t from, bytes;

		random = random * 1664525u + 1013904223u;
		fd = &fds[(random >> 8) % ARRAY_SIZE(fds)];
		from = (random >> 16) % 3 ? 0 : (random >> 13) % sizeof(words);
		bytes = (random >> 20) % (sizeof(words) - from);
		if (*fd < 0)
			*fd = connect_to(path);
		switch (random >> 29) {
		case 0:
			close(*fd);
			*fd = -1;
			break;
		case 1 ... 2:
			recv(*fd, heard, sizeof(heard), MSG_DONTWAIT);
			break;
		default:
			send(*fd, words + from, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	expect_service();
	expect_service();
	assert_in_range(open_files(), 3, 16 + SERVER_MAX_CLIENTS);
}

/* One that asks and asks and never listens. */
static void test_deaf_client(void **state)
{
	unsigned int sent = 0;
	int fd;

	(void)state;
	start_vm("k", NULL, 0);
	fd = connect_to(path);
	while (send(fd, STATUS, strlen(STATUS), MSG_NOSIGNAL) == (ssize_t)strlen(STATUS))
		assert_true(sent++ < 1000000);
	assert_true(errno == EPIPE || errno == ECONNRESET);
	expect_service();
	close(fd);
}

/* What is answered at once, and what stands behind it: each is read once. */
static void test_answered_at_once(void **state)
{
	static const char request[] = "{\"v\":1,\"do\":\"now\"}\n";
	int fd;

	(void)state;
	start_vm("k", NULL, 0);
	fd = connect_to(path);
	for (unsigned int i = 0; i < 3; i++)
		say(fd, request);
	say(fd, "{\"v\":1,\"do\":\"now\"}\n{\"v\":1,\"do\":\"frob\"}\n{\"v\":1,\"do\":\"now\"}\n{\"v\":1,");
	for (unsigned int i = 0; i < 4; i++)
		assert_true(is_ok(hear(fd)));
	assert_memory_equal(hear(fd), "{\"v\":1,\"ok\":false", 17);
	assert_true(is_ok(hear(fd)));
	say(fd, "\"do\":\"now\"}\n");
	assert_true(is_ok(hear(fd)));
	close(fd);
}

/* Who waits for an answer keeps his place. */
static void test_patient_clients(void **state)
{
	int fds[SERVER_MAX_CLIENTS], more;

	(void)state;
	start_vm("k", NULL, 0);
	fds[0] = connect_to(path);
	say(fds[0], "{\"v\":1,\"do\":\"pause\"}\n");
	for (unsigned int i = 0; i < 3 * SERVER_MAX_CLIENTS; i++)
		expect_service();
	for (unsigned int i = 1; i < SERVER_MAX_CLIENTS; i++) {
		fds[i] = connect_to(path);
		say(fds[i], STATUS);
		assert_true(is_ok(hear(fds[i])));
	}
	more = connect_to(path);
	say(more, "{\"v\":1,\"do\":\"resume\"}\n");
	assert_true(is_ok(hear(more)));
	assert_memory_equal(hear(fds[0]), "{\"v\":1,\"ok\":true,\"gone\":", 24);
	assert_string_equal(hear(fds[0]), "{\"v\":1,\"ok\":true}");
	for (unsigned int i = 0; i < SERVER_MAX_CLIENTS; i++)
		close(fds[i]);
	close(more);
	expect_service();
	/* All of them wait: one more is turned away. */
	for (unsigned int i = 0; i < SERVER_MAX_CLIENTS; i++) {
		fds[i] = connect_to(path);
		say(fds[i], STATUS "{\"v\":1,\"do\":\"pause\"}\n");
		assert_true(is_ok(hear(fds[i])));
	}
	more = connect_to(path);
	assert_string_equal(hear(more), "");
	close(more);
	for (unsigned int i = 0; i < SERVER_MAX_CLIENTS; i++)
		close(fds[i]);
	expect_service();
}

static void test_stream(void **state)
{
	static const char request[] = "{\"v\":1,\"do\":\"stream\"}\n";
	struct client *c = calloc(1, sizeof(*c));
	const char *rest;
	size_t bytes;
	char text[7] = "";
	int fd;

	(void)state;
	start_vm("k", NULL, 0);
	client_init(c, path, request);
	client_ask(c, 1, now_ns() + PATIENCE_NS);
	assert_true(c->answered && json_is_true(&c->answer, "ok"));
	fd = client_take_socket(c, &rest, &bytes);
	assert_in_range(bytes, 0, 6);
	memcpy(text, rest, bytes);
	while (bytes < 6) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		assert_int_equal(poll(&p, 1, 20000), 1);
		n = read(fd, text + bytes, 6 - bytes);
		assert_true(n > 0);
		bytes += (size_t)n;
	}
	assert_string_equal(text, "stream");
	client_fini(c);
	close(fd);
	free(c);
	/* Who sends more before he has the answer gets none. */
	fd = connect_to(path);
	say(fd, "{\"v\":1,\"do\":\"stream\"}\n{");
	assert_string_equal(hear(fd), "");
	close(fd);
	expect_service();
}

/* None is taken, of whatever kind it is: they would fill the VM's table. */
static void test_descriptors(void **state)
{
	int pass[100], kinds[10], fd;
	unsigned int files;
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(pass))];
	} a = { .header = {
			.cmsg_len = CMSG_LEN(sizeof(pass)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		} };
	struct iovec iov = { (void *)(uintptr_t)STATUS, strlen(STATUS) };
	const struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &a,
		.msg_controllen = sizeof(a),
	};

	(void)state;
	start_vm("k", NULL, 0);
	assert_int_equal(pipe(kinds), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, kinds + 2), 0);
	kinds[4] = open(folder, O_RDONLY | O_DIRECTORY);
	kinds[5] = open(path, O_PATH);
	kinds[6] = open("/dev/null", O_RDWR);
	kinds[7] = epoll_create1(0);
	kinds[8] = memfd_create("passed", 0);
	kinds[9] = eventfd(0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		assert_true(kinds[i] >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(pass); i++)
		pass[i] = kinds[i % ARRAY_SIZE(kinds)];
	memcpy(CMSG_DATA(&a.header), pass, sizeof(pass));
	fd = connect_to(path);
	say(fd, STATUS);
	assert_true(is_ok(hear(fd)));
	files = open_files();
	for (unsigned int i = 0; i < 100; i++) {
		assert_int_equal(sendmsg(fd, &m, MSG_NOSIGNAL), strlen(STATUS));
		assert_true(is_ok(hear(fd)));
	}
	assert_int_equal(open_files(), files);
	close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		close(kinds[i]);
}

/* A socket that a dead VM of that name has left is no obstacle. */
static void test_stale_socket(void **state)
{
	(void)state;
	write_file(path, "x", 1);
	start_vm("k", NULL, 0);
	expect_service();
}

/* ---- clients of VMs that hang or lie ---- */

static int listen_at(const char *where)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, where);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 0), 0);
	return fd;
}

/* One answers, one never accepts, one has no room for connections, one is not there: a bounded time. */
static void test_hanging_vms(void **state)
{
	struct client *c = calloc(4, sizeof(*c));
	char hangs[120], full[120], none[120];
	int hanging, filled, queued;
	uint64_t start;

	(void)state;
	snprintf(hangs, sizeof(hangs), "%s/hangs", folder);
	snprintf(full, sizeof(full), "%s/full", folder);
	snprintf(none, sizeof(none), "%s/none", folder);
	start_vm("k", NULL, 0);
	hanging = listen_at(hangs);
	filled = listen_at(full);
	queued = connect_to(full);
	client_init(&c[0], hangs, STATUS);
	client_init(&c[1], full, STATUS);
	client_init(&c[2], path, STATUS);
	client_init(&c[3], none, STATUS);
	start = now_ns();
	client_ask(c, 4, start + 300000000);
	assert_true(now_ns() - start < PATIENCE_NS);
	assert_false(c[0].answered || c[1].answered || c[3].answered);
	assert_true(c[2].answered);
	assert_string_equal(json_get_string(&c[2].answer, "state"), "running");
	for (unsigned int i = 0; i < 4; i++)
		client_fini(&c[i]);
	free(c);
	close(queued);
	close(hanging);
	close(filled);
	unlink(hangs);
	unlink(full);
}

/* What a VM that was taken over may say. */
static void test_lying_vm(void **state)
{
	static const char *const answers[] = { "\n", "no\n", "{\"v\":1", "{\"ok\":{}}\n", "" };
	struct client *c = malloc(sizeof(*c));

	(void)state;
	for (size_t i = 0; i <= ARRAY_SIZE(answers); i++) {
		int fd = listen_at(path), accepted;

		vm = fork();
		if (!vm) {
			accepted = accept(fd, NULL, NULL);
			if (i < ARRAY_SIZE(answers))
				send(accepted, answers[i], strlen(answers[i]), MSG_NOSIGNAL);
			else /* it never ends */
				while (send(accepted, "{{{{{{{{", 8, MSG_NOSIGNAL) == 8)
					;
			_exit(0);
		}
		close(fd);
		client_init(c, path, STATUS);
		client_ask(c, 1, now_ns() + PATIENCE_NS);
		assert_true(c->done);
		assert_false(c->answered);
		client_fini(c);
		assert_int_equal(waitpid(vm, NULL, 0), vm);
		vm = 0;
		unlink(path);
	}
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_json_values),
		cmocka_unit_test_setup_teardown(test_requests, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_longest_facts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rubbish, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_half_requests, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many_clients, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pause, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_any_clients, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_deaf_client, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_answered_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_patient_clients, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stream, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_descriptors, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stale_socket, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hanging_vms, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lying_vm, set_up, tear_down),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
