// SPDX-License-Identifier: GPL-2.0-only
/* Any command line, words separated by zeros. */
#include "tests/fuzz/fuzz.h"

#include "cmd/options.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	char words[4096], name[] = "run", *argv[64] = { name };
	struct run_options o;
	int argc = 1;

	log_set_level(LOG_ERROR);
	bytes = min_u64(bytes, sizeof(words) - 1);
	memcpy(words, data, bytes);
	words[bytes] = 0;
	for (size_t at = 0; at < bytes && argc < 63; at += strlen(words + at) + 1)
		argv[argc++] = words + at;
	options_parse(&o, argc, argv);
	options_fini(&o);
	return 0;
}
