// SPDX-License-Identifier: GPL-2.0-only
/*
 * lkvm-oci create: from a bundle to a VM that waits.
 *
 * Two processes are made: the VM's, which goes on as any run of lkvm does, with the container's
 * streams, and the holder. Both are orphans when this one has ended, and so their engine's, which is
 * a subreaper. If the VM does not come to where it waits, or this process is killed, the holder sees
 * its pipe end and ends, and with it the VM.
 *
 * Of a container that joins a pod there is no VM but its sandbox's: who moves its streams there (oci/member.h) has
 * the VM's place beside the holder.
 *
 * Messages of the VM's start go to a memory file, and from there where engines look for them.
 *
 * Sources: OCI runtime specification 1.2.0, runtime.md; conmon 2.1 and containerd 1.6 as they were watched.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/run.h"
#include "io.h"
#include "log.h"
#include "oci/call.h"
#include "oci/cgroup.h"
#include "oci/config.h"
#include "oci/console.h"
#include "oci/holder.h"
#include "oci/member.h"
#include "oci/network.h"
#include "oci/plan.h"
#include "oci/pod.h"
#include "oci/scope.h"
#include "oci/store.h"
#include "sandbox/fds.h"
#include "util.h"

#define SETTINGS	"/etc/lkvm/oci.conf"
#define SERVICES_CACHE	"/var/cache/lkvm"
#define PUBLISH		"lkvm.publish"
#define READY_MS	120000
#define END_NS		12000000000ull
#define LEAST_RAM_BYTES MIB(128)
#define MAX_ARGUMENTS	48

struct creation {
	const struct call *call;
	const struct call_create *args;
	struct config config;
	struct config_error error;
	struct pod pod;
	struct store_container sandbox; /* of a container that joins a pod */
	int sandbox_holder;		/* pidfd; -1: none */
	struct plan plan;
	char *process; /* of such a one, for the guest; ours */
	size_t process_bytes;
	struct store_container container;
	struct store_record record;
	struct command_container lent;
	struct scope scope;
	struct network network;
	char cards[NETWORK_MAX_CARDS][160]; /* values of options */
	char passt[NETWORK_PASST_BYTES];    /* likewise; "": the network is not passt's */
	struct run_options options;
	char root[2 * PATH_MAX];
	char place[2 * PATH_MAX];
	char memory[32], cpus[32]; /* values of options */
	char *settings;		   /* the text of SETTINGS, cut up; ours */
	const char *set_kernel, *set_memory, *set_cpus, *set_modules, *set_network, *set_warm;
	const char *set_annotations; /* those that are obeyed besides */
	int messages;		     /* memory file; -1 */
	int terminal;		     /* -1: none */
	int procs;		     /* cgroup.procs; -1: none */
	int gate[2], status[2], caller[2], listener;
	pid_t vm, holder; /* 0: not made */
};

static int fail_creation(struct creation *c, int rc, const char *text)
{
	snprintf(c->error.text, sizeof(c->error.text), "%s", text);
	return rc;
}

/* ---- the bundle ---- */

static int read_bundle(struct creation *c)
{
	char path[PATH_MAX + 16], *text;
	size_t bytes;
	int fd, rc;

	if (!realpath(c->args->bundle ? c->args->bundle : ".", c->record.bundle))
		return fail_creation(c, -errno, "the bundle cannot be opened");
	snprintf(path, sizeof(path), "%s/config.json", c->record.bundle);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return fail_creation(c, -errno, "the bundle's config.json cannot be opened");
	rc = config_read_file(fd, &text, &bytes);
	close(fd);
	if (rc)
		return fail_creation(c, rc, "the bundle's config.json cannot be read");
	rc = config_parse(&c->config, CONFIG_BUNDLE, text, bytes, &c->error);
	free(text);
	return rc;
}

static int check_program(struct creation *c)
{
	int fd, rc;

	snprintf(c->root, sizeof(c->root), "%s%s%s", *c->config.root == '/' ? "" : c->record.bundle,
		 *c->config.root == '/' ? "" : "/", c->config.root);
	fd = open(c->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail_creation(c, -EINVAL, "config.json: root.path: the directory cannot be opened");
	rc = plan_find_program(&c->config, fd, &c->error);
	close(fd);
	return rc;
}

/* ---- pods ---- */

/* One whose bundle is gone has none. */
static int check_annotations_of_member(struct creation *c, const struct store_record *sandbox)
{
	struct config config = { 0 };
	struct config_error error;
	int rc = call_read_config(&config, sandbox, &error);

	if (rc)
		config = (struct config){ 0 };
	rc = pod_check_annotations(&c->config, &config, &c->error);
	config_fini(&config);
	return rc;
}

/* The sandbox has to run: its VM is what the container joins. */
static int find_sandbox(struct creation *c)
{
	struct store_record r = { 0 };
	int rc = store_find(&c->sandbox, c->call->root, c->pod.sandbox, false);

	if (!rc)
		rc = store_load(&c->sandbox, &r);
	if (rc || r.creating || *r.sandbox || strcmp(call_status_of(&c->sandbox, &r), "running") != 0) {
		snprintf(c->error.text, sizeof(c->error.text),
			 "pod: its sandbox \"%.130s\" does not run: a container can "
			 "only join one that does",
			 c->pod.sandbox);
		return -ESRCH;
	}
	c->sandbox_holder = store_open_process(&r.holder);
	strcpy(c->record.sandbox, c->sandbox.id);
	rc = check_annotations_of_member(c, &r);
	if (rc || config_ignores(&c->config, "linux.namespaces"))
		return rc;
	return pod_check_spaces(&c->pod, &c->config, r.holder.pid, &c->error);
}

static int check_pod(struct creation *c)
{
	int rc = pod_find(&c->pod, &c->config, &c->error);

	return rc || c->pod.role != POD_MEMBER ? rc : find_sandbox(c);
}

/* What begins with a "/" is a path, whoever makes the group. */
static bool is_scope(const struct creation *c)
{
	return c->call->systemd && c->config.cgroups_path && *c->config.cgroups_path != '/';
}

static int check_call(struct creation *c)
{
	int rc = check_pod(c);

	if (rc)
		return rc;
	if (is_scope(c) && !store_is_hosts_root())
		return fail_creation(c, -ENOTSUP,
				     "--systemd-cgroup: an ordinary user's systemd is not asked; use the "
				     "engine's cgroup manager cgroupfs");
	if (c->args->preserved && strcmp(c->args->preserved, "0") != 0)
		return fail_creation(c, -ENOTSUP, "--preserve-fds: descriptors cannot go into a VM");
	return plan_make(&c->plan, &c->config, &c->pod, c->args->id, &c->error);
}

/* ---- settings ---- */

static void creation_set_one(struct creation *c, const char *name, const char *value)
{
	const struct {
		const char *name, **value;
	} all[] = {
		{ "kernel", &c->set_kernel },
		{ "memory", &c->set_memory },
		{ "cpus", &c->set_cpus },
		{ "modules", &c->set_modules },
		{ "network", &c->set_network },
		{ "annotations", &c->set_annotations },
		{ "warm", &c->set_warm },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (!strcmp(all[i].name, name))
			*all[i].value = value;
}

static char *trim(char *text)
{
	size_t n;

	text += strspn(text, " \t");
	n = strlen(text);
	while (n && strchr(" \t\r", text[n - 1]))
		text[--n] = '\0';
	return text;
}

/* key = value; what follows a # is for people. */
static int read_settings(struct creation *c)
{
	int fd = open(SETTINGS, O_RDONLY | O_CLOEXEC), rc;
	char *save = NULL;
	size_t bytes;

	if (fd < 0)
		return errno == ENOENT ? 0 : fail_creation(c, -errno, SETTINGS ": cannot be opened");
	rc = config_read_file(fd, &c->settings, &bytes);
	close(fd);
	if (rc)
		return fail_creation(c, rc, SETTINGS ": cannot be read");
	c->settings[bytes] = '\0';
	for (char *line = strtok_r(c->settings, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *equals = strchr(line, '=');

		line[strcspn(line, "#")] = '\0';
		if (!equals || equals > line + strlen(line))
			continue;
		*equals = '\0';
		creation_set_one(c, trim(line), trim(equals + 1));
	}
	return 0;
}

/* Annotations before the file; what config.json limits is between them. */
static void choose_settings(struct creation *c)
{
	const struct config_resources *r = &c->config.resources;
	static const char *const names[] = { "kernel", "memory", "cpus", "modules", "network", "warm" };

	if (r->memory_bytes > 0) {
		snprintf(c->memory, sizeof(c->memory), "%lluM",
			 (unsigned long long)(max_u64((uint64_t)r->memory_bytes, LEAST_RAM_BYTES) >> 20));
		c->set_memory = c->memory;
	}
	if (r->cpu_quota_us > 0) {
		const int64_t period = r->cpu_period_us ? r->cpu_period_us : 100000;

		snprintf(c->cpus, sizeof(c->cpus), "%lld",
			 (long long)min_u64(64, (uint64_t)((r->cpu_quota_us - 1) / period + 1)));
		c->set_cpus = c->cpus;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char annotation[32];
		const char *value;

		snprintf(annotation, sizeof(annotation), "lkvm.%s", names[i]);
		value = config_annotation(&c->config, annotation);
		if (value)
			creation_set_one(c, names[i], value);
	}
}

static int choose_warm(struct creation *c)
{
	static const struct {
		const char *word;
		enum warm_mode mode;
	} all[] = { { "no", WARM_OFF }, { "yes", WARM_ON }, { "strict", WARM_STRICT } };

	for (size_t i = 0; c->set_warm && i < ARRAY_SIZE(all); i++)
		if (!strcmp(c->set_warm, all[i].word)) {
			c->options.warm = all[i].mode;
			return 0;
		}
	return c->set_warm ? fail_creation(c, -EINVAL, "warm: it is yes, no or strict") : 0;
}

/* Services have no folder of a user. */
static void choose_cache(struct boot_config *boot)
{
	if (!getenv("XDG_CACHE_HOME") && !getenv("HOME") && store_is_hosts_root())
		boot->cache_dir = SERVICES_CACHE;
}

static int creation_take_options(struct creation *c)
{
	const char *tty = c->config.process.terminal ? "on" : "off";
	const char *argv[MAX_ARGUMENTS] = { "run", "--tty", tty, "--owner", "keep", "--root", c->root };
	const char *const given[][2] = {
		{ "--kernel", c->set_kernel },
		{ "--mem", c->set_memory },
		{ "--cpus", c->set_cpus },
		{ "--modules", c->set_modules },
		{ "--network", c->set_network },
	};
	struct command_options *o = &c->options.command;
	int argc = 7, rc;

	for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
		if (!given[i][1])
			continue;
		argv[argc++] = given[i][0];
		argv[argc++] = given[i][1];
	}
	for (unsigned int i = 0; i < c->plan.nr_disks; i++) {
		argv[argc++] = "--disk";
		argv[argc++] = c->plan.disks[i];
	}
	for (unsigned int i = 0; i < c->network.nr; i++) {
		network_option(&c->network.cards[i], c->cards[i], sizeof(c->cards[i]));
		if (c->network.cards[i].has_ipv6)
			call_note(c->call, "network: the container does not get its addresses of IPv6");
		argv[argc++] = "--network";
		argv[argc++] = c->cards[i];
	}
	rc = options_parse(&c->options, argc, (char **)(uintptr_t)argv);
	if (!rc)
		rc = choose_warm(c);
	if (rc)
		return rc;
	choose_cache(&c->options.machine.boot);
	o->given = true;
	o->arguments = (char *const *)(uintptr_t)c->config.process.args.texts;
	o->nr_arguments = c->config.process.args.nr;
	o->nr_dirs = c->plan.nr_dirs;
	memcpy(o->dirs, c->plan.dirs, sizeof(o->dirs));
	c->lent = (struct command_container){
		.environment = c->plan.environment.texts,
		.nr_environment = c->plan.environment.nr,
		.hostname = c->config.hostname,
		.plan = c->plan.bytes,
		.plan_bytes = c->plan.nr_bytes,
		.nr_spares = c->pod.nr_spares,
	};
	o->container = &c->lent;
	return 0;
}

/* An ordinary user's engine: passt, in the network that it has made, speaks for the guest. */
static int choose_passt(struct creation *c, const char *path)
{
	int rc = network_join(&c->network, path, &c->error);

	if (rc)
		return rc;
	if (!network_passt_option(config_annotation(&c->config, PUBLISH), c->passt))
		return fail_creation(c, -EINVAL,
				     "config.json: annotations." PUBLISH ": it has ports that the container "
				     "serves, as in \"80 53/udp\", 32 at most");
	c->set_network = c->passt;
	return 0;
}

/* One that the settings name is the VM's instead of the engine's. */
static int take_network(struct creation *c)
{
	const struct config_namespace *n = &c->config.namespaces[CONFIG_NS_NETWORK];

	if (!n->given || !n->path || config_ignores(&c->config, "linux.namespaces"))
		return 0;
	if (!store_is_hosts_root())
		return choose_passt(c, n->path);
	if (config_annotation(&c->config, PUBLISH))
		return fail_creation(c, -EINVAL,
				     "config.json: annotations." PUBLISH ": it is for ordinary users' engines; "
				     "the VM has all ports of an interface that root's has made");
	if (strlen(n->path) >= sizeof(c->record.network))
		return fail_creation(c, -ENAMETOOLONG, "config.json: linux.namespaces: the path is too long");
	strcpy(c->record.network, n->path);
	if (store_save(&c->container, &c->record))
		return fail_creation(c, -EIO, "the container cannot be written down");
	return network_open(&c->network, n->path, c->args->id, c->place, &c->error);
}

static int set_options(struct creation *c)
{
	const char *ports = config_annotation(&c->config, PUBLISH);
	int rc = 0;

	if (c->pod.role == POD_MEMBER)
		return plan_process(&c->config, "", &c->process, &c->process_bytes);
	choose_settings(c);
	if (c->set_network && ports)
		return fail_creation(c, -EINVAL,
				     "config.json: annotations." PUBLISH ": the network is one that the settings "
				     "name, with ports of its own");
	if (!c->set_network)
		rc = take_network(c);
	return rc ? rc : creation_take_options(c);
}

/* ---- processes ---- */

static int set_oom_score(const struct config_process *p)
{
	char text[16];
	int fd, n, rc = 0;

	if (!p->oom_score_given)
		return 0;
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	n = snprintf(text, sizeof(text), "%d", p->oom_score);
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		rc = -errno;
	if (fd >= 0)
		close(fd);
	return rc == -EACCES ? 0 : rc; /* an ordinary user may not lower it */
}

static int creation_open_socket(struct creation *c)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	unlinkat(c->container.dir, "socket", 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/socket", c->container.dir);
	c->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->listener < 0 || bind(c->listener, (struct sockaddr *)&a, sizeof(a)) || listen(c->listener, 8))
		return fail_creation(c, -errno, "the container's socket cannot be made");
	return 0;
}

static int open_terminal_for_vm(struct creation *c)
{
	const struct config_process *p = &c->config.process;

	if (!p->terminal)
		return 0;
	if (!c->args->console_socket)
		return fail_creation(c, -EINVAL, "config.json: process.terminal: it needs --console-socket");
	c->terminal = console_open(c->args->console_socket, p->columns, p->rows);
	return c->terminal < 0 ? fail_creation(c, c->terminal, "--console-socket: no terminal can be sent there") : 0;
}

static int open_channels(struct creation *c)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, c->gate) || pipe2(c->status, O_CLOEXEC) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, c->caller))
		return fail_creation(c, -errno, "no more descriptors");
	return creation_open_socket(c);
}

/* In the VM's process: from now on what is said is the container's. */
static int creation_on_opened(void *arg)
{
	const struct creation *c = arg;
	int rc = cgroup_enter_family(c->procs);

	if (rc)
		log_error("cgroup: %s: cannot be entered (%s)", c->record.cgroup, strerror(-rc));
	else
		log_set_output(STDERR_FILENO);
	return rc;
}

__attribute__((noreturn)) static void be_vm_process(struct creation *c)
{
	const struct run_client client = { .status_fd = c->status[1], .opened = creation_on_opened, .arg = c };
	int keep[7 + NETWORK_MAX_CARDS + PLAN_MAX_DISKS] = {
		STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, c->gate[1], c->status[1], c->messages, c->procs
	};

	for (unsigned int i = 0; i < NETWORK_MAX_CARDS; i++)
		keep[7 + i] = i < c->network.nr ? c->network.cards[i].fd : -1;
	for (unsigned int i = 0; i < PLAN_MAX_DISKS; i++)
		keep[7 + NETWORK_MAX_CARDS + i] = i < c->plan.nr_disks ? c->plan.claims[i] : -1;

	setsid();
	if (*c->passt && setns(c->network.spaces, CLONE_NEWNET)) {
		log_error("network: its namespace cannot be entered (%s)", strerror(errno));
		_exit(EXIT_LKVM);
	}
	if (c->terminal >= 0 && console_take(c->terminal))
		_exit(EXIT_LKVM);
	fds_close_others(keep, ARRAY_SIZE(keep));
	c->options.machine.gate_fd = c->gate[1];
	_exit(run_for_container(&c->options, &client));
}

static int pidfd_of(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static void close_all(int *fds, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

/* What it shares with the pod's sandbox on the host, too: engines look for it there. */
static unsigned long shared_spaces(const struct creation *c)
{
	if (c->pod.role != POD_MEMBER)
		return 0;
	return CLONE_NEWNET | (c->pod.own_ipc ? 0ul : CLONE_NEWIPC) | (c->pod.own_uts ? 0ul : CLONE_NEWUTS);
}

static int start_holder(struct creation *c)
{
	const struct holder_config config = {
		.listener = c->listener,
		.gate = c->gate[0],
		.status = c->status[0],
		.caller = c->caller[1],
		.place = c->place,
		.hostname = c->config.hostname,
		.title = c->call->title,
		.network = c->network.spaces,
		.pod = c->sandbox_holder,
		.shared = shared_spaces(c),
		.title_bytes = c->call->title_bytes,
		.command = c->config.process.args.texts,
	};
	pid_t pid = holder_start(&config);

	if (pid < 0)
		return fail_creation(c, pid, "namespaces for the container cannot be made");
	c->holder = pid;
	return 0;
}

static int start_vm(struct creation *c)
{
	pid_t pid = fork();

	if (pid < 0)
		return fail_creation(c, -errno, "no more processes");
	if (!pid)
		be_vm_process(c);
	c->vm = pid;
	return 0;
}

static unsigned int flags_in_guest(const struct pod *pod)
{
	return PROTOCOL_IN_NEW | (pod->own_ipc ? PROTOCOL_IN_OWN_IPC : 0) | (pod->own_uts ? PROTOCOL_IN_OWN_NAME : 0) |
	       (pod->shared_pids ? PROTOCOL_IN_SHARED_PIDS : 0);
}

/* What a VM is for others, the sandbox's is for this one; who joins it takes the VM's part here. */
static int start_member(struct creation *c)
{
	const struct member_config config = {
		.id = c->args->id,
		.sandbox = &c->sandbox,
		.flags = flags_in_guest(&c->pod),
		.root = c->root,
		.nr_dirs = c->plan.nr_dirs,
		.dirs = c->plan.dirs,
		.more = c->plan.bytes,
		.more_bytes = c->plan.nr_bytes,
		.process = c->process,
		.process_bytes = c->process_bytes,
		.has_terminal = c->config.process.terminal,
		.terminal = c->terminal,
		.gate = c->gate[1],
		.status = c->status[1],
		.messages = c->messages,
		.procs = c->procs,
		.holder = pidfd_of(c->holder),
	};
	pid_t pid = config.holder < 0 ? -errno : member_start(&config);

	if (config.holder >= 0)
		close(config.holder);
	if (pid < 0)
		return fail_creation(c, pid, "a process that joins the pod cannot be made");
	c->vm = pid;
	return 0;
}

static int start_processes(struct creation *c)
{
	int rc = c->pod.role == POD_MEMBER ? start_holder(c) : start_vm(c);

	if (!rc)
		rc = c->pod.role == POD_MEMBER ? start_member(c) : start_holder(c);
	if (rc)
		return rc;
	close_all(c->gate, 2);
	close_all(c->status, 2);
	close_all(&c->caller[1], 1);
	if (cgroup_enter(c->procs, c->holder))
		return fail_creation(c, -EIO, "the container's group cannot be entered");
	scope_release(&c->scope);
	return 0;
}

static int wait_until_ready(struct creation *c)
{
	struct pollfd p = { .fd = c->caller[0], .events = POLLIN };
	int n = poll_fds(&p, 1, READY_MS);
	char byte = '\0';

	while (n < 0 && errno == EINTR)
		n = poll_fds(&p, 1, READY_MS);
	if (n > 0 && read(c->caller[0], &byte, 1) == 1 && byte == 'R')
		return 0;
	return fail_creation(c, -ECHILD,
			     n ? "the VM ended before it was ready" : "the VM is not ready in time");
}

/* ---- what is written ---- */

static int write_pid_file(struct creation *c)
{
	int rc = call_write_pid(c->args->pid_file, c->holder);

	return rc ? fail_creation(c, rc, "--pid-file: cannot be written") : 0;
}

/* What there is so far, for whoever comes after a create that was killed. */
static int write_down_part(struct creation *c)
{
	c->record.creating = true;
	c->record.holder = c->holder ? store_process_of(c->holder) : (struct store_process){ 0 };
	c->record.vm = c->vm ? store_process_of(c->vm) : (struct store_process){ 0 };
	return store_save(&c->container, &c->record) ?
		       fail_creation(c, -EIO, "the container cannot be written down") :
		       0;
}

/* Until it hears this, the holder ends with us. */
static int write_down(struct creation *c)
{
	int rc;

	c->record.creating = false;
	rc = store_save(&c->container, &c->record);
	if (rc)
		return fail_creation(c, rc, "the container cannot be written down");
	rc = write_pid_file(c);
	if (!rc && socket_send(c->caller[0], "W", 1) != 1)
		rc = fail_creation(c, -ECHILD, "the VM ended before it was ready");
	return rc;
}

static int creation_claim(struct creation *c)
{
	int rc = store_create(&c->container, c->call->root, c->args->id);
	struct store_record old;

	snprintf(c->place, sizeof(c->place), "%s/%s", c->call->root, c->args->id);
	if (rc == -EINVAL)
		return fail_creation(c, rc, "the container's id has other characters than letters, digits and _+-.");
	if (rc == -EEXIST && !store_load(&c->container, &old) && old.creating)
		rc = call_clear(c->call, &c->container, &old, true); /* it was killed: who creates holds the lock */
	if (rc == -EEXIST)
		return fail_creation(c, rc, "a container with this id already exists");
	if (rc == -EBUSY)
		return fail_creation(c, rc, "another command is at a container with this id");
	return rc ? fail_creation(c, rc, "--root: the container's directory cannot be made") : 0;
}

static int make_scope(struct creation *c)
{
	char place[PATH_MAX];
	int rc = scope_make(&c->scope, &c->config, place, &c->error);

	c->record.cgroup_scope = !rc;
	return rc ? rc : cgroup_take(&c->config, place, c->record.cgroup, &c->error);
}

static int make_group(struct creation *c)
{
	int rc = is_scope(c) ? make_scope(c) :
			       cgroup_make(&c->config, c->record.cgroup, &c->record.cgroup_made, &c->error);

	if (rc)
		return rc;
	c->procs = cgroup_open(c->record.cgroup);
	return c->procs < 0 && *c->record.cgroup ?
		       fail_creation(c, c->procs, "the container's group cannot be opened") :
		       0;
}

static int raise_or_lower_oom_score(struct creation *c)
{
	int rc = set_oom_score(&c->config.process);

	return rc ? fail_creation(c, rc, "config.json: process.oomScoreAdj: cannot be set") : 0;
}

/* ---- the end ---- */

static void creation_reap(pid_t pid)
{
	const uint64_t deadline = now_ns() + END_NS;

	while (pid > 0 && !waitpid(pid, NULL, WNOHANG))
		if (!wait_a_moment(deadline)) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			return;
		}
}

/* The holder goes when its pipe ends, or its VM's status comes; the VM when its gate ends. */
static void undo(struct creation *c)
{
	close_all(c->gate, 2);
	close_all(c->status, 2);
	close_all(c->caller, 2);
	if (c->holder > 0)
		kill(c->holder, SIGKILL);
	creation_reap(c->vm);
	creation_reap(c->holder);
	scope_release(&c->scope);
	if (c->record.cgroup_scope)
		scope_wait_gone(c->record.cgroup);
	if (c->record.cgroup_made)
		cgroup_remove(c->record.cgroup);
	network_remove(c->record.network, c->args->id);
	if (c->container.lock >= 0)
		store_remove(&c->container);
}

/* What was said while the VM was made says more. */
static int tell_failure(struct creation *c, int rc)
{
	char text[2048];
	ssize_t n = pread(c->messages, text, sizeof(text) - 1, 0);
	const char *said = text;

	text[n > 0 ? n : 0] = '\0';
	while (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	said += strncmp(text, "lkvm: ", 6) ? 0 : 6;
	if (rc == -ENOENT || rc == -EACCES)
		return call_fail_by_words(c->call, c->error.text);
	return call_fail(c->call, "%s", *said ? said : c->error.text);
}

static void creation_fini(struct creation *c)
{
	close_all(c->gate, 2);
	close_all(c->status, 2);
	close_all(c->caller, 2);
	close_all(&c->listener, 1);
	close_all(&c->procs, 1);
	close_all(&c->messages, 1);
	close_all(&c->terminal, 1);
	close_all(&c->sandbox_holder, 1);
	scope_release(&c->scope);
	store_close(&c->sandbox);
	free(c->process);
	network_close(&c->network);
	store_close(&c->container);
	plan_fini(&c->plan);
	config_fini(&c->config);
	options_fini(&c->options);
	free(c->settings);
}

static int take_creation_steps(struct creation *c, bool *claimed)
{
	static int (*const steps[])(struct creation *) = {
		make_group, write_down_part, set_options, raise_or_lower_oom_score, open_channels, open_terminal_for_vm,
		start_processes, write_down_part, wait_until_ready, write_down
	};
	int rc = read_bundle(c);

	if (!rc)
		rc = read_settings(c);
	if (!rc)
		rc = config_check_annotations(&c->config, c->set_annotations, &c->error);
	call_note(c->call, c->config.notes);
	if (!rc)
		rc = check_call(c);
	if (!rc) {
		rc = check_program(c);
		if (rc)
			return rc;
		rc = creation_claim(c);
		*claimed = !rc;
	}
	for (size_t i = 0; i < ARRAY_SIZE(steps) && !rc; i++) {
		rc = steps[i](c);
		if (rc == -ENOENT || rc == -EACCES)
			rc = -EIO; /* those are the program's */
	}
	return rc;
}

int call_create(const struct call *call, const struct call_create *args)
{
	struct creation *c = calloc(1, sizeof(*c));
	bool claimed = false;
	int rc;

	if (!c)
		return call_fail(call, "no memory");
	*c = (struct creation){
		.call = call,
		.args = args,
		.container = STORE_NO_CONTAINER,
		.sandbox = STORE_NO_CONTAINER,
		.sandbox_holder = -1,
		.procs = -1,
		.terminal = -1,
		.network = NETWORK_NONE,
		.scope = SCOPE_NONE,
		.gate = { -1, -1 },
		.status = { -1, -1 },
		.caller = { -1, -1 },
		.listener = -1,
		.messages = memfd_create("messages", MFD_CLOEXEC),
	};
	log_set_output(c->messages);
	rc = take_creation_steps(c, &claimed);
	if (rc && claimed)
		undo(c);
	if (rc)
		rc = tell_failure(c, rc);
	creation_fini(c);
	free(c);
	return rc;
}
