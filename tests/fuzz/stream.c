// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile peer of mode=stream: its bytes come in pieces, and frames go back. What is
 * received is a whole frame within the limits, or the link goes down.
 */
#include "tests/fuzz/fuzz.h"

#include <sys/socket.h>

#include "event.h"
#include "net/net.h"
#include "net/stream.h"
#include "util.h"

static void queue_event(void *arg, unsigned int queue)
{
	(void)arg;
	(void)queue;
}

static void link_event(void *arg, bool up)
{
	*(bool *)arg = up;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const struct net_ops ops = { .recv = stream_recv, .send = stream_send, .watch = stream_watch };
	static uint8_t frame[NET_HEADER_BYTES + NET_MAX_FRAME_BYTES];
	const struct net_config config = { .name = "net0" };
	struct input in = { data, bytes };
	struct stream s = { 0 };
	struct event_loop *loop;
	bool up = false;
	int pair[2];

	log_set_level(LOG_ERROR);
	must(!event_loop_create(&loop) && !stream_init(&s, &ops, loop, &config));
	net_set_client(&s.net,
		       &(struct net_client){
			       .readable = queue_event,
			       .writable = queue_event,
			       .link = link_event,
			       .arg = &up,
		       });
	must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) && !stream_connect(&s, pair[0]));
	while (in.left && up) {
		unsigned int op = (unsigned int)take(&in, 1);
		struct iovec iov[2] = { { frame, 12 }, { frame + 12, op & 1 ? 60 : sizeof(frame) - 12 } };
		size_t n = min_u64(op >> 1, in.left);
		ssize_t got;

		if (n && send(pair[1], in.data, n, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
			in.data += n;
			in.left -= n;
		}
		got = net_recv(&s.net, 0, iov, 2);
		must(got < 0 || ((size_t)got >= NET_HEADER_BYTES + NET_MIN_FRAME_BYTES && (size_t)got <= sizeof(frame)));
		if (op & 2)
			net_send(&s.net, 0, iov, 2);
	}
	stream_fini(&s);
	close(pair[1]);
	event_loop_destroy(loop);
	return 0;
}
