/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Frames over a connected stream socket, each behind its length in four bytes,
 * big-endian: what passt, gvproxy and QEMU's `-netdev stream` speak. A base for back
 * ends that differ in how they come by the connection. Loop's thread.
 */
#ifndef LKVM_NET_STREAM_H
#define LKVM_NET_STREAM_H

#include "net/net.h"

#define STREAM_LENGTH_BYTES 4u
#define STREAM_BUFFER_BYTES (2ul * (STREAM_LENGTH_BYTES + NET_MAX_FRAME_BYTES))

struct stream {
	struct net net;
	int fd; /* -1: no peer, the link is down */
	int watch;
	bool reads, writes;		     /* what is waited for */
	void (*lost)(struct stream *stream); /* the peer has gone; may be NULL */
	uint8_t *in;			     /* [in_start, in_end): received and not yet taken */
	uint32_t in_start, in_end;
	uint8_t *out; /* [out_start, out_end): the rest of a frame being sent */
	uint32_t out_start, out_end;
};

/* @stream is all zeros, but for what its owner keeps. 0 or -ENOMEM. */
int stream_init(struct stream *stream, const struct net_ops *ops, struct event_loop *loop,
		const struct net_config *config);
void stream_fini(struct stream *stream);

/* Uses the connected, non-blocking socket @fd from now on, and owns it. 0 or -errno. */
int stream_connect(struct stream *stream, int fd);

/* Operations for struct net_ops. */
ssize_t stream_recv(struct net *net, unsigned int queue, const struct iovec *iov, unsigned int nr);
int stream_send(struct net *net, unsigned int queue, const struct iovec *iov, unsigned int nr);
void stream_watch(struct net *net, unsigned int queue, bool on);

#endif
