// SPDX-License-Identifier: GPL-2.0-only
/*
 * One attack on a virtio network device, which the command line names, and then the
 * proof that the device works again after a reset: a frame goes out and comes back
 * from a peer that echoes.
 */
#include "tests/lib/virtio-guest.h"

#include <linux/virtio_net.h>

__asm__(".code64\n"
	".global _start\n"
	"_start: movl $0x9e000, %esp\n"
	"	movq %rsi, %rdi\n"
	"	call guest_main\n");

#define RX	  0u
#define TX	  1u
#define CTRL	  2u
#define QUEUE	  TX
#define RAM_BYTES 0x20000000ull
#define HEADER	  12u
#define OUT	  0x200000ull /* a frame with its header */
#define IN	  0x300000ull /* buffers for frames, IN_BYTES each */
#define IN_BYTES  0x1000u
#define COMMAND	  0x400000ull
#define ACK	  0x410000ull
#define WRITE	  VRING_DESC_F_WRITE
#define NEXT	  VRING_DESC_F_NEXT
#define F(name)	  (1ull << VIRTIO_NET_F_##name)
#define FEATURES  (F(MRG_RXBUF) | F(CTRL_VQ) | F(CTRL_RX) | F(CTRL_VLAN) | F(CTRL_MAC_ADDR) | \
		  F(MAC) | F(STATUS) | F_INDIRECT)

static uint64_t features; /* of those above, what is offered */

/* Device features of a tap that a stream has not, if there are any. */
static uint64_t offloads(void)
{
	uint64_t all = offered(0) | (uint64_t)offered(1) << 32;

	return all & (F(CSUM) | F(HOST_TSO4) | F(HOST_TSO6));
}

static void give_buffers(unsigned int nr, uint32_t bytes, uint16_t flags)
{
	use_queue(RX);
	for (unsigned int i = 0; i < nr; i++) {
		set_desc(i, IN + i * IN_BYTES, bytes, flags, 0);
		publish((uint16_t)i);
	}
	kick(RX);
}

static void fill_frame(uint32_t bytes)
{
	memset((void *)OUT, 0, HEADER);
	memset((void *)(OUT + HEADER), 0x5a, bytes);
	memset((void *)(OUT + HEADER), 0xff, 6); /* broadcast */
	write8(OUT + HEADER + 12, 0x88);	 /* local experimental ethertype */
	write8(OUT + HEADER + 13, 0xb5);
}

/* Sends the chain that begins at descriptor 0 and waits for it. */
static void send(void)
{
	use_queue(TX);
	publish(0);
	kick(TX);
	if (!wait_used())
		fail("broken by a frame", get_status());
}

static void send_frame(uint32_t bytes)
{
	use_queue(TX);
	set_desc(0, OUT, HEADER + bytes, 0, 0);
	send();
}

static void prove_recovery(void)
{
	on_failure = 0;
	bring_up_queues(features, 3);
	give_buffers(RING_SIZE, IN_BYTES, WRITE);
	fill_frame(200);
	send_frame(200);
	use_queue(RX);
	/* A real network has other frames, too. */
	for (unsigned int i = 0; i < RING_SIZE; i++) {
		if (!wait_used())
			fail("broken when it should work", get_status());
		if (read8(IN + i * IN_BYTES + HEADER + 13) == 0xb5 &&
		    read8(IN + i * IN_BYTES + HEADER + 100) == 0x5a)
			break;
		if (i == RING_SIZE - 1)
			fail("frames, but not the one that was sent", i);
	}
	print("RECOVERED\n");
	power_off();
}

/* ---- what all devices have to survive ---- */

static void up(uint64_t wanted)
{
	bring_up_queues(features | wanted, 3);
	use_queue(TX);
}

static void build_good(void)
{
	fill_frame(200);
	set_desc(0, OUT, HEADER + 20, NEXT, 1);
	set_desc(1, OUT + HEADER + 20, 100, NEXT, 2);
	set_desc(2, OUT + HEADER + 120, 80, 0, 0);
}

static void expect_good(void)
{
	build_good();
	send();
}

#include "tests/lib/virtio-attacks.h"

/* ---- sending ---- */

static void tx_short(void)
{
	fill_frame(100);
	use_queue(TX);
	for (uint32_t bytes = 1; bytes < HEADER + 14; bytes++) {
		set_desc(0, OUT, bytes, 0, 0);
		send();
	}
}

static void tx_nothing_readable(void)
{
	use_queue(TX);
	set_desc(0, OUT, 2000, WRITE, 0);
	send();
	set_desc(0, OUT, 0, 0, 0);
	send();
}

static void tx_huge(void)
{
	use_queue(TX);
	fill_frame(100);
	for (uint16_t i = 0; i < RING_SIZE; i++)
		set_desc(i, OUT, 0x100000, i < RING_SIZE - 1 ? NEXT : 0, (uint16_t)(i + 1));
	send();
	set_desc(0, OUT, HEADER + 65554, 0, 0);
	send();
}

/* Each byte of the header in a descriptor of its own: a good frame. */
static void tx_split_header(void)
{
	give_buffers(4, IN_BYTES, WRITE);
	fill_frame(100);
	use_queue(TX);
	for (uint16_t i = 0; i < HEADER; i++)
		set_desc(i, OUT + i, 1, NEXT, (uint16_t)(i + 1));
	set_desc(HEADER, OUT + HEADER, 100, 0, 0);
	send();
}

static void send_header(const struct virtio_net_hdr_v1 *h)
{
	fill_frame(100);
	memcpy((void *)OUT, h, HEADER);
	send_frame(100);
}

static void tx_bad_headers(void)
{
	static const struct virtio_net_hdr_v1 bad[] = {
		{ .gso_type = 0x7f },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 0, .flags = 1 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1, .flags = 0 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV6, .gso_size = 0xffff, .flags = 1, .hdr_len = 0xffff },
		{
			.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN,
			.gso_size = 1,
			.flags = 1,
			.csum_start = 34,
			.csum_offset = 16,
			.hdr_len = 54,
		},
		{ .gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 8, .flags = 1 },
		{ .gso_type = 5, .gso_size = 8, .flags = 1 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_ECN },
		{ .flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff },
		{ .flags = 1, .csum_start = 99, .csum_offset = 0 },
		{ .flags = 0xff, .csum_start = 200 },
		{ .flags = 0xfe, .csum_start = 0xffff, .num_buffers = 0xffff },
	};

	bring_up_queues(features | offloads(), 3);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		send_header(&bad[i]);
	bring_up_queues(features, 3);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		send_header(&bad[i]);
}

/* Every value of one header byte after the other. */
static void tx_all_headers(void)
{
	bring_up_queues(features | offloads(), 3);
	for (unsigned int at = 0; at < HEADER; at++) {
		for (unsigned int v = 0; v < 256; v += 5) {
			fill_frame(100);
			write8(OUT, 1);
			write8(OUT + 1, VIRTIO_NET_HDR_GSO_TCPV4);
			write8(OUT + at, (uint8_t)v);
			send_frame(100);
		}
	}
}

static void tx_loop(void)
{
	use_queue(TX);
	fill_frame(100);
	set_desc(0, OUT, 100, NEXT, 0);
	publish(0);
	kick(TX);
	expect_broken();
}

/* ---- receiving ---- */

static void rx_read_only(void)
{
	give_buffers(RING_SIZE, IN_BYTES, 0);
	fill_frame(100);
	send_frame(100);
	send_frame(100);
}

static void rx_zero_length(void)
{
	give_buffers(RING_SIZE, 0, WRITE);
	fill_frame(100);
	send_frame(100);
	send_frame(100);
}

/* A frame of 1000 bytes needs 64 of them: it waits, then there is no room at all. */
static void rx_tiny(void)
{
	give_buffers(RING_SIZE, 16, WRITE);
	fill_frame(100);
	send_frame(100);
	use_queue(RX);
	if (!wait_used())
		fail("broken by small buffers", 0);
	fill_frame(1000);
	send_frame(1000);
	send_frame(1000);
}

static void rx_one_byte(void)
{
	give_buffers(RING_SIZE, 1, WRITE);
	fill_frame(100);
	send_frame(100);
	send_frame(14);
}

/*
 * A chain of 2^32 - 16 bytes (an indirect table of overlapping buffers) after one of 64:
 * the sum wraps to 48. The frame is there, and nothing that is not of it.
 */
static void rx_sum_wraps(void)
{
	struct vring_desc *table = (struct vring_desc *)0x420000;

	for (unsigned int i = 0; i < 11; i++) {
		table[i].addr = i ? 0x2000000 : IN + IN_BYTES;
		table[i].len = i ? 0x1c000000 : 0x1000;
		table[i].flags = WRITE | (i < 10 ? NEXT : 0);
		table[i].next = (uint16_t)(i + 1);
	}
	table[10].len = (uint32_t)(0xfffffff0u - 9ull * 0x1c000000u - 0x1000u);
	use_queue(RX);
	memset((void *)IN, 0, 2 * IN_BYTES);
	set_desc(0, IN, 64, WRITE, 0);
	set_desc(1, 0x420000, 11 * sizeof(table[0]), VRING_DESC_F_INDIRECT, 0);
	publish(0);
	publish(1);
	kick(RX);
	fill_frame(1000);
	send_frame(1000);
	use_queue(RX);
	if (!wait_used() || used_length() != 64 || !wait_used() || used_length() != HEADER + 1000 - 64)
		fail("lengths of a frame in two buffers", used_length());
	for (unsigned int i = 0; i < HEADER + 1000 - 64; i++)
		if (read8(IN + IN_BYTES + i) != 0x5a)
			fail("byte of the frame", i);
	if (read8(IN + IN_BYTES + HEADER + 1000 - 64))
		fail("byte behind the frame", read8(IN + IN_BYTES + HEADER + 1000 - 64));
}

/* Without merging a frame has one buffer, and that is too small. */
static void rx_not_merged(void)
{
	bring_up_queues(features & ~F(MRG_RXBUF), 3);
	give_buffers(RING_SIZE, 64, WRITE);
	fill_frame(1000);
	send_frame(1000);
	fill_frame(40);
	send_frame(40);
	use_queue(RX);
	if (!wait_used() || used_length() != HEADER + 40)
		fail("length of a frame that fits", used_length());
}

/* A frame comes that is too big for the good buffers. */
static void expect_broken_by_frame(void)
{
	fill_frame(1000);
	use_queue(TX);
	set_desc(0, OUT, HEADER + 1000, 0, 0);
	publish(0);
	kick(TX);
	kick(RX);
	expect_broken();
}

static void rx_bad(uint64_t addr, uint32_t bytes, uint16_t flags, uint16_t next)
{
	/* Good ones first: they are held when the bad one is met. */
	give_buffers(2, 64, WRITE);
	set_desc(5, addr, bytes, flags, next);
	publish(5);
	expect_broken_by_frame();
}

static void rx_outside_ram(void)
{
	rx_bad(0x7ffffff000ull, 64, WRITE, 0);
}

static void rx_loop(void)
{
	rx_bad(IN, 64, WRITE | NEXT, 5);
}

static void rx_on_device(void)
{
	rx_bad(LAYOUT_LAPIC, 64, WRITE, 0);
}

static void rx_twice(void)
{
	give_buffers(2, 64, WRITE);
	publish(1);
	expect_broken_by_frame();
}

static void rx_index_jumps(void)
{
	give_buffers(2, 64, WRITE);
	avail[1] = 2000;
	expect_broken_by_frame();
}

/* Buffers are held ahead: after a reset they are the driver's again. */
static void reset_with_held(void)
{
	for (unsigned int i = 0; i < 100; i++) {
		bring_up_queues(features, 3);
		give_buffers(RING_SIZE, i % 2 ? 40 : IN_BYTES, WRITE);
		fill_frame(500);
		send_frame(500);
		use_queue(TX);
		publish(0);
		kick(TX);
		set_status(STATUS_RESET);
		while (get_status())
			;
		memset((void *)IN, 0x11, RING_SIZE * IN_BYTES);
		for (volatile int k = 0; k < 300; k++)
			;
		for (unsigned int k = 0; k < RING_SIZE; k++)
			if (read8(IN + k * IN_BYTES) != 0x11)
				fail("a frame after a reset", k);
	}
}

/* A peer that floods, and not one buffer. Then one, for the sake of order. */
static void rx_no_buffers(void)
{
	print("IDLE\n");
	for (unsigned int i = 0; i < 300000 / every; i++)
		(void)get_status();
	give_buffers(1, IN_BYTES, WRITE);
	use_queue(RX);
	if (!wait_used())
		fail("broken by a flood", get_status());
	print("SURVIVED\n");
	power_off();
}

/* Numbered frames to a peer that does not read for a while: each arrives, in order. */
static void tx_backpressure(void)
{
	for (uint32_t i = 0; i < 4000; i++) {
		fill_frame(1000);
		write32(OUT + HEADER + 14, i);
		send_frame(1000);
	}
	print("SENT\n");
	power_off();
}

/* A stream of frames is looked at by a timer: a reset in the middle of it is the end of it. */
static void tx_stream_reset(void)
{
	fill_frame(100);
	for (unsigned int i = 0; i < 50; i++) {
		bring_up_queues(features, 3);
		for (unsigned int k = 0; k < 60; k++)
			send_frame(100);
		use_queue(TX);
		publish(0);
		kick(TX);
		set_status(STATUS_RESET);
		while (get_status())
			;
	}
	bring_up_queues(features, 3);
	send_frame(100);
	print("SENT\n");
	power_off();
}

/* Frames of 60 000 bytes into buffers of 4096, merged. */
static void rx_jumbo(void)
{
	for (unsigned int round = 0; round < 5; round++) {
		uint32_t bytes = 0;

		bring_up_queues(features, 3);
		give_buffers(RING_SIZE, IN_BYTES, WRITE);
		fill_frame(100);
		send_frame(100);
		use_queue(RX);
		for (unsigned int i = 0; i < 15; i++) {
			if (!wait_used())
				fail("broken by a big frame", get_status());
			bytes += used_length();
		}
		if (read16(IN + 10) != 15 || bytes != HEADER + 60000)
			fail("bytes of a big frame", bytes);
	}
	print("SURVIVED\n");
	power_off();
}

/* The link went down because of the peer; the device lives. */
static void link_lost(void)
{
	uint64_t status = config_space() + 6;

	for (unsigned int i = 0; i < 1000000 && read16(status) & 1; i++)
		;
	if (read16(status) & 1)
		fail("link status", read16(status));
	fill_frame(100);
	send_frame(100);
	print("SURVIVED\n");
	power_off();
}

/* ---- the control queue ---- */

/* @bytes of command, an ack if there is room for one. Its value, or 0xee. */
static uint8_t command(uint32_t bytes)
{
	use_queue(CTRL);
	write8(ACK, 0xee);
	set_desc(0, COMMAND, bytes, NEXT, 1);
	set_desc(1, ACK, 1, WRITE, 0);
	publish(0);
	kick(CTRL);
	if (!wait_used())
		fail("broken by a command", get_status());
	return read8(ACK);
}

static uint8_t short_command(uint8_t class, uint8_t cmd, uint64_t data, uint32_t bytes)
{
	write8(COMMAND, class);
	write8(COMMAND + 1, cmd);
	*(volatile uint64_t *)(COMMAND + 2) = data;
	return command(2 + bytes);
}

static uint8_t set_pairs(unsigned int control, uint16_t pairs)
{
	use_queue(control);
	write8(ACK, 0xee);
	write8(COMMAND, VIRTIO_NET_CTRL_MQ);
	write8(COMMAND + 1, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET);
	write8(COMMAND + 2, (uint8_t)pairs);
	write8(COMMAND + 3, 0);
	set_desc(0, COMMAND, 4, NEXT, 1);
	set_desc(1, ACK, 1, WRITE, 0);
	publish(0);
	kick(control);
	if (!wait_used())
		fail("broken by a number of pairs", pairs);
	return read8(ACK);
}

static void expect_ack(uint8_t want, uint8_t got)
{
	if (got != want)
		fail("ack", got);
}

static void control_works(void)
{
	expect_ack(VIRTIO_NET_OK, short_command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1, 1));
	expect_ack(VIRTIO_NET_OK, short_command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, 4095, 2));
	expect_ack(VIRTIO_NET_OK, short_command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
						0x665544332202ull, 6));
	if (read8(config_space()) != 2 || read8(config_space() + 5) != 0x66)
		fail("MAC after it was set", read8(config_space()));
}

static void control_malformed(void)
{
	expect_ack(VIRTIO_NET_ERR, command(0));
	expect_ack(VIRTIO_NET_ERR, command(1));
	for (unsigned int class = 0; class < 256; class += 3)
		expect_ack(VIRTIO_NET_ERR, short_command((uint8_t) class, 77, 0, 1));
	expect_ack(VIRTIO_NET_ERR, short_command(VIRTIO_NET_CTRL_RX, 0, 0, 0));
	expect_ack(VIRTIO_NET_ERR, short_command(VIRTIO_NET_CTRL_RX, 0, 0, 2));
	expect_ack(VIRTIO_NET_ERR, short_command(VIRTIO_NET_CTRL_RX, 6, 1, 1));
	expect_ack(VIRTIO_NET_ERR, short_command(VIRTIO_NET_CTRL_VLAN, 0, 4096, 2));
	expect_ack(VIRTIO_NET_ERR, short_command(VIRTIO_NET_CTRL_VLAN, 0, 0xffff, 2));
	expect_ack(VIRTIO_NET_ERR, short_command(VIRTIO_NET_CTRL_MAC, 1, 0, 5));
	expect_ack(VIRTIO_NET_ERR, short_command(VIRTIO_NET_CTRL_MAC, 1, 0, 7));
	expect_ack(VIRTIO_NET_ERR, short_command(VIRTIO_NET_CTRL_MQ, 0, 0, 2));
	expect_ack(VIRTIO_NET_ERR, short_command(VIRTIO_NET_CTRL_MQ, 0, 0x8000, 2));
	expect_ack(VIRTIO_NET_ERR, short_command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, ~0ull, 8));
	/* A command of many bytes. */
	set_desc(0, COMMAND, 0x100000, NEXT, 1);
	expect_ack(VIRTIO_NET_ERR, command(0x100000));
}

static void control_mac_tables(void)
{
	static const uint32_t counts[] = { 0, 1, 64, 65, 1000, 0x10000, 0x2aaaaaab, 0xffffffff };

	memset((void *)COMMAND, 0, 0x4000);
	for (unsigned int i = 0; i < 8; i++)
		for (unsigned int k = 0; k < 8; k++) {
			uint32_t unicast = counts[i], multicast = counts[k];
			uint64_t second = COMMAND + 6 + (unicast < 2000 ? 6 * unicast : 0);
			int good = unicast <= 1000 && multicast <= 1000;
			uint32_t bytes = good ? 10 + 6 * (unicast + multicast) : 100;

			write32(second, multicast);
			write8(COMMAND, VIRTIO_NET_CTRL_MAC);
			write8(COMMAND + 1, VIRTIO_NET_CTRL_MAC_TABLE_SET);
			write32(COMMAND + 2, unicast);
			expect_ack(good ? VIRTIO_NET_OK : VIRTIO_NET_ERR, command(bytes));
			write32(second, 0);
		}
}

static void control_no_ack(void)
{
	use_queue(CTRL);
	set_desc(0, COMMAND, 3, 0, 0);
	publish(0);
	kick(CTRL);
	expect_broken();
}

static void control_only_ack(void)
{
	use_queue(CTRL);
	write8(ACK, 0xee);
	set_desc(0, ACK, 1, WRITE, 0);
	publish(0);
	kick(CTRL);
	if (!wait_used())
		fail("broken by an empty command", get_status());
	expect_ack(VIRTIO_NET_ERR, read8(ACK));
}

static void control_flood(void)
{
	for (unsigned int i = 0; i < 2000; i++)
		expect_ack(VIRTIO_NET_OK, short_command(VIRTIO_NET_CTRL_VLAN, i & 1, i & 4095, 2));
}

/* Promiscuous mode off, and frames that are not for us: they do not arrive. */
static void filter_works(void)
{
	give_buffers(RING_SIZE, IN_BYTES, WRITE);
	expect_ack(VIRTIO_NET_OK, short_command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 0, 1));
	fill_frame(100);
	write8(OUT + HEADER, 0x02);
	send_frame(100);
	write8(OUT + HEADER, 0x01); /* a multicast group that is not ours */
	send_frame(100);
	use_queue(RX);
	if (try_used(2000))
		fail("a frame for somebody else", read8(IN + HEADER));
	fill_frame(100);
	send_frame(100);
	use_queue(RX);
	if (!wait_used())
		fail("broken by a filter", get_status());
	if (read8(IN + HEADER) != 0xff)
		fail("destination", read8(IN + HEADER));
}

/* Two pairs of queues; the second one's frame comes while it is off, and is sent when it is on. */
static void tx_pair_off(void)
{
	const unsigned int tx = 3, control = 4;

	if (!(offered(0) & F(MQ)))
		fail("no queue pairs", offered(0));
	bring_up_queues(features | F(MQ), 5);
	fill_frame(200);
	for (uint16_t pairs = 2; pairs; pairs--)
		expect_ack(VIRTIO_NET_OK, set_pairs(control, pairs));
	use_queue(tx);
	set_desc(0, OUT, HEADER + 200, 0, 0);
	publish(0);
	kick(tx);
	if (try_used(100000))
		fail("sent by a pair that is off", 0);
	expect_ack(VIRTIO_NET_OK, set_pairs(control, 2));
	use_queue(tx);
	if (!try_used(100000000))
		fail("not sent by a pair that is on again", 0);
}

/* ---- registers ---- */

static void absent_queue(void)
{
	for (uint16_t q = 3; q < 40; q++) {
		select_queue(q);
		if (max_queue_size() && on_pci && read16(registers + VIRTIO_PCI_COMMON_NUMQ) <= q)
			fail("a queue that is not there", q);
		kick(q);
	}
	kick(0xffff);
}

static void config_is_read_only(void)
{
	uint8_t before = read8(config_space());

	for (unsigned int i = 0; i < 64; i++)
		write8(config_space() + i, 0xa5);
	if (read8(config_space()) != before)
		fail("MAC after a write to the configuration", read8(config_space()));
	(void)read32(config_space() + 0xf0);
}

static void features_odd(void)
{
	/* MQ and RSS are not offered. */
	start_over();
	request(0, (uint32_t)(features | F(MQ)));
	request(1, 1);
	set_status(STATUS_FEATURES);
	if (get_status() == STATUS_FEATURES && !(offered(0) & F(MQ)))
		fail("MQ accepted", get_status());
}

/* What is not written stays as it was: nothing of ours ends up in the guest. */
static void canary(void)
{
	memset((void *)IN, 0x7f, IN_BYTES);
	give_buffers(1, IN_BYTES, WRITE);
	fill_frame(200);
	send_frame(200);
	use_queue(RX);
	if (!wait_used())
		fail("broken by a frame", get_status());
	for (uint32_t i = used_length(); i < IN_BYTES; i++)
		if (read8(IN + i) != 0x7f)
			fail("a byte beyond the frame", i);
}

/* No feature at all but VERSION_1. */
static void no_features(void)
{
	bring_up_queues(0, 2);
	give_buffers(RING_SIZE, IN_BYTES, WRITE);
	fill_frame(100);
	send_frame(100);
	use_queue(RX);
	if (!wait_used() || read16(IN + 10) != 1)
		fail("number of buffers", read16(IN + 10));
}

static const struct {
	const char *name;
	void (*run)(void);
} attacks[] = {
/* clang-format off */
#define ATTACK(name) { #name, name }
	ATTACKS_ON_ALL_DEVICES,
	ATTACK(tx_short), ATTACK(tx_nothing_readable), ATTACK(tx_huge), ATTACK(tx_split_header),
	ATTACK(tx_bad_headers), ATTACK(tx_all_headers), ATTACK(tx_loop),
	ATTACK(rx_read_only), ATTACK(rx_zero_length), ATTACK(rx_tiny), ATTACK(rx_one_byte),
	ATTACK(rx_sum_wraps), ATTACK(rx_not_merged), ATTACK(rx_outside_ram), ATTACK(rx_loop), ATTACK(rx_on_device),
	ATTACK(rx_twice), ATTACK(rx_index_jumps), ATTACK(reset_with_held), ATTACK(control_works),
	ATTACK(control_malformed), ATTACK(control_mac_tables), ATTACK(control_no_ack),
	ATTACK(control_only_ack), ATTACK(control_flood), ATTACK(filter_works), ATTACK(absent_queue),
	ATTACK(config_is_read_only), ATTACK(features_odd), ATTACK(canary), ATTACK(no_features),
#define WITH_PEER(name) { #name, name }	/* the peer is not the one that echoes */
	WITH_PEER(rx_no_buffers), WITH_PEER(tx_backpressure),
	WITH_PEER(tx_stream_reset), WITH_PEER(rx_jumbo), WITH_PEER(link_lost), WITH_PEER(tx_pair_off),
	/* clang-format on */
};

void guest_main(const uint8_t *zero_page);

void guest_main(const uint8_t *zero_page)
{
	unsigned int tolerant;

	read_command_line(zero_page);
	/* "attack=+NAME" */
	tolerant = *word == '+';
	for (unsigned int i = 0; i < sizeof(word) - 1 && tolerant; i++)
		word[i] = word[i + 1];
	find_device();
	for (unsigned int i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		if (!same_word(word, attacks[i].name))
			continue;
		features = FEATURES & (offered(0) | (uint64_t)offered(1) << 32);
		up(0);
		/* The host's kernel drops or stops where we complete: it must recover, too. */
		if (tolerant)
			on_failure = prove_recovery;
		attacks[i].run();
		print("SURVIVED\n");
		prove_recovery();
	}
	fail("no such attack", 0);
}
