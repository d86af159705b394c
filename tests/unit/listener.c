// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sockets that wait for clients: without descriptors, and when somebody else has their name.
 */
#include "tests/lib/unit.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "event.h"
#include "listener.h"
#include "util.h"

/* ---- listeners ---- */

struct rig {
	struct event_loop *loop;
	struct listener listener;
	struct sockaddr_un addr;
	char folder[32];
	int client; /* accepted */
	unsigned int nr_accepted;
};

static int on_client(void *arg, int fd)
{
	struct rig *r = arg;

	assert_int_equal(r->client, -1);
	r->client = fd;
	r->nr_accepted++;
	event_stop(r->loop);
	return 0;
}

static void open_listener(struct rig *r)
{
	const struct listener_client client = { .accepted = on_client, .arg = r };

	memset(r, 0, sizeof(*r));
	r->client = -1;
	r->addr.sun_family = AF_UNIX;
	strcpy(r->folder, "/tmp/lkvm-listener-XXXXXX");
	assert_non_null(mkdtemp(r->folder));
	snprintf(r->addr.sun_path, sizeof(r->addr.sun_path), "%s/s", r->folder);
	assert_int_equal(event_loop_create(&r->loop), 0);
	assert_int_equal(listener_open(&r->listener, r->loop, "net0", r->addr.sun_path, &client), 0);
}

static void close_listener(struct rig *r)
{
	listener_close(&r->listener);
	event_loop_destroy(r->loop);
	if (r->client >= 0)
		close(r->client);
	assert_int_equal(access(r->addr.sun_path, F_OK), -1);
	assert_int_equal(rmdir(r->folder), 0);
}

static int connect_client(struct rig *r)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&r->addr, sizeof(r->addr)), 0);
	return fd;
}

static void have_descriptors(void *arg, uint32_t events)
{
	(void)events;
	assert_int_equal(prlimit(0, RLIMIT_NOFILE, arg, NULL), 0);
}

static void give_up(void *arg, uint32_t events)
{
	(void)events;
	event_stop(arg);
}

/* The host has no descriptors for a while: who came meanwhile is served then. */
static void a_client_waits_for_descriptors(void **state)
{
	struct rlimit limit, none;
	char message[1024];
	int fd, saved, timer;
	struct rig r;

	(void)state;
	open_listener(&r);
	fd = connect_client(&r);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ 0, limit.rlim_max };
	timer = event_timer_create(r.loop, have_descriptors, &limit);
	event_timer_set(r.loop, timer, 50000000, 0);
	timer = event_timer_create(r.loop, give_up, r.loop);
	event_timer_set(r.loop, timer, 20000000000, 0);
	saved = begin_capture();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(event_run(r.loop), 0);
	end_capture(saved, message, sizeof(message));
	assert_string_equal(strstr(message, "accept: "), "accept: Too many open files\n");
	assert_int_equal(r.nr_accepted, 1);
	close(fd);
	close_listener(&r);
}

/* Somebody else has the name meanwhile: it is not ours to remove. */
static void a_socket_of_somebody_else_stays(void **state)
{
	struct rig r;

	(void)state;
	open_listener(&r);
	assert_int_equal(unlink(r.addr.sun_path), 0);
	write_file(r.addr.sun_path, "x", 1);
	listener_close(&r.listener);
	assert_int_equal(access(r.addr.sun_path, F_OK), 0);
	unlink(r.addr.sun_path);
	close_listener(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_client_waits_for_descriptors),
		cmocka_unit_test(a_socket_of_somebody_else_stays),
	};

	return cmocka_run_group_tests_name("listener", tests, NULL, NULL);
}
