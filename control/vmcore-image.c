// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vmcore as records (control/vmcore-image.h).
 *
 * RAM is gone through once, 2 MiB at a time: of pages that were ever touched those that are not zero
 * are sent, as many at once as lie together, and whether VMCOREINFO starts there is seen
 * in passing. What was never touched is not even read, which would give it a page. Then come the
 * CPUs, of which one tells which VMCOREINFO is the one, and headers.
 */
#include <string.h>

#include "control/vmcore-image.h"
#include "util.h"

#define WINDOW_BYTES ((uint64_t)MEM_TOUCHED_PAGES * MEM_PAGE_BYTES)
#define NO_WINDOW 1u

void vmcore_image_init(struct vmcore_image *image, const struct mem *mem, int pagemap,
		       unsigned int nr_cpus, vmcore_cpu_fn read_cpu, void *arg)
{
	memset(image, 0, sizeof(*image));
	image->mem = mem;
	image->pagemap = pagemap;
	image->read_cpu = read_cpu;
	image->arg = arg;
	image->info = (struct vmcore_info)VMCORE_INFO_NONE;
	image->window = NO_WINDOW;
	vmcore_plan(&image->layout, mem, nr_cpus);
}

/* ---- RAM ---- */

static bool is_zero(const uint8_t *page)
{
	uint64_t first;

	memcpy(&first, page, sizeof(first));
	return !first && !memcmp(page, page + sizeof(first), MEM_PAGE_BYTES - sizeof(first));
}

/* The page at @gpa is RAM. */
static bool has_content(struct vmcore_image *image, gpa_t gpa)
{
	unsigned int nr = (unsigned int)(gpa % WINDOW_BYTES / MEM_PAGE_BYTES);

	if (image->window != align_down(gpa, WINDOW_BYTES)) {
		image->window = align_down(gpa, WINDOW_BYTES);
		mem_find_touched(image->mem, image->pagemap, image->window, image->touched);
	}
	return image->touched[nr / 64] >> nr % 64 & 1 &&
	       !is_zero(mem_ptr(image->mem, gpa, MEM_PAGE_BYTES));
}

/* Takes pages from @start on, up to @end, as long as they have content, or as long as they have none. */
static gpa_t find_pages(struct vmcore_image *image, gpa_t start, gpa_t end, bool content)
{
	gpa_t at = start;

	while (at < end && has_content(image, at) == content) {
		if (content)
			vmcore_info_look(&image->info, image->mem, at);
		at += MEM_PAGE_BYTES;
	}
	return at;
}

/* What there is to say of the rest of a window. */
static void next_ram(struct vmcore_image *image, struct vmcore_record *r, const void **data)
{
	const struct vmcore_piece *p = &image->layout.pieces[image->piece];
	const gpa_t start = p->start + image->done;
	const gpa_t end = min_u64(align_down(start, WINDOW_BYTES) + WINDOW_BYTES, p->start + p->bytes);
	const gpa_t from = find_pages(image, start, end, false);
	const gpa_t to = find_pages(image, from, min_u64(end, from + VMCORE_MAX_DATA_BYTES), true);

	image->done = to - p->start;
	*r = (struct vmcore_record){ p->offset + image->done, 0, VMCORE_AT };
	if (to > from) {
		*r = (struct vmcore_record){
			p->offset + from - p->start, (uint32_t)(to - from), VMCORE_DATA,
		};
		*data = mem_ptr(image->mem, from, to - from);
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
	vmcore_put_header(&image->layout, image->info_bytes, image->notes);
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
