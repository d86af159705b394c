// SPDX-License-Identifier: GPL-2.0-only
/*
 * What snapshots need of a machine: whether there can be one, its devices at rest, what it is and its state, saved
 * and loaded; and, as these are part of it, what the directories are known by that the guest has. Who asks for
 * one is control/snapshot.c; what is in a file, snapshot-file.c.
 */
#include <stdlib.h>
#include <string.h>

#include "disk/aio.h"
#include "disk/dir.h"
#include "disk/files.h"
#include "guest/command.h"
#include "guest/gate.h"
#include "kvm-cpu.h"
#include "log.h"
#include "machine-parts.h"
#include "machine.h"
#include "snapshot-file.h"
#include "state.h"
#include "util.h"
#include "x86/board.h"

/* ---- directories: they have to be the ones that the guest knows ---- */

static struct disk *disk_of_tree(const struct machine *m, unsigned int tree)
{
	unsigned int i = 0;

	while (m->config->disks[i].tree != (int)tree)
		i++;
	return m->host.disks[i].disk;
}

static uint64_t bytes_of_names(struct machine *m, unsigned int tree)
{
	struct state s;

	state_init_measure(&s);
	dir_map_save_names(disk_of_tree(m, tree), &s);
	return s.used;
}

/*
 * What directories are known by, and for the process that reads them what it called their files by. Before the
 * sandbox no more of that is looked at than where it is.
 */
static void trees_carry(struct machine *m, struct state *s)
{
	for (unsigned int i = 0; i < m->config->nr_trees; i++) {
		struct tree_identity then = m->tree_ids[i];
		uint64_t bytes = 0;

		state_section(s, "directory", i);
		state_raw(s, &then, sizeof(then));
		if (memcmp(&then, &m->tree_ids[i], sizeof(then)))
			state_refuse(s, "another one than it had, or it has been replaced since");
		if (!state_loads(s))
			bytes = bytes_of_names(m, i);
		state_u64(s, &bytes);
		if (!state_loads(s)) {
			dir_map_save_names(disk_of_tree(m, i), s);
		} else if (!range_within(s->used, bytes, s->size)) {
			state_refuse(s, "it is cut short");
		} else {
			m->trees[i].names = s->bytes + s->used;
			m->trees[i].names_bytes = bytes;
			s->used += bytes;
		}
	}
}

static bool restores_command(const struct machine *m)
{
	return m->restored && m->config->restore->machine.command != SNAPSHOT_NO_COMMAND;
}

int machine_identify_trees(struct machine *m)
{
	struct state s;

	for (unsigned int i = 0; i < m->config->nr_trees; i++) {
		m->trees[i] = m->config->trees[i];
		m->tree_ids[i] = tree_identify(&m->trees[i]);
	}
	if (!restores_command(m))
		return 0;
	state_init_load(&s, m->restored, m->config->restore->state_bytes);
	trees_carry(m, &s);
	m->restored_at = s.used;
	if (s.error)
		log_error("restore: %s", s.fault);
	return s.error;
}

/* ---- saving ---- */

const char *machine_refuses_snapshot(const struct machine *m)
{
	const char *why = m->command ? command_refuses_snapshot(m->command) : NULL;

	if (why)
		return why;
	if (m->config->board.nested)
		return "its guest may have guests of its own (--nested)";
	for (unsigned int i = 0; i < m->config->nr_disks; i++)
		if (m->config->disks[i].disk.cow)
			return "a disk of its is ,cow: what the guest has written to it ends with this VM";
	for (unsigned int i = 0; i < m->config->nr_nets; i++)
		if (m->config->nets[i].vhost)
			return "its network is moved by vhost";
	return NULL;
}

bool machine_runs_flat(const struct machine *m)
{
	return !m->boot ? m->config->restore->machine.flat : m->config->boot.flat != NULL;
}

/* Until it is told what to run, the guest has mounted nothing and has opened no stream. */
static bool runs_command(const struct machine *m)
{
	return m->command && !command_waits(m->command);
}

static void describe_machine(const struct machine *m, struct snapshot_machine *s)
{
	const struct machine_config *c = m->config;

	*s = (struct snapshot_machine){
		.ram_bytes = c->boot.ram_bytes,
		.cpus = c->board.cpus,
		.tsc_khz = board_tsc_khz(&m->board),
		.nr_disks = c->nr_disks,
		.nr_nets = c->nr_nets,
		.nr_ports = c->nr_ports,
		.nr_trees = c->nr_trees,
		.mmio = c->board.transport == TRANSPORT_MMIO,
		.acpi = c->board.acpi,
		.pit = c->pit,
		.rng = c->board.rng,
		.virtio_console = c->virtio_console,
		.flat = machine_runs_flat(m),
		.waits = m->command && !runs_command(m),
		.command = !runs_command(m)	? SNAPSHOT_NO_COMMAND :
			   c->command->terminal ? SNAPSHOT_TERMINAL :
						  SNAPSHOT_STREAMS,
		.results = runs_command(m) && c->command->results,
	};
}

void machine_freeze(struct machine *m)
{
	board_freeze(&m->board);
	m->frozen = true;
}

bool machine_is_at_rest(const struct machine *m)
{
	return board_is_at_rest(&m->board) && (!m->aio || aio_all_idle(m->aio)) &&
	       !(m->files && files_are_asked(m->files));
}

void machine_thaw(struct machine *m)
{
	if (m->frozen)
		board_thaw(&m->board, false);
	m->frozen = false;
}

/* What a guest has of its command beside its devices. */
static void command_state_carry(struct machine *m, struct state *s)
{
	for (unsigned int i = 0; i < m->config->nr_trees; i++) {
		state_section(s, "files", i);
		dir_map_carry(disk_of_tree(m, i), s);
	}
	command_carry(m->command, s);
}

/* How much that is. 0 or -errno, after a message. */
static int measure_command(struct machine *m, uint64_t *bytes)
{
	struct state s;

	state_init_measure(&s);
	if (runs_command(m)) {
		trees_carry(m, &s);
		command_state_carry(m, &s);
	}
	*bytes = s.used;
	if (s.used > SNAPSHOT_MAX_STATE_BYTES / 2)
		state_refuse(&s, "more of its directories has been looked at than there is room for");
	if (s.error)
		log_error("snapshot: %s", s.fault);
	return s.error;
}

int machine_save(struct machine *m, struct snapshot_header *h, void **state)
{
	uint64_t room;
	struct state s;
	void *bytes;
	int rc = measure_command(m, &room);

	if (rc)
		return rc;
	room += board_state_bytes(&m->board);
	bytes = malloc(room);
	if (!bytes)
		return log_enomem("snapshot");
	state_init_save(&s, bytes, room);
	if (runs_command(m))
		trees_carry(m, &s);
	board_carry(&m->board, m->config->pit, machine_clocks(m), &s);
	if (runs_command(m))
		command_state_carry(m, &s);
	rc = state_end(&s);
	if (rc) {
		log_error("snapshot: %s", s.fault);
		free(bytes);
		return rc;
	}
	memset(h, 0, sizeof(*h));
	describe_machine(m, &h->machine);
	snapshot_fill(h, bytes, s.used);
	*state = bytes;
	return 0;
}

bool machine_has_bad_snapshot(const struct machine *m)
{
	return m->bad_snapshot;
}

void machine_end_in_snapshot(struct machine *m)
{
	vm_request_stop(m->host.vm, STOP_SNAPSHOT);
}

/* ---- going on from one ---- */

/* Behind the sandbox's walls: what is read may be anything. */
int machine_load_snapshot(struct machine *m)
{
	struct state s;
	int rc;

	if (!m->restored)
		return 0;
	state_init_load(&s, m->restored, m->config->restore->state_bytes);
	s.used = m->restored_at;
	board_carry(&m->board, m->config->pit, NULL, &s);
	if (restores_command(m))
		command_state_carry(m, &s);
	rc = state_end(&s);
	free(m->restored);
	m->restored = NULL;
	if (!rc) {
		boot_destroy(m->spare);
		m->spare = NULL;
		rc = board_renew_generation(&m->board);
		if (rc)
			log_error("restore: its generation ID: %s", strerror(-rc));
		return rc;
	}
	m->bad_snapshot = true;
	log_error("restore: %s\nthe snapshot is damaged, or of a machine or a host that differs from these.", s.fault);
	return rc;
}

/* It has been paused since its snapshot, to its CPUs. */
void machine_go_on_from_snapshot(struct machine *m)
{
	if (m->boot)
		return;
	for (unsigned int i = 0; i < m->board.nr_vcpus; i++)
		vcpu_kick(m->board.vcpus[i], VCPU_REQUEST_PAUSED);
	if (m->command && m->config->restore->machine.waits) {
		command_was_ready(m->command);
		if (m->gate)
			gate_ready(m->gate);
	}
	board_thaw(&m->board, true);
}
