// SPDX-License-Identifier: GPL-2.0-only
/*
 * Disks: which format, which locks, and the one place where ranges are checked and requests
 * are kept from making the loop deaf.
 *
 * A format is never guessed in a way that could destroy an image: what has the
 * signature of a format that lkvm does not write is refused unless the user says
 * format=raw, and a raw image that was not called one cannot be given such a
 * signature by the guest (disk/raw.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/dir.h"
#include "disk/disk.h"
#include "disk/file.h"
#include "disk/probe.h"
#include "disk/qcow2.h"
#include "disk/raw.h"
#include "log.h"
#include "util.h"

/*
 * What one round of the loop begins, give or take one request: data that are in memory are
 * copied then and there.
 */
#define ROUND_BYTES	     MIB(16)
#define RANGE_BYTES_PER_BYTE 64 /* a range costs that much less than data */

/* Reads from @fd for a look; what is not there stays zero. 0 or -EIO after a message. */
static int look_at(int fd, const char *path, void *bytes, size_t len, uint64_t offset)
{
	memset(bytes, 0, len);
	if (pread(fd, bytes, len, (off_t)offset) >= 0)
		return 0;
	log_error("disk: %s: %s", path, strerror(errno));
	return -EIO;
}

/* What the file looks like: *format, or NULL. 0 or -EIO after a message. */
static int recognise(int fd, const char *path, uint8_t bytes[PROBE_BYTES],
		     const struct probe_format **format)
{
	uint8_t last[PROBE_BYTES];
	off_t size = lseek(fd, 0, SEEK_END);
	int rc = look_at(fd, path, bytes, PROBE_BYTES, 0);

	*format = probe_format(bytes, PROBE_BYTES);
	if (rc || *format || size < (off_t)(2 * PROBE_BYTES))
		return rc;
	rc = look_at(fd, path, last, sizeof(last), (uint64_t)size - PROBE_BYTES);
	if (!memcmp(last, PROBE_VHD_MAGIC, strlen(PROBE_VHD_MAGIC)))
		*format = probe_format(last, sizeof(last));
	return rc;
}

static int refuse_format(const char *path, const struct probe_format *f)
{
	if (f->compressed)
		log_error("disk: %s: it is compressed (%s)\nunpack it: %s %s >NEW; or say format=raw.",
			  path, f->name, f->command, path);
	else
		log_error("disk: %s: it looks like a %s image, which lkvm cannot read\n"
			  "convert it: %s %s NEW; or say format=raw.",
			  path, f->name, f->command, path);
	return -ENOTSUP;
}

static int choose_format(int fd, const struct disk_config *config, enum disk_format *format)
{
	_Alignas(4096) uint8_t bytes[PROBE_BYTES];
	const struct probe_format *found;
	int rc = recognise(fd, config->path, bytes, &found);
	bool is_qcow2 = !rc && found && !strcmp(found->name, "qcow2");

	if (rc)
		return rc;
	*format = config->format;
	if (*format == DISK_FORMAT_QCOW2 && !is_qcow2) {
		log_error("disk: %s: not a qcow2 image (first bytes %02x %02x %02x %02x)",
			  config->path, bytes[0], bytes[1], bytes[2], bytes[3]);
		return -EINVAL;
	}
	if (*format != DISK_FORMAT_AUTO)
		return 0;
	if (found && !is_qcow2)
		return refuse_format(config->path, found);
	*format = is_qcow2 ? DISK_FORMAT_QCOW2 : DISK_FORMAT_RAW;
	return 0;
}

static void resume(void *arg);

static void disk_init(struct disk *disk, const struct disk_config *config)
{
	if (config->no_discard)
		disk->can_discard = false;
	disk->waiting_tail = &disk->waiting;
	disk->resume = (struct event_deferred){ .fn = resume, .arg = disk };
}

static int open_image(struct disk **out, struct aio *aio, const struct disk_config *config)
{
	enum file_use use = config->read_only || config->cow ? FILE_READ : FILE_WRITE;
	enum disk_format format;
	int fd = file_open(config->path, use), rc;

	if (fd < 0)
		return fd;
	rc = choose_format(fd, config, &format);
	if (rc) {
		close(fd);
		return rc;
	}
	if (format == DISK_FORMAT_QCOW2 || config->cow)
		rc = qcow2_open(out, aio, config, fd, format == DISK_FORMAT_QCOW2);
	else
		rc = raw_open(out, aio, config, fd, config->format == DISK_FORMAT_AUTO);
	return rc;
}

int disk_open(struct disk **out, struct aio *aio, const struct disk_config *config)
{
	int rc = config->files || config->spare ? dir_open(out, aio, config) : open_image(out, aio, config);

	if (!rc)
		disk_init(*out, config);
	return rc;
}

/* ---- the end ---- */

#define UNTOUCHED 2 /* states beside 0 and -errno; 1 is of disk_ops */

/* Each disk of which nothing is in flight goes on. True if one has not come to its end. */
static bool go_on_finishing(struct disk *const disks[], unsigned int nr, int states[])
{
	bool unfinished = false;

	for (unsigned int i = 0; i < nr; i++) {
		if (states[i] > 0 && aio_is_idle(&disks[i]->client))
			states[i] = disks[i]->ops->finish(disks[i], states[i] != UNTOUCHED);
		unfinished |= states[i] > 0;
	}
	return unfinished;
}

void disk_finish_all(struct disk *const disks[], unsigned int nr, int errors[])
{
	for (unsigned int i = 0; i < nr; i++)
		errors[i] = UNTOUCHED;
	while (go_on_finishing(disks, nr, errors) && !aio_wait(disks[0]->aio))
		;
	for (unsigned int i = 0; i < nr; i++) {
		if (errors[i] > 0)
			errors[i] = DISK_STUCK;
		if (errors[i])
			log_error("disk: %s: what was written last may be lost: %s", disks[i]->path,
				  errors[i] == DISK_STUCK ? "it does not answer" : strerror(-errors[i]));
	}
}

void disk_close(struct disk *disk)
{
	if (!disk)
		return;
	event_undefer(aio_loop(disk->aio), &disk->resume);
	disk->ops->close(disk);
}

static int check(const struct disk *disk, const struct disk_request *req)
{
	bool writes = req->operation != DISK_READ && req->operation != DISK_FLUSH;

	if (writes && disk->read_only)
		return -EROFS;
	if (req->operation == DISK_DISCARD && !disk->can_discard)
		return -EOPNOTSUPP;
	if (req->operation == DISK_FLUSH)
		return 0;
	if ((req->offset | req->bytes) % disk->block_bytes)
		return -EINVAL;
	return range_within(req->offset, req->bytes, disk->size_bytes) ? 0 : -EIO;
}

static void begin(struct disk *disk, struct disk_request *req)
{
	bool transfers = req->operation == DISK_READ || req->operation == DISK_WRITE;

	disk->round_bytes += transfers ? req->bytes : req->bytes / RANGE_BYTES_PER_BYTE;
	disk->ops->submit(disk, req);
}

static bool round_is_full(struct disk *disk)
{
	uint64_t round = event_round(aio_loop(disk->aio));

	if (disk->round != round)
		disk->round_bytes = 0;
	disk->round = round;
	return disk->round_bytes >= ROUND_BYTES;
}

static void resume(void *arg)
{
	struct disk *disk = arg;

	while (disk->waiting && !round_is_full(disk)) {
		struct disk_request *req = disk->waiting;

		disk->waiting = req->next;
		if (!disk->waiting)
			disk->waiting_tail = &disk->waiting;
		aio_release(&disk->client);
		begin(disk, req);
	}
	if (disk->waiting)
		event_defer(aio_loop(disk->aio), &disk->resume);
}

static void wait_for_next_round(struct disk *disk, struct disk_request *req)
{
	req->next = NULL;
	*disk->waiting_tail = req;
	disk->waiting_tail = &req->next;
	aio_hold(&disk->client);
	event_defer(aio_loop(disk->aio), &disk->resume);
}

void disk_submit(struct disk *disk, struct disk_request *req)
{
	int rc = check(disk, req);

	if (rc || (!req->bytes && req->operation != DISK_FLUSH)) {
		req->done(req, rc);
		return;
	}
	req->disk = disk;
	req->pos = 0;
	req->unmap = req->unmap && disk->can_discard;
	if (disk->waiting || round_is_full(disk))
		wait_for_next_round(disk, req);
	else
		begin(disk, req);
}

int disk_lend(struct disk *disk, int socket)
{
	if (disk->ops->lend)
		return disk->ops->lend(disk, socket);
	close(socket);
	return -EOPNOTSUPP;
}

void disk_take_back(struct disk *disk)
{
	disk->ops->take_back(disk);
}

bool disk_poll_size(struct disk *disk)
{
	uint64_t size;

	if (!disk->ops->poll_size)
		return false;
	size = disk->ops->poll_size(disk);
	if (!size || size == disk->size_bytes)
		return false;
	disk->size_bytes = size;
	return true;
}
