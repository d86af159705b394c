// SPDX-License-Identifier: GPL-2.0-only
/*
 * The board: what a machine consists of and the order in which it comes to life
 * and ends.
 *
 * machine_open() and machine_create() are the start-up sequence, one named step after the other;
 * create_devices() is the list of devices. machine_destroy() undoes whatever
 * has been done, in reverse, so that a failed start and an ordinary end are the
 * same path. Everything here runs on the main thread, which becomes the event
 * loop.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bus.h"
#include "disk/aio.h"
#include "disk/disk.h"
#include "disk/partition.h"
#include "event.h"
#include "io.h"
#include "kvm-cpu.h"
#include "log.h"
#include "machine.h"
#include "mem.h"
#include "output.h"
#include "pci.h"
#include "sandbox/broker.h"
#include "sandbox/sandbox.h"
#include "sandbox/supervisor.h"
#include "signals.h"
#include "sink.h"
#include "term.h"
#include "tty.h"
#include "util.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/device.h"
#include "virtio/mmio.h"
#include "virtio/net.h"
#include "virtio/pci.h"
#include "virtio/port.h"
#include "virtio/rng.h"
#include "x86/acpi.h"
#include "x86/cpu.h"
#include "x86/cpuid.h"
#include "x86/end-watch.h"
#include "x86/fdt.h"
#include "x86/i8042.h"
#include "x86/layout.h"
#include "x86/mptable.h"
#include "x86/pm.h"
#include "x86/pvpanic.h"
#include "x86/rtc.h"
#include "x86/serial.h"

/*
 * More queues than this only cost memory: one thread serves them all.
 */
#define MAX_BLK_QUEUES	16u
#define AIO_DEPTH	256u
#define SIZE_POLL_NS	1000000000ull
#define DELIVERY_TICK_NS 10000000ull

struct machine {
	const struct machine_config *config;
	struct boot *boot;
	struct mem *mem;
	/* Until it is joined the loader has boot and mem to itself. */
	pthread_t loader;
	pid_t loader_tid;
	int load_rc;
	bool loading;
	uint64_t loaded_ns;
	struct event_loop *loop;
	struct vm *vm;
	struct bus pio, mmio;
	int kvm_fd;
	bool buses_up;
	struct sink *log;		/* --console-log; NULL: none */
	struct term *term;
	struct term *serial_term;	/* what ttyS0 is attached to; may be term */

	/* Devices, in the order of create_devices(). */
	struct pm pm;
	struct pvpanic pvpanic;
	struct serial serial;
	struct rtc rtc;
	struct i8042 i8042;
	struct pci pci;
	struct machine_blk {
		char name[8];
		struct disk *disk;
		struct blk *blk;
	} blks[MACHINE_MAX_VIRTIO];
	struct machine_nic {
		struct net *net;
		struct virtio_net *device;
	} nics[MACHINE_MAX_VIRTIO];
	struct port *terminal_port;
	struct port *ports[CONSOLE_MAX_PORTS];
	struct console *console;
	struct rng *rng;
	struct slot {			/* of the virtio transport, in order */
		struct virtio_device *dev;
		struct virtio_pci *pci;
		struct virtio_mmio *mmio;
		bool asked;		/* by the user */
	} slots[MACHINE_MAX_VIRTIO];
	unsigned int nr_virtio;
	int size_timer;
	struct aio *aio;
	bool disks_stuck;		/* requests are in flight, and will be */
	bool urgent;			/* it shall end: by a signal, a key or the time limit */
	unsigned int devices_up;

	struct cpuid_table *cpuid;
	struct vcpu **vcpus;
	unsigned int nr_vcpus;
	struct signals *signals;
	bool announced;			/* on the terminal: what runs */
	int delivery_timer;
	bool delivers;			/* the guest has ended, its output waits for readers */
	bool tells_waiting;		/* that it does has been said */
	uint64_t deliver_until_ns;	/* 0: as long as it takes */
	struct end_watch end_watch;
	struct keeper keeper;
	struct front front;
	struct sandbox sandbox;
	void *dtb;
	size_t dtb_bytes;
};

/* ---- devices ---- */

static int create_pm(struct machine *m)
{
	return pm_init(&m->pm, m->vm, &m->pio);
}

static int create_pvpanic(struct machine *m)
{
	return pvpanic_init(&m->pvpanic, m->vm, &m->pio);
}

static int create_serial(struct machine *m)
{
	return serial_init(&m->serial, m->vm, &m->pio, m->serial_term, &m->end_watch.serial);
}

static void destroy_serial(struct machine *m)
{
	serial_fini(&m->serial);
}

static int create_rtc(struct machine *m)
{
	return rtc_init(&m->rtc, &m->pio);
}

static void destroy_rtc(struct machine *m)
{
	rtc_fini(&m->rtc);
}

static int create_i8042(struct machine *m)
{
	return i8042_init(&m->i8042, m->vm, &m->pio);
}

static void destroy_i8042(struct machine *m)
{
	i8042_fini(&m->i8042);
}

static int create_pci(struct machine *m)
{
	return pci_init(&m->pci, m->vm, &m->pio, &m->mmio);
}

static void destroy_pci(struct machine *m)
{
	pci_fini(&m->pci);
}

/* Gives @dev the next slot; its transport comes when all devices are there. */
static void add_virtio(struct machine *m, struct virtio_device *dev, bool asked)
{
	assert(m->nr_virtio < MACHINE_MAX_VIRTIO);
	m->slots[m->nr_virtio++] = (struct slot){ .dev = dev, .asked = asked };
}

static int create_transports(struct machine *m)
{
	int rc = 0;

	for (unsigned int i = 0; i < m->nr_virtio && !rc; i++) {
		struct slot *s = &m->slots[i];

		if (m->config->transport == TRANSPORT_PCI)
			rc = virtio_pci_create(&s->pci, s->dev, &m->pci, m->vm);
		else
			rc = virtio_mmio_create(&s->mmio, s->dev, &m->mmio, m->vm,
						layout_virtio_mmio(i),
						layout_virtio_mmio_gsi(i, m->config->acpi));
	}
	return rc;
}

static void destroy_transports(struct machine *m)
{
	/* What is in flight completes into rings and interrupts, which are still there. */
	if (m->aio && aio_drain(m->aio))
		assert(m->disks_stuck);
	while (m->nr_virtio) {
		m->nr_virtio--;
		virtio_pci_destroy(m->slots[m->nr_virtio].pci);
		virtio_mmio_destroy(m->slots[m->nr_virtio].mmio);
	}
}

static void on_size_timer(void *arg, uint32_t events)
{
	struct machine *m = arg;

	(void)events;
	for (unsigned int i = 0; i < m->config->nr_disks; i++)
		blk_poll_size(m->blks[i].blk);
}

/* vda, vdb ... vdz, vdaa ... */
static void name_disk(char name[8], unsigned int i)
{
	if (i < 26)
		snprintf(name, 8, "vd%c", (char)('a' + i));
	else
		snprintf(name, 8, "vd%c%c", (char)('a' + i / 26 - 1), (char)('a' + i % 26));
}

static int create_blks(struct machine *m)
{
	for (unsigned int i = 0; i < m->config->nr_disks; i++) {
		struct machine_blk *b = &m->blks[i];
		const struct blk_config config = {
			.name = b->name,
			.serial = m->config->disks[i].serial,
			.queues = (unsigned int)min_u64(m->config->cpus, MAX_BLK_QUEUES),
		};
		int rc;

		name_disk(b->name, i);
		rc = blk_create(&b->blk, m->loop, m->mem, b->disk, &config);
		if (rc)
			return rc;
		add_virtio(m, blk_device(b->blk), true);
	}
	if (!m->config->nr_disks)
		return 0;
	m->size_timer = event_timer_create(m->loop, on_size_timer, m);
	if (m->size_timer < 0)
		return m->size_timer;
	event_timer_set(m->loop, m->size_timer, SIZE_POLL_NS, SIZE_POLL_NS);
	return 0;
}

static void destroy_blks(struct machine *m)
{
	for (unsigned int i = m->config->nr_disks; i--;)
		blk_destroy(m->blks[i].blk);
}

static int create_nics(struct machine *m)
{
	for (unsigned int i = 0; i < m->config->nr_nets; i++) {
		struct machine_nic *n = &m->nics[i];
		struct virtio_net_params params = { .name = m->config->nets[i].name };
		int rc;

		memcpy(params.mac, m->config->nets[i].mac, sizeof(params.mac));
		rc = virtio_net_create(&n->device, m->loop, m->mem, n->net, &params);
		if (rc)
			return rc;
		add_virtio(m, virtio_net_device(n->device), true);
	}
	return 0;
}

static void destroy_nics(struct machine *m)
{
	for (unsigned int i = m->config->nr_nets; i--;)
		virtio_net_destroy(m->nics[i].device);
}

static void update_window_size(struct machine *m)
{
	uint16_t columns, rows;

	if (m->console && m->terminal_port && term_get_size(m->term, &columns, &rows))
		console_set_size(m->console, columns, rows);
}

static void on_console_output(void *arg, const char *data, size_t len)
{
	struct machine *m = arg;

	console_watch_put(&m->end_watch.virtio, data, len);
}

static int create_console(struct machine *m)
{
	int rc;

	if (!m->terminal_port && !m->config->nr_ports)
		return 0;
	rc = console_create(&m->console, m->loop, m->mem, m->terminal_port, m->ports,
			    m->config->nr_ports);
	if (rc)
		return rc;
	console_set_watch(m->console, on_console_output, m);
	update_window_size(m);
	add_virtio(m, console_device(m->console), true);
	return 0;
}

static void destroy_console(struct machine *m)
{
	console_destroy(m->console);
}

static int create_rng(struct machine *m)
{
	int rc;

	if (!m->config->rng)
		return 0;
	rc = rng_create(&m->rng, m->loop, m->mem, m->config->rng_rate);
	if (!rc)
		add_virtio(m, rng_device(m->rng), m->config->rng_asked);
	return rc;
}

static void destroy_rng(struct machine *m)
{
	rng_destroy(m->rng);
}

/* The board. A device whose init fails is destroyed, too: fini copes with half of one. */
static const struct {
	const char *name;
	int (*create)(struct machine *m);
	void (*destroy)(struct machine *m);	/* or NULL: it owns nothing */
} devices[] = {
	{ "power management", create_pm, NULL },
	{ "pvpanic", create_pvpanic, NULL },
	{ "serial port", create_serial, destroy_serial },
	{ "real-time clock", create_rtc, destroy_rtc },
	{ "keyboard controller", create_i8042, destroy_i8042 },
	{ "PCI host bridge", create_pci, destroy_pci },
	{ "disks", create_blks, destroy_blks },
	{ "networks", create_nics, destroy_nics },
	{ "virtio console", create_console, destroy_console },
	{ "entropy source", create_rng, destroy_rng },
	{ "virtio transports", create_transports, destroy_transports },
};

static int create_devices(struct machine *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		int rc = devices[i].create(m);

		m->devices_up++;
		if (rc) {
			log_error("machine: %s: %s", devices[i].name, strerror(-rc));
			return rc;
		}
	}
	return 0;
}

static void destroy_devices(struct machine *m)
{
	while (m->devices_up) {
		m->devices_up--;
		if (devices[m->devices_up].destroy)
			devices[m->devices_up].destroy(m);
	}
}

/* ---- set-up, step by step ---- */

static int open_kernel(struct machine *m)
{
	return boot_open(&m->boot, &m->config->boot);
}

static int create_memory(struct machine *m)
{
	uint64_t bytes = m->config->boot.ram_bytes;
	int rc = mem_create(&m->mem, bytes);

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
	int rc = vm_create(&m->vm, m->kvm_fd, m->mem, m->config->pit);

	if (rc)
		return rc;
	if (m->config->cpus > m->vm->max_vcpus) {
		log_error("cpus: %u: this host's KVM allows at most %u", m->config->cpus,
			  m->vm->max_vcpus);
		return -EINVAL;
	}
	return 0;
}

/* One ring for all disks: a batch is a batch, whoever contributed. */
static int open_disks(struct machine *m)
{
	int rc;

	if (!m->config->nr_disks)
		return 0;
	rc = aio_create(&m->aio, m->loop, m->config->aio, AIO_DEPTH);
	if (rc) {
		log_error("machine: disk I/O: %s", strerror(-rc));
		return rc;
	}
	for (unsigned int i = 0; i < m->config->nr_disks; i++) {
		rc = disk_open(&m->blks[i].disk, m->aio, &m->config->disks[i].disk);
		if (rc)
			return rc;
	}
	return 0;
}

static int create_loop(struct machine *m)
{
	int rc = event_loop_create(&m->loop);

	if (rc) {
		log_error("machine: event loop: %s", strerror(-rc));
		return rc;
	}
	bus_init(&m->pio);
	bus_init(&m->mmio);
	m->buses_up = true;
	return 0;
}

static int open_networks(struct machine *m)
{
	for (unsigned int i = 0; i < m->config->nr_nets; i++) {
		int rc = net_open(&m->nics[i].net, m->loop, &m->config->nets[i]);

		if (rc)
			return rc;
	}
	return 0;
}

static int wait_for_networks(struct machine *m)
{
	int rc = 0;

	for (unsigned int i = 0; i < m->config->nr_nets && !rc; i++)
		rc = net_wait_ready(m->nics[i].net);
	return rc;
}

/* Whoever wants us gone does not wait for readers much longer. */
static void hurry(struct machine *m)
{
	uint64_t soon = now_ns() + SINK_PATIENCE_NS;

	m->urgent = true;
	if (m->delivers && (!m->deliver_until_ns || m->deliver_until_ns > soon))
		m->deliver_until_ns = soon;
}

static void on_quit(void *arg)
{
	struct machine *m = arg;

	hurry(m);
	vm_request_stop(m->vm, STOP_QUIT);
}

/* Stops the whole job, as Ctrl-Z would. */
static void on_suspend(void *arg)
{
	struct machine *m = arg;

	signals_suspend(m->signals);
}

static void on_refused(void *arg)
{
	struct machine *m = arg;

	signals_take_terminal(m->signals);
}

static void on_break(void *arg)
{
	struct machine *m = arg;

	/* To Linux this character on hvc0 is what a break is on a serial line. */
	if (m->config->virtio_console)
		term_type(m->term, "\x0f", 1);
	else
		serial_send_break(&m->serial);
}

static void on_log_died(void *arg, int error)
{
	(void)arg;
	log_error("console-log: write: %s\nthe log ends here; the VM runs on.", strerror(error));
}

static int create_log(struct machine *m)
{
	const struct sink_config config = { .fd = m->config->log_fd, .is_own = true };
	int rc = config.fd < 0 ? 0 : sink_create(&m->log, m->loop, &config);

	if (!rc && m->log)
		sink_set_mourner(m->log, on_log_died, NULL);
	if (rc)
		log_error("machine: console log: %s", strerror(-rc));
	return rc;
}

static int create_terminal(struct machine *m)
{
	const struct term_config config = {
		.in_fd = m->config->in_fd,
		.out_fd = m->config->out_fd,
		.log = m->log,
		.quit = on_quit,
		.suspend = on_suspend,
		.send_break = on_break,
		.refused = isatty(m->config->in_fd) ? on_refused : NULL,
		.arg = m,
	};
	const struct term_config unseen = { .in_fd = -1, .out_fd = -1, .log = m->log };
	int rc = term_create(&m->term, m->loop, &config);

	/* With hvc0 on the terminal, ttyS0 has the log and the last lines. */
	m->serial_term = m->term;
	if (!rc && m->config->virtio_console) {
		m->serial_term = NULL;
		rc = term_create(&m->serial_term, m->loop, &unseen);
	}
	if (rc)
		log_error("machine: terminal: %s", strerror(-rc));
	return rc;
}

static int open_ports(struct machine *m)
{
	const struct port_config terminal = {
		.kind = PORT_TERM, .name = "console", .term = m->term,
	};
	int rc = 0;

	if (m->config->virtio_console)
		rc = port_create(&m->terminal_port, m->loop, &terminal);
	for (unsigned int i = 0; i < m->config->nr_ports && !rc; i++)
		rc = port_create(&m->ports[i], m->loop, &m->config->ports[i]);
	return rc;
}

/* A guest-physical address has to fit into what this host's CPU can address. */
static int check_address_width(struct machine *m)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(m->cpuid, 0x80000008, 0);
	unsigned int bits = e && e->eax & 0xff ? e->eax & 0xff : 36;

	if (bits < 64 && m->mem->mapping_bytes > 1ull << bits) {
		log_error("memory: %llu MiB: this host's CPU addresses %u bits (%llu MiB)\n"
			  "use a smaller -m.", (unsigned long long)(m->mem->size_bytes >> 20),
			  bits, 1ull << (bits - 20));
		return -EINVAL;
	}
	return 0;
}

static int create_vcpus(struct machine *m)
{
	unsigned int cpus = m->config->cpus;
	int rc;

	m->cpuid = malloc(sizeof(*m->cpuid));
	m->vcpus = calloc(cpus, sizeof(struct vcpu *));
	if (!m->cpuid || !m->vcpus)
		return log_enomem("machine");
	rc = cpuid_read_supported(m->cpuid, m->vm->sys_fd);
	if (rc) {
		log_error("machine: KVM_GET_SUPPORTED_CPUID: %s", strerror(-rc));
		return rc;
	}
	rc = check_address_width(m);
	for (unsigned int i = 0; i < cpus && !rc; i++) {
		rc = vcpu_create(&m->vcpus[i], m->vm, i, layout_apic_id(i), &m->pio, &m->mmio,
				 m->mem);
		if (rc)
			break;
		m->nr_vcpus++;
		rc = cpu_init(m->vcpus[i], m->vm, m->cpuid, cpus, m->config->nested);
	}
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
	m->load_rc = boot_load(m->boot, m->mem);
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
	return m->load_rc;
}

static unsigned int nr_virtio_mmio(const struct machine *m)
{
	return m->config->transport == TRANSPORT_MMIO ? m->nr_virtio : 0;
}

static int write_acpi(struct machine *m, gpa_t *rsdp)
{
	const struct acpi_input in = {
		.base = LAYOUT_ACPI,
		.cpus = m->config->cpus,
		.nr_virtio_mmio = nr_virtio_mmio(m),
	};
	uint8_t tables[LAYOUT_ACPI_MAX];
	int n;

	*rsdp = 0;
	if (!m->config->acpi)
		return 0;
	n = acpi_build(tables, sizeof(tables), &in);
	if (n < 0)
		return n;
	*rsdp = LAYOUT_ACPI;
	return mem_write(m->mem, LAYOUT_ACPI, tables, (uint64_t)n);
}

static int write_mptable(struct machine *m)
{
	uint8_t table[LAYOUT_MPTABLE_MAX];
	int n;

	if (!m->config->mptable)
		return 0;
	n = mptable_build(table, sizeof(table), LAYOUT_MPTABLE, m->config->cpus);
	return n < 0 ? n : mem_write(m->mem, LAYOUT_MPTABLE, table, (uint64_t)n);
}

/*
 * Where a PC's firmware starts after a reset. Kernels jump there to reboot, Linux
 * even first of all on hardware-reduced ACPI without EFI; the code writes the
 * reset register.
 */
static int write_reset_vector(struct machine *m)
{
	static const uint8_t code[] = {
		0xba, PORT_RESET & 0xff, PORT_RESET >> 8,	/* mov $PORT_RESET, %dx */
		0xb0, RESET_VALUE,				/* mov $RESET_VALUE, %al */
		0xee,						/* out %al, %dx */
		0xf4,						/* hlt */
		0xeb, 0xfd,					/* jmp to the hlt */
	};

	return mem_write(m->mem, LAYOUT_RESET_VECTOR, code, sizeof(code));
}

static int dump_dtb(const struct machine *m)
{
	const char *path = m->config->dump_dtb;
	int fd = output_open(path, O_TRUNC);
	int rc = fd < 0 ? fd : 0;
	struct output out;

	output_init_own(&out, fd);
	if (!rc)
		rc = output_write_all(&out, m->dtb, m->dtb_bytes, OUTPUT_PATIENCE_MS);
	if (fd >= 0)
		close(fd);
	if (rc)
		log_error("dump-dtb: %s: %s", path,
			  rc == -ETIMEDOUT ? "nobody reads it" : strerror(-rc));
	return rc;
}

static int build_fdt(struct machine *m)
{
	const struct boot_segment initrd = boot_initrd_place(m->boot);
	const struct fdt_input in = {
		.ram_bytes = m->config->boot.ram_bytes,
		.cpus = m->config->cpus,
		.cmdline = boot_get_cmdline(m->boot),
		.initrd = initrd.gpa,
		.initrd_bytes = initrd.mem_bytes,
		.nr_virtio_mmio = nr_virtio_mmio(m),
		.acpi = m->config->acpi,
	};
	size_t max = fdt_bytes_needed(&in);
	int n;

	if (!m->config->fdt && !m->config->dump_dtb)
		return 0;
	m->dtb = malloc(max);
	if (!m->dtb)
		return log_enomem("fdt");
	n = fdt_build(m->dtb, max, &in);
	if (n < 0) {
		log_error("fdt: the device tree does not fit into %zu bytes", max);
		return n;
	}
	m->dtb_bytes = (size_t)n;
	return m->config->dump_dtb ? dump_dtb(m) : 0;
}

static int describe_machine(struct machine *m)
{
	gpa_t rsdp;
	int rc = write_acpi(m, &rsdp);

	if (!rc)
		rc = write_mptable(m);
	if (!rc)
		rc = write_reset_vector(m);
	if (rc) {
		log_error("machine: its tables do not fit: %s", strerror(-rc));
		return rc;
	}
	rc = build_fdt(m);
	if (rc)
		return rc;
	return boot_finish(m->boot, m->mem, m->config->fdt ? m->dtb : NULL, m->dtb_bytes, rsdp,
			   cpuid_has_five_levels(m->cpuid));
}

static int set_entry(struct machine *m)
{
	return cpu_set_start(m->vcpus[0], &boot_get_plan(m->boot)->start);
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
	static int (*const steps[])(struct machine *m) = {
		open_kernel,		/* user errors first */
		create_loop,
		open_disks,
		open_networks,
		create_log,
		create_terminal,
		open_ports,
		open_kvm,
		NULL
	};
	struct machine *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return log_enomem("machine");
	m->config = config;
	m->kvm_fd = -1;
	end_watch_init(&m->end_watch);
	keeper_init(&m->keeper, NULL);
	front_init(&m->front);
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

	if (!m->config->nr_disks || !partition_read(m->blks[0].disk, &table) || !table.present)
		return 0;
	if (table.root)
		return table.root;
	for (unsigned int i = 0; i < table.nr_linux && n < (int)sizeof(numbers) - 8; i++)
		n += snprintf(numbers + n, sizeof(numbers) - (size_t)n, "%s%u", i ? ", " : "",
			      table.linux_numbers[i]);
	log_notice("disk: %s: %s%s: which one has the root file system?\nsay it: -p root=/dev/vda%u",
		   m->blks[0].disk->path, table.nr_linux ? "its Linux partitions are " :
		   "it has partitions, none of them of type Linux", table.nr_linux ? numbers : "",
		   table.nr_linux ? table.linux_numbers[0] : 1);
	return 0;
}

int machine_update_cmdline(struct machine *m)
{
	return boot_update_cmdline(m->boot);
}

/* Beside the VM: what needs names of files while it runs. */
static int start_keeper(struct machine *m)
{
	keeper_init(&m->keeper, m->config->log_path);
	for (unsigned int i = 0; i < m->config->nr_ports; i++)
		keeper_add_socket(&m->keeper, port_take_name(m->ports[i]));
	for (unsigned int i = 0; i < m->config->nr_nets; i++) {
		keeper_add_socket(&m->keeper, net_take_name(m->nics[i].net));
		keeper_add_child(&m->keeper, net_take_child(m->nics[i].net));
	}
	return keeper_start(&m->keeper, &m->sandbox);
}

int machine_separate(struct machine *m, int keep_fd, struct front_end *end)
{
	const struct front_config config = {
		.tty = m->config->in_fd,
		.has_log = m->config->log_path != NULL,
		.keep_fd = keep_fd,
	};
	int rc = start_keeper(m);

	return rc ? rc : front_separate(&m->front, &m->sandbox, &config, end);
}

bool machine_report(struct machine *m, const void *report, size_t bytes)
{
	return front_report(&m->front, report, bytes);
}

bool machine_is_supervised(const struct machine *m)
{
	return front_is_there(&m->front);
}

int machine_create(struct machine *m)
{
	static int (*const steps[])(struct machine *m) = {
		create_memory,
		start_loading,
		create_vm,
		create_devices,
		create_vcpus,
		wait_for_networks,	/* they and the loader had time */
		finish_loading,
		describe_machine,	/* ACPI, MP table, device tree, zero page */
		set_entry,
		NULL
	};

	return take_steps(m, steps);
}

/*
 * With requests that a disk does not answer everything that they may still be written to has to
 * stay. What others would miss is undone; the process is about to end.
 */
static void leave(struct machine *m)
{
	for (unsigned int i = m->config->nr_nets; i--;)
		net_close(m->nics[i].net);
	keeper_stop(&m->keeper);
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
	for (unsigned int i = 0; i < m->nr_vcpus; i++)
		vcpu_destroy(m->vcpus[i]);
	if (m->vm)
		vm_begin_teardown(m->vm);
	free(m->vcpus);
	free(m->cpuid);
	free(m->dtb);
	destroy_devices(m);
	for (unsigned int i = m->config->nr_disks; i--;)
		disk_close(m->blks[i].disk);
	aio_destroy(m->aio);
	for (unsigned int i = m->config->nr_nets; i--;)
		net_close(m->nics[i].net);
	for (unsigned int i = m->config->nr_ports; i--;)
		port_destroy(m->ports[i]);
	port_destroy(m->terminal_port);
	if (m->serial_term != m->term)
		term_destroy(m->serial_term);
	term_destroy(m->term);
	sink_destroy(m->log);
	if (m->buses_up) {
		bus_fini(&m->mmio);
		bus_fini(&m->pio);
	}
	vm_destroy(m->vm);
	if (m->kvm_fd >= 0)
		close(m->kvm_fd);
	signals_stop(m->signals);
	log_stop();
	event_loop_destroy(m->loop);
	mem_destroy(m->mem);
	boot_destroy(m->boot);
	keeper_stop(&m->keeper);
	front_fini(&m->front);
	sandbox_fini(&m->sandbox);
	free(m);
}

const char *machine_get_cmdline(const struct machine *m)
{
	return boot_get_cmdline(m->boot);
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
	const struct boot_segment initrd = boot_initrd_place(m->boot);
	const struct cpu_start *start = &boot_get_plan(m->boot)->start;
	int n;

	n = snprintf(text, bytes, "%s %s, %s at %#llx; %u CPU%s, %llu MiB",
		     boot_describe(m->boot), c->flat ? c->flat : c->kernel,
		     entries[start->entry], (unsigned long long)start->rip, m->config->cpus,
		     m->config->cpus == 1 ? "" : "s", (unsigned long long)(c->ram_bytes >> 20));
	if (initrd.mem_bytes && n > 0 && (size_t)n < bytes)
		snprintf(text + n, bytes - (size_t)n, "; initrd %llu bytes at %#llx",
			 (unsigned long long)initrd.mem_bytes, (unsigned long long)initrd.gpa);
}

/* ---- running ---- */

/* The log's name may stand for another file now (log rotation). */
static void reopen_log(void *arg)
{
	struct machine *m = arg;

	keeper_reopen_log(&m->keeper);
}

static void on_log_opened(void *arg, int fd)
{
	struct machine *m = arg;

	if (fd >= 0)
		sink_set_fd(m->log, fd);
	else
		log_error("console-log: %s: %s\nthe old file is kept.", m->config->log_path,
			  strerror(-fd));
}

static void on_end(void *arg, int signal)
{
	struct machine *m = arg;

	hurry(m);
	vm_request_stop_signal(m->vm, signal);
}

static void on_timed_out(void *arg)
{
	struct machine *m = arg;

	vm_request_stop(m->vm, STOP_TIMEOUT);
}

static void on_continue(void *arg)
{
	struct machine *m = arg;

	for (unsigned int i = 0; i < m->nr_vcpus; i++)
		vcpu_kick(m->vcpus[i], VCPU_REQUEST_PAUSED);
	update_window_size(m);
}

static void on_resize(void *arg)
{
	update_window_size(arg);
}

static void on_terminal(void *arg, enum tty_state state)
{
	struct machine *m = arg;
	char text[512];

	term_set_terminal(m->term, state);
	if (state != TTY_RAW)
		return;
	update_window_size(m);
	if (m->announced)
		return;
	m->announced = true;
	machine_describe(m, text, sizeof(text));
	log_notice("%s. Ctrl-A x quits.", text);
}

/* Signals arrive as events. */
static int take_signals(struct machine *m)
{
	const struct signals_client client = {
		.end = on_end,
		.timed_out = on_timed_out,
		.reopen_log = reopen_log,
		.continued = on_continue,
		.resized = on_resize,
		.terminal = on_terminal,
		.arg = m,
	};

	return signals_start(&m->signals, m->loop, &m->front, m->config->in_fd,
			     m->config->log_path != NULL, &client);
}

static void on_stop(void *arg, uint32_t events)
{
	struct machine *m = arg;

	(void)events;
	event_stop(m->loop);
}

static void on_timeout(void *arg, uint32_t events)
{
	(void)events;
	on_timed_out(arg);
}

static int start_timeout(struct machine *m)
{
	uint64_t used = now_ns() - m->config->start_ns;
	uint64_t timeout = m->config->timeout_ns;
	int timer;

	if (!timeout)
		return 0;
	timer = event_timer_create(m->loop, on_timeout, m);
	if (timer < 0)
		return timer;
	event_timer_set(m->loop, timer, timeout > used ? timeout - used : 1, 0);
	return 0;
}

static int watch_for_the_end(struct machine *m)
{
	int rc = take_signals(m);

	if (rc >= 0)
		rc = keeper_watch(&m->keeper, m->loop, on_log_opened, m);
	if (rc >= 0)
		rc = event_add(m->loop, m->vm->stop_fd, EPOLLIN, on_stop, m);
	if (rc >= 0)
		rc = start_timeout(m);
	if (rc >= 0)
		rc = end_watch_start(&m->end_watch, m->loop, m->vm, m->vcpus, m->nr_vcpus);
	if (rc < 0) {
		log_error("machine: events: %s", strerror(-rc));
		return rc;
	}
	return 0;
}

static int start_vcpus(struct machine *m)
{
	int rc = vcpu_install_kick_handler();

	for (unsigned int i = 0; i < m->nr_vcpus && !rc; i++)
		rc = vcpu_start(m->vcpus[i], &m->sandbox);
	return rc;
}

/* All threads, each behind its filter; this one becomes the event loop. */
static int start_threads(struct machine *m)
{
	int workers = m->aio ? aio_start(m->aio, &m->sandbox) : 0;
	int rc = workers < 0 ? workers : start_vcpus(m);

	if (!rc)
		rc = sandbox_confine(&m->sandbox, SANDBOX_LOOP);	/* at the same time as they */
	return rc ? rc : sandbox_wait(&m->sandbox, (unsigned int)workers + m->nr_vcpus);
}

/* ---- delivering what is left ---- */

static bool is_delivered(struct sink *s, bool patient)
{
	return !s || sink_is_empty(s) || (!patient && sink_has_stopped(s));
}

/* The console's reader may be a pager: it is waited for. */
static bool all_is_delivered(const struct machine *m)
{
	return is_delivered(term_sink(m->term), true) &&
	       is_delivered(term_sink(m->serial_term), true) && is_delivered(m->log, false) &&
	       is_delivered(log_sink(), false);
}

/* Once, and not of a reader who is only slow. */
static void tell_waiting(struct machine *m)
{
	if (m->tells_waiting || !sink_has_stopped(term_sink(m->term)))
		return;
	m->tells_waiting = true;
	log_notice("console: the guest has ended, and nobody reads the rest of its output\n"
		   "Ctrl-C drops it.");
}

static void on_delivery_timer(void *arg, uint32_t events)
{
	struct machine *m = arg;

	(void)events;
	tell_waiting(m);
	if (all_is_delivered(m) || (m->deliver_until_ns && now_ns() >= m->deliver_until_ns))
		event_stop(m->loop);
}

static int create_delivery_timer(struct machine *m)
{
	m->delivery_timer = event_timer_create(m->loop, on_delivery_timer, m);
	event_keep(m->loop, m->delivery_timer);
	return m->delivery_timer < 0 ? m->delivery_timer : 0;
}

/* The loop once more, for what concerns the terminal and its user only. */
static void wait_for_readers(struct machine *m)
{
	m->delivers = true;
	event_restart(m->loop);
	event_timer_set(m->loop, m->delivery_timer, DELIVERY_TICK_NS, DELIVERY_TICK_NS);
	event_run(m->loop);
}

static void report_dropped(const char *what, struct sink *s)
{
	sink_finish(s, 0);
	if (sink_dropped(s))
		log_notice("%s: %llu bytes of guest output dropped: %s", what,
			   (unsigned long long)sink_dropped(s), sink_why_dropped(s));
}

/* Who wants us gone does not wait for what is not there: a disk's answer, a reader. */
static bool is_urgent(enum stop_reason reason)
{
	return reason == STOP_SIGNAL || reason == STOP_QUIT || reason == STOP_TIMEOUT;
}

static void deliver_output(struct machine *m, enum stop_reason reason)
{
	if (m->config->timeout_ns)
		m->deliver_until_ns = m->config->start_ns + m->config->timeout_ns;
	if (is_urgent(reason))
		m->deliver_until_ns = now_ns() + SINK_PATIENCE_NS;
	sink_flush(term_sink(m->term));
	sink_flush(term_sink(m->serial_term));
	if (m->log)
		sink_flush(m->log);
	if (!all_is_delivered(m))
		wait_for_readers(m);
	report_dropped("console", term_sink(m->term));
	if (m->log)
		report_dropped("console-log", m->log);
}

/* ---- starting ---- */

/* After the last process of our own has been started: the sink is this one's. */
static int start_log(struct machine *m)
{
	int rc = log_start(m->loop);

	if (!rc)
		rc = create_delivery_timer(m);
	if (rc)
		log_error("machine: messages: %s", strerror(-rc));
	return rc;
}

static int start(struct machine *m, struct machine_result *result)
{
	int rc = watch_for_the_end(m);

	if (rc)
		return rc;
	boot_start_store(m->boot, &m->sandbox);	/* the last one to open files */
	rc = start_log(m);
	if (rc)
		return rc;
	rc = front_wait(&m->front, &m->sandbox);
	if (!rc)
		rc = sandbox_enter(&m->sandbox);
	if (rc)
		return rc;
	signals_take_terminal(m->signals);
	rc = start_threads(m);
	if (rc)
		return rc;
	result->entered_ns = now_ns();
	for (unsigned int i = 0; i < m->nr_vcpus; i++)
		vcpu_release(m->vcpus[i]);
	return 0;
}

/* Kicked first and joined afterwards, so that they stop at the same time. */
static void stop_vcpus(struct machine *m)
{
	for (unsigned int i = 0; i < m->nr_vcpus; i++)
		vcpu_kick(m->vcpus[i], VCPU_REQUEST_STOP);
	for (unsigned int i = 0; i < m->nr_vcpus; i++)
		vcpu_join(m->vcpus[i]);
}

/*
 * A guest that has ended in order waits for its disks as long as it takes; a signal or the
 * timeout ends that.
 */
static void limit_disks(struct machine *m)
{
	uint64_t timeout = m->config->timeout_ns;
	uint64_t end = timeout ? m->config->start_ns + timeout + AIO_GRACE_NS : 0;

	if (m->urgent && (!end || end > now_ns() + AIO_GRACE_NS))
		end = now_ns() + AIO_GRACE_NS;
	aio_set_limit(m->aio, end);
}

/* An order or a key while disks are waited for; one of them may be to end at once. */
static void on_disks_wait(void *arg)
{
	struct machine *m = arg;
	bool was_urgent = m->urgent;

	event_poll(m->loop);
	if (m->urgent && !was_urgent)
		limit_disks(m);
}

static void finish_disks(struct machine *m, struct machine_result *result)
{
	m->urgent |= is_urgent(result->reason);
	if (m->aio) {
		aio_set_news(m->aio, event_fd(m->loop), on_disks_wait, m);
		limit_disks(m);
	}
	for (unsigned int i = 0; i < m->config->nr_disks; i++) {
		int rc = disk_finish(m->blks[i].disk);

		result->data_lost |= rc != 0;
		m->disks_stuck |= rc == -ETIMEDOUT;
	}
	result->disks_stuck = m->disks_stuck;
}

void machine_run(struct machine *m, struct machine_result *result)
{
	int rc;

	*result = (struct machine_result){ .reason = STOP_ERROR };
	rc = start(m, result);
	if (!rc) {
		rc = event_run(m->loop);
		if (rc)
			log_error("machine: event loop: %s", strerror(-rc));
	}
	if (rc)
		vm_request_stop(m->vm, STOP_ERROR);
	event_stop(m->loop);
	stop_vcpus(m);
	result->reason = vm_stop_reason(m->vm);
	event_narrow(m->loop);	/* to the user's orders and keys */
	term_end(m->term);
	finish_disks(m, result);
	result->loaded_ns = m->loaded_ns;
	result->first_access_ns = m->vcpus[0]->first_access_ns;
	result->opened_ns = serial_opened_ns(&m->serial);
	result->words = end_watch_words(&m->end_watch);
	result->shutdown = end_watch_shutdown(&m->end_watch, result->reason, !m->config->boot.flat);
	result->signal = atomic_load(&m->vm->stop_signal);
	deliver_output(m, result->reason);
	signals_release_terminal(m->signals);
}

void machine_report_lost(struct machine *m)
{
	if (!term_is_shown(m->serial_term))
		term_report_last_lines(m->serial_term, MACHINE_LOST_LINES);
}

/*
 * Devices that a transport's driver found and no other took: their names after each
 * other. False if there are none.
 */
static bool list_unused(const struct machine *m, const struct virtio_ops *ops, char *text,
			size_t bytes)
{
	size_t n = 0;

	for (unsigned int i = 0; i < m->nr_virtio && n < bytes; i++) {
		const struct slot *s = &m->slots[i];

		if (s->asked && atomic_load(&s->dev->was_found) && !s->dev->had_driver &&
		    s->dev->ops == ops)
			n += (size_t)snprintf(text + n, bytes - n, "%s%s", n ? ", " : "",
					      s->dev->name);
	}
	return n > 0;
}

/*
 * What a guest lacks that did not find our devices. It tells by what it touched: a kernel
 * without PCI reads nothing of our functions but ids, and ECAM's address is in ACPI's tables only.
 */
static const char *transport_advice(const struct machine *m)
{
	if (m->config->transport == TRANSPORT_PCI && !atomic_load(&m->pci.was_scanned))
		return "its kernel seems to be built without PCI: try --transport mmio --acpi off.";
	if (m->config->transport == TRANSPORT_PCI)
		return "the guest's kernel needs virtio_pci (CONFIG_VIRTIO_PCI), built in or loaded by "
		       "its initrd.";
	if (!m->config->acpi)
		return "the guest's kernel needs virtio_mmio (CONFIG_VIRTIO_MMIO), and "
		       "CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES to find them without ACPI.";
	if (!atomic_load(&m->pci.ecam_was_read))
		return "if its kernel is built without ACPI, try --acpi off; otherwise it needs "
		       "virtio_mmio (CONFIG_VIRTIO_MMIO).";
	return "the guest's kernel needs virtio_mmio (CONFIG_VIRTIO_MMIO), built in or loaded by its "
	       "initrd.";
}

void machine_report_missing_drivers(const struct machine *m)
{
	bool unseen = false;
	char names[256];

	for (unsigned int i = 0; i < m->nr_virtio; i++) {
		const struct slot *s = &m->slots[i];
		bool first = true;

		unseen |= s->asked && !atomic_load(&s->dev->was_found);
		for (unsigned int k = 0; k < i; k++)
			first &= m->slots[k].dev->ops != s->dev->ops || !m->slots[k].asked;
		if (first && s->asked && list_unused(m, s->dev->ops, names, sizeof(names)))
			log_notice("%s: the guest did not use it\nthe guest's kernel needs %s, built in or "
				   "loaded by its initrd.", names, s->dev->ops->driver);
	}
	if (unseen)
		log_notice("virtio-%s: the guest did not look for devices there\n%s",
			   m->config->transport == TRANSPORT_PCI ? "pci" : "mmio",
			   transport_advice(m));
}
