/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The file of a snapshot: SNAPSHOT_NAME in a directory of its own, for its owner only.
 *
 *	0			header, of SNAPSHOT_STATE_AT bytes
 *	SNAPSHOT_STATE_AT	state: what the guest can observe of its machine (state.h). Of one whose
 *				command runs first what its directories are known by, at its end what is on
 *				their disks, and how far its command is
 *	ram_offset		RAM, without the hole below 4 GiB; at a multiple of 2 MiB. What is
 *				zero is a hole of the file
 *
 * It is written by another process than the VM's, from records that come from there; the header comes
 * last. It is read as hostile input. There is no path, no name and no descriptor in it: what a VM needs of
 * its host is named anew when it is restored. All functions: the main thread, or the loader's.
 */
#ifndef LKVM_SNAPSHOT_FILE_H
#define LKVM_SNAPSHOT_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "mem.h"

#define SNAPSHOT_NAME		 "snapshot"
#define SNAPSHOT_STATE_AT	 4096u
#define SNAPSHOT_MAX_STATE_BYTES (256u << 20) /* most of it directories' */

/* Another number for whatever changes in the header, in what a device or a CPU carries, or in what init may be told. */
#define SNAPSHOT_FORMAT 6u

enum snapshot_runs {
	SNAPSHOT_NO_COMMAND,
	SNAPSHOT_STREAMS,
	SNAPSHOT_TERMINAL,
	SNAPSHOT_NR_COMMANDS,
};

/* Which machine it was: what a machine that is to go on from it is made of. */
struct snapshot_machine {
	uint64_t ram_bytes;
	uint32_t cpus;
	uint32_t tsc_khz; /* 0: unknown */
	uint32_t nr_disks, nr_nets, nr_ports;
	uint32_t nr_trees; /* of the disks, the last ones: directories or archives */
	/* 0 or 1: */
	uint8_t mmio; /* the transport */
	uint8_t acpi, pit, rng, virtio_console;
	uint8_t flat;	 /* it runs no kernel */
	uint8_t waits;	 /* its first process is lkvm's, and has not been told what to run */
	uint8_t command; /* enum snapshot_runs: one runs, which lkvm's first process has started */
	uint8_t results; /* 0 or 1: and what is in a directory of the guest at its end is brought out */
	uint8_t unused[7];
};

struct snapshot_header {
	char magic[8];
	uint32_t format;
	uint32_t header_bytes;
	struct snapshot_machine machine;
	uint64_t state_bytes, state_sum;
	uint64_t ram_offset, file_bytes;
	uint64_t ram_sum;    /* of all pages (snapshot_sum_ram()) */
	uint64_t header_sum; /* of all before it */
};

/* The sum of the state, or of the header before its own. */
static inline uint64_t snapshot_sum(const void *data, uint64_t bytes)
{
	const uint8_t *p = data;
	uint64_t h = 0xcbf29ce484222325ull;

	while (bytes--)
		h = (h ^ *p++) * 0x100000001b3ull;
	return h;
}

/* The rest of @h from its machine and the state of so many bytes. */
void snapshot_fill(struct snapshot_header *h, const void *state, uint64_t state_bytes);

/*
 * The sum of @bytes of RAM, whole pages, at @gpa. Those of parts are added; that of zeros is 0, so that it does
 * not matter what of them is a hole.
 */
uint64_t snapshot_sum_ram(gpa_t gpa, const void *pages, uint64_t bytes);

/* Its RAM has been sent. */
void snapshot_set_ram_sum(struct snapshot_header *h, uint64_t sum);

/* Where the byte of RAM at @gpa is in the file. */
uint64_t snapshot_ram_at(const struct snapshot_header *h, gpa_t gpa);

/*
 * Opens the snapshot in directory @path and checks its header: a descriptor, or -errno after a message.
 * @max_cpus: as many as a machine may have.
 */
int snapshot_open(const char *path, struct snapshot_header *h, unsigned int max_cpus);

/* The same of a file that is open, which stays so; @path is for messages. 0 or -errno, after a message. */
int snapshot_read_header(int fd, const char *path, struct snapshot_header *h, unsigned int max_cpus);

/* Its state, for the caller to free. 0 or -errno, after a message. */
int snapshot_read_state(int fd, const struct snapshot_header *h, void **state);

/*
 * Its RAM into @mem, which is as big and all zero. If that guest waits (it is in the cache) the file has to stay as it
 * is, since memory is mapped, and not even looked at: reading it for its sum would cost more than all else. 0 or
 * -errno, after a message.
 */
int snapshot_read_ram(int fd, const struct snapshot_header *h, struct mem *mem);

#endif
