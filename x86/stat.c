// SPDX-License-Identifier: GPL-2.0-only
/*
 * What CPUs and devices have done (x86/stat.h).
 */
#include <inttypes.h>
#include <stdio.h>

#include "kvm-cpu.h"
#include "kvm-stats.h"
#include "util.h"
#include "virtio/device.h"
#include "x86/board.h"
#include "x86/stat.h"

/* Kinds of exits, and what else KVM does for a guest. */
static const char *const counted[] = {
	"exits", "io_exits", "mmio_exits", "halt_exits", "irq_exits", "signal_exits", "hypercalls",
	"insn_emulation", "pf_taken"
};

unsigned int stat_items(const struct board *b)
{
	return b->nr_vcpus + b->nr_virtio;
}

static int stat_cpu(const struct vcpu *vcpu, char *text, size_t bytes)
{
	uint64_t values[ARRAY_SIZE(counted)];
	bool found[ARRAY_SIZE(counted)];
	int n = snprintf(text, bytes, ",\"cpu\":%u,\"time_ms\":%" PRIu64, vcpu->index,
			 vcpu_cpu_time_ns(vcpu) / 1000000);

	kvm_stats_read(vcpu->stats_fd, counted, ARRAY_SIZE(counted), values, found);
	for (size_t i = 0; i < ARRAY_SIZE(counted) && n >= 0 && (size_t)n < bytes; i++)
		if (found[i])
			n += snprintf(text + n, bytes - (size_t)n, ",\"%s\":%" PRIu64, counted[i],
				      values[i]);
	return n;
}

/* A card whose queues the host's kernel serves is not counted. */
static int stat_device(const struct virtio_device *dev, char *text, size_t bytes)
{
	const struct virtio_counts *c = &dev->counts;

	if (atomic_load(&dev->lends))
		return snprintf(text, bytes, ",\"device\":\"%s\"", dev->name);
	/* clang-format off */
	return snprintf(text, bytes, ",\"device\":\"%s\",\"requests\":%" PRIu64 ",\"bytes_in\":%" PRIu64
			",\"bytes_out\":%" PRIu64 ",\"errors\":%" PRIu64, dev->name, c->requests,
			c->bytes_in, c->bytes_out, c->errors);
	/* clang-format on */
}

bool stat_item(const struct board *b, unsigned int item, char *text, size_t bytes)
{
	int n = -1;

	if (item < b->nr_vcpus)
		n = stat_cpu(b->vcpus[item], text, bytes);
	else if (item - b->nr_vcpus < b->nr_virtio)
		n = stat_device(b->slots[item - b->nr_vcpus].dev, text, bytes);
	return n >= 0 && (size_t)n < bytes;
}
