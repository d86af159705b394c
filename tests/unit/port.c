// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ports whose other side breaks off in the middle: whoever was told to wait for room is
 * told, once for each time, when to go on, whatever the client does, and the next client
 * finds a port that works.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "event.h"
#include "util.h"
#include "virtio/port.h"

struct rig {
	struct event_loop *loop;
	struct port *port;
	struct sockaddr_un addr;
	char folder[32];
	int client;
	void (*way)(struct rig *r);
	unsigned int visits, waits, writable, opened, closed;
	bool full;
};

#define VISITS 5u

static uint8_t chunk[4096];
static const struct iovec a_chunk = { chunk, sizeof(chunk) };

static void on_writable(void *arg)
{
	struct rig *r = arg;

	r->writable += r->full;
	r->full = false;
}

static void on_opened(void *arg, bool open)
{
	struct rig *r = arg;

	if (open)
		r->opened++;
	else
		r->closed++;
}

static void client_connects(struct rig *r)
{
	r->client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(r->client, (struct sockaddr *)&r->addr, sizeof(r->addr)), 0);
}

static void client_leaves(struct rig *r)
{
	close(r->client);
	client_connects(r);
}

static void client_shuts_down(struct rig *r)
{
	shutdown(r->client, SHUT_RDWR);
	client_leaves(r);
}

static void client_reads(struct rig *r)
{
	static uint8_t buf[1 << 20];

	while (read(r->client, buf, sizeof(buf)) > 0)
		;
}

static void on_tick(void *arg, uint32_t events)
{
	struct rig *r = arg;
	ssize_t n;

	(void)events;
	assert_true(++r->waits < 100000);
	if (r->full || !port_is_open(r->port))
		return; /* not told yet */
	if (r->visits++ == VISITS) {
		event_stop(r->loop);
		return;
	}
	while ((n = port_write(r->port, &a_chunk, 1, true)) > 0)
		;
	assert_int_equal(n, -EAGAIN);
	r->full = true;
	r->way(r);
}

static void go_on_after(void (*way)(struct rig *r))
{
	struct rig r = { .way = way, .addr.sun_family = AF_UNIX, .folder = "/tmp/lkvm-port-XXXXXX" };
	int timer;

	assert_non_null(mkdtemp(r.folder));
	snprintf(r.addr.sun_path, sizeof(r.addr.sun_path), "%s/s", r.folder);
	assert_int_equal(event_loop_create(&r.loop), 0);
	assert_int_equal(port_create(&r.port, r.loop,
				     &(struct port_config){
					     .kind = PORT_UNIX,
					     .name = "p",
					     .path = r.addr.sun_path,
				     }),
			 0);
	port_set_client(r.port,
			&(struct port_client){
				.writable = on_writable,
				.opened = on_opened,
				.arg = &r,
			});
	client_connects(&r);
	timer = event_timer_create(r.loop, on_tick, &r);
	event_timer_set(r.loop, timer, 200000, 200000);
	assert_int_equal(event_run(r.loop), 0);
	assert_int_equal(r.writable, VISITS);
	assert_int_equal(r.opened, way == client_reads ? 1 : VISITS + 1);
	assert_int_equal(r.closed, r.opened - 1);
	port_destroy(r.port);
	event_loop_destroy(r.loop);
	close(r.client);
	assert_int_equal(rmdir(r.folder), 0);
}

static void a_client_reads(void **state)
{
	(void)state;
	go_on_after(client_reads);
}

static void a_client_leaves(void **state)
{
	(void)state;
	go_on_after(client_leaves);
}

static void a_client_shuts_down(void **state)
{
	(void)state;
	go_on_after(client_shuts_down);
}

/* What the caller's other processes share keeps the flag that it has, and we wait all the same for nothing. */
static void an_inherited_socket_stays_as_it_is(void **state)
{
	struct port_config config = { .kind = PORT_FD, .name = "p" };
	static char buf[1 << 16];
	const struct iovec room = { buf, sizeof(buf) };
	struct rig r = { .full = false };
	int pair[2];
	ssize_t n;

	(void)state;
	alarm(20);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(event_loop_create(&r.loop), 0);
	config.fd = pair[0];
	assert_int_equal(port_create(&r.port, r.loop, &config), 0);
	assert_int_equal(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(port_read(r.port, &room, 1), -EAGAIN);
	assert_int_equal(write(pair[1], "hello", 5), 5);
	assert_int_equal(port_read(r.port, &room, 1), 5);
	assert_memory_equal(buf, "hello", 5);
	while ((n = port_write(r.port, &a_chunk, 1, true)) > 0)
		;
	assert_int_equal(n, -EAGAIN);
	port_destroy(r.port);
	event_loop_destroy(r.loop);
	/* The caller's end is the caller's. */
	assert_int_equal(write(pair[1], "more", 4), 4);
	assert_int_equal(read(pair[0], buf, sizeof(buf)), 4);
	close(pair[0]);
	close(pair[1]);
	alarm(0);
}

static int dry_run(struct rig *r, const char *path)
{
	const struct port_config config = { .kind = PORT_UNIX, .name = "p", .path = path, .dry_run = true };
	int saved = begin_capture(), rc;
	char said[300];

	rc = port_create(&r->port, r->loop, &config);
	if (!rc)
		port_destroy(r->port);
	end_capture(saved, said, sizeof(said));
	return rc;
}

static void a_dry_run_makes_no_socket(void **state)
{
	struct rig r = { .folder = "/tmp/lkvm-port-XXXXXX" };
	char path[200], longer[120];

	(void)state;
	assert_non_null(mkdtemp(r.folder));
	assert_int_equal(event_loop_create(&r.loop), 0);
	snprintf(path, sizeof(path), "%s/s", r.folder);
	assert_int_equal(dry_run(&r, path), 0);
	assert_int_equal(access(path, F_OK), -1);
	/* It says what a real one would. The second of two: */
	assert_int_equal(dry_run(&r, path), -EADDRINUSE);
	snprintf(path, sizeof(path), "%s/./s", r.folder);
	assert_int_equal(dry_run(&r, path), -EADDRINUSE);
	snprintf(path, sizeof(path), "%s/s/s", r.folder);
	assert_int_equal(dry_run(&r, path), -ENOENT);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(dry_run(&r, longer), -ENAMETOOLONG);
	assert_int_equal(dry_run(&r, r.folder), -EADDRINUSE);
	assert_int_equal(rmdir(r.folder), 0);
	event_loop_destroy(r.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_client_reads),
		cmocka_unit_test(a_client_leaves),
		cmocka_unit_test(a_client_shuts_down),
		cmocka_unit_test(an_inherited_socket_stays_as_it_is),
		cmocka_unit_test(a_dry_run_makes_no_socket),
	};

	return cmocka_run_group_tests_name("port", tests, NULL, NULL);
}
