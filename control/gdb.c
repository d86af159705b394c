// SPDX-License-Identifier: GPL-2.0-only
/*
 * gdb's remote stub (control/gdb.h): the connection, and who runs when. What packets ask for is in
 * control/gdb-commands.c.
 *
 * Packets are taken while all CPUs stand (machine_halt()), and only when the last reply has gone out:
 * what comes earlier stays in the socket. So the buffers are bounded, and a client that does not read
 * is not read. While CPUs run nothing but Ctrl-C means anything.
 *
 * A CPU that has trapped parks, the machine halts, and here it is found out why. What is the guest's
 * own (its kernel patches itself by int3, its debuggers use the same registers) is given back to
 * it, and the CPUs go on as they did. KVM is told of breakpoints before CPUs run, each CPU of
 * what has changed for it.
 *
 * Source: "Debugging with GDB", appendix E; Documentation/virt/kvm/api.rst, KVM_SET_GUEST_DEBUG.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "control/gdb-commands.h"
#include "control/gdb.h"
#include "event.h"
#include "io.h"
#include "kvm-cpu.h"
#include "log.h"
#include "machine.h"
#include "util.h"
#include "x86/board.h"

#define EXCEPTION_BP	3u
#define GDB_INPUT_BYTES 4096u
#define STEP_FLAGS	(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_BLOCKIRQ)

enum gdb_state {
	GDB_AWAY,     /* nobody is connected */
	GDB_LEAVING,  /* nobody is, and something is left to be undone when all CPUs stand */
	GDB_STOPPING, /* CPUs are to stand */
	GDB_STOPPED,  /* they do: it is gdb's turn */
	GDB_RUNNING,
};

struct gdb {
	struct machine *machine; /* lent */
	struct event_loop *loop;
	struct gdb_target target;
	enum gdb_state state;
	bool is_first;		      /* none was connected yet: the VM waits for it */
	bool tells;		      /* a stop has to be reported, not only to be known */
	struct gdb_resume resume;     /* how CPUs run */
	struct kvm_guest_debug *told; /* of each CPU: what KVM knows */
	struct gdb_hit *held;	      /* of each CPU: what it has watched, not reported yet */

	int fd, watch;	 /* -1: none */
	bool has_packet; /* in packet, not yet served */
	bool no_acks;
	size_t in_at, in_bytes;
	size_t out_at, out_bytes;
	struct gdb_packet packet;
	struct gdb_reply reply;
	uint8_t in[GDB_INPUT_BYTES];
	char out[2 * GDB_FRAME_BYTES + 2];
};

static void gdb_go_on(struct gdb *g);

static struct board *gdb_board(const struct gdb *g)
{
	return machine_board(g->machine);
}

/* ---- the connection ---- */

static bool gdb_can_take(const struct gdb *g)
{
	return g->fd >= 0 && !g->has_packet && !g->out_bytes;
}

static void gdb_watch(struct gdb *g)
{
	event_modify(g->loop, g->watch, (g->out_bytes ? EPOLLOUT : 0u) | (gdb_can_take(g) ? EPOLLIN : 0u));
}

static void close_gdb(struct gdb *g)
{
	event_remove(g->loop, g->watch);
	close(g->fd);
	g->fd = g->watch = -1;
}

/* It is gone; the CPUs must stand for what has to be undone. */
static void gdb_lose(struct gdb *g)
{
	close_gdb(g);
	g->state = GDB_LEAVING;
	machine_halt(g->machine, MACHINE_GDB);
}

static void gdb_flush(struct gdb *g)
{
	while (g->out_bytes) {
		ssize_t n = socket_send(g->fd, g->out + g->out_at, g->out_bytes);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			gdb_lose(g);
			return;
		}
		g->out_at += (size_t)n;
		g->out_bytes -= (size_t)n;
	}
	g->out_at = 0;
}

static void gdb_send_byte(struct gdb *g, char c)
{
	if (g->out_at + g->out_bytes < sizeof(g->out))
		g->out[g->out_at + g->out_bytes++] = c;
}

/* There is room: one reply is sent before the next packet is taken, and a stop may come between. */
static void gdb_send_reply(struct gdb *g)
{
	char frame[GDB_FRAME_BYTES];
	size_t bytes = gdb_frame(&g->reply, frame);

	g->reply.bytes = 0;
	if (g->out_at + g->out_bytes + bytes > sizeof(g->out))
		return;
	memcpy(g->out + g->out_at + g->out_bytes, frame, bytes);
	g->out_bytes += bytes;
}

/* ---- what CPUs are told ---- */

static void tell_debug(struct gdb *g, unsigned int cpu, uint32_t flags)
{
	struct kvm_guest_debug debug;

	gdb_breaks_control(&g->target.breaks, &debug);
	debug.control |= flags;
	if (!flags && !memcmp(&debug, &g->told[cpu], sizeof(debug)))
		return;
	if (ioctl(gdb_board(g)->vcpus[cpu]->fd, KVM_SET_GUEST_DEBUG, &debug))
		log_error("gdb: vcpu %u: KVM_SET_GUEST_DEBUG: %#x: %s", cpu, debug.control,
			  strerror(errno));
	g->told[cpu] = debug;
}

static bool is_stepped(const struct gdb *g, unsigned int cpu)
{
	return g->resume.step && g->resume.cpu == cpu;
}

/* An exception that is the guest's own, as if nobody had looked. */
static void give_back(struct gdb *g, struct vcpu *vcpu)
{
	tell_debug(g, vcpu->index,
		   KVM_GUESTDBG_ENABLE | (vcpu->trap.exception == EXCEPTION_BP ?
						  KVM_GUESTDBG_INJECT_BP :
						  KVM_GUESTDBG_INJECT_DB));
	vcpu->trapped = false;
}

static void gdb_clean_up(struct gdb *g)
{
	gdb_break_remove_all(&g->target.breaks);
	for (unsigned int i = 0; i < gdb_board(g)->nr_vcpus; i++) {
		gdb_board(g)->vcpus[i]->trapped = false;
		g->held[i] = (struct gdb_hit){ 0 };
		tell_debug(g, i, 0);
	}
	g->resume = (struct gdb_resume){ 0 };
	g->state = GDB_AWAY;
	machine_go_on(g->machine, MACHINE_GDB);
}

/* ---- stops ---- */

/* What is to be reported. */
static void take_hit(struct gdb *g, unsigned int cpu, const struct gdb_hit *hit)
{
	g->target.cpu = cpu;
	g->target.stop = (struct gdb_stop){
		.signal = SIGTRAP,
		.trap = hit->trap,
		.watch_type = hit->type,
		.watched = hit->address,
	};
}

/*
 * Finds out why CPUs have trapped, while breakpoints are as they were. True: there is something to
 * report. What another CPU has run into is met again when that runs, unless it has watched something:
 * then it is held until its turn. The guest's own is given back.
 */
static bool sort_traps(struct gdb *g)
{
	bool found = false;

	for (unsigned int i = 0; i < gdb_board(g)->nr_vcpus; i++) {
		struct vcpu *vcpu = gdb_board(g)->vcpus[i];
		struct gdb_hit hit;

		if (!vcpu->trapped)
			continue;
		hit = gdb_trap_explain(&g->target.breaks, &vcpu->trap, is_stepped(g, i));
		if (hit.trap == GDB_TRAP_FOREIGN) {
			give_back(g, vcpu);
			continue;
		}
		vcpu->trapped = false;
		if (!found)
			take_hit(g, i, &hit);
		else if (hit.trap == GDB_TRAP_WATCH)
			g->held[i] = hit;
		found = true;
	}
	return found;
}

/* The next that is held. One whose watchpoint is gone interests nobody, the guest least. */
static bool take_held(struct gdb *g)
{
	for (unsigned int i = 0; i < gdb_board(g)->nr_vcpus; i++) {
		const struct gdb_hit hit = g->held[i];

		g->held[i] = (struct gdb_hit){ 0 };
		if (hit.trap == GDB_TRAP_WATCH && gdb_hit_stands(&g->target.breaks, &hit)) {
			take_hit(g, i, &hit);
			return true;
		}
	}
	return false;
}

static void gdb_report_stop(struct gdb *g)
{
	g->state = GDB_STOPPED;
	gdb_target_forget(&g->target);
	if (!g->tells)
		return;
	gdb_put_stop(&g->target, &g->reply);
	gdb_send_reply(g);
}

static void gdb_take_input(struct gdb *g);

static void gdb_on_halt(void *arg)
{
	struct gdb *g = arg;

	if (g->state == GDB_AWAY && g->is_first)
		return;
	if (g->state == GDB_AWAY || g->state == GDB_LEAVING) {
		gdb_clean_up(g);
		if (g->fd < 0)
			return;
		g->state = GDB_STOPPING; /* the next one is there already */
		machine_halt(g->machine, MACHINE_GDB);
		return;
	}
	if (!sort_traps(g)) {
		if (g->state == GDB_RUNNING) {
			gdb_go_on(g);
			return;
		}
		g->target.stop = (struct gdb_stop){ .signal = g->tells ? SIGINT : SIGTRAP };
	}
	gdb_report_stop(g);
	gdb_take_input(g);
}

/* As gdb has said last. */
static void gdb_go_on(struct gdb *g)
{
	const struct gdb_resume *r = &g->resume;

	g->state = GDB_RUNNING;
	for (unsigned int i = 0; i < gdb_board(g)->nr_vcpus; i++)
		tell_debug(g, i, is_stepped(g, i) ? STEP_FLAGS : 0);
	if (r->alone)
		machine_step(g->machine, r->cpu);
	else
		machine_go_on(g->machine, MACHINE_GDB);
}

static void gdb_resume(struct gdb *g)
{
	g->tells = true;
	gdb_target_flush(&g->target);
	if (take_held(g))
		gdb_report_stop(g); /* what another CPU has watched */
	else
		gdb_go_on(g);
}

static void gdb_interrupt(struct gdb *g)
{
	if (g->state != GDB_RUNNING)
		return;
	g->state = GDB_STOPPING;
	machine_halt(g->machine, MACHINE_GDB);
}

/* ---- packets ---- */

static void gdb_detach(struct gdb *g)
{
	gdb_flush(g);
	if (g->fd < 0)
		return;
	close_gdb(g);
	gdb_target_flush(&g->target);
	gdb_clean_up(g);
}

/* The CPUs stand. */
static void serve_packet(struct gdb *g)
{
	struct gdb_text text = { g->packet.text, g->packet.text + g->packet.bytes };
	enum gdb_action action;

	g->has_packet = false;
	g->reply.bytes = 0;
	action = gdb_serve(&g->target, text, &g->reply, &g->resume);
	if (action == GDB_RESUME) {
		gdb_resume(g);
		return;
	}
	if (action != GDB_KILL)
		gdb_send_reply(g);
	if (action == GDB_NO_ACKS)
		g->no_acks = true;
	else if (action == GDB_DETACH)
		gdb_detach(g);
	else if (action == GDB_KILL)
		machine_quit(g->machine);
}

static void take_byte(struct gdb *g, uint8_t byte)
{
	switch (gdb_packet_feed(&g->packet, byte)) {
	case GDB_PACKET:
		g->has_packet = true;
		if (!g->no_acks)
			gdb_send_byte(g, '+');
		break;
	case GDB_BROKEN:
		if (!g->no_acks)
			gdb_send_byte(g, '-');
		break;
	case GDB_INTERRUPT:
		gdb_interrupt(g);
		break;
	case GDB_NAK:
		gdb_lose(g); /* what has gone wrong on a local socket? */
		break;
	case GDB_NOTHING:
		break;
	}
}

/* As far as it can be served now. */
static void gdb_take_input(struct gdb *g)
{
	while (g->fd >= 0) {
		if (g->has_packet && g->state == GDB_STOPPED)
			serve_packet(g);
		else if (gdb_can_take(g) && g->in_at < g->in_bytes)
			take_byte(g, g->in[g->in_at++]);
		else
			break;
		if (g->fd >= 0)
			gdb_flush(g);
	}
	if (g->fd >= 0)
		gdb_watch(g);
}

static void gdb_on_socket(void *arg, uint32_t events)
{
	struct gdb *g = arg;
	ssize_t n;

	if (events & EPOLLOUT)
		gdb_flush(g);
	if (g->fd >= 0 && gdb_can_take(g) && g->in_at == g->in_bytes) {
		n = socket_recv(g->fd, g->in, sizeof(g->in));
		if (!n || (n < 0 && errno != EAGAIN)) {
			gdb_lose(g);
			return;
		}
		g->in_at = 0;
		g->in_bytes = n > 0 ? (size_t)n : 0;
	} else if (g->fd >= 0 && events & (EPOLLHUP | EPOLLERR)) {
		gdb_lose(g);
		return;
	}
	gdb_take_input(g);
}

/* ---- life ---- */

bool gdb_is_busy(const struct gdb *g)
{
	return g->fd >= 0;
}

bool gdb_is_in_guest(const struct gdb *g)
{
	return gdb_is_busy(g) || g->state == GDB_LEAVING;
}

void gdb_connect(struct gdb *g, int socket)
{
	g->watch = event_add(g->loop, socket, EPOLLIN, gdb_on_socket, g);
	if (g->watch < 0) {
		close(socket);
		return;
	}
	g->fd = socket;
	g->is_first = g->no_acks = g->has_packet = g->tells = false;
	g->in_at = g->in_bytes = g->out_at = g->out_bytes = 0;
	g->packet.state = GDB_OUTSIDE;
	g->target.breaks.mem = gdb_board(g)->host->mem;
	gdb_target_reset(&g->target);
	if (g->state == GDB_LEAVING)
		return; /* of the one before something is still to be undone */
	g->state = GDB_STOPPING;
	machine_halt(g->machine, MACHINE_GDB);
}

int gdb_create(struct gdb **out, struct machine *machine, unsigned int cpus, const char *version)
{
	struct gdb *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	*g = (struct gdb){
		.machine = machine,
		.loop = machine_loop(machine),
		.fd = -1,
		.watch = -1,
		.is_first = true,
	};
	g->told = calloc(cpus, sizeof(*g->told));
	g->held = calloc(cpus, sizeof(*g->held));
	if (!g->told || !g->held) {
		free(g->told);
		free(g->held);
		free(g);
		return -ENOMEM;
	}
	gdb_target_init(&g->target, machine, version);
	machine_on_halt(machine, MACHINE_GDB, gdb_on_halt, g);
	*out = g;
	return 0;
}

void gdb_destroy(struct gdb *g)
{
	if (!g)
		return;
	if (g->fd >= 0) {
		g->reply.bytes = 0;
		gdb_put(&g->reply, "W00");
		gdb_send_reply(g);
		socket_send(g->fd, g->out + g->out_at, g->out_bytes);
		close_gdb(g);
	}
	free(g->told);
	free(g->held);
	free(g);
}
