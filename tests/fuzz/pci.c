// SPDX-License-Identifier: GPL-2.0-only
/* Registers, configuration and MSI-X of virtio-pci; the first byte says which device is behind them. */
#include "tests/fuzz/device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = { data, bytes };
	enum device_kind kind = (enum device_kind)(take(&in, 1) & 3);

	fuzz_device(kind, true, in);
	return 0;
}
