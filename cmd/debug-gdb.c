// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm debug NAME --gdb`: carries bytes between gdb and the VM's stub (control/gdb.h).
 *
 * gdb is on stdin and stdout, as "target remote | lkvm debug NAME --gdb" starts us, or connects by TCP
 * to an address of this host, which by default nobody else can. The VM is told when gdb is there, since
 * it stops then. Either end's end is ours.
 *
 * Nothing is read on one side before all of what came last has gone to the other.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/debug.h"
#include "control/client.h"
#include "control/registry.h"
#include "io.h"
#include "log.h"
#include "util.h"

#define WAY_BYTES 16384u
#define LOOK_MS	  300

/* One direction. */
struct way {
	int from, to;
	size_t at, bytes;
	bool ended; /* nothing comes any more, or nobody takes it */
	char data[WAY_BYTES];
};

/* @fds[0] waits for input, @fds[1] for room; which of them is in use depends on what there is. */
static void way_wait(const struct way *w, struct pollfd fds[2])
{
	fds[0] = (struct pollfd){ .fd = w->bytes ? -1 : w->from, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = w->bytes ? w->to : -1, .events = POLLOUT };
}

static void way_move(struct way *w, const struct pollfd fds[2])
{
	ssize_t n;

	if (fds[0].fd >= 0 && fds[0].revents) {
		n = read(w->from, w->data, sizeof(w->data));
		w->ended = !n || (n < 0 && errno != EAGAIN && errno != EINTR);
		w->at = 0;
		w->bytes = n > 0 ? (size_t)n : 0;
	} else if (fds[1].fd >= 0 && fds[1].revents) {
		n = write(w->to, w->data + w->at, w->bytes);
		w->ended = n < 0 && errno != EAGAIN && errno != EINTR;
		w->at += n > 0 ? (size_t)n : 0;
		w->bytes -= n > 0 ? (size_t)n : 0;
	}
}

/* Until one of them ends. @early: what the VM has said already. */
static void relay(int in, int out, int vm, const char *early, size_t early_bytes)
{
	static struct way up, down;
	struct pollfd fds[4];

	up = (struct way){ .from = in, .to = vm };
	down = (struct way){ .from = vm, .to = out, .bytes = min_u64(early_bytes, WAY_BYTES) };
	memcpy(down.data, early, down.bytes);
	while (!up.ended && !down.ended) {
		way_wait(&up, fds);
		way_wait(&down, fds + 2);
		if (poll_fds(fds, 4, -1) < 0)
			return;
		way_move(&up, fds);
		way_move(&down, fds + 2);
	}
}

static int connect_vm(const struct registry_vm *vm, int in, int out)
{
	static struct client c;
	const char *early;
	size_t early_bytes;
	int status = EXIT_NOT_DONE, socket;

	if (debug_ask(vm, "gdb", &c, "{\"v\":1,\"do\":\"gdb\"}\n")) {
		socket = client_take_socket(&c, &early, &early_bytes);
		relay(in, out, socket, early, early_bytes);
		close(socket);
		status = EXIT_OK;
	}
	client_fini(&c);
	return status;
}

/* ---- by TCP ---- */

static bool take_address(const char *text, struct sockaddr_in *addr)
{
	const char *colon = strrchr(text, ':');
	const char *port = colon ? colon + 1 : text;
	char host[INET_ADDRSTRLEN] = "127.0.0.1", *end;
	unsigned long n = strtoul(port, &end, 10);

	if (*port < '0' || *port > '9' || *end || !n || n > UINT16_MAX ||
	    (colon && (size_t)(colon - text) >= sizeof(host)))
		return false;
	if (colon && colon != text)
		snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	*addr = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)n) };
	return inet_pton(AF_INET, host, &addr->sin_addr) == 1;
}

/* As long as there is a VM. gdb's connection; -ESRCH; another -errno. */
static int accept_gdb(const struct registry_vm *vm, int listener)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };
	int fd;

	do {
		if (registry_wait(vm, 1))
			return -ESRCH;
		poll_fds(&p, 1, LOOK_MS);
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	} while (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED));
	return fd < 0 ? -errno : fd;
}

/* As accept_gdb(). */
static int wait_for_gdb(const struct registry_vm *vm, const struct sockaddr_in *addr)
{
	const int on = 1;
	char host[INET_ADDRSTRLEN] = "";
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), fd;

	if (listener < 0)
		return -errno;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (const struct sockaddr *)addr, sizeof(*addr)) || listen(listener, 1)) {
		fd = -errno;
	} else {
		inet_ntop(AF_INET, &addr->sin_addr, host, sizeof(host));
		log_notice("gdb: target remote %s:%u", host, ntohs(addr->sin_port));
		fd = accept_gdb(vm, listener);
	}
	close(listener);
	return fd;
}

int debug_gdb(const struct registry_vm *vm, const char *address)
{
	struct sockaddr_in addr;
	int fd, status;

	if (!address)
		return connect_vm(vm, STDIN_FILENO, STDOUT_FILENO);
	if (!take_address(address, &addr)) {
		log_error("--gdb: %s: must be [ADDR:]PORT, an IPv4 address of this host", address);
		return EXIT_LKVM;
	}
	fd = wait_for_gdb(vm, &addr);
	if (fd == -ESRCH) {
		log_error("gdb: %s: it has ended", vm->name);
		return EXIT_NOT_DONE;
	}
	if (fd < 0) {
		log_error("--gdb: %s: %s", address, strerror(-fd));
		return EXIT_LKVM;
	}
	status = connect_vm(vm, fd, fd);
	close(fd);
	return status;
}
