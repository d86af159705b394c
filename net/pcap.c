// SPDX-License-Identifier: GPL-2.0-only
/*
 * Recording frames. One write per frame, so that a recording is complete up to its
 * last frame whatever happens, and can be read while it grows.
 *
 * A frame that the device holds back (no room in a socket) is recorded when it leaves.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "iov.h"
#include "log.h"
#include "net/frame.h"
#include "net/pcap.h"
#include "output.h"

#define MAGIC_NANOSECONDS 0xa1b23c4du
#define LINK_ETHERNET	  1u

struct pcap {
	int fd; /* -1: it has failed */
	const char *path;
	struct {
		uint32_t seconds, nanoseconds, captured_bytes, frame_bytes;
		uint8_t frame[NET_MAX_FRAME_BYTES];
	} record;
};

static int pcap_refuse(const char *path, int rc)
{
	log_error("pcap: %s: %s", path, rc == -EINVAL ? "not a regular file" : strerror(-rc));
	return rc;
}

int pcap_check(const char *path)
{
	int rc = output_check(path, true);

	return rc ? pcap_refuse(path, rc) : 0;
}

int pcap_create(struct pcap **out, const char *path)
{
	const struct {
		uint32_t magic;
		uint16_t major, minor;
		uint32_t zone, accuracy, max_bytes, link;
	} header = {
		.magic = MAGIC_NANOSECONDS,
		.major = 2,
		.minor = 4,
		.max_bytes = NET_MAX_FRAME_BYTES,
		.link = LINK_ETHERNET,
	};
	struct pcap *pcap = calloc(1, sizeof(*pcap));
	struct stat st;
	int rc = 0;

	if (!pcap)
		return log_enomem("pcap");
	pcap->path = path;
	/*
	 * Frames are written when they pass: nobody whom the loop would have to wait for may read them.
	 * A pipe without a reader must not keep us waiting here either, hence O_NONBLOCK.
	 */
	pcap->fd = open(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0666);
	if (pcap->fd < 0 || fstat(pcap->fd, &st))
		rc = errno == ENXIO ? -EINVAL : -errno; /* such a pipe */
	else if (!S_ISREG(st.st_mode))
		rc = -EINVAL;
	else if (ftruncate(pcap->fd, 0) ||
		 write(pcap->fd, &header, sizeof(header)) != (ssize_t)sizeof(header))
		rc = errno ? -errno : -ENOSPC;
	if (rc) {
		pcap_destroy(pcap);
		return pcap_refuse(path, rc);
	}
	*out = pcap;
	return 0;
}

void pcap_destroy(struct pcap *pcap)
{
	if (!pcap)
		return;
	if (pcap->fd >= 0)
		close(pcap->fd);
	free(pcap);
}

void pcap_write(struct pcap *pcap, const struct iovec *iov, unsigned int nr, size_t skip,
		size_t bytes)
{
	struct timespec now;
	uint32_t len;
	ssize_t n;

	if (pcap->fd < 0)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	len = iov_read(iov, nr, (uint32_t)skip, pcap->record.frame,
		       (uint32_t)min_u64(bytes, sizeof(pcap->record.frame)));
	pcap->record.seconds = (uint32_t)now.tv_sec;
	pcap->record.nanoseconds = (uint32_t)now.tv_nsec;
	pcap->record.captured_bytes = pcap->record.frame_bytes = len;
	len += (uint32_t)offsetof(typeof(pcap->record), frame);
	n = write(pcap->fd, &pcap->record, len);
	if (n == (ssize_t)len)
		return;
	log_error("pcap: %s: %s\nthe recording ends here; the VM runs on.", pcap->path,
		  n < 0 ? strerror(errno) : "no space left");
	close(pcap->fd);
	pcap->fd = -1;
}
