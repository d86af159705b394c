// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command line of `lkvm run`, and the table of its options.
 *
 * getopt_long() splits the arguments; an option's row says where its value goes, or
 * which function checks it. Errors are one line that names the option, the value and
 * what would be right.
 */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/option-values.h"
#include "cmd/options.h"
#include "log.h"
#include "util.h"
#include "virtio/rng.h"
#include "x86/layout.h"

#define DEFAULT_RAM_BYTES MIB(512)
#define MAX_NAME_BYTES	  64u

/*
 * What rows name as set(): 0 or -errno. One that has said itself what is wrong leaves the reason
 * empty.
 */

static int bad(const char *option, const char *value, const char *reason)
{
	log_error("%s: %s: %s", option, value, reason);
	return -EINVAL;
}

/* A copy of @value, to be cut up, that lives as long as the options. NULL after a message. */
static char *keep(struct run_options *o, const char *value)
{
	char *text = strdup(value);

	assert(o->nr_texts < OPTIONS_MAX_TEXTS);
	if (text)
		o->texts[o->nr_texts++] = text;
	else
		log_enomem("options");
	return text;
}

static bool has_kernel(const struct run_options *o)
{
	return o->machine.boot.kernel || o->machine.boot.flat;
}

static int set_kernel(struct run_options *o, const char *value, struct value_error *why)
{
	(void)why;
	if (has_kernel(o))
		return bad("kernel", value, "a machine has only one kernel");
	o->machine.boot.kernel = value;
	return 0;
}

/* A file that is called like the whole value is meant, whatever follows its last @. */
static int set_flat(struct run_options *o, const char *value, struct value_error *why)
{
	struct boot_config *boot = &o->machine.boot;
	size_t name_bytes;
	char *name;
	int rc;

	if (has_kernel(o))
		return value_refuse(why, "a machine has only one kernel");
	boot->flat_address = LAYOUT_FLAT;
	rc = value_flat(value, !access(value, F_OK), &name_bytes, &boot->flat_address, why);
	if (rc)
		return rc;
	name = keep(o, value);
	if (!name)
		return -ENOMEM;
	name[name_bytes] = '\0';
	boot->flat = name;
	return 0;
}

static int options_add_initrd(struct run_options *o, const char *value, struct value_error *why)
{
	struct boot_config *boot = &o->machine.boot;

	if (boot->nr_initrds == BOOT_MAX_INITRDS)
		return value_refuse(why, "too many of them (16 at most)");
	boot->initrds[boot->nr_initrds++] = value;
	return 0;
}

static int add_params(struct run_options *o, const char *value, struct value_error *why)
{
	char *joined;

	(void)why;
	if (asprintf(&joined, "%s%s%s", o->params ? o->params : "", o->params ? " " : "",
		     value) < 0)
		return log_enomem("--params");
	free(o->params);
	o->params = joined;
	o->machine.boot.user_cmdline = joined;
	return 0;
}

static int set_cpus(struct run_options *o, const char *value, struct value_error *why)
{
	uint64_t n;

	if (!value_number(value, 1, MACHINE_MAX_CPUS, &n))
		return value_refuse(why, "must be a number from 1 to 255 (without interrupt remapping "
					 "Linux starts no more)");
	o->machine.board.cpus = (unsigned int)n;
	return 0;
}

static int set_mem(struct run_options *o, const char *value, struct value_error *why)
{
	uint64_t bytes = 0;
	int rc = value_size(value, MIB(1), &bytes);

	if (rc == -EINVAL)
		return value_refuse(why, "not a size (a number, with B, K, M, G or T; bare: MiB)");
	if (rc || bytes > 1ull << 46)
		return value_refuse(why, "more than any machine can address");
	if (bytes < MACHINE_MIN_RAM_BYTES)
		return value_refuse(why, "too small: a machine needs at least 2M");
	if (bytes % 4096)
		return value_refuse(why, "not a multiple of 4K");
	o->machine.boot.ram_bytes = bytes;
	return 0;
}

static int set_seconds(uint64_t *ns, const char *value, struct value_error *why)
{
	if (value_seconds(value, ns))
		return 0;
	return value_refuse(why, "must be a number of seconds greater than 0");
}

static int set_timeout(struct run_options *o, const char *value, struct value_error *why)
{
	return set_seconds(&o->machine.timeout_ns, value, why);
}

static int set_grace(struct run_options *o, const char *value, struct value_error *why)
{
	return set_seconds(&o->machine.grace_ns, value, why);
}

static int set_rng(struct run_options *o, const char *value, struct value_error *why)
{
	struct machine_config *m = &o->machine;

	m->board.rng_requested = m->board.rng = strcmp(value, "off") != 0;
	m->board.rng_rate = 0;
	if (!strcmp(value, "on") || !strcmp(value, "off"))
		return 0;
	if (value_size(value, 1, &m->board.rng_rate) || m->board.rng_rate < RNG_MIN_RATE || m->board.rng_rate > GIB(1))
		return value_refuse(why, "must be on, off or bytes per second from 64 to 1G");
	return 0;
}

static int set_name(struct run_options *o, const char *value, struct value_error *why)
{
	if (!value_is_name(value))
		return value_refuse(why, "only letters, digits, '-', '_' and '.'");
	if (*value == '-')
		return value_refuse(why, "must not begin as an option does");
	if (!*value || strlen(value) > MAX_NAME_BYTES)
		return value_refuse(why, "must have 1 to 64 characters");
	o->name = value;
	return 0;
}

static int add_disk(struct run_options *o, const char *value, struct value_error *why)
{
	struct machine_config *m = &o->machine;
	char *text;
	int rc;

	if (m->nr_disks == BOARD_MAX_VIRTIO)
		return value_refuse(why, "too many of them (31 at most)");
	text = keep(o, value);
	if (!text)
		return -ENOMEM;
	rc = value_disk(&m->disks[m->nr_disks], text, why);
	m->nr_disks += !rc;
	return rc;
}

/* Cards are numbered without those of mode=none, which are no cards. */
static int add_network(struct run_options *o, const char *value, struct value_error *why)
{
	struct machine_config *m = &o->machine;
	struct net_config net;
	char *text;
	int rc;

	if (m->nr_nets == BOARD_MAX_VIRTIO)
		return value_refuse(why, "too many of them (31 at most)");
	text = keep(o, value);
	if (!text)
		return -ENOMEM;
	rc = value_network(&net, text, why);
	if (!rc && net.mode == NET_MODE_NONE)
		free(o->texts[--o->nr_texts]);
	if (rc || net.mode == NET_MODE_NONE)
		return rc;
	net.name = o->net_names[m->nr_nets];
	snprintf(o->net_names[m->nr_nets], sizeof(o->net_names[0]), "net%u", m->nr_nets);
	m->nets[m->nr_nets++] = net;
	return 0;
}

static int add_port(struct run_options *o, const char *value, struct value_error *why)
{
	struct machine_config *m = &o->machine;
	struct port_config *port = &m->ports[m->nr_ports];
	char *text;
	int rc;

	if (m->nr_ports == CONSOLE_MAX_PORTS)
		return value_refuse(why, "too many of them (14 at most)");
	text = keep(o, value);
	if (!text)
		return -ENOMEM;
	rc = value_port(port, text, why);
	for (unsigned int i = 0; i < m->nr_ports && !rc; i++)
		if (!strcmp(m->ports[i].name, port->name))
			rc = value_refuse(why, "another port has that name");
	m->nr_ports += !rc;
	return rc;
}

static int set_root(struct run_options *o, const char *value, struct value_error *why)
{
	if (!*value)
		return value_refuse(why, "must be a directory, a tar archive or - (an archive on stdin)");
	o->command.root = value;
	return 0;
}

static int add_dir(struct run_options *o, const char *value, struct value_error *why)
{
	struct command_options *c = &o->command;
	char *text;
	int rc;

	if (c->nr_dirs == OPTIONS_MAX_DIRS)
		return value_refuse(why, "too many of them (%u at most)", OPTIONS_MAX_DIRS);
	text = keep(o, value);
	if (!text)
		return -ENOMEM;
	rc = value_dir(text, &c->dirs[c->nr_dirs].host, &c->dirs[c->nr_dirs].guest, why);
	c->nr_dirs += !rc;
	return rc;
}

static int set_out(struct run_options *o, const char *value, struct value_error *why)
{
	char *text;

	if (o->command.out.host)
		return value_refuse(why, "there is only one");
	text = keep(o, value);
	return text ? value_dir(text, &o->command.out.host, &o->command.out.guest, why) : -ENOMEM;
}

static int set_owner(struct run_options *o, const char *value, struct value_error *why)
{
	if (strcmp(value, "keep") && strcmp(value, "root"))
		return value_refuse(why, "must be keep or root");
	o->command.owner = *value == 'k' ? OWNER_KEEP : OWNER_ROOT;
	return 0;
}

static int set_warm(struct run_options *o, const char *value, struct value_error *why)
{
	if (value && strcmp(value, "strict") != 0)
		return value_refuse(why, "must be nothing or strict");
	o->warm = value ? WARM_STRICT : WARM_ON;
	return 0;
}

static int add_environment(struct run_options *o, const char *value, struct value_error *why)
{
	struct command_options *c = &o->command;

	if (!*value || *value == '=')
		return value_refuse(why, "must be NAME=VALUE, or NAME for the value it has here");
	if (c->nr_environment == OPTIONS_MAX_ENVIRONMENT)
		return value_refuse(why, "too many of them (%u at most)", OPTIONS_MAX_ENVIRONMENT);
	c->environment[c->nr_environment++] = value;
	return 0;
}

static int set_workdir(struct run_options *o, const char *value, struct value_error *why)
{
	if (*value != '/')
		return value_refuse(why, "must begin with a slash: it is a directory of the guest");
	o->command.directory = value;
	return 0;
}

static int set_user(struct run_options *o, const char *value, struct value_error *why)
{
	const char *colon = strchr(value, ':');

	if (!*value || colon == value || (colon && (!colon[1] || strchr(colon + 1, ':'))))
		return value_refuse(why, "must be USER or USER:GROUP, names or numbers");
	o->command.user = value;
	return 0;
}

static int set_kernel_cache(struct run_options *o, const char *value, struct value_error *why)
{
	struct boot_config *boot = &o->machine.boot;

	if (!*value)
		return value_refuse(why, "must be a folder or off");
	boot->use_cache = strcmp(value, "off") != 0;
	boot->cache_dir = boot->use_cache ? value : NULL;
	return 0;
}

static int set_modules(struct run_options *o, const char *value, struct value_error *why)
{
	if (!*value)
		return value_refuse(why, "must be a directory or off");
	o->command.modules = value;
	return 0;
}

#define FIELD(field)  offsetof(struct run_options, field), NULL
#define FLAG(field)   KIND_FLAG, FIELD(field)
#define FIRST(field)  KIND_FIRST, FIELD(field)
#define SECOND(field) KIND_SECOND, FIELD(field)
#define WORD(field)   KIND_WORD, FIELD(field)
#define STRING(field) KIND_STRING, FIELD(field)
#define VALUE(set)    KIND_VALUE, 0, set

static const struct option_row options[] = {
	{ "kernel", 'k', GROUP_BOOT, "FILE",
	  "bzImage, ELF vmlinux or unified kernel image (default:\n"
	  "arch/x86/boot/bzImage, bzImage,\n"
	  "../../arch/x86/boot/bzImage, /boot/vmlinuz-$(uname -r))",
	  VALUE(set_kernel) },
	{ "initrd", 'i', GROUP_BOOT, "FILE",
	  "may be repeated: concatenated in order",
	  VALUE(options_add_initrd) },
	{ "params", 'p', GROUP_BOOT, "STR",
	  "kernel parameters, after ours; may be repeated",
	  VALUE(add_params) },
	{ "restore", 0, GROUP_BOOT, "DIR",
	  "go on from a snapshot (lkvm snapshot), with disks, networks\n"
	  "and ports as they were given to the one it was made of",
	  STRING(restore) },
	{ "clock", 0, GROUP_BOOT, "sleep|keep",
	  "of a guest that is restored: as if it had slept, or as if no time\n"
	  "had gone by (default sleep)",
	  SECOND(machine.board.keeps_clock) },
	{ "disk", 'd', GROUP_BOOT,
	  "FILE[,ro][,cow][,direct][,discard=off][,format=raw|qcow2][,backing=on][,serial=S]",
	  "a disk, vda for the first; may be repeated. ro: read-only;\n"
	  "cow: writes go to a temporary file; discard=off: the guest cannot\n"
	  "make holes; a comma in FILE is written twice. The first, or its\n"
	  "only Linux partition, is the root file system, unless the\n"
	  "parameters say root=",
	  VALUE(add_disk) },
	{ "network", 'n', GROUP_BOOT, "mode=MODE[,KEY=VALUE]...",
	  "a network card; may be repeated\n"
	  "mode=tap[,tapif=NAME][,queues=N]: an interface of the host\n"
	  "  (ip tuntap add NAME mode tap user $USER)\n"
	  "mode=passt[,publish=[IP:]HOST:GUEST[/udp]]...[,host=on]: the\n"
	  "  host's network without privileges, by passt(1); publish: a port\n"
	  "  of the host (127.0.0.1) leads to the guest; host=on: the guest may\n"
	  "  reach the host's own services, by the gateway's address\n"
	  "mode=stream,path=SOCKET[,server=on]: frames over a UNIX socket:\n"
	  "  another VM, gvproxy, passt\n"
	  "mode=fd,fd=N: an open tap or macvtap\n"
	  "mode=none: no card\n"
	  "tap and fd: ,vhost=on (the host's kernel moves the frames)\n"
	  "each but none: ,guest_mac=M ,mtu=N ,pcap=FILE (records frames)\n"
	  ",ip=ADDR/LEN[,gw=ADDR][,dns=ADDR]: set before a COMMAND starts",
	  VALUE(add_network) },
	{ "port", 0, GROUP_BOOT, "NAME=unix:PATH|file:PATH|fd:N|pty",
	  "/dev/virtio-ports/NAME in the guest is this on the host",
	  VALUE(add_port) },
	{ "rng", 0, GROUP_BOOT, "on|off|RATE",
	  "random numbers from the host, RATE bytes per second (default on)",
	  VALUE(set_rng) },
	{ "no-default-params", 0, GROUP_BOOT, NULL,
	  "leave ours out",
	  FLAG(no_default_params) },
	{ "unpack", 0, GROUP_BOOT, "host|guest",
	  "who unpacks and relocates a bzImage (default host)",
	  SECOND(machine.boot.guest_unpacks) },
	{ "kernel-cache", 0, GROUP_BOOT, "DIR|off",
	  "keep unpacked kernels in DIR (default\n"
	  "$XDG_CACHE_HOME/lkvm or ~/.cache/lkvm)",
	  VALUE(set_kernel_cache) },
	{ "flat", 0, GROUP_BOOT, "FILE[@ADDR]",
	  "a real-mode image instead of a kernel (default 0x10000)",
	  VALUE(set_flat) },

	{ "root", 0, GROUP_COMMAND, "DIR|FILE",
	  "the guest's files: a directory of this host, or a tar archive\n"
	  "(-: on stdin). What the guest writes stays in its memory\n"
	  "(default /)",
	  VALUE(set_root) },
	{ "dir", 0, GROUP_COMMAND, "DIR[:PATH]",
	  "one more directory, at PATH (default: the same), in the same way;\n"
	  "may be repeated",
	  VALUE(add_dir) },
	{ "out", 0, GROUP_COMMAND, "DIR[:PATH]",
	  "what is below PATH in the guest (default /out) at the end comes\n"
	  "to DIR of this host, whole or not at all",
	  VALUE(set_out) },
	{ "owner", 0, GROUP_COMMAND, "keep|root",
	  "whose files they are in the guest. keep: as on the host (default\n"
	  "for /); root: yours are root's (default elsewhere)",
	  VALUE(set_owner) },
	{ "env", 'e', GROUP_COMMAND, "NAME[=VALUE]",
	  "a variable of the environment; NAME alone: as it is here. May be\n"
	  "repeated",
	  VALUE(add_environment) },
	{ "workdir", 'w', GROUP_COMMAND, "DIR",
	  "where it starts (default: the current directory, if it is there)",
	  VALUE(set_workdir) },
	{ "user", 'u', GROUP_COMMAND, "USER[:GROUP]",
	  "who runs it, by the guest's /etc/passwd, or numbers (default root)",
	  VALUE(set_user) },
	{ "warm", 0, GROUP_COMMAND, NULL,
	  "go on from a snapshot of such a guest that waits for its command,\n"
	  "if the cache has one; boot and make one if not. =strict: fail\n"
	  "rather than boot",
	  VALUE(set_warm) },
	{ "tty", 0, GROUP_COMMAND, "auto|on|off",
	  "give it a terminal (auto: if stdin and stdout are terminals), or\n"
	  "three separate streams",
	  WORD(command.tty) },
	{ "modules", 0, GROUP_COMMAND, "DIR|off",
	  "where the kernel's modules are (default: the build tree that the\n"
	  "kernel stands in, or /lib/modules/RELEASE)",
	  VALUE(set_modules) },
	{ "oops", 0, GROUP_COMMAND, "ignore|fail",
	  "fail: an oops, warning, lockup or report of KASAN on the console\n"
	  "is a failure (status 255), whatever the command says",
	  SECOND(command.oops_fails) },

	{ "cpus", 'c', GROUP_MACHINE, "N",
	  "number of CPUs (default 1, at most 255)",
	  VALUE(set_cpus) },
	{ "mem", 'm', GROUP_MACHINE, "SIZE",
	  "memory: a number with B, K, M, G or T; bare: MiB (default 512M)",
	  VALUE(set_mem) },
	{ "nested", 0, GROUP_MACHINE, "on|off",
	  "it may run virtual machines itself (default off)",
	  FIRST(machine.board.nested) },
	{ "transport", 0, GROUP_MACHINE, "pci|mmio",
	  "how the guest reaches its virtio devices (default pci)",
	  WORD(machine.board.transport) },
	{ "acpi", 0, GROUP_MACHINE, "on|off",
	  "describe it by ACPI tables (default on)",
	  FIRST(machine.board.acpi) },
	{ "mptable", 0, GROUP_MACHINE, "on|off",
	  "... by an Intel MP table (default on)",
	  FIRST(machine.board.mptable) },
	{ "fdt", 0, GROUP_MACHINE, "on|off",
	  "... by a device tree (default off)",
	  FIRST(machine.board.fdt) },
	{ "dump-dtb", 0, GROUP_MACHINE, "FILE",
	  "write that device tree to FILE",
	  STRING(machine.board.dump_dtb) },

	{ "console", 0, GROUP_RUN, "serial|virtio",
	  "what the terminal is attached to: ttyS0 or hvc0\n"
	  "(default serial; the kernel's log is on ttyS0 either way)",
	  SECOND(machine.virtio_console) },
	{ "console-log", 0, GROUP_RUN, "FILE",
	  "append every byte of ttyS0 and hvc0 to FILE; SIGHUP reopens it",
	  STRING(machine.log_path) },
	{ "timeout", 0, GROUP_RUN, "SECONDS",
	  "end it then, with status 124",
	  VALUE(set_timeout) },
	{ "grace", 0, GROUP_RUN, "SECONDS",
	  "SIGTERM asks the guest to switch itself off, and ends it so much\n"
	  "later (default: at once); so does a second one",
	  VALUE(set_grace) },
	{ "detach", 'D', GROUP_RUN, NULL,
	  "in the background: prints its name when it runs, and returns.\n"
	  "lkvm console shows its output",
	  FLAG(detach) },
	{ "die-with-parent", 0, GROUP_RUN, NULL,
	  "end it when the process that started lkvm ends",
	  FLAG(die_with_parent) },
	{ "json", 0, GROUP_RUN, "FILE",
	  "write how it ended to FILE",
	  STRING(json) },
	{ "dump-on-panic", 0, GROUP_RUN, "FILE",
	  "write the guest's memory and registers to FILE if it is lost, for\n"
	  "drgn and crash",
	  STRING(dump_on_panic) },
	{ "name", 0, GROUP_RUN, "NAME",
	  "a name, for --json; network cards have the same address each time",
	  VALUE(set_name) },
	{ "gdb", 0, GROUP_RUN, NULL,
	  "wait for gdb before the first instruction (lkvm help debug)",
	  FLAG(machine.gdb) },
	{ "sandbox", 0, GROUP_RUN, "on|off|strict",
	  "shut lkvm in before the guest runs (default on: with what\n"
	  "this host allows; strict: with everything, see lkvm check)",
	  WORD(machine.sandbox) },
	{ "dry-run", 0, GROUP_RUN, NULL,
	  "load everything, run nothing",
	  FLAG(dry_run) },
	{ "quiet", 'q', GROUP_RUN, NULL,
	  "only errors",
	  FLAG(quiet) },
	{ "verbose", 'v', GROUP_RUN, NULL,
	  "more",
	  FLAG(verbose) },
	{ "help", 'h', GROUP_RUN, NULL,
	  "this text",
	  FLAG(help) },
};

#define NR_OPTIONS ARRAY_SIZE(options)

const struct option_row *options_table(size_t *nr)
{
	*nr = NR_OPTIONS;
	return options;
}

/* "on|off|strict" is "on, off or strict" in a message. */
static int refuse_word(const char *words, struct value_error *why)
{
	char text[64] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	if (!out)
		return log_enomem("options");
	for (const char *p = words; *p; p++) {
		if (*p != '|')
			fputc(*p, out);
		else
			fputs(strchr(p + 1, '|') ? ", " : " or ", out);
	}
	fclose(out);
	return value_refuse(why, "must be %s", text);
}

static int options_store(struct run_options *o, const struct option_row *row, const char *value,
			 struct value_error *why)
{
	void *field = (char *)o + row->offset;
	int word = 0;

	if (row->kind == KIND_FIRST || row->kind == KIND_SECOND || row->kind == KIND_WORD)
		word = value_choice(value, row->argument);
	if (word < 0)
		return refuse_word(row->argument, why);
	switch (row->kind) {
	case KIND_FLAG:
		*(bool *)field = true;
		break;
	case KIND_FIRST:
		*(bool *)field = word == 0;
		break;
	case KIND_SECOND:
		*(bool *)field = word == 1;
		break;
	case KIND_WORD:
		*(unsigned int *)field = (unsigned int)word;
		break;
	case KIND_STRING:
		*(const char **)field = value;
		break;
	case KIND_VALUE:
		return row->set(o, value, why);
	}
	return 0;
}

static int apply(struct run_options *o, const struct option_row *row, const char *value)
{
	struct value_error why = { "" };
	int rc = options_store(o, row, value, &why);

	if (rc && *why.text)
		log_error("--%s: %s: %s", row->name, value, why.text);
	return rc;
}

void options_set_defaults(struct run_options *o)
{
	*o = (struct run_options){
		.machine = {
			.boot = {
				.ram_bytes = DEFAULT_RAM_BYTES,
				.use_cache = true,
				.extra_initrd_fd = -1,
			},
			.board = { .cpus = 1, .acpi = true, .mptable = true, .rng = true },
			.sandbox = SANDBOX_ON,
			.log_fd = -1,
			.gate_fd = -1,
		},
	};
}

/* getopt's tables from ours; the value it returns is the index + 256. */
static void make_tables(struct option *long_options, char *letters)
{
	*letters++ = '-'; /* arguments that are no options come in their order, as options 1 */
	*letters++ = ':'; /* a missing value is reported by us */
	for (size_t i = 0; i < NR_OPTIONS; i++) {
		long_options[i] = (struct option){
			.name = options[i].name,
			.has_arg = options[i].argument		 ? required_argument :
				   options[i].kind == KIND_VALUE ? optional_argument :
								   no_argument,
			.val = (int)i + 256,
		};
		if (!options[i].letter)
			continue;
		*letters++ = options[i].letter;
		if (options[i].argument)
			*letters++ = ':';
	}
	*letters = '\0';
}

static int find_option(int value)
{
	for (size_t i = 0; i < NR_OPTIONS; i++)
		if (value == (int)i + 256 || (options[i].letter && value == options[i].letter))
			return (int)i;
	return -1;
}

static int report_unknown(char **argv, int value)
{
	const char *arg = argv[optind - 1];

	if (value == ':')
		log_error("option %s: needs a value\n`lkvm help run` lists the options.", arg);
	else if (optopt && optopt < 256)
		log_error("option -%c: unknown\n`lkvm help run` lists the options.", optopt);
	else if (optopt >= 256)
		log_error("option %s: takes no value", arg);
	else
		log_error("option %s: unknown or ambiguous\n`lkvm help run` lists the options.",
			  arg);
	return -EINVAL;
}

/* What a machine that is restored has from its snapshot, or never. */
static bool is_fixed(const struct option_row *row)
{
	static const char *const names[] = {
		"kernel", "flat", "initrd", "params", "no-default-params", "kernel-cache", "cpus", "mem",
		"transport", "acpi", "mptable", "fdt", "dump-dtb", "nested", "rng", "console"
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(row->name, names[i]))
			return true;
	return row->group == GROUP_COMMAND && strcmp(row->name, "root") && strcmp(row->name, "dir") &&
	       strcmp(row->name, "owner") && strcmp(row->name, "out");
}

static int check_restore(const struct run_options *o)
{
	if (!o->restore || (!o->fixed && !has_kernel(o) && !o->command.given))
		return 0;
	log_error("--restore: %s: it goes on with what it has: %s%s cannot be given\n"
		  "disks, directories, --out, networks, ports and the console are named anew.",
		  o->restore,
		  o->fixed ? "--" : "",
		  o->fixed	   ? o->fixed :
		  o->command.given ? "a command" :
				     "a kernel");
	return -EINVAL;
}

/* What no option can know alone. */
static int options_check(const struct run_options *o)
{
	const struct boot_config *boot = &o->machine.boot;

	if (boot->flat && boot->nr_initrds)
		return bad("--initrd", boot->initrds[0], "a flat image takes none");
	if (options_nr_virtio(o) > BOARD_MAX_VIRTIO) {
		log_error("machine: disks, networks, console and rng are %u devices; 31 fit",
			  options_nr_virtio(o));
		return -EINVAL;
	}
	if (o->detach && o->die_with_parent) {
		log_error("--detach: ends with no parent: --die-with-parent is of no use with it");
		return -EINVAL;
	}
	return check_restore(o);
}

/* What is no option. */
static int take_argument(struct run_options *o, const char *argument)
{
	if (has_kernel(o))
		return bad("argument", argument, "unexpected; one kernel is enough\n"
						 "a command for the guest stands behind --.");
	return set_kernel(o, argument, NULL);
}

/* getopt has stopped behind "--", or at the end; @last is the last value of an option. */
static void take_command(struct command_options *c, int argc, char **argv, const char *last)
{
	c->given = argv[optind - 1] != last && !strcmp(argv[optind - 1], "--");
	c->arguments = argv + optind;
	c->nr_arguments = (unsigned int)(argc - optind);
}

int options_parse(struct run_options *out, int argc, char **argv)
{
	struct option long_options[NR_OPTIONS + 1] = { 0 };
	char letters[2 * NR_OPTIONS + 3];
	const char *last = NULL;
	int value, rc;

	options_set_defaults(out);
	make_tables(long_options, letters);
	opterr = 0;
	optind = 0; /* glibc: start over */
	while ((value = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		int i = value == '?' || value == ':' ? -1 : find_option(value);

		last = optarg;
		if (value == 1) {
			rc = take_argument(out, optarg);
			if (rc)
				return rc;
			continue;
		}
		if (i < 0)
			return report_unknown(argv, value);
		if (!out->fixed && is_fixed(&options[i]))
			out->fixed = options[i].name;
		rc = apply(out, &options[i], optarg);
		if (rc)
			return rc;
	}
	take_command(&out->command, argc, argv, last);
	return options_check(out);
}

unsigned int options_nr_virtio(const struct run_options *o)
{
	const struct machine_config *m = &o->machine;

	return m->nr_disks + m->nr_nets + m->board.rng + (m->virtio_console || m->nr_ports);
}

void options_fini(struct run_options *o)
{
	free(o->params);
	while (o->nr_texts)
		free(o->texts[--o->nr_texts]);
	o->params = NULL;
}
