/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The subcommands. Each gets its own argv (argv[0] is the subcommand's name)
 * and returns the process's exit status.
 */
#ifndef LKVM_CMD_CMD_H
#define LKVM_CMD_CMD_H

#include <stdbool.h>
#include <stdint.h>

#define LKVM_VERSION "0.2"

/* Exit statuses that users rely on; 128+n means: ended by signal n. */
#define EXIT_OK		    0	/* the guest powered off or rebooted cleanly */
#define EXIT_SMALL_ONLY	    1	/* `lkvm check`: stock kernels will not run here */
#define EXIT_NOT_DONE	    1	/* `lkvm stop` and the like: it could not be done to this VM */
#define EXIT_TIMEOUT	    124 /* --timeout expired */
#define EXIT_LKVM	    125 /* lkvm itself failed: usage, no /dev/kvm, bad kernel */
#define EXIT_NOT_EXECUTABLE 126 /* the command that the guest was to run */
#define EXIT_NOT_FOUND	    127
#define EXIT_LOST	    255 /* the guest was lost */
#define EXIT_SIGNAL(n)	    (128 + (n))

/* @start_ns: when the process started (CLOCK_MONOTONIC). */
int cmd_run(int argc, char **argv, uint64_t start_ns);
int cmd_control(int argc, char **argv, uint64_t start_ns); /* list, stop ...: argv[0] tells */
int cmd_snapshot(int argc, char **argv, uint64_t start_ns);
int cmd_debug(int argc, char **argv, uint64_t start_ns);
int cmd_console(int argc, char **argv, uint64_t start_ns);
int cmd_exec(int argc, char **argv, uint64_t start_ns);
int cmd_check(int argc, char **argv, uint64_t start_ns);
int cmd_kconfig(int argc, char **argv, uint64_t start_ns);
int cmd_version(int argc, char **argv, uint64_t start_ns);
int cmd_help(int argc, char **argv, uint64_t start_ns);
int cmd_completion(int argc, char **argv, uint64_t start_ns);

/* The page of @command. Exit status: EXIT_LKVM after a message if there is no such command. */
int help_print(const char *command);

/* The subcommands' names on stdout, separated by blanks. */
void help_list_commands(void);

/*
 * For a subcommand without options but @flag (NULL: none at all): sets *@given if it is there.
 * -1 to go on; otherwise the exit status, after the page of @command (-h, --help) or a message.
 */
int help_check_arguments(int argc, char **argv, const char *command, const char *flag, bool *given);

#endif
