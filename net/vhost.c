// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhost-net: one descriptor, and so one worker, for each pair of queues. Everything that
 * the kernel is told about a ring has been checked when the queue was enabled; what is in
 * the ring it checks itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "net/frame.h"
#include "net/vhost.h"
#include "util.h"

struct vhost {
	unsigned int nr_pairs;
	int fds[NET_MAX_QUEUES];
	bool running[NET_MAX_QUEUES];
	uint32_t next_avail[NET_MAX_QUEUES][2]; /* where a stopped ring goes on */
	uint64_t features;
};

static int vhost_call(int fd, unsigned long request, const void *arg)
{
	return ioctl(fd, request, arg) ? -errno : 0;
}

static int open_pair(struct vhost *v, const char *name)
{
	int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
	uint64_t features = 0;
	int rc;

	if (fd < 0) {
		rc = -errno;
		log_error("%s: /dev/vhost-net: %s%s", name, strerror(-rc),
			  (rc == -ENOENT || rc == -ENODEV) ?
				  "\nthe module vhost_net is not loaded, or the container lacks the device." :
				  "");
		return rc;
	}
	v->fds[v->nr_pairs++] = fd;
	rc = vhost_call(fd, VHOST_GET_FEATURES, &features);
	if (rc)
		log_error("%s: vhost: %s", name, strerror(-rc));
	v->features &= features;
	return rc;
}

int vhost_create(struct vhost **out, const char *name, unsigned int nr_pairs,
		 unsigned int header_bytes)
{
	struct vhost *v = calloc(1, sizeof(*v));
	int rc = 0;

	if (!v)
		return log_enomem(name);
	v->features = ~0ull;
	while (v->nr_pairs < nr_pairs && !rc)
		rc = open_pair(v, name);
	/* Frames have the long header, whatever is negotiated. */
	if (!rc && (header_bytes != NET_HEADER_BYTES || !(v->features >> VIRTIO_F_VERSION_1 & 1))) {
		log_error("%s: vhost: this host's kernel or tap is too old for it", name);
		rc = -ENOTSUP;
	}
	if (rc) {
		vhost_destroy(v);
		return rc;
	}
	*out = v;
	return 0;
}

void vhost_destroy(struct vhost *v)
{
	if (!v)
		return;
	for (unsigned int i = 0; i < v->nr_pairs; i++) {
		vhost_stop(v, i);
		close(v->fds[i]);
	}
	free(v);
}

int vhost_own(struct vhost *v, const struct mem *mem)
{
	_Alignas(struct vhost_memory) uint8_t table[sizeof(struct vhost_memory) +
						    MEM_MAX_REGIONS * sizeof(struct vhost_memory_region)];
	int rc = 0;

	mem_fill_vhost_table(mem, (struct vhost_memory *)table);
	for (unsigned int i = 0; i < v->nr_pairs && !rc; i++) {
		rc = vhost_call(v->fds[i], VHOST_SET_OWNER, NULL);
		if (!rc)
			rc = vhost_call(v->fds[i], VHOST_SET_MEM_TABLE, table);
	}
	return rc;
}

static int set_fd(int fd, unsigned long request, unsigned int ring, int value)
{
	return vhost_call(fd, request, &(struct vhost_vring_file){ .index = ring, .fd = value });
}

static int set_ring(int fd, unsigned int i, const struct vhost_ring *r, uint32_t next_avail)
{
	const struct vhost_vring_state size = { .index = i, .num = r->size };
	const struct vhost_vring_state base = { .index = i, .num = next_avail };
	const struct vhost_vring_addr addr = {
		.index = i,
		.desc_user_addr = (uintptr_t)r->desc,
		.avail_user_addr = (uintptr_t)r->avail,
		.used_user_addr = (uintptr_t)r->used,
	};
	int rc = vhost_call(fd, VHOST_SET_VRING_NUM, &size);

	if (!rc)
		rc = vhost_call(fd, VHOST_SET_VRING_BASE, &base);
	if (!rc)
		rc = vhost_call(fd, VHOST_SET_VRING_ADDR, &addr);
	if (!rc)
		rc = set_fd(fd, VHOST_SET_VRING_CALL, i, r->call_fd);
	if (!rc)
		rc = set_fd(fd, VHOST_SET_VRING_ERR, i, r->error_fd);
	if (!rc)
		rc = set_fd(fd, VHOST_SET_VRING_KICK, i, r->kick_fd);
	return rc;
}

int vhost_start(struct vhost *v, unsigned int pair, uint64_t features,
		const struct vhost_ring rings[2], int tap_fd)
{
	int fd = v->fds[pair], rc;

	features &= v->features;
	rc = vhost_call(fd, VHOST_SET_FEATURES, &features);
	for (unsigned int i = 0; i < 2 && !rc; i++)
		rc = set_ring(fd, i, &rings[i], v->next_avail[pair][i]);
	for (unsigned int i = 0; i < 2 && !rc; i++)
		rc = set_fd(fd, VHOST_NET_SET_BACKEND, i, tap_fd);
	v->running[pair] = true;
	if (rc)
		vhost_stop(v, pair);
	return rc;
}

void vhost_stop(struct vhost *v, unsigned int pair)
{
	if (!v->running[pair])
		return;
	for (unsigned int i = 0; i < 2; i++)
		set_fd(v->fds[pair], VHOST_NET_SET_BACKEND, i, VHOST_FILE_UNBIND);
	for (unsigned int i = 0; i < 2; i++) {
		struct vhost_vring_state base = { .index = i };

		set_fd(v->fds[pair], VHOST_SET_VRING_KICK, i, VHOST_FILE_UNBIND);
		if (!vhost_call(v->fds[pair], VHOST_GET_VRING_BASE, &base))
			v->next_avail[pair][i] = base.num;
	}
	v->running[pair] = false;
}

void vhost_forget(struct vhost *v, unsigned int pair)
{
	memset(v->next_avail[pair], 0, sizeof(v->next_avail[pair]));
}

void vhost_set_call(struct vhost *v, unsigned int pair, unsigned int ring, int call_fd)
{
	if (v->running[pair])
		set_fd(v->fds[pair], VHOST_SET_VRING_CALL, ring, call_fd);
}
