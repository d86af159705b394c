/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A snapshot as records, made of a machine that is paused and frozen, for whoever writes the file: as a vmcore
 * (control/vmcore-image.h), and by the same means. The state comes first, then RAM without its zero
 * pages, and the header last, so that a file that was cut is none. The loop's thread.
 */
#ifndef LKVM_CONTROL_SNAPSHOT_IMAGE_H
#define LKVM_CONTROL_SNAPSHOT_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "control/ram-scan.h"
#include "control/vmcore-image.h"
#include "snapshot-file.h"

struct snapshot_image {
	const struct mem *mem; /* lent */
	struct snapshot_header header;
	const void *state; /* lent */
	struct ram_scan scan;
	enum {
		SNAPSHOT_BEGIN,
		SNAPSHOT_STATE,
		SNAPSHOT_RAM,
		SNAPSHOT_HEADER,
		SNAPSHOT_END,
		SNAPSHOT_OVER,
	} at;
	uint64_t done; /* of the state, or of a region */
	uint64_t sum;  /* of RAM until there */
	unsigned int region;
	bool failed;
};

/* @header is complete (snapshot_fill()), and copied. */
void snapshot_image_init(struct snapshot_image *image, const struct mem *mem, int pagemap,
			 const struct snapshot_header *header, const void *state);

/* There will be none: its records say so. */
void snapshot_image_fail(struct snapshot_image *image);

/* As vmcore_image_next(). */
bool snapshot_image_next(struct snapshot_image *image, struct vmcore_record *record, const void **data);

#endif
