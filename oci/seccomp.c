// SPDX-License-Identifier: GPL-2.0-only
/*
 * linux.seccomp, as BPF (oci/seccomp.h). libseccomp makes it, of rules that are read here.
 *
 * What comes out is never weaker than what was written. A call that this libseccomp does not know is passed
 * over where it is allowed, as engines' lists are for all kernels and architectures, and refused where it is
 * forbidden; so are rules of which libseccomp would take one and drop a stricter one, members that nobody
 * knows (a misspelt condition is none), and what would let something outside decide (SCMP_ACT_NOTIFY).
 * Architectures that no guest has are passed over: their calls end the process in any case.
 *
 * Rules are read first, and then looked at in pairs: of two for the same calls the stricter one counts, as of
 * two filters. podman has such a pair (setns). Some pairs libseccomp 2.5 gets wrong, whose program then allows what
 * none of them does, or whose making never ends: these are refused. Which they are was found by comparing programs
 * of random lists with what the lists say; engines' own have none.
 *
 * Sources: OCI runtime specification 1.2.0, config-linux.md, "Seccomp"; seccomp(2); seccomp_rule_add(3),
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

#define MAX_CHECKS	  6u	 /* arguments of a system call */
#define MAX_PROGRAM_BYTES 32768u /* BPF_MAXINSNS of 8 bytes */
#define MAX_RULES	  8192u	 /* engines have some hundred; libseccomp looks at all for each */
#define DEFAULT_ERRNO	  1u	 /* EPERM */

#define IGNORE_HINT "; the annotation lkvm.ignore with linux.seccomp drops all of it"

struct seccomp_rule {
	int call;
	uint32_t action;
	bool dropped; /* another one says more */
	unsigned int nr;
	struct scmp_arg_cmp checks[MAX_CHECKS]; /* all have to be met */
};

struct seccomp_reader {
	scmp_filter_ctx filter;
	uint32_t otherwise; /* the default action */
	bool has_narrow;    /* an architecture of whose arguments libseccomp looks at 32 bits */
	struct config_error *error;
	unsigned int nr_rules;
	struct seccomp_rule *rules;
	int rc;
};

__attribute__((format(printf, 3, 4))) static void seccomp_fail(struct seccomp_reader *r, int rc,
							       const char *fmt, ...)
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

/* A misspelt condition would be none, and a misspelt list no list. */
static void check_members(struct seccomp_reader *r, struct json_object *o, const char *known)
{
	json_object_object_foreach(o, name, value) {
		const char *at = strstr(known, name);
		const size_t n = strlen(name);

		if (!value || (n && at && !strchr(name, ' ') && (at == known || at[-1] == ' ') && (!at[n] || at[n] == ' ')))
			continue;
		seccomp_fail(r, -ENOTSUP, "%.60s: lkvm does not know it" IGNORE_HINT, name);
	}
}

/* ---- actions ---- */

/* The kernel's order, by which the stricter one of two filters counts: less is stricter (seccomp(2)). */
static int32_t strictness(uint32_t action)
{
	return (int32_t)(action & SECCOMP_RET_ACTION_FULL);
}

/* @name: of the field with its number (ERRNO, TRACE). */
static uint32_t read_action(struct seccomp_reader *r, struct json_object *o, const char *action,
			    const char *number)
{
	static const struct {
		const char *word;
		uint32_t action;
	} words[] = {
		{ "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW },
		{ "SCMP_ACT_LOG", SCMP_ACT_LOG },
		{ "SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD },
		{ "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD },
		{ "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS },
		{ "SCMP_ACT_TRAP", SCMP_ACT_TRAP },
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
	seccomp_fail(r, -ENOTSUP, "%s: \"%.40s\": lkvm cannot do this" IGNORE_HINT, action, word);
	return SCMP_ACT_KILL_PROCESS;
}

/* ---- rules ---- */

static void read_check(struct seccomp_reader *r, struct json_object *o, struct scmp_arg_cmp *check)
{
	static const struct {
		const char *word;
		enum scmp_compare compare;
	} words[] = {
		{ "SCMP_CMP_NE", SCMP_CMP_NE },
		{ "SCMP_CMP_LT", SCMP_CMP_LT },
		{ "SCMP_CMP_LE", SCMP_CMP_LE },
		{ "SCMP_CMP_EQ", SCMP_CMP_EQ },
		{ "SCMP_CMP_GE", SCMP_CMP_GE },
		{ "SCMP_CMP_GT", SCMP_CMP_GT },
		{ "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
	};
	const char *word;
	uint64_t index;

	if (json_object_get_type(o) != json_type_object) {
		seccomp_fail(r, -EINVAL, "args: has what is no object");
		return;
	}
	check_members(r, o, "index value valueTwo op");
	word = seccomp_text(r, o, "op");
	index = seccomp_number(r, o, "index", MAX_CHECKS);
	if (index >= MAX_CHECKS)
		seccomp_fail(r, -EINVAL, "args: index is not from 0 to 5");
	*check = (struct scmp_arg_cmp){
		.arg = (unsigned int)index,
		.op = _SCMP_CMP_MIN,
		.datum_a = seccomp_number(r, o, "value", 0),
		.datum_b = seccomp_number(r, o, "valueTwo", 0),
	};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(word, words[i].word))
			check->op = words[i].compare;
	/* libseccomp would not look at these bits. */
	if (check->op == SCMP_CMP_MASKED_EQ && check->datum_b & ~check->datum_a)
		seccomp_fail(r, -EINVAL, "args: valueTwo has bits that value, the mask, has not: it is never met");
	if (r->has_narrow && (check->datum_a | check->datum_b) > UINT32_MAX)
		seccomp_fail(r, -ENOTSUP, "args: of a value of more than 32 bits the architectures X86 and X32 would look "
					  "at the lower half" IGNORE_HINT);
	if (check->op == _SCMP_CMP_MIN)
		seccomp_fail(r, -EINVAL, "args: op \"%.40s\" is no comparison", word);
}

static void keep_rule(struct seccomp_reader *r, uint32_t action, int call, const struct scmp_arg_cmp *checks,
		      unsigned int nr)
{
	struct seccomp_rule *rule = &r->rules[r->nr_rules];

	if (r->nr_rules == MAX_RULES) {
		seccomp_fail(r, -E2BIG, "has more than %u rules", MAX_RULES);
		return;
	}
	*rule = (struct seccomp_rule){ .call = call, .action = action, .nr = nr };
	memcpy(rule->checks, checks, nr * sizeof(*checks));
	r->nr_rules++;
}

/*
 * Checks of one argument twice are alternatives for other runtimes, and libseccomp takes none such. As they
 * can be meant to be met together, too, they have to forbid something: alternatives forbid more.
 */
static void add_call(struct seccomp_reader *r, uint32_t action, const char *name,
		     const struct scmp_arg_cmp *checks, unsigned int nr)
{
	const int call = seccomp_syscall_resolve_name(name);
	unsigned int seen = 0;
	bool alternatives = false;

	if (call == __NR_SCMP_ERROR) {
		if (strictness(action) < strictness(r->otherwise))
			seccomp_fail(r, -ENOTSUP,
				     "names: \"%.60s\": the host's libseccomp does not know this call, "
				     "and cannot forbid it" IGNORE_HINT,
				     name);
		return;
	}
	for (unsigned int i = 0; i < nr; i++) {
		alternatives |= seen >> checks[i].arg & 1;
		seen |= 1u << checks[i].arg;
	}
	if (alternatives && strictness(action) > strictness(r->otherwise))
		seccomp_fail(r, -ENOTSUP, "args: of %.60s: one argument is there twice, and whether both have to be "
					  "met is not clear: two rules say that one is enough" IGNORE_HINT,
			     name);
	if (!alternatives)
		keep_rule(r, action, call, checks, nr);
	for (unsigned int i = 0; i < nr && alternatives; i++)
		keep_rule(r, action, call, checks + i, 1);
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
	check_members(r, o, "names action errnoRet args");
	action = read_action(r, o, "action", "errnoRet");
	nr_names = seccomp_list(r, o, "names", &names);
	nr_args = seccomp_list(r, o, "args", &args);
	if (nr_args > MAX_CHECKS)
		seccomp_fail(r, -EINVAL, "args: has more than %u items", MAX_CHECKS);
	for (size_t i = 0; i < nr_args && !r->rc; i++)
		read_check(r, json_object_array_get_idx(args, i), &checks[i]);
	if (!nr_names)
		seccomp_fail(r, -EINVAL, "syscalls: a rule has no names");
	for (size_t i = 0; i < nr_names && !r->rc; i++)
		add_call(r, action, seccomp_item(r, names, i), checks, (unsigned int)nr_args);
}

/* ---- pairs of rules ---- */

static bool is_met(uint64_t value, const struct scmp_arg_cmp *c)
{
	switch (c->op) {
	case SCMP_CMP_NE:
		return value != c->datum_a;
	case SCMP_CMP_LT:
		return value < c->datum_a;
	case SCMP_CMP_LE:
		return value <= c->datum_a;
	case SCMP_CMP_EQ:
		return value == c->datum_a;
	case SCMP_CMP_GE:
		return value >= c->datum_a;
	case SCMP_CMP_GT:
		return value > c->datum_a;
	default: /* SCMP_CMP_MASKED_EQ: a is the mask */
		return (value & c->datum_a) == c->datum_b;
	}
}

/* No value meets both; true only where that is plain. */
static bool exclude_each_other(const struct scmp_arg_cmp *a, const struct scmp_arg_cmp *b)
{
	if (a->arg != b->arg)
		return false;
	if (a->op == SCMP_CMP_EQ)
		return !is_met(a->datum_a, b);
	if (b->op == SCMP_CMP_EQ)
		return !is_met(b->datum_a, a);
	return a->op == SCMP_CMP_MASKED_EQ && b->op == a->op && a->datum_a == b->datum_a && a->datum_b != b->datum_b;
}

static bool are_apart(const struct seccomp_rule *a, const struct seccomp_rule *b)
{
	for (unsigned int i = 0; i < a->nr; i++)
		for (unsigned int k = 0; k < b->nr; k++)
			if (exclude_each_other(&a->checks[i], &b->checks[k]))
				return true;
	return false;
}

/* In any order. An argument is there once. */
static bool are_for_same(const struct seccomp_rule *a, const struct seccomp_rule *b)
{
	unsigned int same = 0;

	for (unsigned int i = 0; i < a->nr; i++)
		for (unsigned int k = 0; k < b->nr; k++) {
			const struct scmp_arg_cmp *x = &a->checks[i], *y = &b->checks[k];

			same += x->arg == y->arg && x->op == y->op && x->datum_a == y->datum_a &&
				x->datum_b == y->datum_b;
		}
	return a->nr == b->nr && same == a->nr;
}

/* It checks what libseccomp can only be given as the only rule with checks of its call. */
static bool has_to_be_alone(const struct seccomp_rule *rule)
{
	for (unsigned int i = 0; i < rule->nr; i++)
		switch (rule->checks[i].op) {
		case SCMP_CMP_LT:
		case SCMP_CMP_LE:
		case SCMP_CMP_GE:
		case SCMP_CMP_GT:
			return true;
		case SCMP_CMP_NE:
			if (rule->nr > 1)
				return true;
			break;
		default:
			break;
		}
	return false;
}

static bool is_all_but_one(const struct seccomp_rule *rule)
{
	return rule->nr == 1 && rule->checks[0].op == SCMP_CMP_NE;
}

/* Both are given to libseccomp, and it makes something else of them. */
static bool are_made_wrong(const struct seccomp_reader *r, const struct seccomp_rule *a, const struct seccomp_rule *b)
{
	if (!a->nr || !b->nr || a->action == r->otherwise || b->action == r->otherwise)
		return false;
	return has_to_be_alone(a) || has_to_be_alone(b) ||
	       (a->action == b->action && ((is_all_but_one(a) && b->nr > 1) || (is_all_but_one(b) && a->nr > 1)));
}

static void refuse_pair(struct seccomp_reader *r, int call, const char *why)
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);

	seccomp_fail(r, -ENOTSUP, "two rules for %.60s %s: lkvm cannot keep both" IGNORE_HINT, name ? name : "a call",
		     why);
	free(name);
}

/*
 * libseccomp decides calls that two rules are for by the rules' form. Where that can be for the laxer one,
 * it is an error; a rule that says what is the case anyway is not given to it.
 */
static void settle_pair(struct seccomp_reader *r, struct seccomp_rule *a, struct seccomp_rule *b)
{
	struct seccomp_rule *lax = strictness(a->action) > strictness(b->action) ? a : b;

	if (a->dropped || b->dropped)
		return;
	if (are_for_same(a, b))
		lax->dropped = true;
	else if (are_made_wrong(r, a, b))
		refuse_pair(r, a->call, "compare arguments in ways that the host's libseccomp mixes up");
	else if (strictness(a->action) != strictness(b->action) && lax->action != r->otherwise && !are_apart(a, b))
		refuse_pair(r, a->call, "can be for the same call, and are not equally strict");
}

static void settle_rules(struct seccomp_reader *r)
{
	struct seccomp_rule *rules = r->rules;

	for (unsigned int i = 0; i < r->nr_rules && !r->rc; i++)
		for (unsigned int k = 0; k < i && !r->rc; k++)
			if (rules[i].call == rules[k].call)
				settle_pair(r, &rules[k], &rules[i]);
	for (unsigned int i = 0; i < r->nr_rules && !r->rc; i++) {
		int rc = 0;

		/* What is the default it takes none of; what is there already says no less. */
		if (!rules[i].dropped && rules[i].action != r->otherwise)
			rc = seccomp_rule_add_array(r->filter, rules[i].action, rules[i].call, rules[i].nr,
						    rules[i].checks);
		if (rc && rc != -EEXIST)
			seccomp_fail(r, rc, "a rule cannot be made (%s)", strerror(-rc));
	}
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
			const bool is_named = !strcmp(name, words[k].word);
			int rc = is_named ? seccomp_arch_add(r->filter, words[k].arch) : 0;

			r->has_narrow |= is_named;
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
		rc = !p->bytes					  ? -ENOMEM :
		     pread(fd, p->bytes, p->nr_bytes, 0) == bytes ? 0 :
								    -EIO;
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
	check_members(&r, from, "defaultAction defaultErrnoRet architectures flags listenerPath listenerMetadata "
				"syscalls");
	r.otherwise = read_action(&r, from, "defaultAction", "defaultErrnoRet");
	p->flags = read_flags(&r, from);
	if (seccomp_member(&r, from, "listenerPath", json_type_string))
		seccomp_fail(&r, -ENOTSUP, "listenerPath: lkvm cannot do this");
	if (r.rc)
		return r.rc;
	r.filter = seccomp_init(r.otherwise);
	r.rules = calloc(MAX_RULES, sizeof(*r.rules));
	if (!r.filter || !r.rules)
		seccomp_fail(&r, -ENOMEM, "no memory");
	if (!r.rc)
		seccomp_attr_set(r.filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list of hundreds */
	read_architectures(&r, from);
	nr = seccomp_list(&r, from, "syscalls", &rules);
	for (size_t i = 0; i < nr && !r.rc; i++)
		read_rule(&r, json_object_array_get_idx(rules, i));
	settle_rules(&r);
	rc = r.rc ? 0 : seccomp_export(&r, p);
	if (rc)
		seccomp_fail(&r, rc, "the program cannot be made (%s)", strerror(-rc));
	if (r.filter)
		seccomp_release(r.filter);
	free(r.rules);
	return r.rc;
}

void seccomp_fini(struct seccomp_program *p)
{
	free(p->bytes);
	*p = (struct seccomp_program){ 0 };
}
