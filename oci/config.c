// SPDX-License-Identifier: GPL-2.0-only
/*
 * config.json (oci/config.h). Pure.
 *
 * json-c makes a tree of it, which stays for as long as the configuration, whose texts are in it.
 * Readers below take an object and a name each, and check type and range; the first thing that is
 * wrong is kept, with its path, and all readers behind it read nothing: so a function that reads an
 * object is a list. Each object has its words: those that are read, and those that are known and cannot
 * be done.
 *
 * Sources: OCI runtime specification 1.2.0, config.md, config-linux.md; mount(2), getrlimit(2),
 * capabilities(7).
 */
#include <ctype.h>
#include <assert.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "oci/config.h"
#include "oci/words.h"
#include "utf8.h"
#include "util.h"

#define READ_NS		  10000000000ull
#define POLL_MS		  200
#define IGNORE_ANNOTATION "lkvm.ignore"
#define DEFAULT_TYPE	  "none"

struct config_reader {
	struct config *config;
	struct config_error *error;
	int rc;		     /* of the first thing that was wrong */
	const char *ignored; /* the annotation, or NULL */
	size_t path_bytes;
	char path[256];
};

/* ---- what is wrong ---- */

__attribute__((format(printf, 4, 5))) static void config_fail(struct config_reader *r, int rc,
							      const char *name, const char *fmt, ...)
{
	size_t n;
	va_list ap;

	if (r->rc)
		return;
	r->rc = rc;
	n = (size_t)snprintf(r->error->text, sizeof(r->error->text), "config.json: %s%s%s%s",
			     r->path, r->path_bytes && *name && *name != '[' ? "." : "", name,
			     r->path_bytes || *name ? ": " : "");
	if (n >= sizeof(r->error->text))
		return;
	va_start(ap, fmt);
	vsnprintf(r->error->text + n, sizeof(r->error->text) - n, fmt, ap);
	va_end(ap);
}

/* Goes down to @name, or to the item @index if it has none. What leave() is to be given. */
static size_t enter_name(struct config_reader *r, const char *name, unsigned int index)
{
	const size_t before = r->path_bytes, room = sizeof(r->path) - before;
	int n = name ? snprintf(r->path + before, room, "%s%s", before ? "." : "", name) :
		       snprintf(r->path + before, room, "[%u]", index);

	r->path_bytes = before + (size_t)n < sizeof(r->path) ? before + (size_t)n : sizeof(r->path) - 1;
	return before;
}

static void leave_name(struct config_reader *r, size_t before)
{
	r->path_bytes = before;
	r->path[before] = '\0';
}

static void take_note(struct config_reader *r, const char *name, const char *what)
{
	size_t at = strlen(r->config->notes);

	snprintf(r->config->notes + at, sizeof(r->config->notes) - at, "%s%s%s: %s\n", r->path,
		 r->path_bytes ? "." : "", name, what);
}

/* ---- values ---- */

static const char *const type_names[] = {
	[json_type_boolean] = "true or false",
	[json_type_int] = "a whole number",
	[json_type_object] = "an object",
	[json_type_array] = "a list",
	[json_type_string] = "a text",
	[json_type_double] = "a number",
	[json_type_null] = "null",
};

static bool is_of_type(struct config_reader *r, struct json_object *v, const char *name, json_type type)
{
	if (json_object_get_type(v) == type)
		return true;
	config_fail(r, -EINVAL, name, "is not %s", type_names[type]);
	return false;
}

/* NULL if it is not there, which null means, too. */
static struct json_object *get_member(struct config_reader *r, struct json_object *o, const char *name,
				      json_type type)
{
	struct json_object *v;

	if (r->rc || !json_object_object_get_ex(o, name, &v) || !v)
		return NULL;
	return is_of_type(r, v, name, type) ? v : NULL;
}

static const char *text_of(struct config_reader *r, struct json_object *v, const char *name)
{
	const char *text = json_object_get_string(v);

	if (strlen(text) == (size_t)json_object_get_string_len(v))
		return text;
	config_fail(r, -EINVAL, name, "has a NUL in it");
	return NULL;
}

/* NULL if it is not there. */
static const char *get_text(struct config_reader *r, struct json_object *o, const char *name)
{
	struct json_object *v = get_member(r, o, name, json_type_string);

	return v ? text_of(r, v, name) : NULL;
}

/* ... or is empty. */
static const char *get_full_text(struct config_reader *r, struct json_object *o, const char *name)
{
	const char *text = get_text(r, o, name);

	return text && *text ? text : NULL;
}

static const char *need_path(struct config_reader *r, struct json_object *o, const char *name)
{
	const char *text = get_full_text(r, o, name);

	if (!text)
		config_fail(r, -EINVAL, name, "is missing");
	else if (*text != '/')
		config_fail(r, -EINVAL, name, "\"%.100s\" is no absolute path", text);
	return text;
}

static bool get_bool(struct config_reader *r, struct json_object *o, const char *name)
{
	struct json_object *v = get_member(r, o, name, json_type_boolean);

	return v && json_object_get_boolean(v);
}

/* False if it is not there: *number is unchanged. */
static bool get_number(struct config_reader *r, struct json_object *o, const char *name, int64_t least,
		       int64_t most, int64_t *number)
{
	struct json_object *v = get_member(r, o, name, json_type_int);
	int64_t n = v ? json_object_get_int64(v) : 0;

	if (v && (n < least || n > most))
		config_fail(r, -EINVAL, name, "%s is not from %lld to %lld", json_object_get_string(v),
			    (long long)least, (long long)most);
	if (!v || r->rc)
		return false;
	*number = n;
	return true;
}

static uint32_t get_u32(struct config_reader *r, struct json_object *o, const char *name)
{
	int64_t n = 0;

	get_number(r, o, name, 0, UINT32_MAX - 1, &n); /* the last one is no id (setuid(2)) */
	return (uint32_t)n;
}

static uint64_t need_u64(struct config_reader *r, struct json_object *o, const char *name)
{
	struct json_object *v = get_member(r, o, name, json_type_int);

	if (!v)
		config_fail(r, -EINVAL, name, "is missing");
	else if (json_object_get_int64(v) < 0)
		config_fail(r, -EINVAL, name, "is negative");
	return v ? json_object_get_uint64(v) : 0;
}

/* A list, and how many are in it: 0 if it is not there. */
static struct json_object *get_list(struct config_reader *r, struct json_object *o, const char *name,
				    unsigned int most, unsigned int *nr)
{
	struct json_object *v = get_member(r, o, name, json_type_array);
	size_t n = v ? json_object_array_length(v) : 0;

	if (n > most)
		config_fail(r, -EINVAL, name, "has more than %u items", most);
	*nr = r->rc ? 0 : (unsigned int)n;
	return v;
}

static struct json_object *get_item(struct config_reader *r, struct json_object *list, unsigned int i,
				    json_type type)
{
	struct json_object *v = json_object_array_get_idx(list, i);

	return !r->rc && is_of_type(r, v, "", type) ? v : NULL;
}

/* A list on the way through it. */
struct config_list {
	struct json_object *items;
	unsigned int nr, next;
	size_t outside, inside; /* what leave_name() is to be given behind it, and behind an item */
};

static struct config_list enter_list(struct config_reader *r, struct json_object *o, const char *name,
				     unsigned int most)
{
	struct config_list l = { 0 };

	l.items = get_list(r, o, name, most, &l.nr);
	l.outside = enter_name(r, name, 0);
	l.inside = r->path_bytes;
	return l;
}

/* The next item, which is entered. NULL behind the last one, and behind what is wrong: the list has been left. */
static struct json_object *next_item(struct config_reader *r, struct config_list *l, json_type type)
{
	struct json_object *v = NULL;

	leave_name(r, l->inside);
	if (l->next < l->nr && !r->rc) {
		enter_name(r, NULL, l->next);
		v = get_item(r, l->items, l->next++, type);
	}
	if (!v)
		leave_name(r, l->outside);
	return v;
}

static void *new_array(struct config_reader *r, unsigned int nr, size_t bytes)
{
	void *array = calloc(nr + 1u, bytes);

	if (!array)
		config_fail(r, -ENOMEM, "", "no memory");
	return array;
}

static void get_strings(struct config_reader *r, struct json_object *o, const char *name,
			struct config_strings *out)
{
	struct config_list l = enter_list(r, o, name, CONFIG_MAX_ITEMS);
	struct json_object *v;

	out->texts = l.nr ? new_array(r, l.nr, sizeof(*out->texts)) : NULL;
	while ((v = next_item(r, &l, json_type_string))) {
		assert(out->texts); /* or there is an error by now */
		out->texts[out->nr] = text_of(r, v, "");
		out->nr += out->texts[out->nr] != NULL;
	}
}

static void get_pairs(struct config_reader *r, struct json_object *o, const char *name,
		      struct config_pairs *out)
{
	struct json_object *map = get_member(r, o, name, json_type_object);
	size_t before = enter_name(r, name, 0);

	if (map && json_object_object_length(map) > (int)CONFIG_MAX_ITEMS)
		config_fail(r, -EINVAL, "", "has more than %u members", CONFIG_MAX_ITEMS);
	if (map && !r->rc)
		out->pairs = new_array(r, (unsigned int)json_object_object_length(map), sizeof(*out->pairs));
	if (map && !r->rc) {
		json_object_object_foreach(map, key, value)
			if (!r->rc && is_of_type(r, value, key, json_type_string))
				out->pairs[out->nr++] =
					(struct config_pair){ key, text_of(r, value, key) };
	}
	leave_name(r, before);
}

/* ---- names ---- */

/* @words: separated by blanks or commas. */
static bool has_word(const char *words, const char *word, size_t bytes)
{
	while (words && *words) {
		size_t n = strcspn(words, " ,");

		if (n == bytes && !memcmp(words, word, n))
			return true;
		words += n + strspn(words + n, " ,");
	}
	return false;
}

/* It asks for nothing. */
static bool is_void(struct json_object *v)
{
	switch (json_object_get_type(v)) {
	case json_type_null:
		return true;
	case json_type_boolean:
		return !json_object_get_boolean(v);
	case json_type_string:
		return !json_object_get_string_len(v);
	case json_type_array:
		return !json_object_array_length(v);
	case json_type_object: {
		json_object_object_foreach(v, name, member) {
			(void)name;
			if (!is_void(member))
				return false;
		}
		return true;
	}
	default:
		return false;
	}
}

static bool config_is_ignored(const struct config_reader *r, const char *name)
{
	char path[512];
	int n = snprintf(path, sizeof(path), "%s%s%s", r->path, r->path_bytes ? "." : "", name);

	return n < (int)sizeof(path) && has_word(r->ignored, path, (size_t)n);
}

static void config_refuse(struct config_reader *r, const char *name)
{
	config_fail(r, -ENOTSUP, name,
		    "lkvm cannot do this; the annotation " IGNORE_ANNOTATION " with this name drops it");
}

/*
 * The names in @o: those in @known are read by others; those in @refused cannot be done; no other is in
 * the specification.
 */
static void config_check_names(struct config_reader *r, struct json_object *o, const char *known,
			       const char *refused)
{
	json_object_object_foreach(o, name, value) {
		if (r->rc || has_word(known, name, strlen(name)))
			continue;
		if (!has_word(refused, name, strlen(name)))
			take_note(r, name, "unknown, passed over");
		else if (is_void(value))
			continue;
		else if (config_is_ignored(r, name))
			take_note(r, name, "ignored, as the annotation says");
		else
			config_refuse(r, name);
	}
}

/* ---- the process ---- */

static void read_user(struct config_reader *r, struct config_process *p, struct json_object *process)
{
	struct json_object *o = get_member(r, process, "user", json_type_object), *list, *v;
	size_t before = enter_name(r, "user", 0);
	unsigned int nr;
	int64_t n = 0;

	if (o) {
		config_check_names(r, o, "uid gid umask additionalGids", "username");
		p->uid = get_u32(r, o, "uid");
		p->gid = get_u32(r, o, "gid");
		p->umask_given = get_number(r, o, "umask", 0, 0777, &n);
		p->umask = (uint32_t)n;
		list = get_list(r, o, "additionalGids", CONFIG_MAX_GROUPS, &nr);
		for (unsigned int i = 0; i < nr; i++) {
			v = get_item(r, list, i, json_type_int);
			n = v ? json_object_get_int64(v) : 0;
			if (n < 0 || n >= UINT32_MAX)
				config_fail(r, -EINVAL, "additionalGids", "has what is no group");
			p->groups[p->nr_groups++] = (uint32_t)n;
		}
	}
	leave_name(r, before);
}

static uint64_t read_capability_set(struct config_reader *r, struct json_object *o, const char *name)
{
	struct config_strings words = { 0 };
	uint64_t set = 0;

	get_strings(r, o, name, &words);
	for (unsigned int i = 0; i < words.nr && !r->rc; i++) {
		int bit = words_capability(words.texts[i]);

		if (bit < 0)
			config_fail(r, -EINVAL, name, "\"%.40s\" is no capability", words.texts[i]);
		else
			set |= 1ull << bit;
	}
	free(words.texts);
	return set;
}

static void read_capabilities(struct config_reader *r, struct config_process *p,
			      struct json_object *process)
{
	struct json_object *o = get_member(r, process, "capabilities", json_type_object);
	struct config_capabilities *c = &p->capabilities;
	size_t before = enter_name(r, "capabilities", 0);

	c->given = o != NULL;
	if (o) {
		config_check_names(r, o, "bounding effective inheritable permitted ambient", "");
		c->bounding = read_capability_set(r, o, "bounding");
		c->effective = read_capability_set(r, o, "effective");
		c->inheritable = read_capability_set(r, o, "inheritable");
		c->permitted = read_capability_set(r, o, "permitted");
		c->ambient = read_capability_set(r, o, "ambient");
	}
	leave_name(r, before);
}

static void read_rlimit(struct config_reader *r, struct config_process *p, struct json_object *o)
{
	const char *type = get_text(r, o, "type");
	const int which = type ? words_rlimit(type) : -1;
	struct config_rlimit limit = { .given = true };

	config_check_names(r, o, "type soft hard", "");
	limit.soft = need_u64(r, o, "soft");
	limit.hard = need_u64(r, o, "hard");
	if (which < 0)
		config_fail(r, -EINVAL, "type", "is no limit of setrlimit(2)");
	else if (limit.soft > limit.hard)
		config_fail(r, -EINVAL, "soft", "is more than hard");
	else if (p->rlimits[which].given)
		config_fail(r, -EINVAL, "type", "is there twice");
	if (!r->rc)
		p->rlimits[which] = limit;
}

static void read_rlimits(struct config_reader *r, struct config_process *p, struct json_object *process)
{
	struct config_list l = enter_list(r, process, "rlimits", CONFIG_MAX_ITEMS);
	struct json_object *o;

	while ((o = next_item(r, &l, json_type_object)))
		read_rlimit(r, p, o);
}

static void read_console_size(struct config_reader *r, struct config_process *p,
			      struct json_object *process)
{
	struct json_object *o = get_member(r, process, "consoleSize", json_type_object);
	size_t before = enter_name(r, "consoleSize", 0);
	int64_t height = 0, width = 0;

	if (o) {
		config_check_names(r, o, "height width", "");
		get_number(r, o, "height", 0, UINT16_MAX, &height);
		get_number(r, o, "width", 0, UINT16_MAX, &width);
		p->rows = (uint16_t)height;
		p->columns = (uint16_t)width;
	}
	leave_name(r, before);
}

static void check_environment(struct config_reader *r, const struct config_process *p)
{
	assert(!p->env.nr || p->env.texts);
	for (unsigned int i = 0; i < p->env.nr && !r->rc; i++)
		if (!strchr(p->env.texts[i], '=') || *p->env.texts[i] == '=')
			config_fail(r, -EINVAL, "env", "[%u] is not NAME=VALUE", i);
}

/* The host's kernel knows none of the guest's processes, which have a wall around them. */
static void note_label(struct config_reader *r, struct json_object *o, const char *name)
{
	if (get_full_text(r, o, name))
		take_note(r, name, "is for processes of the host, passed over");
}

static void read_process(struct config_reader *r, struct config_process *p, struct json_object *o)
{
	int64_t score = 0;

	config_check_names(r, o, "terminal consoleSize user args env cwd capabilities rlimits noNewPrivileges "
				 "oomScoreAdj apparmorProfile selinuxLabel",
			   "commandLine ioPriority scheduler "
			   "execCPUAffinity");
	note_label(r, o, "apparmorProfile");
	note_label(r, o, "selinuxLabel");
	p->terminal = get_bool(r, o, "terminal");
	read_console_size(r, p, o);
	read_user(r, p, o);
	get_strings(r, o, "args", &p->args);
	get_strings(r, o, "env", &p->env);
	check_environment(r, p);
	read_capabilities(r, p, o);
	read_rlimits(r, p, o);
	p->no_new_privileges = get_bool(r, o, "noNewPrivileges");
	p->oom_score_given = get_number(r, o, "oomScoreAdj", -1000, 1000, &score);
	p->oom_score = (int)score;
	p->cwd = need_path(r, o, "cwd");
	assert(!p->args.nr || p->args.texts);
	if (!r->rc && (!p->args.nr || !*p->args.texts[0]))
		config_fail(r, -EINVAL, "args", "names no program");
}

/* ---- mounts ---- */

/* What is no flag is the file system's own; a bind has none. */
static void add_data(struct config_reader *r, struct config_mount *m, FILE *data, const char *option)
{
	if (m->flags & MS_BIND)
		config_fail(r, -ENOTSUP, "options", "\"%.60s\": lkvm does not know it", option);
	else
		fprintf(data, "%s%s", ftell(data) > 0 ? "," : "", option);
}

static void read_mount_option(struct config_reader *r, struct config_mount *m, FILE *data,
			      const char *option)
{
	struct word_flags f;

	if (!strcmp(option, "tmpcopyup") && !strcmp(m->type, "tmpfs"))
		m->copy_up = true;
	else if (words_mount_option(option, &f))
		m->flags = (m->flags & ~f.cleared) | f.set;
	else if (words_is_shared_mount(option))
		config_fail(r, -ENOTSUP, "options", "\"%s\": mounts in a VM cannot be seen outside", option);
	else
		add_data(r, m, data, option);
}

/* Two rounds: whether it is a bind is to be known first. */
static void read_mount_options(struct config_reader *r, struct config_mount *m, struct json_object *o)
{
	struct config_strings options = { 0 };
	size_t bytes;
	FILE *data = open_memstream(&m->data, &bytes);

	get_strings(r, o, "options", &options);
	for (unsigned int i = 0; i < options.nr && !r->rc; i++)
		if (!strcmp(options.texts[i], "bind") || !strcmp(options.texts[i], "rbind"))
			m->flags |= MS_BIND;
	for (unsigned int i = 0; i < options.nr && !r->rc && data; i++)
		read_mount_option(r, m, data, options.texts[i]);
	free(options.texts);
	if (!data || fclose(data))
		config_fail(r, -ENOMEM, "", "no memory");
}

static void read_mount(struct config_reader *r, struct config_mount *m, struct json_object *o)
{
	config_check_names(r, o, "destination type source options", "uidMappings gidMappings");
	m->destination = need_path(r, o, "destination");
	m->type = get_full_text(r, o, "type");
	m->source = get_full_text(r, o, "source");
	if (!m->type)
		m->type = DEFAULT_TYPE;
	if (!strcmp(m->type, "bind"))
		m->flags |= MS_BIND;
	read_mount_options(r, m, o);
	if (m->flags & MS_BIND && (!m->source || *m->source != '/'))
		config_fail(r, -EINVAL, "source", "a bind needs an absolute path");
}

static void read_mounts(struct config_reader *r, struct json_object *top)
{
	struct config *c = r->config;
	struct config_list l = enter_list(r, top, "mounts", CONFIG_MAX_ITEMS);
	struct json_object *o;

	c->mounts = l.nr ? new_array(r, l.nr, sizeof(*c->mounts)) : NULL;
	while ((o = next_item(r, &l, json_type_object)))
		read_mount(r, &c->mounts[c->nr_mounts++], o);
}

/* ---- Linux ---- */

static void read_namespace(struct config_reader *r, struct json_object *o)
{
	static const char *const names[CONFIG_NR_NAMESPACES] = {
		"pid", "network", "ipc", "uts", "mount", "cgroup"
	};
	const char *type = get_text(r, o, "type"), *path = get_full_text(r, o, "path");

	config_check_names(r, o, "type path", "");
	if (!type) {
		config_fail(r, -EINVAL, "type", "is missing");
		return;
	}
	for (unsigned int i = 0; i < CONFIG_NR_NAMESPACES && !r->rc; i++) {
		struct config_namespace *n = &r->config->namespaces[i];

		if (strcmp(type, names[i]) != 0)
			continue;
		if (n->given)
			config_fail(r, -EINVAL, "type", "\"%s\" is there twice", type);
		*n = (struct config_namespace){ .given = true, .path = path };
		return;
	}
	if (r->rc)
		return;
	if (config_ignores(r->config, "linux.namespaces"))
		take_note(r, type, "ignored, as the annotation says");
	else
		config_fail(r, -ENOTSUP, "type",
			    "\"%.40s\": lkvm cannot do this; the annotation " IGNORE_ANNOTATION " with linux.namespaces drops it",
			    type);
}

static void read_device(struct config_reader *r, struct config_device *d, struct json_object *o)
{
	const char *type = get_text(r, o, "type");
	int64_t mode;

	d->mode = 0666; /* what runtimes take where nothing is said */
	config_check_names(r, o, "path type major minor fileMode uid gid", "");
	d->path = need_path(r, o, "path");
	if (!type || !*type || type[1] || !strchr("bcup", *type)) {
		config_fail(r, -EINVAL, "type", "is none of b, c, u and p");
		return;
	}
	d->type = *type == 'u' ? 'c' : *type;
	d->major = get_u32(r, o, "major");
	d->minor = get_u32(r, o, "minor");
	if (get_number(r, o, "fileMode", 0, UINT32_MAX, &mode))
		d->mode = (uint32_t)mode & 07777;
	d->uid = get_u32(r, o, "uid");
	d->gid = get_u32(r, o, "gid");
}

static void read_devices(struct config_reader *r, struct json_object *linux_)
{
	struct config *c = r->config;
	struct config_list l = enter_list(r, linux_, "devices", CONFIG_MAX_ITEMS);
	struct json_object *o;

	c->devices = l.nr ? new_array(r, l.nr, sizeof(*c->devices)) : NULL;
	while ((o = next_item(r, &l, json_type_object)))
		read_device(r, &c->devices[c->nr_devices++], o);
}

static void read_namespaces(struct config_reader *r, struct json_object *linux_)
{
	struct config_list l = enter_list(r, linux_, "namespaces", 64);
	struct json_object *o;

	while ((o = next_item(r, &l, json_type_object)))
		read_namespace(r, o);
}

static void read_memory(struct config_reader *r, struct config_resources *to, struct json_object *o)
{
	size_t before = enter_name(r, "memory", 0);

	if (o) {
		/* What there is to be checked is checked. */
		config_check_names(r, o, "limit swap reservation checkBeforeUpdate useHierarchy",
				   "kernel kernelTCP swappiness disableOOMKiller");
		get_number(r, o, "limit", -1, INT64_MAX, &to->memory_bytes);
		get_number(r, o, "swap", -1, INT64_MAX, &to->swap_bytes);
		get_number(r, o, "reservation", -1, INT64_MAX, &to->reservation_bytes);
	}
	leave_name(r, before);
}

static void config_read_cpu(struct config_reader *r, struct config_resources *to, struct json_object *o)
{
	size_t before = enter_name(r, "cpu", 0);

	if (o) {
		config_check_names(r, o, "shares quota period cpus mems", "burst realtimeRuntime realtimePeriod idle");
		get_number(r, o, "shares", 0, 1 << 20, &to->cpu_shares);
		get_number(r, o, "quota", -1, INT64_MAX, &to->cpu_quota_us);
		get_number(r, o, "period", 0, INT64_MAX, &to->cpu_period_us);
		to->cpus = get_full_text(r, o, "cpus");
		to->mems = get_full_text(r, o, "mems");
	}
	leave_name(r, before);
}

static void read_device_rule(struct config_reader *r, struct config_device_rule *to, struct json_object *o)
{
	const char *type = get_text(r, o, "type"), *access = get_text(r, o, "access");

	config_check_names(r, o, "allow type major minor access", "");
	*to = (struct config_device_rule){ .type = type ? *type : 'a', .major = -1, .minor = -1 };
	to->allow = get_bool(r, o, "allow");
	get_number(r, o, "major", -1, UINT32_MAX, &to->major);
	get_number(r, o, "minor", -1, UINT32_MAX, &to->minor);
	to->read = !access || strchr(access, 'r');
	to->write = !access || strchr(access, 'w');
	if (type && (!*type || type[1] || !strchr("abcup", *type)))
		config_fail(r, -EINVAL, "type", "is none of a, b and c");
	if (access && access[strspn(access, "rwm")])
		config_fail(r, -EINVAL, "access", "has other letters than rwm");
}

static void read_device_rules(struct config_reader *r, struct config_resources *to, struct json_object *resources)
{
	struct config_list l = enter_list(r, resources, "devices", CONFIG_MAX_ITEMS);
	struct json_object *o;

	to->rules = l.nr ? new_array(r, l.nr, sizeof(*to->rules)) : NULL;
	while ((o = next_item(r, &l, json_type_object)))
		read_device_rule(r, &to->rules[to->nr_rules++], o);
}

static void read_resources(struct config_reader *r, struct json_object *o)
{
	struct config_resources *to = &r->config->resources;
	struct json_object *pids;

	/* devices: of the container, which has none of the host's but disks. */
	config_check_names(r, o, "devices memory cpu pids", "blockIO hugepageLimits network rdma unified");
	read_memory(r, to, get_member(r, o, "memory", json_type_object));
	config_read_cpu(r, to, get_member(r, o, "cpu", json_type_object));
	read_device_rules(r, to, o);
	pids = get_member(r, o, "pids", json_type_object);
	if (pids)
		get_number(r, pids, "limit", -1, INT64_MAX, &to->pids);
}

static void read_resources_of(struct config_reader *r, struct json_object *linux_)
{
	struct json_object *o = get_member(r, linux_, "resources", json_type_object);
	size_t before = enter_name(r, "resources", 0);

	if (o)
		read_resources(r, o);
	leave_name(r, before);
}

/* In the VM: nobody outside sees its mounts, or has some that it could see. */
static void read_propagation(struct config_reader *r, struct json_object *o)
{
	static const struct {
		const char *word;
		unsigned long flags;
	} all[] = {
		{ "shared", MS_SHARED },
		{ "slave", MS_SLAVE },
		{ "private", MS_PRIVATE },
		{ "unbindable", MS_UNBINDABLE },
	};
	const char *text = get_full_text(r, o, "rootfsPropagation");
	const unsigned long recursive = text && *text == 'r' ? MS_REC : 0;

	for (size_t i = 0; i < ARRAY_SIZE(all) && text; i++)
		if (!strcmp(text + (recursive ? 1 : 0), all[i].word))
			r->config->root_propagation = all[i].flags | recursive;
	if (text && !r->config->root_propagation)
		config_fail(r, -EINVAL, "rootfsPropagation", "\"%.40s\" is none", text);
}

static void read_linux(struct config_reader *r, struct json_object *top)
{
	struct json_object *o = get_member(r, top, "linux", json_type_object);
	struct config *c = r->config;
	size_t before = enter_name(r, "linux", 0);

	if (o) {
		config_check_names(r, o, "sysctl resources cgroupsPath namespaces devices seccomp maskedPaths "
					 "readonlyPaths rootfsPropagation mountLabel",
				   "uidMappings gidMappings netDevices intelRdt personality timeOffsets memoryPolicy");
		note_label(r, o, "mountLabel");
		get_pairs(r, o, "sysctl", &c->sysctl);
		read_resources_of(r, o);
		c->cgroups_path = get_full_text(r, o, "cgroupsPath");
		read_namespaces(r, o);
		read_devices(r, o);
		c->seccomp = get_member(r, o, "seccomp", json_type_object);
		get_strings(r, o, "maskedPaths", &c->masked_paths);
		get_strings(r, o, "readonlyPaths", &c->read_only_paths);
		read_propagation(r, o);
		if (c->seccomp && config_is_ignored(r, "seccomp")) {
			take_note(r, "seccomp", "ignored, as the annotation says");
			c->seccomp = NULL;
		}
	}
	leave_name(r, before);
}

/* ---- the whole ---- */

static void read_root(struct config_reader *r, struct json_object *top)
{
	struct json_object *o = get_member(r, top, "root", json_type_object);
	size_t before = enter_name(r, "root", 0);

	if (o) {
		config_check_names(r, o, "path readonly", "");
		r->config->root = get_full_text(r, o, "path");
		r->config->root_read_only = get_bool(r, o, "readonly");
	}
	if (!r->config->root)
		config_fail(r, -EINVAL, "path", "is missing");
	leave_name(r, before);
}

static void check_version(struct config_reader *r, const char *version)
{
	if (!version)
		config_fail(r, -EINVAL, "ociVersion", "is missing");
	else if (strncmp(version, "1.", 2) != 0)
		config_fail(r, -ENOTSUP, "ociVersion", "%.40s is not 1", version);
}

static void config_read_config(struct config_reader *r, struct json_object *top)
{
	struct config *c = r->config;
	struct json_object *process;

	get_pairs(r, top, "annotations", &c->annotations);
	r->ignored = r->rc ? NULL : config_annotation(c, IGNORE_ANNOTATION);
	check_version(r, get_text(r, top, "ociVersion"));
	config_check_names(r, top, "ociVersion process root hostname domainname mounts annotations linux",
			   "hooks solaris windows vm zos freebsd");
	read_root(r, top);
	c->hostname = get_full_text(r, top, "hostname");
	c->domainname = get_full_text(r, top, "domainname");
	read_mounts(r, top);
	read_linux(r, top);
	process = get_member(r, top, "process", json_type_object);
	c->has_process = process != NULL;
	if (process) {
		size_t before = enter_name(r, "process", 0);

		read_process(r, &c->process, process);
		leave_name(r, before);
	}
}

/* All of it has to be one object. */
static struct json_object *parse_text(struct config_reader *r, const char *text, size_t bytes)
{
	struct json_tokener *tok = json_tokener_new_ex(CONFIG_MAX_DEPTH);
	struct json_object *top = NULL;
	enum json_tokener_error error;

	if (!tok) {
		config_fail(r, -ENOMEM, "", "no memory");
		return NULL;
	}
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	if (bytes && bytes <= CONFIG_MAX_BYTES && !memchr(text, '\0', bytes))
		top = json_tokener_parse_ex(tok, text, (int)bytes);
	error = json_tokener_get_error(tok);
	if (bytes > CONFIG_MAX_BYTES)
		config_fail(r, -EINVAL, "", "it has more than %u bytes", CONFIG_MAX_BYTES);
	else if (!utf8_is_valid(text, bytes))
		config_fail(r, -EINVAL, "", "it is not UTF-8");
	else if (error != json_tokener_success)
		config_fail(r, -EINVAL, "", "it is no JSON: %s at byte %zu", json_tokener_error_desc(error),
			    json_tokener_get_parse_end(tok));
	else if (json_object_get_type(top) != json_type_object)
		config_fail(r, -EINVAL, "", "it is no object of JSON");
	json_tokener_free(tok);
	return top;
}

int config_parse(struct config *c, enum config_kind kind, const char *text, size_t bytes,
		 struct config_error *error)
{
	struct config_reader r = { .config = c, .error = error };

	*c = (struct config){ 0 };
	c->tree = parse_text(&r, text, bytes);
	if (!r.rc && kind == CONFIG_PROCESS) {
		c->has_process = true;
		read_process(&r, &c->process, c->tree);
	} else if (!r.rc && kind == CONFIG_RESOURCES) {
		read_resources(&r, c->tree);
	} else if (!r.rc) {
		config_read_config(&r, c->tree);
	}
	return r.rc;
}

int config_read_file(int fd, char **text, size_t *bytes)
{
	char *all = malloc(CONFIG_MAX_BYTES + 1);
	const uint64_t deadline = now_ns() + READ_NS;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t n = 0;
	ssize_t got;

	if (!all)
		return -ENOMEM;
	do {
		while (fd >= 0 && poll_fds(&p, 1, POLL_MS) <= 0 && now_ns() < deadline)
			;
		if (now_ns() >= deadline) {
			free(all);
			return -ETIMEDOUT;
		}
		got = read(fd, all + n, CONFIG_MAX_BYTES + 1 - n);
		n += got > 0 ? (size_t)got : 0;
	} while ((got > 0 && n <= CONFIG_MAX_BYTES) || (got < 0 && errno == EINTR));
	if (got < 0 || n > CONFIG_MAX_BYTES) {
		int rc = got < 0 ? -errno : -EFBIG;

		free(all);
		return rc;
	}
	*text = all;
	*bytes = n;
	return 0;
}

void config_fini(struct config *c)
{
	free(c->process.args.texts);
	free(c->process.env.texts);
	free(c->masked_paths.texts);
	free(c->read_only_paths.texts);
	free(c->annotations.pairs);
	free(c->sysctl.pairs);
	for (unsigned int i = 0; i < c->nr_mounts; i++)
		free(c->mounts[i].data);
	free(c->mounts);
	free(c->devices);
	free(c->resources.rules);
	json_object_put(c->tree);
	*c = (struct config){ 0 };
}

const char *config_annotation(const struct config *c, const char *name)
{
	for (unsigned int i = 0; i < c->annotations.nr; i++)
		if (!strcmp(c->annotations.pairs[i].name, name))
			return c->annotations.pairs[i].value;
	return NULL;
}

int config_check_annotations(const struct config *c, const char *allowed, struct config_error *error)
{
	static const char prefix[] = "lkvm.";

	for (unsigned int i = 0; i < c->annotations.nr; i++) {
		const char *name = c->annotations.pairs[i].name, *word = name + strlen(prefix);

		if (strncmp(name, prefix, strlen(prefix)) != 0 || has_word("memory cpus max_containers publish warm", word, strlen(word)) ||
		    has_word(allowed, word, strlen(word)))
			continue;
		snprintf(error->text, sizeof(error->text),
			 "config.json: annotations.%.100s: is not obeyed unless "
			 "/etc/lkvm/oci.conf has \"annotations = %.100s\", as images could bring it",
			 name, word);
		return -EPERM;
	}
	return 0;
}

bool config_ignores(const struct config *c, const char *word)
{
	return has_word(config_annotation(c, IGNORE_ANNOTATION), word, strlen(word));
}

const char *config_variable(const struct config *c, const char *name)
{
	const size_t n = strlen(name);

	for (unsigned int i = 0; i < c->process.env.nr; i++)
		if (!strncmp(c->process.env.texts[i], name, n) && c->process.env.texts[i][n] == '=')
			return c->process.env.texts[i] + n + 1;
	return NULL;
}
