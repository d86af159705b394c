// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm completion bash`: the shell's completion of our command line, on stdout.
 *
 * Made from the table of options: what follows an option is completed as its argument says.
 * "make install" puts it where bash-completion finds it.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/options.h"
#include "log.h"

static const char script_start[] =
"# Completion of lkvm's command line in bash; printed by \"lkvm completion bash\".\n"
"_lkvm_reply()\n"
"{\n"
"	case \" $* \" in *\" -f \"* | *\" -d \"*) compopt -o filenames 2>/dev/null ;; esac\n"
"	mapfile -t COMPREPLY < <(compgen \"$@\" -- \"$cur\")\n"
"}\n"
"\n"
"_lkvm_run()\n"
"{\n"
"	case $option in\n";

static const char script_end[] =
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
"	*:run) _lkvm_run ;;\n"
"	*:list) _lkvm_reply -W \"--json -q --quiet -h --help\" ;;\n"
"	*:stop) _lkvm_reply -W \"--all --timeout --force -h --help\" ;;\n"
"	*:check) _lkvm_reply -W \"--json -h --help\" ;;\n"
"	2:completion) _lkvm_reply -W bash ;;\n"
"	esac\n"
"}\n"
"\n"
"complete -F _lkvm lkvm\n";

static bool is_word(const char *text, size_t len)
{
	while (len && islower((unsigned char)text[len - 1]))
		len--;
	return !len;
}

/* compgen's arguments for what "FILE[,ro]", "DIR|off", "on|off|RATE" or "N" allow. */
static void print_actions(const char *argument)
{
	char between = '"';

	if (!strncmp(argument, "FILE", 4))
		printf(" -f");
	if (!strncmp(argument, "DIR", 3))
		printf(" -d");
	/* Behind a "NAME=" none of them stands alone. */
	for (const char *p = strchr(argument, '=') ? "" : argument; *p; ) {
		size_t len = strcspn(p, "|");

		if (is_word(p, len)) {
			printf("%s%c%.*s", between == '"' ? " -W " : "", between, (int)len, p);
			between = ' ';
		}
		p += len + (p[len] == '|');
	}
	if (between == ' ')
		printf("\"");
}

/* After an option that has an argument. */
static void print_argument(const struct option_row *row)
{
	printf("\t--%s", row->name);
	if (row->letter)
		printf(" | -%c", row->letter);
	printf(") _lkvm_reply");
	print_actions(row->argument);
	printf(" ;;\n");
}

static void print_script(void)
{
	size_t nr;
	const struct option_row *rows = options_table(&nr);

	fputs(script_start, stdout);
	for (size_t i = 0; i < nr; i++)
		if (rows[i].argument)
			print_argument(&rows[i]);
	printf("\t*)\n\t\tcase $cur in\n\t\t-*) _lkvm_reply -W \"");
	for (size_t i = 0; i < nr; i++) {
		if (rows[i].letter)
			printf("-%c ", rows[i].letter);
		printf("--%s%s", rows[i].name, i + 1 < nr ? " " : "");
	}
	printf("\" ;;\n\t\t*) _lkvm_reply -f ;;\n\t\tesac ;;\n");
	fputs(script_end, stdout);
	printf("_lkvm_commands=\"");
	help_list_commands();
	printf("\"\n");
}

int cmd_completion(int argc, char **argv, uint64_t start_ns)
{
	bool bash = argc > 1 && !strcmp(argv[1], "bash");
	int status = help_check_arguments(argc - bash, argv + bash, "completion", NULL, NULL);

	(void)start_ns;
	if (status >= 0)
		return status;
	if (!bash) {
		log_error("completion: for which shell?\nthere is one for bash: lkvm completion bash");
		return EXIT_LKVM;
	}
	print_script();
	return EXIT_OK;
}
