// SPDX-License-Identifier: GPL-2.0-only
/*
 * The commands about VMs that run: `lkvm list`, `stop`, `pause`, `resume`, `stat`,
 * `wait`.
 *
 * One table says which options each takes. They find VMs in the registry and ask them by their
 * sockets; what a VM answers is not believed further than it can be shown. A process is ended only
 * if the host's kernel says that it has the VM's lock, since a VM that was taken over could name
 * another.
 *
 * Sources: pidfd_open(2), pidfd_send_signal(2), /proc/locks in proc(5).
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/option-values.h"
#include "cmd/stat.h"
#include "control/client.h"
#include "control/json.h"
#include "control/registry.h"
#include "log.h"
#include "util.h"

#define ANSWER_NS 1000000000ull	 /* for all VMs together */
#define PAUSE_NS  10000000000ull /* a VM may take MACHINE_PAUSE_NS */
#define STAT_NS	  3000000000ull	 /* for all that it has */
#define WATCH_NS  2000000000ull
#define STOP_NS	  10000000000ull /* the default of stop --timeout */
#define AGAIN_NS  300000000ull	 /* with --grace, the first SIGTERM only asks */
#define END_NS	  12000000000ull /* for a VM that was sent SIGTERM: disks may take 10 s */
#define KILLED_NS 3000000000ull	 /* ... SIGKILL */

enum {
	OPTION_JSON = 1,
	OPTION_QUIET = 2,
	OPTION_ALL = 4,
	OPTION_FORCE = 8,
	OPTION_TIMEOUT = 16,
	OPTION_WATCH = 32,
};

/* What a command is to do, and to which VMs. */
struct control {
	unsigned int given; /* OPTION_* */
	uint64_t timeout_ns;
	struct registry registry;
	unsigned int nr;
	struct registry_vm *vms;
	struct client *clients; /* one each, once they are asked */
	int status;
};

/* ---- asking ---- */

/* All of them at once. False without memory, after a message. */
static bool control_ask(struct control *c, const char *request, uint64_t patience_ns)
{
	c->clients = calloc(c->nr ? c->nr : 1, sizeof(*c->clients));
	if (!c->clients) {
		log_enomem("control");
		c->status = EXIT_LKVM;
		return false;
	}
	for (unsigned int i = 0; i < c->nr; i++)
		client_init(&c->clients[i], c->vms[i].socket_path, request);
	client_ask(c->clients, c->nr, now_ns() + patience_ns);
	return true;
}

/* ---- list ---- */

/* A word of an answer in a column, or "?". */
static const char *word_of(const struct client *c, const char *name)
{
	const char *text = c->answered ? json_get_string(&c->answer, name) : NULL;

	return text && registry_is_name(text) ? text : "?";
}

static const char *format_count(const struct client *c, const char *name, const char *unit,
				char text[24])
{
	uint64_t n;

	if (c->answered && json_get_count(&c->answer, name, &n))
		snprintf(text, 24, "%llu%s", (unsigned long long)n, unit);
	else
		strcpy(text, "?");
	return text;
}

static const char *format_uptime(const struct client *c, char text[32])
{
	uint64_t ms, s;

	if (!c->answered || !json_get_count(&c->answer, "uptime_ms", &ms))
		return "?";
	s = ms / 1000;
	if (s < 60)
		snprintf(text, 32, "%llus", (unsigned long long)s);
	else if (s < 3600)
		snprintf(text, 32, "%llum%02llus", (unsigned long long)(s / 60), (unsigned long long)(s % 60));
	else
		snprintf(text, 32, "%lluh%02llum", (unsigned long long)(s / 3600),
			 (unsigned long long)(s / 60 % 60));
	return text;
}

/* What runs in it: its command, or else its kernel, or what it goes on from. */
static const char *what_runs(const struct client *c)
{
	static const char *const names[] = { "command", "kernel", "parent" };

	for (size_t i = 0; i < ARRAY_SIZE(names) && c->answered; i++) {
		const char *text = json_get_string(&c->answer, names[i]);

		if (text && *text)
			return text;
	}
	return "?";
}

static void print_table(const struct control *c)
{
	int width = 4;

	for (unsigned int i = 0; i < c->nr; i++)
		if ((int)strlen(c->vms[i].name) > width)
			width = (int)strlen(c->vms[i].name);
	printf("%-*s %7s %-8s %4s %6s %7s %s\n", width, "NAME", "PID", "STATE", "CPUS", "MEM", "UPTIME",
	       "KERNEL/COMMAND");
	for (unsigned int i = 0; i < c->nr; i++) {
		const struct client *k = &c->clients[i];
		char cpus[24], mem[24], uptime[32], what[LOG_NAME_BYTES];

		printf("%-*s %7d %-8s %4s %6s %7s %s\n", width, c->vms[i].name, c->vms[i].pid,
		       word_of(k, "state"), format_count(k, "cpus", "", cpus),
		       format_count(k, "mem_mib", "M", mem), format_uptime(k, uptime),
		       log_name(what, sizeof(what), what_runs(k)));
	}
}

static void print_json_count(const struct client *c, const char *name)
{
	uint64_t n;

	if (c->answered && json_get_count(&c->answer, name, &n))
		printf(",\"%s\":%llu", name, (unsigned long long)n);
	else
		printf(",\"%s\":null", name);
}

static void print_json_string(const struct client *c, const char *name)
{
	const char *text = c->answered ? json_get_string(&c->answer, name) : NULL;

	printf(",\"%s\":", name);
	if (text)
		json_string(stdout, text);
	else
		fputs("null", stdout);
}

static void print_vms_json(const struct control *c)
{
	fputs("{\"v\":1,\"vms\":[", stdout);
	for (unsigned int i = 0; i < c->nr; i++) {
		const struct client *k = &c->clients[i];

		printf("%s{\"name\":\"%s\",\"pid\":%d,\"state\":\"%s\"", i ? "," : "", c->vms[i].name,
		       c->vms[i].pid, word_of(k, "state"));
		print_json_count(k, "cpus");
		print_json_count(k, "mem_mib");
		print_json_count(k, "uptime_ms");
		print_json_string(k, "kernel");
		print_json_string(k, "command");
		print_json_string(k, "parent");
		putchar('}');
	}
	fputs("]}\n", stdout);
}

static void control_list(struct control *c)
{
	if (c->given & OPTION_QUIET) {
		for (unsigned int i = 0; i < c->nr; i++)
			puts(c->vms[i].name);
	} else if (control_ask(c, "{\"v\":1,\"do\":\"status\"}\n", ANSWER_NS)) {
		if (c->given & OPTION_JSON)
			print_vms_json(c);
		else
			print_table(c);
	}
}

/* ---- stop ---- */

/* Of a line of /proc/locks: does process @pid have the lock of file @ino as its owner. */
static bool is_owners_line(const char *line, pid_t pid, ino_t ino)
{
	unsigned long long file;
	int owner;

	return sscanf(line, "%*u: FLOCK %*s WRITE %d %*x:%*x:%llu", &owner, &file) == 2 &&
	       owner == pid && file == ino;
}

static bool owns_lock(const struct registry_vm *vm)
{
	FILE *locks = fopen("/proc/locks", "re");
	struct stat st;
	char line[256];
	bool owns = false;

	if (!locks)
		return false;
	if (!fstat(vm->lock, &st))
		while (!owns && fgets(line, sizeof(line), locks))
			owns = is_owners_line(line, vm->pid, st.st_ino);
	fclose(locks);
	return owns;
}

/* The process that was started, as long as it is that one: who is dead owns no lock. -1: none. */
static int open_owner(const struct registry_vm *vm)
{
	int fd = vm->pid > 0 ? (int)syscall(SYS_pidfd_open, vm->pid, 0) : -1;

	if (fd >= 0 && !owns_lock(vm)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* By the signals that end lkvm, one after the other. True if it is gone. */
static bool end_vm(const struct registry_vm *vm)
{
	const struct {
		int signal;
		uint64_t patience_ns;
	} means[] = { { SIGTERM, AGAIN_NS }, { SIGTERM, END_NS }, { SIGKILL, KILLED_NS } };
	int owner = open_owner(vm);
	bool gone = registry_wait(vm, 1);

	for (size_t i = 0; i < ARRAY_SIZE(means) && owner >= 0 && !gone; i++) {
		syscall(SYS_pidfd_send_signal, owner, means[i].signal, NULL, 0);
		gone = registry_wait(vm, now_ns() + means[i].patience_ns);
	}
	if (owner >= 0)
		close(owner);
	return gone;
}

/* What of a guest was asked to end; "": it does not answer. */
static const char *what_was_asked(const struct client *k)
{
	const char *asked = k->answered ? json_get_string(&k->answer, "asked") : NULL;

	return asked ? asked : "";
}

/* Why a VM is ended that was asked to end by itself. */
static void tell_unheard(const struct control *c, const struct registry_vm *vm, const char *asked)
{
	const double seconds = (double)c->timeout_ns / 1e9;

	if (!strcmp(asked, "nobody"))
		log_notice("stop: %s: it cannot be asked to switch itself off (--acpi off): it is ended",
			   vm->name);
	else if (!strcmp(asked, "command"))
		log_notice("stop: %s: its command did not end by SIGTERM within %g s: it is ended",
			   vm->name, seconds);
	else if (!strcmp(asked, "button"))
		log_notice("stop: %s: it did not switch itself off within %g s: it is ended\n"
			   "its kernel needs the power button's driver (CONFIG_ACPI_BUTTON), and "
			   "somebody who listens (systemd-logind, acpid).",
			   vm->name, seconds);
	else if (!strcmp(asked, "ending"))
		log_notice("stop: %s: it has not come to its end within %g s: it is ended", vm->name,
			   seconds);
	else
		log_notice("stop: %s: it does not answer: it is ended", vm->name);
}

/* True if it is gone. */
static bool stop_vm(const struct control *c, unsigned int i, uint64_t deadline)
{
	const bool asks = c->clients != NULL;
	const char *asked = asks ? what_was_asked(&c->clients[i]) : "";
	const bool waits = asks && strcmp(asked, "nobody") != 0;

	if (registry_wait(&c->vms[i], waits ? deadline : 1))
		return true;
	if (asks)
		tell_unheard(c, &c->vms[i], asked);
	return end_vm(&c->vms[i]);
}

static void control_stop(struct control *c)
{
	const uint64_t deadline = now_ns() + c->timeout_ns;

	if (!(c->given & OPTION_FORCE) && !control_ask(c, "{\"v\":1,\"do\":\"stop\"}\n", ANSWER_NS))
		return;
	for (unsigned int i = 0; i < c->nr; i++) {
		if (stop_vm(c, i, deadline))
			continue;
		log_error("stop: %s: it does not end\nits process is %d.", c->vms[i].name, c->vms[i].pid);
		c->status = EXIT_NOT_DONE;
	}
}

/* ---- pause, resume ---- */

/* Each VM that has not done it is told of. */
static void expect_done(struct control *c, const char *what)
{
	for (unsigned int i = 0; i < c->nr; i++) {
		const struct client *k = &c->clients[i];
		const char *reason = k->answered ? json_get_string(&k->answer, "error") : NULL;
		char text[LOG_NAME_BYTES];

		if (k->answered && json_is_true(&k->answer, "ok"))
			continue;
		log_error("%s: %s: %s", what, c->vms[i].name,
			  reason ? log_name(text, sizeof(text), reason) : "it does not answer");
		c->status = EXIT_NOT_DONE;
	}
}

static void control_pause(struct control *c)
{
	if (control_ask(c, "{\"v\":1,\"do\":\"pause\"}\n", PAUSE_NS))
		expect_done(c, "pause");
}

static void control_resume(struct control *c)
{
	if (control_ask(c, "{\"v\":1,\"do\":\"resume\"}\n", ANSWER_NS))
		expect_done(c, "resume");
}

/* ---- stat ---- */

static void report_stat(struct control *c, int rc)
{
	const char *why = rc == -ETIMEDOUT ? "it does not answer" :
			  rc == -EPROTO	   ? "it gives answers that have no meaning" :
					     strerror(-rc);

	log_error("stat: %s: %s", c->vms[0].name, why);
	c->status = EXIT_NOT_DONE;
}

/* With --watch as long as it is there. */
static void control_stat(struct control *c)
{
	const struct registry_vm *vm = &c->vms[0];
	const bool watches = c->given & OPTION_WATCH;
	bool once = false;
	int rc;

	if (!c->nr)
		return;
	do {
		rc = stat_write(stdout, vm->name, vm->socket_path, c->given & OPTION_JSON, STAT_NS);
		fflush(stdout);
		once |= !rc;
	} while (!rc && watches && !ferror(stdout) && !registry_wait(vm, now_ns() + WATCH_NS));
	/* One that is watched may end at any time: first it does not answer, then it is gone. */
	if (rc && !(watches && once && registry_wait(vm, now_ns() + END_NS)))
		report_stat(c, rc);
}

/* ---- wait ---- */

static void control_wait(struct control *c)
{
	for (unsigned int i = 0; i < c->nr; i++) {
		int status = registry_wait(&c->vms[i], 0) ? registry_get_status(&c->vms[i]) : -1;

		if (status < 0) {
			log_error("wait: %s: it has ended without telling how\nits process was killed, perhaps.",
				  c->vms[i].name);
			status = EXIT_NOT_DONE;
		}
		c->status = status;
	}
}

/* ---- all ---- */

enum which {
	WHICH_ALL,
	WHICH_ONE,
	WHICH_SOME,
};

static const struct control_command {
	const char *name;
	unsigned int options;
	enum which which;
	void (*run)(struct control *c);
} control_commands[] = {
	{ "list", OPTION_JSON | OPTION_QUIET, WHICH_ALL, control_list },
	{ "stop", OPTION_ALL | OPTION_FORCE | OPTION_TIMEOUT, WHICH_SOME, control_stop },
	{ "pause", 0, WHICH_SOME, control_pause },
	{ "resume", 0, WHICH_SOME, control_resume },
	{ "stat", OPTION_JSON | OPTION_WATCH, WHICH_ONE, control_stat },
	{ "wait", 0, WHICH_ONE, control_wait },
};

static const struct option long_options[] = {
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "quiet", no_argument, NULL, OPTION_QUIET },
	{ "all", no_argument, NULL, OPTION_ALL },
	{ "force", no_argument, NULL, OPTION_FORCE },
	{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
	{ "watch", no_argument, NULL, OPTION_WATCH },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int refuse_option(const struct control_command *command, char **argv)
{
	log_error("option %s: unknown, or without its value\n`lkvm help %s` lists the options.",
		  argv[optind - 1], command->name);
	return EXIT_LKVM;
}

/* -1 to go on, or the exit status. Names are behind optind. */
static int take_options(struct control *c, const struct control_command *command, int argc,
			char **argv)
{
	int option;

	opterr = 0;
	optind = 0;
	while ((option = getopt_long(argc, argv, ":qh", long_options, NULL)) != -1) {
		if (option == 'h')
			return help_print(command->name);
		if (option == 'q')
			option = OPTION_QUIET;
		if (option == '?' || option == ':' || !(command->options & (unsigned int)option))
			return refuse_option(command, argv);
		if (option == OPTION_TIMEOUT && !value_seconds(optarg, &c->timeout_ns)) {
			log_error("--timeout: %s: must be a number of seconds greater than 0", optarg);
			return EXIT_LKVM;
		}
		c->given |= (unsigned int)option;
	}
	return -1;
}

static int check_names(const struct control *c, const struct control_command *command, int nr)
{
	if (command->which == WHICH_ALL || c->given & OPTION_ALL) {
		if (!nr)
			return -1;
		log_error("%s: names are too many\n`lkvm help %s` tells more.", command->name, command->name);
	} else {
		if (nr == 1 || (nr && command->which == WHICH_SOME))
			return -1;
		log_error("%s: needs the name of a VM\n`lkvm list` shows them.", command->name);
	}
	return EXIT_LKVM;
}

/* 0 or -errno; one that is not there is told of. */
static int add_vm(struct control *c, const char *name, bool must_run)
{
	struct registry_vm *vm = &c->vms[c->nr];
	char text[LOG_NAME_BYTES];
	int rc;

	for (unsigned int i = 0; i < c->nr; i++)
		if (!strcmp(c->vms[i].name, name))
			return 0;
	rc = registry_find(vm, &c->registry, name);
	if (rc && rc != -ENOENT)
		return rc;
	if (!rc) {
		c->nr++;
	} else if (must_run) {
		log_error("%s: no such VM\n`lkvm list` shows those that run.",
			  log_name(text, sizeof(text), name));
		c->status = EXIT_LKVM;
	}
	return 0;
}

/* Each VM takes two: its lock and its socket. */
static void allow_many_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Those that are named, or all there are. */
static int find_vms(struct control *c, char **named, unsigned int nr)
{
	char **names = NULL;
	int all = nr ? 0 : registry_list(&c->registry, &names), rc;

	if (all < 0)
		return all;
	allow_many_files();
	c->vms = calloc(nr + (unsigned int)all + 1, sizeof(*c->vms));
	rc = c->vms ? 0 : -ENOMEM;
	for (unsigned int i = 0; i < nr && !rc; i++)
		rc = add_vm(c, named[i], true);
	for (int i = 0; i < all; i++) {
		if (!rc)
			rc = add_vm(c, names[i], false);
		free(names[i]);
	}
	free(names);
	return rc;
}

static void control_fini(struct control *c)
{
	for (unsigned int i = 0; i < c->nr; i++) {
		registry_forget(&c->vms[i]);
		if (c->clients)
			client_fini(&c->clients[i]);
	}
	free(c->vms);
	free(c->clients);
	registry_close(&c->registry);
}

static int run_control(const struct control_command *command, struct control *c, char **named,
		       unsigned int nr)
{
	int rc = registry_open(&c->registry, false);

	/* Without the directory there is none. */
	if (!rc || (rc == -ENOENT && nr))
		rc = find_vms(c, named, nr);
	if (rc && rc != -ENOENT) {
		log_error("%s: %s: %s%s", command->name, c->registry.path, strerror(-rc),
			  rc == -EPERM ? "\nit has to be your own directory, with mode 0700." : "");
		return EXIT_LKVM;
	}
	command->run(c);
	return c->status;
}

int cmd_control(int argc, char **argv, uint64_t start_ns)
{
	const struct control_command *command = control_commands;
	struct control c = { .timeout_ns = STOP_NS, .registry = REGISTRY_CLOSED, .status = EXIT_OK };
	int status;

	(void)start_ns;
	while (strcmp(command->name, argv[0]))
		command++; /* main.c has these names, too */
	status = take_options(&c, command, argc, argv);
	if (status < 0)
		status = check_names(&c, command, argc - optind);
	if (status >= 0)
		return status;
	status = run_control(command, &c, argv + optind, (unsigned int)(argc - optind));
	control_fini(&c);
	return status;
}
