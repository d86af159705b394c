// SPDX-License-Identifier: GPL-2.0-only
/*
 * `lkvm run --restore` (cmd/restore.h).
 *
 * The snapshot says what the machine is, the command line what of this host it is given. How many disks,
 * networks and ports there are has to agree; that each is what the guest takes it for is seen when its
 * state is loaded (x86/board-state.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/restore.h"
#include "cmd/run-command.h"
#include "log.h"
#include "snapshot-file.h"
#include "util.h"

static int check_counts(const struct run_options *o, const struct snapshot_machine *s)
{
	const struct machine_config *m = &o->machine;
	const struct {
		const char *what, *option;
		unsigned int had, given;
	} counts[] = {
		{ "disks", "-d", s->nr_disks - s->nr_trees, m->nr_disks - m->nr_trees },
		{ "networks", "-n", s->nr_nets, m->nr_nets },
		{ "ports", "--port", s->nr_ports, m->nr_ports },
	};

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		if (counts[i].had == counts[i].given)
			continue;
		log_error("restore: %s: its machine has %u %s, and the command line names %u\n"
			  "name them in the order that they had, each with %s.",
			  o->restore, counts[i].had,
			  counts[i].what, counts[i].given, counts[i].option);
		return -EINVAL;
	}
	return 0;
}

/* The first one is the root, which has a default. */
static int check_directories(const struct run_options *o, const struct snapshot_machine *s)
{
	const unsigned int given = o->command.nr_dirs + (s->nr_trees || o->command.root);

	if (given == s->nr_trees)
		return 0;
	log_error("restore: %s: its guest has %u directories, and the command line names %u\n"
		  "name them as they were named: --root (default /) and each --dir.",
		  o->restore, s->nr_trees, given);
	return -EINVAL;
}

/* Which directory of the guest it is the command has been told when it began. */
static int check_results(const struct run_options *o, const struct snapshot_machine *s)
{
	const struct dir_option *out = &o->command.out;

	if (s->results == (out->host != NULL) && !out->guest)
		return 0;
	log_error("restore: %s: %s", o->restore,
		  !s->results ? "its guest has no results: --out cannot be given" :
		  out->host   ? "--out: its guest knows the directory: give the host's alone" :
				"its command has results (--out), and the command line names no place for them\n"
				"name it with --out DIR.");
	return -EINVAL;
}

int restore_prepare(struct run_options *o, struct run_command *c, struct snapshot_header *h)
{
	const struct snapshot_machine *s = &h->machine;
	struct machine_config *m = &o->machine;
	int fd = snapshot_open(o->restore, h, MACHINE_MAX_CPUS), rc;

	if (fd < 0)
		return fd;
	m->restore = h;
	m->restore_fd = fd;
	o->texts[o->nr_texts] = realpath(o->restore, NULL);
	m->parent = o->texts[o->nr_texts] ? o->texts[o->nr_texts++] : o->restore;
	if (s->waits) {
		log_error("restore: %s: its guest waits for a command\nlkvm run --warm -- COMMAND goes on from such a one by "
			  "itself.",
			  o->restore);
		return -EINVAL;
	}
	m->boot.ram_bytes = s->ram_bytes;
	m->board.cpus = s->cpus;
	m->board.tsc_khz = s->tsc_khz;
	m->board.transport = s->mmio ? TRANSPORT_MMIO : TRANSPORT_PCI;
	m->board.acpi = s->acpi;
	m->board.rng = s->rng;
	m->virtio_console = s->virtio_console;
	rc = check_directories(o, s);
	if (!rc)
		rc = check_results(o, s);
	if (!rc && s->command)
		rc = run_command_restore(c, o, s);
	if (rc)
		return rc;
	if (options_nr_virtio(o) > BOARD_MAX_VIRTIO) {
		log_error("restore: %s: more devices than fit into a machine", o->restore);
		return -EINVAL;
	}
	return check_counts(o, s);
}

void restore_close(struct run_options *o)
{
	if (o->machine.restore && o->machine.restore_fd >= 0)
		close(o->machine.restore_fd);
	o->machine.restore_fd = -1;
}
