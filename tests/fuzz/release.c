// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile kernel file that is asked what it calls itself: bzImage, ELF, unified kernel image.
 */
#include "tests/fuzz/fuzz.h"

#include "guest/kernel-release.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct kernel_release r;
	char path[32];
	int fd = memory_file(data, bytes, path);

	if (!kernel_release_read(&r, path)) {
		size_t len = strnlen(r.text, sizeof(r.text));

		must(len && len < sizeof(r.text) && *r.text >= '0' && *r.text <= '9');
		must(!strchr(r.text, '/') && r.major < 100000 && r.minor < 100000);
	} else {
		must(!*r.text);
	}
	close(fd);
	return 0;
}
