// SPDX-License-Identifier: GPL-2.0-only
/*
 * A command in a VM: from options to what the machine is made of (cmd/run-command.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/option-values.h"
#include "cmd/run-command.h"
#include "log.h"
#include "machine.h"
#include "util.h"

#define DEFAULT_HOSTNAME "lkvm"
#define DEFAULT_RESULTS "/out"

bool run_command_is_wanted(const struct run_options *o)
{
	static const char *const roots[] = { "root", "init", "rdinit" };
	const struct command_options *c = &o->command;
	const struct machine_config *m = &o->machine;

	if (c->given || c->root || c->nr_dirs || c->out.host || c->nr_environment || c->directory ||
	    c->user)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(roots); i++)
		if (value_find_param(m->boot.user_cmdline, roots[i]))
			return false;
	return !m->boot.flat && !m->boot.nr_initrds && !m->nr_disks && !o->no_default_params;
}

/* ---- what the command finds ---- */

static int add_variable(struct run_command *c, const char *name, size_t name_bytes,
			const char *value)
{
	char *text;

	if (asprintf(&text, "%.*s=%s", (int)name_bytes, name, value) < 0)
		return log_enomem("command");
	c->variables[c->nr_variables++] = text;
	return 0;
}

/* NAME: as it is here, or not at all. */
static int add_given_variable(struct run_command *c, const char *given)
{
	const char *equals = strchr(given, '=');
	const char *value = equals ? equals + 1 : getenv(given);
	size_t bytes = equals ? (size_t)(equals - given) : strlen(given);

	if (value)
		return add_variable(c, given, bytes, value);
	c->variables[c->nr_variables] = strdup(given);
	return c->variables[c->nr_variables++] ? 0 : log_enomem("command");
}

static bool is_given(const struct command_options *o, const char *name)
{
	size_t len = strlen(name);

	for (unsigned int i = 0; i < o->nr_environment; i++)
		if (!strncmp(o->environment[i], name, len) && strchr("=", o->environment[i][len]))
			return true;
	return false;
}

/* PATH, HOME and USER are init's: they are the guest's. */
static int set_environment(struct run_command *c, const struct command_options *o)
{
	const char *term = getenv("TERM"), *lang = getenv("LANG");
	int rc = 0;

	if (!is_given(o, "TERM"))
		rc = add_variable(c, "TERM", 4, term ? term : "dumb");
	if (!rc && !is_given(o, "LANG"))
		rc = add_variable(c, "LANG", 4, lang ? lang : "C.UTF-8");
	for (unsigned int i = 0; i < o->nr_environment && !rc; i++)
		rc = add_given_variable(c, o->environment[i]);
	c->config.environment = (const char *const *)c->variables;
	c->config.nr_environment = c->nr_variables;
	return rc;
}

static bool has_terminal(const struct command_options *o)
{
	if (o->tty == TTY_AUTO)
		return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	return o->tty == TTY_ON;
}

static void set_directory(struct run_command *c, const struct command_options *o)
{
	c->config.directory = o->directory;
	c->config.directory_needed = o->directory != NULL;
	if (!o->directory && getcwd(c->current, sizeof(c->current)) && *c->current == '/')
		c->config.directory = c->current;
}

static void set_networks(struct run_command *c, const struct machine_config *m)
{
	for (unsigned int i = 0; i < m->nr_nets; i++) {
		const struct net_address *a = &m->nets[i].guest;
		struct protocol_network *n = &c->config.networks[c->config.nr_networks];

		if (!a->given)
			continue;
		*n = (struct protocol_network){ .prefix_bits = a->prefix_bits };
		memcpy(n->mac, m->nets[i].mac, sizeof(n->mac));
		memcpy(n->address, a->address, sizeof(n->address));
		memcpy(n->gateway, a->gateway, sizeof(n->gateway));
		memcpy(n->dns, a->dns, sizeof(n->dns));
		c->config.nr_networks++;
	}
}

/* ---- files ---- */

static void add_mount(struct run_command *c, const char *path, const char *serial)
{
	c->config.mounts[c->config.nr_mounts++] = (struct command_mount){
		.path = path, .serial = serial,
	};
}

static int set_files(struct run_command *c, struct run_options *o)
{
	(void)o;
	add_mount(c, "/", NULL);
	return 0;
}

static int check_command(const struct run_options *o)
{
	const struct command_options *c = &o->command;

	if (o->machine.boot.flat) {
		log_error("--flat: %s: it is no Linux, and runs no command", o->machine.boot.flat);
		return -EINVAL;
	}
	if (c->given && !c->nr_arguments) {
		log_error("--: no command follows\nwithout -- it is a shell.");
		return -EINVAL;
	}
	if (c->given && !*c->arguments[0]) {
		log_error("--: the command has an empty name");
		return -EINVAL;
	}
	return 0;
}

int run_command_prepare(struct run_command *c, struct run_options *o)
{
	const struct command_options *from = &o->command;
	struct command_config *config = &c->config;
	int rc = check_command(o);

	if (rc)
		return rc;
	config->arguments = from->arguments;
	config->nr_arguments = from->nr_arguments;
	config->user = from->user;
	config->hostname = o->name ? o->name : DEFAULT_HOSTNAME;
	config->results = !from->out.host ? NULL : from->out.guest ? from->out.guest : DEFAULT_RESULTS;
	config->terminal = has_terminal(from);
	set_directory(c, from);
	set_networks(c, &o->machine);
	rc = set_environment(c, from);
	if (!rc)
		rc = set_files(c, o);
	o->machine.command = config;
	o->machine.shows_log = o->verbose;
	return rc;
}

void run_command_fini(struct run_command *c)
{
	while (c->nr_variables)
		free(c->variables[--c->nr_variables]);
	for (unsigned int i = 0; i < OPTIONS_MAX_DIRS; i++)
		free(c->dir_paths[i]);
	if (c->initramfs_fd >= 0)
		close(c->initramfs_fd);
	if (c->in_fd >= 0)
		close(c->in_fd);
}

void run_command_report(const struct run_command *c, const struct command_result *result)
{
	if (result->end == COMMAND_NOT_STARTED)
		log_error("%s: %s", c->config.nr_arguments ? c->config.arguments[0] : "the shell",
			  strerror(result->value));
}
