// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices as bytes and back: what was saved is what is loaded, and saved again it is the same. A file
 * with any bit another, or cut anywhere, is refused or makes a device that works; nothing else.
 */
#include "tests/lib/unit.h"
#include "tests/lib/driver.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/serial_reg.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <sys/eventfd.h>

#include "bus.h"
#include "event.h"
#include "kvm.h"
#include "mem.h"
#include "net/net.h"
#include "pci.h"
#include "state.h"
#include "term.h"
#include "util.h"
#include "virtio/device.h"
#include "virtio/net.h"
#include "virtio/pci.h"
#include "virtio/rng.h"
#include "x86/i8042.h"
#include "x86/layout.h"
#include "x86/rtc.h"
#include "x86/serial.h"

#define RAM	 MIB(1)
#define ROOM	 KIB(64)
#define RNG_SLOT 1u
#define NET_SLOT 2u
#define NET_RX	 0u
/* With FULL=1 every byte is tried. */

static const struct pci_places places = LAYOUT_PCI_PLACES;

struct rig {
	struct event_loop *loop;
	struct mem *mem;
	struct bus pio, mmio;
	struct term *term;
	struct console_watch watch;
	atomic_int words;
	struct serial serial;
	struct rtc rtc;
	struct i8042 i8042;
	struct pci pci;
	struct rng *rng;
	struct virtio_net *net;
	struct virtio_pci *transports[2];
	struct net wire;
	unsigned int frames; /* that come */
};

/* ---- a network ---- */

static ssize_t wire_recv(struct net *net, unsigned int queue, const struct iovec *iov, unsigned int nr)
{
	struct rig *r = (struct rig *)((char *)net - offsetof(struct rig, wire));

	(void)queue;
	(void)nr;
	if (!r->frames || iov[0].iov_len < 100)
		return -EAGAIN;
	r->frames--;
	memset(iov[0].iov_base, 0xff, 100);
	return 100;
}

static int wire_send(struct net *net, unsigned int queue, const struct iovec *iov, unsigned int nr)
{
	(void)net;
	(void)queue;
	(void)iov;
	(void)nr;
	return 0;
}

static void wire_watch(struct net *net, unsigned int queue, bool on)
{
	(void)net;
	(void)queue;
	(void)on;
}

static const struct net_ops wire_ops = { .recv = wire_recv, .send = wire_send, .watch = wire_watch };

/* ---- a machine ---- */

static void create(struct rig *r)
{
	const struct term_config config = { .in_fd = -1, .out_fd = -1 };
	const struct virtio_net_params params = { .name = "net0", .mac = { 2, 0, 0, 0, 0, 1 } };

	memset(r, 0, sizeof(*r));
	bus_init(&r->pio);
	bus_init(&r->mmio);
	console_watch_init(&r->watch, &r->words);
	assert_int_equal(event_loop_create(&r->loop), 0);
	assert_int_equal(mem_create(&r->mem, RAM), 0);
	assert_int_equal(term_create(&r->term, r->loop, &config), 0);
	assert_int_equal(serial_init(&r->serial, NULL, &r->pio, r->term, &r->watch), 0);
	assert_int_equal(rtc_init(&r->rtc, &r->pio), 0);
	assert_int_equal(i8042_init(&r->i8042, NULL, &r->pio), 0);
	assert_int_equal(pci_init(&r->pci, &places, NULL, &r->pio, &r->mmio), 0);
	r->wire = (struct net){ .ops = &wire_ops, .name = "net0", .loop = r->loop, .nr_queues = 1, .link_up = true };
	assert_int_equal(rng_create(&r->rng, r->loop, r->mem, 0), 0);
	assert_int_equal(virtio_net_create(&r->net, r->loop, r->mem, &r->wire, &params), 0);
	assert_int_equal(virtio_pci_create(&r->transports[0], rng_device(r->rng), &r->pci, NULL), 0);
	assert_int_equal(virtio_pci_create(&r->transports[1], virtio_net_device(r->net), &r->pci, NULL), 0);
}

static void destroy(struct rig *r)
{
	virtio_pci_destroy(r->transports[1]);
	virtio_pci_destroy(r->transports[0]);
	virtio_net_destroy(r->net);
	rng_destroy(r->rng);
	pci_fini(&r->pci);
	i8042_fini(&r->i8042);
	rtc_fini(&r->rtc);
	serial_fini(&r->serial);
	term_destroy(r->term);
	mem_destroy(r->mem);
	event_loop_destroy(r->loop);
	bus_fini(&r->mmio);
	bus_fini(&r->pio);
}

static void carry(struct rig *r, struct state *s)
{
	serial_carry(&r->serial, s);
	rtc_carry(&r->rtc, s);
	i8042_carry(&r->i8042, s);
	pci_carry(&r->pci, s);
	virtio_carry(rng_device(r->rng), s, 0);
	virtio_pci_carry(r->transports[0], s);
	virtio_carry(virtio_net_device(r->net), s, 1);
	virtio_pci_carry(r->transports[1], s);
}

static size_t save(struct rig *r, uint8_t bytes[ROOM])
{
	struct state s;

	virtio_freeze(rng_device(r->rng));
	virtio_freeze(virtio_net_device(r->net));
	state_init_save(&s, bytes, ROOM);
	carry(r, &s);
	assert_int_equal(state_end(&s), 0);
	virtio_thaw(rng_device(r->rng), false);
	virtio_thaw(virtio_net_device(r->net), false);
	return s.used;
}

static int load(struct rig *r, const uint8_t *bytes, size_t nr, char fault[STATE_FAULT_BYTES])
{
	struct state s;
	int rc;

	state_init_load(&s, bytes, nr);
	carry(r, &s);
	rc = state_end(&s);
	if (fault)
		strcpy(fault, s.fault);
	return rc;
}

/* What a loaded machine does first. */
static void go_on(struct rig *r)
{
	virtio_thaw(rng_device(r->rng), true);
	virtio_thaw(virtio_net_device(r->net), true);
	serial_go_on(&r->serial);
	/* There is no loop: what eventfds would start is started here. */
	for (unsigned int q = 0; q < 3; q++)
		if (virtio_net_device(r->net)->running)
			virtio_net_device(r->net)->ops->kick(virtio_net_device(r->net), q);
	event_run_deferred(r->loop);
	net_readable(&r->wire, 0);
	event_run_deferred(r->loop);
}

/* ---- a driver ---- */

static void out8(struct rig *r, uint64_t port, uint8_t v)
{
	bus_write(&r->pio, port, &v, 1);
}

static uint8_t in8(struct rig *r, uint64_t port)
{
	uint8_t v = 0;

	bus_read(&r->pio, port, &v, 1);
	return v;
}

static uint64_t config_of(unsigned int slot)
{
	return LAYOUT_ECAM + ((uint64_t)slot << 15);
}

static void out(struct rig *r, uint64_t at, uint32_t v, unsigned int size)
{
	bus_write(&r->mmio, at, &v, size);
}

static uint32_t in(struct rig *r, uint64_t at, unsigned int size)
{
	uint32_t v = 0;

	bus_read(&r->mmio, at, &v, size);
	return v;
}

static uint64_t bar_of(struct rig *r, unsigned int slot, unsigned int bar)
{
	return in(r, config_of(slot) + PCI_BASE_ADDRESS_0 + 4ul * bar, 4) & ~15ull;
}

static void start(struct rig *r, unsigned int slot, unsigned int queues)
{
	uint64_t bar;

	out(r, config_of(slot) + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY, 2);
	bar = bar_of(r, slot, 0);
	out(r, bar + VIRTIO_PCI_COMMON_STATUS, 3, 1);
	out(r, bar + VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	/* Buffers that are held, and the control queue. */
	out(r, bar + VIRTIO_PCI_COMMON_GF, slot == NET_SLOT ? 1u << 15 | 1u << 17 | 1u << 16 : 0, 4);
	out(r, bar + VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	out(r, bar + VIRTIO_PCI_COMMON_GF, 1, 4);
	out(r, bar + VIRTIO_PCI_COMMON_STATUS, 11, 1);
	for (unsigned int q = 0; q < queues; q++) {
		uint32_t at = 0x10000 + slot * 0x10000 + q * 0x4000;

		out(r, bar + VIRTIO_PCI_COMMON_Q_SELECT, q, 2);
		out(r, bar + VIRTIO_PCI_COMMON_Q_SIZE, 16, 2);
		out(r, bar + VIRTIO_PCI_COMMON_Q_DESCLO, at, 4);
		out(r, bar + VIRTIO_PCI_COMMON_Q_AVAILLO, at + 0x1000, 4);
		out(r, bar + VIRTIO_PCI_COMMON_Q_USEDLO, at + 0x2000, 4);
		out(r, bar + VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	}
	out(r, bar + VIRTIO_PCI_COMMON_STATUS, 15, 1);
	assert_int_equal(in(r, bar + VIRTIO_PCI_COMMON_STATUS, 1), 15);
}

static void give_buffers(struct rig *r, unsigned int nr)
{
	uint32_t at = 0x10000 + NET_SLOT * 0x10000 + NET_RX * 0x4000;
	struct vring_desc *desc = mem_ptr(r->mem, at, 16 * sizeof(*desc));
	struct vring_avail *avail = mem_ptr(r->mem, at + 0x1000, 64);

	for (unsigned int i = 0; i < nr; i++) {
		desc[avail->idx % 16] = (struct vring_desc){ 0x50000 + avail->idx % 16 * 0x1000u, 0x1000,
							     VRING_DESC_F_WRITE, 0 };
		avail->ring[avail->idx % 16] = avail->idx % 16;
		avail->idx++;
	}
}

static const struct vring_used *used_of(const struct rig *r)
{
	return mem_ptr(r->mem, 0x10000 + NET_SLOT * 0x10000 + NET_RX * 0x4000 + 0x2000, 256);
}

/* Everything is in the middle of something. */
static void make_busy(struct rig *r)
{
	uint64_t table;

	out8(r, PORT_COM1 + UART_MCR, UART_MCR_LOOP);
	for (uint8_t i = 'a'; i < 'f'; i++)
		out8(r, PORT_COM1 + UART_TX, i);
	assert_int_equal(in8(r, PORT_COM1 + UART_RX), 'a');
	out8(r, PORT_COM1 + UART_IER, UART_IER_THRI | UART_IER_RDI);
	out8(r, PORT_COM1 + UART_SCR, 0x5a);
	out8(r, PORT_RTC, 0x40);
	out8(r, PORT_RTC + 1, 0x99);
	out8(r, PORT_I8042_COMMAND, 0xaa);
	start(r, RNG_SLOT, 1);
	start(r, NET_SLOT, 3);
	out(r, config_of(NET_SLOT) + r->pci.slots[NET_SLOT]->msix.cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	table = bar_of(r, NET_SLOT, 1);
	out(r, table, 0xfee00000, 4);
	out(r, table + 8, 0x41, 4);
	out(r, bar_of(r, NET_SLOT, 0) + VIRTIO_PCI_COMMON_Q_SELECT, NET_RX, 2);
	out(r, bar_of(r, NET_SLOT, 0) + VIRTIO_PCI_COMMON_Q_MSIX, 0, 2);
	give_buffers(r, 6);
	r->frames = 2;
	virtio_net_device(r->net)->ops->kick(virtio_net_device(r->net), NET_RX);
	event_run_deferred(r->loop);
	assert_int_equal(used_of(r)->idx, 2);
}

static void copy_memory(struct rig *to, const struct rig *from)
{
	memcpy(mem_ptr(to->mem, 0, RAM), mem_ptr(from->mem, 0, RAM), RAM);
}

/* ---- tests ---- */

static void test_same_again(void **unused)
{
	static uint8_t once[ROOM], again[ROOM];
	char fault[STATE_FAULT_BYTES];
	struct rig a, b;
	size_t n;

	(void)unused;
	create(&a);
	make_busy(&a);
	n = save(&a, once);
	create(&b);
	copy_memory(&b, &a);
	if (load(&b, once, n, fault))
		fail_msg("%s", fault);
	assert_int_equal(save(&b, again), n);
	assert_memory_equal(once, again, n);
	/* It is where it was ... */
	assert_int_equal(in8(&b, PORT_COM1 + UART_RX), 'b');
	assert_int_equal(in8(&b, PORT_COM1 + UART_SCR), 0x5a);
	assert_int_equal(in8(&b, PORT_RTC + 1), 0x99);
	assert_int_equal(in8(&b, PORT_I8042_DATA), 0x55);
	/* ... and goes on: a buffer that the first one held, and one that it had not seen. */
	b.frames = 5;
	give_buffers(&b, 1);
	go_on(&b);
	assert_int_equal(used_of(&b)->idx, 7);
	for (unsigned int i = 0; i < 7; i++)
		assert_int_equal(used_of(&b)->ring[i].id, i);
	assert_true(b.pci.slots[NET_SLOT]->msix.pending & 1); /* there is no VM to take it */
	/* The first one was not touched. */
	a.frames = 3;
	go_on(&a);
	assert_int_equal(used_of(&a)->idx, 5);
	destroy(&b);
	destroy(&a);
}

static void test_any_bit(void **unused)
{
	static uint8_t bytes[ROOM];
	unsigned int refused = 0, taken = 0;
	struct rig a, b;
	size_t n;

	(void)unused;
	create(&a);
	make_busy(&a);
	n = save(&a, bytes);
	for (size_t i = 0; i < n; i += getenv("FULL") ? 1 : 7) {
		uint8_t bit = (uint8_t)(1u << (i * 5 % 8));

		create(&b);
		copy_memory(&b, &a);
		bytes[i] ^= bit;
		if (load(&b, bytes, n, NULL)) {
			refused++;
		} else {
			taken++;
			b.frames = 3;
			go_on(&b);
		}
		bytes[i] ^= bit;
		destroy(&b);
	}
	destroy(&a);
	assert_true(refused > 100 && taken > 100);
}

static void test_cut(void **unused)
{
	static uint8_t bytes[ROOM];
	char fault[STATE_FAULT_BYTES];
	struct rig a, b;
	size_t n;

	(void)unused;
	create(&a);
	make_busy(&a);
	n = save(&a, bytes);
	for (size_t i = 0; i < n; i += getenv("FULL") ? 1 : 97) {
		uint8_t *part = malloc(i ? i : 1); /* one byte further is ASan's business */

		create(&b);
		memcpy(part, bytes, i);
		assert_int_equal(load(&b, part, i, fault), -EINVAL);
		assert_non_null(strstr(fault, "cut short"));
		free(part);
		destroy(&b);
	}
	create(&b);
	assert_int_equal(load(&b, bytes, n + 1, fault), -EINVAL);
	assert_non_null(strstr(fault, "behind it"));
	destroy(&b);
	destroy(&a);
}

/* What no driver could have brought about. */
static void test_impossible(void **unused)
{
	static const struct {
		const char *what;
		uint8_t status;
		uint64_t features;
		const char *fault;
	} cases[] = {
		{ "a driver without features", 4, 0, "status" },
		{ "features before they are accepted", 3, 1ull << 32, "status" },
		{ "features of others", 11, 1ull << 32 | 1ull << 7, "features that this one has not" },
		{ "a device of old", 11, 0, "status" },
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t bytes[ROOM];
		struct state s;
		struct rig r;

		create(&r);
		state_init_save(&s, bytes, ROOM);
		virtio_carry(rng_device(r.rng), &s, 0);
		/* Behind the tag, the kind and the number of queues. */
		bytes[32] = cases[i].status;
		put_le64(bytes + 33, cases[i].features);
		put_le64(bytes + 42, cases[i].features);
		state_init_load(&s, bytes, s.used);
		virtio_carry(rng_device(r.rng), &s, 0);
		assert_int_equal(state_end(&s), -EINVAL);
		if (!strstr(s.fault, cases[i].fault))
			fail_msg("%s: %s", cases[i].what, s.fault);
		assert_int_equal(rng_device(r.rng)->status, 0);
		destroy(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_again),
		cmocka_unit_test(test_any_bit),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_impossible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
