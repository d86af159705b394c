// SPDX-License-Identifier: GPL-2.0-only
/*
 * A command in a VM: from options to what the machine is made of (cmd/run-command.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/option-values.h"
#include "cmd/run-command.h"
#include "disk/tar-file.h"
#include "guest/init-image.h"
#include "guest/initramfs.h"
#include "log.h"
#include "machine.h"
#include "snapshot-file.h"
#include "util.h"

#define DEFAULT_HOSTNAME "lkvm"
#define DEFAULT_RESULTS	 "/out"
#define MIN_MAJOR	 5u /* EROFS as it is now */
#define MIN_MINOR	 4u

bool run_command_is_wanted(const struct run_options *o)
{
	static const char *const roots[] = { "root", "init", "rdinit" };
	const struct command_options *c = &o->command;
	const struct machine_config *m = &o->machine;
	struct kernel_release release;

	if (c->given || c->root || c->nr_dirs || c->out.host || c->nr_environment || c->directory ||
	    c->user)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(roots); i++)
		if (value_find_param(m->boot.user_cmdline, roots[i]))
			return false;
	return !m->boot.flat && !m->boot.nr_initrds && !m->nr_disks && !o->no_default_params &&
	       !kernel_release_read(&release, m->boot.kernel);
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

static int set_container(struct run_command *c, const struct command_container *from)
{
	c->config.environment = from->environment;
	c->config.nr_environment = from->nr_environment;
	c->config.hostname = from->hostname;
	c->config.more = from->plan;
	c->config.more_bytes = from->plan_bytes;
	c->config.held = true;
	return 0;
}

/* A shell in the background is for who attaches to its console. */
static bool has_terminal(const struct command_options *o, bool detach)
{
	if (o->tty == TTY_AUTO && detach)
		return !o->nr_arguments;
	if (o->tty == TTY_AUTO)
		return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	return o->tty == TTY_ON;
}

/*
 * In the background whoever reads the terminal is stopped until it is in front. Keys are waited for
 * before they are read, and those that are typed first are the shell's: so it is asked here.
 */
static void wait_for_terminal(void)
{
	const pid_t group = isatty(STDIN_FILENO) ? tcgetpgrp(STDIN_FILENO) : -1;

	if (group > 0 && group != getpgrp())
		kill(0, SIGTTIN);
}

/* timeout(1) and its like start a group of their own, and nobody would let that go on again. */
static bool has_shell_for_jobs(void)
{
	return getpgid(getppid()) != getpgrp();
}

static void set_directory(struct run_command *c, const struct command_options *o)
{
	c->config.directory = o->directory;
	c->config.directory_needed = o->directory != NULL;
	if (!o->directory && getcwd(c->current, sizeof(c->current)) && *c->current == '/')
		c->config.directory = c->current;
}

/* passt's card needs no address from the user: these are nobody else's, the host is behind them. */
static const struct net_address passt_guest = {
	.given = true,
	.prefix_bits = 24,
	.address = { 10, 0, 2, 15 },
	.gateway = { 10, 0, 2, 2 },
	.dns = { 10, 0, 2, 3 },
};

static void set_networks(struct run_command *c, struct run_options *o)
{
	struct machine_config *m = &o->machine;

	for (unsigned int i = 0; i < m->nr_nets; i++) {
		struct net_address *a = &m->nets[i].guest;
		struct protocol_network *n = &c->config.networks[c->config.nr_networks];

		if (!a->given && m->nets[i].mode == NET_MODE_PASST)
			*a = passt_guest;
		/* A container's is switched on even so: what is in it may have its own way to an address. */
		if (!a->given && (!o->command.container || m->nets[i].mode == NET_MODE_NONE))
			continue;
		*n = (struct protocol_network){ .prefix_bits = a->prefix_bits };
		memcpy(n->mac, m->nets[i].mac, sizeof(n->mac));
		memcpy(n->address, a->address, sizeof(n->address));
		memcpy(n->gateway, a->gateway, sizeof(n->gateway));
		memcpy(n->dns, a->dns, sizeof(n->dns));
		c->config.nr_networks++;
	}
}

/* ---- the kernel ---- */

#define NEEDED (KERNEL_BIT(KERNEL_INITRD) | KERNEL_BIT(KERNEL_VIRTIO_CONSOLE) | \
		KERNEL_BIT(KERNEL_TMPFS) | KERNEL_BIT(KERNEL_DEVTMPFS) | KERNEL_BIT(KERNEL_PROC) | \
		KERNEL_BIT(KERNEL_SYSFS) | KERNEL_BIT(KERNEL_ELF))
#define FOR_FILES (KERNEL_BIT(KERNEL_VIRTIO_BLK) | KERNEL_BIT(KERNEL_EROFS) | KERNEL_BIT(KERNEL_OVERLAY))
#define OPTIONAL  KERNEL_BIT(KERNEL_VIRTIO_RNG)

static int command_check_kernel(struct run_command *c, const struct machine_config *m)
{
	c->has_release = !kernel_release_read(&c->release, m->boot.kernel);
	if (!c->has_release)
		return 0; /* init finds out */
	if (!c->release.is_64bit) {
		log_error("kernel: %s: is a 32-bit one, which cannot run a command\n"
			  "boot it with a disk or an initrd (-d, -i).",
			  m->boot.kernel);
		return -ENOTSUP;
	}
	if (kernel_release_is_older(&c->release, MIN_MAJOR, MIN_MINOR)) {
		log_error("kernel: %s: Linux %s is too old to run a command: it takes %u.%u\n"
			  "boot it with a disk or an initrd (-d, -i).",
			  m->boot.kernel, c->release.text,
			  MIN_MAJOR, MIN_MINOR);
		return -ENOTSUP;
	}
	return 0;
}

static uint32_t needed_of(const struct machine_config *m, bool terminal)
{
	uint32_t needed = NEEDED;

	needed |= KERNEL_BIT(m->board.transport == TRANSPORT_PCI ? KERNEL_VIRTIO_PCI :
								   KERNEL_VIRTIO_MMIO);
	if (m->nr_nets)
		needed |= KERNEL_BIT(KERNEL_NET) | KERNEL_BIT(KERNEL_VIRTIO_NET);
	if (terminal)
		needed |= KERNEL_BIT(KERNEL_PTYS);
	return needed;
}

/*
 * pvpanic only for a dump: its CPU stops in the panic with it, and on the way to a restart without. That the guest
 * is lost is known in any case, by the status that never came.
 */
static uint32_t optional_of(const struct run_options *o)
{
	return OPTIONAL | (o->dump_on_panic ? KERNEL_BIT(KERNEL_PVPANIC) : 0);
}

static int choose_drivers(struct run_command *c, const struct run_options *o)
{
	const char *modules = o->command.modules;
	const bool off = modules && !strcmp(modules, "off");
	const uint32_t needed = needed_of(&o->machine, c->config.terminal);
	const struct modules_config config = {
		.off = off,
		.dir = off ? NULL : modules,
		.kernel = o->machine.boot.kernel,
		.release = c->has_release ? &c->release : NULL,
		.wanted = needed | FOR_FILES | optional_of(o),
		.optional = optional_of(o),
		.use_cache = o->machine.boot.use_cache,
		.cache_dir = o->machine.boot.cache_dir,
	};
	int rc = modules_choose(&c->modules, &config);

	if (!rc && modules_missing(c->modules, needed))
		rc = modules_report(c->modules, modules_missing(c->modules, needed));
	return rc;
}

/* ---- files ---- */

static void command_add_mount(struct run_command *c, const char *path, const char *serial)
{
	c->config.mounts[c->config.nr_mounts++] = (struct command_mount){
		.path = path,
		.serial = serial,
	};
}

static const char *root_of(const struct command_options *o)
{
	return o->root ? o->root : "/";
}

static bool own_is_root(const struct command_options *o, const char *path)
{
	return o->owner == OWNER_ROOT || (o->owner == OWNER_DEFAULT && strcmp(path, "/") != 0);
}

/* A small root can be in memory, where the kernel cannot have it on a disk. */
static int put_root_into_initramfs(struct run_command *c, const struct command_options *o,
				   struct initramfs_config *archive)
{
	const char *root = root_of(o);

	if (!strcmp(root, "/") || tar_file_is_meant(root) || o->nr_dirs)
		return modules_report(c->modules, modules_missing(c->modules, FOR_FILES));
	log_verbose("root: %s: copied into the initramfs, since the kernel lacks what else it takes",
		    root);
	archive->trees[archive->nr_trees++] = (struct initramfs_tree){
		.option = "--root",
		.path = root,
		.to = "lkvm/root",
		.own_is_root = own_is_root(o, root),
	};
	command_add_mount(c, "/", NULL);
	return 0;
}

/* A disk that is made up of the directory or archive @from. */
static int add_tree(struct run_command *c, struct run_options *o, const struct tree_config *from,
		    const char *path)
{
	struct machine_config *m = &o->machine;
	char *serial = c->serials[m->nr_trees];

	if (m->nr_disks == BOARD_MAX_VIRTIO) {
		log_error("machine: disks: more than %u, with directories", BOARD_MAX_VIRTIO);
		return -EINVAL;
	}
	snprintf(serial, sizeof(c->serials[0]), "lkvm.%u", m->nr_trees);
	m->trees[m->nr_trees] = *from;
	m->disks[m->nr_disks++] = (struct machine_disk){ .tree = (int)m->nr_trees, .serial = serial };
	m->nr_trees++;
	command_add_mount(c, path, serial);
	return 0;
}

static struct tree_config directory_tree(const struct command_options *o, const char *path)
{
	return (struct tree_config){
		.path = path,
		.archive_fd = -1,
		.owner = own_is_root(o, path) ? TREE_OWNER_ROOT : TREE_OWNER_KEEP,
	};
}

static int add_dir_tree(struct run_command *c, struct run_options *o, unsigned int i)
{
	const struct dir_option *dir = &o->command.dirs[i];
	const struct tree_config tree = directory_tree(&o->command, dir->host);

	if (!dir->guest) {
		c->dir_paths[i] = realpath(dir->host, NULL);
		if (!c->dir_paths[i]) {
			log_error("dir: %s: %s", dir->host, strerror(errno));
			return -errno;
		}
		if (!strcmp(c->dir_paths[i], "/")) {
			log_error("dir: %s: / is the root's place\nname another: --dir %s:PATH", dir->host,
				  dir->host);
			return -EINVAL;
		}
	}
	return add_tree(c, o, &tree, dir->guest ? dir->guest : c->dir_paths[i]);
}

/* An archive on stdin leaves the command none. */
static int open_archive(struct run_command *c, struct run_options *o, struct tree_config *root)
{
	c->archive_fd = tar_file_open(root->path);
	if (c->archive_fd < 0)
		return c->archive_fd;
	root->archive_fd = c->archive_fd;
	if (strcmp(root->path, "-") != 0)
		return 0;
	root->path = "stdin";
	c->in_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	o->machine.in_fd = c->in_fd;
	return c->in_fd < 0 ? -errno : 0;
}

static int add_trees(struct run_command *c, struct run_options *o)
{
	struct tree_config root = directory_tree(&o->command, root_of(&o->command));
	int rc = tar_file_is_meant(root.path) ? open_archive(c, o, &root) : 0;

	if (!rc)
		rc = add_tree(c, o, &root, "/");

	for (unsigned int i = 0; i < o->command.nr_dirs && !rc; i++)
		rc = add_dir_tree(c, o, i);
	return rc;
}

/* Disks that are nothing yet. */
static int add_spares(struct run_command *c, struct run_options *o)
{
	const unsigned int nr = o->command.container ? o->command.container->nr_spares : 0;
	struct machine_config *m = &o->machine;

	if (nr > BOARD_MAX_VIRTIO - m->nr_disks || nr > RUN_COMMAND_MAX_SPARES) {
		log_error("machine: %u disks for containers of the pod, beside %u others, are too many", nr,
			  m->nr_disks);
		return -EINVAL;
	}
	for (unsigned int i = 0; i < nr; i++) {
		snprintf(c->spares[i], sizeof(c->spares[0]), "lkvm.pod.%u", i);
		m->disks[m->nr_disks++] = (struct machine_disk){
			.disk = { .path = "a container of the pod", .spare = true },
			.tree = -1,
			.serial = c->spares[i],
		};
	}
	return 0;
}

static int check_devices(const struct run_command *c, const struct run_options *o)
{
	const unsigned int ports = c->config.results ? 5 : 4;
	const unsigned int devices = options_nr_virtio(o) +
				     !(o->machine.virtio_console || o->machine.nr_ports);

	if (devices > BOARD_MAX_VIRTIO) {
		log_error("machine: disks, directories, networks, console and rng are %u devices; %u fit",
			  devices, BOARD_MAX_VIRTIO);
		return -EINVAL;
	}
	if (o->machine.nr_ports + ports > CONSOLE_MAX_PORTS) {
		log_error("--port: too many of them: a command takes %u of %u", ports, CONSOLE_MAX_PORTS);
		return -EINVAL;
	}
	return 0;
}

static int set_files(struct run_command *c, struct run_options *o)
{
	struct initramfs_config archive = {
		.init = guest_init_start,
		.init_bytes = guest_init_bytes(),
		.modules = &c->modules->choice,
	};
	int rc = modules_missing(c->modules, FOR_FILES) ?
			 put_root_into_initramfs(c, &o->command, &archive) :
			 add_trees(c, o);

	if (!rc)
		rc = add_spares(c, o);
	if (!rc)
		rc = check_devices(c, o);
	if (!rc)
		rc = initramfs_create(&c->initramfs_fd, &archive);
	o->machine.boot.extra_initrd_fd = c->initramfs_fd;
	return rc;
}

static void announce_command(struct run_command *c, struct run_options *o)
{
	const char *root = root_of(&o->command);

	snprintf(c->announcement, sizeof(c->announcement), "%s%s on %s, where nothing that it changes lasts",
		 c->has_release ? "Linux " : o->machine.boot.kernel, c->release.text, root);
	o->machine.announcement = c->announcement;
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
	config->results = !from->out.host ? NULL :
			  from->out.guest ? from->out.guest :
					    DEFAULT_RESULTS;
	o->machine.results_path = from->out.host;
	config->terminal = has_terminal(from, o->detach);
	o->machine.is_job = !from->container && has_shell_for_jobs();
	if (!config->terminal && !o->dry_run && o->machine.is_job)
		wait_for_terminal();
	if (!from->container)
		set_directory(c, from);
	set_networks(c, o);
	rc = from->container ? set_container(c, from->container) : set_environment(c, from);
	if (!rc)
		rc = command_check_kernel(c, &o->machine);
	if (!rc)
		rc = choose_drivers(c, o);
	if (!rc)
		rc = set_files(c, o);
	announce_command(c, o);
	o->machine.command = config;
	o->machine.shows_log = o->verbose;
	return rc;
}

int run_command_restore(struct run_command *c, struct run_options *o, const struct snapshot_machine *s)
{
	const bool terminal = s->command == SNAPSHOT_TERMINAL;
	int rc;

	c->config.terminal = terminal;
	c->config.results = s->results ? DEFAULT_RESULTS : NULL; /* init was told which one it is */
	o->machine.results_path = o->command.out.host;
	o->machine.is_job = has_shell_for_jobs();
	if (!terminal && !o->dry_run && o->machine.is_job)
		wait_for_terminal();
	set_networks(c, o);
	rc = s->nr_trees ? add_trees(c, o) : 0;
	if (!rc)
		rc = check_devices(c, o);
	snprintf(c->announcement, sizeof(c->announcement), "a command goes on");
	o->machine.announcement = c->announcement;
	o->machine.command = &c->config;
	o->machine.shows_log = o->verbose;
	return rc;
}

void run_command_fini(struct run_command *c)
{
	while (c->nr_variables)
		free(c->variables[--c->nr_variables]);
	for (unsigned int i = 0; i < OPTIONS_MAX_DIRS; i++)
		free(c->dir_paths[i]);
	modules_destroy(c->modules);
	if (c->initramfs_fd >= 0)
		close(c->initramfs_fd);
	if (c->archive_fd >= 0)
		close(c->archive_fd);
	if (c->in_fd >= 0)
		close(c->in_fd);
}

void run_command_report(const struct run_command *c, const struct command_result *result)
{
	if (result->end == COMMAND_NOT_STARTED)
		log_error("%s: %s", c->config.nr_arguments ? c->config.arguments[0] : "the shell",
			  strerror(result->value));
}
