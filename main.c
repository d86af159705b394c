// SPDX-License-Identifier: GPL-2.0-only
/*
 * lkvm: a small virtual machine monitor for Linux guests on x86-64 KVM.
 *
 * Finds the subcommand, runs it and returns its status; nothing else ends the
 * process.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "log.h"
#include "oci/runtime.h"
#include "tty.h"
#include "util.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv, uint64_t start_ns);
} commands[] = {
	{ "run", cmd_run },
	{ "list", cmd_control },
	{ "stop", cmd_control },
	{ "pause", cmd_control },
	{ "resume", cmd_control },
	{ "stat", cmd_control },
	{ "wait", cmd_control },
	{ "debug", cmd_debug },
	{ "console", cmd_console },
	{ "snapshot", cmd_snapshot },
	{ "exec", cmd_exec },
	{ "check", cmd_check },
	{ "kconfig", cmd_kconfig },
	{ "completion", cmd_completion },
	{ "version", cmd_version },
	{ "--version", cmd_version },
	{ "help", cmd_help },
	{ "--help", cmd_help },
	{ "-h", cmd_help },
};

static int main_dispatch(int argc, char **argv, uint64_t start_ns)
{
	if (argc < 2) {
		log_error("no command\n`lkvm help` lists them.");
		return EXIT_LKVM;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1, start_ns);
	log_error("command: %s: unknown\n`lkvm help` lists them.", argv[1]);
	return EXIT_LKVM;
}

/* The same program by another name: a link. */
static bool is_oci_runtime(const char *name)
{
	const char *slash = name ? strrchr(name, '/') : NULL;

	return name && !strcmp(slash ? slash + 1 : name, "lkvm-oci");
}

int main(int argc, char **argv)
{
	uint64_t start_ns = now_ns();
	int status;

	tty_open_std_fds();
	log_init();
	signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of the write, no death */
	signal(SIGXFSZ, SIG_IGN); /* so is a file that may not grow any more */
	status = is_oci_runtime(argv[0]) ? oci_main(argc, argv) : main_dispatch(argc, argv, start_ns);
	if (fflush(stdout) && status == EXIT_OK)
		status = EXIT_LKVM;
	return status;
}
