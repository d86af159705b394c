// SPDX-License-Identifier: GPL-2.0-only
/*
 * linux.seccomp, as BPF (oci/seccomp.h). libseccomp makes it, of rules that are read here.
 *
 * A call that this libseccomp does not know is passed over, as engines' lists are for all kernels and
 * architectures; so are architectures that no guest has: their calls end the process in any case. What
 * would let something outside decide (SCMP_ACT_NOTIFY) is refused.
 *
 * Sources: OCI runtime specification 1.2.0, config-linux.md, "Seccomp"; seccomp_rule_add(3),
 * seccomp_attr_set(3) of libseccomp 2.5.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "oci/config.h"
#include "oci/seccomp.h"
#include "util.h"

#define MAX_CHECKS 6u		/* arguments of a system call */
#define MAX_PROGRAM_BYTES 32768u	/* BPF_MAXINSNS of 8 bytes */
#define MAX_RULES 8192u		/* engines have some hundred; libseccomp looks at all for each */
#define DEFAULT_ERRNO 1u	/* EPERM */

struct seccomp_reader {
	scmp_filter_ctx filter;
	uint32_t otherwise;	/* the default action */
	struct config_error *error;
	unsigned int nr_rules;
	int rc;
};

__attribute__((format(printf, 3, 4)))
static void seccomp_fail(struct seccomp_reader *r, int rc, const char *fmt, ...)
{
	size_t n;
	va_list ap;

	if (r->rc)
		return;
	r->rc = rc;
	n = (size_t)snprintf(r->error->text, sizeof(r->error->text), "config.json: linux.seccomp: ");
	va_start(ap, fmt);
	vsnprintf(r->error->text + n, sizeof(r->error->text) - n, fmt, ap);
	va_end(ap);
}

/* ---- values ---- */

static struct json_object *seccomp_member(struct seccomp_reader *r, struct json_object *o, const char *name,
					  json_type type)
{
	struct json_object *v;

	if (r->rc || !json_object_object_get_ex(o, name, &v) || !v)
		return NULL;
	if (json_object_get_type(v) == type)
		return v;
	seccomp_fail(r, -EINVAL, "%s: is of another type", name);
	return NULL;
}

static const char *seccomp_text(struct seccomp_reader *r, struct json_object *o, const char *name)
{
	struct json_object *v = seccomp_member(r, o, name, json_type_string);

	if (!v)
		seccomp_fail(r, -EINVAL, "%s: is missing", name);
	return v ? json_object_get_string(v) : "";
}

static uint64_t seccomp_number(struct seccomp_reader *r, struct json_object *o, const char *name, uint64_t otherwise)
{
	struct json_object *v = seccomp_member(r, o, name, json_type_int);

	if (v && json_object_get_int64(v) < 0)
		seccomp_fail(r, -EINVAL, "%s: is negative", name);
	return v ? json_object_get_uint64(v) : otherwise;
}

/* How many are in the list @name, which is *list; 0: it is not there. */
static size_t seccomp_list(struct seccomp_reader *r, struct json_object *o, const char *name,
			   struct json_object **list)
{
	*list = seccomp_member(r, o, name, json_type_array);
	if (*list && json_object_array_length(*list) > CONFIG_MAX_ITEMS)
		seccomp_fail(r, -EINVAL, "%s: has more than %u items", name, CONFIG_MAX_ITEMS);
	return *list && !r->rc ? json_object_array_length(*list) : 0;
}

static const char *seccomp_item(struct seccomp_reader *r, struct json_object *list, size_t i)
{
	struct json_object *v = json_object_array_get_idx(list, i);

	if (json_object_get_type(v) == json_type_string)
		return json_object_get_string(v);
	seccomp_fail(r, -EINVAL, "a list has other items than texts");
	return "";
}

/* ---- actions ---- */

/* @name: of the field with its number (ERRNO, TRACE). */
static uint32_t read_action(struct seccomp_reader *r, struct json_object *o, const char *action,
			    const char *number)
{
	static const struct {
		const char *word;
		uint32_t action;
	} words[] = {
		{ "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW }, { "SCMP_ACT_LOG", SCMP_ACT_LOG },
		{ "SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD }, { "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD },
		{ "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS }, { "SCMP_ACT_TRAP", SCMP_ACT_TRAP },
	};
	const char *word = seccomp_text(r, o, action);
	const uint64_t n = seccomp_number(r, o, number, DEFAULT_ERRNO);

	if (n > UINT16_MAX)
		seccomp_fail(r, -EINVAL, "%s: is no error's number", number);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(word, words[i].word))
			return words[i].action;
	if (!strcmp(word, "SCMP_ACT_ERRNO"))
		return SCMP_ACT_ERRNO(n);
	if (!strcmp(word, "SCMP_ACT_TRACE"))
		return SCMP_ACT_TRACE(n);
	seccomp_fail(r, -ENOTSUP, "%s: \"%.40s\": lkvm cannot do this; the annotation lkvm.ignore with "
		     "linux.seccomp drops all of it", action, word);
	return SCMP_ACT_KILL_PROCESS;
}

/* ---- rules ---- */

static void read_check(struct seccomp_reader *r, struct json_object *o, struct scmp_arg_cmp *check)
{
	static const struct {
		const char *word;
		enum scmp_compare compare;
	} words[] = {
		{ "SCMP_CMP_NE", SCMP_CMP_NE }, { "SCMP_CMP_LT", SCMP_CMP_LT }, { "SCMP_CMP_LE", SCMP_CMP_LE },
		{ "SCMP_CMP_EQ", SCMP_CMP_EQ }, { "SCMP_CMP_GE", SCMP_CMP_GE }, { "SCMP_CMP_GT", SCMP_CMP_GT },
		{ "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
	};
	const char *word;
	uint64_t index;

	if (json_object_get_type(o) != json_type_object) {
		seccomp_fail(r, -EINVAL, "args: has what is no object");
		return;
	}
	word = seccomp_text(r, o, "op");
	index = seccomp_number(r, o, "index", MAX_CHECKS);
	if (index >= MAX_CHECKS)
		seccomp_fail(r, -EINVAL, "args: index is not from 0 to 5");
	*check = (struct scmp_arg_cmp){
		.arg = (unsigned int)index, .op = _SCMP_CMP_MIN,
		.datum_a = seccomp_number(r, o, "value", 0), .datum_b = seccomp_number(r, o, "valueTwo", 0),
	};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(word, words[i].word))
			check->op = words[i].compare;
	if (check->op == _SCMP_CMP_MIN)
		seccomp_fail(r, -EINVAL, "args: op \"%.40s\" is no comparison", word);
}

static void add_rule(struct seccomp_reader *r, uint32_t action, int nr, const struct scmp_arg_cmp *checks,
		     unsigned int nr_checks)
{
	int rc = 0;

	if (++r->nr_rules > MAX_RULES)
		seccomp_fail(r, -E2BIG, "has more than %u rules", MAX_RULES);
	else
		rc = seccomp_rule_add_array(r->filter, action, nr, nr_checks, checks);
	if (rc && rc != -EEXIST)
		seccomp_fail(r, rc, "a rule cannot be made (%s)", strerror(-rc));
}

/* Checks of one argument twice are alternatives; otherwise all have to be met. */
static void add_call(struct seccomp_reader *r, uint32_t action, const char *name,
		     const struct scmp_arg_cmp *checks, unsigned int nr)
{
	const int call = seccomp_syscall_resolve_name(name);
	unsigned int seen = 0;
	bool alternatives = false;

	if (call == __NR_SCMP_ERROR)
		return;
	for (unsigned int i = 0; i < nr; i++) {
		alternatives |= seen >> checks[i].arg & 1;
		seen |= 1u << checks[i].arg;
	}
	if (!alternatives)
		add_rule(r, action, call, checks, nr);
	for (unsigned int i = 0; i < nr && alternatives; i++)
		add_rule(r, action, call, checks + i, 1);
}

static void read_rule(struct seccomp_reader *r, struct json_object *o)
{
	struct scmp_arg_cmp checks[MAX_CHECKS];
	struct json_object *names, *args;
	size_t nr_names, nr_args;
	uint32_t action;

	if (json_object_get_type(o) != json_type_object) {
		seccomp_fail(r, -EINVAL, "syscalls: has what is no object");
		return;
	}
	action = read_action(r, o, "action", "errnoRet");
	nr_names = seccomp_list(r, o, "names", &names);
	nr_args = seccomp_list(r, o, "args", &args);
	if (nr_args > MAX_CHECKS)
		seccomp_fail(r, -EINVAL, "args: has more than %u items", MAX_CHECKS);
	for (size_t i = 0; i < nr_args && !r->rc; i++)
		read_check(r, json_object_array_get_idx(args, i), &checks[i]);
	if (action == r->otherwise)	/* it says nothing, and libseccomp takes none such */
		return;
	for (size_t i = 0; i < nr_names && !r->rc; i++)
		add_call(r, action, seccomp_item(r, names, i), checks, (unsigned int)nr_args);
}

/* ---- the whole ---- */

static void read_architectures(struct seccomp_reader *r, struct json_object *from)
{
	static const struct {
		const char *word;
		uint32_t arch;
	} words[] = { { "SCMP_ARCH_X86", SCMP_ARCH_X86 }, { "SCMP_ARCH_X32", SCMP_ARCH_X32 } };
	struct json_object *list;
	size_t nr = seccomp_list(r, from, "architectures", &list);

	for (size_t i = 0; i < nr && !r->rc; i++) {
		const char *name = seccomp_item(r, list, i);

		for (size_t k = 0; k < ARRAY_SIZE(words); k++) {
			int rc = strcmp(name, words[k].word) ? 0 : seccomp_arch_add(r->filter, words[k].arch);

			if (rc && rc != -EEXIST)
				seccomp_fail(r, rc, "architectures: %s (%s)", name, strerror(-rc));
		}
	}
}

/* One thread has no use for SECCOMP_FILTER_FLAG_TSYNC. */
static uint32_t read_flags(struct seccomp_reader *r, struct json_object *from)
{
	struct json_object *list;
	size_t nr = seccomp_list(r, from, "flags", &list);
	uint32_t flags = 0;

	for (size_t i = 0; i < nr && !r->rc; i++) {
		const char *name = seccomp_item(r, list, i);

		if (!strcmp(name, "SECCOMP_FILTER_FLAG_LOG"))
			flags |= SECCOMP_FILTER_FLAG_LOG;
		else if (!strcmp(name, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"))
			flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
		else if (strcmp(name, "SECCOMP_FILTER_FLAG_TSYNC") != 0)
			seccomp_fail(r, -ENOTSUP, "flags: \"%.60s\": lkvm cannot do this", name);
	}
	return flags;
}

static int seccomp_export(struct seccomp_reader *r, struct seccomp_program *p)
{
	int fd = memfd_create("seccomp", MFD_CLOEXEC), rc = fd < 0 ? -errno : seccomp_export_bpf(r->filter, fd);
	off_t bytes = rc ? 0 : lseek(fd, 0, SEEK_END);

	if (!rc && (bytes <= 0 || bytes > (off_t)MAX_PROGRAM_BYTES))
		rc = -E2BIG;
	if (!rc) {
		p->bytes = malloc((size_t)bytes);
		p->nr_bytes = (size_t)bytes;
		rc = !p->bytes ? -ENOMEM : pread(fd, p->bytes, p->nr_bytes, 0) == bytes ? 0 : -EIO;
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

int seccomp_make(struct seccomp_program *p, struct json_object *from, struct config_error *error)
{
	struct seccomp_reader r = { .error = error };
	struct json_object *rules;
	size_t nr;
	int rc;

	*p = (struct seccomp_program){ 0 };
	r.otherwise = read_action(&r, from, "defaultAction", "defaultErrnoRet");
	p->flags = read_flags(&r, from);
	if (seccomp_member(&r, from, "listenerPath", json_type_string))
		seccomp_fail(&r, -ENOTSUP, "listenerPath: lkvm cannot do this");
	if (r.rc)
		return r.rc;
	r.filter = seccomp_init(r.otherwise);
	if (!r.filter)
		return -ENOMEM;
	seccomp_attr_set(r.filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);	/* a tree, not a list of hundreds */
	read_architectures(&r, from);
	nr = seccomp_list(&r, from, "syscalls", &rules);
	for (size_t i = 0; i < nr && !r.rc; i++)
		read_rule(&r, json_object_array_get_idx(rules, i));
	rc = r.rc ? 0 : seccomp_export(&r, p);
	if (rc)
		seccomp_fail(&r, rc, "the program cannot be made (%s)", strerror(-rc));
	seccomp_release(r.filter);
	return r.rc;
}

void seccomp_fini(struct seccomp_program *p)
{
	free(p->bytes);
	*p = (struct seccomp_program){ 0 };
}
