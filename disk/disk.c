// SPDX-License-Identifier: GPL-2.0-only
/*
 * Disks: which format, which locks, and the one place where ranges are checked.
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

#include "disk/disk.h"
#include "disk/file.h"
#include "disk/probe.h"
#include "disk/qcow2.h"
#include "disk/raw.h"
#include "log.h"
#include "util.h"

static int choose_format(int fd, const struct disk_config *config, enum disk_format *format)
{
	_Alignas(4096) uint8_t bytes[4096] = { 0 };
	ssize_t n = pread(fd, bytes, sizeof(bytes), 0);
	const char *name;

	if (n < 0) {
		log_error("disk: %s: %s", config->path, strerror(errno));
		return -EIO;
	}
	name = probe_format(bytes, min_u64((uint64_t)n, PROBE_BYTES));
	*format = config->format;
	if (*format == DISK_FORMAT_QCOW2 && (!name || strcmp(name, "qcow2"))) {
		log_error("disk: %s: not a qcow2 image (first bytes %02x %02x %02x %02x)",
			  config->path, bytes[0], bytes[1], bytes[2], bytes[3]);
		return -EINVAL;
	}
	if (*format != DISK_FORMAT_AUTO)
		return 0;
	if (name && strcmp(name, "qcow2")) {
		log_error("disk: %s: it looks like a %s image, which lkvm cannot read\n"
			  "convert it: qemu-img convert -O qcow2 %s NEW; or say format=raw.",
			  config->path, name, config->path);
		return -ENOTSUP;
	}
	*format = name ? DISK_FORMAT_QCOW2 : DISK_FORMAT_RAW;
	return 0;
}

int disk_open(struct disk **out, struct aio *aio, const struct disk_config *config)
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
		return qcow2_open(out, aio, config, fd, format == DISK_FORMAT_QCOW2);
	return raw_open(out, aio, config, fd, config->format == DISK_FORMAT_AUTO);
}

int disk_finish(struct disk *disk)
{
	int rc;

	aio_drain(disk->aio);
	rc = disk->ops->finish(disk);
	if (rc)
		log_error("disk: %s: what was written last may be lost: %s", disk->path,
			  strerror(-rc));
	return rc;
}

void disk_close(struct disk *disk)
{
	if (disk)
		disk->ops->close(disk);
}

static int check(const struct disk *disk, const struct disk_request *req)
{
	bool writes = req->operation != DISK_READ && req->operation != DISK_FLUSH;

	if (writes && disk->read_only)
		return -EROFS;
	if (req->operation == DISK_FLUSH)
		return 0;
	if ((req->offset | req->bytes) % disk->block_bytes)
		return -EINVAL;
	return range_within(req->offset, req->bytes, disk->size_bytes) ? 0 : -EIO;
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
	disk->ops->submit(disk, req);
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
