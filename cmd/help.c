// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm help` and `lkvm version`: text on stdout. What `lkvm help run` says of options is their
 * table's.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/options.h"
#include "log.h"
#include "util.h"

#define HELP_COLUMN 24
#define HELP_WIDTH  94

static const char overview[] =
	"usage: lkvm run [options] -- COMMAND  run it in a fresh virtual machine; its status is ours\n"
	"       lkvm run [options] [KERNEL]    boot a virtual machine, or a shell in one\n"
	"       lkvm list [--json] [-q]        the virtual machines that run\n"
	"       lkvm stop NAME...|--all        asks them to end, then ends them\n"
	"       lkvm pause|resume NAME...      stops their CPUs; lets them go on\n"
	"       lkvm stat NAME [--watch]       what its CPUs and devices have done\n"
	"       lkvm wait NAME                 waits for its end, and ends with its exit status\n"
	"       lkvm debug NAME --WHAT         its registers, its memory; gdb; NMI and SysRq\n"
	"       lkvm console NAME [--log]      its console on this terminal; what it has shown\n"
	"       lkvm snapshot NAME DIR         saves it, to go on from by lkvm run --restore DIR\n"
	"       lkvm exec [-it] NAME -- COMMAND  one more command in a virtual machine that runs one\n"
	"       lkvm check [--json]            can this host run one? finds out by trying\n"
	"       lkvm kconfig                   what the kernel of a guest needs\n"
	"       lkvm completion SHELL          completion of this in bash, zsh or fish\n"
	"       lkvm version | help [COMMAND]\n";

static const char help_run[] =
	"usage: lkvm run [options] [KERNEL] -- COMMAND [ARG...]\n"
	"       lkvm run [options] [KERNEL]\n"
	"\n"
	"Runs COMMAND in a fresh virtual machine, with files of this host: its output and its status\n"
	"are lkvm's. Without COMMAND, and with nothing else to boot from, it is a shell. Otherwise boots\n"
	"KERNEL; its console is this terminal (Ctrl-A x quits).\n";

/* Between the two: the options. */
static const char help_run_end[] =
	"\n"
	"exit status\n"
	"  0    the guest powered off or rebooted; a COMMAND's own status is lkvm's\n"
	"  124  --timeout expired\n"
	"  125  lkvm failed: usage, no /dev/kvm, bad kernel\n"
	"  126, 127  COMMAND cannot be executed, is not there\n"
	"  255  the guest was lost: panic, triple fault, KVM error, a reset without a shutdown\n"
	"  128+n  ended by signal n (130 for Ctrl-A x)\n";

static const char help_list[] =
	"usage: lkvm list [--json] [-q]\n"
	"\n"
	"Lists your virtual machines that run. One that does not answer within a second has\n"
	"the state \"?\". -q, --quiet: names only.\n";

static const char help_stop[] =
	"usage: lkvm stop NAME... [--timeout SECONDS] [--force]\n"
	"       lkvm stop --all [--timeout SECONDS] [--force]\n"
	"\n"
	"Asks virtual machines to switch themselves off, by their power button; one that runs\n"
	"a command ends that with SIGTERM. Returns when they are gone. What still runs after\n"
	"SECONDS (10) is ended, by SIGTERM to lkvm and later SIGKILL. --force: at once.\n"
	"Exit status: 0 they are gone, 1 one is not, 125 usage or no such VM.\n";

static const char help_pause[] =
	"usage: lkvm pause NAME...\n"
	"\n"
	"Stops the CPUs of virtual machines, and returns when their disks are at rest. lkvm resume\n"
	"lets them go on, lkvm stop ends them.\n"
	"Exit status: 0 they are paused, 1 one is not and runs on, 125 usage or no such VM.\n";

static const char help_resume[] =
	"usage: lkvm resume NAME...\n"
	"\n"
	"Lets virtual machines go on that were paused. No time has passed for them.\n";

static const char help_stat[] =
	"usage: lkvm stat NAME [--json] [--watch]\n"
	"\n"
	"Shows what a virtual machine's CPUs and devices have done: CPU time, exits by their kind,\n"
	"requests, bytes to the guest (in) and from it (out), errors, and how much of its memory is\n"
	"in use. --watch: every two seconds, until it is gone.\n"
	"Exit status: 0, 1 it does not answer, 125 usage or no such VM.\n";

static const char help_wait[] =
	"usage: lkvm wait NAME\n"
	"\n"
	"Waits until the virtual machine is gone. Exit status: that of its lkvm run; 1 if it was\n"
	"killed and had no time to tell, 125 if there is no such VM.\n";

static const char help_debug[] =
	"usage: lkvm debug NAME --WHAT\n"
	"\n"
	"Looks into a virtual machine that runs.\n"
	"\n"
	"  --regs [--json]        the registers of all CPUs, which stand for that moment\n"
	"  --nmi [CPU]            an NMI for that CPU, or for each\n"
	"  --sysrq KEY            a SysRq, typed on the kernel's console: h lists them\n"
	"  --dump FILE            a vmcore: an ELF core file that drgn, crash and makedumpfile\n"
	"                         read. Its CPUs stand meanwhile. A file that is there is only\n"
	"                         replaced if it is a core file\n"
	"  --gdb [[ADDR:]PORT]    gdb, on stdin and stdout; with PORT it connects to 127.0.0.1:PORT\n"
	"                         or ADDR:PORT. Only for lkvm run --gdb. In gdb:\n"
	"                         target remote | lkvm debug NAME --gdb\n"
	"\n"
	"Exit status: 0 done, 1 it could not be done to this VM, 125 usage, no such VM or no such file.\n";

static const char help_console[] =
	"usage: lkvm console NAME [--log]\n"
	"\n"
	"Shows the console of a virtual machine that runs: its last 64 KiB, and what comes. Many may look;\n"
	"the first of them types, unless its COMMAND has no terminal. Ctrl-A d leaves, Ctrl-A x ends the\n"
	"virtual machine, Ctrl-A ? lists the keys. --log: what has come until now.\n"
	"Exit status: 0; 1 it could not be done to this VM, 125 usage or no such VM.\n";
static const char help_snapshot[] =
	"usage: lkvm snapshot NAME DIR [--stop]\n"
	"\n"
	"Saves a virtual machine in DIR, from which lkvm run --restore DIR goes on, as often as you like and\n"
	"at once. It stands still meanwhile. --stop: it ends with it. The file has all of the guest's memory,\n"
	"with its secrets, and not its disks. One that is there is replaced when the new one is complete.\n"
	"Exit status: 0 done, 1 it could not be done to this VM, which runs on, 125 usage or no such VM.\n";

static const char help_exec[] =
	"usage: lkvm exec [-it] [-e NAME[=VALUE]] [-w DIR] [-u USER[:GROUP]] NAME -- COMMAND [ARG...]\n"
	"\n"
	"Runs one more command in a virtual machine that was started with a COMMAND or as a shell.\n"
	"  -i, --interactive  it reads our stdin (otherwise nothing)\n"
	"  -t, --tty          it gets a terminal\n"
	"  -e, --env          a variable of its environment; NAME alone: as it is here\n"
	"  -w, --workdir      where it starts\n"
	"  -u, --user         who runs it (default root)\n"
	"Exit status: COMMAND's, as of lkvm run; 255 the virtual machine has ended before, 1 it could not be\n"
	"done to this VM, 125 usage or no such VM.\n";

static const char help_check[] =
	"usage: lkvm check [--json]\n"
	"\n"
	"Opens /dev/kvm and runs a tiny guest for each question that matters; tries each\n"
	"layer of the sandbox.\n"
	"Exit status: 0 stock kernels will run, 1 only small guests will, 125 none will.\n";

static const char help_kconfig[] =
	"usage: lkvm kconfig\n"
	"\n"
	"Prints the kernel options that a command in a VM needs, for a kernel that you build:\n"
	"  lkvm kconfig >lkvm.config\n"
	"  scripts/kconfig/merge_config.sh .config lkvm.config\n"
	"Modules are as good as =y; lkvm finds them in the tree.\n";

static const char help_completion[] =
	"usage: lkvm completion bash|zsh|fish\n"
	"\n"
	"Prints what makes that shell complete lkvm's command line; \"make install\" puts it where\n"
	"they look for it (bash: with bash-completion). Elsewhere, in bash and zsh:\n"
	"  . <(lkvm completion bash)\n"
	"and in fish: lkvm completion fish | source\n";

static const char help_version[] = "usage: lkvm version\n";
static const char help_help[] = "usage: lkvm help [COMMAND]\n";

static const struct {
	const char *command, *text;
} pages[] = {
	{ "run", help_run },
	{ "list", help_list },
	{ "stop", help_stop },
	{ "pause", help_pause },
	{ "resume", help_resume },
	{ "stat", help_stat },
	{ "wait", help_wait },
	{ "debug", help_debug },
	{ "console", help_console },
	{ "snapshot", help_snapshot },
	{ "exec", help_exec },
	{ "check", help_check },
	{ "kconfig", help_kconfig },
	{ "completion", help_completion },
	{ "version", help_version },
	{ "help", help_help },
};

/* @text in the column of the explanations, the first line of it behind @used characters. */
static void print_explanation(const char *text, int used)
{
	size_t len = strcspn(text, "\n");

	if (used + 2 <= HELP_COLUMN)
		printf("%*s", HELP_COLUMN - used, "");
	else if (used + 2 + (int)len <= HELP_WIDTH)
		printf("  ");
	else
		printf("\n%*s", HELP_COLUMN, "");
	for (; printf("%.*s\n", (int)len, text), text[len]; len = strcspn(text, "\n")) {
		text += len + 1;
		printf("%*s", HELP_COLUMN, "");
	}
}

static void print_option(const struct option_row *row)
{
	const char *argument = row->argument ? row->argument : "";
	char letter[] = { '-', row->letter, ',', '\0' };
	int used = printf("  %3s --%s%s%s", row->letter ? letter : "", row->name,
			  *argument ? " " : "", argument);

	print_explanation(row->help, used);
}

static void print_options(void)
{
	static const char *const titles[] = {
		[GROUP_BOOT] = "what to boot",
		[GROUP_COMMAND] = "a command in it",
		[GROUP_MACHINE] = "the machine",
		[GROUP_RUN] = "how to run it",
	};
	size_t nr;
	const struct option_row *rows = options_table(&nr);

	for (size_t i = 0; i < nr; i++) {
		if (!i || rows[i].group != rows[i - 1].group)
			printf("\n%s\n", titles[rows[i].group]);
		print_option(&rows[i]);
	}
}

int help_print(const char *command)
{
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		if (strcmp(pages[i].command, command))
			continue;
		fputs(pages[i].text, stdout);
		if (pages[i].text == help_run) {
			print_options();
			fputs(help_run_end, stdout);
		}
		return EXIT_OK;
	}
	log_error("help: %s: no such command\n`lkvm help` lists them.", command);
	return EXIT_LKVM;
}

void help_list_commands(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		printf("%s%s", i ? " " : "", pages[i].command);
}

int help_check_arguments(int argc, char **argv, const char *command, const char *flag, bool *given)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help"))
			return help_print(command);
		if (flag && !strcmp(argv[i], flag)) {
			*given = true;
			continue;
		}
		if (argv[i][0] == '-' && argv[i][1])
			log_error("option %s: unknown\n`lkvm help %s` lists the options.", argv[i], command);
		else
			log_error("argument: %s: unexpected\n`lkvm help %s` tells more.", argv[i], command);
		return EXIT_LKVM;
	}
	return -1;
}

/* `lkvm help COMMAND`: what follows COMMAND is checked, COMMAND by help_print(). */
int cmd_help(int argc, char **argv, uint64_t start_ns)
{
	bool named = argc > 1 && argv[1][0] != '-';
	int status = help_check_arguments(argc - named, argv + named, "help", NULL, NULL);

	(void)start_ns;
	if (status >= 0)
		return status;
	if (named)
		return help_print(argv[1]);
	fputs(overview, stdout);
	return EXIT_OK;
}

int cmd_version(int argc, char **argv, uint64_t start_ns)
{
	int status = help_check_arguments(argc, argv, "version", NULL, NULL);

	(void)start_ns;
	if (status >= 0)
		return status;
	puts("lkvm " LKVM_VERSION);
	return EXIT_OK;
}
