// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtual machine as KVM sees it.
 *
 * Owned by the machine and set up by the main thread. Required capabilities are
 * in a table with the reason for each, so that the message for a host that lacks
 * one can name it. CPUID is not consulted: there are hosts whose KVM works
 * although CPUID shows neither VMX nor SVM. A stop is a reason (compare-and-swap
 * from none) and an eventfd that the loop watches.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/io_uring.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "event.h"
#include "kvm.h"
#include "log.h"
#include "mem.h"
#include "util.h"

#define KVM_DEVICE "/dev/kvm"

static const struct {
	int cap;
	const char *name;
	const char *why;
} required_caps[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", "guest RAM is our own mapping" },
	{ KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR", "VT-x needs three pages of guest address space" },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR",
	  "VT-x needs a page for real mode" },
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP", "interrupt controllers are the kernel's" },
	{ KVM_CAP_PIT2, "KVM_CAP_PIT2", "the interval timer is the kernel's" },
	{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD", "devices interrupt by eventfd" },
	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD", "queues are kicked by eventfd" },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH",
	  "queues are kicked by writes of any size" },
	{ KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING", "message-signalled interrupts are routed" },
	{ KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI", "PCI devices interrupt by message" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", "CPUID is ours to describe" },
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE", "halted CPUs have to be recognised" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", "a vCPU is stopped without a lost wake-up" },
};

static void explain_eacces(int err)
{
	struct stat st;
	struct group *gr;
	struct passwd *pw;

	if (stat(KVM_DEVICE, &st)) {
		log_error("cannot open %s: %s", KVM_DEVICE, strerror(err));
		return;
	}
	gr = getgrgid(st.st_gid);
	pw = getpwuid(st.st_uid);
	if (st.st_mode & S_IWGRP && gr)
		log_error("cannot open %s: %s\nyour user is not in group '%s' (mode %03o, %s %s). "
			  "Try: sudo usermod -aG %s $USER, then log in again.",
			  KVM_DEVICE, strerror(err), gr->gr_name, st.st_mode & 0777u,
			  pw ? pw->pw_name : "?", gr->gr_name, gr->gr_name);
	else
		log_error("cannot open %s: %s\nit is open to its owner only (mode %03o, %s). "
			  "Try: sudo chgrp kvm %s && sudo chmod 660 %s",
			  KVM_DEVICE, strerror(err), st.st_mode & 0777u, pw ? pw->pw_name : "?",
			  KVM_DEVICE, KVM_DEVICE);
}

int kvm_open(void)
{
	int fd = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);
	int err = errno;

	if (fd >= 0)
		return fd;
	if (err == ENOENT || err == ENXIO || err == ENODEV)
		log_error("no %s: VT-x/AMD-V is off in the firmware, nested virtualisation is off, "
			  "or the container lacks --device %s.",
			  KVM_DEVICE, KVM_DEVICE);
	else if (err == EACCES || err == EPERM)
		explain_eacces(err);
	else
		log_error("cannot open %s: %s", KVM_DEVICE, strerror(err));
	return -err;
}

bool kvm_is_pvm(void)
{
	return access("/sys/module/kvm_pvm", F_OK) == 0;
}

int kvm_capability(int sys_fd, int cap)
{
	int rc = ioctl(sys_fd, KVM_CHECK_EXTENSION, cap);

	return rc < 0 ? 0 : rc;
}

int kvm_check_capabilities(int sys_fd, bool quiet)
{
	int version = ioctl(sys_fd, KVM_GET_API_VERSION, 0);

	if (version != KVM_API_VERSION) {
		if (!quiet)
			log_error("%s: not a KVM device: API version %d, expected %d", KVM_DEVICE,
				  version, KVM_API_VERSION);
		return -ENOTSUP;
	}
	for (size_t i = 0; i < ARRAY_SIZE(required_caps); i++) {
		if (kvm_capability(sys_fd, required_caps[i].cap) > 0)
			continue;
		if (!quiet)
			log_error("%s: this host's KVM lacks %s (%s)\na newer kernel is needed.",
				  KVM_DEVICE, required_caps[i].name, required_caps[i].why);
		return -ENOTSUP;
	}
	return 0;
}

/* Before the irqchip, which starts an RCU grace period that this call would wait for (5 ms). */
static int map_memory(struct vm *vm, const struct mem *mem)
{
	for (uint32_t i = 0; i < mem->nr_regions; i++) {
		struct kvm_userspace_memory_region slot = {
			.slot = i,
			.guest_phys_addr = mem->regions[i].start,
			.memory_size = mem->regions[i].size_bytes,
			.userspace_addr = mem_region_hva(mem, &mem->regions[i]),
		};

		if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot)) {
			int err = errno;

			log_error("memory: %llu MiB at %#llx: this host's KVM refuses it: %s\n"
				  "use a smaller -m.",
				  (unsigned long long)(slot.memory_size >> 20),
				  (unsigned long long)slot.guest_phys_addr, strerror(err));
			return -err;
		}
	}
	return 0;
}

/* Order matters: addresses before vCPUs, irqchip before PIT (api.rst 4.28, 4.71). */
static int set_up_platform(struct vm *vm, const struct vm_config *config)
{
	uint64_t identity_map = config->identity_map;
	struct kvm_pit_config pit_config = { .flags = KVM_PIT_SPEAKER_DUMMY };
	const char *step = "KVM_SET_IDENTITY_MAP_ADDR";
	int rc = ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);

	if (!rc) {
		step = "KVM_SET_TSS_ADDR";
		rc = ioctl(vm->fd, KVM_SET_TSS_ADDR, (unsigned long)config->tss);
	}
	if (!rc) {
		step = "KVM_CREATE_IRQCHIP";
		rc = ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0);
	}
	if (!rc && config->pit) {
		step = "KVM_CREATE_PIT2";
		rc = ioctl(vm->fd, KVM_CREATE_PIT2, &pit_config);
	}
	if (rc) {
		rc = -errno;
		log_error("kvm: %s: %s", step, strerror(-rc));
	}
	return rc;
}

/*
 * GSIs: the 24 pins of the I/O APIC, 16 of them also of the 8259s, as KVM has
 * them by default; above them, messages. KVM takes the table only as a whole.
 */
#define PIC_LINES	  16u
#define MAX_MESSAGES	  1024u
#define FIRST_MESSAGE_GSI KVM_IOAPIC_NUM_PINS

struct vm_routes {
	struct {
		uint64_t address;
		uint32_t data;
		bool set;
	} messages[MAX_MESSAGES];
	unsigned int allocated;
	union {
		struct kvm_irq_routing table;
		uint8_t room[sizeof(struct kvm_irq_routing) +
			     (KVM_IOAPIC_NUM_PINS + PIC_LINES + MAX_MESSAGES) *
				     sizeof(struct kvm_irq_routing_entry)];
	};
};

static void add_route(struct kvm_irq_routing *table, uint32_t gsi, uint32_t chip, uint32_t pin)
{
	table->entries[table->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

static void build_routes(struct vm_routes *r)
{
	r->table.nr = 0;
	r->table.flags = 0;
	for (uint32_t pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++)
		add_route(&r->table, pin, KVM_IRQCHIP_IOAPIC, pin);
	for (uint32_t line = 0; line < PIC_LINES; line++)
		add_route(&r->table, line,
			  line < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, line % 8);
	for (uint32_t i = 0; i < r->allocated; i++) {
		if (!r->messages[i].set)
			continue;
		r->table.entries[r->table.nr++] = (struct kvm_irq_routing_entry){
			.gsi = FIRST_MESSAGE_GSI + i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = {
				.address_lo = (uint32_t)r->messages[i].address,
				.address_hi = (uint32_t)(r->messages[i].address >> 32),
				.data = r->messages[i].data,
			},
		};
	}
}

int vm_msi_alloc(struct vm *vm)
{
	if (vm->routes->allocated == MAX_MESSAGES)
		return -1;
	return (int)(FIRST_MESSAGE_GSI + vm->routes->allocated++);
}

int vm_msi_set(struct vm *vm, int gsi, uint64_t address, uint32_t data)
{
	unsigned int i = (unsigned int)gsi - FIRST_MESSAGE_GSI;
	struct vm_routes *r = vm->routes;
	int rc = 0;

	assert(gsi >= (int)FIRST_MESSAGE_GSI && i < r->allocated);
	pthread_mutex_lock(&vm->routes_lock);
	/* Replacing the table makes all vCPUs wait; guests rewrite the same message often. */
	if (!r->messages[i].set || r->messages[i].address != address ||
	    r->messages[i].data != data) {
		r->messages[i].address = address;
		r->messages[i].data = data;
		r->messages[i].set = true;
		build_routes(r);
		if (ioctl(vm->fd, KVM_SET_GSI_ROUTING, &r->table)) {
			rc = -errno;
			r->messages[i].set = false;
		}
	}
	pthread_mutex_unlock(&vm->routes_lock);
	return rc;
}

void vm_set_irq_level(struct vm *vm, uint32_t gsi, bool level)
{
	struct kvm_irq_level irq = { .irq = gsi, .level = level };

	ioctl(vm->fd, KVM_IRQ_LINE, &irq);
}

static bool ioapic_has_it(struct vm *vm, uint32_t gsi)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	return !ioctl(vm->fd, KVM_GET_IRQCHIP, &chip) && !chip.chip.ioapic.redirtbl[gsi].fields.mask;
}

/* One that nobody has initialized has no vectors. */
static bool pic_has_it(struct vm *vm, uint32_t line)
{
	struct kvm_irqchip chip = {
		.chip_id = line < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
	};

	return !ioctl(vm->fd, KVM_GET_IRQCHIP, &chip) && chip.chip.pic.irq_base &&
	       !(chip.chip.pic.imr >> line % 8 & 1);
}

bool vm_irq_is_wanted(struct vm *vm, uint32_t gsi)
{
	return ioapic_has_it(vm, gsi) || (gsi < PIC_LINES && pic_has_it(vm, gsi));
}

static int ioeventfd_ioctl(struct vm *vm, const struct vm_ioeventfd *e, uint32_t flags)
{
	struct kvm_ioeventfd io = {
		.datamatch = e->value,
		.addr = e->addr,
		.len = e->bytes,
		.fd = e->fd,
		.flags = flags | (e->bytes ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
			 (e->pio ? KVM_IOEVENTFD_FLAG_PIO : 0),
	};

	return ioctl(vm->fd, KVM_IOEVENTFD, &io) ? -errno : 0;
}

int vm_ioeventfd_add(struct vm *vm, const struct vm_ioeventfd *e)
{
	return ioeventfd_ioctl(vm, e, 0);
}

void vm_ioeventfd_remove(struct vm *vm, const struct vm_ioeventfd *e)
{
	if (!vm->ending)
		ioeventfd_ioctl(vm, e, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

static int vm_open(struct vm *vm)
{
	int rc;

	rc = kvm_check_capabilities(vm->sys_fd, false);
	if (rc)
		return rc;
	do {
		vm->fd = ioctl(vm->sys_fd, KVM_CREATE_VM, 0);
	} while (vm->fd < 0 && errno == EINTR);
	if (vm->fd < 0) {
		rc = -errno;
		log_error("kvm: KVM_CREATE_VM: %s", strerror(-rc));
		return rc;
	}
	rc = ioctl(vm->sys_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (rc < (int)sizeof(struct kvm_run)) {
		log_error("kvm: KVM_GET_VCPU_MMAP_SIZE: %d is too small", rc);
		return -ENOTSUP;
	}
	vm->vcpu_mmap_bytes = (uint32_t)rc;
	rc = kvm_capability(vm->sys_fd, KVM_CAP_MAX_VCPUS);
	vm->max_vcpus = rc > 0 ? (unsigned int)rc : 4; /* api.rst 4.7: the default is 4 */
	vm->pid = getpid();
	vm->is_pvm = kvm_is_pvm();
	vm->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->stop_fd < 0) {
		rc = -errno;
		log_error("kvm: eventfd: %s", strerror(-rc));
		return rc;
	}
	return 0;
}

/*
 * When a VM's last descriptor is closed, KVM tears the VM down, which takes several RCU grace
 * periods of the host: 6 to 50 ms, measured. So we register the descriptor in an io_uring.
 * When lkvm exits, a kernel worker drops that last reference: the waits happen after the exit.
 * The ring is disabled, and its restrictions allow nothing. -1 if there can be none (before
 * Linux 5.10, or forbidden): then we wait.
 */
static int create_teardown_ring(int vm_fd)
{
	const struct io_uring_restriction nothing = { .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED };
	struct io_uring_params params = { .flags = IORING_SETUP_R_DISABLED };
	int ring = (int)syscall(SYS_io_uring_setup, 1, &params);

	if (ring < 0)
		return -1;
	if (!syscall(SYS_io_uring_register, ring, IORING_REGISTER_RESTRICTIONS, &nothing, 1) &&
	    !syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &vm_fd, 1))
		return ring;
	close(ring);
	return -1;
}

int vm_create(struct vm **out, int sys_fd, const struct mem *mem, const struct vm_config *config)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int rc;

	if (!vm)
		return log_enomem("kvm");
	vm->sys_fd = sys_fd;
	vm->fd = vm->stop_fd = vm->teardown_ring = -1;
	pthread_mutex_init(&vm->routes_lock, NULL);
	vm->routes = calloc(1, sizeof(*vm->routes));
	rc = vm->routes ? vm_open(vm) : log_enomem("kvm");
	if (!rc)
		rc = map_memory(vm, mem);
	if (!rc)
		rc = set_up_platform(vm, config);
	if (rc) {
		vm_destroy(vm);
		return rc;
	}
	vm->teardown_ring = create_teardown_ring(vm->fd);
	*out = vm;
	return 0;
}

void vm_destroy(struct vm *vm)
{
	if (!vm)
		return;
	if (vm->stop_fd >= 0)
		close(vm->stop_fd);
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->teardown_ring >= 0)
		close(vm->teardown_ring);
	free(vm->routes);
	pthread_mutex_destroy(&vm->routes_lock);
	free(vm);
}

int vm_irqfd_add(struct vm *vm, int fd, uint32_t gsi)
{
	struct kvm_irqfd irqfd = { .fd = (uint32_t)fd, .gsi = gsi };

	return ioctl(vm->fd, KVM_IRQFD, &irqfd) ? -errno : 0;
}

/*
 * Without that ring we wait for KVM. On some kernels (6.18) creating the irqchip starts a grace
 * period that runs at its slow, ordinary pace: 10 ms more for a short run. Removing an ioeventfd
 * expedites it.
 */
static void hurry_up(struct vm *vm)
{
	const struct vm_ioeventfd none = { .fd = vm->stop_fd, .pio = true };

	if (!vm_ioeventfd_add(vm, &none))
		vm_ioeventfd_remove(vm, &none);
}

void vm_begin_teardown(struct vm *vm)
{
	if (vm->teardown_ring < 0)
		hurry_up(vm);
	vm->ending = true;
}

void vm_irqfd_remove(struct vm *vm, int fd, uint32_t gsi)
{
	struct kvm_irqfd irqfd = {
		.fd = (uint32_t)fd,
		.gsi = gsi,
		.flags = KVM_IRQFD_FLAG_DEASSIGN,
	};

	if (!vm->ending)
		ioctl(vm->fd, KVM_IRQFD, &irqfd);
}

void vm_request_stop(struct vm *vm, enum stop_reason reason)
{
	int none = STOP_NONE;

	if (atomic_compare_exchange_strong(&vm->stop_reason, &none, (int)reason))
		eventfd_signal(vm->stop_fd);
}

void vm_request_stop_signal(struct vm *vm, int signal)
{
	int none = 0;

	atomic_compare_exchange_strong(&vm->stop_signal, &none, signal);
	vm_request_stop(vm, STOP_SIGNAL);
}

enum stop_reason vm_stop_reason(struct vm *vm)
{
	return (enum stop_reason)atomic_load(&vm->stop_reason);
}
