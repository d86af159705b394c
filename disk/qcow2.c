// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests to a qcow2 disk.
 *
 * A request is done part by part, where a part is what one operation on the file
 * can do. run() makes progress until the request has something in flight or has to
 * wait, for a slice of a table, for another request, for a flush; when that has
 * come the request is made runnable and run() continues. Before anything has been
 * started, to continue is to start the part over, so nothing of what was looked up
 * has to be kept.
 *
 * While a part is in flight it has a claim on its guest clusters. Parts that change
 * the mapping (new clusters, discard, zeroes) claim them exclusively, so that no
 * two change the same entry and no cluster is given away under a running read.
 *
 * A write to a cluster that may not be written in place: allocate, copy what the
 * request does not cover from where it was, write, then change the L2 entry; only
 * then is the write complete. What fails on the way is freed again.
 *
 * Not here: refcounts and tables (qcow2-alloc.c, qcow2-table.c).
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk/file.h"
#include "disk/qcow2-image.h"
#include "io.h"
#include "util.h"

enum step {
	STEP_NEXT,		/* begin the next part */
	STEP_DATA,		/* data was read or written in place */
	STEP_UNPACK,		/* a compressed cluster was read, for the guest */
	STEP_FILL,		/* copy old contents around a write to new clusters */
	STEP_FILL_READ,		/* ... they were read */
	STEP_FILL_UNPACK,	/* ... compressed */
	STEP_FILL_WRITTEN,
	STEP_NEW_DATA,		/* data was written to new clusters */
	STEP_COMMIT,		/* the L2 entries are to be changed */
};

enum extent_kind {
	EXTENT_NONE,		/* this image does not say */
	EXTENT_ZERO,
	EXTENT_DATA,
	EXTENT_COMPRESSED,
};

/* Where guest bytes are. */
struct extent {
	enum extent_kind kind;
	uint64_t bytes;			/* for how many it holds */
	const struct aio_file *file;	/* data */
	uint64_t host;
	struct qcow2_image *image;	/* compressed */
	uint64_t entry;
};

static struct qcow2 *disk_of(const struct disk_request *req)
{
	return (struct qcow2 *)req->disk;
}

static struct qcow2_image *top_of(const struct disk_request *req)
{
	return disk_of(req)->images[0];
}

static uint64_t guest_pos(const struct disk_request *req)
{
	return req->offset + req->pos;
}

/* ---- who runs when ---- */

void qcow2_make_runnable(struct qcow2 *q, struct disk_request *req, int error)
{
	req->qcow2.error = error;
	request_list_add(&q->runnable, req);
}

void qcow2_wake(struct qcow2 *q, struct request_list *list, int error)
{
	for (struct disk_request *req = list->head; req; req = req->next)
		req->qcow2.error = error;
	request_list_move(&q->runnable, list);
}

static void op_done(struct aio_op *op, int error)
{
	struct disk_request *req = (struct disk_request *)((char *)op -
							   offsetof(struct disk_request, op));

	qcow2_make_runnable(disk_of(req), req, error);
	qcow2_pump(disk_of(req));
}

static void start_op(struct disk_request *req, enum step next, enum aio_kind kind,
		     const struct aio_file *file, uint64_t offset, struct iovec *iov,
		     unsigned int nr_iov, uint64_t bytes)
{
	req->qcow2.step = next;
	req->op = (struct aio_op){
		.kind = kind,
		.file = file,
		.offset = offset,
		.iov = iov,
		.nr_iov = nr_iov,
		.bytes = bytes,
		/* The last cluster of a file need not be all there. */
		.zero_past_end = kind == AIO_READ,
		.done = op_done,
	};
	aio_submit(disk_of(req)->disk.aio, &req->op);
}

/* ---- claims ---- */

static bool overlaps(const struct disk_request *a, uint64_t first, uint64_t last)
{
	return a->qcow2.first <= last && first <= a->qcow2.last;
}

/* Somebody in flight, or somebody exclusive who has waited longer, is in the way. */
static bool must_wait(const struct qcow2 *q, const struct disk_request *req)
{
	uint64_t first = req->qcow2.first, last = req->qcow2.last;
	bool exclusive = req->qcow2.exclusive;
	const struct disk_request *r;

	if (!q->nr_exclusive && !exclusive)
		return false;
	for (r = q->claims; r; r = r->qcow2.claim_next)
		if ((exclusive || r->qcow2.exclusive) && overlaps(r, first, last))
			return true;
	for (r = q->claim_waiters.head; r; r = r->next)
		if ((exclusive || r->qcow2.exclusive) && overlaps(r, first, last))
			return true;
	return false;
}

/* True: the part of @bytes at the current position is ours. False: @req waits for it. */
static bool claim(struct disk_request *req, uint64_t bytes, bool exclusive)
{
	struct qcow2 *q = disk_of(req);
	unsigned int bits = q->images[0]->cluster_bits;

	req->qcow2.first = guest_pos(req) >> bits;
	req->qcow2.last = (guest_pos(req) + bytes - 1) >> bits;
	req->qcow2.exclusive = exclusive;
	if (must_wait(q, req)) {
		q->nr_exclusive += exclusive;	/* others must not overtake it */
		request_list_add(&q->claim_waiters, req);
		return false;
	}
	q->nr_exclusive += exclusive;
	req->qcow2.claimed = true;
	req->qcow2.claim_next = q->claims;
	q->claims = req;
	return true;
}

static void wake_claim_waiters(struct qcow2 *q)
{
	for (struct disk_request *r = q->claim_waiters.head; r; r = r->next)
		q->nr_exclusive -= r->qcow2.exclusive;
	qcow2_wake(q, &q->claim_waiters, 0);
}

static void release_claim(struct disk_request *req)
{
	struct qcow2 *q = disk_of(req);
	struct disk_request **link = &q->claims;

	if (!req->qcow2.claimed)
		return;
	while (*link != req)
		link = &(*link)->qcow2.claim_next;
	*link = req->qcow2.claim_next;
	q->nr_exclusive -= req->qcow2.exclusive;
	req->qcow2.claimed = false;
	wake_claim_waiters(q);
}

/* ---- the buffers that one request at a time may use ---- */

static bool take_buffers(struct disk_request *req)
{
	struct qcow2 *q = disk_of(req);

	if (req->qcow2.has_buffers)
		return true;
	if (q->buffers_taken) {
		request_list_add(&q->buffer_waiters, req);
		return false;
	}
	q->buffers_taken = req->qcow2.has_buffers = true;
	return true;
}

static void release_buffers(struct disk_request *req)
{
	struct qcow2 *q = disk_of(req);

	if (!req->qcow2.has_buffers)
		return;
	req->qcow2.has_buffers = q->buffers_taken = false;
	qcow2_wake(q, &q->buffer_waiters, 0);
}

/* ---- beginning and ending ---- */

static void start_backlog(struct qcow2 *q)
{
	while (q->nr_active < QCOW2_MAX_ACTIVE && q->backlog.head) {
		q->nr_active++;
		qcow2_make_runnable(q, request_list_take(&q->backlog), 0);
	}
}

static void finish(struct disk_request *req, int error)
{
	struct qcow2 *q = disk_of(req);

	release_buffers(req);
	release_claim(req);
	q->nr_active--;
	start_backlog(q);
	req->done(req, error);
}

static void fail(struct disk_request *req, int error)
{
	/* New clusters that nothing refers to yet. */
	if (req->qcow2.clusters)
		qcow2_free_later(top_of(req), req->qcow2.host >> top_of(req)->cluster_bits,
				 req->qcow2.clusters);
	req->qcow2.clusters = 0;
	finish(req, error);
}

/* ---- buffers of the guest ---- */

/*
 * Cuts the request's buffers so that they end after the part's @bytes; what was cut
 * off is put back by end_part().
 */
static void begin_part(struct disk_request *req, uint64_t bytes)
{
	unsigned int n = 0;

	req->qcow2.bytes = bytes;
	if (req->qcow2.zeroes) {
		req->part = (struct iovec){ (void *)(uintptr_t)file_zeroes(), bytes };
		req->qcow2.nr_part = 1;
		return;
	}
	while (bytes > req->iov[n].iov_len)
		bytes -= req->iov[n++].iov_len;
	req->qcow2.cut = req->iov[n];
	req->qcow2.cut_bytes = bytes;
	req->iov[n].iov_len = bytes;
	req->qcow2.nr_part = n + 1;
}

static struct iovec *part_iov(struct disk_request *req)
{
	return req->qcow2.zeroes ? &req->part : req->iov;
}

/* The part is done: its claim ends and the next one begins after it. */
static void end_part(struct disk_request *req)
{
	const struct iovec *cut = &req->qcow2.cut;
	uint64_t used = req->qcow2.cut_bytes;

	if (!req->qcow2.zeroes) {
		req->iov += req->qcow2.nr_part - 1;
		req->nr_iov -= req->qcow2.nr_part - 1;
		*req->iov = (struct iovec){ (uint8_t *)cut->iov_base + used, cut->iov_len - used };
	}
	req->pos += req->qcow2.bytes;
	req->qcow2.zeroes = false;
	req->qcow2.clusters = 0;
	req->qcow2.step = STEP_NEXT;
	release_buffers(req);
	release_claim(req);
}

/* ---- mapping ---- */

static enum extent_kind kind_of(const struct qcow2_image *img, uint64_t entry)
{
	if (entry & QCOW2_COMPRESSED)
		return EXTENT_COMPRESSED;
	if (img->version >= 3 && entry & QCOW2_ZERO)
		return EXTENT_ZERO;
	return entry & QCOW2_OFFSET_MASK ? EXTENT_DATA : EXTENT_NONE;
}

static uint64_t compressed_offset(const struct qcow2_image *img, uint64_t entry)
{
	return entry & ((1ull << (62 - (img->cluster_bits - 8))) - 1);
}

/* Up to the end of the sector in which the data ends. */
static uint64_t compressed_bytes(const struct qcow2_image *img, uint64_t entry)
{
	uint64_t sectors = (entry & ~(QCOW2_COPIED | QCOW2_COMPRESSED)) >>
			   (62 - (img->cluster_bits - 8));

	return (sectors + 1) * 512 - (compressed_offset(img, entry) & 511);
}

/* The one place where an L2 entry is checked. 0 or -EIO. */
static int check_entry(struct qcow2_image *img, const struct qcow2_slot *slot, uint64_t i)
{
	const uint64_t *be = (const uint64_t *)slot->data;
	uint64_t entry = be64toh(be[i]), offset = entry & QCOW2_OFFSET_MASK;
	enum extent_kind kind = kind_of(img, entry);

	if (kind == EXTENT_COMPRESSED) {
		offset = compressed_offset(img, entry);
	} else if (offset & (img->cluster_bytes - 1) ||
		   entry & ~(QCOW2_OFFSET_MASK | QCOW2_COPIED | QCOW2_ZERO)) {
		qcow2_corrupt(img, "L2 table slice at %#llx: entry %llu is %#llx, which is "
				     "no cluster", (unsigned long long)slot->offset,
				     (unsigned long long)i, (unsigned long long)entry);
		return -EIO;
	}
	if (offset && offset >= img->file_bytes) {
		qcow2_corrupt(img, "L2 table slice at %#llx: entry %llu points to %#llx, past "
				     "the end of the file (%#llx)", (unsigned long long)slot->offset,
				     (unsigned long long)i, (unsigned long long)offset,
				     (unsigned long long)img->file_bytes);
		return -EIO;
	}
	return 0;
}

static uint64_t l2_entries(const struct qcow2_image *img)
{
	return img->cluster_bytes / 8;
}

/* The slice that maps guest position @pos, and the index in it; 1, 0 (waits) or -errno. */
static int get_slice(struct qcow2_image *img, uint64_t pos, struct disk_request *req,
		     struct qcow2_slot **slot, uint64_t *i)
{
	uint64_t cluster = pos >> img->cluster_bits;
	uint64_t table = qcow2_table_get(&img->l1, cluster / l2_entries(img)) & QCOW2_OFFSET_MASK;
	uint64_t index = cluster % l2_entries(img);

	*i = index % img->slice_entries;
	return qcow2_cache_get(img, true, table + (index - *i) * 8, req, slot);
}

static bool has_table(const struct qcow2_image *img, uint64_t pos)
{
	uint64_t i = (pos >> img->cluster_bits) / l2_entries(img);

	return qcow2_table_get(&img->l1, i) & QCOW2_OFFSET_MASK;
}

/* True if @entry goes on where @n entries after @first began. */
static bool continues(const struct qcow2_image *img, uint64_t first, uint64_t entry, uint64_t n)
{
	enum extent_kind kind = kind_of(img, first);

	if (kind != kind_of(img, entry) || kind == EXTENT_COMPRESSED)
		return false;
	return kind != EXTENT_DATA ||
	       (entry & QCOW2_OFFSET_MASK) == (first & QCOW2_OFFSET_MASK) + n * img->cluster_bytes;
}

/* What one image says about [pos, pos + max). 1, 0 (waits) or -errno. */
static int look_up(struct qcow2_image *img, uint64_t pos, uint64_t max, struct disk_request *req,
		   struct extent *e)
{
	uint64_t in_cluster = pos & (img->cluster_bytes - 1), i, entry, n = 1;
	uint64_t per_table = l2_entries(img) << img->cluster_bits;
	struct qcow2_slot *slot;
	const uint64_t *be;
	int rc;

	if (!has_table(img, pos)) {
		*e = (struct extent){ .kind = EXTENT_NONE,
				      .bytes = min_u64(max, per_table - pos % per_table) };
		return 1;
	}
	rc = get_slice(img, pos, req, &slot, &i);
	if (rc != 1)
		return rc;
	rc = check_entry(img, slot, i);
	if (rc)
		return rc;
	be = (const uint64_t *)slot->data;
	entry = be64toh(be[i]);
	while (i + n < img->slice_entries && n * img->cluster_bytes - in_cluster < max &&
	       continues(img, entry, be64toh(be[i + n]), n) && !check_entry(img, slot, i + n))
		n++;
	*e = (struct extent){
		.kind = kind_of(img, entry),
		.bytes = min_u64(max, n * img->cluster_bytes - in_cluster),
		.file = &img->data,
		.host = (entry & QCOW2_OFFSET_MASK) + in_cluster,
		.image = img,
		.entry = entry,
	};
	return 1;
}

/* Where guest bytes are, through the whole chain. 1, 0 (waits) or -errno. */
static int map(struct qcow2 *q, uint64_t pos, uint64_t max, struct disk_request *req,
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
		rc = look_up(img, pos, max, req, e);
		if (rc != 1 || e->kind != EXTENT_NONE)
			return rc;
		max = e->bytes;
	}
	if (!q->has_base || pos >= q->base_bytes)
		*e = (struct extent){ .kind = EXTENT_ZERO, .bytes = max };
	else
		*e = (struct extent){ .kind = EXTENT_DATA, .host = pos, .file = &q->base,
				      .bytes = min_u64(max, q->base_bytes - pos) };
	return 1;
}

/* ---- compressed clusters ---- */

static bool is_unpacked(const struct qcow2 *q, const struct extent *e)
{
	return q->unpacked_image == e->image && q->unpacked_entry == e->entry;
}

/* With the buffers: reads what @e is packed into; @next unpacks it. */
static void read_packed(struct disk_request *req, const struct extent *e, enum step next)
{
	struct qcow2 *q = disk_of(req);
	uint64_t bytes = compressed_bytes(e->image, e->entry);

	q->unpacked_image = e->image;	/* what step @next will make true */
	q->unpacked_entry = e->entry;
	req->qcow2.fill_iov = (struct iovec){ q->packed, bytes };
	start_op(req, next, AIO_READ, &e->image->file, compressed_offset(e->image, e->entry),
		 &req->qcow2.fill_iov, 1, bytes);
}

static int unpack(struct disk_request *req)
{
	struct qcow2 *q = disk_of(req);
	const struct qcow2_image *img = q->unpacked_image;
	int rc = unzip(img->unzip, q->packed, compressed_bytes(img, q->unpacked_entry),
		       q->unpacked, img->cluster_bytes);

	if (rc)
		qcow2_corrupt((struct qcow2_image *)(uintptr_t)img,
			      "compressed cluster at %#llx: damaged",
			      (unsigned long long)compressed_offset(img, q->unpacked_entry));
	return rc;
}

/* ---- reading ---- */

static void copy_out(struct disk_request *req, const uint8_t *from)
{
	for (unsigned int i = 0; i < req->qcow2.nr_part; i++) {
		if (from) {
			memcpy(req->iov[i].iov_base, from, req->iov[i].iov_len);
			from += req->iov[i].iov_len;
		} else {
			memset(req->iov[i].iov_base, 0, req->iov[i].iov_len);
		}
	}
	end_part(req);
}

static const uint8_t *unpacked_at(const struct disk_request *req, const struct extent *e,
				  uint64_t pos)
{
	return disk_of(req)->unpacked + (pos & (e->image->cluster_bytes - 1));
}

/* True if there is more to do now. */
static bool read_part(struct disk_request *req)
{
	struct extent e;
	int rc = map(disk_of(req), guest_pos(req), req->bytes - req->pos, req, &e);

	if (rc < 0)
		fail(req, rc);
	if (rc != 1 || (e.kind == EXTENT_COMPRESSED && !take_buffers(req)))
		return false;
	if (!req->qcow2.claimed && !claim(req, e.bytes, false)) {
		release_buffers(req);
		return false;
	}
	if (e.kind == EXTENT_COMPRESSED && !is_unpacked(disk_of(req), &e)) {
		read_packed(req, &e, STEP_UNPACK);
		return false;
	}
	begin_part(req, e.bytes);
	if (e.kind == EXTENT_DATA) {
		start_op(req, STEP_DATA, AIO_READ, e.file, e.host, req->iov, req->qcow2.nr_part,
			 e.bytes);
		return false;
	}
	copy_out(req, e.kind == EXTENT_COMPRESSED ? unpacked_at(req, &e, guest_pos(req)) : NULL);
	return true;
}

/* ---- writing ---- */

/* An L2 table of our own for the current position. 1, 0 (waits) or -errno. */
static int own_table(struct disk_request *req)
{
	struct qcow2_image *top = top_of(req);
	uint64_t i = (guest_pos(req) >> top->cluster_bits) / l2_entries(top);
	uint64_t entry = qcow2_table_get(&top->l1, i), old = entry & QCOW2_OFFSET_MASK, new;
	int rc;

	if (entry & QCOW2_COPIED)
		return 1;
	/* A snapshot's table is never changed, so the file has it as it is. */
	if (old && !take_buffers(req))
		return 0;
	if (old && !qcow2_can_free(top, 1, req))
		return 0;
	rc = qcow2_alloc_table(top, req, &new);
	if (rc == 1 && old) {
		uint32_t bytes = top->cluster_bytes;

		rc = pread_all(top->fd, disk_of(req)->bounce, bytes, old);
		if (!rc && write_at(top->fd, disk_of(req)->bounce, bytes, new) != (ssize_t)bytes)
			rc = -EIO;
		if (rc) {
			qcow2_free_metadata(top, new, bytes);
			return rc;
		}
		rc = 1;
		qcow2_free_metadata(top, old, bytes);
	}
	if (rc == 1)
		qcow2_table_set(&top->l1, i, new | QCOW2_COPIED);
	return rc;
}

/* True if the data of @entry is ours alone and may be overwritten. 1, 0 (waits) or -errno. */
static int check_in_place(struct disk_request *req, uint64_t entry, bool *in_place)
{
	struct qcow2_image *top = top_of(req);
	uint64_t host = entry & QCOW2_OFFSET_MASK, cluster = host >> top->cluster_bits, count;
	int rc;

	*in_place = kind_of(top, entry) == EXTENT_DATA && entry & QCOW2_COPIED;
	if (!*in_place)
		return 1;
	rc = qcow2_get_refcount(top, cluster, req, &count);
	if (rc != 1)
		return rc;
	if (count == 1 && !qcow2_is_metadata(top, cluster))
		return 1;
	qcow2_corrupt(top, "guest offset %#llx: the cluster at %#llx %s: not written",
			     (unsigned long long)guest_pos(req), (unsigned long long)host,
			     count == 1 ? "belongs to the image's own tables" :
			     "has the wrong refcount");
	return -EIO;
}

/* The write's part as far as entries allow: in place, or to new clusters. */
struct write_plan {
	bool in_place;
	uint64_t host, bytes, clusters;
};

static int plan_write(struct disk_request *req, struct write_plan *p)
{
	struct qcow2_image *top = top_of(req);
	uint64_t pos = guest_pos(req), in_cluster = pos & (top->cluster_bytes - 1), i, first;
	uint64_t max = req->qcow2.zeroes ? req->qcow2.bytes : req->bytes - req->pos;
	struct qcow2_slot *slot;
	uint64_t entries[64];
	unsigned int nr;
	int rc = get_slice(top, pos, req, &slot, &i);

	if (rc != 1)
		return rc;
	/* A copy: looking at refcounts may take the slice away. */
	nr = (unsigned int)min_u64(ARRAY_SIZE(entries), top->slice_entries - i);
	assert(nr);
	for (unsigned int n = 0; n < nr; n++) {
		entries[n] = be64toh(((const uint64_t *)slot->data)[i + n]);
		if (n == 0 || n * (uint64_t)top->cluster_bytes - in_cluster < max)
			rc = check_entry(top, slot, i + n);
		if (rc < 0)
			return rc;
	}
	first = entries[0];
	rc = check_in_place(req, first, &p->in_place);
	p->clusters = 1;
	while (rc == 1 && p->clusters < nr && p->clusters * top->cluster_bytes - in_cluster < max) {
		bool in_place;

		rc = check_in_place(req, entries[p->clusters], &in_place);
		if (rc != 1 || in_place != p->in_place ||
		    (in_place && !continues(top, first, entries[p->clusters], p->clusters)))
			break;
		p->clusters++;
	}
	p->host = (first & QCOW2_OFFSET_MASK) + in_cluster;
	p->bytes = min_u64(max, p->clusters * top->cluster_bytes - in_cluster);
	return rc;
}

static void fill_range(struct disk_request *req, uint64_t from, uint64_t to)
{
	req->qcow2.fill_pos = from;
	req->qcow2.fill_end = to;
	req->qcow2.step = STEP_FILL;
}

/* New clusters for the part; what lies before it in the first is filled first. */
static int allocate(struct disk_request *req, struct write_plan *p)
{
	struct qcow2_image *top = top_of(req);
	uint64_t pos = guest_pos(req), start = align_down(pos, top->cluster_bytes), first, got;
	int rc = qcow2_alloc(top, p->clusters, req, &first, &got, &req->qcow2.fresh);

	if (rc != 1)
		return rc;
	req->qcow2.host = first << top->cluster_bits;
	req->qcow2.clusters = got;
	begin_part(req, min_u64(p->bytes, start + got * top->cluster_bytes - pos));
	req->qcow2.tail = false;
	fill_range(req, start, pos);
	return 1;
}

static bool write_part(struct disk_request *req)
{
	struct write_plan p;
	int rc = own_table(req);

	if (rc == 1)
		rc = plan_write(req, &p);
	if (rc == 1 && !req->qcow2.claimed && !claim(req, p.bytes, !p.in_place)) {
		release_buffers(req);
		return false;
	}
	if (rc == 1 && p.in_place) {
		begin_part(req, p.bytes);
		start_op(req, STEP_DATA, AIO_WRITE, &top_of(req)->data, p.host, part_iov(req),
			 req->qcow2.nr_part, p.bytes);
		return false;
	}
	if (rc == 1)
		rc = allocate(req, &p);
	if (rc < 0)
		fail(req, rc);
	if (rc == 0) {
		/* Starts over: others may go first. */
		release_buffers(req);
		release_claim(req);
	}
	return rc == 1;
}

/* ---- filling ---- */

/* Where the byte for guest position @pos is in the new clusters. */
static uint64_t new_host(const struct disk_request *req, uint64_t pos)
{
	return req->qcow2.host + (pos - align_down(guest_pos(req), top_of(req)->cluster_bytes));
}

static void start_new_data(struct disk_request *req)
{
	start_op(req, STEP_NEW_DATA, AIO_WRITE, &top_of(req)->data, new_host(req, guest_pos(req)),
		 part_iov(req), req->qcow2.nr_part, req->qcow2.bytes);
}

static void write_fill(struct disk_request *req, const void *from, uint64_t bytes)
{
	uint64_t pos = req->qcow2.fill_pos;

	req->qcow2.fill_pos += bytes;
	/* Through the page cache: a fill need not be aligned for direct I/O. */
	req->qcow2.fill_iov = (struct iovec){ (void *)(uintptr_t)from, bytes };
	start_op(req, STEP_FILL_WRITTEN, AIO_WRITE, &top_of(req)->file, new_host(req, pos),
		 &req->qcow2.fill_iov, 1, bytes);
}

static void next_range(struct disk_request *req)
{
	uint64_t end = guest_pos(req) + req->qcow2.bytes;

	if (req->qcow2.tail) {
		start_new_data(req);
		return;
	}
	req->qcow2.tail = true;
	fill_range(req, end, align_up(end, top_of(req)->cluster_bytes));
}

static bool fill(struct disk_request *req)
{
	struct qcow2 *q = disk_of(req);
	uint64_t max = req->qcow2.fill_end - req->qcow2.fill_pos;
	struct extent e;
	int rc;

	if (!max) {
		release_buffers(req);
		next_range(req);
		return req->qcow2.step == STEP_FILL;
	}
	rc = map(q, req->qcow2.fill_pos, max, req, &e);
	if (rc < 0)
		fail(req, rc);
	if (rc != 1)
		return false;
	if (e.kind == EXTENT_ZERO) {
		if (req->qcow2.fresh) {
			req->qcow2.fill_pos += e.bytes;
			return true;
		}
		write_fill(req, file_zeroes(), e.bytes);
		return false;
	}
	if (!take_buffers(req))
		return false;
	if (e.kind == EXTENT_DATA) {
		req->qcow2.fill_iov = (struct iovec){ q->bounce, e.bytes };
		req->qcow2.fill_bytes = e.bytes;
		start_op(req, STEP_FILL_READ, AIO_READ, e.file, e.host, &req->qcow2.fill_iov, 1,
			 e.bytes);
	} else if (is_unpacked(q, &e)) {
		write_fill(req, unpacked_at(req, &e, req->qcow2.fill_pos), e.bytes);
	} else {
		read_packed(req, &e, STEP_FILL_UNPACK);
	}
	return false;
}

/* ---- changing entries ---- */

static void drop_entry(struct qcow2_image *img, uint64_t entry)
{
	uint64_t offset, first, last;

	if (entry & QCOW2_COMPRESSED) {
		offset = compressed_offset(img, entry);
		first = offset >> img->cluster_bits;
		last = (offset + compressed_bytes(img, entry) - 1) >> img->cluster_bits;
		for (uint64_t c = first; c <= last; c++)
			qcow2_free_later(img, c, 1);
	} else if (entry & QCOW2_OFFSET_MASK) {
		qcow2_free_later(img, (entry & QCOW2_OFFSET_MASK) >> img->cluster_bits, 1);
	}
}

/*
 * The slice of the current position, ready to be changed in up to @count entries.
 * 1, 0 (waits) or -errno.
 */
static int get_own_slice(struct disk_request *req, uint64_t count, struct qcow2_slot **slot,
			 uint64_t *i)
{
	struct qcow2_image *top = top_of(req);
	int rc = own_table(req);

	if (rc == 1)
		rc = !qcow2_wait_for_flush(disk_of(req), req);
	/* An entry can free two ranges (compressed data across a cluster's end). */
	if (rc == 1)
		rc = qcow2_can_free(top, (unsigned int)min_u64(2 * count, QCOW2_MAX_RANGES), req);
	if (rc == 1)
		rc = get_slice(top, guest_pos(req), req, slot, i);
	return rc;
}

static void set_entry(struct qcow2_slot *slot, uint64_t i, uint64_t entry)
{
	((uint64_t *)slot->data)[i] = htobe64(entry);
	qcow2_cache_dirty(slot);
}

static bool commit(struct disk_request *req)
{
	struct qcow2_image *top = top_of(req);
	struct qcow2_slot *slot;
	uint64_t i, n = req->qcow2.clusters;
	int rc = get_own_slice(req, n, &slot, &i);

	if (rc < 0)
		fail(req, rc);
	if (rc != 1)
		return false;
	for (uint64_t c = 0; c < n; c++) {
		drop_entry(top, be64toh(((uint64_t *)slot->data)[i + c]));
		set_entry(slot, i + c, (req->qcow2.host + c * top->cluster_bytes) | QCOW2_COPIED);
	}
	end_part(req);
	if (top->nr_dirty > top->nr_slots / 2)
		qcow2_flush_start(disk_of(req));
	return true;
}

/* ---- discard and write zeroes ---- */

/* What the entry becomes; the same if nothing has to change. */
static uint64_t emptied(const struct disk_request *req, uint64_t entry)
{
	const struct qcow2_image *top = top_of(req);
	const struct qcow2 *q = disk_of(req);
	bool below = q->nr_images > 1 || q->has_base;
	enum extent_kind kind = kind_of(top, entry);

	if (kind == EXTENT_NONE)
		return req->operation == DISK_WRITE_ZEROES && below ? QCOW2_ZERO : entry;
	if (req->operation == DISK_WRITE_ZEROES && !req->unmap && kind != EXTENT_COMPRESSED &&
	    entry & QCOW2_COPIED)
		return entry | QCOW2_ZERO;	/* version 3: see can_empty() */
	return below ? QCOW2_ZERO : 0;
}

/* Whole clusters from the current position on. True if there is more to do now. */
static bool empty_clusters(struct disk_request *req, uint64_t bytes)
{
	struct qcow2_image *top = top_of(req);
	uint64_t i, n = (bytes + top->cluster_bytes - 1) >> top->cluster_bits;
	uint64_t per_table = l2_entries(top) << top->cluster_bits;
	struct qcow2_slot *slot;
	int rc;

	/* No table: discarded already, and zero unless there is something below. */
	if (!has_table(top, guest_pos(req)) && !emptied(req, 0)) {
		req->pos += min_u64(bytes, per_table - guest_pos(req) % per_table);
		return true;
	}
	i = (guest_pos(req) >> top->cluster_bits) % top->slice_entries;
	n = min_u64(min_u64(n, top->slice_entries - i), QCOW2_MAX_RANGES / 4);
	bytes = min_u64(bytes, n << top->cluster_bits);
	if (!req->qcow2.claimed && !claim(req, bytes, true))
		return false;
	rc = get_own_slice(req, n, &slot, &i);
	for (uint64_t c = 0; c < n && rc == 1; c++)
		rc = check_entry(top, slot, i + c) ? -EIO : 1;
	if (rc < 0)
		fail(req, rc);
	if (rc != 1) {
		if (!rc)
			release_buffers(req);
		return false;
	}
	for (uint64_t c = 0; c < n; c++) {
		uint64_t old = be64toh(((uint64_t *)slot->data)[i + c]), new = emptied(req, old);

		if (new == old)
			continue;
		if (!(new & QCOW2_OFFSET_MASK))
			drop_entry(top, old);
		set_entry(slot, i + c, new);
	}
	req->pos += bytes;
	req->qcow2.step = STEP_NEXT;
	release_buffers(req);
	release_claim(req);
	return true;
}

/* Less than a cluster: zeros are written like data, unless they are there already. */
static bool zero_edge(struct disk_request *req, uint64_t bytes)
{
	struct extent e;
	int rc = map(disk_of(req), guest_pos(req), bytes, req, &e);

	req->qcow2.zeroes = false;	/* from a try that had to wait */
	if (rc < 0)
		fail(req, rc);
	if (rc != 1)
		return false;
	if (e.kind == EXTENT_ZERO && !req->qcow2.claimed) {
		req->pos += e.bytes;
		return true;
	}
	req->qcow2.zeroes = true;
	req->qcow2.bytes = e.bytes;
	return write_part(req);
}

/* Version 2 has no zero clusters; with something below, zeros have to be data. */
static bool can_empty(const struct disk_request *req)
{
	const struct qcow2 *q = disk_of(req);

	if (top_of(req)->version >= 3)
		return true;
	return q->nr_images == 1 && !q->has_base &&
	       (req->operation == DISK_DISCARD || req->unmap);
}

static bool empty_part(struct disk_request *req)
{
	struct qcow2_image *top = top_of(req);
	uint64_t pos = guest_pos(req), left = req->bytes - req->pos;
	uint64_t in_cluster = pos & (top->cluster_bytes - 1), whole;
	uint64_t edge = min_u64(left, top->cluster_bytes - in_cluster);

	/* The disk may end within its last cluster. */
	whole = pos + left == top->size_bytes ? left : align_down(left, top->cluster_bytes);
	if (!in_cluster && whole && can_empty(req))
		return empty_clusters(req, whole);
	if (req->operation == DISK_WRITE_ZEROES)
		return zero_edge(req, edge);
	req->pos += edge;	/* a discard may leave it as it is */
	return true;
}

/* ---- the engine ---- */

static bool next_part(struct disk_request *req)
{
	if (req->pos == req->bytes) {
		finish(req, 0);
		return false;
	}
	if (req->operation == DISK_READ)
		return read_part(req);
	if (req->operation == DISK_WRITE)
		return write_part(req);
	return empty_part(req);
}

/* One step after something has arrived. True if the next can follow at once. */
static bool step(struct disk_request *req)
{
	int rc;

	switch ((enum step)req->qcow2.step) {
	case STEP_NEXT:
		return next_part(req);
	case STEP_DATA:
		end_part(req);
		return true;
	case STEP_UNPACK:
	case STEP_FILL_UNPACK:
		rc = unpack(req);
		if (rc) {
			disk_of(req)->unpacked_image = NULL;
			fail(req, rc);
			return false;
		}
		req->qcow2.step = req->qcow2.step == STEP_UNPACK ? STEP_NEXT : STEP_FILL;
		return true;
	case STEP_FILL:
		return fill(req);
	case STEP_FILL_READ:
		write_fill(req, disk_of(req)->bounce, req->qcow2.fill_bytes);
		return false;
	case STEP_FILL_WRITTEN:
		req->qcow2.step = STEP_FILL;
		return true;
	case STEP_NEW_DATA:
		req->qcow2.step = STEP_COMMIT;
		return true;
	case STEP_COMMIT:
		return commit(req);
	}
	return false;
}

static void run(struct qcow2 *q, struct disk_request *req)
{
	int error = req->qcow2.error;

	req->qcow2.error = 0;
	if (req == &q->free_request) {
		/* If refcounts cannot be read the space is lost, and nothing else. */
		if (error) {
			q->images[0]->freeable.nr = 0;
			req->pos = 0;
		}
		q->freeing = false;
		qcow2_free_continue(q);
		return;
	}
	if (req->operation == DISK_FLUSH) {
		finish(req, error);
		return;
	}
	if (error) {
		if (req->qcow2.step == STEP_UNPACK || req->qcow2.step == STEP_FILL_UNPACK)
			q->unpacked_image = NULL;
		fail(req, error);
		return;
	}
	while (step(req))
		;
}

void qcow2_pump(struct qcow2 *q)
{
	struct disk_request *req;

	if (q->pumping)
		return;
	q->pumping = true;
	while ((req = request_list_take(&q->runnable)))
		run(q, req);
	q->pumping = false;
}

/* Covers everything that was complete when it was asked for. */
static void submit_flush(struct qcow2 *q, struct disk_request *req)
{
	if (q->temporary) {
		req->done(req, 0);
		return;
	}
	q->nr_active++;		/* finish() counts it down */
	if (q->stage != FLUSH_IDLE) {
		request_list_add(&q->flush_next, req);
		return;
	}
	request_list_add(&q->flushing, req);
	qcow2_flush_start(q);
}

void qcow2_submit(struct disk *disk, struct disk_request *req)
{
	struct qcow2 *q = (struct qcow2 *)disk;

	memset(&req->qcow2, 0, sizeof(req->qcow2));
	if (req->operation == DISK_FLUSH) {
		submit_flush(q, req);
		return;
	}
	request_list_add(&q->backlog, req);
	start_backlog(q);
	qcow2_pump(q);
}
