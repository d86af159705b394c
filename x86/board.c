// SPDX-License-Identifier: GPL-2.0-only
/*
 * The board: what the guest can see of its machine (board.h).
 *
 * devices[] is the list of devices, each with a function that creates it; its order is that of
 * creation, and of the numbers of virtio devices. They are destroyed in reverse, so that a failed
 * start and an ordinary end are the same path. All of this runs on the main thread.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk/disk.h"
#include "event.h"
#include "kvm-cpu.h"
#include "kvm.h"
#include "log.h"
#include "mem.h"
#include "net/net.h"
#include "term.h"
#include "util.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/device.h"
#include "virtio/mmio.h"
#include "virtio/net.h"
#include "virtio/pci.h"
#include "virtio/port.h"
#include "virtio/rng.h"
#include "x86/board.h"
#include "x86/cpu.h"
#include "x86/cpuid.h"
#include "x86/end-watch.h"
#include "x86/layout.h"

/* More queues than this only cost memory: one thread serves them all. */
#define MAX_BLK_QUEUES 16u
#define SIZE_POLL_NS   1000000000ull

/* ---- devices ---- */

static int create_pm(struct board *b)
{
	return pm_init(&b->pm, b->host->vm, &b->pio);
}

static int create_pvpanic(struct board *b)
{
	return pvpanic_init(&b->pvpanic, b->host->vm, &b->pio);
}

static int create_serial(struct board *b)
{
	return serial_init(&b->serial, b->host->vm, &b->pio, b->host->serial_term,
			   &b->host->end_watch->serial);
}

static void destroy_serial(struct board *b)
{
	serial_fini(&b->serial);
}

static int create_rtc(struct board *b)
{
	return rtc_init(&b->rtc, &b->pio);
}

static void destroy_rtc(struct board *b)
{
	rtc_fini(&b->rtc);
}

static int create_i8042(struct board *b)
{
	return i8042_init(&b->i8042, b->host->vm, &b->pio);
}

static void destroy_i8042(struct board *b)
{
	i8042_fini(&b->i8042);
}

static int create_pci(struct board *b)
{
	static const struct pci_places places = LAYOUT_PCI_PLACES;

	static_assert(GSI_PCI_LINES == PCI_INTX_LINES, "as many as the bus has");
	return pci_init(&b->pci, &places, b->host->vm, &b->pio, &b->mmio);
}

static void destroy_pci(struct board *b)
{
	pci_fini(&b->pci);
}

/* Gives @dev the next slot; its transport comes when all devices are there. */
static void add_virtio(struct board *b, struct virtio_device *dev, bool requested)
{
	assert(b->nr_virtio < BOARD_MAX_VIRTIO);
	b->slots[b->nr_virtio++] = (struct board_slot){ .dev = dev, .requested = requested };
}

static int create_transports(struct board *b)
{
	int rc = 0;

	for (unsigned int i = 0; i < b->nr_virtio && !rc; i++) {
		struct board_slot *s = &b->slots[i];

		if (b->config->transport == TRANSPORT_PCI)
			rc = virtio_pci_create(&s->pci, s->dev, &b->pci, b->host->vm);
		else
			rc = virtio_mmio_create(&s->mmio, s->dev, &b->mmio, b->host->vm,
						layout_virtio_mmio(i),
						layout_virtio_mmio_gsi(i, b->config->acpi));
	}
	return rc;
}

static void destroy_transports(struct board *b)
{
	while (b->nr_virtio) {
		b->nr_virtio--;
		virtio_pci_destroy(b->slots[b->nr_virtio].pci);
		virtio_mmio_destroy(b->slots[b->nr_virtio].mmio);
	}
}

static void on_size_timer(void *arg, uint32_t events)
{
	struct board *b = arg;

	(void)events;
	for (unsigned int i = 0; i < b->host->nr_disks; i++)
		blk_poll_size(b->blks[i].blk);
}

void board_tell_disk_size(struct board *b, unsigned int disk)
{
	blk_tell_size(b->blks[disk].blk);
}

/* vda, vdb ... vdz, vdaa ... */
static void name_disk(char name[8], unsigned int i)
{
	if (i < 26)
		snprintf(name, 8, "vd%c", (char)('a' + i));
	else
		snprintf(name, 8, "vd%c%c", (char)('a' + i / 26 - 1), (char)('a' + i % 26));
}

static int create_blks(struct board *b)
{
	for (unsigned int i = 0; i < b->host->nr_disks; i++) {
		const struct board_disk *lent = &b->host->disks[i];
		struct board_blk *blk = &b->blks[i];
		const struct blk_config config = {
			.name = blk->name,
			.serial = lent->serial,
			.queues = (unsigned int)min_u64(b->config->cpus, MAX_BLK_QUEUES),
		};
		int rc;

		name_disk(blk->name, i);
		rc = blk_create(&blk->blk, b->host->loop, b->host->mem, lent->disk, &config);
		if (rc)
			return rc;
		add_virtio(b, blk_device(blk->blk), !lent->is_ours);
	}
	if (!b->host->nr_disks)
		return 0;
	b->size_timer = event_timer_create(b->host->loop, on_size_timer, b);
	if (b->size_timer < 0)
		return b->size_timer;
	event_timer_set(b->host->loop, b->size_timer, SIZE_POLL_NS, SIZE_POLL_NS);
	return 0;
}

static void destroy_blks(struct board *b)
{
	for (unsigned int i = b->host->nr_disks; i--;)
		blk_destroy(b->blks[i].blk);
}

static int create_nics(struct board *b)
{
	for (unsigned int i = 0; i < b->host->nr_nets; i++) {
		const struct board_net *lent = &b->host->nets[i];
		struct virtio_net_params params = { .name = lent->name };
		int rc;

		memcpy(params.mac, lent->mac, sizeof(params.mac));
		rc = virtio_net_create(&b->nics[i], b->host->loop, b->host->mem, lent->net, &params);
		if (rc)
			return rc;
		add_virtio(b, virtio_net_device(b->nics[i]), true);
	}
	return 0;
}

static void destroy_nics(struct board *b)
{
	for (unsigned int i = b->host->nr_nets; i--;)
		virtio_net_destroy(b->nics[i]);
}

void board_update_window_size(struct board *b)
{
	uint16_t columns, rows;

	if (b->console && b->host->terminal_port && term_get_size(b->host->term, &columns, &rows))
		console_set_size(b->console, columns, rows);
}

/*
 * An edge for who waits for it. A kernel that has not come to its interrupts yet would get it as one that
 * it has no name for, by the 8259.
 */
static bool board_send_event(const struct board *b, unsigned int gsi)
{
	if (!b->config->acpi || !vm_irq_is_wanted(b->host->vm, gsi))
		return false;
	vm_set_irq_level(b->host->vm, gsi, true);
	vm_set_irq_level(b->host->vm, gsi, false);
	return true;
}

bool board_press_power_button(struct board *b)
{
	return board_send_event(b, GSI_POWER_BUTTON);
}

int board_renew_generation(const struct board *b)
{
	uint8_t id[16];
	int rc = 0;

	if (!b->config->acpi)
		return 0;
	if (random_bytes(id, sizeof(id)))
		rc = -EIO;
	if (!rc)
		rc = mem_write(b->host->mem, LAYOUT_GENERATION, id, sizeof(id));
	if (!rc)
		board_send_event(b, GSI_GENERATION);
	return rc;
}

static void on_console_output(void *arg, const char *data, size_t len)
{
	struct board *b = arg;

	console_watch_put(&b->host->end_watch->virtio, data, len);
}

static int create_console(struct board *b)
{
	int rc;

	if (!b->host->terminal_port && !b->host->nr_ports)
		return 0;
	rc = console_create(&b->console, b->host->loop, b->host->mem, b->host->terminal_port,
			    b->host->ports, b->host->nr_ports);
	if (rc)
		return rc;
	console_set_watch(b->console, on_console_output, b);
	board_update_window_size(b);
	add_virtio(b, console_device(b->console), b->host->terminal_port || !b->host->ports_are_ours);
	return 0;
}

static void destroy_console(struct board *b)
{
	console_destroy(b->console);
}

static int create_rng(struct board *b)
{
	int rc;

	if (!b->config->rng)
		return 0;
	rc = rng_create(&b->rng, b->host->loop, b->host->mem, b->config->rng_rate);
	if (!rc)
		add_virtio(b, rng_device(b->rng), b->config->rng_requested);
	return rc;
}

static void destroy_rng(struct board *b)
{
	rng_destroy(b->rng);
}

/* A device whose init fails is destroyed, too: fini copes with half of one. */
static const struct {
	const char *name;
	int (*create)(struct board *b);
	void (*destroy)(struct board *b); /* or NULL: it owns nothing */
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

int board_create_devices(struct board *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		int rc = devices[i].create(b);

		b->devices_up++;
		if (rc) {
			log_error("machine: %s: %s", devices[i].name, strerror(-rc));
			return rc;
		}
	}
	return 0;
}

static void destroy_devices(struct board *b)
{
	while (b->devices_up) {
		b->devices_up--;
		if (devices[b->devices_up].destroy)
			devices[b->devices_up].destroy(b);
	}
}

/* ---- CPUs ---- */

/* A guest-physical address has to fit into what this host's CPU can address. */
static int check_address_width(struct board *b)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(b->cpuid, 0x80000008, 0);
	unsigned int bits = e && e->eax & 0xff ? e->eax & 0xff : 36;

	if (bits < 64 && b->host->mem->mapping_bytes > 1ull << bits) {
		log_error("memory: %llu MiB: this host's CPU addresses %u bits (%llu MiB)\n"
			  "use a smaller -m.",
			  (unsigned long long)(b->host->mem->size_bytes >> 20),
			  bits, 1ull << (bits - 20));
		return -EINVAL;
	}
	return 0;
}

struct cpu_config board_cpu_config(const struct board *b)
{
	return (struct cpu_config){
		.supported = b->cpuid,
		.cpus = b->config->cpus,
		.nested = b->config->nested,
		.tsc_khz = b->config->tsc_khz,
	};
}

int board_create_vcpus(struct board *b)
{
	unsigned int cpus = b->config->cpus;
	struct cpu_config config;
	int rc;

	b->cpuid = malloc(sizeof(*b->cpuid));
	b->vcpus = calloc(cpus, sizeof(struct vcpu *));
	if (!b->cpuid || !b->vcpus)
		return log_enomem("machine");
	rc = cpuid_read_supported(b->cpuid, b->host->vm->sys_fd);
	if (rc) {
		log_error("machine: KVM_GET_SUPPORTED_CPUID: %s", strerror(-rc));
		return rc;
	}
	config = board_cpu_config(b);
	rc = check_address_width(b);
	for (unsigned int i = 0; i < cpus && !rc; i++) {
		rc = vcpu_create(&b->vcpus[i], b->host->vm, i, layout_apic_id(i), &b->pio, &b->mmio,
				 b->host->mem);
		if (rc)
			break;
		b->nr_vcpus++;
		rc = cpu_init(b->vcpus[i], &config);
	}
	return rc;
}

/* ---- life ---- */

void board_init(struct board *b, const struct board_config *config, const struct board_host *host)
{
	b->config = config;
	b->host = host;
	bus_init(&b->pio);
	bus_init(&b->mmio);
}

void board_fini(struct board *b)
{
	for (unsigned int i = 0; i < b->nr_vcpus; i++)
		vcpu_destroy(b->vcpus[i]);
	if (b->host->vm)
		vm_begin_teardown(b->host->vm);
	free(b->vcpus);
	free(b->cpuid);
	destroy_devices(b);
	bus_fini(&b->mmio);
	bus_fini(&b->pio);
}

/* ---- what the guest did not use ---- */

/*
 * Devices that a transport's driver found and no other took: their names after each
 * other. False if there are none.
 */
static bool list_unused(const struct board *b, const struct virtio_ops *ops, char *text,
			size_t bytes)
{
	size_t n = 0;

	for (unsigned int i = 0; i < b->nr_virtio && n < bytes; i++) {
		const struct board_slot *s = &b->slots[i];

		if (s->requested && atomic_load(&s->dev->was_found) && !s->dev->had_driver &&
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
static const char *transport_advice(const struct board *b)
{
	if (b->config->transport == TRANSPORT_PCI && !atomic_load(&b->pci.was_scanned))
		return "its kernel seems to be built without PCI: try --transport mmio --acpi off.";
	if (b->config->transport == TRANSPORT_PCI)
		return "the guest's kernel needs virtio_pci (CONFIG_VIRTIO_PCI), built in or loaded by "
		       "its initrd.";
	if (!b->config->acpi)
		return "the guest's kernel needs virtio_mmio (CONFIG_VIRTIO_MMIO), and "
		       "CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES to find them without ACPI.";
	if (!atomic_load(&b->pci.ecam_was_read))
		return "if its kernel is built without ACPI, try --acpi off; otherwise it needs "
		       "virtio_mmio (CONFIG_VIRTIO_MMIO).";
	return "the guest's kernel needs virtio_mmio (CONFIG_VIRTIO_MMIO), built in or loaded by its "
	       "initrd.";
}

void board_report_missing_drivers(const struct board *b)
{
	bool unseen = false;
	char names[256];

	for (unsigned int i = 0; i < b->nr_virtio; i++) {
		const struct board_slot *s = &b->slots[i];
		bool first = true;

		unseen |= s->requested && !atomic_load(&s->dev->was_found);
		for (unsigned int k = 0; k < i; k++)
			first &= b->slots[k].dev->ops != s->dev->ops || !b->slots[k].requested;
		if (first && s->requested && list_unused(b, s->dev->ops, names, sizeof(names)))
			log_notice("%s: the guest did not use it\nthe guest's kernel needs %s, built in or "
				   "loaded by its initrd.",
				   names, s->dev->ops->driver);
	}
	if (unseen)
		log_notice("virtio-%s: the guest did not look for devices there\n%s",
			   b->config->transport == TRANSPORT_PCI ? "pci" : "mmio",
			   transport_advice(b));
}
