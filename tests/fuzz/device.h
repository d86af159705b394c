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

/*
 * Saves the device in the state that the first half of @in has brought it to, and loads it into another: saved
 * again it is the same. Then the second half says which bytes of it are others, for a third one.
 */
void fuzz_state(enum device_kind kind, bool is_pci, struct input in);

#endif
