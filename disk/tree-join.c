// SPDX-License-Identifier: GPL-2.0-only
/*
 * Several trees as one (disk/tree.h): directories "0", "1" ... of a root that is nowhere else, so
 * that one disk has all that a container is lent.
 *
 * File n of tree i is number 1 + n * trees + i: nothing has to be remembered, and each tree has its
 * share of the numbers.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "disk/tree.h"
#include "log.h"

struct tree_join {
	struct tree_source source;
	unsigned int nr;
	struct tree_source *const *all;
};

/* Whose @number is, and what it is there. */
static struct tree_source *join_find(const struct tree_join *t, uint32_t number, uint32_t *theirs)
{
	*theirs = (number - 1) / t->nr;
	return t->all[(number - 1) % t->nr];
}

static int tree_join_begin(struct tree_source *source)
{
	const struct tree_join *t = (const struct tree_join *)source;
	int rc = 0;

	for (unsigned int i = 0; i < t->nr && !rc; i++)
		if (t->all[i]->ops->begin)
			rc = t->all[i]->ops->begin(t->all[i]);
	return rc;
}

static int tree_join_list(struct tree_source *source, uint32_t number, struct tree_list *list)
{
	const struct tree_join *t = (const struct tree_join *)source;
	struct tree_source *from;
	uint32_t theirs;
	char name[16];
	int rc = 0;

	for (unsigned int i = 0; number == TREE_ROOT && i < t->nr && !rc; i++)
		rc = tree_list_add(list, 1 + i, DT_DIR, name, (size_t)snprintf(name, sizeof(name), "%u", i));
	if (number == TREE_ROOT)
		return rc;
	from = join_find(t, number, &theirs);
	tree_list_renumber(list, t->nr, 1 + (number - 1) % t->nr);
	rc = from->ops->list(from, theirs, list);
	tree_list_renumber(list, 1, 0);
	return rc;
}

static void tree_join_stat(struct tree_source *source, uint32_t number, struct tree_stat *out)
{
	const struct tree_join *t = (const struct tree_join *)source;
	struct tree_source *from;
	uint32_t theirs;

	if (number == TREE_ROOT) {
		out->attr.mode = S_IFDIR | 0755;
		out->attr.nlink = 2 + t->nr;
		return;
	}
	from = join_find(t, number, &theirs);
	from->ops->stat(from, theirs, out);
}

static int tree_join_open(struct tree_source *source, uint32_t number, struct tree_data *out)
{
	const struct tree_join *t = (const struct tree_join *)source;
	struct tree_source *from;
	uint32_t theirs;

	if (number == TREE_ROOT)
		return -EISDIR;
	from = join_find(t, number, &theirs);
	return from->ops->open(from, theirs, out);
}

static void tree_join_name(struct tree_source *source, uint32_t number, char *text, size_t bytes)
{
	const struct tree_join *t = (const struct tree_join *)source;
	struct tree_source *from;
	uint32_t theirs;

	if (number == TREE_ROOT) {
		snprintf(text, bytes, "directories");
		return;
	}
	from = join_find(t, number, &theirs);
	from->ops->name(from, theirs, text, bytes);
}

static void tree_join_report(struct tree_source *source)
{
	const struct tree_join *t = (const struct tree_join *)source;

	for (unsigned int i = 0; i < t->nr; i++)
		if (t->all[i]->ops->report)
			t->all[i]->ops->report(t->all[i]);
}

static void tree_join_destroy(struct tree_source *source)
{
	free(source);
}

static const struct tree_source_ops tree_join_ops = {
	.begin = tree_join_begin,
	.list = tree_join_list,
	.stat = tree_join_stat,
	.open = tree_join_open,
	.name = tree_join_name,
	.report = tree_join_report,
	.destroy = tree_join_destroy,
};

int tree_join_create(struct tree_source **out, struct tree_source *const sources[], unsigned int nr)
{
	struct tree_join *t = calloc(1, sizeof(*t));

	if (!t)
		return log_enomem("directories");
	t->source = (struct tree_source){ .ops = &tree_join_ops, .fd = -1 };
	t->nr = nr;
	t->all = sources;
	*out = &t->source;
	return 0;
}
