// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests to a qcow2 disk.
 *
 * A request gets a job, of a pool, and is done part by part, where a part is what one
 * operation on the file can do. job_run() makes progress until the job has something in
 * flight or has to wait: for a slice of a table, for another job, for a flush; when that has
 * come it is made runnable and job_run() continues. Before anything has been
 * started, to continue is to start the part over, so nothing of what was looked up
 * has to be kept.
 *
 * While a part is in flight it has a claim on its guest clusters. Parts that change
 * the mapping (new clusters, discard, zeroes) claim them exclusively, so that no
 * two change the same entry and no cluster is given away under a running read.
 *
 * A write to a cluster that may not be written in place: allocate, copy what the
 * request does not cover from where it was, write, then change the L2 entry; only
 * then is the write complete. An L2 table that is missing, or shared with a snapshot, is made
 * before in the same way, by one job while others that need it wait. If something fails on the
 * way no table has ever named the new clusters: they are given back at once, and the room that
 * they took on the host.
 *
 * Not here: where bytes are (qcow2-map.c), refcounts (qcow2-alloc.c), flushes (qcow2-flush.c).
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/file.h"
#include "disk/qcow2-alloc.h"
#include "disk/qcow2-flush.h"
#include "disk/qcow2-map.h"
#include "disk/qcow2-open.h"
#include "disk/qcow2-table.h"
#include "disk/qcow2.h"
#include "io.h"
#include "util.h"

enum step {
	STEP_NEXT,	  /* begin the next part */
	STEP_TABLE_READ,  /* an L2 table that a snapshot shares was read */
	STEP_TABLE_ALLOC, /* a new one needs a cluster */
	STEP_TABLE_WRITTEN,
	STEP_TABLE_NAME,  /* the L1 table is to refer to it */
	STEP_DATA,	  /* data was read or written in place */
	STEP_UNPACK,	  /* a compressed cluster was read, for the guest */
	STEP_FILL,	  /* copy old contents around a write to new clusters */
	STEP_FILL_READ,	  /* ... they were read */
	STEP_FILL_UNPACK, /* ... compressed */
	STEP_FILL_WRITTEN,
	STEP_NEW_DATA, /* data was written to new clusters */
	STEP_COMMIT,   /* the L2 entries are to be changed */
	STEP_PUNCHED,  /* it has failed: the space of its new clusters was given back */
	STEP_UNALLOC,  /* ... their refcounts follow */
	STEP_FLUSHED,
};

/* How far a request is. */
struct qcow2_job {
	struct qcow2_waiter waiter; /* first */
	struct qcow2 *disk;
	struct disk_request *req; /* NULL: the job is free */
	uint64_t begun;		  /* how many flushes had begun before it */
	struct aio_op op;
	bool in_flight; /* ... is the engine's */
	enum step step;
	int error;	   /* of the request, in STEP_PUNCHED and STEP_UNALLOC */
	uint64_t pos, end; /* guest bytes that are to be done yet */
	struct iovec *iov; /* ... their buffers */
	unsigned int nr_iov;

	/* The claim: guest clusters. */
	bool claimed, wants_claim, exclusive;
	uint64_t first, last;
	struct qcow2_job *next; /* in the list of claims, or of free jobs */

	/* The part. */
	bool has_buffers, zeroes;
	unsigned int nr_part;
	uint64_t bytes;
	struct iovec cut;   /* its last buffer, as it was */
	uint64_t cut_bytes; /* ... how much of it the part is */
	struct iovec zero_iov;

	/* An L2 table that is being made: its index in the L1 table. */
	bool makes_table;
	uint64_t table;

	/* A write to new clusters, or that table's. */
	uint64_t host, clusters; /* where they are in the file, how many */
	bool fresh, tail;
	uint64_t fill_pos, fill_end; /* old contents still to be copied */
	uint64_t fill_bytes;
	struct iovec fill_iov;
};

static struct qcow2_image *top_of(const struct qcow2_job *job)
{
	return job->disk->images[0];
}

static void job_op_done(struct aio_op *op, int error)
{
	struct qcow2_job *job = (struct qcow2_job *)((char *)op - offsetof(struct qcow2_job, op));

	job->in_flight = false;
	job->disk->nr_in_flight--;
	qcow2_make_runnable(job->disk, &job->waiter, error);
	qcow2_pump(job->disk);
}

static void qcow2_start_op(struct qcow2_job *job, enum step next, enum aio_kind kind,
			   const struct aio_file *file, uint64_t offset, struct iovec *iov,
			   unsigned int nr_iov, uint64_t bytes)
{
	job->step = next;
	job->op = (struct aio_op){
		.kind = kind,
		.file = file,
		.offset = offset,
		.iov = iov,
		.nr_iov = nr_iov,
		.bytes = bytes,
		.mode = kind == AIO_ALLOCATE ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0,
		/* The last cluster of a file need not be all there, but each table. */
		.zero_past_end = kind == AIO_READ && next != STEP_TABLE_READ,
		.done = job_op_done,
	};
	job->in_flight = true;
	job->disk->nr_in_flight++;
	aio_submit(job->disk->disk.aio, &job->op);
}

/* ---- claims, and the buffers that one job at a time may use ---- */

static bool overlaps(const struct qcow2_job *a, uint64_t first, uint64_t last)
{
	return a->first <= last && first <= a->last;
}

/* Somebody in flight, or somebody exclusive who has waited longer, is in the way. */
static bool must_wait(const struct qcow2 *q, const struct qcow2_job *job)
{
	uint64_t first = job->first, last = job->last;
	bool exclusive = job->exclusive;

	if (!q->nr_exclusive && !exclusive)
		return false;
	for (const struct qcow2_job *j = q->claims; j; j = j->next)
		if ((exclusive || j->exclusive) && overlaps(j, first, last))
			return true;
	for (const struct qcow2_waiter *w = q->blocked.head; w; w = w->next) {
		const struct qcow2_job *j = (const struct qcow2_job *)w;

		if (j->wants_claim && (exclusive || j->exclusive) && overlaps(j, first, last))
			return true;
	}
	return false;
}

/* True: the part of @bytes at the current position is ours. False: @job waits for it. */
static bool claim(struct qcow2_job *job, uint64_t bytes, bool exclusive)
{
	struct qcow2 *q = job->disk;
	unsigned int bits = q->images[0]->cluster_bits;

	job->first = job->pos >> bits;
	job->last = (job->pos + bytes - 1) >> bits;
	job->exclusive = exclusive;
	if (must_wait(q, job)) {
		q->nr_exclusive += exclusive; /* others must not overtake it */
		job->wants_claim = true;
		waiter_list_add(&q->blocked, &job->waiter);
		return false;
	}
	q->nr_exclusive += exclusive;
	job->claimed = true;
	job->next = q->claims;
	q->claims = job;
	return true;
}

/* Something was released: those who are blocked look again, in their order. */
static void wake_blocked(struct qcow2 *q)
{
	for (struct qcow2_waiter *w = q->blocked.head; w; w = w->next) {
		struct qcow2_job *job = (struct qcow2_job *)w;

		if (job->wants_claim)
			q->nr_exclusive -= job->exclusive;
		job->wants_claim = false;
	}
	qcow2_wake(q, &q->blocked, 0);
}

static void release_claim(struct qcow2_job *job)
{
	struct qcow2 *q = job->disk;
	struct qcow2_job **link = &q->claims;

	if (!job->claimed)
		return;
	while (*link != job)
		link = &(*link)->next;
	*link = job->next;
	q->nr_exclusive -= job->exclusive;
	job->claimed = false;
	wake_blocked(q);
}

/*
 * True if nobody else uses the buffers; otherwise @job waits. Claims come first: who has the
 * buffers waits for no claim.
 */
static bool buffers_are_free(struct qcow2_job *job)
{
	if (job->has_buffers || !job->disk->buffers_taken)
		return true;
	waiter_list_add(&job->disk->blocked, &job->waiter);
	return false;
}

static bool take_buffers(struct qcow2_job *job)
{
	if (!buffers_are_free(job))
		return false;
	job->disk->buffers_taken = job->has_buffers = true;
	return true;
}

static void release_buffers(struct qcow2_job *job)
{
	struct qcow2 *q = job->disk;

	if (!job->has_buffers)
		return;
	job->has_buffers = q->buffers_taken = false;
	wake_blocked(q);
}

/* @job makes no table any more, or not yet: who waits for it looks again. */
static void release_table(struct qcow2_job *job)
{
	if (!job->makes_table)
		return;
	job->makes_table = false;
	wake_blocked(job->disk);
}

/* ---- beginning and ending ---- */

static void start_job(struct qcow2 *q, struct disk_request *req)
{
	struct qcow2_job *job = q->free_jobs;

	q->free_jobs = job->next;
	job->req = req;
	job->begun = q->flush_begun;
	job->step = STEP_NEXT;
	job->pos = req->offset;
	job->end = req->offset + req->bytes;
	job->iov = req->iov;
	job->nr_iov = req->nr_iov;
	job->zeroes = false;
	job->clusters = 0;
	qcow2_make_runnable(q, &job->waiter, 0);
}

static void qcow2_end_job(struct qcow2_job *job, int error)
{
	struct qcow2 *q = job->disk;
	struct disk_request *req = job->req, *waiting = q->backlog;

	release_buffers(job);
	release_table(job);
	release_claim(job);
	job->req = NULL;
	job->next = q->free_jobs;
	q->free_jobs = job;
	if (waiting) {
		q->backlog = waiting->next;
		if (!q->backlog)
			q->backlog_tail = &q->backlog;
		start_job(q, waiting);
	}
	req->done(req, error);
}

/* Somebody cannot go on before there was a flush, and has not asked for it for its own sake. */
static bool flush_is_needed(const struct qcow2 *q)
{
	for (const struct qcow2_waiter *w = q->stalled.head; w; w = w->next)
		if (((const struct qcow2_job *)w)->req->operation != DISK_FLUSH)
			return true;
	return false;
}

/*
 * A job that is there since before the last flush goes on without the next: it has something in
 * flight, or waits for others of whom none needs a flush.
 */
static bool is_late(const struct qcow2 *q)
{
	bool others_go_on = q->nr_in_flight && !flush_is_needed(q);

	for (unsigned int i = 0; i < QCOW2_MAX_ACTIVE; i++) {
		const struct qcow2_job *job = &q->jobs[i];

		if (job->req && job->begun < q->flush_begun && job->req->operation != DISK_FLUSH &&
		    (job->in_flight || others_go_on))
			return true;
	}
	return false;
}

static void fail(struct qcow2_job *job, int error)
{
	struct qcow2_image *top = top_of(job);

	if (!job->clusters) {
		qcow2_end_job(job, error);
		return;
	}
	if (job->makes_table)
		qcow2_drop_metadata(top, job->host, top->cluster_bytes);
	job->error = error;
	qcow2_start_op(job, STEP_PUNCHED, AIO_ALLOCATE, &top->file, job->host, NULL, 0,
		       job->clusters << top->cluster_bits);
}

/* If the refcounts cannot be had the clusters leak, and nothing else. */
static bool unalloc(struct qcow2_job *job, int error)
{
	struct qcow2_image *top = top_of(job);

	if (!error && !qcow2_unalloc(top, job->host >> top->cluster_bits, job->clusters,
				     &job->waiter))
		return false;
	job->clusters = 0;
	qcow2_end_job(job, job->error);
	return false;
}

/* ---- buffers of the guest ---- */

/*
 * Cuts the request's buffers so that they end after the part's @bytes; what was cut
 * off is put back by end_part().
 */
static void begin_part(struct qcow2_job *job, uint64_t bytes)
{
	unsigned int n = 0;

	job->bytes = bytes;
	if (job->zeroes) {
		job->zero_iov = (struct iovec){ (void *)(uintptr_t)file_zeroes(), bytes };
		job->nr_part = 1;
		return;
	}
	while (bytes > job->iov[n].iov_len)
		bytes -= job->iov[n++].iov_len;
	job->cut = job->iov[n];
	job->cut_bytes = bytes;
	job->iov[n].iov_len = bytes;
	job->nr_part = n + 1;
}

static struct iovec *part_iov(struct qcow2_job *job)
{
	return job->zeroes ? &job->zero_iov : job->iov;
}

/* The part is done: its claim ends and the next one begins after it. */
static void end_part(struct qcow2_job *job)
{
	const struct iovec *cut = &job->cut;
	uint64_t used = job->cut_bytes;

	if (!job->zeroes) {
		job->iov += job->nr_part - 1;
		job->nr_iov -= job->nr_part - 1;
		*job->iov = (struct iovec){ (uint8_t *)cut->iov_base + used, cut->iov_len - used };
	}
	job->pos += job->bytes;
	job->zeroes = false;
	job->clusters = 0;
	job->step = STEP_NEXT;
	release_buffers(job);
	release_claim(job);
}

/* ---- compressed clusters ---- */

static bool is_unpacked(const struct qcow2 *q, const struct extent *e)
{
	return q->unpacked_image == e->image && q->unpacked_entry == e->entry;
}

/* With the buffers: reads what @e is packed into; @next unpacks it. */
static void read_packed(struct qcow2_job *job, const struct extent *e, enum step next)
{
	struct qcow2 *q = job->disk;
	uint64_t bytes = qcow2_compressed_bytes(e->image, e->entry);

	q->unpacked_image = e->image; /* what step @next will make true */
	q->unpacked_entry = e->entry;
	job->fill_iov = (struct iovec){ q->packed, bytes };
	qcow2_start_op(job, next, AIO_READ, &e->image->file, qcow2_compressed_offset(e->image, e->entry),
		       &job->fill_iov, 1, bytes);
}

static int decompress_cluster(struct qcow2_job *job)
{
	struct qcow2 *q = job->disk;
	const struct qcow2_image *img = q->unpacked_image;
	int rc = qcow2_decompress(img->decompress, q->packed, qcow2_compressed_bytes(img, q->unpacked_entry),
				  q->unpacked, img->cluster_bytes);

	if (rc)
		qcow2_corrupt((struct qcow2_image *)(uintptr_t)img,
			      "compressed cluster at %#llx: damaged",
			      (unsigned long long)qcow2_compressed_offset(img, q->unpacked_entry));
	return rc;
}

/* ---- reading ---- */

static void copy_out(struct qcow2_job *job, const uint8_t *from)
{
	for (unsigned int i = 0; i < job->nr_part; i++) {
		if (from) {
			memcpy(job->iov[i].iov_base, from, job->iov[i].iov_len);
			from += job->iov[i].iov_len;
		} else {
			memset(job->iov[i].iov_base, 0, job->iov[i].iov_len);
		}
	}
	end_part(job);
}

static const uint8_t *unpacked_at(const struct qcow2_job *job, const struct extent *e,
				  uint64_t pos)
{
	return job->disk->unpacked + (pos & (e->image->cluster_bytes - 1));
}

/* True if there is more to do now. */
static bool read_part(struct qcow2_job *job)
{
	struct extent e;
	int rc = qcow2_map(job->disk, job->pos, job->end - job->pos, &job->waiter, &e);

	if (rc < 0)
		fail(job, rc);
	if (rc != 1 || (!job->claimed && !claim(job, e.bytes, false)))
		return false;
	if (e.kind == EXTENT_COMPRESSED && !take_buffers(job))
		return false;
	if (e.kind == EXTENT_COMPRESSED && !is_unpacked(job->disk, &e)) {
		read_packed(job, &e, STEP_UNPACK);
		return false;
	}
	begin_part(job, e.bytes);
	if (e.kind == EXTENT_DATA) {
		qcow2_start_op(job, STEP_DATA, AIO_READ, e.file, e.host, job->iov, job->nr_part,
			       e.bytes);
		return false;
	}
	copy_out(job, e.kind == EXTENT_COMPRESSED ? unpacked_at(job, &e, job->pos) : NULL);
	return true;
}

/* ---- writing ---- */

static bool is_made_by_another(const struct qcow2_job *job, uint64_t table)
{
	const struct qcow2_job *jobs = job->disk->jobs;

	for (unsigned int i = 0; i < QCOW2_MAX_ACTIVE; i++)
		if (&jobs[i] != job && jobs[i].makes_table && jobs[i].table == table)
			return true;
	return false;
}

/*
 * An L2 table of our own for the current position. 1; 0: @job waits, or makes it and is in another
 * step. Only a part that has no clusters yet comes without one.
 */
static int own_table(struct qcow2_job *job)
{
	struct qcow2_image *top = top_of(job);
	uint64_t i = (job->pos >> top->cluster_bits) / qcow2_l2_entries(top);
	uint64_t entry = qcow2_table_get(&top->l1, i), old = entry & QCOW2_OFFSET_MASK;

	if (entry & QCOW2_COPIED)
		return 1;
	assert(!job->clusters);
	if (is_made_by_another(job, i)) {
		waiter_list_add(&job->disk->blocked, &job->waiter);
		return 0;
	}
	job->makes_table = true;
	job->table = i;
	if (!old) {
		job->step = STEP_TABLE_ALLOC;
		qcow2_make_runnable(job->disk, &job->waiter, 0);
	} else if (take_buffers(job)) {
		/* A snapshot's table is never changed, so the file has it as it is. */
		job->fill_iov = (struct iovec){ job->disk->bounce, top->cluster_bytes };
		qcow2_start_op(job, STEP_TABLE_READ, AIO_READ, &top->file, old, &job->fill_iov, 1,
			       top->cluster_bytes);
	}
	return 0;
}

static uint64_t old_table(const struct qcow2_job *job)
{
	return qcow2_table_get(&top_of(job)->l1, job->table) & QCOW2_OFFSET_MASK;
}

static void write_new_table(struct qcow2_job *job)
{
	struct qcow2_image *top = top_of(job);
	void *zeroes = (void *)(uintptr_t)file_zeroes();
	int rc = qcow2_alloc_table(top, &job->waiter, &job->host);

	if (rc < 0)
		fail(job, rc);
	if (rc != 1)
		return;
	job->clusters = 1;
	job->fill_iov = (struct iovec){ old_table(job) ? job->disk->bounce : zeroes,
					top->cluster_bytes };
	qcow2_start_op(job, STEP_TABLE_WRITTEN, AIO_WRITE, &top->file, job->host, &job->fill_iov, 1,
		       top->cluster_bytes);
}

/* It is in the file: from now on it is the table. True if there is more to do now. */
static bool name_table(struct qcow2_job *job)
{
	struct qcow2_image *top = top_of(job);
	uint64_t old = old_table(job);

	if (!qcow2_may_change(job->disk, &job->waiter) ||
	    (old && !qcow2_can_free(top, 1, &job->waiter)))
		return false;
	if (old)
		qcow2_free_metadata(top, old, top->cluster_bytes);
	qcow2_table_set(&top->l1, job->table, job->host | QCOW2_COPIED);
	job->clusters = 0;
	job->step = STEP_NEXT;
	release_table(job);
	return true;
}

/* True if the data of @entry is ours alone and may be overwritten. 1, 0 (waits) or -errno. */
static int check_in_place(struct qcow2_job *job, uint64_t entry, bool *in_place)
{
	struct qcow2_image *top = top_of(job);
	uint64_t host = entry & QCOW2_OFFSET_MASK, cluster = host >> top->cluster_bits, count;
	int rc;

	*in_place = qcow2_kind_of(top, entry) == EXTENT_DATA && entry & QCOW2_COPIED;
	if (!*in_place)
		return 1;
	rc = qcow2_get_refcount(top, cluster, &job->waiter, &count);
	if (rc != 1)
		return rc;
	if (count == 1 && !qcow2_is_metadata(top, cluster))
		return 1;
	qcow2_corrupt(top, "guest offset %#llx: the cluster at %#llx %s: not written",
		      (unsigned long long)job->pos, (unsigned long long)host,
		      count == 1 ? "belongs to the image's own tables" :
				   "has the wrong refcount");
	return -EIO;
}

/* The write's part as far as entries allow: in place, or to new clusters. */
struct write_plan {
	bool in_place;
	uint64_t host, bytes, clusters;
};

static int plan_write(struct qcow2_job *job, struct write_plan *p)
{
	struct qcow2_image *top = top_of(job);
	uint64_t pos = job->pos, in_cluster = pos & (top->cluster_bytes - 1), i, first;
	uint64_t max = job->zeroes ? job->bytes : job->end - job->pos;
	uint64_t nr = (in_cluster + max + top->cluster_bytes - 1) >> top->cluster_bits;
	uint64_t entries[QCOW2_MAX_PART];
	struct qcow2_slot *slot;
	int rc = qcow2_get_slice(top, pos, &job->waiter, &slot, &i);

	if (rc != 1)
		return rc;
	/* A copy: looking at refcounts may take the slice away. */
	nr = min_u64(nr, min_u64(ARRAY_SIZE(entries), top->slice_entries - i));
	assert(nr);
	for (uint64_t n = 0; n < nr; n++) {
		if (qcow2_check_entry(top, slot, i + n))
			return -EIO;
		entries[n] = be64toh(((const uint64_t *)slot->data)[i + n]);
	}
	first = entries[0];
	rc = check_in_place(job, first, &p->in_place);
	p->clusters = 1;
	while (rc == 1 && p->clusters < nr) {
		bool in_place;

		rc = check_in_place(job, entries[p->clusters], &in_place);
		if (rc != 1 || in_place != p->in_place ||
		    (in_place && !qcow2_continues(top, first, entries[p->clusters], p->clusters)))
			break;
		p->clusters++;
	}
	p->host = (first & QCOW2_OFFSET_MASK) + in_cluster;
	p->bytes = min_u64(max, p->clusters * top->cluster_bytes - in_cluster);
	return rc;
}

static void fill_range(struct qcow2_job *job, uint64_t from, uint64_t to)
{
	job->fill_pos = from;
	job->fill_end = to;
	job->step = STEP_FILL;
}

/* New clusters for the part; what lies before it in the first is filled first. */
static int allocate(struct qcow2_job *job, struct write_plan *p)
{
	struct qcow2_image *top = top_of(job);
	uint64_t pos = job->pos, start = align_down(pos, top->cluster_bytes), first, got;
	int rc = qcow2_alloc(top, p->clusters, &job->waiter, &first, &got, &job->fresh);

	if (rc != 1)
		return rc;
	job->host = first << top->cluster_bits;
	job->clusters = got;
	begin_part(job, min_u64(p->bytes, start + got * top->cluster_bytes - pos));
	job->tail = false;
	fill_range(job, start, pos);
	return 1;
}

static bool write_part(struct qcow2_job *job)
{
	struct write_plan p;
	int rc = own_table(job);

	if (rc == 1)
		rc = plan_write(job, &p);
	if (rc == 1 && !job->claimed && !claim(job, p.bytes, !p.in_place))
		return false;
	if (rc == 1 && p.in_place) {
		begin_part(job, p.bytes);
		qcow2_start_op(job, STEP_DATA, AIO_WRITE, &top_of(job)->data, p.host, part_iov(job),
			       job->nr_part, p.bytes);
		return false;
	}
	if (rc == 1)
		rc = allocate(job, &p);
	if (rc < 0)
		fail(job, rc);
	if (rc == 0)
		release_claim(job); /* it starts over: others may go first */
	return rc == 1;
}

/* ---- filling ---- */

/* Where the byte for guest position @pos is in the new clusters. */
static uint64_t new_host(const struct qcow2_job *job, uint64_t pos)
{
	return job->host + (pos - align_down(job->pos, top_of(job)->cluster_bytes));
}

static void start_new_data(struct qcow2_job *job)
{
	qcow2_start_op(job, STEP_NEW_DATA, AIO_WRITE, &top_of(job)->data, new_host(job, job->pos),
		       part_iov(job), job->nr_part, job->bytes);
}

static void write_fill(struct qcow2_job *job, const void *from, uint64_t bytes)
{
	uint64_t pos = job->fill_pos;

	job->fill_pos += bytes;
	/* Through the page cache: a fill need not be aligned for direct I/O. */
	job->fill_iov = (struct iovec){ (void *)(uintptr_t)from, bytes };
	qcow2_start_op(job, STEP_FILL_WRITTEN, AIO_WRITE, &top_of(job)->file, new_host(job, pos),
		       &job->fill_iov, 1, bytes);
}

static void next_range(struct qcow2_job *job)
{
	uint64_t end = job->pos + job->bytes;

	if (job->tail) {
		start_new_data(job);
		return;
	}
	job->tail = true;
	fill_range(job, end, align_up(end, top_of(job)->cluster_bytes));
}

static bool qcow2_fill(struct qcow2_job *job)
{
	struct qcow2 *q = job->disk;
	uint64_t max = job->fill_end - job->fill_pos;
	struct extent e;
	int rc;

	if (!max) {
		release_buffers(job);
		next_range(job);
		return job->step == STEP_FILL;
	}
	rc = qcow2_map(q, job->fill_pos, max, &job->waiter, &e);
	if (rc < 0)
		fail(job, rc);
	if (rc != 1)
		return false;
	if (e.kind == EXTENT_ZERO) {
		if (job->fresh) {
			job->fill_pos += e.bytes;
			return true;
		}
		write_fill(job, file_zeroes(), e.bytes);
		return false;
	}
	if (!take_buffers(job))
		return false;
	if (e.kind == EXTENT_DATA) {
		job->fill_iov = (struct iovec){ q->bounce, e.bytes };
		job->fill_bytes = e.bytes;
		qcow2_start_op(job, STEP_FILL_READ, AIO_READ, e.file, e.host, &job->fill_iov, 1,
			       e.bytes);
	} else if (is_unpacked(q, &e)) {
		write_fill(job, unpacked_at(job, &e, job->fill_pos), e.bytes);
	} else {
		read_packed(job, &e, STEP_FILL_UNPACK);
	}
	return false;
}

/* ---- changing entries ---- */

static void drop_entry(struct qcow2_image *img, uint64_t entry)
{
	uint64_t offset, first, last;

	if (entry & QCOW2_COMPRESSED) {
		offset = qcow2_compressed_offset(img, entry);
		first = offset >> img->cluster_bits;
		last = (offset + qcow2_compressed_bytes(img, entry) - 1) >> img->cluster_bits;
		qcow2_free_later(img, first, last - first + 1);
	} else if (entry & QCOW2_OFFSET_MASK) {
		qcow2_free_later(img, (entry & QCOW2_OFFSET_MASK) >> img->cluster_bits, 1);
	}
}

/* True if drop_entry() notes a range. */
static bool names_clusters(uint64_t entry)
{
	return entry & (QCOW2_COMPRESSED | QCOW2_OFFSET_MASK);
}

/*
 * The slice of the current position, ready to be changed in up to @count entries.
 * 1, 0 (waits) or -errno. Reads it first, which needs no moment without a flush.
 */
static int get_own_slice(struct qcow2_job *job, uint64_t count, struct qcow2_slot **slot,
			 uint64_t *i)
{
	struct qcow2_image *top = top_of(job);
	unsigned int nr = 0;
	int rc = own_table(job);

	if (rc == 1)
		rc = qcow2_get_slice(top, job->pos, &job->waiter, slot, i);
	if (rc == 1)
		rc = qcow2_may_change(job->disk, &job->waiter);
	for (uint64_t c = 0; c < count && rc == 1; c++) {
		nr += names_clusters(be64toh(((uint64_t *)(*slot)->data)[*i + c]));
		if (qcow2_check_entry(top, *slot, *i + c))
			rc = -EIO;
	}
	if (rc == 1)
		rc = qcow2_can_free(top, nr, &job->waiter);
	return rc;
}

static void set_entry(struct qcow2_slot *slot, uint64_t i, uint64_t entry)
{
	((uint64_t *)slot->data)[i] = htobe64(entry);
	qcow2_cache_dirty(slot);
}

static bool commit(struct qcow2_job *job)
{
	struct qcow2_image *top = top_of(job);
	struct qcow2_slot *slot;
	uint64_t i, n = job->clusters;
	int rc = get_own_slice(job, n, &slot, &i);

	if (rc < 0)
		fail(job, rc);
	if (rc != 1)
		return false;
	for (uint64_t c = 0; c < n; c++) {
		drop_entry(top, be64toh(((uint64_t *)slot->data)[i + c]));
		set_entry(slot, i + c, (job->host + c * top->cluster_bytes) | QCOW2_COPIED);
	}
	end_part(job);
	return true;
}

/* ---- discard and write zeroes ---- */

/* What the entry becomes; the same if nothing has to change. */
static uint64_t emptied(const struct qcow2_job *job, uint64_t entry)
{
	const struct qcow2_image *top = top_of(job);
	const struct qcow2 *q = job->disk;
	bool below = q->nr_images > 1 || q->has_base;
	enum extent_kind kind = qcow2_kind_of(top, entry);

	if (kind == EXTENT_NONE)
		return job->req->operation == DISK_WRITE_ZEROES && below ? QCOW2_ZERO : entry;
	if (job->req->operation == DISK_WRITE_ZEROES && !job->req->unmap && kind != EXTENT_COMPRESSED &&
	    entry & QCOW2_COPIED)
		return entry | QCOW2_ZERO; /* version 3: see can_empty() */
	return below ? QCOW2_ZERO : 0;
}

/* Whole clusters from the current position on. True if there is more to do now. */
static bool empty_clusters(struct qcow2_job *job, uint64_t bytes)
{
	struct qcow2_image *top = top_of(job);
	uint64_t i, n = (bytes + top->cluster_bytes - 1) >> top->cluster_bits;
	uint64_t per_table = qcow2_l2_entries(top) << top->cluster_bits;
	struct qcow2_slot *slot;
	int rc;

	/* No table: discarded already, and zero unless there is something below. */
	if (!qcow2_has_table(top, job->pos) && !emptied(job, 0)) {
		job->pos += min_u64(bytes, per_table - job->pos % per_table);
		return true;
	}
	i = (job->pos >> top->cluster_bits) % top->slice_entries;
	n = min_u64(min_u64(n, top->slice_entries - i), QCOW2_MAX_PART);
	bytes = min_u64(bytes, n << top->cluster_bits);
	if (!job->claimed && !claim(job, bytes, true))
		return false;
	rc = get_own_slice(job, n, &slot, &i);
	if (rc < 0)
		fail(job, rc);
	if (rc != 1)
		return false;
	for (uint64_t c = 0; c < n; c++) {
		uint64_t old = be64toh(((uint64_t *)slot->data)[i + c]), new = emptied(job, old);

		if (new == old)
			continue;
		if (!(new &QCOW2_OFFSET_MASK))
			drop_entry(top, old);
		set_entry(slot, i + c, new);
	}
	job->pos += bytes;
	release_claim(job);
	return true;
}

/* Less than a cluster: zeros are written like data, unless they are there already. */
static bool zero_edge(struct qcow2_job *job, uint64_t bytes)
{
	struct extent e;
	int rc = qcow2_map(job->disk, job->pos, bytes, &job->waiter, &e);

	job->zeroes = false; /* from a try that had to wait */
	if (rc < 0)
		fail(job, rc);
	if (rc != 1)
		return false;
	if (e.kind == EXTENT_ZERO && !job->claimed) {
		job->pos += e.bytes;
		return true;
	}
	job->zeroes = true;
	job->bytes = e.bytes;
	return write_part(job);
}

/* Version 2 has no zero clusters; with something below, zeros have to be data. */
static bool can_empty(const struct qcow2_job *job)
{
	const struct qcow2 *q = job->disk;

	if (top_of(job)->version >= 3)
		return true;
	return q->nr_images == 1 && !q->has_base &&
	       (job->req->operation == DISK_DISCARD || job->req->unmap);
}

static bool empty_part(struct qcow2_job *job)
{
	struct qcow2_image *top = top_of(job);
	uint64_t pos = job->pos, left = job->end - job->pos;
	uint64_t in_cluster = pos & (top->cluster_bytes - 1), whole;
	uint64_t edge = min_u64(left, top->cluster_bytes - in_cluster);

	/* The disk may end within its last cluster. */
	whole = pos + left == top->size_bytes ? left : align_down(left, top->cluster_bytes);
	if (!in_cluster && whole && can_empty(job))
		return empty_clusters(job, whole);
	if (job->req->operation == DISK_WRITE_ZEROES)
		return zero_edge(job, edge);
	job->pos += edge; /* a discard may leave it as it is */
	return true;
}

/* ---- the engine ---- */

/*
 * Features that only hold as long as everybody who writes knows them end with the first
 * write, in the file before it. True if they have; false: @job waits for that.
 */
static bool end_autoclear(struct qcow2_job *job)
{
	struct qcow2_image *top = top_of(job);

	if (!top->autoclear)
		return true;
	if (top->autoclear & QCOW2_AUTOCLEAR_BITMAPS && !top->header_changed)
		log_notice("disk: %s: the guest writes to it, and its bitmaps (of changes since a "
			   "backup) are not valid any more",
			   top->path);
	top->header_changed = true;
	qcow2_want_flush(job->disk, &job->waiter);
	return false;
}

static bool next_part(struct qcow2_job *job)
{
	switch (job->req->operation) {
	case DISK_FLUSH:
		job->step = STEP_FLUSHED;
		qcow2_want_flush(job->disk, &job->waiter);
		return false;
	case DISK_READ:
		break;
	case DISK_WRITE:
	case DISK_DISCARD:
	case DISK_WRITE_ZEROES:
		if (!end_autoclear(job))
			return false;
	}
	if (job->pos == job->end) {
		qcow2_end_job(job, 0);
		return false;
	}
	if (job->req->operation == DISK_READ)
		return read_part(job);
	if (job->req->operation == DISK_WRITE)
		return write_part(job);
	return empty_part(job);
}

/* One step after something has arrived. True if the next can follow at once. */
static bool step(struct qcow2_job *job)
{
	int rc;

	switch (job->step) {
	case STEP_NEXT:
		return next_part(job);
	case STEP_TABLE_READ:
		job->step = STEP_TABLE_ALLOC;
		return true;
	case STEP_TABLE_ALLOC:
		write_new_table(job);
		return false;
	case STEP_TABLE_WRITTEN:
		release_buffers(job);
		job->step = STEP_TABLE_NAME;
		return true;
	case STEP_TABLE_NAME:
		return name_table(job);
	case STEP_DATA:
		end_part(job);
		return true;
	case STEP_UNPACK:
	case STEP_FILL_UNPACK:
		rc = decompress_cluster(job);
		if (rc) {
			job->disk->unpacked_image = NULL;
			fail(job, rc);
			return false;
		}
		job->step = job->step == STEP_UNPACK ? STEP_NEXT : STEP_FILL;
		return true;
	case STEP_FILL:
		return qcow2_fill(job);
	case STEP_FILL_READ:
		write_fill(job, job->disk->bounce, job->fill_bytes);
		return false;
	case STEP_FILL_WRITTEN:
		job->step = STEP_FILL;
		return true;
	case STEP_NEW_DATA:
		job->step = STEP_COMMIT;
		return true;
	case STEP_COMMIT:
		return commit(job);
	case STEP_PUNCHED:
		job->step = STEP_UNALLOC;
		return true;
	case STEP_UNALLOC:
		return unalloc(job, 0);
	case STEP_FLUSHED:
		qcow2_end_job(job, 0);
		return false;
	}
	return false;
}

/* What @job waited for has failed. True if it goes on all the same. */
static bool take_error(struct qcow2_job *job, int error)
{
	switch (job->step) {
	case STEP_PUNCHED: /* no room is won by it */
		return true;
	case STEP_UNALLOC:
		return unalloc(job, error);
	case STEP_UNPACK:
	case STEP_FILL_UNPACK:
		job->disk->unpacked_image = NULL;
		break;
	default:
		break;
	}
	fail(job, error);
	return false;
}

static void job_run(struct qcow2_waiter *w)
{
	struct qcow2_job *job = (struct qcow2_job *)w;

	if (w->error && !take_error(job, w->error))
		return;
	while (step(job))
		;
}

/* ---- the format ---- */

static void qcow2_submit(struct disk *disk, struct disk_request *req)
{
	struct qcow2 *q = (struct qcow2 *)disk;

	if (req->operation == DISK_FLUSH && q->temporary) {
		req->done(req, 0);
		return;
	}
	if (q->free_jobs) {
		start_job(q, req);
		qcow2_pump(q);
		return;
	}
	req->next = NULL;
	*q->backlog_tail = req;
	q->backlog_tail = &req->next;
}

static int qcow2_finish(struct disk *disk, bool again)
{
	struct qcow2 *q = (struct qcow2 *)disk;
	int rc;

	if (disk->read_only || q->temporary)
		return 0;
	rc = qcow2_flush_all(q, again);
	q->finished = !rc;
	return rc;
}

/* The file has grown in bigger steps than it needed. All is safe, whether or not this is done. */
static void trim_file(const struct qcow2_image *top)
{
	uint64_t bytes = top->fresh_from << top->cluster_bits;

	if (top->regular && bytes < top->file_bytes && ftruncate(top->fd, (off_t)bytes))
		log_verbose("disk: %s: making it smaller: %s", top->path, strerror(errno));
}

static void qcow2_close(struct disk *disk)
{
	struct qcow2 *q = (struct qcow2 *)disk;

	if (q->finished)
		trim_file(q->images[0]);
	qcow2_close_images(q);
	aio_remove_client(&disk->client);
	free(q->packed);
	free(q->unpacked);
	free(q->bounce);
	free(q->jobs);
	free(disk->path);
	free(q);
}

static const struct disk_ops qcow2_ops = {
	.format = "qcow2",
	.submit = qcow2_submit,
	.finish = qcow2_finish,
	.close = qcow2_close,
};

static int create_buffers(struct qcow2 *q)
{
	size_t cluster = 4096;

	for (unsigned int i = 0; i < q->nr_images; i++)
		cluster = max_u64(cluster, q->images[i]->cluster_bytes);
	q->packed = aligned_alloc(4096, 2 * cluster);
	q->unpacked = aligned_alloc(4096, cluster);
	q->bounce = aligned_alloc(4096, cluster);
	return q->packed && q->unpacked && q->bounce ? 0 : log_enomem("disk");
}

static void init_jobs(struct qcow2 *q)
{
	for (unsigned int i = 0; i < QCOW2_MAX_ACTIVE; i++) {
		q->jobs[i].waiter.run = job_run;
		q->jobs[i].disk = q;
		q->jobs[i].next = q->free_jobs;
		q->free_jobs = &q->jobs[i];
	}
}

/* NULL if there is no memory. */
static struct qcow2 *new_disk(struct aio *aio, const struct disk_config *config)
{
	struct qcow2 *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->disk.ops = &qcow2_ops;
	q->disk.aio = aio;
	aio_add_client(aio, &q->disk.client);
	q->disk.block_bytes = DISK_SECTOR_BYTES;
	q->disk.read_only = config->read_only;
	q->base_lock_fd = q->base_fd = q->base.index = -1;
	q->backlog_tail = &q->backlog;
	waiter_list_init(&q->runnable);
	waiter_list_init(&q->stalled);
	waiter_list_init(&q->blocked);
	qcow2_flush_init(q);
	q->is_late = is_late;
	q->jobs = calloc(QCOW2_MAX_ACTIVE, sizeof(*q->jobs));
	q->disk.path = strdup(config->path);
	if (!q->jobs || !q->disk.path) {
		qcow2_close(&q->disk);
		return NULL;
	}
	init_jobs(q);
	return q;
}

int qcow2_open(struct disk **out, struct aio *aio, const struct disk_config *config, int fd,
	       bool is_qcow2)
{
	struct qcow2 *q = new_disk(aio, config);
	int rc;

	if (!q) {
		close(fd);
		return log_enomem("disk");
	}
	rc = qcow2_open_images(q, config, fd, is_qcow2);
	if (!rc)
		rc = create_buffers(q);
	if (rc) {
		qcow2_close(&q->disk);
		return rc;
	}
	q->disk.size_bytes = align_down(q->images[0]->size_bytes, q->disk.block_bytes);
	q->disk.physical_bytes = (uint32_t)max_u64(4096, q->disk.block_bytes);
	q->disk.discard_bytes = (uint32_t)max_u64(q->images[0]->cluster_bytes, q->disk.block_bytes);
	q->disk.can_discard = !config->read_only;
	*out = &q->disk;
	return 0;
}
