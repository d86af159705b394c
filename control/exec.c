// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands beside the first one (control/exec.h). Owns their clients' sockets and a buffer for each of
 * what the guest says to it; everything is allocated before the guest runs, and touched as it is used.
 *
 * A client's frame waits until the guest has read all that was said before, and then the next
 * session has its turn; the client's others wait in its socket. What the guest says to a client that does
 * not read waits in the buffer, which has room for all that may be on its way: a guest that says more
 * does not keep to what was agreed, and that session is over.
 *
 * A session that the guest has heard of ends by one message of each side, in whatever order: how its
 * command ended, and that nobody is there any more. Only then, and when its client is gone, is its number free:
 * what is on its way to the guest comes before that, and so is not taken for the next client's.
 *
 * A container's session has a disk from its beginning until the guest has said that it does not use it any more.
 * What is on it goes before that, with its client.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/exec.h"
#include "control/frames.h"
#include "event.h"
#include "guest/command.h"
#include "util.h"

/* Besides the window: ends, the exit status, and what answers the frames of the other window. */
#define OUT_BYTES (PROTOCOL_OUTPUT_WINDOW + 2 * PROTOCOL_INPUT_WINDOW)

struct exec_session {
	struct exec *exec;
	int fd, watch;	 /* -1: there is no client */
	bool known;	 /* the guest has heard of it; both ends have not been said */
	bool hangup_due; /* it is to hear that nobody is there any more */
	bool hung_up;	 /* it has been told */
	bool has_frame;	 /* the next that the client says is there */
	bool over;	 /* the guest has said how it ended: the client has yet to read that */
	int files;	 /* of a container that waits for a disk; -1 */
	int disk;	 /* that it has; -1: none */
	bool disk_due;	 /* the guest is to hear of it */
	bool taken_back; /* nothing is on it any more */
	bool released;	 /* the guest does not use it any more */
	struct frame_reader in;
	struct frame_writer out;
};

struct exec {
	struct event_loop *loop;
	struct command *command;
	unsigned int turn;	 /* whose frame is next */
	struct exec_disks disks; /* all NULL: there are none */
	struct exec_session all[PROTOCOL_MAX_SESSIONS];
};

static bool session_is_free(const struct exec_session *s)
{
	return s->fd < 0 && !s->known;
}

/* The guest is to hear that nobody is there any more, once. */
static void session_hang_up(struct exec_session *s)
{
	s->hangup_due = s->known && !s->hung_up;
	if (s->hangup_due)
		command_wake(s->exec->command);
}

/* ---- disks ---- */

static void session_flush(struct exec_session *s);

/* Whoever served it is gone, or soon will be. */
static void session_take_back(struct exec_session *s)
{
	const struct exec_disks *d = &s->exec->disks;

	if (s->disk >= 0 && !s->taken_back && d->take_back)
		d->take_back(d->arg, (unsigned int)s->disk);
	s->taken_back = true;
}

/* Another has a disk that it will not have much longer. */
static bool one_is_leaving(const struct exec *e)
{
	for (unsigned int i = 0; i < PROTOCOL_MAX_SESSIONS; i++)
		if (e->all[i].disk >= 0 && (e->all[i].fd < 0 || e->all[i].over))
			return true;
	return false;
}

static void session_refuse(struct exec_session *s, int error)
{
	const struct protocol_exited e = { .end = PROTOCOL_END_NOT_STARTED, .value = (uint32_t)error };

	if (s->files >= 0)
		close(s->files);
	s->files = -1;
	s->over = true;
	frame_put(&s->out, PROTOCOL_EXEC_EXITED, &e, sizeof(e));
	session_flush(s);
}

/* It gets a disk now, or later, or never. */
static void session_lend(struct exec_session *s)
{
	const struct exec_disks *d = &s->exec->disks;
	const int disk = d->lend ? d->lend(d->arg, s->files) : -EBUSY;

	if (disk == -EBUSY && one_is_leaving(s->exec))
		return;
	if (disk != -EBUSY)
		s->files = -1;
	if (disk < 0) {
		session_refuse(s, disk == -EBUSY ? ENOSPC : -disk);
		return;
	}
	s->disk = disk;
	s->disk_due = true;
	s->taken_back = s->released = false;
	frame_put(&s->out, PROTOCOL_EXEC_JOINED, NULL, 0);
	command_wake(s->exec->command);
	/* What it has said so far is news again. */
	event_modify(s->exec->loop, s->watch, EPOLLIN | EPOLLOUT | EPOLLET);
}

/* The guest does not know of it any more. A disk that it has kept it has for ever. */
static void session_let_disk_go(struct exec_session *s)
{
	struct exec *e = s->exec;
	const struct exec_disks *d = &e->disks;

	if (s->disk < 0)
		return;
	session_take_back(s);
	if (s->released && d->release)
		d->release(d->arg, (unsigned int)s->disk);
	s->disk = -1;
	s->disk_due = false;
	for (unsigned int i = 0; i < PROTOCOL_MAX_SESSIONS; i++)
		if (e->all[i].files >= 0)
			session_lend(&e->all[i]);
}

static void session_settle(struct exec_session *s)
{
	if (!s->over || !s->hung_up)
		return;
	s->known = false;
	session_let_disk_go(s);
}

/* ---- the client ---- */

/* It is gone, or shall be. */
static void session_drop(struct exec_session *s)
{
	event_remove(s->exec->loop, s->watch);
	close(s->fd);
	s->fd = s->watch = -1;
	s->has_frame = false;
	if (s->files >= 0)
		close(s->files);
	s->files = -1;
	session_take_back(s);
	session_hang_up(s);
	if (!s->known) {
		s->released = true; /* it has never heard of it */
		session_let_disk_go(s);
	}
}

static void session_flush(struct exec_session *s)
{
	int rc = s->fd >= 0 ? frame_flush(&s->out, s->fd) : -EAGAIN;

	if ((rc && rc != -EAGAIN) || (!rc && s->over))
		session_drop(s);
}

/* A plan comes first: of a session without one the guest would not know. */
static bool may_say(const struct exec_session *s, uint32_t kind)
{
	return kind == PROTOCOL_EXEC_PLAN || kind == PROTOCOL_EXEC_IN || kind == PROTOCOL_EXEC_MORE ||
	       (s->known && ((kind > PROTOCOL_EXEC_PLAN && kind < PROTOCOL_EXEC_HANGUP) || kind == PROTOCOL_EXEC_FREEZE));
}

static void session_recv(struct exec_session *s)
{
	int rc = s->has_frame || s->over || s->files >= 0 ? 0 : frame_recv(&s->in, s->fd);

	if (rc < 0 || (rc && !may_say(s, frame_header(&s->in).kind))) {
		session_drop(s);
	} else if (rc) {
		s->has_frame = true;
		command_wake(s->exec->command);
	}
}

static void on_session(void *arg, uint32_t events)
{
	struct exec_session *s = arg;

	session_flush(s);
	if (s->fd >= 0)
		session_recv(s);
	if (s->fd >= 0 && events & (EPOLLHUP | EPOLLERR))
		session_drop(s);
}

/* ---- to the guest ---- */

static size_t exec_put_message(uint8_t *message, unsigned int session, uint32_t kind, const void *payload,
			       size_t bytes)
{
	const struct protocol_header h = {
		.kind = PROTOCOL_OF_SESSION(session, kind),
		.bytes = (uint32_t)bytes,
	};

	memcpy(message, &h, sizeof(h));
	if (bytes)
		memcpy(message + sizeof(h), payload, bytes);
	return sizeof(h) + bytes;
}

static size_t session_say(struct exec_session *s, unsigned int number, uint8_t *message)
{
	struct protocol_header h;
	size_t bytes;

	if (s->hangup_due) {
		s->hangup_due = false;
		s->hung_up = true;
		session_settle(s);
		return exec_put_message(message, number, PROTOCOL_EXEC_HANGUP, NULL, 0);
	}
	if (s->disk_due) {
		const struct exec_disks *d = &s->exec->disks;
		struct protocol_disk disk = { 0 };
		const char *serial = d->serial(d->arg, (unsigned int)s->disk);

		memcpy(disk.serial, serial, strnlen(serial, sizeof(disk.serial)));
		s->disk_due = false;
		s->known = true;
		return exec_put_message(message, number, PROTOCOL_EXEC_DISK, &disk, sizeof(disk));
	}
	if (!s->has_frame)
		return 0;
	h = frame_header(&s->in);
	bytes = exec_put_message(message, number, h.kind, frame_payload(&s->in), h.bytes);
	s->known = true;
	s->has_frame = false;
	frame_next(&s->in);
	/* What follows in its socket is news again, in the loop's next round. */
	event_modify(s->exec->loop, s->watch, EPOLLIN | EPOLLOUT | EPOLLET);
	return bytes;
}

static size_t exec_say(void *exec, uint8_t *message)
{
	struct exec *e = exec;
	size_t bytes = 0;

	for (unsigned int i = 0; i < PROTOCOL_MAX_SESSIONS && !bytes; i++) {
		unsigned int at = e->turn++ % PROTOCOL_MAX_SESSIONS;

		bytes = session_say(&e->all[at], at + 1, message);
	}
	return bytes;
}

/* ---- from the guest ---- */

static bool may_hear(uint32_t kind)
{
	return (kind >= PROTOCOL_EXEC_STDOUT && kind <= PROTOCOL_EXEC_STARTED) || kind == PROTOCOL_EXEC_FROZEN;
}

static void exec_hear(void *exec, unsigned int session, uint32_t kind, const uint8_t *payload, size_t bytes)
{
	struct exec *e = exec;
	struct exec_session *s;

	/* Those that are free, or over, have no client that could be lied to. */
	if (session > PROTOCOL_MAX_SESSIONS || !e->all[session - 1].known || e->all[session - 1].over)
		return;
	s = &e->all[session - 1];
	if (kind == PROTOCOL_EXEC_RELEASED) {
		s->released = true;
		return;
	}
	if (kind == PROTOCOL_EXEC_EXITED) {
		s->has_frame = false;
		s->over = true;
		session_take_back(s); /* before its client knows */
		session_hang_up(s);
		session_settle(s);
	}
	if (s->fd < 0)
		return;
	if (!may_hear(kind) || !frame_put(&s->out, kind, payload, bytes)) {
		session_drop(s);
		return;
	}
	session_flush(s);
}

/* ---- life ---- */

static bool exec_are_there(void *exec)
{
	const struct exec *e = exec;

	for (unsigned int i = 0; i < PROTOCOL_MAX_SESSIONS; i++)
		if (!session_is_free(&e->all[i]))
			return true;
	return false;
}

const char *exec_obstacle(const struct exec *e)
{
	if (!e)
		return "it was not started with a command or as a shell";
	if (!command_is_running(e->command))
		return "its own command does not run";
	for (unsigned int i = 0; i < PROTOCOL_MAX_SESSIONS; i++)
		if (session_is_free(&e->all[i]))
			return NULL;
	return "as many commands as can be run in it already";
}

static struct exec_session *exec_take(struct exec *e, int fd)
{
	struct exec_session *s = e->all;

	while (s < e->all + PROTOCOL_MAX_SESSIONS && !session_is_free(s))
		s++;
	if (s < e->all + PROTOCOL_MAX_SESSIONS)
		s->watch = event_add(e->loop, fd, EPOLLIN | EPOLLOUT | EPOLLET, on_session, s);
	if (s == e->all + PROTOCOL_MAX_SESSIONS || s->watch < 0) {
		close(fd);
		return NULL;
	}
	event_keep(e->loop, s->watch);
	s->fd = fd;
	s->over = s->has_frame = s->hangup_due = s->hung_up = false;
	s->out.at = s->out.until = 0;
	frame_next(&s->in);
	return s;
}

void exec_add(struct exec *e, int fd)
{
	exec_take(e, fd);
}

void exec_join(struct exec *e, int fd, int files)
{
	struct exec_session *s = exec_take(e, fd);

	if (!s) {
		close(files);
		return;
	}
	s->files = files;
	session_lend(s);
}

void exec_set_disks(struct exec *e, const struct exec_disks *disks)
{
	e->disks = *disks;
}

int exec_create(struct exec **out, struct event_loop *loop, struct command *command)
{
	struct exec *e = calloc(1, sizeof(*e));
	int rc = 0;

	if (!e)
		return -ENOMEM;
	e->loop = loop;
	e->command = command;
	for (unsigned int i = 0; i < PROTOCOL_MAX_SESSIONS; i++) {
		e->all[i].exec = e;
		e->all[i].fd = e->all[i].watch = e->all[i].files = e->all[i].disk = -1;
		if (!rc)
			rc = frame_writer_init(&e->all[i].out, OUT_BYTES);
	}
	if (rc) {
		exec_destroy(e);
		return rc;
	}
	command_set_sessions(command, &(struct command_sessions){ exec_hear, exec_say, exec_are_there, e });
	*out = e;
	return 0;
}

void exec_destroy(struct exec *e)
{
	if (!e)
		return;
	command_set_sessions(e->command, NULL);
	e->disks = (struct exec_disks){ 0 }; /* they end with the machine */
	for (unsigned int i = 0; i < PROTOCOL_MAX_SESSIONS; i++) {
		struct exec_session *s = &e->all[i];

		s->known = false; /* it does not hear any more */
		session_flush(s);
		if (s->fd >= 0)
			session_drop(s);
		frame_writer_fini(&s->out);
	}
	free(e);
}
