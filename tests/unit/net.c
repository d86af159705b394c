// SPDX-License-Identifier: GPL-2.0-only
/*
 * Networks without KVM: the receive filter against every rule that a driver can set,
 * the framing of streams in pieces of any size and with lengths that lie, back pressure,
 * recordings, the ends of a link.
 */
#include "tests/lib/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "event.h"
#include "net/net.h"
#include "net/pcap.h"
#include "net/stream.h"
#include "util.h"
#include "virtio/net-filter.h"

/* ---- the filter ---- */

static const uint8_t our_mac[6] = { 2, 1, 2, 3, 4, 5 };

static bool accepts(const struct net_filter *f, uint8_t first, uint8_t last, int vlan)
{
	uint8_t frame[NET_FILTER_MIN_BYTES] = { first, 1, 2, 3, 4, last };

	if (first == 0xff)
		memset(frame, 0xff, 6);
	if (vlan >= 0) {
		frame[12] = 0x81;
		frame[14] = (uint8_t)(vlan >> 8 | 0xe0); /* with a priority */
		frame[15] = (uint8_t)vlan;
	}
	return net_filter_accepts(f, frame);
}

static void the_filter_obeys(void **state)
{
	struct net_filter f;

	(void)state;
	net_filter_reset(&f, our_mac, false);
	assert_true(accepts(&f, 6, 9, -1)); /* promiscuous at first */
	f.promiscuous = false;
	assert_true(accepts(&f, 2, 5, -1));
	assert_false(accepts(&f, 2, 6, -1));
	assert_true(accepts(&f, 0xff, 0, -1));
	assert_false(accepts(&f, 1, 5, -1));
	f.all_multicast = true;
	assert_true(accepts(&f, 1, 5, -1));
	f.no_multicast = true;
	assert_false(accepts(&f, 1, 5, -1));
	f.all_unicast = true;
	assert_true(accepts(&f, 2, 6, -1));
	f.no_unicast = true;
	assert_false(accepts(&f, 2, 5, -1));
	f.no_broadcast = true;
	assert_false(accepts(&f, 0xff, 0, -1));
	f.promiscuous = true;
	assert_true(accepts(&f, 0xff, 0, -1));
}

static void vlans_are_filtered(void **state)
{
	struct net_filter f;

	(void)state;
	net_filter_reset(&f, our_mac, true);
	f.promiscuous = false;
	assert_true(accepts(&f, 2, 5, -1));
	assert_false(accepts(&f, 2, 5, 7));
	assert_true(net_filter_set_vlan(&f, 7, true));
	assert_true(net_filter_set_vlan(&f, 4095, true));
	assert_true(accepts(&f, 2, 5, 7));
	assert_true(accepts(&f, 2, 5, 4095));
	assert_false(accepts(&f, 2, 5, 8));
	assert_true(net_filter_set_vlan(&f, 7, false));
	assert_false(accepts(&f, 2, 5, 7));
	assert_false(net_filter_set_vlan(&f, 4096, true));
}

static bool set_tables(struct net_filter *f, const void *data, uint32_t bytes)
{
	/* In two pieces, the cut in the first count. */
	uint8_t *p = (uint8_t *)(uintptr_t)data;
	struct iovec iov[2] = { { p, min_u64(bytes, 3) }, { p + 3, bytes > 3 ? bytes - 3 : 0 } };

	return net_filter_set_tables(f, iov, 2, 2, bytes);
}

static void tables_are_checked(void **state)
{
	uint8_t data[2 + 4 + 100 * 6 + 4 + 100 * 6] = { 0 };
	struct net_filter f;

	(void)state;
	net_filter_reset(&f, our_mac, false);
	f.promiscuous = false;
	/* One unicast and one multicast address. */
	put_le32(data + 2, 1);
	memcpy(data + 6, (uint8_t[]){ 2, 1, 2, 3, 4, 6 }, 6);
	put_le32(data + 12, 1);
	memcpy(data + 16, (uint8_t[]){ 1, 1, 2, 3, 4, 5 }, 6);
	assert_true(set_tables(&f, data, 22));
	assert_true(accepts(&f, 2, 6, -1));
	assert_true(accepts(&f, 1, 5, -1));
	assert_false(accepts(&f, 1, 6, -1));
	/* What is malformed changes nothing. */
	for (uint32_t bytes = 0; bytes < 22; bytes++)
		assert_false(set_tables(&f, data, bytes));
	assert_false(set_tables(&f, data, 23));
	put_le32(data + 2, 0xffffffff);
	assert_false(set_tables(&f, data, 22));
	put_le32(data + 2, 0x2aaaaaab);
	assert_false(set_tables(&f, data, sizeof(data)));
	assert_true(accepts(&f, 2, 6, -1));
	/* More than there is room for: all of that kind. */
	put_le32(data + 2, 100);
	put_le32(data + 6 + 600, 0);
	assert_true(set_tables(&f, data, 2 + 4 + 600 + 4));
	assert_true(accepts(&f, 2, 77, -1));
	assert_false(accepts(&f, 1, 5, -1));
}

/* ---- streams ---- */

struct rig {
	struct event_loop *loop;
	struct stream stream;
	int peer;
	unsigned int readable, writable, ups, downs;
};

static const uint8_t frame_header[NET_HEADER_BYTES];
static uint8_t big_frame[NET_MAX_FRAME_BYTES];
static const struct iovec a_big_frame[2] = {
	{ (void *)(uintptr_t)frame_header, sizeof(frame_header) },
	{ big_frame, sizeof(big_frame) },
};

static void on_readable(void *arg, unsigned int queue)
{
	((struct rig *)arg)->readable += queue + 1;
}

static void on_writable(void *arg, unsigned int queue)
{
	((struct rig *)arg)->writable += queue + 1;
}

static void on_link(void *arg, bool up)
{
	struct rig *r = arg;

	if (up)
		r->ups++;
	else
		r->downs++;
}

static const struct net_ops stream_ops = {
	.recv = stream_recv,
	.send = stream_send,
	.watch = stream_watch,
};

static void on_stop_timer(void *arg, uint32_t events)
{
	(void)events;
	event_stop(arg);
}

/* Runs the loop once and for all: a loop that has stopped stays so. */
static void run_loop(struct rig *r)
{
	int timer = event_timer_create(r->loop, on_stop_timer, r->loop);

	event_timer_set(r->loop, timer, 20000000, 0);
	assert_int_equal(event_run(r->loop), 0);
}

static void start(struct rig *r)
{
	const struct net_config config = { .name = "net0" };
	int fds[2];

	memset(r, 0, sizeof(*r));
	assert_int_equal(event_loop_create(&r->loop), 0);
	assert_int_equal(stream_init(&r->stream, &stream_ops, r->loop, &config), 0);
	net_set_client(&r->stream.net,
		       &(struct net_client){
			       .readable = on_readable,
			       .writable = on_writable,
			       .link = on_link,
			       .arg = r,
		       });
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	r->peer = fds[1];
	assert_int_equal(stream_connect(&r->stream, fds[0]), 0);
	assert_int_equal(r->ups, 1);
}

static void end(struct rig *r)
{
	stream_fini(&r->stream);
	close(r->peer);
	event_loop_destroy(r->loop);
}

static ssize_t receive(struct rig *r, uint8_t *buf, size_t bytes)
{
	struct iovec iov[2] = { { buf, 7 }, { buf + 7, bytes - 7 } };

	return net_recv(&r->stream.net, 0, iov, 2);
}

static void frames_come_in_pieces(void **state)
{
	static uint8_t wire[200000], buf[NET_HEADER_BYTES + NET_MAX_FRAME_BYTES];
	const uint32_t lengths[] = { 14, 60, 1500, 65535, NET_MAX_FRAME_BYTES, 15 };
	size_t total = 0, given = 0;
	unsigned int frame = 0;
	struct rig r;

	(void)state;
	start(&r);
	for (unsigned int i = 0; i < ARRAY_SIZE(lengths); i++) {
		uint32_t be = htonl(lengths[i]);

		memcpy(wire + total, &be, 4);
		memset(wire + total + 4, (int)i + 1, lengths[i]);
		total += 4 + lengths[i];
	}
	for (unsigned int step = 1; given < total; step = step * 2 + 1) {
		ssize_t n = write(r.peer, wire + given, min_u64(step, total - given));

		if (n > 0)
			given += (size_t)n;
		while ((n = receive(&r, buf, sizeof(buf))) != -EAGAIN) {
			assert_int_equal(n, NET_HEADER_BYTES + lengths[frame]);
			for (unsigned int i = 0; i < NET_HEADER_BYTES; i++)
				assert_int_equal(buf[i], 0);
			assert_int_equal(buf[NET_HEADER_BYTES], frame + 1);
			assert_int_equal(buf[n - 1], frame + 1);
			frame++;
		}
		if (step > 50000)
			step = 1;
	}
	assert_int_equal(frame, ARRAY_SIZE(lengths));
	end(&r);
}

static void lengths_that_lie_end_the_link(void **state)
{
	const uint32_t lies[] = { 0, 1, 13, NET_MAX_FRAME_BYTES + 1, 0x7fffffff, 0xffffffff };
	uint8_t buf[NET_HEADER_BYTES + 100];
	char message[512];

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(lies); i++) {
		uint32_t be = htonl(lies[i]);
		struct rig r;
		int saved;

		start(&r);
		assert_int_equal(write(r.peer, &be, 4), 4);
		saved = begin_capture();
		assert_int_equal(receive(&r, buf, sizeof(buf)), -EAGAIN);
		end_capture(saved, message, sizeof(message));
		assert_non_null(strstr(message, "impossible length"));
		assert_int_equal(r.downs, 1);
		assert_int_equal(receive(&r, buf, sizeof(buf)), -EAGAIN);
		end(&r);
	}
}

static void a_slow_peer_gets_whole_frames(void **state)
{
	static uint8_t frame[NET_MAX_FRAME_BYTES], got[4 + NET_MAX_FRAME_BYTES];
	const uint8_t header[NET_HEADER_BYTES] = { 0 };
	struct iovec iov[3] = { { (void *)(uintptr_t)header, sizeof(header) },
				{ frame, 20 },
				{ frame + 20, sizeof(frame) - 20 } };
	unsigned int sent = 0;
	struct rig r;
	int rc;

	(void)state;
	start(&r);
	while ((rc = net_send(&r.stream.net, 0, iov, 3)) == 0) {
		sent++;
		frame[0] = (uint8_t)sent;
		assert_true(sent < 1000);
	}
	assert_int_equal(rc, -EAGAIN);
	/* Nothing was cut or mixed: whoever reads gets frame after frame. */
	for (unsigned int i = 0; i < sent; i++) {
		for (size_t have = 0; have < sizeof(got);) {
			ssize_t n = read(r.peer, got + have, sizeof(got) - have);

			if (n > 0)
				have += (size_t)n;
			else if (net_send(&r.stream.net, 0, iov, 3) == 0)
				sent++; /* ... after the rest of the one before */
			assert_true(sent < 5000);
		}
		assert_int_equal(ntohl(*(uint32_t *)(void *)got), NET_MAX_FRAME_BYTES);
		if (i > 20)
			break;
	}
	run_loop(&r);
	assert_true(r.writable > 0);
	end(&r);
}

static void a_peer_that_goes_takes_the_link_down(void **state)
{
	uint8_t buf[NET_HEADER_BYTES + 100] = { 0 };
	struct iovec iov[2] = { { buf, NET_HEADER_BYTES }, { buf + NET_HEADER_BYTES, 60 } };
	struct rig r;

	(void)state;
	start(&r);
	close(r.peer);
	r.peer = -1;
	run_loop(&r); /* nobody receives or sends, and it is noticed */
	assert_int_equal(r.downs, 1);
	assert_int_equal(net_send(&r.stream.net, 0, iov, 2), -ENOTCONN);
	assert_int_equal(receive(&r, buf, sizeof(buf)), -EAGAIN);
	end(&r);
}

/* ---- whoever is refused is told, once, when to try again ---- */

static void send_until_refused(struct net *net)
{
	int rc;

	while (!(rc = net_send(net, 0, a_big_frame, 2)))
		;
	assert_int_equal(rc, -EAGAIN);
	assert_int_equal(net_send(net, 0, a_big_frame, 2), -EAGAIN);
}

static void peer_reads(struct rig *r)
{
	static uint8_t buf[1 << 20];

	while (read(r->peer, buf, sizeof(buf)) > 0)
		;
}

static void peer_leaves(struct rig *r)
{
	close(r->peer);
	r->peer = -1;
}

static void peer_stops_reading(struct rig *r)
{
	shutdown(r->peer, SHUT_RDWR);
}

static void peer_lies(struct rig *r)
{
	uint8_t buf[NET_HEADER_BYTES + 100];
	struct iovec iov = { buf, sizeof(buf) };

	assert_int_equal(write(r->peer, "\0\0\0\1", 4), 4);
	assert_int_equal(net_recv(&r->stream.net, 0, &iov, 1), -EAGAIN);
}

static void a_refusal_is_followed_by_one_writable(void **state)
{
	static void (*const ways[])(struct rig *) = {
		peer_reads, peer_leaves, peer_stops_reading, peer_lies
	};

	(void)state;
	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(ways); i++) {
		char messages[512];
		struct rig r;
		int saved;

		start(&r);
		stream_watch(&r.stream.net, 0, i & 1);
		send_until_refused(&r.stream.net);
		assert_int_equal(r.writable, 0);
		saved = begin_capture();
		ways[i / 2](&r);
		run_loop(&r);
		end_capture(saved, messages, sizeof(messages));
		assert_int_equal(r.writable, 1);
		assert_int_not_equal(net_send(&r.stream.net, 0, a_big_frame, 2), -EAGAIN);
		end(&r);
	}
}

/* -1: those that came before fill the queue. */
static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(addr.sun_path, path);
	if (!connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	assert_int_equal(errno, EAGAIN);
	close(fd);
	return -1;
}

/* A server with a peer that comes, acts, and goes, at each tick of a timer. */
struct server {
	struct event_loop *loop;
	struct net *net;
	char folder[32], path[64];
	int peer;
	unsigned int visits, writable, sent;
};

static void server_writable(void *arg, unsigned int queue)
{
	(void)queue;
	((struct server *)arg)->writable++;
}

static void start_server(struct server *s, event_fn on_tick)
{
	int timer;

	memset(s, 0, sizeof(*s));
	s->peer = -1;
	strcpy(s->folder, "/tmp/lkvm-net-XXXXXX");
	assert_non_null(mkdtemp(s->folder));
	snprintf(s->path, sizeof(s->path), "%s/s", s->folder);
	assert_int_equal(event_loop_create(&s->loop), 0);
	assert_int_equal(net_open(&s->net, s->loop,
				  &(struct net_config){
					  .mode = NET_MODE_STREAM,
					  .name = "net0",
					  .path = s->path,
					  .server = true,
				  }),
			 0);
	net_set_client(s->net, &(struct net_client){ .writable = server_writable, .arg = s });
	timer = event_timer_create(s->loop, on_tick, s);
	event_timer_set(s->loop, timer, 1000000, 1000000);
}

static void end_server(struct server *s)
{
	net_close(s->net);
	event_loop_destroy(s->loop);
	if (s->peer >= 0)
		close(s->peer);
	assert_int_equal(rmdir(s->folder), 0);
}

static void leave_full(void *arg, uint32_t events)
{
	struct server *s = arg;
	uint8_t buf[1000];

	(void)events;
	if (s->peer < 0) {
		s->peer = connect_to(s->path);
	} else if (net_send(s->net, 0, a_big_frame, 2) == 0) { /* it has been accepted */
		send_until_refused(s->net);
		assert_true(read(s->peer, buf, sizeof(buf)) > 0);
		close(s->peer);
		s->peer = -1;
		if (++s->visits == 10)
			event_stop(s->loop);
	}
}

static void a_peer_that_leaves_when_full_blocks_nobody(void **state)
{
	char messages[4096];
	struct server s;
	int saved;

	(void)state;
	start_server(&s, leave_full);
	saved = begin_capture();
	assert_int_equal(event_run(s.loop), 0);
	end_capture(saved, messages, sizeof(messages));
	assert_true(s.writable == 9 || s.writable == 10); /* the last may have been too late */
	end_server(&s);
}

static void come_and_go(void *arg, uint32_t events)
{
	struct server *s = arg;

	(void)events;
	if (s->peer >= 0)
		close(s->peer);
	s->peer = connect_to(s->path);
	s->visits += s->peer >= 0;
	if (s->visits == 300)
		event_stop(s->loop);
}

static void peers_that_come_and_go_do_not_fill_the_log(void **state)
{
	static char messages[1 << 16];
	unsigned int lines = 0;
	uint64_t start_ns = now_ns(), seconds;
	struct server s;
	int saved;

	(void)state;
	alarm(60);
	start_server(&s, come_and_go);
	saved = begin_capture();
	log_set_level(LOG_VERBOSE);
	assert_int_equal(event_run(s.loop), 0);
	log_set_level(LOG_NOTICE);
	end_capture(saved, messages, sizeof(messages));
	for (const char *p = messages; (p = strchr(p, '\n')); p++)
		lines++;
	seconds = (now_ns() - start_ns) / 1000000000 + 2; /* that have begun */
	assert_in_range(lines, LOG_BURST, (LOG_BURST + 1) * seconds);
	end_server(&s);
	alarm(0);
}

/* ---- back ends as a whole ---- */

static void bad_networks_are_one_message(void **state)
{
	static const struct {
		struct net_config config;
		const char *message;
	} bad[] = {
		{ { .mode = NET_MODE_STREAM, .path = "/nonexistent/x" }, "net0: /nonexistent/x: No such file" },
		{ { .mode = NET_MODE_STREAM, .path = "/nonexistent/x", .server = true }, "net0: /nonexistent/x: No such" },
		{ { .mode = NET_MODE_FD, .fd = 1000 }, "net0: fd 1000: Bad file descriptor" },
		{ { .mode = NET_MODE_FD, .fd = 0 }, "net0: fd 0: not a tap or macvtap" },
		{ { .mode = NET_MODE_TAP, .tapif = "a-name-that-is-too-long" }, "has at most 15" },
		{ { .mode = NET_MODE_PASST, .nr_publish = 1, .publish = { "80" } }, "publish=80: must be" },
		{ { .mode = NET_MODE_PASST, .nr_publish = 1, .publish = { "0:80" } }, "publish=0:80: must be" },
		{ { .mode = NET_MODE_PASST, .nr_publish = 1, .publish = { "80:80/sctp" } }, "must be" },
		{ { .mode = NET_MODE_PASST, .nr_publish = 1, .publish = { "a%b:80:80" } }, "must be" },
		{ { .mode = NET_MODE_STREAM, .path = "x", .pcap = "/dev/null" }, "pcap: /dev/null: not a regular" },
	};
	struct event_loop *loop;

	(void)state;
	assert_int_equal(event_loop_create(&loop), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		struct net_config config = bad[i].config;
		int rc, saved = begin_capture();
		char message[512];
		struct net *net;

		config.name = "net0";
		rc = net_open(&net, loop, &config);
		end_capture(saved, message, sizeof(message));
		assert_true(rc < 0);
		assert_null(net);
		if (!strstr(message, bad[i].message))
			fail_msg("no \"%s\" in: %s", bad[i].message, message);
		assert_ptr_equal(strstr(message, "lkvm: "), message);
		assert_null(strstr(message + 1, "lkvm: "));
	}
	event_loop_destroy(loop);
}

/* Nobody is there who could keep the loop waiting. */
static void a_recording_is_a_regular_file(void **state)
{
	char path[] = "/tmp/lkvm-pcap-XXXXXX/fifo", message[256];
	struct pcap *pcap = NULL;

	(void)state;
	*strrchr(path, '/') = '\0';
	assert_non_null(mkdtemp(path));
	path[strlen(path)] = '/';
	assert_int_equal(mkfifo(path, 0600), 0);
	for (unsigned int has_reader = 0; has_reader < 2; has_reader++) {
		int reader = has_reader ? open(path, O_RDONLY | O_NONBLOCK) : -1;
		int saved = begin_capture(), rc = pcap_create(&pcap, path);

		end_capture(saved, message, sizeof(message));
		assert_int_equal(rc, -EINVAL);
		assert_non_null(strstr(message, "fifo: not a regular file\n"));
		if (has_reader)
			close(reader);
	}
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
}

/* ---- passt, played by a script ---- */

static const char fake_passt[] =
	"#!/bin/sh\n"
	"while [ \"$1\" != --pid ]; do shift; done\n"
	"pid=$2\n"
	"echo MAC: >&2\n"
	"[ \"$3\" = --no-map-gw ] && shift\n"
	"case $4 in\n"
	"*/9009:9) echo No external interface >&2; exit 1 ;;\n"
	"*:1) echo \"Failed to bind any port for '$3 $4', exiting\" >&2; exit 1 ;;\n"
	"esac\n"
	"echo $$ >$pid\n"
	"cat <&3 >/dev/null\n";

/* A script that is found as passt. */
struct fake {
	char folder[32], path[64], old[4096];
};

static void install(struct fake *f, const char *script)
{
	char new[4200];

	strcpy(f->folder, "/tmp/lkvm-passt-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/passt", f->folder);
	write_file(f->path, script, strlen(script));
	assert_int_equal(chmod(f->path, 0755), 0);
	snprintf(f->old, sizeof(f->old), "%s", getenv("PATH"));
	snprintf(new, sizeof(new), "%s:%s", f->folder, f->old);
	setenv("PATH", new, 1);
}

static void uninstall(const struct fake *f)
{
	setenv("PATH", f->old, 1);
	unlink(f->path);
	rmdir(f->folder);
}

static int start_passt(const char *publish, char *message, size_t bytes)
{
	const struct net_config config = {
		.mode = NET_MODE_PASST,
		.name = "net0",
		.nr_publish = 1,
		.publish = { publish },
	};
	struct event_loop *loop;
	struct net *net;
	int rc, saved = begin_capture();

	assert_int_equal(event_loop_create(&loop), 0);
	assert_int_equal(net_open(&net, loop, &config), 0);
	rc = net_wait_ready(net);
	end_capture(saved, message, bytes);
	net_close(net);
	event_loop_destroy(loop);
	return rc;
}

static void passt_is_ready_or_says_why_not(void **state)
{
	struct fake fake;
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int busy = socket(AF_INET, SOCK_STREAM, 0), busy_udp = socket(AF_INET, SOCK_DGRAM, 0);
	socklen_t bytes = sizeof(addr);
	char message[512], publish[64], expected[256];

	(void)state;
	install(&fake, fake_passt);
	assert_int_equal(start_passt("7:2", message, sizeof(message)), 0);
	assert_string_equal(message, "");
	assert_int_equal(start_passt("9009:9", message, sizeof(message)), -EIO);
	assert_ptr_equal(strstr(message, "lkvm: net0: passt: it does not start: No external interface\n"),
			 message);
	/* Somebody listens at the port. */
	assert_int_equal(bind(busy, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(busy, 1), 0);
	assert_int_equal(getsockname(busy, (struct sockaddr *)&addr, &bytes), 0);
	snprintf(publish, sizeof(publish), "%u:1", ntohs(addr.sin_port));
	assert_int_equal(start_passt(publish, message, sizeof(message)), -EADDRINUSE);
	snprintf(expected, sizeof(expected), "lkvm: net0: publish=%s: Address already in use\n"
					     "  passt: Failed to bind any port for '-t 127.0.0.1/%s', exiting\n",
		 publish, publish);
	assert_string_equal(message, expected);
	assert_int_equal(bind(busy_udp, (struct sockaddr *)&addr, sizeof(addr)), 0);
	snprintf(publish, sizeof(publish), "127.0.0.1:%u:1/udp", ntohs(addr.sin_port));
	assert_int_equal(start_passt(publish, message, sizeof(message)), -EADDRINUSE);
	/* An address that is nobody's here. */
	assert_int_equal(start_passt("192.0.2.77:7:1", message, sizeof(message)), -EADDRNOTAVAIL);
	assert_non_null(strstr(message, "publish=192.0.2.77:7:1: Cannot assign requested address"));
	uninstall(&fake);
	close(busy);
	close(busy_udp);
}

#define NOISE_BYTES 60000 /* fit into a pipe */

/* Waits for a file of its name and ".go", then says much at once. */
static const char talker[] =
	"#!/bin/sh\n"
	"while [ \"$1\" != --pid ]; do shift; done\n"
	"echo $$ >$2\n"
	"until [ -e \"$0.go\" ]; do sleep 0.01; done\n"
	"head -c 60000 /dev/zero >&2\n"
	"exec cat <&3 >/dev/null\n";

struct turns {
	struct event_loop *loop;
	int pipe, left, most;
};

static int bytes_in(int fd)
{
	struct stat st;
	int bytes;

	return fstat(fd, &st) || !S_ISFIFO(st.st_mode) || ioctl(fd, FIONREAD, &bytes) ? 0 : bytes;
}

/* Ours of the pipes that passt writes to. */
static int find_full_pipe(void)
{
	for (unsigned int ticks = 0; ticks < 3000; ticks++) {
		for (int fd = 3; fd < 256; fd++)
			if (bytes_in(fd) == NOISE_BYTES)
				return fd;
		poll(NULL, 0, 10);
	}
	fail_msg("passt says nothing");
	return -1;
}

/* What everybody else in the loop is: called once in each of its rounds. */
static void on_turn(void *arg, uint32_t events)
{
	struct turns *t = arg;
	int left = bytes_in(t->pipe);

	(void)events;
	if (t->left - left > t->most)
		t->most = t->left - left;
	t->left = left;
	if (!left)
		event_stop(t->loop);
}

static void a_talkative_passt_stops_nobody(void **state)
{
	const struct net_config config = { .mode = NET_MODE_PASST, .name = "net0" };
	int others = eventfd(1, EFD_CLOEXEC);
	struct turns turns = { .left = NOISE_BYTES };
	struct fake fake;
	char go[80];
	struct net *net;

	(void)state;
	install(&fake, talker);
	assert_int_equal(event_loop_create(&turns.loop), 0);
	assert_int_equal(net_open(&net, turns.loop, &config), 0);
	assert_int_equal(net_wait_ready(net), 0);
	snprintf(go, sizeof(go), "%s.go", fake.path);
	write_file(go, "", 0);
	turns.pipe = find_full_pipe();
	assert_true(event_add(turns.loop, others, EPOLLIN, on_turn, &turns) >= 0);
	assert_int_equal(event_run(turns.loop), 0);
	assert_in_range(turns.most, 1, 8192);
	net_close(net);
	event_loop_destroy(turns.loop);
	close(others);
	unlink(go);
	uninstall(&fake);
}

static void frames_are_recorded(void **state)
{
	char folder[] = "/tmp/lkvm-net-XXXXXX", path[64], sock[64], command[512], out[64];
	uint8_t buf[NET_HEADER_BYTES + 100] = { 0 };
	struct iovec iov[2] = { { buf, NET_HEADER_BYTES }, { buf + NET_HEADER_BYTES, 60 } };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), peer;
	struct event_loop *loop;
	struct net *net;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/pcap", folder);
	snprintf(sock, sizeof(sock), "%s/sock", folder);
	strcpy(addr.sun_path, sock);
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	listen(listener, 1);
	assert_int_equal(event_loop_create(&loop), 0);
	assert_int_equal(net_open(&net, loop,
				  &(struct net_config){
					  .mode = NET_MODE_STREAM,
					  .name = "net0",
					  .path = sock,
					  .pcap = path,
				  }),
			 0);
	peer = accept(listener, NULL, NULL);
	memset(buf + NET_HEADER_BYTES, 0xab, 60);
	assert_int_equal(net_send(net, 0, iov, 2), 0);
	assert_int_equal(write(peer, "\0\0\0\x0e"
				     "12345678901234",
			       18),
			 18);
	assert_int_equal(net_recv(net, 0, iov, 2), NET_HEADER_BYTES + 14);
	net_close(net);
	event_loop_destroy(loop);
	close(peer);
	close(listener);
	/* Header 24, records of 16 + 60 and 16 + 14: lengths and contents. */
	snprintf(command, sizeof(command), "od -An -v -tu4 -j 32 -N 8 %s; od -An -tx1 -j 40 -N 2 %s; tail -c 14 %s;"
					   "stat -c ' %%s' %s; rm -r %s",
		 path, path, path, path, folder);
	assert_int_equal(run_tool(command, out, sizeof(out)), 0);
	assert_string_equal(out, "         60         60\n ab ab\n12345678901234 130\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_filter_obeys),
		cmocka_unit_test(vlans_are_filtered),
		cmocka_unit_test(tables_are_checked),
		cmocka_unit_test(frames_come_in_pieces),
		cmocka_unit_test(lengths_that_lie_end_the_link),
		cmocka_unit_test(a_slow_peer_gets_whole_frames),
		cmocka_unit_test(a_peer_that_goes_takes_the_link_down),
		cmocka_unit_test(a_refusal_is_followed_by_one_writable),
		cmocka_unit_test(a_peer_that_leaves_when_full_blocks_nobody),
		cmocka_unit_test(peers_that_come_and_go_do_not_fill_the_log),
		cmocka_unit_test(bad_networks_are_one_message),
		cmocka_unit_test(a_recording_is_a_regular_file),
		cmocka_unit_test(a_talkative_passt_stops_nobody),
		cmocka_unit_test(passt_is_ready_or_says_why_not),
		cmocka_unit_test(frames_are_recorded),
	};

	return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
