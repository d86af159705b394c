// SPDX-License-Identifier: GPL-2.0-only
/* Devices saved, loaded, and loaded from what was tampered with; the first byte says which one. */
#include "tests/fuzz/device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in = { data, bytes };
	uint64_t choice = take(&in, 1);

	fuzz_state((enum device_kind)(choice & 3), choice & 4, in);
	return 0;
}
