// SPDX-License-Identifier: GPL-2.0-only
/*
 * Statistics of KVM (kvm-stats.h). No state, no memory: whoever asks waits for three reads.
 */
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "io.h"
#include "kvm-stats.h"
#include "util.h"

#define MAX_NAME_BYTES 256u

int kvm_stats_open(int fd)
{
	return ioctl(fd, KVM_GET_STATS_FD, NULL);
}

/* True if @d, followed by @room bytes of a name, describes one number called @name. */
static bool is_meant(const struct kvm_stats_desc *d, const uint8_t *text, size_t room, const char *name)
{
	const size_t len = strlen(name);

	return d->size == 1 && len < room && !memcmp(text, name, len + 1);
}

uint64_t kvm_stats_find(const uint8_t *block, size_t bytes, const char *name)
{
	struct kvm_stats_header h;
	struct kvm_stats_desc d;
	size_t each;

	if (bytes < sizeof(h))
		return 0;
	memcpy(&h, block, sizeof(h));
	if (!h.name_size || h.name_size > MAX_NAME_BYTES || h.desc_offset > bytes)
		return 0;
	each = sizeof(d) + h.name_size;
	for (size_t i = 0, at = h.desc_offset; i < h.num_desc && bytes - at >= each; i++, at += each) {
		memcpy(&d, block + at, sizeof(d));
		if (is_meant(&d, block + at + sizeof(d), h.name_size, name))
			return (uint64_t)h.data_offset + d.offset;
	}
	return 0;
}

static ssize_t read_at(int fd, void *data, size_t bytes, uint64_t offset)
{
	const struct iovec iov = { data, bytes };

	return read_iov(fd, &iov, 1, (off_t)offset);
}

bool kvm_stats_read(int fd, const char *const *names, unsigned int nr, uint64_t *values, bool *found)
{
	uint8_t block[KVM_STATS_BLOCK_BYTES];
	ssize_t n = fd < 0 ? -1 : read_at(fd, block, sizeof(block), 0);

	for (unsigned int i = 0; i < nr; i++) {
		uint64_t at = n < 0 ? 0 : kvm_stats_find(block, (size_t)n, names[i]);

		found[i] = at && read_at(fd, &values[i], sizeof(values[i]), at) == sizeof(values[i]);
	}
	return n > 0;
}
