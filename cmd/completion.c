// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm completion bash|zsh|fish`: the shell's completion of our command line, on stdout.
 *
 * Made from the table of options: what follows an option is completed as its argument says, and what
 * follows "--" as a command of its own. "make install" puts each where its shell finds it.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/options.h"
#include "log.h"
#include "util.h"

/*
 * Those about VMs that run, whose names complete them: their options, and the one with a file behind it;
 * "/": a directory stands behind the name.
 */
static const struct {
	const char *name, *options, *file;
} vm_commands[] = {
	{ "stop", " --all --timeout --force", NULL },
	{ "pause", "", NULL },
	{ "resume", "", NULL },
	{ "wait", "", NULL },
	{ "stat", " --json --watch", NULL },
	{ "console", " --log", NULL },
	{ "debug", " --regs --json --nmi --sysrq --dump --gdb", "--dump" },
	{ "snapshot", " --stop", "/" },
	{ "exec", " -i --interactive -t --tty -e --env -w --workdir -u --user", NULL },
};

/* ---- what an argument may be ---- */

static bool is_file(const char *argument)
{
	return !strncmp(argument, "FILE", 4) || strstr(argument, "|FILE");
}

static bool is_folder(const char *argument)
{
	return !strncmp(argument, "DIR", 3) && !is_file(argument);
}

static bool is_word(const char *text, size_t len)
{
	while (len && islower((unsigned char)text[len - 1]))
		len--;
	return !len;
}

/* The words of "DIR|off" or "on|off|RATE", each behind @before the first or @between. How many. */
static unsigned int print_words(const char *argument, const char *before, const char *between)
{
	unsigned int nr = 0;

	/* Behind a "NAME=" none of them stands alone. */
	for (const char *p = strchr(argument, '=') ? "" : argument; *p;) {
		size_t len = strcspn(p, "|");

		if (is_word(p, len))
			printf("%s%.*s", nr++ ? between : before, (int)len, p);
		p += len + (p[len] == '|');
	}
	return nr;
}

/*
 * What help says first, without quotes and brackets, which shells would take for their own;
 * @escaped: what a backslash has to stand before.
 */
static void print_description(const char *help, const char *escaped)
{
	size_t len = strcspn(help, ";(\n");
	const char *stop = strstr(help, ". ");

	if (stop && (size_t)(stop - help) < len)
		len = (size_t)(stop - help);
	while (len && strchr(" :.", help[len - 1]))
		len--;
	for (const char *p = help; p < help + len; p++)
		if (!strchr("[]'\\", *p))
			printf("%s%c", strchr(escaped, *p) ? "\\" : "", *p);
}

/* ---- bash ---- */

static const char bash_start[] =
	"# Completion of lkvm's command line in bash; printed by \"lkvm completion bash\".\n"
	"_lkvm_reply()\n"
	"{\n"
	"	case \" $* \" in *\" -f \"* | *\" -d \"*) compopt -o filenames 2>/dev/null ;; esac\n"
	"	mapfile -t COMPREPLY < <(compgen \"$@\" -- \"$cur\")\n"
	"}\n"
	"\n"
	"# Behind \"--\": a command, and what it is given.\n"
	"_lkvm_behind()\n"
	"{\n"
	"	local i\n"
	"\n"
	"	for ((i = 2; i < COMP_CWORD; i++)); do\n"
	"		[ \"${COMP_WORDS[i]}\" = -- ] || continue\n"
	"		if ((i == COMP_CWORD - 1)); then _lkvm_reply -c -f; else _lkvm_reply -f; fi\n"
	"		return 0\n"
	"	done\n"
	"	return 1\n"
	"}\n"
	"\n"
	"# The name of a VM that runs, or one of these options.\n"
	"_lkvm_vm()\n"
	"{\n"
	"	case $cur in\n"
	"	-*) _lkvm_reply -W \"$*\" ;;\n"
	"	*) _lkvm_reply -W \"$(\"${COMP_WORDS[0]}\" list -q 2>/dev/null)\" ;;\n"
	"	esac\n"
	"}\n"
	"\n"
	"_lkvm_run()\n"
	"{\n"
	"	_lkvm_behind && return\n"
	"	case $option in\n";

static const char bash_end[] =
	"	esac\n"
	"}\n"
	"\n"
	"_lkvm()\n"
	"{\n"
	"	local cur=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]}\n"
	"\n"
	"	COMPREPLY=()\n"
	"	# \"--option=value\" is three words to bash.\n"
	"	[ \"$cur\" != = ] || cur=\n"
	"	[ \"$option\" != = ] || option=${COMP_WORDS[COMP_CWORD - 2]}\n"
	"	case $COMP_CWORD:${COMP_WORDS[1]} in\n"
	"	1:* | 2:help) _lkvm_reply -W \"$_lkvm_commands\" ;;\n"
	"	*:run) _lkvm_run ;;\n";

/* Between these two: the commands about VMs. */
static const char bash_rest[] =
	"	*:list) _lkvm_reply -W \"--json -q --quiet -h --help\" ;;\n"
	"	*:check) _lkvm_reply -W \"--json -h --help\" ;;\n"
	"	2:completion) _lkvm_reply -W \"bash zsh fish\" ;;\n"
	"	esac\n"
	"}\n"
	"\n"
	"complete -F _lkvm lkvm\n";

/* After an option that has an argument. */
static void print_bash_argument(const struct option_row *row)
{
	printf("\t--%s", row->name);
	if (row->letter)
		printf(" | -%c", row->letter);
	printf(") _lkvm_reply%s%s", is_file(row->argument) ? " -f" : "",
	       is_folder(row->argument) ? " -d" : "");
	if (print_words(row->argument, " -W \"", " "))
		printf("\"");
	printf(" ;;\n");
}

static void print_bash_vm_command(const char *name, const char *options, const char *file)
{
	printf("\t*:%s) ", name);
	if (file && *file == '/')
		printf("if ((COMP_CWORD > 2)) && [[ $cur != -* ]]; then _lkvm_reply -d; else _lkvm_vm%s -h --help; fi",
		       options);
	else if (file)
		printf("if [ \"$option\" = %s ]; then _lkvm_reply -f; else _lkvm_vm%s -h --help; fi", file, options);
	else
		printf("_lkvm_behind || _lkvm_vm%s -h --help", options);
	printf(" ;;\n");
}

static void print_bash(const struct option_row *rows, size_t nr)
{
	fputs(bash_start, stdout);
	for (size_t i = 0; i < nr; i++)
		if (rows[i].argument)
			print_bash_argument(&rows[i]);
	printf("\t*)\n\t\tcase $cur in\n\t\t-*) _lkvm_reply -W \"");
	for (size_t i = 0; i < nr; i++) {
		if (rows[i].letter)
			printf("-%c ", rows[i].letter);
		printf("--%s%s", rows[i].name, i + 1 < nr ? " " : "");
	}
	printf("\" ;;\n\t\t*) _lkvm_reply -f ;;\n\t\tesac ;;\n");
	fputs(bash_end, stdout);
	for (size_t i = 0; i < ARRAY_SIZE(vm_commands); i++)
		print_bash_vm_command(vm_commands[i].name, vm_commands[i].options, vm_commands[i].file);
	fputs(bash_rest, stdout);
	printf("_lkvm_commands=\"");
	help_list_commands();
	printf("\"\n");
}

/* ---- zsh ---- */

static const char zsh_start[] =
	")\n"
	"\n"
	"_lkvm_value()\n"
	"{\n"
	"	case $1 in\n"
	"	-f) _files; shift ;;\n"
	"	-d) _files -/; shift ;;\n"
	"	esac\n"
	"	(( ! $# )) || compadd -- \"$@\"\n"
	"}\n"
	"\n"
	"_lkvm_vms()\n"
	"{\n"
	"	compadd -- ${(f)\"$(_call_program vms lkvm list -q 2>/dev/null)\"}\n"
	"}\n"
	"\n"
	"_lkvm_run()\n"
	"{\n"
	"	local i=${words[(i)--]}\n"
	"\n"
	"	# Behind \"--\": a command, and what it is given.\n"
	"	if (( i < CURRENT )); then\n"
	"		words=(\"${(@)words[i + 1, -1]}\")\n"
	"		(( CURRENT -= i ))\n"
	"		_normal\n"
	"		return\n"
	"	fi\n"
	"	_arguments -s -S";

static const char zsh_end[] =
	" \\\n"
	"		'1:kernel:_files'\n"
	"}\n"
	"\n"
	"_lkvm()\n"
	"{\n"
	"	local command=$words[2]\n"
	"\n"
	"	if (( CURRENT == 2 )); then\n"
	"		compadd -- $_lkvm_commands\n"
	"		return\n"
	"	fi\n"
	"	shift words\n"
	"	(( CURRENT-- ))\n"
	"	case $CURRENT:$command in\n"
	"	2:help) compadd -- $_lkvm_commands ;;\n"
	"	*:run) _lkvm_run ;;\n"
	"	*:list) _arguments --json -q --quiet -h --help ;;\n";

/* Between these two: the commands about VMs. */
static const char zsh_rest[] =
	"	*:check) _arguments --json -h --help ;;\n"
	"	2:completion) compadd -- bash zsh fish ;;\n"
	"	esac\n"
	"}\n"
	"\n"
	"# A file of fpath is called in its function's place; one that is sourced only defines.\n"
	"if [[ $funcstack[1] = _lkvm ]]; then _lkvm \"$@\"; else compdef _lkvm lkvm; fi\n";

static void print_zsh_option(const struct option_row *row, const char *option, const char *joint)
{
	printf(" \\\n\t\t'*%s%s[", option, row->argument ? joint : "");
	print_description(row->help, ":");
	printf("]");
	if (row->argument) {
		printf(":%s:{_lkvm_value%s", row->name,
		       is_file(row->argument)	? " -f" :
		       is_folder(row->argument) ? " -d" :
						  "");
		print_words(row->argument, " ", " ");
		printf("}");
	}
	printf("'");
}

static void print_zsh(const struct option_row *rows, size_t nr)
{
	char option[64];

	printf("#compdef lkvm\n"
	       "# Completion of lkvm's command line in zsh; printed by \"lkvm completion zsh\".\n"
	       "typeset -ga _lkvm_commands=(");
	help_list_commands();
	fputs(zsh_start, stdout);
	for (size_t i = 0; i < nr; i++) {
		if (rows[i].letter) {
			snprintf(option, sizeof(option), "-%c", rows[i].letter);
			print_zsh_option(&rows[i], option, "+");
		}
		snprintf(option, sizeof(option), "--%s", rows[i].name);
		print_zsh_option(&rows[i], option, "=");
	}
	fputs(zsh_end, stdout);
	for (size_t i = 0; i < ARRAY_SIZE(vm_commands); i++)
		printf("\t*:%s) _arguments%s -h --help '*:name:_lkvm_vms' ;;\n", vm_commands[i].name,
		       vm_commands[i].options);
	fputs(zsh_rest, stdout);
}

/* ---- fish ---- */

static const char fish_start[] =
	"# Completion of lkvm's command line in fish; printed by \"lkvm completion fish\".\n"
	"function __lkvm_words\n"
	"	commandline -opc\n"
	"end\n"
	"\n"
	"# lkvm's own words, up to \"--\", behind subcommand $argv[1].\n"
	"function __lkvm_is_in\n"
	"	set -l words (__lkvm_words)\n"
	"	test (count $words) -gt 1; and test \"$words[2]\" = $argv[1]; and not contains -- -- $words\n"
	"end\n"
	"\n"
	"function __lkvm_is_behind\n"
	"	set -l words (__lkvm_words)\n"
	"	test (count $words) -gt 2; and test \"$words[2]\" = run; and contains -- -- $words\n"
	"end\n"
	"\n"
	"# A command, and what it is given.\n"
	"function __lkvm_command\n"
	"	set -l words (__lkvm_words)\n"
	"	set -l at (contains -i -- -- $words)\n"
	"	complete -C (string join ' ' -- (string escape -- $words[(math $at + 1)..-1]) (commandline -ct))\n"
	"end\n"
	"\n"
	"complete -c lkvm -f\n"
	"complete -c lkvm -n __lkvm_is_behind -f -a '(__lkvm_command)'\n"
	"complete -c lkvm -n '__lkvm_is_in run' -F\n"
	"complete -c lkvm -n '__lkvm_is_in check' -l json -l help -s h\n"
	"complete -c lkvm -n '__lkvm_is_in completion' -a 'bash zsh fish'\n";

static void print_fish_argument(const char *argument)
{
	printf(" -r %s", is_file(argument) ? "-F" : "-f");
	printf(" -a '");
	print_words(argument, "", " ");
	printf("%s'", is_folder(argument) ? " (__fish_complete_directories (commandline -ct))" : "");
}

static void print_fish(const struct option_row *rows, size_t nr)
{
	fputs(fish_start, stdout);
	for (size_t i = 0; i < nr; i++) {
		printf("complete -c lkvm -n '__lkvm_is_in run' -l %s", rows[i].name);
		if (rows[i].letter)
			printf(" -s %c", rows[i].letter);
		if (rows[i].argument)
			print_fish_argument(rows[i].argument);
		printf(" -d '");
		print_description(rows[i].help, "");
		printf("'\n");
	}
	for (size_t i = 0; i < ARRAY_SIZE(vm_commands); i++)
		printf("complete -c lkvm -n '__lkvm_is_in %s' -a '(lkvm list -q 2>/dev/null)%s'\n",
		       vm_commands[i].name, vm_commands[i].options);
	printf("complete -c lkvm -n 'test (count (__lkvm_words)) = 1; or __lkvm_is_in help' -a '");
	help_list_commands();
	printf("'\n");
}

/* ---- the command ---- */

static const struct {
	const char *name;
	void (*print)(const struct option_row *rows, size_t nr);
} shells[] = { { "bash", print_bash }, { "zsh", print_zsh }, { "fish", print_fish } };

int cmd_completion(int argc, char **argv, uint64_t start_ns)
{
	size_t shell = 0, nr;
	const struct option_row *rows = options_table(&nr);
	bool named;
	int status;

	(void)start_ns;
	while (argc > 1 && shell < ARRAY_SIZE(shells) && strcmp(argv[1], shells[shell].name))
		shell++;
	named = argc > 1 && shell < ARRAY_SIZE(shells);
	status = help_check_arguments(argc - named, argv + named, "completion", NULL, NULL);
	if (status >= 0)
		return status;
	if (!named) {
		log_error("completion: for which shell?\nthere are bash, zsh and fish: lkvm completion bash");
		return EXIT_LKVM;
	}
	shells[shell].print(rows, nr);
	return EXIT_OK;
}
