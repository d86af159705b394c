// SPDX-License-Identifier: GPL-2.0-only
/*
 * gdb's packets (control/gdb-commands.h). Tables say which packet is whose; what is in none gets an
 * empty reply, which is the protocol's word for "not here".
 *
 * Registers are read from KVM once for each stop and CPU, and what gdb changes goes back before the CPUs
 * run or another CPU is looked at.
 *
 * Source: "Debugging with GDB", appendices E.2 to E.5 and E.10.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "control/gdb-commands.h"
#include "control/gdb-registers.h"
#include "kvm-cpu.h"
#include "machine.h"
#include "util.h"
#include "x86/board.h"

#define MEMORY_BYTES  ((GDB_PACKET_BYTES - 32u) / 2) /* in one packet, as digits */
#define MONITOR_BYTES 4096u
#define ERROR_USAGE   "E01"
#define ERROR_MEMORY  "E14"

static unsigned int nr_threads(const struct gdb_target *t)
{
	return machine_board(t->machine)->nr_vcpus;
}

static struct vcpu *vcpu_of(const struct gdb_target *t, unsigned int cpu)
{
	return machine_board(t->machine)->vcpus[cpu];
}

/* ---- registers as KVM has them ---- */

void gdb_target_flush(struct gdb_target *t)
{
	const struct vcpu *vcpu = vcpu_of(t, t->cached_cpu);

	if (t->cached && t->changed & GDB_CHANGED_SREGS)
		ioctl(vcpu->fd, KVM_SET_SREGS, &t->registers.sregs);
	if (t->cached && t->changed & GDB_CHANGED_REGS)
		ioctl(vcpu->fd, KVM_SET_REGS, &t->registers.regs);
	if (t->cached && t->changed & GDB_CHANGED_FPU)
		ioctl(vcpu->fd, KVM_SET_FPU, &t->registers.fpu);
	t->changed = 0;
	t->cached = false;
}

bool gdb_target_load(struct gdb_target *t)
{
	if (t->cached && t->cached_cpu == t->general)
		return true;
	gdb_target_flush(t);
	if (registers_read(&t->registers, vcpu_of(t, t->general)) ||
	    registers_read(&t->boot, vcpu_of(t, 0)))
		return false;
	t->cached = true;
	t->cached_cpu = t->general;
	return true;
}

void gdb_target_forget(struct gdb_target *t)
{
	t->cached = false;
	t->changed = 0;
	t->general = t->stepped = t->cpu;
}

void gdb_target_reset(struct gdb_target *t)
{
	t->cpu = 0;
	t->stop = (struct gdb_stop){ .signal = SIGTRAP };
	gdb_target_forget(t);
}

void gdb_target_init(struct gdb_target *t, struct machine *machine, const char *version)
{
	*t = (struct gdb_target){ .machine = machine, .version = version };
	gdb_target_reset(t);
}

/* ---- registers ---- */

static void get_all(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	uint8_t value[GDB_REGISTER_BYTES];

	(void)text;
	if (!gdb_target_load(t)) {
		gdb_put(reply, ERROR_USAGE);
		return;
	}
	for (unsigned int n = 0; n < GDB_NR_REGISTERS; n++) {
		size_t bytes = gdb_register_get(&t->registers, n, value);

		gdb_put_hex(reply, value, bytes);
	}
}

/* What cannot be set stays as it is, and gdb is told. */
static void set_all(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	uint8_t value[GDB_REGISTER_BYTES];
	unsigned int n = 0, refused = 0;

	while (n < GDB_NR_REGISTERS && gdb_target_load(t) &&
	       gdb_take_hex(&text, value, gdb_register_get(&t->registers, n, value)))
		refused += gdb_register_set(&t->registers, n++, value, &t->changed) != 0;
	gdb_put(reply, n == GDB_NR_REGISTERS && !refused ? "OK" : ERROR_USAGE);
}

static void get_one(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	uint8_t value[GDB_REGISTER_BYTES];
	uint64_t n;

	if (!gdb_take_number(&text, &n) || n >= GDB_NR_REGISTERS || !gdb_target_load(t))
		gdb_put(reply, ERROR_USAGE);
	else
		gdb_put_hex(reply, value, gdb_register_get(&t->registers, (unsigned int)n, value));
}

static void set_one(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	uint8_t value[GDB_REGISTER_BYTES];
	uint64_t n;

	if (gdb_take_number(&text, &n) && n < GDB_NR_REGISTERS && gdb_take_char(&text, '=') &&
	    gdb_target_load(t) &&
	    gdb_take_hex(&text, value, gdb_register_get(&t->registers, (unsigned int)n, value)) &&
	    !gdb_register_set(&t->registers, (unsigned int)n, value, &t->changed))
		gdb_put(reply, "OK");
	else
		gdb_put(reply, ERROR_USAGE);
}

/* ---- memory ---- */

static bool take_range(struct gdb_text *text, uint64_t *address, uint64_t *bytes)
{
	return gdb_take_number(text, address) && gdb_take_char(text, ',') &&
	       gdb_take_number(text, bytes);
}

static void get_memory(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	const struct gdb_view view = { &t->registers, &t->boot };
	uint8_t data[MEMORY_BYTES];
	uint64_t address, bytes;
	size_t n = 0;

	if (!take_range(&text, &address, &bytes)) {
		gdb_put(reply, ERROR_USAGE);
		return;
	}
	if (gdb_target_load(t))
		n = gdb_read_memory(&t->breaks, &view, address, data, min_u64(bytes, sizeof(data)));
	if (n || !bytes)
		gdb_put_hex(reply, data, n);
	else
		gdb_put(reply, ERROR_MEMORY);
}

static void set_bytes(struct gdb_target *t, uint64_t address, const void *data, size_t bytes,
		      struct gdb_reply *reply)
{
	const struct gdb_view view = { &t->registers, &t->boot };
	bool done = gdb_target_load(t) &&
		    gdb_write_memory(&t->breaks, &view, address, data, bytes) == bytes;

	gdb_put(reply, done ? "OK" : ERROR_MEMORY);
}

static void set_memory(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	uint8_t data[MEMORY_BYTES];
	uint64_t address, bytes;

	if (take_range(&text, &address, &bytes) && bytes <= sizeof(data) &&
	    gdb_take_char(&text, ':') && gdb_take_hex(&text, data, (size_t)bytes))
		set_bytes(t, address, data, (size_t)bytes, reply);
	else
		gdb_put(reply, ERROR_USAGE);
}

static void set_binary(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	uint64_t address, bytes;

	if (take_range(&text, &address, &bytes) && gdb_take_char(&text, ':') &&
	    gdb_text_left(&text) == bytes)
		set_bytes(t, address, text.at, (size_t)bytes, reply);
	else
		gdb_put(reply, ERROR_USAGE);
}

/* ---- breakpoints ---- */

/* "TYPE,ADDRESS,KIND" and, of some, conditions, which gdb was not told that we know. */
static void change_break(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply,
			 bool insert)
{
	const struct gdb_view view = { &t->registers, &t->boot };
	uint64_t type, address, bytes;
	int rc = -EINVAL;

	if (gdb_take_number(&text, &type) && type <= UINT8_MAX && gdb_take_char(&text, ',') &&
	    take_range(&text, &address, &bytes) && gdb_target_load(t))
		rc = insert ? gdb_break_insert(&t->breaks, &view, (unsigned int)type, address, bytes) :
			      gdb_break_remove(&t->breaks, (unsigned int)type, address, bytes);
	if (rc != -EOPNOTSUPP)
		gdb_put(reply, rc == 0	     ? "OK" :
			       rc == -EFAULT ? ERROR_MEMORY :
					       ERROR_USAGE);
}

static void insert_break(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	change_break(t, text, reply, true);
}

static void remove_break(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	change_break(t, text, reply, false);
}

/* ---- threads ---- */

/* A thread's id: "-1" for all, 0 for any, both *cpu = -1. */
static bool take_thread(const struct gdb_target *t, struct gdb_text *text, int *cpu)
{
	uint64_t id;

	*cpu = -1;
	if (gdb_take_word(text, "-1"))
		return true;
	if (!gdb_take_number(text, &id) || id > nr_threads(t))
		return false;
	*cpu = (int)id - 1;
	return true;
}

static void select_thread(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	bool general = gdb_take_char(&text, 'g');
	int cpu;

	if ((!general && !gdb_take_char(&text, 'c')) || !take_thread(t, &text, &cpu)) {
		gdb_put(reply, ERROR_USAGE);
		return;
	}
	if (cpu >= 0 && general)
		t->general = (unsigned int)cpu;
	else if (cpu >= 0)
		t->stepped = (unsigned int)cpu;
	gdb_put(reply, "OK");
}

static void is_thread_alive(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	int cpu;

	gdb_put(reply, take_thread(t, &text, &cpu) ? "OK" : ERROR_USAGE);
}

static void list_threads(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	(void)text;
	for (unsigned int i = 0; i < nr_threads(t); i++)
		gdb_put(reply, "%c%x", i ? ',' : 'm', i + 1);
}

static void end_threads(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	(void)t;
	(void)text;
	gdb_put(reply, "l");
}

static void tell_thread(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	struct registers r;
	char words[64];
	int cpu;

	if (!gdb_take_char(&text, ',') || !take_thread(t, &text, &cpu) || cpu < 0 ||
	    registers_read(&r, vcpu_of(t, (unsigned int)cpu))) {
		gdb_put(reply, ERROR_USAGE);
		return;
	}
	snprintf(words, sizeof(words), "CPU %d [%s]", cpu, registers_word(&r));
	gdb_put_hex(reply, words, strlen(words));
}

static void tell_current_thread(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	(void)text;
	gdb_put(reply, "QC%x", t->general + 1);
}

void gdb_put_stop(const struct gdb_target *t, struct gdb_reply *reply)
{
	const struct gdb_stop *s = &t->stop;

	gdb_put(reply, "T%02xthread:%x;", (unsigned int)s->signal, t->cpu + 1);
	if (s->trap == GDB_TRAP_SOFT)
		gdb_put(reply, "swbreak:;");
	else if (s->trap == GDB_TRAP_HARD)
		gdb_put(reply, "hwbreak:;");
	else if (s->trap == GDB_TRAP_WATCH)
		gdb_put(reply, "%s:%llx;", s->watch_type == GDB_WATCH_WRITE ? "watch" : "awatch",
			(unsigned long long)s->watched);
}

static void tell_stop(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	(void)text;
	gdb_put_stop(t, reply);
}

/* ---- what is known ---- */

static void tell_supported(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	(void)t;
	(void)text;
	gdb_put(reply, "PacketSize=%x;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+;"
		       "QStartNoAckMode+",
		GDB_PACKET_BYTES);
}

static void tell_description(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	const size_t size = strlen(gdb_description);
	uint64_t offset, bytes;
	size_t n;

	(void)t;
	if (!gdb_take_word(&text, "target.xml:") || !take_range(&text, &offset, &bytes)) {
		gdb_put(reply, "E00");
		return;
	}
	offset = min_u64(offset, size);
	gdb_put(reply, "m");
	n = gdb_put_binary(reply, gdb_description + offset, (size_t)min_u64(bytes, size - offset));
	if (offset + n == size)
		reply->text[0] = 'l';
}

static void tell_attached(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	(void)t;
	(void)text;
	gdb_put(reply, "1");
}

static void say_ok(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	(void)t;
	(void)text;
	gdb_put(reply, "OK");
}

static void tell_actions(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	(void)t;
	(void)text;
	gdb_put(reply, "vCont;c;C;s;S");
}

static void run_monitor(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply)
{
	char command[64] = "", answer[MONITOR_BYTES] = "";
	const size_t bytes = gdb_text_left(&text) / 2;

	if (bytes >= sizeof(command) || !gdb_take_hex(&text, command, bytes) || !gdb_target_load(t)) {
		gdb_put(reply, ERROR_USAGE);
		return;
	}
	gdb_monitor(t, command, answer, sizeof(answer));
	gdb_put_hex(reply, answer, strlen(answer));
}

/* ---- running ---- */

/* One part of a vCont: "ACTION[:THREAD]" after its ";". False if it is none. */
static bool take_action(const struct gdb_target *t, struct gdb_text *text, bool *step, int *cpu)
{
	const bool plain_step = gdb_take_char(text, 's'), signal_step = gdb_take_char(text, 'S');
	uint64_t signal;

	*cpu = -1;
	*step = plain_step || signal_step;
	if (!*step && !gdb_take_char(text, 'c')) {
		if (!gdb_take_char(text, 'C') || !gdb_take_number(text, &signal))
			return false;
	} else if (signal_step && !gdb_take_number(text, &signal)) {
		return false;
	}
	return !gdb_take_char(text, ':') || take_thread(t, text, cpu);
}

/* A CPU has no signals: those are left out. The first action that fits a thread is its own. */
static bool take_actions(const struct gdb_target *t, struct gdb_text text, struct gdb_resume *r)
{
	bool step, rest = false;
	int cpu;

	*r = (struct gdb_resume){ .alone = true, .cpu = t->general };
	for (unsigned int n = 0; gdb_take_char(&text, ';'); n++) {
		if (!take_action(t, &text, &step, &cpu))
			return false;
		if (!n && cpu >= 0)
			r->cpu = (unsigned int)cpu;
		if (!n)
			r->step = step;
		rest |= cpu < 0 || (unsigned int)cpu != r->cpu;
	}
	r->alone = !rest;
	return !gdb_text_left(&text);
}

static enum gdb_action resume_some(struct gdb_target *t, struct gdb_text text,
				   struct gdb_reply *reply, struct gdb_resume *resume)
{
	if (take_actions(t, text, resume))
		return GDB_RESUME;
	gdb_put(reply, ERROR_USAGE);
	return GDB_ANSWER;
}

/* The old packets: an address or a signal that they may have is not for a CPU. */
static enum gdb_action resume_all(struct gdb_target *t, bool step, struct gdb_resume *resume)
{
	*resume = (struct gdb_resume){ .step = step, .cpu = t->stepped };
	return GDB_RESUME;
}

/* ---- all ---- */

typedef void (*gdb_serve_fn)(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply);

/* By how they begin; a longer one is before a shorter one that it begins with. */
static const struct {
	const char *word;
	gdb_serve_fn fn;
} gdb_packets[] = {
	{ "g", get_all },
	{ "G", set_all },
	{ "p", get_one },
	{ "P", set_one },
	{ "m", get_memory },
	{ "M", set_memory },
	{ "X", set_binary },
	{ "Z", insert_break },
	{ "z", remove_break },
	{ "H", select_thread },
	{ "T", is_thread_alive },
	{ "?", tell_stop },
	{ "qfThreadInfo", list_threads },
	{ "qsThreadInfo", end_threads },
	{ "qThreadExtraInfo", tell_thread },
	{ "qSupported", tell_supported },
	{ "qXfer:features:read:", tell_description },
	{ "qAttached", tell_attached },
	{ "qSymbol:", say_ok },
	{ "qRcmd,", run_monitor },
	{ "vCont?", tell_actions },
};

enum gdb_action gdb_serve(struct gdb_target *t, struct gdb_text text, struct gdb_reply *reply,
			  struct gdb_resume *resume)
{
	for (size_t i = 0; i < ARRAY_SIZE(gdb_packets); i++) {
		if (!gdb_take_word(&text, gdb_packets[i].word))
			continue;
		gdb_packets[i].fn(t, text, reply);
		return GDB_ANSWER;
	}
	if (gdb_take_word(&text, "vCont"))
		return resume_some(t, text, reply, resume);
	if (gdb_take_word(&text, "vKill") || gdb_take_char(&text, 'k'))
		return GDB_KILL;
	if (gdb_take_char(&text, 'c') || gdb_take_char(&text, 'C'))
		return resume_all(t, false, resume);
	if (gdb_take_char(&text, 's') || gdb_take_char(&text, 'S'))
		return resume_all(t, true, resume);
	if (gdb_take_char(&text, 'D')) {
		gdb_put(reply, "OK");
		return GDB_DETACH;
	}
	if (gdb_take_word(&text, "QStartNoAckMode")) {
		gdb_put(reply, "OK");
		return GDB_NO_ACKS;
	}
	if (gdb_take_word(&text, "qC") && !gdb_text_left(&text))
		tell_current_thread(t, text, reply);
	return GDB_ANSWER;
}
