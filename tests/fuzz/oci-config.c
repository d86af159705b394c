// SPDX-License-Identifier: GPL-2.0-only
/*
 * config.json, or a process object alone: any bytes give a configuration whose texts end and whose numbers are
 * in their ranges, or a reason.
 */
#include "tests/fuzz/fuzz.h"

#include "oci/config.h"
#include "oci/seccomp.h"

static size_t total;

static void look_at(const char *text)
{
	total += text ? strlen(text) : 0;
}

static void look_at_all(const struct config_strings *s)
{
	for (unsigned int i = 0; i < s->nr; i++) {
		must(s->texts[i]);
		look_at(s->texts[i]);
	}
	must(!s->nr || !s->texts[s->nr]);
}

static void look_at_pairs(const struct config_pairs *p)
{
	for (unsigned int i = 0; i < p->nr; i++) {
		look_at(p->pairs[i].name);
		look_at(p->pairs[i].value);
	}
}

static void look_at_process(const struct config_process *p)
{
	must(p->args.nr && *p->args.texts[0] && *p->cwd == '/');
	must(p->nr_groups <= CONFIG_MAX_GROUPS && p->umask <= 0777);
	look_at_all(&p->args);
	look_at_all(&p->env);
	for (unsigned int i = 0; i < CONFIG_NR_RLIMITS; i++)
		must(p->rlimits[i].soft <= p->rlimits[i].hard);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct config_error error = { "" };
	struct config c;
	const bool is_process = bytes && *data == '!', is_update = bytes && *data == '#';
	int rc = config_parse(&c, is_process ? CONFIG_PROCESS : is_update ? CONFIG_RESOURCES :
									    CONFIG_BUNDLE,
			      (const char *)data + (is_process || is_update), bytes - (is_process || is_update),
			      &error);

	must(!rc == !*error.text && strlen(error.text) < sizeof(error.text));
	if (!rc && c.has_process)
		look_at_process(&c.process);
	for (unsigned int i = 0; i < c.nr_mounts && !rc; i++) {
		must(*c.mounts[i].destination == '/' && c.mounts[i].data);
		look_at(c.mounts[i].type);
		look_at(c.mounts[i].source);
	}
	if (!rc && !is_update && !is_process) {
		look_at(c.root);
		look_at_pairs(&c.annotations);
		look_at_pairs(&c.sysctl);
		look_at_all(&c.masked_paths);
		look_at_all(&c.read_only_paths);
	}
	if (!rc && c.seccomp) {
		struct seccomp_program p;

		rc = seccomp_make(&p, c.seccomp, &error);
		must(!rc == !*error.text && !rc == !!p.nr_bytes);
		seccomp_fini(&p);
	}
	config_fini(&c);
	return 0;
}
