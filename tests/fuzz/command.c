// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile guest on the ports of a command: bytes on each of them, in any order and pieces, messages
 * that are well formed among them, while ports are read, wanted and not wanted. It never ends twice,
 * nor as "exited" unless such a message came and both streams are complete.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/socket.h>

#include "control/exec.h"
#include "control/frames.h"
#include "event.h"
#include "guest/command.h"
#include "term.h"
#include "util.h"
#include "virtio/port.h"

enum {
	CONTROL,
	STDIN,
	STDOUT,
	STDERR,
	RESULTS,
	NR_PORTS,
};

struct fuzz {
	struct event_loop *loop;
	struct command_config config;
	struct term *io, *err;
	struct command *command;
	unsigned int nr_ports;
	struct port *ports[COMMAND_MAX_PORTS];
	struct exec *exec;
	int clients[2]; /* of commands beside the first one; -1: not there */
	unsigned int ended, wakes;
	uint64_t taken[NR_PORTS];
	uint8_t heard[65536]; /* all that went to the control port before it ended */
	size_t heard_bytes;
};

static void on_ended(void *arg)
{
	((struct fuzz *)arg)->ended++;
}

static void on_wake(void *arg)
{
	((struct fuzz *)arg)->wakes++;
}

static void fuzz_write(struct fuzz *f, unsigned int port, const void *data, size_t bytes)
{
	const struct iovec iov[2] = {
		{ (void *)(uintptr_t)data, bytes / 3 },
		{ (char *)(uintptr_t)data + bytes / 3, bytes - bytes / 3 },
	};
	bool over = f->ended;
	ssize_t n;

	if (port >= f->nr_ports || !bytes)
		return;
	n = port_write(f->ports[port], iov, 2, true);
	must(n == -EAGAIN || (n > 0 && n <= (ssize_t)bytes));
	if (n < 0 || over)
		return;
	f->taken[port] += (uint64_t)n;
	if (port != CONTROL)
		return;
	must(n == (ssize_t)bytes);
	memcpy(f->heard + f->heard_bytes, data, bytes);
	f->heard_bytes += bytes;
}

/* A message that can be one, with values that are small or come from the input. */
static void fuzz_say(struct fuzz *f, struct input *in)
{
	uint8_t payloads[] = { 4, 0, 0, 16, 8, 8, 3, 3 }, message[8 + 16] = { 0 };
	uint32_t kind = PROTOCOL_READY + take(in, 1) % 8, bytes = payloads[kind - PROTOCOL_READY];
	uint64_t first = take(in, 1), second = take(in, 1);

	memcpy(message, &kind, sizeof(kind));
	memcpy(message + 4, &bytes, sizeof(bytes));
	message[8] = (uint8_t)first;
	if (kind == PROTOCOL_EXITED)
		message[12] = (uint8_t)second;
	/* Half of the time an end says the truth. */
	if (kind == PROTOCOL_STREAM_END && second & 1)
		second = f->taken[first == 1 ? STDOUT : STDERR];
	if (kind == PROTOCOL_STREAM_END)
		memcpy(message + 16, &second, sizeof(second));
	fuzz_write(f, CONTROL, message, 8 + bytes);
}

static void fuzz_read(struct fuzz *f, unsigned int port, size_t bytes)
{
	uint8_t got[256];
	const struct iovec iov = { got, bytes };
	ssize_t n = port_read(f->ports[port], &iov, 1);

	must(n == -EAGAIN || (n > 0 && n <= (ssize_t)bytes));
}

/* A client comes, says a frame, hears what there is, or goes. */
static void fuzz_client(struct fuzz *f, unsigned int i, struct input *in, size_t bytes)
{
	const struct protocol_header h = { PROTOCOL_EXEC_PLAN + (uint32_t)take(in, 1) % 9, (uint32_t)bytes };
	static struct frame_reader r;
	int pair[2];

	if (f->clients[i] < 0) {
		if (exec_obstacle(f->exec))
			return;
		must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
		exec_add(f->exec, pair[0]);
		f->clients[i] = pair[1];
	}
	send(f->clients[i], &h, sizeof(h), MSG_NOSIGNAL);
	send(f->clients[i], in->data, min_u64(bytes, in->left), MSG_NOSIGNAL);
	r.bytes = 0;
	while (frame_recv(&r, f->clients[i]) == 1) {
		must(frame_header(&r).kind - PROTOCOL_EXEC_STDOUT < 4u);
		frame_next(&r);
	}
	if (bytes & 1) {
		close(f->clients[i]);
		f->clients[i] = -1;
	}
}

static void fuzz_say_of_session(struct fuzz *f, struct input *in, size_t bytes)
{
	const uint32_t session = (uint32_t)take(in, 1) % 35, kind = PROTOCOL_EXEC_STDOUT + (uint32_t)take(in, 1) % 5;
	const struct protocol_header h = { PROTOCOL_OF_SESSION(session, kind), (uint32_t)bytes };

	if (!session || bytes > in->left)
		return;
	fuzz_write(f, CONTROL, &h, sizeof(h));
	fuzz_write(f, CONTROL, in->data, bytes);
}

static void fuzz_act(struct fuzz *f, struct input *in)
{
	unsigned int what = (unsigned int)take(in, 1), port = what >> 5;
	size_t bytes = take_length(in);

	switch (what & 31) {
	case 0 ... 7:
		fuzz_say(f, in);
		break;
	case 8 ... 15:
		fuzz_write(f, port, in->data, bytes);
		in->data += bytes;
		in->left -= bytes;
		break;
	case 16 ... 20:
		if (port < f->nr_ports)
			fuzz_read(f, port, bytes + 1);
		break;
	case 21 ... 24:
		if (port < f->nr_ports)
			port_want(f->ports[port], (enum port_want)(bytes % 3));
		break;
	case 26:
		fuzz_client(f, port & 1, in, bytes);
		break;
	case 27:
		fuzz_say_of_session(f, in, bytes);
		break;
	case 25:
		command_set_size(f->command, (uint16_t)bytes, 25);
		break;
	default:
		event_poll(f->loop);
	}
}

/* ---- what has to be true of the end ---- */

/* What was heard, as its messages say. */
struct truth {
	bool ready, exited, known[3];
	struct protocol_exited end;
	uint64_t until[3];
};

static void learn(const uint8_t *data, size_t bytes, struct truth *t)
{
	struct protocol_header h;
	struct protocol_stream_end end;

	while (bytes >= sizeof(h)) {
		memcpy(&h, data, sizeof(h));
		if (h.bytes > bytes - sizeof(h))
			return;
		t->ready |= h.kind == PROTOCOL_READY;
		if (h.kind == PROTOCOL_EXITED && h.bytes == sizeof(t->end)) {
			memcpy(&t->end, data + sizeof(h), sizeof(t->end));
			t->exited = true;
		}
		if (h.kind == PROTOCOL_STREAM_END && h.bytes == sizeof(end)) {
			memcpy(&end, data + sizeof(h), sizeof(end));
			if (end.stream - 1 < 2) {
				t->known[end.stream] = true;
				t->until[end.stream] = end.bytes;
			}
		}
		data += sizeof(h) + h.bytes;
		bytes -= sizeof(h) + h.bytes;
	}
}

static void check_end(const struct fuzz *f)
{
	static const enum command_end ends[] = { COMMAND_EXITED, COMMAND_SIGNALED, COMMAND_NOT_STARTED };
	struct command_result r = command_result(f->command);
	struct truth t = { .ready = false };

	must(f->ended <= 1);
	must(f->ended ? r.end != COMMAND_UNKNOWN : r.end == COMMAND_UNKNOWN);
	if (!f->ended || r.end == COMMAND_FAILED)
		return;
	learn(f->heard, f->heard_bytes, &t);
	must(r.ready && t.ready && t.exited && t.end.end < ARRAY_SIZE(ends));
	must(r.end == ends[t.end.end] && r.value == (int)t.end.value);
	must(t.known[1] && t.until[1] == f->taken[STDOUT]);
	must(f->config.terminal || (t.known[2] && t.until[2] == f->taken[STDERR]));
	must(!f->config.results); /* nobody takes them here */
}

static void fuzz_open(struct fuzz *f, unsigned int how, int in_fd, int out_fd)
{
	static char name[] = "true", *const arguments[] = { name, NULL };
	const struct port_client client = { .readable = on_wake, .writable = on_wake, .arg = f };

	f->config = (struct command_config){
		.arguments = arguments,
		.nr_arguments = 1,
		.nr_mounts = 1,
		.mounts = { { .path = "/" } },
		.terminal = how & 1,
		.results = how & 2 ? "/out" : NULL,
	};
	must(!event_loop_create(&f->loop));
	must(!term_create(&f->io, f->loop, &(struct term_config){ .in_fd = in_fd, .out_fd = out_fd }));
	must(!term_create(&f->err, f->loop, &(struct term_config){ .in_fd = -1, .out_fd = out_fd }));
	must(!command_create(&f->command, f->loop, &f->config, f->io, f->err));
	f->nr_ports = command_ports(f->command, f->ports);
	for (unsigned int i = 0; i < f->nr_ports; i++)
		port_set_client(f->ports[i], &client);
	must(!exec_create(&f->exec, f->loop, f->command));
	f->clients[0] = f->clients[1] = -1;
	must(!command_start(f->command, &(struct command_client){ .ended = on_ended, .arg = f },
			    COMMAND_READY_NS));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct fuzz f;
	struct input in = { data, bytes };
	unsigned int how = (unsigned int)take(&in, 1);
	int in_fd = memfd_create("in", MFD_CLOEXEC), out_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	must(in_fd >= 0 && out_fd >= 0 && !ftruncate(in_fd, how * 16));
	memset(&f, 0, sizeof(f));
	fuzz_open(&f, how, in_fd, out_fd);
	while (in.left && f.heard_bytes + 512 < sizeof(f.heard))
		fuzz_act(&f, &in);
	check_end(&f);
	exec_destroy(f.exec);
	for (unsigned int i = 0; i < 2; i++)
		if (f.clients[i] >= 0)
			close(f.clients[i]);
	command_destroy(f.command);
	term_destroy(f.io);
	term_destroy(f.err);
	event_loop_destroy(f.loop);
	close(in_fd);
	close(out_fd);
	return 0;
}
