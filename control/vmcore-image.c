// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vmcore as records (control/vmcore-image.h).
 *
 * RAM is gone through once (control/ram-scan.h), and whether VMCOREINFO starts in a page is seen in
 * passing. Then come the CPUs, of which one tells which VMCOREINFO is the one, and headers.
 */
#include <string.h>

#include "control/vmcore-image.h"
#include "util.h"

void vmcore_image_init(struct vmcore_image *image, const struct mem *mem, int pagemap,
		       unsigned int nr_cpus, vmcore_cpu_fn read_cpu, void *arg)
{
	memset(image, 0, sizeof(*image));
	image->mem = mem;
	ram_scan_init(&image->scan, mem, pagemap);
	image->read_cpu = read_cpu;
	image->arg = arg;
	image->info = (struct vmcore_info)VMCORE_INFO_NONE;
	vmcore_plan(&image->layout, mem, nr_cpus);
}

/* ---- RAM ---- */

/* What there is to say of the rest of a window. */
static void next_ram(struct vmcore_image *image, struct vmcore_record *r, const void **data)
{
	const struct vmcore_piece *p = &image->layout.pieces[image->piece];
	const gpa_t start = p->start + image->done;
	struct ram_run run;

	ram_scan_next(&image->scan, start, p->start + p->bytes, VMCORE_MAX_DATA_BYTES, &run);
	for (gpa_t at = run.from; at < run.to; at += MEM_PAGE_BYTES)
		vmcore_info_look(&image->info, image->mem, at);
	image->done = run.to - p->start;
	*r = (struct vmcore_record){ p->offset + image->done, 0, VMCORE_AT };
	if (run.to > run.from) {
		*r = (struct vmcore_record){
			p->offset + run.from - p->start, (uint32_t)(run.to - run.from), VMCORE_DATA
		};
		*data = mem_ptr(image->mem, run.from, run.to - run.from);
	}
	if (image->done == p->bytes) {
		image->done = 0;
		image->piece++;
	}
	if (image->piece == image->layout.nr_pieces)
		image->at = IMAGE_CPUS;
}

/* ---- the rest ---- */

static void send_notes(struct vmcore_image *image, struct vmcore_record *r, const void **data,
		       uint64_t offset, uint32_t bytes)
{
	*r = (struct vmcore_record){ offset, bytes, VMCORE_DATA };
	*data = image->notes;
}

static void next_cpu(struct vmcore_image *image, struct vmcore_record *r, const void **data)
{
	const unsigned int index = image->cpu++;
	struct registers cpu;

	if (image->read_cpu(image->arg, index, &cpu)) {
		memset(&cpu, 0, sizeof(cpu));
		image->lacks_cpu = true;
	}
	vmcore_info_ask(&image->info, image->mem, &cpu);
	vmcore_put_cpu(&cpu, index, image->notes);
	send_notes(image, r, data, image->layout.notes_offset + (uint64_t)index * VMCORE_CPU_BYTES,
		   VMCORE_CPU_BYTES);
	if (image->cpu == image->layout.nr_cpus)
		image->at = IMAGE_INFO;
}

/* True if there is one. */
static bool next_info(struct vmcore_image *image, struct vmcore_record *r, const void **data)
{
	image->info_bytes = vmcore_info_get(&image->info, image->mem, image->notes);
	send_notes(image, r, data, image->layout.info_offset, image->info_bytes);
	image->at = IMAGE_HEADER;
	return image->info_bytes;
}

static void next_header(struct vmcore_image *image, struct vmcore_record *r, const void **data)
{
	const struct vmcore_info_place *place = vmcore_info_place(&image->info);

	vmcore_put_header(&image->layout, image->info_bytes, place ? place->text : 0,
			  place ? place->text_gpa : 0, image->notes);
	send_notes(image, r, data, 0, VMCORE_HEADER_BYTES);
	image->at = IMAGE_END;
}

bool vmcore_image_next(struct vmcore_image *image, struct vmcore_record *r, const void **data)
{
	*data = NULL;
	switch (image->at) {
	case IMAGE_BEGIN:
		*r = (struct vmcore_record){ image->layout.bytes, 0, VMCORE_BEGIN };
		image->at = IMAGE_RAM;
		return true;
	case IMAGE_RAM:
		next_ram(image, r, data);
		return true;
	case IMAGE_CPUS:
		next_cpu(image, r, data);
		return true;
	case IMAGE_INFO:
		if (!next_info(image, r, data))
			next_header(image, r, data);
		return true;
	case IMAGE_HEADER:
		next_header(image, r, data);
		return true;
	case IMAGE_END:
		*r = (struct vmcore_record){
			.bytes = (image->info_bytes ? VMCORE_HAS_INFO : 0) |
				 (image->lacks_cpu ? VMCORE_LACKS_CPU : 0),
			.kind = VMCORE_END,
		};
		image->at = IMAGE_OVER;
		return true;
	case IMAGE_OVER:
		break;
	}
	return false;
}
