// SPDX-License-Identifier: GPL-2.0-only
/*
 * A command in the guest, from here (guest/command.h).
 *
 * The whole plan is made before the guest runs, as bytes that the control port gives when init has
 * said that it is ready. A window's size, the end of stdin and that it is to end come after it, each when
 * what was said before has been read, so that they need no queue. Streams are the terminal's rings: what a reader
 * does not take stays in the guest.
 *
 * The command has ended when its status is known and as many bytes have come as init says it has
 * sent. Text of the guest's is shown without what would drive a terminal.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "event.h"
#include "guest/command.h"
#include "guest/protocol.h"
#include "guest/results.h"
#include "iov.h"
#include "log.h"
#include "sink.h"
#include "state.h"
#include "term.h"
#include "util.h"
#include "virtio/port.h"

#define MAX_NOTICES    20u
#define RESTORED_SHARE 6u /* of the time to be ready, in which one that is has to start it */

enum {
	PORT_CONTROL,
	PORT_STDIN,
	PORT_STDOUT,
	PORT_STDERR,
	PORT_RESULTS,
};

struct stream {
	struct term *term;
	uint64_t bytes; /* that have come */
	uint64_t until; /* ... that will have, if known */
	bool known;
	bool unread, unread_told; /* its reader has gone; init knows it */
};

struct command {
	struct event_loop *loop;
	const struct command_config *config;
	struct command_client client;
	struct command_sessions sessions; /* say: NULL: there are none */
	struct term *io, *err;
	unsigned int nr_ports;
	struct port *ports[COMMAND_MAX_PORTS];
	int timer;	   /* -1: none */
	uint64_t limit_ns; /* for init to be ready; 0: none */
	bool restored;	   /* it was ready before: then it has to start the command */
	/* To the guest: the plan, or what came after it. */
	uint8_t *said;
	size_t said_at, said_until, said_size;
	struct protocol_size size;
	bool size_due;		 /* it is yet to be said */
	bool stop_due;		 /* it is to be asked to end */
	bool seed_due;		 /* its kernel is a clone */
	bool held;		 /* nothing is said */
	uint64_t signals_due[2]; /* 1 << (number - 1): for the command, for all that runs */
	bool in_told;		 /* the end of stdin has been said */
	bool in_unwanted;	 /* the command reads no more */
	uint64_t in_bytes;
	/* From the guest. */
	uint8_t heard[COMMAND_SESSION_BYTES];
	size_t heard_bytes;
	struct stream out, errors;
	struct stream archive;	 /* of results; has no terminal */
	struct results *results; /* lent; NULL: nobody takes them */
	bool results_over;	 /* they are there, or will not be */
	bool results_failed;
	struct command_result status; /* what init has said of the end, if status_known */
	struct command_result result; /* final when it is over */
	bool started, status_known, over;
	bool refused; /* it has read the plan, and cannot do it: that may be the user's mistake */
	unsigned int notices;
};

/* ---- to the guest ---- */

static bool command_say(struct command *c, enum protocol_kind kind, const void *a, size_t a_bytes,
			const void *b, size_t b_bytes)
{
	const struct protocol_header h = { .kind = kind, .bytes = (uint32_t)(a_bytes + b_bytes) };

	if (a_bytes + b_bytes > PROTOCOL_MAX_BYTES ||
	    c->said_size - c->said_until < sizeof(h) + a_bytes + b_bytes)
		return false;
	memcpy(c->said + c->said_until, &h, sizeof(h));
	c->said_until += sizeof(h);
	if (a_bytes)
		memcpy(c->said + c->said_until, a, a_bytes);
	if (b_bytes)
		memcpy(c->said + c->said_until + a_bytes, b, b_bytes);
	c->said_until += a_bytes + b_bytes;
	return true;
}

static bool say_text(struct command *c, enum protocol_kind kind, const char *text)
{
	return !text || command_say(c, kind, text, strlen(text), NULL, 0);
}

static bool say_mounts(struct command *c)
{
	for (unsigned int i = 0; i < c->config->nr_mounts; i++) {
		const struct command_mount *m = &c->config->mounts[i];
		struct protocol_mount p = { .source = PROTOCOL_FROM_INITRAMFS };

		if (m->serial) {
			p.source = PROTOCOL_FROM_DISK;
			memcpy(p.serial, m->serial, strnlen(m->serial, sizeof(p.serial)));
		}
		if (!command_say(c, PROTOCOL_MOUNT, &p, sizeof(p), m->path, strlen(m->path)))
			return false;
	}
	return true;
}

static bool say_strings(struct command *c)
{
	bool ok = true;

	for (unsigned int i = 0; i < c->config->nr_arguments && ok; i++)
		ok = say_text(c, PROTOCOL_ARGUMENT, c->config->arguments[i]);
	for (unsigned int i = 0; i < c->config->nr_environment && ok; i++)
		ok = say_text(c, PROTOCOL_ENVIRONMENT, c->config->environment[i]);
	return ok;
}

static bool say_terminal(struct command *c)
{
	struct protocol_size size = { 0 };

	if (!c->config->terminal)
		return true;
	term_get_size(c->io, &size.columns, &size.rows);
	return command_say(c, PROTOCOL_TERMINAL, &size, sizeof(size), NULL, 0);
}

static bool say_more(struct command *c)
{
	const struct command_config *p = c->config;

	if (c->said_size - c->said_until < p->more_bytes)
		return false;
	if (p->more_bytes)
		memcpy(c->said + c->said_until, p->more, p->more_bytes);
	c->said_until += p->more_bytes;
	return true;
}

/* The guest's kernel may be a clone of another one's. */
static bool say_seed(struct command *c)
{
	uint8_t seed[PROTOCOL_SEED_BYTES];

	return !random_bytes(seed, sizeof(seed)) &&
	       command_say(c, PROTOCOL_SEED, seed, sizeof(seed), NULL, 0);
}

static bool say_plan(struct command *c)
{
	const struct command_config *p = c->config;
	bool ok = say_mounts(c) && say_strings(c) && say_terminal(c);

	for (unsigned int i = 0; i < p->nr_networks && ok; i++)
		ok = command_say(c, PROTOCOL_NETWORK, &p->networks[i], sizeof(p->networks[i]), NULL, 0);
	return ok && say_seed(c) &&
	       say_text(c, p->directory_needed ? PROTOCOL_NEEDED_DIRECTORY : PROTOCOL_DIRECTORY,
			p->directory) &&
	       say_text(c, PROTOCOL_USER, p->user) && say_text(c, PROTOCOL_HOSTNAME, p->hostname) &&
	       say_text(c, PROTOCOL_RESULTS_PATH, p->results) && say_more(c) &&
	       command_say(c, PROTOCOL_GO, NULL, 0, NULL, 0);
}

static size_t plan_bytes(const struct command_config *p)
{
	const size_t each = sizeof(struct protocol_header) + sizeof(struct protocol_mount);
	const char *const texts[] = { p->directory, p->user, p->hostname, p->results };
	size_t bytes = 16 * each + PROTOCOL_SEED_BYTES;

	for (unsigned int i = 0; i < p->nr_arguments; i++)
		bytes += each + strlen(p->arguments[i]);
	for (unsigned int i = 0; i < p->nr_environment; i++)
		bytes += each + strlen(p->environment[i]);
	for (unsigned int i = 0; i < p->nr_mounts; i++)
		bytes += each + strlen(p->mounts[i].path);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		bytes += texts[i] ? each + strlen(texts[i]) : 0;
	return bytes + p->nr_networks * each + p->more_bytes;
}

static bool has_end_of_input_to_say(const struct command *c)
{
	return !c->in_told && term_input_has_ended(c->io);
}

static void say_unread(struct command *c, struct stream *s, uint32_t stream)
{
	const struct protocol_stream p = { .stream = stream };

	if (s->unread && !s->unread_told)
		s->unread_told = command_say(c, PROTOCOL_STREAM_CLOSED, &p, sizeof(p), NULL, 0);
}

static void say_signals(struct command *c)
{
	for (uint32_t i = 0; i < 128 && c->started && (c->signals_due[0] | c->signals_due[1]); i++) {
		const uint32_t all = i / 64, bit = i % 64;
		const struct protocol_signal p = { .number = (bit + 1) | all * PROTOCOL_SIGNAL_ALL };

		if (c->signals_due[all] >> bit & 1 &&
		    command_say(c, PROTOCOL_SIGNAL, &p, sizeof(p), NULL, 0))
			c->signals_due[all] &= ~(1ull << bit);
	}
}

/* All that was said has been read: its place is free for all of these. */
static void say_what_is_due(struct command *c)
{
	const struct protocol_count count = { .bytes = c->in_bytes };

	c->said_at = c->said_until = 0;
	if (c->seed_due)
		c->seed_due = !say_seed(c);
	if (has_end_of_input_to_say(c))
		c->in_told = command_say(c, PROTOCOL_STDIN_END, &count, sizeof(count), NULL, 0);
	if (c->size_due)
		c->size_due = !command_say(c, PROTOCOL_SIZE, &c->size, sizeof(c->size), NULL, 0);
	if (c->stop_due)
		c->stop_due = !command_say(c, PROTOCOL_STOP, NULL, 0, NULL, 0);
	say_unread(c, &c->out, 1);
	say_unread(c, &c->errors, 2);
	say_signals(c);
	if (!c->said_until && c->started && c->sessions.say)
		c->said_until = c->sessions.say(c->sessions.arg, c->said);
}

/* Before init is ready it is told nothing, so that an older one hears of no newer version's words. */
static ssize_t control_read(void *arg, const struct iovec *iov, unsigned int nr)
{
	struct command *c = arg;
	uint32_t n;

	if (!c->result.ready || c->held)
		return -EAGAIN;
	if (c->said_at == c->said_until)
		say_what_is_due(c);
	n = iov_write(iov, nr, 0, c->said + c->said_at, (uint32_t)(c->said_until - c->said_at));
	c->said_at += n;
	return n ? (ssize_t)n : -EAGAIN;
}

/* ---- stdin ---- */

static void tell_end_of_input(struct command *c)
{
	if (has_end_of_input_to_say(c))
		port_wake(c->ports[PORT_CONTROL]);
}

static ssize_t stdin_read(void *arg, const struct iovec *iov, unsigned int nr)
{
	struct command *c = arg;
	size_t n = 0;

	for (unsigned int i = 0; i < nr && !c->in_unwanted && term_has_input(c->io); i++)
		n += term_get(c->io, iov[i].iov_base, iov[i].iov_len);
	c->in_bytes += n;
	tell_end_of_input(c);
	return n ? (ssize_t)n : -EAGAIN;
}

/* ---- the end ---- */

static bool is_complete(const struct stream *s)
{
	return s->known && s->bytes >= s->until;
}

static void command_end(struct command *c)
{
	if (c->over)
		return;
	c->over = true;
	event_timer_set(c->loop, c->timer, 0, 0);
	if (c->client.ended)
		c->client.ended(c->client.arg);
}

static void end_if_complete(struct command *c)
{
	if (c->over || !c->status_known || !is_complete(&c->out) ||
	    !(c->config->terminal || is_complete(&c->errors)) ||
	    (c->config->results && !c->results_over))
		return;
	c->result = c->status;
	if (c->results_failed) /* the user was told why */
		c->result.end = COMMAND_FAILED;
	command_end(c);
}

/* The guest's first process cannot go on, or does not keep to the protocol. */
static void command_fail(struct command *c)
{
	if (!c->over)
		c->result = (struct command_result){ .end = COMMAND_FAILED, .ready = c->result.ready };
	command_end(c);
}

static void refuse_message(struct command *c, const char *why)
{
	if (!c->over)
		log_error("guest: its first process said %s\nit may have been taken over.", why);
	command_fail(c);
}

/* So long may it take to what it has to say next; 0: as long as the machine has. */
static uint64_t command_limit_ns(const struct command *c)
{
	if (c->over || command_has_answered(c))
		return 0;
	if (!c->result.ready)
		return c->limit_ns;
	return c->restored && !c->held ? c->limit_ns / RESTORED_SHARE : 0;
}

static void on_ready_timeout(void *arg, uint32_t events)
{
	struct command *c = arg;
	const unsigned int s = (unsigned int)(command_limit_ns(c) / 1000000000u);

	(void)events;
	if (!s)
		return; /* it had expired when it was set off */
	log_error("guest: nothing was heard of its first process for %u s%s\n"
		  "-v shows what its kernel says.",
		  s, c->restored ? " since it was restored" : "");
	command_fail(c);
}

/* ---- streams ---- */

static size_t iov_total(const struct iovec *iov, unsigned int nr)
{
	size_t n = 0;

	for (unsigned int i = 0; i < nr; i++)
		n += iov[i].iov_len;
	return n;
}

/* What comes behind the end of a stream is taken, and goes nowhere. */
static bool is_behind_end(struct command *c, const struct stream *s, size_t bytes)
{
	if (!s->known || bytes <= s->until - s->bytes)
		return false;
	refuse_message(c, "that a stream has ended which had not");
	return true;
}

/* ---- results ---- */

static void on_results_done(void *arg, int error)
{
	struct command *c = arg;

	c->results_over = true;
	c->results_failed |= error != 0;
	end_if_complete(c);
}

static void commit_if_complete(struct command *c)
{
	if (c->over || !is_complete(&c->archive))
		return;
	if (c->results && !c->results_failed)
		results_commit(c->results, on_results_done, c);
	else
		on_results_done(c, -EIO);
}

/* What cannot be stored any more is taken all the same, so that the guest comes to its end. */
static ssize_t put_results(struct command *c, const struct iovec *part)
{
	ssize_t n = -EIO;

	if (c->results && !c->results_failed)
		n = results_put(c->results, part->iov_base, part->iov_len);
	if (n >= 0 || n == -EAGAIN)
		return n;
	c->results_failed = true;
	return (ssize_t)part->iov_len;
}

static ssize_t results_write(void *arg, const struct iovec *iov, unsigned int nr)
{
	struct command *c = arg;
	size_t taken = 0;

	if (is_behind_end(c, &c->archive, iov_total(iov, nr)))
		return (ssize_t)iov_total(iov, nr);
	for (unsigned int i = 0; i < nr; i++) {
		ssize_t n = iov[i].iov_len ? put_results(c, &iov[i]) : 0;

		taken += n > 0 ? (size_t)n : 0;
		if (n < (ssize_t)iov[i].iov_len)
			break;
	}
	c->archive.bytes += taken;
	if (taken)
		commit_if_complete(c);
	return taken ? (ssize_t)taken : -EAGAIN;
}

static void on_results_room(void *arg)
{
	struct command *c = arg;

	port_wake(c->ports[PORT_RESULTS]);
}

/* ---- from the guest ---- */

/*
 * What a guest says must not drive the user's terminal, nor look like another message: one line, and
 * one more with what to do.
 */
static void make_printable(char *text, const uint8_t *data, size_t bytes)
{
	bool may_break = true;

	for (size_t i = 0; i < bytes; i++) {
		bool breaks = data[i] == '\n' && may_break;

		text[i] = (char)(breaks || (data[i] >= 0x20 && data[i] < 0x7f) ? data[i] : '?');
		may_break &= !breaks;
	}
	text[bytes] = '\0';
}

static void hear_text(struct command *c, uint32_t kind, const uint8_t *data, size_t bytes)
{
	char text[PROTOCOL_MAX_TEXT + 1];

	make_printable(text, data, bytes);
	if (kind == PROTOCOL_FAILED) {
		if (!c->over)
			log_error("guest: %s", text);
		c->refused = c->result.ready && c->said_at == c->said_until;
		command_fail(c);
	} else if (c->notices < MAX_NOTICES) {
		c->notices++;
		log_notice("guest: %s", text);
	}
}

static void hear_ready(struct command *c, const struct protocol_ready *ready)
{
	if (c->result.ready) {
		refuse_message(c, "twice that it is ready");
	} else if (ready->version != PROTOCOL_VERSION) {
		refuse_message(c, "that it is of another version");
	} else {
		c->result.ready = true;
		event_timer_set(c->loop, c->timer, 0, 0);
		port_wake(c->ports[PORT_CONTROL]);
		port_wake(c->ports[PORT_STDIN]);
		if (c->client.ready)
			c->client.ready(c->client.arg);
	}
}

static void hear_started(struct command *c)
{
	if (!c->result.ready || c->started) {
		refuse_message(c, "that the command has started, when it could not");
		return;
	}
	c->started = true;
	event_timer_set(c->loop, c->timer, 0, 0);
	if (c->signals_due[0] | c->signals_due[1])
		port_wake(c->ports[PORT_CONTROL]);
	if (c->client.started)
		c->client.started(c->client.arg);
}

static void hear_stdin_closed(struct command *c)
{
	if (!c->result.ready || c->in_unwanted)
		refuse_message(c, "that stdin is closed, when it could not be");
	c->in_unwanted = true;
}

static void hear_stream_end(struct command *c, const struct protocol_stream_end *end)
{
	struct stream *s = end->stream == 1 ? &c->out :
			   end->stream == 2 ? &c->errors :
					      NULL;

	if (!c->result.ready || !s || s->known || end->bytes < s->bytes) {
		refuse_message(c, "that a stream has ended which is none, or longer, or had ended");
		return;
	}
	s->known = true;
	s->until = end->bytes;
	end_if_complete(c);
}

static void hear_results_end(struct command *c, const struct protocol_count *count)
{
	if (!c->result.ready || !c->config->results || c->archive.known || count->bytes < c->archive.bytes) {
		refuse_message(c, "that results have ended which had, or which nobody wants");
		return;
	}
	c->archive.until = count->bytes;
	c->archive.known = true;
	commit_if_complete(c);
}

static void hear_exited(struct command *c, const struct protocol_exited *e)
{
	static const struct {
		enum command_end end;
		uint32_t least, most;
	} ends[] = {
		[PROTOCOL_END_EXITED] = { COMMAND_EXITED, 0, 255 },
		[PROTOCOL_END_SIGNALED] = { COMMAND_SIGNALED, 1, 64 },
		[PROTOCOL_END_NOT_STARTED] = { COMMAND_NOT_STARTED, 1, 4095 },
	};

	if (!c->result.ready || c->status_known || e->end >= ARRAY_SIZE(ends) ||
	    e->value < ends[e->end].least || e->value > ends[e->end].most ||
	    c->started == (e->end == PROTOCOL_END_NOT_STARTED)) {
		refuse_message(c, "that the command ended as none can");
		return;
	}
	c->status = (struct command_result){ ends[e->end].end, (int)e->value, true };
	c->status_known = true;
	end_if_complete(c);
}

/* How long a payload of this kind is; texts, which may be shorter, at most. 0: none, or no such kind. */
static size_t payload_bytes(uint32_t kind)
{
	switch (kind) {
	case PROTOCOL_READY:
		return sizeof(struct protocol_ready);
	case PROTOCOL_STREAM_END:
		return sizeof(struct protocol_stream_end);
	case PROTOCOL_RESULTS_END:
		return sizeof(struct protocol_count);
	case PROTOCOL_EXITED:
		return sizeof(struct protocol_exited);
	case PROTOCOL_FAILED:
	case PROTOCOL_NOTICE:
		return PROTOCOL_MAX_TEXT;
	default:
		return 0;
	}
}

static bool is_text(uint32_t kind)
{
	return kind == PROTOCOL_FAILED || kind == PROTOCOL_NOTICE;
}

static bool is_well_formed(const struct protocol_header *h)
{
	if (PROTOCOL_SESSION(h->kind))
		return h->bytes <= PROTOCOL_MAX_FRAME_BYTES;
	if (is_text(h->kind))
		return h->bytes <= PROTOCOL_MAX_TEXT;
	return h->bytes == payload_bytes(h->kind);
}

static void hear_message(struct command *c, const struct protocol_header *h)
{
	union {
		struct protocol_ready ready;
		struct protocol_stream_end stream_end;
		struct protocol_count count;
		struct protocol_exited exited;
	} u;
	const uint8_t *payload = c->heard + sizeof(*h);

	if (PROTOCOL_SESSION(h->kind)) {
		if (!c->started || !c->sessions.hear)
			refuse_message(c, "something of a command that is none");
		else
			c->sessions.hear(c->sessions.arg, PROTOCOL_SESSION(h->kind), PROTOCOL_KIND(h->kind),
					 payload, h->bytes);
		return;
	}
	if (is_text(h->kind)) {
		hear_text(c, h->kind, payload, h->bytes);
		return;
	}
	memcpy(&u, payload, h->bytes);
	switch (h->kind) {
	case PROTOCOL_READY:
		hear_ready(c, &u.ready);
		break;
	case PROTOCOL_STARTED:
		hear_started(c);
		break;
	case PROTOCOL_STDIN_CLOSED:
		hear_stdin_closed(c);
		break;
	case PROTOCOL_STREAM_END:
		hear_stream_end(c, &u.stream_end);
		break;
	case PROTOCOL_RESULTS_END:
		hear_results_end(c, &u.count);
		break;
	case PROTOCOL_EXITED:
		hear_exited(c, &u.exited);
		break;
	default:
		refuse_message(c, "something that is no message");
	}
}

/* Adds bytes to the message that is coming, and takes it when it is whole. How many were used. */
static size_t hear_bytes(struct command *c, const uint8_t *data, size_t bytes)
{
	struct protocol_header h;
	size_t wanted = sizeof(h), n;

	if (c->heard_bytes >= sizeof(h)) {
		memcpy(&h, c->heard, sizeof(h));
		wanted += h.bytes;
	}
	n = min_u64(bytes, wanted - c->heard_bytes);
	memcpy(c->heard + c->heard_bytes, data, n);
	c->heard_bytes += n;
	if (c->heard_bytes < sizeof(h))
		return n;
	memcpy(&h, c->heard, sizeof(h));
	if (!is_well_formed(&h)) {
		refuse_message(c, "something that is no message");
	} else if (c->heard_bytes == sizeof(h) + h.bytes) {
		c->heard_bytes = 0;
		hear_message(c, &h);
	}
	return n;
}

/* All of it is taken, also what nobody wants to hear any more. */
static ssize_t control_write(void *arg, const struct iovec *iov, unsigned int nr)
{
	struct command *c = arg;
	size_t taken = 0;

	for (unsigned int i = 0; i < nr; i++) {
		uint8_t copy[512];

		for (size_t at = 0, n; at < iov[i].iov_len; at += n) {
			n = min_u64(iov[i].iov_len - at, sizeof(copy));
			memcpy(copy, (const uint8_t *)iov[i].iov_base + at, n);
			for (size_t used = 0; used < n && !c->over;)
				used += hear_bytes(c, copy + used, n - used);
		}
		taken += iov[i].iov_len;
	}
	return (ssize_t)taken;
}

/* The command is to end of SIGPIPE, as it would here: "yes | head" has an end. */
static void notice_unread(struct command *c, struct stream *s)
{
	if (s->unread || s->known || !sink_error(term_sink(s->term)))
		return;
	s->unread = true;
	port_wake(c->ports[PORT_CONTROL]);
}

static ssize_t stream_write(struct command *c, struct stream *s, const struct iovec *iov,
			    unsigned int nr)
{
	size_t offered = iov_total(iov, nr), n = 0;

	if (is_behind_end(c, s, offered))
		return (ssize_t)offered;
	for (unsigned int i = 0; i < nr; i++) {
		size_t part = term_put_some(s->term, iov[i].iov_base, iov[i].iov_len, true);

		n += part;
		if (part < iov[i].iov_len)
			break;
	}
	s->bytes += n;
	notice_unread(c, s);
	end_if_complete(c);
	return n ? (ssize_t)n : -EAGAIN;
}

static ssize_t stdout_write(void *arg, const struct iovec *iov, unsigned int nr)
{
	struct command *c = arg;

	return stream_write(c, &c->out, iov, nr);
}

static ssize_t stderr_write(void *arg, const struct iovec *iov, unsigned int nr)
{
	struct command *c = arg;

	return stream_write(c, &c->errors, iov, nr);
}

/* ---- the host's streams ---- */

static void on_io(void *arg)
{
	struct command *c = arg;

	port_wake(c->ports[PORT_STDOUT]);
	if (c->err == c->io)
		port_wake(c->ports[PORT_STDERR]);
	port_wake(c->ports[PORT_STDIN]);
	tell_end_of_input(c);
}

static void on_err(void *arg)
{
	struct command *c = arg;

	port_wake(c->ports[PORT_STDERR]);
}

void command_set_size(struct command *c, uint16_t columns, uint16_t rows)
{
	const struct protocol_size size = { .columns = columns, .rows = rows };

	if (!c->config->terminal)
		return;
	c->size = size;
	c->size_due = true;
	port_wake(c->ports[PORT_CONTROL]);
}

void command_ask_end(struct command *c)
{
	c->stop_due = true;
	port_wake(c->ports[PORT_CONTROL]);
}

void command_hold(struct command *c)
{
	c->held = true;
}

void command_release(struct command *c)
{
	c->held = false;
	if (c->restored)
		command_expect_ready(c, true);
	port_wake(c->ports[PORT_CONTROL]);
}

bool command_waits(const struct command *c)
{
	return c->result.ready && c->held && !c->said_at && !c->heard_bytes && !c->over;
}

void command_was_ready(struct command *c)
{
	c->result.ready = c->restored = true;
	event_timer_set(c->loop, c->timer, 0, 0);
	command_expect_ready(c, true);
}

bool command_has_answered(const struct command *c)
{
	return c->started || c->status_known || c->refused;
}

/* ---- snapshots ---- */

const char *command_refuses_snapshot(const struct command *c)
{
	if (command_waits(c))
		return NULL;
	if (!command_is_running(c))
		return "its command does not run yet, or not any more";
	if (c->archive.bytes || c->archive.known)
		return "its results (--out) are on their way";
	if (c->config->held)
		return "a container runs in it";
	if (c->sessions.are_there && c->sessions.are_there(c->sessions.arg))
		return "another command runs in it (lkvm exec)";
	return NULL;
}

static void stream_carry(struct stream *st, struct state *s)
{
	state_u64(s, &st->bytes);
	state_u64(s, &st->until);
	state_bool(s, &st->known);
	state_bool(s, &st->unread_told);
	if (st->known && st->until < st->bytes)
		state_refuse(s, "a stream that is longer than it was");
	st->unread = st->unread_told; /* one that is not read here either is told as any other */
}

/* What init has said of a message, and what it has not read yet of one. */
static void messages_carry(struct command *c, struct state *s)
{
	uint32_t said = (uint32_t)(c->said_until - c->said_at), heard = (uint32_t)c->heard_bytes;
	struct protocol_header h;

	state_count(s, &said, (uint32_t)min_u64(c->said_size, UINT32_MAX), "more said than is at once");
	if (state_loads(s)) {
		c->said_at = 0;
		c->said_until = said;
	}
	state_raw(s, c->said + c->said_at, said);
	state_count(s, &heard, sizeof(c->heard) - 1, "more heard than is at once");
	state_raw(s, c->heard, heard);
	c->heard_bytes = heard;
	memcpy(&h, c->heard, sizeof(h));
	if (heard >= sizeof(h) && (!is_well_formed(&h) || heard >= sizeof(h) + h.bytes))
		state_refuse(s, "something that is no message");
}

/* What has been read for it and is yet to be: it is gone from where it came. */
static void input_carry(struct command *c, struct state *s)
{
	uint32_t nr = (uint32_t)term_input_bytes(c->io);
	uint8_t part[512];

	state_count(s, &nr, TERM_INPUT_BYTES, "more input than there is room for");
	for (uint32_t at = 0; at < nr && state_is_good(s); at += sizeof(part)) {
		const size_t bytes = min_u64(nr - at, sizeof(part));

		if (!state_loads(s))
			term_peek(c->io, at, part, bytes);
		state_raw(s, part, bytes);
		if (state_loads(s) && state_is_good(s))
			term_type(c->io, part, bytes);
	}
}

void command_carry(struct command *c, struct state *s)
{
	const char *why = state_loads(s) ? NULL : command_refuses_snapshot(c);

	state_section(s, "command", 0);
	if (why)
		state_refuse(s, why); /* since it was asked for, more has come */
	state_same(s, c->config->terminal, "a terminal of its own");
	messages_carry(c, s);
	stream_carry(&c->out, s);
	stream_carry(&c->errors, s);
	input_carry(c, s);
	state_u64(s, &c->in_bytes);
	state_bool(s, &c->in_told);
	state_bool(s, &c->in_unwanted);
	state_bool(s, &c->stop_due);
	state_u64(s, &c->signals_due[0]);
	state_u64(s, &c->signals_due[1]);
	if (!state_loads(s))
		return;
	c->result.ready = c->started = c->seed_due = true;
	event_timer_set(c->loop, c->timer, 0, 0);
}

void command_signal(struct command *c, unsigned int number)
{
	const unsigned int plain = number & ~PROTOCOL_SIGNAL_ALL;

	if (!plain || plain > 64)
		return;
	c->signals_due[plain != number] |= 1ull << (plain - 1);
	port_wake(c->ports[PORT_CONTROL]);
}

void command_set_sessions(struct command *c, const struct command_sessions *sessions)
{
	c->sessions = sessions ? *sessions : (struct command_sessions){ 0 };
}

void command_wake(struct command *c)
{
	port_wake(c->ports[PORT_CONTROL]);
}

bool command_is_running(const struct command *c)
{
	return c->started && !c->status_known && !c->over;
}

struct command_result command_result(const struct command *c)
{
	return c->result;
}

/* ---- life ---- */

static int make_ports(struct command *c)
{
	const struct port_config configs[] = {
		[PORT_CONTROL] = { .name = PROTOCOL_CONTROL, .peer = { control_read, control_write, c } },
		[PORT_STDIN] = { .name = PROTOCOL_STDIN, .peer = { stdin_read, NULL, c } },
		[PORT_STDOUT] = { .name = PROTOCOL_STDOUT, .peer = { NULL, stdout_write, c } },
		[PORT_STDERR] = { .name = PROTOCOL_STDERR, .peer = { NULL, stderr_write, c } },
		[PORT_RESULTS] = { .name = PROTOCOL_RESULTS, .peer = { NULL, results_write, c } },
	};
	const unsigned int nr = c->config->results ? PORT_RESULTS + 1 : PORT_RESULTS;
	int rc = 0;

	for (; c->nr_ports < nr && !rc; c->nr_ports += !rc) {
		struct port_config config = configs[c->nr_ports];

		config.kind = PORT_PEER;
		rc = port_create(&c->ports[c->nr_ports], c->loop, &config);
	}
	return rc;
}

static int make_plan(struct command *c)
{
	const struct command_config *p = c->config;
	size_t bytes = 0;

	for (unsigned int i = 0; i < p->nr_arguments; i++)
		bytes += strlen(p->arguments[i]) + 1;
	for (unsigned int i = 0; i < p->nr_environment; i++)
		bytes += strlen(p->environment[i]) + 1;
	if (bytes > PROTOCOL_MAX_STRINGS_BYTES || p->nr_arguments > PROTOCOL_MAX_STRINGS - 1 ||
	    p->nr_environment > PROTOCOL_MAX_STRINGS - 16)
		return -E2BIG;
	c->said_size = max_u64(plan_bytes(p), COMMAND_SESSION_BYTES);
	c->said = malloc(c->said_size);
	if (!c->said)
		return -ENOMEM;
	return say_plan(c) ? 0 : -E2BIG;
}

int command_create(struct command **out, struct event_loop *loop,
		   const struct command_config *config, struct term *io, struct term *err)
{
	struct command *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->config = config;
	c->held = config->held;
	c->io = c->out.term = io;
	c->err = c->errors.term = err;
	c->timer = -1;
	rc = make_plan(c);
	if (!rc)
		rc = make_ports(c);
	if (rc) {
		command_destroy(c);
		return rc;
	}
	term_set_listener(io, on_io, c);
	if (err != io)
		term_set_listener(err, on_err, c);
	*out = c;
	return 0;
}

int command_take_results(struct command *c, struct results *results)
{
	c->results = results;
	return results_watch(results, c->loop, on_results_room, c);
}

void command_expect_ready(struct command *c, bool expected)
{
	const uint64_t limit_ns = command_limit_ns(c);

	if (limit_ns)
		event_timer_set(c->loop, c->timer, expected ? limit_ns : 0, 0);
}

int command_start(struct command *c, const struct command_client *client, uint64_t limit_ns)
{
	c->client = *client;
	c->timer = event_timer_create(c->loop, on_ready_timeout, c);
	if (c->timer < 0)
		return c->timer;
	c->limit_ns = limit_ns;
	command_expect_ready(c, true);
	return 0;
}

void command_destroy(struct command *c)
{
	if (!c)
		return;
	if (c->ports[PORT_STDERR]) { /* all of it was made */
		term_set_listener(c->io, NULL, NULL);
		term_set_listener(c->err, NULL, NULL);
	}
	event_remove(c->loop, c->timer);
	while (c->nr_ports)
		port_destroy(c->ports[--c->nr_ports]);
	free(c->said);
	free(c);
}

unsigned int command_ports(struct command *c, struct port *ports[COMMAND_MAX_PORTS])
{
	memcpy(ports, c->ports, c->nr_ports * sizeof(struct port *));
	return c->nr_ports;
}
