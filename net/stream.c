// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames over a stream socket: the framing, and the back end `mode=stream`, which
 * connects to a socket in the file system or, as server, waits for one peer at a time.
 *
 * What comes in is read in big pieces into a buffer of two frames and handed out frame
 * by frame. A frame that the socket takes only a part of is finished from a
 * buffer before the next is accepted. Who breaks the framing is disconnected; the
 * link is up while there is a peer.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "event.h"
#include "io.h"
#include "iov.h"
#include "listener.h"
#include "net/stream.h"
#include "util.h"

#define MAX_IOV 1024u

static void stream_update_watch(struct stream *s)
{
	uint32_t events = (s->reads ? EPOLLIN : 0) | (s->writes ? EPOLLOUT : 0);

	event_modify(s->net.loop, s->watch, events | EPOLLET);
}

static void disconnect(struct stream *s)
{
	if (s->fd < 0)
		return;
	event_remove(s->net.loop, s->watch);
	close(s->fd);
	s->fd = s->watch = -1;
	s->writes = false;
	s->in_start = s->in_end = s->out_start = s->out_end = 0;
	net_set_link(&s->net, false);
	if (s->lost)
		s->lost(s);
	net_writable(&s->net, 0); /* what waits for room goes nowhere now */
}

/* The host is short of memory or asks to wait: the connection is as good as before. */
static bool passes(int error)
{
	return error == EAGAIN || error == EINTR || error == ENOMEM || error == ENOBUFS;
}

/* ---- sending ---- */

/* Sends what is left of a frame. 0, -EAGAIN, or -errno after disconnecting. */
static int flush(struct stream *s)
{
	while (s->out_start < s->out_end) {
		ssize_t n = socket_send(s->fd, s->out + s->out_start, s->out_end - s->out_start);
		int err = errno;

		if (n >= 0) {
			s->out_start += (uint32_t)n;
			continue;
		}
		if (!passes(err)) {
			disconnect(s);
			return -err;
		}
		if (!s->writes) {
			s->writes = true;
			stream_update_watch(s);
		}
		return -EAGAIN;
	}
	s->out_start = s->out_end = 0;
	return 0;
}

int stream_send(struct net *net, unsigned int queue, const struct iovec *iov, unsigned int nr)
{
	struct stream *s = (struct stream *)net;
	struct iovec parts[MAX_IOV];
	struct msghdr message = { .msg_iov = parts };
	uint32_t bytes = 0, length;
	unsigned int k;
	ssize_t n;
	int rc;

	(void)queue;
	if (s->fd < 0)
		return -ENOTCONN;
	rc = flush(s);
	if (rc)
		return rc;
	/* The header, of zeros, is what the length takes the place of. */
	k = iov_part(iov, nr, NET_HEADER_BYTES, NET_MAX_FRAME_BYTES, parts + 1);
	for (unsigned int i = 1; i <= k; i++)
		bytes += (uint32_t)parts[i].iov_len;
	length = htonl(bytes);
	parts[0] = (struct iovec){ &length, sizeof(length) };
	message.msg_iovlen = k + 1;
	n = sendmsg(s->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && !passes(errno)) {
		rc = -errno;
		disconnect(s);
		return rc;
	}
	if (n < 0)
		n = 0;
	if ((size_t)n < sizeof(length) + bytes) {
		s->out_end = iov_read(parts, k + 1, (uint32_t)n, s->out,
				      (uint32_t)sizeof(length) + bytes);
		flush(s);
	}
	return 0;
}

/* ---- receiving ---- */

/* The length of the next frame if all of it is there, else 0; a bad one is -EPROTO. */
static int next_frame(const struct stream *s)
{
	uint32_t have = s->in_end - s->in_start, length;

	if (have < STREAM_LENGTH_BYTES)
		return 0;
	memcpy(&length, s->in + s->in_start, sizeof(length));
	length = ntohl(length);
	if (length < NET_MIN_FRAME_BYTES || length > NET_MAX_FRAME_BYTES)
		return -EPROTO;
	return have - STREAM_LENGTH_BYTES >= length ? (int)length : 0;
}

/* Reads more into the buffer. 0, -EAGAIN: there is nothing, or no peer any more; -errno. */
static int stream_fill(struct stream *s)
{
	ssize_t n;
	int err;

	if (s->in_start) {
		memmove(s->in, s->in + s->in_start, s->in_end - s->in_start);
		s->in_end -= s->in_start;
		s->in_start = 0;
	}
	n = socket_recv(s->fd, s->in + s->in_end, STREAM_BUFFER_BYTES - s->in_end);
	if (n > 0) {
		s->in_end += (uint32_t)n;
		return 0;
	}
	err = n ? errno : ECONNRESET;
	if (passes(err))
		return -err;
	disconnect(s);
	return -EAGAIN;
}

ssize_t stream_recv(struct net *net, unsigned int queue, const struct iovec *iov, unsigned int nr)
{
	static const uint8_t zeros[NET_HEADER_BYTES];
	struct stream *s = (struct stream *)net;
	int length, rc;

	(void)queue;
	if (s->fd < 0)
		return -EAGAIN;
	while (!(length = next_frame(s))) {
		rc = stream_fill(s);
		if (rc)
			return rc;
	}
	if (length < 0) {
		log_guest(&s->net.log_limit, "%s: the peer sent a frame of impossible length",
			  s->net.name);
		disconnect(s);
		return -EAGAIN;
	}
	iov_write(iov, nr, 0, zeros, sizeof(zeros));
	iov_write(iov, nr, NET_HEADER_BYTES, s->in + s->in_start + STREAM_LENGTH_BYTES,
		  (uint32_t)length);
	s->in_start += STREAM_LENGTH_BYTES + (uint32_t)length;
	return (ssize_t)NET_HEADER_BYTES + length;
}

static void on_socket(void *arg, uint32_t events)
{
	struct stream *s = arg;

	if (events & (EPOLLOUT | EPOLLHUP) && s->writes) {
		s->writes = false;
		stream_update_watch(s);
		if (!flush(s))
			net_writable(&s->net, 0);
	}
	/* Who waits for no frame still wants to know that the peer has gone. */
	if (s->fd >= 0 && s->reads)
		net_readable(&s->net, 0);
	else if (s->fd >= 0 && events & (EPOLLHUP | EPOLLERR))
		disconnect(s);
}

/* Frames that are in the buffer already raise no event of the socket. */
void stream_watch(struct net *net, unsigned int queue, bool on)
{
	struct stream *s = (struct stream *)net;

	(void)queue;
	if (s->reads == on)
		return;
	s->reads = on;
	if (s->fd >= 0)
		stream_update_watch(s);
}

int stream_connect(struct stream *s, int fd)
{
	s->watch = event_add(s->net.loop, fd, EPOLLIN | EPOLLET, on_socket, s);
	if (s->watch < 0) {
		int rc = s->watch;

		close(fd);
		s->watch = -1;
		return rc;
	}
	s->fd = fd;
	stream_update_watch(s);
	net_set_link(&s->net, true);
	return 0;
}

int stream_init(struct stream *s, const struct net_ops *ops, struct event_loop *loop,
		const struct net_config *config)
{
	s->net = (struct net){
		.ops = ops,
		.name = config->name,
		.loop = loop,
		.nr_queues = 1,
		.mtu = config->mtu,
	};
	s->fd = s->watch = -1;
	s->in = malloc(STREAM_BUFFER_BYTES);
	s->out = malloc(STREAM_LENGTH_BYTES + NET_MAX_FRAME_BYTES);
	return s->in && s->out ? 0 : log_enomem(config->name);
}

void stream_fini(struct stream *s)
{
	s->lost = NULL;
	disconnect(s);
	free(s->in);
	free(s->out);
}

/* ---- mode=stream ---- */

struct stream_mode {
	struct stream stream;
	const char *path;
	struct listener listener; /* server */
};

static void stream_mode_destroy(struct net *net)
{
	struct stream_mode *m = (struct stream_mode *)net;

	stream_fini(&m->stream);
	listener_close(&m->listener);
	free(m);
}

static struct socket_name stream_mode_take_name(struct net *net)
{
	return listener_take_name(&((struct stream_mode *)net)->listener);
}

static const struct net_ops stream_mode_ops = {
	.recv = stream_recv,
	.send = stream_send,
	.watch = stream_watch,
	.take_name = stream_mode_take_name,
	.destroy = stream_mode_destroy,
};

static int on_peer(void *arg, int fd)
{
	struct stream_mode *m = arg;

	return stream_connect(&m->stream, fd);
}

static void stream_on_lost(struct stream *s)
{
	struct stream_mode *m = (struct stream_mode *)s;

	log_limited(&s->net.log_limit, LOG_NOTICE, "%s: %s: the peer has gone", s->net.name, m->path);
	listener_resume(&m->listener);
}

static int listen_at(struct stream_mode *m, bool dry_run)
{
	const struct listener_client client = { .accepted = on_peer, .arg = m };

	if (dry_run)
		return listener_check(m->path);
	return listener_open(&m->listener, m->stream.net.loop, m->stream.net.name, m->path, &client);
}

static int connect_to(struct stream_mode *m, const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr))) {
		int err = errno;

		close(fd);
		return -err;
	}
	return stream_connect(&m->stream, fd);
}

static int stream_start(struct stream_mode *m, const struct net_config *config)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int rc;

	if (strlen(config->path) >= sizeof(addr.sun_path)) {
		log_error("%s: %s: a socket's name has at most %zu characters", config->name,
			  config->path, sizeof(addr.sun_path) - 1);
		return -EINVAL;
	}
	strcpy(addr.sun_path, config->path);
	rc = config->server ? listen_at(m, config->dry_run) : connect_to(m, &addr);
	if (rc)
		log_error("%s: %s: %s%s", config->name, config->path, strerror(-rc),
			  rc == -EADDRINUSE		       ? "\nremove it if nobody listens there any more." :
			  rc == -ENOENT || rc == -ECONNREFUSED ? "\nnobody listens there: start the other side first, "
								 "or say server=on here." :
								 "");
	return rc;
}

int net_stream_open(struct net **out, struct event_loop *loop, const struct net_config *config)
{
	struct stream_mode *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return log_enomem(config->name);
	m->path = config->path;
	m->listener = (struct listener)LISTENER_CLOSED;
	rc = stream_init(&m->stream, &stream_mode_ops, loop, config);
	m->stream.lost = stream_on_lost;
	if (!rc)
		rc = stream_start(m, config);
	if (rc) {
		stream_mode_destroy(&m->stream.net);
		return rc;
	}
	*out = &m->stream.net;
	return 0;
}
