// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile driver of a virtio device: registers, PCI configuration and MSI-X, rings and
 * requests. The input is a program of register accesses and writes to guest memory; some
 * of its operations set up a queue or a chain properly, so that what is behind the
 * first checks is reached, too. After each program the device has to be what it was: it is
 * reset and brought up again.
 */
#include "tests/fuzz/device.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <sys/socket.h>

#include "bus.h"
#include "disk/aio.h"
#include "disk/disk.h"
#include "event.h"
#include "mem.h"
#include "net/net.h"
#include "pci.h"
#include "sandbox/sandbox.h"
#include "state.h"
#include "util.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/device.h"
#include "virtio/mmio.h"
#include "virtio/net.h"
#include "virtio/pci.h"
#include "virtio/port.h"
#include "virtio/rng.h"
#include "x86/layout.h"

static const struct pci_places pci_places = LAYOUT_PCI_PLACES;

#define RAM	       MIB(2)
#define RINGS	       0x10000 /* of queue n at n * RING_STEP */
#define RING_STEP      0x4000
#define RING_SIZE      16u
#define DISK	       KIB(64)
#define MAX_OPERATIONS 400u

/* Once for all: making rings takes longer than the rest. */
static struct event_loop *the_loop;
static struct aio *the_aio;
static struct sandbox unconfined; /* off */

struct rig {
	struct event_loop *loop;
	struct mem *mem;
	struct bus pio, mmio;
	struct pci pci;
	struct aio *aio;
	struct disk *disk;
	struct blk *blk;
	struct virtio_net *net;
	struct console *console;
	struct port *port;
	struct rng *rng;
	struct virtio_device *dev;
	struct virtio_pci *vp;
	struct virtio_mmio *vt;
	uint64_t bar0, bar1, io;
	int disk_fd, wire[2];
};

/* ---- a network that always has a frame, but for failures and refusals now and then ---- */

static unsigned int reads, sends;

static ssize_t have_frame(struct net *net, unsigned int queue, const struct iovec *iov, unsigned int nr)
{
	size_t bytes = 0;

	(void)net;
	(void)queue;
	if (++reads % 7 == 0)
		return -EIO;
	for (unsigned int i = 0; i < nr; i++) {
		size_t n = min_u64(iov[i].iov_len, 300 - bytes);

		memset(iov[i].iov_base, 2, n); /* each byte has to be ours to write */
		bytes += n;
	}
	return bytes >= 64 ? (ssize_t)bytes : -EAGAIN;
}

static int take_frame(struct net *net, unsigned int queue, const struct iovec *iov, unsigned int nr)
{
	static volatile uint8_t sum;

	(void)net;
	(void)queue;
	if (++sends % 5 == 0)
		return -EAGAIN;
	for (unsigned int i = 0; i < nr; i++)
		for (size_t k = 0; k < iov[i].iov_len; k += 509)
			sum = (uint8_t)(sum + ((const uint8_t *)iov[i].iov_base)[k]);
	return 0;
}

static void watch_frames(struct net *net, unsigned int queue, bool on)
{
	(void)net;
	(void)queue;
	(void)on;
}

static int use_queues(struct net *net, unsigned int nr)
{
	(void)net;
	return nr <= 2 ? 0 : -EINVAL;
}

static int use_offloads(struct net *net, unsigned int flags)
{
	(void)net;
	(void)flags;
	return 0;
}

static const struct net_ops net_ops = {
	.recv = have_frame,
	.send = take_frame,
	.watch = watch_frames,
	.set_queues = use_queues,
	.set_offloads = use_offloads,
};

static struct net network = {
	.ops = &net_ops,
	.name = "net0",
	.nr_queues = 2,
	.offloads = 0x1f,
	.sends_offloads = true,
	.link_up = true,
};

/* ---- the machine ---- */

static void create_device(struct rig *r, enum device_kind kind)
{
	static const uint8_t zeros[DISK];
	const struct blk_config blk = { .name = "vda", .serial = "S", .queues = 2 };
	const struct virtio_net_params net = { .name = "net0" };
	struct port_config port = { .kind = PORT_FD, .name = "a" };
	char path[32];

	switch (kind) {
	case DEVICE_BLK:
		r->disk_fd = memory_file(zeros, sizeof(zeros), path);
		r->aio = the_aio;
		must(!disk_open(&r->disk, r->aio,
				&(struct disk_config){ .path = path, .format = DISK_FORMAT_RAW }));
		must(!blk_create(&r->blk, r->loop, r->mem, r->disk, &blk));
		r->dev = blk_device(r->blk);
		break;
	case DEVICE_NET:
		network.loop = r->loop;
		network.refused = reads = sends = 0;
		must(!virtio_net_create(&r->net, r->loop, r->mem, &network, &net));
		r->dev = virtio_net_device(r->net);
		break;
	case DEVICE_CONSOLE:
		must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, r->wire));
		port.fd = r->wire[0];
		must(!port_create(&r->port, r->loop, &port));
		must(!console_create(&r->console, r->loop, r->mem, NULL, &r->port, 1));
		r->dev = console_device(r->console);
		break;
	case DEVICE_RNG:
		must(!rng_create(&r->rng, r->loop, r->mem, 0));
		r->dev = rng_device(r->rng);
		break;
	}
}

static uint32_t config_in(struct rig *r, uint32_t reg)
{
	uint32_t v = 0;

	bus_read(&r->mmio, LAYOUT_ECAM + 0x8000 + reg, &v, 4);
	return v;
}

static void find_bars(struct rig *r)
{
	if (!r->vp)
		return;
	r->bar0 = config_in(r, PCI_BASE_ADDRESS_0) & ~15u;
	r->bar1 = config_in(r, PCI_BASE_ADDRESS_1) & ~15u;
	r->io = config_in(r, PCI_BASE_ADDRESS_2) & ~3u;
}

static void create(struct rig *r, enum device_kind kind, bool is_pci)
{
	memset(r, 0, sizeof(*r));
	r->disk_fd = r->wire[0] = r->wire[1] = -1;
	if (!the_loop)
		must(!event_loop_create(&the_loop) && !aio_create(&the_aio, the_loop, AIO_THREADS, 16) &&
		     aio_start(the_aio, &unconfined) > 0);
	r->loop = the_loop;
	must(!mem_create(&r->mem, RAM));
	bus_init(&r->pio);
	bus_init(&r->mmio);
	must(!pci_init(&r->pci, &pci_places, NULL, &r->pio, &r->mmio));
	create_device(r, kind);
	if (is_pci)
		must(!virtio_pci_create(&r->vp, r->dev, &r->pci, NULL));
	else
		must(!virtio_mmio_create(&r->vt, r->dev, &r->mmio, NULL, LAYOUT_VIRTIO_MMIO, 5));
	r->bar0 = LAYOUT_VIRTIO_MMIO;
	find_bars(r);
}

static void destroy(struct rig *r)
{
	virtio_pci_destroy(r->vp);
	virtio_mmio_destroy(r->vt);
	blk_destroy(r->blk);
	virtio_net_destroy(r->net);
	console_destroy(r->console);
	rng_destroy(r->rng);
	port_destroy(r->port);
	disk_close(r->disk);
	pci_fini(&r->pci);
	bus_fini(&r->mmio);
	bus_fini(&r->pio);
	mem_destroy(r->mem);
	for (unsigned int i = 0; i < 2; i++)
		if (r->wire[i] >= 0)
			close(r->wire[i]);
	if (r->disk_fd >= 0)
		close(r->disk_fd);
}

static void out(struct rig *r, uint64_t addr, uint64_t v, unsigned int size)
{
	bus_write(&r->mmio, addr, &v, size);
}

/* The same register on both transports. */
static void set(struct rig *r, uint32_t pci_reg, unsigned int pci_size, uint32_t mmio_reg, uint32_t v)
{
	out(r, r->bar0 + (r->vp ? pci_reg : mmio_reg), v, r->vp ? pci_size : 4);
}

static uint32_t status(struct rig *r)
{
	uint32_t v = 0;

	bus_read(&r->mmio, r->bar0 + (r->vp ? VIRTIO_PCI_COMMON_STATUS : VIRTIO_MMIO_STATUS), &v,
		 r->vp ? 1 : 4);
	return v;
}

static void set_status(struct rig *r, uint32_t v)
{
	set(r, VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_MMIO_STATUS, v);
}

static void kick(struct rig *r, unsigned int queue)
{
	struct virtio_device *dev = r->dev;

	/* No loop is running: what the eventfd would start is started here. */
	if (queue < dev->nr_queues && dev->running && dev->queues[queue].ring.state.enabled)
		dev->ops->kick(dev, queue);
}

static void settle(struct rig *r)
{
	if (r->aio)
		aio_drain(r->aio);
	event_run_deferred(r->loop);
}

/* As a driver would: all queues, then DRIVER_OK. */
static void bring_up(struct rig *r, uint64_t features)
{
	if (r->vp) {
		out(r, LAYOUT_ECAM + 0x8000 + PCI_COMMAND, 7, 2);
		find_bars(r);
	}
	set_status(r, 0);
	set_status(r, 3);
	for (uint32_t i = 0; i < 2; i++) {
		set(r, VIRTIO_PCI_COMMON_GFSELECT, 4, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		set(r, VIRTIO_PCI_COMMON_GF, 4, VIRTIO_MMIO_DRIVER_FEATURES,
		    (uint32_t)((features & r->dev->offered) >> 32 * i) | i);
	}
	set_status(r, 11);
	memset(mem_ptr(r->mem, RINGS, 0x40000), 0, 0x40000);
	for (uint32_t q = 0; q < r->dev->nr_queues; q++) {
		uint32_t at = RINGS + q * RING_STEP;

		set(r, VIRTIO_PCI_COMMON_Q_SELECT, 2, VIRTIO_MMIO_QUEUE_SEL, q);
		set(r, VIRTIO_PCI_COMMON_Q_SIZE, 2, VIRTIO_MMIO_QUEUE_NUM, RING_SIZE);
		set(r, VIRTIO_PCI_COMMON_Q_DESCLO, 4, VIRTIO_MMIO_QUEUE_DESC_LOW, at);
		set(r, VIRTIO_PCI_COMMON_Q_AVAILLO, 4, VIRTIO_MMIO_QUEUE_AVAIL_LOW, at + 0x1000);
		set(r, VIRTIO_PCI_COMMON_Q_USEDLO, 4, VIRTIO_MMIO_QUEUE_USED_LOW, at + 0x2000);
		set(r, VIRTIO_PCI_COMMON_Q_ENABLE, 2, VIRTIO_MMIO_QUEUE_READY, 1);
	}
	set_status(r, 15);
}

/* A descriptor whose fields are mostly sensible, and perhaps a new entry of the ring. */
static void describe(struct rig *r, struct input *in)
{
	uint32_t at = RINGS + (uint32_t)take(in, 1) % 8 * RING_STEP;
	uint32_t index = (uint32_t)take(in, 1), flags = (uint32_t)take(in, 1);
	uint64_t addr = take(in, 3), len = take(in, 2);
	struct vring_desc d = { addr % (RAM + 4096), (uint32_t)len, flags & 7, (uint16_t)(index / 16) };
	struct vring_avail *avail = mem_ptr(r->mem, at + 0x1000, 64);

	if (flags & 0x80)
		d.addr |= take(in, 1) << 56;
	if (flags & 0x40)
		d.len |= (uint32_t)take(in, 2) << 16;
	mem_write(r->mem, at + index % RING_SIZE * 16, &d, sizeof(d));
	if (flags & 0x20) {
		avail->ring[avail->idx % RING_SIZE] = (uint16_t)(index % RING_SIZE);
		avail->idx++;
	}
}

static void write_memory(struct rig *r, struct input *in)
{
	uint64_t addr = take(in, 3) % RAM, n = take(in, 1) % 64;

	n = min_u64(n, in->left);
	mem_write(r->mem, addr, in->data, n);
	in->data += n;
	in->left -= n;
}

static void operate(struct rig *r, struct input *in)
{
	static const uint8_t sizes[] = { 1, 2, 4, 8 };
	unsigned int op = (unsigned int)take(in, 1), size = sizes[op >> 4 & 3];
	uint64_t at, v = 0;

	switch (op & 15) {
	case 0:
		at = take(in, 2);
		out(r, r->bar0 + at % 0x4000, take(in, size), size);
		break;
	case 1: bus_read(&r->mmio, r->bar0 + take(in, 2) % 0x4000, &v, size); break;
	case 2:
		at = take(in, 2);
		out(r, r->bar1 + at % 0x1000, take(in, size), size);
		break;
	case 3:
		at = take(in, 2);
		v = take(in, size);
		bus_write(&r->pio, r->io + at % 64, &v, size & 7);
		break;
	case 4:
		at = take(in, 2);
		out(r, LAYOUT_ECAM + 0x8000 + at % 4096, take(in, size), size);
		find_bars(r);
		break;
	case 5: bus_read(&r->mmio, LAYOUT_ECAM + take(in, 3) % LAYOUT_ECAM_SIZE, &v, size); break;
	case 6:
		at = 0xcf8 + take(in, 1) % 8;
		v = take(in, 4);
		bus_write(&r->pio, at, &v, size & 7);
		break;
	case 7:
		at = 0xcf8 + take(in, 1) % 8;
		bus_read(&r->pio, at, &v, size & 7);
		break;
	case 8: bring_up(r, take(in, 8)); break;
	case 9:
	case 10:
	case 11: describe(r, in); break;
	case 12: write_memory(r, in); break;
	case 13: kick(r, (unsigned int)take(in, 1)); break;
	case 14: set_status(r, (uint32_t)take(in, 1)); break;
	default:
		/* Input for a port; its socket is full at times. */
		if (r->wire[1] >= 0)
			must(write(r->wire[1], in->data, min_u64(in->left, 16)) >= 0 || errno == EAGAIN);
		if (r->net) {
			unsigned int queue = (unsigned int)take(in, 1) & 1;

			net_readable(&network, queue);
			net_writable(&network, queue);
		}
		break;
	}
	settle(r);
}

void fuzz_device(enum device_kind kind, bool is_pci, struct input in)
{
	struct rig r;

	log_set_level(LOG_ERROR);
	create(&r, kind, is_pci);
	for (unsigned int i = 0; i < MAX_OPERATIONS && in.left; i++)
		operate(&r, &in);
	/* It has to work again. Its BARs may be anywhere; a configuration that hides them too. */
	if (!r.vp || (r.bar0 >= 0xc0000000 && r.bar0 < LAYOUT_VIRTIO_MMIO)) {
		bring_up(&r, ~0ull);
		settle(&r);
		if (!r.vp)
			must(status(&r) == 15);
	}
	set_status(&r, 0);
	settle(&r);
	destroy(&r);
}

/* ---- snapshots ---- */

#define STATE_ROOM KIB(64)

static void carry(struct rig *r, struct state *s)
{
	pci_carry(&r->pci, s);
	virtio_carry(r->dev, s, 0);
	if (r->vp)
		virtio_pci_carry(r->vp, s);
	else
		virtio_mmio_carry(r->vt, s);
}

static size_t save_state(struct rig *r, uint8_t *bytes)
{
	struct state s;

	virtio_freeze(r->dev);
	settle(r);
	state_init_save(&s, bytes, STATE_ROOM);
	carry(r, &s);
	must(!state_end(&s));
	return s.used;
}

/* A machine with that memory and state, if it is taken. It has to survive what follows. */
static bool load_state(struct rig *r, const uint8_t *ram, const uint8_t *bytes, size_t nr)
{
	struct state s;

	mem_write(r->mem, 0, ram, RAM);
	state_init_load(&s, bytes, nr);
	carry(r, &s);
	return !state_end(&s);
}

static void go_on(struct rig *r, struct input *in)
{
	virtio_thaw(r->dev, true);
	for (unsigned int q = 0; q < r->dev->nr_queues; q++)
		kick(r, q);
	settle(r);
	find_bars(r);
	for (unsigned int i = 0; i < MAX_OPERATIONS / 4 && in->left; i++)
		operate(r, in);
	set_status(r, 0);
	settle(r);
}

void fuzz_state(enum device_kind kind, bool is_pci, struct input in)
{
	static uint8_t first[STATE_ROOM], again[STATE_ROOM], ram[RAM];
	struct input program = { in.data, in.left / 2 };
	struct rig r;
	size_t nr;

	in.data += program.left;
	in.left -= program.left;
	log_set_level(LOG_ERROR);
	create(&r, kind, is_pci);
	for (unsigned int i = 0; i < MAX_OPERATIONS && program.left; i++)
		operate(&r, &program);
	nr = save_state(&r, first);
	mem_read(r.mem, 0, ram, RAM);
	destroy(&r);

	create(&r, kind, is_pci);
	must(load_state(&r, ram, first, nr));
	must(save_state(&r, again) == nr && !memcmp(first, again, nr));
	destroy(&r);

	while (in.left >= 3 && in.data[0] & 1) {
		take(&in, 1);
		first[take(&in, 2) % nr] ^= (uint8_t)take(&in, 1);
	}
	create(&r, kind, is_pci);
	if (load_state(&r, ram, first, nr))
		go_on(&r, &in);
	destroy(&r);
}
