// SPDX-License-Identifier: GPL-2.0-only
/*
 * The files process (disk/files.h): takes one question after the other from its socket, asks the
 * source of the tree, and sends the answer in as many messages as it takes.
 *
 * It sorts what a directory has, since that may take a second for a million names, which the event
 * loop of the VM's process does not have. It may block: in a file system that does not
 * answer, or on the socket as long as the VM takes nothing.
 *
 * A message that is no question ends it, as does the end of the other side.
 */
#include <errno.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk/erofs.h"
#include "disk/files-message.h"
#include "disk/files.h"
#include "io.h"
#include "util.h"

#define LIST_MESSAGE_BYTES KIB(8) /* who takes it does all of one in a turn, with memory for each name */
#define SPARE_ENTRIES	   4096u  /* of a list that is kept for the next directory */

struct list_entry {
	uint32_t number, name; /* where it is in names */
	uint8_t type, name_bytes;
};

struct tree_list {
	struct list_entry *entries, *spare;
	size_t nr, nr_dirs, room;
	char *names;
	size_t name_bytes, name_room;
	uint32_t step, first; /* tree_list_renumber() */
};

/* An answer while it is made. */
struct answer {
	int socket;
	bool failed;	    /* nobody takes it */
	size_t bytes, room; /* in the message, with its head */
	struct files_head head;
	uint8_t message[FILES_MESSAGE_BYTES];
};

/* What serves; too large for the stack. */
struct files_server {
	struct tree_list list;
	struct answer answer;
	struct tree_stat stat;
	struct tree_data data;
};

/* ---- messages ---- */

static void send_answer(struct answer *a, bool last, int fd)
{
	struct iovec iov = { a->message, a->bytes };
	union socket_ancillary anc = {
		.header = {
			.cmsg_len = CMSG_LEN(sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		},
	};
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	a->head.last = last;
	memcpy(a->message, &a->head, sizeof(a->head));
	if (fd >= 0) {
		memcpy(CMSG_DATA(&anc.header), &fd, sizeof(fd));
		m.msg_control = &anc;
		m.msg_controllen = sizeof(anc);
	}
	do
		n = a->failed ? 0 : sendmsg(a->socket, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	a->failed |= n != (ssize_t)a->bytes;
	a->head.nr = 0;
	a->bytes = sizeof(a->head);
}

/* A place for a record, in the next message if this one is full. */
static uint8_t *add_to_answer(struct answer *a, size_t bytes)
{
	uint8_t *p;

	if (!range_within(a->bytes, bytes, a->room))
		send_answer(a, false, -1);
	p = a->message + a->bytes;
	a->bytes += bytes;
	a->head.nr++;
	return p;
}

static void begin_answer(struct answer *a, const struct files_ask *ask)
{
	a->head = (struct files_head){ .id = ask->id, .kind = ask->kind };
	a->bytes = sizeof(a->head);
	a->room = ask->kind == FILES_LIST ? LIST_MESSAGE_BYTES : sizeof(a->message);
}

/* ---- LIST ---- */

static bool grow(void **p, size_t *room, size_t needed, size_t size)
{
	size_t more = *room * 2 > needed ? *room * 2 : needed;
	void *bigger = realloc(*p, more * size);

	if (!bigger)
		return false;
	*p = bigger;
	*room = more;
	return true;
}

void tree_list_renumber(struct tree_list *list, uint32_t step, uint32_t first)
{
	list->step = step;
	list->first = first;
}

int tree_list_add(struct tree_list *list, uint32_t number, unsigned int type, const char *name,
		  size_t bytes)
{
	if (!tree_name_is_good(name, bytes) || number >= TREE_MAX_NUMBERS)
		return -EINVAL;
	if (list->step && number >= (TREE_MAX_NUMBERS - list->first) / list->step)
		return -ENOMEM;
	number = list->step ? list->first + number * list->step : number;
	if (list->nr == TREE_MAX_NUMBERS ||
	    (list->nr == list->room &&
	     !grow((void **)&list->entries, &list->room, SPARE_ENTRIES, sizeof(*list->entries))) ||
	    (list->name_bytes + bytes > list->name_room &&
	     !grow((void **)&list->names, &list->name_room, KIB(64), 1)))
		return -ENOMEM;
	list->entries[list->nr++] = (struct list_entry){
		.number = number,
		.name = (uint32_t)list->name_bytes,
		.type = (uint8_t)type,
		.name_bytes = (uint8_t)bytes,
	};
	memcpy(list->names + list->name_bytes, name, bytes);
	list->name_bytes += bytes;
	list->nr_dirs += type == DT_DIR;
	return 0;
}

static bool is_before(const struct tree_list *list, const struct list_entry *a,
		      const struct list_entry *b)
{
	return erofs_compare_names(list->names + a->name, a->name_bytes,
				   list->names + b->name, b->name_bytes) < 0;
}

/* By merging: qsort(3) asks the system how much memory it has, which this process may not. */
static void sort_entries(const struct tree_list *list, struct list_entry *e, size_t nr,
			 struct list_entry *spare)
{
	size_t half = nr / 2, i = 0, k = half, n = 0;

	if (nr < 2)
		return;
	sort_entries(list, e, half, spare);
	sort_entries(list, e + half, nr - half, spare);
	while (i < half && k < nr)
		spare[n++] = is_before(list, &e[k], &e[i]) ? e[k++] : e[i++];
	memcpy(spare + n, e + i, (half - i) * sizeof(*e));
	memcpy(e, spare, (n + half - i) * sizeof(*e));
}

/* A host may list a name twice whose file is replaced meanwhile. */
static void drop_doubles(struct tree_list *list)
{
	size_t kept = 0;

	for (size_t i = 0; i < list->nr; i++) {
		if (kept && !is_before(list, &list->entries[kept - 1], &list->entries[i]))
			list->nr_dirs -= list->entries[i].type == DT_DIR;
		else
			list->entries[kept++] = list->entries[i];
	}
	list->nr = kept;
}

static int sort_list(struct tree_list *list)
{
	struct list_entry *spare = malloc((list->nr + 1) * sizeof(*spare));

	if (!spare)
		return -ENOMEM;
	sort_entries(list, list->entries, list->nr, spare);
	free(spare);
	drop_doubles(list);
	return 0;
}

static void empty_list(struct tree_list *list)
{
	list->step = list->first = 0;
	list->nr = list->nr_dirs = list->name_bytes = 0;
	if (list->room <= SPARE_ENTRIES)
		return;
	free(list->entries);
	free(list->names);
	*list = (struct tree_list){ 0 };
}

static void add_entries(struct answer *a, const struct tree_list *list)
{
	const struct files_total total = {
		.nr_dirs = (uint32_t)list->nr_dirs,
		.nr_others = (uint32_t)(list->nr - list->nr_dirs),
		.name_bytes = list->name_bytes,
	};

	memcpy(add_to_answer(a, sizeof(total)), &total, sizeof(total));
	for (size_t i = 0; i < list->nr && !a->failed; i++) {
		const struct list_entry *from = &list->entries[i];
		const struct files_entry e = {
			.number = from->number,
			.type = from->type,
			.name_bytes = from->name_bytes,
		};
		uint8_t *p = add_to_answer(a, sizeof(e) + e.name_bytes);

		memcpy(p, &e, sizeof(e));
		memcpy(p + sizeof(e), list->names + from->name, e.name_bytes);
	}
}

static void answer_list(struct files_server *s, struct tree_source *source,
			const struct files_ask *ask)
{
	int rc = source->ops->list(source, ask->numbers[0], &s->list);

	if (!rc)
		rc = sort_list(&s->list);
	if (!rc)
		add_entries(&s->answer, &s->list);
	s->answer.head.error = rc;
	send_answer(&s->answer, true, -1);
	empty_list(&s->list);
}

/* ---- STAT, OPEN ---- */

static void answer_stat(struct files_server *s, struct tree_source *source,
			const struct files_ask *ask)
{
	for (unsigned int i = 0; i < ask->nr; i++) {
		struct tree_stat *st = &s->stat;
		struct files_stat record;
		uint8_t *p;

		memset(&st->attr, 0, sizeof(st->attr));
		st->target_bytes = st->xattr_bytes = 0;
		source->ops->stat(source, ask->numbers[i], st);
		if (!erofs_attr_is_good(&st->attr)) { /* EROFS has no word for it */
			st->attr = (struct tree_attr){ .mode = S_IFREG, .nlink = 1, .size_bytes = 1 };
			st->target_bytes = st->xattr_bytes = 0;
		}
		record = (struct files_stat){ st->attr, st->target_bytes, st->xattr_bytes };
		p = add_to_answer(&s->answer, sizeof(record) + st->target_bytes + st->xattr_bytes);
		memcpy(p, &record, sizeof(record));
		memcpy(p + sizeof(record), st->target, st->target_bytes);
		memcpy(p + sizeof(record) + st->target_bytes, st->xattrs, st->xattr_bytes);
	}
	send_answer(&s->answer, true, -1);
}

static void answer_open(struct files_server *s, struct tree_source *source,
			const struct files_ask *ask)
{
	struct tree_data *d = &s->data;
	struct files_data record = { 0 };
	char name[TREE_MAX_PATH_BYTES];
	size_t extents;
	uint8_t *p;

	d->fd = -1;
	d->nr_extents = 0;
	s->answer.head.error = source->ops->open(source, ask->numbers[0], d);
	source->ops->name(source, ask->numbers[0], name, sizeof(name));
	record.name_bytes = (uint32_t)strlen(name);
	record.nr_extents = d->nr_extents;
	extents = d->nr_extents * sizeof(*d->extents);
	p = add_to_answer(&s->answer, sizeof(record) + record.name_bytes + extents);
	memcpy(p, &record, sizeof(record));
	memcpy(p + sizeof(record), name, record.name_bytes);
	memcpy(p + sizeof(record) + record.name_bytes, d->extents, extents);
	send_answer(&s->answer, true, d->fd);
	if (d->fd >= 0)
		close(d->fd);
}

/* ---- serving ---- */

static bool ask_is_good(const struct files_ask *ask, size_t bytes, unsigned int nr_trees)
{
	if (bytes != sizeof(*ask) || ask->tree >= nr_trees || !ask->nr || ask->nr > FILES_MAX_NUMBERS ||
	    (ask->nr > 1 && ask->kind != FILES_STAT))
		return false;
	for (unsigned int i = 0; i < ask->nr; i++)
		if (ask->numbers[i] >= TREE_MAX_NUMBERS)
			return false;
	return ask->kind > FILES_READY && ask->kind < FILES_NR_KINDS;
}

/* Waits for it. False at the end. */
static bool take_ask(int socket, struct files_ask *ask, unsigned int nr_trees)
{
	struct iovec iov = { ask, sizeof(*ask) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	do
		n = recvmsg(socket, &m, 0);
	while (n < 0 && errno == EINTR);
	return n > 0 && ask_is_good(ask, (size_t)n, nr_trees);
}

static int begin_sources(struct tree_source *const sources[], unsigned int nr)
{
	int rc = 0;

	for (unsigned int i = 0; i < nr && !rc; i++)
		if (sources[i]->ops->begin)
			rc = sources[i]->ops->begin(sources[i]);
	return rc;
}

static void serve_questions(struct files_server *s, struct tree_source *const sources[],
			    unsigned int nr)
{
	static void (*const answers[])(struct files_server *, struct tree_source *,
				       const struct files_ask *ask) = {
		[FILES_LIST] = answer_list,
		[FILES_STAT] = answer_stat,
		[FILES_OPEN] = answer_open,
	};
	struct files_ask ask;

	while (!s->answer.failed && take_ask(s->answer.socket, &ask, nr)) {
		begin_answer(&s->answer, &ask);
		answers[ask.kind](s, sources[ask.tree], &ask);
	}
	for (unsigned int i = 0; i < nr; i++)
		if (sources[i]->ops->report)
			sources[i]->ops->report(sources[i]);
}

void files_serve(int socket, struct tree_source *const sources[], unsigned int nr)
{
	static const struct files_ask ready = { .kind = FILES_READY };
	struct files_server *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return;
	s->answer.socket = socket;
	begin_answer(&s->answer, &ready);
	s->answer.head.error = begin_sources(sources, nr);
	rc = s->answer.head.error;
	send_answer(&s->answer, true, -1);
	if (!rc)
		serve_questions(s, sources, nr);
	free(s->list.entries);
	free(s->list.names);
	free(s);
}
