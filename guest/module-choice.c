// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which modules a guest loads, and in which order.
 *
 * A driver is looked for by its module's name. What it depends on stands in the module itself
 * (.modinfo, "depends="), and so does what it asks the kernel for when it starts ("softdep=pre:"):
 * in the guest nobody answers such requests, so that these go along, too. Each is visited once, in
 * depth first, and comes behind what it needs; a circle ends where it began.
 *
 * Runs on the main thread before there is a guest. Recursion is as deep as there are modules at
 * most, MODULES_MAX.
 *
 * Source: Linux's Documentation/kbuild/modules.rst; modprobe.d(5), "softdep".
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest/module-choice.h"
#include "util.h"

struct chooser {
	struct module_choice *choice;
	const struct module_source *source;
	unsigned int nr_seen;
	struct {
		char name[MODULE_NAME_BYTES];
		bool missing;
	} seen[MODULES_MAX];
};

static bool is_built_in(const struct module_source *s, const char *name)
{
	char path[MODULE_PATH_BYTES];

	return module_index_find(&s->builtin, name, path);
}

static int chooser_add(struct chooser *c, const char *name, bool optional);

/* "depends=a,b,c". -ENOENT if one of them is nowhere. */
static int add_depends(struct chooser *c, struct module_text module, bool optional)
{
	struct module_text value, word;
	char name[MODULE_NAME_BYTES];
	int rc;

	if (!module_text_modinfo(module, "depends", 0, &value))
		return 0;
	while (module_text_word(&value, ", ", &word)) {
		if (!module_text_plain_name(name, word))
			return -ENOENT;
		rc = chooser_add(c, name, optional);
		if (rc)
			return rc;
	}
	return 0;
}

/* As the kernel's algorithms are called: "crypto-crc32c" is crc32c_generic. */
static bool name_generic(struct module_text word, char name[MODULE_NAME_BYTES])
{
	static const char crypto[] = "crypto-", generic[] = "_generic";
	const size_t crypto_bytes = sizeof(crypto) - 1;
	size_t len;

	if (word.bytes > crypto_bytes && !memcmp(word.data, crypto, crypto_bytes))
		word = (struct module_text){ word.data + crypto_bytes, word.bytes - crypto_bytes };
	if (!module_text_plain_name(name, word))
		return false;
	len = strlen(name);
	if (len + sizeof(generic) > MODULE_NAME_BYTES)
		return false;
	memcpy(name + len, generic, sizeof(generic));
	return true;
}

/*
 * The module behind @word of a softdep: itself, or whoever has that as another name. False: it is
 * built in, or nowhere.
 */
static bool find_soft(const struct module_source *s, struct module_text word,
		      char name[MODULE_NAME_BYTES])
{
	char path[MODULE_PATH_BYTES];

	if (!module_text_plain_name(name, word) || is_built_in(s, name) ||
	    module_text_has_alias(s->builtin_modinfo, word))
		return false;
	if (module_index_find(&s->paths, name, path))
		return true;
	if (name_generic(word, name) && (is_built_in(s, name) ||
					 module_index_find(&s->paths, name, path)))
		return !is_built_in(s, name);
	return s->aliases && module_text_find_alias(s->aliases(s->ctx), word, name);
}

/* "softdep=pre: a b post: c" */
static int add_soft(struct chooser *c, struct module_text module)
{
	struct module_text value, word;
	char name[MODULE_NAME_BYTES];

	for (unsigned int i = 0; module_text_modinfo(module, "softdep", i, &value); i++) {
		bool before = false;

		while (module_text_word(&value, " \t", &word)) {
			if (module_text_equals(word, "pre:") || module_text_equals(word, "post:")) {
				before = word.bytes == 4;
			} else if (before && find_soft(c->source, word, name)) {
				int rc = chooser_add(c, name, true);

				if (rc && rc != -ENOENT)
					return rc;
			}
		}
	}
	return 0;
}

/* It has been read; what it needs goes first. Takes over @file. */
static int chooser_append(struct chooser *c, struct module_file *file)
{
	struct module_text text = { (const char *)file->data, file->bytes };
	int rc = add_depends(c, text, file->optional);

	if (!rc)
		rc = add_soft(c, text);
	if (rc) {
		free(file->data);
		return rc;
	}
	c->choice->files[c->choice->nr_files++] = *file;
	return 0;
}

/* One that was optional until now, and what it needs. */
static void make_required(struct chooser *c, const char *name)
{
	struct module_choice *choice = c->choice;

	for (unsigned int i = 0; i < choice->nr_files; i++) {
		struct module_file *f = &choice->files[i];
		struct module_text text = { (const char *)f->data, f->bytes }, value, word;
		char other[MODULE_NAME_BYTES];

		if (strcmp(f->name, name) || !f->optional)
			continue;
		f->optional = false;
		if (!module_text_modinfo(text, "depends", 0, &value))
			return;
		while (module_text_word(&value, ", ", &word))
			if (module_text_plain_name(other, word))
				make_required(c, other);
		return;
	}
}

/* The module @name. 0: it is built in or among the files; -ENOENT: it is nowhere; -errno. */
static int chooser_add(struct chooser *c, const char *name, bool optional)
{
	const struct module_source *s = c->source;
	struct module_file file = { .optional = optional };
	char path[MODULE_PATH_BYTES];
	unsigned int me;
	int rc;

	for (unsigned int i = 0; i < c->nr_seen; i++) {
		if (strcmp(c->seen[i].name, name))
			continue;
		if (!optional)
			make_required(c, name);
		return c->seen[i].missing ? -ENOENT : 0;
	}
	if (!module_index_find(&s->paths, name, path)) /* without a list it may be built in */
		return s->builtin.nr && !is_built_in(s, name) ? -ENOENT : 0;
	if (c->nr_seen == MODULES_MAX)
		return -E2BIG;
	me = c->nr_seen++;
	memcpy(c->seen[me].name, name, strlen(name) + 1);
	memcpy(file.name, name, strlen(name) + 1);
	rc = s->read(s->ctx, path, &file);
	if (!rc)
		rc = chooser_append(c, &file);
	c->seen[me].missing = rc == -ENOENT;
	return rc;
}

/* Without looking at the module: what do the lists and the configuration say of @option? */
static enum module_state state_of(const struct module_source *s, const struct kernel_option *option)
{
	char path[MODULE_PATH_BYTES], set;
	bool is_there = option->module && module_index_find(&s->paths, option->module, path);

	if (!s->is_tree && is_there)
		return MODULE_LOADED;
	if (!s->is_tree && option->module && is_built_in(s, option->module))
		return MODULE_BUILT_IN;
	set = module_text_config(s->config, option->name);
	/* In a tree a module may be left from another configuration. */
	if (set == 'm' && is_there)
		return MODULE_LOADED;
	if (set)
		return set == 'y' ? MODULE_BUILT_IN : MODULE_MISSING;
	return option->module && s->builtin.nr ? MODULE_MISSING : MODULE_UNKNOWN;
}

int module_choice_make(struct module_choice *choice, const struct module_source *source,
		       uint32_t wanted, uint32_t optional)
{
	struct chooser *c = calloc(1, sizeof(*c));
	int rc = c ? 0 : -ENOMEM;

	memset(choice, 0, sizeof(*choice));
	if (c)
		*c = (struct chooser){ .choice = choice, .source = source };
	for (unsigned int i = 0; i < NR_KERNEL_OPTIONS && !rc; i++) {
		if (!(wanted & KERNEL_BIT(i)))
			continue;
		choice->state[i] = state_of(source, &kernel_options[i]);
		if (choice->state[i] != MODULE_LOADED)
			continue;
		rc = chooser_add(c, kernel_options[i].module, optional & KERNEL_BIT(i));
		if (rc == -ENOENT) {
			choice->state[i] = MODULE_MISSING;
			rc = 0;
		}
	}
	free(c);
	return rc;
}

void module_choice_fini(struct module_choice *choice)
{
	while (choice->nr_files)
		free(choice->files[--choice->nr_files].data);
}
