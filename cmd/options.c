// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command line of `lkvm run`.
 *
 * getopt_long() splits the arguments; a table says what each option is and where
 * its value goes, or which function checks it. Errors are one line that names
 * the option, the value and what would be right.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/options.h"
#include "log.h"
#include "util.h"
#include "virtio/blk.h"
#include "virtio/rng.h"
#include "x86/layout.h"
#include "x86/machine.h"

#define DEFAULT_RAM_BYTES MIB(512)
#define MAX_TIMEOUT_S 1e9

int parse_size(const char *text, uint64_t unit, uint64_t *bytes)
{
	static const char suffixes[] = "BKMGT";
	unsigned long long number;
	const char *suffix;
	char *end;

	/* strtoull() would take a sign and blanks. */
	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, !strncmp(text, "0x", 2) ? 16 : 10);
	if (errno)
		return -ERANGE;
	if (*end) {
		suffix = strchr(suffixes, toupper((unsigned char)*end));
		if (!suffix || end[1])
			return -EINVAL;
		unit = 1ull << (10 * (suffix - suffixes));
	}
	return mul_u64(number, unit, bytes) ? 0 : -ERANGE;
}

static int bad(const char *option, const char *value, const char *reason)
{
	log_error("%s: %s: %s", option, value, reason);
	return -EINVAL;
}

static int set_kernel(struct run_options *o, const char *value)
{
	if (o->kernel || o->flat)
		return bad("kernel", value, "a machine has only one kernel");
	o->kernel = value;
	return 0;
}

/* A file that is called like the whole value is meant, whatever follows its last @. */
static int set_flat(struct run_options *o, const char *value)
{
	const char *at = access(value, F_OK) ? strrchr(value, '@') : NULL;
	size_t len = at ? (size_t)(at - value) : strlen(value);

	if (o->kernel || o->flat)
		return bad("--flat", value, "a machine has only one kernel");
	o->flat_address = LAYOUT_FLAT;
	if (at && parse_size(at + 1, 1, &o->flat_address))
		return bad("--flat", value, "the address after @ is not a number");
	o->flat = strndup(value, len);
	return o->flat ? 0 : log_enomem("--flat");
}

static int set_initrd(struct run_options *o, const char *value)
{
	if (o->nr_initrds == BOOT_MAX_INITRDS)
		return bad("--initrd", value, "too many of them (16 at most)");
	o->initrds[o->nr_initrds++] = value;
	return 0;
}

static int add_params(struct run_options *o, const char *value)
{
	char *joined;

	if (asprintf(&joined, "%s%s%s", o->params ? o->params : "", o->params ? " " : "",
		     value) < 0)
		return log_enomem("--params");
	free(o->params);
	o->params = joined;
	return 0;
}

static int set_cpus(struct run_options *o, const char *value)
{
	uint64_t n;

	if (value[strspn(value, "0123456789")] || parse_size(value, 1, &n) ||
	    n < 1 || n > MACHINE_MAX_CPUS)
		return bad("--cpus", value, "must be a number from 1 to 255 (without interrupt remapping "
			   "Linux starts no more)");
	o->cpus = (unsigned int)n;
	return 0;
}

static int set_mem(struct run_options *o, const char *value)
{
	int rc = parse_size(value, MIB(1), &o->ram_bytes);

	if (rc == -EINVAL)
		return bad("--mem", value, "not a size (a number, with B, K, M, G or T; bare: MiB)");
	if (rc || o->ram_bytes > 1ull << 46)
		return bad("--mem", value, "more than any machine can address");
	if (o->ram_bytes < MACHINE_MIN_RAM_BYTES)
		return bad("--mem", value, "too small: a machine needs at least 2M");
	if (o->ram_bytes % 4096)
		return bad("--mem", value, "not a multiple of 4K");
	return 0;
}

static int set_timeout(struct run_options *o, const char *value)
{
	char *end;
	double seconds;

	errno = 0;
	seconds = strtod(value, &end);
	if (errno || end == value || *end || !isfinite(seconds) || seconds <= 0 ||
	    seconds > MAX_TIMEOUT_S)
		return bad("--timeout", value, "must be a number of seconds greater than 0");
	o->timeout_ns = (uint64_t)(seconds * 1e9);
	if (!o->timeout_ns)
		o->timeout_ns = 1;
	return 0;
}

static int set_console(struct run_options *o, const char *value)
{
	if (strcmp(value, "serial") && strcmp(value, "virtio"))
		return bad("--console", value, "must be serial or virtio");
	o->virtio_console = !strcmp(value, "virtio");
	return 0;
}

static int set_rng(struct run_options *o, const char *value)
{
	o->rng_asked = o->rng = strcmp(value, "off") != 0;
	o->rng_rate = 0;
	if (!strcmp(value, "on") || !strcmp(value, "off"))
		return 0;
	if (parse_size(value, 1, &o->rng_rate) || o->rng_rate < RNG_MIN_RATE || o->rng_rate > GIB(1))
		return bad("--rng", value, "must be on, off or bytes per second from 64 to 1G");
	return 0;
}

/* A copy of @value that lives as long as the options. */
static char *keep(struct run_options *o, const char *value)
{
	char *text = strdup(value);

	if (text)
		o->texts[o->nr_texts++] = text;
	return text;
}

static int set_name(struct run_options *o, const char *value)
{
	for (const char *p = value; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
			return bad("--name", value, "only letters, digits, '-', '_' and '.'");
	if (!*value || strlen(value) > 64)
		return bad("--name", value, "must have 1 to 64 characters");
	o->name = value;
	return 0;
}

/* One of the words after a disk's file name. */
static int set_disk_suffix(struct machine_disk *d, const char *word)
{
	if (!strcmp(word, "ro"))
		d->disk.read_only = true;
	else if (!strcmp(word, "direct"))
		d->disk.direct = true;
	else if (!strcmp(word, "cow"))
		d->disk.cow = true;
	else if (!strcmp(word, "backing=on"))
		d->disk.backing = true;
	else if (!strcmp(word, "discard=on"))
		d->disk.no_discard = false;
	else if (!strcmp(word, "discard=off"))
		d->disk.no_discard = true;
	else if (!strcmp(word, "format=raw"))
		d->disk.format = DISK_FORMAT_RAW;
	else if (!strcmp(word, "format=qcow2"))
		d->disk.format = DISK_FORMAT_QCOW2;
	else if (!strncmp(word, "serial=", 7) && word[7] && strlen(word + 7) <= BLK_SERIAL_BYTES)
		d->serial = word + 7;
	else
		return -EINVAL;
	return 0;
}

/*
 * Takes the first word off @rest, which is NULL after the last: up to a comma, but two commas
 * stand for one that belongs to the word. Done in place.
 */
static char *next_word(char **rest)
{
	char *word = *rest, *in = word, *out = word;

	while (*in && (in[0] != ',' || in[1] == ',')) {
		in += in[0] == ',';
		*out++ = *in++;
	}
	*rest = *in ? in + 1 : NULL;
	*out = '\0';
	return word;
}

static int add_disk(struct run_options *o, const char *value)
{
	struct machine_disk *d = &o->disks[o->nr_disks];
	char *text;

	if (o->nr_disks == MACHINE_MAX_VIRTIO)
		return bad("--disk", value, "too many of them (31 at most)");
	text = strdup(value);
	if (!text)
		return log_enomem("--disk");
	o->disk_texts[o->nr_disks++] = text;
	*d = (struct machine_disk){ .disk.path = next_word(&text) };
	if (!*d->disk.path)
		return bad("--disk", value, "no file name");
	while (text) {
		const char *word = next_word(&text);

		if (!set_disk_suffix(d, word))
			continue;
		log_error("--disk: %s: unknown suffix \"%s\"\nit may be ro, cow, direct, discard=off, "
			  "format=raw, format=qcow2, backing=on or serial= with up to 20 characters; "
			  "a comma in a name is written twice.", value, word);
		return -EINVAL;
	}
	if (d->disk.read_only && d->disk.cow)
		return bad("--disk", value, "either ro or cow, not both");
	return 0;
}

static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *number)
{
	return !text[strspn(text, "0123456789")] && !parse_size(text, 1, number) &&
	       *number >= min && *number <= max;
}

static bool parse_switch(const char *text, bool *on)
{
	*on = !strcmp(text, "on");
	return *on || !strcmp(text, "off");
}

static bool parse_mac(const char *text, uint8_t mac[NET_MAC_BYTES])
{
	for (unsigned int i = 0; i < NET_MAC_BYTES; i++) {
		if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]) ||
		    text[2] != (i < NET_MAC_BYTES - 1 ? ':' : '\0'))
			return false;
		mac[i] = (uint8_t)strtoul(text, NULL, 16);
		text += 3;
	}
	return !(mac[0] & 1);	/* a group has no network card */
}

static bool parse_mode(const char *text, enum net_mode *mode)
{
	static const char *const names[] = {
		[NET_MODE_NONE] = "none", [NET_MODE_TAP] = "tap", [NET_MODE_FD] = "fd",
		[NET_MODE_PASST] = "passt", [NET_MODE_STREAM] = "stream",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(text, names[i]))
			continue;
		*mode = (enum net_mode)i;
		return true;
	}
	return false;
}

/* One KEY=VALUE of a network. */
static int set_net_key(struct net_config *n, const char *key, const char *value)
{
	uint64_t number = 0;
	bool ok;

	if (!strcmp(key, "mode")) {
		ok = parse_mode(value, &n->mode);
	} else if (!strcmp(key, "tapif")) {
		n->tapif = value;
		ok = *value && !strpbrk(value, "/%");
	} else if (!strcmp(key, "fd")) {
		ok = parse_number(value, 0, INT32_MAX, &number);
		n->fd = (int)number;
	} else if (!strcmp(key, "path")) {
		n->path = value;
		ok = *value;
	} else if (!strcmp(key, "server")) {
		ok = parse_switch(value, &n->server);
	} else if (!strcmp(key, "publish")) {
		ok = *value && n->nr_publish < NET_MAX_PUBLISH;
		if (ok)
			n->publish[n->nr_publish++] = value;
	} else if (!strcmp(key, "host")) {
		ok = parse_switch(value, &n->host_loopback);
	} else if (!strcmp(key, "vhost")) {
		ok = parse_switch(value, &n->vhost);
	} else if (!strcmp(key, "pcap")) {
		n->pcap = value;
		ok = *value;
	} else if (!strcmp(key, "mtu")) {
		ok = parse_number(value, NET_MIN_MTU, NET_MAX_MTU, &number);
		n->mtu = (unsigned int)number;
	} else if (!strcmp(key, "queues")) {
		ok = parse_number(value, 1, NET_MAX_QUEUES, &number);
		n->queues = (unsigned int)number;
	} else if (!strcmp(key, "guest_mac")) {
		ok = n->has_mac = parse_mac(value, n->mac);
	} else {
		return -ENOENT;
	}
	return ok ? 0 : -EINVAL;
}

/* Keys that mean something for one mode only. */
static const char *misplaced_key(const struct net_config *n)
{
	if (n->mode != NET_MODE_TAP && n->mode != NET_MODE_FD && n->vhost)
		return "vhost belongs to mode=tap and mode=fd";
	if (n->mode != NET_MODE_TAP && (n->tapif || n->queues))
		return "tapif and queues belong to mode=tap";
	if ((n->mode == NET_MODE_FD) != (n->fd >= 0))
		return "mode=fd needs fd=N, and no other mode takes it";
	if ((n->mode == NET_MODE_STREAM) != (n->path != NULL))
		return "mode=stream needs path=SOCKET, and no other mode takes it";
	if (n->mode != NET_MODE_STREAM && n->server)
		return "server belongs to mode=stream";
	if (n->mode != NET_MODE_PASST && (n->nr_publish || n->host_loopback))
		return "publish and host belong to mode=passt";
	return NULL;
}

static int add_network(struct run_options *o, const char *value)
{
	struct net_config *n = &o->nets[o->nr_nets];
	const char *misplaced;
	char *text, *word;
	bool has_mode = false;

	if (o->nr_nets == MACHINE_MAX_VIRTIO)
		return bad("--network", value, "too many of them (31 at most)");
	text = keep(o, value);
	if (!text)
		return log_enomem("--network");
	o->nr_nets++;
	*n = (struct net_config){ .fd = -1 };
	while ((word = strsep(&text, ","))) {
		char *equals = strchr(word, '=');
		int rc = -ENOENT;

		if (equals) {
			*equals = '\0';
			rc = set_net_key(n, word, equals + 1);
			has_mode |= !strcmp(word, "mode");
		}
		if (rc == -ENOENT) {
			log_error("--network: %s: unknown key \"%s\"\nit may be mode, tapif, queues, fd, "
				  "path, server, publish, host, guest_mac, mtu, vhost or pcap, with a value.",
				  value, word);
			return -EINVAL;
		}
		if (rc) {
			log_error("--network: %s: %s=%s: not possible\n`lkvm help run` tells what is.",
				  value, word, equals + 1);
			return rc;
		}
	}
	if (!has_mode)
		return bad("--network", value, "needs a mode: tap, fd, passt, stream or none");
	misplaced = misplaced_key(n);
	return misplaced ? bad("--network", value, misplaced) : 0;
}

/* NAME=unix:PATH|file:PATH|fd:N|pty */
static int add_port(struct run_options *o, const char *value)
{
	struct port_config *p = &o->ports[o->nr_ports];
	uint64_t number = 0;
	char *name, *target;

	if (o->nr_ports == CONSOLE_MAX_PORTS)
		return bad("--port", value, "too many of them (14 at most)");
	name = keep(o, value);
	if (!name)
		return log_enomem("--port");
	target = strchr(name, '=');
	if (!target || target == name || target - name > 32)
		return bad("--port", value, "must be NAME=unix:PATH, file:PATH, fd:N or pty; "
			   "NAME has 1 to 32 characters");
	*target++ = '\0';
	*p = (struct port_config){ .name = name, .fd = -1 };
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("-_.", *c))
			return bad("--port", value, "a name has only letters, digits, '-', '_' and '.'");
	for (unsigned int i = 0; i < o->nr_ports; i++)
		if (!strcmp(o->ports[i].name, name))
			return bad("--port", value, "another port has that name");
	if (!strncmp(target, "unix:", 5) && target[5]) {
		p->kind = PORT_UNIX;
		p->path = target + 5;
	} else if (!strncmp(target, "file:", 5) && target[5]) {
		p->kind = PORT_FILE;
		p->path = target + 5;
	} else if (!strncmp(target, "fd:", 3) && target[3] &&
		   parse_number(target + 3, 0, INT32_MAX, &number)) {
		p->kind = PORT_FD;
		p->fd = (int)number;
	} else if (!strcmp(target, "pty")) {
		p->kind = PORT_PTY;
	} else {
		return bad("--port", value, "the other side must be unix:PATH, file:PATH, fd:N or pty");
	}
	o->nr_ports++;
	return 0;
}

static int set_sandbox(struct run_options *o, const char *value)
{
	if (!strcmp(value, "on"))
		o->sandbox = SANDBOX_ON;
	else if (!strcmp(value, "off"))
		o->sandbox = SANDBOX_OFF;
	else if (!strcmp(value, "strict"))
		o->sandbox = SANDBOX_STRICT;
	else
		return bad("--sandbox", value, "must be on, off or strict");
	return 0;
}

static int set_transport(struct run_options *o, const char *value)
{
	if (!strcmp(value, "pci"))
		o->transport = TRANSPORT_PCI;
	else if (!strcmp(value, "mmio"))
		o->transport = TRANSPORT_MMIO;
	else
		return bad("--transport", value, "must be pci or mmio");
	return 0;
}

static int set_unpack(struct run_options *o, const char *value)
{
	if (strcmp(value, "host") && strcmp(value, "guest"))
		return bad("--unpack", value, "must be host or guest");
	o->guest_unpacks = *value == 'g';
	return 0;
}

static int set_kernel_cache(struct run_options *o, const char *value)
{
	if (!*value)
		return bad("--kernel-cache", value, "must be a folder or off");
	o->no_kernel_cache = !strcmp(value, "off");
	o->kernel_cache = o->no_kernel_cache ? NULL : value;
	return 0;
}

enum option_kind {
	KIND_FLAG,	/* no value: sets a bool */
	KIND_SWITCH,	/* on or off: a bool */
	KIND_STRING,	/* kept as it is */
	KIND_VALUE,	/* checked and stored by a function */
};

#define FLAG(field)	KIND_FLAG, offsetof(struct run_options, field), NULL
#define SWITCH(field)	KIND_SWITCH, offsetof(struct run_options, field), NULL
#define STRING(field)	KIND_STRING, offsetof(struct run_options, field), NULL
#define VALUE(set)	KIND_VALUE, 0, set

static const struct option_spec {
	const char *name;
	char letter;		/* or 0 */
	enum option_kind kind;
	size_t offset;
	int (*set)(struct run_options *o, const char *value);
} options[] = {
	{ "kernel", 'k', VALUE(set_kernel) },
	{ "flat", 0, VALUE(set_flat) },
	{ "unpack", 0, VALUE(set_unpack) },
	{ "kernel-cache", 0, VALUE(set_kernel_cache) },
	{ "initrd", 'i', VALUE(set_initrd) },
	{ "params", 'p', VALUE(add_params) },
	{ "disk", 'd', VALUE(add_disk) },
	{ "network", 'n', VALUE(add_network) },
	{ "port", 0, VALUE(add_port) },
	{ "rng", 0, VALUE(set_rng) },
	{ "transport", 0, VALUE(set_transport) },
	{ "no-default-params", 0, FLAG(no_default_params) },
	{ "cpus", 'c', VALUE(set_cpus) },
	{ "mem", 'm', VALUE(set_mem) },
	{ "nested", 0, SWITCH(nested) },
	{ "console", 0, VALUE(set_console) },
	{ "console-log", 0, STRING(console_log) },
	{ "acpi", 0, SWITCH(acpi) },
	{ "mptable", 0, SWITCH(mptable) },
	{ "fdt", 0, SWITCH(fdt) },
	{ "dump-dtb", 0, STRING(dump_dtb) },
	{ "sandbox", 0, VALUE(set_sandbox) },
	{ "name", 0, VALUE(set_name) },
	{ "timeout", 0, VALUE(set_timeout) },
	{ "die-with-parent", 0, FLAG(die_with_parent) },
	{ "json", 0, STRING(json) },
	{ "dry-run", 0, FLAG(dry_run) },
	{ "quiet", 'q', FLAG(quiet) },
	{ "verbose", 'v', FLAG(verbose) },
	{ "help", 'h', FLAG(help) },
};

static int apply(struct run_options *o, const struct option_spec *spec, const char *value)
{
	void *field = (char *)o + spec->offset;

	switch (spec->kind) {
	case KIND_FLAG:
		*(bool *)field = true;
		return 0;
	case KIND_SWITCH:
		if (strcmp(value, "on") && strcmp(value, "off")) {
			log_error("--%s: %s: must be on or off", spec->name, value);
			return -EINVAL;
		}
		*(bool *)field = !strcmp(value, "on");
		return 0;
	case KIND_STRING:
		*(const char **)field = value;
		return 0;
	case KIND_VALUE:
		break;
	}
	return spec->set(o, value);
}

#define NR_OPTIONS ARRAY_SIZE(options)

static void defaults(struct run_options *o)
{
	*o = (struct run_options){
		.cpus = 1,
		.ram_bytes = DEFAULT_RAM_BYTES,
		.acpi = true,
		.mptable = true,
		.sandbox = SANDBOX_ON,
		.rng = true,
	};
}

/* getopt's tables from ours; the value it returns is the index + 256. */
static void make_tables(struct option *long_options, char *letters)
{
	*letters++ = ':';	/* a missing value is reported by us */
	for (size_t i = 0; i < NR_OPTIONS; i++) {
		long_options[i] = (struct option){
			.name = options[i].name,
			.has_arg = options[i].kind == KIND_FLAG ? no_argument : required_argument,
			.val = (int)i + 256,
		};
		if (!options[i].letter)
			continue;
		*letters++ = options[i].letter;
		if (options[i].kind != KIND_FLAG)
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

int options_parse(struct run_options *out, int argc, char **argv)
{
	struct option long_options[NR_OPTIONS + 1] = { 0 };
	char letters[2 * NR_OPTIONS + 2];
	int value, rc;

	defaults(out);
	make_tables(long_options, letters);
	opterr = 0;
	optind = 0;		/* glibc: start over */
	while ((value = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		int i = value == '?' || value == ':' ? -1 : find_option(value);

		if (i < 0)
			return report_unknown(argv, value);
		rc = apply(out, &options[i], optarg);
		if (rc)
			return rc;
	}
	if (optind < argc) {
		rc = set_kernel(out, argv[optind++]);
		if (rc)
			return rc;
	}
	if (optind < argc)
		return bad("argument", argv[optind], "unexpected; one kernel is enough");
	if (out->flat && out->nr_initrds)
		return bad("--initrd", out->initrds[0], "a flat image takes none");
	if (options_nr_virtio(out) > MACHINE_MAX_VIRTIO) {
		log_error("machine: disks, networks, console and rng are %u devices; 31 fit",
			  options_nr_virtio(out));
		return -EINVAL;
	}
	return 0;
}

unsigned int options_nr_virtio(const struct run_options *o)
{
	unsigned int n = o->nr_disks + o->rng + (o->virtio_console || o->nr_ports);

	for (unsigned int i = 0; i < o->nr_nets; i++)
		n += o->nets[i].mode != NET_MODE_NONE;
	return n;
}

void options_fini(struct run_options *o)
{
	free(o->flat);
	free(o->params);
	while (o->nr_disks)
		free(o->disk_texts[--o->nr_disks]);
	while (o->nr_texts)
		free(o->texts[--o->nr_texts]);
	o->flat = o->params = NULL;
}
