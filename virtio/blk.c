// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtio block device: parse, act, complete.
 *
 * A kick empties the ring: each chain becomes a request of a pool that is as big
 * as the ring, so that nothing is ever allocated. Requests go to the disk, which
 * collects them into batches. Interrupting the guest and asking for new kicks is
 * deferred to the end of the loop's round, once for all that was completed in it.
 * Everything runs on the event loop's thread.
 *
 * What the guest asks for and the disk cannot do ends in IOERR, what does not exist
 * in UNSUPP; only a request that has no room for an answer breaks the device.
 *
 * Source: virtio 1.2 §5.2. Not here: SCSI pass-through, secure erase, zones,
 * write-back toggling, legacy geometry.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "disk/disk.h"
#include "iov.h"
#include "state.h"
#include "util.h"
#include "virtio/blk.h"
#include "virtio/device.h"

#define MAX_SEGMENTS	  (VIRTQ_MAX_SIZE - 2) /* one each for header and status */
#define MAX_SEGMENT_BYTES MIB(1)
#define MAX_DATA_BYTES	  (MAX_SEGMENTS * MAX_SEGMENT_BYTES)
#define MAX_RANGES	  16u /* of one discard or write-zeroes */
#define MAX_RANGE_SECTORS (MIB(256) / DISK_SECTOR_BYTES)
#define PCI_CLASS	  0x010000 /* mass storage: SCSI, as drivers expect */

struct blk_queue;

struct blk_request {
	struct disk_request disk; /* first: done() hands it back */
	struct blk_queue *queue;
	struct blk_request *next; /* free */
	struct virtq_chain chain;
	uint8_t *status; /* in guest memory */
	uint32_t type;
	uint32_t data_bytes;
	unsigned int nr_ranges, range;
	struct virtio_blk_discard_write_zeroes ranges[MAX_RANGES];
};

struct blk_queue {
	struct blk *blk;
	unsigned int index;
	struct blk_request *pool, *free;
	unsigned int fresh; /* from here on the pool was never used, nor its memory */
	struct event_deferred finish;
};

struct blk {
	struct virtio_device dev; /* first: virtio_ops hand it back */
	struct disk *disk;
	char serial[BLK_SERIAL_BYTES];
	unsigned int nr_queues;
	struct blk_queue *queues;
};

/* ---- completing ---- */

static void blk_count(const struct blk_request *req, uint8_t status)
{
	struct virtio_device *dev = &req->queue->blk->dev;
	const bool failed = status != VIRTIO_BLK_S_OK;

	virtio_count(dev, !failed && req->type == VIRTIO_BLK_T_IN ? req->data_bytes : 0,
		     !failed && req->type == VIRTIO_BLK_T_OUT ? req->data_bytes : 0);
	dev->counts.errors += failed;
}

static void blk_complete(struct blk_request *req, uint8_t status)
{
	struct blk_queue *q = req->queue;
	struct virtio_device *dev = &q->blk->dev;
	bool has_data = req->type == VIRTIO_BLK_T_IN || req->type == VIRTIO_BLK_T_GET_ID;
	uint32_t written = 1;

	*req->status = status;
	if (status == VIRTIO_BLK_S_OK && has_data)
		written += req->data_bytes;
	blk_count(req, status);
	virtq_push(&dev->queues[q->index].ring, req->chain.head, written);
	req->next = q->free;
	q->free = req;
	event_defer(dev->loop, &q->finish);
}

static uint8_t status_of(int error)
{
	return error == 0	    ? VIRTIO_BLK_S_OK :
	       error == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP :
				      VIRTIO_BLK_S_IOERR;
}

static void blk_report(struct blk_request *req, int error)
{
	static const char *const what[] = {
		[DISK_READ] = "read",
		[DISK_WRITE] = "write",
		[DISK_FLUSH] = "flush",
		[DISK_DISCARD] = "discard",
		[DISK_WRITE_ZEROES] = "write zeroes",
	};
	struct blk *blk = req->queue->blk;

	log_guest(&blk->dev.log_limit, "%s: %s of %llu bytes at %llu: %s", blk->dev.name,
		  what[req->disk.operation], (unsigned long long)req->disk.bytes,
		  (unsigned long long)req->disk.offset, strerror(-error));
}

static void blk_next_range(struct blk_request *req);

static void request_done(struct disk_request *disk_req, int error)
{
	struct blk_request *req = (struct blk_request *)disk_req;
	struct blk *blk = req->queue->blk;

	if (error) {
		blk_report(req, error);
		blk_complete(req, status_of(error));
		return;
	}
	if (req->range < req->nr_ranges) {
		blk_next_range(req);
		return;
	}
	/* A driver that never flushes takes every completed write for durable (§5.2.6.2). */
	if (disk_req->operation != DISK_READ && disk_req->operation != DISK_FLUSH &&
	    !virtio_has_feature(&blk->dev, VIRTIO_BLK_F_FLUSH)) {
		disk_req->operation = DISK_FLUSH;
		disk_submit(blk->disk, disk_req);
		return;
	}
	blk_complete(req, VIRTIO_BLK_S_OK);
}

/* ---- parsing and acting ---- */

static void blk_submit(struct blk_request *req, enum disk_operation operation, uint64_t sector,
		       uint64_t bytes)
{
	req->disk.operation = operation;
	req->disk.bytes = bytes;
	req->disk.done = request_done;
	if (!mul_u64(sector, DISK_SECTOR_BYTES, &req->disk.offset)) {
		blk_complete(req, VIRTIO_BLK_S_IOERR);
		return;
	}
	disk_submit(req->queue->blk->disk, &req->disk);
}

/* Makes chain->iov the data: readable buffers without their first @skip bytes. */
static void use_readable(struct blk_request *req, uint32_t skip)
{
	struct iovec *iov = req->chain.iov;
	unsigned int nr = req->chain.nr_readable;

	while (nr && skip >= iov->iov_len) {
		skip -= (uint32_t)iov->iov_len;
		iov++;
		nr--;
	}
	if (nr) {
		iov->iov_base = (uint8_t *)iov->iov_base + skip;
		iov->iov_len -= skip;
	}
	req->disk.iov = iov;
	req->disk.nr_iov = nr;
}

/* ... writable buffers without the status byte at their end. */
static void use_writable(struct blk_request *req)
{
	struct iovec *iov = req->chain.iov + req->chain.nr_readable;
	unsigned int nr = req->chain.nr_writable;

	if (!--iov[nr - 1].iov_len)
		nr--;
	req->disk.iov = iov;
	req->disk.nr_iov = nr;
}

static void get_id(struct blk_request *req)
{
	const struct blk *blk = req->queue->blk;

	use_writable(req);
	req->data_bytes = iov_write(req->disk.iov, req->disk.nr_iov, 0, blk->serial,
				    BLK_SERIAL_BYTES);
	blk_complete(req, VIRTIO_BLK_S_OK);
}

/* Ranges one after the other: one request, one answer. */
static void blk_next_range(struct blk_request *req)
{
	const struct virtio_blk_discard_write_zeroes *r = &req->ranges[req->range++];
	bool discard = req->type == VIRTIO_BLK_T_DISCARD;
	uint32_t allowed = discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;

	if (r->flags & ~allowed) {
		blk_complete(req, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	if (r->num_sectors > MAX_RANGE_SECTORS) {
		blk_complete(req, VIRTIO_BLK_S_IOERR);
		return;
	}
	req->disk.unmap = r->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	blk_submit(req, discard ? DISK_DISCARD : DISK_WRITE_ZEROES, r->sector,
		   (uint64_t)r->num_sectors * DISK_SECTOR_BYTES);
}

static void ranges(struct blk_request *req, unsigned int feature)
{
	uint32_t bytes = req->chain.readable_bytes - (uint32_t)sizeof(struct virtio_blk_outhdr);

	if (!virtio_has_feature(&req->queue->blk->dev, feature)) {
		blk_complete(req, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	if (!bytes || bytes % sizeof(req->ranges[0]) || bytes > sizeof(req->ranges)) {
		blk_complete(req, VIRTIO_BLK_S_IOERR);
		return;
	}
	iov_read(req->chain.iov, req->chain.nr_readable, sizeof(struct virtio_blk_outhdr),
		 req->ranges, bytes);
	req->nr_ranges = bytes / sizeof(req->ranges[0]);
	blk_next_range(req);
}

static void blk_transfer(struct blk_request *req, enum disk_operation operation, uint64_t sector)
{
	if (operation == DISK_READ) {
		req->data_bytes = req->chain.writable_bytes - 1;
		use_writable(req);
	} else {
		req->data_bytes = req->chain.readable_bytes -
				  (uint32_t)sizeof(struct virtio_blk_outhdr);
		use_readable(req, sizeof(struct virtio_blk_outhdr));
	}
	if (req->data_bytes > MAX_DATA_BYTES || req->data_bytes % DISK_SECTOR_BYTES) {
		blk_complete(req, VIRTIO_BLK_S_IOERR);
		return;
	}
	blk_submit(req, operation, sector, req->data_bytes);
}

static void act(struct blk_request *req)
{
	const struct virtq_chain *c = &req->chain;
	struct virtio_blk_outhdr header;

	req->data_bytes = 0;
	req->nr_ranges = req->range = 0;
	req->type = ~0u;
	if (iov_read(c->iov, c->nr_readable, 0, &header, sizeof(header)) != sizeof(header)) {
		blk_complete(req, VIRTIO_BLK_S_IOERR);
		return;
	}
	req->type = header.type;
	switch (header.type) {
	case VIRTIO_BLK_T_IN:
		blk_transfer(req, DISK_READ, header.sector);
		break;
	case VIRTIO_BLK_T_OUT:
		blk_transfer(req, DISK_WRITE, header.sector);
		break;
	case VIRTIO_BLK_T_FLUSH:
		blk_submit(req, DISK_FLUSH, 0, 0);
		break;
	case VIRTIO_BLK_T_GET_ID:
		get_id(req);
		break;
	case VIRTIO_BLK_T_DISCARD:
		ranges(req, VIRTIO_BLK_F_DISCARD);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		ranges(req, VIRTIO_BLK_F_WRITE_ZEROES);
		break;
	default:
		blk_complete(req, VIRTIO_BLK_S_UNSUPP);
	}
}

/* Where the answer goes: the last writable byte. False if there is none. */
static bool find_status(struct blk_request *req)
{
	const struct virtq_chain *c = &req->chain;
	const struct iovec *last;

	if (!c->nr_writable)
		return false;
	last = &c->iov[c->nr_readable + c->nr_writable - 1];
	req->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	return true;
}

/* The next request to use; the pool has as many as a ring has heads. */
static struct blk_request *peek_free(struct blk_queue *q)
{
	if (q->free)
		return q->free;
	return q->fresh < VIRTQ_MAX_SIZE ? &q->pool[q->fresh] : NULL;
}

static void take_free(struct blk_queue *q, struct blk_request *req)
{
	if (req == q->free)
		q->free = req->next;
	else
		q->fresh++;
	req->queue = q;
}

static void blk_serve(struct blk_queue *q)
{
	struct virtio_device *dev = &q->blk->dev;
	struct blk_request *req;
	unsigned int budget = VIRTQ_MAX_SIZE; /* a vCPU that refills the ring must not keep us */

	virtq_disable_notification(&dev->queues[q->index].ring);
	while (budget-- && (req = peek_free(q)) && virtio_pop(dev, q->index, &req->chain) > 0) {
		if (!find_status(req)) {
			virtq_push(&dev->queues[q->index].ring, req->chain.head, 0);
			virtio_set_needs_reset(dev, "a request without room for its status");
			return;
		}
		take_free(q, req);
		act(req);
	}
	event_defer(dev->loop, &q->finish);
}

/* At the end of a round: interrupt once, then look again before waiting for kicks. */
static void blk_finish(void *arg)
{
	struct blk_queue *q = arg;
	struct virtio_device *dev = &q->blk->dev;

	virtio_notify(dev, q->index);
	if (dev->running && virtq_enable_notification(&dev->queues[q->index].ring))
		blk_serve(q);
}

static void blk_kick(struct virtio_device *dev, unsigned int queue)
{
	blk_serve(&((struct blk *)dev)->queues[queue]);
}

static void blk_start(struct virtio_device *dev)
{
	(void)dev; /* nothing depends on the features but what is looked up */
}

/* Drivers hear of another capacity; all else they look at once. */
static void blk_carry(struct virtio_device *dev, struct state *s)
{
	struct blk *blk = (struct blk *)dev;
	char serial[BLK_SERIAL_BYTES];

	memcpy(serial, blk->serial, sizeof(serial));
	state_same(s, blk->disk->read_only, "a disk that can only be read");
	state_same(s, blk->disk->block_bytes, "the size of a block");
	state_raw(s, serial, sizeof(serial));
	if (state_is_good(s) && memcmp(serial, blk->serial, sizeof(serial)))
		state_refuse(s, "another serial= than this disk has");
}

static const struct virtio_ops blk_ops = {
	.id = VIRTIO_ID_BLOCK,
	.pci_class = PCI_CLASS,
	.driver = "virtio_blk (CONFIG_VIRTIO_BLK)",
	.start = blk_start,
	.carry = blk_carry,
	.kick = blk_kick,
};

/* ---- configuration ---- */

static uint64_t capacity(const struct disk *disk)
{
	return disk->size_bytes / DISK_SECTOR_BYTES;
}

void blk_tell_size(struct blk *blk)
{
	const uint64_t sectors = capacity(blk->disk);

	log_verbose("%s: %s has %llu sectors now", blk->dev.name, blk->disk->path,
		    (unsigned long long)sectors);
	virtio_set_config(&blk->dev, offsetof(struct virtio_blk_config, capacity), &sectors,
			  sizeof(sectors), true);
}

void blk_poll_size(struct blk *blk)
{
	if (disk_poll_size(blk->disk))
		blk_tell_size(blk);
}

static void blk_set_config(struct blk *blk)
{
	const struct disk *disk = blk->disk;
	uint32_t blocks_per_physical = disk->physical_bytes / disk->block_bytes;
	struct virtio_blk_config c = {
		.capacity = capacity(disk),
		.size_max = MAX_SEGMENT_BYTES,
		.seg_max = MAX_SEGMENTS,
		.blk_size = disk->block_bytes,
		.physical_block_exp = (uint8_t)__builtin_ctz(blocks_per_physical),
		.min_io_size = (uint16_t)blocks_per_physical,
		.num_queues = (uint16_t)blk->nr_queues,
		.max_discard_sectors = MAX_RANGE_SECTORS,
		.max_discard_seg = MAX_RANGES,
		.discard_sector_alignment = disk->discard_bytes / DISK_SECTOR_BYTES,
		.max_write_zeroes_sectors = MAX_RANGE_SECTORS,
		.max_write_zeroes_seg = MAX_RANGES,
		.write_zeroes_may_unmap = disk->can_discard,
	};

	virtio_set_config(&blk->dev, 0, &c, sizeof(c), false);
}

static uint64_t blk_features(const struct blk *blk)
{
	uint64_t f = 1ull << VIRTIO_BLK_F_SIZE_MAX | 1ull << VIRTIO_BLK_F_SEG_MAX |
		     1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_TOPOLOGY |
		     1ull << VIRTIO_BLK_F_FLUSH;

	if (blk->nr_queues > 1)
		f |= 1ull << VIRTIO_BLK_F_MQ;
	if (blk->disk->read_only)
		f |= 1ull << VIRTIO_BLK_F_RO;
	else
		f |= 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
	if (blk->disk->can_discard)
		f |= 1ull << VIRTIO_BLK_F_DISCARD;
	return f;
}

/* ---- life ---- */

static int blk_init_queue(struct blk *blk, unsigned int index)
{
	struct blk_queue *q = &blk->queues[index];

	q->blk = blk;
	q->index = index;
	q->finish = (struct event_deferred){ .fn = blk_finish, .arg = q };
	q->pool = calloc(VIRTQ_MAX_SIZE, sizeof(*q->pool));
	return q->pool ? 0 : -ENOMEM;
}

static int blk_init(struct blk *blk, struct event_loop *loop, const struct mem *mem,
		    const struct blk_config *config)
{
	int rc = 0;

	blk->queues = calloc(config->queues, sizeof(*blk->queues));
	if (!blk->queues)
		return -ENOMEM;
	blk->nr_queues = config->queues;
	for (unsigned int i = 0; i < config->queues && !rc; i++)
		rc = blk_init_queue(blk, i);
	if (!rc)
		rc = virtio_device_init(&blk->dev, &blk_ops, config->name, loop, mem,
					config->queues, blk_features(blk));
	if (!rc)
		blk_set_config(blk);
	return rc;
}

int blk_create(struct blk **out, struct event_loop *loop, const struct mem *mem,
	       struct disk *disk, const struct blk_config *config)
{
	struct blk *blk = calloc(1, sizeof(*blk));
	int rc;

	if (!blk)
		return -ENOMEM;
	blk->disk = disk;
	blk->dev.loop = loop;
	if (config->serial)
		memcpy(blk->serial, config->serial,
		       min_u64(strlen(config->serial), BLK_SERIAL_BYTES));
	rc = blk_init(blk, loop, mem, config);
	if (rc) {
		blk_destroy(blk);
		return rc;
	}
	*out = blk;
	return 0;
}

void blk_destroy(struct blk *blk)
{
	if (!blk)
		return;
	virtio_device_fini(&blk->dev);
	for (unsigned int i = 0; i < blk->nr_queues; i++) {
		event_undefer(blk->dev.loop, &blk->queues[i].finish);
		free(blk->queues[i].pool);
	}
	free(blk->queues);
	free(blk);
}

struct virtio_device *blk_device(struct blk *blk)
{
	return &blk->dev;
}
