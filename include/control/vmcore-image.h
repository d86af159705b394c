/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A vmcore as records, made of a machine that stands still: what the VM's process sends to whoever writes the
 * file (control/vmcore-file.h), which has no more to do than to put each where it belongs. Zero pages are
 * not sent. Headers come last, so that a file that was cut is none.
 *
 * Nothing waits and nothing allocates: each record is made by a bounded amount of work. The loop's thread.
 */
#ifndef LKVM_CONTROL_VMCORE_IMAGE_H
#define LKVM_CONTROL_VMCORE_IMAGE_H

#include <stdint.h>

#include "control/ram-scan.h"
#include "control/vmcore-format.h"
#include "control/vmcore-info.h"

enum vmcore_kind {
	VMCORE_BEGIN = 1, /* offset: bytes of the file; first of all */
	VMCORE_DATA,	  /* bytes of them follow, for offset */
	VMCORE_AT,	  /* offset: so far we have come */
	VMCORE_END,	  /* that was all; bytes: VMCORE_HAS_INFO and the like */
};

#define VMCORE_HAS_INFO	      1u /* VMCOREINFO is there */
#define VMCORE_LACKS_STATE    4u /* of a snapshot: it could not be made */
#define VMCORE_LACKS_CPU      2u /* registers of a CPU could not be read, and are 0 */
#define VMCORE_MAX_DATA_BYTES 262144u

/* On the wire, in the order of bytes of this machine: both ends are on it. */
struct vmcore_record {
	uint64_t offset;
	uint32_t bytes;
	uint32_t kind;
};

/* Reads the registers of CPU @index: 0 or -errno. */
typedef int (*vmcore_cpu_fn)(void *arg, unsigned int index, struct registers *cpu);

struct vmcore_image {
	const struct mem *mem; /* lent */
	vmcore_cpu_fn read_cpu;
	void *arg;
	struct vmcore_layout layout;
	struct vmcore_info info;
	enum {
		IMAGE_BEGIN,
		IMAGE_RAM,
		IMAGE_CPUS,
		IMAGE_INFO,
		IMAGE_HEADER,
		IMAGE_END,
		IMAGE_OVER,
	} at;
	unsigned int piece; /* of RAM, and how far of it */
	uint64_t done;
	struct ram_scan scan;
	unsigned int cpu;
	uint32_t info_bytes;
	bool lacks_cpu;
	uint8_t notes[VMCORE_INFO_BYTES]; /* what is sent of them now */
};

void vmcore_image_init(struct vmcore_image *image, const struct mem *mem, int pagemap,
		       unsigned int nr_cpus, vmcore_cpu_fn read_cpu, void *arg);

/*
 * The next record, and what follows it in *data, which is good until the next call, for all but that what is
 * guest RAM may change. False when there are no more.
 */
bool vmcore_image_next(struct vmcore_image *image, struct vmcore_record *record, const void **data);

#endif
