// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm debug NAME --WHAT`: to look into a VM that runs. One table says what there is.
 *
 * Source: getopt_long(3).
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/debug.h"
#include "control/registry.h"
#include "log.h"
#include "util.h"

static const struct debug_action {
	const char *name;
	int has_value; /* as getopt_long() has it; an optional one may follow the name */
	bool has_json; /* --json is its value */
	int (*run)(const struct registry_vm *vm, const char *value);
} debug_actions[] = {
	{ "regs", no_argument, true, debug_regs },
	{ "nmi", optional_argument, false, debug_nmi },
	{ "sysrq", required_argument, false, debug_sysrq },
	{ "dump", required_argument, false, debug_dump },
	{ "gdb", optional_argument, false, debug_gdb },
};

/* What is to be done, and to which VM. */
struct debug {
	const struct debug_action *action; /* NULL: not yet said */
	const char *value;
	const char *name;
	bool json;
};

static int refuse_usage(const char *message)
{
	log_error("debug: %s\n`lkvm help debug` tells more.", message);
	return EXIT_LKVM;
}

/* What is not an option: NAME, and the value of an option that need not have one. As take_debug_options(). */
static int take_debug_names(struct debug *d, char **names, int nr)
{
	if (nr == 2 && d->action && d->action->has_value == optional_argument && !d->value)
		d->value = names[--nr];
	if (nr != 1)
		return refuse_usage("needs the name of one VM");
	d->name = names[0];
	if (!d->action)
		return refuse_usage("what is to be done to it?");
	if (d->json && !d->action->has_json)
		return refuse_usage("--json is for --regs");
	if (d->json)
		d->value = "json";
	return -1;
}

/* -1 to go on, or the exit status. */
static int take_debug_options(struct debug *d, int argc, char **argv)
{
	struct option options[ARRAY_SIZE(debug_actions) + 3] = {
		{ "help", no_argument, NULL, 'h' },
		{ "json", no_argument, NULL, 'j' },
	};
	int option, index;

	for (size_t i = 0; i < ARRAY_SIZE(debug_actions); i++)
		options[2 + i] = (struct option){ debug_actions[i].name, debug_actions[i].has_value, NULL, 'a' };
	opterr = 0;
	optind = 0;
	while ((option = getopt_long(argc, argv, ":h", options, &index)) != -1) {
		if (option == 'h')
			return help_print("debug");
		if (option == 'j') {
			d->json = true;
			continue;
		}
		if (option != 'a') {
			log_error("option %s: unknown, or without its value\n`lkvm help debug` lists the options.",
				  argv[optind - 1]);
			return EXIT_LKVM;
		}
		if (d->action)
			return refuse_usage("one thing at a time");
		d->action = &debug_actions[index - 2];
		d->value = optarg;
	}
	return take_debug_names(d, argv + optind, argc - optind);
}

static int find_vm(struct registry_vm *vm, struct registry *registry, const char *name)
{
	int rc = registry_open(registry, false);
	char text[LOG_NAME_BYTES];

	if (rc && rc != -ENOENT) {
		log_error("debug: %s: %s", registry->path, strerror(-rc));
		return rc;
	}
	rc = rc ? rc : registry_find(vm, registry, name);
	if (rc)
		log_error("%s: no such VM\n`lkvm list` shows those that run.",
			  log_name(text, sizeof(text), name));
	return rc;
}

int cmd_debug(int argc, char **argv, uint64_t start_ns)
{
	struct debug d = { 0 };
	struct registry registry = REGISTRY_CLOSED;
	struct registry_vm vm;
	int status = take_debug_options(&d, argc, argv);

	(void)start_ns;
	if (status >= 0)
		return status;
	status = EXIT_LKVM;
	if (!find_vm(&vm, &registry, d.name)) {
		status = d.action->run(&vm, d.value);
		registry_forget(&vm);
	}
	registry_close(&registry);
	return status;
}
