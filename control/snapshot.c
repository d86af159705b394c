// SPDX-License-Identifier: GPL-2.0-only
/*
 * Snapshots of a machine that runs (control/snapshot.h).
 *
 * CPUs are halted, then devices frozen; when what was in flight has come back the state is taken, at one
 * moment. Memory takes longer, and does not change until the last of it is sent. Whether the machine is
 * paused is not touched by it. A client that goes away ends its snapshot, and nobody else waits for it.
 *
 * The state is the one allocation that a running VM makes for it, and gone afterwards.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/json.h"
#include "control/server.h"
#include "control/snapshot.h"
#include "control/vmcore.h"
#include "event.h"
#include "log.h"
#include "machine.h"
#include "util.h"

#define TICK_NS 1000000ull

static struct event_loop *snapshot_loop(const struct snapshot *s)
{
	return machine_loop(s->machine);
}

static bool snapshot_next(void *arg, struct vmcore_record *record, const void **data)
{
	struct snapshot *s = arg;

	return snapshot_image_next(&s->image, record, data);
}

/* However it has ended: the machine goes on, unless it was to end. */
static void on_snapshot_over(void *arg, int rc)
{
	struct snapshot *s = arg;
	const bool ends = !rc && s->stop && s->state;

	log_verbose("control: snapshot: %s", rc ? strerror(-rc) : "sent");
	event_timer_set(snapshot_loop(s), s->timer, 0, 0);
	free(s->state);
	s->state = NULL;
	s->stage = SNAPSHOT_NONE;
	if (ends) {
		machine_end_in_snapshot(s->machine);
		return;
	}
	machine_thaw(s->machine);
	machine_go_on(s->machine, MACHINE_SNAPSHOT);
	if (s->done)
		s->done(s->arg, rc);
}

static void take_state(struct snapshot *s)
{
	struct snapshot_header header;

	if (machine_save(s->machine, &header, &s->state))
		snapshot_image_fail(&s->image);
	else
		snapshot_image_init(&s->image, machine_board(s->machine)->host->mem,
				    vmcore_pagemap(s->vmcore), &header, s->state);
}

static void snapshot_on_tick(void *arg, uint32_t events)
{
	struct snapshot *s = arg;

	(void)events;
	if (s->stage != SNAPSHOT_RESTS)
		return;
	if (machine_is_at_rest(s->machine)) {
		take_state(s);
	} else if (now_ns() >= s->until_ns) {
		log_error("snapshot: a disk did not come to rest in time");
		snapshot_image_fail(&s->image);
	} else {
		return;
	}
	event_timer_set(snapshot_loop(s), s->timer, 0, 0);
	s->stage = SNAPSHOT_SENDS;
	vmcore_go(s->vmcore);
}

static void snapshot_on_halt(void *arg)
{
	struct snapshot *s = arg;

	if (s->stage != SNAPSHOT_HALTS)
		return;
	s->stage = SNAPSHOT_RESTS;
	s->until_ns = now_ns() + MACHINE_PAUSE_NS;
	machine_freeze(s->machine);
	/* From the loop: what was put off to the end of this round is done by then. */
	event_timer_set(snapshot_loop(s), s->timer, TICK_NS, TICK_NS);
}

static const char *refusal(const struct snapshot *s)
{
	if (!s->vmcore)
		return "this VM cannot be saved";
	if (vmcore_is_busy(s->vmcore))
		return "another snapshot or dump of it is under way";
	if (!strcmp(machine_state(s->machine), "ending"))
		return "it is ending";
	return machine_refuses_snapshot(s->machine);
}

/* Of those of our own: a command waits for it. */
static bool takes_too_long(void *arg)
{
	const struct snapshot *s = arg;

	return s->end_ns && now_ns() >= s->end_ns;
}

static void begin_snapshot(struct snapshot *s, int socket, bool answers)
{
	const struct vmcore_client client = {
		.socket = socket,
		.answers = answers,
		.done = on_snapshot_over,
		.next = snapshot_next,
		.maker = s,
		.is_unwanted = takes_too_long,
		.arg = s,
	};

	s->stage = SNAPSHOT_HALTS;
	vmcore_start(s->vmcore, &client);
	if (vmcore_is_busy(s->vmcore))
		machine_halt(s->machine, MACHINE_SNAPSHOT);
}

int snapshot_save(struct snapshot *s, int socket, uint64_t limit_ns, void (*done)(void *arg, int rc), void *arg)
{
	const char *reason = refusal(s);

	if (reason) {
		log_verbose("snapshot: %s", reason);
		return -EBUSY;
	}
	s->stop = false;
	s->end_ns = now_ns() + limit_ns;
	s->done = done;
	s->arg = arg;
	begin_snapshot(s, socket, true);
	return 0;
}

bool snapshot_is_under_way(const struct snapshot *s)
{
	return s->stage != SNAPSHOT_NONE;
}

void snapshot_request(struct snapshot *s, struct server_connection *c, const struct json_object *request)
{
	const char *reason = refusal(s);
	int socket;

	if (reason) {
		server_refuse(c, reason);
		return;
	}
	s->stop = json_is_true(request, "stop");
	s->done = NULL;
	s->end_ns = 0;
	socket = server_take_socket(c);
	if (socket >= 0)
		begin_snapshot(s, socket, s->stop);
}

int snapshot_init(struct snapshot *s, struct machine *machine, struct vmcore *vmcore)
{
	int timer = event_timer_create(machine_loop(machine), snapshot_on_tick, s);

	*s = (struct snapshot){ .machine = machine, .timer = timer };
	if (timer < 0)
		return timer;
	machine_on_halt(machine, MACHINE_SNAPSHOT, snapshot_on_halt, s);
	s->vmcore = vmcore;
	return 0;
}

void snapshot_fini(struct snapshot *s)
{
	if (s->machine)
		event_remove(snapshot_loop(s), s->timer);
	free(s->state);
	*s = (struct snapshot){ .timer = -1 };
}
