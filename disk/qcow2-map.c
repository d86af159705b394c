// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the guest's bytes are: from the L1 table to a slice of an L2 table to its entry, image
 * after image of the chain until one of them says. What is found holds until the next call:
 * nothing is kept, whoever has to wait looks again.
 */
#include <errno.h>

#include "disk/qcow2-map.h"
#include "disk/qcow2-table.h"
#include "util.h"

uint64_t qcow2_compressed_offset(const struct qcow2_image *img, uint64_t entry)
{
	return entry & ((1ull << (62 - (img->cluster_bits - 8))) - 1);
}

uint64_t qcow2_compressed_bytes(const struct qcow2_image *img, uint64_t entry)
{
	uint64_t sectors = (entry & ~(QCOW2_COPIED | QCOW2_COMPRESSED)) >>
			   (62 - (img->cluster_bits - 8));

	return (sectors + 1) * 512 - (qcow2_compressed_offset(img, entry) & 511);
}

int qcow2_check_entry(struct qcow2_image *img, const struct qcow2_slot *slot, uint64_t i)
{
	const uint64_t *be = (const uint64_t *)slot->data;
	uint64_t entry = be64toh(be[i]), offset = entry & QCOW2_OFFSET_MASK;
	enum extent_kind kind = qcow2_kind_of(img, entry);

	if (kind == EXTENT_COMPRESSED) {
		offset = qcow2_compressed_offset(img, entry);
	} else if (offset & (img->cluster_bytes - 1) ||
		   entry & ~(QCOW2_OFFSET_MASK | QCOW2_COPIED | QCOW2_ZERO)) {
		qcow2_corrupt(img, "L2 table slice at %#llx: entry %llu is %#llx, which is "
				   "no cluster",
			      (unsigned long long)slot->offset,
			      (unsigned long long)i, (unsigned long long)entry);
		return -EIO;
	}
	if (offset && offset >= img->file_bytes) {
		qcow2_corrupt(img, "L2 table slice at %#llx: entry %llu points to %#llx, past "
				   "the end of the file (%#llx)",
			      (unsigned long long)slot->offset,
			      (unsigned long long)i, (unsigned long long)offset,
			      (unsigned long long)img->file_bytes);
		return -EIO;
	}
	return 0;
}

int qcow2_get_slice(struct qcow2_image *img, uint64_t pos, struct qcow2_waiter *w,
		    struct qcow2_slot **slot, uint64_t *i)
{
	uint64_t cluster = pos >> img->cluster_bits;
	uint64_t table = qcow2_table_get(&img->l1, cluster / qcow2_l2_entries(img)) & QCOW2_OFFSET_MASK;
	uint64_t index = cluster % qcow2_l2_entries(img);

	*i = index % img->slice_entries;
	return qcow2_cache_get(img, true, table + (index - *i) * 8, w, slot);
}

bool qcow2_has_table(const struct qcow2_image *img, uint64_t pos)
{
	uint64_t i = (pos >> img->cluster_bits) / qcow2_l2_entries(img);

	return qcow2_table_get(&img->l1, i) & QCOW2_OFFSET_MASK;
}

bool qcow2_continues(const struct qcow2_image *img, uint64_t first, uint64_t entry, uint64_t n)
{
	enum extent_kind kind = qcow2_kind_of(img, first);

	if (kind != qcow2_kind_of(img, entry) || kind == EXTENT_COMPRESSED)
		return false;
	return kind != EXTENT_DATA ||
	       (entry & QCOW2_OFFSET_MASK) == (first & QCOW2_OFFSET_MASK) + n * img->cluster_bytes;
}

/* What one image says about [pos, pos + max). 1, 0 (waits) or -errno. */
static int look_up(struct qcow2_image *img, uint64_t pos, uint64_t max, struct qcow2_waiter *w,
		   struct extent *e)
{
	uint64_t in_cluster = pos & (img->cluster_bytes - 1), i, entry, n = 1;
	uint64_t per_table = qcow2_l2_entries(img) << img->cluster_bits;
	struct qcow2_slot *slot;
	const uint64_t *be;
	int rc;

	if (!qcow2_has_table(img, pos)) {
		*e = (struct extent){
			.kind = EXTENT_NONE,
			.bytes = min_u64(max, per_table - pos % per_table),
		};
		return 1;
	}
	rc = qcow2_get_slice(img, pos, w, &slot, &i);
	if (rc != 1)
		return rc;
	if (qcow2_check_entry(img, slot, i))
		return -EIO;
	be = (const uint64_t *)slot->data;
	entry = be64toh(be[i]);
	while (i + n < img->slice_entries && n * img->cluster_bytes - in_cluster < max &&
	       qcow2_continues(img, entry, be64toh(be[i + n]), n) && !qcow2_check_entry(img, slot, i + n))
		n++;
	*e = (struct extent){
		.kind = qcow2_kind_of(img, entry),
		.bytes = min_u64(max, n * img->cluster_bytes - in_cluster),
		.file = &img->data,
		.host = (entry & QCOW2_OFFSET_MASK) + in_cluster,
		.image = img,
		.entry = entry,
	};
	return 1;
}

int qcow2_map(const struct qcow2 *q, uint64_t pos, uint64_t max, struct qcow2_waiter *w,
	      struct extent *e)
{
	for (unsigned int n = 0; n < q->nr_images; n++) {
		struct qcow2_image *img = q->images[n];
		int rc;

		if (pos >= img->size_bytes) {
			*e = (struct extent){ .kind = EXTENT_ZERO, .bytes = max };
			return 1;
		}
		max = min_u64(max, img->size_bytes - pos);
		rc = look_up(img, pos, max, w, e);
		if (rc != 1 || e->kind != EXTENT_NONE)
			return rc;
		max = e->bytes;
	}
	if (!q->has_base || pos >= q->base_bytes)
		*e = (struct extent){ .kind = EXTENT_ZERO, .bytes = max };
	else
		*e = (struct extent){
			.kind = EXTENT_DATA,
			.host = pos,
			.file = &q->base,
			.bytes = min_u64(max, q->base_bytes - pos),
		};
	return 1;
}
