// SPDX-License-Identifier: GPL-2.0-only
/* A hostile driver of the block device; the first byte says over which transport. */
#include "tests/fuzz/device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = { data, bytes };
	bool is_pci = take(&in, 1) & 4;

	fuzz_device(DEVICE_BLK, is_pci, in);
	return 0;
}
