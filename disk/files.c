// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM's side of the files process (disk/files.h): starts and ends it, sends questions, takes
 * answers apart.
 *
 * A few questions are on their way at a time (MAX_ASKED), so that they always fit into the socket and
 * nobody waits for it; the others wait in a list. Answers come in the order of the questions. They are
 * checked here, since whoever gave one may have been taken over by a file system: an answer
 * that is malformed is the last one, and all questions end as if the process was gone.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/erofs.h"
#include "disk/files.h"
#include "event.h"
#include "io.h"
#include "log.h"
#include "sandbox/helper.h"
#include "sandbox/sandbox.h"
#include "util.h"

#define MAX_ASKED   16u
#define ROUND_BYTES 8192u /* of answers, in a round of the loop: then others have a turn */
#define END_MS	    1000  /* for the process to end in */
#define ORDER_END   'e'	  /* no question */

/* A question on its way. */
struct asked {
	uint32_t id;
	struct files_question *q; /* NULL: nobody wants the answer any more */
};

struct files {
	int socket, watch;
	struct event_loop *loop;
	bool gone;
	bool is_lent;		       /* its process is another's, and may go */
	struct event_deferred send;    /* what waits, or ends it if the process is gone */
	struct asked asked[MAX_ASKED]; /* a ring */
	uint32_t first_id, next_id;    /* of those on their way */
	struct files_question *waiting, **waiting_tail;
	/* Until the process has them. */
	struct sandbox *sandbox;
	struct tree_source *sources[TREE_MAX_TREES];
	unsigned int nr_sources;
	bool joined;	       /* they are one tree */
	struct tree_stat stat; /* of the answer that is being taken */
	struct tree_data data;
	uint8_t message[FILES_MESSAGE_BYTES];
};

/* What is left of a message. */
struct rest {
	const uint8_t *data;
	size_t bytes;
};

/* Copies @bytes to @out; NULL skips them. False if there are not as many. */
static bool take_bytes(struct rest *rest, void *out, size_t bytes)
{
	if (rest->bytes < bytes)
		return false;
	if (out)
		memcpy(out, rest->data, bytes);
	rest->data += bytes;
	rest->bytes -= bytes;
	return true;
}

/* ---- taking answers ---- */

/* Until done() it hears of nothing more. */
static void refuse_answer(struct files_question *q, int error)
{
	if (!q->error)
		q->error = error;
}

static bool take_total(struct files_question *q, struct rest *rest)
{
	struct files_total total;

	if (!take_bytes(rest, &total, sizeof(total)) || total.nr_dirs > TREE_MAX_NUMBERS ||
	    total.nr_others > TREE_MAX_NUMBERS ||
	    total.name_bytes > (uint64_t)TREE_MAX_NAME_BYTES * 2 * TREE_MAX_NUMBERS)
		return false;
	q->begun = true;
	if (!q->error)
		refuse_answer(q, q->ops->total(q, &total));
	return true;
}

static bool take_entry(struct files_question *q, struct rest *rest)
{
	const char *name;
	struct files_entry e;

	if (!q->begun)
		return take_total(q, rest);
	if (!take_bytes(rest, &e, sizeof(e)))
		return false;
	name = (const char *)rest->data;
	if (!take_bytes(rest, NULL, e.name_bytes) || !tree_name_is_good(name, e.name_bytes) ||
	    e.number >= TREE_MAX_NUMBERS)
		return false;
	if (!q->error)
		refuse_answer(q, q->ops->entry(q, e.number, e.type, name, e.name_bytes));
	return true;
}

static bool take_stat(struct files *f, struct files_question *q, struct rest *rest)
{
	struct tree_stat *st = &f->stat;
	struct files_stat record;

	if (q->nr_answered == q->nr || !take_bytes(rest, &record, sizeof(record)) ||
	    record.target_bytes > TREE_MAX_TARGET_BYTES || record.xattr_bytes > TREE_MAX_XATTR_BYTES ||
	    !take_bytes(rest, st->target, record.target_bytes) ||
	    !take_bytes(rest, st->xattrs, record.xattr_bytes) || !erofs_attr_is_good(&record.attr) ||
	    (S_ISLNK(record.attr.mode) &&
	     (!record.target_bytes || record.attr.size_bytes != record.target_bytes)))
		return false;
	st->attr = record.attr;
	st->target_bytes = record.target_bytes;
	st->xattr_bytes = record.xattr_bytes;
	q->ops->stat(q, q->nr_answered++, st);
	return true;
}

static bool extents_are_good(const struct tree_data *d)
{
	uint64_t last = 0;

	for (uint32_t i = 0; i < d->nr_extents; i++) {
		const struct tree_extent *e = &d->extents[i];

		if (e->start < last || !range_within(e->start, e->bytes, INT64_MAX) ||
		    !range_within(e->offset, e->bytes, INT64_MAX))
			return false;
		last = e->start + e->bytes;
	}
	return true;
}

static bool take_open_data(struct files *f, struct files_question *q, struct rest *rest, int error,
			   int *fd)
{
	char name[TREE_MAX_PATH_BYTES], shown[TREE_MAX_PATH_BYTES];
	struct files_data record;

	if (q->nr_answered++ || !take_bytes(rest, &record, sizeof(record)) ||
	    record.name_bytes >= sizeof(name) || record.nr_extents > TREE_MAX_EXTENTS ||
	    !take_bytes(rest, name, record.name_bytes) ||
	    !take_bytes(rest, f->data.extents, record.nr_extents * sizeof(*f->data.extents)))
		return false;
	f->data.nr_extents = record.nr_extents;
	if (!extents_are_good(&f->data))
		return false;
	name[record.name_bytes] = '\0';
	q->ops->name(q, log_name(shown, sizeof(shown), name));
	if (error)
		return true;
	f->data.fd = *fd;
	q->ops->open(q, &f->data);
	*fd = f->data.fd;
	return true;
}

static bool take_record(struct files *f, struct files_question *q, struct rest *rest, int error,
			int *fd)
{
	switch (q->kind) {
	case FILES_LIST:
		return take_entry(q, rest);
	case FILES_STAT:
		return take_stat(f, q, rest);
	default:
		return take_open_data(f, q, rest, error, fd);
	}
}

/* Nothing is missing of what the question was about. */
static bool is_whole(const struct files_question *q, int error)
{
	if (error)
		return q->kind != FILES_STAT;
	return q->kind == FILES_LIST ? q->begun : q->nr_answered == q->nr;
}

/* The oldest question that is on its way; NULL: there is none. */
static struct asked *oldest(struct files *f)
{
	return f->first_id == f->next_id ? NULL : &f->asked[f->first_id % MAX_ASKED];
}

static bool take_records(struct files *f, struct files_question *q, const struct files_head *head,
			 struct rest *rest, int *fd)
{
	if (head->kind != q->kind)
		return false;
	for (unsigned int i = 0; i < head->nr; i++)
		if (!take_record(f, q, rest, head->error, fd))
			return false;
	return !rest->bytes && (!head->last || is_whole(q, head->error));
}

/* The message is an answer, or part of one, to the oldest question. False if it is not. */
static bool take_answer_message(struct files *f, size_t bytes, int *fd)
{
	struct asked *a = oldest(f);
	struct files_question *q = a ? a->q : NULL;
	struct rest rest = { f->message, bytes };
	struct files_head head;

	if (!a || !take_bytes(&rest, &head, sizeof(head)) || head.id != a->id || head.error > 0 ||
	    (head.error && !head.last) || (q && !take_records(f, q, &head, &rest, fd)))
		return false;
	if (!head.last)
		return true;
	f->first_id++;
	event_defer(f->loop, &f->send);
	if (!q)
		return true;
	refuse_answer(q, head.error);
	q->ops->done(q, q->error);
	return true;
}

/* ---- the socket ---- */

/* The length, or -EAGAIN, or -EPIPE. What came beside it is in *fd, or that is -1. */
static ssize_t recv_message(struct files *f, int *fd)
{
	bool cut;
	ssize_t n = socket_recv_fd(f->socket, f->message, sizeof(f->message), fd, &cut);

	if (n < 0 && errno == EAGAIN)
		return -EAGAIN;
	return n > 0 && !cut ? n : -EPIPE;
}

/* No answer will come any more. */
static void lose(struct files *f)
{
	if (f->gone)
		return;
	f->gone = true;
	if (!f->is_lent)
		log_error("files: the process that reads directories is gone\n"
			  "the guest gets I/O errors for what it has not read yet.");
	if (f->watch >= 0)
		event_remove(f->loop, f->watch);
	f->watch = -1;
	event_defer(f->loop, &f->send);
}

static void on_answer(void *arg, uint32_t events)
{
	struct files *f = arg;

	(void)events;
	for (size_t taken = 0; taken < ROUND_BYTES;) {
		int fd;
		ssize_t n = recv_message(f, &fd);
		bool ok = n == -EAGAIN || (n > 0 && take_answer_message(f, (size_t)n, &fd));

		if (fd >= 0)
			close(fd);
		if (!ok)
			lose(f);
		if (!ok || n == -EAGAIN)
			return;
		taken += (size_t)n;
	}
}

static struct files_question *pop_waiting(struct files *f)
{
	struct files_question *q = f->waiting;

	if (q)
		f->waiting = q->next;
	if (!f->waiting)
		f->waiting_tail = &f->waiting;
	return q;
}

static bool send_question(struct files *f, struct files_question *q)
{
	struct files_ask ask = { .id = f->next_id, .kind = q->kind, .tree = q->tree, .nr = q->nr };

	memcpy(ask.numbers, q->numbers, sizeof(ask.numbers));
	f->asked[f->next_id++ % MAX_ASKED] = (struct asked){ ask.id, q };
	return socket_send(f->socket, &ask, sizeof(ask)) == (ssize_t)sizeof(ask);
}

/* Nobody answers any more. done() may ask again. */
static void end_questions(struct files *f)
{
	struct files_question *q;
	struct asked *a;

	while ((a = oldest(f))) {
		f->first_id++;
		if (a->q)
			a->q->ops->done(a->q, -EPIPE);
	}
	while ((q = pop_waiting(f)))
		q->ops->done(q, -EPIPE);
}

/* Deferred: as many as may be on their way. */
static void files_send(void *arg)
{
	struct files *f = arg;

	while (!f->gone && f->waiting && f->next_id - f->first_id < MAX_ASKED)
		if (!send_question(f, pop_waiting(f)))
			lose(f);
	if (f->gone)
		end_questions(f);
}

bool files_are_asked(const struct files *f)
{
	return f->waiting || f->first_id != f->next_id;
}

void files_ask(struct files *f, struct files_question *q)
{
	q->next = NULL;
	q->nr_answered = 0;
	q->error = 0;
	q->begun = false;
	*f->waiting_tail = q;
	f->waiting_tail = &q->next;
	event_defer(f->loop, &f->send);
}

void files_cancel(struct files *f, unsigned int tree)
{
	struct files_question **link = &f->waiting, *q;

	for (uint32_t id = f->first_id; id != f->next_id; id++) {
		struct asked *a = &f->asked[id % MAX_ASKED];

		q = a->q;
		if (!q || q->tree != tree)
			continue;
		a->q = NULL;
		q->ops->done(q, -ECANCELED);
	}
	while ((q = *link)) {
		if (q->tree != tree) {
			link = &q->next;
			continue;
		}
		*link = q->next;
		q->ops->done(q, -ECANCELED);
	}
	f->waiting_tail = link;
}

/* ---- its life ---- */

/* In the process. */
static int confine_files(const struct files *f)
{
	struct sandbox_folder folders[TREE_MAX_TREES];
	unsigned int nr = 0;
	int rc;

	for (unsigned int i = 0; i < f->nr_sources; i++)
		if (f->sources[i]->opens_below)
			folders[nr++] = (struct sandbox_folder){ f->sources[i]->fd, SANDBOX_READ };
	rc = sandbox_keep_folders(f->sandbox, folders, nr);
	return rc ? rc : sandbox_confine_helper(f->sandbox, SANDBOX_FILES);
}

static void files_run(int socket, void *arg)
{
	struct files *f = arg;
	struct tree_source *one;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (confine_files(f))
		return;
	if (!f->joined)
		files_serve(socket, f->sources, f->nr_sources);
	else if (!tree_join_create(&one, f->sources, f->nr_sources))
		files_serve(socket, &one, 1);
}

static int create_sources(struct files *f, const struct tree_config *trees, unsigned int nr)
{
	int rc = 0;

	while (f->nr_sources < nr && !rc) {
		const struct tree_config *c = &trees[f->nr_sources];

		rc = (c->archive_fd < 0 ? tree_dir_create : tree_tar_create)(&f->sources[f->nr_sources], c);
		f->nr_sources += !rc;
	}
	return rc;
}

/* The process has its own copies. */
static void destroy_sources(struct files *f)
{
	while (f->nr_sources) {
		struct tree_source *s = f->sources[--f->nr_sources];

		s->ops->destroy(s);
	}
}

static int start_files_process(struct files *f)
{
	int fds[TREE_MAX_TREES];

	for (unsigned int i = 0; i < f->nr_sources; i++)
		fds[i] = f->sources[i]->fd;
	f->socket = helper_start("files", files_run, f, fds, f->nr_sources);
	if (f->socket >= 0)
		return 0;
	log_error("a process that reads directories: %s", strerror(-f->socket));
	return f->socket;
}

int files_attach(struct files **out, struct event_loop *loop, int socket)
{
	struct files *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->loop = loop;
	f->socket = socket;
	f->watch = -1;
	f->waiting_tail = &f->waiting;
	f->send = (struct event_deferred){ .fn = files_send, .arg = f };
	*out = f;
	return 0;
}

int files_start(struct files **out, struct event_loop *loop, struct sandbox *sandbox,
		const struct tree_config *trees, unsigned int nr)
{
	struct files *f;
	int rc;

	*out = NULL;
	if (!nr)
		return 0;
	if (files_attach(&f, loop, -1))
		return log_enomem("files");
	f->sandbox = sandbox;
	rc = create_sources(f, trees, nr);
	if (!rc)
		rc = start_files_process(f);
	destroy_sources(f);
	if (rc)
		files_stop(f);
	else
		*out = f;
	return rc;
}

int files_wait(struct files *f)
{
	struct pollfd p = { .fd = f->socket, .events = POLLIN };
	struct files_head head;
	ssize_t n = 0;
	int fd = -1;

	while (poll_fds(&p, 1, -1) < 0)
		;
	n = recv_message(f, &fd);
	if (fd >= 0)
		close(fd);
	memcpy(&head, f->message, sizeof(head));
	if (n == (ssize_t)sizeof(head) && head.kind == FILES_READY && head.error <= 0)
		return head.error;
	log_error("files: the process that reads directories has ended");
	return -EPIPE;
}

int files_start_lent(struct sandbox *sandbox, const struct tree_config *trees, unsigned int nr)
{
	struct files *f;
	int rc = files_attach(&f, NULL, -1), socket;

	if (rc)
		return log_enomem("files");
	f->sandbox = sandbox;
	f->joined = true;
	rc = create_sources(f, trees, nr);
	if (!rc)
		rc = start_files_process(f);
	destroy_sources(f);
	if (!rc)
		rc = files_wait(f);
	socket = f->socket;
	free(f);
	if (rc && socket >= 0)
		close(socket);
	return rc ? rc : socket;
}

int files_watch(struct files *f)
{
	f->watch = event_add(f->loop, f->socket, EPOLLIN, on_answer, f);
	return f->watch < 0 ? f->watch : 0;
}

int files_join(struct files *f, int socket)
{
	int watch = event_add(f->loop, socket, EPOLLIN, on_answer, f);

	if (watch < 0) {
		close(socket);
		return watch;
	}
	f->socket = socket;
	f->watch = watch;
	f->first_id = f->next_id = 0;
	f->gone = false;
	f->is_lent = true;
	return 0;
}

void files_part(struct files *f)
{
	if (f->watch >= 0)
		event_remove(f->loop, f->watch);
	event_undefer(f->loop, &f->send);
	if (f->socket >= 0)
		close(f->socket);
	f->socket = f->watch = -1;
}

void files_stop(struct files *f)
{
	if (!f)
		return;
	destroy_sources(f);
	if (f->watch >= 0)
		event_remove(f->loop, f->watch);
	event_undefer(f->loop, &f->send);
	if (f->socket >= 0)
		helper_end(f->socket, ORDER_END, END_MS);
	free(f);
}
