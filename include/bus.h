/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An address space of device registers: one struct for ports, one for MMIO.
 *
 * Handlers run on the vCPU thread that made the access, outside the bus's own
 * lock. What nobody claims reads as all ones and ignores writes, like an
 * unterminated bus on real hardware.
 */
#ifndef LKVM_BUS_H
#define LKVM_BUS_H

#include <pthread.h>
#include <stdint.h>

struct bus_ops {
	/* @offset is relative to the region; @size is 1, 2, 4 or 8 and inside it. */
	uint64_t (*read)(void *dev, uint64_t offset, unsigned int size);
	void (*write)(void *dev, uint64_t offset, uint64_t value, unsigned int size);
};

struct bus_region {
	uint64_t start;
	uint64_t len;
	unsigned int max_access; /* wider accesses are split; 1, 2, 4 or 8 */
	const struct bus_ops *ops;
	void *dev;
	const char *name;
};

#define BUS_MAX_REGIONS 128

struct bus {
	pthread_rwlock_t lock;
	unsigned int nr_regions;
	struct bus_region regions[BUS_MAX_REGIONS]; /* sorted by start */
};

void bus_init(struct bus *bus);
void bus_fini(struct bus *bus);

/* 0, -EINVAL (empty or wrapping), -EEXIST (overlaps) or -ENOSPC. Any thread. */
int bus_add(struct bus *bus, const struct bus_region *region);

/* Removes the region that starts at @start; unknown ones are ignored. */
void bus_remove(struct bus *bus, uint64_t start);

/* @size is 1 to 8 and comes from KVM; the access may be anywhere. */
void bus_read(struct bus *bus, uint64_t addr, void *data, unsigned int size);
void bus_write(struct bus *bus, uint64_t addr, const void *data, unsigned int size);

#endif
