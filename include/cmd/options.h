/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The command line of `lkvm run` as a struct. Parsing opens no file and
 * touches no state of the process.
 */
#ifndef LKVM_CMD_OPTIONS_H
#define LKVM_CMD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "x86/boot/boot.h"
#include "x86/machine.h"

struct run_options {
	const char *kernel;		/* NULL: look in the usual places */
	char *flat;			/* path without @ADDR; ours */
	uint64_t flat_address;
	unsigned int nr_initrds;
	const char *initrds[BOOT_MAX_INITRDS];
	char *params;			/* of all -p, joined by spaces; ours, or NULL */
	unsigned int nr_disks;
	struct machine_disk disks[MACHINE_MAX_VIRTIO];
	char *disk_texts[MACHINE_MAX_VIRTIO];	/* what they point into; ours */
	unsigned int nr_nets;
	struct net_config nets[MACHINE_MAX_VIRTIO];
	unsigned int nr_ports;
	struct port_config ports[CONSOLE_MAX_PORTS];
	unsigned int nr_texts;		/* copies that networks and ports point into; ours */
	char *texts[MACHINE_MAX_VIRTIO + CONSOLE_MAX_PORTS];
	uint64_t rng_rate;
	enum machine_transport transport;
	unsigned int cpus;
	uint64_t ram_bytes;
	const char *dump_dtb, *console_log, *name, *json;
	const char *kernel_cache;	/* NULL: the user's */
	uint64_t timeout_ns;
	bool no_default_params, virtio_console, rng, rng_asked;
	bool acpi, mptable, fdt, nested;
	enum sandbox_mode sandbox;
	bool guest_unpacks;		/* a bzImage */
	bool no_kernel_cache;
	bool die_with_parent, dry_run, quiet, verbose, help;
};

/*
 * Fills @out from @argv. 0, or -EINVAL after one message. What was parsed
 * before is in @out either way (--json, for one); end with options_fini().
 */
int options_parse(struct run_options *out, int argc, char **argv);
void options_fini(struct run_options *options);

/* Devices that the options ask for, over the virtio transport. */
unsigned int options_nr_virtio(const struct run_options *options);

/* "512" with @unit (bytes per bare number), "64K", "1G" ... 0, -EINVAL or -ERANGE. */
int parse_size(const char *text, uint64_t unit, uint64_t *bytes);

#endif
