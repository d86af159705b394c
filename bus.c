// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dispatch of port and MMIO accesses to register handlers.
 *
 * Owned by the machine. A sorted table, binary search; the region is
 * copied under a read lock and the handler is called after dropping it, so a
 * handler may itself add or remove regions (a PCI BAR that moves). Accesses
 * wider than a device's registers are split, as an ISA bridge does.
 */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "bus.h"
#include "util.h"

void bus_init(struct bus *bus)
{
	memset(bus, 0, sizeof(*bus));
	pthread_rwlock_init(&bus->lock, NULL);
}

void bus_fini(struct bus *bus)
{
	pthread_rwlock_destroy(&bus->lock);
}

/* Index of the first region that starts above @addr. */
static unsigned int upper_bound(const struct bus *bus, uint64_t addr)
{
	unsigned int lo = 0, hi = bus->nr_regions;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (bus->regions[mid].start <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int bus_insert(struct bus *bus, const struct bus_region *region)
{
	unsigned int at = upper_bound(bus, region->start);
	uint64_t end = region->start + region->len;

	if (at > 0 && bus->regions[at - 1].start + bus->regions[at - 1].len > region->start)
		return -EEXIST;
	if (at < bus->nr_regions && bus->regions[at].start < end)
		return -EEXIST;
	if (bus->nr_regions == BUS_MAX_REGIONS)
		return -ENOSPC;
	memmove(&bus->regions[at + 1], &bus->regions[at],
		(bus->nr_regions - at) * sizeof(bus->regions[0]));
	bus->regions[at] = *region;
	bus->nr_regions++;
	return 0;
}

int bus_add(struct bus *bus, const struct bus_region *region)
{
	uint64_t end;
	int rc;

	if (!region->len || !add_u64(region->start, region->len, &end))
		return -EINVAL;
	pthread_rwlock_wrlock(&bus->lock);
	rc = bus_insert(bus, region);
	pthread_rwlock_unlock(&bus->lock);
	return rc;
}

void bus_remove(struct bus *bus, uint64_t start)
{
	unsigned int at;

	pthread_rwlock_wrlock(&bus->lock);
	at = upper_bound(bus, start);
	if (at > 0 && bus->regions[at - 1].start == start) {
		memmove(&bus->regions[at - 1], &bus->regions[at],
			(bus->nr_regions - at) * sizeof(bus->regions[0]));
		bus->nr_regions--;
	}
	pthread_rwlock_unlock(&bus->lock);
}

static bool bus_find(struct bus *bus, uint64_t addr, unsigned int size, struct bus_region *out)
{
	bool found = false;
	unsigned int at;

	pthread_rwlock_rdlock(&bus->lock);
	at = upper_bound(bus, addr);
	if (at > 0) {
		const struct bus_region *r = &bus->regions[at - 1];

		if (range_within(addr - r->start, size, r->len)) {
			*out = *r;
			found = true;
		}
	}
	pthread_rwlock_unlock(&bus->lock);
	return found;
}

/* The widest power of two that fits both the rest of the access and the device. */
static unsigned int piece_size(unsigned int left, unsigned int max_access)
{
	unsigned int size = max_access;

	while (size > left)
		size /= 2;
	return size;
}

void bus_read(struct bus *bus, uint64_t addr, void *data, unsigned int size)
{
	struct bus_region r;
	uint8_t *out = data;

	memset(data, 0xff, size);
	if (!bus_find(bus, addr, size, &r))
		return;
	for (unsigned int done = 0, n; done < size; done += n) {
		uint64_t value;

		n = piece_size(size - done, r.max_access);
		value = r.ops->read(r.dev, addr + done - r.start, n);
		memcpy(out + done, &value, n);
	}
}

void bus_write(struct bus *bus, uint64_t addr, const void *data, unsigned int size)
{
	struct bus_region r;
	const uint8_t *in = data;

	if (!bus_find(bus, addr, size, &r))
		return;
	for (unsigned int done = 0, n; done < size; done += n) {
		uint64_t value = 0;

		n = piece_size(size - done, r.max_access);
		memcpy(&value, in + done, n);
		r.ops->write(r.dev, addr + done - r.start, value, n);
	}
}
