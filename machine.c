// SPDX-License-Identifier: GPL-2.0-only
/*
 * A machine: the order in which it comes to life, runs and ends.
 *
 * machine_open() and machine_create() are the start-up sequence, one named step after the other.
 * machine_destroy() undoes whatever has been done, in reverse, so that a failed start and an
 * ordinary end are the same path. What the guest can see is the board's (x86/board.c); here is what
 * the host lends to it. What some of the steps do is in files of their own:
 *
 *	machine-terminal.c  the console, its log, keys and signals
 *	machine-command.c   the command that it runs, and the gate
 *	machine-pause.c     its CPUs stand, and go on
 *	machine-snapshot.c  it is saved, and goes on from what was
 *	machine-end.c       the guest is asked to end; disks and output at the end
 *
 * Everything in these runs on the main thread, which becomes the event loop.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "disk/aio.h"
#include "disk/disk.h"
#include "disk/files.h"
#include "disk/partition.h"
#include "event.h"
#include "guest/command.h"
#include "guest/gate.h"
#include "guest/results.h"
#include "io.h"
#include "kvm-cpu.h"
#include "log.h"
#include "machine-parts.h"
#include "machine.h"
#include "mem.h"
#include "sandbox/broker.h"
#include "sandbox/sandbox.h"
#include "sandbox/supervisor.h"
#include "signals.h"
#include "sink.h"
#include "snapshot-file.h"
#include "term.h"
#include "tty.h"
#include "util.h"
#include "virtio/port.h"
#include "x86/board.h"
#include "x86/cpu.h"
#include "x86/end-watch.h"
#include "x86/layout.h"
#include "x86/serial.h"
#include "x86/stat.h"
#include "x86/tables.h"

#define AIO_DEPTH 256u

/* ---- set-up, step by step ---- */

/* The snapshot is of no use: from now on it is a machine that boots. */
static void use_spare(struct machine *m)
{
	log_notice("warm: its snapshot cannot be restored: it boots");
	m->bad_snapshot = true;
	m->boot = m->spare;
	m->spare = NULL;
	m->board_config.tsc_khz = 0; /* which it had from there */
	free(m->restored);
	m->restored = NULL;
}

/* What is in the guest's memory when it starts, and where it starts. */
static int open_kernel(struct machine *m)
{
	const struct machine_config *c = m->config;
	int rc = c->restore ? 0 : boot_open(&m->boot, &c->boot);

	if (!rc && c->restore && c->boots_instead)
		rc = boot_open(&m->spare, &c->boot);
	if (rc || !c->restore)
		return rc;
	rc = snapshot_read_state(c->restore_fd, c->restore, &m->restored);
	if (rc && m->spare) {
		use_spare(m);
		rc = 0;
	}
	return rc;
}

static int create_memory(struct machine *m)
{
	uint64_t bytes = m->config->boot.ram_bytes;
	int rc = m->host.mem ? mem_clear(m->host.mem) : mem_create(&m->host.mem, bytes);

	if (rc)
		log_error("memory: %llu MiB: %s\nuse a smaller -m.",
			  (unsigned long long)(bytes >> 20), strerror(-rc));
	return rc;
}

static int open_kvm(struct machine *m)
{
	m->kvm_fd = kvm_open();
	return m->kvm_fd < 0 ? m->kvm_fd : 0;
}

static int create_vm(struct machine *m)
{
	const struct vm_config config = {
		.identity_map = LAYOUT_IDENTITY_MAP,
		.tss = LAYOUT_TSS,
		.pit = m->config->pit,
	};
	int rc = vm_create(&m->host.vm, m->kvm_fd, m->host.mem, &config);

	if (rc)
		return rc;
	if (m->config->board.cpus > m->host.vm->max_vcpus) {
		log_error("cpus: %u: this host's KVM allows at most %u", m->config->board.cpus,
			  m->host.vm->max_vcpus);
		return -EINVAL;
	}
	return 0;
}

static int start_files(struct machine *m)
{
	return files_start(&m->files, m->host.loop, &m->sandbox, m->trees, m->config->nr_trees);
}

static int wait_for_files(struct machine *m)
{
	int rc = m->files ? files_wait(m->files) : 0;

	if (rc || !m->files)
		return rc;
	rc = files_watch(m->files);
	if (rc)
		log_error("machine: files: %s", strerror(-rc));
	return rc;
}

static int machine_open_disk(struct machine *m, unsigned int i)
{
	const struct machine_disk *from = &m->config->disks[i];
	struct disk_config config = from->disk;

	if (from->tree >= 0) {
		config.files = m->files;
		config.tree = (unsigned int)from->tree;
		config.path = m->config->trees[from->tree].path;
	}
	m->host.disks[i].serial = from->serial;
	m->host.disks[i].is_ours = from->tree >= 0 || config.spare;
	return disk_open(&m->host.disks[i].disk, m->aio, &config);
}

/* One ring for all disks: a batch is a batch, whoever contributed. */
static int open_disks(struct machine *m)
{
	int rc;

	if (!m->config->nr_disks)
		return 0;
	rc = aio_create(&m->aio, m->host.loop, m->config->aio, AIO_DEPTH);
	if (rc) {
		log_error("machine: disk I/O: %s", strerror(-rc));
		return rc;
	}
	for (unsigned int i = 0; i < m->config->nr_disks; i++) {
		rc = machine_open_disk(m, i);
		if (rc)
			return rc;
	}
	return 0;
}

static int create_loop(struct machine *m)
{
	int rc = event_loop_create(&m->host.loop);

	if (rc) {
		log_error("machine: event loop: %s", strerror(-rc));
		return rc;
	}
	return 0;
}

static int open_networks(struct machine *m)
{
	for (unsigned int i = 0; i < m->config->nr_nets; i++) {
		struct board_net *n = &m->host.nets[i];
		int rc = net_open(&n->net, m->host.loop, &m->config->nets[i]);

		n->name = m->config->nets[i].name;
		n->mac = m->config->nets[i].mac;
		if (rc)
			return rc;
	}
	return 0;
}

static int wait_for_networks(struct machine *m)
{
	int rc = 0;

	for (unsigned int i = 0; i < m->config->nr_nets && !rc; i++)
		rc = net_wait_ready(m->host.nets[i].net);
	return rc;
}

static int open_ports(struct machine *m)
{
	const struct port_config terminal = {
		.kind = PORT_TERM,
		.name = "console",
		.term = m->host.term,
	};
	int rc = 0;

	if (m->config->virtio_console)
		rc = port_create(&m->host.terminal_port, m->host.loop, &terminal);
	for (unsigned int i = 0; i < m->config->nr_ports && !rc; i++)
		rc = port_create(&m->host.ports[i], m->host.loop, &m->config->ports[i]);
	return rc;
}

/*
 * Reading and unpacking take the CPU, making a VM takes waiting for the host's kernel:
 * both at once.
 */
static void *run_loader(void *arg)
{
	struct machine *m = arg;

	m->loader_tid = gettid();
	m->load_rc = m->boot ? boot_load(m->boot, m->host.mem) :
			       snapshot_read_ram(m->config->restore_fd, m->config->restore, m->host.mem);
	m->loaded_ns = now_ns();
	return NULL;
}

static int start_loading(struct machine *m)
{
	m->loading = !pthread_create(&m->loader, NULL, run_loader, m);
	if (!m->loading)
		run_loader(m);
	return 0;
}

static int finish_loading(struct machine *m)
{
	if (m->loading) {
		pthread_join(m->loader, NULL);
		/* For the sandbox it has to be gone, not only to have ended. */
		while (!tgkill(getpid(), m->loader_tid, 0))
			sched_yield();
	}
	m->loading = false;
	m->bad_snapshot |= m->load_rc && !m->boot;
	if (!m->boot && m->host.mem)
		tty_name_file(m->host.mem->base, m->host.mem->mapping_bytes,
			      "lkvm: restore: its memory: the snapshot's file was cut, or cannot be read\n"
			      "  start it once more: it boots.\n");
	return m->load_rc;
}

static int create_devices(struct machine *m)
{
	return board_create_devices(&m->board);
}

static int create_vcpus(struct machine *m)
{
	if (m->statm_fd < 0)
		m->statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	return board_create_vcpus(&m->board);
}

static int write_tables(struct machine *m)
{
	return m->boot ? tables_write(&m->board, m->boot) : 0;
}

static int set_boot_entry(struct machine *m)
{
	return m->boot ? cpu_set_start(m->board.vcpus[0], &boot_get_plan(m->boot)->start) : 0;
}

/* A list of steps, which ends with NULL. */
static int take_steps(struct machine *m, int (*const *steps)(struct machine *m))
{
	int rc = 0;

	while (!rc && *steps)
		rc = (*steps++)(m);
	return rc;
}

int machine_open(struct machine **out, const struct machine_config *config)
{
	static int (*const steps[])(struct machine *) = {
		open_kernel, /* user errors first */
		create_loop,
		machine_identify_trees,
		start_files,
		open_disks,
		open_networks,
		machine_create_log,
		machine_create_terminal,
		open_ports,
		machine_open_command,
		open_kvm,
		NULL
	};
	struct machine *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return log_enomem("machine");
	m->config = config;
	m->host.nr_disks = config->nr_disks;
	m->host.nr_nets = config->nr_nets;
	m->host.nr_ports = config->nr_ports;
	m->kvm_fd = m->statm_fd = -1;
	machine_pause_init(m);
	end_watch_init(&m->end_watch);
	m->host.end_watch = &m->end_watch;
	m->board_config = config->board;
	board_init(&m->board, &m->board_config, &m->host);
	broker_init(&m->broker, NULL);
	supervisor_init(&m->supervisor);
	sandbox_init(&m->sandbox, config->sandbox);
	rc = take_steps(m, steps);
	if (rc)
		machine_destroy(m);
	else
		*out = m;
	return rc;
}

unsigned int machine_find_root(struct machine *m)
{
	struct partition_table table;
	char numbers[64];
	int n = 0;

	if (!m->config->nr_disks || m->config->disks[0].tree >= 0 ||
	    !partition_read(m->host.disks[0].disk, &table) || !table.present)
		return 0;
	if (table.root)
		return table.root;
	for (unsigned int i = 0; i < table.nr_linux && n < (int)sizeof(numbers) - 8; i++)
		n += snprintf(numbers + n, sizeof(numbers) - (size_t)n, "%s%u", i ? ", " : "",
			      table.linux_numbers[i]);
	log_notice("disk: %s: %s%s: which one has the root file system?\nsay it: -p root=/dev/vda%u",
		   m->host.disks[0].disk->path,
		   table.nr_linux ? "its Linux partitions are " :
				    "it has partitions, none of them of type Linux",
		   table.nr_linux ? numbers : "",
		   table.nr_linux ? table.linux_numbers[0] : 1);
	return 0;
}

bool machine_identify_kernel(const struct machine *m, struct cache_identity *id)
{
	return m->boot && boot_file_identity(m->boot, id);
}

int machine_update_cmdline(struct machine *m)
{
	return boot_update_cmdline(m->boot);
}

static void add_names(struct machine *m)
{
	for (unsigned int i = 0; i < m->config->nr_names; i++)
		broker_add_socket(&m->broker, m->config->names[i]);
}

/* Beside the VM: what needs names of files while it runs. */
static int start_broker(struct machine *m)
{
	broker_init(&m->broker, m->config->log_path);
	for (unsigned int i = 0; i < m->config->nr_ports; i++)
		broker_add_socket(&m->broker, port_take_name(m->host.ports[i]));
	for (unsigned int i = 0; i < m->config->nr_nets; i++) {
		broker_add_socket(&m->broker, net_take_name(m->host.nets[i].net));
		broker_add_child(&m->broker, net_take_child(m->host.nets[i].net));
	}
	if (broker_is_needed(&m->broker))
		add_names(m);
	return broker_start(&m->broker, &m->sandbox);
}

/* A process of its own for the VM's names only is spared where there is one that can do it. */
static int start_broker_alone(struct machine *m)
{
	if (supervisor_is_there(&m->supervisor) || m->broker.helper >= 0)
		return 0;
	add_names(m);
	return broker_start(&m->broker, &m->sandbox);
}

int machine_separate(struct machine *m, const int keep_fds[SUPERVISOR_MAX_KEPT],
		     struct supervisor_end *end)
{
	struct supervisor_config config = {
		.tty = machine_own_terminal(m),
		.has_log = m->config->log_path != NULL,
		.grace_ns = m->config->grace_ns,
	};
	int rc = start_broker(m);

	memcpy(config.keep_fds, keep_fds, sizeof(config.keep_fds));
	if (!rc && m->config->results_path)
		rc = results_create(&m->results, m->config->results_path, &m->sandbox);
	if (!rc)
		rc = supervisor_separate(&m->supervisor, &m->sandbox, &config, end);
	return rc ? rc : start_broker_alone(m);
}

bool machine_report(struct machine *m, const void *report, size_t bytes)
{
	return supervisor_report(&m->supervisor, report, bytes);
}

bool machine_is_supervised(const struct machine *m)
{
	return supervisor_is_there(&m->supervisor);
}

static int make_parts(struct machine *m)
{
	static int (*const steps[])(struct machine *) = {
		create_memory,
		start_loading,
		create_vm,
		create_devices, /* x86/board.c */
		create_vcpus,
		NULL
	};

	return take_steps(m, steps);
}

static int wait_for_others(struct machine *m)
{
	static int (*const steps[])(struct machine *) = { wait_for_networks, wait_for_files, NULL };

	return take_steps(m, steps);
}

static int finish_parts(struct machine *m)
{
	static int (*const steps[])(struct machine *) = {
		finish_loading,
		write_tables, /* ACPI, MP table, device tree, zero page */
		set_boot_entry,
		NULL
	};

	return take_steps(m, steps);
}

/*
 * Nothing of its guest has run: all that was made of the snapshot is made anew, to boot. Behind the sandbox's walls, too,
 * where the kernel's file is open, and the cache that may have it unpacked is not there.
 */
static int boot_instead(struct machine *m)
{
	int rc;

	finish_loading(m);
	board_fini(&m->board);
	vm_destroy(m->host.vm);
	m->host.vm = NULL;
	memset(&m->board, 0, sizeof(m->board));
	use_spare(m);
	board_init(&m->board, &m->board_config, &m->host);
	rc = make_parts(m);
	return rc ? rc : finish_parts(m);
}

int machine_create(struct machine *m)
{
	int rc = make_parts(m), waited;

	if (rc && !m->spare)
		return rc;
	waited = wait_for_others(m); /* they and the loader had time */
	if (waited)
		return waited;
	if (!rc)
		rc = finish_parts(m);
	return rc && m->spare ? boot_instead(m) : rc;
}

/*
 * With requests that a disk does not answer everything that they may still be written to has to
 * stay. What others would miss is undone; the process is about to end.
 */
static void leave(struct machine *m)
{
	for (unsigned int i = m->config->nr_nets; i--;)
		net_close(m->host.nets[i].net);
	results_destroy(m->results);
	files_stop(m->files);
	broker_stop(&m->broker);
}

void machine_destroy(struct machine *m)
{
	if (!m)
		return;
	if (m->disks_stuck) {
		leave(m);
		return;
	}
	finish_loading(m);
	/* What is in flight completes into rings and interrupts, which are still there. */
	if (m->aio && aio_drain(m->aio))
		assert(m->disks_stuck);
	board_fini(&m->board);
	for (unsigned int i = m->config->nr_disks; i--;)
		disk_close(m->host.disks[i].disk);
	files_stop(m->files);
	aio_destroy(m->aio);
	for (unsigned int i = m->config->nr_nets; i--;)
		net_close(m->host.nets[i].net);
	for (unsigned int i = m->config->nr_ports; i--;)
		port_destroy(m->host.ports[i]);
	gate_destroy(m->gate);
	command_destroy(m->command);
	results_destroy(m->results);
	port_destroy(m->host.terminal_port);
	if (m->host.serial_term != m->host.term)
		term_destroy(m->host.serial_term);
	term_destroy(m->err_term);
	term_destroy(m->host.term);
	sink_destroy(m->log);
	vm_destroy(m->host.vm);
	if (m->kvm_fd >= 0)
		close(m->kvm_fd);
	if (m->statm_fd >= 0)
		close(m->statm_fd);
	machine_pause_fini(m);
	signals_stop(m->signals);
	log_stop();
	event_loop_destroy(m->host.loop);
	mem_destroy(m->host.mem);
	boot_destroy(m->boot);
	boot_destroy(m->spare);
	free(m->restored);
	broker_stop(&m->broker);
	supervisor_fini(&m->supervisor);
	sandbox_fini(&m->sandbox);
	free(m);
}

struct event_loop *machine_loop(const struct machine *m)
{
	return m->host.loop;
}

struct sandbox *machine_sandbox(struct machine *m)
{
	return &m->sandbox;
}

const char *machine_get_cmdline(const struct machine *m)
{
	return m->boot ? boot_get_cmdline(m->boot) : "";
}

void machine_describe(const struct machine *m, char *text, size_t bytes)
{
	static const char *const entries[] = {
		[CPU_ENTRY_REAL] = "real-mode entry",
		[CPU_ENTRY_32] = "32-bit entry",
		[CPU_ENTRY_PVH] = "PVH entry",
		[CPU_ENTRY_64] = "64-bit entry",
	};
	const struct boot_config *c = &m->config->boot;
	struct boot_segment initrd;
	const struct cpu_start *start;
	int n;

	if (!m->boot) {
		snprintf(text, bytes, "a snapshot; %u CPU%s, %llu MiB", m->config->board.cpus,
			 m->config->board.cpus == 1 ? "" : "s", (unsigned long long)(c->ram_bytes >> 20));
		return;
	}
	initrd = boot_initrd_place(m->boot);
	start = &boot_get_plan(m->boot)->start;
	n = snprintf(text, bytes, "%s %s, %s at %#llx; %u CPU%s, %llu MiB",
		     boot_describe(m->boot), c->flat ? c->flat : c->kernel,
		     entries[start->entry], (unsigned long long)start->rip, m->config->board.cpus,
		     m->config->board.cpus == 1 ? "" : "s", (unsigned long long)(c->ram_bytes >> 20));
	if (initrd.mem_bytes && n > 0 && (size_t)n < bytes)
		snprintf(text + n, bytes - (size_t)n, "; initrd %llu bytes at %#llx",
			 (unsigned long long)initrd.mem_bytes, (unsigned long long)initrd.gpa);
}

/* ---- what others ask of it while it runs ---- */

/* Of a spare disk; what was on it before is not read any more. */
static bool can_be_lent(const struct machine *m, unsigned int i)
{
	return m->config->disks[i].disk.spare && !m->lent[i] && aio_is_idle(&m->host.disks[i].disk->client);
}

int machine_lend_disk(struct machine *m, int socket)
{
	unsigned int i = 0;
	int rc;

	while (i < m->config->nr_disks && !can_be_lent(m, i))
		i++;
	if (i == m->config->nr_disks)
		return -EBUSY;
	rc = disk_lend(m->host.disks[i].disk, socket);
	if (rc)
		return rc == -EBUSY ? -EIO : rc;
	m->lent[i] = true;
	board_tell_disk_size(&m->board, i);
	return (int)i;
}

void machine_take_disk_back(struct machine *m, unsigned int disk)
{
	disk_take_back(m->host.disks[disk].disk);
	board_tell_disk_size(&m->board, disk);
}

void machine_release_disk(struct machine *m, unsigned int disk)
{
	m->lent[disk] = false;
}

const char *machine_disk_serial(const struct machine *m, unsigned int disk)
{
	return m->config->disks[disk].serial;
}

/* In KiB: of the VM's process, which is mostly the guest's memory. */
static uint64_t resident_kib(const struct machine *m)
{
	char text[128] = "";
	const struct iovec iov = { text, sizeof(text) - 1 };
	unsigned long long pages = 0;

	if (m->statm_fd >= 0 && read_iov(m->statm_fd, &iov, 1, 0) > 0)
		sscanf(text, "%*u %llu", &pages);
	return pages * 4;
}

bool machine_stat(const struct machine *m, uint64_t item, char *text, size_t bytes)
{
	const unsigned int items = stat_items(&m->board);
	int n;

	if (item > items)
		return false;
	if (item)
		return stat_item(&m->board, (unsigned int)item - 1, text, bytes);
	n = snprintf(text, bytes, ",\"items\":%u,\"state\":\"%s\",\"uptime_ms\":%llu,\"mem_mib\":%llu,"
				  "\"resident_kib\":%llu",
		     items, machine_state(m),
		     (unsigned long long)((now_ns() - m->config->start_ns) / 1000000),
		     (unsigned long long)(m->config->boot.ram_bytes >> 20),
		     (unsigned long long)resident_kib(m));
	return n > 0 && (size_t)n < bytes;
}

struct board *machine_board(struct machine *m)
{
	return &m->board;
}

bool machine_kernel_shift(const struct machine *m, uint64_t *shift)
{
	return m->boot && boot_kernel_shift(m->boot, shift);
}

/* ---- starting ---- */

static void on_stop(void *arg, uint32_t events)
{
	struct machine *m = arg;

	(void)events;
	event_stop(m->host.loop);
}

static int tell_no_events(int rc)
{
	if (rc >= 0)
		return 0;
	log_error("machine: events: %s", strerror(-rc));
	return rc;
}

/* What others want of it. */
static int watch_for_orders(struct machine *m)
{
	int rc = machine_take_signals(m);

	if (rc >= 0)
		rc = machine_watch_log(m);
	if (rc >= 0)
		rc = machine_start_timeout(m);
	if (rc >= 0)
		rc = machine_start_command(m);
	if (rc >= 0)
		rc = machine_prepare_asking(m);
	return tell_no_events(rc);
}

/* What becomes of its VM, which is not made anew any more. */
static int watch_for_the_end(struct machine *m)
{
	int rc = event_add(m->host.loop, m->host.vm->stop_fd, EPOLLIN, on_stop, m);

	if (rc >= 0)
		rc = machine_prepare_pause(m);
	if (rc >= 0)
		rc = end_watch_start(&m->end_watch, m->host.loop, m->host.vm, m->board.vcpus, m->board.nr_vcpus);
	return tell_no_events(rc);
}

static int start_vcpus(struct machine *m)
{
	int rc = vcpu_install_kick_handler();

	for (unsigned int i = 0; i < m->board.nr_vcpus && !rc; i++)
		rc = vcpu_start(m->board.vcpus[i], &m->sandbox);
	return rc;
}

/* All threads, each behind its filter; this one becomes the event loop. */
static int start_threads(struct machine *m)
{
	int workers = m->aio ? aio_start(m->aio, &m->sandbox) : 0;
	int rc = workers < 0 ? workers : start_vcpus(m);

	if (!rc)
		rc = sandbox_confine(&m->sandbox, /* at the same time as they */
				     m->config->gdb ? SANDBOX_LOOP_GDB : SANDBOX_LOOP);
	return rc ? rc : sandbox_wait(&m->sandbox, (unsigned int)workers + m->board.nr_vcpus);
}

/* After the last process of our own has been started: the sink is this one's. */
static int start_log(struct machine *m)
{
	int rc = log_start(m->host.loop);

	if (!rc)
		rc = machine_create_delivery_timer(m);
	if (rc)
		log_error("machine: messages: %s", strerror(-rc));
	return rc;
}

/* Of a machine that boots there is nothing to do. */
static int restore_or_boot(struct machine *m)
{
	int rc = machine_load_snapshot(m);

	return rc && m->spare ? boot_instead(m) : rc;
}

static int machine_start(struct machine *m, struct machine_result *result)
{
	int rc = watch_for_orders(m);

	if (rc)
		return rc;
	if (m->boot)
		boot_start_store(m->boot, &m->sandbox); /* the last one to open files */
	rc = start_log(m);
	if (rc)
		return rc;
	rc = supervisor_wait(&m->supervisor, &m->sandbox);
	if (!rc)
		rc = sandbox_enter(&m->sandbox);
	if (!rc)
		rc = restore_or_boot(m);
	if (!rc)
		rc = watch_for_the_end(m);
	if (rc)
		return rc;
	signals_take_terminal(m->signals);
	rc = start_threads(m);
	if (rc)
		return rc;
	machine_go_on_from_snapshot(m);
	result->entered_ns = now_ns();
	if (m->config->gdb)
		machine_halt(m, MACHINE_GDB);
	for (unsigned int i = 0; i < m->board.nr_vcpus; i++)
		vcpu_release(m->board.vcpus[i]);
	if (!m->command || command_is_running(m->command))
		machine_tell_that_it_runs(m);
	return 0;
}

/* ---- the run, to its end ---- */

/*
 * KVM does not tell why it got no page. If it is since the file has none any more, we find none either, and
 * that is the end (tty_name_file()).
 */
static void look_at_file(const struct machine *m)
{
	const struct mem *mem = m->host.mem;

	for (unsigned int i = 0; i < mem->nr_regions && !m->boot; i++) {
		const volatile uint8_t *p = mem->base + mem->regions[i].start;

		for (uint64_t at = 0; at < mem->regions[i].size_bytes; at += 4096)
			(void)p[at];
	}
}

/* Kicked first and joined afterwards, so that they stop at the same time. */
static void stop_vcpus(struct machine *m)
{
	for (unsigned int i = 0; i < m->board.nr_vcpus; i++)
		vcpu_kick(m->board.vcpus[i], VCPU_REQUEST_STOP);
	for (unsigned int i = 0; i < m->board.nr_vcpus; i++)
		vcpu_join(m->board.vcpus[i]);
}

/*
 * Nobody looks at RAM before: that a guest has started its command shows what it is worth. One that its user ended
 * before that has shown nothing.
 */
static bool shows_bad_snapshot(const struct machine *m)
{
	const enum stop_reason reason = vm_stop_reason(m->host.vm);

	return !m->boot && m->command && reason != STOP_SIGNAL && reason != STOP_QUIT &&
	       !command_has_answered(m->command);
}

void machine_run(struct machine *m, struct machine_result *result)
{
	int rc;

	*result = (struct machine_result){ .reason = STOP_ERROR };
	rc = machine_start(m, result);
	if (rc && !m->board.nr_vcpus)
		return; /* it was to boot instead, and could not be made anew */
	if (!rc) {
		rc = event_run(m->host.loop);
		if (rc)
			log_error("machine: event loop: %s", strerror(-rc));
		m->bad_snapshot |= shows_bad_snapshot(m);
	}
	if (rc)
		vm_request_stop(m->host.vm, STOP_ERROR);
	event_stop(m->host.loop);
	stop_vcpus(m);
	result->reason = vm_stop_reason(m->host.vm);
	if (result->reason == STOP_KVM_ERROR)
		look_at_file(m);
	event_narrow(m->host.loop); /* to the user's orders and keys */
	term_end(m->host.term);
	machine_finish_disks(m, result);
	result->loaded_ns = m->loaded_ns;
	result->first_access_ns = m->board.vcpus[0]->first_access_ns;
	result->opened_ns = serial_opened_ns(&m->board.serial);
	result->words = end_watch_words(&m->end_watch);
	result->crashed = atomic_load(&m->board.pvpanic.crashed);
	result->shutdown = end_watch_shutdown(&m->end_watch, result->reason, !machine_runs_flat(m));
	result->has_command = m->command != NULL;
	if (m->command)
		result->command = command_result(m->command);
	strcpy(result->oops, end_watch_oops(&m->end_watch));
	result->signal = atomic_load(&m->host.vm->stop_signal);
	machine_deliver_output(m, result->reason);
	result->data_lost |= m->output_lost;
	signals_release_terminal(m->signals);
}

void machine_report_missing_drivers(const struct machine *m)
{
	board_report_missing_drivers(&m->board);
}

void machine_report_lost(struct machine *m)
{
	if (!term_is_shown(m->host.serial_term))
		term_report_last_lines(m->host.serial_term, MACHINE_LOST_LINES);
}
