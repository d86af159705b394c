/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Frames moved by the host's kernel (vhost-net): it reads and writes the rings itself,
 * woken by the guest's kicks and interrupting the guest through irqfds. Fewer switches
 * between kernel and VMM, but the rings of a hostile guest are parsed in the host's
 * kernel; hence only on request. Loop's thread, but for creation.
 *
 * Source: linux/vhost.h (Linux 6.1).
 */
#ifndef LKVM_NET_VHOST_H
#define LKVM_NET_VHOST_H

#include <stdbool.h>
#include <stdint.h>

struct mem;
struct vhost;

/* A queue: where its parts are for this process, and who is told what. */
struct vhost_ring {
	uint32_t size;
	const void *desc, *avail, *used;
	int kick_fd, call_fd, error_fd;
};

/* @nr_pairs of queues, each with a worker of the kernel. 0 or -errno, after a message. */
int vhost_create(struct vhost **out, const char *name, unsigned int nr_pairs,
		 unsigned int header_bytes);

/* Accepts NULL. */
void vhost_destroy(struct vhost *vhost);

/*
 * In the process whose memory @mem is, before any other use: that is what the rings of all pairs
 * may speak of. 0 or -errno.
 */
int vhost_own(struct vhost *vhost, const struct mem *mem);

/* Moves frames between @rings (receive, transmit) and the tap from now on. 0 or -errno. */
int vhost_start(struct vhost *vhost, unsigned int pair, uint64_t features,
		const struct vhost_ring rings[2], int tap_fd);

/*
 * When it returns, the kernel does not touch the rings any more. vhost_start() goes on
 * where it stopped, after vhost_forget() at the beginning, as after a reset.
 */
void vhost_stop(struct vhost *vhost, unsigned int pair);
void vhost_forget(struct vhost *vhost, unsigned int pair);

/* Interrupts of ring @ring (0, 1) go to another eventfd. */
void vhost_set_call(struct vhost *vhost, unsigned int pair, unsigned int ring, int call_fd);

#endif
