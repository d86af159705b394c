// SPDX-License-Identifier: GPL-2.0-only
/*
 * Receive filter of the network device. Untagged frames pass the VLAN filter; a table
 * that is too long stands for every address of its kind.
 */
#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <string.h>

#include "iov.h"
#include "state.h"
#include "virtio/net-filter.h"

void net_filter_reset(struct net_filter *f, const uint8_t mac[6], bool vlans)
{
	memset(f, 0, sizeof(*f));
	memcpy(f->mac, mac, sizeof(f->mac));
	f->promiscuous = true;
	f->use_vlans = vlans;
}

static bool in_table(const struct net_filter_table *t, const uint8_t *mac)
{
	for (unsigned int i = 0; i < t->nr; i++)
		if (!memcmp(t->macs[i], mac, ETH_ALEN))
			return true;
	return t->overflow;
}

static bool vlan_accepted(const struct net_filter *f, const uint8_t *frame)
{
	uint16_t id = (uint16_t)((frame[14] << 8 | frame[15]) & 0xfff);

	if (!f->use_vlans || (frame[12] << 8 | frame[13]) != ETH_P_8021Q)
		return true;
	return f->vlans[id / 64] >> id % 64 & 1;
}

bool net_filter_accepts(const struct net_filter *f, const uint8_t frame[NET_FILTER_MIN_BYTES])
{
	static const uint8_t broadcast[ETH_ALEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (f->promiscuous)
		return true;
	if (!vlan_accepted(f, frame))
		return false;
	if (!memcmp(frame, broadcast, ETH_ALEN))
		return !f->no_broadcast;
	if (frame[0] & 1)
		return !f->no_multicast && (f->all_multicast || in_table(&f->multicast, frame));
	if (f->no_unicast)
		return false;
	return f->all_unicast || !memcmp(frame, f->mac, ETH_ALEN) || in_table(&f->unicast, frame);
}

/* One table: a 32-bit count and so many addresses. Moves *offset behind it. */
static bool net_filter_read_table(struct net_filter_table *t, const struct iovec *iov, unsigned int nr,
				  uint32_t *offset, uint32_t end)
{
	uint32_t entries;

	if (end - *offset < sizeof(entries) ||
	    iov_read(iov, nr, *offset, &entries, sizeof(entries)) != sizeof(entries))
		return false;
	*offset += (uint32_t)sizeof(entries);
	if (entries > (end - *offset) / ETH_ALEN)
		return false;
	t->overflow = entries > NET_FILTER_ENTRIES;
	t->nr = t->overflow ? 0 : entries;
	iov_read(iov, nr, *offset, t->macs, t->nr * ETH_ALEN);
	*offset += entries * ETH_ALEN;
	return true;
}

bool net_filter_set_tables(struct net_filter *f, const struct iovec *iov, unsigned int nr,
			   uint32_t offset, uint32_t bytes)
{
	struct net_filter_table unicast, multicast;

	if (offset > bytes || !net_filter_read_table(&unicast, iov, nr, &offset, bytes) ||
	    !net_filter_read_table(&multicast, iov, nr, &offset, bytes) || offset != bytes)
		return false;
	f->unicast = unicast;
	f->multicast = multicast;
	return true;
}

bool net_filter_set_vlan(struct net_filter *f, uint16_t id, bool on)
{
	if (id >= NET_FILTER_VLANS)
		return false;
	if (on)
		f->vlans[id / 64] |= 1ull << id % 64;
	else
		f->vlans[id / 64] &= ~(1ull << id % 64);
	return true;
}

static void filter_table_carry(struct net_filter_table *t, struct state *s)
{
	uint32_t nr = t->nr;

	state_bool(s, &t->overflow);
	state_count(s, &nr, NET_FILTER_ENTRIES, "more addresses than fit");
	t->nr = nr;
	state_raw(s, t->macs, sizeof(t->macs));
}

void net_filter_carry(struct net_filter *f, struct state *s)
{
	state_raw(s, f->mac, sizeof(f->mac));
	state_bool(s, &f->promiscuous);
	state_bool(s, &f->all_multicast);
	state_bool(s, &f->all_unicast);
	state_bool(s, &f->no_multicast);
	state_bool(s, &f->no_unicast);
	state_bool(s, &f->no_broadcast);
	state_bool(s, &f->use_vlans);
	filter_table_carry(&f->unicast, s);
	filter_table_carry(&f->multicast, s);
	state_raw(s, f->vlans, sizeof(f->vlans));
}
