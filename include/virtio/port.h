/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's side of a console port: a terminal, a listening UNIX socket with one
 * client at a time, a file, an inherited descriptor, a pseudo-terminal, or something in lkvm itself.
 *
 * Nothing is buffered here: what a reader does not take stays with the guest, and
 * what the guest does not take stays with the writer. Bytes for a port that nobody
 * has open are dropped and counted. Loop's thread, but for creation.
 */
#ifndef LKVM_VIRTIO_PORT_H
#define LKVM_VIRTIO_PORT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "socket-name.h"

struct event_loop;
struct port;
struct term;

enum port_kind {
	PORT_TERM,
	PORT_UNIX,
	PORT_FILE,
	PORT_FD,
	PORT_PTY,
	PORT_PEER,
};

/*
 * Who is at the other side in lkvm itself: takes and gives bytes as port_write() and port_read() say.
 * Either may be NULL: it takes nothing, it gives nothing.
 */
struct port_peer {
	ssize_t (*read)(void *arg, const struct iovec *iov, unsigned int nr);
	ssize_t (*write)(void *arg, const struct iovec *iov, unsigned int nr);
	void *arg;
};

struct port_config {
	enum port_kind kind;
	const char *name;      /* what the guest sees; lent */
	const char *path;      /* unix, file; lent */
	int fd;		       /* fd */
	struct term *term;     /* terminal; lent */
	struct port_peer peer; /* peer */
	bool dry_run;	       /* no socket and no file is made */
};

struct port_client {
	void (*readable)(void *arg);
	void (*writable)(void *arg); /* after a write that took less than all */
	void (*opened)(void *arg, bool open);
	void *arg;
};

/* 0 or -errno, after a message. */
int port_create(struct port **out, struct event_loop *loop, const struct port_config *config);

/* The name of its socket, if it has one, for the caller to remove. */
struct socket_name port_take_name(struct port *port);

/* Accepts NULL. Removes its socket, if nobody has taken that. */
void port_destroy(struct port *port);

void port_set_client(struct port *port, const struct port_client *client);

/* Whether somebody is at the other side. */
bool port_is_open(const struct port *port);

const char *port_name(const struct port *port);

/* Bytes for the guest; -EAGAIN: none now. */
ssize_t port_read(struct port *port, const struct iovec *iov, unsigned int nr);

/* A peer has bytes or room again, after it had none. */
void port_wake(struct port *port);

/*
 * How many bytes were taken (all, if nobody wants them); -EAGAIN: none now. A driver that cannot
 * @wait is held for a second only by the reader of a terminal that has stopped.
 */
ssize_t port_write(struct port *port, const struct iovec *iov, unsigned int nr, bool can_wait);

/* Whether the guest wants bytes: not at all, as soon as it has room, or now. */
enum port_want {
	PORT_UNWANTED,
	PORT_LATER,
	PORT_NOW,
};

/*
 * With PORT_NOW readable() tells of bytes. What a client has left behind that is gone is
 * lost with PORT_UNWANTED.
 */
void port_want(struct port *port, enum port_want want);

#endif
