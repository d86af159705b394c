/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which received frames the driver wants: by destination address and VLAN, as it
 * says on the control queue (virtio 1.2 §5.1.6.5.1 to §5.1.6.5.3). Pure.
 */
#ifndef LKVM_VIRTIO_NET_FILTER_H
#define LKVM_VIRTIO_NET_FILTER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define NET_FILTER_ENTRIES   64u /* of each table; a driver that wants more gets all */
#define NET_FILTER_VLANS     4096u
#define NET_FILTER_MIN_BYTES 18u

struct state;

struct net_filter_table {
	bool overflow;
	unsigned int nr;
	uint8_t macs[NET_FILTER_ENTRIES][6];
};

struct net_filter {
	uint8_t mac[6];
	bool promiscuous, all_multicast, all_unicast, no_multicast, no_unicast, no_broadcast;
	bool use_vlans;
	struct net_filter_table unicast, multicast;
	uint64_t vlans[NET_FILTER_VLANS / 64];
};

/* Everything passes until the driver says otherwise; @vlans: it will name VLANs. */
void net_filter_reset(struct net_filter *filter, const uint8_t mac[6], bool vlans);

/* True if the frame that begins with these bytes is wanted. */
bool net_filter_accepts(const struct net_filter *filter,
			const uint8_t frame[NET_FILTER_MIN_BYTES]);

/*
 * Reads both tables from @nr iovecs, from byte @offset of @bytes on. False if they are
 * malformed; the filter is as before then.
 */
bool net_filter_set_tables(struct net_filter *filter, const struct iovec *iov, unsigned int nr,
			   uint32_t offset, uint32_t bytes);

/* state.h */
void net_filter_carry(struct net_filter *filter, struct state *s);

bool net_filter_set_vlan(struct net_filter *filter, uint16_t id, bool on);

#endif
