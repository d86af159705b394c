/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Back ends of network devices: where a guest's frames go and come from.
 *
 * A frame is an Ethernet frame without checksum at its end, behind a header of
 * NET_HEADER_BYTES (struct virtio_net_hdr_v1, virtio 1.2 §5.1.6) that says what
 * is left to do for it: checksum, segmentation. A back end without offloads sees
 * and makes headers of zeros only.
 *
 * Set-up belongs to the main thread; everything else to the event loop's. A back end
 * owns its descriptors, and tells its client (the device) when frames can be received
 * or sent again and when its link changes.
 *
 * What wakes the device up again, whatever happens to the other side:
 *
 *   net_send() = -EAGAIN   exactly one writable() of that queue, not before it has returned:
 *                          when there is room, or nobody any more (sending then fails).
 *                          Several refusals without one between are one promise.
 *   net_recv() = -EAGAIN   readable() of that queue when there may be a frame, as often as
 *                          the back end likes, if net_watch() has asked for it before or
 *                          asks for it now; a frame that is there already counts.
 *   net_recv() = -errno    one frame, or none, was lost; nothing is promised: try again.
 *
 * An interface that is gone for good is like one that is silent: -EAGAIN, its link down.
 */
#ifndef LKVM_NET_NET_H
#define LKVM_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "log.h"
#include "net/frame.h"
#include "socket-name.h"

struct event_loop;
struct net;
struct pcap;
struct vhost;

#define NET_MAX_PUBLISH 32u
#define NET_MIN_MTU	68u
#define NET_MAX_MTU	65535u

enum net_mode {
	NET_MODE_NONE,
	NET_MODE_TAP,
	NET_MODE_FD,
	NET_MODE_PASST,
	NET_MODE_STREAM,
};

/* What the guest's end is called, if lkvm's first process is to set it; all zero: no such thing. */
struct net_address {
	bool given;
	uint8_t prefix_bits;
	uint8_t address[4], gateway[4], dns[4];
};

struct net_config {
	enum net_mode mode;
	const char *name;	 /* "net0", for messages; all strings are lent */
	const char *tapif;	 /* tap; NULL: the kernel chooses */
	int fd;			 /* fd */
	const char *path;	 /* stream */
	bool server;		 /* stream: listen at path ... */
	bool dry_run;		 /* ... or see only whether that is possible */
	unsigned int nr_publish; /* passt: [IP:]HOST:GUEST[/udp] */
	const char *publish[NET_MAX_PUBLISH];
	bool host_loopback;  /* passt: the guest may reach it, by the gateway's address */
	const char *pcap;    /* file for a copy of every frame, or NULL */
	unsigned int mtu;    /* 0: that of the back end */
	unsigned int queues; /* pairs; 0: as many as fit back end and CPUs */
	unsigned int cpus;
	bool vhost; /* tap, fd: frames are moved by the host's kernel */
	/* ip=, gw=, dns=: told to the guest by its first process, and to passt. */
	struct net_address guest;
	bool has_mac;
	uint8_t mac[NET_MAC_BYTES];
};

/* What a back end tells its device. On the loop's thread. */
struct net_client {
	void (*readable)(void *arg, unsigned int queue);
	void (*writable)(void *arg, unsigned int queue);
	void (*link)(void *arg, bool up);
	void *arg;
};

/* A kind of back end. */
struct net_ops {
	/* A frame with header into @iov: its bytes; -EAGAIN: none; -errno: it was lost. */
	ssize_t (*recv)(struct net *net, unsigned int queue, const struct iovec *iov,
			unsigned int nr);
	/* iov[0] is the header. 0; -EAGAIN: later, net_writable() follows; -errno: dropped. */
	int (*send)(struct net *net, unsigned int queue, const struct iovec *iov, unsigned int nr);
	/* Optional: the first @nr queues are used from now on. */
	int (*set_queues)(struct net *net, unsigned int nr);
	/* Optional: offloads (TUN_F_*) that received frames may need. */
	int (*set_offloads)(struct net *net, unsigned int flags);
	/* Whether readable() is wanted. What is ready already is told, too. */
	void (*watch)(struct net *net, unsigned int queue, bool on);
	/* Optional: the descriptor behind a queue, for vhost. */
	int (*queue_fd)(struct net *net, unsigned int queue);
	/* Optional: net_wait_ready(). */
	int (*wait_ready)(struct net *net);
	/* Optional: net_take_name(). */
	struct socket_name (*take_name)(struct net *net);
	void (*destroy)(struct net *net);
};

/* What all back ends have; each embeds it first. */
struct net {
	const struct net_ops *ops;
	const char *name;
	struct event_loop *loop;
	struct net_client client;
	unsigned int refused; /* queues that a writable() is promised to, bits */
	unsigned int nr_queues;
	unsigned int offloads; /* TUN_F_* that can be chosen */
	bool sends_offloads;   /* takes frames that need work */
	unsigned int mtu;      /* 0: nothing special */
	bool link_up;
	bool repeats; /* readable() comes again while there are more frames */
	struct pcap *pcap;
	struct vhost *vhost; /* moves the frames, if there is one */
	pid_t child;	     /* a process that is to end with it; 0: none */
	struct log_limit log_limit;
};

/* 0 or -errno, after a message. @net stays NULL for NET_MODE_NONE. */
int net_open(struct net **out, struct event_loop *loop, const struct net_config *config);

/*
 * Waits, for seconds at most, until frames can go somewhere: whatever the other side needs
 * for that, it may have prepared since net_open(). 0 or -errno after a message.
 */
int net_wait_ready(struct net *net);

/* Accepts NULL. Removes its socket, if nobody has taken that. */
void net_close(struct net *net);

/*
 * The name of its socket, if it has one, for the caller to remove; the process that ends when
 * its connection does, for the caller to wait for.
 */
struct socket_name net_take_name(struct net *net);
pid_t net_take_child(struct net *net);

/* The device that uses @net from now on; NULL: none. */
void net_set_client(struct net *net, const struct net_client *client);

ssize_t net_recv(struct net *net, unsigned int queue, const struct iovec *iov, unsigned int nr);
int net_send(struct net *net, unsigned int queue, const struct iovec *iov, unsigned int nr);
int net_set_queues(struct net *net, unsigned int nr);
int net_set_offloads(struct net *net, unsigned int flags);
void net_watch(struct net *net, unsigned int queue, bool on);
int net_queue_fd(struct net *net, unsigned int queue);

/* ---- for back ends ---- */

/*
 * What was refused may be tried again: there is room, or nobody is there. Tells the client
 * if anything was. Back ends call it when either begins, more often does no harm.
 */
void net_writable(struct net *net, unsigned int queue);

/* There may be frames. */
void net_readable(struct net *net, unsigned int queue);

/* The link is up or down from now on; tells the client if that is news. */
void net_set_link(struct net *net, bool up);

/* Where the constructors of the kinds are; 0 or -errno after a message. */
int net_tap_open(struct net **out, struct event_loop *loop, const struct net_config *config);
int net_stream_open(struct net **out, struct event_loop *loop, const struct net_config *config);
int net_passt_open(struct net **out, struct event_loop *loop, const struct net_config *config);

#endif
