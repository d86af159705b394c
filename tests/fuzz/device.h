/* SPDX-License-Identifier: GPL-2.0-only */
/* A virtio device and a hostile driver, for the targets of each device and transport. */
#ifndef LKVM_TESTS_FUZZ_DEVICE_H
#define LKVM_TESTS_FUZZ_DEVICE_H

#include "tests/fuzz/fuzz.h"

enum device_kind {
	DEVICE_BLK,
	DEVICE_NET,
	DEVICE_CONSOLE,
	DEVICE_RNG,
};

/* Does to the device what @in says. */
void fuzz_device(enum device_kind kind, bool is_pci, struct input in);

#endif
