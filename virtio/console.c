// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtio console device: ports between rings and the host.
 *
 * Each port has two queues. What the guest sends is written from its buffers; a chain
 * of which the host takes only a part is kept until it takes more, and with it all that
 * is behind it in the ring. What the host sends is read straight into the guest's
 * buffers, once the guest has opened the port; without a buffer it is not read at all.
 * A chain can be 4 GiB long and a file takes and gives all of it: what is moved in a round of the
 * loop is bounded, and the rest moves in the rounds that follow.
 *
 * With named ports there is a control queue in each direction. What the guest is yet to
 * be told is a few bits per port, not a list of messages, so a driver that gives no
 * buffers makes nothing grow. Without named ports the device is the plain one of §5.3.2:
 * every driver knows it, and the size of the window is in its configuration.
 *
 * Everything runs on the event loop's thread.
 *
 * Source: virtio 1.2 §5.3. Not here: emergency write (early output has ttyS0).
 */
#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "event.h"
#include "iov.h"
#include "state.h"
#include "util.h"
#include "virtio/console.h"
#include "virtio/device.h"
#include "virtio/port.h"

#define PCI_CLASS  0x078000 /* communication controller: other */
#define CONTROL_RX 2u
#define CONTROL_TX 3u
#define BUDGET	   64u /* chains before others have their turn */
/* The same in bytes, for a port in one direction and a round of the loop: less than a millisecond. */
#define ROUND_BYTES ((uint32_t)KIB(256))

/* What a port's driver is yet to be told, in this order. */
enum news {
	NEWS_ADD,
	NEWS_CONSOLE,
	NEWS_SIZE,
	NEWS_NAME,
	NEWS_OPEN,
	NR_NEWS,
};

/* What has been moved in a round of the loop. */
struct round_use {
	uint64_t round;
	uint32_t bytes;
};

struct console_port {
	struct console *console;
	unsigned int id;
	struct port *port; /* NULL: there is no such port */
	unsigned int news; /* bits of enum news */
	bool guest_open;
	bool has_chain; /* the chain that is being written */
	bool blocked;	/* ... waits for the host */
	struct virtq_chain chain;
	uint32_t done;		 /* bytes of it that are written */
	uint32_t shown;		 /* ... that the watch has seen, at least as many */
	uint32_t written_before; /* ... of the next one: it was saved with them */
	struct round_use sent, received;
	struct event_deferred finish_tx, finish_rx;
};

struct console {
	struct virtio_device dev; /* first: virtio_ops hand it back */
	unsigned int nr_ports;	  /* ids, with 0 */
	struct console_port *ports;
	uint16_t columns, rows;
	void (*saw)(void *arg, const char *data, size_t len); /* or NULL */
	void *saw_arg;
	struct event_deferred finish_control;
};

static bool is_multiport(const struct console *c)
{
	return virtio_has_feature(&c->dev, VIRTIO_CONSOLE_F_MULTIPORT);
}

static unsigned int rx_queue(unsigned int id)
{
	return id ? 2 * id + 2 : 0;
}

static unsigned int tx_queue(unsigned int id)
{
	return rx_queue(id) + 1;
}

static struct virtq *console_ring(struct console *c, unsigned int queue)
{
	return &c->dev.queues[queue].ring;
}

/* How many bytes may still be moved in this round. */
static uint32_t left_of_round(const struct console *c, struct round_use *use)
{
	uint64_t round = event_round(c->dev.loop);

	if (use->round != round)
		*use = (struct round_use){ .round = round };
	return use->bytes < ROUND_BYTES ? ROUND_BYTES - use->bytes : 0;
}

/* ---- guest to host ---- */

/* Port 0 is a console: somebody wants to see what comes out of it, when it comes. */
static void show_chain(struct console_port *p, uint32_t until)
{
	const struct console *c = p->console;
	struct iovec parts[VIRTQ_MAX_SIZE];
	unsigned int nr;

	if (!c->saw || p->id || until <= p->shown)
		return;
	nr = iov_part(p->chain.iov, p->chain.nr_readable, p->shown, until - p->shown, parts);
	for (unsigned int i = 0; i < nr; i++)
		c->saw(c->saw_arg, parts[i].iov_base, parts[i].iov_len);
	p->shown = until;
}

/*
 * Writes the rest of the chain. False if that takes longer: the host takes no more for now
 * (p->blocked), or others have their turn. A driver that does not ask to be interrupted when it is
 * done looks for that all the time: Linux does on hvc0, with a spinlock held.
 */
static bool write_chain(struct console_port *p)
{
	bool can_wait = virtq_will_notify(console_ring(p->console, tx_queue(p->id)));
	struct iovec parts[VIRTQ_MAX_SIZE];

	while (p->done < p->chain.readable_bytes) {
		uint32_t most = (uint32_t)min_u64(left_of_round(p->console, &p->sent),
						  p->chain.readable_bytes - p->done);
		unsigned int nr = iov_part(p->chain.iov, p->chain.nr_readable, p->done, most, parts);
		ssize_t n;

		if (!most)
			return false;
		show_chain(p, p->done + most);
		n = port_write(p->port, parts, nr, can_wait);
		p->blocked = n <= 0;
		if (p->blocked)
			return false;
		p->done += (uint32_t)n;
		p->sent.bytes += (uint32_t)n;
	}
	virtio_count(&p->console->dev, 0, p->done);
	return true;
}

static void serve_tx(struct console_port *p)
{
	struct console *c = p->console;
	struct virtq *q = console_ring(c, tx_queue(p->id));
	unsigned int budget = BUDGET;

	virtq_disable_notification(q);
	while (!p->blocked && budget--) {
		if (!p->has_chain) {
			if (virtio_pop(&c->dev, tx_queue(p->id), &p->chain) <= 0)
				break;
			p->has_chain = true;
			p->done = p->shown = (uint32_t)min_u64(p->written_before,
							       p->chain.readable_bytes);
			p->written_before = 0;
		}
		if (!write_chain(p))
			break;
		virtq_push(q, p->chain.head, 0);
		p->has_chain = false;
	}
	event_defer(c->dev.loop, &p->finish_tx);
}

static void finish_tx(void *arg)
{
	struct console_port *p = arg;
	struct console *c = p->console;

	virtio_notify(&c->dev, tx_queue(p->id));
	if (!c->dev.running || p->blocked)
		return;
	if (p->has_chain || virtq_enable_notification(console_ring(c, tx_queue(p->id))))
		serve_tx(p);
}

static void console_on_writable(void *arg)
{
	struct console_port *p = arg;

	p->blocked = false;
	if (p->console->dev.running)
		event_defer(p->console->dev.loop, &p->finish_tx);
}

/* ---- host to guest ---- */

/* Bytes, at most as many as @left; -EAGAIN: the host has none. */
static ssize_t fill_chain(struct console_port *p, const struct virtq_chain *chain, uint32_t left)
{
	struct iovec parts[VIRTQ_MAX_SIZE];
	unsigned int nr = iov_part(chain->iov + chain->nr_readable, chain->nr_writable, 0, left, parts);
	ssize_t n = nr ? port_read(p->port, parts, nr) : 0;

	if (n > 0) {
		p->received.bytes += (uint32_t)n;
		virtio_count(&p->console->dev, (uint32_t)n, 0);
	}
	return n;
}

static void serve_rx(struct console_port *p)
{
	struct console *c = p->console;
	unsigned int queue = rx_queue(p->id), budget = BUDGET;
	struct virtq *q = console_ring(c, queue);
	struct virtq_chain chain;

	if (!c->dev.running || !p->guest_open)
		return;
	virtq_disable_notification(q);
	while (budget--) {
		uint32_t left = left_of_round(c, &p->received);
		ssize_t n;

		if (!left)
			break;
		if (virtio_pop(&c->dev, queue, &chain) <= 0) {
			port_want(p->port, PORT_LATER);
			virtio_notify(&c->dev, queue);
			if (c->dev.running && virtq_enable_notification(q))
				event_defer(c->dev.loop, &p->finish_rx);
			return;
		}
		n = fill_chain(p, &chain, left);
		if (n < 0) {
			virtq_unpop(q, chain.head);
			port_want(p->port, PORT_NOW);
			virtio_notify(&c->dev, queue);
			return;
		}
		virtq_push(q, chain.head, (uint32_t)n);
	}
	event_defer(c->dev.loop, &p->finish_rx);
}

static void finish_rx(void *arg)
{
	struct console_port *p = arg;

	virtio_notify(&p->console->dev, rx_queue(p->id));
	serve_rx(p);
}

static void console_on_readable(void *arg)
{
	serve_rx(arg);
}

/* ---- control ---- */

static uint32_t make_message(const struct console_port *p, enum news what,
			     uint8_t message[64])
{
	struct virtio_console_control h = { .id = p->id, .value = 1 };
	uint32_t bytes = sizeof(h);

	switch (what) {
	case NEWS_ADD:
		h.event = VIRTIO_CONSOLE_PORT_ADD;
		break;
	case NEWS_CONSOLE:
		h.event = VIRTIO_CONSOLE_CONSOLE_PORT;
		break;
	case NEWS_SIZE:
		h.event = VIRTIO_CONSOLE_RESIZE;
		put_le16(message + bytes, p->console->columns);
		put_le16(message + bytes + 2, p->console->rows);
		bytes += 4;
		break;
	case NEWS_NAME:
		h.event = VIRTIO_CONSOLE_PORT_NAME;
		bytes += (uint32_t)strlen(strncpy((char *)message + bytes, port_name(p->port),
						  64 - sizeof(h) - 1));
		break;
	case NEWS_OPEN:
	case NR_NEWS:
		h.event = VIRTIO_CONSOLE_PORT_OPEN;
		h.value = port_is_open(p->port);
	}
	memcpy(message, &h, sizeof(h));
	return bytes;
}

/* Tells one piece of news. False if there is no buffer for it. */
static bool tell(struct console_port *p, enum news what)
{
	struct console *c = p->console;
	uint8_t message[64] = { 0 };
	struct virtq_chain chain;
	uint32_t bytes, written;

	if (virtio_pop(&c->dev, CONTROL_RX, &chain) <= 0)
		return false;
	bytes = make_message(p, what, message);
	written = iov_write(chain.iov + chain.nr_readable, chain.nr_writable, 0, message, bytes);
	virtq_push(console_ring(c, CONTROL_RX), chain.head, written);
	if (written < bytes)
		log_guest(&c->dev.log_limit, "%s: a control buffer of %u bytes is too small",
			  c->dev.name, written);
	p->news &= ~(1u << what);
	return true;
}

static void tell_news(struct console *c)
{
	if (!c->dev.running || !is_multiport(c))
		return;
	virtq_disable_notification(console_ring(c, CONTROL_RX));
	for (unsigned int id = 0; id < c->nr_ports; id++)
		for (unsigned int what = 0; what < NR_NEWS; what++)
			if (c->ports[id].news & 1u << what && !tell(&c->ports[id], what)) {
				event_defer(c->dev.loop, &c->finish_control);
				return;
			}
	virtio_notify(&c->dev, CONTROL_RX);
}

static bool has_news(const struct console *c)
{
	for (unsigned int id = 0; id < c->nr_ports; id++)
		if (c->ports[id].news)
			return true;
	return false;
}

static void set_guest_open(struct console_port *p, bool open)
{
	p->guest_open = open;
	if (open)
		event_defer(p->console->dev.loop, &p->finish_rx);
	else
		port_want(p->port, PORT_UNWANTED);
}

static void console_hear(struct console *c, const struct virtio_console_control *m)
{
	struct console_port *p = m->id < c->nr_ports ? &c->ports[m->id] : NULL;

	if (m->event == VIRTIO_CONSOLE_DEVICE_READY) {
		for (unsigned int id = 0; id < c->nr_ports; id++)
			if (c->ports[id].port && m->value)
				c->ports[id].news |= 1u << NEWS_ADD;
		return;
	}
	if (!p || !p->port) {
		log_guest(&c->dev.log_limit, "%s: a message about port %u, which does not exist",
			  c->dev.name, m->id);
		return;
	}
	if (m->event == VIRTIO_CONSOLE_PORT_READY && m->value) {
		p->news |= 1u << NEWS_OPEN;
		p->news |= p->id ? 1u << NEWS_NAME : 1u << NEWS_CONSOLE;
		if (!p->id && c->columns)
			p->news |= 1u << NEWS_SIZE;
	} else if (m->event == VIRTIO_CONSOLE_PORT_OPEN) {
		set_guest_open(p, m->value);
	}
}

static void console_serve_control(struct console *c)
{
	struct virtq *q = console_ring(c, CONTROL_TX);
	struct virtio_console_control message;
	unsigned int budget = BUDGET;
	struct virtq_chain chain;

	virtq_disable_notification(q);
	while (budget-- && virtio_pop(&c->dev, CONTROL_TX, &chain) > 0) {
		if (iov_read(chain.iov, chain.nr_readable, 0, &message, sizeof(message)) ==
		    sizeof(message))
			console_hear(c, &message);
		virtq_push(q, chain.head, 0);
	}
	event_defer(c->dev.loop, &c->finish_control);
	tell_news(c);
}

static void console_finish_control(void *arg)
{
	struct console *c = arg;

	virtio_notify(&c->dev, CONTROL_TX);
	virtio_notify(&c->dev, CONTROL_RX);
	if (!c->dev.running)
		return;
	if (has_news(c) && virtq_enable_notification(console_ring(c, CONTROL_RX)))
		tell_news(c);
	if (virtq_enable_notification(console_ring(c, CONTROL_TX)))
		console_serve_control(c);
}

static void on_opened(void *arg, bool open)
{
	struct console_port *p = arg;

	(void)open;
	p->news |= 1u << NEWS_OPEN;
	if (p->console->dev.running)
		tell_news(p->console);
}

/* ---- the device ---- */

static void announce_size(struct console *c)
{
	const uint16_t size[2] = { c->columns, c->rows };

	virtio_set_config(&c->dev, 0, size, sizeof(size), true);
}

/* The port with queue @queue; NULL: none, or control. */
static struct console_port *port_of(struct console *c, unsigned int queue)
{
	unsigned int id = queue < 2 ? 0 : queue / 2 - 1;

	if (queue == CONTROL_RX || queue == CONTROL_TX || id >= c->nr_ports)
		return NULL;
	if (id && !is_multiport(c))
		return NULL;
	return c->ports[id].port ? &c->ports[id] : NULL;
}

static void console_start(struct virtio_device *dev)
{
	struct console *c = (struct console *)dev;

	/* The plain device knows no opening and closing. */
	if (is_multiport(c) || !c->ports[0].port)
		return;
	set_guest_open(&c->ports[0], true);
	/* Linux looks at the size only when it is told that it has changed. */
	if (c->columns)
		announce_size(c);
}

static void console_kick(struct virtio_device *dev, unsigned int queue)
{
	struct console *c = (struct console *)dev;
	struct console_port *p = port_of(c, queue);

	if (p && queue == tx_queue(p->id))
		serve_tx(p);
	else if (p)
		serve_rx(p);
	else if (is_multiport(c) && queue == CONTROL_TX)
		console_serve_control(c);
	else if (is_multiport(c) && queue == CONTROL_RX)
		tell_news(c);
}

static void console_stop(struct virtio_device *dev, unsigned int queue)
{
	struct console *c = (struct console *)dev;
	struct console_port *p = port_of(c, queue);

	if (!p)
		return;
	if (queue == rx_queue(p->id)) {
		port_want(p->port, PORT_UNWANTED);
		return;
	}
	/* What was written of it was written; the rest goes with the queue. */
	if (p->has_chain)
		virtq_unpop(console_ring(c, queue), p->chain.head);
	p->has_chain = p->blocked = false;
	p->written_before = 0;
}

static void console_reset(struct virtio_device *dev)
{
	struct console *c = (struct console *)dev;

	for (unsigned int id = 0; id < c->nr_ports; id++) {
		c->ports[id].news = 0;
		c->ports[id].guest_open = false;
	}
}

/* What a guest can have brought about: the first port is a console and has no name. */
static bool news_is_possible(const struct console_port *p)
{
	const unsigned int of_any = 1u << NEWS_ADD | 1u << NEWS_OPEN;
	const unsigned int possible = p->id ? of_any | 1u << NEWS_NAME :
					      of_any | 1u << NEWS_CONSOLE | 1u << NEWS_SIZE;

	return p->port ? !(p->news & ~possible) : !p->news && !p->guest_open;
}

static void port_carry(struct console_port *p, struct state *s)
{
	uint32_t done = p->has_chain ? p->done : p->written_before;
	char name[64] = { 0 }, found[64];

	if (p->port && p->id)
		strncpy(name, port_name(p->port), sizeof(name) - 1);
	memcpy(found, name, sizeof(found));
	state_raw(s, found, sizeof(found));
	if (memcmp(found, name, sizeof(name)))
		state_refuse(s, "another name of a port");
	state_same(s, p->port != NULL, "a port");
	state_count(s, &p->news, (1u << NR_NEWS) - 1, "news that there are not");
	state_bool(s, &p->guest_open);
	state_u32(s, &done);
	if (!state_loads(s))
		return;
	p->written_before = done;
	if (news_is_possible(p))
		return;
	state_refuse(s, "news of a port that it cannot have");
	p->news = 0;
	p->guest_open = false;
}

static void console_carry(struct virtio_device *dev, struct state *s)
{
	struct console *c = (struct console *)dev;

	state_same(s, c->nr_ports, "ports");
	for (unsigned int id = 0; id < c->nr_ports; id++) {
		struct console_port *p = &c->ports[id];

		port_carry(p, s);
		/* The peer is another one, if there is one. */
		if (state_loads(s) && p->port && p->guest_open)
			p->news |= 1u << NEWS_OPEN | (!id && c->columns ? 1u << NEWS_SIZE : 0);
	}
}

static void console_go_on(struct virtio_device *dev)
{
	struct console *c = (struct console *)dev;

	for (unsigned int id = 0; id < c->nr_ports; id++) {
		struct console_port *p = &c->ports[id];

		if (p->port && p->guest_open)
			event_defer(dev->loop, &p->finish_rx);
		if (p->port && p->has_chain)
			event_defer(dev->loop, &p->finish_tx);
	}
	if (is_multiport(c))
		event_defer(dev->loop, &c->finish_control);
}

static const struct virtio_ops console_ops = {
	.id = VIRTIO_ID_CONSOLE,
	.pci_class = PCI_CLASS,
	.driver = "virtio_console (CONFIG_VIRTIO_CONSOLE)",
	.start = console_start,
	.kick = console_kick,
	.stop = console_stop,
	.reset = console_reset,
	.carry = console_carry,
	.go_on = console_go_on,
	.holds_chains = true,
};

void console_set_size(struct console *c, uint16_t columns, uint16_t rows)
{
	if (columns == c->columns && rows == c->rows)
		return;
	c->columns = columns;
	c->rows = rows;
	announce_size(c);
	if (is_multiport(c) && c->ports[0].guest_open) {
		c->ports[0].news |= 1u << NEWS_SIZE;
		tell_news(c);
	}
}

void console_set_watch(struct console *c, void (*saw)(void *arg, const char *data, size_t len),
		       void *arg)
{
	c->saw = saw;
	c->saw_arg = arg;
}

/* ---- life ---- */

static void init_port(struct console *c, unsigned int id, struct port *port)
{
	struct console_port *p = &c->ports[id];

	p->console = c;
	p->id = id;
	p->port = port;
	p->finish_tx = (struct event_deferred){ .fn = finish_tx, .arg = p };
	p->finish_rx = (struct event_deferred){ .fn = finish_rx, .arg = p };
	if (port)
		port_set_client(port,
				&(struct port_client){
					.readable = console_on_readable,
					.writable = console_on_writable,
					.opened = on_opened,
					.arg = p,
				});
}

static int console_init(struct console *c, struct event_loop *loop, const struct mem *mem,
			struct port *terminal, struct port *const *ports, unsigned int nr_ports)
{
	struct virtio_console_config config = { .max_nr_ports = nr_ports + 1 };
	uint64_t features = 1ull << VIRTIO_CONSOLE_F_SIZE;
	int rc;

	c->ports = calloc(nr_ports + 1, sizeof(*c->ports));
	if (!c->ports)
		return -ENOMEM;
	c->nr_ports = nr_ports + 1;
	c->finish_control = (struct event_deferred){ .fn = console_finish_control, .arg = c };
	if (nr_ports)
		features |= 1ull << VIRTIO_CONSOLE_F_MULTIPORT;
	init_port(c, 0, terminal);
	for (unsigned int i = 0; i < nr_ports; i++)
		init_port(c, i + 1, ports[i]);
	rc = virtio_device_init(&c->dev, &console_ops, "console", loop, mem,
				nr_ports ? tx_queue(nr_ports) + 1 : 2, features);
	if (!rc)
		virtio_set_config(&c->dev, 0, &config, sizeof(config), false);
	return rc;
}

int console_create(struct console **out, struct event_loop *loop, const struct mem *mem,
		   struct port *terminal, struct port *const *ports, unsigned int nr_ports)
{
	struct console *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return -ENOMEM;
	c->dev.loop = loop;
	rc = console_init(c, loop, mem, terminal, ports, nr_ports);
	if (rc) {
		console_destroy(c);
		return rc;
	}
	*out = c;
	return 0;
}

void console_destroy(struct console *c)
{
	if (!c)
		return;
	virtio_device_fini(&c->dev);
	for (unsigned int id = 0; id < c->nr_ports; id++) {
		struct console_port *p = &c->ports[id];

		if (p->port)
			port_set_client(p->port, NULL);
		event_undefer(c->dev.loop, &p->finish_tx);
		event_undefer(c->dev.loop, &p->finish_rx);
	}
	event_undefer(c->dev.loop, &c->finish_control);
	free(c->ports);
	free(c);
}

struct virtio_device *console_device(struct console *c)
{
	return &c->dev;
}
