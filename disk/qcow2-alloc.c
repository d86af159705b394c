// SPDX-License-Identifier: GPL-2.0-only
/*
 * Space in a qcow2 image: refcounts, finding clusters, giving them back.
 *
 * Clusters are found by a first-fit scan over the refcounts; what is below free_hint
 * is known to be in use. A refcount block that is missing is made where the
 * clusters are that it describes, and a refcount table that is too small is made
 * anew behind everything else; the header learns of it in the next flush.
 *
 * A cluster that lost its last reference is first *unused* (the file may still
 * refer to it), after a flush *freeable*, and free when its space has been punched
 * out of the file and its refcount is zero. A crash in between leaks it.
 *
 * New tables are written, whole, before anybody refers to them: they have to be zero (or
 * a copy of one that a snapshot shares), and they have to have their space, so that a host
 * that is full fails the write that needs a table and never the flush of others.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "disk/qcow2-alloc.h"
#include "disk/qcow2-grow.h"
#include "disk/qcow2-table.h"
#include "util.h"

#define MAX_FILE_BYTES (1ull << 55)

/* ---- clusters that belong to the image itself ---- */

static const char *const names[] = {
	[METADATA_HEADER] = "header",
	[METADATA_L1] = "L1 table",
	[METADATA_REFCOUNT_TABLE] = "refcount table",
	[METADATA_REFCOUNT_BLOCK] = "refcount block",
	[METADATA_L2] = "L2 table",
	[METADATA_SNAPSHOTS] = "snapshot table",
	[METADATA_SNAPSHOT_L1] = "L1 table of a snapshot",
};

int qcow2_metadata_create(struct qcow2_image *img, uint64_t noted, uint64_t added)
{
	uint64_t bytes = align_up((noted + added) * 8, 4096);
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	img->metadata = p;
	img->metadata_reserved = bytes;
	img->max_noted = noted;
	return 0;
}

int qcow2_metadata_note(struct qcow2_image *img, uint64_t offset, uint64_t bytes,
			enum metadata_kind kind)
{
	uint64_t first = offset >> img->cluster_bits;
	uint64_t count = bytes ? ((offset + bytes - 1) >> img->cluster_bits) - first + 1 : 0;

	if (count > img->max_noted - img->nr_metadata)
		return qcow2_corrupt(img, "its %s at %#llx is larger than any", names[kind],
				     (unsigned long long)offset);
	for (uint64_t c = first; c < first + count; c++)
		img->metadata[img->nr_metadata++] = c << 3 | kind;
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int qcow2_metadata_sort(struct qcow2_image *img)
{
	qsort(img->metadata, img->nr_metadata, sizeof(img->metadata[0]), compare);
	for (unsigned int i = 1; i < img->nr_metadata; i++) {
		uint64_t a = img->metadata[i - 1], b = img->metadata[i];

		if (a >> 3 == b >> 3)
			return qcow2_corrupt(img, "%s and %s overlap at %#llx", names[a & 7],
					     names[b & 7],
					     (unsigned long long)(a >> 3 << img->cluster_bits));
	}
	return 0;
}

/* Index of the first entry that is not below @cluster. */
static unsigned int metadata_find(const struct qcow2_image *img, uint64_t cluster)
{
	unsigned int lo = 0, hi = img->nr_metadata;

	while (lo < hi) {
		unsigned int mid = lo + (hi - lo) / 2;

		if (img->metadata[mid] >> 3 < cluster)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool qcow2_is_metadata(const struct qcow2_image *img, uint64_t cluster)
{
	unsigned int i = metadata_find(img, cluster);

	return i < img->nr_metadata && img->metadata[i] >> 3 == cluster;
}

static void metadata_add(struct qcow2_image *img, uint64_t cluster, enum metadata_kind kind)
{
	unsigned int i = metadata_find(img, cluster);

	if (i < img->nr_metadata && img->metadata[i] >> 3 == cluster)
		return;
	assert((img->nr_metadata + 1) * 8ull <= img->metadata_reserved);
	memmove(&img->metadata[i + 1], &img->metadata[i],
		(img->nr_metadata - i) * sizeof(img->metadata[0]));
	img->metadata[i] = cluster << 3 | kind;
	img->nr_metadata++;
}

void qcow2_drop_metadata(struct qcow2_image *img, uint64_t offset, uint64_t bytes)
{
	uint64_t first = offset >> img->cluster_bits, count = bytes >> img->cluster_bits;

	for (uint64_t c = first; c < first + count; c++) {
		unsigned int i = metadata_find(img, c);

		if (i == img->nr_metadata || img->metadata[i] >> 3 != c)
			continue;
		img->nr_metadata--;
		memmove(&img->metadata[i], &img->metadata[i + 1],
			(img->nr_metadata - i) * sizeof(img->metadata[0]));
	}
	qcow2_cache_forget(img, offset, bytes);
}

void qcow2_free_metadata(struct qcow2_image *img, uint64_t offset, uint64_t bytes)
{
	qcow2_drop_metadata(img, offset, bytes);
	qcow2_free_later(img, offset >> img->cluster_bits, bytes >> img->cluster_bits);
}

/* ---- refcounts in a slice: 1 << order bits each ---- */

static uint64_t refcounts_per_slice(const struct qcow2_image *img)
{
	return img->slice_bytes * 8ull >> img->refcount_order;
}

static uint64_t refcounts_per_block(const struct qcow2_image *img)
{
	return img->cluster_bytes * 8ull >> img->refcount_order;
}

static uint64_t get_count(const struct qcow2_image *img, const uint8_t *slice, uint64_t i)
{
	unsigned int order = img->refcount_order;
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;

	switch (order) {
	case 3:
		return slice[i];
	case 4:
		memcpy(&v16, slice + i * 2, 2);
		return be16toh(v16);
	case 5:
		memcpy(&v32, slice + i * 4, 4);
		return be32toh(v32);
	case 6:
		memcpy(&v64, slice + i * 8, 8);
		return be64toh(v64);
	default: /* several in a byte, the first in the low bits */
		return slice[i << order >> 3] >> (i << order & 7) & ((1u << (1u << order)) - 1);
	}
}

static void set_count(const struct qcow2_image *img, uint8_t *slice, uint64_t i, uint64_t v)
{
	unsigned int order = img->refcount_order;
	uint8_t *byte = &slice[i << order >> 3], shift = i << order & 7;
	uint8_t mask = order < 3 ? (uint8_t)(((1u << (1u << order)) - 1) << shift) : 0;
	uint16_t v16 = htobe16((uint16_t)v);
	uint32_t v32 = htobe32((uint32_t)v);
	uint64_t v64 = htobe64(v);

	switch (order) {
	case 3:
		slice[i] = (uint8_t)v;
		break;
	case 4:
		memcpy(slice + i * 2, &v16, 2);
		break;
	case 5:
		memcpy(slice + i * 4, &v32, 4);
		break;
	case 6:
		memcpy(slice + i * 8, &v64, 8);
		break;
	default:
		*byte = (uint8_t)((*byte & ~mask) | (v << shift & mask));
	}
}

/* Where the slice with the refcount of @cluster is; 0: there is no block for it. */
static uint64_t slice_offset(const struct qcow2_image *img, uint64_t cluster)
{
	uint64_t block = cluster / refcounts_per_block(img), offset;

	if (block >= img->refcounts.entries)
		return 0;
	offset = qcow2_table_get(&img->refcounts, block) & ~511ull;
	if (!offset)
		return 0;
	return offset + align_down((cluster % refcounts_per_block(img)) << img->refcount_order >> 3,
				   img->slice_bytes);
}

int qcow2_get_refcount(struct qcow2_image *img, uint64_t cluster, struct qcow2_waiter *w,
		       uint64_t *count)
{
	uint64_t offset = slice_offset(img, cluster);
	struct qcow2_slot *slot;
	int rc;

	*count = 0;
	if (!offset)
		return 1;
	rc = qcow2_cache_get(img, false, offset, w, &slot);
	if (rc == 1)
		*count = get_count(img, slot->data, cluster % refcounts_per_slice(img));
	return rc;
}

static void used(struct qcow2_image *img, uint64_t first, uint64_t count)
{
	img->fresh_from = max_u64(img->fresh_from, first + count);
}

/* ---- refcount blocks and the refcount table ---- */

/*
 * Sets the refcounts of [first, first + count) to 1 in blocks that are new, hence
 * zero. The cache has room.
 */
static void set_new_counts(struct qcow2_image *img, uint64_t first, uint64_t count)
{
	struct qcow2_slot *slot = NULL;
	uint64_t per_slice = refcounts_per_slice(img);

	for (uint64_t c = first; c < first + count; c++) {
		if (!slot || c % per_slice == 0) {
			slot = qcow2_cache_new(img, false, slice_offset(img, c));
			qcow2_cache_dirty(slot);
		}
		set_count(img, slot->data, c % per_slice, 1);
	}
}

/*
 * An image whose refcounts say that a table is free would have it overwritten, the header
 * first of all.
 */
static int check_free(struct qcow2_image *img, uint64_t first, uint64_t count)
{
	for (uint64_t c = first; c < first + count; c++)
		if (qcow2_is_metadata(img, c))
			return qcow2_corrupt(img, "the table at %#llx is in a cluster that counts as free",
					     (unsigned long long)(c << img->cluster_bits));
	return 0;
}

/* A block for clusters that have none: their first becomes the block itself. */
static int add_block(struct qcow2_image *img, uint64_t block, struct qcow2_waiter *w)
{
	uint64_t first = block * refcounts_per_block(img);
	int rc = check_free(img, first, 1);

	if (rc)
		return rc;
	if (!qcow2_cache_has_room(img, 1)) {
		qcow2_want_room(img->disk, w);
		return 0;
	}
	rc = qcow2_zero_clusters(img, first, 1, w);
	if (rc != 1)
		return rc;
	used(img, first, 1);
	metadata_add(img, first, METADATA_REFCOUNT_BLOCK);
	qcow2_table_set(&img->refcounts, block, first << img->cluster_bits);
	set_new_counts(img, first, 1);
	return 1;
}

/* The fields of the header that change: where the refcount table is (bytes 48 to 59). */
static void qcow2_set_header(struct qcow2_image *img)
{
	uint64_t offset = htobe64(img->refcounts.offset);
	uint32_t clusters = htobe32((uint32_t)(img->refcounts.entries * 8ull >> img->cluster_bits));

	memcpy(img->header + 48, &offset, 8);
	memcpy(img->header + 56, &clusters, 4);
	img->header_changed = true;
}

/*
 * A bigger refcount table, behind everything that the old one can describe: first
 * the blocks that describe it and themselves, then the table.
 */
static int grow_table(struct qcow2_image *img, struct qcow2_waiter *w)
{
	struct qcow2_table *t = &img->refcounts;
	uint64_t per_block = refcounts_per_block(img), old_entries = t->entries;
	uint64_t base = old_entries * per_block, entries, clusters, blocks = 1;
	uint64_t old_offset = t->offset;
	int rc;

	entries = align_up(old_entries * 2, img->cluster_bytes / 8);
	entries = min_u64(entries, t->bytes_reserved / 8);
	clusters = entries * 8 >> img->cluster_bits;
	while (blocks * per_block < clusters + blocks)
		blocks++;
	if (entries < old_entries + blocks)
		return -EFBIG;
	if (!qcow2_cache_has_room(img, (unsigned int)((clusters + blocks) / refcounts_per_slice(img) +
						      blocks + 1))) {
		qcow2_want_room(img->disk, w);
		return 0;
	}
	rc = check_free(img, base, blocks + clusters);
	if (!rc)
		rc = qcow2_zero_clusters(img, base, blocks + clusters, w);
	if (rc != 1)
		return rc;
	used(img, base, blocks + clusters);
	t->entries = (uint32_t)entries;
	t->offset = (base + blocks) << img->cluster_bits;
	qcow2_set_header(img);
	for (uint64_t i = 0; i < entries; i++) /* all of it is new where it is now */
		qcow2_table_set(t, i, qcow2_table_get(t, i));
	for (uint64_t i = 0; i < blocks; i++) {
		qcow2_table_set(t, old_entries + i, (base + i) << img->cluster_bits);
		metadata_add(img, base + i, METADATA_REFCOUNT_BLOCK);
	}
	for (uint64_t i = 0; i < clusters; i++)
		metadata_add(img, base + blocks + i, METADATA_REFCOUNT_TABLE);
	set_new_counts(img, base, blocks + clusters);
	qcow2_free_metadata(img, old_offset, old_entries * 8);
	return 1;
}

/* ---- allocating ---- */

/*
 * Finds free clusters from free_hint on. 1: *slot has their refcounts, of which the
 * one with index *i is the first that is free. 0: @w waits.
 */
static int find_free(struct qcow2_image *img, struct qcow2_waiter *w, struct qcow2_slot **slot,
		     uint64_t *i)
{
	uint64_t per_slice = refcounts_per_slice(img);

	for (;;) {
		uint64_t offset = slice_offset(img, img->free_hint);
		uint64_t block = img->free_hint / refcounts_per_block(img);
		int rc;

		if (img->free_hint << img->cluster_bits >= MAX_FILE_BYTES)
			return -EFBIG;
		if (!offset) {
			if (!qcow2_may_change(img->disk, w))
				return 0;
			rc = block < img->refcounts.entries ? add_block(img, block, w) :
			     qcow2_can_free(img, 1, w)	    ? grow_table(img, w) :
							      0;
			if (rc != 1)
				return rc;
			continue;
		}
		rc = qcow2_cache_get(img, false, offset, w, slot);
		if (rc != 1)
			return rc;
		for (*i = img->free_hint % per_slice; *i < per_slice; ++*i) {
			if (!get_count(img, (*slot)->data, *i))
				return 1;
			img->free_hint++;
		}
	}
}

/*
 * Finds up to @want adjoining clusters that may be taken now: mark_used() is to follow, or
 * nothing. Looking is allowed at any time, so nobody needs two moments without a flush.
 */
static int find_run(struct qcow2_image *img, uint64_t want, struct qcow2_waiter *w,
		    struct cluster_range *run)
{
	uint64_t per_slice = refcounts_per_slice(img), i;
	struct qcow2_slot *slot;
	int rc = find_free(img, w, &slot, &i);

	if (rc == 1)
		rc = qcow2_may_change(img->disk, w);
	if (rc != 1)
		return rc;
	*run = (struct cluster_range){ img->free_hint, 1 };
	while (run->count < want && i + run->count < per_slice &&
	       !get_count(img, slot->data, i + run->count))
		run->count++;
	rc = check_free(img, run->first, run->count);
	return rc ? rc : 1;
}

/* Sets refcounts in the slice of all of them, which the cache has. */
static void set_counts(struct qcow2_image *img, const struct cluster_range *run, uint64_t value)
{
	uint64_t i = run->first % refcounts_per_slice(img);
	struct qcow2_slot *slot;
	int rc = qcow2_cache_get(img, false, slice_offset(img, run->first), NULL, &slot);

	assert(rc == 1);
	(void)rc;
	for (uint64_t n = 0; n < run->count; n++)
		set_count(img, slot->data, i + n, value);
	qcow2_cache_dirty(slot);
}

static void mark_used(struct qcow2_image *img, const struct cluster_range *run)
{
	set_counts(img, run, 1);
	img->free_hint = run->first + run->count;
	used(img, run->first, run->count);
}

int qcow2_alloc(struct qcow2_image *img, uint64_t want, struct qcow2_waiter *w,
		uint64_t *first, uint64_t *got, bool *fresh)
{
	struct cluster_range run;
	int rc = find_run(img, want, w, &run);

	if (rc != 1)
		return rc;
	rc = qcow2_extend(img, run.first, run.count, w);
	if (rc != 1)
		return rc;
	*first = run.first;
	*got = run.count;
	*fresh = run.first >= img->fresh_from;
	mark_used(img, &run);
	return 1;
}

int qcow2_alloc_table(struct qcow2_image *img, struct qcow2_waiter *w, uint64_t *offset)
{
	uint64_t first, got;
	bool fresh;
	int rc = qcow2_alloc(img, 1, w, &first, &got, &fresh);

	if (rc != 1)
		return rc;
	metadata_add(img, first, METADATA_L2);
	*offset = first << img->cluster_bits;
	return 1;
}

int qcow2_unalloc(struct qcow2_image *img, uint64_t first, uint64_t count,
		  struct qcow2_waiter *w)
{
	struct cluster_range run = { first, count };
	struct qcow2_slot *slot;
	int rc = qcow2_cache_get(img, false, slice_offset(img, first), w, &slot);

	if (rc == 1)
		rc = qcow2_may_change(img->disk, w);
	if (rc != 1)
		return rc;
	set_counts(img, &run, 0);
	img->free_hint = min_u64(img->free_hint, first);
	return 1;
}

/* ---- freeing ---- */

bool qcow2_can_free(struct qcow2_image *img, unsigned int nr, struct qcow2_waiter *w)
{
	if (img->unused.nr + nr <= QCOW2_MAX_RANGES)
		return true;
	qcow2_want_room(img->disk, w);
	return false;
}

void qcow2_free_later(struct qcow2_image *img, uint64_t first, uint64_t count)
{
	struct range_list *list = &img->unused;
	struct cluster_range *last = list->nr ? &list->ranges[list->nr - 1] : NULL;

	if (last && last->first + last->count == first) {
		last->count += count;
		return;
	}
	assert(list->nr < QCOW2_MAX_RANGES); /* see qcow2_can_free() */
	list->ranges[list->nr++] = (struct cluster_range){ first, count };
}

void qcow2_unused_is_freeable(struct qcow2_image *img)
{
	struct range_list *from = &img->unused, *to = &img->freeable;

	/* Something is left only of ranges so long that a flush in between was necessary. */
	while (from->nr && to->nr < QCOW2_MAX_RANGES)
		to->ranges[to->nr++] = from->ranges[--from->nr];
	img->punched = 0;
}

static void drop_reference(struct qcow2_image *img, struct qcow2_slot *slot, uint64_t cluster)
{
	uint64_t i = cluster % refcounts_per_slice(img), count = get_count(img, slot->data, i);

	if (!count)
		return; /* the image was wrong about it before we came */
	set_count(img, slot->data, i, count - 1);
	qcow2_cache_dirty(slot);
	if (count == 1)
		img->free_hint = min_u64(img->free_hint, cluster);
}

/* The first @n clusters of the last freeable range have been dealt with. */
static void forget_freeable(struct qcow2_image *img, uint64_t n)
{
	struct range_list *list = &img->freeable;
	struct cluster_range *r = &list->ranges[list->nr - 1];

	r->first += n;
	r->count -= n;
	if (!r->count)
		list->nr--;
	img->punched = 0;
}

/* How many clusters from the start of @r on have the refcount 1, in one slice. */
static uint64_t nr_last_references(const struct qcow2_image *img, const struct qcow2_slot *slot,
				   const struct cluster_range *r)
{
	uint64_t per_slice = refcounts_per_slice(img), i = r->first % per_slice, n = 0;

	while (n < r->count && i + n < per_slice && get_count(img, slot->data, i + n) == 1)
		n++;
	return n;
}

/*
 * Clusters that others still refer to only lose a reference; those that nobody does are
 * punched out first. Each slice becomes dirty, and a part of the cache is left for others.
 */
enum free_step qcow2_free_step(struct qcow2_image *img, struct qcow2_waiter *w,
			       struct cluster_range *hole)
{
	struct cluster_range *r;
	uint64_t offset, n = img->punched;
	struct qcow2_slot *slot;

	if (!img->freeable.nr || img->nr_dirty >= img->nr_slots / 4 * 3 ||
	    !qcow2_cache_has_room(img, 1))
		return FREE_END;
	r = &img->freeable.ranges[img->freeable.nr - 1];
	offset = slice_offset(img, r->first);
	if (!offset) {
		forget_freeable(img, 1);
		return FREE_NEXT;
	}
	if (qcow2_cache_get(img, false, offset, w, &slot) != 1)
		return FREE_WAIT;
	if (!n) {
		n = nr_last_references(img, slot, r);
		if (n) {
			*hole = (struct cluster_range){ r->first, n };
			img->punched = n;
			return FREE_PUNCH;
		}
		n = 1;
	}
	for (uint64_t c = 0; c < n; c++)
		drop_reference(img, slot, r->first + c);
	forget_freeable(img, n);
	return FREE_NEXT;
}

void qcow2_free_skip(struct qcow2_image *img)
{
	forget_freeable(img, img->freeable.ranges[img->freeable.nr - 1].count);
}
