/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The board: what a guest can see of its machine, and nothing else of it. That is devices, the
 * buses that they are on, and CPUs; what a snapshot of a machine has to contain.
 *
 *	board_init()
 *	board_create_devices()	the VM and the host's side of every device are there
 *	board_create_vcpus()
 *	tables_write()		(x86/tables.h) which describe it
 *	board_fini()		from any stage
 *
 * The host's side (disks, networks, terminals, the loop) is lent by the machine. All functions: main
 * thread.
 */
#ifndef LKVM_X86_BOARD_H
#define LKVM_X86_BOARD_H

#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "pci.h"
#include "virtio/console.h"
#include "x86/cpu.h"
#include "x86/i8042.h"
#include "x86/pm.h"
#include "x86/pvpanic.h"
#include "x86/rtc.h"
#include "x86/serial.h"

struct blk;
struct clocks;
struct cpuid_table;
struct disk;
struct end_watch;
struct event_loop;
struct mem;
struct net;
struct port;
struct rng;
struct state;
struct term;
struct vcpu;
struct virtio_device;
struct virtio_mmio;
struct virtio_net;
struct virtio_pci;
struct vm;

/* Devices that fit: one in each PCI slot but the bridge's. */
#define BOARD_MAX_VIRTIO 31u

enum board_transport {
	TRANSPORT_PCI,
	TRANSPORT_MMIO,
};

struct board_config {
	enum board_transport transport;
	unsigned int cpus;
	bool nested; /* guests may have guests: VMX, SVM */
	bool acpi, mptable, fdt;
	const char *dump_dtb; /* path, or NULL */
	bool rng;
	bool rng_requested; /* ... by the user */
	uint64_t rng_rate;  /* bytes per second; 0: no limit */
	uint32_t tsc_khz;   /* 0: the host's */
	bool keeps_clock;   /* restored, its clocks go on where they were, however long ago */
};

/* The host's side of it. It is filled while the machine is opened and made; all of it is lent. */
struct board_host {
	struct event_loop *loop;
	struct mem *mem;
	struct vm *vm; /* NULL: not yet */
	struct term *term;
	struct term *serial_term;    /* what ttyS0 is attached to; may be term */
	struct end_watch *end_watch; /* sees what goes to the consoles */
	unsigned int nr_disks;
	struct board_disk {
		struct disk *disk;
		const char *serial; /* or NULL */
		bool is_ours;	    /* nobody has asked for it as a disk */
	} disks[BOARD_MAX_VIRTIO];
	unsigned int nr_nets;
	struct board_net {
		struct net *net;
		const char *name;
		const uint8_t *mac;
	} nets[BOARD_MAX_VIRTIO];
	struct port *terminal_port; /* hvc0; NULL: none */
	bool ports_are_ours;	    /* a command's alone */
	unsigned int nr_ports;
	struct port *ports[CONSOLE_MAX_PORTS];
};

struct board {
	const struct board_config *config;
	const struct board_host *host;
	struct bus pio, mmio;

	/* Devices, in the order of board_create_devices(). */
	struct pm pm;
	struct pvpanic pvpanic;
	struct serial serial;
	struct rtc rtc;
	struct i8042 i8042;
	struct pci pci;
	struct board_blk {
		char name[8];
		struct blk *blk;
	} blks[BOARD_MAX_VIRTIO];
	struct virtio_net *nics[BOARD_MAX_VIRTIO];
	struct console *console; /* NULL: none */
	struct rng *rng;	 /* NULL: none */
	struct board_slot {	 /* of the virtio transport, in order */
		struct virtio_device *dev;
		struct virtio_pci *pci;
		struct virtio_mmio *mmio;
		bool requested; /* by the user */
	} slots[BOARD_MAX_VIRTIO];
	unsigned int nr_virtio;
	int size_timer;
	unsigned int devices_up;

	struct cpuid_table *cpuid;
	struct vcpu **vcpus;
	unsigned int nr_vcpus;
};

/* Lends both until board_fini(). @b is zero. */
void board_init(struct board *b, const struct board_config *config, const struct board_host *host);

/* 0 or -errno, after a message; then, too, it is board_fini() that gives back what was made. */
int board_create_devices(struct board *b);
int board_create_vcpus(struct board *b);

/*
 * With ACPI: another number for what tells this machine from all others that go on from the same snapshot, and
 * the guest's kernel is told. 0 or -errno.
 */
int board_renew_generation(const struct board *b);

/* Disk @disk has another size (disk_lend()). While the loop runs. */
void board_tell_disk_size(struct board *b, unsigned int disk);

/* The terminal's window may have another size: hvc0 tells the guest. */
void board_update_window_size(struct board *b);

/*
 * ---- x86/board-state.c: saving and loading, while no vCPU runs ----
 *
 * Between board_freeze() and board_thaw() devices take nothing new; at rest none touches guest memory. board_carry() is all that the
 * guest can observe beside memory (state.h); what is loaded needs a board that was made alike, and
 * its memory. Then board_thaw(b, true) is what starts its devices. @pit: there is an 8254; @clocks: what they
 * were when they were stopped, to save.
 */
void board_freeze(struct board *b);
bool board_is_at_rest(const struct board *b);
void board_thaw(struct board *b, bool loaded);
void board_carry(struct board *b, bool pit, const struct clocks *clocks, struct state *s);

/* What its CPUs are made of. */
struct cpu_config board_cpu_config(const struct board *b);

/* As many bytes as board_carry() needs at most. */
uint64_t board_state_bytes(const struct board *b);

/* What the guests' counters count, as KVM has it; 0: unknown. */
uint32_t board_tsc_khz(const struct board *b);

/*
 * Presses the button with which the guest is asked to switch itself off. False if its kernel does not
 * listen, or not yet. Whether anything comes of it nobody can tell.
 */
bool board_press_power_button(struct board *b);

/* Names each driver that the guest lacked for a device that the user asked for. vCPUs were joined. */
void board_report_missing_drivers(const struct board *b);

/* vCPUs do not run any more, and nothing is in flight. From then on the VM can only be destroyed. */
void board_fini(struct board *b);

#endif
