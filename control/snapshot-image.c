// SPDX-License-Identifier: GPL-2.0-only
/*
 * A snapshot as records (control/snapshot-image.h). Nothing waits and nothing allocates.
 */
#include <string.h>

#include "control/snapshot-image.h"
#include "util.h"

void snapshot_image_init(struct snapshot_image *image, const struct mem *mem, int pagemap,
			 const struct snapshot_header *header, const void *state)
{
	*image = (struct snapshot_image){ .mem = mem, .header = *header, .state = state };
	ram_scan_init(&image->scan, mem, pagemap);
}

void snapshot_image_fail(struct snapshot_image *image)
{
	*image = (struct snapshot_image){ .failed = true, .header.file_bytes = SNAPSHOT_STATE_AT };
}

static void snapshot_next_state(struct snapshot_image *image, struct vmcore_record *r, const void **data)
{
	const uint64_t bytes = min_u64(image->header.state_bytes - image->done, VMCORE_MAX_DATA_BYTES);

	*r = (struct vmcore_record){ SNAPSHOT_STATE_AT + image->done, (uint32_t)bytes, VMCORE_DATA };
	*data = (const uint8_t *)image->state + image->done;
	image->done += bytes;
	if (image->done == image->header.state_bytes) {
		image->at = SNAPSHOT_RAM;
		image->done = 0;
	}
}

static void snapshot_next_ram(struct snapshot_image *image, struct vmcore_record *r, const void **data)
{
	const struct mem_region *region = &image->mem->regions[image->region];
	const gpa_t end = region->start + region->size_bytes;
	struct ram_run run;

	ram_scan_next(&image->scan, region->start + image->done, end, VMCORE_MAX_DATA_BYTES, &run);
	*r = (struct vmcore_record){ snapshot_ram_at(&image->header, run.from), 0, VMCORE_AT };
	if (run.to > run.from) {
		r->bytes = (uint32_t)(run.to - run.from);
		r->kind = VMCORE_DATA;
		*data = mem_ptr(image->mem, run.from, run.to - run.from);
		image->sum += snapshot_sum_ram(run.from, *data, r->bytes);
	}
	image->done = run.to - region->start;
	if (run.to == end) {
		image->done = 0;
		image->region++;
	}
	if (image->region == image->mem->nr_regions)
		image->at = SNAPSHOT_HEADER;
}

bool snapshot_image_next(struct snapshot_image *image, struct vmcore_record *r, const void **data)
{
	*data = NULL;
	switch (image->at) {
	case SNAPSHOT_BEGIN:
		*r = (struct vmcore_record){ image->header.file_bytes, 0, VMCORE_BEGIN };
		image->at = image->failed ? SNAPSHOT_END : SNAPSHOT_STATE;
		return true;
	case SNAPSHOT_STATE:
		snapshot_next_state(image, r, data);
		return true;
	case SNAPSHOT_RAM:
		snapshot_next_ram(image, r, data);
		return true;
	case SNAPSHOT_HEADER:
		snapshot_set_ram_sum(&image->header, image->sum);
		*r = (struct vmcore_record){ 0, sizeof(image->header), VMCORE_DATA };
		*data = &image->header;
		image->at = SNAPSHOT_END;
		return true;
	case SNAPSHOT_END:
		*r = (struct vmcore_record){ 0, image->failed ? VMCORE_LACKS_STATE : 0, VMCORE_END };
		image->at = SNAPSHOT_OVER;
		return true;
	case SNAPSHOT_OVER:
		break;
	}
	return false;
}
