// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtio network device: its life, features, control queue and, with vhost, the
 * hand-over of its queues to the host's kernel. Frames are moved by net-rx.c and
 * net-tx.c, one of each for a pair of queues; net-filter.c says which are wanted.
 *
 * Everything runs on the event loop's thread. Interrupts and the wish for kicks are
 * deferred to the end of the loop's round.
 *
 * Source: virtio 1.2 §5.1. Not here: RSS, hash reports, notification coalescing,
 * announcements, legacy headers.
 */
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "event.h"
#include "iov.h"
#include "net/net.h"
#include "net/vhost.h"
#include "state.h"
#include "util.h"
#include "virtio/device.h"
#include "virtio/net-filter.h"
#include "virtio/net-rx.h"
#include "virtio/net-tx.h"
#include "virtio/net.h"

#ifndef VIRTIO_NET_F_GUEST_USO4 /* Linux 6.2 */
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO	56
#endif
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define PCI_CLASS  0x020000 /* Ethernet controller */
#define SPEED_MBPS 10000u
#define BUDGET	   64u /* commands before others have their turn */

struct virtio_net {
	struct virtio_device dev; /* first: virtio_ops hand it back */
	struct net *net;
	unsigned int nr_pairs;
	uint8_t mac[NET_MAC_BYTES]; /* as configured */
	/* What the guest can observe, apart from queues and configuration. */
	struct {
		unsigned int active_pairs;
		unsigned int control; /* index of the control queue; 0: none */
		struct net_filter filter;
		uint64_t offloads; /* features that frames may need, which it can narrow */
	} state;
	struct net_rx *rx; /* of each pair */
	struct net_tx *tx;
	struct event_deferred control_finish;
	/* With vhost: who interrupts for the kernel when it cannot, and hears of its errors. */
	struct lent {
		struct virtio_net *vn;
		unsigned int queue;
		int call_fd, call_watch;
	} * lent; /* one for each queue of a pair */
	int error_fd, error_watch;
};

static struct virtq *virtio_net_ring(struct virtio_net *vn, unsigned int queue)
{
	return &vn->dev.queues[queue].ring;
}

/* ---- queues that the host's kernel serves ---- */

static void on_lent_call(void *arg, uint32_t events)
{
	struct lent *lent = arg;

	(void)events;
	virtio_notify_detached(&lent->vn->dev, lent->queue);
}

static struct vhost_ring vhost_ring(struct virtio_net *vn, unsigned int queue)
{
	const struct virtq *q = virtio_net_ring(vn, queue);
	int call_fd = virtio_detach_queue(&vn->dev, queue);

	return (struct vhost_ring){
		.size = q->state.setup.size,
		.desc = q->desc,
		.avail = q->avail,
		.used = q->used,
		.kick_fd = vn->dev.queues[queue].kick_fd,
		.call_fd = call_fd >= 0 ? call_fd : vn->lent[queue].call_fd,
		.error_fd = vn->error_fd,
	};
}

static void stop_vhost(struct virtio_net *vn, unsigned int pair)
{
	vhost_stop(vn->net->vhost, pair);
	virtio_attach_queue(&vn->dev, 2 * pair);
	virtio_attach_queue(&vn->dev, 2 * pair + 1);
}

static void on_lent_error(void *arg, uint32_t events)
{
	struct virtio_net *vn = arg;

	(void)events;
	eventfd_clear(vn->error_fd);
	for (unsigned int i = 0; i < vn->nr_pairs; i++)
		stop_vhost(vn, i);
	if (vn->dev.running)
		virtio_set_needs_reset(&vn->dev, "vhost: a malformed ring");
}

static void start_vhost(struct virtio_net *vn, unsigned int pair)
{
	struct vhost_ring rings[2];
	int rc;

	if (!virtio_net_ring(vn, 2 * pair)->state.enabled || !virtio_net_ring(vn, 2 * pair + 1)->state.enabled)
		return;
	for (unsigned int i = 0; i < 2; i++)
		rings[i] = vhost_ring(vn, 2 * pair + i);
	rc = vhost_start(vn->net->vhost, pair, vn->dev.accepted, rings,
			 net_queue_fd(vn->net, pair));
	if (rc) {
		stop_vhost(vn, pair);
		log_guest(&vn->dev.log_limit, "%s: vhost: %s", vn->dev.name, strerror(-rc));
		virtio_set_needs_reset(&vn->dev, "the host's kernel does not take its queues");
	}
}

static void virtio_net_irqs_changed(struct virtio_device *dev)
{
	struct virtio_net *vn = (struct virtio_net *)dev;

	for (unsigned int i = 0; i < 2 * vn->state.active_pairs; i++) {
		int fd = virtio_irq_fd(dev, i);

		vhost_set_call(vn->net->vhost, i / 2, i % 2, fd >= 0 ? fd : vn->lent[i].call_fd);
	}
}

static int init_lent(struct virtio_net *vn, unsigned int queue)
{
	struct lent *lent = &vn->lent[queue];

	*lent = (struct lent){ .vn = vn, .queue = queue, .call_watch = -1 };
	lent->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (lent->call_fd < 0)
		return -errno;
	lent->call_watch = event_add(vn->dev.loop, lent->call_fd, EPOLLIN | EPOLLET, on_lent_call,
				     lent);
	return lent->call_watch < 0 ? lent->call_watch : 0;
}

static int init_vhost(struct virtio_net *vn, const struct mem *mem)
{
	int rc = 0;

	vn->lent = calloc(2ul * vn->nr_pairs, sizeof(*vn->lent));
	if (!vn->lent)
		return -ENOMEM;
	for (unsigned int i = 0; i < 2 * vn->nr_pairs; i++)
		vn->lent[i].call_fd = vn->lent[i].call_watch = -1;
	for (unsigned int i = 0; i < 2 * vn->nr_pairs && !rc; i++)
		rc = init_lent(vn, i);
	vn->error_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!rc && vn->error_fd < 0)
		rc = -errno;
	if (!rc)
		rc = vn->error_watch = event_add(vn->dev.loop, vn->error_fd, EPOLLIN,
						 on_lent_error, vn);
	return rc < 0 ? rc : vhost_own(vn->net->vhost, mem);
}

static void fini_vhost(struct virtio_net *vn)
{
	for (unsigned int i = 0; vn->lent && i < 2 * vn->nr_pairs; i++) {
		event_remove(vn->dev.loop, vn->lent[i].call_watch);
		if (vn->lent[i].call_fd >= 0)
			close(vn->lent[i].call_fd);
	}
	event_remove(vn->dev.loop, vn->error_watch);
	if (vn->error_fd >= 0)
		close(vn->error_fd);
	free(vn->lent);
}

/* ---- the control queue (§5.1.6.5) ---- */

static unsigned int tun_offloads(uint64_t features)
{
	static const struct {
		unsigned int feature, flag;
	} map[] = {
		{ VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM },
		{ VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 },
		{ VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
		{ VIRTIO_NET_F_GUEST_USO4, TUN_F_USO4 },
		{ VIRTIO_NET_F_GUEST_USO6, TUN_F_USO6 },
	};
	unsigned int flags = 0;

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (features >> map[i].feature & 1)
			flags |= map[i].flag;
	/* Without checksums nothing can be segmented later. */
	return flags & TUN_F_CSUM ? flags : 0;
}

static bool set_offloads(struct virtio_net *vn, uint64_t features)
{
	if (features & ~vn->dev.accepted || net_set_offloads(vn->net, tun_offloads(features)))
		return false;
	vn->state.offloads = features;
	return true;
}

static bool set_rx_mode(struct virtio_net *vn, uint8_t command, bool on)
{
	struct net_filter *f = &vn->state.filter;
	bool *const modes[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &f->promiscuous,
		[VIRTIO_NET_CTRL_RX_ALLMULTI] = &f->all_multicast,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &f->all_unicast,
		[VIRTIO_NET_CTRL_RX_NOMULTI] = &f->no_multicast,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &f->no_unicast,
		[VIRTIO_NET_CTRL_RX_NOBCAST] = &f->no_broadcast,
	};

	if (command >= ARRAY_SIZE(modes))
		return false;
	*modes[command] = on;
	return true;
}

/* What was queued while the pair was off is found, too: its kick came too early. */
static void start_pair(struct virtio_net *vn, unsigned int pair)
{
	if (vn->net->vhost) {
		start_vhost(vn, pair);
		return;
	}
	net_rx_start(&vn->rx[pair]);
	net_tx_start(&vn->tx[pair]);
}

static void pause_pair(struct virtio_net *vn, unsigned int pair)
{
	if (vn->net->vhost) {
		stop_vhost(vn, pair);
		return;
	}
	net_rx_pause(&vn->rx[pair]);
	net_tx_stop(&vn->tx[pair]);
	virtio_notify(&vn->dev, 2 * pair + 1); /* nobody tells later what was sent */
}

static bool set_active_pairs(struct virtio_net *vn, uint16_t pairs)
{
	unsigned int before = vn->state.active_pairs;

	if (pairs < 1 || pairs > vn->nr_pairs || net_set_queues(vn->net, pairs))
		return false;
	vn->state.active_pairs = pairs;
	for (unsigned int i = pairs; i < before; i++)
		pause_pair(vn, i);
	for (unsigned int i = before; i < pairs; i++)
		start_pair(vn, i);
	return true;
}

static void set_mac(struct virtio_net *vn, const uint8_t mac[NET_MAC_BYTES])
{
	memcpy(vn->state.filter.mac, mac, NET_MAC_BYTES);
	virtio_set_config(&vn->dev, offsetof(struct virtio_net_config, mac), mac, NET_MAC_BYTES,
			  false);
}

/* A command: class, number, data. True if it was understood and done. */
static bool run_command(struct virtio_net *vn, const struct virtq_chain *c)
{
	struct virtio_net_ctrl_hdr header = { 0 };
	uint32_t bytes = c->readable_bytes;
	uint64_t data = 0; /* all but the tables fit into it */
	bool has_data;

	if (bytes < sizeof(header))
		return false;
	iov_read(c->iov, c->nr_readable, 0, &header, sizeof(header));
	bytes -= (uint32_t)sizeof(header);
	has_data = bytes <= sizeof(data);
	if (has_data)
		iov_read(c->iov, c->nr_readable, sizeof(header), &data, bytes);
	switch (header.class << 8 | header.cmd) {
	case VIRTIO_NET_CTRL_MAC << 8 | VIRTIO_NET_CTRL_MAC_TABLE_SET:
		return net_filter_set_tables(&vn->state.filter, c->iov, c->nr_readable, sizeof(header),
					     c->readable_bytes);
	case VIRTIO_NET_CTRL_MAC << 8 | VIRTIO_NET_CTRL_MAC_ADDR_SET:
		if (bytes != NET_MAC_BYTES)
			return false;
		set_mac(vn, (const uint8_t *)&data);
		return true;
	case VIRTIO_NET_CTRL_VLAN << 8 | VIRTIO_NET_CTRL_VLAN_ADD:
	case VIRTIO_NET_CTRL_VLAN << 8 | VIRTIO_NET_CTRL_VLAN_DEL:
		return bytes == 2 && net_filter_set_vlan(&vn->state.filter, (uint16_t)data,
							 header.cmd == VIRTIO_NET_CTRL_VLAN_ADD);
	case VIRTIO_NET_CTRL_MQ << 8 | VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET:
		return bytes == 2 && virtio_has_feature(&vn->dev, VIRTIO_NET_F_MQ) &&
		       set_active_pairs(vn, (uint16_t)data);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS << 8 | VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET:
		return bytes == 8 && set_offloads(vn, data);
	default:
		return header.class == VIRTIO_NET_CTRL_RX && bytes == 1 &&
		       set_rx_mode(vn, header.cmd, data);
	}
}

static void virtio_net_serve_control(struct virtio_net *vn)
{
	unsigned int budget = BUDGET;
	struct virtq_chain chain;

	virtq_disable_notification(virtio_net_ring(vn, vn->state.control));
	while (budget-- && virtio_pop(&vn->dev, vn->state.control, &chain) > 0) {
		uint8_t ack = run_command(vn, &chain) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
		uint32_t written = iov_write(chain.iov + chain.nr_readable, chain.nr_writable, 0,
					     &ack, sizeof(ack));

		virtq_push(virtio_net_ring(vn, vn->state.control), chain.head, written);
		if (!written) {
			virtio_set_needs_reset(&vn->dev, "a command without room for its answer");
			return;
		}
	}
	event_defer(vn->dev.loop, &vn->control_finish);
}

static void virtio_net_finish_control(void *arg)
{
	struct virtio_net *vn = arg;

	if (!vn->state.control)
		return;
	virtio_notify(&vn->dev, vn->state.control);
	if (vn->dev.running && virtq_enable_notification(virtio_net_ring(vn, vn->state.control)))
		virtio_net_serve_control(vn);
}

/* ---- the device ---- */

/* 0: none. */
static unsigned int virtio_net_control_queue(const struct virtio_net *vn)
{
	if (!virtio_has_feature(&vn->dev, VIRTIO_NET_F_CTRL_VQ))
		return 0;
	return virtio_has_feature(&vn->dev, VIRTIO_NET_F_MQ) ? 2 * vn->nr_pairs : 2;
}

static void virtio_net_start(struct virtio_device *dev)
{
	struct virtio_net *vn = (struct virtio_net *)dev;

	vn->state.control = virtio_net_control_queue(vn);
	vn->state.active_pairs = 1;
	net_filter_reset(&vn->state.filter, vn->mac, virtio_has_feature(dev, VIRTIO_NET_F_CTRL_VLAN));
	set_offloads(vn, dev->accepted);
	start_pair(vn, 0);
}

static void virtio_net_kick(struct virtio_device *dev, unsigned int queue)
{
	struct virtio_net *vn = (struct virtio_net *)dev;

	if (vn->state.control && queue == vn->state.control) {
		virtio_net_serve_control(vn);
		return;
	}
	if (queue / 2 >= vn->nr_pairs || queue / 2 >= vn->state.active_pairs || vn->net->vhost)
		return;
	if (queue % 2)
		net_tx_kick(&vn->tx[queue / 2]);
	else
		net_rx_kick(&vn->rx[queue / 2]);
}

static void virtio_net_stop(struct virtio_device *dev, unsigned int queue)
{
	struct virtio_net *vn = (struct virtio_net *)dev;

	if (queue / 2 >= vn->nr_pairs)
		return;
	if (vn->net->vhost) {
		stop_vhost(vn, queue / 2);
		vhost_forget(vn->net->vhost, queue / 2);
	} else if (queue % 2) {
		net_tx_stop(&vn->tx[queue / 2]);
	} else {
		net_rx_stop(&vn->rx[queue / 2]);
	}
}

static void virtio_net_reset(struct virtio_device *dev)
{
	struct virtio_net *vn = (struct virtio_net *)dev;

	vn->state.control = 0;
	vn->state.active_pairs = 1;
	vn->state.offloads = 0;
	net_set_queues(vn->net, 1);
	net_set_offloads(vn->net, 0);
	set_mac(vn, vn->mac);
}

/* The guest has its address from the one that was saved, whatever the command line says. */
static void virtio_net_carry(struct virtio_device *dev, struct state *s)
{
	struct virtio_net *vn = (struct virtio_net *)dev;
	bool has_driver, has_pairs;

	state_same(s, vn->nr_pairs, "pairs of queues");
	state_count(s, &vn->state.active_pairs, vn->nr_pairs, "more queues than there are");
	state_u64(s, &vn->state.offloads);
	net_filter_carry(&vn->state.filter, s);
	if (!state_loads(s))
		return;
	has_driver = atomic_load(&dev->status) & VIRTIO_CONFIG_S_DRIVER_OK;
	has_pairs = vn->state.active_pairs == 1 ||
		    (vn->state.active_pairs && virtio_has_feature(dev, VIRTIO_NET_F_MQ));
	if (!has_pairs || vn->state.offloads & ~dev->accepted)
		state_refuse(s, "queues or offloads that it cannot have");
	else if (has_driver && vn->net->vhost) /* which begins each ring at its begin */
		state_refuse(s, "vhost cannot go on with what a driver uses");
	if (!state_is_good(s)) {
		vn->state.active_pairs = 1;
		vn->state.offloads = 0;
	} else if (has_driver) {
		memcpy(vn->mac, vn->state.filter.mac, NET_MAC_BYTES);
		set_mac(vn, vn->mac);
	}
}

static void virtio_net_go_on(struct virtio_device *dev)
{
	struct virtio_net *vn = (struct virtio_net *)dev;

	vn->state.control = virtio_net_control_queue(vn);
	if (net_set_queues(vn->net, vn->state.active_pairs) || !set_offloads(vn, vn->state.offloads)) {
		virtio_set_needs_reset(dev, "this network cannot do what the other could");
		return;
	}
	for (unsigned int i = 0; i < vn->state.active_pairs; i++)
		start_pair(vn, i);
}

static const struct virtio_ops net_device_ops = {
	.id = VIRTIO_ID_NET,
	.pci_class = PCI_CLASS,
	.driver = "virtio_net (CONFIG_VIRTIO_NET)",
	.start = virtio_net_start,
	.kick = virtio_net_kick,
	.stop = virtio_net_stop,
	.reset = virtio_net_reset,
	.irqs_changed = virtio_net_irqs_changed,
	.carry = virtio_net_carry,
	.go_on = virtio_net_go_on,
	.holds_chains = true,
};

/* ---- the back end's client ---- */

static void virtio_net_on_readable(void *arg, unsigned int pair)
{
	net_rx_readable(&((struct virtio_net *)arg)->rx[pair]);
}

static void virtio_net_on_writable(void *arg, unsigned int pair)
{
	net_tx_writable(&((struct virtio_net *)arg)->tx[pair]);
}

static void virtio_net_on_link(void *arg, bool up)
{
	struct virtio_net *vn = arg;
	uint16_t status = up ? VIRTIO_NET_S_LINK_UP : 0;

	virtio_set_config(&vn->dev, offsetof(struct virtio_net_config, status), &status,
			  sizeof(status), true);
}

/* ---- life ---- */

#define F(name) (1ull << VIRTIO_NET_F_##name)

static uint64_t virtio_net_features(const struct virtio_net *vn)
{
	const struct net *net = vn->net;
	uint64_t f = F(MAC) | F(STATUS) | F(MRG_RXBUF) | F(CTRL_VQ) | F(CTRL_RX) |
		     F(CTRL_RX_EXTRA) | F(CTRL_VLAN) | F(CTRL_MAC_ADDR) | F(SPEED_DUPLEX);

	/* The kernel does not filter. */
	if (net->vhost)
		f &= ~(F(CTRL_RX) | F(CTRL_RX_EXTRA) | F(CTRL_VLAN));
	if (net->mtu)
		f |= F(MTU);
	if (vn->nr_pairs > 1)
		f |= F(MQ);
	if (net->sends_offloads)
		f |= F(CSUM) | F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_ECN);
	if (net->offloads & TUN_F_USO4) /* a kernel that makes them takes them */
		f |= F(HOST_USO) | F(GUEST_USO4) | F(GUEST_USO6);
	if (net->offloads & TUN_F_CSUM)
		f |= F(GUEST_CSUM) | F(CTRL_GUEST_OFFLOADS);
	if (net->offloads & TUN_F_TSO4)
		f |= F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_ECN);
	return f;
}

static void virtio_net_set_config(struct virtio_net *vn)
{
	struct virtio_net_config c = {
		.status = vn->net->link_up ? VIRTIO_NET_S_LINK_UP : 0,
		.max_virtqueue_pairs = (uint16_t)vn->nr_pairs,
		.mtu = (uint16_t)vn->net->mtu,
		.speed = SPEED_MBPS,
		.duplex = 1,
	};

	memcpy(c.mac, vn->mac, sizeof(c.mac));
	virtio_set_config(&vn->dev, 0, &c, sizeof(c), false);
}

static int virtio_net_init(struct virtio_net *vn, struct event_loop *loop, const struct mem *mem,
			   const struct virtio_net_params *params)
{
	const struct net_client client = {
		.readable = virtio_net_on_readable,
		.writable = virtio_net_on_writable,
		.link = virtio_net_on_link,
		.arg = vn,
	};
	unsigned int pairs = vn->net->nr_queues;
	int rc = 0;

	vn->rx = calloc(pairs, sizeof(*vn->rx));
	vn->tx = calloc(pairs, sizeof(*vn->tx));
	if (!vn->rx || !vn->tx)
		return -ENOMEM;
	vn->nr_pairs = pairs;
	vn->state.active_pairs = 1;
	vn->control_finish = (struct event_deferred){ .fn = virtio_net_finish_control, .arg = vn };
	memcpy(vn->mac, params->mac, sizeof(vn->mac));
	for (unsigned int i = 0; i < pairs && !rc; i++) {
		rc = net_tx_init(&vn->tx[i], &vn->dev, vn->net, i);
		if (!rc)
			rc = net_rx_init(&vn->rx[i], &vn->dev, vn->net, &vn->state.filter, &vn->tx[i], i);
	}
	if (!rc)
		rc = virtio_device_init(&vn->dev, &net_device_ops, params->name, loop, mem,
					2 * pairs + 1, virtio_net_features(vn));
	if (!rc && vn->net->vhost)
		rc = init_vhost(vn, mem);
	if (rc)
		return rc;
	virtio_net_set_config(vn);
	net_set_client(vn->net, &client);
	return 0;
}

int virtio_net_create(struct virtio_net **out, struct event_loop *loop, const struct mem *mem,
		      struct net *net, const struct virtio_net_params *params)
{
	struct virtio_net *vn = calloc(1, sizeof(*vn));
	int rc;

	if (!vn)
		return -ENOMEM;
	vn->net = net;
	vn->dev.loop = loop;
	vn->error_fd = vn->error_watch = -1;
	rc = virtio_net_init(vn, loop, mem, params);
	if (rc) {
		virtio_net_destroy(vn);
		return rc;
	}
	*out = vn;
	return 0;
}

static void virtio_net_report(const struct virtio_net *vn)
{
	unsigned long long sent = 0, received = 0, not_sent = 0, dropped = 0, errors = 0;

	for (unsigned int i = 0; i < vn->nr_pairs; i++) {
		sent += vn->tx[i].sent;
		not_sent += vn->tx[i].errors;
		received += vn->rx[i].received;
		dropped += vn->rx[i].dropped;
		errors += vn->rx[i].errors;
	}
	log_verbose("%s: %llu frames sent, %llu received; %llu not sent, %llu dropped, %llu errors",
		    vn->dev.name, sent, received, not_sent, dropped, errors);
}

void virtio_net_destroy(struct virtio_net *vn)
{
	if (!vn)
		return;
	net_set_client(vn->net, NULL);
	if (vn->dev.ops && vn->dev.had_driver)
		virtio_net_report(vn);
	for (unsigned int i = 0; vn->net->vhost && i < vn->nr_pairs; i++)
		vhost_stop(vn->net->vhost, i);
	virtio_device_fini(&vn->dev);
	fini_vhost(vn);
	for (unsigned int i = 0; i < vn->nr_pairs; i++) {
		net_rx_fini(&vn->rx[i]);
		net_tx_fini(&vn->tx[i]);
	}
	event_undefer(vn->dev.loop, &vn->control_finish);
	free(vn->rx);
	free(vn->tx);
	free(vn);
}

struct virtio_device *virtio_net_device(struct virtio_net *vn)
{
	return &vn->dev;
}
