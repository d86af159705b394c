// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm run`: options -> machine -> exit status.
 *
 * Owns what belongs to one run and to no machine: where the kernel is found,
 * the command line, the files of --json and --console-log. The report is
 * written whatever happens, on every way out.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/detach.h"
#include "cmd/early-end.h"
#include "cmd/option-values.h"
#include "cmd/options.h"
#include "cmd/registration.h"
#include "cmd/report.h"
#include "cmd/restore.h"
#include "cmd/run.h"
#include "cmd/run-command.h"
#include "cmd/warm.h"
#include "control/vmcore-saver.h"
#include "log.h"
#include "machine.h"
#include "output.h"
#include "snapshot-file.h"
#include "sandbox/fds.h"
#include "util.h"
#include "virtio/mmio.h"
#include "x86/layout.h"

/*
 * Each makes a VM boot faster or end properly and takes nothing from its user.
 */
static const char *const default_params[] = {
	"console=ttyS0",     /* the kernel's log, whatever the terminal is attached to */
	"panic=-1",	     /* a panic ends the VM instead of leaving it hanging */
	"pci=noearly",	     /* no scan of 256 buses through ports: 33 000 exits */
	"cryptomgr.notests", /* self-tests of algorithms: half of a cloud kernel's boot */
};

struct run {
	struct run_options options; /* with the machine's configuration */
	struct run_command command;
	char *cmdline;
	char kernel_path[256];
	int json_fd;
	int log_fd;
	struct fds named;
	struct report report;
	struct registration registration;
	struct detach detach;
	struct vmcore_saver saver;	 /* of --dump-on-panic */
	const struct run_client *client; /* NULL: none */
	bool disks_stuck;		 /* the VM's memory may still be written to: nothing can be freed */
	struct snapshot_header snapshot; /* with --restore, and of a warm start */
	struct warm warm;
};

static int find_kernel(struct run *run)
{
	static const char *const places[] = {
		"arch/x86/boot/bzImage", "bzImage", "../../arch/x86/boot/bzImage"
	};
	struct utsname uts;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (access(places[i], R_OK))
			continue;
		snprintf(run->kernel_path, sizeof(run->kernel_path), "./%s", places[i]);
		log_notice("kernel: %s", run->kernel_path);
		return 0;
	}
	if (uname(&uts))
		return -errno;
	snprintf(run->kernel_path, sizeof(run->kernel_path), "/boot/vmlinuz-%s", uts.release);
	if (!access(run->kernel_path, R_OK)) {
		log_notice("kernel: %s", run->kernel_path);
		return 0;
	}
	log_error("kernel: none given, and there is no ./arch/x86/boot/bzImage, ./bzImage, "
		  "../../arch/x86/boot/bzImage or %s (%s)\nname one: lkvm run -k bzImage",
		  run->kernel_path, strerror(errno));
	return -ENOENT;
}

static int choose_kernel(struct run *run)
{
	struct boot_config *boot = &run->options.machine.boot;
	int rc;

	if (boot->flat || boot->kernel)
		return 0;
	rc = find_kernel(run);
	if (!rc)
		boot->kernel = run->kernel_path;
	return rc;
}

static void put_param(FILE *out, const char *param)
{
	fprintf(out, "%s%s", ftell(out) > 0 ? " " : "", param);
}

/* The disk that the user's root= names; by a label or the like it may be any that can be written. */
static bool root_is_writable(const struct machine_config *m, const char *root)
{
	bool any = false;

	for (unsigned int i = 0; i < m->nr_disks; i++) {
		const char name[] = { '/', 'd', 'e', 'v', '/', 'v', 'd', (char)('a' + i), '\0' };

		if (i < 26 && !strncmp(root, name, 8) && !islower((unsigned char)root[8]))
			return !m->disks[i].disk.read_only;
		any |= !m->disks[i].disk.read_only;
	}
	return any;
}

/* @partition: of the first disk; 0: all of it. */
static void put_root(FILE *out, const struct machine_config *m, unsigned int partition)
{
	const char *root = value_find_param(m->boot.user_cmdline, "root");
	char param[32] = "root=/dev/vda";

	if (!m->nr_disks || m->command)
		return;
	if (partition)
		snprintf(param, sizeof(param), "root=/dev/vda%u", partition);
	if (!root)
		put_param(out, param);
	put_param(out, root_is_writable(m, root ? root : "/dev/vda") ? "rw" : "ro");
}

/* Without ACPI nothing else tells a kernel where they are. */
static void put_virtio_mmio(FILE *out, const struct run_options *o)
{
	char param[64];

	if (o->machine.board.transport != TRANSPORT_MMIO || o->machine.board.acpi)
		return;
	for (unsigned int i = 0; i < options_nr_virtio(o); i++) {
		snprintf(param, sizeof(param), "virtio_mmio.device=%u@%#lx:%u", VIRTIO_MMIO_BYTES,
			 layout_virtio_mmio(i), layout_virtio_mmio_gsi(i, 0));
		put_param(out, param);
	}
}

/* Ours; what came with the kernel and what the user gave is put behind it. */
static int build_cmdline(struct run *run, unsigned int root_partition)
{
	const struct run_options *o = &run->options;
	size_t bytes;
	FILE *out;

	free(run->cmdline);
	run->cmdline = NULL;
	out = open_memstream(&run->cmdline, &bytes);
	if (!out)
		return log_enomem("command line");
	if (!o->no_default_params) {
		for (size_t i = 0; i < ARRAY_SIZE(default_params); i++)
			put_param(out, default_params[i]);
		/* Nobody sees the log of a command's kernel unless it is lost, and a byte of it is an exit. */
		if (o->machine.command && !o->verbose && !o->machine.log_path &&
		    !o->command.oops_fails)
			put_param(out, "loglevel=5");
		if (o->machine.virtio_console)
			put_param(out, "console=hvc0");
		put_root(out, &o->machine, root_partition);
		put_virtio_mmio(out, o);
	}
	return fclose(out) ? log_enomem("command line") : 0;
}

static int keep_named(struct run *run, const char *option, int fd)
{
	int rc = fds_keep(&run->named, fd);

	if (rc)
		log_error("%s: fd %d: %s\nit has to be opened by the program that starts lkvm.",
			  option, fd, strerror(-rc));
	return rc;
}

/*
 * First of all: what the caller has open and the command line does not name is none of a guest's
 * business, and what it does name has to be open before a file of ours takes its number.
 */
static int close_unnamed(struct run *run, int argc, char **argv)
{
	const struct machine_config *m = &run->options.machine;
	int keep[FDS_MAX_KEPT + 3] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO }, rc = 0;

	for (unsigned int i = 0; i < m->nr_nets && !rc; i++)
		if (m->nets[i].fd >= 0)
			rc = keep_named(run, "--network", m->nets[i].fd);
	for (unsigned int i = 0; i < m->nr_ports && !rc; i++)
		if (m->ports[i].fd >= 0)
			rc = keep_named(run, "--port", m->ports[i].fd);
	if (rc)
		return rc;
	for (int i = 1; i < argc && !rc; i++)
		rc = fds_keep_paths(&run->named, argv[i]);
	if (rc) {
		log_error("command line: names more than %u descriptors", FDS_MAX_KEPT);
		return rc;
	}
	memcpy(keep + 3, run->named.kept, run->named.nr * sizeof(int));
	fds_close_others(keep, 3 + run->named.nr);
	return 0;
}

static void close_json(struct run *run)
{
	if (run->json_fd >= 0)
		close(run->json_fd);
	run->json_fd = -1;
}

static int open_json(struct run *run)
{
	const char *path = run->options.json;

	if (!path)
		return 0;
	run->json_fd = early_end_open(path);
	if (run->json_fd >= 0)
		return 0;
	log_error("json: %s: %s", path, strerror(-run->json_fd));
	return run->json_fd;
}

static int open_console_log(struct run *run)
{
	const char *path = run->options.machine.log_path;

	int rc;

	if (!path)
		return 0;
	rc = run->options.dry_run ? output_check(path, false) : output_open(path, O_APPEND);
	if (rc < 0) {
		log_error("console-log: %s: %s", path, strerror(-rc));
		return rc;
	}
	if (!run->options.dry_run)
		run->log_fd = rc;
	return 0;
}

/* FNV-1a, so that the addresses of a VM with a name are always the same. */
static uint64_t hash(const char *text, uint64_t h)
{
	while (*text)
		h = (h ^ (uint8_t)*text++) * 0x100000001b3ull;
	return h;
}

/* Local and of one machine; the same for the same name. */
static int choose_mac(struct net_config *net, const char *name, unsigned int i)
{
	uint64_t h;

	if (net->has_mac)
		return 0;
	if (name) {
		h = hash(name, 0xcbf29ce484222325ull + i);
		memcpy(net->mac, &h, NET_MAC_BYTES);
	} else if (random_bytes(net->mac, NET_MAC_BYTES)) {
		log_error("network: getrandom: %s", strerror(errno));
		return -EIO;
	}
	net->mac[0] = (uint8_t)((net->mac[0] & ~1u) | 2u);
	return 0;
}

static int prepare_networks(struct run *run)
{
	struct machine_config *m = &run->options.machine;
	int rc = 0;

	for (unsigned int i = 0; i < m->nr_nets && !rc; i++) {
		m->nets[i].cpus = m->board.cpus;
		m->nets[i].dry_run = run->options.dry_run;
		rc = choose_mac(&m->nets[i], run->options.name, i);
	}
	return rc;
}

static const char *kernel_of(const struct run *run)
{
	const struct boot_config *boot = &run->options.machine.boot;

	return boot->flat ? boot->flat : boot->kernel;
}

/* Only lkvm's own first process gives a card its address. */
static int check_no_address(const struct machine_config *m)
{
	for (unsigned int i = 0; i < m->nr_nets; i++) {
		if (!m->nets[i].guest.given)
			continue;
		log_error("network: ip=: there is no COMMAND to set it for\n"
			  "a guest that boots by itself sets its address itself.");
		return -EINVAL;
	}
	return 0;
}

/* Who started it and is gone has not heard of it: nobody wants it. */
static void on_machine_runs(void *arg)
{
	struct run *run = arg;

	if (!detach_tell(&run->detach, run->registration.entry.name))
		machine_quit(run->registration.machine);
}

/* Its input, if it has a terminal or is one, comes from who attaches to its console. */
static void prepare_detached(struct run *run)
{
	struct machine_config *m = &run->options.machine;

	detach_close_stdin();
	m->detached = true;
	m->out_fd = -1;
	if (!m->command || m->command->terminal)
		m->in_fd = -1;
	m->runs = on_machine_runs;
	m->runs_arg = run;
}

/* The command waits for it: a cache that takes longer is not worth it. */
#define WARM_SAVE_NS 10000000000ull

static void on_warm_saved(void *arg, int rc)
{
	struct run *run = arg;

	log_verbose("warm: %s", rc == -ECANCELED ? "to save it takes too long" :
				rc		 ? strerror(-rc) :
						   "its snapshot is there");
	machine_end_wait(run->registration.snapshot.machine);
}

/* Nothing of what follows is in the snapshot, and it is complete before anything of that begins. */
static void on_command_waits(void *arg)
{
	struct run *run = arg;
	int socket = run->warm.saver.socket;

	run->warm.saver.socket = -1;
	if (snapshot_save(&run->registration.snapshot, socket, WARM_SAVE_NS, on_warm_saved, run)) {
		close(socket);
		machine_end_wait(run->registration.snapshot.machine);
	}
}

static void prepare_warm_saver(struct run *run, struct machine *machine)
{
	struct machine_config *m = &run->options.machine;
	struct cache_identity kernel;

	if (run->warm.state != WARM_MAKES || run->options.dry_run || !machine_identify_kernel(machine, &kernel))
		return;
	warm_start_saver(&run->warm, &run->options, &kernel, machine_sandbox(machine));
	if (run->warm.saver.socket < 0)
		return;
	m->waits = on_command_waits;
	m->waits_arg = run;
	command_hold(machine_command(machine));
}

/* What the options leave open of the machine's configuration. */
static int run_prepare(struct run *run, uint64_t start_ns)
{
	struct machine_config *m = &run->options.machine;
	const bool restores = run->options.restore != NULL;
	int rc = restores ? restore_prepare(&run->options, &run->command, &run->snapshot) : choose_kernel(run);

	m->in_fd = STDIN_FILENO;
	if (!rc)
		rc = prepare_networks(run);
	if (!rc)
		rc = !restores && run_command_is_wanted(&run->options) ?
			     run_command_prepare(&run->command, &run->options) :
		     m->command ? 0 :
				  check_no_address(m);
	if (!rc)
		rc = build_cmdline(run, 0);
	if (!rc)
		rc = open_console_log(run);
	run->report.kernel = kernel_of(run);
	if (rc)
		return rc;
	m->boot.cmdline = run->cmdline;
	/*
	 * A kernel without KVM's clock calibrates against the 8254, and one
	 * without ACPI ticks by it. Flat images pay for one if they ask.
	 */
	m->pit = restores ? run->snapshot.machine.pit : !m->boot.flat || !m->board.acpi;
	m->start_ns = start_ns;
	m->out_fd = STDOUT_FILENO;
	m->log_fd = run->log_fd;
	for (unsigned int i = 0; i < m->nr_ports; i++)
		m->ports[i].dry_run = run->options.dry_run;
	if (run->detach.fd >= 0)
		prepare_detached(run);
	return warm_prepare(&run->warm, &run->options, &run->command, &run->snapshot);
}

static void announce(const struct run *run, const struct machine *machine)
{
	char text[512];

	machine_describe(machine, text, sizeof(text));
	if (run->options.dry_run)
		log_notice("would %s %s", run->options.restore ? "go on from" : "boot", text);
	else
		log_verbose("%s %s", run->options.restore ? "going on from" : "booting", text);
	if (!run->options.machine.boot.flat && !run->options.machine.restore)
		log_verbose("kernel parameters: %s", machine_get_cmdline(machine));
}

/* -1 if it never came to that. */
static int64_t since(uint64_t start_ns, uint64_t ns)
{
	return ns ? (int64_t)(ns - start_ns) : -1;
}

/* "where the time went": for who asks why a boot is slow. */
static void tell_times(const struct report *r, int64_t end_ns)
{
	const struct {
		const char *what;
		int64_t ns;
	} marks[] = {
		{ "kernel in memory", r->kernel_ns },
		{ "guest entered", r->boot_ns },
		{ "its first device access", r->awake_ns },
		{ "init", r->init_ns },
		{ "end", end_ns },
	};
	char text[256];
	int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
		if (marks[i].ns >= 0)
			n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%s %.1f",
				      n ? ", " : "", marks[i].what, (double)marks[i].ns / 1e6);
	log_verbose("milliseconds from the start: %s", text);
}

/* The supervisor lets a VM whose time is over have 9.5 s. */
#define DUMP_GRACE_NS 8000000000ull

/* How the guest ended stands already: whatever becomes of this, it is only told. */
static void save_dump(struct run *run)
{
	const struct machine_config *m = &run->options.machine;
	const uint64_t end = m->timeout_ns ? max_u64(m->start_ns + m->timeout_ns, now_ns()) + DUMP_GRACE_NS : 0;
	const char *path = run->options.dump_on_panic;
	int rc;

	if (!path)
		return;
	log_verbose("dump: %s: writing", path);
	rc = dump_save(&run->registration.dump, &run->saver, end);
	if (rc)
		log_error("dump: %s: %s", path,
			  rc == -ECANCELED ? "given up, since lkvm is to end" : strerror(-rc));
	else
		log_notice("dump: %s: the guest's memory and registers, for drgn and crash", path);
}

static void run_machine(struct run *run, struct machine *machine, uint64_t start_ns)
{
	struct machine_result result;

	machine_run(machine, &result);
	run->report.outcome = outcome_of(&result);
	strcpy(run->report.oops, result.oops);
	if (run->options.command.oops_fails)
		run->report.outcome = outcome_with_oops(run->report.outcome, result.oops);
	run->report.boot_ns = since(start_ns, result.entered_ns);
	run->report.kernel_ns = since(start_ns, result.loaded_ns);
	run->report.awake_ns = since(start_ns, result.first_access_ns);
	run->report.init_ns = since(start_ns, result.opened_ns);
	if (run->report.outcome.lost) {
		log_error("the guest was lost: %s", run->report.outcome.lost);
		machine_report_lost(machine);
		save_dump(run);
	}
	if (result.entered_ns && !run->options.machine.boot.flat && !run->snapshot.machine.flat)
		machine_report_missing_drivers(machine);
	if (result.reason == STOP_COMMAND)
		run_command_report(&run->command, &result.command);
	log_verbose("the guest ended: %s", run->report.outcome.word);
	tell_times(&run->report, since(start_ns, now_ns()));
	run->disks_stuck = result.disks_stuck;
	if (result.disks_stuck || (result.data_lost && run->report.outcome.status == EXIT_OK))
		run->report.outcome = (struct outcome){ "error", EXIT_LKVM, NULL };
}

static void create_and_run(struct run *run, struct machine *machine, uint64_t start_ns)
{
	int rc;

	if (machine_create(machine))
		return;
	rc = registration_serve_dumps(&run->registration, machine);
	if (rc) {
		log_error("dump: %s", strerror(-rc));
		return;
	}
	fds_close_kept(&run->named); /* who needs one has a copy */
	restore_close(&run->options);
	announce(run, machine);
	if (run->options.dry_run)
		run->report.outcome = (struct outcome){ "dry-run", EXIT_OK, NULL };
	else if (!run->options.machine.gdb || !registration_serve_gdb(&run->registration))
		run_machine(run, machine, start_ns);
}

/* Behind the supervisor, which has the file of --json, or alone. */
static void run_here(struct run *run, struct machine *machine, uint64_t start_ns)
{
	if (machine_is_supervised(machine)) {
		close_json(run);
		warm_fini(&run->warm);
		run->report.outcome.status = EXIT_LKVM;
	}
	create_and_run(run, machine, start_ns);
	run->report.bad_snapshot = run->warm.state == WARM_FOUND && machine_has_bad_snapshot(machine);
	report_send(&run->report, machine);
}

/* Once the disks are open: a disk with partitions has its root file system in one of them. */
static int find_root(struct run *run, struct machine *machine)
{
	struct machine_config *m = &run->options.machine;
	unsigned int partition;
	int rc;

	if (m->restore || m->command || m->boot.flat || run->options.no_default_params || value_find_param(m->boot.user_cmdline, "root"))
		return 0;
	partition = machine_find_root(machine);
	if (!partition)
		return 0;
	rc = build_cmdline(run, partition);
	m->boot.cmdline = run->cmdline;
	return rc ? rc : machine_update_cmdline(machine);
}

/* With --dry-run: could it be written? */
static int open_saver(struct run *run, struct machine *machine)
{
	const char *path = run->options.dump_on_panic;
	struct vmcore_file file;
	int rc = 0;

	if (path && !run->options.dry_run)
		return vmcore_saver_start(&run->saver, path, run->options.machine.boot.ram_bytes,
					  machine_sandbox(machine));
	if (path)
		rc = vmcore_file_open(&file, "dump", path, false);
	if (path && !rc)
		vmcore_file_close(&file);
	return rc;
}

/* As machine_separate(). */
static int run_separate(struct run *run, struct machine *machine)
{
	struct registration *r = &run->registration;
	struct supervisor_end end;
	int rc;

	rc = registration_serve(r, machine, &run->options.machine, &run->options.command);
	if (rc && (run->detach.fd >= 0 || run->options.machine.gdb))
		return rc;
	rc = machine_separate(machine,
			      (const int[]){ run->json_fd, r->entry.lock, r->entry.directory,
					     run->warm.folder },
			      &end);
	if (!rc)
		registry_give_away(&r->entry);
	if (!rc && !machine_is_supervised(machine))
		warm_start_remover(&run->warm, machine_sandbox(machine));
	if (rc > 0) {
		/* The supervisor: the VM's process has spoken for itself. */
		report_receive(&run->report, &end);
		run->log_fd = run->saver.socket = run->warm.saver.socket = -1;
	}
	return rc;
}

/* It would not be restored the next time either. */
static void forget_bad_snapshot(struct run *run)
{
	if (run->warm.state != WARM_FOUND || !run->report.bad_snapshot)
		return;
	if (warm_remove(&run->warm))
		log_notice("warm: its snapshot was of no use, and is gone\nthe next start boots.");
	else
		log_error("warm: its snapshot is of no use, and cannot be removed\nstart it without --warm.");
}

/* What it has to be found for; NULL: it may run all the same. */
static const char *why_found(const struct run *run)
{
	return run->detach.fd >= 0	? "detach" :
	       run->options.machine.gdb ? "gdb" :
					  NULL;
}

/* Its entry, which goes with an early end as well. */
static int claim_entry(struct run *run)
{
	const struct registry_entry *e = &run->registration.entry;
	int rc;

	early_end_hold();
	rc = registration_claim(&run->registration, run->options.name, why_found(run));
	early_end_release(e->lock >= 0 ? e->lock_path : NULL);
	return rc;
}

/* From options to the end of the guest; what happened is in run->report. */
static void run_all(struct run *run, uint64_t start_ns)
{
	const struct run_options *o = &run->options;
	struct machine *machine;
	int rc;

	if (run_prepare(run, start_ns))
		return;
	/* A container's VM is its engine's to find. */
	if (!o->dry_run && !run->client && claim_entry(run))
		return;
	if (machine_open(&machine, &run->options.machine))
		return;
	if (find_root(run, machine)) {
		machine_destroy(machine);
		return;
	}
	rc = open_saver(run, machine);
	prepare_warm_saver(run, machine);
	if (!rc && run->client)
		rc = run->client->opened(run->client->arg);
	if (!rc && !o->dry_run)
		rc = run_separate(run, machine);
	if (rc > 0) {
		forget_bad_snapshot(run);
		return;
	}
	if (!rc)
		run_here(run, machine, start_ns);
	if (!rc && !machine_is_supervised(machine))
		forget_bad_snapshot(run);
	vmcore_saver_stop(&run->warm.saver);
	registration_stop_serving(&run->registration);
	machine_destroy(machine);
	vmcore_saver_stop(&run->saver);
}

static void write_json(struct run *run)
{
	int rc = run->json_fd < 0 ? 0 : report_save(run->json_fd, &run->report);

	close_json(run);
	if (!rc)
		return;
	log_error("json: %s: %s", run->options.json,
		  rc == -EAGAIN ? "nobody reads it" : strerror(-rc));
	if (run->report.outcome.status == EXIT_OK)
		run->report.outcome.status = EXIT_LKVM;
}

/*
 * The signal of a parent that dies is the orderly end, and one who has died already sends none. A
 * parent that is process 1 is who orphans are given to.
 */
static int die_with_parent(pid_t parent)
{
	signal(SIGTERM, SIG_DFL);
	if (prctl(PR_SET_PDEATHSIG, SIGTERM)) {
		log_error("--die-with-parent: %s", strerror(errno));
		return -errno;
	}
	if (parent != 1 && getppid() == parent)
		return 0;
	log_error("--die-with-parent: the process that started this one has ended\n"
		  "(or it is process 1, with which everything ends.)");
	return -ESRCH;
}

static bool run_reads_stdin(const struct run_options *o)
{
	return o->command.root && !strcmp(o->command.root, "-");
}

static const struct run run_nothing = {
	.log_fd = -1,
	.json_fd = -1,
	.command = { .initramfs_fd = -1, .in_fd = -1, .archive_fd = -1 },
	.registration = REGISTRATION_NONE,
	.detach = DETACH_NONE,
	.warm = WARM_NOTHING,
	.saver = VMCORE_SAVER_NONE,
	.report = {
		.outcome = { "error", EXIT_LKVM, NULL },
		.boot_ns = -1,
		.kernel_ns = -1,
		.awake_ns = -1,
		.init_ns = -1,
	},
};

static void run_fini(struct run *run)
{
	if (run->log_fd >= 0)
		close(run->log_fd);
	warm_fini(&run->warm);
	restore_close(&run->options);
	free(run->cmdline);
	run_command_fini(&run->command);
	options_fini(&run->options);
}

/* The status goes where the file of --json would have been: the supervisor keeps it, the VM does not. */
int run_for_container(struct run_options *options, const struct run_client *client)
{
	const uint64_t start_ns = now_ns();
	struct run run = run_nothing;
	uint8_t status;

	run.options = *options;
	run.client = client;
	run.json_fd = client->status_fd;
	run_all(&run, start_ns);
	status = (uint8_t)run.report.outcome.status;
	if (run.json_fd >= 0 && write(run.json_fd, &status, 1) != 1)
		log_error("container: its status is lost: %s", strerror(errno));
	close_json(&run);
	registration_end(&run.registration, status);
	if (!run.disks_stuck)
		run_fini(&run);
	return status;
}

int cmd_run(int argc, char **argv, uint64_t start_ns)
{
	struct run run = run_nothing;
	const pid_t parent = getppid();
	int rc = options_parse(&run.options, argc, argv), status;

	if (!rc && run.options.help) {
		help_print("run");
		options_fini(&run.options);
		return EXIT_OK;
	}
	if (run.options.quiet)
		log_set_level(LOG_ERROR);
	else if (run.options.verbose)
		log_set_level(LOG_VERBOSE);
	run.report.name = run.options.name;
	run.report.kernel = kernel_of(&run);
	run.report.cpus = run.options.machine.board.cpus;
	run.report.ram_bytes = run.options.machine.boot.ram_bytes;
	if (!rc)
		rc = close_unnamed(&run, argc, argv);
	if (!rc && run.options.detach && !run.options.dry_run &&
	    detach_start(&run.detach, run_reads_stdin(&run.options), &status)) {
		options_fini(&run.options);
		return status;
	}
	if (!rc && run.options.die_with_parent)
		rc = die_with_parent(parent);
	early_end_arm(&run.report, run.options.machine.timeout_ns);
	if (!open_json(&run) && !rc)
		run_all(&run, start_ns);
	early_end_disarm();
	run.report.wall_ns = (int64_t)(now_ns() - start_ns);
	write_json(&run);
	registration_end(&run.registration, run.report.outcome.status);
	if (run.disks_stuck)
		_exit(run.report.outcome.status);
	run_fini(&run);
	return run.report.outcome.status;
}
