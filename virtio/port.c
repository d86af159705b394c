// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's side of a console port (port.h says what kinds there are).
 *
 * Owns its descriptors and never waits for them. O_NONBLOCK on an inherited description would
 * change it for others, too: a pipe or device is opened anew through /proc, and a socket, which
 * cannot be, is asked not to wait by each call. A descriptor is watched only while something is wanted of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "event.h"
#include "io.h"
#include "listener.h"
#include "log.h"
#include "output.h"
#include "term.h"
#include "util.h"
#include "virtio/port.h"

struct port {
	struct event_loop *loop;
	struct port_config config;
	struct port_client client;
	int fd;	   /* -1: nobody is there */
	int watch; /* of fd; -1: a file, which is always ready */
	bool is_socket;
	bool can_read, can_write;
	enum port_want want;
	bool writes; /* room is waited for */
	struct listener listener;
	char label[96]; /* "port NAME", for messages */
	int slave_fd;	/* of a pseudo-terminal: keeps it from hanging up */
	uint64_t dropped;
};

static void port_update_watch(struct port *p)
{
	uint32_t events = (p->want == PORT_NOW && p->can_read ? EPOLLIN : 0) | (p->writes ? EPOLLOUT : 0);

	if (p->watch >= 0)
		event_modify(p->loop, p->watch, events | EPOLLET);
}

static void close_fd(struct port *p)
{
	event_remove(p->loop, p->watch);
	close(p->fd);
	p->fd = p->watch = -1;
	p->writes = false;
	listener_resume(&p->listener);
	if (p->client.opened)
		p->client.opened(p->client.arg, false);
	/* What waited for room goes nowhere now. */
	if (p->client.writable)
		p->client.writable(p->client.arg);
}

static void on_fd(void *arg, uint32_t events)
{
	struct port *p = arg;

	if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP) && p->writes) {
		p->writes = false;
		port_update_watch(p);
		if (p->client.writable)
			p->client.writable(p->client.arg);
	}
	if (p->fd < 0)
		return;
	if (p->want == PORT_NOW && p->can_read && p->client.readable)
		p->client.readable(p->client.arg);
	/* Nothing will be read of it: that it has gone must be noticed all the same. */
	else if (events & (EPOLLHUP | EPOLLERR) && !(p->want == PORT_LATER && p->can_read))
		close_fd(p);
}

static int use_fd(struct port *p, int fd)
{
	int watch = event_add(p->loop, fd, EPOLLET, on_fd, p);

	if (watch < 0 && watch != -EPERM)
		return watch;
	p->fd = fd;
	p->watch = watch < 0 ? -1 : watch;
	port_update_watch(p);
	if (p->client.opened)
		p->client.opened(p->client.arg, true);
	return 0;
}

static int port_on_client(void *arg, int fd)
{
	struct port *p = arg;
	int rc;

	p->is_socket = p->can_read = p->can_write = true;
	rc = use_fd(p, fd);
	if (rc)
		close(fd);
	return rc;
}

void port_wake(struct port *p)
{
	if (p->writes && p->client.writable) {
		p->writes = false;
		p->client.writable(p->client.arg);
	}
	if (p->want == PORT_NOW && p->client.readable)
		p->client.readable(p->client.arg);
}

static void port_on_terminal(void *arg)
{
	port_wake(arg);
}

/* ---- moving bytes ---- */

static ssize_t terminal_read(struct port *p, const struct iovec *iov, unsigned int nr)
{
	size_t n = 0;

	for (unsigned int i = 0; i < nr && term_has_input(p->config.term); i++)
		n += term_get(p->config.term, iov[i].iov_base, iov[i].iov_len);
	return n ? (ssize_t)n : -EAGAIN;
}

static ssize_t terminal_write(struct port *p, const struct iovec *iov, unsigned int nr,
			      bool can_wait)
{
	size_t n = 0;

	for (unsigned int i = 0; i < nr; i++) {
		size_t part = term_put_some(p->config.term, iov[i].iov_base, iov[i].iov_len,
					    can_wait);

		n += part;
		if (part < iov[i].iov_len) {
			p->writes = true;
			break;
		}
	}
	return n ? (ssize_t)n : -EAGAIN;
}

static bool has_hung_up(const struct port *p)
{
	struct pollfd pfd = { .fd = p->fd };

	return poll_fds(&pfd, 1, 0) == 1 && pfd.revents & (POLLHUP | POLLERR | POLLNVAL);
}

ssize_t port_read(struct port *p, const struct iovec *iov, unsigned int nr)
{
	ssize_t n;

	if (p->config.kind == PORT_TERM)
		return terminal_read(p, iov, nr);
	if (p->config.kind == PORT_PEER)
		return p->config.peer.read ? p->config.peer.read(p->config.peer.arg, iov, nr) : -EAGAIN;
	if (p->fd < 0 || !p->can_read)
		return -EAGAIN;
	n = p->is_socket ? socket_recv_iov(p->fd, iov, nr) : read_iov(p->fd, iov, nr, NO_OFFSET);
	if (n > 0)
		return n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	/* The end of what is sent to us; the other side may listen still. */
	p->can_read = false;
	port_update_watch(p);
	if (!p->can_write || has_hung_up(p))
		close_fd(p);
	return -EAGAIN;
}

static size_t bytes_of(const struct iovec *iov, unsigned int nr)
{
	size_t n = 0;

	for (unsigned int i = 0; i < nr; i++)
		n += iov[i].iov_len;
	return n;
}

static ssize_t peer_write(struct port *p, const struct iovec *iov, unsigned int nr)
{
	ssize_t n = p->config.peer.write ? p->config.peer.write(p->config.peer.arg, iov, nr) :
					   (ssize_t)bytes_of(iov, nr);

	p->writes |= n == -EAGAIN;
	return n;
}

ssize_t port_write(struct port *p, const struct iovec *iov, unsigned int nr, bool can_wait)
{
	ssize_t n;

	if (p->config.kind == PORT_TERM)
		return terminal_write(p, iov, nr, can_wait);
	if (p->config.kind == PORT_PEER)
		return peer_write(p, iov, nr);
	if (p->fd >= 0 && p->can_write) {
		n = p->is_socket ? socket_send_iov(p->fd, iov, nr) :
				   write_iov(p->fd, iov, nr, NO_OFFSET);
		if (n >= 0)
			return n;
		if (errno == EAGAIN || errno == EINTR) {
			p->writes = true;
			port_update_watch(p);
			return -EAGAIN;
		}
		if (p->config.kind != PORT_UNIX)
			log_notice("%s: %s: what the guest writes is dropped from now on",
				   p->label, strerror(errno));
		p->can_write = false;
		/* Another client may come; a file or pipe stays, so that no writer waits. */
		if (p->config.kind == PORT_UNIX)
			close_fd(p);
	}
	p->dropped += bytes_of(iov, nr);
	return (ssize_t)bytes_of(iov, nr);
}

void port_want(struct port *p, enum port_want want)
{
	if (p->want == want)
		return;
	p->want = want;
	port_update_watch(p);
	/* What a client that has gone left behind is not wanted any more. */
	if (want == PORT_UNWANTED && listener_is_open(&p->listener) && p->fd >= 0 && has_hung_up(p))
		close_fd(p);
}

bool port_is_open(const struct port *p)
{
	return p->config.kind == PORT_TERM || p->config.kind == PORT_PEER || p->fd >= 0;
}

const char *port_name(const struct port *p)
{
	return p->config.name;
}

void port_set_client(struct port *p, const struct port_client *client)
{
	p->client = client ? *client : (struct port_client){ 0 };
}

/* ---- opening ---- */

static int port_refuse(const struct port *p, const char *object, int error)
{
	log_error("%s: %s: %s", p->label, object, strerror(-error));
	return error;
}

static int open_socket(struct port *p)
{
	const struct listener_client client = { .accepted = port_on_client, .arg = p };
	int rc = p->config.dry_run ? listener_check(p->config.path) :
				     listener_open(&p->listener, p->loop, p->label, p->config.path, &client);

	return rc ? port_refuse(p, p->config.path, rc) : 0;
}

static int check_file(struct port *p)
{
	int rc = output_check(p->config.path, true);

	return rc ? port_refuse(p, p->config.path, rc) : 0;
}

static int open_file(struct port *p)
{
	struct stat st;
	int fd;

	if (p->config.dry_run)
		return check_file(p);
	fd = open(p->config.path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC, 0666);
	if (fd < 0)
		return port_refuse(p, p->config.path, -errno);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return port_refuse(p, p->config.path, -EINVAL);
	}
	p->can_write = true;
	return use_fd(p, fd);
}

/* A descriptor of our own for what our parent has opened, without blocking unless it is a socket. */
static int reopen(int fd, int access, bool *is_socket)
{
	struct stat st;
	char path[32];

	if (fstat(fd, &st))
		return -errno;
	*is_socket = S_ISSOCK(st.st_mode);
	if (*is_socket) {
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		return fd < 0 ? -errno : fd;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_fd(struct port *p)
{
	int flags = fcntl(p->config.fd, F_GETFL), access = flags & O_ACCMODE, fd, rc;
	char number[16];

	snprintf(number, sizeof(number), "fd %d", p->config.fd);
	if (flags < 0)
		return port_refuse(p, number, -errno);
	fd = reopen(p->config.fd, access, &p->is_socket);
	if (fd < 0)
		return port_refuse(p, number, fd);
	p->can_read = access != O_WRONLY;
	p->can_write = access != O_RDONLY;
	rc = use_fd(p, fd);
	if (rc)
		close(fd);
	return rc ? port_refuse(p, number, rc) : 0;
}

static int open_pty(struct port *p)
{
	struct termios mode;
	int rc, fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	char name[64];

	if (fd < 0)
		return port_refuse(p, "pty", -errno);
	if (grantpt(fd) || unlockpt(fd) || ptsname_r(fd, name, sizeof(name))) {
		rc = -errno;
		close(fd);
		return port_refuse(p, "pty", rc);
	}
	p->slave_fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (p->slave_fd >= 0 && !tcgetattr(p->slave_fd, &mode)) {
		cfmakeraw(&mode);
		tcsetattr(p->slave_fd, TCSANOW, &mode);
	}
	p->can_read = p->can_write = true;
	rc = use_fd(p, fd);
	if (rc) {
		close(fd);
		return port_refuse(p, name, rc);
	}
	log_notice("%s: %s", p->label, name);
	return 0;
}

static int open_term(struct port *p)
{
	term_set_listener(p->config.term, port_on_terminal, p);
	return 0;
}

static int open_peer(struct port *p)
{
	(void)p;
	return 0;
}

int port_create(struct port **out, struct event_loop *loop, const struct port_config *config)
{
	static int (*const open_kind[])(struct port *) = {
		[PORT_TERM] = open_term,
		[PORT_UNIX] = open_socket,
		[PORT_FILE] = open_file,
		[PORT_FD] = open_fd,
		[PORT_PTY] = open_pty,
		[PORT_PEER] = open_peer,
	};
	struct port *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return log_enomem("port");
	p->loop = loop;
	p->config = *config;
	p->fd = p->watch = p->slave_fd = -1;
	p->listener = (struct listener)LISTENER_CLOSED;
	snprintf(p->label, sizeof(p->label), "port %s", config->name);
	rc = open_kind[config->kind](p);
	if (rc) {
		port_destroy(p);
		return rc;
	}
	*out = p;
	return 0;
}

struct socket_name port_take_name(struct port *p)
{
	return listener_take_name(&p->listener);
}

void port_destroy(struct port *p)
{
	if (!p)
		return;
	if (p->config.kind == PORT_TERM)
		term_set_listener(p->config.term, NULL, NULL);
	if (p->dropped)
		log_verbose("%s: %llu bytes dropped: nobody had it open", p->label,
			    (unsigned long long)p->dropped);
	event_remove(p->loop, p->watch);
	if (p->fd >= 0)
		close(p->fd);
	if (p->slave_fd >= 0)
		close(p->slave_fd);
	listener_close(&p->listener);
	free(p);
}
