// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tap interfaces, and macvtaps that somebody else has opened.
 *
 * The kernel's queue is the buffer: frames are read only when there is a place for
 * them, and a tap is watched only then, so that frames that nobody wants cost nothing.
 * Checksum and segmentation work is passed through in the header that tap
 * and virtio share; what the kernel can do is found out by asking it.
 *
 * The guest's link is up while the interface is (link.h).
 *
 * Source: Documentation/networking/tuntap.rst (Linux 6.1), linux/if_tun.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "event.h"
#include "io.h"
#include "iov.h"
#include "net/link.h"
#include "net/net.h"
#include "util.h"

#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define MAX_IOV	    1024u
#define DEFAULT_MTU 1500u
#define PATIENCE_NS 1000000000ull /* with who has the interface */

struct tap_queue {
	struct tap *tap;
	int fd;
	int watch;
	bool reads, writes; /* what is waited for */
};

struct tap {
	struct net net;
	char ifname[IFNAMSIZ];
	bool has_header; /* frames come with a virtio header */
	bool multi_queue;
	struct tap_queue queues[NET_MAX_QUEUES];
	unsigned int nr_open;
	struct link link; /* closed: the interface is in another network namespace */
};

static void on_tap(void *arg, uint32_t events);

static void tap_update_watch(struct tap_queue *q)
{
	struct tap *tap = q->tap;
	uint32_t events = (q->reads ? EPOLLIN : 0) | (q->writes ? EPOLLOUT : 0);

	if (q->watch >= 0)
		event_modify(tap->net.loop, q->watch, events);
	else if (events)
		q->watch = event_add(tap->net.loop, q->fd, events, on_tap, q);
}

static void on_tap(void *arg, uint32_t events)
{
	struct tap_queue *q = arg;
	struct net *net = &q->tap->net;
	unsigned int i = (unsigned int)(q - q->tap->queues);

	if (events & EPOLLOUT && q->writes) {
		q->writes = false;
		tap_update_watch(q);
		net_writable(net, i);
	}
	if (events & EPOLLIN && q->reads)
		net_readable(net, i);
	/* The interface is gone, or this queue is detached: that would be told for ever. */
	if (events & (EPOLLERR | EPOLLHUP)) {
		event_remove(net->loop, q->watch);
		q->watch = -1;
		q->reads = q->writes = false; /* for the case that it is attached again */
		net_writable(net, i);
	}
}

static void tap_watch(struct net *net, unsigned int queue, bool on)
{
	struct tap_queue *q = &((struct tap *)net)->queues[queue];

	if (q->reads == on)
		return;
	q->reads = on;
	tap_update_watch(q);
}

static ssize_t tap_recv(struct net *net, unsigned int queue, const struct iovec *iov,
			unsigned int nr)
{
	static const uint8_t zeros[NET_HEADER_BYTES];
	struct tap *tap = (struct tap *)net;
	struct iovec part[MAX_IOV];
	ssize_t n;

	if (tap->has_header) {
		n = read_iov(tap->queues[queue].fd, iov, nr, NO_OFFSET);
	} else {
		unsigned int k = iov_part(iov, nr, NET_HEADER_BYTES, NET_MAX_FRAME_BYTES, part);

		n = read_iov(tap->queues[queue].fd, part, k, NO_OFFSET);
		if (n > 0)
			n += iov_write(iov, nr, 0, zeros, sizeof(zeros));
	}
	if (n >= (ssize_t)(NET_HEADER_BYTES + NET_MIN_FRAME_BYTES))
		return n;
	if (n >= 0)
		return -EAGAIN;
	n = -errno;
	if (n == -EBADFD || n == -ENODEV) {
		net_set_link(net, false); /* the interface is gone */
		return -EAGAIN;
	}
	return n;
}

static int tap_send(struct net *net, unsigned int queue, const struct iovec *iov, unsigned int nr)
{
	struct tap *tap = (struct tap *)net;
	struct tap_queue *q = &tap->queues[queue];
	unsigned int skip = tap->has_header ? 0 : 1;
	int err;

	if (write_iov(q->fd, iov + skip, nr - skip, NO_OFFSET) >= 0)
		return 0;
	err = errno;
	if (err == EAGAIN && !q->writes) {
		q->writes = true;
		tap_update_watch(q);
	}
	return -err;
}

/* Queues that the guest does not use must not be given frames. */
static int tap_set_queues(struct net *net, unsigned int nr)
{
	struct tap *tap = (struct tap *)net;

	for (unsigned int i = 1; i < tap->nr_open; i++) {
		struct ifreq ifr = { .ifr_flags = i < nr ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

		/* EINVAL: it is so already. */
		if (ioctl(tap->queues[i].fd, TUNSETQUEUE, &ifr) && errno != EINVAL)
			return -errno;
	}
	return 0;
}

static int tap_set_offloads(struct net *net, unsigned int flags)
{
	struct tap *tap = (struct tap *)net;

	if (!tap->has_header)
		return 0;
	for (unsigned int i = 0; i < tap->nr_open; i++)
		if (ioctl(tap->queues[i].fd, TUNSETOFFLOAD, (unsigned long)flags))
			return -errno;
	return 0;
}

static int tap_queue_fd(struct net *net, unsigned int queue)
{
	return ((struct tap *)net)->queues[queue].fd;
}

static void tap_destroy(struct net *net)
{
	struct tap *tap = (struct tap *)net;

	for (unsigned int i = 0; i < tap->nr_open; i++) {
		event_remove(net->loop, tap->queues[i].watch);
		close(tap->queues[i].fd);
	}
	link_close(&tap->link);
	free(tap);
}

static const struct net_ops tap_ops = {
	.recv = tap_recv,
	.send = tap_send,
	.set_queues = tap_set_queues,
	.set_offloads = tap_set_offloads,
	.watch = tap_watch,
	.queue_fd = tap_queue_fd,
	.destroy = tap_destroy,
};

/* ---- the interface ---- */

/* Reads (@set: writes) one of the interface's properties. 0 or -errno. */
static int interface_ioctl(struct tap *tap, unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int rc = 0;

	if (fd < 0)
		return -errno;
	memcpy(ifr->ifr_name, tap->ifname, IFNAMSIZ);
	if (ioctl(fd, request, ifr))
		rc = -errno;
	close(fd);
	return rc;
}

static void tap_on_link(void *arg, bool up)
{
	net_set_link(arg, up);
}

/* ---- opening ---- */

static int tap_refuse(const struct net_config *config, const char *object, const char *reason,
		      const char *advice)
{
	log_error("%s: %s: %s%s%s", config->name, object, reason, advice ? "\n" : "",
		  advice ? advice : "");
	return -EINVAL;
}

static int refuse_interface(const struct net_config *config, const char *ifname, int error)
{
	char advice[200] = "";

	if (error == EPERM)
		snprintf(advice, sizeof(advice),
			 "it is not yours, or it does not exist and you may not create "
			 "it. Try: sudo ip tuntap add %s mode tap user $USER",
			 ifname);
	else if (error == EBUSY)
		snprintf(advice, sizeof(advice), "another process has it.");
	else if (error == EINVAL)
		snprintf(advice, sizeof(advice), "it exists but is no tap, or was made with other flags.");
	return tap_refuse(config, *ifname ? ifname : "tap", strerror(error), *advice ? advice : NULL);
}

static int add_queue(struct tap *tap, int fd)
{
	struct tap_queue *q = &tap->queues[tap->nr_open];

	*q = (struct tap_queue){ .tap = tap, .fd = fd, .watch = -1 };
	tap->nr_open++;
	return 0;
}

static int open_tun(const struct net_config *config)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	tap_refuse(config, "/dev/net/tun", strerror(errno),
		   (errno == ENOENT || errno == ENODEV) ?
			   "the module tun is not loaded, or the container lacks --device /dev/net/tun." :
			   NULL);
	return -EINVAL;
}

/* TUNSETIFF, after a moment for one who has it and has just been killed. */
static int set_interface(int fd, struct ifreq *ifr)
{
	uint64_t deadline = now_ns() + PATIENCE_NS;
	int rc;

	do
		rc = ioctl(fd, TUNSETIFF, ifr);
	while (rc && errno == EBUSY && wait_a_moment(deadline));
	return rc;
}

/* Opens one more queue of the interface, which is created if need and right be. */
static int attach(struct tap *tap, const struct net_config *config)
{
	struct ifreq ifr = { 0 };
	int fd = open_tun(config);

	if (fd < 0)
		return fd;
	memcpy(ifr.ifr_name, tap->ifname, IFNAMSIZ);
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (tap->multi_queue)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	if (set_interface(fd, &ifr)) {
		int err = errno;

		close(fd);
		/* An interface of several queues has to be opened as such. */
		if (err == EINVAL && !tap->multi_queue) {
			tap->multi_queue = true;
			return attach(tap, config);
		}
		return refuse_interface(config, tap->ifname, err);
	}
	memcpy(tap->ifname, ifr.ifr_name, IFNAMSIZ);
	return add_queue(tap, fd);
}

static unsigned int wanted_queues(const struct tap *tap, const struct net_config *config)
{
	if (config->queues)
		return config->queues;
	return tap->multi_queue ? (unsigned int)min_u64(config->cpus, NET_MAX_QUEUES) : 1;
}

/* An interface that is ours alone is of no use until it is up. */
static int bring_up(struct tap *tap, const struct net_config *config)
{
	struct ifreq ifr = { .ifr_mtu = (int)config->mtu };
	int rc = 0;

	if (config->mtu)
		rc = interface_ioctl(tap, SIOCSIFMTU, &ifr);
	if (!rc)
		rc = interface_ioctl(tap, SIOCGIFFLAGS, &ifr);
	ifr.ifr_flags |= IFF_UP;
	if (!rc)
		rc = interface_ioctl(tap, SIOCSIFFLAGS, &ifr);
	if (rc)
		return tap_refuse(config, tap->ifname, strerror(-rc), NULL);
	log_notice("%s: created interface %s", config->name, tap->ifname);
	return 0;
}

static int open_by_name(struct tap *tap, const struct net_config *config)
{
	bool existed;
	int rc = 0;

	if (config->tapif && strlen(config->tapif) >= IFNAMSIZ)
		return tap_refuse(config, config->tapif, "the name of an interface has at most 15 characters",
				  NULL);
	strcpy(tap->ifname, config->tapif ? config->tapif : "lkvm%d");
	existed = config->tapif && if_nametoindex(config->tapif);
	tap->multi_queue = config->queues > 1;
	do
		rc = attach(tap, config);
	while (!rc && tap->nr_open < wanted_queues(tap, config));
	if (!rc && !existed)
		rc = bring_up(tap, config);
	return rc;
}

/* What was inherited: a queue of a tap or macvtap. */
static int open_by_fd(struct tap *tap, const struct net_config *config)
{
	struct ifreq ifr = { 0 };
	char number[16];
	int fd;

	snprintf(number, sizeof(number), "fd %d", config->fd);
	if (ioctl(config->fd, TUNGETIFF, &ifr))
		return tap_refuse(config, number,
				  errno == EBADF ? strerror(errno) : "not a tap or macvtap",
				  "it has to be opened by the program that starts lkvm.");
	if (!(ifr.ifr_flags & IFF_TAP) || !(ifr.ifr_flags & IFF_NO_PI))
		return tap_refuse(config, number, "not a tap without packet information (IFF_TAP | IFF_NO_PI)",
				  NULL);
	/*
	 * The number is the parent's choice. O_NONBLOCK is set for the parent's descriptor as well: a
	 * queue cannot be opened again, and whoever read it beside us would take the guest's frames.
	 */
	fd = fcntl(config->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)) {
		int err = errno;

		if (fd >= 0)
			close(fd);
		return tap_refuse(config, number, strerror(err), NULL);
	}
	memcpy(tap->ifname, ifr.ifr_name, IFNAMSIZ);
	return add_queue(tap, fd);
}

static void find_offloads(struct tap *tap)
{
	static const unsigned int sets[] = {
		TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6,
		TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
		TUN_F_CSUM,
	};
	int fd = tap->queues[0].fd;

	for (size_t i = 0; i < ARRAY_SIZE(sets) && !tap->net.offloads; i++)
		if (!ioctl(fd, TUNSETOFFLOAD, (unsigned long)sets[i]))
			tap->net.offloads = sets[i];
	ioctl(fd, TUNSETOFFLOAD, 0ul);
	tap->net.sends_offloads = true;
}

static int tap_set_header(struct tap *tap, const struct net_config *config)
{
	unsigned int flags = 0;
	int bytes = NET_HEADER_BYTES;
	struct ifreq ifr = { 0 };

	if (ioctl(tap->queues[0].fd, TUNGETIFF, &ifr))
		return tap_refuse(config, tap->ifname, strerror(errno), NULL);
	flags = (unsigned int)ifr.ifr_flags;
	tap->has_header = flags & IFF_VNET_HDR;
	for (unsigned int i = 0; i < tap->nr_open && tap->has_header; i++)
		if (ioctl(tap->queues[i].fd, TUNSETVNETHDRSZ, &bytes))
			return tap_refuse(config, tap->ifname, strerror(errno), NULL);
	if (tap->has_header)
		find_offloads(tap);
	return 0;
}

static int tap_init(struct tap *tap, const struct net_config *config)
{
	struct ifreq ifr = { 0 };
	int rc = config->mode == NET_MODE_FD ? open_by_fd(tap, config) : open_by_name(tap, config);

	if (!rc)
		rc = tap_set_header(tap, config);
	if (rc)
		return rc;
	tap->net.nr_queues = tap->nr_open;
	tap->net.mtu = config->mtu;
	/* By number it may be in another network namespace, where we cannot look. */
	if (config->mode == NET_MODE_FD)
		tap->net.link_up = true;
	else
		rc = link_open(&tap->link, tap->net.loop, if_nametoindex(tap->ifname), tap_on_link,
			       &tap->net);
	if (!rc && config->mode == NET_MODE_TAP && !config->mtu &&
	    !interface_ioctl(tap, SIOCGIFMTU, &ifr) && ifr.ifr_mtu != DEFAULT_MTU)
		tap->net.mtu = (unsigned int)ifr.ifr_mtu;
	if (!rc)
		rc = tap_set_queues(&tap->net, 1);
	if (rc)
		return tap_refuse(config, tap->ifname, strerror(-rc), NULL);
	if (!tap->net.link_up)
		log_notice("%s: %s is down, so the guest's link is down\nTry: ip link set %s up",
			   config->name, tap->ifname, tap->ifname);
	return 0;
}

int net_tap_open(struct net **out, struct event_loop *loop, const struct net_config *config)
{
	struct tap *tap = calloc(1, sizeof(*tap));
	int rc;

	if (!tap)
		return log_enomem(config->name);
	tap->net = (struct net){
		.ops = &tap_ops,
		.name = config->name,
		.loop = loop,
		.repeats = true,
	};
	tap->link = (struct link)LINK_CLOSED;
	rc = tap_init(tap, config);
	if (rc) {
		tap_destroy(&tap->net);
		return rc;
	}
	*out = &tap->net;
	return 0;
}
