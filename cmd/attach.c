// SPDX-License-Identifier: GPL-2.0-only
/*
 * This process's streams, joined to a VM's (cmd/attach.h).
 *
 * A frame is taken when what came before it has been written, so a reader of ours that stops holds up
 * what comes, in the socket, and nothing grows. Stdin is read when there is room for it.
 *
 * Sources: tty_ioctl(4), signalfd(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmd/attach.h"
#include "cmd/cmd.h"
#include "control/json.h"
#include "control/registry.h"
#include "io.h"
#include "log.h"
#include "term.h"
#include "util.h"

#define ANSWER_NS 5000000000ull
#define OUT_ROOM  65536u

/* ---- the connection ---- */

static int find_socket(const char *what, const char *name, struct registry_vm *vm)
{
	struct registry registry;
	char text[LOG_NAME_BYTES];
	int rc = registry_open(&registry, false);

	if (!rc)
		rc = registry_find(vm, &registry, name);
	if (rc == -ENOENT)
		log_error("%s: no such VM\n`lkvm list` shows those that run.", log_name(text, sizeof(text), name));
	else if (rc)
		log_error("%s: %s: %s", what, registry.path, strerror(-rc));
	registry_close(&registry);
	return rc ? EXIT_LKVM : -1;
}

static int attach_ask(struct attach *a, const char *what, const char *path, const char *request)
{
	struct client *c = &a->client;
	const char *reason;
	char text[LOG_NAME_BYTES];

	client_init(c, path, request);
	client_ask(c, 1, now_ns() + ANSWER_NS);
	if (c->answered && json_is_true(&c->answer, "ok")) {
		a->fd = client_take_socket(c, &a->early, &a->early_bytes);
		return -1;
	}
	reason = c->answered ? json_get_string(&c->answer, "error") : NULL;
	log_error("%s: %s: %s", what, a->name,
		  reason ? log_name(text, sizeof(text), reason) : "it does not answer");
	return EXIT_NOT_DONE;
}

static void attach_init(struct attach *a, const char *name)
{
	a->name = name;
	a->fd = a->other_fd = a->stream = a->client.fd = a->signals.fd = a->signals.terminal = a->own_in_fd = -1;
	a->tty = TTY_NONE;
	a->status = EXIT_LKVM;
}

int attach_lend(struct attach *a, const char *name, int fd)
{
	int rc;

	attach_init(a, name);
	rc = frame_writer_init(&a->out, OUT_ROOM);
	if (!rc)
		a->fd = fd;
	return rc;
}

int attach_open(struct attach *a, const char *what, const char *name, const char *request)
{
	struct registry_vm vm = { .lock = -1 };
	int status;

	attach_init(a, name);
	status = find_socket(what, name, &vm);
	if (status < 0)
		status = attach_ask(a, what, vm.socket_path, request);
	registry_forget(&vm);
	if (status < 0 && frame_writer_init(&a->out, OUT_ROOM)) {
		log_enomem(what);
		status = EXIT_LKVM;
	}
	return status;
}

void attach_fini(struct attach *a)
{
	if (a->fd >= 0)
		close(a->fd);
	if (a->own_in_fd >= 0)
		close(a->own_in_fd);
	client_fini(&a->client);
	frame_writer_fini(&a->out);
}

void attach_end(struct attach *a, int status)
{
	a->over = true;
	a->status = status;
}

size_t attach_room(const struct attach *a)
{
	const size_t used = a->out.until - a->out.at + sizeof(struct protocol_header);

	return used < a->out.room ? min_u64(a->out.room - used, FRAME_MAX_BYTES) : 0;
}

void attach_send(struct attach *a, uint32_t kind, const void *payload, size_t bytes)
{
	frame_put(&a->out, kind, payload, bytes);
}

void attach_close_stdout(struct attach *a)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	output_fini(&a->streams[0]);
	if (null >= 0) {
		dup2(null, STDOUT_FILENO);
		close(null);
	}
}

/* ---- the terminal ---- */

bool attach_window(struct protocol_size *size)
{
	struct winsize w;

	for (int fd = STDOUT_FILENO; fd >= STDIN_FILENO; fd--) {
		if (ioctl(fd, TIOCGWINSZ, &w) || !w.ws_col)
			continue;
		*size = (struct protocol_size){ .columns = w.ws_col, .rows = w.ws_row };
		return true;
	}
	return false;
}

static void attach_take_terminal(struct attach *a)
{
	if (!a->raw)
		return;
	a->tty = tty_take(STDIN_FILENO);
	log_set_raw_terminal(a->tty == TTY_RAW);
}

static void attach_give_terminal_back(struct attach *a)
{
	if (a->raw)
		tty_give_back();
	log_set_raw_terminal(false);
}

static void tell_size(struct attach *a)
{
	struct protocol_size size;

	if (attach_window(&size))
		a->ops->resized(a, &size);
}

void attach_suspend(struct attach *a)
{
	attach_give_terminal_back(a);
	signal_stop_job();
	attach_take_terminal(a);
	tell_size(a);
}

/* ---- what comes ---- */

static void attach_on_signal(struct attach *a)
{
	const struct order order = signal_source_next(&a->signals);

	switch (order.kind) {
	case ORDER_END:
		a->ops->signaled(a, order.arg);
		break;
	case ORDER_SUSPEND:
		attach_suspend(a);
		break;
	case ORDER_CONTINUED:
		attach_take_terminal(a);
		tell_size(a);
		break;
	case ORDER_RESIZED:
		tell_size(a);
		break;
	default:
		break;
	}
}

static int attach_in_fd(const struct attach *a)
{
	return a->own_in_fd >= 0 ? a->own_in_fd : STDIN_FILENO;
}

static void attach_read_stdin(struct attach *a, size_t room)
{
	uint8_t data[FRAME_MAX_BYTES];
	ssize_t n = read(attach_in_fd(a), data, min_u64(room, sizeof(data)));

	if (n > 0) {
		a->ops->typed(a, data, (size_t)n);
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0 && errno == EIO && a->raw) { /* in the background; or it has hung up */
		attach_take_terminal(a);
		if (a->tty == TTY_BACKGROUND)
			return;
	} else if (n < 0) {
		log_error("stdin: %s", strerror(errno));
	}
	a->in_ended = true;
	a->ops->typed_all(a);
}

static int attach_next_frame(struct attach *a)
{
	if (a->early_bytes) {
		int rc = frame_feed(&a->in, &a->early, &a->early_bytes);

		if (rc)
			return rc;
	}
	return frame_recv(&a->in, a->fd);
}

/* Writes the payload that is there, as much as is taken. True when it is done. */
static bool write_payload(struct attach *a)
{
	const struct protocol_header h = frame_header(&a->in);

	while (a->written < h.bytes) {
		ssize_t n = output_write(&a->streams[a->stream], frame_payload(&a->in) + a->written,
					 h.bytes - a->written);

		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0)
			break;
		a->written += (size_t)n;
	}
	a->ops->wrote(a, a->stream, h.bytes, a->written < h.bytes ? -errno : 0);
	a->stream = -1;
	frame_next(&a->in);
	return true;
}

/* As many frames as are there, up to one whose reader is slow. */
static void take_frames(struct attach *a)
{
	int rc = 1;

	while (!a->over && rc > 0 && (a->stream < 0 || write_payload(a))) {
		struct protocol_header h;

		rc = attach_next_frame(a);
		if (rc <= 0)
			break;
		h = frame_header(&a->in);
		a->written = 0;
		a->stream = a->ops->hear(a, &h, frame_payload(&a->in));
		if (a->stream < 0)
			frame_next(&a->in);
	}
	if (rc < 0 && !a->over)
		a->ops->lost(a);
}

/* ---- all of it ---- */

enum {
	POLL_SIGNALS,
	POLL_SOCKET,
	POLL_STDIN,
	POLL_STREAM,
	POLL_OTHER,
	NR_POLLS,
};

static void attach_turn(struct attach *a)
{
	const size_t room = a->in_ended || a->tty == TTY_BACKGROUND ? 0 : a->ops->room(a);
	const bool sends = !frame_writer_is_empty(&a->out), writes = a->stream >= 0;
	struct pollfd p[NR_POLLS] = {
		[POLL_SIGNALS] = { .fd = a->signals.fd, .events = POLLIN },
		[POLL_SOCKET] = {
			.fd = writes && !sends ? -1 : a->fd,
			.events = (short)((writes ? 0 : POLLIN) | (sends ? POLLOUT : 0)),
		},
		[POLL_STDIN] = { .fd = room ? attach_in_fd(a) : -1, .events = POLLIN },
		[POLL_STREAM] = { .fd = writes ? a->streams[a->stream].fd : -1, .events = POLLOUT },
		[POLL_OTHER] = { .fd = a->other_fd, .events = POLLIN },
	};
	int n = poll_fds(p, NR_POLLS, a->tty == TTY_BACKGROUND ? TTY_LOOK_MS : -1), rc;

	if (!n)
		attach_take_terminal(a);
	if (n <= 0)
		return;
	if (p[POLL_SIGNALS].revents)
		attach_on_signal(a);
	if (p[POLL_STDIN].revents && !a->over)
		attach_read_stdin(a, room);
	if (p[POLL_OTHER].revents && !a->over)
		a->ops->other(a);
	rc = frame_flush(&a->out, a->fd);
	if (rc && rc != -EAGAIN) /* nobody hears it; what was said before that is there still */
		a->out.at = a->out.until = 0;
	if (p[POLL_STREAM].revents || p[POLL_SOCKET].revents)
		take_frames(a);
}

void attach_run(struct attach *a)
{
	a->raw = a->raw && isatty(STDIN_FILENO);
	output_init(&a->streams[0], STDOUT_FILENO);
	output_init(&a->streams[1], STDERR_FILENO);
	a->own_in_fd = term_open_input_again(STDIN_FILENO);
	output_reopen(&a->streams[0]);
	output_reopen(&a->streams[1]);
	if (signal_source_open(&a->signals, SIGNALS_VM, false)) {
		log_error("signals: %s", strerror(errno));
		return;
	}
	tty_init();
	attach_take_terminal(a);
	take_frames(a); /* those that came with the answer */
	while (!a->over) {
		if (a->ops->fill)
			a->ops->fill(a);
		attach_turn(a);
	}
	frame_flush(&a->out, a->fd);
	attach_give_terminal_back(a);
	output_fini(&a->streams[0]);
	output_fini(&a->streams[1]);
	signal_source_close(&a->signals);
}
